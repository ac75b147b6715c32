"""Visit counts within the episode under way, for each env: a count-min sketch that a new episode opens by a stamp.

Emptying tables of thousands of cells at each episode's end would cost more than the environment. Here a cell's count
holds only where its stamp is the episode's number, so that counting costs the same few cells whatever the table's size.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl import devices, hashing
from purejaxrl.types import Spec, Transition

Array = jax.Array
PyTree = Any


class EpisodicCounts(struct.PyTreeNode):
    hash: hashing.Hash
    cells: Array  # int32 [num_envs, ROWS, size, 2]: a count, and the episode that counted there last
    episode: Array  # int32 [num_envs], from 1


def init(key: Array, spec: Spec, *, bits: int, size: int) -> EpisodicCounts:
    """Nothing counted yet; `size` cells in each row, a power of two, `bits` as for :func:`hashing.make`."""
    empty = jnp.zeros((spec.num_envs, hashing.ROWS, size, 2), jnp.int32)
    return EpisodicCounts(hashing.make(key, spec, bits), empty, jnp.ones(spec.num_envs, jnp.int32))


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
    def visit(hash, cells, episode, obs, really):
        memory, before = _visit_own(EpisodicCounts(hash, cells, episode), obs, really)
        return memory.cells, before

    cells, before = devices.locally(visit, memory.hash, memory.cells, memory.episode, obs, really)
    return memory.replace(cells=cells), before


def _visit_own(memory: EpisodicCounts, obs: PyTree, really: Array) -> tuple[EpisodicCounts, Array]:
    num_envs, rows, size, _ = memory.cells.shape
    where = jnp.arange(num_envs)[:, None], jnp.arange(rows), hashing.cells(memory.hash, obs, 1, size)
    # One array, read once and written once: with two, XLA's CPU backend copies whole tables at every step of a scan.
    found, episode = memory.cells[where], jnp.broadcast_to(memory.episode[:, None], (num_envs, rows))
    counts = jnp.where(found[..., 1] == episode, found[..., 0], 0)
    counted = jnp.where(really[:, None, None], jnp.stack([counts + 1, episode], axis=-1), found)
    return memory.replace(cells=memory.cells.at[where].set(counted)), counts.min(-1)
