"""Tiny environments that isolate one thing each, after the idea of Andy Jones's probe environments."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from purejaxrl.algos import PPO
from purejaxrl.envs import MultiDiscrete
from purejaxrl.types import static


@struct.dataclass
class State:
    time: Any
    x: Any  # what the observation shows


@struct.dataclass
class Params:
    max_steps_in_episode: int = 1_000_000


class Probe(environment.Environment):
    """A base with one scalar observation and `actions` actions; subclasses give reward, end and next x."""

    actions = 2
    limit = 1_000_000

    @property
    def default_params(self):
        return Params(max_steps_in_episode=self.limit)

    def start(self, key):
        return jnp.zeros(())

    def reward(self, state, action):
        return jnp.ones(())

    def ends(self, state):
        return jnp.zeros((), bool)

    def next_x(self, key, state, action):
        return state.x

    def step_env(self, key, state, action, params):
        reward = self.reward(state, action)
        state = State(state.time + 1, self.next_x(key, state, action))
        return self.obs(state), state, reward, self.ends(state), {}

    def reset_env(self, key, params):
        state = State(jnp.zeros((), jnp.int32), self.start(key))
        return self.obs(state), state

    def obs(self, state):
        return jnp.reshape(state.x, (1,)).astype(jnp.float32)

    def action_space(self, params=None):
        return spaces.Discrete(self.actions)

    def observation_space(self, params):
        return spaces.Box(-10.0, 10.0, (1,))


class ConstantReward(Probe):
    """One step, reward 1: V = 1."""

    def ends(self, state):
        return state.time >= 1


class RewardFromObs(ConstantReward):
    """One step, the reward is the observation, ±1: V(x) = x."""

    def start(self, key):
        return jax.random.choice(key, jnp.array([-1.0, 1.0]))

    def reward(self, state, action):
        return state.x


class RewardFromAction(ConstantReward):
    """One step, +1 for action 1 and -1 for action 0."""

    def reward(self, state, action):
        return jnp.where(action == 1, 1.0, -1.0)


class RewardFromObsAndAction(RewardFromObs):
    """One step, +1 when the action fits the observation's sign."""

    def reward(self, state, action):
        return jnp.where((action == 1) == (state.x > 0), 1.0, -1.0)


class Discounting(Probe):
    """Two steps, the reward of 1 at the end: V(0) = γ, V(1) = 1."""

    def reward(self, state, action):
        return (state.time >= 1).astype(jnp.float32)

    def next_x(self, key, state, action):
        return state.x + 1

    def ends(self, state):
        return state.time >= 2


class TimeLimited(Probe):
    """Reward 1 for ever, cut by a time limit of 5 steps: V = 1 / (1 - γ) only where truncation bootstraps."""

    limit = 5


class BothFlags(TimeLimited):
    """As TimeLimited, but the step at the limit also terminates: V(x) = Σ γ^k over the steps left; x is the time."""

    def next_x(self, key, state, action):
        return state.time + 1.0

    def ends(self, state):
        return state.time >= 5


class Target(Probe):
    """Continuous: one step, the reward is -(a - 0.5 x)², the action is in [-1, 1]."""

    def start(self, key):
        return jax.random.choice(key, jnp.array([-1.0, 1.0]))

    def reward(self, state, action):
        return -jnp.square(action[0] - 0.5 * state.x)

    def ends(self, state):
        return state.time >= 1

    def action_space(self, params=None):
        return spaces.Box(-1.0, 1.0, (1,))


class Clock(Probe):
    """x counts the steps of all time of this env's episodes: length 3 ends by termination, 4 actions, one masked."""

    actions = 3

    def next_x(self, key, state, action):
        return state.x + 1

    def ends(self, state):
        return state.time >= 3

    def reward(self, state, action):
        return jnp.asarray(action, jnp.float32)

    def action_mask(self, state, params):
        return jnp.arange(3) != 2


class MultiTarget(RewardFromObs):
    """Two components: one step, +1 for each that is the target's: (0, 2) where x < 0, (1, 0) where x > 0."""

    def reward(self, state, action):
        target = jnp.where(state.x > 0, jnp.array([1, 0]), jnp.array([0, 2]))
        return jnp.sum(action == target).astype(jnp.float32)

    def action_space(self, params=None):
        return MultiDiscrete((2, 3))


class Recall(RewardFromObsAndAction):
    """Memory: x = ±1 shows in the first observation alone; `delay` steps later +1 when the action fits its sign."""

    delay = 3  # the episode has delay + 1 steps; only the last one's reward is not 0

    def reward(self, state, action):
        return jnp.where(state.time == self.delay, super().reward(state, action), 0.0)

    def ends(self, state):
        return state.time > self.delay

    def obs(self, state):
        return super().obs(state.replace(x=jnp.where(state.time == 0, state.x, 0.0)))


class Endings(Probe):
    """Reward 1 at each of three steps, ended in one of three ways: by termination, by a time limit, by both at once.

    The observation is one-hot: the time where episodes terminate (0-2) or both flags are true (3-5), and nothing but
    that there is a time limit where there is one (6), so that all its steps look alike. With γ = 1/2 the values are
    7/4, 3/2, 1 twice, and 2. A limit taken for an end, an end taken for a limit, and a bootstrap from the observation
    after the reset each change them.
    """

    values = (1.75, 1.5, 1.0, 1.75, 1.5, 1.0, 2.0)

    def start(self, key):
        return jax.random.choice(key, jnp.array([0.0, 3.0, 9.0]))

    def next_x(self, key, state, action):
        return jnp.where(state.x == 9, 9.0, state.x + 1)

    def ends(self, state):
        return (state.time >= 3) & (state.x != 9)

    def is_truncated(self, state, params):
        return (state.time >= 3) & (state.x != 3)

    def obs(self, state):
        shown = jnp.where((state.time >= 3) & (state.x != 9), -1, jnp.minimum(state.x, 6))
        return jax.nn.one_hot(shown.astype(jnp.int32), 7)  # a final observation shows nothing

    def observation_space(self, params):
        return spaces.Box(0.0, 1.0, (7,))


class ContinuousEndings(Endings):
    def action_space(self, params=None):
        return spaces.Box(-1.0, 3.0, (2,))


class Mortal(PPO):
    """PPO, but the first worker that makes a program of it is killed."""

    grave: str = static("")

    def init(self, key, spec):
        path = Path(self.grave)
        if path.exists() and path.read_text() != str(os.getpid()):
            path.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().init(key, spec)
