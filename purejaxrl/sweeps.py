"""Sweeps: every configuration of a search times every seed, in as few programs as possible, never run twice.

Fields that are numbers of a component are lanes of one program; those that shape the program (layer sizes, `num_envs`,
an environment's constructor arguments) make a *bucket* each, with a program of its own. A bucket's runs go through its
program so many lanes at a time, and whenever some are done the folder has them.

The folder: ``sweep.json``, what is swept, written before anything compiles; ``parts/``, one Parquet dataset of a row
per configuration, seed and update with the searched fields as columns; ``summary.json``, how far and how fast the last
call came; ``under-way/``, lanes that are not done yet; ``lock``, held by whoever is at work there.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import os
import shutil
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
import pandas as pd
from rich.console import Console

from purejaxrl import engines, envs, files, folders, intrinsic, metrics, processes, runs
from purejaxrl.lanes import Parked
from purejaxrl.populations import UNDER_WAY, Point, Program, Setup, labelled, peak_memory, replaced
from purejaxrl.progress import Progress
from purejaxrl.results import RETURN, Sweep, directions
from purejaxrl.search import MOST_RUNS, Configuration, LogUniform, Uniform, configurations, corners, types
from purejaxrl.trackers import Tracker, check_trackers, closing, tell
from purejaxrl.train import Train
from purejaxrl.tuning import Tuner
from purejaxrl.types import (
    LEARNER,
    SettingError,
    check_choice,
    check_component,
    check_int,
    check_new_path,
    check_number,
    check_protocol,
    is_number,
    shown,
)

Frame = Any  # pandas.DataFrame, whose type stubs know no difference between a column and a row
PLAN = "sweep.json"
Pair = tuple[int, int]  # a configuration's id and a seed
MOST_PROGRAMS = 64  # in one sweep; compiling a pair takes 5 to 10 s on a CPU, about a minute on an H200
RUN_FIELDS = ("num_envs", "total_steps")  # searched without a component's name before them
OF_VISITS = ("coverage", "visit_entropy", "bonus_rank_correlation")  # metrics, the last one where there is a bonus
INTEGERS = ("config_id", "seed", "update", "env_steps")  # columns of a part
NUMBERS = ("num_episodes", "episode_return", "seconds")


@dataclasses.dataclass(frozen=True)
class Base:
    """What is swept around: a setup whose environment may still be an id, so that its arguments can be searched."""

    env: Any
    env_params: Any
    env_settings: Mapping[str, Any]
    learner: Any
    bonus: Any
    num_envs: int
    total_steps: int
    visits: Any
    resets: Any

    def setup(self, static: Mapping[str, Any]) -> Setup:
        """The setup with these fields in the place of its own."""
        env, env_params = self.env, self.env_params
        if isinstance(env, str):
            own = {name.removeprefix("env."): value for name, value in static.items() if name.startswith("env.")}
            env, env_params = envs.make(env, **{**self.env_settings, **own})
        elif env_params is None:
            env_params = env.default_params
        visits = self.visits or None
        if visits is True:
            cells = envs.cells(env)
            if cells is None:
                raise SettingError("visits: the environment has no discretised state to count; pass (cell_fn, number)")
            visits = (cells.cell_fn, cells.num_cells)
        sizes = {name: static.get(name, getattr(self, name)) for name in RUN_FIELDS}
        found = Setup(env, env_params, self.learner, self.bonus, **sizes, visits=visits, resets=self.resets)
        for name, value in static.items():
            part, *path = name.split(".")
            if part == "algo":
                found = dataclasses.replace(found, learner=replaced(found.learner, path, value))
            elif part == "bonus":
                found = dataclasses.replace(found, bonus=replaced(found.bonus, path, value))
        return found

    def traced(self, found: Sequence[Configuration]) -> list[str]:
        """The searched fields that are numbers of a component, all others shape the program."""
        first, known = found[0], self._constructor()
        setup = self.setup({name: value for name, value in first.items() if name.removeprefix("env.") in known})
        traced = []
        for name in first:
            if name in RUN_FIELDS or (name.startswith("env.") and name.removeprefix("env.") in known):
                continue
            if "." not in name:
                check_choice(name, [*RUN_FIELDS, "algo.…", "bonus.…", "env.…"], "search")
            is_env = name.startswith("env.")
            if setup.is_traced(name) and (is_env or all(is_number(one[name]) for one in found)):
                traced.append(name)
            elif is_env:
                raise SettingError(f"search: {name} shapes the environment: give env by its id to search it")
        return traced

    def check_ranges(self, search: Any) -> None:
        """Raise :class:`SettingError` where a whole number that shapes the program is searched over a range."""
        for name, values in search.items() if isinstance(search, Mapping) else ():
            if not isinstance(values, (Uniform, LogUniform)) or not isinstance(name, str):
                continue
            whole = name in RUN_FIELDS
            if name.partition(".")[0] in ("algo", "bonus"):
                setup = self.setup({})
                whole = not setup.is_traced(name) and isinstance(setup.value(name), int)
            if whole:
                raise SettingError(
                    f"search: {name} must be an integer, and shapes the program: give a list or a Choice, no range"
                )

    def _constructor(self) -> list[str]:
        return list(envs.constructor_settings(self.env)) if isinstance(self.env, str) else []


def make_base(env: Any, env_params: Any, env_settings: Any, learner: Any, bonus: Any, *others: Any) -> Base:
    """A Base of its fields in order, where they fit together."""
    if env_settings is not None and not (
        isinstance(env_settings, Mapping) and all(isinstance(name, str) for name in env_settings)
    ):
        raise SettingError(f"env_settings must map names to values, got {shown(env_settings)}")
    if env_settings and not isinstance(env, str):
        raise SettingError("env_settings belong to an environment given by its id")
    if env_params is not None and isinstance(env, str):
        raise SettingError("env_params belong to an environment that is no id: use env_settings")
    if not isinstance(env, str):
        check_protocol(env)
    check_component(learner, "algo", LEARNER)
    if bonus is not None:
        intrinsic.check(bonus)
    return Base(env, env_params, dict(env_settings or {}), learner, bonus, *others)


@dataclasses.dataclass
class Bucket:
    """The runs of one program."""

    key: str  # what shapes it
    setup: Setup
    fields: list[str]  # traced
    points: list[Point]
    train: Train  # one of them


def sweep(
    env: Any,
    learner: Any,
    *,
    search: Any,
    num_envs: int,
    total_steps: int,
    bonus: Any = None,
    env_params: Any = None,
    env_settings: Mapping[str, Any] | None = None,
    seeds: int | Sequence[int] = 1,
    samples: int | None = None,
    search_seed: int = 0,
    sampler: Any = None,
    batch: int = 16,
    objectives: Sequence[str] = ("final_return",),
    rungs: Sequence[float] = (),
    keep: float = 1 / 3,
    visits: Any = False,
    resets: Any = None,
    out: str | os.PathLike | None = None,
    num_lanes: int | None = None,
    memory_gb: float | None = None,
    on: Any = None,
    workers: int = 2,
    trackers: Sequence[Tracker] = (),
    progress: Progress | None = None,
) -> Sweep:
    """Train every configuration of a search with every seed.

    ``sweep("CartPole-v1", PPO(), search={"algo.learning_rate": [1e-4, 1e-3]}, seeds=8, num_envs=4,
    total_steps=100_000, out="runs/rates")``. The same call again goes on where it was stopped, by Ctrl-C or by force,
    with the same results as if it had not been.

    Args:
      env: an environment or its id; an environment's constructor arguments can be searched only with an id.
      learner: for example ``PPO()``; what is not searched stays as it is here.
      search: fields by their dotted names, ``algo.``, ``bonus.``, ``env.`` or ``num_envs`` and ``total_steps``, with
        lists, or distributions of :mod:`purejaxrl.search`; or configurations one by one.
      num_envs: environments of each run.
      total_steps: environment steps of each run, rounded down to whole updates.
      bonus: for example ``RND()``, or None.
      env_params: of an environment that is no id; None means its defaults.
      env_settings: constructor arguments and parameters of an environment given by its id.
      seeds: how many, from 0 on, or the seeds themselves.
      samples: how many configurations to draw, where `search` has distributions.
      search_seed: of the draws, or of the sampler.
      sampler: who proposes the `samples` configurations, `batch` at a time, from what came of those so far: "tpe",
        "qmc" or "nsga2", or a function of a seed that makes one of Optuna's samplers. None draws them all at first.
      batch: configurations that a sampler proposes at once; a generation of "nsga2".
      objectives: metrics that a sampler makes large, or after ``min:`` small, ``("final_return", "min:first_reward")``,
        as :meth:`purejaxrl.results.Sweep.means` has them.
      rungs: successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943): shares of a run, such as (0.1, 0.3),
        after which the best `keep` of the configurations go on, by the mean return of all their episodes so far, and
        the others stop. Those in which no episode has ended yet cannot be ranked: they go on, too.
      keep: the share of the configurations that each rung leaves of those it ranks, rounded up.
      visits: True, or as for :func:`purejaxrl.make_train`: count visits of true states exactly.
      resets: as for :func:`purejaxrl.make_train`.
      out: the folder of the results; None keeps them in memory alone.
      num_lanes: runs at once; None chooses.
      memory_gb: what all lanes together may need; None means most of what is free.
      on: who trains: None means this process, "slurm" and "ray" workers on other machines, "local" other processes of
        this one; or an executor of submitit. All of them must see `out`.
      workers: so many jobs at a time, where `on` is given.
      trackers: where metrics go, too, as runs are done: :mod:`purejaxrl.trackers`, or one's own.
      progress: where to show what is going on; None: on stderr.

    Returns:
      A :class:`~purejaxrl.results.Sweep`: ``.frame``, ``.runs()``, ``.best()``, ``.pareto()``, ``.importance()``,
      ``.sensitivity()``.

    Raises:
      SettingError: (a ValueError) where a setting is wrong, or `out` is of another sweep: before anything runs, and
        nothing in `out` is touched.
    """
    base = make_base(env, env_params, env_settings, learner, bonus, num_envs, total_steps, visits, resets)
    numbers = _seed_numbers(seeds)
    for value, label, least in ((batch, "batch", 1), (workers, "workers", 1), (search_seed, "search_seed", 0)):
        check_int(value, label, ge=least)
    check_trackers(trackers)
    if num_lanes is not None:
        check_int(num_lanes, "num_lanes", ge=1)
    if memory_gb is not None:
        check_number(memory_gb, "memory_gb", 0)
    halving, goals = _halving(rungs, keep, sampler), directions(objectives)
    if sampler is None and goals != RETURN:
        raise SettingError("objectives are for a sampler; without one leave them out: Sweep.pareto compares by any")
    if on is not None:
        _check_engine(on, out, halving)
    progress = progress or (Progress() if processes.is_first() else Progress(Console(quiet=True)))
    folder = None if out is None else check_new_path(out, "out")
    base.check_ranges(search)
    if sampler is None:
        known = configurations(search, samples, search_seed)
        _check_runs(len(known), numbers)
        checked = _buckets(base, known, numbers, say=progress.say)
        _check_rungs(halving.rungs, checked)
        proposed: _Proposals = _Fixed(known)
        stages = {"rungs": list(halving.rungs), "keep": halving.keep} if halving.rungs else {}
        kinds = types(known)
        how = {"configurations": [runs.describe(one) for one in known], **stages}
    else:
        journal = None if folder is None else folder / "journal.log"
        proposed = Tuner(search, samples, batch, sampler, search_seed, journal, goals)
        _check_runs(samples or 0, numbers)
        # Every value of a list, and the ends of every range: what they shape is checked before anything is written.
        _check_metrics(goals, _buckets(base, corners(search), numbers, say=progress.say)[0].train)
        checked = None
        how = {"samples": samples, "sampler": runs.describe(sampler), "batch": batch, "search_seed": search_seed}
        how["objectives"] = list(objectives)
        kinds = types(corners(search))
        how["search"] = runs.describe(search)
    plan = make_plan(base, numbers, list(kinds), types={name: kind.__name__ for name, kind in kinds.items()}, **how)
    limits = {"num_lanes": num_lanes, "memory": None if memory_gb is None else memory_gb * 1e9}
    together = None if sampler is None else batch * len(numbers)
    trackers = trackers if processes.is_first() else ()
    elsewhere = on, workers
    run = _Run(base, numbers, kinds, folder, together, limits, halving, objectives, elsewhere, trackers, progress)
    if folder is None:
        return run.all(proposed, checked)
    with processes.in_first(lambda: folders.held(folder, PLAN, plan)):
        return run.all(proposed, checked)


def read(out: str | os.PathLike) -> Sweep:
    """The results that are in a sweep's folder so far.

    Raises:
      SettingError: where it is none, or cannot be read.
    """
    files.check_contents(Path(out))
    plan, frame = folders.read(Path(out), PLAN), metrics.load(out)
    fields = plan["fields"]
    if not isinstance(fields, list) or not all(isinstance(name, str) and name in frame for name in fields):
        raise SettingError(f"{Path(out) / PLAN} is damaged: its fields are not those of the parts")
    try:
        complete = frame.groupby(["config_id", "seed"]).ngroups >= num_runs(plan)
        if complete and "rungs" in plan:
            halving, ids = _halving(plan["rungs"], plan["keep"], None), frame["config_id"].unique().tolist()
            for rung, _ in enumerate(halving.rungs, start=1):
                ids = [*itertools.chain(*_going_on(_so_far(frame, ids, rung), fields, halving))]
            ended = frame[(frame["rung"] > len(halving.rungs)) & frame["config_id"].isin(ids)]
            complete = ended.groupby(["config_id", "seed"]).ngroups >= len(ids) * len(plan["seeds"])
    except (KeyError, TypeError):
        raise SettingError(f"{Path(out) / PLAN} is damaged: it does not say which runs there are") from None
    return Sweep(frame, fields, Path(out), complete=complete)


def num_runs(plan: Mapping[str, Any]) -> int:
    """How many runs a sweep's plan asks for."""
    return len(plan["seeds"]) * num_configurations(plan)


