"""Wrappers that make exploration harder in one known way each, on any environment."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import spaces

from purejaxrl.envs.wrappers import Wrapper, WrapperState
from purejaxrl.types import Array, PyTree, SettingError, check_int, check_number


@struct.dataclass
class NoisyTVState:
    env_state: PyTree
    screen: Array  # what the screen shows


class NoisyTV(Wrapper):
    """A screen of random numbers in the observation (Burda et al. 2018, arXiv:1808.04355, section 5).

    A vector gets `size` uniform numbers more, and is float32 then; a grid ``[H, W, C]`` a channel of random bits more;
    other observations are refused. With `remote` None the screen changes at every step; else only when the action
    `remote` is taken, whatever else that action does: then novelty is for sale.

    Raises:
      SettingError: where the observation is neither a vector nor a grid, or `remote` is no action.
    """

    def __init__(self, env: Any, size: int = 16, remote: int | None = None):
        check_int(size, "size", ge=1)
        if remote is not None:
            actions = getattr(env.action_space(env.default_params), "n", 0)
            check_int(remote, "remote", ge=0, le=actions - 1)
        super().__init__(env)
        self.size, self.remote = size, remote
        self._shape(env.default_params)

    def reset_env(self, key: Array, params: Any) -> tuple[Array, NoisyTVState]:
        key, screen_key = jax.random.split(key)
        obs, env_state = self.env.reset_env(key, params)
        screen = self._noise(screen_key, params)
        return self._shown(obs, screen), NoisyTVState(env_state, screen)

    def step_env(self, key: Array, state: NoisyTVState, action: Array, params: Any) -> tuple:
        key, screen_key = jax.random.split(key)
        obs, env_state, reward, terminated, info = self.env.step_env(key, state.env_state, action, params)
        screen = self._noise(screen_key, params)
        if self.remote is not None:
            screen = jnp.where(action == self.remote, screen, state.screen)
        return self._shown(obs, screen), NoisyTVState(env_state, screen), reward, terminated, info

    def observation_space(self, params: Any) -> spaces.Box:
        space, shape = self.env.observation_space(params), self._shape(params)
        low, high = (
            jnp.broadcast_to(jnp.asarray(bound, jnp.float32), space.shape) for bound in (space.low, space.high)
        )
        zeros = jnp.zeros(shape)
        return spaces.Box(
            jnp.concatenate([low, zeros], -1),
            jnp.concatenate([high, zeros + 1], -1),
            (*space.shape[:-1], space.shape[-1] + shape[-1]),
            dtype=jnp.float32 if len(shape) == 1 else space.dtype,
        )

    def _shape(self, params: Any) -> tuple[int, ...]:
        space = self.env.observation_space(params)
        shape = getattr(space, "shape", None)
        if not hasattr(space, "low") or shape is None or len(shape) not in (1, 3):
            raise SettingError(f"NoisyTV needs observations that are a vector or a grid in a Box, got {space!r}")
        return (self.size,) if len(shape) == 1 else (*shape[:2], 1)

    def _noise(self, key: Array, params: Any) -> Array:
        shape = self._shape(params)
        return jax.random.uniform(key, shape) if len(shape) == 1 else jax.random.bernoulli(key, shape=shape) * 1.0

    def _shown(self, obs: Array, screen: Array) -> Array:
        dtype = jnp.float32 if screen.ndim == 1 else obs.dtype
        return jnp.concatenate([obs.astype(dtype), screen.astype(dtype)], -1)


@struct.dataclass
class HeldRewardState:
    env_state: PyTree
    held: Array  # float32, rewards of the episode not paid yet
    time: Array  # int32, steps since the last payment


class DelayedReward(Wrapper):
    """Pay the sum of the rewards every `delay` steps, and at the episode's end what is left. The return stays."""

    asks_for_ends = True

    def __init__(self, env: Any, delay: int):
        check_int(delay, "delay", ge=1)
        super().__init__(env)
        self.delay = delay

    def reset_env(self, key: Array, params: Any) -> tuple[PyTree, HeldRewardState]:
        obs, env_state = self.env.reset_env(key, params)
        return obs, HeldRewardState(env_state, jnp.zeros(()), jnp.zeros((), jnp.int32))

    def step_env(self, key: Array, state: HeldRewardState, action: Array, params: Any) -> tuple:
        obs, env_state, reward, terminated, info = self.env.step_env(key, state.env_state, action, params)
        held, time = state.held + reward, state.time + 1
        ends = jnp.logical_or(terminated, self.env.is_truncated(env_state, params))
        due = ends | self._is_due(time)
        state = HeldRewardState(env_state, jnp.where(due, 0.0, held), jnp.where(due, 0, time))
        return obs, state, jnp.where(due, self._paid(held), 0.0), terminated, info

    def _is_due(self, time: Array) -> Array:
        return time >= self.delay

    def _paid(self, held: Array) -> Array:
        return held


