"""The learners here beside rejax 0.1.3's at equal settings, one after the other on the same machine.

    python benchmarks/learning.py --algo dqn --out dqn.md         # every task of DQN; no --algo: of all four
    python benchmarks/learning.py --algo ppo --env Pendulum-v1 --seeds 8

installs rejax into an environment of its own the first time. A row is one library's runs on one task: all seeds in one
vmapped program, timed after compiling; then 128 fresh episodes for each seed, whose mean return is the seed's score.
PPO plays them with sampled actions, the others with their best ones. The table shows the interquartile mean over seeds
with its 95 % bootstrap interval (`purejaxrl.stats.iqm_interval`), the mean, and the range.

Equal: everything in TASKS, the steps (whole updates, rounded down), 64-64 networks (rejax's DQN and PQN have no other),
with LayerNorm and ReLU for PQN, Adam at a constant rate, and the environments to the bit (`rejax_peer.py` says how).
Not equal, because one of the two has no such setting: rejax takes time limits for terminations, clips gradients element
by element (so clipping is off in both), initialises otherwise, samples replay without replacement at a cost in
proportion to the buffer, has Adam where PQN here has RAdam, bootstraps PQN's λ-returns from the values one step later,
and gives grids to the same flat network. Ours gets them flattened too; `--cnn` adds rows with its own CNN.
`--end-at-limits` adds rows that take time limits for terminations as well: with this error Q-learning finds
MountainCar's goal more often. Rows that name a way to explore have no counterpart in rejax.

Settings come from rejax's and purejaxql's configurations, adapted with rejax on base seed 1000; the ways to explore
were chosen there too. Scores reported are of base seed 0.

Times need a quiet machine, scores do not: `--tenth` runs a tenth of the steps and shows ten times its seconds.
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import purejaxrl
from purejaxrl import algos, stats
from purejaxrl.bench import peers_venv
from purejaxrl.bonuses import RND

TIMEOUT = 3600  # seconds for one of rejax's rows: a stalled process must not hold up the table for good
GREEDY = {"ppo": False, "dqn": True, "pqn": True, "sac": True}
COLUMNS = "task | algo | steps | library | IQM [95 % interval] | mean | min … max (seeds) | train s | compile s"


class Exploring(NamedTuple):
    label: str
    settings: Mapping[str, Any] = MappingProxyType({})
    bonus: Any = None


class Task(NamedTuple):
    algo: str
    env: str
    asked_steps: int
    settings: dict[str, Any]  # by the names used here, and num_envs
    seeds: int = 20
    exploring: Exploring | None = None  # one more row
    env_settings: Mapping[str, Any] = MappingProxyType({})

    @property
    def total_steps(self):
        """Whole updates, rounded down: rejax would round up."""
        update = self.settings["num_envs"] * self.settings["num_steps"]
        return self.asked_steps // update * update


class Score(NamedTuple):
    returns: np.ndarray  # [seeds]
    steps: int
    train_seconds: float
    compile_seconds: float


PPO = {"num_envs": 16, "num_steps": 128, "num_epochs": 4, "num_minibatches": 16, "learning_rate": 1e-3, "gamma": 0.99}
PPO |= {"gae_lambda": 0.95, "clip_eps": 0.2, "ent_coef": 0.01, "vf_coef": 0.5, "activation": "tanh"}
PPO_BOX = PPO | {"ent_coef": 0.0, "normalise": True}
PPO_GRID = PPO | {"num_envs": 64, "activation": "relu"}
STEADIER = {"learning_rate": 2.5e-4}  # CleanRL's for Atari; at 1e-3 both libraries collapse on Breakout

PQN = {"num_envs": 16, "num_steps": 128, "num_epochs": 4, "num_minibatches": 16, "learning_rate": 5e-4, "gamma": 0.99}
PQN |= {"lam": 0.9, "epsilon_start": 1.0, "epsilon_end": 0.05, "exploration_fraction": 0.5}
PQN_GRID = PQN | {"num_envs": 64, "num_steps": 32, "num_epochs": 2, "lam": 0.65}

# One gradient step per update, which is a step of every env.
REPLAY = {"num_steps": 1, "num_gradient_steps": 1, "batch_size": 128, "tau": 0.02}
DQN = REPLAY | {"num_envs": 10, "learning_rate": 1e-3, "gamma": 0.99, "buffer_size": 10_000, "learning_starts": 1000}
DQN |= {"epsilon_start": 1.0, "epsilon_end": 0.05, "exploration_fraction": 0.5}
DQN |= {"target_period": 1, "double": True, "activation": "swish"}
DQN_GRID = DQN | {"num_envs": 32, "learning_rate": 5e-4, "buffer_size": 50_000, "learning_starts": 5000}
DQN_GRID |= {"exploration_fraction": 0.2}
SAC = REPLAY | {"num_envs": 4, "learning_rate": 3e-3, "gamma": 0.95, "buffer_size": 20_000, "learning_starts": 1000}
SAC |= {"activation": "relu"}

LONG_ACTIONS = Exploring("εz-greedy", {"zeta": 2.0})
NOVELTY = Exploring("RND", bonus=RND(coef=10.0))

GRIDS = ("Breakout-MinAtar", "Asterix-MinAtar", "Freeway-MinAtar", "SpaceInvaders-MinAtar")
TASKS = [
    Task("ppo", "CartPole-v1", 500_000, PPO),
    Task("ppo", "Acrobot-v1", 500_000, PPO),
    Task("ppo", "MountainCar-v0", 500_000, PPO | {"normalise": True}),
    Task("ppo", "Pendulum-v1", 500_000, PPO_BOX | {"gamma": 0.95}),
    Task("ppo", "MountainCarContinuous-v0", 500_000, PPO_BOX | {"gamma": 0.999}),
    Task("ppo", "Reacher-misc", 500_000, PPO_BOX),
    Task("ppo", "Breakout-MinAtar", 1_000_000, PPO_GRID | STEADIER, seeds=5),
    *(Task("ppo", env, 1_000_000, PPO_GRID, seeds=5) for env in GRIDS[1:]),
    Task("dqn", "CartPole-v1", 200_000, DQN),
    Task("dqn", "Acrobot-v1", 200_000, DQN),
    Task("dqn", "MountainCar-v0", 500_000, DQN, exploring=LONG_ACTIONS),
    *(Task("dqn", env, 1_000_000, DQN_GRID, seeds=5) for env in GRIDS),
    Task("pqn", "CartPole-v1", 500_000, PQN),
    Task("pqn", "Acrobot-v1", 500_000, PQN),
    Task("pqn", "MountainCar-v0", 500_000, PQN, exploring=LONG_ACTIONS),
    *(Task("pqn", env, 1_000_000, PQN_GRID, seeds=5) for env in GRIDS),
    Task("sac", "Pendulum-v1", 40_000, SAC),
    Task("sac", "MountainCarContinuous-v0", 40_000, SAC | {"gamma": 0.99}, exploring=NOVELTY),
    Task("sac", "Reacher-misc", 40_000, SAC),
]


class Wrapper:
    def __init__(self, env):
        self.env = env

    def __getattr__(self, name):
        return getattr(self.env, name)


class Flat(Wrapper):
    """An environment with its observations flattened."""

    def reset_env(self, key, params):
        obs, state = self.env.reset_env(key, params)
        return jnp.ravel(obs), state

    def step_env(self, key, state, action, params):
        obs, *rest = self.env.step_env(key, state, action, params)
        return jnp.ravel(obs), *rest


class EndAtLimits(Wrapper):
    """An environment that takes its time limit for a termination."""

    def step_env(self, key, state, action, params):
        obs, state, reward, terminated, info = self.env.step_env(key, state, action, params)
        return obs, state, reward, terminated | self.env.is_truncated(state, params), info

    def is_truncated(self, state, params):
        return jnp.zeros((), bool)


def make_learner(task):
    """The task's learner; what rejax cannot do is off unless the task says otherwise."""
    settings = {name: value for name, value in task.settings.items() if name not in ("num_envs", "normalise")}
    normalise, off = task.settings.get("normalise", False), {}
    if task.algo == "ppo":
        off |= {"clip_value": True, "normalise_obs": normalise, "normalise_reward": normalise}
    if task.algo != "sac":
        off |= {"anneal_lr": False, "max_grad_norm": 1e6}
    return getattr(algos, task.algo.upper())(**(off | settings))