def num_configurations(plan: Mapping[str, Any]) -> int:
    """How many configurations a sweep's plan asks for."""
    return len(plan["configurations"]) if "configurations" in plan else plan["samples"]


class Halving(NamedTuple):
    """After which shares of a run which share of the configurations goes on."""

    rungs: tuple[float, ...]
    keep: float

    def left(self, count: int) -> int:
        """How many of `count` a rung leaves."""
        return max(math.ceil(count * self.keep - 1e-9), 1)


def _so_far(frame: Frame, ids: Sequence[int], rung: int) -> Frame:
    """The rows of these configurations up to a rung, from 1."""
    return frame[frame["config_id"].isin(ids) & (frame["rung"] <= rung)]


def _going_on(frame: Frame, fields: Sequence[str], halving: Halving) -> tuple[list[int], list[int]]:
    """The configurations that a rung leaves, given all rows up to there: the best, and those that it cannot rank.

    They are ranked by the mean return of all episodes so far, over seeds; a run that diverged counts as the worst of
    all. Of equals those with fewer such runs come first, then by lot: not as the search has them. A configuration in
    which no episode has ended yet may be one that fails late, or never.
    """
    key = ["config_id", "seed"]
    runs = [frame[name] for name in key]
    diverged = pd.Series(metrics.diverged(frame, *fields), frame.index).groupby(runs).any()
    ended = frame["num_episodes"].groupby(runs).sum() > 0
    found = pd.DataFrame({"mean": metrics.run_means(frame, "episode_return", key)})
    found["useless"] = diverged | (ended & ~np.isfinite(found["mean"]))
    found["mean"] = found["mean"].mask(found["useless"], found["mean"][~found["useless"]].min()).fillna(-np.inf)
    ranked: Frame = found[ended | found["useless"]].groupby("config_id").agg({"mean": "mean", "useless": "sum"})
    unknown = sorted({*frame["config_id"]} - {*ranked.index})
    ranked["lot"] = np.random.default_rng(0).permutation(len(ranked))
    ranked = ranked.sort_values(["mean", "useless", "lot"], ascending=[False, True, True])
    left = ranked.head(halving.left(len(ranked)))
    if unknown:
        left = left[np.isfinite(left["mean"])]  # where all others have diverged
    return left.index.tolist(), unknown


