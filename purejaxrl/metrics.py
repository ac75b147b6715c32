"""Metrics as tidy frames: one row per configuration, seed and update."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from purejaxrl import files
from purejaxrl.types import SettingError, check_path

FILE = "metrics.parquet"
INTEGERS = ("config_id", "seed", "update")  # columns that every file has
NUMBERS = ("env_steps", "num_episodes", "episode_return", "episode_return_max")
OF_EPISODES = ("episode_return", "episode_length")  # each row has a mean over the episodes that ended in it
# Metrics that are NaN where no episode ended or nothing was found; any other one that is not finite has diverged.
MAY_BE_NAN = ("episode_return", "episode_return_max", "episode_length", "first_reward", "bonus_rank_correlation")


def frame(metrics: Mapping[str, Any], seeds: Sequence[int], *, first_update: int = 1) -> pd.DataFrame:
    """Arrays ``[num_seeds, num_updates]`` as a tidy frame: ``config_id, seed, update, env_steps, ...``.

    Metrics with further axes have no column here; ``result.metrics`` holds them.
    `update` counts from 1: a row's `env_steps` are the steps taken when that update was done.
    """
    arrays = {name: np.asarray(array) for name, array in metrics.items() if np.ndim(array) == 2}
    num_updates = next(iter(arrays.values())).shape[1]
    columns = {
        "config_id": np.zeros(len(seeds) * num_updates, np.int64),
        "seed": np.repeat(np.asarray(seeds, np.int64), num_updates),
        "update": np.tile(np.arange(first_update, first_update + num_updates), len(seeds)),
        "env_steps": arrays.pop("env_steps").reshape(-1).astype(np.int64),
    }
    return pd.DataFrame(columns | {name: array.reshape(-1) for name, array in arrays.items()})


def empty() -> pd.DataFrame:
    """The frame of a run that was interrupted before its first update."""
    columns = ["env_steps", "num_episodes", "episode_return", "episode_return_max", "episode_length"]
    columns += ["bonus_mean", "bonus_raw_mean"]
    return frame({name: np.zeros((0, 0)) for name in columns}, [])


def write(folder: Path, data: pd.DataFrame) -> None:
    """Write the frame into a run's folder, replacing what is there in one step."""
    with files.replacing(folder / FILE) as temporary:
        files.write_table(temporary, data)


def encode(data: pd.DataFrame) -> bytes:
    """The frame as the content of a file, for a checkpoint that holds its metrics."""
    content = io.BytesIO()
    files.write_table(content, data)
    return content.getvalue()


def decode(content: bytes) -> pd.DataFrame:
    """The frame that :func:`encode` was given.

    Raises:
      OSError, ValueError: where it is no frame of metrics.
    """
    return files.read_table(io.BytesIO(content), INTEGERS, NUMBERS)


def load(out: str | os.PathLike) -> pd.DataFrame:
    """The metrics of a run's or a sweep's folder as a tidy frame.

    Columns: `config_id`, of a sweep each searched field by its dotted name, `seed`, `update` (from 1), `env_steps`,
    `episode_return`, ... ; NaN where no episode ended.

    Raises:
      SettingError: (a ValueError) when the folder holds no readable metrics.
    """
    files.check_contents(check_path(out, "out"))
    path = Path(out) / FILE
    found = [path] if path.is_file() else parts(Path(out))
    if not found:
        raise SettingError(f"{out} is not a run's folder, nor a sweep's with results: it has neither {FILE} nor parts")
    frames = []
    for path in found:
        try:
            frames.append(files.read_table(path, INTEGERS, NUMBERS))
        except (OSError, ValueError) as error:
            raise SettingError(f"{path} cannot be read: {error}") from error
    key = ["config_id", "seed", "update"]
    # Of a sweep whose caller was killed, workers elsewhere may have done what the next call has done again.
    return pd.concat(frames, ignore_index=True).drop_duplicates(key).sort_values(key, ignore_index=True)


def parts(folder: Path) -> list[Path]:
    """The files of a sweep's dataset, in order; none where the folder is no sweep's."""
    return sorted((folder / "parts").glob("[0-9]*.parquet")) if (folder / "sweep.json").is_file() else []


