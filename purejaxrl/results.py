"""What a sweep found: which configuration is best, how sure that is, and which field mattered."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from purejaxrl import metrics, stats
from purejaxrl.types import SettingError, check_choice, check_int

Frame = Any  # pandas.DataFrame, whose type stubs know no difference between a column and a row
BINS = 5  # of a field with more values than that, each of as many configurations
# Metrics that are NaN where no episode ended or nothing was found; any other one that is not finite has diverged.
MAY_BE_NAN = ("episode_return", "episode_return_max", "episode_length", "first_reward", "bonus_rank_correlation")


@dataclasses.dataclass
class Sweep:
    """A sweep's results. `frame` has a row per configuration, seed and update; `fields` are the searched ones."""

    frame: Frame
    fields: list[str]
    out: Path | None = None
    complete: bool = True  # False after an interrupt

    def runs(self) -> Frame:
        """A row per run: `config_id`, the searched fields, `seed`, `env_steps`, `final_return`, `diverged`, `seconds`.

        `final_return` is the mean over the episodes that ended in the last tenth of the updates, NaN where none did;
        `diverged` the first update at which a loss or another metric was not finite, NaN where all were. A sweep with
        rungs has a column `rung` too: how many of them the run came to, counting its end.
        """
        rows = []
        watched = [
            name
            for name in self.frame.columns
            if name not in (*MAY_BE_NAN, *self.fields) and pd.api.types.is_numeric_dtype(self.frame[name])
        ]
        broken = ~np.isfinite(self.frame[watched].to_numpy(float)).all(1)
        for (config_id, seed), run in self.frame.assign(_broken=broken).groupby(["config_id", "seed"], sort=True):
            first = run.iloc[0]
            rows.append(
                {
                    "config_id": config_id,
                    **{name: first[name] for name in self.fields},
                    "seed": seed,
                    "env_steps": run["env_steps"].max(),
                    "final_return": metrics.final_means(run, "episode_return")[int(seed)],
                    "diverged": run.loc[run["_broken"], "update"].min(),
                    "seconds": run["seconds"].iloc[-1],
                    "rung": run["rung"].max() if self._has_rungs else 0,
                }
            )
        columns = ["config_id", *self.fields, "seed", "env_steps", "final_return", "diverged", "seconds"]
        return pd.DataFrame(rows, columns=[*columns, *["rung"] * self._has_rungs])

    def best(self, count: int | None = 10) -> Frame:
        """Configurations by their mean final return over seeds, best first, with its 95 % bootstrap interval.

        Columns: `config_id`, the searched fields, `final_return`, `low`, `high`, `seeds`, `diverged` (how many runs).
        A run that diverged, or in which no episode ended, counts as the worst return of all runs. Of a sweep with rungs
        those that came further stand first, whatever their return, and `rung` says how far.
        """
        if count is not None:
            check_int(count, "count", ge=1)
        runs = self._scored()
        rows = []
        for config_id, of in runs.groupby("config_id", sort=True):
            mean, low, high = stats.mean_interval(of["score"].to_numpy(float))
            row = {"config_id": config_id, **{name: of[name].iloc[0] for name in self.fields}}
            row |= {"final_return": float(mean), "low": float(low), "high": float(high), "seeds": len(of)}
            rung = {"rung": int(of["rung"].min())} if self._has_rungs else {}
            rows.append(row | {"diverged": int(of["diverged"].notna().sum())} | rung)
        columns = ["config_id", *self.fields, "final_return", "low", "high", "seeds", "diverged"]
        rung = ["rung"] * self._has_rungs
        ranked = pd.DataFrame(rows, columns=[*columns, *rung])
        ranked = ranked.sort_values([*rung, "final_return"], ascending=False, ignore_index=True)
        return ranked if count is None else ranked.head(count)

    def importance(self) -> pd.Series:
        """The share of the final return's variance over configurations that each field explains alone, largest first.

        The main effects of a functional analysis of variance (Hutter, Hoos and Leyton-Brown 2014, ICML): exact on a
        grid, for draws an estimate from five bins of a field's values. What is missing to 1 are interactions; it says
        nothing of values that were not searched.
        """
        scores = self._scored().groupby("config_id").agg({"score": "mean", **{name: "first" for name in self.fields}})
        total = scores["score"].var(ddof=0)
        shares = {}
        for name in self.fields:
            groups = scores.groupby(_binned(scores[name]), observed=True)["score"]
            between = np.average((groups.mean() - scores["score"].mean()) ** 2, weights=groups.size())
            shares[name] = float(between / total) if total > 0 else 0.0
        return pd.Series(shares, name="importance", dtype=float).sort_values(ascending=False)

    def sensitivity(self, field: str) -> Frame:
        """The final return by a field's values (five bins of many), over all that else was searched, and all seeds.

        Columns: `value` (a bin's median), `final_return`, `low`, `high` (95 % bootstrap over runs), `runs`.
        """
        check_choice(field, self.fields, "field")
        runs = self._scored()
        rows = []
        for _, of in runs.groupby(_binned(runs[field]), observed=True):
            mean, low, high = stats.mean_interval(of["score"].to_numpy(float))
            value = of[field].median() if pd.api.types.is_numeric_dtype(of[field]) else of[field].iloc[0]
            rows.append({"value": value, "final_return": float(mean), "low": float(low), "high": float(high)})
            rows[-1]["runs"] = len(of)
        return pd.DataFrame(rows, columns=["value", "final_return", "low", "high", "runs"])

    @property
    def _has_rungs(self) -> bool:
        return "rung" in self.frame.columns

    def _scored(self) -> Frame:
        """The runs with a finite `score`."""
        runs = self.runs()
        if runs.empty:
            raise SettingError("the sweep has no results yet")
        useless = runs["diverged"].notna() | ~np.isfinite(runs["final_return"])
        worst = runs.loc[~useless, "final_return"].min()
        if np.isnan(worst):
            raise SettingError("no run has a final return: all diverged, or none ended an episode; raise total_steps")
        return runs.assign(score=runs["final_return"].mask(useless, worst))


def _binned(values: Any) -> Any:
    """A field's values, or where there are many numbers, the bins they are in."""
    if values.nunique() <= BINS or not pd.api.types.is_numeric_dtype(values):
        return values
    ranks = values.rank(method="dense")
    return pd.cut(ranks, BINS, labels=False)
