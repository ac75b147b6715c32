"""What came of it, in sentences: did it learn, and which was better."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from purejaxrl import stats
from purejaxrl.bench import suites
from purejaxrl.report import commands
from purejaxrl.report.data import LONGEST, Run, Series, early
from purejaxrl.report.numbers import digits_apart, interval, number, whole

ROUNDING = 0.01  # share of the steps up to which runs are as long as each other
SHOWN = 3  # names in a sentence
HOW_SURE = " (95 % interval over seeds, by Student's t)."
ROUNDED = 1e-6  # share of a return that differs by single precision alone


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A sentence, its two words in front, and how that is to be seen."""

    word: str
    kind: str  # "good", "bad" or "open"
    text: str
    colour: str = ""


def learned(run: Run, series: Series) -> Verdict:
    """A run measured against a known threshold, or else against its own start, the first tenth of its updates."""
    took = f"{run.label}, {whole(run.summary['env_steps'])} steps with {_seeds(len(run.final))}{_ending(run)}"
    there = int(np.isfinite(run.final).sum())
    if not there or run.frame.empty:
        text = f"{took}: no episode ended in the last tenth of the updates."
        if run.diverged and not there:
            text = f"{took}: no seed has a result."
        return Verdict("No result", "open", text, series.colour)
    start = early(run.frame)
    bounds = stats.t_interval(run.final)
    both = start[np.isfinite(run.final)] if len(start) == len(run.final) else start  # the same seeds before and after
    before = float(np.nanmean(both)) if np.isfinite(both).any() else np.nan
    digits, scale = digits_apart(before, bounds[0]), max(abs(before), abs(bounds[0]))
    after = interval(*bounds, digits)
    text = f"{took}: the mean return went from {number(before, scale, digits)} in the first tenth of the training to "
    text += f"{after} in the last"
    text += "; one seed says little about others." if there == 1 else HOW_SURE if "[" in after else "."
    text += _without_result(run.final)
    threshold = target(run).solved
    if threshold is not None:
        text += f" Solved is a mean above {number(threshold)}."
    return Verdict(*_word(run.final, start, threshold), text, series.colour)


def diverged(run: Run, series: Series) -> list[Verdict]:
    """What was not finite in which seeds, and what came of the run then; nothing where all stayed finite."""
    if not run.diverged:
        return []
    seeds = "; ".join(f"seed {seed}, not finite: {what}" for seed, what in list(run.diverged.items())[:SHOWN])
    more = f"; and {whole(len(run.diverged) - SHOWN)} more seeds" if len(run.diverged) > SHOWN else ""
    left = len(run.final) - len(run.diverged)
    if run.config.if_diverged == "freeze":
        then = f"{'It was' if len(run.diverged) == 1 else 'They were'} frozen then"
        then += f", and the other {whole(left)} went on: from there on the curves are of what is left." if left else "."
    else:
        then = "The run stopped there."
    text = f"{run.label}: {seeds}{more}. {then} A seed that diverged counts as one without a result."
    return [Verdict("Diverged", "bad", text, series.colour)]


def _ending(run: Run) -> str:
    """What ended a run before its time, or that nothing has yet."""
    if run.training:
        return " so far (it is still training)"
    if not run.summary.get("interrupted"):
        return ""
    if run.summary.get("signal"):
        return ", before it was interrupted"
    return ", until it diverged" if run.diverged else ", until it was killed"


def _seeds(count: int) -> str:
    return f"{whole(count)} seed{'s' * (count > 1)}"


def _without_result(final: np.ndarray) -> str:
    """A sentence about the seeds that are left out of a mean; nothing where there are none."""
    missing = int((~np.isfinite(final)).sum())
    words = "has no result and is" if missing == 1 else "have no result and are"
    return f" {whole(missing)} of {_seeds(len(final))} {words} left out of the mean." if missing else ""


def _word(final: np.ndarray, start: np.ndarray, threshold: float | None) -> tuple[str, str]:
    """The answer in a few words, and whether it is good; a seed without a result makes no answer a good one."""
    solved = 0 if threshold is None else int((final > threshold).sum())
    if solved == len(final):
        return "Solved", "good"
    if solved:
        return f"Solved by {solved} of {len(final)} seeds", "open"
    gain = final - start if len(start) == len(final) else np.full(len(final), np.nan)
    return _change(gain, final, threshold)


