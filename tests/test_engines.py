"""Sweeps whose runs are done by workers elsewhere: the same results, whoever dies."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import probes
import pytest
from rich.console import Console

import purejaxrl
from purejaxrl import engines, lanes, populations
from purejaxrl.algos import PPO
from purejaxrl.progress import Progress
from purejaxrl.types import SettingError

pytest.importorskip("submitit")
SEARCH = {"algo.learning_rate": [1e-3, 3e-3], "num_envs": [2, 3]}
LEARNER = {"num_steps": 6, "num_minibatches": 2, "num_epochs": 1, "hidden": (8,)}


def sweep(out, said=None, learner=None, **changes):
    progress = Progress(Console(quiet=True))
    if said is not None:
        progress.say = said.append
    settings = {"search": SEARCH, "seeds": 3, "num_envs": 2, "total_steps": 80, "progress": progress} | changes
    return purejaxrl.sweep(probes.Clock(), learner or PPO(**LEARNER), out=out, **settings)


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled():
    """Workers compile as this process does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        yield


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """The sweep in one process, which compiles as the workers do and not as the tests' own."""
    out = tmp_path_factory.mktemp("here") / "x"
    code = f"import test_engines, pathlib; test_engines.sweep(pathlib.Path({str(out)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True, timeout=200)
    return purejaxrl.load(out)


def same(found, expected):
    columns = [name for name in expected.columns if name != "seconds"]
    pd.testing.assert_frame_equal(found[columns], expected[columns], check_exact=True)


@pytest.mark.filterwarnings("ignore:total_steps")
@pytest.mark.parametrize("on", ["local", pytest.param("ray", marks=pytest.mark.slow)])
@pytest.mark.timeout(560)
def test_workers_find_the_same_even_when_one_is_killed(on, here, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where probes are
    if on == "ray":
        ray = pytest.importorskip("ray")
        ray.init(num_cpus=2, num_gpus=0, log_to_driver=False, include_dashboard=False)
    grave, said = tmp_path / "grave", []
    grave.write_text(str(os.getpid()))
    try:
        found = sweep(tmp_path / "x", said, probes.Mortal(**LEARNER, grave=str(grave)), on=on, workers=2)
    finally:
        if on == "ray":
            ray.shutdown()
    assert not grave.exists()
    assert sum("a worker failed" in line for line in said) >= 1
    same(found.frame, here)
    same(purejaxrl.load(tmp_path / "x"), here)
    assert not (tmp_path / "x" / "jobs").exists()


@pytest.mark.filterwarnings("ignore:total_steps")
def test_nobody_works_for_a_caller_that_was_killed(here, tmp_path, monkeypatch):
    """SIGKILL while workers are at it: they leave too, and the same call in this process does what is missing."""
    out = tmp_path / "x"
    code = f"import test_engines; test_engines.sweep({str(out)!r}, seeds=200, total_steps=800, on='local')"
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent)
    try:
        deadline = time.monotonic() + 120
        while not list(out.glob("parts/*.parquet")) and caller.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert caller.poll() is None
    finally:
        caller.kill()
        caller.wait()
    deadline = time.monotonic() + 60
    while working(out) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not working(out)
    assert 0 < purejaxrl.load(out).groupby(["config_id", "seed"]).ngroups < 800
    found = sweep(out, seeds=200, total_steps=800)
    assert found.frame.groupby(["config_id", "seed"]).ngroups == 800
    pd.testing.assert_frame_equal(purejaxrl.load(out), found.frame)


