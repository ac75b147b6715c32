"""A ball somewhere behind locked doors, their keys in boxes, balls before them."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import State, start
from purejaxrl.envs.minigrid.rooms import RIGHT, Lattice, PickUp
from purejaxrl.types import Array, SettingError, check_int, shown

TARGET = objects.BALL | objects.BLUE << 4
BLOCKER = objects.BALL | objects.GREEN << 4
STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))  # through each wall, as change of row and column
SIDES, CORNERS = ((2, 1), (1, 2), (0, 1), (1, 0)), ((2, 0), (2, 2), (0, 2), (0, 0))  # rooms by column and row


class ObstructedMaze(PickUp):
    """MiniGrid-ObstructedMaze: find and take the blue ball.

    With `num_quarters` 0 two rooms; else 3 x 3 rooms, of which that many sides around the middle one are open. In
    version 0 of these a ball may bury a key; `keys_last` (version 1) lays the keys when all balls lie.
    """

    hard_exploration = "only the ball behind locked doors pays"

    def __init__(
        self,
        num_quarters: int = 4,
        agent_room: tuple[int, int] = (1, 1),
        key_in_box: bool = True,
        blocked: bool = True,
        keys_last: bool = True,
        num_rooms_visited: int = 25,
        **options: Any,
    ):
        check_int(num_quarters, "env.num_quarters", ge=0, le=len(SIDES))
        check_int(num_rooms_visited, "env.num_rooms_visited", ge=1)
        self.rooms = Lattice(6, 3, 3) if num_quarters else Lattice(6, 1, 2)
        if agent_room not in itertools.product(range(self.rooms.columns), range(self.rooms.rows)):
            below = f"({self.rooms.columns}, {self.rooms.rows})"
            raise SettingError(f"env.agent_room must be a column and a row below {below}, got {shown(agent_room)}")
        super().__init__(*self.rooms.shape, 4 * num_rooms_visited * self.rooms.size**2, **options)
        self.num_quarters, self.agent_room = num_quarters, agent_room
        self.key_in_box, self.blocked, self.keys_last = key_in_box, blocked, keys_last

    def generate(self, key: Array) -> State:
        numbers = iter(jax.random.uniform(key, (10 + 5 * self.num_quarters,)))
        hues = drawing.distinct(jax.random.uniform(jax.random.fold_in(key, 1), (objects.NUM_COLOURS,)), 6)
        grid = jnp.asarray(self.rooms.walls())
        if self.num_quarters == 0:
            grid = self._lock(grid, next(numbers), (0, 0), RIGHT, hues[0])
            grid = self._lay_key(grid, next(numbers), (0, 0), hues[0])
            grid, *_ = self.rooms.place(next(numbers), grid, 1, 0, TARGET)
        for side, room in enumerate(SIDES[: self.num_quarters]):
            y, x = self.rooms.door(next(numbers), 1, 1, side)
            grid = drawing.put(grid, y, x, objects.thing(objects.DOOR, hues[side], objects.CLOSED))
            for turn in (-1, 1):
                hue = hues[(side + turn) % objects.NUM_COLOURS]
                grid = self._lock(grid, next(numbers), room, (side + turn) % 4, hue)
                if not self.keys_last:
                    grid = self._lay_key(grid, next(numbers), room, hue)
            for turn in (-1, 1) if self.keys_last else ():
                grid = self._lay_key(grid, next(numbers), room, hues[(side + turn) % objects.NUM_COLOURS])
        if self.num_quarters:
            u, choice = next(numbers), drawing.integer(next(numbers), 0, self.num_quarters)
            options = [self.rooms.place(u, grid, *corner, TARGET)[0] for corner in CORNERS[: self.num_quarters]]
            grid = jnp.stack(options)[choice]
        agent = self.rooms.place_agent(next(numbers), grid, *self.agent_room)
        return start(grid, *agent, mission=(TARGET,))

    def _lock(self, grid: Array, u: Array, room: tuple[int, int], wall: int, hue: Array) -> Array:
        """A locked door in a room's wall, perhaps a ball before it, over what may lie there."""
        y, x = self.rooms.door(u, *room, wall)
        grid = drawing.put(grid, y, x, objects.thing(objects.DOOR, hue, objects.LOCKED))
        down, right = STEPS[wall]
        return drawing.put(grid, y - down, x - right, BLOCKER) if self.blocked else grid

    def _lay_key(self, grid: Array, u: Array, room: tuple[int, int], hue: Array) -> Array:
        key = objects.thing(objects.KEY, hue)
        return self.rooms.place(u, grid, *room, objects.box(objects.GREY, key) if self.key_in_box else key)[0]
