"""Walks over a few observations with episodes of several lengths."""

import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces

from purejaxrl.types import Spec, Transition

FEATURES, ACTIONS = 4, 3
NOWHERE = Transition(*[None] * 13)


def spec(num_envs, num_steps):
    shape = jax.ShapeDtypeStruct((FEATURES,), np.float32)
    return Spec(None, spaces.Discrete(ACTIONS), num_envs, num_steps, 4, has_bonus=True, observation=shape)


def ring(seed, num_steps, num_envs, size=5, scale=1.0):
    """Transitions ``[num_steps, num_envs]`` around a ring of `size` observations; episodes end anywhere, at any time.

    An episode's last observation is not the next one's first, and about every second one is truncated.
    """
    generator = np.random.default_rng(seed)
    places = (scale * generator.normal(size=(size, FEATURES))).astype(np.float32)
    shape = (num_steps, num_envs)
    obs, next_obs, first = np.zeros((*shape, FEATURES)), np.zeros((*shape, FEATURES)), np.ones(shape, bool)
    action, done = generator.integers(0, ACTIONS, shape), generator.random(shape) < 0.15
    place = generator.integers(0, size, num_envs)
    for t in range(num_steps):
        obs[t], place = places[place], (place + action[t] - 1) % size
        next_obs[t] = places[place]
        place = np.where(done[t], (place + 2) % size, place)
    first[1:] = done[:-1]
    truncated = done & (generator.random(shape) < 0.5)
    return NOWHERE.replace(
        obs=jnp.asarray(obs, jnp.float32),
        next_obs=jnp.asarray(next_obs, jnp.float32),
        action=jnp.asarray(action, jnp.int32),
        reward=jnp.zeros(shape),
        bonus=jnp.zeros(shape),
        terminated=jnp.asarray(done & ~truncated),
        truncated=jnp.asarray(truncated),
        first=jnp.asarray(first),
    )


def part(batch, *indices):
    return jax.tree.map(lambda leaf: leaf[indices], batch)


def rollout(bonus, state, batch):
    """What the loop does: observe step by step, then the raw bonus of the whole batch."""
    state, memo = jax.jit(lambda state, batch: jax.lax.scan(bonus.observe, state, batch))(state, batch)
    return state, memo, bonus.reward(state, batch, memo)


def done(batch):
    return np.asarray(batch.terminated | batch.truncated)
