"""A run's folder being filled: chunks of updates with progress, saves, signals and faults between them.

Whatever ends a run, its folder can be read, and :func:`resume` goes on from the newest checkpoint that is whole, with
the same results to the bit. A checkpoint stands for itself: it holds the metrics and the config that belong to it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import shutil
import time
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from purejaxrl import checkpoint, files, folders, metrics, populations, processes, replay, runs
from purejaxrl.lanes import Lanes, finite, lane_keys
from purejaxrl.progress import Progress
from purejaxrl.runs import Components, Config, Reached
from purejaxrl.search import MOST_RUNS
from purejaxrl.trackers import Tracker, closing, tell
from purejaxrl.train import Train
from purejaxrl.types import SettingError, check_choice, check_int, check_number, schedules

_finite = jax.jit(jax.vmap(finite))
Frame = Any  # pandas.DataFrame, whose type stubs know no difference between a column and a row


def run(config: Config, out: Path, progress: Progress, trackers: Sequence[Tracker] = ()) -> dict[str, Any]:
    """Train every seed of `config` at once, fill the folder `out` and return the summary.

    What was reached is saved every `save_seconds` and at the end, and metrics go to the trackers as they come. An
    interrupt (Ctrl-C or SIGTERM) ends the run after the chunk under way, about a second; a second one ends it at once.
    The summary has `interrupted`, `signal` and `diverged`.

    Raises:
      SettingError: where a setting is wrong, the run needs more memory than there is, or `out` exists and is not an
        empty folder; nothing is written then.
      OSError: where the last save fails; what was saved before stays.
    """
    processes.check_alone("train")
    _check(config)
    parts = runs.build(config)
    train = _announced(config, parts, progress)
    _check_new(out)
    with runs.interruptible() as interrupted, closing(trackers, progress.say) as told, progress:
        work = _Work(config, out, parts, train, progress, told, interrupted, populations.free_memory())
        with folders.locked(out):
            _check_new(out)
            runs.write_config(out, config)
            try:
                work.compile()
            except SettingError:  # it needs more memory than there is
                (out / "config.json").unlink()
                raise
            return work.all(None)


def resume(
    folder: Path, progress: Progress, trackers: Sequence[Tracker] = (), *, total_steps: int | None = None
) -> dict[str, Any]:
    """Go on with a run that was stopped, however that was, or with one that is done for more steps.

    A run that was done stays as it is. Where the newest checkpoint is damaged it is put aside, and the one before it is
    taken; where there is none the run starts over.

    Args:
      folder: the run's.
      progress: where to say what is going on.
      trackers: as for :func:`run`; rows since the checkpoint come again.
      total_steps: of the whole run, more than it had. Schedules that run over all steps are from there on those of the
        longer run, which `progress` says; without any the result is that of a run of so many steps from the start.

    Raises:
      SettingError: where the folder is not a run's, another process is at work there, or `total_steps` is less than
        what was reached.
      CheckpointError: where there are checkpoints, and none can be used.
    """
    processes.check_alone("resume")
    config = runs.read_config(folder)
    if total_steps is not None:
        check_int(total_steps, "total_steps", ge=1)
        if total_steps < config.total_steps:
            raise SettingError(f"total_steps must be at least the run's {config.total_steps}, got {total_steps}")
        config = dataclasses.replace(config, total_steps=total_steps)
    _check(config)
    parts = runs.build(config)
    with (
        runs.interruptible() as interrupted,
        closing(trackers, progress.say) as told,
        progress,
        folders.locked(folder),
    ):
        for left in (folder / "checkpoints").glob(".*.tmp"):  # of a process that was killed as it saved
            shutil.rmtree(left)
        free = populations.free_memory()  # what is restored takes its part of it, which the run has for itself
        reached = runs.newest(folder, progress.warn, put_aside=True)
        if reached is not None:
            _check_same(folder, config, reached.config)
        if reached is not None and reached.config == config:
            train = reached.train  # its warnings were said when the run began
        else:
            train = _announced(config, parts, progress)
        work = _Work(config, folder, parts, train, progress, told, interrupted, free)
        if reached is None or reached.updates < train.num_updates:
            work.compile()
        if total_steps is not None:
            runs.write_config(folder, config)
        if reached is None:
            progress.say(f"{folder} has no checkpoint yet: the run starts over")
        else:
            reached = _lengthened(reached, config, parts, train, progress)
            if reached.updates < train.num_updates:
                progress.say(f"going on after {reached.updates:,} of {train.num_updates:,} updates")
        return work.all(reached)


def _check_same(folder: Path, config: Config, saved: Config) -> None:
    """See that a run's config is its checkpoint's, but for how long it is and what training does not depend on."""
    may_differ = ("total_steps", "save_seconds", "keep", "if_diverged")
    names = [field.name for field in dataclasses.fields(Config) if field.name not in may_differ]
    if changed := [name for name in names if getattr(config, name) != getattr(saved, name)]:
        raise SettingError(
            f"{folder / 'config.json'} is not the config of its checkpoints, by {', '.join(changed)}: "
            "give back what it was, or train anew in another folder"
        )


def _check(config: Config) -> None:
    check_int(config.seeds, "seeds", ge=1, le=MOST_RUNS)
    check_int(config.seed, "seed", ge=0, le=2**31 - 1 - config.seeds)
    check_number(config.save_seconds, "save_seconds", ge=0)
    check_int(config.keep, "keep", ge=1)
    check_choice(config.if_diverged, runs.IF_DIVERGED, "if_diverged")


def _check_new(out: Path) -> None:
    if not folders.is_new(out):
        resumable = "; `purejaxrl resume` goes on with a run" if (out / "config.json").exists() else ""
        raise SettingError(f"out: {out} exists and is not an empty folder; give another one, or remove it{resumable}")


def _announced(config: Config, parts: Components, progress: Progress) -> Train:
    """The run as pure functions, once what there is to say of it was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        train = runs.bind(config, parts)
    for warning in said:
        progress.say(str(warning.message))
    return train


