"""Tasks that name one of several objects in a room: to take it, to go to it, or to put it next to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import DONE, DROP, PICKUP, TOGGLE, MiniGrid, State, front, start
from purejaxrl.types import Array, check_int

KINDS = np.array([objects.KEY, objects.BALL, objects.BOX])


class Named(MiniGrid):
    """Their base: see through walls, and the mission shown, for without it the task is a guess."""

    see_through_walls = True
    needs_mission = True
    num_named = 1


class Fetch(Named):
    """MiniGrid-Fetch: take the object that the mission names, a key or a ball, and no other.

    MiniGrid words the mission in five ways that mean the same; here it has one.
    """

    def __init__(self, size: int = 8, num_objects: int = 3, **options: Any):
        check_int(size, "env.size", ge=4)
        check_int(num_objects, "env.num_objects", ge=1, le=(size - 2) ** 2 - 1)
        super().__init__(size, size, 5 * size**2, **options)
        self.num_objects = num_objects

    def generate(self, key: Array) -> State:
        u, what, more = _split(key, self.num_objects)
        # Two alike are allowed, so kinds and colours are drawn freely.
        cells = [_named(drawing.integer(one, 0, 2 * objects.NUM_COLOURS)) for one in what]
        grid, _ = _scattered(self, u, cells)
        y, x = drawing.pick(more[0], grid == objects.EMPTY)
        target = jnp.stack(cells)[drawing.integer(more[1], 0, self.num_objects)]
        return start(grid, y, x, drawing.integer(more[2], 0, 4), mission=(target,))

    def outcome(self, before: State, action: Array, after: State, prize: Array) -> tuple[Array, Array]:
        del before, action
        assert after.mission is not None
        wins = _alike(after.carrying, after.mission[0])
        return jnp.where(wins, prize, 0.0), after.carrying != objects.EMPTY


class GoTo(Named):
    """Tasks that end with `done`, beside the place of what the mission names, or with `toggle`, in failure."""

    def begin(self, u: Array, grid: Array, free: Array, cells: Sequence[Array], places: Sequence[tuple]) -> State:
        """The agent where it is `free`, and one of the cells as what to go to; `u` ``[3]``: where, which, direction."""
        y, x = drawing.pick(u[0], free)
        target = drawing.integer(u[1], 0, len(cells))
        place = jnp.array(places, jnp.int32)[target]
        mission = (jnp.stack(cells)[target],)
        return start(grid, y, x, drawing.integer(u[2], 0, 4), mission=mission, places=((place[0], place[1]),))

    def outcome(self, before: State, action: Array, after: State, prize: Array) -> tuple[Array, Array]:
        del before
        assert after.places is not None
        distance = jnp.abs(after.places[0, 0] - after.y) + jnp.abs(after.places[0, 1] - after.x)
        wins = (action == DONE) & (distance == 1)
        return jnp.where(wins, prize, 0.0), (action == DONE) | (action == TOGGLE)


class GoToObject(GoTo):
    """MiniGrid-GoToObject: objects that all differ."""

    def __init__(self, size: int = 6, num_objects: int = 2, **options: Any):
        check_int(size, "env.size", ge=4)
        check_int(num_objects, "env.num_objects", ge=1, le=min(3 * objects.NUM_COLOURS, (size - 2) ** 2 - 1))
        super().__init__(size, size, 5 * size**2, **options)
        self.num_objects = num_objects

    def generate(self, key: Array) -> State:
        u, what, more = _split(key, self.num_objects)
        cells = [_named(one) for one in drawing.distinct(what, 3 * objects.NUM_COLOURS)]
        grid, places = _scattered(self, u, cells)
        return self.begin(more[:3], grid, grid == objects.EMPTY, cells, places)


class GoToDoor(GoTo):
    """MiniGrid-GoToDoor: a room of random size with a door in each wall, of different colours."""

    def __init__(self, size: int = 5, **options: Any):
        check_int(size, "env.size", ge=5)
        super().__init__(size, size, 4 * size**2, **options)

    def generate(self, key: Array) -> State:
        u = jax.random.uniform(key, (13,))
        width, height = drawing.integer(u[0], 5, self.width + 1), drawing.integer(u[1], 5, self.height + 1)
        top, bottom = (drawing.integer(one, 2, width - 2) for one in u[2:4])
        left, right = (drawing.integer(one, 2, height - 2) for one in u[4:6])
        places = ((0, top), (height - 1, bottom), (left, 0), (right, width - 1))
        cells = [objects.thing(objects.DOOR, hue, objects.CLOSED) for hue in drawing.distinct(u[6:10], 6)]

        rows, columns = drawing.rows_columns((self.height, self.width))
        room = drawing.within((self.height, self.width), 0, 0, height, width)
        edge = (rows == 0) | (rows == height - 1) | (columns == 0) | (columns == width - 1)
        grid = jnp.where(room & edge, jnp.uint16(objects.WALL), jnp.uint16(objects.EMPTY))
        for place, cell in zip(places, cells, strict=True):
            grid = drawing.put(grid, *place, cell)
        return self.begin(u[10:], grid, (grid == objects.EMPTY) & room, cells, places)


class PutNear(Named):
    """MiniGrid-PutNear: take the first object that the mission names and drop it next to the second."""

    num_named = 2

    def __init__(self, size: int = 6, num_objects: int = 2, **options: Any):
        check_int(size, "env.size", ge=6)
        check_int(num_objects, "env.num_objects", ge=2, le=3)
        super().__init__(size, size, 5 * size, **options)
        self.num_objects = num_objects

    def generate(self, key: Array) -> State:
        u, what, more = _split(key, self.num_objects)
        cells = [_named(one) for one in drawing.distinct(what, 3 * objects.NUM_COLOURS)]
        grid, places = _scattered(self, u, cells, apart=True)
        y, x = drawing.pick(more[0], grid == objects.EMPTY)
        move, target = drawing.distinct(more[1:3], self.num_objects)
        named, place = jnp.stack(cells), jnp.array(places)[target]
        mission = (named[move], named[target])
        return start(grid, y, x, drawing.integer(more[3], 0, 4), mission=mission, places=((place[0], place[1]),))

    def outcome(self, before: State, action: Array, after: State, prize: Array) -> tuple[Array, Array]:
        assert after.mission is not None
        assert after.places is not None
        held, holds = before.carrying != objects.EMPTY, after.carrying != objects.EMPTY
        wrong = (action == PICKUP) & holds & ~_alike(after.carrying, after.mission[0])
        drops = (action == DROP) & held
        y, x = front(after)
        near = (jnp.abs(y - after.places[0, 0]) <= 1) & (jnp.abs(x - after.places[0, 1]) <= 1)
        return jnp.where(drops & ~holds & near, prize, 0.0), wrong | drops


def _split(key: Array, count: int) -> tuple[Array, Array, Array]:
    """Uniform numbers for places, for what lies there, and four more."""
    u = jax.random.uniform(key, (2 * count + 4,))
    return u[:count], u[count : 2 * count], u[2 * count :]


def _named(index: Array) -> Array:
    """One of the 18 objects: keys first, then balls, then boxes."""
    return objects.thing(jnp.asarray(KINDS)[index // objects.NUM_COLOURS], index % objects.NUM_COLOURS)


def _scattered(env: MiniGrid, u: Array, cells: list[Array], apart: bool = False) -> tuple[Array, list]:
    """The room with each of the cells on a free place, with `apart` never next to another; and the places."""
    grid, places = jnp.asarray(drawing.walled(env.height, env.width)), []
    rows, columns = drawing.rows_columns(grid.shape)
    for one, cell in zip(u, cells, strict=True):
        free = grid == objects.EMPTY
        for y, x in places if apart else ():
            free &= (abs(rows - y) > 1) | (abs(columns - x) > 1)
        place = drawing.pick(one, free)
        grid = drawing.put(grid, *place, cell)
        places.append(place)
    return grid, places


def _alike(cell: Array, other: Array) -> Array:
    return (cell & objects.NAME) == (other & objects.NAME)
