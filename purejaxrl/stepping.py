"""How the library steps a gymnax environment: without its auto-reset, with stable dtypes. One env; callers vmap."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl.distributions import Categorical, MultiCategorical
from purejaxrl.types import LARGEST_INT, SettingError, Spec, is_key, is_number, shown

Array = jax.Array
PyTree = Any


def step(
    env: Any, env_params: Any, key: Array, state: PyTree, action: Array
) -> tuple[PyTree, PyTree, Array, Array, Array]:
    """Step one env and return ``(next_obs, state, reward, terminated, truncated)``, all from before any reset.

    Actions for a Box are clipped to its bounds, as gymnasium's ClipAction does.
    """
    action = clipped(env.action_space(env_params), action)
    obs, state, reward, terminated, _ = env.step_env(key, state, action, env_params)
    truncated = env.is_truncated(state, env_params)
    return obs, state, jnp.asarray(reward, jnp.float32), jnp.asarray(terminated, bool), jnp.asarray(truncated, bool)


def reset(env: Any, env_params: Any, key: Array) -> tuple[PyTree, PyTree]:
    """Reset one env and return ``(obs, state)`` with the dtypes that `step` gives, so that both fit one scan carry."""
    obs, state = jax.tree.map(jnp.asarray, env.reset_env(key, env_params))
    like = jax.eval_shape(lambda: step(env, env_params, key, state, random_action(env, env_params, key))[:2])
    return jax.tree.map(lambda x, leaf: x if is_key(leaf) else x.astype(leaf.dtype), (obs, state), like)


def clipped(space: Any, action: Array) -> Array:
    """The action as an environment takes it: a Box's within its bounds."""
    return jnp.clip(action, space.low, space.high) if hasattr(space, "low") else action


def renew_keys(key: Array, state: PyTree) -> PyTree:
    """The state of one env with other random keys in it, where it holds any: what happens next is drawn anew.

    For states that are returned to, which would repeat what once happened. Keys are typed ones, of any shape, and pairs
    of uint32 under a name with "key" or "rng" in it, as other packages' states have them.
    """

    def renew(path, leaf):
        own = jax.random.fold_in(key, next(numbers))
        if is_key(leaf):
            flat = leaf.reshape(-1)
            return jax.vmap(jax.random.fold_in)(flat, jax.random.bits(own, flat.shape)).reshape(leaf.shape)
        named = any(word in str(path[-1]).lower() for word in ("key", "rng")) if path else False
        plain = named and leaf.shape == (2,) and leaf.dtype == jnp.uint32
        return jax.random.fold_in(leaf, jax.random.bits(own)) if plain else leaf

    numbers = itertools.count()
    return jax.tree_util.tree_map_with_path(renew, state)


def random_action(env: Any, env_params: Any, key: Array, mask: Array | None = None) -> Array:
    """A uniform action of one env, of those that `mask` allows (see :func:`action_mask`).

    Where a Box has one bound, exponentially far from it, and where it has none, a standard normal, as gymnasium's.
    """
    space = env.action_space(env_params)
    if mask is not None:
        even = jnp.zeros(mask.shape)
        policy = MultiCategorical(even, tuple(space.nvec)) if hasattr(space, "nvec") else Categorical(even)
        return policy.masked(mask).sample(key)
    if not hasattr(space, "low"):
        return space.sample(key)
    low, high = (jnp.broadcast_to(jnp.asarray(bound, jnp.float32), space.shape) for bound in (space.low, space.high))
    bounded = jnp.isfinite(low) & jnp.isfinite(high)
    uniform = jax.random.uniform(key, space.shape)
    inside = jnp.where(bounded, low, 0.0) + uniform * jnp.where(bounded, high - low, 1.0)
    far = jax.random.exponential(key, space.shape)
    beyond = jnp.where(jnp.isfinite(high), high - far, jax.random.normal(key, space.shape))
    return jnp.where(bounded, inside, jnp.where(jnp.isfinite(low), low + far, beyond))


def action_mask(env: Any, env_params: Any, state: PyTree) -> Array | None:
    """The mask of allowed actions of one env, or None where the env offers none.

    Bool ``[n]`` for a discrete space; for a multi-discrete one, a space with the attribute ``nvec``, the components'
    masks one after the other: ``[sum(nvec)]``. A mask that forbids every action, of one component or of all, allows
    every one: there random actions and policies are uniform, never NaN.
    """
    return env.action_mask(state, env_params) if hasattr(env, "action_mask") else None


def check_params(env: Any, env_params: PyTree) -> PyTree:
    """`env_params`, or the environment's defaults where they are None.

    Raises:
      SettingError: where they are none of this environment's, or hold what cannot be traced.
    """
    if not hasattr(env, "default_params"):
        if env_params is None:
            raise SettingError(f"{type(env).__name__} has no default_params: add them, or pass env_params")
    elif env_params is None:
        return env.default_params
    elif not isinstance(env_params, type(env.default_params)):
        wanted = f"those of {type(env).__name__}, as env.default_params"
        raise SettingError(f"env_params must be {wanted}, got {shown(env_params)}")
    for error in params_errors(env_params):
        raise SettingError(error)
    return env_params


def params_errors(params: PyTree) -> Iterator[str]:
    """Parameters are numbers, since whole sweeps of them are traced: what is wrong with these."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = f"env_params{jax.tree_util.keystr(path)}"
        if not path and not is_number(leaf):
            yield f"{name} is no pytree but a {type(leaf).__name__}: decorate its class with flax.struct.dataclass"
        elif not is_number(leaf):
            yield (
                f"{name} is {shown(leaf)}, no number: make it an argument of the constructor, or declare it with "
                "flax.struct.field(pytree_node=False)"
            )
        elif isinstance(leaf, int) and abs(leaf) > LARGEST_INT:
            yield f"{name} must be an int32, at most {LARGEST_INT}, got {shown(leaf)}"


def make_spec(env: Any, env_params: Any, *, num_envs: int, num_steps: int, num_updates: int, **more: Any) -> Spec:
    """The :class:`Spec` of an environment, with the observation's shape as the env really emits it.

    Raises:
      SettingError: where it cannot take a step.
    """
    try:
        obs, _ = jax.eval_shape(lambda: reset(env, env_params, jax.random.key(0)))
    except (SettingError, MemoryError):
        raise
    except Exception as error:  # whatever the environment raises
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        said = f"cannot be reset and stepped, {reason}; purejaxrl.check_env tries it out"
        raise SettingError(f"env: {type(env).__name__} {said}") from error
    return Spec(
        observation_space=env.observation_space(env_params),
        action_space=env.action_space(env_params),
        num_envs=num_envs,
        num_steps=num_steps,
        num_updates=num_updates,
        observation=obs,
        **more,
    )
