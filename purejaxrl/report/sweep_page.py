"""The page of a sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from purejaxrl import files, folders, metrics, stats, sweeps
from purejaxrl.report import commands, data, figures, pages
from purejaxrl.report.data import GREY
from purejaxrl.report.figures import Table
from purejaxrl.report.numbers import interval, memory, number, share, whole
from purejaxrl.report.verdicts import Verdict
from purejaxrl.results import Sweep
from purejaxrl.types import SettingError

OTHERS = 100  # curves at most
LISTED = 10  # rows of the table of the best
RANKED = 500  # configurations in the figure of all


def page(folder: Path) -> pages.Page:
    """The page of a sweep's folder.

    Raises:
      SettingError: where it is damaged, or has no results yet.
    """
    plan, found = folders.read(folder, sweeps.PLAN), sweeps.read(folder)
    _check(found, folder)
    best, runs = found.best(None), found._scored({"final_return": "maximize"})
    labels = [_label(row, found.fields) for row in best.to_dict("records")]
    top = best["config_id"].tolist()
    by_id = dict(list(found.frame.groupby("config_id")))
    finals = {one: of["final_return"].to_numpy(float) for one, of in found.runs().groupby("config_id")}
    places = np.unique(np.linspace(0, len(top) - 1, OTHERS).astype(int))
    places = [*range(min(data.MOST, len(top))), *(i for i in places if i >= data.MOST)]
    lines = data.series([labels[i] for i in places], [by_id[top[i]] for i in places], [finals[top[i]] for i in places])
    curves, returns = pages.curve_groups(lines, data.columns([found.frame], found.fields))
    colours = [one.colour for one in lines if one.place >= 0] + [GREY] * len(best)
    some = best.head(RANKED)
    shares: dict[str, float] = {str(name): float(value) for name, value in found.importance().items()}
    ranking = figures.ranking(
        "ranking", some, runs[runs["config_id"].isin(some["config_id"])], labels[:RANKED], colours[: len(some)]
    )
    settings = [
        figures.sensitivity(f"field-{i}", name, found.sensitivity(name), runs, shares[name])
        for i, name in enumerate(shares)
    ]
    verdicts = _verdicts(found, best, labels, shares)
    summary, call = _summary(folder), commands.sweep(plan, folder)
    return pages.Page(
        title=f"Sweep on {pages.env_name(plan.get('env'), plan.get('env_settings'))}",
        lead=_lead(found, best, plan),
        verdicts=verdicts,
        facts=_facts(found, best, summary),
        best=_best_table(found, best),
        shares=list(shares.items()),
        legend=lines,
        groups=[
            pages.Group("Configurations", [ranking]),
            pages.Group(
                "What mattered", settings, "The final return by each field's values, over all that else was searched."
            ),
            *curves,
        ],
        stills=[pages.still(returns, verdicts)],
        commands=[("the sweep, in Python", call)] if call else [],
        configs=[("the sweep", json.dumps(plan, indent=2))],
        versions=plan["versions"] if isinstance(plan.get("versions"), dict) else {},
    )


def _check(found: Sweep, folder: Path) -> None:
    """See that the parts have the columns that a page is made of."""
    for path in metrics.parts(folder):
        try:
            files.read_table(path, sweeps.INTEGERS, (*sweeps.NUMBERS, *data.NUMBERS))
        except (OSError, ValueError) as error:
            raise SettingError(f"{path} cannot be used: {error}") from None
    if found.frame.empty or (found.frame["update"] < 1).any():
        raise SettingError(f"{folder} has no results yet, or its parts are damaged: updates count from 1")


def _label(row: Any, fields: list[str]) -> str:
    """The values that a configuration differs in."""
    return ", ".join(f"{name.rpartition('.')[2]} {_short(row[name])}" for name in fields)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _lead(found: Sweep, best: Any, plan: dict[str, Any]) -> str:
    algo = plan.get("algo")
    name = algo.get("type") if isinstance(algo, dict) else "the learner"
    fields = ", ".join(found.fields)
    suit = f"suit{'s' if len(found.fields) == 1 else ''} {name}"
    return f"Which {fields} {suit}? {whole(len(best))} configurations were compared."


def _verdicts(found: Sweep, best: Any, labels: list[str], shares: dict[str, float]) -> list[Verdict]:
    first = best.iloc[0]
    scored, seeds = interval(first["final_return"], first["low"], first["high"]), int(first["seeds"])
    text = f"{labels[0]}: mean final return {scored} over {whole(seeds)} seed{'s' * (seeds > 1)}."
    verdicts = [Verdict("Best", "good", text, data.COLOURS[0])]
    if len(best) > 1 and seeds > 1:
        finals = {one: of.to_numpy(float) for one, of in found.runs().groupby("config_id")["final_return"]}
        own, *others = (finals[one] for one in best["config_id"].head(RANKED))
        level = sum(not stats.difference_interval(own, one)[1] > 0 for one in others)
        text = f"The interval of its difference to each of the other {whole(len(others))} is above zero."
        if level:
            text = f"{whole(level)} of the other {whole(len(others))} cannot be told apart from it with these seeds."
        verdicts.append(Verdict("How sure", "open", f"{text} It was chosen on these seeds: train it again on others."))
    if any(shares.values()):
        rest = max(1 - sum(shares.values()), 0.0)
        text = ", ".join(f"{name} explains {share(value)} of the variance" for name, value in shares.items())
        verdicts.append(Verdict("What mattered", "open", f"{text}; interactions and chance {share(rest)}."))
    if diverged := int(best["diverged"].sum()):
        text = f"{whole(diverged)} runs, which count as the worst return of all."
        verdicts.append(Verdict("Diverged", "bad", text))
    return verdicts


def _facts(found: Sweep, best: Any, summary: dict[str, Any]) -> list[tuple[str, str]]:
    runs = int(best["seeds"].sum())
    facts = [("configurations", whole(len(best))), ("runs", whole(runs))]
    facts.append(("steps per run", whole(found.frame["env_steps"].max())))
    if isinstance(speed := summary.get("steps_per_second"), float):
        facts.append(("steps per second", whole(speed)))
    return [*facts, *memory(summary).items()]


def _summary(folder: Path) -> dict[str, Any]:
    """What the last call of the sweep said; nothing where it wrote nothing yet, or that is damaged."""
    try:
        content = files.read_json(folder / "summary.json")
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _best_table(found: Sweep, best: Any) -> tuple[str, Table]:
    header = ["", *found.fields, "final return [95 % interval]", "seeds"]
    rows = []
    for rank, row in enumerate(best.head(LISTED).to_dict("records"), 1):
        values = [number(row[name]) if isinstance(row[name], (int, float)) else str(row[name]) for name in found.fields]
        rows.append([str(rank), *values, interval(row["final_return"], row["low"], row["high"]), whole(row["seeds"])])
    return f"The best {len(rows)} of {whole(len(best))} configurations", Table(header, rows)
