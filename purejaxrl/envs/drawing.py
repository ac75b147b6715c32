"""Pictures without a display: shapes in the plane's own units, painted one over the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PIXELS = 400  # of a picture's longer side
FINE = 3  # drawn that many times larger and shrunk, so that edges are smooth

# One meaning each, in every picture; Okabe & Ito's colours where they must be told apart.
PAPER, FLOOR, GROUND, WALL, INK = "#fafaf8", "#eceae4", "#d5d0c4", "#8d8a84", "#2f3238"
NIGHT, DIM = "#1d2027", "#262a33"  # an arcade's screen and its empty cells
AGENT, ROD, GOAL, TRAP = "#d55e00", "#e69f00", "#009e73", "#cc79a7"
WATER, DEEP = "#56b4e9", "#0072b2"


class Scene:
    """A rectangle of the plane, `x` to the right and `y` upwards, each from its lowest to its highest value.

    Both axes have one scale; the longer side gets 400 pixels.
    """

    def __init__(self, x: tuple[float, float], y: tuple[float, float], background: str = PAPER):
        self.left, self.top = x[0], y[1]
        width, height = x[1] - x[0], y[1] - y[0]
        self.scale = PIXELS / max(width, height)  # pixels of the finished picture for one unit
        size = (round(width * self.scale) * FINE, round(height * self.scale) * FINE)
        self.image = Image.new("RGB", size, background)
        self.draw = ImageDraw.Draw(self.image)

    def polygon(self, points: Any, colour: str) -> None:
        """Fill the polygon with these corners, ``[n, 2]``."""
        self.draw.polygon(self._placed(points), fill=colour)

    def box(self, x: tuple[float, float], y: tuple[float, float], colour: str) -> None:
        self.polygon([(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])], colour)

    def disc(self, centre: Any, radius: float, colour: str) -> None:
        ((x, y),) = self._placed([centre])
        r = radius * self.scale * FINE
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def line(self, points: Any, width: float, colour: str) -> None:
        """Lines with round ends and corners along ``[n, 2]`` points, `width` in units of the plane."""
        placed, points = self._placed(points), np.asarray(points, float)
        self.draw.line(placed, fill=colour, width=max(round(width * self.scale * FINE), 1), joint="curve")
        for end in (points[0], points[-1]):
            self.disc(end, width / 2, colour)

    def flag(self, foot: Any, colour: str) -> None:
        """A pole of a fifth of a unit on `foot`, with a pennant."""
        x, y = (float(value) for value in foot)
        self.polygon([(x, y + 0.2), (x + 0.11, y + 0.16), (x, y + 0.12)], colour)
        self.line([(x, y), (x, y + 0.2)], 0.012, INK)

    def frame(self) -> np.ndarray:
        """The picture, uint8 ``[H, W, 3]``."""
        return np.asarray(self.image.reduce(FINE))

    def _placed(self, points: Any) -> list[tuple[float, float]]:
        scale = self.scale * FINE
        return [((float(x) - self.left) * scale, (self.top - float(y)) * scale) for x, y in points]


class Board(Scene):
    """A grid of square cells, row 0 at the top, all of one colour at first; `gap` is what a cell leaves free."""

    def __init__(self, rows: int, columns: int, colour: str | None = None, background: str = PAPER, gap: float = 0.06):
        super().__init__((0, columns), (0, rows), background)
        self.rows, self.gap = rows, gap
        if colour is not None:
            for row, column in np.ndindex(rows, columns):
                self.cell(row, column, colour)

    def cell(self, row: int, column: int, colour: str) -> None:
        inset, y = self.gap / 2, self.rows - row
        # Pillow fills the pixel of the far corner too: one of the fine ones less leaves the gaps equal.
        fine = 1 / (self.scale * FINE)
        self.box((column + inset, column + 1 - inset - fine), (y - 1 + inset + fine, y - inset), colour)

    def piece(self, row: float, column: float, colour: str) -> None:
        """A disc in this cell."""
        self.disc((column + 0.5, self.rows - row - 0.5), 0.32, colour)


def mixed(low: str, high: str, share: float) -> str:
    """The colour at this share of the way from `low` to `high`, both of the form #rrggbb."""
    ends = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (low, high)])
    return "#" + "".join(f"{round(value):02x}" for value in ends[0] + share * (ends[1] - ends[0]))


def captioned(frame: np.ndarray, text: str, size: int = 14) -> np.ndarray:
    """The picture with one line of text below it."""
    height, width, _ = frame.shape
    strip = math.ceil(1.8 * size)
    image = Image.new("RGB", (width, height + strip), PAPER)
    image.paste(Image.fromarray(frame))
    ImageDraw.Draw(image).text((8, height + strip / 2), text, fill=INK, font=ImageFont.load_default(size), anchor="lm")
    return np.asarray(image)