def _check_rungs(rungs: Sequence[float], buckets: Iterable[Bucket]) -> None:
    """Raise :class:`SettingError` where two rungs of a run, or its last one and its end, are the same update."""
    for bucket, (share, following) in itertools.product(buckets, itertools.pairwise((*rungs, 1.0))):
        if (update := _updates(bucket, share)) >= _updates(bucket, following):
            raise SettingError(
                f"rungs: {share:g} and {following:g} of a run of {bucket.train.num_updates} updates are both update "
                f"{update}: take shares further apart, or raise total_steps"
            )


def _halving(rungs: Any, keep: Any, sampler: Any) -> Halving:
    if isinstance(rungs, (str, bytes)) or not isinstance(rungs, (Sequence, np.ndarray)):
        raise SettingError(f"rungs must be shares of a run, such as (0.1, 0.3), got {rungs!r}")
    for before, share in zip([0.0, *rungs], rungs, strict=False):
        check_number(share, "rungs", gt=0, lt=1)
        if share <= before:
            raise SettingError(f"rungs must grow, got {share:g} after {before:g}")
    check_number(keep, "keep", gt=0, lt=1)
    if len(rungs) and sampler is not None:
        raise SettingError("rungs stop some of the configurations that are there at first: leave the sampler out")
    return Halving(tuple(map(float, rungs)), float(keep))


