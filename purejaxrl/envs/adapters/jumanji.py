"""Jumanji's puzzles, packing and routing: ``jumanji:Snake-v1``. Terminated: its discount is 0; masks: most of them.

Where Jumanji's own limit, `time_limit`, ends an episode, it says discount 0 as for a lost game; here the limit
truncates. (SearchAndRescue's rewards depend on the limit, and its end stays a termination.) Its extras stay in
``state.inner``.

An action of several parts whose mask is joint (Minesweeper, Sudoku, Tetris, BinPack, FlatPack) becomes one number, so
that the mask stays exact; where each part has its own mask the space is multi-discrete. Several agents (Connector,
LevelBasedForaging, SearchAndRescue) are one learner, paid the sum. Observations are trees of arrays, the mask among
them; networks see them flat. Sokoban downloads its levels when made. Jumanji draws through Matplotlib into windows of
its own, so there are no pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import spaces

from purejaxrl.envs.adapters.base import NEVER, Adapter, Params, arguments, box, package
from purejaxrl.envs.spaces import MultiDiscrete
from purejaxrl.types import Array, PyTree


def names() -> list[str]:
    return sorted(package("jumanji", "jumanji").registered_environments())


def settings(name: str) -> dict[str, Any]:
    registration = package("jumanji.registration", "jumanji")
    spec = registration._REGISTRY[name]
    return arguments(registration.load(spec.entry_point).__init__) | spec.kwargs


def make(name: str, **kwargs: Any) -> Jumanji:
    return Jumanji(f"jumanji:{name}", package("jumanji", "jumanji").make(name, **kwargs))


@struct.dataclass
class Game:
    state: PyTree  # Jumanji's
    timestep: PyTree  # what it returned with it; the mask is part of its observation


class Jumanji(Adapter):
    """See the module."""

    def __init__(self, env_id: str, inner: Any):
        bound = type(inner).__name__ == "SearchAndRescue"  # its rewards are scaled by its own limit
        super().__init__(env_id, None if bound else getattr(inner, "time_limit", None))
        self.inner = inner
        self.shown_space = _space(inner.observation_spec)
        mask = inner.observation_spec._specs.get("action_mask")
        self.actions, self._action = _actions(inner.action_spec, None if mask is None else mask.shape)
        if mask is not None:
            self.action_mask = self._mask
        if self.limit != NEVER:
            inner.time_limit = NEVER  # after its arrays were sized and its spaces declared by it

    def begin(self, key: Array, params: Params) -> tuple[PyTree, PyTree]:
        game = Game(*self.inner.reset(key))
        return game.timestep.observation, game

    def advance(self, key: Array, inner: Game, action: Array, params: Params) -> tuple[PyTree, PyTree, Array, Array]:
        # The key of the step, so that one start can be played in more than one way.
        game = Game(*self.inner.step(inner.state.replace(key=key), self._action(action)))
        now = game.timestep
        return now.observation, game, jnp.sum(now.reward), now.last() & (jnp.max(now.discount) == 0)

    def cut(self, inner: Game) -> Array:
        return inner.timestep.last() & (jnp.max(inner.timestep.discount) > 0)

    def _mask(self, state: Any, params: Any) -> Array:
        return state.inner.timestep.observation.action_mask.reshape(-1)


def _space(spec: Any) -> Any:
    if spec._specs:
        return spaces.Dict({name: _space(child) for name, child in spec._specs.items()})
    if not hasattr(spec, "minimum") or jnp.issubdtype(spec.dtype, jnp.bool_):
        return box(spec.shape, spec.dtype)
    return box(spec.shape, spec.dtype, np.asarray(spec.minimum), np.asarray(spec.maximum))


def _actions(spec: Any, mask: tuple[int, ...] | None) -> tuple[Any, Callable[[Array], Array]]:
    """The action space, and what makes Jumanji's action of one of its elements; `mask` is the shape of the masks."""
    if jnp.issubdtype(spec.dtype, jnp.floating):
        return box(spec.shape, spec.dtype, np.asarray(spec.minimum), np.asarray(spec.maximum)), lambda action: action
    sizes = tuple(int(high) + 1 for high in np.broadcast_to(spec.maximum, spec.shape).ravel())
    if not spec.shape:
        return spaces.Discrete(sizes[0]), lambda action: action
    if mask == sizes:
        return spaces.Discrete(math.prod(sizes)), lambda action: jnp.stack(jnp.unravel_index(action, sizes))
    if mask is not None:
        sizes = (mask[1],) * mask[0]  # MultiCVRP's action space declares more than it masks
    return MultiDiscrete(sizes), lambda action: action.astype(spec.dtype)
