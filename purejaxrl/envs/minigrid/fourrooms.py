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
        y, x = drawing.pick(agent, grid == objects.EMPTY)
        goal_at = drawing.pick(goal, (grid == objects.EMPTY) & ~drawing.at(grid.shape, y, x))
        return start(drawing.put(grid, *goal_at, objects.GOAL), y, x, drawing.integer(turn, 0, 4))
