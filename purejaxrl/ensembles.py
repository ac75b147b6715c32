"""Ensembles with randomised priors (Osband et al. 2018, arXiv:1806.03335), of which one member acts at a time."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from purejaxrl import exploration, networks
from purejaxrl.types import Array, PyTree, Spec

LARGEST_GAIN = 1e6


class HyperEnsemble(nn.Module):
    """All members in one network: ``[num_members, num_actions]`` of one observation.

    Member k's values are μ + wᵀξₖ, a linear hypermodel (Li et al. 2024, arXiv:2402.10228) at a fixed index ξₖ in
    `index_size` dimensions: members share all but the last layer, and a further one costs a dot product.
    """

    num_members: int
    num_actions: int
    index_size: int
    hidden: tuple[int, ...]
    layer_norm: bool = False

    @nn.compact
    def __call__(self, obs: Any) -> Array:
        index = jax.random.normal(jax.random.key(0), (self.num_members, self.index_size))
        index -= index.mean(0)  # so that the members' mean is μ
        index /= jnp.sqrt(jnp.square(index).sum(-1).mean())
        found = networks.hypermodel(obs, self.num_actions, self.index_size, self.hidden, layer_norm=self.layer_norm)
        return found[:, 0] + index @ found[:, 1:].T


def init(network: Any, keys: Array, num_members: int, spec: Spec) -> tuple[PyTree, PyTree, Array]:
    """Members and as many priors, leaves ``[num_members, ...]``, and what makes the priors' standard deviation 1.

    A :class:`HyperEnsemble` holds its members itself: leaves ``[1, ...]``. Three `keys`: of the members, of the priors,
    and of the observations on which the deviation is taken.
    """
    params_key, prior_key, example_key = keys
    members = jax.vmap(lambda key: networks.init(network, key, spec.example_obs()))
    count = 1 if isinstance(network, HyperEnsemble) else num_members
    params, prior = (members(jax.random.split(key, count)) for key in (params_key, prior_key))
    some = networks.random_inputs(example_key, spec.example_obs(), 64)
    return params, prior, gain(network, prior, some)


def gain(network: Any, prior: PyTree, obs: PyTree) -> Array:
    """What makes the standard deviation of priors 1 on ``obs [B, ...]``, over members and actions, too."""
    return inverse(jnp.std(prior_values(network, prior, obs)))


def inverse(spread: Array) -> Array:
    """What makes the `spread` of a prior 1: at most LARGEST_GAIN, of a prior that is zero."""
    return 1.0 / jnp.maximum(spread, 1.0 / LARGEST_GAIN)


def values(network: Any, params: PyTree, obs: PyTree) -> Array:
    """Action values of every member for ``obs [B, ...]``, ``[num_members, B, num_actions]``."""
    found = jax.vmap(lambda params: jax.vmap(lambda obs: network.apply(params, obs))(obs))(params)
    return jnp.swapaxes(found[0], 0, 1) if isinstance(network, HyperEnsemble) else found


def prior_values(network: Any, prior: PyTree, obs: PyTree) -> Array:
    """What priors add, likewise.

    Without the mean of a hypermodel's: that would be no doubt but a prejudice, and what is not seen cannot correct it.
    """
    found = values(network, prior, obs)
    return found - found.mean(0) if isinstance(network, HyperEnsemble) else found


def act(
    key: Array, values: Array, actor: Array, first: Array, mask: Array | None, *, greedy: bool
) -> tuple[Array, Array]:
    """The member that acts in each env, int32 ``[num_envs]``, a new one as an episode begins, and its best action.

    `values` are ``[num_members, num_envs, num_actions]``; `greedy` takes the best of their mean.
    """
    member_key, choice_key = jax.random.split(key)
    drawn = jax.random.randint(member_key, first.shape, 0, len(values))
    actor = jnp.where(first, drawn, actor)
    q = values.mean(0) if greedy else exploration.taken(jnp.swapaxes(values, 0, 1), actor)
    return actor, exploration.greedy(choice_key, q, mask)
