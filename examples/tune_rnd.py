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
# # How strong should curiosity be? Optuna tunes RND on DeepSea
#
# On DeepSea of size 12 a random walk finds the treasure once in 4096 episodes. Random network distillation pays the
# agent for observations that it predicts badly; how much, `bonus.coef`, decides whether it finds the treasure or
# forgets about it. Optuna proposes coefficients and entropy weights in batches, all runs of a batch are lanes of one
# program, and the winner is then trained on seeds that nobody tuned on. About three minutes on two CPU cores.

# %%
# Where the package comes from: a name on the package index, the URL of a repository, or the path of a wheel.
PACKAGE = "purejaxrl[optuna]"

import importlib.metadata
import importlib.util
import os
import subprocess
import sys

# On a CPU one device per core; this must be said before JAX starts.
os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count={os.cpu_count()}")

if importlib.util.find_spec("purejaxrl") is None or importlib.util.find_spec("optuna") is None:
    # Pin the jax that is there: it may be built for this machine's accelerator.
    there = [name for name in ("jax", "jaxlib") if importlib.util.find_spec(name)]
    keep = [f"{name}=={importlib.metadata.version(name)}" for name in there]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", PACKAGE, *keep], check=True)

# %%
import matplotlib.pyplot as plt

import purejaxrl
from purejaxrl import stats
from purejaxrl.algos import PPO
from purejaxrl.bonuses import RND
from purejaxrl.search import LogUniform

STEPS = int(os.environ.get("EXAMPLE_STEPS", 80_000))  # of each run
SETTINGS = {"env_settings": {"size": 12}, "num_envs": 32, "total_steps": STEPS}
learner = PPO(num_steps=24, num_minibatches=4)

# %% [markdown]
# ## Search
#
# Three batches of sixteen configurations, four seeds each. The first batch is drawn at random, the others by what was
# found.

# %%
found = purejaxrl.sweep(
    "DeepSea-bsuite",
    learner,
    bonus=RND(learning_rate=3e-4),
    search={"bonus.coef": LogUniform(1e-3, 10.0), "algo.ent_coef": LogUniform(1e-3, 0.1)},
    samples=48,
    batch=16,
    sampler="tpe",
    seeds=4,
    **SETTINGS,
)
found.best(5)

# %%
trials = found.best(None)
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
sizes = 20 + 2 * trials["config_id"]
points = axes.scatter(trials["bonus.coef"], trials["algo.ent_coef"], c=trials["final_return"], s=sizes, cmap="viridis")
axes.set(xscale="log", yscale="log", xlabel="RND's coefficient", ylabel="entropy coefficient")
axes.set_title("Mean final return over seeds; later proposals are larger")
figure.colorbar(points, label="final return")
plt.show()
found.importance()  # the share of the variance that each explains, less what chance does

# %% [markdown]
# ## Report
#
# The winner on 16 fresh seeds, beside the same PPO with the same entropy coefficient and no bonus.

# %%
winner = trials.iloc[0]
search = [{"algo.ent_coef": winner["algo.ent_coef"]}]
fresh = {"seeds": range(1000, 1016), **SETTINGS}
with_rnd = purejaxrl.sweep(
    "DeepSea-bsuite", learner, bonus=RND(learning_rate=3e-4, coef=winner["bonus.coef"]), search=search, **fresh
)
alone = purejaxrl.sweep("DeepSea-bsuite", learner, search=search, **fresh)

# %%
figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
for label, sweep, style in (("with RND", with_rnd, "-"), ("no bonus", alone, "--")):
    curves = sweep.frame.pivot(index="env_steps", columns="seed", values="episode_return")
    mean, low, high = stats.mean_interval(curves.rolling(5, min_periods=1).mean().to_numpy().T)
    axes.fill_between(curves.index, low, high, alpha=0.25, linewidth=0)
    axes.plot(curves.index, mean, style, label=label)
    solved = (sweep.runs()["final_return"] > 0.9).sum()
    print(f"{label}: {solved} of 16 seeds end with a mean return above 0.9")
axes.set(xlabel="environment steps", ylabel="episode return", title="DeepSea 12, 16 fresh seeds, 95 % interval")
axes.legend()
plt.show()
