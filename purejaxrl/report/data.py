"""What a page is made of: runs' folders, and the curves in them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from purejaxrl import expressions, files, folders, metrics, runs, stats
from purejaxrl.report import commands
from purejaxrl.report.style import COLOURS
from purejaxrl.types import SettingError

Frame = Any  # pandas.DataFrame, whose type stubs know no difference between a column and a row
NUMBERS = ("env_steps", "num_episodes", "episode_return", "episode_return_max")  # columns that a page is made of
GREY = "#8b8e99"  # what has no colour of its own; as visible on white as on black
MOST = 8  # lines with a colour of their own; the others are grey
POINTS = 200  # of a curve
SEED_POINTS = 15_000  # of all seeds' own curves in one figure
LONGEST = 10_000  # steps of an episode whose best return is computed
NAMED = 3  # settings in a label at most; beyond that the folder's name is shorter
# Columns that are no curve: keys, counters, and what never changes again.
NO_CURVES = ("config_id", "seed", "update", "env_steps", "num_episodes", "nonfinite", "seconds", "rung", "parent")


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder."""

    folder: Path
    label: str
    config: runs.Config
    summary: dict[str, Any]
    frame: Frame
    final: np.ndarray  # [num_seeds], the mean return of the last tenth; NaN: no episode ended, or it diverged
    diverged: dict[int, str]  # by seed, what was not finite and when
    visits: Any  # int [num_seeds, num_cells], or None
    parts: runs.Components
    training: bool = False  # a process is at work in the folder


@dataclasses.dataclass(frozen=True)
class Series:
    """One line of every figure: a run, or a configuration of a sweep, over its seeds."""

    place: int  # in the legend; -1 where it is one of the many in grey
    label: str
    colour: str
    dash: str  # of Bokeh
    frame: Frame
    final: np.ndarray  # [num_seeds]


@dataclasses.dataclass(frozen=True)
class Curve:
    """A metric over environment steps: its mean over seeds with a 95 % interval, and each seed's."""

    steps: np.ndarray  # [points]
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: list[tuple[np.ndarray, np.ndarray]]  # steps and values of each, both [fewer points]


def read(folders: Sequence[Path]) -> list[Run]:
    """The runs in these folders.

    Raises:
      SettingError: where one is of something else, or damaged.
    """
    for folder in folders:
        files.check_contents(folder)
    configs = [runs.read_config(folder) for folder in folders]
    built, found = [runs.build(config) for config in configs], []
    for folder, config, parts, label in zip(folders, configs, built, _labels(configs, folders), strict=True):
        training = _is_held(folder)
        if training and not (folder / "summary.json").exists():
            raise SettingError(f"{folder} has no summary.json yet: it is still training, and writes one as it saves")
        summary = runs.read_summary(folder)
        visits = _visits(folder / "visits.npz", config, parts.cells)
        final, diverged = _final(folder, config, summary), _diverged(config, summary)
        final = np.where(np.isin(config.seed_numbers, list(diverged)), math.nan, final)
        found.append(Run(folder, label, config, summary, _frame(folder), final, diverged, visits, parts, training))
    return found


def _is_held(folder: Path) -> bool:
    try:
        return folders.is_held(folder)
    except (OSError, ImportError):  # no lock, none that we may read, or not a POSIX system
        return False


def series(labels: Sequence[str], frames: Sequence[Frame], finals: Sequence[np.ndarray]) -> list[Series]:
    """A line for each: the first eight told apart by colours, and from the seventh on by dashes, all others grey."""
    looks = [(i, colour, dash) for i, (dash, colour) in enumerate(itertools.product(("solid", "dashed"), COLOURS))]
    looks = looks[:MOST] + [(-1, GREY, "solid")] * len(labels)
    return [
        Series(place, label, colour, dash, frame, final)
        for (place, colour, dash), label, frame, final in zip(looks, labels, frames, finals, strict=False)
    ]


def same_env(configs: Sequence[runs.Config]) -> bool:
    """Whether these runs are on one environment: one id, and the same of all its settings."""
    return len({config.env for config in configs}) == 1 and not _differing(configs)


def _differing(configs: Sequence[runs.Config]) -> list[str]:
    """The environment settings, of those that are no defaults, in which runs on one id differ."""
    if len({config.env for config in configs}) == len(configs):
        return []
    known = [(config.env, commands.env_settings(config.env, config.env_settings)) for config in configs]
    pairs = [(one, other) for (env, one), (of, other) in itertools.combinations(known, 2) if env == of]
    names = dict.fromkeys(name for config in configs for name in commands.chosen(config))
    return [
        name
        for name in names
        if any(name in one and not commands.equal(one[name], other.get(name)) for one, other in pairs)
    ]


def _labels(configs: Sequence[runs.Config], paths: Sequence[Path]) -> list[str]:
    """Algorithm and bonus, with the environment's settings and the run's own where they differ, else the folder."""
    names, several, differing = [], len({config.env for config in configs}) > 1, _differing(configs)
    for config in configs:
        learner, bonus = runs.make_learner(config.algo, {}), expressions.parse(config.bonus)
        name = type(learner).__name__ + (" alone" if bonus is None else f" + {bonus}")
        settings = commands.env_settings(config.env, config.env_settings) if differing else {}
        where = [config.env] * several + [f"{key} {settings[key]}" for key in differing if key in settings]
        names.append(f"{name} on {', '.join(where)}" if where else name)
    by_name = {name: [one for one, of in zip(configs, names, strict=True) if of == name] for name in names}
    names = _marked(names, [_own_settings(one, by_name[name]) for one, name in zip(configs, names, strict=True)])
    names = _marked(names, [f" ({path.resolve().name})" for path in paths])
    return _marked(names, [f" ({path})" for path in paths])


