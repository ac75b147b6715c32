"""Pictures of MiniGrid's levels. The agent's view is lighter than the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from purejaxrl.envs.drawing import AGENT, FLOOR, INK, PAPER, WALL, Board, mixed
from purejaxrl.envs.minigrid import objects

# MiniGrid's six colours, as readable on a light floor: red, green, blue, purple, yellow, grey.
COLOURS = ("#d62728", "#009e73", "#0072b2", "#8e5bb5", "#e6b400", "#7a7a78")
LAVA = "#f28e2b"
GAP = 0.04


def draw(grid: Any, y: int, x: int, direction: int, carrying: int, seen: Any) -> np.ndarray:
    """A level, uint8 ``[H, W, 3]``: the grid's cells ``[rows, columns]``, and bool of the same shape what is `seen`."""
    grid = np.asarray(grid)
    board = Board(*grid.shape, background=WALL, gap=GAP)
    for row, column in np.ndindex(grid.shape):
        _cell(board, row, column, int(grid[row, column]), bool(seen[row, column]))
    centre = np.array([x + 0.5, grid.shape[0] - y - 0.5])
    ahead = np.array([(1, 0), (0, -1), (-1, 0), (0, 1)][int(direction)])
    aside = np.array([-ahead[1], ahead[0]])
    board.polygon(
        [centre + 0.36 * ahead, centre - 0.3 * ahead + 0.28 * aside, centre - 0.3 * ahead - 0.28 * aside], AGENT
    )
    if int(carrying) != objects.EMPTY:
        board.disc(centre - 0.12 * ahead, 0.11, COLOURS[objects.colour(int(carrying))])
    return board.frame()


def _cell(board: Board, row: int, column: int, cell: int, seen: bool) -> None:
    kind, hue, state = objects.kind(cell), COLOURS[objects.colour(cell)], objects.door_state(cell)
    floor = PAPER if seen else FLOOR
    left, bottom = column, board.rows - row - 1

    def place(u: float, v: float) -> tuple[float, float]:
        return left + u, bottom + v

    def box(u: tuple[float, float], v: tuple[float, float], colour: str) -> None:
        board.box((left + u[0], left + u[1]), (bottom + v[0], bottom + v[1]), colour)

    if kind == objects.WALL_KIND:
        return
    if kind in (objects.GOAL_KIND, objects.LAVA_KIND, objects.FLOOR):
        colour = {objects.GOAL_KIND: COLOURS[objects.GREEN], objects.LAVA_KIND: LAVA}.get(kind, mixed(floor, hue, 0.4))
        board.cell(row, column, colour)
        if kind == objects.LAVA_KIND:
            for v in (0.3, 0.5, 0.7):
                wave = [place(u, v + 0.05 * (-1) ** index) for index, u in enumerate(np.linspace(0.15, 0.85, 6))]
                board.line(wave, 0.05, INK)
        return
    board.cell(row, column, floor)
    if kind == objects.DOOR:
        if state == objects.OPEN:
            box((0.04, 0.18), (0.04, 0.96), hue)
            return
        box((0.04, 0.96), (0.04, 0.96), hue)
        box((0.14, 0.86), (0.14, 0.86), mixed(hue, PAPER, 0.0 if state == objects.LOCKED else 0.75))
        board.disc(place(0.72, 0.5), 0.08, INK if state == objects.LOCKED else hue)
    elif kind == objects.KEY:
        board.disc(place(0.5, 0.7), 0.16, hue)
        board.disc(place(0.5, 0.7), 0.07, floor)
        board.line([place(0.5, 0.54), place(0.5, 0.18)], 0.09, hue)
        for v in (0.2, 0.34):
            board.line([place(0.5, v), place(0.66, v)], 0.07, hue)
    elif kind == objects.BALL:
        board.disc(place(0.5, 0.5), 0.3, hue)
    elif kind == objects.BOX:
        box((0.16, 0.84), (0.16, 0.84), hue)
        box((0.26, 0.74), (0.26, 0.74), mixed(hue, PAPER, 0.75))
        box((0.16, 0.84), (0.46, 0.54), hue)
