"""Random network distillation (Burda et al. 2018, arXiv:1810.12894).

The bonus of a transition is ½ ‖f̂(x) − f(x)‖² with x the standardised next observation, f a fixed random network and f̂ a
predictor trained on what was seen (the reference takes the mean over outputs, which `normalise` cancels). As in the
reference code: observation moments warmed up by random steps, x clipped to ±5, the bonus divided by the running std of
its non-episodic return, the predictor trained on a quarter of the samples over as many passes as PPO makes. A batch's
bonus uses the moments and parameters from before its update; the predictor then learns under the new moments. The
paper's own setting beside it is ``PPO(gamma=0.999, gamma_int=0.99, episodic_bonus=False)`` with ``coef=0.5``.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from purejaxrl import minibatches, moments, networks
from purejaxrl.types import Array, PyTree, Spec, Transition, check_minibatches, number, static


class RNDState(struct.PyTreeNode):
    target: PyTree
    predictor: PyTree
    opt_state: PyTree
    obs_moments: moments.Moments
    networks: tuple[Any, Any] = struct.field(pytree_node=False)  # target's and predictor's modules


class Embedding(nn.Module):
    """A torso, `extra` further ReLU layers and a linear output."""

    hidden: tuple[int, ...]
    extra: tuple[int, ...]
    features: int

    @nn.compact
    def __call__(self, obs: PyTree) -> Array:
        x = networks.Torso(self.hidden, "relu")(obs)
        x = networks.MLP(self.extra, "relu")(x)
        return networks.dense(self.features)(x)


class RND(struct.PyTreeNode):
    """Random network distillation; lifelong."""

    coef: float = number(1.0, ge=0)  # weight of the bonus, after it was normalised
    learning_rate: float = number(1e-4, gt=0)  # of the predictor's Adam
    normalise: str = static("return_std", choices=("none", "std", "return_std"))  # divide by the std of its return
    warmup_steps: int = static(512, ge=0)  # random steps for the observation moments before training, counted
    num_epochs: int = static(4, ge=1)  # passes of the predictor over the batch
    num_minibatches: int = static(4, ge=1)
    update_fraction: float = static(0.25, gt=0, le=1)  # share of each minibatch that the predictor learns from
    hidden: tuple[int, ...] = static((64, 64))  # of both networks, for flat observations (grids get a CNN)
    embedding_size: int = static(64, ge=1)  # outputs that the predictor has to match

    def check(self, spec: Spec) -> None:
        check_minibatches(self.num_minibatches, "bonus.num_minibatches", spec)

    def init(self, key: Array, spec: Spec) -> RNDState:
        target_key, predictor_key = jax.random.split(key)
        width = self.hidden[-1]
        target = Embedding(self.hidden, (), self.embedding_size)
        predictor = Embedding(self.hidden, (width, width), self.embedding_size)
        obs = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), spec.example_obs())
        params = predictor.init(predictor_key, obs)
        return RNDState(
            target=target.init(target_key, obs),
            predictor=params,
            opt_state=optax.adam(self.learning_rate).init(params),
            obs_moments=moments.init(obs),
            networks=(target, predictor),
        )

    def observe(self, state: RNDState, transition: Transition) -> tuple[RNDState, PyTree]:
        return state, ()

    def reward(self, state: RNDState, transition: Transition, memo: PyTree) -> Array:
        shape = transition.reward.shape
        obs = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[len(shape) :]), transition.next_obs)
        return _error(state, state.predictor, _standardised(state, obs)).reshape(shape)

    def update(self, state: RNDState, key: Array, batch: Transition) -> tuple[RNDState, dict[str, Array]]:
        state = state.replace(obs_moments=moments.update(state.obs_moments, batch.next_obs))
        if batch.bonus is None:  # warm-up: statistics only
            return state, {}
        obs = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batch.next_obs)
        obs, total = _standardised(state, obs), batch.reward.size
        optimiser = optax.adam(self.learning_rate)

        def minibatch_step(carry, indices):
            params, opt_state = carry
            minibatch = jax.tree.map(lambda leaf: leaf[indices], obs)
            loss, grads = jax.value_and_grad(lambda params: _error(state, params, minibatch).mean())(params)
            updates, opt_state = optimiser.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), loss

        sizes = {"count": total, "num_minibatches": self.num_minibatches, "num_epochs": self.num_epochs}
        carry = (state.predictor, state.opt_state)
        (params, opt_state), losses = minibatches.epochs(
            minibatch_step, carry, key, fraction=self.update_fraction, **sizes
        )
        return state.replace(predictor=params, opt_state=opt_state), {"rnd_loss": losses.mean()}


def _standardised(state: RNDState, obs: PyTree) -> PyTree:
    return moments.standardise(state.obs_moments, obs, clip=5.0)


def _error(state: RNDState, predictor: PyTree, obs: PyTree) -> Array:
    """½ ‖f̂(x) − f(x)‖² of standardised observations ``[batch, ...]``: ``[batch]``."""
    target_net, predictor_net = state.networks
    target = jax.vmap(target_net.apply, (None, 0))(state.target, obs)
    predicted = jax.vmap(predictor_net.apply, (None, 0))(predictor, obs)
    return 0.5 * jnp.square(predicted - jax.lax.stop_gradient(target)).sum(-1)
