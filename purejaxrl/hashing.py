"""Hashes of observations to the rows of a count-min sketch (Cormode & Muthukrishnan 2005), as pure integer arithmetic.

An observation owns one cell in each of a few rows, and its count is the smallest of them: never too low, and too high
only where it collides in every row. For M distinct observations that has probability about (M / size)^ROWS each.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl.types import Spec, is_one_hot

Array = jax.Array
PyTree = Any
ROWS = 4
UNBOUNDED = 1e6  # wider bounds say nothing: some environments give the largest float


class Hash(struct.PyTreeNode):
    """A hash function, drawn from a key so that seeds do not share collisions."""

    salt: Array  # uint32 [words, 2], random odd multipliers
    projection: Array | None  # float32 [features, bits] of SimHash; None to hash every bit of the observation
    offset: Array | None  # float32 [bits], of SimHash


def make(key: Array, spec: Spec, bits: int = 0) -> Hash:
    """A hash of the environment's observations: exact, or with ``bits > 0`` of their SimHash."""
    obs = spec.example_obs()
    salt_key, projection_key = jax.random.split(key)
    words = bits or _words(obs, 0).shape[-1]
    salt = jax.random.bits(salt_key, (words, 2), jnp.uint32) | 1
    if not bits:
        return Hash(salt, None, None)
    centre, radius = _bounds(spec.observation_space, obs)
    normal = jax.random.normal(projection_key, (len(centre) + 1, bits))
    projection = normal[:-1] / radius[:, None]
    return Hash(salt, projection, normal[-1] - centre @ projection)


def cells(hash: Hash, obs: PyTree, num_leading: int, size: int) -> Array:
    """Each observation's cell in every row, int32 ``[..., ROWS]`` below `size`, a power of two.

    Rows by double hashing (Kirsch & Mitzenmacher 2006, doi:10.1007/11841036_42) of two sums Σ salt_i · mix(word_i).
    SimHash (Charikar 2002; Tang et al. 2017, arXiv:1611.04717, eq. 3) takes sgn(A g(x)) for the words, with A Gaussian:
    observations that are close share them. g scales every number to [-1, 1] by the bounds of its space and appends a 1,
    so that small numbers count as much as large ones, and length as much as direction; without bounds x is taken as it
    is.
    """
    if hash.projection is None or hash.offset is None:
        words = _words(obs, num_leading)
    else:
        words = (_numbers(obs, num_leading) @ hash.projection + hash.offset > 0).astype(jnp.uint32)
    sums = _mix(words) @ hash.salt
    first, second = _mix(sums[..., 0]), _mix(sums[..., 1]) | 1
    rows = first[..., None] + jnp.arange(ROWS, dtype=jnp.uint32) * second[..., None]
    return (_mix(rows) & jnp.uint32(size - 1)).astype(jnp.int32)


def _bounds(space: Any, obs: PyTree) -> tuple[Array, Array]:
    """Centre and radius of each of an observation's numbers, 0 and 1 where they have no bounds."""
    lows, highs = [], []
    for path, leaf in jax.tree.leaves_with_path(obs, is_leaf=is_one_hot):
        size = _numbers(leaf, 0).size
        ends = (0.0, 1.0) if is_one_hot(leaf) else _ends(_space_at(space, path))
        low, high = (jnp.asarray(end, jnp.float32).ravel() for end in ends)
        if low.size not in (1, size) or high.size not in (1, size):
            low = high = jnp.full(1, jnp.nan)
        lows.append(jnp.broadcast_to(low, size))
        highs.append(jnp.broadcast_to(high, size))
    low, high = jnp.concatenate(lows), jnp.concatenate(highs)
    known = (high > low) & (high - low < UNBOUNDED)
    return jnp.where(known, (low + high) / 2, 0.0), jnp.where(known, (high - low) / 2, 1.0)


def _ends(space: Any) -> tuple[Any, Any]:
    """The least and the largest value of a space's numbers, NaN where it does not say."""
    counts = getattr(space, "nvec", getattr(space, "n", None))
    if counts is not None:
        return 0, jnp.asarray(counts) - 1
    return getattr(space, "low", jnp.nan), getattr(space, "high", jnp.nan)


def _space_at(space: Any, path: tuple[Any, ...]) -> Any:
    """The space of an observation's leaf, None where the observation is not built as its space is."""
    for step in path:
        name = next(getattr(step, kind) for kind in ("key", "idx", "name") if hasattr(step, kind))
        try:
            space = space.spaces[name]
        except (AttributeError, LookupError, TypeError):
            return None
    return space


def _numbers(obs: PyTree, num_leading: int) -> Array:
    leaves = [leaf.vector() if is_one_hot(leaf) else leaf for leaf in jax.tree.leaves(obs, is_leaf=is_one_hot)]
    leaves = [leaf.reshape(*leaf.shape[:num_leading], -1) for leaf in leaves]
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
