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
# # Evolution of hyperparameters
#
# An evolution strategy needs many candidates evaluated at once, and a whole training run is one function of its
# hyperparameters: `vmap` trains a generation as one compiled program. Here
# [evosax](https://github.com/RobertTLange/evosax) searches PPO's learning rate, entropy coefficient, clipping and λ
# on CartPole. About three minutes on two CPU cores.

# %%
# Where the package comes from: a name on the package index, the URL of a repository, or the path of a wheel.
PACKAGE = "purejaxrl[evosax]"

import importlib.metadata
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("purejaxrl") is None or importlib.util.find_spec("evosax") is None:
    # Pin the jax that is there: it may be built for this machine's accelerator.
    there = [name for name in ("jax", "jaxlib") if importlib.util.find_spec(name)]
    keep = [f"{name}=={importlib.metadata.version(name)}" for name in there]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", PACKAGE, *keep], check=True)

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from evosax.algorithms import SNES

import purejaxrl
from purejaxrl.algos import PPO

STEPS = int(os.environ.get("EXAMPLE_STEPS", 30_720))  # of each run
POPULATION, SEEDS, GENERATIONS = 16, 4, 12
env, env_params = purejaxrl.make("CartPole-v1")

# %% [markdown]
# ## A candidate
#
# Four numbers without bounds, each turned into a hyperparameter. Its fitness is the mean return over the whole run,
# over seeds: who learns faster wins. All seeds of all candidates are lanes.


# %%
def learner(x):
    return PPO(
        learning_rate=10 ** (x[0] - 4),
        ent_coef=10 ** (x[1] - 2),
        clip_eps=jax.nn.sigmoid(x[2] - 1.4),
        gae_lambda=jax.nn.sigmoid(x[3] + 2.2),
        num_steps=64,
    )


def mean_return(metrics):
    ended = metrics["num_episodes"]
    return jnp.sum(jnp.where(ended > 0, metrics["episode_return"] * ended, 0.0)) / jnp.maximum(ended.sum(), 1)


def train(ppo, key):
    return purejaxrl.make_train(env, ppo, env_params=env_params, num_envs=4, total_steps=STEPS)(key).metrics


def fitness(x, key):
    return mean_return(train(learner(x), key))


over_seeds = jax.vmap(fitness, in_axes=(None, 0))
evaluate = jax.jit(jax.vmap(over_seeds, in_axes=(0, None)))  # [population, seeds]

# %% [markdown]
# ## Generations
#
# The first begins at a learning rate of 10⁻⁴, which is too small. Each generation has seeds of its own, so that none
# is lucky for long.

# %%
strategy = SNES(population_size=POPULATION, solution=jnp.zeros(4))
params = strategy.default_params
state = strategy.init(jax.random.key(0), jnp.zeros(4), params)
history, rates = [], []
for generation in range(GENERATIONS):
    ask_key, tell_key, run_key = jax.random.split(jax.random.key(generation + 1), 3)
    population, state = strategy.ask(ask_key, state, params)
    returns = np.asarray(evaluate(population, jax.random.split(run_key, SEEDS))).mean(axis=1)
    state, _ = strategy.tell(tell_key, population, -returns, state, params)  # evosax minimises
    history.append(returns)
    rates.append(10 ** (np.asarray(population)[:, 0] - 4))
    print(f"generation {generation + 1}: mean {returns.mean():.1f}, best {returns.max():.1f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
numbers = np.arange(1, GENERATIONS + 1)
axes[0].plot(np.repeat(numbers, POPULATION), np.ravel(history), ".", color="grey", alpha=0.5)
axes[0].plot(numbers, np.mean(history, axis=1), label="mean")
axes[0].plot(numbers, np.max(history, axis=1), "--", label="best")
axes[0].set(xlabel="generation", ylabel="mean return of a run")
axes[0].set_title(f"PPO on CartPole, {POPULATION} candidates × {SEEDS} seeds")
axes[0].legend()
axes[1].plot(np.repeat(numbers, POPULATION), np.ravel(rates), ".", color="grey", alpha=0.5)
axes[1].plot(numbers, np.exp(np.log(rates).mean(axis=1)))
axes[1].set(yscale="log", xlabel="generation", ylabel="learning rate", title="The search leaves where it began")
plt.show()

# %% [markdown]
# ## What it found
#
# On 16 seeds that no generation had, beside the defaults.

# %%
found = learner(strategy.get_mean(state))
print({name: round(float(getattr(found, name)), 5) for name in ("learning_rate", "ent_coef", "clip_eps", "gae_lambda")})

keys = jax.random.split(jax.random.key(1000), 16)
for label, ppo in (("defaults", PPO(num_steps=64)), ("evolved", found)):
    metrics = jax.jit(jax.vmap(train, (None, 0)))(ppo, keys)
    late = np.nanmean(np.asarray(metrics["episode_return"])[:, -len(metrics["env_steps"][0]) // 10 :])
    print(f"{label}: {jax.vmap(mean_return)(metrics).mean():.0f} over the whole run, {late:.0f} in its last tenth")
