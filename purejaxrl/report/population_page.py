"""The page of population-based training."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from purejaxrl import folders, metrics, population_based, stats
from purejaxrl.population_based import Population
from purejaxrl.report import commands, data, figures, pages
from purejaxrl.report.data import COLOURS, GREY, Curve, Frame, Series
from purejaxrl.report.figures import Table
from purejaxrl.report.numbers import interval, number, share, whole
from purejaxrl.report.verdicts import Verdict

LISTED = 10  # rows of the table of the best
OTHERS = 100  # members in grey at most


def page(folder: Path) -> pages.Page:
    """The page of a population's folder.

    Raises:
      SettingError: where it is damaged, or has no results yet.
    """
    plan, found = folders.read(folder, population_based.PLAN), population_based.read(folder)
    best, rows = found.best(), found.scores()
    shape = [rows[name].nunique() for name in ("seed", "config_id", "interval")]
    steps = rows["env_steps"].to_numpy()[: shape[2]]
    scores = rows["score"].replace(-np.inf, np.nan).to_numpy().reshape(shape)
    # What goes member by member is shown of the population that has the best one.
    own, way = rows[rows["seed"] == best["seed"].iloc[0]], found.schedule(best["seed"].iloc[0])
    parents, lineage = own["parent"].to_numpy().reshape(shape[1:]), way["config_id"].to_numpy()[:: found.interval]
    lines, curves = _curves(scores, steps, way)
    verdicts = _verdicts(found, plan, scores, parents, lineage)
    schedules = [
        figures.schedule(f"curve-{name}", name, steps, own[name].to_numpy(float).reshape(shape[1:]), lineage, lines[2])
        for name in found.fields
    ]
    of_own = own["score"].replace(-np.inf, np.nan).to_numpy().reshape(shape[1:])
    copies = figures.lineages("curve-lineages", steps, parents, of_own, lineage, lines[2])
    score = figures.curve("curve-score", "Return by interval", _note(shape[0]), curves, wide=True, of="member")
    which = f"Of population {best['seed'].iloc[0]}, which has the best member." if shape[0] > 1 else ""
    inside, _ = pages.curve_groups([lines[2]], data.columns([way], found.fields), of="member")
    inside = [dataclasses.replace(group, title=f"{group.title}, best lineage") for group in inside]
    call = commands.population(plan, folder)
    return pages.Page(
        title=f"Population on {pages.env_name(plan.get('env'), plan.get('env_settings'))}",
        lead=_lead(found, plan, shape[1]),
        verdicts=verdicts,
        facts=_facts(found, shape, steps),
        best=_best_table(found, best),
        legend=lines,
        groups=[
            pages.Group("How far it came", [score]),
            pages.Group("What the settings became", schedules, which),
            pages.Group("Who learned from whom", [copies], which),
            *inside,
        ],
        stills=[pages.still(curves[:2], verdicts)],
        commands=[("the population, in Python", call)] if call else [],
        configs=[("the population", json.dumps(plan, indent=2))],
        versions=plan["versions"] if isinstance(plan.get("versions"), dict) else {},
        band="bands",
        single="each population" if shape[0] > 1 else "",
    )


def _curves(scores: np.ndarray, steps: np.ndarray, way: Frame) -> tuple[list[Series], list[tuple[Series, Curve]]]:
    """The legend, and the curves of the best and the median member over intervals, with all members in grey.

    Args:
      scores: ``[populations, members, intervals]``, NaN where no episode ended.
      steps: ``[intervals]``, environment steps by the end of each.
      way: the rows of the best lineage.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of intervals in which no episode ended at all
        best, median = np.nanmax(scores, axis=1), np.nanmedian(scores, axis=1)
        low, high = (np.nanpercentile(scores, at, axis=1).mean(0) for at in (25, 75))
        bands = (best.min(0), best.max(0)), (low, high)
    looks = ("best member", COLOURS[0], best[:, -1]), ("median member", COLOURS[1], scores[0, :, -1])
    lines = [Series(i, label, colour, "solid", way, final) for i, (label, colour, final) in enumerate(looks)]
    drawn = [
        (line, _curve(steps, values.mean(0), *band, values))
        for line, values, band in zip(lines, (best, median), bands, strict=True)
    ]
    members = [
        (Series(-1, "", GREY, "solid", way, one[-1:]), _curve(steps, one, one, one, one[None]))
        for one in scores.reshape(-1, len(steps))[:OTHERS]
    ]
    lineage = Series(2, "best lineage", COLOURS[2], "solid", way, best[:1, -1])
    return [*lines, lineage, *(line for line, _ in members)], [*drawn, *members]


def _curve(steps: np.ndarray, mean: np.ndarray, low: np.ndarray, high: np.ndarray, each: np.ndarray) -> Curve:
    there = np.isfinite(mean)
    return Curve(steps[there], mean[there], low[there], high[there], [(steps, values) for values in each])


