"""Populations of runs that differ in some numbers and in their seeds, as lanes of one compiled program."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from purejaxrl import checkpoint, envs, metrics, processes
from purejaxrl.intrinsic import named_parts
from purejaxrl.lanes import Lanes, Parked, lane_keys
from purejaxrl.progress import Progress
from purejaxrl.search import converted
from purejaxrl.train import Train, make_train
from purejaxrl.types import SettingError, check_choice, check_settings, is_key, is_number

# Envs of all lanes of a CPU device: PPO on CartPole is 1.4 times as fast with 16 lanes of 4 envs as with one, and with
# 64 envs a lane no faster with more of them.
CPU_ENVS = 64
MEMORY_SHARE = 0.7  # of what is free, unless told otherwise
UNDER_WAY = "under-way"  # lanes that are not done yet, within the folder of a sweep or a benchmark
SAVE_SECONDS = 60  # between two saves of what is under way


class Point(NamedTuple):
    """One run: the values of the searched fields, by their dotted names, and its seed."""

    values: Mapping[str, Any]
    seed: int


@dataclasses.dataclass(frozen=True)
class Setup:
    """What the runs have in common, as for :func:`purejaxrl.make_train`."""

    env: Any
    env_params: Any
    learner: Any
    bonus: Any
    num_envs: int
    total_steps: int
    visits: Any = None
    resets: Any = None

    @property
    def components(self) -> dict[str, Any]:
        """The parts whose numbers can be searched, by the first word of a dotted name."""
        return {"env": self.env_params, "algo": self.learner, "bonus": self.bonus}

    def bind(self, components: Mapping[str, Any], values: Mapping[str, Any]) -> Train:
        """The run of these components with these values in the place of their own."""
        found = dict(components)
        for dotted, value in values.items():
            part, *path = dotted.split(".")
            found[part] = replaced(found[part], path, value)
        return make_train(
            self.env,
            found["algo"],
            bonus=found["bonus"],
            env_params=found["env"],
            num_envs=self.num_envs,
            total_steps=self.total_steps,
            visits=self.visits,
            resets=self.resets,
        )

    def check(self, fields: Sequence[str]) -> None:
        """Raise :class:`SettingError` unless each dotted name is a number of a component, which can differ by lane."""
        for dotted in fields:
            if not self.is_traced(dotted):
                raise SettingError(
                    f"{dotted} shapes the program: it cannot differ from lane to lane; purejaxrl.sweep can search it, "
                    "with a program for each value"
                )

    def check_values(self, values: Mapping[str, Any]) -> None:
        """Raise :class:`SettingError` where a value of a component's field breaks its bounds."""
        for dotted, value in values.items():
            part, *path = dotted.split(".")
            if part == "env":
                envs.check_param(path[0], value, self._find(dotted)[1])
            else:
                check_parts(replaced(self.components[part], path, value), part)

    def is_traced(self, dotted: str) -> bool:
        """Whether the field is a number that can differ from lane to lane, or shapes the program.

        Raises:
          SettingError: where there is no such field, with the nearest ones.
        """
        field, value = self._find(dotted)
        return field.metadata.get("pytree_node", True) and is_number(value)

    def dtype(self, dotted: str) -> Any:
        """What the field's values are, as lanes of a program."""
        field, value = self._find(dotted)
        if "bounds" in field.metadata:  # it is declared as a number; a whole one that it has now says nothing
            return np.float32
        if hasattr(value, "dtype"):
            return value.dtype
        return {bool: np.bool_, int: np.int32}.get(type(value), np.float32)

    def value(self, dotted: str) -> Any:
        """What the field is here."""
        return self._find(dotted)[1]

    def _find(self, dotted: str) -> tuple[dataclasses.Field, Any]:
        part, *path = dotted.split(".")
        check_choice(part, list(self.components), "the part of a searched field")
        component = self.components[part]
        if component is None:
            raise SettingError(f"{dotted}: there is no {part}")
        if not dataclasses.is_dataclass(component):
            raise SettingError(f"{dotted}: {type(component).__name__} is no dataclass, whose fields could be searched")
        if not path:
            raise SettingError(f"{dotted}: name a field of it, as in {part}.{dataclasses.fields(component)[0].name}")
        for name in path[:-1]:
            if not named_parts(component):
                raise SettingError(f"{dotted}: {part}.{name} has no fields of its own")
            check_choice(name, list(named_parts(component)), part)
            component, part = named_parts(component)[name], f"{part}.{name}"
        known = {field.name: field for field in dataclasses.fields(component)}
        check_choice(
            path[-1], [name for name in known if name not in ("parts", "bonus")] + [*named_parts(component)], part
        )
        if path[-1] not in known:
            raise SettingError(f"{dotted}: name a field of it, as in {dotted}.coef")
        return known[path[-1]], getattr(component, path[-1])


