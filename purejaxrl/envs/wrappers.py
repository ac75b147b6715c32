"""Environments around other environments, with gymnax's interface: what they do not change passes through."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces
from jax.experimental import checkify

from purejaxrl.envs.maps import Cells, cells
from purejaxrl.envs.spaces import MultiDiscrete, OneHotSpace, bounds, leaf_spaces, parts
from purejaxrl.types import Array, OneHot, PyTree, SettingError, check_int, check_number, check_protocol, is_one_hot

UNBOUNDED = 1e6  # wider bounds say nothing: some environments give the largest float
# Functions of (state, params).
OF_STATE = ("action_mask", "is_truncated", "is_terminated", "is_terminal", "discount", "render_frame", "get_obs")


class Wrapper:
    """An environment around `env`, whose state has the inner one's as its field `env_state`.

    What is not defined here is the inner environment's, functions of the state included. `step` is gymnax's, which
    resets by itself; the loop calls `step_env`, `is_truncated` and `reset_env`.
    """

    step = environment.Environment.step
    reset = environment.Environment.reset
    asks_for_ends = False  # whether what it does at an episode's end needs the time limits, which then are inside

    def __init__(self, env: Any):
        check_protocol(env)
        self.env = env

    def __getattr__(self, name: str) -> Any:
        if name == "env" or name.startswith("__"):  # not set yet, as while unpickling: asking `env` would never end
            raise AttributeError(name)
        found = getattr(self.env, name)
        if name in OF_STATE:
            return lambda state, *args, **kwargs: found(state.env_state, *args, **kwargs)
        return (lambda: _outside(found())) if name == "outcomes" else found

    def cells(self) -> Cells | None:
        """The inner environment's cells, as a function of this one's state; None where it has none."""
        inner = cells(self.env)
        return None if inner is None else _outside(inner)

    def observe(self, key: Array, state: Any, action: Any, params: Any) -> PyTree:
        """gymnax's: what a state shows."""
        return self.env.observe(key, state.env_state, action, params)

    def with_transition_gradients(self) -> Any:
        """gymnax's: the same with the gradients of its steps, where the inner environment has them."""
        found = copy.copy(self)
        found.env = self.env.with_transition_gradients()
        return found


def _outside(inner: Cells) -> Cells:
    """The inner environment's cells as those of its wrapper's states."""
    return inner._replace(cell_fn=lambda state: inner.cell_fn(state.env_state))


@struct.dataclass
class WrapperState:
    """The state of a wrapper that has none of its own."""

    env_state: PyTree  # the inner environment's


class ObservationWrapper(Wrapper):
    """Shows another observation: a subclass defines `shown(obs, params)` and `observation_space(params)`."""

    def shown(self, obs: PyTree, params: Any) -> PyTree:
        raise NotImplementedError

    def reset_env(self, key: Array, params: Any) -> tuple[PyTree, WrapperState]:
        obs, env_state = self.env.reset_env(key, params)
        return self.shown(obs, params), WrapperState(env_state)

    def step_env(self, key: Array, state: WrapperState, action: Array, params: Any) -> tuple:
        obs, env_state, *rest = self.env.step_env(key, state.env_state, action, params)
        return self.shown(obs, params), WrapperState(env_state), *rest

    def get_obs(self, state: WrapperState, params: Any = None, key: Array | None = None) -> PyTree:
        return self.shown(self.env.get_obs(state.env_state, params, key), params)

    def observe(self, key: Array, state: WrapperState, action: Any, params: Any) -> PyTree:
        return self.shown(super().observe(key, state, action, params), params)


