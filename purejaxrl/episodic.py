"""Visit counts within the episode under way, for each env: a count-min sketch that a new episode opens by a stamp.

Emptying tables of thousands of cells at each episode's end would cost more than the environment. Here a cell's count
holds only where its stamp is the episode's number, so that counting costs the same few cells whatever the table's size.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl import hashing
from purejaxrl.types import Transition

Array = jax.Array
PyTree = Any


class EpisodicCounts(struct.PyTreeNode):
    hash: hashing.Hash
    count: Array  # int32 [num_envs, ROWS, size]
    stamp: Array  # int32 [num_envs, ROWS, size], the episode that counted there last
    episode: Array  # int32 [num_envs], from 1


def init(hash: hashing.Hash, num_envs: int, size: int) -> EpisodicCounts:
    empty = jnp.zeros((num_envs, hashing.ROWS, size), jnp.int32)
    return EpisodicCounts(hash, empty, empty, jnp.ones(num_envs, jnp.int32))


def observe(memory: EpisodicCounts, transition: Transition) -> tuple[EpisodicCounts, Array]:
    """Count one step of every env: its memory, and how often `next_obs` was visited before in this episode, ``[E]``.

    An episode's first observation is a visit as well, and so is its true final one; then the memory is empty.
    """
    memory, _ = _visit(memory, transition.obs, transition.first)
    memory, before = _visit(memory, transition.next_obs, jnp.ones_like(transition.first))
    done = transition.terminated | transition.truncated
    return memory.replace(episode=memory.episode + done), before


def visits(memory: EpisodicCounts, obs: PyTree) -> Array:
    """How often each env's observation was visited in the episode under way, int32 ``[E]``."""
    return _visit(memory, obs, jnp.zeros(len(memory.episode), bool))[1]


def _visit(memory: EpisodicCounts, obs: PyTree, really: Array) -> tuple[EpisodicCounts, Array]:
    num_envs, rows, size = memory.count.shape
    where = jnp.arange(num_envs)[:, None], jnp.arange(rows), hashing.cells(memory.hash, obs, 1, size)
    counts = jnp.where(memory.stamp[where] == memory.episode[:, None], memory.count[where], 0)
    stamp = jnp.where(really[:, None], memory.episode[:, None], memory.stamp[where])
    new = jnp.where(really[:, None], counts + 1, memory.count[where])
    memory = memory.replace(count=memory.count.at[where].set(new), stamp=memory.stamp.at[where].set(stamp))
    return memory, counts.min(-1)
