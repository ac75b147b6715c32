"""Where metrics go while a run or a sweep is under way: files that others follow, TensorBoard, W&B, trackio.

A tracker gets rows of the tidy frame as they come, `log`, and a `close` at the end. Each pair of a configuration and a
seed is a run of its own there; its steps are environment steps. What is not a number is left out.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from purejaxrl import files
from purejaxrl.types import SettingError, check_choice, shown

Frame = Any  # pandas.DataFrame, whose type stubs know no difference between a column and a row
NO_METRICS = ("config_id", "seed", "update", "env_steps", "parent", "rung")


class Tracker(Protocol):
    """Anything with these two methods is one: purejaxrl.sweep(..., trackers=[mine])."""

    def log(self, rows: Frame, fields: Sequence[str]) -> None:
        """Take rows with `config_id`, `seed`, `update`, `env_steps`, the searched `fields`, and the metrics."""
        ...

    def close(self) -> None:
        """Write what is left; called once, however the run ended."""
        ...


class JsonLines:
    """One line of JSON per row, appended to a file; null for what is not a finite number.

    Half a line, of a process that was killed as it wrote, is dropped.
    """

    def __init__(self, path: Path):
        self.path, self.begun = path, False

    def log(self, rows: Frame, fields: Sequence[str]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.begun and self.path.is_file():
            files.cut_half_line(self.path)
        self.begun = True
        with self.path.open("a", encoding="utf-8") as file:
            for row in rows.to_dict("records"):
                unsaid = {name: None for name, value in row.items() if isinstance(value, float) and not _finite(value)}
                file.write(json.dumps(row | unsaid, allow_nan=False, default=_plain) + "\n")

    def close(self) -> None:
        pass


class TensorBoard:
    """Event files, a folder for each run; `tensorboard --logdir` shows them. Needs ``purejaxrl[tensorboard]``."""

    OPEN = 64  # writers; the oldest is closed for a new one

    def __init__(self, folder: Path):
        self.module, self.folder = _needed("tensorboardX", "tensorboard"), folder
        self.writers: dict[str, Any] = {}
        self.count = 0

    def log(self, rows: Frame, fields: Sequence[str]) -> None:
        for name, settings, run in _runs(rows, fields):
            if name not in self.writers:
                if len(self.writers) == self.OPEN:
                    self.writers.pop(next(iter(self.writers))).close()
                self.count += 1  # files of one second would have one name
                suffix = f".{self.count}"
                self.writers[name] = self.module.SummaryWriter(str(self.folder / name), filename_suffix=suffix)
                shown = json.dumps(settings, indent=2, default=_plain)
                self.writers[name].add_text("configuration", f"```\n{shown}\n```")
            for steps, values in run:
                for metric, value in values.items():
                    self.writers[name].add_scalar(metric, value, steps)
            self.writers[name].flush()

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()


class WandB:
    """Weights & Biases: runs of one group, offline where WANDB_MODE says so. Needs ``purejaxrl[wandb]``."""

    def __init__(self, folder: Path, project: str = "purejaxrl"):
        self.module, self.folder, self.project = _needed("wandb", "wandb"), folder, project
        self.runs: dict[str, Any] = {}

    def log(self, rows: Frame, fields: Sequence[str]) -> None:
        for name, settings, run in _runs(rows, fields):
            if name not in self.runs:
                self.folder.mkdir(parents=True, exist_ok=True)
                self.runs[name] = self.module.init(
                    project=self.project,
                    group=self.folder.resolve().name,
                    name=name,
                    config=settings,
                    dir=str(self.folder),
                    reinit="create_new",
                )
            for steps, values in run:
                self.runs[name].log(values, step=steps)

    def close(self) -> None:
        for run in self.runs.values():
            run.finish()


class Trackio:
    """trackio, a local dashboard with W&B's interface: `trackio show`. Needs ``purejaxrl[trackio]``."""

    def __init__(self, folder: Path, project: str = "purejaxrl"):
        self.module, self.group, self.project = _needed("trackio", "trackio"), folder.resolve().name, project

    def log(self, rows: Frame, fields: Sequence[str]) -> None:
        for name, settings, run in _runs(rows, fields):
            self.module.init(self.project, name=f"{self.group}/{name}", config=settings, resume="allow", embed=False)
            for steps, values in run:
                self.module.log(values, step=steps)
            self.module.finish()

    def close(self) -> None:
        pass


