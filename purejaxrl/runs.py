"""A run's folder: what it is made of, and what it holds. :mod:`purejaxrl.training` fills it.

The folder: ``config.json`` (written before anything compiles), ``metrics.parquet``, ``summary.json``, ``checkpoints/``
with one folder per saved update, ``visits.npz`` where ground truth was asked for, ``lock``, held by whoever is at work
there, and what `report` writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import json
import math
import os
import platform
import shutil
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from purejaxrl import algos, checkpoint, discovery, envs, evaluation, expressions, files, metrics, processes
from purejaxrl.lanes import lane_keys
from purejaxrl.train import Train, TrainState, make_train
from purejaxrl.types import SettingError, check_choice, check_int, check_path, nearest

FORMAT = 1
LARGEST_ARRAY = 100  # numbers, that a description holds as they are
FACTS = "run.json"  # beside a checkpoint: the config it is of, the seconds it took, its score
IF_DIVERGED = ("stop", "freeze")
SHOWN = 5  # runs in a message


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
    save_seconds: float = 60.0  # between two checkpoints
    keep: int = 2  # checkpoints, and the best one
    if_diverged: str = "stop"
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
    path = folder / "config.json"
    files.check_contents(folder)
    try:
        content = files.read_json(path)
    except OSError:
        raise SettingError(f"{folder} is not a run's folder: it has no readable config.json{_hint(folder)}") from None
    except ValueError:
        raise SettingError(f"{path} is damaged: not JSON") from None
    return _config(content, path)


def _hint(folder: Path) -> str:
    """What may have been meant by a folder that is not a run's."""
    for name, what in (("sweep.json", "a sweep"), ("pbt.json", "a population"), ("diagnosis.json", "a diagnosis")):
        if (folder / name).is_file():
            return f"; it is {what}'s"
    if inner := sorted(str(path.parent) for path in folder.glob("*/config.json")):
        return f"; runs in it: {', '.join(inner[:SHOWN])}{' ...' if len(inner) > SHOWN else ''}"
    beside = [path.parent.name for path in folder.parent.glob("*/config.json")]
    if not folder.exists() and (near := nearest(folder.name, beside)):
        return f"; did you mean {' or '.join(str(folder.parent / name) for name in near)}?"
    return "" if folder.exists() else "; there is no such folder"


def write_config(folder: Path, config: Config) -> None:
    write_json(folder / "config.json", {"format": FORMAT, **dataclasses.asdict(config)})


def _config(content: Any, path: Path) -> Config:
    """The config that JSON stands for."""
    if not isinstance(content, dict):
        raise SettingError(f"{path} is damaged: no JSON object")
    try:
        if content.pop("format") != FORMAT:
            raise SettingError(f"{path} has another format than {FORMAT}, the one this version reads")
        config = Config(**content)
    except (KeyError, TypeError) as error:
        raise SettingError(f"{path} is damaged: {error}") from None
    for field in dataclasses.fields(Config):
        kinds = {"str": str, "int": int, "bool": bool, "float": (int, float)}.get(str(field.type), dict)
        value = getattr(config, field.name)
        if not isinstance(value, kinds) or (isinstance(value, bool) and field.type != "bool"):
            raise SettingError(f"{path} is damaged: {field.name} is no {str(field.type).partition('[')[0]}")
    if config.seeds < 1 or not 0 <= config.seed < config.seed + config.seeds <= 2**31:
        raise SettingError(f"{path} is damaged: seeds must be >= 1 of them, from 0 on, and below 2**31")
    return config


def bind(config: Config, parts: Components, components: tuple | None = None) -> Train:
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


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of a run's folder.

    Raises:
      SettingError: when there is none, or it is damaged.
    """
    try:
        summary = files.read_json(folder / "summary.json")
    except OSError:
        raise SettingError(f"{folder} has no readable summary.json: the run ended before it wrote one") from None
    except ValueError:
        summary = None
    wanted = {"env_steps": int, "final_return_per_seed": list, "steps_per_second": float}
    wanted |= {"compile_seconds": float, "run_seconds": float, "versions": dict}
    if not isinstance(summary, dict) or not all(isinstance(summary.get(name), kind) for name, kind in wanted.items()):
        raise SettingError(f"{folder / 'summary.json'} is damaged")
    return summary


# --- checkpoints ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Reached:
    """How far a run has come: what a checkpoint holds."""

    config: Config
    train: Train  # of that config
    state: TrainState  # with a leading axis of seeds
    frame: pd.DataFrame  # metrics so far
    updates: int
    run_seconds: float


def save(folder: Path, reached: Reached, score: float | None) -> None:
    """Add a checkpoint to a run's folder; those that need not be kept go once it is there.

    Kept are the newest ``config.keep`` and the one with the highest `score`, the mean final return over seeds.
    """
    facts = {"config": dataclasses.asdict(reached.config), "run_seconds": reached.run_seconds, "score": score}
    path = _path(folder, reached.updates)
    if not path.exists():
        beside = {metrics.FILE: metrics.encode(reached.frame), FACTS: json.dumps(facts).encode()}
        checkpoint.save(path, reached.state, beside=beside)
    steps = checkpoints(folder)
    for step in {*steps[: -reached.config.keep]} - {_best(folder, steps)}:
        shutil.rmtree(_path(folder, step))


def checkpoints(folder: Path) -> list[int]:
    """Updates of the checkpoints in a run's folder, in order."""
    return sorted(int(path.name) for path in (folder / "checkpoints").glob("*") if path.name.isdecimal())


