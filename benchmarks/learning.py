"""PPO here beside rejax 0.1.3's at equal settings, one after the other on the same machine.

    python benchmarks/learning.py            # makes .venv-rejax the first time; about 12 minutes on 2 cores
    python benchmarks/learning.py Pendulum-v1

Equal: environment steps, envs, rollout length, epochs, minibatches, learning rate (constant), γ, λ, clipping, entropy,
swish networks of 64-64, normalisation, seeds. Not equal, because rejax has no such setting: it takes time limits for
terminations, clips gradients element by element (so clipping is off in both), initialises otherwise, and gives grids to
the same flat network, where ours is shown with that and with its CNN. Each seed's score is the mean return of 128 fresh
episodes with sampled actions; the table shows the mean over seeds and their range. What settings were tried out for
Pendulum and MountainCarContinuous was tried on other keys than those used here, with this library.
"""

import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np

import purejaxrl
from purejaxrl import networks
from purejaxrl.algos import PPO

VENV = Path(".venv-rejax")
PACKAGES = ["rejax==0.1.3", "gymnax==0.0.9", "jax==0.10.2", "flax==0.12.8", "distrax==0.1.9"]
BASE = {"num_envs": 64, "num_steps": 128, "num_epochs": 4, "num_minibatches": 8, "learning_rate": 5e-4}
BASE |= {"gamma": 0.99, "gae_lambda": 0.95, "clip_eps": 0.2, "ent_coef": 0.01, "vf_coef": 0.5, "max_grad_norm": 1e6}
SMALL = BASE | {"num_envs": 16, "num_epochs": 10, "num_minibatches": 16, "learning_rate": 3e-4, "ent_coef": 0.0}
TASKS = {
    "CartPole-v1": (SMALL | {"ent_coef": 0.01}, 204_800, False, 8),
    "Pendulum-v1": (SMALL | {"gamma": 0.95, "learning_rate": 1e-3, "num_steps": 64}, 409_600, True, 8),
    "MountainCarContinuous-v0": (SMALL | {"gamma": 0.999}, 204_800, True, 8),
    "Breakout-MinAtar": (BASE, 999_424, False, 5),
}


class FlatActorCritic(networks.ActorCritic):
    """Flattens grids first, as rejax does."""

    def __call__(self, obs):
        return super().__call__(networks.flatten(obs))


def ours(env_id, settings, total_steps, normalise, seeds, *, flat=False):
    env, env_params = purejaxrl.make(env_id)
    settings = dict(settings)
    num_envs = settings.pop("num_envs")
    network = FlatActorCritic(num_values=1, num_actions=env.num_actions, activation="swish") if flat else None
    learner = PPO(
        **settings,
        anneal_lr=False,
        activation="swish",
        normalise_obs=normalise,
        normalise_reward=normalise,
        clip_value=True,
        network=network,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train = purejaxrl.make_train(env, learner, env_params=env_params, num_envs=num_envs, total_steps=total_steps)
    train_keys, eval_keys = (jax.random.split(key, seeds) for key in jax.random.split(jax.random.key(0)))
    start = time.perf_counter()
    run = jax.jit(jax.vmap(train)).lower(train_keys).compile()
    compiled = time.perf_counter()
    state = jax.block_until_ready(run(train_keys)).state
    seconds = time.perf_counter() - compiled

    def score(state, key):
        found = purejaxrl.evaluate(env, learner, state, key, 128, env_params=env_params, greedy=False)
        return found.episode_return.mean()

    returns = jax.jit(jax.vmap(score))(state, eval_keys)
    return np.asarray(returns), train.env_steps, seconds, compiled - start


def rejax(env_id, settings, total_steps, normalise, seeds):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    flags += ["--normalize-observations", "--normalize-rewards"] if normalise else []
    command = [VENV / "bin/python", "benchmarks/rejax_ppo.py", f"--env={env_id}", f"--total-steps={total_steps}"]
    output = subprocess.run([*command, f"--seeds={seeds}", *flags], check=True, capture_output=True, text=True).stdout
    found = json.loads(output.strip().splitlines()[-1])
    returns = np.asarray(found["final_return_per_seed"]["sampled"])
    return returns, np.max(found["total_timesteps"]), found["train_seconds"], found["compile_seconds"]


def main():
    if not VENV.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin/pip", "install", "--quiet", *PACKAGES], check=True)
    print("| task | steps | library | mean return | range over seeds | train s | compile s |")
    print("|---|---|---|---|---|---|---|")
    for env_id in sys.argv[1:] or TASKS:
        task = TASKS[env_id]
        results = {"rejax 0.1.3": rejax(env_id, *task), "purejaxrl": ours(env_id, *task)}
        if env_id.endswith("MinAtar"):
            results["purejaxrl, flat network"] = ours(env_id, *task, flat=True)
        for name, (returns, steps, seconds, compiling) in results.items():
            spread = f"{returns.min():.1f} … {returns.max():.1f} ({len(returns)})"
            row = [env_id, f"{steps:,}", name, f"{returns.mean():.1f}", spread, f"{seconds:.1f}", f"{compiling:.1f}"]
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
