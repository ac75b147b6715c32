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
from purejaxrl.results import RETURN, Sweep, directions, furthest
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
    objectives = _objectives(plan)
    goal, metric = objectives[0], next(iter(directions(objectives)))
    best, runs = found.best(None, goal), found.scored(goal)
    labels = [data.values_label(row, found.fields) for row in best.to_dict("records")]
    top = best["config_id"].tolist()
    by_id = dict(list(found.frame.groupby("config_id")))
    scores = {one: of.to_numpy(float) for one, of in runs.groupby("config_id")[metric]}
    places = np.unique(np.linspace(0, len(top) - 1, OTHERS).astype(int))
    places = [*range(min(data.MOST, len(top))), *(i for i in places if i >= data.MOST)]
    lines = data.series([labels[i] for i in places], [by_id[top[i]] for i in places], [scores[top[i]] for i in places])
    curves, returns = pages.curve_groups(lines, data.columns([found.frame], found.fields))
    colours = [one.colour for one in lines if one.place >= 0] + [GREY] * len(best)
    some = best.head(RANKED)
    shares: dict[str, float] = {str(name): float(value) for name, value in found.importance(goal).items()}
    ranking = figures.ranking(
        "ranking", metric, some, runs[runs["config_id"].isin(some["config_id"])], labels[:RANKED], colours[: len(some)]
    )
    settings = [
        figures.sensitivity(f"field-{i}", name, metric, found.sensitivity(name, goal), furthest(runs), shares[name])
        for i, name in enumerate(shares)
    ]
    verdicts = _verdicts(best, labels, metric, scores, shares)
    front, said = _front(found, objectives)
    summary, call = _summary(folder), commands.sweep(plan, folder)
    return pages.Page(
        title=f"Sweep on {pages.env_name(plan.get('env'), plan.get('env_settings'))}",
        lead=_lead(found, best, plan, objectives),
        verdicts=[*_missing(found, plan), *verdicts, *said],
        facts=_facts(found, best, summary),
        best=_best_table(found, best, metric),
        front=front,
        shares=[(name, value) for name, value in shares.items() if np.isfinite(value)],
        measure=_words(metric),
        legend=lines,
        groups=[
            pages.Group("Configurations", [ranking]),
            pages.Group(
                "What mattered",
                settings,
                f"The {_words(metric)} by each field's values, over all that else was searched.",
            ),
            *curves,
        ],
        stills=[pages.still(returns, verdicts)] if returns else [],
        commands=[("the sweep, in Python", call)] if call else [],
        configs=[("the sweep", json.dumps(plan, indent=2))],
        versions=plan["versions"] if isinstance(plan.get("versions"), dict) else {},
    )


def _missing(found: Sweep, plan: dict[str, Any]) -> list[Verdict]:
    """What was asked for and is not there; nothing where all is."""
    if found.complete:
        return []
    there, wanted = found.frame.groupby(["config_id", "seed"]).ngroups, sweeps.num_runs(plan)
    what = f"{whole(there)} of {whole(wanted)} runs" if there < wanted else "its last rung, not in all its runs,"
    return [Verdict("Not done", "open", f"{what} {'is' if there == 1 else 'are'} there; the same call goes on.")]


def _objectives(plan: dict[str, Any]) -> list[str]:
    """What the sweep was to make large, or after ``min:`` small; without a sampler the final return."""
    found = plan.get("objectives") or [*RETURN]
    directions(found)
    return found


def _words(metric: str) -> str:
    return metric.replace("_", " ")


def _goal(objective: str) -> str:
    """An objective as a sentence has it."""
    metric = _words(objective.removeprefix("min:"))
    return f"{metric}, the lower the better" if objective.startswith("min:") else metric


def _check(found: Sweep, folder: Path) -> None:
    """See that the parts have the columns that a page is made of."""
    for path in metrics.parts(folder):
        try:
            files.read_table(path, sweeps.INTEGERS, (*sweeps.NUMBERS, *data.NUMBERS))
        except (OSError, ValueError) as error:
            raise SettingError(f"{path} cannot be used: {error}") from None
    if found.frame.empty or (found.frame["update"] < 1).any():
        raise SettingError(f"{folder} has no results yet, or its parts are damaged: updates count from 1")


def _lead(found: Sweep, best: Any, plan: dict[str, Any], objectives: list[str]) -> str:
    algo = plan.get("algo")
    name = algo.get("type") if isinstance(algo, dict) else "the learner"
    fields = ", ".join(found.fields)
    suit = f"suit{'s' if len(found.fields) == 1 else ''} {name}"
    text = f"Which {fields} {suit}? {whole(len(best))} configurations were compared"
    goals = " and ".join(map(_goal, objectives))
    return f"{text}." if objectives == [*RETURN] else f"{text} by {goals}."


