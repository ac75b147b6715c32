"""An empty room with a goal in its corner."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import EAST, MiniGrid, State, start
from purejaxrl.types import Array, check_int


class Empty(MiniGrid):
    """MiniGrid-Empty: from the corner above, or from anywhere with `random_start`, to the corner below."""

    see_through_walls = True

    def __init__(self, size: int = 8, random_start: bool = False, **options: Any):
        check_int(size, "env.size", ge=4)
        super().__init__(size, size, 4 * size**2, **options)
        self.random_start = random_start

    def generate(self, key: Array) -> State:
        grid = drawing.walled(self.height, self.width)
        grid[-2, -2] = objects.GOAL
        if not self.random_start:
            return start(grid, 1, 1, EAST)
        place, turn = jax.random.uniform(key, (2,))
        return start(grid, *drawing.pick(place, jnp.asarray(grid == objects.EMPTY)), drawing.integer(turn, 0, 4))