def replaced(component: Any, path: Sequence[str], value: Any) -> Any:
    """The component with the field at `path` replaced; the parts of a composed bonus go by their names."""
    name, *rest = path
    if not rest:
        return dataclasses.replace(component, **{name: value})
    children = named_parts(component)
    children[name] = replaced(children[name], rest, value)
    if "bonus" in {field.name for field in dataclasses.fields(component)}:
        return dataclasses.replace(component, bonus=children[name])
    return dataclasses.replace(component, parts=tuple(children.values()))


def check_parts(component: Any, label: str) -> None:
    """Raise :class:`SettingError` where a setting of the component, or of a part of it, breaks its bounds."""
    check_settings(component, label)
    for name, child in named_parts(component).items():
        check_parts(child, f"{label}.{name}")


class Batch(NamedTuple):
    """Runs that were lanes together: their metrics, `point` counting from 0, and their states where they pause."""

    points: Sequence[Point]
    frame: pd.DataFrame
    states: Sequence[Parked]


def labelled(batch: Batch, types: Mapping[str, type]) -> pd.DataFrame:
    """The metrics as rows of a sweep's dataset: config_id, the searched fields of these types, seed, and the rest."""
    number, points = np.asarray(batch.frame["point"]), batch.points
    ids = np.asarray([point.values["config_id"] for point in points], np.int64)[number]
    columns: dict[str, Any] = {"config_id": ids}
    for name, kind in types.items():
        columns[name] = pd.Series([converted(point.values[name], kind) for point in points]).iloc[number].to_numpy()
    columns["seed"] = np.asarray([point.seed for point in points], np.int64)[number]
    return pd.concat([pd.DataFrame(columns), batch.frame.drop(columns="point")], axis=1)


def free_memory() -> float:
    """Bytes that lanes may take: of the first accelerator, or of the machine."""
    stats = jax.local_devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    if stats and "bytes_limit" in stats:
        return MEMORY_SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable:"))
        return MEMORY_SHARE * 1024 * int(found.split()[1])
    except (OSError, StopIteration):  # not Linux
        return math.inf


def check_memory(needed: float, free: float) -> None:
    """Raise :class:`SettingError` where a run needs more bytes than there are, of which `free` are for lanes."""
    free /= MEMORY_SHARE
    if needed > free:
        raise SettingError(
            f"the run needs {needed / 1e9:.2g} GB of memory, more than the {free / 1e9:.2g} GB that there are: lower "
            "num_envs, seeds, algo.num_steps or the sizes of buffers and networks"
        )