def _check_engine(on: Any, out: Any, halving: Halving) -> None:
    processes.check_alone("a sweep with on")
    engines.check(on)
    if out is None:
        raise SettingError("on: workers write into the sweep's folder: give out, a folder that all of them see")
    if halving.rungs:
        raise SettingError("rungs stop runs within one process: leave out on, or rungs")


def _check_runs(count: int, seeds: Sequence[int]) -> None:
    if count * len(seeds) > MOST_RUNS:
        raise SettingError(
            f"seeds: {count:,} configurations of {len(seeds):,} seeds each are more than {MOST_RUNS:,} runs: take fewer"
        )


def _seed_numbers(seeds: Any) -> list[int]:
    """The seeds that are meant: so many from 0 on, or these."""
    if isinstance(seeds, (int, np.integer)) and not isinstance(seeds, bool):
        check_int(seeds, "seeds", ge=1, le=MOST_RUNS)
        return list(range(seeds))
    if (
        isinstance(seeds, (str, bytes))
        or not isinstance(seeds, (Sequence, np.ndarray))
        or getattr(seeds, "ndim", 1) != 1
    ):
        raise SettingError(f"seeds must be an integer or a sequence of them, got {shown(seeds)}")
    if not 1 <= len(seeds) <= MOST_RUNS:
        raise SettingError(f"seeds must be 1 to {MOST_RUNS:,} of them, got {len(seeds):,}")
    for seed in seeds:
        check_int(seed, "seeds", ge=0)
    found = [int(seed) for seed in seeds]
    if twice := [seed for seed, count in Counter(found).items() if count > 1]:
        raise SettingError(f"seeds must differ: {twice[0]} stands there twice")
    return found


