"""Environments around other environments, with gymnax's interface: what they do not change passes through."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces

from purejaxrl.envs.maps import Cells, cells
from purejaxrl.envs.spaces import MultiDiscrete
from purejaxrl.types import Array, PyTree, SettingError, check_int

UNBOUNDED = 1e6  # wider bounds say nothing: some environments give the largest float
# Functions of (state, params).
OF_STATE = ("action_mask", "is_truncated", "is_terminated", "is_terminal", "discount", "render_frame")


class Wrapper:
    """An environment around `env`, whose state has the inner one's as its field `env_state`.

    What is not defined here is the inner environment's, functions of the state included. `step` is gymnax's, which
    resets by itself; the loop calls `step_env`, `is_truncated` and `reset_env`.
    """

    step = environment.Environment.step
    reset = environment.Environment.reset

    def __init__(self, env: Any):
        self.env = env

    def __getattr__(self, name: str) -> Any:
        if name == "env" or name.startswith("__"):  # not set yet, as while unpickling: asking `env` would never end
            raise AttributeError(name)
        found = getattr(self.env, name)
        if name in OF_STATE:
            return lambda state, *args, **kwargs: found(state.env_state, *args, **kwargs)
        return found

    def cells(self) -> Cells | None:
        """The inner environment's cells, as a function of this one's state; None where it has none."""
        inner = cells(self.env)
        return None if inner is None else inner._replace(cell_fn=lambda state: inner.cell_fn(state.env_state))


@struct.dataclass
class RescaleObservationState:
    env_state: PyTree


class RescaleObservation(Wrapper):
    """Observations scaled to [-1, 1] by the bounds of their Box, so that none is small for its unit alone.

    Raises:
      SettingError: where the observation space is no Box with finite bounds.
    """

    def __init__(self, env: Any):
        super().__init__(env)
        low, high = (np.asarray(bound, float) for bound in self._bounds(env.default_params))
        if not ((high > low) & (high - low < UNBOUNDED)).all():
            raise SettingError(f"RescaleObservation needs finite bounds, got {low} to {high}")

    def reset_env(self, key: Array, params: Any) -> tuple[Array, RescaleObservationState]:
        obs, env_state = self.env.reset_env(key, params)
        return self._scaled(obs, params), RescaleObservationState(env_state)

    def step_env(self, key: Array, state: RescaleObservationState, action: Array, params: Any) -> tuple:
        obs, env_state, *rest = self.env.step_env(key, state.env_state, action, params)
        return self._scaled(obs, params), RescaleObservationState(env_state), *rest

    def observation_space(self, params: Any) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, self.env.observation_space(params).shape, jnp.float32)

    def _bounds(self, params: Any) -> tuple[Array, Array]:
        space = self.env.observation_space(params)
        if not hasattr(space, "low"):
            raise SettingError(f"RescaleObservation needs observations in a Box, got {space!r}")
        low, high = (jnp.broadcast_to(jnp.asarray(b, jnp.float32), space.shape) for b in (space.low, space.high))
        return low, high

    def _scaled(self, obs: Array, params: Any) -> Array:
        low, high = self._bounds(params)
        return 2 * ((obs - low) / (high - low)) - 1


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

    def with_transition_gradients(self) -> FrameStack:
        return FrameStack(self.env.with_transition_gradients(), self.num_frames)

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
