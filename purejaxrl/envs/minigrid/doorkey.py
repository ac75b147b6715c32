"""A key, a locked door, and the goal behind it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import MiniGrid, State, start
from purejaxrl.types import Array, check_int


class DoorKey(MiniGrid):
    """MiniGrid-DoorKey: agent and key to the left of a wall with a locked door, the goal to its right."""

    hard_exploration = "only the goal behind a locked door pays"

    def __init__(self, size: int = 8, **options: Any):
        check_int(size, "env.size", ge=5)
        super().__init__(size, size, 10 * size**2, **options)

    def generate(self, key: Array) -> State:
        split, door, agent, key_place, turn = jax.random.uniform(key, (5,))
        wall = drawing.integer(split, 2, self.width - 2)
        y, x = _on_the_left(self.height, wall, agent, None)
        key_y, key_x = _on_the_left(self.height, wall, key_place, (y, x))
        door_y = drawing.integer(door, 1, self.height - 2)

        grid = drawing.walled(self.height, self.width)
        grid[-2, -2] = objects.GOAL
        rows, columns = drawing.rows_columns(grid.shape)
        barrier = jnp.where(rows == door_y, objects.thing(objects.DOOR, objects.YELLOW, objects.LOCKED), objects.WALL)
        grid = jnp.where(columns == wall, barrier, grid)
        grid = drawing.put(grid, key_y, key_x, objects.thing(objects.KEY, objects.YELLOW))
        return start(grid, y, x, drawing.integer(turn, 0, 4))


def _on_the_left(height: int, wall: Array, u: Array, taken: tuple[Array, Array] | None) -> tuple[Array, Array]:
    """A uniform cell of the room to the left of the column `wall`, but for the one that is taken.

    The room is a rectangle: arithmetic does what :func:`drawing.pick` would do with a mask.
    """
    width = wall - 1
    if taken is None:
        rank = drawing.integer(u, 0, (height - 2) * width)
    else:
        rank = drawing.integer(u, 0, (height - 2) * width - 1)
        rank += rank >= (taken[0] - 1) * width + taken[1] - 1
    return 1 + rank // width, 1 + rank % width