def _note(populations: int) -> str:
    """What the lines of the scores are."""
    of = f", means over {populations} populations with the range of the bests" if populations > 1 else ""
    return f"Mean return of each interval's episodes{of}; around the median the middle half of the members."


def _lead(found: Population, plan: dict[str, Any], members: int) -> str:
    algo = plan.get("algo")
    name = algo.get("type") if isinstance(algo, dict) else "the learner"
    which = f"Which {' and '.join(found.fields)} suit{'s' if len(found.fields) == 1 else ''} {name}, and when?"
    every = whole(plan["interval"])
    return f"{which} {whole(members)} members trained at once; every {every} steps the worst went on from the best."


def _verdicts(
    found: Population, plan: dict[str, Any], scores: np.ndarray, parents: np.ndarray, lineage: np.ndarray
) -> list[Verdict]:
    verdicts = [_reached(scores, lineage[-1]), *_diverged(found, scores.shape[0] * scores.shape[1])]
    if not found.complete:
        taken = found.frame["env_steps"].max() / plan["total_steps"]
        verdicts.append(Verdict("Not done", "open", f"{share(taken)} of its steps; the same call goes on."))
    way = found.schedule(int(found.best()["seed"].iloc[0]))
    changes = [f"{name} went from {number(way[name].iloc[0])} to {number(way[name].iloc[-1])}" for name in found.fields]
    through = list(dict.fromkeys(lineage.tolist()))
    ways = f", through members {', '.join(map(str, through))}" if len(through) > 1 else ", in one member"
    verdicts.append(Verdict("Schedule", "open", f"{', '.join(changes)} along the best lineage{ways}.", COLOURS[2]))
    first = np.arange(len(parents))
    for begun in parents.T[::-1]:
        first = begun[first]  # whose state it was at the begin of this interval
    copies = int((parents != np.arange(len(parents))[:, None]).sum())
    left = len(set(first.tolist()))
    text = f"{whole(copies)} times a member went on from another one; the {whole(len(parents))} at the end descend "
    where = " That is the best member's population." if len(scores) > 1 else ""
    verdicts.append(Verdict("Copies", "open", f"{text}from {left} of the first.{where}"))
    text = "The best was picked by this very return, and members that copy are no independent runs: train the schedule "
    verdicts.append(Verdict("How sure", "open", f"{text}again with other seeds before you report it."))
    return verdicts


def _reached(scores: np.ndarray, member: int) -> Verdict:
    """The best members by the end, beside the median of the first interval; no verdict, as copies are alike."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best, start, end = np.nanmax(scores[..., -1], 1), *(np.nanmedian(scores[..., at], 1) for at in (0, -1))
    if not np.isfinite(best).any():
        return Verdict("No result", "open", "No episode ended in the last interval.", COLOURS[0])
    if len(scores) == 1:
        who, values = f"Member {member} is best: its mean return", [number(one[0]) for one in (best, start, end)]
    else:
        who = f"The best members of {len(scores)} populations: their mean return"
        values = [interval(*stats.t_interval(one)) for one in (best, start, end)]
    text = f"{who} in the last interval is {values[0]}. The median member's was {values[1]} in the first interval "
    text += f"and is {values[2]} in the last. Training alone may do as much: whether copying helped, only a population "
    text += "with fixed settings beside it can tell."
    return Verdict("How far it came", "open", text, COLOURS[0])


def _diverged(found: Population, members: int) -> list[Verdict]:
    """How many members were not finite at some time; nothing where none was."""
    rows = found.frame[metrics.diverged(found.frame)]
    if rows.empty:
        return []
    count, first = len(rows[["seed", "config_id"]].drop_duplicates()), (rows["update"].min() - 1) // found.interval
    text = f"{whole(count)} of {whole(members)} members had a number that was not finite at some time, first in "
    text += f"interval {whole(first + 1)}. They rank last then, and the worst go on from the best."
    return [Verdict("Diverged", "bad", text)]


def _facts(found: Population, shape: list[int], steps: np.ndarray) -> list[tuple[str, str]]:
    populations = [("populations", whole(shape[0]))] if shape[0] > 1 else []
    facts = [*populations, ("members", whole(shape[1])), ("intervals", whole(shape[2]))]
    facts.append(("updates per interval", whole(found.interval)))
    return [*facts, ("steps per member", whole(steps[-1])), ("steps of all", whole(steps[-1] * shape[0] * shape[1]))]


def _best_table(found: Population, best: Frame) -> tuple[str, Table]:
    header = ["", *(["population"] if best["seed"].nunique() > 1 else []), "member", *found.fields, "return"]
    rows = []
    for rank, row in enumerate(best.head(LISTED).to_dict("records"), 1):
        who = [str(row["seed"]), str(row["config_id"])][-(len(header) - len(found.fields) - 2) :]
        rows.append([str(rank), *who, *(number(row[name]) for name in found.fields), number(row["score"])])
    return f"The best {len(rows)} of {whole(len(best))} members in the last interval", Table(header, rows)
