"""A sweep's runs on other machines, by an engine that is there: Slurm through submitit, or Ray.

The caller cuts the runs into jobs and hands them over; each worker compiles what its job needs and writes what is done
into the sweep's folder, which all of them must see, as the caller would have done. So a job whose worker dies loses
a minute: it is handed over again, and does what is not there yet.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rich.console import Console

from purejaxrl import caching, files, folders, metrics
from purejaxrl.populations import UNDER_WAY, Point, Program, Setup, batch_name, labelled
from purejaxrl.progress import Progress
from purejaxrl.types import SettingError, check_choice

NAMES = ("local", "slurm", "ray")
JOBS = "jobs"  # submitit's own files, within the sweep's folder
MINUTES = 60  # of a Slurm job, which then goes to the queue again and on; SBATCH_TIMELIMIT wins
LOCAL_MINUTES = 60 * 24 * 365
RESTARTS = 1000  # of a job that Slurm stops at its time limit or for another one
TRIES = 3  # of a job whose worker dies, or fails in another way
POLL_SECONDS = 0.2


class Job(NamedTuple):
    """Runs of one program."""

    folder: str
    setup: Setup
    traced: Sequence[str]  # the fields whose values are lanes
    types: Mapping[str, type]  # of all fields that are searched
    points: Sequence[Point]
    num_points: int  # of this program in the whole sweep, from which the lanes follow
    num_lanes: int | None
    memory: float | None
    watched: bool  # stop where nobody is at work in the folder any more


class Handle(Protocol):
    """A job that was handed over, as submitit has it."""

    def done(self) -> bool: ...

    def result(self) -> Any: ...

    def cancel(self) -> Any: ...


Submit = Callable[..., Handle]


class Work:
    """Do a job in a worker: call it. It returns the message of what was refused there, or an empty one."""

    written = False
    saved: frozenset[Path] = frozenset()

    def __call__(self, job: Job) -> str:
        caching.use()
        folder, self.saved = Path(job.folder), _saved(job)
        if job.watched:
            threading.Thread(target=_leave_when_alone, args=(folder,), daemon=True).start()
        there = _pairs(folder)
        points = [point for point in job.points if (point.values["config_id"], point.seed) not in there]
        try:
            program = Program(job.setup, job.traced, job.num_points, num_lanes=job.num_lanes, memory=job.memory)
            with (progress := Progress(Console(quiet=True))).training(len(points)):
                for batch in program.run(points, progress, threading.Event(), folder=folder / UNDER_WAY):
                    metrics.write_part(folder, labelled(batch, job.types), f"-{uuid.uuid4().hex[:8]}")
                    self.written = True
        except SettingError as error:
            return str(error)
        return ""

    def checkpoint(self, job: Job) -> Any:
        """What submitit puts into the queue again where Slurm stops the job: the same, which does what is missing.

        None where nothing was done or saved in its time: then nothing will be the next time, and the job has failed.
        """
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Work(), job) if self.written or _saved(job) - self.saved else None


def check(on: Any) -> None:
    """Raise :class:`SettingError` unless it is one of NAMES whose package is there, or an executor of submitit."""
    if callable(getattr(on, "submit", None)):
        return
    check_choice(on, NAMES, "on")
    package, extra = ("ray", "ray") if on == "ray" else ("submitit", "slurm")
    if importlib.util.find_spec(package) is None:
        raise SettingError(f"on: {on} needs {package}: pip install 'purejaxrl[{extra}]'")


def submitter(on: Any, folder: Path) -> Submit:
    """What hands ``(function, *arguments)`` over to an engine that :func:`check` has let pass.

    Raises:
      SettingError: where it cannot be used on this machine.
    """
    if callable(getattr(on, "submit", None)):
        return on.submit
    return _ray() if on == "ray" else _submitit(on, folder)


def finish(
    submit: Submit,
    jobs: Sequence[Job],
    workers: int,
    interrupted: threading.Event,
    say: Callable[[str], None],
) -> Iterator[None]:
    """Keep so many jobs under way until all are done, yielding every moment; no job is under way when it ends.

    Raises:
      SettingError: where a worker raised one, or the engine takes no job.
      ChildProcessError: (an OSError) where workers failed at a job again and again.
    """
    waiting, tries = deque(enumerate(jobs)), Counter()
    running: dict[int, Handle] = {}
    try:
        while (waiting or running) and not interrupted.is_set():
            while waiting and len(running) < workers:
                number, job = waiting.popleft()
                try:
                    running[number] = submit(Work(), job)
                except Exception as error:  # of the engine's own kinds: no such partition, no account, too many jobs
                    raise SettingError(f"on: the job was refused: {error}") from error
            for number in [number for number, handle in running.items() if handle.done()]:
                try:
                    refused = running.pop(number).result()
                except Exception as error:
                    tries[number] += 1
                    if tries[number] == TRIES:
                        raise ChildProcessError(f"workers failed {TRIES} times at the same runs: {error}") from error
                    say(f"a worker failed ({type(error).__name__}): what it had not done is handed over again")
                    waiting.append((number, jobs[number]))
                else:
                    if refused:
                        raise SettingError(refused)
            yield
            time.sleep(POLL_SECONDS)
        yield
    finally:
        for handle in running.values():
            handle.cancel()


def _saved(job: Job) -> frozenset[Path]:
    """What is saved of the job's batches under way."""
    names = set(map(batch_name, job.points))
    return frozenset(path for path in (Path(job.folder) / UNDER_WAY).glob("*/[0-9]*") if path.parent.name in names)


def _pairs(folder: Path) -> set[tuple[int, int]]:
    """The runs that are there, by configuration and seed; what cannot be read is not."""
    found: set[tuple[int, int]] = set()
    for path in metrics.parts(folder):
        try:
            part = files.read_table(path, ("config_id", "seed"), others=False).drop_duplicates()
        except (OSError, ValueError):
            continue
        found |= set(zip(part["config_id"].tolist(), part["seed"].tolist(), strict=True))
    return found


def _leave_when_alone(folder: Path) -> None:
    """End this process once nobody holds the folder: whoever asked for the work was killed."""
    while folders.is_held(folder):
        time.sleep(POLL_SECONDS)
    os._exit(1)


def _submitit(on: str, folder: Path) -> Submit:
    import submitit

    # Results are pickles: in a new folder for each call, lest some were laid there for jobs to come.
    jobs = folder / JOBS / uuid.uuid4().hex
    try:
        executor = submitit.AutoExecutor(jobs, cluster=on, **{f"{on}_max_num_timeout": RESTARTS})
    except RuntimeError as error:  # no Slurm on this machine
        raise SettingError(f"on: {on} cannot be used here: {error}") from None
    executor.update_parameters(name="purejaxrl", timeout_min=LOCAL_MINUTES if on == "local" else MINUTES)
    return executor.submit


class _RayHandle:
    def __init__(self, ray: Any, reference: Any):
        self._ray, self._reference = ray, reference

    def done(self) -> bool:
        return bool(self._ray.wait([self._reference], timeout=0)[0])

    def result(self) -> Any:
        return self._ray.get(self._reference)

    def cancel(self) -> None:
        self._ray.cancel(self._reference, force=True)


def _ray() -> Submit:
    import ray

    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    gpus = 1 if ray.cluster_resources().get("GPU", 0) else 0
    remote: Any = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(_call)
    return lambda function, job: _RayHandle(ray, remote.remote(function, job))


def _call(function: Callable[[Job], str], job: Job) -> str:
    return function(job)
