"""Faults for an hour: runs and sweeps that are killed, stopped, corrupted and short of disk, and what that loses.

    python benchmarks/soak.py --minutes 60 --out docs/soak.md

Each case is first done without a fault. Then it is done again, stopped at random moments by SIGKILL, SIGTERM or SIGINT,
some of what it has written is damaged, or the disk is full for a while, and each time the same command goes on. What
counts as lost: an end that is not that of the case without faults, to the bit; a command that fails where it should go
on; a traceback; a process that has to be ended by force.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pandas as pd

RUN = ["--num-envs", "4", "--seeds", "2", "--save-seconds", "0", "--algo.hidden", "16"]
GRID, POLE = ["--env", "DeepSea-bsuite", "--env.size", "6"], ["--env", "CartPole-v1"]
REPLAY = ["--algo.learning-starts", "100", "--algo.buffer-size", "5000"]
RUNS = {
    "ppo": [*POLE, "--total-steps", "200000"],
    "ppo, rnd": [*GRID, "--bonus", "rnd", "--total-steps", "120000"],
    "ppo, e3b*rnd": [*GRID, "--bonus", "e3b*rnd", "--total-steps", "60000"],
    "ppo, counts, visits": [*GRID, "--bonus", "counts", "--visits", "--total-steps", "200000"],
    "ppo, noveld": [*GRID, "--bonus", "noveld", "--total-steps", "120000"],
    "dqn": [*POLE, "--algo", "dqn", *REPLAY, "--total-steps", "60000"],
    "dqn, prioritised, ngu": [
        *(*GRID, "--algo", "dqn", "--algo.prioritised", "--bonus", "ngu", *REPLAY),
        *("--total-steps", "12000"),
    ],
    "pqn, cfn": [*GRID, "--algo", "pqn", "--bonus", "cfn", "--total-steps", "60000"],
    "sac": ["--env", "Pendulum-v1", "--algo", "sac", *REPLAY, "--total-steps", "4000"],
    "hyperagent": [*GRID, "--algo", "hyperagent", *REPLAY, "--total-steps", "8000"],
}
SWEEP = [*POLE, "--num-envs", "4", "--seeds", "3", "--algo.hidden", "16", "--total-steps", "60000"]
SWEEPS = {
    "sweep": [*SWEEP, "--search", "algo.learning_rate=1e-4,1e-3,1e-2", "algo.gamma=0.9,0.99"],
    "sweep, halving": [
        *(*SWEEP, "--search", "algo.learning_rate=loguniform(1e-4,1e-2)", "--samples", "6"),
        *("--rungs", "0.3", "--keep", "0.5"),
    ],
}
PATIENCE = 900  # seconds that a process may take to its end, beside other work
SIGNALS = {"SIGKILL": 3, "SIGTERM": 1, "SIGINT": 1}  # how often, of each other


@dataclasses.dataclass
class Tally:
    """What was tried and lost, of both workers."""

    tried: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    lost: list[str] = dataclasses.field(default_factory=list)
    ends: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def count(self, fault: str) -> None:
        with self.lock:
            self.tried[fault] += 1

    def end(self, case: str, loss: str) -> None:
        with self.lock:
            self.ends[case] += 1
            self.lost += [f"{case}: {loss}"] if loss else []
            print(*self.lost[-1:] if loss else [], flush=True, end="\n" if loss else "")


def command(verb: str, *words: str, limit: int | None = None) -> subprocess.Popen:
    """A process of the command line; its files have at most `limit` blocks of 1,024 bytes, as on a full disk."""
    words = (sys.executable, "-m", "purejaxrl", verb, *words)
    if limit:
        words = ("bash", "-c", f'trap "" XFSZ; ulimit -f {limit}; exec "$@"', "bash", *words)
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    where = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "env": os.environ | flags, "text": True}
    return subprocess.Popen(words, **where)


def found(folder: Path) -> object:
    """What a case has come to: the learner of each seed and the metrics, or the results of a sweep."""
    import purejaxrl

    frame = purejaxrl.load(folder)
    frame = frame.drop(columns=[name for name in ("seconds", "wall_time") if name in frame])
    states = None
    if not (folder / "sweep.json").exists():
        states = tuple(json.loads((folder / "summary.json").read_text())["state_sha256"])
    return states, int(pd.util.hash_pandas_object(frame, index=False).sum())


def damage(folder: Path, generator: random.Random) -> str:
    """Damage the newest checkpoint, or a file of results; what was done, or nothing where there is nothing to damage.

    An older checkpoint stays: a run whose every checkpoint is damaged is refused, which tests look at.
    """
    steps = sorted((folder / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
    chosen = [path for path in steps[-1].rglob("*") if path.is_file()] if len(steps) > 1 else []
    chosen += [folder / "metrics.parquet", folder / "summary.json", *folder.glob("parts/*.parquet")]
    chosen += [path for path in folder.glob("under-way/**/*") if path.is_file()]
    chosen = [path for path in chosen if path.exists() and path.stat().st_size]
    if not chosen:
        return ""
    path, how = generator.choice(chosen), generator.choice(["flipped bit", "truncated file", "deleted file"])
    content = bytearray(path.read_bytes())
    if how == "flipped bit":
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(content)
    elif how == "truncated file":
        path.write_bytes(content[: generator.randrange(len(content))])
    else:
        path.unlink()
    return how


def one(case: str, verb: str, words: list[str], folder: Path, generator: random.Random, tally: Tally) -> str:
    """A case with faults until it is done; what it lost, if anything."""
    faults, longest = generator.randrange(2, 7), 9.0
    for number in range(faults + 20):
        first = verb == "sweep" or not (folder / "config.json").exists()
        again = [verb, *words, "--out", str(folder)] if first else ["resume", str(folder)]
        if first and verb == "train":
            shutil.rmtree(folder, ignore_errors=True)  # killed before there was a config
        limit = 3 if number < faults and generator.random() < 0.15 else None
        process = command(*again, limit=limit)
        stop = None
        try:
            if limit is not None:
                tally.count("full disk")
                _, said = process.communicate(timeout=PATIENCE)
            elif number < faults:
                _, said = process.communicate(timeout=generator.uniform(0.5, longest))
            else:
                _, said = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            if number >= faults or limit is not None:
                process.kill()
                process.communicate()
                return "it had to be ended by force"
            stop = generator.choices(list(SIGNALS), list(SIGNALS.values()))[0]
            tally.count(stop)
            process.send_signal(getattr(signal, stop))
            try:
                _, said = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                return f"{stop} did not end it"
        if "Traceback" in said:
            lines = said[said.index("Traceback") :].strip().splitlines()
            return f"a traceback after {stop or limit}: {' / '.join(line.strip() for line in lines[:30])}"
        if stop is None and limit is None and process.returncode:
            return f"exit code {process.returncode}: {said.strip().splitlines()[-1:]}"
        if stop is None and process.returncode == 0:
            return ""
        if generator.random() < 0.4 and (how := damage(folder, generator)):
            tally.count(how)
    return "it was never done"


def worker(number: int, end: float, folder: Path, references: dict[str, object], tally: Tally) -> None:
    """Cases in turns until the time is over."""
    generator, count = random.Random(number), 0
    while time.monotonic() < end:
        case = generator.choice([*RUNS, *SWEEPS, *SWEEPS])
        verb, words = ("train", [*RUN, *RUNS[case]]) if case in RUNS else ("sweep", SWEEPS[case])
        with tally.lock:
            known = case in references
        if not known:
            process = command(verb, *words, "--out", str(folder / f"{case}-{number}"))
            _, said = process.communicate()
            assert process.returncode == 0, said
            with tally.lock:
                references[case] = found(folder / f"{case}-{number}")
        out, count = folder / f"{number}-{count}", count + 1
        loss = one(case, verb, words, out, generator, tally)
        try:
            if not loss and found(out) != references[case]:
                loss = "its end is another one"
        except Exception as error:
            loss = f"its end cannot be read: {error}"
        tally.end(case, loss)
        if not loss:
            shutil.rmtree(out, ignore_errors=True)
        print(
            f"{sum(tally.tried.values())} faults, {sum(tally.ends.values())} cases, {len(tally.lost)} lost", flush=True
        )


def report(tally: Tally, minutes: float) -> str:
    faults, cases = sum(tally.tried.values()), sum(tally.ends.values())
    lines = [
        "# Faults, for an hour",
        "",
        "`make soak`, on two cores: runs and sweeps that are killed, stopped, corrupted and",
    ]
    lines += [
        "short of disk at random moments, each gone on with until its end, which is compared with that of the same case"
    ]
    lines += ["without a fault, to the bit.", ""]
    lines += [f"{faults} faults in {cases} cases, {minutes:.0f} minutes: **{len(tally.lost)} lost**."]
    lines += [
        "| fault | times |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(tally.tried.items())),
    ]
    lines += ["", "| case | times |", "|---|---|", *(f"| {name} | {n} |" for name, n in sorted(tally.ends.items()))]
    lines += ["", *(f"- lost: {text}" for text in tally.lost)]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    tally, references, start = Tally(), {}, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        shared = (start + 60 * arguments.minutes, Path(folder), references, tally)
        threads = [threading.Thread(target=worker, args=(number, *shared)) for number in range(arguments.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    text = report(tally, (time.monotonic() - start) / 60)
    print(text)
    if arguments.out:
        arguments.out.write_text(text)
    sys.exit(bool(tally.lost))


if __name__ == "__main__":
    main()
