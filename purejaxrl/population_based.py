"""Population-based training (Jaderberg et al. 2017, arXiv:1711.09846): settings that change while their runs train.

A population's members are lanes of one program. After each interval the worst go on from the states of the best, a
gather over lanes, with the settings of those, perturbed. What comes out is a trained member and its schedule.

The folder: ``pbt.json``, what is trained; ``metrics.parquet``, a row per member and update with its settings then;
``state-*``, where every member is, the last two checkpoints; ``lock``, held by whoever is at work there.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from purejaxrl import checkpoint, files, folders, metrics, processes, runs, search, sweeps
from purejaxrl.lanes import Lanes, lane_keys
from purejaxrl.populations import SAVE_SECONDS, Program
from purejaxrl.progress import Progress
from purejaxrl.search import MOST_RUNS, LogUniform, Uniform, check_fields
from purejaxrl.trackers import Tracker, check_trackers, closing, tell
from purejaxrl.types import SettingError, check_int, check_new_path, check_number, shown

Frame = Any  # pandas.DataFrame, whose type stubs know no difference between a column and a row
PLAN = "pbt.json"
KEY = ["seed", "config_id", "update"]  # of a row


@dataclasses.dataclass
class Population:
    """What came of it. `frame` has a row per `seed` (a population), `config_id` (a member) and `update`.

    `fields` are the searched ones, whose values change from interval to interval; `parent` is the member from whose
    state this one went on at the begin of the interval, most often itself.
    """

    frame: Frame
    fields: list[str]
    interval: int  # updates
    out: Path | None = None
    complete: bool = True  # False after an interrupt

    def scores(self) -> Frame:
        """A row per member and interval: `seed, config_id, interval` (from 0), `env_steps` by its end, the member's
        settings in it, `parent`, and `score`, by which members are ranked, -inf where no episode ended.

        A last interval that is shorter than the others is scored with what its parent did before it: by as many
        updates as they have.
        """
        if self.frame.empty:
            raise SettingError("the population has no results yet")
        key = ["seed", "config_id", "interval"]
        rows = self.frame.assign(interval=(self.frame["update"] - 1) // self.interval)
        found = rows.groupby(key)[["env_steps", *self.fields, "parent"]].last()
        judged = pd.concat([rows, self._before_a_short_end(rows)]).groupby(key)
        return found.assign(score=[_score(of) for _, of in judged]).reset_index()

    def _before_a_short_end(self, rows: Frame) -> Frame:
        """Of each member's parent in a last interval that is too short, the rows that are missing to a whole one."""
        updates = rows["update"]
        end, short = updates.max(), updates.max() % self.interval
        if not short:
            return rows.iloc[:0]
        last = rows.loc[updates == end, ["seed", "config_id", "parent", "interval"]]
        before = rows[(updates > end - self.interval) & (updates <= end - short)].drop(columns=["parent", "interval"])
        return last.merge(before.rename(columns={"config_id": "parent"}), on=["seed", "parent"])

    def best(self) -> Frame:
        """Every member after the last interval, best first: `seed, config_id`, its settings then, `score`."""
        found = self.scores()
        last = found[found["interval"] == found["interval"].max()]
        columns = ["seed", "config_id", *self.fields, "score"]
        return last[columns].sort_values("score", ascending=False, kind="stable", ignore_index=True)

    def schedule(self, seed: int = 0) -> Frame:
        """The way of the best member of a population: the rows of it and of its ancestors, in the order of updates."""
        ranked = self.best()
        ranked = ranked[ranked["seed"] == seed]
        if ranked.empty:
            raise SettingError(f"seed must be one of {sorted(set(self.frame['seed']))}, got {seed}")
        member, rows = ranked["config_id"].iloc[0], []
        of_seed = self.frame[self.frame["seed"] == seed]
        for start in range((of_seed["update"].max() - 1) // self.interval * self.interval, -1, -self.interval):
            updates = of_seed["update"]
            span = (updates > start) & (updates <= start + self.interval) & (of_seed["config_id"] == member)
            rows.append(of_seed[span])
            member = rows[-1]["parent"].iloc[0]
        return pd.concat(rows[::-1], ignore_index=True)


def pbt(
    env: Any,
    learner: Any,
    *,
    search: Mapping[str, Any],
    num_envs: int,
    total_steps: int,
    interval: int,
    members: int = 16,
    seeds: int = 1,
    bonus: Any = None,
    env_params: Any = None,
    env_settings: Mapping[str, Any] | None = None,
    quantile: float = 0.25,
    perturb: float = 1.25,
    resample: float = 0.25,
    visits: Any = False,
    resets: Any = None,
    out: str | os.PathLike | None = None,
    trackers: Sequence[Tracker] = (),
    progress: Progress | None = None,
) -> Population:
    """Train populations whose members learn from each other which settings are good, and when.

    ``pbt("DeepSea-bsuite", PPO(), bonus=RND(), search={"bonus.coef": LogUniform(0.01, 10)}, interval=20_000,
    num_envs=32, total_steps=400_000)``. With `out`, the same call goes on where it was stopped, with the same results.

    Args:
      env, learner, bonus, env_params, env_settings, num_envs, total_steps, visits, resets: as for
        :func:`purejaxrl.sweep`; the steps are those of each member.
      search: numbers of the components by their dotted names, with distributions of :mod:`purejaxrl.search` or lists.
      interval: environment steps of each member between two exchanges, rounded down to whole updates.
      members: of each population.
      seeds: how many populations, which have nothing to do with each other.
      quantile: the share of the members that goes on from as many of the best, chosen at random ("truncation").
      perturb: a setting that was taken over is multiplied or divided by this, within its range; of a list it is the
        next or the one before.
      resample: instead it is drawn anew with this probability.
      out: the folder; None keeps the results in memory alone.
      trackers: where metrics go, too, as they come: :mod:`purejaxrl.trackers`, or one's own.
      progress: where to show what is going on; None: on stderr.

    Raises:
      SettingError: (a ValueError) where a setting is wrong, or `out` is of something else, before anything runs.
    """
    processes.check_alone("pbt")
    for value, label, least in ((members, "members", 2), (seeds, "seeds", 1), (interval, "interval", 1)):
        check_int(value, label, ge=least)
    check_number(quantile, "quantile", gt=0, le=0.5)
    check_number(perturb, "perturb", gt=1)
    check_number(resample, "resample", ge=0, le=1)
    if members * seeds > MOST_RUNS:
        raise SettingError(
            f"members: {members:,} of {seeds:,} populations are more than {MOST_RUNS:,} runs: take fewer"
        )
    if not isinstance(search, Mapping) or not search:
        raise SettingError(f"search must map fields to distributions or lists, got {shown(search)}")
    check_fields(search)
    check_trackers(trackers)
    folder = None if out is None else check_new_path(out, "out")
    base = sweeps.make_base(env, env_params, env_settings, learner, bonus, num_envs, total_steps, visits, resets)
    rules = quantile, perturb, resample
    run = _Run(base, dict(search), members, seeds, interval, rules, trackers, progress or Progress())
    if folder is None:
        return run.all(None)
    with folders.held(folder, PLAN, run.plan()):
        return run.all(folder)


def read(out: str | os.PathLike) -> Population:
    """What a population's folder holds so far.

    Raises:
      SettingError: where it is of something else, or damaged.
    """
    folder = Path(out)
    files.check_contents(folder)
    plan, path = folders.read(folder, PLAN), folder / metrics.FILE
    fields, numbers = plan["fields"], [plan.get(name) for name in ("interval", "total_steps")]
    if not isinstance(fields, list) or not all(isinstance(one, int) and one > 0 for one in numbers):
        raise SettingError(f"{folder / PLAN} is damaged: it has no fields, interval or total_steps")
    steps, total = (int(one) for one in numbers if one)
    frame: Frame = metrics.load(folder).sort_values(KEY, ignore_index=True)
    try:
        files.check_columns(frame, ("env_steps", "parent"), fields)
    except ValueError as error:
        raise SettingError(f"{path} is damaged: {error}") from None
    seeds, members, updates = (int(frame[name].nunique()) for name in KEY)
    whole = len(frame) == seeds * members * updates > 0 and frame["parent"].between(0, members - 1).all()
    if whole:
        key = pd.MultiIndex.from_product([frame["seed"].unique(), range(members), range(1, updates + 1)])
        whole = frame.set_index(KEY).index.equals(key)
    if not whole:
        raise SettingError(f"{path} is damaged: rows of a member are missing, or it goes on from none")
    taken = frame["env_steps"].to_numpy()[:updates]
    per_update = int(np.diff(taken).max(initial=1)) if updates > 1 else int(taken[0])
    done = bool(taken[-1] + per_update > total)
    return Population(frame, fields, max(steps // max(per_update, 1), 1), folder, done)


class _Run:
    """One call's work."""

    def __init__(self, base, space, members, seeds, interval, rules, trackers, progress):
        self.base, self.space, self.members, self.seeds = base, space, members, seeds
        self.quantile, self.perturb, self.resample = rules
        self.trackers, self.progress, self.fields = trackers, progress, list(space)
        self.setup = base.setup({})
        self.setup.check(self.fields)
        for corner in search.corners(space):
            self.setup.check_values(corner)
        train = self.setup.bind(self.setup.components, {})
        self.interval, self.steps = max(interval // (base.num_envs * train.spec.num_steps), 1), interval
        self.num_updates = train.num_updates
        self.lane_seeds = np.repeat(np.arange(seeds), members)
        self.lane_members = np.tile(np.arange(members), seeds)
        if self.interval >= self.num_updates:
            raise SettingError(f"interval must be less than total_steps, got {interval:,} of {train.env_steps:,}")

    def plan(self) -> dict[str, Any]:
        """What makes two calls the same."""
        own = {"members": self.members, "interval": self.steps, "quantile": self.quantile}
        own |= {"perturb": self.perturb, "resample": self.resample, "search": runs.describe(self.space)}
        return sweeps.make_plan(self.base, range(self.seeds), self.fields, **own)

    def all(self, folder: Path | None) -> Population:
        count, num_updates = self.seeds * self.members, self.num_updates
        told = closing(self.trackers, self.progress.say)
        with runs.interruptible() as interrupted, told as trackers, self.progress:
            lanes = Program(self.setup, self.fields, count, num_lanes=count).lanes(self.progress)
            if lanes.num_lanes < count:
                raise SettingError(
                    f"members: {count} lanes at once need more memory than there is: lower members, seeds, num_envs or "
                    "the sizes of buffers and networks"
                )
            frame, values, parents = self._begin(lanes, folder)
            frames, saved = [frame], time.monotonic()
            per_update = lanes.per_update // lanes.num_lanes * count
            with self.progress.training((num_updates - lanes.done) * per_update):
                while lanes.done < num_updates and not interrupted.is_set():
                    if lanes.done and lanes.done % self.interval == 0:
                        frames = [pd.concat(frames, ignore_index=True)]
                        values, parents = self._exchange(lanes, frames[0], values)
                    before, end = lanes.done, min((lanes.done // self.interval + 1) * self.interval, num_updates)
                    found = lanes.advance(self._own(lanes, values), end)
                    found = {name: rows[:count] for name, rows in found.items()}
                    new = metrics.frame(found, range(count), first_update=before + 1)
                    frames.append(self._labelled(new, values, parents))
                    self.progress.advance((lanes.done - before) * per_update, new)
                    tell(trackers, frames[-1], self.fields, self.progress.say)
                    if folder and time.monotonic() - saved > SAVE_SECONDS:
                        try:
                            self._save(lanes, frames, folder)
                        except (OSError, SettingError) as error:  # the last one has to succeed
                            self.progress.warn(f"could not save ({error}); what was saved before stays")
                        saved = time.monotonic()
            if folder and lanes.done:
                self._save(lanes, frames, folder)
        frame = pd.concat(frames, ignore_index=True)
        if not frame.empty:  # interrupted before its first update
            frame = frame.sort_values(KEY, ignore_index=True)
        return Population(frame, self.fields, self.interval, folder, lanes.done == num_updates)

    def _begin(self, lanes: Lanes, folder: Path | None) -> tuple[Frame, Frame, np.ndarray]:
        """The metrics so far, each lane's settings and parent, with the lanes where the folder has them or at begin."""
        for left in folder.glob(".state-*.tmp") if folder else []:  # of a process that was killed as it saved
            shutil.rmtree(left)
        unusable: list[Path] = []
        for path in _states(folder) if folder else []:
            like = {"done": np.zeros((), np.int64), "lanes": lanes.example}
            try:
                saved = checkpoint.restore(path, like)
            except checkpoint.CheckpointError as error:
                self.progress.warn(str(error))
                unusable.append(path)
                continue
            for damaged in unusable:
                checkpoint.put_aside(damaged)
                self.progress.warn(f"{damaged.name} is put aside: going on from {path.name}")
            lanes.place(saved["lanes"], int(saved["done"]))
            frame: Frame = metrics.load(path.parent)
            frame = frame[frame["update"] <= lanes.done]
            now: Frame = frame[frame["update"] == lanes.done].sort_values(["seed", "config_id"])
            if len(now) != len(self.lane_members) or not {*self.fields, "parent"} <= {*now.columns}:
                raise SettingError(f"{path.parent / metrics.FILE} does not go with {path.name}: give another folder")
            return frame, now[self.fields].reset_index(drop=True), now["parent"].to_numpy()
        if unusable:
            raise checkpoint.CheckpointError(f"{folder}: nothing saved there can be used; give another folder")
        drawn = [one for seed in range(self.seeds) for one in search.draw(self.space, self.members, seed)]
        values = pd.DataFrame(drawn, columns=self.fields)
        lanes.begin(self._own(lanes, values), lane_keys(np.arange(lanes.num_lanes)))
        return pd.DataFrame(), values, self.lane_members

    def _own(self, lanes: Lanes, values: Frame) -> dict[str, np.ndarray]:
        """The lanes' numbers; what is more than members is there to fill the devices, and repeats the last."""
        rows = np.minimum(np.arange(lanes.num_lanes), len(values) - 1)
        return {name: values[name].to_numpy()[rows].astype(self.setup.dtype(name)) for name in self.fields}

    def _labelled(self, frame: Frame, values: Frame, parents: np.ndarray) -> Frame:
        lane = frame["seed"].to_numpy()
        columns = {
            "config_id": self.lane_members[lane],
            **{name: values[name].to_numpy()[lane] for name in self.fields},
        }
        columns |= {"seed": self.lane_seeds[lane], "parent": parents[lane]}
        return pd.concat([pd.DataFrame(columns), frame.drop(columns=["seed", "config_id"])], axis=1)

    def _exchange(self, lanes: Lanes, frame: Frame, values: Frame) -> tuple[Frame, np.ndarray]:
        """Let the worst go on from the best: their states, and their settings, changed."""
        last = frame[frame["update"] > lanes.done - self.interval]
        scores = np.asarray([_score(of) for _, of in last.groupby(["seed", "config_id"], sort=True)])
        silent = [seed for seed in range(self.seeds) if not np.isfinite(scores[self.lane_seeds == seed]).any()]
        if silent:
            span = f"updates {lanes.done - self.interval + 1} to {lanes.done}"
            of = f" in population {', '.join(map(str, silent))}" if self.seeds > 1 else ""
            why = "no episode ended, or all members diverged"
            self.progress.warn(f"{span}{of}: {why}, so that nobody goes on from another; raise interval")
        source, values = np.arange(lanes.num_lanes), values.copy()
        count = max(int(self.quantile * self.members), 1)
        for seed in range(self.seeds):
            generator = np.random.default_rng([seed, lanes.done])
            of_seed = np.flatnonzero(self.lane_seeds == seed)
            ranked = of_seed[np.argsort(scores[of_seed], kind="stable")]
            for worst, best in zip(ranked[:count], generator.choice(ranked[-count:], count), strict=True):
                if scores[best] > scores[worst]:
                    source[worst] = best
                    values.loc[worst] = [self._explored(name, values[name][best], generator) for name in self.fields]
        lanes.gather(source)
        return values, self.lane_members[source[: len(values)]]

    def _explored(self, name: str, value: float, generator: np.random.Generator) -> float:
        """A member's setting as one that follows it has it."""
        space, anew, up = self.space[name], generator.random() < self.resample, generator.random() < 0.5
        if isinstance(space, (Uniform, LogUniform)):
            changed = space.draw(generator, 1)[0] if anew else value * self.perturb if up else value / self.perturb
            return float(np.clip(changed, space.low, space.high))
        listed = list(getattr(space, "values", space))
        if anew:
            return listed[generator.integers(len(listed))]
        return listed[int(np.clip(listed.index(value) + (1 if up else -1), 0, len(listed) - 1))]

    def _save(self, lanes: Lanes, frames: list[Frame], folder: Path) -> None:
        """Metrics first: what they have beyond the newest state is left out when it goes on."""
        metrics.write(folder, pd.concat(frames, ignore_index=True))
        path, before = folder / f"state-{lanes.done:07d}", _states(folder)
        if path not in before:
            checkpoint.save(path, {"done": np.asarray(lanes.done, np.int64), "lanes": lanes.state})
            for old in before[1:]:
                shutil.rmtree(old)


def _states(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the newest first."""
    found = [path for path in folder.glob("state-*") if path.name.removeprefix("state-").isdecimal()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("state-")), reverse=True)


def _score(of: Frame) -> float:
    """The mean return of the episodes that ended in an interval; where none did, or it diverged, less than any."""
    found = metrics.mean(of, "episode_return")
    return found if np.isfinite(found) and not metrics.diverged(of).any() else -np.inf