def _change(gain: np.ndarray, final: np.ndarray, threshold: float | None) -> tuple[str, str]:
    """The answer where no seed solved it, by what each seed gained over its start."""
    gain, missing = gain[np.isfinite(gain)], int((~np.isfinite(final)).sum())
    if not len(gain):
        return "Ended", "open"
    mean, low, high = stats.t_interval(gain)
    change = min(np.abs(gain).max(), max(abs(low), abs(high)))
    if change <= ROUNDED * np.nanmax(np.abs(final)):
        return "Did not learn", "bad"
    if len(gain) == 1:  # a run that learns nothing ends higher as often as lower
        return "Higher" if mean > 0 else "Lower", "open"
    if low > 0:
        word = f"Learned, without {missing} of {len(final)} seeds" if missing else "Learned"
        good = threshold is None and not missing
        return word if threshold is None else "Not solved, but better", "good" if good else "open"
    return ("Got worse", "bad") if high < 0 else ("Not clear", "open")


def comparison(lines: Sequence[Series]) -> tuple[str, list[list[str]]]:
    """Which was best, in a sentence, and each other one beside it: difference and probability of improvement.

    A seed without a result, as it diverged or no episode ended, counts as the worst of all results, as in a sweep; a
    run none of whose seeds has one is not compared.
    """
    scored = [one for one in lines if np.isfinite(one.final).any()]
    if not scored or len(lines) < 2:
        return "", []
    worst = min(float(np.nanmin(one.final)) for one in scored)
    finals = {id(one): np.where(np.isfinite(one.final), one.final, worst) for one in scored}
    best = max(scored, key=lambda one: float(finals[id(one)].mean()))
    rows, unsure = [], []
    for one in lines:
        if one is best:
            continue
        if id(one) not in finals:
            rows.append([one.label, "no result", "–"])
            continue
        difference = stats.welch_interval(finals[id(best)], finals[id(one)])
        chance = stats.probability_of_improvement(finals[id(best)], finals[id(one)])
        rows.append([one.label, interval(*difference), interval(*chance)])
        if not difference[1] > 0:
            unsure.append(one.label)
    if len(scored) == 1:
        text = f"{best.label} is the only one with a result."
    elif min(len(one.final) for one in scored) < 2:
        text = f"{best.label} has the highest mean return; with one seed that may be chance."
    elif not unsure:
        text = f"{best.label} is best: the interval of its difference to every other one is above zero."
    else:
        text = f"{best.label} has the highest mean return, but the interval of its difference to {_some(unsure)} "
        text += "includes zero."
    missing = [
        f"{whole((~np.isfinite(one.final)).sum())} of {_seeds(len(one.final))} of {one.label}"
        for one in scored
        if not np.isfinite(one.final).all()
    ]
    if missing:
        text += f" Without a result, which counts as the worst of all: {_some(missing)}."
    if len(scored) > 1 and (none := [one.label for one in lines if id(one) not in finals]):
        text += f" No seed has a result of {_some(none)}."
    return text, rows


def unequal(steps: Sequence[int]) -> str:
    """A sentence where runs took different numbers of environment steps per seed; nothing where they hardly did.

    Whole updates and a bonus's warm-up make budgets that are meant to be equal differ a little.
    """
    if max(steps) <= (1 + ROUNDING) * min(steps):
        return ""
    counts = f"{whole(min(steps))} to {whole(max(steps))}"
    return f" But they took {counts} steps per seed, and a longer one had more to learn from: compare at equal steps."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


@dataclasses.dataclass(frozen=True)
class Target:
    """What a run is measured against."""

    solved: float | None  # a mean return above it is a solved task
    best: float | None  # a perfect policy's mean return


def target(run: Run) -> Target:
    """What is known of the run's environment: a threshold of the benchmarks' tasks, or the exact best return.

    A threshold is one of a task's own settings: with other ones, such as a step limit, another return is a good one.
    """
    tasks = [task for suite in suites.SUITES.values() for task in suite if task.env == run.config.env and not task.tv]
    own = commands.env_settings(run.config.env, run.config.env_settings) if tasks else {}
    known = [task.threshold for task in tasks if _same(own, commands.env_settings(task.env, task.env_settings))]
    env: Any = run.parts.env
    steps = getattr(run.parts.env_params, "max_steps_in_episode", None)
    exact = hasattr(env, "best_return") and isinstance(steps, int) and steps <= LONGEST
    return Target(known[0] if known else None, float(env.best_return(steps)) if exact else None)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(commands.equal(one[name], other[name]) for name in one)


def solve_rate(final: np.ndarray, threshold: float) -> str:
    """How many seeds ended above the threshold, with Wilson's interval."""
    solved = int((final > threshold).sum())
    low, high = stats.wilson_interval(solved, len(final))
    return f"{solved} of {len(final)} [{100 * low:.0f} %, {100 * high:.0f} %]"
