"""A diagnosis for people: tables and advice on a terminal, a folder with all numbers and one figure."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from purejaxrl import files, report, runs
from purejaxrl.diagnosis import Diagnosis
from purejaxrl.diagnosis.advice import OUTCOMES, Findings, percent
from purejaxrl.diagnosis.findings import PARTS, Estimate
from purejaxrl.diagnosis.prediction import HISTORY, Score
from purejaxrl.types import SettingError

FILES = ("diagnosis.json", "diagnosis.png")
COLOURS = {
    "random": report.COLOURS[0],
    "epsilon-greedy": report.COLOURS[1],
    "epsilon-z": report.COLOURS[2],
    "PPO": "#777777",
    "PPO + NovelD": report.COLOURS[3],
}
NEVER = "never"


def prepare(out: Path) -> None:
    """Make the folder, before anything compiles.

    Raises:
      SettingError: where it holds something else, or cannot be made.
    """
    if out.exists() and (not out.is_dir() or any(path.name not in FILES for path in out.iterdir())):
        raise SettingError(f"out: {out} exists and is no folder of a diagnosis; give another one, or remove it")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"out: {out} cannot be made: {error.strerror}") from None
    if not os.access(out, os.W_OK):
        raise SettingError(f"out: {out} cannot be written; give another one")


def write(found: Diagnosis, out: Path) -> None:
    """Fill the folder: ``diagnosis.json`` and ``diagnosis.png``."""
    try:
        runs.write_json(out / FILES[0], found.as_dict() | {"versions": runs.versions()})
        with files.replacing(out / FILES[1]) as temporary:
            figure(found).savefig(temporary, format="png", dpi=160)
    except OSError as error:  # a write's says of no file
        raise OSError(error.errno, error.strerror, str(out)) from None


# --- the terminal -----------------------------------------------------------------------------------------------------


def shown(found: Diagnosis) -> Iterator[Any]:
    """What is printed, one thing after the other."""
    findings = found.findings
    size = f"{found.num_steps:,} steps in each of {found.num_envs} envs"
    yield f"[bold]{found.opening}[/bold]: {size}, {found.seconds:.0f} s"
    yield ""
    yield _policies(findings)
    yield ""
    yield _prediction(findings)
    yield ""
    yield from _facts(findings)
    yield ""
    for number, some in enumerate(found.advice, 1):
        yield f"[bold]{number}.[/bold] {some.text}" + (f" [bold]{some.flags}[/bold]" if some.flags else "")
    yield ""
    broken = findings.observations.nonfinite or findings.signal.nonfinite
    measured = f" what was measured on such environments ({found.measured})" if found.measured else ""
    yield f"[bold]{'Once that is repaired start' if broken else 'Start'} with[/bold]{measured}"
    yield f"  {found.command}"
    for why, command in found.alternatives:
        yield f"[bold]or[/bold], since {why},"
        yield f"  {command}"


def _policies(findings: Findings) -> Table:
    table = _table(
        "policy", "episodes", "with a reward", "first after", "return", "length", "terminated", findings.coverage.unit
    )
    for row in findings.rewards:
        table.add_row(
            row.policy,
            f"{row.episodes:,}" + (f" + {row.under_way:,} cut" if row.under_way else ""),
            _interval(row.rewarded_episodes, percent),
            NEVER if row.first_reward is None else f"{row.first_reward:,}",
            _spread(row.returns),
            _spread(row.lengths),
            percent(row.terminated.value),
            f"{findings.coverage.found[row.policy][-1]:,.0f}",
        )
    if findings.trained is not None:
        for name, first in findings.trained.first_reward.items():
            best = findings.trained.best_return[name]
            table.add_row(
                name,
                "",
                "",
                NEVER if math.isnan(first) else f"{first:,.0f}",
                "" if math.isnan(best) else f"best {best:.4g}",
                "",
                "",
                f"{findings.coverage.found[name][-1]:,.0f}",
            )
    return table


def _prediction(findings: Findings) -> Table:
    columns = "observation, action", f"last {HISTORY} observations", "shuffled", "a constant", "held-out events"
    table = _table("predicted", *columns)
    for name, (measure, what) in OUTCOMES.items():
        score, constant = findings.prediction[name], "0" if measure == "R²" else "0.5"
        if score is None:
            table.add_row(f"{what}, {measure}", "too rare, always the same, or not finite")
            continue
        intervals = (_interval(some, _two) for some in (score.observation, score.history))
        table.add_row(f"{what}, {measure}", *intervals, _two(score.shuffled), constant, f"{score.events:,}")
    return table


def _facts(findings: Findings) -> Iterator[str]:
    signal, seen, randomness = findings.signal, findings.observations, findings.randomness
    values = ", ".join(f"{value + 0.0:.4g} ({percent(share)})" for value, share in signal.values)  # no minus before 0
    more = f" and {signal.distinct - len(signal.values):,} more" if signal.distinct > len(signal.values) else ""
    yield f"rewards: {signal.kind}; {values}{more}"
    limit = "no step limit" if signal.step_limit is None else f"step limit {signal.step_limit:,}"
    if math.isnan(signal.distance):
        yield f"horizon: not known, {'since rewards are not' if signal.nonfinite else 'no episode ended'}; {limit}"
    elif signal.distance > 1:
        about = "about" if signal.waits else "typically"
        yield (
            f"horizon: {about} {signal.distance:,.0f} steps, over which γ = 0.99 leaves {percent(signal.kept)} and "
            f"γ = {signal.gamma:.4g} half; {limit}"
        )
    else:
        yield f"horizon: from the first step on there is a reward; {limit}"
    yield (
        f"observation: {seen.kind}; largest {seen.largest:.4g}, {len(seen.constant):,} of {seen.size:,} constant, "
        f"{len(seen.unnormalised):,} unnormalised, {seen.nonfinite:,} not finite; {percent(seen.repeats)} of the steps "
        "arrive at one seen before"
    )
    yield f"noise: {_outcomes(randomness.noise)} of the steps have another outcome when taken again from the same state"
    if randomness.pairs:
        yield (
            f"aliasing: {_outcomes(randomness.aliasing)} of {randomness.pairs:,} pairs of steps that look alike have "
            "different outcomes, noise left out"
        )
    else:
        yield "aliasing: no two steps had the same observation and action"


def _outcomes(shares: dict[str, Estimate]) -> str:
    if shares["any"].value == 0:
        return "0 %"
    parts = ", ".join(f"{name} {percent(shares[name].value)}" for name in PARTS)
    return f"{percent(shares['any'].value)} ({parts})"


def _table(*titles: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number else "left")
    return table


def _interval(some: Estimate, shown: Any) -> str:
    return "–" if math.isnan(some.value) else f"{shown(some.value)} [{shown(some.low)}, {shown(some.high)}]"


def _two(value: float) -> str:
    """Two decimals, and no minus before nothing."""
    return f"{round(value, 2) + 0.0:.2f}"


def _spread(quantiles: tuple[float, ...]) -> str:
    low, middle, high = (quantiles[i] for i in (0, len(quantiles) // 2, -1))
    return f"{low:.4g}" if low == high else f"{low:.4g} · {middle:.4g} · {high:.4g}"


# --- the figure -------------------------------------------------------------------------------------------------------


def figure(found: Diagnosis) -> Figure:
    """Returns, coverage, prediction, and outcomes that differ."""
    with mpl.rc_context({**report.STYLE, "axes.titlesize": 12}):
        drawn = Figure(figsize=(11, 7.6), layout="constrained")
        drawn.suptitle(f"{found.opening.removeprefix('--env ')}: before any training", fontsize=14)
        panels = np.ravel(drawn.subplots(2, 2))
        for panel, draw in zip(panels, (_returns, _coverage, _skill, _differences), strict=True):
            draw(panel, found.findings)
        return drawn


def _returns(axes: Axes, findings: Findings) -> None:
    share = np.linspace(0, 100, len(findings.rewards[0].returns))
    for row in findings.rewards:
        rewarded = percent(row.rewarded_episodes.value)
        axes.plot(row.returns, share, color=COLOURS[row.policy], linewidth=2.2, label=f"{row.policy}: {rewarded}")
    for name, best in (findings.trained.best_return if findings.trained else {}).items():
        if not math.isnan(best):
            axes.axvline(best, color=COLOURS[name], linewidth=2.2, linestyle="--", label=f"best of {name}: {best:.4g}")
    axes.set_title("Returns of episodes, and how many have a reward above 0")
    axes.set_xlabel("return")
    axes.set_ylabel("% of the episodes with less")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6))
    axes.legend(frameon=False, fontsize=10)


def _coverage(axes: Axes, findings: Findings) -> None:
    coverage = findings.coverage
    for name, found in coverage.found.items():
        style = {"PPO": ":", "PPO + NovelD": "--"}.get(name, "-")  # one may lie on the other
        axes.plot(
            coverage.steps[name], found, style, color=COLOURS[name], linewidth=2.2, label=f"{name}: {found[-1]:,.0f}"
        )
    if coverage.of is not None:
        axes.axhline(coverage.of, color="black", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title("States arrived at: " + coverage.unit + (f", of {coverage.of:,}" if coverage.of else ""))
    axes.set_xlabel("environment steps")
    axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
    axes.yaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
    axes.legend(frameon=False, fontsize=10)


def _skill(axes: Axes, findings: Findings) -> None:
    """R² as it is, and 2 AUC - 1, so that a constant has 0 in both and 1 is perfect."""
    titles = "observation and action", f"last {HISTORY} observations, action", "shuffled outcomes"
    judged = [place for place, name in enumerate(PARTS) if findings.prediction[name] is not None]
    for place, name in enumerate(PARTS):
        score, scale = findings.prediction[name], 2 if name == "termination" else 1
        if score is None:
            axes.text(place, 0.5, "too rare, or\nalways the same", ha="center", va="center", color="#555555")
            continue
        for bar, (title, some) in enumerate(zip(titles, _bars(score), strict=True)):
            value, low, high = (max(scale * (number - 1) + 1, -0.3) for number in (some.value, some.low, some.high))
            colour = (*report.COLOURS[:2], "#aaaaaa")[bar]
            at = place + 0.27 * (bar - 1)
            axes.bar(at, value, 0.25, color=colour, label=title if place == judged[0] else None)
            if bar < 2:
                axes.plot([at, at], [low, high], color="black", linewidth=1.2)
            axes.text(at, max(value, high, 0) + 0.02, _two(value), ha="center", fontsize=9)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(3), ["reward (R²)", "termination\n(2 AUC − 1)", "next observation\n(R²)"])
    axes.set_xlim(-0.5, 2.5)
    axes.set_ylim(-0.3, 1.45)
    axes.set_title("How well a small network predicts outcomes")
    axes.set_ylabel("0: a constant, 1: perfect")
    if axes.patches:
        axes.legend(frameon=False, fontsize=10, loc="upper center", ncols=2)


def _bars(score: Score) -> tuple[Estimate, ...]:
    shuffled = Estimate(score.shuffled, score.shuffled, score.shuffled)
    return score.observation, score.history, shuffled


def _differences(axes: Axes, findings: Findings) -> None:
    randomness = findings.randomness
    alike = "states that look alike (aliasing)" if randomness.pairs else "states that look alike: there were none"
    series = ("the same state (noise)", randomness.noise), (alike, randomness.aliasing)
    for number, (label, shares) in enumerate(series):
        values = [100 * np.nan_to_num(shares[name].value) for name in PARTS]
        places = np.arange(3) + 0.36 * (number - 0.5)
        axes.bar(places, values, 0.34, color=report.COLOURS[1 + 2 * number], label=label)
        for place, name, value in zip(places, PARTS, values, strict=True):
            if not math.isnan(shares[name].value):
                axes.text(place, value + 1, percent(value / 100), ha="center", fontsize=9)
    axes.set_xticks(range(3), PARTS)
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 20))
    axes.set_title("How often the same action has another outcome")
    axes.set_ylabel("% of the pairs of steps")
    axes.legend(frameon=False, fontsize=10, title="in two steps from", title_fontsize=10)