class RescaleObservation(ObservationWrapper):
    """Observations scaled to [-1, 1] by the bounds of their Box, so that none is small for its unit alone.

    Raises:
      SettingError: where the observation space is no Box with finite bounds.
    """

    def __init__(self, env: Any):
        super().__init__(env)
        low, high = (np.asarray(bound, float) for bound in self._bounds(env.default_params))
        if not ((high > low) & (high - low < UNBOUNDED)).all():
            raise SettingError(f"RescaleObservation needs finite bounds, got {low} to {high}")

    def shown(self, obs: Array, params: Any) -> Array:
        low, high = self._bounds(params)
        return 2 * ((obs - low) / (high - low)) - 1

    def observation_space(self, params: Any) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, self.env.observation_space(params).shape, jnp.float32)

    def _bounds(self, params: Any) -> tuple[Array, Array]:
        space = self.env.observation_space(params)
        if not hasattr(space, "low"):
            raise SettingError(f"RescaleObservation needs observations in a Box, got {space!r}")
        low, high = (jnp.broadcast_to(jnp.asarray(b, jnp.float32), space.shape) for b in (space.low, space.high))
        return low, high


class FlattenObservation(ObservationWrapper):
    """Every number of the observation in one vector, float32 ``[n]``: of a grid, a scalar, or a tree of them.

    The leaves of a Dict or Tuple follow each other as the space names them. Categories stay numbers:
    :class:`OneHotObservation` shows a single one as networks want it.

    Raises:
      SettingError: where the space has a leaf without bounds to be found.
    """

    def __init__(self, env: Any):
        super().__init__(env)
        self.observation_space(env.default_params)

    def shown(self, obs: PyTree, params: Any) -> Array:
        values = [part.value for part in parts(self.env.observation_space(params), obs)]
        leaves = [value.vector() if is_one_hot(value) else value for value in values]
        return jnp.concatenate([jnp.ravel(leaf).astype(jnp.float32) for leaf in leaves])

    def observation_space(self, params: Any) -> spaces.Box:
        limits = [bounds(space) for space in leaf_spaces(self.env.observation_space(params))]
        if None in limits:
            raise SettingError(f"FlattenObservation: unknown bounds in {self.env.observation_space(params)!r}")
        low, high = (
            jnp.concatenate([jnp.ravel(side).astype(jnp.float32) for side in sides])
            for sides in zip(*(pair for pair in limits if pair is not None), strict=True)
        )
        return spaces.Box(low, high, low.shape, jnp.float32)


class IndexObservation(ObservationWrapper):
    """One-hot observations as :class:`purejaxrl.types.OneHot`, the place of the one; zeros alone are a place more.

    To networks it is the same vector with one number more, but what costs n operations then costs one, and a replay
    holds one number. Only for observations that are one-hot or zero: nothing looks whether they are.

    Raises:
      SettingError: where observations are no array.
    """

    def __init__(self, env: Any):
        super().__init__(env)
        self._size(env.default_params)

    def shown(self, obs: Array, params: Any) -> OneHot:
        size = self._size(params)
        flat = jnp.ravel(obs)
        return OneHot(jnp.where(flat.any(), jnp.argmax(flat), size - 1).astype(jnp.int32), size)

    def observation_space(self, params: Any) -> OneHotSpace:
        return OneHotSpace(self._size(params))

    def _size(self, params: Any) -> int:
        space = self.env.observation_space(params)
        if not hasattr(space, "low"):
            raise SettingError(f"IndexObservation needs observations in a Box, got {space!r}")
        return math.prod(space.shape) + 1


