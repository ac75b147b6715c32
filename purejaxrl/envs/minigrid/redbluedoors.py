"""Two doors to be opened in the right order."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import MiniGrid, State, start
from purejaxrl.types import Array, check_int


class RedBlueDoors(MiniGrid):
    """MiniGrid-RedBlueDoors: the red one first, then the blue one. The places are theirs, in this order."""

    def __init__(self, size: int = 8, **options: Any):
        check_int(size, "env.size", ge=4)
        super().__init__(size, 2 * size, 20 * size**2, **options)

    def generate(self, key: Array) -> State:
        u = jax.random.uniform(key, (4,))
        size, left = self.height, self.height // 2
        walls = drawing.walled(self.height, self.width)
        walls[:, [left, left + size - 1]] = objects.WALL
        inner = slice(left + 1, left + size - 1)
        y, x = drawing.pick(u[0], jnp.asarray(walls[:, inner] == objects.EMPTY))
        red, blue = (drawing.integer(one, 1, size - 1) for one in u[1:3])
        grid = drawing.put(walls, red, left, objects.thing(objects.DOOR, objects.RED, objects.CLOSED))
        grid = drawing.put(grid, blue, left + size - 1, objects.thing(objects.DOOR, objects.BLUE, objects.CLOSED))
        places = ((red, left), (blue, left + size - 1))
        return start(grid, y, x + inner.start, drawing.integer(u[3], 0, 4), places=places)

    def outcome(self, before: State, action: Array, after: State, prize: Array) -> tuple[Array, Array]:
        del action
        red_before, blue_before = _are_open(before)
        red, blue = _are_open(after)
        return jnp.where(blue & red_before, prize, 0.0), blue | red & blue_before


def _are_open(state: State) -> tuple[Array, Array]:
    assert state.places is not None
    doors = drawing.get(state.grid, state.places[:, 0], state.places[:, 1])
    is_open = objects.door_state(doors) == objects.OPEN
    return is_open[0], is_open[1]
