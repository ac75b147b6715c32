"""The page of a run, or of several side by side."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from purejaxrl.progress import Progress
from purejaxrl.report import animations, commands, data, figures, pages, stills, verdicts
from purejaxrl.report.data import Run, Series
from purejaxrl.report.figures import Table
from purejaxrl.report.numbers import memory, number, numbers, share, whole


def page(folders: Sequence[Path], *, films: bool, progress: Progress) -> pages.Page:
    """The page of these runs.

    Raises:
      SettingError: where a folder is of something else, or damaged.
    """
    found = data.read(folders)
    lines = _series(found)
    pairs = zip(found, lines, strict=True)
    judged = [said for run, one in pairs for said in (verdicts.learned(run, one), *verdicts.diverged(run, one))]
    groups, returns = pages.curve_groups(lines, data.columns([run.frame for run in found]))
    maps, pictures = _maps(found)
    envs = list(dict.fromkeys(_env(run) for run in found))
    same = data.same_env([run.config for run in found])
    text, rows = verdicts.comparison(lines) if same else ("", [])
    if not same:
        judged.append(verdicts.Verdict("Not compared", "open", "The runs are on environments that differ."))
    elif rows:
        text += verdicts.unequal([run.summary["env_steps"] for run in found])
    header = ["", "the best one's return is higher by", "share of pairs of runs in which it is higher"]
    facts = [_numbers(run) for run in found]
    names = dict.fromkeys(name for row in facts for name in row)
    table = [[name, *(row.get(name, "") for row in facts)] for name in names]
    return pages.Page(
        title=" and ".join(envs),
        lead=_lead(found),
        verdicts=judged,
        facts=list(_facts(found[0]).items()) if len(found) == 1 else [],
        compared=(text, Table(header, rows)) if rows else None,
        legend=lines,
        groups=sorted([*groups, *maps], key=lambda group: group.folded),
        stills=[pages.still(returns, judged), *pictures],
        films=[film for run in found for film in animations.of(run, progress)] if films else [],
        numbers=Table(["", *(run.label for run in found)], table),
        commands=[(run.label, commands.train(run.config)) for run in found],
        configs=[(run.label, json.dumps(dataclasses.asdict(run.config), indent=2)) for run in found],
        versions=found[0].summary["versions"],
    )


def _series(found: Sequence[Run]) -> list[Series]:
    """A line for each run, in their order; of many the best have a colour of their own."""
    scores = [float(np.nanmean(run.final)) if np.isfinite(run.final).any() else -math.inf for run in found]
    best = sorted(range(len(found)), key=lambda i: -scores[i])[: data.MOST]
    order = [*sorted(best), *(i for i in range(len(found)) if i not in best)]
    some = [found[i] for i in order]
    lines = data.series([run.label for run in some], [run.frame for run in some], [run.final for run in some])
    return [line for _, line in sorted(zip(order, lines, strict=True), key=lambda pair: pair[0])]


def _lead(found: Sequence[Run]) -> str:
    """The question."""
    names = " or ".join(run.label for run in found[:3]) + (f" or {len(found) - 3} more" if len(found) > 3 else "")
    if len(found) == 1:
        return f"Did {names} learn on {_env(found[0])}?"
    return f"What learns better on {' and '.join(dict.fromkeys(_env(run) for run in found))}: {names}?"


def _env(run: Run) -> str:
    return pages.env_name(run.config.env, run.config.env_settings)


def _facts(run: Run) -> dict[str, str]:
    """The numbers that stand out."""
    facts = _numbers(run)
    names = (
        "diverged",
        "solved",
        "best episode",
        "cells visited",
        "steps per second",
        "training",
        *memory(run.summary),
    )
    return {name: facts[name] for name in names if name in facts}


def _numbers(run: Run) -> dict[str, str]:
    best, known = run.frame["episode_return_max"].to_numpy(float), verdicts.target(run)
    rows = {"seeds": whole(run.config.seeds), "steps per seed": whole(run.summary["env_steps"])}
    if run.diverged:
        rows["diverged"] = f"seed{'s' * (len(run.diverged) > 1)} {', '.join(map(str, run.diverged))}"
    if known.solved is not None:
        rows["solved"] = verdicts.solve_rate(run.final, known.solved)
        rows["solved is a return above"] = number(known.solved)
    rows["final return, each seed"] = numbers(run.final)
    rows["best episode"] = number(np.nanmax(best) if np.isfinite(best).any() else math.nan)
    if known.best is not None:
        rows["a perfect policy's return"] = number(known.best)
    if "coverage" in run.frame and len(run.frame):
        rows["cells visited"] = share(run.frame.groupby("seed")["coverage"].last().mean())
    rows["steps per second"] = whole(run.summary["steps_per_second"])
    rows["training"] = _seconds(run.summary["run_seconds"])
    rows["compiling"] = _seconds(run.summary["compile_seconds"])
    return rows | memory(run.summary)


def _seconds(value: float) -> str:
    if not math.isfinite(value):
        return "–"
    hours, rest = divmod(round(value), 3600)
    return (
        f"{hours:,} h {rest // 60} min"
        if hours
        else f"{rest // 60} min {rest % 60} s"
        if rest >= 60
        else f"{value:.1f} s"
    )


def _maps(found: Sequence[Run]) -> tuple[list[pages.Group], list[tuple[str, str]]]:
    """How often each cell was visited, all seeds together, on one scale for all runs."""
    grids = []
    for run in found:
        if run.visits is not None and run.parts.cells is not None:
            layout = run.parts.cells.layout
            grids.append((run.label, np.where(layout >= 0, run.visits.sum(0)[np.maximum(layout, 0)], -1)))
    if not grids:
        return [], []
    top = max(int(grid.max()) for _, grid in grids)
    drawn = [figures.visits(f"map-{i}", label, grid, top) for i, (label, grid) in enumerate(grids)]
    note = "Exact counts of the environment's true states over the whole run, all seeds together; grey: never."
    alt = "Maps of visits. " + " ".join(f"{one.title}: {one.note}." for one in drawn)
    return [pages.Group("Where the agents have been", drawn, note, kind="maps")], [(alt, stills.maps(grids, top))]