class OneHotObservation(ObservationWrapper):
    """Categories as one-hot float32 vectors: a ``Discrete(n)`` becomes ``[n]``, a multi-discrete ``[sum(nvec)]``.

    A Box of integers, or of whole numbers with `num_values` given, has one category for each value from its lowest
    bound on: a grid ``[H, W]`` becomes ``[H, W, n]``, one with channels ``[H, W, C]`` becomes ``[H, W, C * n]``, a
    vector ``[k]`` becomes ``[k * n]``. A value outside shows zeros.

    Raises:
      SettingError: where the lowest value or the number of them is unknown, or `num_values` is no integer >= 1.
    """

    def __init__(self, env: Any, num_values: int | None = None):
        super().__init__(env)
        if num_values is not None:
            check_int(num_values, "num_values", ge=1)
        space = env.observation_space(env.default_params)
        limits = bounds(space) if hasattr(space, "shape") else None
        if limits is None:
            raise SettingError(f"OneHotObservation needs one space of categories, got {space!r}")
        low, high = (np.asarray(side) for side in limits)
        if num_values is None and not (
            np.issubdtype(low.dtype, np.integer) and jnp.issubdtype(space.dtype, jnp.integer) and high.max() < UNBOUNDED
        ):
            raise SettingError(f"OneHotObservation: how many values has {space!r}? Say so with num_values")
        if not low.min() > -UNBOUNDED:
            raise SettingError(f"OneHotObservation counts values from the lowest on, and {space!r} has none")
        self.lowest = low.min().astype(int)  # the same for all, so that equal values look alike
        self.num_values = int(high.max() - self.lowest + 1) if num_values is None else num_values
        # Components of their own sizes are kept apart: no column is for ever zero.
        self.sizes = space.nvec if hasattr(space, "nvec") and num_values is None else None

    def shown(self, obs: Array, params: Any) -> Array:
        if self.sizes is not None:
            return jnp.concatenate([jax.nn.one_hot(obs[i], n) for i, n in enumerate(self.sizes)])
        shown = jax.nn.one_hot(obs.astype(jnp.int32) - self.lowest, self.num_values)
        return shown.reshape(self._shape(obs.shape))

    def observation_space(self, params: Any) -> spaces.Box:
        shape = tuple(self.env.observation_space(params).shape)
        return spaces.Box(0.0, 1.0, self._shape(shape), jnp.float32)

    def _shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.sizes is not None:
            return (sum(self.sizes),)
        if len(shape) in (0, 2):
            return (*shape, self.num_values)
        return (*shape[:-1], shape[-1] * self.num_values)


@struct.dataclass
class TimeLimitState:
    env_state: PyTree
    time: Array  # int32, steps of this episode


class TimeLimit(Wrapper):
    """Truncate episodes after `max_steps`, whatever limit of its own the environment has besides.

    It is reported as truncation, so that learners bootstrap from the last observation. The observation does not show
    the time.

    Raises:
      SettingError: where `max_steps` is no integer >= 1, or stands outside a wrapper that has to know the end.
    """

    def __init__(self, env: Any, max_steps: int):
        check_int(max_steps, "max_steps", ge=1)
        super().__init__(env)
        inner = env
        while isinstance(inner, Wrapper):
            if inner.asks_for_ends:
                name = type(inner).__name__
                raise SettingError(
                    f"TimeLimit belongs inside {name}, which does not see its end: {name}(TimeLimit(...))"
                )
            inner = inner.env
        self.max_steps = max_steps

    def reset_env(self, key: Array, params: Any) -> tuple[PyTree, TimeLimitState]:
        obs, env_state = self.env.reset_env(key, params)
        return obs, TimeLimitState(env_state, jnp.zeros((), jnp.int32))

    def step_env(self, key: Array, state: TimeLimitState, action: Array, params: Any) -> tuple:
        obs, env_state, *rest = self.env.step_env(key, state.env_state, action, params)
        return obs, TimeLimitState(env_state, state.time + 1), *rest

    def is_truncated(self, state: TimeLimitState, params: Any) -> Array:
        return (state.time >= self.max_steps) | self.env.is_truncated(state.env_state, params)


class ScaleReward(Wrapper):
    """Rewards times `scale`, which may be traced: then the wrapper is made inside the traced function.

    The loop's `episode_return` is the scaled one.

    Raises:
      SettingError: where `scale` is not finite.
    """

    def __init__(self, env: Any, scale: Any):
        check_number(scale, "scale")
        super().__init__(env)
        self.scale = scale

    def reset_env(self, key: Array, params: Any) -> tuple[PyTree, WrapperState]:
        obs, env_state = self.env.reset_env(key, params)
        return obs, WrapperState(env_state)

    def step_env(self, key: Array, state: WrapperState, action: Array, params: Any) -> tuple:
        obs, env_state, reward, *rest = self.env.step_env(key, state.env_state, action, params)
        return obs, WrapperState(env_state), reward * self.scale, *rest