def ours(task, seeds, base_seed, *, wrappers=(), bonus=None):
    env, env_params = purejaxrl.make(task.env, **task.env_settings)
    for wrapper in wrappers:
        env = wrapper(env)
    learner = make_learner(task)
    size = {"num_envs": task.settings["num_envs"], "total_steps": task.total_steps}
    train = purejaxrl.make_train(env, learner, bonus=bonus, env_params=env_params, **size)
    train_keys, eval_keys = (jax.random.split(key, seeds) for key in jax.random.split(jax.random.key(base_seed)))
    start = time.perf_counter()
    run = jax.jit(jax.vmap(train)).lower(train_keys).compile()
    compiled = time.perf_counter()
    state = jax.block_until_ready(run(train_keys)).state
    seconds = time.perf_counter() - compiled

    def score(state, key):
        found = purejaxrl.evaluate(env, learner, state, key, 128, env_params=env_params, greedy=GREEDY[task.algo])
        return found.episode_return.mean()

    returns = jax.jit(jax.vmap(score))(state, eval_keys)
    return Score(np.asarray(returns), train.env_steps, seconds, compiled - start)


def rejax(task, seeds, base_seed):
    script = peers_venv.SCRIPTS / "rejax_peer.py"
    command = [peers_venv.python("rejax"), "-Wignore", script, f"--algo={task.algo}", f"--env={task.env}"]
    command += [f"--total-steps={task.total_steps}", f"--seeds={seeds}", f"--seed={base_seed}"]
    command += ["--settings", json.dumps(dict(task.settings))]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT).stdout
    found = json.loads(output.strip().splitlines()[-1])
    returns = np.asarray(found["final_return_per_seed"]["greedy" if GREEDY[task.algo] else "sampled"])
    return Score(returns, found["total_timesteps"], found["train_seconds"], found["compile_seconds"])