def _marked(names: Sequence[str], marks: Sequence[str]) -> list[str]:
    """The names, each that is there several times with its mark."""
    return [name + mark if names.count(name) > 1 else name for name, mark in zip(names, marks, strict=True)]


def _own_settings(config: runs.Config, alike: Sequence[runs.Config]) -> str:
    """The run's values of those settings in which it and others of its name differ; nothing where these are many."""
    settings = [commands.settings(one) for one in alike]
    names = dict.fromkeys(name for one in settings for name in one)
    first = settings[0]
    differing = [name for name in names if not all(commands.equal(one.get(name), first.get(name)) for one in settings)]
    return f", {values_label(commands.settings(config), differing)}" if 0 < len(differing) <= NAMED else ""


def values_label(values: Mapping[str, Any], fields: Sequence[str]) -> str:
    """The values of these fields, each by the last part of its dotted name where that tells them apart."""
    last = [name.rpartition(".")[2] for name in fields]
    names = [one if last.count(one) == 1 else name for one, name in zip(last, fields, strict=True)]
    return ", ".join(f"{shown} {_short(values.get(name))}" for shown, name in zip(names, fields, strict=True))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _frame(folder: Path) -> Frame:
    frame = metrics.load(folder)
    try:
        files.check_columns(frame, ("seed", "update"), (*NUMBERS, *(["coverage"] if "coverage" in frame else [])))
    except ValueError as error:
        raise SettingError(f"{folder / metrics.FILE} is damaged: {error}") from None
    if np.any(np.asarray(frame["update"]) < 1):
        raise SettingError(f"{folder / metrics.FILE} is damaged: updates count from 1")
    return frame


def _final(folder: Path, config: runs.Config, summary: dict[str, Any]) -> np.ndarray:
    values = [math.nan if value is None else value for value in summary["final_return_per_seed"]]
    if len(values) != config.seeds or not all(isinstance(value, float) for value in values):
        raise SettingError(f"{folder / 'summary.json'} is damaged: a return of each seed is no number")
    return np.asarray(values)


def _diverged(config: runs.Config, summary: dict[str, Any]) -> dict[int, str]:
    """Of each seed that diverged what was not finite; nothing where the summary has nothing that can be read."""
    found = summary.get("diverged")
    found = found if isinstance(found, dict) else {}
    return {seed: str(found[str(seed)]) for seed in config.seed_numbers if str(seed) in found}


def _visits(path: Path, config: runs.Config, cells: Any) -> Any:
    """The exact counts of a run, ``[num_seeds, num_cells]``; None where it has none."""
    if cells is None or not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            visits = stored["visits"]
    except Exception:  # of damage NumPy, zipfile and zlib have each their own errors
        raise SettingError(f"{path} is damaged") from None
    if visits.shape != (config.seeds, cells.num_cells) or visits.dtype.kind not in "iu":
        raise SettingError(f"{path} is damaged: it has no counts of {config.seeds} seeds and {cells.num_cells} cells")
    return visits


# --- curves -----------------------------------------------------------------------------------------------------------


def columns(frames: Sequence[Frame], fields: Sequence[str] = ()) -> list[str]:
    """The metrics that these frames have curves of: numbers that vary or are there at all, in the frames' order."""
    found = {}
    for frame in frames:
        for name in frame.columns:
            if name in (*NO_CURVES, *fields) or not files.of_kind(frame[name], "iuf"):
                continue
            values = frame[name].to_numpy(float)
            found[name] = found.get(name, False) or bool(np.any(np.isfinite(values) & (values != 0)))
    return [name for name, shown in found.items() if shown or name == "episode_return"]


def curves(frame: Frame, names: Sequence[str], seed_points: int) -> dict[str, Curve]:
    """Each metric's curve, of at most 200 points, and each seed's of at most `seed_points`; without what has none."""
    names = [name for name in names if name in frame and frame[name].notna().any()]
    if not names:
        return {}
    steps, values = metrics.curves(frame, names, POINTS)
    few_steps, few = metrics.curves(frame, names, seed_points)
    with np.errstate(over="ignore", invalid="ignore"):
        bounds = stats.mean_interval(np.concatenate([values[name] for name in names], axis=1))
    found = {}
    for name, mean, low, high in zip(names, *(np.split(bound, len(names)) for bound in bounds), strict=True):
        there = np.isfinite(mean)
        seeds = [(few_steps[np.isfinite(one)], one[np.isfinite(one)]) for one in few[name]]
        found[name] = Curve(steps[there], mean[there], low[there], high[there], seeds)
    return found


def early(frame: Frame) -> np.ndarray:
    """Of each seed the mean return of the episodes that ended in the first tenth of its updates, by seed."""
    last = frame.groupby("seed")["update"].transform("max")
    first = frame[frame["update"] <= np.maximum(last // 10, 1)]
    return metrics.final_means(first.assign(update=1), "episode_return").sort_index().to_numpy(float)
