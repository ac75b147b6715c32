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
# # Continuous control
#
# [brax](https://github.com/google/brax) has physics in JAX. Behind the prefix `brax:` its tasks train like any other:
# here PPO with Gaussian actions learns to balance a pole on a cart, and which discount it should have.

# %%
# Where the package comes from: a name on the package index, the URL of a repository, or the path of a wheel.
PACKAGE = "purejaxrl[brax]"

import importlib.metadata
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("purejaxrl") is None or importlib.util.find_spec("brax") is None:
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

import purejaxrl
from purejaxrl import evaluation, stats
from purejaxrl.algos import PPO

STEPS = int(os.environ.get("EXAMPLE_STEPS", 512_000))
env, env_params = purejaxrl.make("brax:inverted_pendulum")
print("observations", env.observation_space(env_params).shape, "actions", env.action_space(env_params))

# %% [markdown]
# ## Train
#
# A step pays 1 as long as the pole stands, for a thousand steps at most. That is a time limit and no failure, so
# values bootstrap across it. The observation mixes positions and speeds: `normalise_obs` standardises them by what the
# run has seen so far.


# %%
def run(gamma, key):
    learner = PPO(gamma=gamma, num_steps=32, num_minibatches=16, learning_rate=1e-3, normalise_obs=True)
    train = purejaxrl.make_train(env, learner, env_params=env_params, num_envs=64, total_steps=STEPS)
    return train(key)


discounts = jnp.array([0.9, 0.97, 0.99])
keys = jax.random.split(jax.random.key(0), 4)
over_seeds = jax.vmap(run, in_axes=(None, 0))
result = jax.block_until_ready(jax.jit(jax.vmap(over_seeds, in_axes=(0, None)))(discounts, keys))

# %%
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
steps = result.metrics["env_steps"][0, 0]
for gamma, returns in zip(discounts, np.asarray(result.metrics["episode_return"]), strict=True):
    mean, low, high = stats.mean_interval(returns)
    axes.plot(steps, mean, label=f"discount {gamma:.2f}")
    axes.fill_between(steps, low, high, alpha=0.2, linewidth=0)
axes.set(xlabel="environment steps", ylabel="episode return", title="Pole on a cart: mean and 95 % interval, 4 seeds")
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## Look at it
#
# Fresh episodes with the mean of the Gaussian as action. Then one of each discount from the side, fifty moments of it,
# dark at the start and bright at the end. A discount of 0.9 does not see further than ten steps or twenty: the
# pole stands, and the cart runs off until it can go no further.

# %%
learner = PPO(normalise_obs=True)


def play(state, key):
    return purejaxrl.evaluate(env, learner, state, key, 32, env_params=env_params)


over_seeds = jax.vmap(play)
found = jax.jit(jax.vmap(over_seeds, in_axes=(0, None)))(result.state, keys)
for gamma, returns in zip(discounts, np.asarray(found.episode_return), strict=True):
    print(f"discount {gamma:.2f}: mean return of each seed", np.round(returns.mean(1)))

# %%
figure, rows = plt.subplots(len(discounts), 1, figsize=(7, 4.5), sharex=True, sharey=True, layout="constrained")
for index, axes in enumerate(rows):
    policy = jax.tree.map(lambda leaf, index=index: leaf[index, 0], result.state)
    film = evaluation.film(env, learner, policy, jax.random.key(1), 50, env_params=env_params)
    x, angle = np.asarray(film.env_state.inner.pipeline_state.q).T
    for place, lean, colour in zip(x, angle, plt.cm.viridis(np.linspace(0, 1, len(x))), strict=True):
        axes.plot([place, place + 0.6 * np.sin(lean)], [0, 0.6 * np.cos(lean)], color=colour, alpha=0.7)
    axes.axhline(0, color="grey", linewidth=1)
    axes.set(aspect="equal", xlim=(-1.5, 1.5), ylim=(-0.1, 0.7), yticks=[])
    axes.set_title(f"discount {discounts[index]:.2f}: stands for {int(film.step[-1])} steps", fontsize=9)
rows[-1].set(xlabel="position of the cart")
plt.show()
