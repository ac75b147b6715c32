"""Figures to look closer at, by Bokeh: zoom, hover, and lines that the page's own controls show and hide.

A glyph's tags say what it is, ``[place of the series, "mean", "band" or "seeds"]``, and report.js goes by them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.embed import json_item
from bokeh.models import (
    BoxZoomTool,
    ColorBar,
    ColumnDataSource,
    HoverTool,
    LinearColorMapper,
    LogColorMapper,
    LogTicker,
    NumeralTickFormatter,
    PanTool,
    ResetTool,
    SaveTool,
    WheelZoomTool,
    Whisker,
)
from bokeh.palettes import Viridis256
from bokeh.plotting import figure
from markupsafe import escape

from purejaxrl.report.data import GREY, Curve, Frame, Series
from purejaxrl.report.numbers import interval, number, whole

KEYS = ("steps", "mean", "low", "high")
ROWS = 8  # of a figure's table
MAP_WIDTH = 420  # pixels, on a screen that has them
MEAN = "@mean{%0.4g}"
MEAN_AND_INTERVAL = f"{MEAN} [@low{{%0.4g}}, @high{{%0.4g}}]"


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text below a header."""

    header: list[str]
    rows: list[list[str]]


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A figure with what says the same in words."""

    name: str  # the id of its place in the page
    title: str
    note: str
    item: dict[str, Any]  # Bokeh's JSON
    table: Table
    height: int = 260  # pixels
    wide: bool = False
    width: int | None = None  # pixels, of a figure that keeps its shape; None: as wide as its place


def curve(
    name: str, title: str, note: str, lines: Sequence[tuple[Series, Curve]], *, wide: bool = False, of: str = "seed"
) -> Drawn:
    """A metric over environment steps `of` what; series without a place in the legend are in grey behind."""
    height = 360 if wide else 260
    plot = _plot(height, f"environment steps of a {of}", title)
    _count_axis(plot, max((float(one.steps.max()) for _, one in lines if len(one.steps)), default=0))
    own = [(series, one) for series, one in lines if series.place >= 0]
    if others := [one for series, one in lines if series.place < 0]:
        data = {"x": [_short(one.steps) for one in others], "y": [_short(one.mean) for one in others]}
        plot.multi_line("x", "y", source=_source(data), color=GREY, tags=[-1, "others"])
    sources = [_source({key: _short(getattr(one, key)) for key in KEYS}) for _, one in own]
    for (series, _), source in zip(own, sources, strict=True):
        if len(series.final) > 1:
            look = {"fill_color": series.colour, "fill_alpha": 0.18}
            plot.varea("steps", "low", "high", source=source, tags=[series.place, "band"], **look)
    for series, one in own:
        xs, ys = ([_short(half) for half in halves] for halves in zip(*one.seeds, strict=True))
        look = {"color": series.colour, "alpha": 0.7, "line_width": 1, "visible": False}
        plot.multi_line("xs", "ys", source=_source({"xs": xs, "ys": ys}), tags=[series.place, "seeds"], **look)
    means: dict[str, list[Any]] = {MEAN: [], MEAN_AND_INTERVAL: []}
    for (series, _), source in zip(own, sources, strict=True):
        look = {"color": series.colour, "line_dash": series.dash, "line_width": 2.4, "name": series.label}
        drawn = plot.line("steps", "mean", source=source, tags=[series.place, "mean"], **look)
        means[MEAN_AND_INTERVAL if len(series.final) > 1 else MEAN].append(drawn)
    plot.add_tools(
        *(_hover(some, "<b>$name</b>", tip, "after @steps{0,0} steps") for tip, some in means.items() if some)
    )
    return Drawn(name, title, note, _item(plot, name), _curve_table(own), height, wide)


def _curve_table(lines: Sequence[tuple[Series, Curve]]) -> Table:
    """Means with their intervals at a few of the steps."""
    ends = [float(one.steps[-1]) for _, one in lines if len(one.steps)]
    if not ends:
        return Table(["steps"], [])
    rows = []
    for step in np.linspace(0, max(ends), ROWS + 1)[1:]:
        row = [whole(step)]
        for _, one in lines:
            at = int(np.searchsorted(one.steps, step, side="right")) - 1
            there = at >= 0 and step <= one.steps[-1] + _gap(one.steps)
            row.append(interval(one.mean[at], one.low[at], one.high[at]) if there else "–")
        rows.append(row)
    return Table(["steps", *(series.label for series, _ in lines)], rows)


def _gap(steps: np.ndarray) -> float:
    """From one point of a curve to the next, on average: so far beyond its end its last value still stands."""
    return float(steps[-1] - steps[0]) / max(len(steps) - 1, 1)


def schedule(name: str, field: str, steps: np.ndarray, values: np.ndarray, lineage: np.ndarray, place: Series) -> Drawn:
    """A setting that changes from interval to interval: along the best lineage, and that of every member in grey.

    Args:
      name: the place in the page.
      field: the setting's.
      steps: ``[intervals]``, environment steps by the end of each.
      values: ``[members, intervals]``.
      lineage: ``[intervals]``, the best member's ancestor in each.
      place: the lineage's, in the legend.
    """
    kind: dict[str, Any] = {"y_axis_type": "log"} if _is_log(values) else {}
    plot = _plot(260, "environment steps of a member", field, **kind)
    _count_axis(plot, float(steps[-1]))
    ends = np.repeat(np.concatenate([[0], steps]), 2)[1:-1]  # a value holds from the interval before to its own end
    of_best = values[lineage, np.arange(len(steps))]
    others = {"x": [_short(ends)] * len(values), "y": [_short(np.repeat(one, 2)) for one in values]}
    plot.multi_line("x", "y", source=_source(others), color=GREY, tags=[-1, "others"])
    own = {"steps": ends, "value": np.repeat(of_best, 2), "member": np.repeat(lineage, 2)}
    look = {"color": place.colour, "line_width": 2.4, "tags": [place.place, "mean"]}
    line = plot.line("steps", "value", source=_source(own), **look)
    plot.add_tools(HoverTool(renderers=[line], tooltips=f"{escape(field)} @value{{0.[0000]a}}, member @member"))
    rows = [
        [whole(step), str(member), number(value)] for step, member, value in zip(steps, lineage, of_best, strict=True)
    ]
    note = f"From {number(of_best[0])} to {number(of_best[-1])} along the best lineage; grey: every member."
    return Drawn(name, field, note, _item(plot, name), Table(["until step", "member", field], rows))


def lineages(
    name: str, steps: np.ndarray, parents: np.ndarray, scores: np.ndarray, lineage: np.ndarray, place: Series
) -> Drawn:
    """Who went on from whom: a row per member, a column per interval, a line from each state to what came of it.

    Args:
      name: the place in the page.
      steps: ``[intervals]``, environment steps by the end of each.
      parents: ``[members, intervals]``, from whose state each began.
      scores: ``[members, intervals]``.
      lineage: ``[intervals]``, the best member's ancestor in each.
      place: the lineage's, in the legend.
    """
    count, height = len(parents), int(np.clip(14 * len(parents) + 120, 240, 700))
    plot = _plot(height, "environment steps of a member", "Who went on from whom", grid=False)
    _count_axis(plot, float(steps[-1]))
    members, begun = np.arange(count)[:, None], parents[:, 1:]
    copied = begun != members
    for some, look in ((~copied, {"color": GREY}), (copied, {"color": "#d55e00"})):
        member, after = np.nonzero(some)
        ends = {"x": list(zip(steps[after], steps[after + 1], strict=True))}
        ends["y"] = list(zip(begun[member, after], member, strict=True))
        plot.multi_line("x", "y", source=_source(ends), **look)
    best = {"x": steps, "y": lineage}
    plot.line("x", "y", source=_source(best), color=place.colour, line_width=4, tags=[place.place, "mean"])
    finite = scores[np.isfinite(scores)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0, 1)
    mapper = LinearColorMapper(palette=Viridis256, low=low, high=max(high, low + 1e-9), nan_color=GREY)
    dots = {"steps": np.tile(steps, count), "member": np.repeat(np.arange(count), len(steps))}
    dots |= {"score": _short(scores).ravel(), "parent": parents.ravel()}
    drawn = plot.scatter("steps", "member", source=_source(dots), size=7, color={"field": "score", "transform": mapper})
    plot.yaxis.axis_label, plot.yaxis.ticker.min_interval = "member", 1
    plot.add_layout(ColorBar(color_mapper=mapper, width=8, padding=4, background_fill_color=None), "right")
    tip = "member @member at @steps{0,0} steps: score @score{0.[000]}, began from member @parent"
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=tip))
    rows = [
        [whole(steps[after]), str(member), str(begun[member, after]), *(number(one) for one in found)]
        for after, member in zip(*np.nonzero(copied.T), strict=True)
        for found in [(scores[member, after], scores[begun[member, after], after])]
    ]
    note = f"{whole(len(rows))} copies, in orange; the best lineage is bold; a dot's colour is its return then."
    table = Table(["after step", "member", "went on from", "its own score", "that one's score"], rows)
    return Drawn(name, "Who went on from whom", note, _item(plot, name), table, height, wide=True)


def visits(name: str, title: str, grid: np.ndarray, top: int) -> Drawn:
    """How often each cell was visited, -1 where there is none, on a logarithmic scale up to `top`."""
    rows, columns = grid.shape
    height = int(np.clip(MAP_WIDTH * rows / columns, 160, MAP_WIDTH)) + 60
    plot = _plot(height, None, None, grid=False)
    plot.sizing_mode, plot.width, plot.max_width = "scale_width", MAP_WIDTH, MAP_WIDTH
    plot.axis.visible = False
    mapper = LogColorMapper(palette=Viridis256, low=1, high=max(top, 2), low_color="#c9cad2", nan_color="#00000000")
    image = np.where(grid < 0, np.nan, grid)[::-1].astype(np.float32)
    drawn = plot.image(image=[image], x=0, y=0, dw=columns, dh=rows, color_mapper=mapper)
    plot.x_range.range_padding = plot.y_range.range_padding = 0  # type: ignore[attr-defined]
    formatter, ticker = NumeralTickFormatter(format="0.[0]a"), LogTicker(desired_num_ticks=5)
    plot.add_layout(
        ColorBar(
            color_mapper=mapper, ticker=ticker, formatter=formatter, height=8, padding=4, background_fill_color=None
        ),
        "below",
    )
    plot.add_tools(HoverTool(renderers=[drawn], tooltips="visited @image{0,0} times"))
    counts = grid[grid >= 0]
    table = [["never", whole((counts == 0).sum()), f"{100 * (counts == 0).mean():.0f} %"]]
    for power in range(len(str(max(top, 1)))):
        some = (counts >= 10**power) & (counts < 10 ** (power + 1))
        table.append(
            [f"{whole(10**power)} to {whole(10 ** (power + 1) - 1)}", whole(some.sum()), f"{100 * some.mean():.0f} %"]
        )
    note = f"{whole((counts > 0).sum())} of {whole(len(counts))} cells visited"
    shares = Table(["visits", "cells", "share"], table)
    return Drawn(name, title, note, _item(plot, name), shares, height, width=MAP_WIDTH)


def ranking(name: str, metric: str, best: Frame, runs: Frame, labels: Sequence[str], colours: Sequence[str]) -> Drawn:
    """Every configuration by its rank in a metric, with its interval, and each of its runs as a dot."""
    words = metric.replace("_", " ")
    title = f"{words[0].upper()}{words[1:]} of every configuration, best first"
    plot = _plot(320, "rank", title)
    plot.xaxis.ticker.min_interval = 1
    ranks = np.arange(1, len(best) + 1)
    place = dict(zip(best["config_id"], ranks, strict=True))
    data = {"rank": ranks, "mean": best[metric], "low": best["low"], "high": best["high"], "label": labels}
    _intervals(plot, "rank", runs["config_id"].map(place), runs[metric], data, colours, words)
    rows = [
        [whole(row[0]), label, interval(*row[1:])]
        for label, *row in zip(labels, ranks, *(best[c] for c in (metric, "low", "high")), strict=True)
    ]
    note = "Means over seeds with 95 % intervals; dots are single runs."
    table = Table(["rank", "configuration", words], rows)
    return Drawn(name, title, note, _item(plot, name), table, 320, wide=True)


def sensitivity(name: str, field: str, metric: str, found: Frame, runs: Frame, share: float) -> Drawn:
    """A metric by a field's values, on a logarithmic axis where they span a factor of 5 or more."""
    measure = metric.replace("_", " ")
    values, numeric = found["value"], found["value"].dtype.kind in "iuf"
    title, words = field, [str(value) for value in values]
    kind: dict[str, Any] = {"x_axis_type": "log"} if numeric and _is_log(values) else {}
    if not numeric:
        kind = {"x_range": list(dict.fromkeys(words))}
    plot = _plot(260, field, field, **kind)
    data = {
        "value": values if numeric else words,
        "mean": found[metric],
        "low": found["low"],
        "high": found["high"],
    }
    data["label"] = [f"{field} {value:.4g}" if numeric else word for value, word in zip(values, words, strict=True)]
    at = runs[field] if numeric else runs[field].map(str)
    _intervals(plot, "value", at, runs[metric], data, ["#0072b2"] * len(found), measure, line=numeric)
    rows = [
        [number(row[0]) if numeric else str(row[0]), interval(*row[1:4]), whole(row[4])]
        for row in found[["value", metric, "low", "high", "runs"]].itertuples(index=False)
    ]
    note = f"Explains {100 * share:.0f} % of the variance alone." if math.isfinite(share) else ""
    table = Table([field, measure, "runs"], rows)
    return Drawn(name, title, note, _item(plot, name), table)


