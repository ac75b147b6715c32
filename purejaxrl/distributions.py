"""Action distributions: pytrees of parameters with the few functions that a policy needs, for any leading axes."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import struct

Array = jax.Array


class Categorical(struct.PyTreeNode):
    """Over ``num_actions`` actions."""

    logits: Array  # [..., num_actions], need not be normalised

    def masked(self, mask: Array) -> Categorical:
        """Forbid the actions where `mask` (bool, like logits) is false: probability exactly 0, no share in the entropy.

        A mask that forbids everything leaves the uniform distribution, never NaN.
        """
        return Categorical(jnp.where(mask, self.logits, -1e9))

    def sample(self, key: Array) -> Array:
        return jax.random.categorical(key, self.logits)

    def mode(self) -> Array:
        return jnp.argmax(self.logits, axis=-1)

    def log_prob(self, action: Array) -> Array:
        log_probs = jax.nn.log_softmax(self.logits)
        return jnp.take_along_axis(log_probs, action[..., None].astype(jnp.int32), axis=-1)[..., 0]

    def entropy(self) -> Array:
        log_probs = jax.nn.log_softmax(self.logits)
        return -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)


class Gaussian(struct.PyTreeNode):
    """Independent normals; log-probability and entropy sum over the last `event_ndim` axes, those of the action."""

    mean: Array  # [..., *action_shape]
    log_std: Array  # broadcasts to mean
    event_ndim: int = struct.field(pytree_node=False, default=1)

    def _sum(self, x: Array) -> Array:
        return x.sum(tuple(range(-self.event_ndim, 0)))

    def sample(self, key: Array) -> Array:
        return self.mean + jnp.exp(self.log_std) * jax.random.normal(key, self.mean.shape)

    def mode(self) -> Array:
        return self.mean

    def log_prob(self, action: Array) -> Array:
        z = (action - self.mean) * jnp.exp(-self.log_std)
        return self._sum(-0.5 * z**2 - self.log_std - 0.5 * math.log(2 * math.pi))

    def entropy(self) -> Array:
        return self._sum(jnp.broadcast_to(self.log_std + 0.5 * math.log(2 * math.pi * math.e), self.mean.shape))
