"""Ensembles with randomised priors (Osband et al. 2018, arXiv:1806.03335), of which one member acts at a time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl import exploration, networks
from purejaxrl.types import Array, PyTree, Spec


def init(network: Any, keys: Array, num_members: int, spec: Spec) -> tuple[PyTree, PyTree, Array]:
    """Members and as many priors, leaves ``[num_members, ...]``, and what makes the priors' standard deviation 1.

    Three `keys`: of the members, of the priors, and of the observations on which the deviation is taken.
    """
    params_key, prior_key, example_key = keys
    members = jax.vmap(lambda key: networks.init(network, key, spec.example_obs()))
    params, prior = (members(jax.random.split(key, num_members)) for key in (params_key, prior_key))
    some = networks.random_inputs(example_key, spec.example_obs(), 64)
    return params, prior, 1.0 / jnp.maximum(jnp.std(values(network, prior, some)), 1e-6)


def values(network: Any, params: PyTree, obs: PyTree) -> Array:
    """Action values of every member for ``obs [B, ...]``, ``[num_members, B, num_actions]``."""
    return jax.vmap(lambda params: jax.vmap(lambda obs: network.apply(params, obs))(obs))(params)


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