@struct.dataclass
class OutcomesState:
    env_state: PyTree
    total: Array  # float32, the episode's return so far
    outcome: Array  # int32, at the end of an episode 0 for a success and 1 for a failure, -1 before


class Outcomes(Wrapper):
    """Tells the successes among episodes, those whose return is above 0, so that a run counts them exactly."""

    asks_for_ends = True

    def reset_env(self, key: Array, params: Any) -> tuple[PyTree, OutcomesState]:
        obs, env_state = self.env.reset_env(key, params)
        return obs, OutcomesState(env_state, jnp.zeros(()), jnp.int32(-1))

    def step_env(self, key: Array, state: OutcomesState, action: Array, params: Any) -> tuple:
        obs, env_state, reward, terminated, info = self.env.step_env(key, state.env_state, action, params)
        total = state.total + jnp.asarray(reward, jnp.float32)
        ends = terminated | self.env.is_truncated(env_state, params)
        outcome = jnp.where(ends, jnp.where(total > 0, 0, 1), -1)
        return obs, OutcomesState(env_state, total, outcome), reward, terminated, info

    def outcomes(self) -> Cells:
        """The ends of episodes as two cells, 0 a success and 1 a failure; other states have the id -1.

        ``make_train(env, ..., visits=env.outcomes()[:2])`` counts them in ``state.visits``, over all parallel envs.
        """
        return Cells(lambda state: state.outcome, 2, np.array([[0, 1]]))


class CheckActions(Wrapper):
    """Report actions outside the action space: environments take them silently, and do something with them.

    For looking for errors, not for training: leave the wrapper out, and nothing is looked at. Called from Python,
    ``step_env`` raises; a jitted program must be passed through ``jax.experimental.checkify``, and JAX says so where it
    is not::

        step = jax.jit(checkify.checkify(jax.vmap(env.step_env, in_axes=(0, 0, 0, None))))
        error, values = step(keys, states, actions, params)
        error.throw()

    A whole training run can be passed through it, too. There a Box's actions are clipped before they come here, so
    that only NaN is found.

    Raises:
      SettingError: at once, where the action's shape is not the space's, or a category is no integer.
      JaxRuntimeError: where its value lies outside, from Python.
    """

    def reset_env(self, key: Array, params: Any) -> tuple[PyTree, WrapperState]:
        obs, env_state = self.env.reset_env(key, params)
        return obs, WrapperState(env_state)

    def step_env(self, key: Array, state: WrapperState, action: Any, params: Any) -> tuple:
        space = self.env.action_space(params)
        action, limits = jnp.asarray(action), bounds(space)
        if limits is None:
            raise SettingError(f"CheckActions: the bounds of {space!r} are not known")
        low, high = limits
        whole = jnp.issubdtype(action.dtype, jnp.integer)
        if action.shape != low.shape or (not whole and not hasattr(space, "low")):
            raise SettingError(f"action {action.dtype}{list(action.shape)} is none of {space!r}")
        inside = jnp.all((action >= low) & (action <= high))
        checkify.check(inside, "action {action} is outside the action space", action=action)
        obs, env_state, *rest = self.env.step_env(key, state.env_state, action, params)
        return obs, WrapperState(env_state), *rest


@struct.dataclass
class FrameStackState:
    env_state: PyTree  # the inner environment's
    frames: PyTree  # the stacked observation


