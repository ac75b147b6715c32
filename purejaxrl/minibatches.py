"""Passes over a batch in shuffled minibatches: the loop that every learner of parameters by epochs shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from purejaxrl import devices

Array = jax.Array
PyTree = Any


def flatten(tree: PyTree, num_leading: int = 2) -> PyTree:
    """A batch's samples one after the other: leaves ``[num_steps, num_envs, ...]`` become ``[samples, ...]``.

    Of a run over several devices each gets an equal share of them, where there is one.
    """
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[num_leading:]), tree)
    return devices.spread(flat)


def samples(tree: PyTree) -> PyTree:
    """As :func:`flatten`, for minibatches to be drawn from: whole on every device."""
    return devices.everywhere(jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree))


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

    def shuffled(key):
        return jax.random.permutation(key, count)[: size * num_minibatches].reshape(num_minibatches, size)

    def epoch(carry, order):
        return jax.lax.scan(step, carry, devices.spread(order, axis=1))

    keys = jax.random.split(key, num_epochs)
    if devices.count() == 1:
        return jax.lax.scan(lambda carry, key: epoch(carry, shuffled(key)), carry, keys)
    # A shuffle is a sort, which cannot be split: each device shuffles for some of the epochs.
    orders = devices.locally(lambda _, keys: jax.vmap(shuffled)(keys), (), keys)
    return jax.lax.scan(epoch, carry, devices.everywhere(orders))
