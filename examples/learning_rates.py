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
# # Which learning rate? Hundreds of runs in one call
#
# A learning rate is a number that differs from lane to lane of one compiled program, so a sweep over many of them
# costs one compilation. On an accelerator this trains 256 learning rates × 32 seeds, 8192 runs of PPO on CartPole (19
# seconds on one H200, after compiling); on a CPU 32 × 4 runs, about a minute on two cores.

# %%
# Where the package comes from: a name on the package index, the URL of a repository, or the path of a wheel.
PACKAGE = "purejaxrl"

import importlib.metadata
import importlib.util
import os
import subprocess
import sys

# On a CPU one device per core; this must be said before JAX starts.
os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={os.cpu_count()}")

if importlib.util.find_spec("purejaxrl") is None:
    # Pin the jax that is there: it may be built for this machine's accelerator.
    there = [name for name in ("jax", "jaxlib") if importlib.util.find_spec(name)]
    keep = [f"{name}=={importlib.metadata.version(name)}" for name in there]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", PACKAGE, *keep], check=True)

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import purejaxrl
from purejaxrl import stats
from purejaxrl.algos import PPO

STEPS = int(os.environ.get("EXAMPLE_STEPS", 100_000))  # of each run
NUM_RATES, SEEDS = (32, 4) if jax.default_backend() == "cpu" else (256, 32)
print(f"{NUM_RATES} learning rates × {SEEDS} seeds on {jax.device_count()} {jax.devices()[0].platform} devices")

# %% [markdown]
# ## Train all of them
#
# The result has a row per learning rate, seed and update. With `out="runs/rates"` it is kept on disk, and the same
# call goes on where it was stopped.

# %%
rates = np.geomspace(1e-4, 1e-1, NUM_RATES)
found = purejaxrl.sweep(
    "CartPole-v1",
    PPO(),
    search={"algo.learning_rate": rates.tolist()},
    seeds=SEEDS,
    num_envs=4,
    total_steps=STEPS,
)
found.best(5)

# %% [markdown]
# ## Look at them
#
# Each dot is a run: its mean return over the last tenth of the training. The line is the interquartile mean over
# seeds with its 95 % bootstrap interval. Below, how the best rate and two others learn.

# %%
final = found.runs().pivot(index="seed", columns="algo.learning_rate", values="final_return")
mean, low, high = stats.iqm_interval(final.to_numpy())

figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
axes.plot(np.tile(rates, SEEDS), final.to_numpy().ravel(), ".", color="grey", markersize=3, alpha=0.5)
axes.fill_between(rates, low, high, alpha=0.3, linewidth=0)
axes.plot(rates, mean)
axes.set(xscale="log", xlabel="learning rate", ylabel="final return", title=f"PPO on CartPole: {final.size:,} runs")
plt.show()

# %%
best = found.best(1)["algo.learning_rate"].item()
nearest = [rates[np.abs(np.log(rates / (best * factor))).argmin()] for factor in (0.1, 1.0, 10.0)]

figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
for rate, style in zip(dict.fromkeys(nearest), ("--", "-", ":"), strict=False):
    runs = found.frame[found.frame["algo.learning_rate"] == rate]
    curves = runs.pivot(index="env_steps", columns="seed", values="episode_return").rolling(10, min_periods=1).mean()
    axes.plot(curves.index, curves.mean(axis=1), style, label=f"{rate:.2g}{' (best)' if rate == best else ''}")
axes.set(xlabel="environment steps", ylabel="episode return", title="Mean over seeds, and over ten updates")
axes.legend(title="learning rate")
plt.show()

# %% [markdown]
# The best rate was chosen on these seeds, so its return is a little too good. To report it, train it again on others:
# `purejaxrl.sweep(..., search={"algo.learning_rate": [best]}, seeds=range(1000, 1032))`.
