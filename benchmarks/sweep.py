"""A sweep beside the same runs one after the other: here in one process, and as processes of rejax 0.1.3.

    python benchmarks/sweep.py                  # about five minutes on 2 cores; rejax as for learning.py
    python benchmarks/sweep.py --rejax-runs 0   # without rejax
    python benchmarks/sweep.py --processes 20   # only: as many small sweeps in fresh processes; and what lanes need

PPO on CartPole, 4 envs of 128 steps, 100,352 steps a run, 16 learning rates times 4 seeds. The three ways:

* `sweep`: `purejaxrl sweep` as a process, from its start to its end, writing its folder, without a compilation cache;
  the same command again into another folder with the cache of the first; total steps per second as it runs.
* `one by one`: 64 runs of `make_train` in one process, one after the other, compiled once for all (rates are traced).
* `rejax`: processes, of which `--rejax-runs` are timed from start to end and the mean is taken 64 times.

The machine is noisy, so that sweep and one by one take turns, `--rounds` times.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from purejaxrl.bench import peers_venv

RATES = [round(10 ** (-4 + 0.125 * number), 6) for number in range(16)]
SEEDS, STEPS, NUM_ENVS = 4, 100_352, 4
PPO = {"num_steps": 128, "num_epochs": 4, "num_minibatches": 4}


def sweep(folder, cache):
    """Seconds of the whole process, of compiling, and steps per second of the runs alone."""
    command = [sys.executable, "-m", "purejaxrl", "sweep", "--env", "CartPole-v1", "--num-envs", str(NUM_ENVS)]
    command += ["--total-steps", str(STEPS), "--seeds", str(SEEDS), "--out", str(folder)]
    command += ["--search", "algo.learning_rate=" + ",".join(map(str, RATES))]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    start = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    summary = json.loads((Path(folder) / "summary.json").read_text())
    return seconds, summary["compile_seconds"], summary["steps_per_second"]


def one_by_one():
    """Steps per second of 64 runs in this process."""
    import jax

    import purejaxrl
    from purejaxrl.algos import PPO as Learner

    env, env_params = purejaxrl.make("CartPole-v1")
    warnings.simplefilter("ignore")

    @jax.jit
    def run(rate, key):
        train = purejaxrl.make_train(
            env, Learner(learning_rate=rate, **PPO), env_params=env_params, num_envs=NUM_ENVS, total_steps=STEPS
        )
        return train(key).metrics["episode_return"]

    keys = [jax.random.key(seed) for seed in range(SEEDS)]
    compiled = run.lower(RATES[0], keys[0]).compile()
    start = time.perf_counter()
    for rate in RATES:
        for key in keys:
            jax.block_until_ready(compiled(rate, key))
    return len(RATES) * SEEDS * STEPS / (time.perf_counter() - start)


def rejax(runs):
    """Mean seconds of a process."""
    script = peers_venv.SCRIPTS / "rejax_peer.py"
    command = [peers_venv.python("rejax"), "-Wignore", script, "--algo=ppo", "--env=CartPole-v1", "--no-evaluation"]
    settings = {"num_envs": NUM_ENVS, **PPO, "learning_rate": 1e-3, "activation": "swish"}
    command += [f"--total-steps={STEPS}", "--seeds=1", "--settings", json.dumps(settings)]
    start = time.perf_counter()
    for seed in range(runs):
        subprocess.run([*command, f"--seed={seed}"], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - start) / runs


def processes(count):
    """Seconds of each of so many small sweeps; one that has not ended after two minutes hangs, and raises."""
    command = [sys.executable, "-m", "purejaxrl", "sweep", "--env", "CartPole-v1", "--num-envs", str(NUM_ENVS)]
    command += ["--total-steps", "20480", "--seeds", "2", "--search", "algo.learning_rate=1e-4,1e-3,1e-2"]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            start, environment = time.perf_counter(), os.environ | {"XDG_CACHE_HOME": f"{folder}/cache"}
            out = ["--out", f"{folder}/{number}"]
            subprocess.run([*command, *out], check=True, env=environment, capture_output=True, timeout=120)
            seconds.append(time.perf_counter() - start)
    return seconds


def memory(num_lanes, total_steps):
    """Bytes that the program of so many lanes needs."""
    import purejaxrl
    from purejaxrl.algos import PPO as Learner
    from purejaxrl.populations import Program, Setup
    from purejaxrl.progress import Progress

    setup = Setup(*purejaxrl.make("CartPole-v1"), Learner(**PPO), None, NUM_ENVS, total_steps)
    return Program(setup, ["algo.learning_rate"], num_lanes, num_lanes=num_lanes).lanes(Progress()).memory()


def main():
    parser = argparse.ArgumentParser(description="Compare a sweep with single runs; print what it gains.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rejax-runs", type=int, default=6)
    parser.add_argument("--processes", type=int, default=0)
    args = parser.parse_args()
    if args.processes:
        found = processes(args.processes)
        print(f"{len(found)} sweeps in fresh processes, none hangs: {min(found):.1f} to {max(found):.1f} s")
        for lanes, steps in ((8, STEPS), (16, STEPS), (32, STEPS), (64, STEPS), (64, 10 * STEPS)):
            print(f"{lanes} lanes, {steps:,} steps: {memory(lanes, steps) / 1e6:.1f} MB")
        return
    runs = len(RATES) * SEEDS
    together, alone, cold, warm, compiling = [], [], [], [], []
    for _ in range(args.rounds):
        alone.append(one_by_one())
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder) / "cache"
            seconds, _, speed = sweep(Path(folder) / "first", cache)
            cold.append(seconds)
            together.append(speed)
            seconds, compile_seconds, _ = sweep(Path(folder) / "second", cache)
            warm.append(seconds)
            compiling.append(compile_seconds)
    ratios = [a / b for a, b in zip(together, alone, strict=True)]
    print(f"{runs} runs of {STEPS:,} steps")
    print(f"one by one: {statistics.median(alone):,.0f} steps/s")
    print(f"sweep: {statistics.median(together):,.0f} steps/s")
    print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(
        f"sweep, start to end: {statistics.median(cold):.1f} s cold, {statistics.median(warm):.1f} s with a warm cache"
    )
    print(f"compiling with a warm cache: {statistics.median(compiling):.2f} s")
    if args.rejax_runs:
        each = rejax(args.rejax_runs)
        print(f"rejax, a process: {each:.1f} s, {runs} of them: {runs * each:.0f} s")
        print(f"ratio to a cold sweep: {runs * each / statistics.median(cold):.1f}")


if __name__ == "__main__":
    main()