class SparseReward(DelayedReward):
    """Nothing until the episode's end; then its return, or with `threshold` 1 where the return reaches it, else 0.

    ``SparseReward(mountain_car, threshold=-199)`` pays 1 for a flag reached before the limit of 200 steps.
    """

    def __init__(self, env: Any, threshold: float | None = None):
        super().__init__(env, delay=1)
        if threshold is not None:
            check_number(threshold, "threshold")
        self.threshold = threshold

    def _is_due(self, time: Array) -> Array:
        return jnp.zeros_like(time, bool)

    def _paid(self, held: Array) -> Array:
        return held if self.threshold is None else jnp.where(held >= self.threshold, 1.0, 0.0)


@struct.dataclass
class StickyActionsState:
    env_state: PyTree
    action: Array  # the last one that the environment took
    first: Array  # bool, none was taken yet


class StickyActions(Wrapper):
    """Take the action before again with this probability (Machado et al. 2018, arXiv:1709.06009, section 5.2).

    Where the environment has a mask, only an action that is still allowed sticks; of several components each by itself.
    """

    def __init__(self, env: Any, probability: float = 0.25):
        check_number(probability, "probability", ge=0, le=1)
        super().__init__(env)
        self.probability = probability

    def reset_env(self, key: Array, params: Any) -> tuple[PyTree, StickyActionsState]:
        obs, env_state = self.env.reset_env(key, params)
        action = jax.eval_shape(self.env.action_space(params).sample, key)
        return obs, StickyActionsState(env_state, jnp.zeros(action.shape, action.dtype), jnp.ones((), bool))

    def step_env(self, key: Array, state: StickyActionsState, action: Array, params: Any) -> tuple:
        key, stick_key = jax.random.split(key)
        sticks = jax.random.bernoulli(stick_key, self.probability) & ~state.first
        if hasattr(self.env, "action_mask"):
            sticks &= self._allowed(self.env.action_mask(state.env_state, params), state.action, params)
        action = jnp.where(sticks, state.action, jnp.asarray(action, state.action.dtype))
        obs, env_state, reward, terminated, info = self.env.step_env(key, state.env_state, action, params)
        return obs, StickyActionsState(env_state, action, jnp.zeros((), bool)), reward, terminated, info

    def _allowed(self, mask: Array, action: Array, params: Any) -> Array:
        """Whether the mask allows an action, or each of its components, whose masks follow one another."""
        sizes = getattr(self.env.action_space(params), "nvec", None)
        return mask[action if sizes is None else action + np.cumsum([0, *sizes[:-1]])]


class FixedLayouts(Wrapper):
    """Every episode starts in one of `num_layouts` fixed ways, those that `seed` gives; what happens then stays random.

    For environments that generate a level at each reset: 1 makes it one fixed level.
    """

    def __init__(self, env: Any, num_layouts: int = 1, seed: int = 0):
        check_int(num_layouts, "num_layouts", ge=1)
        check_int(seed, "seed", ge=0)
        super().__init__(env)
        self.num_layouts, self.seed = num_layouts, seed

    def reset_env(self, key: Array, params: Any) -> tuple[PyTree, WrapperState]:
        layout = jax.random.randint(key, (), 0, self.num_layouts)
        obs, env_state = self.env.reset_env(jax.random.fold_in(jax.random.key(self.seed), layout), params)
        return obs, WrapperState(env_state)

    def step_env(self, key: Array, state: WrapperState, action: Array, params: Any) -> tuple:
        obs, env_state, *rest = self.env.step_env(key, state.env_state, action, params)
        return obs, WrapperState(env_state), *rest
