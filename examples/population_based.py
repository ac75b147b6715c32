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
# # Settings that change while a run trains
#
# How much should novelty count? Much at first, little in the end, one would think. Population-based training finds a
# schedule while it trains: every so often the worst members of a population go on from copies of the best ones, with
# their settings changed a little. All members are lanes of one compiled program. About a minute on two CPU cores.

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
import matplotlib.pyplot as plt

import purejaxrl
from purejaxrl.algos import PPO
from purejaxrl.bonuses import RND
from purejaxrl.search import LogUniform

STEPS = int(os.environ.get("EXAMPLE_STEPS", 150_000))  # of each member

# %% [markdown]
# ## Train a population
#
# Sixteen members, an exchange every fifteenth of the run.

# %%
found = purejaxrl.pbt(
    "DeepSea-bsuite",
    PPO(num_steps=24, num_minibatches=4),
    bonus=RND(learning_rate=3e-4),
    search={"bonus.coef": LogUniform(0.01, 10.0), "algo.ent_coef": LogUniform(1e-3, 0.1)},
    env_settings={"size": 12},
    num_envs=32,
    total_steps=STEPS,
    interval=max(STEPS // 15, 768),
    members=16,
)
found.best().head(5)

# %% [markdown]
# ## The schedule that it found
#
# Of the best member and its ancestors, beside what all the others had.

# %%
frame, schedule = found.frame, found.schedule()
figure, axes = plt.subplots(2, 1, figsize=(7, 5.5), sharex=True, layout="constrained")
for _, member in frame.groupby("config_id"):
    axes[0].plot(member["env_steps"], member["bonus.coef"], color="grey", alpha=0.3, linewidth=1)
    returns = member["episode_return"].rolling(10, min_periods=1).mean()
    axes[1].plot(member["env_steps"], returns, color="grey", alpha=0.3, linewidth=1)
axes[0].plot(schedule["env_steps"], schedule["bonus.coef"], linewidth=2, label="the best member and its ancestors")
axes[1].plot(schedule["env_steps"], schedule["episode_return"].rolling(10, min_periods=1).mean(), linewidth=2)
axes[0].set(yscale="log", ylabel="RND's coefficient", title="DeepSea 12, a population of 16")
axes[1].set(xlabel="environment steps", ylabel="episode return")
axes[0].legend(loc="lower left")
plt.show()

# %% [markdown]
# A schedule was found on one member of one population: before you report it, train it again with other seeds.
