"""A run's folder, and the host loop that fills it: jitted chunks of updates with progress, Ctrl-C and results between.

The folder: ``config.json`` (written before anything compiles), ``metrics.parquet``, ``summary.json``, ``checkpoints/``
with one folder per saved update, ``visits.npz`` where ground truth was asked for, and what `report` writes.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import platform
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from purejaxrl import algos, checkpoint, discovery, envs, evaluation, expressions, files, metrics, processes
from purejaxrl.lanes import Lanes, lane_keys
from purejaxrl.progress import Progress
from purejaxrl.trackers import Tracker, closing
from purejaxrl.train import Train, TrainState, make_train
from purejaxrl.types import SettingError, check_choice, check_int

FORMAT = 1
SAVE_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Config:
    """What a run is made of, as ``config.json`` keeps it: names and settings, all JSON values."""

    env: str
    algo: str
    bonus: str = "none"
    total_steps: int = 500_000
    num_envs: int = 4
    seeds: int = 1
    seed: int = 0
    visits: bool = False
    env_settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    algo_settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    bonus_settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def seed_numbers(self) -> list[int]:
        return list(range(self.seed, self.seed + self.seeds))


@dataclasses.dataclass(frozen=True)
class Components:
    """The objects that a config names."""

    env: Any
    env_params: Any
    learner: Any
    bonus: Any
    cells: envs.Cells | None  # when visits are counted


def make_learner(name: str, settings: dict[str, Any]) -> Any:
    """The named learner with these settings.

    Raises:
      SettingError: for an unknown name or setting, with the nearest ones.
    """
    check_choice(name, discovery.names(algos), "algo")
    cls = discovery.load(algos, name)
    return discovery.construct(cls, settings, [field.name for field in dataclasses.fields(cls)], "algo")


def make_bonus(text: str, settings: dict[str, Any]) -> Any:
    """The bonus of an expression like "rnd" or "e3b*rnd" with these settings; None of "none".

    Raises:
      SettingError: for an unknown name or setting, with the nearest ones.
    """
    expression = expressions.parse(text)
    return None if expression is None else expressions.make(expression, settings)


def build(config: Config) -> Components:
    """Make what a config names.

    Raises:
      SettingError: where a name or a setting is wrong.
    """
    env, env_params = envs.make(config.env, **config.env_settings)
    learner = make_learner(config.algo, config.algo_settings)
    bonus = make_bonus(config.bonus, config.bonus_settings)
    cells = envs.cells(env) if config.visits else None
    if config.visits and cells is None:
        raise SettingError(f"visits: {config.env} has no discretised state to count; leave it off")
    return Components(env, env_params, learner, bonus, cells)


def read_config(folder: Path) -> Config:
    """The config of a run's folder.

    Raises:
      SettingError: when the folder is not a run's, or its config cannot be used.
    """
    try:
        content = json.loads((folder / "config.json").read_text())
    except OSError:
        raise SettingError(f"{folder} is not a run's folder: it has no readable config.json") from None
    except ValueError:
        raise SettingError(f"{folder / 'config.json'} is damaged: not JSON") from None
    try:
        if content.pop("format") != FORMAT:
            raise SettingError(f"{folder / 'config.json'} has another format than {FORMAT}, the one this version reads")
        config = Config(**content)
    except (AttributeError, KeyError, TypeError) as error:
        raise SettingError(f"{folder / 'config.json'} is damaged: {error}") from None
    for field in dataclasses.fields(Config):
        kind = {"str": str, "int": int, "bool": bool}.get(str(field.type), dict)
        if not isinstance(getattr(config, field.name), kind):
            raise SettingError(f"{folder / 'config.json'} is damaged: {field.name} is no {kind.__name__}")
    return config


def run(config: Config, out: Path, progress: Progress, trackers: Sequence[Tracker] = ()) -> dict[str, Any]:
    """Train every seed of `config` at once, fill the folder `out` and return the summary.

    What was reached is saved every minute and at the end, and metrics go to the trackers as they come. An interrupt
    (Ctrl-C or SIGTERM) ends the run after the chunk under way; a second one ends it at once. ``summary["interrupted"]``
    tells.

    Raises:
      SettingError: where a setting is wrong or `out` exists and is not an empty folder; nothing is written then.
    """
    processes.check_alone("train")
    check_int(config.seeds, "seeds", ge=1)
    check_int(config.seed, "seed", ge=0, le=2**31 - 1)
    parts = build(config)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        train = _bind(config, parts)
    for warning in said:
        progress.say(str(warning.message))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"out: {out} exists and is not an empty folder; give another one, or remove it")
    with interruptible() as interrupted, closing(trackers), progress:
        with progress.phase("tracing"):
            numbers = (parts.learner, parts.bonus, parts.env_params)
            lanes = Lanes(train, lambda numbers, own: _bind(config, parts, numbers), numbers, (), config.seeds)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingError(f"out: {out} cannot be made: {error.strerror}") from None
        write_json(out / "config.json", {"format": FORMAT, **dataclasses.asdict(config)})
        lanes.compile(progress)
        with progress.phase("warming up" if train.warmup else "starting"):
            lanes.begin((), lane_keys(config.seed_numbers))
        data, saved = [], time.monotonic()
        with progress.training(train.env_steps * config.seeds):
            progress.advance(train.spec.num_envs * train.warmup * config.seeds)
            while lanes.done < train.num_updates and not interrupted.is_set():
                first, before = lanes.done + 1, lanes.done
                data.append(metrics.frame(lanes.advance(()), config.seed_numbers, first_update=first))
                progress.advance((lanes.done - before) * lanes.per_update, data[-1])
                for tracker in trackers:
                    tracker.log(data[-1], ())
                if time.monotonic() - saved > SAVE_SECONDS:
                    _save(config, out, lanes, data, progress, interrupted=True)
                    saved = time.monotonic()
        return _save(config, out, lanes, data, progress, interrupted=interrupted.is_set())


def _bind(config: Config, parts: Components, components: tuple | None = None) -> Train:
    """The run as pure functions; `components` replaces the numbers, so that they may be traced."""
    learner, bonus, env_params = components or (parts.learner, parts.bonus, parts.env_params)
    return make_train(
        parts.env,
        learner,
        bonus=bonus,
        env_params=env_params,
        num_envs=config.num_envs,
        total_steps=config.total_steps,
        visits=None if parts.cells is None else (parts.cells.cell_fn, parts.cells.num_cells),
    )


def _save(
    config: Config, out: Path, lanes: Lanes, data: list[pd.DataFrame], progress: Progress, *, interrupted: bool
) -> dict[str, Any]:
    """Write everything that was reached and return the summary; earlier checkpoints go once the new one is there."""
    frame = pd.concat(data, ignore_index=True) if data else metrics.empty()
    frame = frame.sort_values(["seed", "update"], ignore_index=True)
    updates = int(np.asarray(frame["update"]).max()) if data else 0
    metrics.write(out, frame)
    earlier = _checkpoints(out)
    with progress.phase("saving"):
        if updates not in earlier:
            checkpoint.save(out / "checkpoints" / str(updates), lanes.state)
        for step in earlier:
            if step != updates:
                shutil.rmtree(out / "checkpoints" / str(step))
        if lanes.state.visits is not None:
            with files.replacing(out / "visits.npz") as temporary:
                np.savez_compressed(temporary, visits=np.asarray(lanes.state.visits))
    returns = metrics.final_means(frame, "episode_return").to_dict() if data else {}
    finite = [value for value in returns.values() if math.isfinite(value)]
    steps = lanes.train.env_steps - (lanes.train.num_updates - updates) * lanes.per_update // config.seeds
    summary = {
        "env": config.env,
        "algo": config.algo,
        "bonus": config.bonus,
        "seeds": config.seeds,
        "env_steps": steps,
        "updates": updates,
        "final_return_mean": float(np.mean(finite)) if finite else None,
        "final_return_per_seed": [returns.get(seed, math.nan) for seed in config.seed_numbers],
        "steps_per_second": steps * config.seeds / lanes.run_seconds,
        "compile_seconds": lanes.compile_seconds,
        "run_seconds": lanes.run_seconds,
        "interrupted": interrupted and updates < lanes.train.num_updates,
        "versions": versions(),
    }
    write_json(out / "summary.json", summary)
    return summary


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of a run's folder.

    Raises:
      SettingError: when there is none, or it is damaged.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text())
    except OSError:
        raise SettingError(f"{folder} has no readable summary.json: the run ended before it wrote one") from None
    except ValueError:
        summary = None
    wanted = {"env_steps": int, "final_return_per_seed": list, "steps_per_second": float}
    wanted |= {"compile_seconds": float, "run_seconds": float, "versions": dict}
    if not isinstance(summary, dict) or not all(isinstance(summary.get(name), kind) for name, kind in wanted.items()):
        raise SettingError(f"{folder / 'summary.json'} is damaged")
    return summary


def _checkpoints(folder: Path) -> list[int]:
    """Updates of the checkpoints in a run's folder, in order."""
    return sorted(int(path.name) for path in (folder / "checkpoints").glob("*") if path.name.isdecimal())


