"""Steps per second, compile times, memory and time from a process's start, beside other libraries on the same work.

A worker process of each library compiles once, then they train in turns with the seed of the round, so that what the
machine does beside hits all alike. Equal are the environment, the steps (whole updates), the network, batches, epochs
and settings; what one of them lacks is off in all: annealing and gradient clipping. That they learn is seen in the mean
return of fresh episodes with the best actions, which is not timed. Processes are timed from their start to their first
update, and to the end of PPO's run with 4 envs: one after the other, in turns as well.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from purejaxrl import files
from purejaxrl.bench import peers_venv
from purejaxrl.progress import Progress
from purejaxrl.runs import versions
from purejaxrl.types import SettingError, check_choice, check_int

Frame = Any  # pandas.DataFrame, whose type stubs know no difference between a column and a row


@dataclasses.dataclass(frozen=True)
class Work:
    """What each library does: settings by the names used here."""

    algo: str
    num_envs: int
    total_steps: int
    settings: Mapping[str, Any]
    peers: tuple[str, ...] = ("rejax",)
    env: str = "CartPole-v1"
    cnn: bool = False  # of the MinAtar paper, one for the actor and one for the critic

    def to_json(self, **more: Any) -> str:
        return json.dumps(dataclasses.asdict(self) | {"settings": dict(self.settings)} | more)


PPO = {"num_steps": 128, "num_epochs": 4, "num_minibatches": 4, "learning_rate": 2.5e-4, "gamma": 0.99}
PPO |= {"gae_lambda": 0.95, "clip_eps": 0.2, "ent_coef": 0.01, "vf_coef": 0.5, "activation": "tanh"}
DQN = {"num_steps": 1, "num_gradient_steps": 1, "batch_size": 128, "tau": 0.02, "target_period": 1}
DQN |= {"learning_rate": 1e-3, "gamma": 0.99, "buffer_size": 10_000, "learning_starts": 1000, "double": False}
DQN |= {"epsilon_start": 1.0, "epsilon_end": 0.05, "exploration_fraction": 0.5, "activation": "swish"}
PQN = {"num_steps": 128, "num_epochs": 4, "num_minibatches": 16, "learning_rate": 5e-4, "gamma": 0.99, "lam": 0.9}
PQN |= {"epsilon_start": 1.0, "epsilon_end": 0.05, "exploration_fraction": 0.5}
BOTH = ("rejax", "original")
WORKS = {
    "ppo-4": Work("ppo", 4, 499_712, PPO, BOTH),
    "ppo-64": Work("ppo", 64, 524_288, PPO, BOTH),
    "ppo-2048": Work("ppo", 2048, 4_194_304, PPO | {"learning_rate": 1e-3}, BOTH),
    "ppo-minatar": Work("ppo", 64, 32_768, PPO | {"activation": "relu"}, env="Breakout-MinAtar", cnn=True),
    "dqn-10": Work("dqn", 10, 50_000, DQN, BOTH),
    "dqn-128": Work("dqn", 128, 256_000, DQN, BOTH),
    "pqn-128": Work("pqn", 128, 524_288, PQN),
}
OURS = ("purejaxrl", "purejaxrl, warm cache")
SCRIPTS = {"rejax": "rejax_peer.py", "original": "original_peer.py", "sb3": "sb3_peer.py", "sbx": "sb3_peer.py"}
LIBRARIES = {"sb3": "stable_baselines3", "sbx": "sbx"}
MINUTES = 30  # of one training run: a stalled worker must not hold up the rest


class Worker:
    """A process that trains when it is told a seed."""

    def __init__(self, library: str, work: Work, devices: int, checkout: Path | None, cache: Path | None = None):
        environment = dict(os.environ) | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
        if cache is not None:
            environment |= {"JAX_ENABLE_COMPILATION_CACHE": "true", "JAX_COMPILATION_CACHE_DIR": str(cache)}
            environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3"}
        peer = library.partition(",")[0]
        interpreter, script = Path(sys.executable), "own_peer.py"
        if peer in SCRIPTS:
            interpreter, script, devices = peers_venv.python(peer), SCRIPTS[peer], 1
        if devices > 1:
            flags = f"--xla_force_host_platform_device_count={devices} --xla_cpu_multi_thread_eigen=false"
            environment["XLA_FLAGS"] = flags
        sent = work.to_json(devices=devices, checkout=str(checkout), library=LIBRARIES.get(peer))
        flag = ["--serve"] if peer == "rejax" else []
        command = [str(interpreter), "-Wignore", str(peers_venv.SCRIPTS / script), *flag, sent]
        self.library = library
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  as long as the process
        self.start = time.perf_counter()
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        self.process = subprocess.Popen(command, text=True, env=environment, **pipes)

    def prepare(self) -> float:
        """Wait until it has compiled; the seconds that took."""
        return self._hear()["compile_seconds"]

    def train(self, seed: int) -> dict[str, float]:
        """One run: its seconds, steps, mean return, peak of memory, and the seconds since the process started."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has gone, and what follows says why
            self.process.stdin.write(f"{seed}\n")
            self.process.stdin.flush()
        found = self._hear() | {"since_start": time.perf_counter() - self.start}
        return found | self._hear()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.errors.close()

    def _hear(self) -> dict[str, float]:
        assert self.process.stdout is not None
        stalled = threading.Timer(60 * MINUTES, self.process.kill)
        stalled.start()
        line = self.process.stdout.readline()
        stalled.cancel()
        if not line:
            self.errors.seek(0)
            reason = (self.errors.read().strip().splitlines() or ["it said nothing"])[-1]
            raise SettingError(f"peers: the worker of {self.library} has stopped: {reason}")
        return json.loads(line)


