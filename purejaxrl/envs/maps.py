"""Ground truth for exploration: the true states of tabular environments as cells of a map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from purejaxrl.types import Array

BOXES = 20
MOUNTAIN_CAR = (-0.07, -1.2), (0.07, 0.6)  # lowest and highest velocity and position


class Cells(NamedTuple):
    """Ground truth for exploration: an environment's true states as cells of a map."""

    cell_fn: Callable[[Any], Array]  # of one env state, to the int32 id of its cell, in [0, num_cells)
    num_cells: int
    layout: np.ndarray  # int [rows, columns], the id of the cell that is shown there, -1 where there is none


def cells(env: Any) -> Cells | None:
    """The cells of an environment, or None where it has none; one of one's own offers them as ``env.cells()``.

    The true states of DeepSea and FourRooms, as far as a step can arrive at them: nothing leads to DeepSea's start. Of
    MountainCar, 20 x 20 equal boxes of position and velocity, some of which no car can be in.
    """
    if hasattr(env, "cells"):
        return env.cells()
    name = getattr(env, "name", "")
    if name == "DeepSea-bsuite":
        row, column = np.mgrid[1 : env.size + 1, : env.size]
        return _cells(column <= row, lambda state: (state.row - 1, state.column))
    if name == "FourRooms-misc":
        return _cells(np.asarray(env.env_map), lambda state: (state.pos[0], state.pos[1]))
    if name in ("MountainCar-v0", "MountainCarContinuous-v0", "SparseMountainCar-v0"):
        low, high = MOUNTAIN_CAR
        return _cells(np.ones((BOXES, BOXES), bool), lambda state: _box(state.velocity, state.position, low, high))
    return None


def _box(y: Array, x: Array, low: tuple[float, float], high: tuple[float, float]) -> tuple[Array, Array]:
    """Row and column of a point among BOXES equal boxes each way, the rows from above."""
    row, column = ((v - a) / (b - a) * BOXES for v, a, b in zip((y, x), low, high, strict=True))
    row, column = (jnp.clip(jnp.floor(v).astype(jnp.int32), 0, BOXES - 1) for v in (row, column))
    return BOXES - 1 - row, column


def _cells(there: np.ndarray, position: Callable[[Any], tuple[Array, Array]]) -> Cells:
    """Cells where `there` is true, numbered row by row; `position` gives a state's row and column."""
    layout = np.where(there, np.cumsum(there).reshape(there.shape) - 1, -1)
    return Cells(lambda state: jnp.asarray(layout, jnp.int32)[position(state)], int(there.sum()), layout)
