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
# # purejaxrl in five minutes
#
# A whole training run is one function of a random key: `jit` compiles it, `vmap` runs many of them at once.
# Here: train PPO on CartPole, look at the curve, evaluate the policy, then train 48 runs in one call.
# It needs no accelerator, and uses one if there is one.

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

import purejaxrl
from purejaxrl import stats
from purejaxrl.algos import PPO

TOTAL_STEPS = int(os.environ.get("EXAMPLE_STEPS", 204_800))
print(f"jax {jax.__version__} on {jax.devices()[0].platform}")

# %% [markdown]
# ## Train
#
# `make_train` binds an environment and a learner; nothing runs yet. `jax.vmap` then trains eight seeds at once.

# %%
env, env_params = purejaxrl.make("CartPole-v1")
learner = PPO(learning_rate=3e-3)
train = purejaxrl.make_train(env, learner, env_params=env_params, num_envs=8, total_steps=TOTAL_STEPS)

keys = jax.random.split(jax.random.key(0), 8)
result = jax.block_until_ready(jax.jit(jax.vmap(train))(keys))
print({name: values.shape for name, values in result.metrics.items()})

# %%
mean, low, high = stats.mean_interval(result.metrics["episode_return"])
steps = result.metrics["env_steps"][0]
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
axes.fill_between(steps, low, high, alpha=0.25, linewidth=0)
axes.plot(steps, mean)
axes.set(
    xlabel="environment steps", ylabel="episode return", title="PPO on CartPole-v1: mean and 95 % interval, 8 seeds"
)
plt.show()

# %% [markdown]
# ## Evaluate
#
# Fresh episodes with keys of their own, greedy actions, for all seeds at once.


# %%
def play(state, key):
    return purejaxrl.evaluate(env, learner, state, key, 64, env_params=env_params)


found = jax.jit(jax.vmap(play))(result.state, jax.random.split(jax.random.key(1), 8))
print("mean return of each seed:", np.round(found.episode_return.mean(1), 1))

# %% [markdown]
# And an episode of the first policy, every fifth step of it.

# %%
import io

from IPython.display import Image, display
from PIL import Image as Picture

from purejaxrl import envs, evaluation

policy = jax.tree.map(lambda leaf: leaf[0], result.state)
film = evaluation.film(env, learner, policy, jax.random.key(2), 100, env_params=env_params)


def picture(number):
    state = jax.tree.map(lambda leaf: leaf[number], film.env_state)
    return Picture.fromarray(envs.render(env, state, env_params))


first, *others = map(picture, range(len(film.step)))
first.save(gif := io.BytesIO(), "GIF", save_all=True, append_images=others, duration=50, loop=0)
display(Image(gif.getvalue()))

# %% [markdown]
# ## Seeds × learning rates
#
# Numbers of a component are traced, so learning rates differ from lane to lane of one compiled program.


# %%
def run(learning_rate, key):
    learner = PPO(learning_rate=learning_rate)
    train = purejaxrl.make_train(env, learner, env_params=env_params, num_envs=8, total_steps=TOTAL_STEPS // 2)
    return train(key).metrics["episode_return"]


rates = jnp.array([1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2])
over_seeds = jax.vmap(run, in_axes=(None, 0))
returns = jax.jit(jax.vmap(over_seeds, in_axes=(0, None)))(rates, keys)  # [learning rates, seeds, updates]
final = np.nanmean(np.asarray(returns)[:, :, -len(returns[0, 0]) // 10 :], axis=-1)

# %%
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
mean, low, high = stats.mean_interval(final.T)
axes.fill_between(rates, low, high, alpha=0.25, linewidth=0)
axes.plot(rates, mean, marker="o")
axes.plot(rates, final, ".", color="grey", markersize=4)
axes.set(xscale="log", xlabel="learning rate", ylabel="final return", title=f"{final.size} runs in one call")
plt.show()

# %% [markdown]
# ## Explore
#
# On DeepSea a random walk finds the treasure once in 2²⁰ episodes. A bonus for states seen rarely finds it in a few
# thousand; any bonus is one argument.

# %%
from purejaxrl.bonuses import Counts

env, env_params = purejaxrl.make("DeepSea-bsuite", size=20)
learner = PPO(num_steps=40, ent_coef=0.03)
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
for name, bonus in (("PPO alone", None), ("PPO + counts", Counts())):
    train = purejaxrl.make_train(env, learner, bonus=bonus, env_params=env_params, num_envs=32, total_steps=TOTAL_STEPS)
    metrics = jax.jit(jax.vmap(train))(keys[:2]).metrics
    axes.plot(metrics["env_steps"][0], metrics["episode_return"].mean(0), label=name)
axes.set(xlabel="environment steps", ylabel="episode return", title="DeepSea of size 20, mean of 2 seeds")
axes.legend()
plt.show()
