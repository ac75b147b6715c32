"""What a sweep found: which configuration is best, how sure that is, and which field mattered."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from purejaxrl import metrics, stats
from purejaxrl.types import SettingError, check_choice, check_int

Frame = Any  # pandas.DataFrame, whose type stubs know no difference between a column and a row
BINS = 5  # of a field with more values than that, each of as many configurations
NO_METRICS = ("config_id", "seed", "update", "rung")
RETURN = {"final_return": "maximize"}
USELESS = "useless"  # a column within: of runs that diverged, or have no value


@dataclasses.dataclass
class Sweep:
    """A sweep's results. `frame` has a row per configuration, seed and update; `fields` are the searched ones."""

    frame: Frame
    fields: list[str]
    out: Path | None = None
    complete: bool = True  # False after an interrupt
    signal: str | None = None  # by whose name it came

    def runs(self, *more: str) -> Frame:
        """A row per run: `config_id`, the searched fields, `seed`, `env_steps`, `final_return`, `diverged`, `seconds`.

        `final_return` is the mean over the episodes that ended in the last tenth of the updates, NaN where none did;
        `diverged` the first update at which a reward, an observation, a loss or another metric was not finite, NaN
        where all were. A sweep with rungs has a column `rung` too: how many of them the run came to, counting its end.
        Any other metric that `more` names has a column of its mean over the last tenth of the updates, NaN where it has
        no value there. That of `first_reward`, which never changes again, is the last one.

        Raises:
          SettingError: (a ValueError) where there is no such metric.
        """
        numbers = self.frame.select_dtypes("number").columns
        known = ["final_return", *(name for name in numbers if name not in (*NO_METRICS, *self.fields))]
        for name in more:
            check_choice(name, known, "metric")
        key = ["config_id", "seed"]
        frame = self.frame.sort_values([*key, "update"], kind="stable")
        runs = frame.groupby(key, sort=True)
        found = frame.drop_duplicates(key)[["config_id", *self.fields, "seed"]].set_index(key, drop=False)
        found = found.assign(
            env_steps=runs["env_steps"].max(),
            final_return=metrics.final_means(frame, "episode_return", key),
            diverged=frame[metrics.diverged(frame, *self.fields)].groupby(key)["update"].min(),
            seconds=self._seconds(frame, key),
            **({"rung": runs["rung"].max()} if self._has_rungs else {}),
        )
        for name in more:
            if name not in found.columns:
                found[name] = metrics.final_means(frame, name, key)
        return found.reset_index(drop=True)

    def _seconds(self, frame: Frame, key: list[str]) -> pd.Series:
        """Of each run; where there are rungs a run's part in each has its own."""
        if not self._has_rungs:
            return frame.groupby(key)["seconds"].last()
        return frame.groupby([*key, "rung"])["seconds"].last().groupby(key).sum()

    def best(self, count: int | None = 10, objective: str = "final_return") -> Frame:
        """Configurations by the mean of an objective over seeds, best first, with its 95 % interval (Student's t).

        Columns: `config_id`, the searched fields, `final_return` or the objective's metric, `low`, `high` (NaN of one
        seed), `seeds`, `diverged` (how many runs). Objectives, and what a run without a value counts as, are as those
        of :meth:`means`; of equals the one with fewer such runs stands first. Of a sweep with rungs those that came
        further stand first, whatever their return, and `rung` says how far.
        """
        if count is not None:
            check_int(count, "count", ge=1)
        ((metric, direction),) = directions([objective]).items()
        runs = self._scored({metric: direction})
        rows = []
        for config_id, of in runs.groupby("config_id", sort=True):
            mean, low, high = _interval(of[metric])
            row = {"config_id": config_id, **{name: of[name].iloc[0] for name in self.fields}}
            row |= {metric: mean, "low": low, "high": high, "seeds": len(of)}
            rung = {"rung": int(of["rung"].min())} if self._has_rungs else {}
            rows.append(row | {"diverged": int(of["diverged"].notna().sum())} | rung | {USELESS: of[USELESS].sum()})
        columns = ["config_id", *self.fields, metric, "low", "high", "seeds", "diverged"]
        rung = ["rung"] * self._has_rungs
        ranked = pd.DataFrame(rows, columns=[*columns, *rung, USELESS])
        upwards = [*[False] * len(rung), direction == "minimize", True]
        ranked = ranked.sort_values([*rung, metric, USELESS], ascending=upwards, kind="stable", ignore_index=True)
        return ranked.drop(columns=USELESS).head(count or len(ranked))

    def means(self, *objectives: str) -> Frame:
        """A row per configuration with the mean over seeds of each objective, by its metric's name.

        Objectives are `final_return` or other metrics (``"coverage"``), the higher the better, or after ``min:``
        (``"min:first_reward"``) the lower. Other columns: `config_id`, the searched fields, `seeds`, `diverged`, `rung`
        of a sweep with rungs. A run that diverged, or has no value, counts as the worst of all runs; of
        ``min:first_reward`` as at least one step more than the run had, and where it diverged than any had.

        Raises:
          SettingError: (a ValueError) where there is no such metric, or no run has a value.
        """
        return self._means(directions(objectives)).drop(columns=USELESS)

    def _means(self, goals: Mapping[str, str]) -> Frame:
        """:meth:`means` with how many runs of each configuration have no value of their own."""
        columns = {name: (name, "first") for name in self.fields} | {metric: (metric, "mean") for metric in goals}
        columns |= {"seeds": ("seed", "size"), "diverged": ("diverged", "count")}
        columns |= {"rung": ("rung", "min")} if self._has_rungs else {}
        columns[USELESS] = (USELESS, "sum")
        return self._scored(goals).groupby("config_id", sort=True).agg(**columns).reset_index()

    def pareto(self, *objectives: str) -> Frame:
        """The configurations that no other one beats: none is as good in every objective and better in one.

        Better is, too, what has the same means with fewer runs that diverged or have no value. Rows and objectives as
        those of :meth:`means`, the best of the first objective first. Of a sweep with rungs those that came furthest
        are compared.
        """
        goals = directions(objectives)
        found = furthest(self._means(goals))
        signs = [1 if direction == "maximize" else -1 for direction in goals.values()]
        values, useless = found[list(goals)].to_numpy(float) * signs, found[USELESS].to_numpy()
        beaten = [
            ((values >= one).all(1) & ((values > one).any(1) | (useless < own))).any()
            for one, own in zip(values, useless, strict=True)
        ]
        order = np.lexsort((useless, -values[:, 0]))
        return found.iloc[order[~np.asarray(beaten)[order]]].drop(columns=USELESS).reset_index(drop=True)

    def importance(self, objective: str = "final_return") -> pd.Series:
        """The share of the variance over configurations that each field explains alone, largest first.

        The main effects of a functional analysis of variance (Hutter, Hoos and Leyton-Brown 2014, ICML) of an
        objective's means over seeds, by default of the final return: exact on a grid without noise, for draws an
        estimate from five bins of a field's values. What fields that do nothing would explain by chance is subtracted
        (epsilon squared, Kelley 1935, doi:10.1073/pnas.21.9.554), and what is left below zero is 0.

        What chance does is estimated on a whole grid, where fields do not mix, from the spread over seeds, or with one
        seed from what all fields together leave; otherwise from the spread within a field's values. A share is NaN
        where nothing is left to estimate it from, as of one field whose values have one run each. What is missing to 1
        are interactions and chance; it says nothing of values that were not searched. Of a sweep with rungs it is of
        the configurations that came furthest: runs of other lengths cannot be compared.
        """
        ((metric, direction),) = directions([objective]).items()
        runs = furthest(self._scored({metric: direction}))
        seeds = runs.groupby("config_id", sort=True)[metric]
        scores, values = (
            seeds.mean(),
            runs.drop_duplicates("config_id").set_index("config_id")[self.fields].sort_index(),
        )
        noise = (seeds.var(ddof=1) / seeds.size()).mean() if _is_grid(values) else None  # NaN of one seed each
        shares = _shares(scores, {name: _binned(values[name]) for name in self.fields}, noise)
        return pd.Series(shares, name="importance", dtype=float).sort_values(ascending=False)

    def sensitivity(self, field: str, objective: str = "final_return") -> Frame:
        """An objective by a field's values (five bins of many), over all that else was searched, and all seeds.

        Columns: `value` (a bin's median), `final_return` or the objective's metric, `low`, `high` (95 %, Student's t
        over runs, NaN of one), `runs`. Of a sweep with rungs it is of the configurations that came furthest.
        """
        check_choice(field, self.fields, "field")
        ((metric, direction),) = directions([objective]).items()
        runs = furthest(self._scored({metric: direction}))
        rows = []
        for _, of in runs.groupby(_binned(runs[field]), observed=True):
            mean, low, high = _interval(of[metric])
            value = of[field].median() if pd.api.types.is_numeric_dtype(of[field]) else of[field].iloc[0]
            rows.append({"value": value, metric: mean, "low": low, "high": high, "runs": len(of)})
        return pd.DataFrame(rows, columns=["value", metric, "low", "high", "runs"])

    def scored(self, objective: str = "final_return") -> Frame:
        """:meth:`runs` with a column of the objective's metric as :meth:`best` ranks it: what is missing is the worst.

        Raises:
          SettingError: (a ValueError) where there is no such metric, or no run has a value.
        """
        return self._scored(directions([objective])).drop(columns=USELESS)

    @property
    def _has_rungs(self) -> bool:
        return "rung" in self.frame.columns

    def _scored(self, goals: Mapping[str, str]) -> Frame:
        """The runs with a finite value of each metric, and whether one of them is not their own."""
        if self.frame.empty:
            raise SettingError("the sweep has no results yet")
        runs = self.runs(*goals).assign(**{USELESS: False})
        for metric, direction in goals.items():
            useless = runs["diverged"].notna() | ~np.isfinite(runs[metric])
            there = runs.loc[~useless, metric]
            if there.empty:
                why = "all diverged, or none ended an episode or found a reward; raise total_steps"
                raise SettingError(f"no run has a {metric.replace('_', ' ')}: {why}")
            worst = there.min() if direction == "maximize" else there.max()
            if (metric, direction) == ("first_reward", "minimize"):  # else late success would be as bad as none
                steps = runs["env_steps"]
                worst = np.maximum(worst, steps.where(runs["diverged"].isna(), steps.max()) + 1)
            runs[metric] = runs[metric].mask(useless, worst)
            runs[USELESS] |= useless
        return runs


