"""A wall of lava with one gap."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import EAST, MiniGrid, State, start
from purejaxrl.types import Array, check_int


class LavaGap(MiniGrid):
    """MiniGrid-LavaGap: through the gap to the goal."""

    def __init__(self, size: int = 7, **options: Any):
        check_int(size, "env.size", ge=5)
        super().__init__(size, size, 4 * size**2, **options)

    def generate(self, key: Array) -> State:
        u = jax.random.uniform(key, (2,))
        gap_x, gap_y = drawing.integer(u[0], 2, self.width - 2), drawing.integer(u[1], 1, self.height - 1)
        grid = drawing.walled(self.height, self.width)
        grid[-2, -2] = objects.GOAL
        rows, columns = drawing.rows_columns(grid.shape)
        lava = (columns == gap_x) & (rows != gap_y) & (rows > 0) & (rows < self.height - 1)
        return start(jnp.where(lava, jnp.uint16(objects.LAVA), grid), 1, 1, EAST)