def _lengthened(reached: Reached, config: Config, parts: Components, train: Train, progress: Progress) -> Reached:
    """What was reached, as a state of a run of `config`, whose steps may be more than it was begun with."""
    if reached.config.total_steps == config.total_steps:
        return reached
    if names := schedules(parts.learner):
        progress.say(
            f"algo: {', '.join(names)} run{'s' * (len(names) == 1)} over total_steps: from here on as in a run of "
            f"{config.total_steps:,} steps, which differs from this one in its first {reached.config.total_steps:,}"
        )
    fresh = jax.eval_shape(jax.vmap(train.init), lane_keys(config.seed_numbers))
    if jax.tree.map(jnp.shape, fresh) != jax.tree.map(jnp.shape, reached.state):
        fresh = jax.jit(jax.vmap(train.init))(lane_keys(config.seed_numbers))
    state = replay.grown(reached.state, fresh)
    if hasattr(state.learner, "num_updates"):
        longer = jnp.full_like(state.learner.num_updates, train.num_updates)
        state = state.replace(learner=state.learner.replace(num_updates=longer))
    return dataclasses.replace(reached, config=config, train=train, state=state)


class _Work:
    """One call's work on a run."""

    def __init__(self, config, out, parts, train, progress, trackers, interrupted, free):
        self.config, self.out, self.train, self.free = config, out, train, free
        self.progress, self.trackers, self.interrupted = progress, trackers, interrupted
        self.frames: list[Frame] = []
        self.ended: dict[int, str] = {}  # by seed, what was not finite and when
        self.seconds = 0.0  # of earlier calls
        step = train.learner_spec.transition
        rollout = populations.num_bytes(step) * config.num_envs * train.spec.num_steps * config.seeds
        populations.check_memory(rollout, self.free)  # before tracing, which takes seconds
        with progress.phase("tracing"):
            numbers, freeze = (parts.learner, parts.bonus, parts.env_params), config.if_diverged == "freeze"
            bind = functools.partial(runs.bind, config, parts)
            self.lanes = Lanes(train, lambda own, _: bind(own), numbers, (), config.seeds, freeze=freeze)
        populations.check_memory(populations.num_bytes(self.lanes.example) + rollout, self.free)

    def compile(self) -> None:
        """Before anything is written that a run that does not fit would leave."""
        self.lanes.compile(self.progress)
        populations.check_memory(self.lanes.memory(), self.free)

    def all(self, reached: Reached | None) -> dict[str, Any]:
        """Train from what was reached, or from the start, to the end or an interrupt; the summary."""
        if reached is not None:
            self.frames, self.seconds = [reached.frame] * (len(reached.frame) > 0), reached.run_seconds
            self.ended = runs.frozen(reached)
            if reached.updates >= self.train.num_updates:
                self.progress.say(f"the run is done, {self.train.env_steps:,} steps each; --total-steps adds more")
                facts = self._facts(done=True)
                with contextlib.suppress(SettingError):  # it may have been killed before it wrote one, or cut since
                    before = runs.read_summary(self.out)
                    facts |= {name: before.get(name) for name in (*populations.peak_memory(), "compile_seconds")}
                return _write(reached, self.out, facts)
        if reached is not None:
            self.lanes.place(reached.state, reached.updates)
        else:
            with self.progress.phase("warming up" if self.train.warmup else "starting"):
                self.lanes.begin((), lane_keys(self.config.seed_numbers))
        self._train()
        # In a thread, so that a Ctrl-C waits for it: parts of Orbax wait for each other, minutes if one is stopped.
        with self.progress.phase("saving"), ThreadPoolExecutor(1) as thread:
            sound = self._is_sound()
            done = self.lanes.done == self.train.num_updates and not self._has_ended()
            reached, facts = self._reached(self.lanes.state), self._facts(done)
            return thread.submit(_write, reached, self.out, facts, with_state=sound).result()

    def _train(self) -> None:
        lanes, config, saved = self.lanes, self.config, time.monotonic()
        total = self.train.env_steps * config.seeds
        with self.progress.training(total), ThreadPoolExecutor(1) as thread:
            writing = thread.submit(dict)
            self.progress.advance(total - (self.train.num_updates - lanes.done) * lanes.per_update)
            while lanes.done < self.train.num_updates and not self.interrupted.is_set():
                before = lanes.done
                rows = metrics.frame(lanes.advance(()), config.seed_numbers, first_update=before + 1)
                self.frames.append(self._cut(rows))
                self.progress.advance((lanes.done - before) * lanes.per_update, self.frames[-1])
                tell(self.trackers, self.frames[-1], (), self.progress.say)
                if self._has_ended():
                    break
                if time.monotonic() - saved > config.save_seconds and writing.done():
                    self._say_failure(writing)
                    if not self._is_sound():
                        break
                    reached, facts = self._reached(checkpoint.on_host(lanes.state)), self._facts(done=False)
                    writing = thread.submit(_write, reached, self.out, facts)
                    saved = time.monotonic()
        self._say_failure(writing)

    def _say_failure(self, writing: Future) -> None:
        try:
            writing.result()
        except (OSError, SettingError) as error:  # the latter where its folder is closed to us for now
            reason = getattr(error, "strerror", None) or error
            self.progress.warn(f"could not save ({reason}); what was saved before stays")

    def _cut(self, rows: Frame) -> Frame:
        """The rows up to the first one of each seed in which something is not finite, which is said."""
        rows = rows[~rows["seed"].isin(list(self.ended))]
        ends = rows[metrics.diverged(rows)].groupby("seed")["update"].min()
        for seed, update in ends.items():
            row = rows[(rows["seed"] == seed) & (rows["update"] == update)].iloc[0]
            self._end(int(seed), runs.not_finite(row))
        return rows[~(rows["update"] > rows["seed"].map(ends))]

    def _is_sound(self) -> bool:
        """Whether the state is one to go on from: nothing in it has diverged, or what did was frozen before."""
        if self.config.if_diverged == "freeze":
            return True
        fine = np.asarray(_finite(self.lanes.state.learner))
        for seed, well in zip(self.config.seed_numbers, fine, strict=True):
            if not well and seed not in self.ended:
                self._end(seed, f"what the learner holds after update {self.lanes.done:,}")
        return not self.ended

    def _end(self, seed: int, what: str) -> None:
        self.ended[seed] = what
        self.progress.warn(f"seed {seed} has diverged, not finite: {what}")

    def _has_ended(self) -> bool:
        return len(self.ended) >= (1 if self.config.if_diverged == "stop" else self.config.seeds)

    def _reached(self, state: Any) -> Reached:
        frame = pd.concat(self.frames, ignore_index=True) if self.frames else metrics.empty()
        frame = frame.sort_values(["seed", "update"], ignore_index=True)
        seconds = self.seconds + self.lanes.run_seconds
        return Reached(self.config, self.train, state, frame, self.lanes.done, seconds)

    def _facts(self, done: bool) -> dict[str, Any]:
        return {
            "interrupted": not done,
            "signal": self.interrupted.name,
            "diverged": {str(seed): what for seed, what in sorted(self.ended.items())},
            "compile_seconds": self.lanes.compile_seconds,
            **populations.peak_memory(),
        }