def directions(objectives: Sequence[str]) -> dict[str, str]:
    """Whether to "maximize" the metric of each objective or, where it begins with ``min:``, to "minimize" it.

    Raises:
      SettingError: where they are no names, or name a metric twice.
    """
    words = isinstance(objectives, Sequence) and all(isinstance(one, str) for one in objectives)
    if not words or not objectives or isinstance(objectives, str):
        raise SettingError(f"objectives must be some, such as ('final_return', 'min:first_reward'), got {objectives!r}")
    found = {name.removeprefix("min:"): "minimize" if name.startswith("min:") else "maximize" for name in objectives}
    if len(found) < len(objectives):
        raise SettingError(f"objectives names a metric twice: {', '.join(objectives)}")
    return found


def furthest(found: Frame) -> Frame:
    """The rows of the configurations that came through most rungs, all where there are none."""
    if "rung" not in found:
        return found
    rungs = found.groupby("config_id")["rung"].transform("min")
    return found[rungs == rungs.max()]


def _interval(values: pd.Series) -> tuple[float, float, float]:
    """The mean and its bounds, which one run has none of."""
    mean, low, high = stats.t_interval(values.to_numpy(float))
    return (mean, low, high) if len(values) > 1 else (mean, math.nan, math.nan)


def _binned(values: Any) -> Any:
    """A field's values, or where there are many numbers, the bins they are in."""
    if values.nunique() <= BINS or not pd.api.types.is_numeric_dtype(values):
        return values
    ranks = values.rank(method="dense")
    return pd.cut(ranks, BINS, labels=False)


