"""Two rooms with a locked door between them: to open it, or to take the box behind it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import TOGGLE, MiniGrid, State, start
from purejaxrl.envs.minigrid.rooms import RIGHT, Lattice, PickUp, random_colour
from purejaxrl.types import Array

ROOMS = Lattice(size=6, rows=1, columns=2)


def two_rooms(key: Array, *, with_box: bool, blocked: bool = False) -> State:
    """Agent and key on the left; perhaps a box on the right, perhaps a ball that blocks the door.

    The mission names the box; the place is the door's.
    """
    u = jax.random.uniform(key, (8,))
    grid = jnp.asarray(ROOMS.walls())
    target = objects.thing(objects.BOX, random_colour(u[0]))
    if with_box:
        grid, *_ = ROOMS.place(u[1], grid, 1, 0, target)
    hue = random_colour(u[2])
    y, x = ROOMS.door(u[3], 0, 0, RIGHT)
    grid = drawing.put(grid, y, x, objects.thing(objects.DOOR, hue, objects.LOCKED))
    if blocked:
        grid = drawing.put(grid, y, x - 1, objects.thing(objects.BALL, random_colour(u[4])))
    grid, *_ = ROOMS.place(u[5], grid, 0, 0, objects.thing(objects.KEY, hue))
    agent = ROOMS.place_agent(u[6], grid, 0, 0)
    return start(grid, *agent, mission=(target,) if with_box else (), places=((y, x),))


class Unlock(MiniGrid):
    """MiniGrid-Unlock: open the door."""

    def __init__(self, **options: Any):
        super().__init__(*ROOMS.shape, 8 * ROOMS.size**2, **options)

    def generate(self, key: Array) -> State:
        return two_rooms(key, with_box=False)

    def outcome(self, before: State, action: Array, after: State, prize: Array) -> tuple[Array, Array]:
        del before
        assert after.places is not None
        door = drawing.get(after.grid, after.places[0, 0], after.places[0, 1])
        wins = (action == TOGGLE) & (objects.door_state(door) == objects.OPEN)
        return jnp.where(wins, prize, 0.0), wins


class UnlockPickup(PickUp):
    """MiniGrid-UnlockPickup: take the box behind the door; with `blocked`, a ball lies before it."""

    def __init__(self, blocked: bool = False, **options: Any):
        super().__init__(*ROOMS.shape, (16 if blocked else 8) * ROOMS.size**2, **options)
        self.blocked = blocked

    def generate(self, key: Array) -> State:
        return two_rooms(key, with_box=True, blocked=self.blocked)