def _buckets(
    base: Base,
    found: Sequence[Configuration],
    seeds: Sequence[int],
    first: int = 0,
    say: Callable[[str], None] = lambda line: None,
    done: Container[Pair] = (),
) -> list[Bucket]:
    """Group the configurations by what shapes their programs, and try one run of each group and all their numbers.

    `first` is the id of the first configuration; `say` gets what there is to say of them, each line once.
    """
    traced = base.traced(found)
    groups: dict[str, list[int]] = {}
    for number, one in enumerate(found):
        groups.setdefault(repr({name: value for name, value in one.items() if name not in traced}), []).append(number)
    new = [
        numbers
        for numbers in groups.values()
        if any((first + number, seed) not in done for number in numbers for seed in seeds)
    ]
    _check_programs(found, traced, len(new))
    buckets, lines = [], {}
    for key, numbers in groups.items():
        static = {name: value for name, value in found[numbers[0]].items() if name not in traced}
        setup = base.setup(static)
        for number in numbers:
            setup.check_values({name: found[number][name] for name in traced})
        points = [Point({"config_id": first + number, **found[number]}, seed) for number in numbers for seed in seeds]
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            train = setup.bind(setup.components, {name: found[numbers[0]][name] for name in traced})
        lines |= dict.fromkeys(str(warning.message) for warning in said)
        buckets.append(Bucket(key, setup, traced, points, train))
    for line in lines:
        say(line)
    return buckets


def _check_programs(found: Sequence[Configuration], traced: Sequence[str], count: int) -> None:
    if count <= MOST_PROGRAMS:
        return
    values = {name: len({repr(one[name]) for one in found}) for name in found[0] if name not in traced}
    shaping = ", ".join(f"{name} ({number} values)" for name, number in values.items() if number > 1)
    minutes = count * (10 if jax.default_backend() == "cpu" else 60) / 60
    raise SettingError(
        f"search: {shaping} shape{'' if ',' in shaping else 's'} the program: {count} programs, about {minutes:.0f} "
        f"minutes of compiling; search fewer values, at most {MOST_PROGRAMS} programs in one sweep"
    )


def _check_metrics(names: Iterable[str], train: Train) -> None:
    """Raise :class:`SettingError` unless each is a metric of the results."""
    if [*names] == ["final_return"]:
        return  # tracing takes a second or two
    shapes = jax.eval_shape(train, jax.random.key(0)).metrics
    known = ["final_return", "seconds", *(name for name, found in shapes.items() if found.ndim == 1)]
    for name in names:
        if name in OF_VISITS and name not in known:
            raise SettingError(f"objectives: {name} is of visits, which are not counted: give visits=True, or --visits")
        check_choice(name, known, "objectives")


class _Proposals(Protocol):
    def ask(self) -> list[Configuration]: ...

    def tell(self, values: Mapping[int, Sequence[float]]) -> None: ...


class _Fixed:
    """All configurations at once, whatever comes of them."""

    def __init__(self, found: list[Configuration]):
        self.left = found

    def ask(self) -> list[Configuration]:
        found, self.left = self.left, []
        return found

    def tell(self, values: Mapping[int, Sequence[float]]) -> None:
        pass