def num_bytes(tree: Any) -> float:
    """Of all leaves, by their shapes."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if not is_key(leaf)]
    return float(sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves))


def peak_memory() -> dict[str, int | None]:
    """Bytes that were taken at most so far: `peak_host_bytes` by this process, resident, and `peak_device_bytes` by JAX
    on the fullest of its accelerators; None where there is none, or nobody knows."""
    devices = jax.local_devices() if jax.default_backend() != "cpu" else []
    peaks = [int((device.memory_stats() or {}).get("peak_bytes_in_use", 0)) for device in devices]
    try:
        import resource
    except ImportError:  # not a POSIX system
        host = None
    else:
        host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"peak_host_bytes": host, "peak_device_bytes": max(peaks, default=0) or None}


def batch_name(first: Point) -> str:
    """The folder in which a batch that begins with this run is saved while it is under way."""
    return f"{first.values.get('config_id', 0)}-{first.seed}"


class UnderWay:
    """A batch of lanes that is not done yet, saved now and then below a folder, so that little is lost with a process.

    Where the folder is None, or several processes share the lanes, nothing is saved.
    """

    def __init__(self, folder: Path | None, batch: Sequence[Point], start: int, num_lanes: int):
        self.path = None if folder is None or jax.process_count() > 1 else folder / batch_name(batch[0])
        facts = {"points": [[repr(dict(one.values)), one.seed] for one in batch], "start": start, "lanes": num_lanes}
        self.facts = json.dumps(facts).encode()
        self.saved = time.monotonic()

    def load(self, lanes: Lanes) -> pd.DataFrame | None:
        """Place the lanes where this very batch was and return its metrics; None where nothing usable is there."""
        for path in reversed(self._paths()):
            try:
                if checkpoint.read_beside(path, "batch.json") != self.facts:
                    continue
                frame = metrics.decode(checkpoint.read_beside(path, metrics.FILE))
                lanes.place(checkpoint.restore(path, lanes.example), int(path.name))
                return frame
            except (OSError, ValueError):  # damaged: it begins anew
                continue
        return None

    def save(self, lanes: Lanes, found: Sequence[pd.DataFrame], seconds: float, *, now: bool) -> None:
        """Save it, after so many seconds of running, if the last save was long ago, or `now`."""
        if self.path is None or not found or not (now or time.monotonic() - self.saved > SAVE_SECONDS):
            return
        before, frame = self._paths(), pd.concat(found, ignore_index=True).assign(seconds=seconds)
        path = self.path / f"{lanes.done:09d}"
        if path not in before:
            # A full disk, or a folder that is closed for a while, ends the sweep where its results cannot be written.
            with contextlib.suppress(OSError, SettingError):
                beside = {"batch.json": self.facts, metrics.FILE: metrics.encode(frame)}
                checkpoint.save(path, lanes.state, beside=beside)
                for old in before:
                    shutil.rmtree(old)
        self.saved = time.monotonic()

    def clear(self) -> None:
        """Remove what was saved: the batch is done."""
        if self.path is not None and self.path.exists():
            shutil.rmtree(self.path)

    def _paths(self) -> list[Path]:
        return [] if self.path is None else sorted(self.path.glob("[0-9]*"))


class Program:
    """The runs of a setup that differ in `fields` and in their seeds: compiled at first use, for any number of them.

    `num_lanes` of them run at once, a multiple of the devices there are. Unless given: on an accelerator all
    `num_points`, on the CPU one per device, or more of runs with few envs. Where they need more than `memory` bytes,
    most of what is free unless given, fewer lanes are compiled again.
    """

    def __init__(
        self,
        setup: Setup,
        fields: Sequence[str],
        num_points: int,
        *,
        num_lanes: int | None = None,
        memory: float | None = None,
    ):
        setup.check(fields)
        self.setup, self.fields = setup, tuple(fields)
        self.memory = processes.from_first(free_memory) if memory is None else memory
        devices = jax.device_count()
        most = devices * max(CPU_ENVS // setup.num_envs, 1) if jax.default_backend() == "cpu" else num_points
        wanted = num_lanes or -(-num_points // -(-num_points // most))  # equal shares, so that little is padding
        self.num_lanes = -(-wanted // devices) * devices
        self._lanes: Lanes | None = None
        self._ahead: tuple[Lanes, Future] | None = None

    def compile_ahead(self, thread: Executor, progress: Progress) -> None:
        """Let a thread compile the programs for the first use to come, unless they are there."""
        if self._lanes is None and self._ahead is None:
            lanes = self._traced()
            self._ahead = lanes, thread.submit(lanes.compile, progress)

    def lanes(self, progress: Progress) -> Lanes:
        """The compiled programs.

        Raises:
          SettingError: where one lane per device alone needs more than `memory`.
        """
        while self._lanes is None:
            if self._ahead is None:
                lanes = self._traced()
                lanes.compile(progress)
            else:
                (lanes, compiling), self._ahead = self._ahead, None
                compiling.result()
            needed, devices = lanes.memory(), jax.device_count()
            if needed <= self.memory:
                self._lanes = lanes
            elif self.num_lanes == devices:
                raise SettingError(
                    f"one lane per device needs {needed / 1e9:.2g} GB, more than the {self.memory / 1e9:.2g} GB that "
                    "there are: lower num_envs, num_steps or the sizes of buffers and networks, or raise memory_gb"
                )
            else:
                held = int(self.num_lanes * self.memory / needed) // devices * devices
                progress.say(f"{self.num_lanes} lanes need {needed / 1e9:.2g} GB: {max(held, devices)} at once")
                self.num_lanes = max(held, devices)
        return self._lanes

    def _traced(self) -> Lanes:
        setup = self.setup
        with warnings.catch_warnings():  # which other threads would disturb: they compile only
            warnings.simplefilter("ignore")
            train = setup.bind(setup.components, {})
        own = {field: np.zeros(self.num_lanes, setup.dtype(field)) for field in self.fields}
        return Lanes(train, setup.bind, setup.components, own, self.num_lanes)

    @property
    def compile_seconds(self) -> float:
        """Of the programs that run, not of those that needed too much memory."""
        return self._lanes.compile_seconds if self._lanes else 0.0

    @property
    def run_seconds(self) -> float:
        return self._lanes.run_seconds if self._lanes else 0.0

    def run(
        self,
        points: Sequence[Point],
        progress: Progress,
        interrupted: threading.Event,
        *,
        start: int = 0,
        states: Sequence[Parked] = (),
        stop: int | None = None,
        folder: Path | None = None,
    ) -> Iterator[Batch]:
        """Run the points, so many lanes at a time. An interrupt ends it.

        What is under way is saved every minute and then, below `folder`, and the same call goes on from there; without
        one it is lost. They begin, or go on after `start` updates from `states`, and pause after `stop` of them or end.
        """
        if not points or interrupted.is_set():
            return
        lanes = self.lanes(progress)
        end = stop or lanes.train.num_updates
        for first_point in range(0, len(points), self.num_lanes):
            batch = points[first_point : first_point + self.num_lanes]
            padded = [*batch, *[batch[-1]] * (self.num_lanes - len(batch))]
            own = {
                field: np.asarray([point.values[field] for point in padded], self.setup.dtype(field))
                for field in self.fields
            }
            seconds, under_way = lanes.run_seconds, UnderWay(folder, batch, start, self.num_lanes)
            if (saved := under_way.load(lanes)) is not None:
                progress.advance(_steps(lanes, max(lanes.done - start, 0), len(batch)), saved)
                seconds -= float(saved["seconds"].to_numpy()[0])
                found = [saved.drop(columns="seconds")]
            elif states:
                paused, found = states[first_point : first_point + self.num_lanes], []
                lanes.unpark([*paused, *[paused[-1]] * (self.num_lanes - len(batch))], start)
            else:
                lanes.begin(own, lane_keys(point.seed for point in padded))
                found = []
            while lanes.done < end:
                stopped = interrupted.is_set()
                under_way.save(lanes, found, lanes.run_seconds - seconds, now=stopped)
                if stopped:
                    return
                first = lanes.done + 1
                arrays = {name: values[: len(batch)] for name, values in lanes.advance(own, end).items()}
                found.append(metrics.frame(arrays, range(len(batch)), first_update=first))
                progress.advance(_steps(lanes, lanes.done + 1 - first, len(batch)), found[-1])
            frame = pd.concat(found, ignore_index=True).rename(columns={"seed": "point"}).drop(columns="config_id")
            parked = lanes.park()[: len(batch)] if end < lanes.train.num_updates else []
            yield Batch(batch, frame.assign(seconds=(lanes.run_seconds - seconds) / len(batch)), parked)
            under_way.clear()
        lanes.state = None  # the next program's lanes may need the memory


def _steps(lanes: Lanes, updates: int, runs: int) -> int:
    """Env steps of so many updates of so many of the lanes."""
    return updates * lanes.per_update // lanes.num_lanes * runs