def scores(task, args):
    """Yield ``(library, Score)`` row by row."""
    run = (args.seeds or task.seeds, args.seed)
    flat = [Flat] if task.env in GRIDS else []
    if args.library != "purejaxrl":
        yield "rejax 0.1.3", rejax(task, *run)
    if args.library == "rejax":
        return
    yield "purejaxrl", ours(task, *run, wrappers=flat)
    if args.end_at_limits:
        yield "purejaxrl, ending at limits", ours(task, *run, wrappers=[EndAtLimits, *flat])
    if args.cnn and flat:
        yield "purejaxrl, CNN", ours(task, *run)
    if task.exploring:
        label, settings, bonus = task.exploring
        task = task._replace(settings=task.settings | dict(settings))
        yield f"purejaxrl, {label}", ours(task, *run, wrappers=flat, bonus=bonus)


def row(task, library, score, *, tenth=False):
    iqm, low, high = stats.iqm_interval(score.returns)
    found = [
        f"{iqm:.1f} [{low:.1f}, {high:.1f}]",
        f"{score.returns.mean():.1f}",
        f"{score.returns.min():.1f} … {score.returns.max():.1f} ({len(score.returns)})",
    ]
    times = [f"{score.train_seconds * (10 if tenth else 1):.1f}", f"{score.compile_seconds:.1f}"]
    return " | ".join(
        [task.env, task.algo.upper(), f"{score.steps:,}", library, *(["–"] * 3 if tenth else found), *times]
    )


def parse_args():
    parser = argparse.ArgumentParser(description="Compare the learners here with rejax's; print a table.")
    envs = sorted({task.env for task in TASKS})
    parser.add_argument("--algo", nargs="+", choices=GREEDY, default=list(GREEDY), help="only these algorithms")
    parser.add_argument("--env", nargs="+", choices=envs, default=envs, help="only these environments")
    parser.add_argument("--library", choices=["rejax", "purejaxrl"], help="only this one's rows")
    parser.add_argument("--seeds", type=int, help="20, and 5 on MinAtar, unless given")
    parser.add_argument("--seed", type=int, default=0, metavar="BASE", help="where all keys come from")
    parser.add_argument("--cnn", action="store_true", help="on MinAtar, one more row with the CNN of the library here")
    parser.add_argument("--end-at-limits", action="store_true", help="one more row, with limits as terminations")
    parser.add_argument("--tenth", action="store_true", help="for the times alone: a tenth of the steps, and no scores")
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="write the table here too, row by row")
    return parser.parse_args()


def main():
    args = parse_args()
    tasks = [task for task in TASKS if task.algo in args.algo and task.env in args.env]
    if args.library != "purejaxrl":
        peers_venv.python("rejax")  # installed now, not while the first row is timed
    if args.tenth:
        tasks = [task._replace(asked_steps=task.asked_steps // 10) for task in tasks]
    rows = (row(task, *found, tenth=args.tenth) for task in tasks for found in scores(task, args))
    out = args.out.open("w") if args.out else None
    rule = " | ".join("---" for _ in COLUMNS.split("|"))
    for cells in itertools.chain([COLUMNS, rule], rows):
        for file in filter(None, (sys.stdout, out)):
            print(f"| {cells} |", file=file, flush=True)


if __name__ == "__main__":
    main()
