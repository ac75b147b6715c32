"""Passes over a batch in shuffled minibatches: the loop that every learner of parameters by epochs shares."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from purejaxrl import devices

Array = jax.Array
PyTree = Any

ROUNDS = 3  # of a shuffle; after two, pairs of neighbours are still a little too often together
FEWEST_ROWS = 4
PART = 4096  # samples whose activations in small networks stay in a CPU's caches: between 2048 and 8192 all are alike


def flatten(tree: PyTree, num_leading: int = 2) -> PyTree:
    """A batch's samples one after the other: leaves ``[num_steps, num_envs, ...]`` become ``[samples, ...]``.

    Of a run over several devices each gets an equal share of them, where there is one.
    """
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[num_leading:]), tree)
    return devices.spread(flat)


def samples(tree: PyTree) -> PyTree:
    """As :func:`flatten`, for minibatches to be drawn from: whole on every device."""
    return devices.everywhere(jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree))


@jax.named_scope("minibatches")
def shuffled(key: Array, count: int) -> Array:
    """The numbers below `count` in a random order, int32 ``[count]``, without the sort that a permutation costs.

    They fill a table by rows. Each column is turned by a random shift of its own, then each row, and that three times.
    Every number is equally likely in every place, and any two of them are in one minibatch as often as they should
    be (tests/test_minibatches.py), but not all ``count!`` orders can come out. A count that fills no table of at least
    four rows is sorted after all.
    """
    rows = max(rows for rows in range(1, math.isqrt(count) + 1) if count % rows == 0)
    if rows < FEWEST_ROWS:
        return jax.random.permutation(key, count)
    columns = count // rows
    row, column = jnp.divmod(jnp.arange(count), columns)
    for shifts in jax.random.bits(key, (ROUNDS, columns + rows)):
        down, right = (shifts[:columns] % rows).astype(jnp.int32), (shifts[columns:] % columns).astype(jnp.int32)
        row = _wrapped(row + down[column], rows)
        column = _wrapped(column + right[row], columns)
    return row * columns + column


def _wrapped(number: Array, size: int) -> Array:
    """``number % size`` of numbers below ``2 * size``."""
    return jnp.where(number < size, number, number - size)


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
    Fewer samples than minibatches, as a short warm-up has, are that many. Returns ``(carry, metrics)``, metrics
    ``[num_epochs, num_minibatches, ...]``.
    """
    num_minibatches = min(num_minibatches, count)
    size = max(int(count // num_minibatches * fraction), 1)

    def epoch(carry, key):
        order = shuffled(key, count)[: size * num_minibatches].reshape(num_minibatches, size)
        return jax.lax.scan(step, carry, devices.spread(order, axis=1))

    return jax.lax.scan(epoch, carry, jax.random.split(key, num_epochs))


def init(optimiser: optax.GradientTransformation, params: PyTree) -> PyTree:
    """The optimiser's state for :func:`descend`."""
    return optimiser.init(ravel_pytree(params)[0])


def descend(
    loss: Callable[[PyTree, PyTree], tuple[Array, PyTree]],
    optimiser: optax.GradientTransformation,
    params: PyTree,
    opt_state: PyTree,
    samples: PyTree,
    key: Array,
    *,
    num_minibatches: int,
    num_epochs: int,
    fraction: float = 1.0,
    prepare: Callable[[PyTree], PyTree] = lambda minibatch: minibatch,
    part: int | None = PART,
) -> tuple[PyTree, PyTree, PyTree]:
    """Epochs of gradient steps on the samples, one for each minibatch.

    The parameters are one vector meanwhile: an optimiser's step is a few operations, not a few for each leaf, which is
    a quarter of a small network's time and half of what it takes to compile.

    Args:
      loss: ``(params, minibatch) -> (loss, metrics)``, all of them means over its samples.
      optimiser: sees the parameters as one vector.
      params: as before the first step.
      opt_state: from :func:`init`, or as an earlier call has left it.
      samples: leaves ``[count, ...]``.
      key: of the shuffles.
      num_minibatches: per epoch.
      num_epochs: passes over the samples.
      fraction: of each minibatch that is used.
      prepare: done to a whole minibatch before its loss.
      part: rows of the samples whose gradient is computed at a time on a CPU; None: all of a minibatch.

    Returns:
      ``(params, opt_state, metrics)``, metrics ``[num_epochs, num_minibatches, ...]``.
    """
    vector, unflatten = ravel_pytree(params)

    def step(carry, indices):
        vector, opt_state = carry
        with jax.named_scope("minibatches"):
            minibatch = prepare(jax.tree.map(lambda x: x[indices], samples))
        grads, metrics = _gradient(lambda vector, some: loss(unflatten(vector), some), vector, minibatch, part)
        with jax.named_scope("optimiser"):
            updates, opt_state = optimiser.update(grads, opt_state, vector)
        return (optax.apply_updates(vector, updates), opt_state), metrics

    count = len(jax.tree.leaves(samples)[0])
    sizes = {"count": count, "num_minibatches": num_minibatches, "num_epochs": num_epochs, "fraction": fraction}
    (vector, opt_state), metrics = epochs(step, (vector, opt_state), key, **sizes)
    return unflatten(vector), opt_state, metrics


def in_parts(function: Callable[[PyTree], PyTree], tree: PyTree, part: int | None = PART) -> PyTree:
    """``function(tree)`` of leaves ``[samples, ...]``, each sample by itself, in parts that stay in a CPU's caches."""
    size = len(jax.tree.leaves(tree)[0])
    count = _num_parts(size, part)
    if count == 1:
        return function(tree)
    found = jax.lax.map(function, _parts(tree, count))
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(size, *x.shape[2:]), found)


@jax.named_scope("gradient")
def _gradient(loss: Callable, vector: Array, minibatch: PyTree, part: int | None) -> tuple[Array, PyTree]:
    """The gradient and the metrics of a minibatch, as the mean over equal parts of it."""
    gradient = jax.grad(loss, has_aux=True)
    count = _num_parts(len(jax.tree.leaves(minibatch)[0]), part)
    if count == 1:
        return gradient(vector, minibatch)

    def one(total, some):
        return jax.tree.map(jnp.add, total, gradient(vector, some)), None

    parts = _parts(minibatch, count)
    nothing = jax.eval_shape(gradient, vector, jax.tree.map(lambda x: x[0], parts))
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), nothing)
    total, _ = jax.lax.scan(one, nothing, parts)
    return jax.tree.map(lambda x: x / count, total)


def _num_parts(size: int, part: int | None) -> int:
    """How many equal parts of at most `part` samples to make; 1 where they would be too small to pay."""
    if part is None or jax.default_backend() != "cpu":
        return 1
    most = part * devices.count()
    count = next(count for count in range(-(-size // most), size + 1) if size % count == 0)
    return count if size // count >= most // 4 else 1


def _parts(tree: PyTree, count: int) -> PyTree:
    """Leaves ``[samples, ...]`` as ``[count, samples / count, ...]``: a share of each device's samples in each part."""
    return jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, count, *x.shape[1:]), 0, 1), tree)
