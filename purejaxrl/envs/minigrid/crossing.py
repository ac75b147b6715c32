"""Rivers of lava, or walls, across the room, each with one opening on the way to the goal."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import EAST, MiniGrid, State, start
from purejaxrl.types import Array, check_choice, check_int, check_odd

OBSTACLES = {"lava": objects.LAVA, "wall": objects.WALL}


class Crossing(MiniGrid):
    """MiniGrid-LavaCrossing and -SimpleCrossing: `num_crossings` rivers on even rows and columns."""

    def __init__(self, size: int = 9, num_crossings: int = 1, obstacle: str = "lava", **options: Any):
        check_odd(size, "env.size", ge=5)
        check_int(num_crossings, "env.num_crossings", ge=1, le=size - 3)
        check_choice(obstacle, OBSTACLES, "env.obstacle")
        super().__init__(size, size, 4 * size**2, **options)
        self.num_crossings, self.obstacle = num_crossings, obstacle

    def generate(self, key: Array) -> State:
        u = jax.random.uniform(key, (3, self.num_crossings))
        places = np.arange(2, self.width - 2, 2)
        river = jnp.stack(drawing.distinct(u[0], 2 * len(places)))
        index = np.arange(2 * len(places))
        there = (river[:, None] == index).any(0)
        upright, level = there[: len(places)], there[len(places) :]  # rivers along columns and along rows

        grid = drawing.walled(self.height, self.width)
        grid[-2, -2] = objects.GOAL
        rows, columns = drawing.rows_columns(grid.shape)
        inside = (rows > 0) & (rows < self.height - 1) & (columns > 0) & (columns < self.width - 1)
        wet = (upright & (columns[0][:, None] == places)).any(1) | (level & (rows == places)).any(1)[:, None]
        grid = jnp.where(inside & wet, jnp.uint16(OBSTACLES[self.obstacle]), grid)

        # Walk from the agent to the goal, across the next river to the east or to the south in random order.
        y, x, to_east = jnp.int32(0), jnp.int32(0), upright.sum()
        for crossing in range(self.num_crossings):
            next_x, next_y = (
                jnp.where(wet & (places > position), places, self.width - 1).min()
                for wet, position in ((upright, x), (level, y))
            )
            east = drawing.integer(u[1, crossing], 0, self.num_crossings - crossing) < to_east
            gap_x = jnp.where(east, next_x, drawing.integer(u[2, crossing], x + 1, next_x))
            gap_y = jnp.where(east, drawing.integer(u[2, crossing], y + 1, next_y), next_y)
            grid = drawing.put(grid, gap_y, gap_x, objects.EMPTY)
            x, y = jnp.where(east, next_x, x), jnp.where(east, y, next_y)
            to_east -= east
        return start(grid, 1, 1, EAST)
