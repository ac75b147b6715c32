"""Remember an object while walking down a hallway, then turn to the one that is like it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import EAST, PICKUP, TOGGLE, MiniGrid, State, act, start
from purejaxrl.types import Array, check_odd


class Memory(MiniGrid):
    """MiniGrid-Memory: the places are beside the right and beside the wrong object. Nothing can be picked up."""

    def __init__(self, size: int = 13, random_length: bool = False, **options: Any):
        check_odd(size, "env.size", ge=7)
        super().__init__(size, size, 5 * size**2, **options)
        self.random_length = random_length

    def generate(self, key: Array) -> State:
        u = jax.random.uniform(key, (4,))
        middle = self.height // 2
        end = drawing.integer(u[0], 4, self.width - 2) if self.random_length else jnp.int32(self.width - 3)
        grid = drawing.walled(self.height, self.width)
        grid[[middle - 2, middle + 2], 1:5] = grid[[middle - 1, middle + 1], 4] = objects.WALL
        rows, columns = drawing.rows_columns(grid.shape)
        beside = (abs(rows - middle) == 1) & (columns >= 5) & (columns < end)
        wall = beside | (columns == end) & (rows != middle) | (columns == end + 2)
        grid = jnp.where(wall, jnp.uint16(objects.WALL), grid)

        first, above, below = _pair(u[1])[0], *_pair(u[2])
        grid = drawing.put(grid, middle - 1, 1, first)
        grid = drawing.put(drawing.put(grid, middle - 2, end + 1, above), middle + 2, end + 1, below)
        right = jnp.where(first == above, middle - 1, middle + 1)
        x = drawing.integer(u[3], 1, end + 1)
        return start(grid, middle, x, EAST, places=((right, end + 1), (2 * middle - right, end + 1)))

    def transition(self, key: Array, state: State, action: Array) -> State:
        del key
        return act(state, jnp.where(action == PICKUP, TOGGLE, action))

    def outcome(self, before: State, action: Array, after: State, prize: Array) -> tuple[Array, Array]:
        del before, action
        assert after.places is not None
        right, wrong = ((after.places == jnp.stack([after.y, after.x])).all(1)[i] for i in range(2))
        return jnp.where(right, prize, 0.0), right | wrong


def _pair(u: Array) -> tuple[Array, Array]:
    """A green key and a green ball, in random order."""
    key, ball = (jnp.uint16(kind | objects.GREEN << 4) for kind in (objects.KEY, objects.BALL))
    return jnp.where(u < 0.5, key, ball), jnp.where(u < 0.5, ball, key)