def working(out):
    """Processes of workers on this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return [command for command in found if str(out / "jobs").encode() in command]


def test_what_is_refused_in_a_worker_is_refused_here(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with pytest.raises(SettingError, match="one lane per device needs"):
        sweep(tmp_path / "x", on="local", workers=1, memory_gb=1e-9, search={"algo.gamma": [0.9]})
    assert not working(tmp_path / "x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"on": "slrum"}, "on: unknown value 'slrum'; did you mean slurm"),
        ({"on": 3}, "on"),
        ({"on": "local", "workers": 0}, "workers must be >= 1, got 0"),
        ({"on": "local", "rungs": (0.5,)}, "leave out on, or rungs"),
        ({"on": "local", "out": None}, "give out, a folder that all of them see"),
    ],
)
def test_engines_that_cannot_be(changes, message, tmp_path):
    with pytest.raises(SettingError, match=message):
        sweep(**{"out": tmp_path / "x"} | changes)
    assert not (tmp_path / "x").exists()


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"on: ray needs ray: pip install 'purejaxrl\[ray\]'"):
        sweep(tmp_path / "x", on="ray")


def test_a_job_that_an_engine_refuses_is_said(tmp_path):
    """Slurm without such a partition, for one, in submitit's own kind of error."""

    class Refuses:
        def submit(self, *arguments):
            raise RuntimeError("sbatch: error: invalid partition specified: gpu")

    with pytest.raises(SettingError, match="on: the job was refused: sbatch: error: invalid partition"):
        sweep(tmp_path / "x", on=Refuses())


def test_no_more_jobs_than_runs(tmp_path):
    jobs = []

    class Keeps:
        def submit(self, work, job):
            jobs.append(job)
            raise RuntimeError

    for workers in (16, 2):
        with pytest.raises(SettingError, match="refused"):
            sweep(tmp_path / str(workers), on=Keeps(), workers=workers, search={"algo.gamma": [0.9, 0.95]}, seeds=2)
    assert all(job.points for job in jobs)


def test_no_slurm_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingError, match="on: slurm cannot be used here"):
        sweep(tmp_path / "x", on="slurm")


@pytest.mark.filterwarnings("ignore:total_steps")
def test_a_job_that_is_stopped_in_the_middle_of_its_runs_goes_on_there(tmp_path, monkeypatch):
    jobs, done, advance = [], [], lanes.Lanes.advance
    settings = {"search": {"algo.gamma": [0.9]}, "seeds": 1}

    class Keeps:
        def submit(self, work, job):
            jobs.append(job)
            raise RuntimeError

    with pytest.raises(SettingError, match="refused"):
        sweep(tmp_path / "x", on=Keeps(), workers=1, **settings)

    def counted(self, *args):
        done.append(self.done + 1)
        if len(done) == 3:
            raise SystemExit  # as after a signal
        return advance(self, *args)

    monkeypatch.setattr(lanes.Lanes, "advance", counted)
    monkeypatch.setattr(lanes, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(populations, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(engines.caching, "use", lambda: None)
    work = engines.Work()
    with pytest.raises(SystemExit):
        work(jobs[0])
    assert not list((tmp_path / "x" / "parts").iterdir())
    again = work.checkpoint(jobs[0])
    assert again.function(jobs[0]) == ""
    assert done[:4] == [1, 2, 3, 3]
    same(sweep(tmp_path / "x", **settings).frame, sweep(tmp_path / "whole", **settings).frame)
    assert not (tmp_path / "x" / populations.UNDER_WAY).exists()


def test_a_job_that_goes_to_the_queue_again_does_what_is_missing(tmp_path, monkeypatch):
    """As Slurm has it at a job's time limit; and an interrupt ends all jobs."""
    job = engines.Job(str(tmp_path), None, (), {}, (), 0, None, None, False)
    work, event, cancelled = engines.Work(), threading.Event(), []
    assert work.checkpoint(job) is None  # it did nothing in its time, nor would it the next time
    work.written = True
    again = work.checkpoint(job)
    assert isinstance(again.function, engines.Work)
    assert again.args == (job,)
    assert not again.function.written

    class Endless:
        def done(self):
            event.set()
            return False

        def cancel(self):
            cancelled.append(self)

    list(engines.finish(lambda *job: Endless(), [job, job, job], 2, event, print))
    assert len(cancelled) == 2
