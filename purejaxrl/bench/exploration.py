"""Every way to explore on every task of a suite: equal networks, budgets and grids, tuned on seeds of their own.

A *pair* is a method on a task. Its one searched number is tuned first, three values times two tuning seeds; then the
best value runs with the reporting seeds, which nothing was tuned on. All runs of a pair share one compiled program.

The folder: ``parts/TASK--METHOD.parquet`` with the metrics of the pair's runs and a ``.json`` with its exact
configuration, written whenever a few runs are done, so that the same call goes on where it was stopped; then
``results.parquet``, a row per run, and what :mod:`purejaxrl.bench.tables` makes of it.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from purejaxrl import envs, folders, metrics, runs
from purejaxrl.bench import parts, tables
from purejaxrl.bench.suites import METHODS, SUITES, Method, Task, make_bonus, make_learner
from purejaxrl.populations import Point, Program, Setup
from purejaxrl.progress import Progress
from purejaxrl.types import check_choice, check_int

Frame = Any  # pandas.DataFrame, whose type stubs know no difference between a column and a row
FORMAT = 2
TUNING_SEEDS = (1000, 1001)  # reporting seeds count from 0
NUMBERS = ("value", "env_steps", "num_episodes", "episode_return", "first_reward", "seconds")  # columns of a part
WINDOW = 0.05  # a run has solved its task when the mean return over this share of its updates is above the threshold


def part(folder: Path, task: str, method: str) -> Path:
    """The file of a method's runs on a task."""
    return folder / f"{task}--{method}.parquet"


class Pair:
    """A method on a task, with its part of the folder."""

    def __init__(self, task: Task, method: Method, num_seeds: int, folder: Path):
        self.task, self.method, self.num_seeds = task, method, num_seeds
        self.learner, self.bonus = make_learner(task, method), make_bonus(task, method)
        self.path = part(folder, task.name, method.name)
        self.config = {
            "format": FORMAT,
            "task": runs.describe(task),
            "method": runs.describe(method),
            "learner": runs.describe(self.learner),
            "bonus": runs.describe(self.bonus),
            "tuning_seeds": list(TUNING_SEEDS),
        }
        self.frame = parts.read(self.path, self.config, ["seed", "update"], NUMBERS, ["phase"])

    def missing(self) -> list[tuple[str, Point]]:
        """The runs to do next, each with its phase: of tuning, and once that is done of reporting."""
        values, reported = self.method.values, range(self.num_seeds)
        tuning = [("tuning", value, seed) for value in values for seed in TUNING_SEEDS]
        done = set(self.frame.groupby(["phase", "value", "seed"]).groups) if len(self.frame) else set()
        wanted = [run for run in tuning if run not in done]
        if not wanted:
            best = choose(self.frame)
            wanted = [run for seed in reported if (run := ("reporting", best, seed)) not in done]
        return [(phase, Point({self.method.field: value}, seed)) for phase, value, seed in wanted]

    def program(self) -> Program:
        env, env_params = self.task.make()
        cells = envs.cells(env)
        visits = None if cells is None else (cells.cell_fn, cells.num_cells)
        budget = self.task.num_envs, self.task.total_steps
        setup = Setup(env, env_params, self.learner, self.bonus, *budget, visits)
        return Program(setup, [self.method.field], max(self.num_seeds, len(self.method.values) * len(TUNING_SEEDS)))

    def add(self, phase: str, points: Sequence[Point], frame: Frame) -> None:
        """Keep these runs' metrics, in the folder too."""
        number = np.asarray(frame["point"])
        frame = frame.drop(columns="point").assign(
            phase=phase,
            value=np.asarray([point.values[self.method.field] for point in points])[number],
            seed=np.asarray([point.seed for point in points])[number],
        )
        self.frame = pd.concat([self.frame, frame], ignore_index=True)
        parts.write(self.path, self.config, self.frame)

    def results(self) -> Frame:
        """A row per run."""
        rows = []
        runs_of: Any = self.frame.groupby(["phase", "value", "seed"], sort=False)
        for (phase, value, seed), run in runs_of:
            steps = time_to_solve(run, self.task.threshold)
            final = final_return(run)
            row = {
                "task": self.task.name,
                "method": self.method.name,
                "phase": phase,
                "field": self.method.field,
                "value": value,
                "seed": seed,
                "final_return": final,
                "score": float(np.clip(final / self.task.best, 0.0, 1.0)),
                "solved": np.isfinite(steps),
                "steps_to_solve": steps,
                "first_reward": run["first_reward"].iloc[-1],
                "coverage": run["coverage"].iloc[-1] if "coverage" in run else np.nan,
                "visit_entropy": run["visit_entropy"].iloc[-1] if "visit_entropy" in run else np.nan,
                "rank_correlation": run.get("bonus_rank_correlation", pd.Series([np.nan])).mean(),
                "env_steps": run["env_steps"].iloc[-1],
                "seconds": run["seconds"].iloc[-1],
            }
            rows.append(row)
        return pd.DataFrame(rows)