def newest(folder: Path, say: Callable[[str], None], *, put_aside: bool = False) -> Reached | None:
    """What the newest checkpoint that can be used holds; None where there is none at all.

    `say` gets a line for each that cannot be, which `put_aside` renames, with the one that is taken instead.

    Raises:
      CheckpointError: where there are some, and none can be used; they stay as they are.
    """
    steps, unusable = checkpoints(folder), {}
    for step in reversed(steps):
        try:
            found = load(folder, step)
        except checkpoint.CheckpointError as error:
            unusable[step] = str(error)
            continue
        for damaged, line in unusable.items():
            if put_aside:
                checkpoint.put_aside(_path(folder, damaged))
                line += "; put aside"
            say(f"{line}; the one after {found.updates:,} updates is taken")
        return found
    for line in unusable.values():
        say(line)
    if steps:
        raise checkpoint.CheckpointError(
            f"{folder}: none of its {len(steps)} checkpoints can be used. Another version of purejaxrl may have "
            "written them; train anew in another folder, or remove them to start over in this one"
        )
    return None


def load(folder: Path, step: int) -> Reached:
    """What the checkpoint of this update holds.

    Raises:
      CheckpointError: where it is damaged, or of another format.
    """
    path = _path(folder, step)
    facts = _facts(path)
    config = _config({"format": FORMAT, **facts["config"]}, path / FACTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train = bind(config, build(config))
    try:
        frame = metrics.decode(checkpoint.read_beside(path, metrics.FILE))
    except (OSError, ValueError) as error:
        raise checkpoint.CheckpointError(f"{path} is damaged: {metrics.FILE}: {error}") from None
    like = jax.eval_shape(jax.vmap(train.init), lane_keys(config.seed_numbers))
    return Reached(config, train, checkpoint.restore(path, like), frame, step, float(facts["run_seconds"]))


def _path(folder: Path, step: int) -> Path:
    return folder / "checkpoints" / str(step)


def _facts(path: Path) -> dict[str, Any]:
    content, facts = checkpoint.read_beside(path, FACTS), {}
    try:
        facts = json.loads(content)
        right = isinstance(facts["config"], dict) and isinstance(facts["run_seconds"], (int, float))
        right = right and isinstance(facts["score"], (int, float, type(None)))
    except (ValueError, KeyError, TypeError, RecursionError):
        right = False
    if not right:
        raise checkpoint.CheckpointError(f"{path} is damaged: {FACTS} cannot be used")
    return facts


def _best(folder: Path, steps: Sequence[int]) -> int | None:
    """The update of the checkpoint with the highest score, the latest of several; None where none has one."""
    scores = {}
    for step in steps:
        with contextlib.suppress(checkpoint.CheckpointError):
            scores[step] = _facts(_path(folder, step))["score"]
    scored = [(score, step) for step, score in scores.items() if score is not None]
    return max(scored)[1] if scored else None


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=4)  # where `restore` is called


def restore(folder: str | os.PathLike, which: str | int = "newest", say: Callable[[str], None] = _warn) -> Reached:
    """Load a run's checkpoint: its `train` and, with a leading axis of seeds, its `state`.

    `which` is "newest" (the newest that is not damaged; `say` gets a line for each that is, a warning unless given),
    "best" (the highest mean return over the last tenth of its updates), or a number of updates.

    Raises:
      SettingError: when the folder is not a run's, or has no such checkpoint.
      CheckpointError: when it is damaged.
    """
    folder = check_path(folder, "folder")
    build(read_config(folder))  # what the folder says that it is must hold, whatever a checkpoint says
    steps = checkpoints(folder)
    if not steps:
        raise SettingError(f"{folder} has no checkpoint: the run ended before it saved one")
    if which == "newest":
        reached = newest(folder, say)
        assert reached is not None
        return reached
    step = _best(folder, steps) if which == "best" else int(which) if str(which).isdecimal() else None
    if which == "best" and step is None:
        raise SettingError(f"checkpoint: no episode had ended by any of {folder}'s: none is the best; take newest")
    if step not in steps:
        shown = ", ".join(map(str, steps))
        raise SettingError(f"checkpoint: {folder} has newest, best, or those after {shown} updates, got {which!r}")
    return load(folder, step)


