"""Passes over a batch in shuffled minibatches: the loop that every learner of parameters by epochs shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

Array = jax.Array
PyTree = Any


def flatten(tree: PyTree, num_leading: int = 2) -> PyTree:
    """A batch's samples one after the other: leaves ``[num_steps, num_envs, ...]`` become ``[samples, ...]``."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[num_leading:]), tree)


def epochs(
    step: Callable[[PyTree, Array], tuple[PyTree, PyTree]],
    carry: PyTree,
    key: Array,
    *,
    count: int,
    num_minibatches: int,
    num_epochs: int,
    fraction: float = 1.0,
) -> tuple[PyTree, PyTree]:
    """Shuffle `count` samples in each epoch and scan `step` over minibatches of them, or of a `fraction` of them.

    ``step(carry, indices [size]) -> (carry, metrics)``. What the minibatches leave out is another part in each epoch.
    Returns ``(carry, metrics)``, metrics ``[num_epochs, num_minibatches, ...]``.
    """
    size = max(int(count // num_minibatches * fraction), 1)

    def epoch(carry, key):
        order = jax.random.permutation(key, count)[: size * num_minibatches]
        return jax.lax.scan(step, carry, order.reshape(num_minibatches, size))

    return jax.lax.scan(epoch, carry, jax.random.split(key, num_epochs))
