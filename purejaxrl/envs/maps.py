"""Ground truth for exploration: the true states of tabular environments as cells of a map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from purejaxrl.types import Array


class Cells(NamedTuple):
    """Ground truth for exploration: an environment's true states as cells of a map."""

    cell_fn: Callable[[Any], Array]  # of one env state, to the int32 id of its cell, in [0, num_cells)
    num_cells: int
    layout: np.ndarray  # int [rows, columns], the id of the cell that is shown there, -1 where there is none


def cells(env: Any) -> Cells | None:
    """The cells of a tabular environment, or None; an environment of one's own offers them as ``env.cells()``.

    Only states that a step can arrive at have a cell: DeepSea's start, to which nothing leads, has none.
    """
    if hasattr(env, "cells"):
        return env.cells()
    name = getattr(env, "name", "")
    if name == "DeepSea-bsuite":
        row, column = np.mgrid[1 : env.size + 1, : env.size]
        return _cells(column <= row, lambda state: (state.row - 1, state.column))
    if name == "FourRooms-misc":
        return _cells(np.asarray(env.env_map), lambda state: (state.pos[0], state.pos[1]))
    return None


def _cells(there: np.ndarray, position: Callable[[Any], tuple[Array, Array]]) -> Cells:
    """Cells where `there` is true, numbered row by row; `position` gives a state's row and column."""
    layout = np.where(there, np.cumsum(there).reshape(there.shape) - 1, -1)
    return Cells(lambda state: jnp.asarray(layout, jnp.int32)[position(state)], int(there.sum()), layout)
