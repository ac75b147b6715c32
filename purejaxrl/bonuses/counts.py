"""Visit counts: 1/√(1 + n), with n how often the next observation was arrived at in earlier updates.

The bonus of MBIE-EB (Strehl & Littman 2008, doi:10.1016/j.jcss.2007.08.009, eq. 8) on states, and of Bellemare et al.
2016 (arXiv:1606.01868, eq. 5) with exact counts instead of pseudo-counts. For observations that repeat exactly.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl.types import Array, PyTree, SettingError, Spec, Transition, number, static

ROWS = 4


class CountsState(struct.PyTreeNode):
    table: Array  # int32 [ROWS, table_size]
    salt: Array  # uint32 [features, 2], the hash's random odd multipliers


class Counts(struct.PyTreeNode):
    """Counts of hashed observations; lifelong.

    A count-min sketch (Cormode & Muthukrishnan 2005): each observation owns one cell in each of 4 rows and its count is
    the smallest of them. A count is never too low, and too high only where the observation collides in every row: for
    M distinct observations that has probability about (M / table_size)^4 each, 2e-6 for 10,000 and the default size.
    The hash is drawn from the run's key, so seeds do not share collisions.
    """

    coef: float = number(1.0, ge=0)  # weight of the bonus
    normalise: str = static("none", choices=("none", "std", "return_std"))  # divide by nothing, its std, its return's
    warmup_steps: int = static(0, ge=0)  # random steps before training, counted
    table_size: int = static(2**18, ge=2)  # cells per row, a power of two; 4 MB of int32 in all by default

    def check(self, spec: Spec) -> None:
        if self.table_size & (self.table_size - 1):
            raise SettingError(f"bonus.table_size must be a power of two, got {self.table_size}")

    def init(self, key: Array, spec: Spec) -> CountsState:
        features = _words(spec.example_obs(), 0).shape[-1]
        salt = jax.random.bits(key, (features, 2), jnp.uint32) | 1
        return CountsState(jnp.zeros((ROWS, self.table_size), jnp.int32), salt)

    def observe(self, state: CountsState, transition: Transition) -> tuple[CountsState, PyTree]:
        return state, ()

    def reward(self, state: CountsState, transition: Transition, memo: PyTree) -> Array:
        return 1.0 / jnp.sqrt(1.0 + self.count(state, transition.next_obs, transition.reward.ndim))

    def update(self, state: CountsState, key: Array, batch: Transition) -> tuple[CountsState, dict[str, Array]]:
        cells = self._cells(state, batch.next_obs, 2)
        table = state.table.at[jnp.arange(ROWS), cells.reshape(-1, ROWS)].add(1)
        return state.replace(table=table), {"counts_occupied": (table[0] > 0).mean()}

    def count(self, state: CountsState, obs: PyTree, num_leading: int) -> Array:
        """How often each observation was counted, int32 with the observations' `num_leading` leading axes."""
        return state.table[jnp.arange(ROWS), self._cells(state, obs, num_leading)].min(-1)

    def _cells(self, state: CountsState, obs: PyTree, num_leading: int) -> Array:
        """Each observation's cell in every row, ``[..., ROWS]``: Σ salt_i · mix(word_i), rows by double hashing
        (Kirsch & Mitzenmacher 2006, doi:10.1007/11841036_42)."""
        sums = _mix(_words(obs, num_leading)) @ state.salt
        first, second = _mix(sums[..., 0]), _mix(sums[..., 1]) | 1
        rows = first[..., None] + jnp.arange(ROWS, dtype=jnp.uint32) * second[..., None]
        return (_mix(rows) & jnp.uint32(self.table_size - 1)).astype(jnp.int32)


def _words(obs: PyTree, num_leading: int) -> Array:
    """Every number of the observations as its 32 bits, ``[..., features]``; -0.0 and 0.0 are one number."""

    def words(leaf):
        leaf = leaf.reshape(*leaf.shape[:num_leading], -1)
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            leaf = leaf.astype(jnp.float32)
            return jax.lax.bitcast_convert_type(jnp.where(leaf == 0, 0.0, leaf), jnp.uint32)
        return leaf.astype(jnp.uint32)

    return jnp.concatenate([words(leaf) for leaf in jax.tree.leaves(obs)], axis=-1)


def _mix(x: Array) -> Array:
    """MurmurHash3's 32-bit finaliser: a bijection that maps 0 to 0 and spreads every input bit over all others."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