def _write(reached: Reached, out: Path, facts: dict[str, Any], *, with_state: bool = True) -> dict[str, Any]:
    """Write everything that was reached and return the summary; the checkpoint comes first, and old ones go last."""
    config, train, frame, state = reached.config, reached.train, reached.frame, reached.state
    returns = metrics.final_means(frame, "episode_return").to_dict() if len(frame) else {}
    returns = {seed: value for seed, value in returns.items() if str(seed) not in facts["diverged"]}
    if with_state:
        runs.save(out, reached, _score(frame))
    metrics.write(out, frame)
    if state.visits is not None:
        with files.replacing(out / "visits.npz") as temporary:
            np.savez_compressed(temporary, visits=np.asarray(state.visits))
    missing = train.num_updates - reached.updates
    steps = train.env_steps - missing * train.spec.num_envs * train.spec.num_steps
    # At each save: a run that is killed can be compared, too, by less than a tenth of what the checkpoint takes.
    learner = processes.to_host(state.learner)  # once for all seeds
    summary = {
        "env": config.env,
        "algo": config.algo,
        "bonus": config.bonus,
        "seeds": config.seeds,
        "env_steps": steps,
        "updates": reached.updates,
        "final_return_mean": _mean(returns.values()),
        "final_return_per_seed": [returns.get(seed, math.nan) for seed in config.seed_numbers],
        "steps_per_second": steps * config.seeds / reached.run_seconds,
        "run_seconds": reached.run_seconds,
        **facts,
        "state_sha256": [checkpoint.digest(learner, lane) for lane in range(config.seeds)],
        "versions": runs.versions(),
    }
    runs.write_json(out / "summary.json", summary)
    return summary


def _score(frame: Frame) -> float | None:
    """The mean final return over seeds of what a checkpoint holds; None where no episode ended.

    A seed that was frozen is held as it was before the update in which it diverged, and counts as what it had come to
    by then: left out it would make a checkpoint better by its loss.
    """
    sound = frame[~metrics.diverged(frame)]
    return _mean(metrics.final_means(sound, "episode_return")) if len(sound) else None


def _mean(values: Iterable[float]) -> float | None:
    """The mean over those that are finite; None where none is."""
    finite_ones = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite_ones)) if finite_ones else None
