"""Figures for browsers without scripts: the learning curves, and maps of visits, as pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.cm
import matplotlib.colors
import matplotlib.ticker
import numpy as np
from matplotlib.figure import Figure

from purejaxrl.report.data import Curve, Series
from purejaxrl.report.style import STYLE


def curves(lines: Sequence[tuple[Series, Curve]], label: str) -> str:
    """A metric's means over environment steps with their 95 % intervals."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for series, one in lines:
            if series.place < 0:
                axes.plot(one.steps, one.mean, color=series.colour, linewidth=0.7)
                continue
            axes.fill_between(one.steps, one.low, one.high, color=series.colour, alpha=0.2, linewidth=0)
            look = {"color": series.colour, "linestyle": series.dash, "linewidth": 2.2}
            axes.plot(one.steps, one.mean, label=series.label.replace("$", r"\$"), **look)
        axes.set_xlabel("environment steps of a seed")
        axes.set_ylabel(label)
        axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
        axes.margins(x=0.01)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, loc="best")
        return _image(figure)


def maps(grids: Sequence[tuple[str, np.ndarray]], top: int) -> str:
    """How often each cell was visited, -1 where there is none, on one logarithmic scale; unvisited ones are grey."""
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(4.2 * len(grids) + 0.8, 4.4), layout="constrained")
        axes_row = figure.subplots(1, len(grids), squeeze=False)[0]
        norm = matplotlib.colors.LogNorm(1, max(top, 2))
        for axes, (label, grid) in zip(axes_row, grids, strict=True):
            axes.imshow(np.where(grid == 0, 1.0, np.nan), cmap=matplotlib.colors.ListedColormap(["#e9e9ee"]))
            axes.imshow(np.where(grid > 0, grid, np.nan), cmap="viridis", norm=norm)
            axes.set_title(label.replace("$", r"\$"), fontsize=11)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        scale = matplotlib.cm.ScalarMappable(norm, "viridis")
        figure.colorbar(scale, ax=axes_row.tolist(), label="visits, all seeds (grey: none)", shrink=0.85)
        return _image(figure)


def _image(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return base64.b64encode(buffer.getvalue()).decode()
