"""Action distributions: pytrees of parameters with the few functions that a policy needs, for any leading axes."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

Array = jax.Array


class Categorical(struct.PyTreeNode):
    """Over ``num_actions`` actions."""

    logits: Array  # [..., num_actions], need not be normalised

    def masked(self, mask: Array) -> Categorical:
        """Forbid the actions where `mask` (bool, like logits) is false: probability exactly 0, no share in the entropy.

        A mask that forbids everything leaves the uniform distribution, never NaN.
        """
        # All at -1e9 would be uniform for log_prob but not for sample: its noise is lost in rounding at that size.
        forbidden = jnp.where(mask.any(-1, keepdims=True), -1e9, 0.0)
        return Categorical(jnp.where(mask, self.logits, forbidden))

    def sample(self, key: Array) -> Array:
        return jax.random.categorical(key, self.logits)

    def mode(self) -> Array:
        return jnp.argmax(self.logits, axis=-1)

    def log_prob(self, action: Array) -> Array:
        # A sum, since the gradient of a gather is a scatter, which takes longer and compiles to more.
        taken = jnp.arange(self.logits.shape[-1]) == action[..., None]
        return jnp.sum(jax.nn.log_softmax(self.logits), axis=-1, where=taken)

    def entropy(self) -> Array:
        log_probs = jax.nn.log_softmax(self.logits)
        return -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)


class MultiCategorical(struct.PyTreeNode):
    """Over vectors of discrete components, each independent of the others; component i has ``nvec[i]`` actions.

    Raises:
      ValueError: (its methods) where the logits' or a mask's last axis is not sum(nvec).
    """

    logits: Array  # [..., sum(nvec)], the components' logits one after the other
    nvec: tuple[int, ...] = struct.field(pytree_node=False)

    def _split(self, x: Array) -> list[Array]:
        """Cut ``[..., sum(nvec)]`` into the components' ``[..., nvec[i]]``."""
        if x.shape[-1] != sum(self.nvec):
            raise ValueError(f"the last axis must be sum(nvec) = {sum(self.nvec)}, got shape {x.shape}")
        return jnp.split(x, np.cumsum(self.nvec)[:-1], axis=-1)

    def _components(self) -> list[Categorical]:
        return [Categorical(logits) for logits in self._split(self.logits)]

    def masked(self, mask: Array) -> MultiCategorical:
        """Forbid the actions where `mask` (bool, like logits) is false; see :meth:`Categorical.masked`.

        A mask that forbids all of a component leaves that component uniform.
        """
        pairs = zip(self._components(), self._split(mask), strict=True)
        return self.replace(logits=jnp.concatenate([part.masked(its).logits for part, its in pairs], axis=-1))

    def sample(self, key: Array) -> Array:
        """Int32 ``[..., len(nvec)]``."""
        parts = self._components()
        samples = [part.sample(key) for part, key in zip(parts, jax.random.split(key, len(parts)), strict=True)]
        return jnp.stack(samples, axis=-1).astype(jnp.int32)

    def mode(self) -> Array:
        return jnp.stack([part.mode() for part in self._components()], axis=-1).astype(jnp.int32)

    def log_prob(self, action: Array) -> Array:
        return jnp.stack([part.log_prob(action[..., i]) for i, part in enumerate(self._components())]).sum(0)

    def entropy(self) -> Array:
        return jnp.stack([part.entropy() for part in self._components()]).sum(0)


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


class TanhGaussian(struct.PyTreeNode):
    """Squashed normals: ``action = low + (high - low) (tanh(u) + 1) / 2``, elementwise, u independently normal.

    As in SAC (Haarnoja et al. 2018, "Soft Actor-Critic: Off-Policy Maximum Entropy Deep Reinforcement Learning with a
    Stochastic Actor", appendix C). The log-probability sums over the last `event_ndim` axes. There is none of a given
    action: u cannot be recovered from one that rounding has put onto a bound.
    """

    mean: Array  # [..., *action_shape], of u
    log_std: Array  # broadcasts to mean, of u
    low: Array  # broadcasts to mean, finite
    high: Array  # likewise, above low
    event_ndim: int = struct.field(pytree_node=False, default=1)

    def _squash(self, u: Array) -> Array:
        # Clipped because rounding may lead a little beyond the bounds.
        return jnp.clip(self.low + (self.high - self.low) * (jnp.tanh(u) + 1) / 2, self.low, self.high)

    def sample(self, key: Array) -> Array:
        return self.sample_and_log_prob(key)[0]

    def mode(self) -> Array:
        """The squashed mean, which is the median; the density's own maximum may lie at a bound."""
        return self._squash(self.mean)

    def sample_and_log_prob(self, key: Array) -> tuple[Array, Array]:
        """An action ``[..., *action_shape]``, differentiable in the parameters, and its log-probability ``[...]``.

        ``log p(action) = log N(u) - log(1 - tanh(u)²) - log((high - low) / 2)``, summed over the action's axes, with
        ``1 - tanh(u)²`` by softplus, where the plain form would round to 0 from |u| = 9 on.
        """
        noise = jax.random.normal(key, self.mean.shape)
        u = self.mean + jnp.exp(self.log_std) * noise
        normal = -0.5 * noise**2 - self.log_std - 0.5 * math.log(2 * math.pi)
        slope = 2 * (math.log(2) - u - jax.nn.softplus(-2 * u)) + jnp.log((self.high - self.low) / 2)
        return self._squash(u), jnp.sum(normal - slope, axis=tuple(range(-self.event_ndim, 0)))
