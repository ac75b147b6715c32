"""What hangs ends with a word instead of never: the stack of every thread, and an exit code of its own."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading

EXIT = 4
TICK = 1.0  # seconds


class Watchdog:
    """Ends the process unless :meth:`pat` is called every so many seconds, while it is entered.

    Its own waking counts, not the clock: a machine that slept, a process that was stopped for a while, or a clock that
    was set are no hang.
    """

    def __init__(self, seconds: float):
        self.seconds, self._tick = seconds, min(TICK, seconds / 4)
        self._ticks, self._over = 0, threading.Event()

    def pat(self) -> None:
        self._ticks = 0

    def __enter__(self) -> Watchdog:
        self.pat()
        self._over = threading.Event()
        threading.Thread(target=self._watch, args=(self._over,), daemon=True, name="watchdog").start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(self._tick):
            self._ticks += 1
            if self._ticks * self._tick > self.seconds:
                minutes = f"{self.seconds / 60:.3g} minutes"
                print(f"purejaxrl: no progress for {minutes}; every thread's stack:", file=sys.stderr)
                faulthandler.dump_traceback(sys.stderr, all_threads=True)
                sys.stderr.flush()
                os._exit(EXIT)
