"""Building a level: pure functions on a grid ``[height, width]`` of cells, and the random choices that levels need.

MiniGrid draws positions until one is allowed, which is uniform over those that are; here one uniform number picks
among them. A level takes all its numbers from one :func:`jax.random.uniform` call: that costs less than many keys.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from purejaxrl.envs.minigrid import objects
from purejaxrl.types import Array


def walled(height: int, width: int) -> np.ndarray:
    """An empty grid within walls, known before anything runs."""
    grid = np.full((height, width), objects.EMPTY, np.uint16)
    grid[[0, -1], :] = grid[:, [0, -1]] = objects.WALL
    return grid


def rows_columns(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Each cell's row ``[height, 1]`` and column ``[1, width]``."""
    return np.arange(shape[0], dtype=np.int32)[:, None], np.arange(shape[1], dtype=np.int32)[None]


def at(shape: tuple[int, ...], y: int | Array, x: int | Array) -> Array:
    """The mask of one cell, bool ``[height, width]``."""
    rows, columns = rows_columns(shape)
    return jnp.asarray((rows == y) & (columns == x))


def put(grid: Array | np.ndarray, y: int | Array, x: int | Array, cell: int | Array) -> Array:
    """The grid with one cell changed: a select, which under vmap is quicker than a scatter."""
    return jnp.where(at(grid.shape, y, x), jnp.asarray(cell, jnp.uint16), grid)


def get(grid: Array, y: Array, x: Array) -> Array:
    """The cell at a position within the grid."""
    return grid.reshape(-1).at[y * grid.shape[1] + x].get(mode="promise_in_bounds")


def within(shape: tuple[int, ...], top: int | Array, left: int | Array, height: int | Array, width: int | Array):
    """The mask of a rectangle, bool ``[height, width]``."""
    rows, columns = rows_columns(shape)
    return jnp.asarray((rows >= top) & (rows < top + height) & (columns >= left) & (columns < left + width))


def integer(u: Array, low: int | Array, high: int | Array) -> Array:
    """The uniform number `u` in [0, 1) as a uniform integer in [low, high), int32; `u` has 23 bits."""
    return low + jnp.floor(u * (high - low)).astype(jnp.int32)


def distinct(u: Array, n: int) -> list[Array]:
    """As many different uniform integers in [0, n) as there are numbers in `u` ``[k]``, in random order."""
    drawn, taken = [], []  # `taken` holds the same in ascending order
    for one in u:
        value = integer(one, 0, n - len(taken))
        for other in taken:
            value += value >= other
        drawn.append(value)
        for place, other in enumerate(taken):
            taken[place], value = jnp.minimum(value, other), jnp.maximum(value, other)
        taken.append(value)
    return drawn


def pick(u: Array, allowed: Array) -> tuple[Array, Array]:
    """Row and column of one of the cells where `allowed` ``[height, width]`` is true, uniformly by `u` in [0, 1)."""
    rows, _ = rows_columns(allowed.shape)
    counts = allowed.sum(1, dtype=jnp.int32)
    row, rest = _nth(counts, integer(u, 0, counts.sum()))
    column, _ = _nth((allowed & (rows == row)).any(0).astype(jnp.int32), rest)
    return row, column


def _nth(counts: Array, rank: Array) -> tuple[Array, Array]:
    """In which of the groups of sizes `counts` ``[n]`` the item `rank` lies, and its rank there."""
    index = np.arange(counts.shape[0])
    upto = jnp.where(index <= index[:, None], counts, 0).sum(1)
    before = upto <= rank
    return before.sum(dtype=jnp.int32), rank - jnp.where(before, counts, 0).sum()
