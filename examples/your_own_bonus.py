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
# # Your own exploration bonus
#
# A bonus is a few pure functions and a state. The loop weighs, normalises and decays it, passes it to any learner,
# and composes it with others. Here is one in twenty lines, how to check it against ground truth, and how it does.

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
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from flax import struct

import purejaxrl
from purejaxrl import envs, minibatches
from purejaxrl.algos import PPO
from purejaxrl.bonuses import Counts
from purejaxrl.intrinsic import Weighted
from purejaxrl.types import number

STEPS = int(os.environ.get("EXAMPLE_STEPS", 122_880))

# %% [markdown]
# ## Write it
#
# What is rarely seen has a small density. This bonus keeps, for each feature of an observation, a running mean of how
# often it is on, and pays the surprise -log p of those that are: for one-hot observations that is -log of the share
# of visits. `Weighted` brings the settings that every bonus has: `coef`, `normalise`, `decay`.
#
# - `init` makes the state;
# - `observe` sees each step, for what depends on the episode; nothing here;
# - `reward` is pure, for any leading axes, with the state from before the update;
# - `update` learns from a rollout `[num_steps, num_envs]`.


# %%
class SurpriseState(struct.PyTreeNode):
    share: jax.Array  # [features], running mean of the observation


class Surprise(Weighted):
    """The surprise of one-hot observations under their running mean."""

    speed: float = number(0.05, gt=0, le=1)  # how fast the mean follows; traced, so it can be searched

    def init(self, key, spec):
        size = spec.example_obs().size
        return SurpriseState(jnp.full(size, 1 / size))

    def observe(self, state, transition):
        return state, ()

    def reward(self, state, transition, memo):
        obs = transition.next_obs.reshape(*transition.reward.shape, -1)
        share = (obs * state.share).sum(-1)
        return jnp.where(obs.any(-1), -jnp.log(share + 1e-4), 0.0)  # an episode's end shows nothing: no surprise

    def update(self, state, key, batch):
        obs = minibatches.flatten(batch.next_obs)
        seen = obs.reshape(len(obs), -1).mean(0)
        return state.replace(share=(1 - self.speed) * state.share + self.speed * seen), {"surprise_max": seen.max()}


# %% [markdown]
# ## Does it know what is new?
#
# With `visits` the loop counts true states exactly and reports the rank correlation between the bonus and 1/√n. A
# bonus that cannot tell new from old is near 0, one that orders states as their counts do is at 1. Neither is at 1
# here: at an episode's end DeepSea shows the same to all, nothing, so that arrivals there cannot be told apart.

# %%
env, env_params = purejaxrl.make("DeepSea-bsuite", size=12)
learner = PPO(num_steps=24, num_minibatches=4, learning_rate=1e-3, ent_coef=0.01)
keys = jax.random.split(jax.random.key(0), 4)


def explore(bonus):
    train = purejaxrl.make_train(
        env, learner, bonus=bonus, env_params=env_params, num_envs=16, total_steps=STEPS, visits=envs.cells(env)[:2]
    )
    return jax.jit(jax.vmap(train))(keys).metrics


found = {
    "Surprise": explore(Surprise(coef=0.1, normalise="return_std")),
    "Counts": explore(Counts(coef=0.1, normalise="return_std")),
    # It composes with others as they do with each other.
    "Counts + Surprise": explore(
        Counts(coef=0.05, normalise="return_std") + Surprise(coef=0.05, normalise="return_std")
    ),
}
for name, metrics in found.items():
    rank = np.nanmean(np.asarray(metrics["bonus_rank_correlation"]))
    print(f"{name}: rank correlation with 1/√n {rank:.2f}, mean return at the end", end=" ")
    print(f"{np.nanmean(np.asarray(metrics['episode_return'])[:, -5:]):.2f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
for name, metrics in found.items():
    steps = metrics["env_steps"][0]
    axes[0].plot(steps, np.nanmean(np.asarray(metrics["episode_return"]), axis=0), label=name)
    axes[1].plot(steps, np.asarray(metrics["coverage"]).mean(0), label=name)
axes[0].set(xlabel="environment steps", ylabel="episode return", title="DeepSea of size 12, mean of 4 seeds")
axes[1].set(xlabel="environment steps", ylabel="share of states visited")
axes[0].legend()
plt.show()

# %% [markdown]
# To have it on the command line, put it into a file of `purejaxrl/bonuses`: it is found there, and tested by its
# contract. A page in `docs/bonuses`, a line in `docs/reference/bonuses.rst` and, for `bench exploration`, an entry of
# `METHODS` in `purejaxrl/bench/suites.py` are written by hand.
