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
# # Import an algorithm and change it
#
# Algorithms are single files that read from top to bottom, and functions that can be imported. Here PPO's loss is
# replaced by another one, in ten lines, and both are trained side by side; then its network.

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
from flax import linen as nn

import purejaxrl
from purejaxrl import stats
from purejaxrl.algos import PPO
from purejaxrl.algos.ppo import ppo_loss
from purejaxrl.distributions import Categorical

STEPS = int(os.environ.get("EXAMPLE_STEPS", 153_600))
env, env_params = purejaxrl.make("CartPole-v1")
keys = jax.random.split(jax.random.key(0), 8)


def train(learner):
    run = purejaxrl.make_train(env, learner, env_params=env_params, num_envs=8, total_steps=STEPS)
    return jax.jit(jax.vmap(run))(keys).metrics


# %% [markdown]
# ## Another loss
#
# A loss has the signature of `ppo_loss`: the settings, the parameters, the network, a minibatch. This one has a
# penalty on the change of the policy instead of a clipped ratio (Schulman et al. 2017, eq. 8, with a fixed weight).


# %%
def penalty_loss(ppo, params, apply, batch):
    policy, value = apply(params, batch.obs, batch.mask)
    log_ratio = policy.log_prob(batch.action) - batch.log_prob
    ratio = jnp.exp(log_ratio)
    change = (ratio - 1 - log_ratio).mean()  # an estimate of the KL divergence that is never negative
    policy_loss = -(ratio * batch.advantage).mean() + 3.0 * change
    value_loss = 0.5 * jnp.square(value - batch.target).sum(-1).mean()
    entropy = policy.entropy().mean()
    loss = policy_loss + ppo.vf_coef * value_loss - ppo.ent_coef * entropy
    return loss, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy, "approx_kl": change}


# %% [markdown]
# Or a few lines around the one that is there:


# %%
def cautious_loss(ppo, params, apply, batch):
    loss, metrics = ppo_loss(ppo, params, apply, batch)
    weights = sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(params))
    return loss + 1e-4 * weights, metrics | {"weights": weights}


# %% [markdown]
# ## Another network
#
# A flax module on one observation, which returns a distribution and as many values as there are heads. What
# is not allowed PPO takes out of the distribution itself.


# %%
class Wide(nn.Module):
    @nn.compact
    def __call__(self, obs):
        x = nn.LayerNorm()(nn.relu(nn.Dense(128)(obs)))
        return Categorical(nn.Dense(2)(x)), nn.Dense(1)(x)


# %%
found = {
    "clipped ratio": train(PPO()),
    "penalty": train(PPO(loss=penalty_loss)),
    "clipped ratio, small weights": train(PPO(loss=cautious_loss)),
    "clipped ratio, one wide layer": train(PPO(network=Wide())),
}
figure, axes = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
for name, metrics in found.items():
    mean, low, high = stats.mean_interval(np.asarray(metrics["episode_return"]))
    steps = metrics["env_steps"][0]
    axes[0].plot(steps, mean, label=name)
    axes[0].fill_between(steps, low, high, alpha=0.2, linewidth=0)
    axes[1].plot(steps, np.asarray(metrics["approx_kl"]).mean(0), label=name)
axes[0].set(xlabel="environment steps", ylabel="episode return", title="CartPole-v1: mean and 95 % interval, 8 seeds")
axes[1].set(xlabel="environment steps", ylabel="approximate KL of an update", yscale="log")
axes[0].legend(fontsize=8)
for each in axes:
    each.xaxis.set_major_locator(plt.MaxNLocator(4))
plt.show()

# %% [markdown]
# On the right is how far an update moves the policy: the smaller, the more careful the loss.
#
# The whole algorithm is `purejaxrl/algos/ppo.py`, about 250 lines: copy it where more has to change. The parts are
# public too: `purejaxrl.returns` (GAE, λ-returns, V-trace), `minibatches`, `networks`, `replay`.
