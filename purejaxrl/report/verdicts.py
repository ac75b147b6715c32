"""What came of it, in sentences: did it learn, and which was better."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from purejaxrl import stats
from purejaxrl.bench import suites
from purejaxrl.report.data import LONGEST, Run, Series, early
from purejaxrl.report.numbers import interval, number, whole


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A sentence, its two words in front, and how that is to be seen."""

    word: str
    kind: str  # "good", "bad" or "open"
    text: str
    colour: str = ""


def learned(run: Run, series: Series) -> Verdict:
    """A run measured against a known threshold, or else against its own start, the first tenth of its updates."""
    seeds = f"{whole(len(run.final))} seed{'s' * (len(run.final) > 1)}"
    took = f"{run.label}, {whole(run.summary['env_steps'])} steps with {seeds}"
    took += ", before it was interrupted" if run.summary.get("interrupted") else ""
    if not np.isfinite(run.final).any() or run.frame.empty:
        text = f"{took}: no episode ended in the last tenth of the updates."
        return Verdict("No result", "open", text, series.colour)
    start = early(run.frame)
    bounds = [float(bound) for bound in stats.mean_interval(run.final)]
    before = float(np.nanmean(start)) if np.isfinite(start).any() else np.nan
    text = f"{took}: the mean return went from {number(before, abs(bounds[0]))} in the first tenth of the training to "
    text += f"{interval(*bounds)} in the last"
    text += " (95 % interval over seeds)." if len(run.final) > 1 else "; one seed says little about others."
    threshold = target(run).solved
    if threshold is not None:
        text += f" Solved is a mean above {number(threshold)}."
    return Verdict(*_word(run.final, start, threshold), text, series.colour)


def _word(final: np.ndarray, start: np.ndarray, threshold: float | None) -> tuple[str, str]:
    """The answer in a few words, and whether it is good."""
    solved = 0 if threshold is None else int((final > threshold).sum())
    if solved == len(final):
        return "Solved", "good"
    if solved:
        return f"Solved by {solved} of {len(final)} seeds", "open"
    gain = final - start if len(start) == len(final) else np.full(len(final), np.nan)
    if not np.isfinite(gain).any():
        return "Ended", "open"
    _, low, high = (float(bound) for bound in stats.mean_interval(gain))
    if max(abs(low), abs(high)) <= 1e-3 * max(np.nanmax(np.abs(final)), 1):
        return "Did not learn", "bad"
    if low > 0:
        return ("Learned", "good") if threshold is None else ("Not solved, but better", "open")
    return ("Got worse", "bad") if high < 0 else ("Not clear", "open")


def comparison(lines: Sequence[Series]) -> tuple[str, list[list[str]]]:
    """Which was best, in a sentence, and each other one beside it: difference and probability of improvement."""
    scored = [one for one in lines if np.isfinite(one.final).any()]
    if len(scored) < 2:
        return "", []
    best = max(scored, key=lambda one: float(np.nanmean(one.final)))
    rows, unsure = [], []
    for one in lines:
        if one is best:
            continue
        difference = stats.difference_interval(best.final, one.final)
        chance = stats.probability_of_improvement(best.final, one.final)
        rows.append([one.label, interval(*difference), interval(*chance)])
        if not difference[1] > 0:
            unsure.append(one.label)
    few = min(len(one.final) for one in lines) < 2
    if few:
        text = f"{best.label} has the highest mean return; with one seed that may be chance."
    elif not unsure:
        text = f"{best.label} is best: the interval of its difference to every other one is above zero."
    else:
        others = ", ".join(unsure[:3]) + (f" and {len(unsure) - 3} more" if len(unsure) > 3 else "")
        text = (
            f"{best.label} has the highest mean return, but the interval of its difference to {others} includes zero."
        )
    return text, rows


@dataclasses.dataclass(frozen=True)
class Target:
    """What a run is measured against."""

    solved: float | None  # a mean return above it is a solved task
    best: float | None  # a perfect policy's mean return


def target(run: Run) -> Target:
    """What is known of the run's environment: a threshold of the benchmarks' tasks, or the exact best return."""
    tasks = [task for suite in suites.SUITES.values() for task in suite if task.env == run.config.env and not task.tv]
    solved = tasks[0].threshold if tasks else None
    env: Any = run.parts.env
    steps = getattr(env, "max_steps", None)
    known = hasattr(env, "best_return") and isinstance(steps, int) and steps <= LONGEST
    return Target(solved, float(env.best_return()) if known else None)


def solve_rate(final: np.ndarray, threshold: float) -> str:
    """How many seeds ended above the threshold, with Wilson's interval."""
    solved = int((final > threshold).sum())
    low, high = stats.wilson_interval(solved, len(final))
    return f"{solved} of {len(final)} [{100 * low:.0f} %, {100 * high:.0f} %]"