def _verdicts(
    best: Any, labels: list[str], metric: str, scores: dict[int, np.ndarray], shares: dict[str, float]
) -> list[Verdict]:
    """What the sweep says of its best configuration.

    Args:
      best: a row per configuration, the best first.
      labels: of each of these.
      metric: by which they are ranked.
      scores: by `config_id` the metric of each run, ``[num_seeds]``, as it was ranked.
      shares: of the variance, by field; NaN where nothing can be said.
    """
    first = best.iloc[0]
    scored, seeds = interval(first[metric], first["low"], first["high"]), int(first["seeds"])
    text = f"{labels[0]}: mean {_words(metric)} {scored} over {whole(seeds)} seed{'s' * (seeds > 1)}."
    verdicts = [Verdict("Best", "good", text, data.COLOURS[0])]
    if len(best) > 1 and seeds > 1:
        verdicts.append(Verdict("How sure", "open", _how_sure(best.head(RANKED), scores)))
    known = {name: value for name, value in shares.items() if np.isfinite(value)}
    if any(known.values()):
        rest = max(1 - sum(known.values()), 0.0)
        text = ", ".join(f"{name} explains {share(value)} of the variance" for name, value in known.items())
        text += f", less what chance explains; interactions and chance {share(rest)}."
        verdicts.append(Verdict("What mattered", "open", text))
    if diverged := int(best["diverged"].sum()):
        text = f"{whole(diverged)} run{'s, which count' if diverged > 1 else ', which counts'} as the worst of all."
        verdicts.append(Verdict("Diverged", "bad", text))
    return verdicts


def _how_sure(best: Any, scores: dict[int, np.ndarray]) -> str:
    """How many of the configurations that came as far as the best one are level with it."""
    again = "It was chosen on these seeds: train it again on others."
    level_ones = best[best["rung"] == best["rung"].iloc[0]] if "rung" in best else best
    stopped = len(best) - len(level_ones)
    own, *others = (scores[one] for one in level_ones["config_id"])
    early = f" The {whole(stopped)} that were stopped early are not among these." if stopped else ""
    if not others:
        return f"No other configuration came as far; those that were stopped early cannot be told from it. {again}"
    differences = [stats.welch_interval(own, one) for one in others]
    level = sum(low <= 0 <= high for _, low, high in differences)
    if level and len(others) == 1:
        text = "The other one cannot be told apart from it with these seeds (Welch's interval of the difference)."
    elif len(others) == 1:
        text = "The interval of its difference to the other one leaves out zero."
    elif level:
        text = f"{whole(level)} of the other {whole(len(others))} cannot be told apart from it with these seeds"
        text += " (Welch's intervals of the differences)."
    else:
        text = f"The interval of its difference to each of the other {whole(len(others))} leaves out zero."
    return f"{text}{early} {again}"


def _front(found: Sweep, objectives: list[str]) -> tuple[tuple[str, Table] | None, list[Verdict]]:
    """Of several objectives the configurations that no other one beats, as a table, and what there is to say."""
    if len(objectives) == 1:
        return None, []
    try:
        front = found.pareto(*objectives)
    except SettingError as error:
        return None, [Verdict("No Pareto set", "open", f"{error}.")]
    goals = list(directions(objectives))
    rows = [[_value(row[name]) for name in (*found.fields, *goals, "seeds")] for row in front.to_dict("records")]
    count = f"{whole(len(front))} configuration{'s' * (len(front) > 1)}"
    title = f"{count} that no other beats: means over seeds"
    text = f"{count} that no other beats in {' and '.join(map(_goal, objectives))}: none is as good in all and better "
    text += f"in one. The best is that of the first, {_words(goals[0])}."
    return (title, Table([*found.fields, *map(_words, goals), "seeds"], rows)), [Verdict("Pareto set", "open", text)]


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


def _best_table(found: Sweep, best: Any, metric: str) -> tuple[str, Table]:
    rungs = ["rung"] * ("rung" in best)
    header = ["", *found.fields, f"{_words(metric)} [95 % interval]", "seeds", *rungs]
    rows = []
    for rank, row in enumerate(best.head(LISTED).to_dict("records"), 1):
        values, last = ([_value(row[name]) for name in names] for names in (found.fields, ["seeds", *rungs]))
        rows.append([str(rank), *values, interval(row[metric], row["low"], row["high"]), *last])
    return f"The best {len(rows)} of {whole(len(best))} configurations", Table(header, rows)


def _value(value: Any) -> str:
    return number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
