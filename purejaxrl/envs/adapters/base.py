"""What every door has in common: an episode's clock, gymnax's interface, spaces, and packages that may be missing."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces

from purejaxrl.types import Array, PyTree, SettingError

NEVER = 2**31 - 1  # a limit that no episode reaches, as int32


@struct.dataclass
class Params:
    """What may differ between runs of one program."""

    max_steps_in_episode: int = NEVER  # truncates; by default the package's own limit


@struct.dataclass
class State:
    """The package's own state beside the steps of this episode."""

    inner: PyTree
    time: Array  # int32


class Adapter(environment.Environment[Any, Any]):
    """Another package's environment as one of gymnax's: no auto-reset, and time limits apart from the rules.

    The limit is counted here and the package's own is put out of its reach, so that what the package reports is
    termination by its rules alone, and the observation of a step is the true one. A subclass defines :meth:`begin` and
    :meth:`advance`, sets the two spaces, and offers ``action_mask(state, params)`` where the package has masks.

    Keys are handed on as the plain numbers that these packages know; the random numbers are the same. `info` is empty:
    what the package knows besides is in ``state.inner``.
    """

    shown_space: Any
    actions: Any

    def __init__(self, env_id: str, limit: int | None):
        self.env_id = env_id
        self.limit = NEVER if limit is None else int(limit)

    def begin(self, key: Array, params: Params) -> tuple[PyTree, PyTree]:
        """Return the first observation and the package's state."""
        raise NotImplementedError

    def advance(self, key: Array, inner: PyTree, action: Array, params: Params) -> tuple[PyTree, PyTree, Array, Array]:
        """Return observation, the package's state, reward, and whether the rules ended the episode."""
        raise NotImplementedError

    def cut(self, inner: PyTree) -> Any:
        """Whether the package itself cut this episode off, by something else than its rules."""
        return False

    @property
    def name(self) -> str:
        return self.env_id

    @property
    def default_params(self) -> Any:
        return Params(self.limit)

    def reset_env(self, key: Array, params: Params) -> tuple[PyTree, State]:
        obs, inner = self.begin(jax.random.key_data(key), params)
        return obs, State(inner, jnp.zeros((), jnp.int32))

    def step_env(
        self, key: Array, state: State, action: Any, params: Params
    ) -> tuple[PyTree, State, Array, Array, dict]:
        key = jax.random.key_data(key)
        obs, inner, reward, terminated = self.advance(key, state.inner, jnp.asarray(action), params)
        return obs, State(inner, state.time + 1), jnp.asarray(reward, jnp.float32), jnp.asarray(terminated, bool), {}

    def is_truncated(self, state: State, params: Params) -> Array:
        return jnp.logical_or(state.time >= params.max_steps_in_episode, self.cut(state.inner))

    def observation_space(self, params: Params | None = None) -> Any:
        return self.shown_space

    def action_space(self, params: Params | None = None) -> Any:
        return self.actions


def package(module: str, extra: str) -> Any:
    """Import a module of an optional package.

    Raises:
      SettingError: where it is not installed, naming the extra that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise SettingError(
            f"env {extra}:...: the package {error.name} is not installed: pip install 'purejaxrl[{extra}]'"
        ) from error


def arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a function that have a default, with it."""
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}


def box(shape: Any, dtype: Any, low: Any = None, high: Any = None) -> spaces.Box:
    """The space of an array; without bounds bits go from 0 to 1 and integers as far as their dtype."""
    dtype = jnp.dtype(dtype)
    if low is None:
        low, high = -np.inf, np.inf
        if jnp.issubdtype(dtype, jnp.bool_):
            low, high = 0, 1
        elif jnp.issubdtype(dtype, jnp.integer):
            low, high = jnp.iinfo(dtype).min, jnp.iinfo(dtype).max
    return spaces.Box(low, high, tuple(shape), dtype)


def shown(env: Adapter) -> spaces.Box:
    """The space of an environment's observations, an array without known bounds. Traced: nothing is compiled."""
    key = jax.eval_shape(jax.random.key, 0)
    obs = jax.eval_shape(lambda key: env.reset_env(key, env.default_params)[0], key)
    return box(obs.shape, obs.dtype)
