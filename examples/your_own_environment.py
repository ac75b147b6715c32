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
# # Your own environment
#
# An environment is a class with five methods, on gymnax's interface: pure functions of a key, a state and an action.
# Here is a corridor in the wind, with an action that is not always allowed. It is checked, looked at, trained on, and
# explored with exact counts of its states.

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
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces

import purejaxrl
from purejaxrl import envs
from purejaxrl.algos import PPO
from purejaxrl.bonuses import Counts
from purejaxrl.envs import drawing

STEPS = int(os.environ.get("EXAMPLE_STEPS", 61_440))

# %% [markdown]
# ## Write it
#
# State and parameters are dataclasses of arrays. `step_env` returns the observation, the state, the reward, whether
# the episode *terminated*, and a dictionary. The step limit is a matter of its own, `max_steps_in_episode`: an
# episode that it cuts short was not over, and learners here bootstrap from its last observation.


# %%
@struct.dataclass
class State:
    place: Any
    time: Any


@struct.dataclass
class Params:
    wind: float = 0.2  # probability of being blown back to the start
    max_steps_in_episode: int = 60


class Corridor(environment.Environment):
    """Walk right to the end; the wind blows back to the start. Jumping two places is allowed on even ones alone."""

    length = 12

    @property
    def default_params(self):
        return Params()

    def reset_env(self, key, params):
        state = State(place=jnp.int32(0), time=jnp.int32(0))
        return self.get_obs(state), state

    def step_env(self, key, state, action, params):
        step = jnp.array([-1, 1, 2])[action]
        blown = jax.random.bernoulli(key, params.wind)
        place = jnp.where(blown, 0, jnp.clip(state.place + step, 0, self.length - 1))
        there = place == self.length - 1
        state = State(place, state.time + 1)
        return self.get_obs(state), state, there.astype(jnp.float32), there, {}

    def get_obs(self, state):
        return jax.nn.one_hot(state.place, self.length)

    def action_mask(self, state, params):
        return jnp.array([True, True, False]).at[2].set(state.place % 2 == 0)

    def action_space(self, params=None):
        return spaces.Discrete(3)

    def observation_space(self, params):
        return spaces.Box(0.0, 1.0, (self.length,))

    def render_frame(self, state, params):  # may be left out: its picture
        scene = drawing.Scene((0.0, float(self.length)), (0.0, 1.5))
        for place in range(self.length):
            colour = drawing.FLOOR if place % 2 else drawing.WATER  # jumping is allowed on blue
            scene.box((place + 0.05, place + 0.95), (0.05, 0.95), drawing.GOAL if place == self.length - 1 else colour)
        scene.disc((int(state.place) + 0.5, 0.5), 0.3, drawing.AGENT)
        return scene.frame()


# %% [markdown]
# ## Check it
#
# `check_env` traces and plays it, and names everything that would break training or teach something wrong: shapes,
# spaces, rewards, masks, randomness from elsewhere. Nothing said means nothing found.

# %%
env = Corridor()
purejaxrl.check_env(env)

# %% [markdown]
# ## Look at it
#
# With the method `render_frame` it has pictures; `purejaxrl eval --gif` makes animations of them.

# %%
_, state = env.reset_env(jax.random.key(0), Params())
figure, axes = plt.subplots(figsize=(7, 1.2), layout="constrained")
axes.imshow(envs.render(env, state, Params()))
axes.set_axis_off()
plt.show()

# %% [markdown]
# ## Train on it, with and without a bonus
#
# `visits` says what the true states are: a function of the state that numbers them. Wind is a *parameter*, a number
# that may differ from lane to lane without compiling again.


# %%
def run(bonus):
    def one(wind, key):
        train = purejaxrl.make_train(
            env,
            PPO(num_steps=32, learning_rate=1e-3),
            bonus=bonus,
            env_params=Params(wind=wind),
            num_envs=8,
            total_steps=STEPS,
            visits=(lambda state: state.place, env.length),
        )
        return train(key)

    winds = jnp.array([0.0, 0.2, 0.4])
    keys = jax.random.split(jax.random.key(0), 4)
    return jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(winds, keys)  # [winds, seeds]


results = {"PPO alone": run(None), "PPO + counts": run(Counts(coef=0.1, normalise="return_std"))}

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
for name, result in results.items():
    for number, wind in enumerate((0.0, 0.2, 0.4)):
        curve = jnp.nanmean(result.metrics["episode_length"][number], axis=0)
        style = "-" if name == "PPO alone" else "--"
        axes[0].plot(result.metrics["env_steps"][0, 0], curve, style, color=f"C{number}", label=f"{name}, wind {wind}")
    axes[1].plot(np.asarray(result.state.visits[2]).mean(0), label=f"{name}, wind 0.4")
axes[0].set(xlabel="environment steps", ylabel="steps to the end", title="Mean of 4 seeds; 60 is the time limit")
axes[0].set_ylim(0, 90)  # the legend above the curves
axes[1].set(xlabel="place", ylabel="visits", yscale="log", title="How often each place was visited")
for each in axes:
    each.legend(fontsize=7)
plt.show()

# %% [markdown]
# From here: `gymnax.register("Corridor-v0", Corridor)` gives it an id; `purejaxrl.evaluate` plays fresh episodes.
