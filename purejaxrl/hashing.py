"""Hashes of observations to the rows of a count-min sketch (Cormode & Muthukrishnan 2005), as pure integer arithmetic.

An observation owns one cell in each of a few rows, and its count is the smallest of them: never too low, and too high
only where it collides in every row. For M distinct observations that has probability about (M / size)^ROWS each.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

Array = jax.Array
PyTree = Any
ROWS = 4


class Hash(struct.PyTreeNode):
    """A hash function, drawn from a key so that seeds do not share collisions."""

    salt: Array  # uint32 [words, 2], random odd multipliers
    projection: Array | None  # float32 [features, bits] of SimHash; None to hash every bit of the observation


def make(key: Array, obs: PyTree, bits: int = 0) -> Hash:
    """A hash of observations like `obs` (one of them): exact, or with ``bits > 0`` of their SimHash."""
    salt_key, projection_key = jax.random.split(key)
    projection = jax.random.normal(projection_key, (_numbers(obs, 0).shape[-1], bits)) if bits else None
    words = _words(obs, 0).shape[-1] if projection is None else bits
    return Hash(jax.random.bits(salt_key, (words, 2), jnp.uint32) | 1, projection)


def cells(hash: Hash, obs: PyTree, num_leading: int, size: int) -> Array:
    """Each observation's cell in every row, int32 ``[..., ROWS]`` below `size`, a power of two.

    Rows by double hashing (Kirsch & Mitzenmacher 2006, doi:10.1007/11841036_42) of two sums Σ salt_i · mix(word_i).
    SimHash (Charikar 2002; Tang et al. 2017, arXiv:1611.04717, eq. 3) takes sgn(A x) for the words, with A Gaussian:
    observations at a small angle share them.
    """
    if hash.projection is None:
        words = _words(obs, num_leading)
    else:
        words = (_numbers(obs, num_leading) @ hash.projection > 0).astype(jnp.uint32)
    sums = _mix(words) @ hash.salt
    first, second = _mix(sums[..., 0]), _mix(sums[..., 1]) | 1
    rows = first[..., None] + jnp.arange(ROWS, dtype=jnp.uint32) * second[..., None]
    return (_mix(rows) & jnp.uint32(size - 1)).astype(jnp.int32)


def _numbers(obs: PyTree, num_leading: int) -> Array:
    leaves = [leaf.reshape(*leaf.shape[:num_leading], -1) for leaf in jax.tree.leaves(obs)]
    return jnp.concatenate([leaf.astype(jnp.float32) for leaf in leaves], axis=-1)


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