def write_part(folder: Path, part: pd.DataFrame, suffix: str = "") -> None:
    """Write rows of a sweep's dataset as a file of their own, named after their first run."""
    first = part.iloc[0]
    name = f"{int(first['config_id']):07d}-{int(first['seed'])}{suffix}.parquet"
    with files.replacing(folder / "parts" / name) as temporary:
        files.write_table(temporary, part)


def final_means(data: Any, column: str, by: Sequence[str] = ("seed",)) -> pd.Series:
    """Of each run, :func:`run_means` over the last tenth of its updates."""
    last = data["update"].groupby([data[name] for name in by]).transform("max")
    return run_means(data, column, by, data["update"] > last - np.maximum(last // 10, 1))


def run_means(data: Any, column: str, by: Sequence[str], rows: Any = None) -> pd.Series:
    """Of each run, :func:`mean` over its rows, or these of them: NaN, too, where a row that counts is NaN."""
    runs, value, weight = [data[name] for name in by], data[column].astype(float), _weights(data, column)
    weight = weight if rows is None else weight.where(rows, 0.0)
    means = (value * weight).where(weight > 0, 0.0).groupby(runs).sum() / weight.groupby(runs).sum()
    return means.mask((value.isna() & (weight > 0)).groupby(runs).any())  # which the sum leaves out


def mean(data: Any, column: str) -> float:
    """The mean of a column over these rows, each episode and else each update counting alike; NaN if nothing is there.

    What has no value yet is left out: `first_reward` has one from its update on. A return that is NaN although episodes
    ended, as of a reward that is, makes the mean NaN.
    """
    weight = _weights(data, column)
    there = weight > 0
    return float(np.average(data[column][there], weights=weight[there])) if there.any() else np.nan


def _weights(data: Any, column: str) -> pd.Series:
    """How much each row counts in a mean of this column."""
    return (data["num_episodes"] if column in OF_EPISODES else data[column].notna()).astype(float)


def diverged(data: Any, *no_metrics: str) -> np.ndarray:
    """Of each row whether a reward, an observation, a loss or another metric was not finite."""
    broken = data["nonfinite"].to_numpy() > 0 if "nonfinite" in data else np.zeros(len(data), bool)
    for name in data.columns:
        if name not in (*MAY_BE_NAN, *no_metrics) and pd.api.types.is_numeric_dtype(data[name]):
            broken = broken | ~np.isfinite(data[name].to_numpy(float))
    return broken


def first_success(data: pd.DataFrame, threshold: float) -> dict[int, int | None]:
    """Per seed, how many episodes had ended after the update in which one first returned more than `threshold`."""
    data = data.sort_values("update")
    seed, count, best = (_column(data, name) for name in ("seed", "num_episodes", "episode_return_max"))
    found: dict[int, int | None] = {}
    for number in np.unique(seed):
        hits = np.flatnonzero(best[seed == number] > threshold)
        found[int(number)] = int(count[seed == number].cumsum()[hits[0]]) if len(hits) else None
    return found


def _column(data: pd.DataFrame, name: str) -> np.ndarray:
    return np.asarray(data[name])


def curves(data: pd.DataFrame, columns: Sequence[str], bins: int = 120) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Columns per seed over environment steps, averaged in at most `bins` equal bins of updates as by :func:`mean`.

    Returns ``(env_steps [bins], values [num_seeds, bins] of each column)``; NaN where a seed has no value in a bin.
    """
    updates = _column(data, "update")
    edges = np.linspace(0, updates.max(), min(bins, int(updates.max())) + 1)
    place = np.searchsorted(edges, updates, side="left") - 1
    table: Any = data  # whose type stubs know no difference between a column and a row
    steps = table["env_steps"].groupby(place).max()
    values, weights = table[list(columns)].astype(float), table[[]].assign(**{c: _weights(data, c) for c in columns})
    weights = weights.where(values.notna(), 0.0)
    weighted, total = (one.groupby([_column(data, "seed"), place]).sum() for one in (values * weights, weights))
    wide = (weighted / total.where(total > 0)).unstack()
    return steps.to_numpy(), {name: wide[name].reindex(columns=steps.index).to_numpy(float) for name in columns}
