"""More devices: steps per second of a sweep's lanes, and of one run's environments, beside one device.

    python benchmarks/scale.py                                  # one run, on whatever devices there are
    python benchmarks/scale.py --host-devices 2 --rounds 5      # a CPU as two devices: lanes, too

Lanes: a sweep of 8 learning rates × 4 seeds of PPO, 4 envs each, in a process of its own for each number of devices, by
turns; compiling is not counted.

One run: PPO, 128 steps of each env, four epochs of four minibatches. Both programs are compiled first; then they take
turns, `--rounds` times, since machines are noisy: the ratio is the median over rounds, in brackets the smallest and
largest. One device of several that a CPU is split into may use all cores, too, but hardly does. `CPU time` is what
all devices together work against one alone, which a busy machine changes less: 1 where nothing is done twice.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
import warnings

TASKS = ("CartPole-v1", "MiniGrid-DoorKey-8x8-v0")
NUM_STEPS = 128


def compared(one, many):
    """The medians of both ways' rounds, and that of their ratios with the smallest and the largest."""
    ratios = [most / least for least, most in zip(one, many, strict=True)]
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"{statistics.median(one):,.0f} | {statistics.median(many):,.0f} | {spread}"


def one_run(env_id, num_envs, updates, rounds):
    """A row: steps per second on one device and on all, and the ratio."""
    import jax

    import purejaxrl
    from purejaxrl.algos import PPO

    env, env_params = purejaxrl.make(env_id)
    steps = num_envs * NUM_STEPS * updates
    learner = PPO(num_steps=NUM_STEPS, num_epochs=4, num_minibatches=4)
    train = purejaxrl.make_train(
        env, learner, env_params=env_params, num_envs=num_envs, total_steps=steps * (rounds + 1)
    )
    sharded = purejaxrl.shard(train)
    alone = jax.jit(train.advance, static_argnums=1, donate_argnums=0)
    ways = [alone, sharded.advance]
    states = [jax.jit(train.init)(jax.random.key(0)), sharded.init(jax.random.key(0))]
    speeds, work = [[], []], [0.0, 0.0]
    for turn in range(rounds + 1):  # the first compiles
        for way, advance in enumerate(ways):
            start, worked = time.perf_counter(), time.process_time()
            states[way] = jax.block_until_ready(advance(states[way], updates))[0]
            if turn:
                speeds[way].append(steps / (time.perf_counter() - start))
                work[way] += time.process_time() - worked
    return f"| {env_id} | {num_envs} | {compared(*speeds)} | {work[1] / work[0]:.2f} |"


SWEEP = """
import sys, tempfile, json, pathlib, purejaxrl
from rich.console import Console
from purejaxrl.algos import PPO
from purejaxrl.progress import Progress
out = pathlib.Path(tempfile.mkdtemp()) / "x"
search = {"algo.learning_rate": [1e-4 * 2**n for n in range(8)]}
quiet = Progress(Console(quiet=True))
purejaxrl.sweep(sys.argv[1], PPO(), search=search, seeds=4, num_envs=4, total_steps=100_352, out=out, progress=quiet)
print(json.loads((out / "summary.json").read_text())["steps_per_second"])
"""


def lanes(env_id, host_devices, rounds):
    """A row: steps per second of a sweep with one device and with so many."""
    speeds = {count: [] for count in (1, host_devices)}
    for _ in range(rounds):
        for count, found in speeds.items():
            environ = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}
            command = [sys.executable, "-c", SWEEP, env_id]
            found.append(
                float(subprocess.run(command, env=environ, capture_output=True, check=True).stdout.split()[-1])
            )
    return f"| {env_id} | {compared(*speeds.values())} |"


def main():
    parser = argparse.ArgumentParser(description="Compare one run over all devices with the same run on one.")
    parser.add_argument("--env", nargs="+", default=list(TASKS))
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--updates", type=int, default=2, help="in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--host-devices", type=int, help="so many devices of this CPU")
    args = parser.parse_args()
    if args.host_devices:
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={args.host_devices}"
        print(
            f"| lanes: PPO on | steps/s, 1 device | steps/s, {args.host_devices} devices | ratio |\n|---|---|---|---|"
        )
        for env_id in args.env:
            print(lanes(env_id, args.host_devices, args.rounds), flush=True)
        print()
    import jax

    warnings.simplefilter("ignore")
    print(f"{jax.device_count()} x {jax.devices()[0].device_kind}, jax {jax.__version__}\n")
    print(f"| PPO on | envs | steps/s, 1 device | steps/s, {jax.device_count()} devices | ratio | CPU time |")
    print("|---|---|---|---|---|---|")
    for env_id in args.env:
        print(one_run(env_id, args.num_envs, args.updates, args.rounds), flush=True)


if __name__ == "__main__":
    main()
