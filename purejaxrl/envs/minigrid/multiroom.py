"""A chain of rooms with closed doors between them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import MiniGrid, State, start
from purejaxrl.types import Array, check_int

SIZE, SMALLEST, TRIES = 25, 4, 8  # of the grid, of a room with its walls, for a room after the first
MOST_ROOMS = 12  # of so many, up to 10 cells wide, one chain in 1,600 finds its places
CHAINS = 8  # tried at once: a batch waits for its slowest lane, and one chain alone would keep it waiting


class Room(NamedTuple):
    """Where a room is, int32 scalars, or ``[num_rooms]`` for the rooms of a level."""

    top: Array  # walls included, as all four
    left: Array
    height: Array
    width: Array
    door_y: Array  # of the door by which one enters; the first room has none
    door_x: Array
    wall: Array  # the one that has its door: right, bottom, left, top


class MultiRoom(MiniGrid):
    """MiniGrid-MultiRoom: from the first room through `num_rooms` rooms to the goal in the last.

    MiniGrid adds room after room, each in up to eight tries, and begins again when a room finds no place. So it is
    here, with some chains at a time, of which the first whole one counts. The first room is drawn from the places where
    it fits, which is what beginning again makes of it.
    """

    hard_exploration = "only the goal pays, rooms away"

    def __init__(self, num_rooms: int = 6, max_room_size: int = 10, **options: Any):
        check_int(num_rooms, "env.num_rooms", ge=2, le=MOST_ROOMS)
        check_int(max_room_size, "env.max_room_size", ge=SMALLEST, le=SIZE - 1)
        super().__init__(SIZE, SIZE, 20 * num_rooms, **options)
        self.num_rooms, self.max_room_size = num_rooms, max_room_size

    def generate(self, key: Array) -> State:
        chain_key, level_key = jax.random.split(key)
        chain = self._chain(chain_key)
        rows, columns = drawing.rows_columns((SIZE, SIZE))
        wall = jnp.zeros((SIZE, SIZE), bool)
        for top, left, height, width in zip(*chain[:4], strict=True):
            bottom, right = top + height - 1, left + width - 1
            wall |= ((rows == top) | (rows == bottom)) & (columns >= left) & (columns <= right)
            wall |= ((columns == left) | (columns == right)) & (rows >= top) & (rows <= bottom)
        grid = jnp.where(wall, jnp.uint16(objects.WALL), jnp.uint16(objects.EMPTY))

        *hues, y, x, goal_y, goal_x, turn = jax.random.uniform(level_key, (self.num_rooms + 4,))
        # Each door has another colour than the one before.
        turns = [drawing.integer(one, room > 0, objects.NUM_COLOURS) for room, one in enumerate(hues)]
        doors = objects.thing(objects.DOOR, jnp.cumsum(jnp.stack(turns)) % objects.NUM_COLOURS, objects.CLOSED)
        grid, doors = jax.lax.optimization_barrier((grid, doors))  # or every cell computes them anew
        for room in range(1, self.num_rooms):
            door = doors[room - 1]
            grid = drawing.put(grid, chain.door_y[room], chain.door_x[room], door)
        y, x, goal_y, goal_x = (  # the rooms' floors are free, and there are two rooms or more
            first[room] + drawing.integer(u, 1, size[room] - 1)
            for u, first, size, room in (
                (y, chain.top, chain.height, 0),
                (x, chain.left, chain.width, 0),
                (goal_y, chain.top, chain.height, -1),
                (goal_x, chain.left, chain.width, -1),
            )
        )
        return start(drawing.put(grid, goal_y, goal_x, objects.GOAL), y, x, drawing.integer(turn, 0, 4))

    def _chain(self, key: Array) -> Room:
        """The rooms ``[num_rooms]`` of the first whole chain."""

        def try_some(carry: tuple[Array, Array, Room]) -> tuple[Array, Array, Room]:
            turn = carry[0]
            bits = jax.random.bits(jax.random.fold_in(key, turn), (CHAINS * self.num_rooms * TRIES,), jnp.uint32)
            whole, rooms = jax.vmap(self._try)(bits.reshape(CHAINS, self.num_rooms, TRIES))
            return turn + 1, whole.any(), jax.tree.map(lambda x: x[jnp.argmax(whole)], rooms)

        none = Room(*[jnp.zeros(self.num_rooms, jnp.int32)] * len(Room._fields))
        return jax.lax.while_loop(lambda carry: ~carry[1], try_some, (jnp.int32(0), jnp.bool(False), none))[2]

    def _try(self, bits: Array) -> tuple[Array, Room]:
        """A chain from random bits ``[num_rooms, TRIES]``, and whether each of its rooms has found a place."""
        rooms, whole = [self._first_room(bits[0])], jnp.bool(True)
        for one in bits[1:]:
            fits = self._fits(self._next_room(one, rooms[-1]), rooms[:-1])
            first = jnp.where(fits, jnp.arange(TRIES), TRIES).min()
            whole &= first < TRIES
            chosen = jnp.where(jnp.arange(TRIES) == first, one, 0).sum()
            rooms.append(self._next_room(chosen, rooms[-1]))
        return whole, jax.tree.map(lambda *x: jnp.stack(x), *rooms)

    def _first_room(self, bits: Array) -> Room:
        """Uniformly over sizes and places together; MiniGrid leaves the last row free."""

        def places(limit: int) -> np.ndarray:
            sizes = range(SMALLEST, self.max_room_size + 1)
            return np.array([(first, size) for size in sizes for first in range(SIZE - 2) if first + size <= limit])

        (top, height), (left, width) = (
            jnp.asarray(table, jnp.int32)[one % len(table)]
            for one, table in ((bits[0], places(SIZE - 1)), (bits[1], places(SIZE)))
        )
        none = jnp.zeros((), jnp.int32)
        # MiniGrid lets no chain leave its first room by the left wall.
        return Room(top, left, height, width, door_y=none, door_x=none, wall=jnp.full((), 2, jnp.int32))

    def _next_room(self, bits: Array, last: Room) -> Room:
        """A try for the room after the last one, from 32 random bits, of any shape."""
        sizes = self.max_room_size - SMALLEST + 1
        choices = 3 * sizes * sizes
        choice, u = (bits % choices).astype(jnp.int32), (bits // choices).astype(jnp.float32) / (2**32 / choices)
        exit_wall, height, width = choice // sizes**2, SMALLEST + choice // sizes % sizes, SMALLEST + choice % sizes
        exit_wall += exit_wall >= last.wall
        sideways = exit_wall % 2 == 0  # through the right or the left wall
        # Where along its wall the door is, then where along its own wall the new room has it.
        along = jnp.minimum(u, 1 - 2**-20) * (jnp.where(sideways, last.height, last.width) - 2)
        place = 1 + jnp.floor(along).astype(jnp.int32)
        shift = drawing.integer(along % 1.0, 1, jnp.where(sideways, height, width) - 1)
        door_y = last.top + jnp.where(sideways, place, jnp.where(exit_wall == 1, last.height - 1, 0))
        door_x = last.left + jnp.where(sideways, jnp.where(exit_wall == 0, last.width - 1, 0), place)
        top = door_y - jnp.where(sideways, shift, jnp.where(exit_wall == 1, 0, height - 1))
        left = door_x - jnp.where(sideways, jnp.where(exit_wall == 0, 0, width - 1), shift)
        return Room(top, left, height, width, door_y, door_x, (exit_wall + 2) % 4)

    def _fits(self, new: Room, others: list[Room]) -> Array:
        """Whether rooms are on the grid and apart from the others: all but the last, which they touch by design."""
        right, bottom = new.left + new.width, new.top + new.height
        fits = (new.top >= 0) & (new.left >= 0) & (right <= SIZE) & (bottom < SIZE)
        for other in others:
            apart = (right < other.left) | (other.left + other.width <= new.left)
            fits &= apart | (bottom < other.top) | (other.top + other.height <= new.top)
        return fits