def frozen(reached: Reached) -> dict[int, str]:
    """Seeds that have stopped before what was reached, with what was not finite."""
    found, frame = {}, reached.frame.sort_values("update")
    last = frame.drop_duplicates("seed", keep="last")
    for row, broke in zip(last.to_dict("records"), metrics.diverged(last), strict=True):
        if row["update"] < reached.updates or broke:
            found[int(row["seed"])] = not_finite(row)
    return found


def not_finite(row: Any) -> str:
    """What in a row of metrics is not finite, a reward, an observation, or metrics by their names, and when."""
    inputs = [what for bit, what in ((1, "a reward"), (2, "an observation")) if int(row["nonfinite"]) & bit]
    others = [name for name, value in row.items() if name not in metrics.MAY_BE_NAN and not math.isfinite(value)]
    what = " and ".join(inputs) or ", ".join(others) or "what the learner holds"
    return f"{what} at update {int(row['update']):,}, {int(row['env_steps']):,} steps"


def evaluate(reached: Reached, num_episodes: int, *, seed: int = 0, greedy: bool = True) -> pd.DataFrame:
    """Play fresh episodes with each seed's policy: a row per training seed, with the return's mean, std and range.

    Raises:
      SettingError: where a setting is wrong.
    """
    check_int(seed, "seed", ge=0, le=2**31 - 1)
    check_int(num_episodes, "num_episodes", ge=1)
    train, keys = reached.train, jax.random.split(jax.random.key(seed), reached.config.seeds)

    def one(state, key):
        settings = {"env_params": train.env_params, "greedy": greedy, "bonus": train.bonus}
        return evaluation.evaluate(train.env, train.learner, state, key, num_episodes, **settings)

    found = jax.device_get(jax.jit(jax.vmap(one))(reached.state, keys))
    returns, lengths = found.episode_return, found.episode_length
    return pd.DataFrame(
        {
            "seed": reached.config.seed_numbers,
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


def describe(component: Any, within: frozenset[int] = frozenset()) -> Any:
    """A component as JSON can hold it: its class and all its settings, parts within it too; large arrays by a hash.

    A function is its name and what it was made with; `within` are the ids of what the component is a part of.
    """
    kind = type(component)
    if id(component) in within:  # an object that holds itself
        return describe(kind)
    within |= {id(component)}
    if dataclasses.is_dataclass(component) and not isinstance(component, type):
        fields = [field.name for field in dataclasses.fields(component)]
        component = {"type": kind.__name__, **{name: getattr(component, name) for name in fields}}
    elif hasattr(component, "step_env") and not isinstance(component, type):  # an environment: what it was made with
        own = {name for name in vars(component) if not isinstance(getattr(kind, name, None), functools.cached_property)}
        component = {"type": kind, **{name: getattr(component, name) for name in sorted(own)}}
    elif isinstance(component, functools.partial):
        component = component.func, component.args, component.keywords
    elif inspect.ismethod(component):  # such as a network's `apply`: whose it is decides what it does
        component = component.__func__, component.__self__
    elif inspect.isfunction(component) and component.__closure__:  # such as a loss that another function made
        cells = zip(component.__code__.co_freevars, component.__closure__, strict=True)
        name = f"{component.__module__}.{component.__qualname__}"
        component = {"type": name, **{free: cell.cell_contents for free, cell in cells if _is_filled(cell)}}
    if isinstance(component, Mapping):
        return {str(name): describe(value, within) for name, value in component.items()}
    if isinstance(component, (tuple, list)):
        return [describe(value, within) for value in component]
    if hasattr(component, "tolist"):
        array = np.asarray(component)
        return array.tolist() if array.size <= LARGEST_ARRAY else hashlib.sha256(array.tobytes()).hexdigest()
    if hasattr(component, "__qualname__"):  # a function or a class
        return f"{component.__module__}.{component.__qualname__}"
    return component if isinstance(component, (bool, int, float, str, type(None))) else describe(kind)


def write_json(path: Path, content: dict[str, Any]) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text(json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """The value with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {name: plain(child) for name, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:  # of a name that has no value yet
        return False
    return True


class Interrupt(threading.Event):
    """Set by a signal; :meth:`is_set` is asked by all processes together, so that all of them stop at one place."""

    name: str | None = None  # of the signal

    def is_set(self) -> bool:
        return processes.anywhere(super().is_set())


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """An event that the first SIGINT or SIGTERM sets; a second one raises KeyboardInterrupt."""
    event, signals = Interrupt(), []
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handler(number, frame):
        if signals:
            raise KeyboardInterrupt
        signals.append(number)
        event.name = signal.Signals(number).name
        event.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