def _is_log(values: Any) -> bool:
    """Whether positive numbers span so much that their axis is logarithmic."""
    return bool(values.min() > 0 and values.max() >= 5 * values.min())


def _intervals(
    plot: Any,
    x: str,
    at: Any,
    found: Any,
    data: dict[str, Any],
    colours: Sequence[str],
    measure: str,
    *,
    line: bool = False,
) -> None:
    """Dots of all runs, and a mean with its interval for each row of `data`."""
    dots = {"x": np.asarray(at), "y": _short(found)}
    plot.scatter("x", "y", source=_source(dots), size=5, color=GREY, alpha=0.7)
    arrays = {key: np.asarray(value) for key, value in data.items()} | {"colour": list(colours)}
    arrays["shown"] = [interval(*row) for row in zip(*(data[key] for key in ("mean", "low", "high")), strict=True)]
    source = _source(arrays)
    if line:
        plot.line(x, "mean", source=source, color=colours[0], line_width=2, alpha=0.7)
    whisker = Whisker(base=x, lower="low", upper="high", source=source, line_color="colour", line_width=2)
    for head in (whisker.upper_head, whisker.lower_head):
        if head is not None:
            head.size = 0
    plot.add_layout(whisker)
    means = plot.scatter(x, "mean", source=source, size=9, color="colour")
    plot.add_tools(_hover([means], "<b>@label</b>", "@shown"))
    plot.yaxis.axis_label = measure