def final_return(run: Frame) -> float:
    """Mean return of the episodes that ended in the last tenth of the updates; NaN if none did, or the run diverged."""
    if metrics.diverged(run).any():
        return np.nan
    last = run[run["update"] > run["update"].max() - max(run["update"].max() // 10, 1)]
    return metrics.mean(last, "episode_return")


def time_to_solve(run: Frame, threshold: float) -> float:
    """Environment steps until the mean return over a WINDOW of the updates was above the threshold; NaN: never."""
    run = run.sort_values("update")
    count = np.asarray(run["num_episodes"], float)
    total = np.where(count > 0, np.asarray(run["episode_return"]), 0.0) * count
    width = max(int(WINDOW * len(run)), 1)
    counts, totals = (np.convolve(values, np.ones(width))[: len(run)] for values in (count, total))
    above = (counts > 0) & (totals > threshold * counts)
    above[: width - 1] = False
    return float(run["env_steps"].iloc[int(np.argmax(above))]) if above.any() else np.nan


def choose(frame: Frame) -> float:
    """The value with the best mean final return over the tuning seeds, to a thousandth.

    Of equals the one with the best mean return over whole runs, then the middle one.
    """
    tuning = frame[frame["phase"] == "tuning"]
    values = list(dict.fromkeys(tuning["value"]))
    middle = len(values) // 2

    def quality(index: int) -> tuple:
        of_value = [run for _, run in tuning[tuning["value"] == values[index]].groupby("seed")]
        whole = [metrics.mean(run, "episode_return") for run in of_value]
        final = [final_return(run) for run in of_value]
        means = (float(np.nan_to_num(np.mean(found), nan=-np.inf)) for found in (final, whole))
        return *(round(mean, 3) for mean in means), index == middle

    return float(values[max(range(len(values)), key=quality)])


def run(
    out: Path,
    progress: Progress,
    *,
    suite: str = "small",
    methods: Sequence[str] = (),
    tasks: Sequence[str] = (),
    num_seeds: int = 10,
) -> tuple[Frame, runs.Interrupt]:
    """Run what is missing in the folder `out`, write tables and figures of all that is there.

    Args:
      out: the folder, new or of an earlier call with the same suite, which goes on.
      progress: where to show what is going on.
      suite: "small", "noisy" or "full".
      methods: only these; all by default.
      tasks: only these of the suite; all by default.
      num_seeds: reporting seeds.

    Returns:
      The results, a row per run, and the interrupt (Ctrl-C or SIGTERM), which is set where they are not all there: it
      loses the runs under way and no others.

    Raises:
      SettingError: where a name is wrong, or `out` holds runs of another configuration.
    """
    check_choice(suite, list(SUITES), "suite")
    check_int(num_seeds, "seeds", ge=1, le=min(TUNING_SEEDS))
    known_tasks = {task.name: task for task in SUITES[suite]}
    known_methods = {method.name: method for method in METHODS}
    for name in tasks:
        check_choice(name, list(known_tasks), "tasks")
    for name in methods:
        check_choice(name, list(known_methods), "methods")
    folder = parts.folder(out, "tuning_seeds")
    with folders.locked(out):
        folder.mkdir(parents=True, exist_ok=True)
        asked = set(itertools.product(tasks or known_tasks, methods or known_methods))
        every = [
            Pair(known_tasks[task], known_methods[method], num_seeds, folder)
            for task, method in itertools.product(known_tasks, known_methods)
            if (task, method) in asked or part(folder, task, method).exists()
        ]
        pairs = [pair for pair in every if (pair.task.name, pair.method.name) in asked]
        with runs.interruptible() as interrupted, progress:
            left = [_runs_left(pair) * pair.task.total_steps for pair in pairs]
            with progress.training(sum(left)):
                for number, pair in enumerate(pairs):
                    _run_pair(pair, progress, interrupted)
                    if interrupted.is_set():
                        break
                    progress.say(f"{number + 1} of {len(pairs)}: {tables.in_one_line(pair.results(), pair.task)}")
        found = [pair for pair in every if not pair.frame.empty]
        if not found:
            return pd.DataFrame(), interrupted
        results = pd.concat([pair.results() for pair in found], ignore_index=True)
        flags = [f"--{name} {' '.join(chosen)}" for name, chosen in (("methods", methods), ("tasks", tasks)) if chosen]
        flags = [f"--suite {suite}", *flags, f"--seeds {num_seeds}", f"--out {shlex.quote(str(out))}"]
        command = " ".join(["purejaxrl bench exploration", *flags])
        tables.write(out, results, found, command)
        return results, interrupted


def _runs_left(pair: Pair) -> int:
    """How many runs the pair still needs; until it is tuned, all of reporting."""
    missing = pair.missing()
    return len(missing) + (pair.num_seeds if missing and missing[0][0] == "tuning" else 0)


def _run_pair(pair: Pair, progress: Progress, interrupted: Any) -> None:
    program = pair.program()
    while (missing := pair.missing()) and not interrupted.is_set():
        phase = missing[0][0]
        for points, frame, _ in program.run([point for _, point in missing], progress, interrupted):
            pair.add(phase, points, frame)
