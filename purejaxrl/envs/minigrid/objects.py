"""MiniGrid's objects as numbers, and what an agent can do with each.

A cell of the grid, and what the agent carries, is one uint16: bits 0-3 the object's kind, 4-6 its colour, 7-8 a door's
state, 9-15 kind and colour of what a box holds. The first three are what MiniGrid's `encode` shows, in its numbering.
An empty cell, an empty hand and an empty box are all `EMPTY`.
"""

from __future__ import annotations

from typing import TypeVar

import jax.numpy as jnp
import numpy as np

from purejaxrl.types import Array

Cell = TypeVar("Cell", Array, np.ndarray, int)  # one or several

UNSEEN, NOTHING, WALL_KIND, FLOOR, DOOR, KEY, BALL, BOX, GOAL_KIND, LAVA_KIND, AGENT = range(11)
RED, GREEN, BLUE, PURPLE, YELLOW, GREY = range(6)
OPEN, CLOSED, LOCKED = range(3)
NUM_KINDS, NUM_COLOURS, NUM_STATES = 11, 6, 3
SHIFTS, MASKS = (0, 4, 7), (15, 7, 3)  # where kind, colour and door state are
NAME = 127  # the bits of kind and colour: what missions call an object by

EMPTY = NOTHING


def thing(what: int | Array, hue: int | Array = 0, state: int | Array = 0) -> Array:
    """An object as it stands in a cell; a box made so is empty."""
    what, hue, state = (jnp.asarray(x, jnp.uint16) for x in (what, hue, state))
    return what | hue << 4 | state << 7 | jnp.where(what == BOX, jnp.uint16(EMPTY << 9), jnp.uint16(0))


def box(hue: int | Array, content: int | Array = EMPTY) -> Array:
    """A box around `content`, a key or a ball."""
    return (jnp.asarray(thing(BOX, hue)) & 511) | jnp.asarray(content, jnp.uint16) << 9


WALL = WALL_KIND | GREY << 4
GOAL = GOAL_KIND | GREEN << 4
LAVA = LAVA_KIND | RED << 4


def kind(cell: Cell) -> Cell:
    return cell & 15


def colour(cell: Cell) -> Cell:
    return cell >> 4 & 7


def door_state(cell: Cell) -> Cell:
    return cell >> 7 & 3


def is_kind(cell: Array, *kinds: int) -> Array:
    """Whether the object is one of `kinds`, by one shift of a constant."""
    among = sum(1 << one for one in kinds)
    return (jnp.uint16(among) >> kind(cell) & 1).astype(bool)


def _open_door(cell: Array) -> Array:
    return is_kind(cell, DOOR) & (door_state(cell) == OPEN)


def can_overlap(cell: Array) -> Array:
    """Whether the agent can stand there."""
    return is_kind(cell, NOTHING, FLOOR, GOAL_KIND, LAVA_KIND) | _open_door(cell)


def can_pick_up(cell: Array) -> Array:
    return is_kind(cell, KEY, BALL, BOX)


def transparent(cell: Array) -> Array:
    """Whether the agent sees behind it."""
    return ~is_kind(cell, WALL_KIND, DOOR) | _open_door(cell)


def toggled(cell: Array, carrying: Array) -> Array:
    """What `toggle` makes of a cell: doors open and close, locked ones with their key; boxes leave what they held."""
    state = door_state(cell)
    unlocks = (carrying & NAME) == (KEY | colour(cell) << 4)
    locked = jnp.where(unlocks, jnp.uint16(OPEN), jnp.uint16(LOCKED))
    new_state = jnp.where(state == LOCKED, locked, jnp.where(state == OPEN, jnp.uint16(CLOSED), jnp.uint16(OPEN)))
    door = (cell & NAME) | new_state << 7
    return jnp.where(is_kind(cell, DOOR), door, jnp.where(is_kind(cell, BOX), cell >> 9, cell))
