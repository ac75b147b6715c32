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


class Chain(NamedTuple):
    """Rooms placed so far; of the arrays' rows only the first `placed` count."""

    top: Array  # int32 [num_rooms], walls included, as all four
    left: Array
    height: Array
    width: Array
    door_y: Array  # int32 [num_rooms], the door by which one enters; the first room has none
    door_x: Array
    wall: Array  # int32, the wall of the last room that has its door: right, bottom, left, top
    placed: Array  # int32
    turn: Array  # int32, draws so far


class MultiRoom(MiniGrid):
    """MiniGrid-MultiRoom: from the first room through `num_rooms` rooms to the goal in the last.

    MiniGrid adds room after room, each in up to eight tries, and begins again when a room finds no place. So it is
    here, until a chain is whole: the loop ends for a batch when its last lane does. The first room is drawn from the
    places where it fits, which is what beginning again makes of it.
    """

    hard_exploration = "only the goal pays, rooms away"

    def __init__(self, num_rooms: int = 6, max_room_size: int = 10, **options: Any):
        check_int(num_rooms, "env.num_rooms", ge=2)
        check_int(max_room_size, "env.max_room_size", ge=SMALLEST, le=SIZE - 1)
        super().__init__(SIZE, SIZE, 20 * num_rooms, **options)
        self.num_rooms, self.max_room_size = num_rooms, max_room_size

    def generate(self, key: Array) -> State:
        chain_key, level_key = jax.random.split(key)
        chain = self._chain(chain_key)
        rows, columns = drawing.rows_columns((SIZE, SIZE))
        wall = jnp.zeros((SIZE, SIZE), bool)
        for top, left, height, width in zip(chain.top, chain.left, chain.height, chain.width, strict=True):
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

    def _chain(self, key: Array) -> Chain:
        """A whole chain: rooms are added until the last has found its place."""
        none = jnp.zeros(self.num_rooms, jnp.int32)
        empty = Chain(*[none] * 6, *[jnp.zeros((), jnp.int32)] * 3)

        def grow(chain: Chain) -> Chain:
            u = jax.random.uniform(jax.random.fold_in(key, chain.turn), (TRIES * 2 + 2,))
            first, (fits, more) = self._first_room(u[-2:], chain), self._next_room(u[:-2].reshape(2, TRIES), chain)
            chain = jax.tree.map(lambda new, old: jnp.where((chain.placed == 0) | ~fits, new, old), first, more)
            return chain._replace(turn=chain.turn + 1)

        return jax.lax.while_loop(lambda chain: chain.placed < self.num_rooms, grow, empty)

    def _first_room(self, u: Array, chain: Chain) -> Chain:
        """A chain of one room, uniformly over sizes and places together; MiniGrid leaves the last row free."""

        def places(limit: int) -> np.ndarray:
            sizes = range(SMALLEST, self.max_room_size + 1)
            return np.array([(first, size) for size in sizes for first in range(SIZE - 2) if first + size <= limit])

        (top, height), (left, width) = (
            jnp.asarray(table, jnp.int32)[drawing.integer(one, 0, len(table))]
            for one, table in ((u[0], places(SIZE - 1)), (u[1], places(SIZE)))
        )
        first = jnp.arange(self.num_rooms) == 0
        placed = {"top": top, "left": left, "height": height, "width": width}
        placed = {name: jnp.where(first, value, 0) for name, value in placed.items()}
        # MiniGrid lets no chain leave its first room by the left wall.
        return chain._replace(**placed, wall=jnp.int32(2), placed=jnp.int32(1))

    def _next_room(self, u: Array, chain: Chain) -> tuple[Array, Chain]:
        """Whether one of the tries ``u [2, TRIES]`` fits, and the chain with the first that does."""
        last = jnp.arange(self.num_rooms) == chain.placed - 1
        top, left, height, width = (jnp.where(last, x, 0).sum() for x in chain[:4])
        sizes = self.max_room_size - SMALLEST + 1
        choice = drawing.integer(u[0], 0, 3 * sizes * sizes)
        exit_wall, new_height, new_width = (
            choice // sizes**2,
            SMALLEST + choice // sizes % sizes,
            SMALLEST + choice % sizes,
        )
        exit_wall += exit_wall >= chain.wall
        sideways = exit_wall % 2 == 0  # through the right or the left wall
        # Where along its wall the door is, then where along its own wall the new room has it.
        along = u[1] * (jnp.where(sideways, height, width) - 2)
        place = 1 + jnp.floor(along).astype(jnp.int32)
        shift = drawing.integer(along % 1.0, 1, jnp.where(sideways, new_height, new_width) - 1)
        door_y = top + jnp.where(sideways, place, jnp.where(exit_wall == 1, height - 1, 0))
        door_x = left + jnp.where(sideways, jnp.where(exit_wall == 0, width - 1, 0), place)
        new_top = door_y - jnp.where(sideways, shift, jnp.where(exit_wall == 1, 0, new_height - 1))
        new_left = door_x - jnp.where(sideways, jnp.where(exit_wall == 0, 0, new_width - 1), shift)

        fits = (new_top >= 0) & (new_left >= 0) & (new_left + new_width <= SIZE) & (new_top + new_height < SIZE)
        for room in range(self.num_rooms - 2):  # the room before the new one is next to it by design
            apart = (new_left + new_width < chain.left[room]) | (chain.left[room] + chain.width[room] <= new_left)
            apart |= (new_top + new_height < chain.top[room]) | (chain.top[room] + chain.height[room] <= new_top)
            fits &= apart | (room >= chain.placed - 1)
        chosen = (jnp.cumsum(fits) == 1) & fits
        new = [
            jnp.where(chosen, x, 0).sum() for x in (new_top, new_left, new_height, new_width, door_y, door_x, exit_wall)
        ]
        here = jnp.arange(self.num_rooms) == chain.placed
        arrays = (jnp.where(here, value, x) for value, x in zip(new[:6], chain[:6], strict=True))
        return fits.any(), Chain(*arrays, wall=(new[6] + 2) % 4, placed=chain.placed + 1, turn=chain.turn)
