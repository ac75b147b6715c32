"""Tables, figures and a page of a head-to-head's results; only reporting seeds are shown."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from purejaxrl import files, report, stats
from purejaxrl.bench.suites import METHODS, Task
from purejaxrl.runs import versions

Frame = Any  # pandas.DataFrame, whose type stubs know no difference between a column and a row
# Baselines grey, lifelong bonuses in one family of colours, those with episodic memory in another.
GREYS = ("#111111", "#666666", "#a3a3a3")
COOL = ("#08306b", "#2171b5", "#6baed6", "#41b6c4", "#238b45", "#74c476", "#b2df8a")
WARM = ("#7f0000", "#d7301f", "#fc8d59", "#fdbb63", "#c51b8a", "#f768a1")
COLOURS = dict(zip([method.name for method in METHODS], GREYS + COOL + WARM, strict=True))
FAMILIES = {"without a bonus": GREYS, "lifelong bonuses": COOL, "within the episode": WARM}

CAPTIONS = {
    "solved": ("When each run solved its task", "One dot per seed; at the right how many solved it within the budget."),
    "scores": (
        "Final returns",
        "Interquartile mean over seeds of the last tenth of the run, with its 95 % interval. "
        "A run in which no episode ended there counts as 0.",
    ),
    "profile": ("Performance profile", "How many of a method's runs, of all tasks, end above each score."),
    "coverage": ("Where they have been", "Share of the true states visited so far, mean over seeds."),
}


def summarise(results: Frame) -> Frame:
    """A row per task and method: the tuned value, and over the reporting seeds IQM, solve rate, steps, coverage.

    A run without a final return, as one that diverged or never ends an episode, counts as 0.
    """
    rows = []
    for (task, method), runs in results[results["phase"] == "reporting"].groupby(["task", "method"], sort=False):
        iqm, low, high = (float(value) for value in stats.iqm_interval(runs["final_return"].fillna(0.0).to_numpy()))
        count, solved = len(runs), int(runs["solved"].sum())
        rate_low, rate_high = stats.wilson_interval(solved, count)
        row = {
            "task": task,
            "method": method,
            "seeds": count,
            "field": runs["field"].iloc[0],
            "value": runs["value"].iloc[0],
            "iqm": iqm,
            "iqm_low": low,
            "iqm_high": high,
            "solved": solved,
            "solve_rate_low": rate_low,
            "solve_rate_high": rate_high,
            "median_steps_to_solve": median_with_censoring(np.asarray(runs["steps_to_solve"])),
            "median_first_reward": median_with_censoring(np.asarray(runs["first_reward"])),
            "coverage": float(runs["coverage"].mean()),
            "rank_correlation": float(runs["rank_correlation"].mean()),
            "seconds": float(runs["seconds"].mean()),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def median_with_censoring(steps: np.ndarray) -> float:
    """The median over runs, of which NaN took longer than the budget; inf where half of them did."""
    return float(np.median(np.where(np.isnan(steps), np.inf, steps)))


def overall(results: Frame) -> Frame:
    """A row per method that has run on every task: the IQM of the scores of all its runs, best first.

    The best are those with the largest share of solved runs. A run without a final return scores 0.
    """
    reported = results[results["phase"] == "reporting"]
    reported = reported.assign(score=reported["score"].fillna(0.0))
    num_tasks, rows = reported["task"].nunique(), []
    for method, runs in reported.groupby("method", sort=False):
        scores = runs.pivot_table(index="seed", columns="task", values="score", dropna=False).dropna()
        if scores.shape[1] == num_tasks and len(scores):
            iqm, low, high = stats.stratified_iqm_interval(scores.to_numpy())
            solved = int(runs["solved"].sum())
            rows.append({"method": method, "iqm": iqm, "low": low, "high": high, "solved": solved, "runs": len(runs)})
    order = pd.DataFrame(rows, columns=["method", "iqm", "low", "high", "solved", "runs"])
    return _by_share_solved(order, order["runs"])


def _by_share_solved(rows: Frame, runs: Any) -> Frame:
    """Best first, of which not all need have as many runs."""
    ranked = rows.assign(share=rows["solved"] / runs).sort_values(["share", "iqm"], ascending=False, ignore_index=True)
    return ranked.drop(columns="share")


def in_one_line(results: Frame, task: Task) -> str:
    row = summarise(results).iloc[0]
    return (
        f"{row['task']}, {row['method']}: {row['field']} {row['value']:g}, {row['solved']} of {row['seeds']} solved, "
        f"return {row['iqm']:.3g} [{row['iqm_low']:.3g}, {row['iqm_high']:.3g}] after {task.total_steps:,} steps"
    )


def markdown(results: Frame) -> str:
    """The tables: all tasks together, then one after the other."""
    every, summary = overall(results), summarise(results)
    lines = ["| method | solved runs | IQM of scores [95 % interval] |", "|---|---|---|"]
    lines += [
        f"| {r.method} | {r.solved} of {r.runs} | {r.iqm:.2f} [{r.low:.2f}, {r.high:.2f}] |" for r in every.itertuples()
    ]
    for task, rows in summary.groupby("task", sort=False) if len(summary) else ():
        lines += ["", f"**{task}**", ""]
        columns = (
            "solved [95 % interval]",
            "median steps to solve",
            "return [95 % interval]",
            "coverage",
            "true novelty",
        )
        lines += [f"| method | tuned | {' | '.join(columns)} |", "|---|---|---|---|---|---|---|"]
        for row in _by_share_solved(rows, rows["seeds"]).itertuples():
            steps = f"{row.median_steps_to_solve:,.0f}" if np.isfinite(row.median_steps_to_solve) else "–"
            rate = f"{row.solved} of {row.seeds} [{100 * row.solve_rate_low:.0f} %, {100 * row.solve_rate_high:.0f} %]"
            iqm = f"{row.iqm:z.2f} [{row.iqm_low:z.2f}, {row.iqm_high:z.2f}]"
            coverage = "" if np.isnan(row.coverage) else f"{100 * row.coverage:.0f} %"
            novelty = "" if np.isnan(row.rank_correlation) else f"{row.rank_correlation:z.2f}"
            tuned = f"{row.field.partition('.')[2]} {row.value:g}"
            lines.append(f"| {row.method} | {tuned} | {rate} | {steps} | {iqm} | {coverage} | {novelty} |")
    return "\n".join(lines) + "\n"


def write(out: Path, results: Frame, pairs: Sequence[Any], command: str) -> None:
    """Fill the folder: ``results.parquet``, ``summary.parquet``, ``table.md``, ``*.png`` and ``report.html``."""
    summary = summarise(results)
    for name, frame in (("results", results), ("summary", summary)):
        with files.replacing(out / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)
    if summary.empty:
        return
    figures = {"solved": _solved(results, pairs), "scores": _scores(summary, results), "profile": _profile(results)}
    if covered := [pair for pair in pairs if "coverage" in pair.frame and (pair.frame["phase"] == "reporting").any()]:
        figures["coverage"] = _coverage(covered)
    images = {name: _png(figure) for name, figure in figures.items()}
    for name, image in images.items():
        with files.replacing(out / f"{name}.png") as temporary:
            temporary.write_bytes(image)
    with files.replacing(out / "table.md") as temporary:
        temporary.write_text(markdown(results), encoding="utf-8")
    page = report.template("head_to_head.html").render(
        title="Ways to explore, side by side",
        overall=overall(results).to_dict("records"),
        tasks=[(task, rows.to_dict("records")) for task, rows in summary.groupby("task", sort=False)],
        figures=[(name, *CAPTIONS[name]) for name in images],
        images={name: base64.b64encode(image).decode() for name, image in images.items()},
        command=command,
        versions=versions(),
        isfinite=np.isfinite,
    )
    with files.replacing(out / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


def _order(results: Frame) -> list[str]:
    """The methods, best first; those that have not run on every task last."""
    best = list(overall(results)["method"])
    return best + [method for method in dict.fromkeys(results["method"]) if method not in best]


def _solved(results: Frame, pairs: Sequence[Any]) -> Figure:
    """Each run is a dot at the step where it had solved its task; runs that never did are counted at the right edge."""
    reported = results[results["phase"] == "reporting"]
    order, tasks = _order(reported)[::-1], list(dict.fromkeys(reported["task"]))
    budgets = {pair.task.name: pair.task.total_steps for pair in pairs}
    with mpl.rc_context(report.STYLE):
        figure = Figure(figsize=(2.2 + 3.1 * len(tasks), 1.1 + 0.32 * len(order)), layout="constrained")
        row = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for axes, task in zip(row, tasks, strict=True):
            for height, method in enumerate(order):
                runs = reported[(reported["task"] == task) & (reported["method"] == method)]
                if runs.empty:
                    continue
                steps = np.sort(np.asarray(runs["steps_to_solve"])[np.asarray(runs["solved"], bool)])
                spread = height + np.linspace(-0.18, 0.18, len(steps)) if len(steps) > 1 else [height] * len(steps)
                axes.scatter(steps, spread, s=16, color=COLOURS[method], alpha=0.8, linewidths=0)
                axes.text(
                    1.02,
                    height,
                    f"{len(steps)}/{len(runs)}",
                    transform=axes.get_yaxis_transform(),
                    va="center",
                    fontsize=9,
                )
            axes.set_xlim(0, budgets[task])
            axes.set_title(task, fontsize=11)
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3))
            axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
            axes.set_yticks(range(len(order)), order)
        figure.supxlabel("environment steps until solved", fontsize=10)
        return figure


def _scores(summary: Frame, results: Frame) -> Figure:
    """IQM of the final return with its interval, task by task."""
    order, tasks = _order(results)[::-1], list(dict.fromkeys(summary["task"]))
    with mpl.rc_context(report.STYLE):
        figure = Figure(figsize=(2.2 + 2.6 * len(tasks), 0.9 + 0.32 * len(order)), layout="constrained")
        row = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for axes, task in zip(row, tasks, strict=True):
            for line in summary[summary["task"] == task].itertuples():
                height, colour = order.index(line.method), COLOURS[line.method]
                axes.plot([line.iqm_low, line.iqm_high], [height, height], color=colour, linewidth=5, alpha=0.35)
                axes.plot(line.iqm, height, "o", color=colour, markersize=6)
            axes.set_title(task, fontsize=11)
            axes.set_yticks(range(len(order)), order)
        figure.supxlabel("final return", fontsize=10)
        return figure


def _profile(results: Frame) -> Figure:
    """Share of all runs whose score is above τ (Agarwal et al. 2021, section 4.3)."""
    reported, thresholds = results[results["phase"] == "reporting"], np.linspace(0, 1, 101)
    with mpl.rc_context(report.STYLE):
        figure = Figure(figsize=(8, 4.4), layout="constrained")
        axes = figure.add_subplot()
        for method in _order(reported):
            scores = np.asarray(reported[reported["method"] == method]["score"])
            axes.plot(
                thresholds, (scores[:, None] > thresholds).mean(0), color=COLOURS[method], label=method, linewidth=1.8
            )
        axes.set_xlabel("score τ: final return, 1 for a perfect policy")
        axes.set_ylabel("share of runs above τ")
        axes.set_ylim(-0.02, 1.02)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=9)
        return figure


def _coverage(pairs: Sequence[Any]) -> Figure:
    """Share of the cells visited over steps, mean of the reporting seeds; a row per family, the others grey."""
    tasks = list(dict.fromkeys(pair.task.name for pair in pairs))
    present = {COLOURS[pair.method.name] for pair in pairs}
    families = {name: colours for name, colours in FAMILIES.items() if present & set(colours)}
    with mpl.rc_context(report.STYLE):
        figure = Figure(figsize=(1.8 + 3.4 * len(tasks), 0.8 + 2.3 * len(families)), layout="constrained")
        grid = figure.subplots(len(families), len(tasks), sharex="col", sharey=True, squeeze=False)
        for pair in pairs:
            colour = COLOURS[pair.method.name]
            mean = pair.frame[pair.frame["phase"] == "reporting"].groupby("env_steps")["coverage"].mean()
            for axes, colours in zip(grid[:, tasks.index(pair.task.name)], families.values(), strict=True):
                if colour in colours:
                    axes.plot(mean.index, mean, color=colour, linewidth=1.8, label=pair.method.name)
                else:
                    axes.plot(mean.index, mean, color="#e0e0e0", linewidth=1.0, zorder=1)
        for axes, task in zip(grid[0], tasks, strict=True):
            axes.set_title(task, fontsize=11)
            axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
        for row, name in zip(grid, families, strict=True):
            lines = {label: line for axes in row for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
            row[-1].legend(
                lines.values(),
                lines,
                title=name,
                title_fontsize=10,
                loc="center left",
                bbox_to_anchor=(1.02, 0.5),
                frameon=False,
                fontsize=9,
            )
        figure.supylabel("share of cells visited", fontsize=10)
        figure.supxlabel("environment steps", fontsize=10)
        return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
