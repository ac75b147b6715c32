"""How badly a predictor matches a fixed random network (RND; Burda et al. 2018, arXiv:1810.12894).

Settings are those of the bonus that uses it: `hidden`, `embedding_size`, `learning_rate`, `num_epochs`,
`num_minibatches`, `update_fraction`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from purejaxrl import minibatches, moments, networks
from purejaxrl.types import Transition

Array = jax.Array
PyTree = Any


class Distillation(struct.PyTreeNode):
    target: PyTree
    predictor: PyTree
    opt_state: PyTree
    obs_moments: moments.Moments
    networks: tuple[Any, Any] = struct.field(pytree_node=False)  # target's and predictor's modules


def init(settings: Any, key: Array, obs: PyTree) -> Distillation:
    """Both networks, for observations like `obs` (one of them). The predictor has two layers more, as in the paper."""
    width = settings.hidden[-1]
    target = networks.Embedding(settings.embedding_size, settings.hidden)
    predictor = networks.Embedding(settings.embedding_size, settings.hidden, (width, width))
    obs = networks.bounded(obs)
    target_params, params = networks.init_all(key, (target, obs), (predictor, obs))
    return Distillation(
        target=target_params,
        predictor=params,
        opt_state=minibatches.init(optax.adam(settings.learning_rate), params),
        obs_moments=moments.init(obs),
        networks=(target, predictor),
    )


def squared_error(state: Distillation, obs: PyTree, num_leading: int) -> Array:
    """‖f̂(x) − f(x)‖² with x the standardised observations, clipped to ±5; the shape is their leading axes."""
    leading = jax.tree.leaves(obs)[0].shape[:num_leading]
    obs = minibatches.flatten(networks.bounded(obs), num_leading)

    def error(some):
        return _squared_error(state, state.predictor, _standardised(state, some))

    return minibatches.in_parts(error, obs).reshape(leading)


def learn(settings: Any, state: Distillation, key: Array, batch: Transition) -> tuple[Distillation, dict[str, Array]]:
    """Let the predictor learn the rollout's next observations, under moments that have seen them.

    The warm-up's batch (``batch.bonus is None``) moves the moments only.
    """
    obs = networks.bounded(batch.next_obs)
    state = state.replace(obs_moments=moments.update(state.obs_moments, obs))
    if batch.bonus is None:
        return state, {}
    obs = _standardised(state, minibatches.samples(obs))

    def loss(params, minibatch):
        loss = 0.5 * _squared_error(state, params, minibatch).mean()
        return loss, loss

    sizes: dict[str, Any] = {"num_minibatches": settings.num_minibatches, "num_epochs": settings.num_epochs}
    sizes["fraction"] = settings.update_fraction
    learnt = state.predictor, state.opt_state
    predictor, opt_state, losses = minibatches.descend(
        loss, optax.adam(settings.learning_rate), *learnt, obs, key, **sizes
    )
    return state.replace(predictor=predictor, opt_state=opt_state), {"rnd_loss": losses.mean()}


def _standardised(state: Distillation, obs: PyTree) -> PyTree:
    return moments.standardise(state.obs_moments, obs, clip=5.0)


def _squared_error(state: Distillation, predictor: PyTree, obs: PyTree) -> Array:
    """``[batch]`` of standardised observations ``[batch, ...]``."""
    target_net, predictor_net = state.networks
    target = jax.vmap(target_net.apply, (None, 0))(state.target, obs)
    predicted = jax.vmap(predictor_net.apply, (None, 0))(predictor, obs)
    return jnp.square(predicted - jax.lax.stop_gradient(target)).sum(-1)
