"""What a long command is doing, on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import rich.progress
from rich.console import Console
from rich.text import Text

from purejaxrl.watchdog import Watchdog

PLAIN_SECONDS = 10  # between two lines where there is no terminal


class Progress:
    """Phases with their time, and a bar over environment steps with throughput, return and time left.

    With `stall_minutes` above 0 a process that has nothing new to say for so long is ended (:mod:`purejaxrl.watchdog`).
    """

    def __init__(self, console: Console | None = None, *, stall_minutes: float = 0.0, quiet: bool = False):
        self._watchdog = Watchdog(60 * stall_minutes) if stall_minutes else None
        self.console = console or _Stderr(stderr=True, highlight=False)
        self.quiet = quiet
        self._live = rich.progress.Progress(
            rich.progress.SpinnerColumn(),
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(bar_width=24),
            rich.progress.TaskProgressColumn(),
            rich.progress.TimeElapsedColumn(),
            _Details(),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
            transient=True,
        )
        self._task: rich.progress.TaskID | None = None
        self._done = self._total = 0
        self._last = 0.0
        self._timed: tuple[int, float] | None = None  # steps and time of the first report: what compiled is over then
        self._return = np.nan
        self.note = ""  # at the end of the line

    def __enter__(self) -> Progress:
        self._live.start()
        if self._watchdog:
            self._watchdog.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._watchdog:
            self._watchdog.__exit__()
        self._live.stop()

    def _pat(self) -> None:
        if self._watchdog:
            self._watchdog.pat()

    def say(self, line: str) -> None:
        """Print one line that stays, unless quiet."""
        self._pat()
        if not self.quiet:
            self.warn(line)

    def warn(self, line: str) -> None:
        """Print one line that stays, quiet or not."""
        self.console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Show that this is going on; phases of a second or more leave a line with their time."""
        self._pat()
        start = time.perf_counter()
        task = self._live.add_task(name, total=None, details="")
        if not self.console.is_terminal:
            self.say(f"{name} ...")
        try:
            yield
        finally:
            self._live.remove_task(task)
            self._pat()
        seconds = time.perf_counter() - start
        if seconds >= 1 and self.console.is_terminal:
            self.say(f"{name}: {seconds:.1f} s")

    @contextmanager
    def training(self, total: int) -> Iterator[None]:
        """Show a bar over `total` environment steps while :meth:`advance` is called."""
        self._task = self._live.add_task("training", total=total, details="")
        self._done, self._total, self._return, self._timed = 0, total, np.nan, None
        self._last = time.perf_counter()
        try:
            yield
        finally:
            self._live.remove_task(self._task)

    def advance(self, steps: int, rows: pd.DataFrame | None = None) -> None:
        """Count `steps` more; `rows` are the new metrics, whose mean return is shown."""
        self._pat()
        self._done += steps
        now = time.perf_counter()
        found = np.zeros(0) if rows is None else np.asarray(rows["episode_return"].dropna())
        if found.size:
            self._return = found.mean()
        first, start = self._timed = self._timed or (self._done, now)
        rate = f", {(self._done - first) / (now - start):,.0f}/s" if self._done > first and now > start else ""
        details = f"{self._done:,} of {self._total:,} steps{rate}, mean return {self._return:.4g}"
        details += f", {self.note}" if self.note else ""
        assert self._task is not None
        self._live.update(self._task, completed=self._done, details=details)
        if not self.console.is_terminal and (now - self._last > PLAIN_SECONDS or self._done == self._total):
            self._last = now
            self.say(f"training: {details}")


class _Stderr(Console):
    def on_broken_pipe(self) -> None:
        """Go on without a word where nobody reads any more (``2>&1 | head``): what is trained must not be lost."""
        self.quiet = True


class _Details(rich.progress.ProgressColumn):
    def render(self, task: rich.progress.Task) -> Text:
        return Text(task.fields["details"])
