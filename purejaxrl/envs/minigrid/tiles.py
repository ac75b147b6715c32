"""Pixels of levels, exactly those of MiniGrid's own pictures: `Grid.render_tile` as a table that is drawn once.

:mod:`picture` draws levels to be looked at; these are for agents, and for comparison with MiniGrid's results.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.types import Array

FINE = 3  # drawn that many times larger, then averaged
LINE, BLACK, ORANGE, WHITE = (100, 100, 100), (0, 0, 0), (255, 128, 0), (255, 255, 255)
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (112, 39, 195), (255, 255, 0), LINE)  # in the order of `objects`

# The table has a row for what is not seen, one for what is, and four for where the agent is, as it faces east, south,
# west or north. Its columns are each kind in each colour, where doors are a kind for each of their states.
FACING = 2
OPEN_DOOR, CLOSED_DOOR, LOCKED_DOOR = range(objects.AGENT, objects.AGENT + objects.NUM_STATES)
NUM_LOOKS = (LOCKED_DOOR + 1) * objects.NUM_COLOURS


def look(cells: Array) -> Array:
    """The table's column that shows a cell, int32 of the same shape."""
    kind = objects.kind(cells)
    kind = jnp.where(kind == objects.DOOR, OPEN_DOOR + objects.door_state(cells), kind)
    return kind.astype(jnp.int32) * objects.NUM_COLOURS + objects.colour(cells)


def shown(cells: Array, seen: Array, y: int | Array, x: int | Array, direction: int | Array, size: int) -> Array:
    """The picture of a level, or of a view, in tiles of `size` pixels: uint8 ``[rows * size, columns * size, 3]``.

    Args:
      cells: uint16 ``[rows, columns]``.
      seen: bool ``[rows, columns]``, what is highlighted.
      y: the agent's row.
      x: its column.
      direction: where it faces in the picture.
      size: of a tile, static.
    """
    rows, columns = cells.shape
    here = drawing.at(cells.shape, y, x)
    # Behind the barrier, or a CPU computes the index of a tile, and all that is seen, anew for each of its bytes.
    tile = jax.lax.optimization_barrier(
        jnp.where(here, FACING + direction, seen.astype(jnp.int32)) * NUM_LOOKS + look(cells)
    )
    # Line by line through each row of tiles, so that what is gathered already lies as the picture does.
    line = tile[:, None, :] * size + np.arange(size, dtype=np.int32)[:, None]
    pixels = jnp.asarray(table(size).reshape(-1, 3 * size)).at[line].get(mode="promise_in_bounds")
    return pixels.reshape(rows * size, columns * size, 3)


@functools.cache
def table(size: int) -> np.ndarray:
    """Every tile, uint8 ``[6, NUM_LOOKS, size, size, 3]``; what the agent stands on is always seen."""
    fine = np.stack([_drawn(*divmod(index, objects.NUM_COLOURS), size) for index in range(NUM_LOOKS)])
    with_agent = [np.where(_arrow(size, direction)[..., None], COLOURS[objects.RED], fine) for direction in range(4)]
    lit = [_highlighted(pixels.astype(np.uint8)) for pixels in (fine, *with_agent)]
    blocks = np.stack([fine, *lit]).reshape(-1, NUM_LOOKS, size, FINE, size, FINE, 3)
    # In this order, for averages that are whole numbers but for rounding lose their fraction as there.
    return blocks.mean(5).mean(3).astype(np.uint8)


def _highlighted(pixels: np.ndarray) -> np.ndarray:
    return (pixels + 0.3 * (np.array(WHITE, np.uint8) - pixels)).astype(np.uint8)


def _arrow(size: int, direction: int) -> np.ndarray:
    """The agent's pixels, bool ``[FINE * size, FINE * size]``: a triangle with its tip ahead."""
    x, y = _plane(size)
    east = (x >= 0.12) & (0.75 * np.abs(y - 0.5) <= 0.31 * (0.87 - x))
    return np.rot90(east, -direction)


