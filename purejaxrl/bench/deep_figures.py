"""The table and figures of deep exploration: episodes to solve DeepSea by size, success on MiniGrid's tasks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from purejaxrl import files, report, stats
from purejaxrl.bench.deep_methods import GRIDS, SCRIPTS
from purejaxrl.bench.parts import Frame
from purejaxrl.bench.tables import COLOURS, median_with_censoring

# Of methods that the head-to-heads lack.
MORE_COLOURS = ("#d7301f", "#e6ab02", "#238b45", "#7570b3", "#a6761d", "#1f78b4")
SMOOTH = 0.1  # share of a curve that a point of the figure is the mean over; a time limit of all envs fits in


def summarise(results: Frame) -> Frame:
    """A row per method and task: over seeds how many solved it, medians of what it took, means of what came of it."""
    rows = []
    for (task, size, method), runs in results.groupby(["task", "size", "method"], sort=False):
        together = runs.drop_duplicates("seconds")  # seeds that trained together have their time in common
        row = {
            "task": task,
            "size": size,
            "method": method,
            "seeds": len(runs),
            "solved": int(runs["solved"].sum()),
            "median_episodes": median_with_censoring(np.asarray(runs["episodes_to_solve"])),
            "median_steps": median_with_censoring(np.asarray(runs["steps_to_solve"])),
            "final_success": float(runs["final_success"].mean()),
            "final_return": float(runs["final_return"].mean()),
            "env_steps": int(runs["env_steps"].max()),
            "seconds": float(together["seconds"].sum()),
            "compile_seconds": float(together["compile_seconds"].sum()),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def in_one_line(results: Frame) -> str:
    row = summarise(results).iloc[0]
    return (
        f"{row['task']}, {row['method']}: {row['solved']} of {row['seeds']} solved, half of them within "
        f"{_count(row['median_steps'])} of {row['env_steps']:,} steps; {row['seconds']:,.0f} s, and "
        f"{row['compile_seconds']:,.0f} s to compile"
    )


def markdown(study: str, results: Frame) -> str:
    """The table: a row per method and task."""
    unit = "episodes" if study == "deepsea" else "frames"
    columns = f"solved [95 % interval] | median {unit} to solve | success in the last tenth | return there"
    lines = [
        f"| task | method | {columns} | steps per seed | seconds, all seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in summarise(results).itertuples():
        low, high = stats.wilson_interval(row.solved, row.seeds)
        rate = f"{row.solved} of {row.seeds} [{100 * low:.0f} %, {100 * high:.0f} %]"
        median = _count(row.median_episodes if study == "deepsea" else row.median_steps)
        success = f"{100 * row.final_success:.0f} %" if np.isfinite(row.final_success) else "–"
        final = f"{row.final_return:z.2f}" if np.isfinite(row.final_return) else "–"
        done = f"{row.env_steps:,} | {row.seconds:,.0f}"
        lines.append(f"| {row.task} | {row.method} | {rate} | {median} | {success} | {final} | {done} |")
    return "\n".join(lines) + "\n"


def _count(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else "–"


def write(out: Path, study: str, results: Frame, curves: Frame) -> None:
    """Fill the folder: ``results.parquet``, ``table.md`` and the figure, ``deepsea.png`` or ``minigrid.png``."""
    with files.replacing(out / "results.parquet") as temporary:
        results.to_parquet(temporary, index=False)
    with files.replacing(out / "table.md") as temporary:
        temporary.write_text(markdown(study, results), encoding="utf-8")
    with mpl.rc_context(report.STYLE), files.replacing(out / f"{study}.png") as temporary:
        figure = _deepsea(results) if study == "deepsea" else _minigrid(curves)
        figure.savefig(temporary, dpi=130)


def _colours(methods: Iterable[str]) -> dict[str, str]:
    """One for each method, the same whatever others there are, as far as the head-to-heads know it."""
    others = [method for method in methods if method not in COLOURS]
    return {name: MORE_COLOURS[index % len(MORE_COLOURS)] for index, name in enumerate(others)} | COLOURS


def slope(sizes: np.ndarray, medians: np.ndarray) -> float:
    """The exponent k of episodes ∝ N^k, fitted to the medians; NaN of fewer than three, or where one is infinite."""
    if len(sizes) < 3 or not np.isfinite(medians).all():
        return np.nan
    return float(np.polyfit(np.log(sizes), np.log(medians), 1)[0])


def _deepsea(results: Frame) -> Figure:
    """Episodes to solve, solve rate, and wall-clock time, against the size."""
    summary, methods = summarise(results), sorted(set(results["method"]))
    sizes, colours = np.unique(results["size"]), _colours(methods)
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    episodes, rate, seconds = figure.subplots(1, 3, width_ratios=(2, 1, 1))
    for number, method in enumerate(methods):
        rows, runs = summary[summary["method"] == method], results[results["method"] == method]
        rows, colour = rows.sort_values("size"), colours[method]
        shift = 1.012 ** (number - (len(methods) - 1) / 2)  # so that methods do not hide each other
        solved = np.asarray(runs["solved"], bool)
        found, never = runs[solved], runs[~solved]
        medians = np.asarray(rows["median_episodes"])
        exponent = slope(np.asarray(rows["size"]), medians)
        label = f"{method}: N^{exponent:.2g}" if np.isfinite(exponent) else method
        episodes.scatter(found["size"] * shift, found["episodes_to_solve"], s=18, color=colour, alpha=0.5, linewidths=0)
        episodes.scatter(
            never["size"] * shift, never["episodes"], s=26, marker="^", facecolors="none", edgecolors=colour, alpha=0.7
        )
        finite = np.where(np.isfinite(medians), medians, np.nan)
        episodes.plot(rows["size"], finite, "o-", color=colour, linewidth=2, markersize=5, label=label)
        rate.plot(rows["size"], rows["solved"] / rows["seeds"], "o-", color=colour, linewidth=2, markersize=5)
        each = rows["seconds"] / rows["seeds"]
        seconds.plot(rows["size"], each, "o-", color=colour, linewidth=2, markersize=5)
    if scripts := [(size, length) for size, length in SCRIPTS.items() if sizes.min() <= size <= sizes.max()]:
        label = "length of HyperAgent's own scripts"
        episodes.plot(*zip(*scripts, strict=True), "x", color="#555555", markersize=8, markeredgewidth=2, label=label)
    dense = np.geomspace(max(sizes.min() * 0.9, 1), sizes.max() * 1.1, 200)
    episodes.plot(dense, 2.0**dense, "--", color="#888888", linewidth=1.2, label="random actions: 2^N")
    episodes.set(xscale="log", yscale="log", xlim=(dense[0], dense[-1]))
    counted = np.r_[results["episodes_to_solve"].dropna(), results["episodes"]]
    episodes.set_ylim(max(counted.min() / 2, 0.7), counted.max() * 2)
    episodes.set_ylabel("episodes to solve (triangle: not within so many)")
    rate.set(ylim=(-0.03, 1.03), ylabel="share of seeds that solved it")
    seconds.set(yscale="log", ylabel="seconds to train, per seed")
    seconds.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    seconds.yaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,g}"))
    seconds.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    ticks = sizes[:: -(-len(sizes) // 7)]  # so that they do not touch
    for axes in (episodes, rate, seconds):
        axes.set_xlabel("size N")
        axes.set_xticks(ticks, [str(size) for size in ticks])
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    episodes.legend(frameon=False, fontsize=9, loc="best")
    return figure


def _minigrid(curves: Frame) -> Figure:
    """Success over frames, task by task: every seed thin, their median thick."""
    tasks = [task for task in GRIDS if task in set(curves["task"])]
    methods = sorted(set(curves["method"]))
    columns, colours = min(len(tasks), 4), _colours(methods)
    num_rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(1.5 + 3.4 * columns, 0.9 + 2.7 * num_rows), layout="constrained")
    panels, lines = figure.subplots(num_rows, columns, sharey=True, squeeze=False).ravel(), {}
    for axes, task in zip(panels, tasks, strict=False):
        for method in methods:
            of_method = curves[(curves["task"] == task) & (curves["method"] == method)]
            if of_method.empty:
                continue
            seeds = [smooth(run) for _, run in of_method.groupby("seed")]
            for one in seeds:
                axes.plot(one.index, one, color=colours[method], linewidth=0.8, alpha=0.55)
            median = pd.concat(seeds, axis=1).median(axis=1)
            (lines[method],) = axes.plot(median.index, median, color=colours[method], linewidth=2)
        axes.set_title(task.removeprefix("MiniGrid-").removesuffix("-v0"), fontsize=10)
        axes.set(xlim=(0, GRIDS[task].frames), ylim=(-0.03, 1.03))
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
        axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
        _mark_published(axes, task)
    for axes in panels[len(tasks) :]:
        axes.set_visible(False)
    figure.supylabel("share of successful episodes", fontsize=10)
    figure.supxlabel("frames", fontsize=10)
    figure.legend(list(lines.values()), list(lines), loc="outside right upper", frameon=False, fontsize=9)
    return figure


def smooth(run: Frame) -> Any:
    """A seed's success by env_steps, over the episodes of SMOOTH of its curve, from where there is so much of it."""
    run = run.sort_values("update")
    ended: Any = np.diff(np.asarray(run["episodes"]), prepend=0)
    won = np.where(ended > 0, run["success"], 0.0) * ended
    width = max(int(SMOOTH * len(run)), 1)
    counts = pd.DataFrame({"won": won, "ended": ended}, index=pd.Index(np.asarray(run["env_steps"])))
    sums: Any = counts.rolling(width).sum()
    return sums["won"] / sums["ended"].where(sums["ended"] > 0)


def _mark_published(axes: Any, task: str) -> None:
    """A line at the frames after which a result was published, or a note where it lies off the axis."""
    frames, source = GRIDS[task].published, GRIDS[task].source
    if frames is None:
        return
    right = 0.98
    if frames <= 1.05 * GRIDS[task].frames:
        axes.set_xlim(0, 1.05 * frames)
        axes.axvline(frames, color="#444444", linestyle=":", linewidth=1.4)
        right = 0.93
    text = f"published after {matplotlib.ticker.EngFormatter(sep='')(frames)}\n{source}"
    axes.text(right, 0.06, text, transform=axes.transAxes, ha="right", fontsize=8, color="#444444")
