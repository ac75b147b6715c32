"""Deep exploration on tasks that random actions do not solve: DeepSea size by size, and MiniGrid's hardest tasks.

A *piece* is a method on a task: its seeds train as lanes of one program, and the ends of their episodes are counted
exactly. DeepSea is judged as bsuite does, and a seed of it is done once it has solved its size.

The folder: ``parts/METHOD--TASK.parquet`` with a curve of each seed and what came of it, and a ``.json`` with the exact
configuration, written as seeds are done, and ``under-way`` with what is not: the same call goes on there, and calls
with other methods or tasks join it. ``results.parquet`` has a row per method, task and seed;
:mod:`purejaxrl.bench.deep_figures` shows them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from purejaxrl import envs, folders, metrics, runs
from purejaxrl.bench import bsuite, deep_figures, parts
from purejaxrl.bench.deep_methods import DEEPSEA, GRIDS, MINIGRID
from purejaxrl.bench.exploration import WINDOW, final_return
from purejaxrl.lanes import Lanes, lane_keys
from purejaxrl.populations import UNDER_WAY, Point, UnderWay
from purejaxrl.progress import Progress
from purejaxrl.train import Train, make_train
from purejaxrl.types import LARGEST_INT, Array, SettingError, check_choice, check_int

Frame = parts.Frame
FORMAT = 1
POINTS = 500  # of each seed's curve at most
LUCK = 0.1  # share of good episodes in the last tenth, up to which an early success was luck
LOOKS = 100  # times that DeepSea is looked at whether it may end
MOST_SEEDS = 1000  # as of the other benchmark
SHARE = 0.9  # a task of MiniGrid is solved when over a WINDOW of the updates so many of the episodes were successful
ROWS = ["method", "task", "size", "seed", "solved", "episodes_to_solve", "steps_to_solve", "final_success"]
ROWS += ["final_return", "episodes", "env_steps", "seconds", "compile_seconds"]
# Of a part, whose rows are those of the curves with what came of each seed.
WORDS = ("method", "task")
INTEGERS = ("seed", "size", "update", "env_steps")
NUMBERS = (*(name for name in ROWS if name not in WORDS + INTEGERS), "success", "episode_return")


class Counted(Train):
    """A run whose metrics have the ends of its episodes, exactly: how many `good` and `bad` ones there were so far."""

    def __init__(self, train: Train):
        vars(self).update(vars(train))

    def advance(self, state: Any, num_updates: int) -> tuple[Any, dict[str, Array]]:
        def one(state, _):
            state, found = Train.advance(self, state, 1)
            kept = {name: found[name][0] for name in (*metrics.NUMBERS, "nonfinite")}
            return state, kept | {"good": state.visits[0], "bad": state.visits[1]}

        return jax.lax.scan(one, state, length=num_updates)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A method on a task."""

    method: str
    task: str
    size: int  # N of DeepSea, the larger side of a grid
    env: Any
    learner: Any
    bonus: Any
    num_envs: int
    total_steps: int
    # Of how many episodes were good and bad so far, after every update, and of the number of updates in the whole
    # budget: the update after which the task was solved, counted from 0; None where it never was.
    solved: Callable[[np.ndarray, np.ndarray, int], int | None]
    stops: bool  # a seed does once it has solved the task, and not by luck alone
    budget: Mapping[str, Any]  # what the whole folder has in common

    @property
    def name(self) -> str:
        return f"{self.method}--{self.task}"

    @property
    def config(self) -> dict[str, Any]:
        """What the results depend on, but for the seeds."""
        same = ("method", "task", "size", "num_envs", "total_steps")
        described = {"learner": runs.describe(self.learner), "bonus": runs.describe(self.bonus)}
        return {"format": FORMAT, "budget": self.budget, **{name: getattr(self, name) for name in same}, **described}

    def bind(self, components: tuple[Any, Any, Any] | None = None) -> Counted:
        """The run; `components`, whose numbers may be traced, replace learner, bonus and environment's parameters."""
        learner, bonus, env_params = components or (self.learner, self.bonus, None)
        settings = {"num_envs": self.num_envs, "total_steps": self.total_steps, "env_params": env_params}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a budget is rounded down to whole updates: `env_steps` says so
            return Counted(make_train(self.env, learner, bonus=bonus, visits=self.env.outcomes()[:2], **settings))

    def train(self, seeds: Sequence[int], progress: Progress, interrupted: Any, out: Path) -> Iterator[Frame]:
        """Train these seeds, as many at a time as go together: the curve of each, with what came of it.

        An interrupt ends it. Those under way are saved now and then in the folder `out`, where the same call goes on.
        """
        train = self.bind()
        # A seed that is done frees its device for the next; and replayed samples of several lanes are slow on CPUs.
        alone = self.stops and jax.default_backend() == "cpu"
        num_lanes = min(len(jax.devices()), len(seeds)) if alone else len(seeds)
        chunk_updates = max(train.num_updates // LOOKS, 1) if self.stops else None
        components = self.learner, self.bonus, train.env_params
        with progress.phase(f"tracing {self.name}"):
            lanes = Lanes(
                train,
                lambda components, _: self.bind(components),
                components,
                (),
                num_lanes,
                chunk_updates=chunk_updates,
            )
        lanes.compile(progress)
        for start in range(0, len(seeds), num_lanes):
            found = self._train(lanes, seeds[start : start + num_lanes], progress, interrupted, out)
            if found.empty:
                return
            yield found.assign(compile_seconds=0.0 if start else lanes.compile_seconds)  # once for all of them

    def _train(self, lanes: Lanes, seeds: Sequence[int], progress: Progress, interrupted: Any, out: Path) -> Frame:
        num_updates, steps = lanes.train.num_updates, lanes.per_update * len(seeds) // lanes.num_lanes  # of an update
        points = [Point({"config_id": self.name, "config": json.dumps(self.config)}, seed) for seed in seeds]
        under_way, start = UnderWay(out / UNDER_WAY, points, 0, lanes.num_lanes), lanes.run_seconds
        curves: dict[int, Frame] = {}  # of the seeds that are done

        def look(until: int) -> None:
            """Find who is done, when so many updates are."""
            so_far = pd.concat(found, ignore_index=True)
            for seed in set(seeds) - curves.keys():
                run = so_far[(so_far["seed"] == seed) & (so_far["update"] <= until)]
                row = outcome(run, self.solved(*ends(run), num_updates))
                if until == num_updates or (row["solved"] and row["final_success"] > LUCK):
                    curves[seed] = curve(run).assign(**row)

        if (saved := under_way.load(lanes)) is not None:
            progress.advance(lanes.done * steps, saved)
            start -= float(saved["seconds"].to_numpy()[0])
            found = [saved.drop(columns="seconds")]
            for until in range(lanes.chunk, lanes.done + 1, lanes.chunk) if self.stops else ():
                look(until)
        else:
            lanes.begin((), lane_keys([*seeds, *[seeds[-1]] * (lanes.num_lanes - len(seeds))]))
            found = []
        while len(curves) < len(seeds):
            stopped = interrupted.is_set()
            under_way.save(lanes, found, lanes.run_seconds - start, now=stopped)
            if stopped:
                return pd.DataFrame()
            first = lanes.done + 1
            rows = {name: values[: len(seeds)] for name, values in lanes.advance(()).items()}
            found.append(metrics.frame(rows, seeds, first_update=first))
            progress.advance((lanes.done + 1 - first) * steps, found[-1])
            if self.stops or lanes.done == num_updates:
                look(lanes.done)
        progress.advance((num_updates - lanes.done) * steps)  # what need not be run
        under_way.clear()
        same: Any = {"method": self.method, "task": self.task, "size": self.size, "seconds": lanes.run_seconds - start}
        return pd.concat([curves[seed] for seed in seeds]).assign(**same)


@dataclasses.dataclass(frozen=True)
class Study:
    """One of the two commands."""

    name: str
    methods: Mapping[str, Any]  # the recommended one first
    key: str  # the column that tells tasks apart, the second argument of `piece`
    piece: Callable[[str, Any], Piece]
    budget: Mapping[str, Any]


def deepsea(episodes: int = bsuite.DEEP_SEA_EPISODES, *, stochastic: bool = False) -> Study:
    """DeepSea with bsuite's own action mapping, for so many episodes at most."""
    check_int(episodes, "episodes", ge=100 if stochastic else 1)  # bsuite looks at no fewer there
    budget = {"study": "deepsea", "episodes": episodes, "stochastic": stochastic}

    def solved(good: np.ndarray, bad: np.ndarray, num_updates: int) -> int | None:
        del num_updates
        episode = bsuite.deep_sea_solved(bad, good + bad, stochastic=stochastic, within=episodes)
        return None if np.isnan(episode) else int(np.argmax(good + bad == episode))

    def piece(method: str, size: int) -> Piece:
        env = envs.BsuiteDeepSea(size, deterministic=not stochastic)
        learner, bonus, num_envs = DEEPSEA[method](size)
        check_int(episodes, "episodes", ge=math.ceil(num_envs * learner.num_steps / size), le=LARGEST_INT // size)
        env = envs.IndexObservation(env) if bonus is None else env  # bonuses hash what they see
        name = f"deepsea{'_stochastic' * stochastic}-{size}"
        return Piece(
            method, name, size, env, learner, bonus, num_envs, episodes * size, solved, stops=True, budget=budget
        )

    return Study("deepsea", DEEPSEA, "size", piece, budget)


def minigrid() -> Study:
    """MiniGrid's tasks, each with its budget; the policy is shown the view one-hot and the direction."""
    budget = {"study": "minigrid", "window": WINDOW, "share": SHARE}

    def piece(method: str, task: str) -> Piece:
        check_choice(task, list(GRIDS), "tasks")
        env, _ = envs.make(task, observation="one_hot", direction=True)
        learner, bonus = MINIGRID[method](GRIDS[task])
        size, grid, limit = max(env.height, env.width), GRIDS[task], math.ceil(env.max_steps / learner.num_steps)
        solved = functools.partial(succeeds, least=limit)
        env = envs.Outcomes(envs.FlattenObservation(env))
        return Piece(
            method, task, size, env, learner, bonus, grid.num_envs, grid.frames, solved, stops=False, budget=budget
        )

    return Study("minigrid", MINIGRID, "task", piece, budget)


def succeeds(good: np.ndarray, bad: np.ndarray, num_updates: int, *, least: int = 1) -> int | None:
    """The first update after which, over a WINDOW of all, at least a SHARE of the episodes was good.

    The window has at least so many updates: environments that start together reach their time limit together, and
    between two such moments nothing but successes ends.
    """
    width = max(int(WINDOW * num_updates), least)
    if len(good) < width:
        return None
    won, lost = (np.r_[0, count][width:] - np.r_[0, count][:-width] for count in (good, bad))
    above = (won + lost > 0) & (won >= SHARE * (won + lost))
    return int(np.argmax(above)) + width - 1 if above.any() else None


def ends(run: Frame) -> tuple[np.ndarray, np.ndarray]:
    """How many good and bad episodes there were after each update of a seed."""
    return np.asarray(run["good"], np.int64), np.asarray(run["bad"], np.int64)


def outcome(run: Frame, index: int | None) -> dict[str, Any]:
    """What came of a seed's run, which was solved after the update with this index."""
    good, bad = (np.r_[0, count] for count in ends(run))
    last = max(len(run) // 10, 1)  # updates, the final ones
    won, lost = good[-1] - good[-1 - last], bad[-1] - bad[-1 - last]
    return {
        "solved": index is not None,
        "episodes_to_solve": np.nan if index is None else float(good[index + 1] + bad[index + 1]),
        "steps_to_solve": np.nan if index is None else float(run["env_steps"].iloc[index]),
        "final_success": won / (won + lost) if won + lost else np.nan,
        "final_return": final_return(run),
    }


def curve(run: Frame) -> Frame:
    """A seed's updates in at most POINTS groups of equal length: the last one's counters, means over its episodes."""
    count = len(run)
    starts = np.flatnonzero(np.diff(np.arange(count) * POINTS // max(count, POINTS), prepend=-1))
    last = run.iloc[np.r_[starts[1:], count] - 1]
    good, bad = ends(last)
    weights = np.asarray(run["num_episodes"], float)
    totals = np.add.reduceat(np.where(weights > 0, run["episode_return"], 0.0) * weights, starts)
    won, ended = np.diff(good, prepend=0), np.diff(good + bad, prepend=0)
    with np.errstate(invalid="ignore"):
        means = {"success": won / ended, "episode_return": totals / np.add.reduceat(weights, starts)}
    kept = {name: np.asarray(last[name]) for name in ("seed", "update", "env_steps")}
    return pd.DataFrame(kept | {"episodes": good + bad, **means})


def run(
    out: Path,
    progress: Progress,
    study: Study,
    keys: Sequence[Any],
    *,
    methods: Sequence[str] = (),
    num_seeds: int = 10,
) -> tuple[Frame, runs.Interrupt]:
    """Run what is missing in the folder `out`, write the table and figures of all that is there.

    Args:
      out: the folder, new or of an earlier call with the same budget, which goes on.
      progress: where to show what is going on.
      study: of :func:`deepsea` or :func:`minigrid`.
      keys: sizes, or tasks.
      methods: these; the recommended one by default.
      num_seeds: from 0 on.

    Returns:
      The results, a row per method, task and seed, and the interrupt (Ctrl-C or SIGTERM), which is set where not all
      that was asked for is there. What is under way is saved then, and every minute.

    Raises:
      SettingError: where a name is wrong, or `out` holds something else or another configuration.
    """
    check_int(num_seeds, "seeds", ge=1, le=MOST_SEEDS)
    if not keys:
        raise SettingError(f"{study.key}s: name at least one")
    for method in methods:
        check_choice(method, list(study.methods), "method")
    pieces = [study.piece(method, key) for key in keys for method in (methods or list(study.methods)[:1])]
    pieces = {piece.name: piece for piece in pieces}
    steps = {name: piece.bind().env_steps for name, piece in pieces.items()}  # and all settings fit
    folder = parts.folder(out, "budget")
    with folders.locked(out):
        folder.mkdir(exist_ok=True)
        held = {path.stem: (path, _held(path, study)) for path in sorted(folder.glob("*.parquet"))}
        frames = {
            name: parts.read(path, piece.config, INTEGERS, NUMBERS, WORDS) for name, (path, piece) in held.items()
        }
        done = {name: set(frame["seed"]) for name, frame in frames.items()}
        missing = {name: [seed for seed in range(num_seeds) if seed not in done.get(name, ())] for name in pieces}
        work = {name: seeds for name, seeds in missing.items() if seeds}
        total = sum(steps[name] * len(seeds) for name, seeds in work.items())
        with runs.interruptible() as interrupted, progress, progress.training(total):
            for number, (name, seeds) in enumerate(work.items()):
                if interrupted.is_set():
                    break
                for found in pieces[name].train(seeds, progress, interrupted, out):
                    frames[name] = pd.concat([frames[name], found], ignore_index=True) if name in frames else found
                    parts.write(folder / f"{name}.parquet", pieces[name].config, frames[name])
                if name not in frames or not set(seeds) <= set(frames[name]["seed"]):
                    break
                progress.say(f"{number + 1} of {len(work)}: {deep_figures.in_one_line(results([frames[name]]))}")
        with contextlib.suppress(OSError):
            (out / UNDER_WAY).rmdir()  # where nothing is
        found = results(frames.values())
        if not found.empty:
            deep_figures.write(out, study.name, found, pd.concat(frames.values(), ignore_index=True))
        return found, interrupted


def _held(path: Path, study: Study) -> Piece:
    """The piece that a part of the folder is of."""
    config = parts.read_config(path)
    if config.get("budget") != dict(study.budget):
        raise SettingError(f"{path} has another budget than {dict(study.budget)}: give another --out")
    method, key = config.get("method"), config.get(study.key)
    try:
        return study.piece(str(method), key)
    except Exception:  # whatever a key that is none leads to
        raise SettingError(f"{path} is of {method} on {key}, which there is no more: give another --out") from None


def results(frames: Iterable[Frame]) -> Frame:
    """A row per method, task and seed of these curves."""
    rows = [frame.drop_duplicates("seed", keep="last")[ROWS] for frame in frames]
    found = pd.concat(rows) if rows else pd.DataFrame(columns=pd.Index(ROWS))
    return found.sort_values(["size", "task", "method", "seed"], ignore_index=True)