NAMES = ("jsonl", "tensorboard", "wandb", "trackio")


def make(names: Sequence[str], out: Path) -> list[Tracker]:
    """Trackers by their names, with their files in the folder `out`.

    Raises:
      SettingError: where a name is none, or its package is missing, with the extra that brings it.
    """
    for name in names:
        check_choice(name, NAMES, "log")
    makers = {
        "jsonl": lambda: JsonLines(out / "metrics.jsonl"),
        "tensorboard": lambda: TensorBoard(out / "tensorboard"),
        "wandb": lambda: WandB(out),
        "trackio": lambda: Trackio(out),
    }
    return [makers[name]() for name in dict.fromkeys(names)]


def check_trackers(trackers: Sequence[Tracker]) -> None:
    """Raise :class:`SettingError` unless each of them is a tracker."""
    if isinstance(trackers, str) or not isinstance(trackers, Sequence):
        raise SettingError(f"trackers must be a sequence of them, got {shown(trackers)}")
    for number, tracker in enumerate(trackers):
        if isinstance(tracker, type) or not all(callable(getattr(tracker, name, None)) for name in ("log", "close")):
            wanted = "an object with the methods log and close, as purejaxrl.trackers.make(['jsonl'], out) gives them"
            raise SettingError(f"trackers[{number}] must be {wanted}, got {shown(tracker)}")


def tell(trackers: list[Tracker], rows: Frame, fields: Sequence[str], say: Callable[[str], None]) -> None:
    """Give new rows to each; one that fails (a full disk, a service that refuses) is said and left out from then on."""
    for tracker in list(trackers):
        try:
            tracker.log(rows, fields)
        except Exception as error:  # whatever it is, training goes on
            say(f"log: {type(tracker).__name__} failed ({error}): going on without it")
            trackers.remove(tracker)
            with suppress(Exception):
                tracker.close()


@contextmanager
def closing(trackers: Sequence[Tracker], say: Callable[[str], None]) -> Iterator[list[Tracker]]:
    """A list of them, for `tell`; those that are in it at the end, however that comes, are closed."""
    held = list(trackers)
    try:
        yield held
    finally:
        for tracker in held:
            _close(tracker, say)


def _close(tracker: Tracker, say: Callable[[str], None]) -> None:
    try:
        tracker.close()
    except Exception as error:
        say(f"log: {type(tracker).__name__} could not be closed ({error})")


def _runs(
    rows: Frame, fields: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any], list[tuple[int, dict[str, float]]]]]:
    """The rows run by run: its name, its settings, and step by step its metrics that are numbers."""
    hidden = {*NO_METRICS, *fields}
    for (config_id, seed), run in rows.groupby(["config_id", "seed"], sort=False):
        records = run.sort_values("update").to_dict("records")
        settings = {"config_id": int(config_id), "seed": int(seed), **{name: records[0][name] for name in fields}}
        metrics = [
            {name: float(value) for name, value in row.items() if name not in hidden and _finite(value)}
            for row in records
        ]
        steps = [int(row["env_steps"]) for row in records]
        yield f"config-{config_id}-seed-{seed}", settings, list(zip(steps, metrics, strict=True))


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _plain(value: Any) -> Any:
    """An array, as Parquet has a tuple, as JSON can hold it."""
    return value.tolist()


def _needed(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise SettingError(f"log: {extra} needs {module}: pip install 'purejaxrl[{extra}]'") from None
