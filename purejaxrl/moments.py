"""Running mean and variance of batches, merged exactly, and the scalers built on them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl.types import map_numbers

Array = jax.Array


class Moments(struct.PyTreeNode):
    """Running moments over everything seen; `mean` and `var` are pytrees shaped like one sample."""

    mean: Any
    var: Any  # population variance
    count: Array  # float32 scalar, number of samples


def init(example: Any) -> Moments:
    """Moments of nothing: mean 0 and variance 1, so that standardising only clips until the first update."""
    return Moments(
        jax.tree.map(lambda x: jnp.zeros(x.shape), example),
        jax.tree.map(lambda x: jnp.ones(x.shape), example),
        jnp.zeros(()),
    )


def update(moments: Moments, batch: Any) -> Moments:
    """Merge a batch, whose leaves have leading axes before a sample's own (Chan et al. 1979, pairwise combination)."""

    def merge(mean, var, x):
        axes = tuple(range(x.ndim - mean.ndim))
        x = x.astype(jnp.float32)
        size = jnp.asarray(x.size / max(mean.size, 1), jnp.float32)
        batch_mean, batch_var = x.mean(axes), x.var(axes)
        total = moments.count + size
        delta, share = batch_mean - mean, size / total
        # By shares, not by counts: no product overflows, and where float32 cannot add to the count any more, older
        # samples fade.
        return mean + delta * share, var * (1 - share) + (batch_var + delta**2 * (1 - share)) * share, total

    merged = jax.tree.map(merge, moments.mean, moments.var, batch)
    mean, var, count = jax.tree.transpose(jax.tree.structure(moments.mean), jax.tree.structure((0, 0, 0)), merged)
    return Moments(mean, var, jax.tree.leaves(count)[0])


def standardise(moments: Moments, x: Any, clip: float) -> Any:
    """Return ``(x - mean) / sqrt(var + 1e-8)`` clipped to ±`clip`, leaf by leaf, as float32; a OneHot as it is."""

    def scale(mean, var, x):
        return jnp.clip((x.astype(jnp.float32) - mean) / jnp.sqrt(var + 1e-8), -clip, clip)

    return map_numbers(scale, moments.mean, moments.var, x)


def scale_by_std(moments: Moments, x: Array) -> Array:
    """Return x / σ, not centred; x itself where σ is rounding noise (a constant stream has no scale)."""
    std = jnp.sqrt(moments.var)
    return x / jnp.where(std > 1e-5 * jnp.abs(moments.mean), std, 1.0)


def discounted(reward: Array, running: Array, gamma: float | Array, first: Array | None = None) -> tuple[Array, Array]:
    """Forward-discounted return per env, ``R_t = γ R_{t-1} + r_t``, over the time axis of ``[num_steps, num_envs]``.

    `running` is R before the first step, ``[num_envs]``. Where `first` is given, R restarts at an episode's first step
    (and not before its last reward was counted); without it, episodes' ends are ignored, as RND does.

    Returns ``(R, running)``: all values ``[num_steps, num_envs]`` and the last one ``[num_envs]``.
    """
    decay = jnp.full(reward.shape, gamma) if first is None else gamma * (1.0 - first)

    def forwards(running, step):
        reward, decay = step
        running = decay * running + reward
        return running, running

    running, returns = jax.lax.scan(forwards, running, (reward, decay))
    return returns, running