def _plane(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Each fine pixel's x ``[1, n]`` and y ``[n, 1]``, from 0 to 1, y downwards."""
    middles = (np.arange(FINE * size) + 0.5) / (FINE * size)
    return middles[None], middles[:, None]


def _drawn(kind: int, hue: int, size: int) -> np.ndarray:
    """One tile, fine, without agent and highlight, uint8 ``[FINE * size, FINE * size, 3]``."""
    x, y = _plane(size)
    colour = np.array(COLOURS[hue])
    pixels = np.zeros((FINE * size, FINE * size, 3), np.uint8)

    def fill(mask: np.ndarray, paint: np.ndarray | tuple[int, ...]) -> None:
        pixels[mask] = paint  # fractions are cut off

    def rect(left: float, right: float, top: float, bottom: float, paint: np.ndarray | tuple[int, ...]) -> None:
        fill((x >= left) & (x <= right) & (y >= top) & (y <= bottom), paint)

    def disc(centre_x: float, centre_y: float, radius: float, paint: np.ndarray | tuple[int, ...]) -> None:
        fill((x - centre_x) * (x - centre_x) + (y - centre_y) * (y - centre_y) <= radius * radius, paint)

    rect(0, 0.031, 0, 1, LINE)
    rect(0, 1, 0, 0.031, LINE)
    if kind in (objects.WALL_KIND, objects.GOAL_KIND):
        rect(0, 1, 0, 1, colour)
    elif kind == objects.FLOOR:
        rect(0.031, 1, 0.031, 1, colour / 2)
    elif kind == objects.LAVA_KIND:
        rect(0, 1, 0, 1, ORANGE)
        for top in (0.3, 0.5, 0.7):
            heights = (top, top + 0.1, top, top + 0.1, top)
            for index in range(4):
                start, end = (0.1 + 0.2 * index, heights[index]), (0.3 + 0.2 * index, heights[index + 1])
                fill(_near(x, y, start, end, 0.03), BLACK)
    elif kind == OPEN_DOOR:
        rect(0.88, 1, 0, 1, colour)
        rect(0.92, 0.96, 0.04, 0.96, BLACK)
    elif kind == CLOSED_DOOR:
        for inset, paint in ((0, colour), (0.04, BLACK), (0.08, colour), (0.12, BLACK)):
            rect(inset, 1 - inset, inset, 1 - inset, paint)
        disc(0.75, 0.5, 0.08, colour)
    elif kind == LOCKED_DOOR:
        rect(0, 1, 0, 1, colour)
        rect(0.06, 0.94, 0.06, 0.94, 0.45 * colour)
        rect(0.52, 0.75, 0.5, 0.56, colour)
    elif kind == objects.KEY:
        rect(0.5, 0.63, 0.31, 0.88, colour)
        rect(0.38, 0.5, 0.59, 0.66, colour)
        rect(0.38, 0.5, 0.81, 0.88, colour)
        disc(0.56, 0.28, 0.19, colour)
        disc(0.56, 0.28, 0.064, BLACK)
    elif kind == objects.BALL:
        disc(0.5, 0.5, 0.31, colour)
    elif kind == objects.BOX:
        rect(0.12, 0.88, 0.12, 0.88, colour)
        rect(0.18, 0.82, 0.18, 0.82, BLACK)
        rect(0.16, 0.84, 0.47, 0.53, colour)
    return pixels


def _near(
    x: np.ndarray, y: np.ndarray, start: tuple[float, float], end: tuple[float, float], radius: float
) -> np.ndarray:
    """Which points are within `radius` of a line, bool ``[n, n]``."""
    (x0, y0), (x1, y1) = start, end
    length = np.hypot(x1 - x0, y1 - y0)
    right, down = (x1 - x0) / length, (y1 - y0) / length
    along = np.clip((x - x0) * right + (y - y0) * down, 0, length)
    return np.hypot(x - x0 - along * right, y - y0 - along * down) <= radius
