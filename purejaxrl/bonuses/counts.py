"""Visit counts: 1/√(1 + n), with n how often the next observation, or its SimHash, was arrived at before.

Lifelong: n counts earlier updates; the bonus of MBIE-EB (Strehl & Littman 2008, doi:10.1016/j.jcss.2007.08.009, eq. 8)
on states, and of Bellemare et al. 2016 (arXiv:1606.01868, eq. 5) with exact counts instead of pseudo-counts. Episodic:
n counts the steps before this one in its own episode, the first observation included. Both are counts of the whole
observation, or with `bits` of its SimHash (Tang et al. 2017, arXiv:1611.04717), for observations that hardly repeat.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import struct

from purejaxrl import episodic, hashing
from purejaxrl.intrinsic import Weighted
from purejaxrl.types import Array, PyTree, Spec, Transition, static


class CountsState(struct.PyTreeNode):
    hash: Any  # hashing.Hash, of lifelong counts
    table: Any  # int32 [ROWS, table_size], lifelong counts
    episodic: Any  # episodic.EpisodicCounts, with `episodic`


class Counts(Weighted):
    """Counts of hashed observations; lifelong or episodic.

    The hash is drawn from the run's key. A count-min sketch of 4 rows (see ``hashing.py``): for M distinct observations
    a count is too high with probability about (M / table_size)^4, 2e-6 for 10,000 of them and the default size.
    """

    episodic: bool = static(False)  # count within the episode only
    bits: int = static(0, ge=0)  # above 0: of the SimHash, fewer bits join more observations; 0: count exact ones
    table_size: int = static(2**18, ge=2, power_of_two=True)  # cells in each of 4 rows; at most 2^12 of episodic tables

    def init(self, key: Array, spec: Spec) -> CountsState:
        if self.episodic:
            size = min(self.table_size, 2**12)
            return CountsState(None, None, episodic.init(key, spec, bits=self.bits, size=size))
        hash = hashing.make(key, spec, self.bits)
        return CountsState(hash, jnp.zeros((hashing.ROWS, self.table_size), jnp.int32), None)

    def observe(self, state: CountsState, transition: Transition) -> tuple[CountsState, PyTree]:
        if not self.episodic:
            return state, ()
        memory, before = episodic.observe(state.episodic, transition)
        return state.replace(episodic=memory), before

    def reward(self, state: CountsState, transition: Transition, memo: PyTree) -> Array:
        before = memo if self.episodic else self.count(state, transition.next_obs, transition.reward.ndim)
        return 1.0 / jnp.sqrt(1.0 + before)

    def update(self, state: CountsState, key: Array, batch: Transition) -> tuple[CountsState, dict[str, Array]]:
        if self.episodic:
            return state, {}
        cells = hashing.cells(state.hash, batch.next_obs, batch.reward.ndim, self.table_size)
        table = state.table.at[jnp.arange(hashing.ROWS), cells.reshape(-1, hashing.ROWS)].add(1)
        return state.replace(table=table), {"counts_occupied": (table[0] > 0).mean()}

    def statistics(self, state: CountsState, obs: PyTree) -> Array:
        """1/√(1 + n) of each env's observation, ``[num_envs, 1]``: what :class:`SOFE` shows the policy."""
        n = episodic.visits(state.episodic, obs) if self.episodic else self.count(state, obs, 1)
        # An episode's first observation is counted only once it is left, and it was visited.
        n = jnp.maximum(n, 1) if self.episodic else n
        return 1.0 / jnp.sqrt(1.0 + n)[:, None]

    def count(self, state: CountsState, obs: PyTree, num_leading: int) -> Array:
        """How often each observation was counted, int32 with the observations' `num_leading` leading axes."""
        cells = hashing.cells(state.hash, obs, num_leading, self.table_size)
        return state.table[jnp.arange(hashing.ROWS), cells].min(-1)
