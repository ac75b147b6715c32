"""Disagreement (Pathak et al. 2019, arXiv:1906.04161, eq. 1): the variance of an ensemble's predictions of φ(s').

Each of the forward models is trained on φ(s), a → φ(s') with φ a fixed random network. The bonus is the population
variance over the models, averaged over features. Where the future is noise, all models learn its mean and agree, so
that noise is no bonus for ever as a prediction error is. As in the reference code: models differ in their
initialisation, each gradient step drops a fifth of the samples for each model on its own, observations are standardised
by moments from random steps that never move again, and a leaf of them has one scale, the mean of its stds.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from purejaxrl import devices, dynamics, minibatches, moments, networks
from purejaxrl.intrinsic import Weighted
from purejaxrl.types import NORMALISERS, Array, PyTree, Spec, Transition, check_minibatches, map_numbers, number, static


class DisagreementState(struct.PyTreeNode):
    encoder: PyTree  # fixed parameters of φ
    models: PyTree  # forward models' parameters, leaves [num_models, ...]
    opt_state: PyTree
    obs_moments: moments.Moments  # of the warm-up's observations
    bounds: Any  # (low, high) of continuous actions; None for discrete ones
    networks: tuple[Any, Any] = struct.field(pytree_node=False)  # modules of the encoder and of one model
    nvec: tuple[int, ...] | None = struct.field(pytree_node=False)


class Disagreement(Weighted):
    """Variance of an ensemble of forward models; lifelong."""

    normalise: str = static("return_std", choices=NORMALISERS)
    warmup_steps: int = static(512, ge=0)  # random steps for the observation moments before training, counted
    learning_rate: float = number(3e-4, gt=0)  # of the models' Adam
    keep_fraction: float = number(0.8, gt=0, le=1)  # share of each minibatch that a model learns from, its own draw
    num_models: int = static(5, ge=2)
    num_epochs: int = static(4, ge=1)  # passes of the models over the batch
    num_minibatches: int = static(4, ge=1)
    hidden: tuple[int, ...] = static((64, 64))  # of encoder and models; grids get a CNN as encoder
    embedding_size: int = static(64, ge=1)  # features φ

    def check(self, spec: Spec) -> None:
        check_minibatches(self.num_minibatches, "bonus.num_minibatches", spec)

    def init(self, key: Array, spec: Spec) -> DisagreementState:
        nvec, bounds, num_actions = dynamics.action_features(spec.action_space)
        encoder = networks.Embedding(self.embedding_size, self.hidden)
        model = networks.Embedding(self.embedding_size, self.hidden)
        obs = networks.bounded(spec.example_obs())
        encoder_key, models_key = jax.random.split(key)
        inputs = jnp.zeros(self.embedding_size), jnp.zeros(num_actions)
        models = jax.vmap(lambda key: networks.init(model, key, inputs))(jax.random.split(models_key, self.num_models))
        return DisagreementState(
            encoder=networks.init(encoder, encoder_key, obs),
            models=models,
            opt_state=optax.adam(self.learning_rate).init(models),
            obs_moments=moments.init(obs),
            bounds=bounds,
            networks=(encoder, model),
            nvec=nvec,
        )

    def observe(self, state, transition: Transition):
        return state, ()

    def reward(self, state: DisagreementState, transition: Transition, memo: PyTree) -> Array:
        leading = transition.reward.shape
        obs, action = minibatches.flatten((transition.obs, transition.action), len(leading))
        phi, action = _features(state, obs), dynamics.encode_action(state, action)
        return _predict(state, state.models, phi, action).var(0).mean(-1).reshape(leading)

    def update(self, state: DisagreementState, key: Array, batch: Transition):
        if batch.bonus is None:
            seen = moments.update(state.obs_moments, networks.bounded(batch.next_obs))
            return state.replace(obs_moments=seen), {}
        obs, action, next_obs = minibatches.flatten((batch.obs, batch.action, batch.next_obs))
        phi, target, action = _features(state, obs), _features(state, next_obs), dynamics.encode_action(state, action)
        phi, target, action = devices.everywhere((phi, target, action))
        optimiser = optax.adam(self.learning_rate)
        mask_key, epochs_key = jax.random.split(key)

        def minibatch_step(carry, indices):
            models, opt_state, key = carry
            key, mask_key = jax.random.split(key)
            kept = jax.random.bernoulli(mask_key, self.keep_fraction, (self.num_models, indices.size))

            def loss(models):
                error = _predict(state, models, phi[indices], action[indices]) - target[indices]
                error = jnp.square(error).mean(-1)  # [num_models, batch]
                # The sum over models gives each its own gradient; dividing by the share keeps its scale, as dropout.
                return (error * kept / self.keep_fraction).mean(1).sum(), error.mean()

            grads, error = jax.grad(loss, has_aux=True)(models)
            updates, opt_state = optimiser.update(grads, opt_state, models)
            return (optax.apply_updates(models, updates), opt_state, key), error

        sizes = {"num_minibatches": self.num_minibatches, "num_epochs": self.num_epochs}
        carry = (state.models, state.opt_state, mask_key)
        carry, errors = minibatches.epochs(minibatch_step, carry, epochs_key, count=batch.reward.size, **sizes)
        return state.replace(models=carry[0], opt_state=carry[1]), {"forward_loss": errors.mean()}


def _features(state: DisagreementState, obs: PyTree) -> Array:
    """φ of observations ``[batch, ...]``: ``[batch, embedding_size]``."""

    def standardise(mean, var, x):
        std = jnp.sqrt(var).mean()  # one for the leaf: a number constant in the warm-up must not explode when it moves
        return (x - mean) / jnp.where(std > 1e-5 * jnp.abs(mean).mean(), std, 1.0)

    seen = state.obs_moments
    obs = map_numbers(standardise, seen.mean, seen.var, networks.bounded(obs))
    return jax.vmap(state.networks[0].apply, (None, 0))(state.encoder, obs)


def _predict(state: DisagreementState, models: PyTree, phi: Array, action: Array) -> Array:
    """Every model's prediction of φ(s'), ``[num_models, batch, embedding_size]``."""
    model = jax.vmap(state.networks[1].apply, (None, 0))
    return jax.vmap(model, (0, None))(models, (phi, action))
