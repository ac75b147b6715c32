"""Steps per second of this library beside rejax 0.1.3, in turns on the same machine and the same work.

    python benchmarks/speed.py                       # every work, 5 rounds: about six minutes on 2 cores
    python benchmarks/speed.py --work ppo-2048 --devices 2

A worker process of each library compiles once, then they train in turns with the seed of the round. Equal: the
environment, the steps (whole updates), 64-64 networks, batches, epochs and settings, by `learning.py`'s translation.
A row has the median over rounds and the range of the ratios; the returns are means of 128 fresh episodes with greedy
actions, so that one sees that both learn. `compile` is from a key to a compiled program, without a cache.

The machine must be quiet: anything beside costs one side more than the other.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from learning import VENV, Task, for_rejax, make_venv
from scale import compared

HERE = Path(__file__).parent
PPO = {"num_steps": 128, "num_epochs": 4, "num_minibatches": 4, "learning_rate": 2.5e-4, "gamma": 0.99}
PPO |= {"gae_lambda": 0.95, "clip_eps": 0.2, "ent_coef": 0.01, "vf_coef": 0.5, "activation": "tanh"}
DQN = {"num_steps": 1, "num_gradient_steps": 1, "batch_size": 128, "tau": 0.02, "target_period": 1}
DQN |= {"learning_rate": 1e-3, "gamma": 0.99, "buffer_size": 10_000, "learning_starts": 1000, "double": True}
DQN |= {"epsilon_start": 1.0, "epsilon_end": 0.05, "exploration_fraction": 0.5, "activation": "swish"}
PQN = {"num_steps": 128, "num_epochs": 4, "num_minibatches": 16, "learning_rate": 5e-4, "gamma": 0.99, "lam": 0.9}
PQN |= {"epsilon_start": 1.0, "epsilon_end": 0.05, "exploration_fraction": 0.5}
WORKS = {
    "ppo-4": ("ppo", 4, 499_712, PPO),
    "ppo-64": ("ppo", 64, 524_288, PPO),
    "ppo-2048": ("ppo", 2048, 1_048_576, PPO),
    "dqn-10": ("dqn", 10, 50_000, DQN),
    "dqn-128": ("dqn", 128, 256_000, DQN),
    "pqn-128": ("pqn", 128, 524_288, PQN),
}
OFF = {"anneal_lr": False, "max_grad_norm": 1e6}  # what rejax has not, or does otherwise


class Worker:
    """A process that trains when it is told a seed."""

    def __init__(self, command, work, environment):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([*command, json.dumps(work)], text=True, env=environment, **pipes)
        self.compile_seconds = self._hear()["compile_seconds"]
        self.runs = []

    def train(self, seed):
        self.process.stdin.write(f"{seed}\n")
        self.process.stdin.flush()
        self.runs.append(self._hear())

    def _hear(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"a worker has died: {' '.join(map(str, self.process.args[:3]))}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def workers(name, devices):
    """Ours and rejax's, compiled one after the other."""
    algo, num_envs, total_steps, settings = WORKS[name]
    task = Task(algo, "CartPole-v1", total_steps, settings | {"num_envs": num_envs})
    work = {"algo": algo, "env": task.env, "num_envs": num_envs, "total_steps": total_steps, "devices": devices}
    environment = dict(os.environ)
    if devices > 1:
        flags = f"--xla_force_host_platform_device_count={devices} --xla_cpu_multi_thread_eigen=false"
        environment["XLA_FLAGS"] = flags
    own = OFF | settings | ({"clip_value": True} if algo == "ppo" else {})
    ours = Worker([sys.executable, "-Wignore", HERE / "own_peer.py"], work | {"settings": own}, environment)
    theirs = for_rejax(task) | {"max_grad_norm": OFF["max_grad_norm"]}
    rejax = [VENV / "bin/python", "-Wignore", HERE / "rejax_peer.py", "--serve"]
    return ours, Worker(rejax, work | {"settings": theirs}, dict(os.environ))


def row(name, ours, rejax):
    speeds = [[run["steps"] / run["seconds"] for run in worker.runs] for worker in (rejax, ours)]
    assert ours.runs[0]["steps"] == rejax.runs[0]["steps"], "not the same number of steps"
    returns = [statistics.mean(run["return"] for run in worker.runs) for worker in (ours, rejax)]
    peaks = [worker.runs[-1]["peak_bytes"] / 1e6 for worker in (ours, rejax)]
    cells = [
        name,
        compared(*speeds),
        " / ".join(f"{found:.0f}" for found in returns),
        f"{ours.compile_seconds:.1f} / {rejax.compile_seconds:.1f}",
        " / ".join(f"{peak:.0f}" for peak in peaks),
    ]
    return " | ".join(cells)


def main():
    parser = argparse.ArgumentParser(description="Compare training's speed with rejax's; print a table.")
    parser.add_argument("--work", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--devices", type=int, default=1, help="host devices that ours is spread over")
    args = parser.parse_args()
    make_venv()
    columns = "work | rejax steps/s | purejaxrl steps/s | ratio | returns | compile s | peak MB"
    for cells in (columns, " | ".join("---" for _ in columns.split("|"))):
        print(f"| {cells} |", flush=True)
    for name in args.work:
        both = workers(name, args.devices)
        for seed in range(args.rounds):
            for worker in both:
                worker.train(seed)
        for worker in both:
            worker.close()
        print(f"| {row(name, *both)} |", flush=True)


if __name__ == "__main__":
    main()