def run(
    out: Path,
    progress: Progress,
    *,
    works: Sequence[str] = (),
    rounds: int = 5,
    devices: int = 1,
    checkout: Path | None = None,
    start_up: Sequence[str] = ("rejax",),
) -> Frame:
    """Compare; write ``out/speed.parquet`` (a row per work, library and round), ``speed.md`` and ``machine.json``.

    Args:
      out: the folder; results of works that are not asked for now stay in it.
      progress: where to say what is going on.
      works: of WORKS; empty: all.
      rounds: of each work, and of each process that is timed from its start.
      devices: host devices that one run of ours is spread over, where it is no DQN.
      checkout: PureJaxRL's repository, the original; None: it is left out.
      start_up: peers that are timed from their process's start, too, beside ours; empty: none, nor ours.

    Returns:
      The results, a row per work, library and round, with those that were in the folder.

    Raises:
      SettingError: for unknown names, a checkout that is none, a peer that cannot be installed or stops.
    """
    check_int(rounds, "rounds", ge=1)
    check_int(devices, "devices", ge=1)
    for given, known, field in ((works, WORKS, "works"), (start_up, SCRIPTS, "start_up")):
        for name in given:
            check_choice(name, known, field)
    if checkout is not None and not (checkout / "purejaxrl" / "ppo.py").exists():
        raise SettingError(f"checkout {checkout} has no purejaxrl/ppo.py: give a clone of PureJaxRL's repository")
    chosen = works or list(WORKS)
    peers = {peer for name in chosen for peer in WORKS[name].peers} | {*start_up}
    if checkout is None:
        peers.discard("original")
    for peer in sorted(peers):
        with progress.phase(f"installing {peer}"):
            peers_venv.python(peer)
    out.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        libraries = ["purejaxrl", *(peer for peer in WORKS[name].peers if peer in peers)]
        _add(out, _in_turns(name, libraries, progress, rounds, devices, checkout))
    if start_up:
        _add(out, _from_start(progress, [*OURS, *(name for name in start_up if name in peers)], rounds, checkout))
    with files.replacing(out / "machine.json") as temporary:
        temporary.write_text(json.dumps(machine(), indent=1), encoding="utf-8")
    results = pd.read_parquet(out / "speed.parquet")
    with files.replacing(out / "speed.md") as temporary:
        temporary.write_text(markdown(results), encoding="utf-8")
    return results


def machine() -> dict[str, Any]:
    """What it ran on, and the versions of both sides."""
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    about = {"cpu": model or platform.processor(), "cores": os.cpu_count(), "system": platform.platform()}
    return about | {"versions": versions(), "peers": peers_venv.PACKAGES}


def _in_turns(
    name: str, libraries: Sequence[str], progress: Progress, rounds: int, devices: int, checkout: Path | None
) -> list[dict[str, Any]]:
    work, rows = WORKS[name], []
    devices = devices if work.algo != "dqn" else 1
    workers = []
    try:
        for library in libraries:
            with progress.phase(f"{name}: compiling {library}"):
                workers.append(Worker(library, work, devices, checkout))
                rows.append({"library": library, "round": 0, "compile_seconds": workers[-1].prepare()})
        for number in range(rounds):
            with progress.phase(f"{name}: round {number + 1} of {rounds}"):
                for worker in workers:
                    found = worker.train(number)
                    found["steps_per_second"] = found["steps"] / found["seconds"]
                    rows.append({"library": worker.library, "round": number} | found)
    finally:
        for worker in workers:
            worker.close()
    label = name if devices == 1 else f"{name}, {devices} devices"
    if len({row["steps"] for row in rows if "steps" in row}) > 1:
        raise SettingError(f"works: {name} is not the same number of steps in all libraries")
    return [{"work": label} | row for row in rows]


