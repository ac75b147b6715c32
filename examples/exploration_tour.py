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
# # A tour of exploration: DeepSea with every bonus
#
# DeepSea pays one treasure at the end of N right steps, and each of them costs a little: a random walk finds it once
# in 2^N episodes. The same PPO gets the same budget with each exploration bonus; the maps show how often
# every state was visited. About four minutes on two CPU cores, most of them compiling.

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
from purejaxrl import bonuses, discovery, envs
from purejaxrl.algos import PPO

STEPS = int(os.environ.get("EXAMPLE_STEPS", 102_400))
SIZE, SEEDS = 14, 4
NAMES = discovery.names(bonuses)  # byolexplore, cfn, counts, disagreement, e3b, icm, ngu, noveld, re3, ride, rnd, sofe
NAMES = [name for name in NAMES if name != "sofe"]  # it shows a bonus to the policy, and pays none itself
if STEPS < 10_000:  # a test
    NAMES = ["counts", "re3"]

# %% [markdown]
# ## One function for all
#
# A bonus is one argument. `visits` counts the true states exactly, whatever the bonus believes.

# %%
env, env_params = purejaxrl.make("DeepSea-bsuite", size=SIZE)
cells = envs.cells(env)
learner = PPO(num_steps=32, num_minibatches=4, learning_rate=1e-3, ent_coef=0.01)
keys = jax.random.split(jax.random.key(0), SEEDS)


def explore(bonus):
    train = purejaxrl.make_train(
        env, learner, bonus=bonus, env_params=env_params, num_envs=16, total_steps=STEPS, visits=cells[:2]
    )
    result = jax.jit(jax.vmap(train))(keys)
    return np.asarray(result.state.visits).sum(0), np.asarray(result.metrics["episode_return"])


weights = {"cfn": 0.1, "counts": 0.1, "icm": 0.1, "noveld": 0.1, "rnd": 0.1}  # of the others: 0.01
found = {"PPO alone": explore(None)}
for name in NAMES:
    bonus = discovery.load(bonuses, name)
    found[bonus.__name__] = explore(bonus(coef=weights.get(name, 0.01), normalise="return_std"))
    print(f"{bonus.__name__}: mean return at the end {np.nanmean(found[bonus.__name__][1][:, -5:]):.2f}")

# %% [markdown]
# ## Where they have been
#
# Each map is the triangle of states that can be reached; the treasure is at the right of the last row. The brighter,
# the more often visited, on one logarithmic scale; the darkest were never visited.

# %%
columns = 4
figure, rows = plt.subplots(
    -(-len(found) // columns),
    columns,
    figsize=(11, 3 * -(-len(found) // columns)),
    layout="constrained",
    squeeze=False,
)
most = max(visits.max() for visits, _ in found.values())
for axes in rows.flat:
    axes.set_axis_off()
for axes, (name, (visits, returns)) in zip(rows.flat, found.items(), strict=False):
    layout = np.asarray(cells.layout)
    grid = np.where(layout >= 0, visits[np.maximum(layout, 0)], 0).astype(float)
    picture = np.where(layout >= 0, np.where(grid > 0, np.log1p(grid) / np.log1p(most), -0.15), np.nan)
    image = axes.imshow(picture, cmap="viridis", vmin=-0.15, vmax=1)
    solved = (np.nanmean(returns[:, -5:], axis=1) > 0.5).sum()
    seen = (grid[layout >= 0] > 0).mean()
    axes.set_title(f"{name}\n{seen:.0%} of states, {solved} of {SEEDS} solve it", fontsize=10)
bar = figure.colorbar(image, ax=rows, shrink=0.5, ticks=[-0.15, np.log1p(1) / np.log1p(most), 1])
bar.ax.set_yticklabels(["never", "once", f"{most:,.0f} visits"])
plt.show()

# %% [markdown]
# PPO alone keeps to the left, since each step right costs. So do bonuses for what is new in the *episode* (E3B, NGU,
# RIDE): every episode sees as many new states, whatever it does. Bonuses for what is new since the run began fill the
# triangle, and where they do so soon enough the treasure is found and the diagonal is what is visited most.
#
# One weight for each bonus says little about which is best: their scales differ. `purejaxrl bench exploration` tunes
# the weight of each on seeds of their own, on several tasks, and reports the others.