def restore(folder: Path) -> tuple[Config, Components, TrainState]:
    """Load a run's newest checkpoint: config, components, and the state with a leading axis of seeds.

    Raises:
      SettingError: when the folder is not a run's, or has no checkpoint.
      CheckpointError: when the checkpoint is damaged.
    """
    config = read_config(folder)
    parts = build(config)
    steps = _checkpoints(folder)
    if not steps:
        raise SettingError(f"{folder} has no checkpoint: the run ended before it saved one")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train = _bind(config, parts)
    like = jax.eval_shape(jax.vmap(train.init), lane_keys(config.seed_numbers))
    return config, parts, checkpoint.restore(folder / "checkpoints" / str(steps[-1]), like)


def evaluate(folder: Path, num_episodes: int, *, seed: int = 0, greedy: bool = True) -> pd.DataFrame:
    """Play fresh episodes with each seed's policy: a row per training seed, with the return's mean, std and range.

    Raises:
      SettingError: when the folder is not a run's, or has no checkpoint.
      CheckpointError: when the checkpoint is damaged.
    """
    check_int(seed, "seed", ge=0, le=2**31 - 1)
    check_int(num_episodes, "num_episodes", ge=1)
    config, parts, state = restore(folder)
    keys = jax.random.split(jax.random.key(seed), config.seeds)

    def one(state, key):
        settings = {"env_params": parts.env_params, "greedy": greedy, "bonus": parts.bonus}
        return evaluation.evaluate(parts.env, parts.learner, state, key, num_episodes, **settings)

    found = jax.device_get(jax.jit(jax.vmap(one))(state, keys))
    returns, lengths = found.episode_return, found.episode_length
    return pd.DataFrame(
        {
            "seed": config.seed_numbers,
            "mean_return": returns.mean(1),
            "std": returns.std(1),
            "min": returns.min(1),
            "max": returns.max(1),
            "mean_length": lengths.mean(1),
            "finished": found.finished.mean(1),
        }
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    packages = ("jax", "jaxlib", "gymnax", "flax", "optax", "numpy")
    found = {package: importlib.metadata.version(package) for package in packages}
    from purejaxrl import __version__

    return {"purejaxrl": __version__, "python": platform.python_version(), **found}


def describe(component: Any) -> Any:
    """A component as JSON can hold it: its class and all its settings, parts within it too."""
    if dataclasses.is_dataclass(component) and not isinstance(component, type):
        fields = {field.name: describe(getattr(component, field.name)) for field in dataclasses.fields(component)}
        return {"type": type(component).__name__, **fields}
    if isinstance(component, Mapping):
        return {name: describe(value) for name, value in component.items()}
    if isinstance(component, (tuple, list)):
        return [describe(value) for value in component]
    if callable(component):
        return f"{component.__module__}.{component.__qualname__}"
    return component.tolist() if hasattr(component, "tolist") else component


def write_json(path: Path, content: dict[str, Any]) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text(json.dumps(_plain(content), indent=2, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """The value with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {name: _plain(child) for name, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Interrupt(threading.Event):
    """Set by a signal; :meth:`is_set` is asked by all processes together, so that all of them stop at one place."""

    def is_set(self) -> bool:
        return processes.anywhere(super().is_set())


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one raises KeyboardInterrupt."""
    event, signals = Interrupt(), []
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handler(number, frame):
        if signals:
            raise KeyboardInterrupt
        signals.append(number)
        event.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