class FrameStack(Wrapper):
    """Observe the last `num_frames` observations at once, stacked along the last axis, the oldest first.

    Grids ``[H, W, C]`` become ``[H, W, C * num_frames]``, vectors ``[n]`` become ``[n * num_frames]``, scalars
    ``[num_frames]``; each leaf of a pytree is stacked, and its dtype stays. A reset repeats its observation, so that
    no stack reaches into the episode before. After Mnih et al. (2015), "Human-level control through deep reinforcement
    learning".

    Raises:
      SettingError: where `num_frames` is no integer >= 1.
    """

    def __init__(self, env: Any, num_frames: int):
        check_int(num_frames, "num_frames", ge=1)
        super().__init__(env)
        self.num_frames = num_frames

    def reset_env(self, key: Array, params: Any) -> tuple[PyTree, FrameStackState]:
        obs, env_state = self.env.reset_env(key, params)
        frames = self._repeated(obs)
        return frames, FrameStackState(env_state, frames)

    def step_env(self, key: Array, state: FrameStackState, action: Array, params: Any) -> tuple:
        obs, env_state, reward, terminated, info = self.env.step_env(key, state.env_state, action, params)
        frames = jax.tree.map(_push, state.frames, obs)
        return frames, FrameStackState(env_state, frames), reward, terminated, info

    @functools.partial(jax.jit, static_argnames=("self",))
    def reset(self, key: Array, params: Any = None) -> tuple[PyTree, FrameStackState]:
        """gymnax's own reset."""
        obs, env_state = self.env.reset(key, params)
        frames = self._repeated(obs)
        return frames, FrameStackState(env_state, frames)

    @functools.partial(jax.jit, static_argnames=("self",))
    def step(self, key: Array, state: FrameStackState, action: Array, params: Any = None) -> tuple:
        """gymnax's six-value step with its auto-reset: the inner one, which may keep statistics across episodes."""
        obs, env_state, reward, terminated, truncated, info = self.env.step(key, state.env_state, action, params)
        final = jax.tree.map(_push, state.frames, info["final_observation"])
        done = jnp.logical_or(terminated, truncated)
        frames = jax.tree.map(lambda new, old: jnp.where(done, new, old), self._repeated(obs), final)
        info = {**info, "final_observation": final}
        return frames, FrameStackState(env_state, frames), reward, terminated, truncated, info

    def get_obs(self, state: FrameStackState, params: Any = None, key: Array | None = None) -> PyTree:
        del params, key
        return state.frames

    def observe(self, key: Array, state: FrameStackState, action: Any, params: Any) -> PyTree:
        del key, action, params
        return state.frames

    def observation_space(self, params: Any) -> Any:
        return _stacked_space(self.env.observation_space(params), self.num_frames)

    def state_space(self, params: Any) -> spaces.Dict:
        return spaces.Dict({"env_state": self.env.state_space(params), "frames": self.observation_space(params)})

    def _repeated(self, obs: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: jnp.concatenate([jnp.atleast_1d(leaf)] * self.num_frames, -1), obs)


def _push(frames: Array, leaf: Array) -> Array:
    """Drop the oldest of `frames`, append `leaf`. Its dtype counts: some resets emit another one than steps do."""
    leaf = jnp.atleast_1d(leaf)
    return jnp.concatenate([frames[..., leaf.shape[-1] :].astype(leaf.dtype), leaf], -1)


def _stacked_space(space: Any, num_frames: int) -> Any:
    """The space of `num_frames` elements of `space`, stacked; bounds that are arrays are repeated too.

    Raises:
      SettingError: for a space that is neither gymnax's nor multi-discrete.
    """
    if hasattr(space, "spaces"):  # gymnax's Tuple and Dict
        if isinstance(space.spaces, Mapping):
            return spaces.Dict({name: _stacked_space(child, num_frames) for name, child in space.spaces.items()})
        return spaces.Tuple(tuple(_stacked_space(child, num_frames) for child in space.spaces))
    if isinstance(space, OneHotSpace):
        return OneHotSpace(space.n, (*space.leading[:-1], num_frames * math.prod(space.leading[-1:])))
    if hasattr(space, "nvec"):
        return MultiDiscrete(space.nvec * num_frames)
    if hasattr(space, "n"):
        return MultiDiscrete((space.n,) * num_frames)
    if not hasattr(space, "low"):
        raise SettingError(f"frame_stack: observations of the space {space!r} cannot be stacked")
    shape = tuple(space.shape) or (1,)

    def repeated(bound):
        return jnp.concatenate([jnp.broadcast_to(bound, shape)] * num_frames, -1) if jnp.ndim(bound) else bound

    return spaces.Box(
        repeated(space.low), repeated(space.high), (*shape[:-1], shape[-1] * num_frames), dtype=space.dtype
    )
