"""Four rooms with a gap in each wall between them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import MiniGrid, State, start
from purejaxrl.types import Array

SIZE, HALF = 19, 9
FREE = (2 * HALF - 2) ** 2 + 4  # cells: four rooms and four gaps


class FourRooms(MiniGrid):
    """MiniGrid-FourRooms: agent and goal anywhere, gaps included."""

    def __init__(self, **options: Any):
        super().__init__(SIZE, SIZE, 100, **options)

    def generate(self, key: Array) -> State:
        *gaps, agent, goal, turn = jax.random.uniform(key, (7,))
        walls = drawing.walled(SIZE, SIZE)
        walls[HALF, :] = walls[:, HALF] = objects.WALL
        rows, columns = drawing.rows_columns(walls.shape)
        above, left, below, right = (
            drawing.integer(u, low, low + HALF - 1) for u, low in zip(gaps, (1, 1, HALF + 1, HALF + 1), strict=True)
        )
        gap = (columns == HALF) & ((rows == above) | (rows == below)) | (rows == HALF) & (
            (columns == left) | (columns == right)
        )
        grid = jnp.where(gap, np.uint16(objects.EMPTY), walls)
        places = ((above, HALF), (HALF, left), (below, HALF), (HALF, right))
        start_rank = drawing.integer(agent, 0, FREE)
        goal_rank = drawing.integer(goal, 0, FREE - 1)
        y, x = _floor(start_rank, places)
        goal_at = _floor(goal_rank + (goal_rank >= start_rank), places)
        return start(drawing.put(grid, *goal_at, objects.GOAL), y, x, drawing.integer(turn, 0, 4))


def _floor(rank: Array, gaps: tuple[tuple[Any, Any], ...]) -> tuple[Array, Array]:
    """The free cell of a rank in [0, FREE): the rooms' in order, then the gaps. Quicker than a mask."""
    row, column = rank // (2 * HALF - 2), rank % (2 * HALF - 2)
    y, x = (1 + line + (line >= HALF - 1) for line in (row, column))
    for index, (gap_y, gap_x) in enumerate(gaps):
        here = rank == FREE - len(gaps) + index
        y, x = jnp.where(here, gap_y, y), jnp.where(here, gap_x, x)
    return y, x