def _hover(renderers: list[Any], *lines: str) -> HoverTool:
    """What stands beside the pointer: a name, the mean with its interval, and more."""
    tip = f'<div style="font: 13px system-ui, sans-serif">{"<br>".join(lines)}</div>'
    return HoverTool(renderers=renderers, tooltips=tip, formatters=dict.fromkeys(("@mean", "@low", "@high"), "printf"))


def _item(plot: Any, name: Any) -> dict[str, Any]:
    return dict(json_item(plot, name))


def _source(data: Any) -> ColumnDataSource:
    """Columns of one length; the stubs know no dictionary of arrays."""
    return ColumnDataSource(data)


def _plot(height: int, x_label: str | None, title: str | None, *, grid: bool = True, **kind: Any) -> Any:
    """An empty plot as wide as its place; colours of its text and lines are the page's, which report.js sets."""
    tools = [BoxZoomTool(), PanTool(), WheelZoomTool(), ResetTool(), SaveTool(filename=title or "visits")]
    plot = figure(height=height, sizing_mode="stretch_width", tools=tools, active_drag=None, active_scroll=None, **kind)
    plot.background_fill_color = plot.border_fill_color = plot.outline_line_color = None  # type: ignore[assignment]
    plot.toolbar.logo = None
    plot.toolbar_location = "above"
    plot.xaxis.axis_label = x_label
    plot.axis.minor_tick_line_color = None
    plot.axis.major_tick_line_color = None
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font = plot.axis.major_label_text_font = "system-ui, sans-serif"
    plot.axis.axis_label_text_font_size = plot.axis.major_label_text_font_size = "12px"
    plot.yaxis.axis_line_color = None
    plot.xgrid.grid_line_color = None
    plot.ygrid.visible = grid
    ranges: Any = (plot.x_range, plot.y_range)
    for axis in ranges:
        if hasattr(axis, "only_visible"):
            axis.only_visible = True
    return plot


def _count_axis(plot: Any, largest: float) -> None:
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0" if largest < 10**7 else "0.[0]a")
    plot.xaxis.ticker.desired_num_ticks = 5
    plot.x_range.range_padding = 0.02


def _short(values: Any) -> np.ndarray:
    """Half the bytes; what a curve shows needs no more digits, and what is not finite is left out."""
    with np.errstate(over="ignore"):
        short = np.asarray(values, float).astype(np.float32)
    return np.where(np.isfinite(short), short, np.float32(math.nan))
