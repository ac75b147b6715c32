"""A corridor with rooms on both sides: a key on the left opens the room on the right that holds the ball."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import State, start
from purejaxrl.envs.minigrid.rooms import DOWN, RIGHT, Lattice, PickUp, random_colour
from purejaxrl.types import Array, check_int


class KeyCorridor(PickUp):
    """MiniGrid-KeyCorridor: find the key, open the locked room, take the ball. Doors are opened one by one.

    MiniGrid adds doors in random places until every room is within reach. Over doors in a random order, that is all up
    to the last one that was needed: with a random rank for each, the least rank that connects the rooms.
    """

    hard_exploration = "only the object behind a locked door pays"

    def __init__(self, room_size: int = 6, num_rows: int = 3, **options: Any):
        check_int(room_size, "env.room_size", ge=3)
        check_int(num_rows, "env.num_rows", ge=1)
        self.rooms = Lattice(room_size, num_rows, 3)
        super().__init__(*self.rooms.shape, 30 * room_size**2, **options)

    def generate(self, key: Array) -> State:
        rooms, rows = self.rooms, self.rooms.rows
        level_key, door_key = jax.random.split(key)
        u = jax.random.uniform(level_key, (9,))
        locked_row, key_row = drawing.integer(u[0], 0, rows), drawing.integer(u[1], 0, rows)
        hue, target = random_colour(u[2]), objects.thing(objects.BALL, random_colour(u[3]))

        corridor = rooms.walls()
        corridor[1:-1, rooms.pitch + 1 : 2 * rooms.pitch] = objects.EMPTY
        grid = jnp.asarray(corridor)
        for cell, column, row, at in (
            (target, 2, locked_row, u[4:6]),
            (objects.thing(objects.KEY, hue), 0, key_row, u[6:8]),
        ):
            top, left = rooms.corner(column, row)
            y, x = (drawing.integer(one, 1, rooms.pitch) for one in at)
            grid = drawing.put(grid, top + y, left + x, cell)

        # Rows of `doors`: into the corridor from the left and from the right, then down on the left and on the right.
        # Its columns: rank, colour and place of each.
        doors = jax.random.uniform(door_key, (3, 4, rows))
        row = jnp.arange(rows)
        shut = jnp.array([row < 0, row == locked_row, row < 0, (row == locked_row) | (row + 1 == locked_row)])
        rank = jnp.where(shut | ((row == rows - 1) & jnp.array([[False], [False], [True], [True]])), 2.0, doors[0])
        last = jnp.maximum(_reach(rank[0], rank[2]), _reach(rank[1].at[locked_row].set(0.0), rank[3]))
        hues = random_colour(doors[1])
        slots = [(0, RIGHT), (1, RIGHT), (0, DOWN), (2, DOWN)]
        places = [
            [rooms.door(doors[2, side, r], column, r, wall) for r in range(rows)]
            for side, (column, wall) in enumerate(slots)
        ]
        # Once for all: XLA would compute them anew for every cell.
        last, hues, places = jax.lax.optimization_barrier((last, hues, places))
        for r in range(rows):
            lock = jnp.where(locked_row == r, objects.thing(objects.DOOR, hue, objects.LOCKED), objects.WALL)
            y, x = places[1][r]
            grid = drawing.put(grid, y, x, lock)
        grid = jax.lax.optimization_barrier(grid)
        agent = rooms.place_agent(u[8], grid, 1, rows // 2)
        for side in range(4):
            for r in range(rows if side < 2 else rows - 1):
                door = objects.thing(objects.DOOR, hues[side, r], objects.CLOSED)
                here = drawing.at(rooms.shape, *places[side][r]) & (rank[side, r] <= last)
                grid = jnp.where(here, door, grid)
        return start(grid, *agent, mission=(target,))


def _reach(into: Array, down: Array) -> Array:
    """The least rank of doors that lets one from the corridor into every room of a column.

    `into` ``[rows]`` ranks the doors between rooms and corridor, `down` those to the next room below. The worst door
    on the best way to a room: ways go along the column, so one sweep down and one up find them.
    """
    best = list(into)
    for row in range(1, len(best)):
        best[row] = jnp.minimum(best[row], jnp.maximum(best[row - 1], down[row - 1]))
    for row in reversed(range(len(best) - 1)):
        best[row] = jnp.minimum(best[row], jnp.maximum(best[row + 1], down[row]))
    return jnp.stack(best).max()