def _is_grid(values: Any) -> bool:
    """Whether each combination of the fields' values is one configuration."""
    return len(values) == math.prod(values.nunique()) == len(values.drop_duplicates())


def _shares(scores: pd.Series, levels: Mapping[str, Any], noise: float | None) -> dict[str, float]:
    """Epsilon squared of each field alone, at least 0.

    Args:
      scores: ``[configurations]``.
      levels: of each field its value in each configuration.
      noise: on a grid the variance of a score, NaN where that is not known; None of anything else.
    """
    total, count = float(((scores - scores.mean()) ** 2).sum()), len(scores)
    groups = {name: scores.groupby(level, observed=True) for name, level in levels.items()}
    between = {name: float((of.size() * (of.mean() - scores.mean()) ** 2).sum()) for name, of in groups.items()}
    degrees = {name: of.ngroups - 1 for name, of in groups.items()}
    if noise is not None and math.isnan(noise):
        noise = _mean_square(total - sum(between.values()), count - 1 - sum(degrees.values()))
    shares = {}
    for name in levels:
        by_chance = _mean_square(total - between[name], count - 1 - degrees[name]) if noise is None else noise
        left = (between[name] - degrees[name] * by_chance) / total if total > 0 and degrees[name] else 0.0
        shares[name] = left if math.isnan(left) else max(left, 0.0)
    return shares


def _mean_square(squares: float, degrees: int) -> float:
    return max(squares, 0.0) / degrees if degrees > 0 else math.nan
