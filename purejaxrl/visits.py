"""Ground truth for exploration: exact visit counts of the true state's cells, and what they say about a bonus."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl import stepping
from purejaxrl.types import LARGEST_INT, SettingError, check_int, shown

Array = jax.Array


def check(cells: Any, name: str, env: Any, env_params: Any, *, most: int = LARGEST_INT) -> None:
    """Raise :class:`SettingError` unless `cells` is ``(cell_fn, num_cells)``, with one integer for a state of `env`."""
    if not (isinstance(cells, tuple) and len(cells) == 2 and callable(cells[0])):
        raise SettingError(f"{name} must be (cell_fn, num_cells), got {shown(cells)}")
    check_int(cells[1], f"{name}' num_cells", ge=1, le=most)
    _, state = jax.eval_shape(functools.partial(stepping.reset, env, env_params), jax.random.key(0))
    try:
        cell = jax.eval_shape(lambda state: jnp.asarray(cells[0](state)), state)
    except Exception as error:  # whatever the user's function raises
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SettingError(f"{name}' cell_fn must take one env's state, and fails: {what}") from error
    if cell.shape or not jnp.issubdtype(cell.dtype, jnp.integer):
        found = f"an array of shape {cell.shape} and {cell.dtype}"
        raise SettingError(f"{name}' cell_fn must give one state one integer, got {found}")


def count(visits: Array, cell: Any) -> Array:
    """Add one for each cell; ids outside, and negative ones, which would wrap around, are left out."""
    return visits.at[jnp.where(cell < 0, visits.size, cell)].add(1, mode="drop")


def coverage(visits: Array) -> Array:
    """Share of the cells that were visited at all."""
    return (visits > 0).mean()


def entropy(visits: Array) -> Array:
    """Entropy of the distribution of visits over cells in nats, at most log(num_cells); 0 before the first visit."""
    share = visits / jnp.maximum(visits.sum(), 1)
    return -jnp.sum(jnp.where(share > 0, share * jnp.log(share), 0.0))


def rank_correlation(bonus: Array, visits: Array, cell: Array) -> Array:
    """Spearman's correlation of a bonus with 1/√n, over arrivals whose cell has an id; NaN where one does not vary.

    Args:
      bonus: of each arrival, any shape.
      visits: int32 ``[num_cells]``, how often each cell was visited before.
      cell: int32 ids of the arrivals' cells, shaped like `bonus`; arrivals with ids outside are left out.
    """
    bonus, cell = bonus.ravel(), cell.ravel()
    known = (cell >= 0) & (cell < visits.size)
    # Left-out arrivals rank behind all others in both, so that the others' ranks are theirs alone. Ranks do not know
    # 1/√n from -n, but n = 0 from n = 1.
    last = jnp.where(known, 0.0, jnp.inf)
    x, y = (_ranks(values + last) for values in (bonus, -visits[jnp.clip(cell, 0, visits.size - 1)]))
    return _correlation(x, y, known)


def _ranks(values: Array) -> Array:
    """Ranks from 1; equal values share the mean of theirs."""
    ordered = jnp.sort(values)
    return 0.5 * (jnp.searchsorted(ordered, values) + jnp.searchsorted(ordered, values, side="right") + 1)


def _correlation(x: Array, y: Array, where: Array) -> Array:
    x, y = (jnp.where(where, values - values.mean(where=where), 0.0) for values in (x, y))
    scale = jnp.sqrt(jnp.square(x).sum()) * jnp.sqrt(jnp.square(y).sum())  # the product of millions of ranks overflows
    return jnp.where(scale > 0, (x * y).sum() / scale, jnp.nan)
