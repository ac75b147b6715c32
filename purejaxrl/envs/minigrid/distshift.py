"""Two strips of lava, the second of which lies elsewhere in the test than in training."""

from __future__ import annotations

from typing import Any

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import EAST, MiniGrid, State, start
from purejaxrl.types import Array, check_int

HEIGHT, WIDTH = 7, 9


class DistShift(MiniGrid):
    """MiniGrid-DistShift: to the goal on the other side; always the same level."""

    see_through_walls = True

    def __init__(self, strip_row: int = 2, **options: Any):
        check_int(strip_row, "env.strip_row", ge=1, le=HEIGHT - 2)
        super().__init__(HEIGHT, WIDTH, 4 * HEIGHT * WIDTH, **options)
        self.strip_row = strip_row

    def generate(self, key: Array) -> State:
        del key
        grid = drawing.walled(HEIGHT, WIDTH)
        grid[1, WIDTH - 2] = objects.GOAL
        grid[[1, self.strip_row], 3 : WIDTH - 3] = objects.LAVA
        return start(grid, 1, 1, EAST)
