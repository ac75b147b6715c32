"""Gymnasium's environments, stepped in Python: ``gymnasium:CartPole-v1``. Both flags are its own. No masks.

This is the one door through which a compiled program calls the host, once per step for all envs of a run, which Python
steps one after the other. That is slow: it is for environments that are nowhere else. A second axis of `jax.vmap`
(seeds, a sweep) is refused by name, and `purejaxrl.check_env` says that the host is called.

An environment of Gymnasium cannot be copied, so its state stays on the host, and what JAX carries names it. Hence

* an episode that has begun goes on from its latest state only, and only in the process that began it; one that is
  abandoned keeps its environment;
* a reset is played by an environment set aside for it, and by the episode's own one at its first step, with the same
  seed;
* what is random within an episode follows from its seed, not from the steps' keys.

Spaces of boxes, numbers and trees of them are known; texts, graphs and sequences are not. There are no pictures.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnasium import spaces as theirs
from gymnasium.envs.registration import load_env_creator
from gymnax.environments import spaces

from purejaxrl.envs.adapters.base import Adapter, Params, arguments, box
from purejaxrl.envs.adapters.host import on_host
from purejaxrl.envs.spaces import MultiDiscrete
from purejaxrl.types import Array, PyTree, SettingError


def names() -> list[str]:
    return list(gymnasium.registry)


def settings(name: str) -> dict[str, Any]:
    spec = gymnasium.registry[name]
    entry: Any = spec.entry_point
    with _all_that_it_needs(name):
        return arguments(load_env_creator(entry) if isinstance(entry, str) else entry) | spec.kwargs


def make(name: str, **kwargs: Any) -> Gymnasium:
    return Gymnasium(name, **kwargs)


@contextlib.contextmanager
def _all_that_it_needs(name: str) -> Iterator[None]:
    """Whatever an extra of Gymnasium's would install: its own words say which."""
    try:
        yield
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise SettingError(f"env gymnasium:{name} needs what is not installed: {error}") from error


@struct.dataclass
class Episode:
    """What names an episode on the host."""

    seed: Array  # uint32
    number: Array  # int32, 0 before the first step
    time: Array  # int32
    ended: Array  # bool
    truncated: Array  # bool


class Gymnasium(Adapter):
    """See the module."""

    def __init__(self, name: str, **kwargs: Any):
        env_id = f"gymnasium:{name}"
        super().__init__(env_id, gymnasium.spec(name).max_episode_steps)
        # -1: without Gymnasium's limit, which is counted here.
        with _all_that_it_needs(name):
            host = Host(lambda: gymnasium.make(name, max_episode_steps=-1, disable_env_checker=True, **kwargs))
        self.shown_space, self.actions = _space(host.spare.observation_space), _space(host.spare.action_space)
        obs, scalar = _shapes(self.shown_space), jax.ShapeDtypeStruct
        self._reset = on_host(env_id, host.reset, obs)
        flags = (scalar((), jnp.int32), scalar((), jnp.float32), scalar((), bool), scalar((), bool))
        self._step = on_host(env_id, host.step, (obs, *flags))

    def begin(self, key: Array, params: Params) -> tuple[PyTree, PyTree]:
        seed = jax.random.bits(key)
        nothing, no = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
        return self._reset(seed), Episode(seed, nothing, nothing, no, no)

    def advance(self, key: Array, inner: Episode, action: Array, params: Params) -> tuple[PyTree, PyTree, Array, Array]:
        last = inner.time + 1 >= params.max_steps_in_episode
        named = inner.seed, inner.number, inner.time, inner.ended
        obs, number, reward, terminated, truncated = self._step(*named, last, action)
        ended = inner.ended | terminated | truncated | last
        return obs, Episode(inner.seed, number, inner.time + 1, ended, truncated), reward, terminated

    def cut(self, inner: Episode) -> Array:
        return inner.truncated