def _from_start(progress: Progress, names: Sequence[str], rounds: int, checkout: Path | None) -> list[dict[str, Any]]:
    """From a process's start to its first update, and to the end of the whole work."""
    whole, rows = WORKS["ppo-4"], []
    first = dataclasses.replace(whole, total_steps=whole.num_envs * whole.settings["num_steps"])
    with tempfile.TemporaryDirectory() as caches:
        for label, work in (("first update", first), ("start to end", whole)):
            with progress.phase(f"{label}: filling the cache"):
                _timed(OURS[1], work, checkout, Path(caches), 0)
            for number in range(rounds):
                for name in names:
                    with progress.phase(f"{label}: {name}, round {number + 1} of {rounds}"):
                        found = _timed(name, work, checkout, Path(caches) if name == OURS[1] else None, number)
                    rows.append({"work": label, "library": name, "round": number} | found)
    return rows


def _timed(name: str, work: Work, checkout: Path | None, cache: Path | None, seed: int) -> dict[str, float]:
    worker = Worker(name, work, 1, checkout, cache)
    try:
        worker.prepare()
        return worker.train(seed)
    finally:
        worker.close()


def _add(out: Path, rows: list[dict[str, Any]]) -> None:
    """Add the rows to the results, in the place of earlier ones of the same works."""
    path = out / "speed.parquet"
    new: Frame = pd.DataFrame(rows)
    if path.exists():
        try:
            old = files.read_table(path, words=("work", "library"))
        except (OSError, ValueError) as error:
            raise SettingError(f"{path} is damaged ({error}): remove it to begin anew") from None
        new = pd.concat([old[~old["work"].isin(new["work"])], new], ignore_index=True)
    with files.replacing(path) as temporary:
        files.write_table(temporary, new)


def ratios(results: Frame) -> dict[tuple[str, str], float]:
    """Of each work and peer the median over rounds of our steps per second divided by the peer's."""
    found = {}
    for (work, peer), theirs in results[results["steps_per_second"].notna()].groupby(["work", "library"], sort=False):
        ours = results[(results["work"] == work) & (results["library"] == "purejaxrl")]
        if peer != "purejaxrl":
            found[work, peer] = statistics.median(_ratios(theirs["steps_per_second"], ours["steps_per_second"]))
    return found


def markdown(results: Frame) -> str:
    """The tables: ratios are medians over rounds, with the smallest and the largest."""
    columns = "work | beside | its steps/s | purejaxrl steps/s | ratio | returns: ours, its | compile s | peak MB"
    lines = [f"| {columns} |", "|---" * 8 + "|"]
    starts = ["", "| seconds | purejaxrl | beside | its seconds | ratio |", "|---|---|---|---|---|"]
    for work, rows in results.groupby("work", sort=False):
        for peer in dict.fromkeys(rows["library"]):
            if peer in OURS:
                continue
            if "compile_seconds" in rows and rows["compile_seconds"].notna().any():
                lines.append(_throughput(work, rows, peer))
            else:
                starts += [_start(work, rows, library, peer) for library in OURS]
    return "\n".join([*(lines if len(lines) > 2 else []), *(starts if len(starts) > 3 else [])]) + "\n"


def _throughput(work: str, rows: Frame, peer: str) -> str:
    ours, theirs = (rows[rows["library"] == library] for library in ("purejaxrl", peer))
    cells = [work, peer, *_compared(theirs["steps_per_second"], ours["steps_per_second"])]
    cells.append(", ".join(f"{side['mean_return'].mean():.3g}" for side in (ours, theirs)))
    cells.append(" / ".join(f"{side['compile_seconds'].max():.1f}" for side in (ours, theirs)))
    cells.append(" / ".join(f"{side['peak_bytes'].max() / 1e6:.0f}" for side in (ours, theirs)))
    return f"| {' | '.join(cells)} |"


def _start(label: str, rows: Frame, library: str, peer: str) -> str:
    ours, theirs = (rows[rows["library"] == name]["since_start"] for name in (library, peer))
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    note = library.partition(", ")[2]
    cells = [f"{label}{', ' if note else ''}{note}", f"{ours.median():.1f}", peer, f"{theirs.median():.1f}"]
    return f"| {' | '.join(cells)} | {_spread(ratios)} |"


def _compared(theirs: Any, ours: Any) -> list[str]:
    return [f"{theirs.median():,.0f}", f"{ours.median():,.0f}", _spread(_ratios(theirs, ours))]


def _ratios(theirs: Any, ours: Any) -> list[float]:
    return [our / their for our, their in zip(ours.dropna(), theirs.dropna(), strict=True)]


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
