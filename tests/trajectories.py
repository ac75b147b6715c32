"""Walks over a few observations with episodes of several lengths."""

import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces

from purejaxrl import intrinsic
from purejaxrl.types import Spec, Transition

FEATURES, ACTIONS = 4, 3
NOWHERE = Transition()


def spec(num_envs, num_steps, features=FEATURES):
    shape = jax.ShapeDtypeStruct((features,), np.float32)
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


def walk(path, done=None, action=None):
    """Transitions along observations ``path [T + 1, E, 3]``; an episode that is done is followed by another one."""
    path = np.asarray(path, np.float32)
    leading = (len(path) - 1, path.shape[1])
    done = np.zeros(leading, bool) if done is None else done
    first = np.concatenate([np.ones((1, leading[1]), bool), done[:-1]])
    return Transition(
        obs=path[:-1],
        next_obs=path[1:],
        action=np.zeros(leading, np.int32) if action is None else action,
        reward=np.zeros(leading, np.float32),
        bonus=np.zeros(leading, np.float32),
        terminated=done,
        truncated=np.zeros(leading, bool),
        first=first,
    )


def part(batch, *indices):
    return jax.tree.map(lambda leaf: leaf[indices], batch)


def rollout(bonus, state, batch):
    """What the loop does: observe step by step, then the raw bonus of the whole batch."""
    state, memo = jax.jit(lambda state, batch: jax.lax.scan(bonus.observe, state, batch))(state, batch)
    return state, memo, bonus.reward(state, batch, memo)


def play(bonus, state, batch):
    """A rollout's end as the loop makes it: the state, the batch with its memo, and what compositions combine."""
    state, memo = jax.lax.scan(bonus.observe, state, jax.tree.map(jnp.asarray, batch).replace(bonus=None))
    batch = jax.tree.map(jnp.asarray, batch).replace(memo=memo)
    raw = bonus.reward(state, batch, memo)
    scale = intrinsic.init(bonus, batch.reward.shape[1])
    return state, batch, intrinsic.combined(bonus, scale, raw, jnp.zeros(()))


def done(batch):
    return np.asarray(batch.terminated | batch.truncated)