class Host:
    """The environments of Gymnasium, and which of them plays which episode."""

    def __init__(self, make: Callable[[], Any]):
        self.make = make
        self.spare = make()  # for resets
        self.idle: list[Any] = []
        self.playing: dict[int, tuple[Any, int]] = {}  # an episode's environment, and the steps it has taken
        self.begun = 0
        self.lock = threading.Lock()  # runs on several devices call from a thread each

    def reset(self, seeds: Any) -> PyTree:
        """The first observations, ``[N, ...]``."""
        space = self.spare.observation_space
        with self.lock:
            return _stacked([_observed(space, self.spare.reset(seed=int(seed))[0]) for seed in np.asarray(seeds)])

    def step(self, *columns: Any) -> PyTree:
        """Step N episodes, each by its own action: :meth:`_one` of each row."""
        with self.lock:
            return _stacked([self._one(*row) for row in zip(*map(np.asarray, columns), strict=True)])

    def _one(self, seed: Any, number: Any, time: Any, ended: Any, last: Any, action: Any) -> PyTree:
        number, time = int(number), int(time)
        if ended:  # played on, as evaluation does with what it no longer counts
            shapes = _shapes(_space(self.spare.observation_space))
            blank = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
            return blank, np.int32(number), np.float32(0), np.True_, np.False_
        if time == 0:
            self.begun += 1
            number, env = self.begun, self.idle.pop() if self.idle else self.make()
            env.reset(seed=int(seed))
        else:
            env, taken = self.playing.get(number, (None, -1))
            if taken != time:
                raise RuntimeError(
                    "an episode of Gymnasium goes on from its latest state only, in the process that began it: this "
                    f"state has taken {time} steps, the environment {'is gone' if env is None else taken}"
                )
        obs, reward, terminated, truncated, _ = env.step(_action(env.action_space, action))
        if terminated or truncated or last:
            self.playing.pop(number, None)
            self.idle.append(env)
        else:
            self.playing[number] = env, time + 1
        found = np.int32(number), np.float32(reward), np.bool_(terminated), np.bool_(truncated)
        return _observed(env.observation_space, obs), *found


# --- spaces -----------------------------------------------------------------------------------------------------------


def _space(space: Any) -> Any:
    """gymnax's space for one of Gymnasium's; numbers count from 0.

    Raises:
      SettingError: for one that has no arrays of a fixed shape.
    """
    if isinstance(space, theirs.Discrete):
        return spaces.Discrete(int(space.n))
    if isinstance(space, theirs.MultiDiscrete) and space.nvec.ndim == 1:
        return MultiDiscrete([int(n) for n in space.nvec])
    if isinstance(space, theirs.MultiBinary) and len(space.shape) == 1:
        return MultiDiscrete([2] * space.shape[0])
    if isinstance(space, theirs.Box):
        dtype = jax.dtypes.canonicalize_dtype(space.dtype)
        with np.errstate(over="ignore"):  # the largest float64 becomes inf
            return box(space.shape, dtype, space.low.astype(dtype), space.high.astype(dtype))
    if isinstance(space, theirs.Dict):
        return spaces.Dict({name: _space(child) for name, child in space.spaces.items()})
    if isinstance(space, theirs.Tuple):
        return spaces.Tuple(tuple(_space(child) for child in space.spaces))
    raise SettingError(f"gymnasium's space {space!r} has no arrays of a fixed shape")


def _shapes(space: Any) -> PyTree:
    """Shapes and dtypes of an element of one of gymnax's spaces."""
    if isinstance(space, spaces.Dict):
        return {name: _shapes(child) for name, child in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_shapes(child) for child in space.spaces)
    return jax.ShapeDtypeStruct(space.shape, space.dtype)


def _observed(space: Any, obs: Any) -> PyTree:
    """An element of one of Gymnasium's spaces as one of gymnax's."""
    if isinstance(space, theirs.Dict):
        return {name: _observed(child, obs[name]) for name, child in space.spaces.items()}
    if isinstance(space, theirs.Tuple):
        return tuple(_observed(child, part) for child, part in zip(space.spaces, obs, strict=True))
    ours = _space(space)
    return np.asarray(obs - getattr(space, "start", 0), ours.dtype).reshape(ours.shape)


def _action(space: Any, action: Any) -> Any:
    if isinstance(space, theirs.Discrete):
        return int(action) + int(space.start)
    return np.asarray(action + getattr(space, "start", 0), space.dtype)


def _stacked(rows: list[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
