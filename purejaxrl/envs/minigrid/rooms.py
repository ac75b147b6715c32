"""Levels on a lattice of rooms of one size that share their walls, and tasks of picking something up."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import PICKUP, MiniGrid, State
from purejaxrl.types import Array

RIGHT, DOWN, LEFT, UP = range(4)  # the walls of a room, in MiniGrid's order


class Lattice(NamedTuple):
    """The rooms: all is known before anything runs. A room is named by its column and row, as in MiniGrid."""

    size: int  # of a room, walls included
    rows: int
    columns: int

    @property
    def pitch(self) -> int:
        return self.size - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the grid."""
        return self.rows * self.pitch + 1, self.columns * self.pitch + 1

    def walls(self) -> np.ndarray:
        """The grid with every wall and no door, uint16 ``[height, width]``."""
        grid = np.full(self.shape, objects.EMPTY, np.uint16)
        grid[:: self.pitch, :] = grid[:, :: self.pitch] = objects.WALL
        return grid

    def corner(self, column: int | Array, row: int | Array) -> tuple[int | Array, int | Array]:
        """The row and column of a room's corner above on the left."""
        return row * self.pitch, column * self.pitch

    def window(self, column: int, row: int) -> tuple[slice, slice]:
        """A room and its walls as a part of the grid."""
        top, left = row * self.pitch, column * self.pitch
        return slice(top, top + self.size), slice(left, left + self.size)

    def door(self, u: Array, column: int, row: int, wall: int) -> tuple[Any, Any]:
        """A uniform place for a door in a room's wall."""
        top, left = self.corner(column, row)
        along = drawing.integer(u, 1, self.size - 1)
        if wall in (RIGHT, LEFT):
            return top + along, left + (self.pitch if wall == RIGHT else 0)
        return top + (self.pitch if wall == DOWN else 0), left + along

    def far_from_centre(self) -> np.ndarray:
        """Where objects may lie, bool ``[height, width]``: not in the middle of the middle room, nor beside it.

        MiniGrid means to keep them from the agent, which stands there while it draws a level.
        """
        middle = self.size // 2
        y, x = self.rows // 2 * self.pitch + middle, self.columns // 2 * self.pitch + middle
        rows, columns = drawing.rows_columns(self.shape)
        return np.abs(rows - y) + np.abs(columns - x) >= 2

    def place(self, u: Array, grid: Array, column: int, row: int, cell: Any) -> tuple[Array, Array, Array]:
        """The grid with an object on a free cell of a room, and where: ``(grid, y, x)``."""
        window = self.window(column, row)
        y, x = drawing.pick(u, (grid[window] == objects.EMPTY) & self.far_from_centre()[window])
        y, x = y + window[0].start, x + window[1].start
        return drawing.put(grid, y, x, cell), y, x

    def place_agent(self, u: Array, grid: Array, column: int, row: int) -> tuple[Array, Array, Array]:
        """Where the agent starts in a room: ``(y, x, direction)``, uniformly over those before no object."""
        window = self.window(column, row)
        free = grid == objects.EMPTY
        clear = jnp.pad(free | (grid == objects.WALL), 1)
        ahead = [clear[1:-1, 2:], clear[2:, 1:-1], clear[1:-1, :-2], clear[:-2, 1:-1]]  # east, south, west, north
        allowed = jnp.concatenate([(free & one)[window] for one in ahead])
        y, x = drawing.pick(u, allowed)
        return y % self.size + window[0].start, x + window[1].start, y // self.size


class PickUp(MiniGrid):
    """Tasks that end when the agent picks up the one object that the mission names."""

    num_named = 1

    def outcome(self, before: State, action: Array, after: State, prize: Array) -> tuple[Array, Array]:
        del before
        assert after.mission is not None
        wins = (action == PICKUP) & ((after.carrying & objects.NAME) == after.mission[0] & objects.NAME)
        return jnp.where(wins, prize, 0.0), wins


def random_colour(u: Array) -> Array:
    return drawing.integer(u, 0, objects.NUM_COLOURS)