class _Run:
    """One call's work: what is proposed and not there yet, in programs that are compiled once."""

    def __init__(
        self,
        base: Base,
        seeds: Sequence[int],
        types: Mapping[str, type],
        folder: Path | None,
        together: int | None,
        limits: Mapping[str, Any],
        halving: Halving,
        objectives: Sequence[str],
        elsewhere: tuple[Any, int],
        trackers: Sequence[Tracker],
        progress: Progress,
    ):
        self.base, self.seeds, self.types, self.fields, self.folder = base, seeds, types, list(types), folder
        self.together, self.limits, self.halving, self.objectives = together, limits, halving, objectives
        (self.on, self.workers), self.trackers, self.progress = elsewhere, list(trackers), progress
        self.submit: engines.Submit | None = None
        self.programs: dict[str, Program] = {}
        self.parts: list[Frame] = []
        self.updates: dict[Any, int] = {}  # by pair, how many of a run's updates are in the parts
        self.paused: dict[Pair, Parked] = {}  # at the last rung
        self.returns: dict[int, tuple[dict[int, float], float]] = {}  # of each configuration, by seed, and their mean
        self.steps, self.seconds = 0, 0.0  # of the runs that this call has brought to an end

    def all(self, proposed: _Proposals, checked: list[Bucket] | None) -> Sweep:
        """Run all that is proposed; `checked` are the first batch's buckets, where they are known."""
        if self.folder is not None:
            self._read(self.folder)
            self.submit = None if self.on is None else engines.submitter(self.on, self.folder)
        count = 0
        told = closing(self.trackers, self.progress.say)
        with runs.interruptible() as interrupted, told as self.trackers, self.progress:
            while not interrupted.is_set() and (new := proposed.ask()):
                buckets = checked or _buckets(self.base, new, self.seeds, count, done=self.updates)
                checked = None
                self._some(buckets, range(count, count + len(new)), interrupted)
                count += len(new)
                if not interrupted.is_set():
                    proposed.tell(self._means())
            complete, signal = not interrupted.is_set(), getattr(interrupted, "name", None)
        if complete and self.folder is not None and processes.is_first():
            for name in (engines.JOBS, UNDER_WAY):
                shutil.rmtree(self.folder / name, ignore_errors=True)
        found = dataclasses.replace(self._found(complete), signal=signal)
        if self.folder is not None and self.steps and processes.is_first():
            runs.write_json(self.folder / "summary.json", self._summary(found, count))
        return found

    def _read(self, folder: Path) -> None:
        """What earlier calls have left; a part that is damaged, or goes on with what is lost, is put aside."""

        def all_parts() -> Frame:
            (folder / "parts").mkdir(exist_ok=True)
            found: list[tuple[Path, Frame]] = []
            for path in metrics.parts(folder):
                with self._damaged(path):
                    found.append((path, self._part(path)))
            for path, part in sorted(found, key=lambda one: one[1]["update"].min()):
                with self._damaged(path):
                    self._add(part)
            return self._frame()

        there = processes.frame_from_first(all_parts)
        if len(there) and not self.parts:
            self._add(there)

    def _part(self, path: Path) -> Frame:
        part = files.read_table(path, INTEGERS, NUMBERS)
        if part.empty or not {*self.fields} <= {*part.columns}:
            raise ValueError("it has not the columns of this sweep")
        return part

    @contextmanager
    def _damaged(self, path: Path) -> Iterator[None]:
        """Put the file aside where it cannot be used: its runs are done again."""
        try:
            yield
        except (OSError, ValueError):
            self.progress.say(f"{path} is damaged: its runs are done again")
            path.rename(path.with_suffix(".damaged"))

    def _some(self, buckets: Sequence[Bucket], ids: Sequence[int], interrupted: threading.Event) -> None:
        """Run what is not done of these configurations; each rung leaves fewer of them."""
        shares = (*self.halving.rungs, 1.0)
        with self.progress.training(self._steps_left(buckets, len(ids))), ThreadPoolExecutor(1) as thread:
            for rung, share in enumerate(shares, start=1):
                wanted = [[point for point in bucket.points if point.values["config_id"] in ids] for bucket in buckets]
                missing = [self._missing(*both, share) for both in zip(buckets, wanted, strict=True)]
                due = [both for both in zip(buckets, missing, strict=True) if both[1]]
                if self.submit is not None and due:
                    self._elsewhere(due, interrupted)
                    due = []
                for (bucket, points), following in itertools.zip_longest(due, due[1:]):
                    if interrupted.is_set():
                        break
                    self._program(bucket).lanes(self.progress)
                    if following:
                        self._program(following[0]).compile_ahead(thread, self.progress)
                    self._advance(bucket, points, shares[:rung], interrupted)
                if interrupted.is_set() or share == 1:
                    break
                parts = [_so_far(part, ids, rung) for part in self.parts]
                best, unknown = _going_on(pd.concat(parts, ignore_index=True), self.fields, self.halving)
                before, ids = ids, [*best, *unknown]
                line = f"after {share:.0%} of a run {len(ids)} of {len(before)} configurations go on"
                line += f", {len(unknown)} of them unranked: no episode has ended in them" if unknown else ""
                self.progress.say(line)
                self.paused = {pair: state for pair, state in self.paused.items() if pair[0] in ids}
        self.paused = {}

    def _steps_left(self, buckets: Sequence[Bucket], count: int) -> int:
        """Env steps of what is not done; with rungs, as many of `count` configurations as they leave."""
        used, before, left = 0.0, 0.0, count
        for share in (*self.halving.rungs, 1.0):
            used, before, left = used + left * (share - before), share, self.halving.left(left)
        missing = [len(self._missing(bucket, bucket.points, 1.0)) * bucket.train.env_steps for bucket in buckets]
        return int(sum(missing) * used / count)

    def _advance(
        self, bucket: Bucket, points: Sequence[Point], shares: Sequence[float], interrupted: threading.Event
    ) -> None:
        """Bring these runs to the last of the shares, from where they pause at the one before, or from their start."""
        common = {"progress": self.progress, "interrupted": interrupted, "stop": _updates(bucket, shares[-1])}
        common["folder"] = None if self.folder is None else self.folder / UNDER_WAY
        run = functools.partial(self._program(bucket).run, **common)
        waiting = [point for point in points if _pair(point) in self.paused]
        others = [point for point in points if _pair(point) not in self.paused]
        start, states = _updates(bucket, ([0.0, *shares])[-2]), [self.paused[_pair(point)] for point in waiting]
        # After a stop nothing waits, but what was under way was saved.
        kept = [point for point in others if self.updates.get(_pair(point), 0) >= start]
        anew = [point for point in others if self.updates.get(_pair(point), 0) < start]
        for batch in itertools.chain(run(waiting, start=start, states=states), run(kept, start=start), run(anew)):
            self.paused |= zip(map(_pair, batch.points), batch.states, strict=False)
            part = labelled(batch, self.types)
            self._keep(part.assign(rung=len(shares)) if self.halving.rungs else part, bucket.train)

    def _elsewhere(self, due: Sequence[tuple[Bucket, list[Point]]], interrupted: threading.Event) -> None:
        """Let an engine's workers do these runs, and take in what they write as it comes."""
        assert self.folder is not None
        assert self.submit is not None
        total, jobs, trains = sum(len(points) for _, points in due), [], {}
        for bucket, points in due:
            trains |= {point.values["config_id"]: bucket.train for point in points}
            for number in range(pieces := min(max(round(self.workers * len(points) / total), 1), len(points))):
                job = engines.Job(
                    folder=str(self.folder.absolute()),
                    setup=bucket.setup,
                    traced=bucket.fields,
                    types=self.types,
                    points=points[number * len(points) // pieces : (number + 1) * len(points) // pieces],
                    num_points=self._num_points(bucket),
                    watched=self.on == "local",
                    **self.limits,
                )
                jobs.append(job)
        self.progress.say(f"{total} runs as {len(jobs)} jobs, {min(self.workers, len(jobs))} at a time")
        seen = set(metrics.parts(self.folder))
        for _ in engines.finish(self.submit, jobs, self.workers, interrupted, self.progress.say):
            for path in set(metrics.parts(self.folder)) - seen:
                seen.add(path)
                part, before = self._add(self._part(path)), self.steps
                if len(part):
                    self._tell(part, trains[part["config_id"].iloc[0]])
                    self.progress.advance(self.steps - before, part)
        if not interrupted.is_set() and any(self._missing(bucket, points, 1.0) for bucket, points in due):
            raise SettingError(f"on: what the workers did is not in {self.folder}: it must be a folder that they share")

    def _program(self, bucket: Bucket) -> Program:
        if bucket.key not in self.programs:
            num_points = self._num_points(bucket)
            self.programs[bucket.key] = Program(bucket.setup, bucket.fields, num_points, **self.limits)
            if bucket.key != "{}":
                self.progress.say(f"{len(bucket.points)} runs of {bucket.key[1:-1]}")
        return self.programs[bucket.key]

    def _num_points(self, bucket: Bucket) -> int:
        """The runs that lanes are chosen for, as if none were done yet: another number of lanes rounds otherwise."""
        return self.together or len(bucket.points)

    def _missing(self, bucket: Bucket, points: Sequence[Point], share: float) -> list[Point]:
        """Those whose metrics are not there up to this share of a run."""
        wanted = _updates(bucket, share)
        return [point for point in points if self.updates.get(_pair(point), 0) < wanted]

    def _add(self, part: Frame) -> Frame:
        """Take the rows in that are not there yet: a run may be done again up to where it was.

        Raises:
          ValueError: where rows between those that are there and these are missing.
        """
        updates = part.groupby(["config_id", "seed"])["update"]
        first, last = updates.min(), updates.max()
        there = np.asarray([self.updates.get(pair, 0) for pair in first.index], int)
        if (first.to_numpy() > there + 1).any():
            raise ValueError("it goes on with what is not there")
        part = part[part["update"].to_numpy() > there[updates.ngroup().to_numpy()]]
        self.updates |= {pair: max(end, self.updates.get(pair, 0)) for pair, end in last.items()}
        self.parts.append(part)
        return part

    def _keep(self, part: Frame, train: Train) -> None:
        """Take rows in that are new, and write them."""
        part = self._add(part)
        if self.folder is not None and processes.is_first():
            metrics.write_part(self.folder, part, f"-{int(part['rung'].iloc[0])}" if self.halving.rungs else "")
        self._tell(part, train)

    def _tell(self, part: Frame, train: Train) -> None:
        """Count new rows, and show them to who wants to know."""
        updates, starts = len(part), int((part["update"] == 1).sum())
        self.steps += train.spec.num_envs * (updates * train.spec.num_steps + starts * train.warmup)
        self.seconds += float(part.groupby(["config_id", "seed"])["seconds"].first().sum())
        tell(self.trackers, part, self.fields, self.progress.say)
        self._note_best(Sweep(part, self.fields).runs())

    def _note_best(self, done: Frame) -> None:
        """Show the best configuration, by the mean over those of its seeds that are there."""
        for row in done[np.isfinite(done["final_return"])].to_dict("records"):
            of_seeds, _ = self.returns.get(row["config_id"], ({}, 0.0))
            of_seeds[row["seed"]] = row["final_return"]
            self.returns[row["config_id"]] = of_seeds, sum(of_seeds.values()) / len(of_seeds)
        if self.returns:
            best = max(self.returns, key=lambda number: self.returns[number][1])
            self.progress.note = f"best so far {self.returns[best][1]:.4g}, configuration {best}"
            found = peak_memory()
            peak = found["peak_device_bytes"] or found["peak_host_bytes"] or 0
            self.progress.note += f", peak memory {peak / 1e9:.1f} GB" if self.on is None else ""

    def _means(self) -> dict[int, list[float]]:
        """What each configuration so far has of each objective."""
        try:
            found = Sweep(pd.concat(self.parts, ignore_index=True), self.fields).means(*self.objectives)
        except (SettingError, ValueError):  # no run has a value of one, or there are no parts
            return {}
        values = found[list(directions(self.objectives))].to_numpy(float).tolist()
        return dict(zip(found["config_id"].tolist(), values, strict=True))

    def _found(self, complete: bool) -> Sweep:
        frame = self._frame().sort_values(["config_id", "seed", "update"], ignore_index=True)
        return Sweep(frame, self.fields, self.folder, complete=complete)

    def _frame(self) -> Frame:
        if not self.parts:
            return metrics.empty().assign(seconds=[], **{name: [] for name in self.fields})
        return pd.concat(self.parts, ignore_index=True)

    def _summary(self, found: Sweep, count: int) -> dict[str, Any]:
        return {
            "configurations": count,
            "runs": count * len(self.seeds),
            "runs_done": found.frame.groupby(["config_id", "seed"]).ngroups,
            "interrupted": not found.complete,
            # of the runs that this call has brought to an end, with what earlier ones have done of them
            "env_steps": self.steps,
            "steps_per_second": self.steps / self.seconds if self.seconds else 0.0,
            "compile_seconds": sum(program.compile_seconds for program in self.programs.values()),
            "run_seconds": self.seconds,
            **(peak_memory() if self.on is None else {}),  # what trains elsewhere takes its memory there
            "versions": runs.versions(),
        }


def _pair(point: Point) -> Pair:
    return point.values["config_id"], point.seed


def _updates(bucket: Bucket, share: float) -> int:
    """So many updates are this share of a run, at least one unless it is none."""
    return max(round(share * bucket.train.num_updates), int(share > 0))


# --- the folder -------------------------------------------------------------------------------------------------------


def make_plan(base: Base, seeds: Sequence[int], fields: Sequence[str], **searched: Any) -> dict[str, Any]:
    """What makes two sweeps the same, as JSON can hold it."""
    plan = {
        "env": base.env if isinstance(base.env, str) else runs.describe(type(base.env)),
        "env_own": None if isinstance(base.env, str) else runs.describe(base.env),
        "env_settings": runs.describe(base.env_settings),
        "env_params": runs.describe(base.env_params),
        "algo": runs.describe(base.learner),
        "bonus": runs.describe(base.bonus),
        "resets": runs.describe(base.resets),
        "visits": runs.describe(base.visits or False),
        "num_envs": base.num_envs,
        "total_steps": base.total_steps,
        "seeds": list(seeds),
        "fields": fields,
        **searched,
    }
    return json.loads(json.dumps(plan))
