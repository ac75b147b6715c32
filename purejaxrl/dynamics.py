"""Features φ of observations trained by models of the dynamics (Pathak et al. 2017, arXiv:1705.05363).

The inverse model predicts the action from φ(s) and φ(s'), so that φ keeps what actions can change and drops what they
cannot; the forward model predicts φ(s') from φ(s) and the action. Settings are those of the bonus that uses them:
`hidden`, `embedding_size`, `learning_rate`, `num_epochs`, `num_minibatches`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from purejaxrl import minibatches, networks
from purejaxrl.types import Spec, Transition

Array = jax.Array
PyTree = Any


class Losses(NamedTuple):
    """Of one transition each, ``[batch]``."""

    inverse: Array  # −log p of a discrete action (summed over components), ½ squared error of a continuous one
    forward: Array  # ½ ‖φ̂(s') − φ(s')‖²


class Networks(NamedTuple):
    encoder: Any
    inverse: Any
    forward: Any


class Dynamics(struct.PyTreeNode):
    params: Networks  # each network's parameters
    opt_state: PyTree
    bounds: Any  # (low, high) of continuous actions, which the loop clips; None for discrete ones
    networks: Networks = struct.field(pytree_node=False)
    nvec: tuple[int, ...] | None = struct.field(pytree_node=False)  # of discrete actions; None for continuous ones


def init(settings: Any, key: Array, spec: Spec) -> Dynamics:
    size = settings.embedding_size
    nvec, bounds, features = action_features(spec.action_space)
    nets = Networks(
        networks.Embedding(size, settings.hidden),
        networks.Embedding(features, settings.hidden[-1:]),
        networks.Embedding(size, settings.hidden[-1:]),
    )
    zeros = jnp.zeros(size)
    inputs = spec.example_obs(), (zeros, zeros), (zeros, jnp.zeros(features))
    params = Networks(*networks.init_all(key, *zip(nets, inputs, strict=True)))
    return Dynamics(params, minibatches.init(optax.adam(settings.learning_rate), params), bounds, nets, nvec)


def action_features(space: Any) -> tuple[tuple[int, ...] | None, Any, int]:
    """``(nvec, bounds, features)``: what :func:`encode_action` needs to know, and how many numbers it gives."""
    if hasattr(space, "low"):
        bounds = tuple(jnp.broadcast_to(jnp.asarray(x, jnp.float32), space.shape) for x in (space.low, space.high))
        return None, bounds, math.prod(space.shape)
    nvec = tuple(int(n) for n in getattr(space, "nvec", (getattr(space, "n", 0),)))
    return nvec, None, sum(nvec)


def encode_action(state: Any, action: Array) -> Array:
    """Actions ``[batch, ...]`` as numbers ``[batch, features]``: one-hot where discrete, clipped where continuous.

    `state` is any that holds the `nvec` and `bounds` of its action space.
    """
    if state.nvec is None:
        return jnp.clip(action, *state.bounds).reshape(len(action), -1)
    action = action.reshape(len(action), -1)
    return jnp.concatenate([jax.nn.one_hot(action[:, i], n) for i, n in enumerate(state.nvec)], axis=-1)


def embed(state: Dynamics, obs: PyTree, num_leading: int) -> Array:
    """φ of observations with leading axes: ``[..., embedding_size]``."""
    apply = state.networks.encoder.apply
    for _ in range(num_leading):
        apply = jax.vmap(apply, (None, 0))
    return apply(state.params.encoder, obs)


def losses(
    state: Dynamics, params: Networks, obs: PyTree, action: Array, next_obs: PyTree, *, detach: bool = True
) -> Losses:
    """Both models' errors on a batch; with `detach`, φ learns from the inverse model alone."""
    encoder, inverse, forward = (jax.vmap(net.apply, (None, 0)) for net in state.networks)
    phi, next_phi = encoder(params.encoder, obs), encoder(params.encoder, next_obs)
    guess, encoded = inverse(params.inverse, (phi, next_phi)), encode_action(state, action)
    if state.nvec is None:
        inverse_loss = 0.5 * jnp.square(guess - encoded).sum(-1)
    else:
        splits = [sum(state.nvec[: i + 1]) for i in range(len(state.nvec) - 1)]
        log_prob = jnp.concatenate([jax.nn.log_softmax(part) for part in jnp.split(guess, splits, axis=-1)], axis=-1)
        inverse_loss = -(log_prob * encoded).sum(-1)
    if detach:
        phi, next_phi = jax.lax.stop_gradient((phi, next_phi))
    return Losses(inverse_loss, 0.5 * jnp.square(forward(params.forward, (phi, encoded)) - next_phi).sum(-1))


def prediction_error(state: Dynamics, transition: Transition) -> Array:
    """½ ‖φ̂(s') − φ(s')‖² of transitions with any leading axes."""
    leading = transition.reward.shape
    samples = minibatches.flatten((transition.obs, transition.action, transition.next_obs), len(leading))
    return minibatches.in_parts(lambda some: losses(state, state.params, *some).forward, samples).reshape(leading)


def learn(
    settings: Any, state: Dynamics, key: Array, batch: Transition, loss: Callable[[Losses], Array], *, detach=True
) -> tuple[Dynamics, dict[str, Array]]:
    """Passes over a rollout ``[num_steps, num_envs]``; `loss` weighs one transition's :class:`Losses`.

    `next_obs` is the true next observation, at an episode's end too, so the last transition teaches, too.
    """
    samples = minibatches.samples((batch.obs, batch.action, batch.next_obs))

    def mean_loss(params, minibatch):
        found = losses(state, params, *minibatch, detach=detach)
        return loss(found).mean(), jax.tree.map(jnp.mean, found)

    sizes: dict[str, Any] = {"num_minibatches": settings.num_minibatches, "num_epochs": settings.num_epochs}
    learner = mean_loss, optax.adam(settings.learning_rate), state.params, state.opt_state
    params, opt_state, found = minibatches.descend(*learner, samples, key, **sizes)
    metrics = {"inverse_loss": found.inverse.mean(), "forward_loss": found.forward.mean()}
    return state.replace(params=params, opt_state=opt_state), metrics
