# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Memory and masks
#
# Two things that real tasks have and demos leave out. CartPole without velocities cannot be balanced from one
# observation: the policy needs a memory. And an action that is not allowed should not be tried: a mask.

# %%
# Where the package comes from: a name on the package index, the URL of a repository, or the path of a wheel.
PACKAGE = "purejaxrl"

import importlib.metadata
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("purejaxrl") is None:
    # Pin the jax that is there: it may be built for this machine's accelerator.
    there = [name for name in ("jax", "jaxlib") if importlib.util.find_spec(name)]
    keep = [f"{name}=={importlib.metadata.version(name)}" for name in there]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", PACKAGE, *keep], check=True)

# %%
import os

import jax
import matplotlib.pyplot as plt
import numpy as np

import purejaxrl
from purejaxrl import stats
from purejaxrl.algos import PPO

STEPS = int(os.environ.get("EXAMPLE_STEPS", 307_200))
keys = jax.random.split(jax.random.key(0), 4)


def train(learner, env_id, **settings):
    env, env_params = purejaxrl.make(env_id, **settings)
    run = purejaxrl.make_train(env, learner, env_params=env_params, num_envs=16, total_steps=STEPS)
    return env, env_params, jax.jit(jax.vmap(run))(keys)


def curves(axes, found, title):
    for name, (_, _, result) in found.items():
        mean, low, high = stats.mean_interval(np.asarray(result.metrics["episode_return"]))
        steps = result.metrics["env_steps"][0]
        axes.plot(steps, mean, label=name)
        axes.fill_between(steps, low, high, alpha=0.2, linewidth=0)
    axes.set(xlabel="environment steps", ylabel="episode return", title=title)
    axes.legend(fontsize=8)


# %% [markdown]
# ## Memory
#
# `memory="gru"` puts a GRU between the layers; minibatches then are whole sequences, replayed from the memory that the
# rollout started with. PQN has one too, without a replay buffer. Four stacked observations are the cheap alternative.
# Velocities are small differences of small numbers, so observations are standardised.

# %%
settings = {"num_steps": 64, "learning_rate": 1e-3, "num_minibatches": 8, "normalise_obs": True}
memories = {
    "PPO": train(PPO(**settings), "PositionOnlyCartPole-v1"),
    "PPO, 4 observations": train(PPO(**settings), "PositionOnlyCartPole-v1", frame_stack=4),
    "PPO with a GRU": train(PPO(**settings, memory="gru"), "PositionOnlyCartPole-v1"),
}
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
curves(axes, memories, "CartPole without velocities: mean and 95 % interval, 4 seeds")
plt.show()

# %% [markdown]
# Without a memory the policy stays near 50, since one observation does not show how fast things move; with one, or
# with four observations, it learns.
#
# Evaluation carries the memory along, and starts each episode with an empty one.

# %%
env, env_params, result = memories["PPO with a GRU"]
learner = PPO(**settings, memory="gru")
play = jax.vmap(lambda state, key: purejaxrl.evaluate(env, learner, state, key, 64, env_params=env_params))
print("greedy episodes of each seed:", np.round(jax.jit(play)(result.state, keys).episode_return.mean(1), 1))

# %% [markdown]
# ## Masks
#
# An environment with the method `action_mask(state, params)` says which actions are allowed. Learners never sample,
# value or explore with the others. Here CartPole gets two actions more that end the episode, once masked and once
# not: what is masked need not be unlearnt.

# %%
import jax.numpy as jnp
from gymnax.environments import spaces
from gymnax.environments.classic_control import CartPole


class Traps(CartPole):
    """CartPole with two actions that let the pole fall."""

    def step_env(self, key, state, action, params):
        obs, state, reward, done, info = super().step_env(key, state, jnp.minimum(action, 1), params)
        return obs, state, reward, done | (action > 1), info

    def action_space(self, params=None):
        return spaces.Discrete(4)


class MaskedTraps(Traps):
    def action_mask(self, state, params):
        return jnp.array([True, True, False, False])


masked, learner = {}, PPO(num_steps=64, learning_rate=1e-3)
for name, env in (("all actions", Traps()), ("masked", MaskedTraps())):
    run = purejaxrl.make_train(env, learner, num_envs=16, total_steps=max(STEPS // 6, 1024))
    masked[name] = (env, None, jax.jit(jax.vmap(run))(keys))
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
curves(axes, masked, "CartPole with two traps among four actions")
plt.show()
