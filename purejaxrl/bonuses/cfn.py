"""Coin flip networks (Lobel et al. 2023, arXiv:2306.03186): √(Σ_i f_i(s')² / d), an estimate of 1/√n(s').

Each arrival at a state draws d fair coins of ±1. Their mean over the n arrivals is what least squares predicts for the
state, and its expected square is 1/n: a count without a density model. Coins stay with their arrival, in a ring
of past observations that the regression draws from: on fresh arrivals alone it would forget old states, and new coins
at each pass would average out to 0. A fixed random network, scaled to mean 0 and variance 1 over what was seen, is
added to a trained one that starts at 0: what is unlike anything seen starts near 1, the bonus of one visit.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from purejaxrl import minibatches, moments, networks
from purejaxrl.intrinsic import Weighted
from purejaxrl.types import Array, PyTree, Spec, Transition, number, static


class Flips(nn.Module):
    """The trained part of f: as `networks.Embedding`, but 0 for every observation at first."""

    features: int
    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, obs: PyTree) -> Array:
        return networks.Dense(self.features, 0.0)(networks.Torso(self.hidden, "relu")(obs))


class CFNState(struct.PyTreeNode):
    prior: PyTree
    trained: PyTree
    opt_state: PyTree
    obs_moments: moments.Moments
    prior_moments: moments.Moments  # of the prior's outputs, each by itself
    obs: PyTree  # [size, ...], the last arrivals
    coins: Array  # int8 [size, num_coins], ±1
    head: Array  # int32 scalar, where the next arrival goes
    used: Array  # int32 scalar, arrivals held
    networks: tuple[Any, Any] = struct.field(pytree_node=False)  # the prior's and the trained one's modules


class CFN(Weighted):
    """Pseudocounts from coin flips; lifelong."""

    warmup_steps: int = static(512, ge=0)  # random steps for the moments of observations and prior, counted
    learning_rate: float = number(5e-4, gt=0)  # of the trained network's Adam
    num_gradient_steps: int = static(32, ge=1)  # after each rollout
    batch_size: int = static(256, ge=1)  # arrivals drawn for each gradient step
    buffer_size: int = static(100_000, ge=1)  # arrivals held, over all envs
    num_coins: int = static(20, ge=1)  # d: the estimate's relative error is about 1/√(2d)
    hidden: tuple[int, ...] = static((64, 64))  # of both networks, for flat observations (grids get a CNN)

    def init(self, key: Array, spec: Spec) -> CFNState:
        example = spec.example_obs()
        obs = networks.bounded(example)
        prior, net = networks.Embedding(self.num_coins, self.hidden), Flips(self.num_coins, self.hidden)
        prior_params, trained = networks.init_all(key, (prior, obs), (net, obs))
        # Not more than the whole run can fill.
        size = min(self.buffer_size, spec.num_envs * spec.num_steps * spec.num_updates + spec.warmup_steps)
        return CFNState(
            prior=prior_params,
            trained=trained,
            opt_state=optax.adam(self.learning_rate).init(trained),
            obs_moments=moments.init(obs),
            prior_moments=moments.init(jnp.zeros(self.num_coins)),
            obs=jax.tree.map(lambda leaf: jnp.zeros((size, *leaf.shape), leaf.dtype), example),
            coins=jnp.ones((size, self.num_coins), jnp.int8),
            head=jnp.zeros((), jnp.int32),
            used=jnp.zeros((), jnp.int32),
            networks=(prior, net),
        )

    def observe(self, state: CFNState, transition: Transition):
        return state, ()

    def reward(self, state: CFNState, transition: Transition, memo: PyTree) -> Array:
        leading = transition.reward.shape
        obs = minibatches.flatten(transition.next_obs, len(leading))
        return jnp.sqrt(jnp.square(self._flips(state, state.trained, obs)).mean(-1)).reshape(leading)

    def update(self, state: CFNState, key: Array, batch: Transition) -> tuple[CFNState, dict[str, Array]]:
        """Draw coins for the arrivals and keep both; then learn. The warm-up's batch is kept, too, but not learnt."""
        coins_key, learn_key = jax.random.split(key)
        obs = minibatches.flatten(batch.next_obs)
        coins = jax.random.rademacher(coins_key, (batch.reward.size, self.num_coins), jnp.int8)
        state = state.replace(obs_moments=moments.update(state.obs_moments, networks.bounded(obs)))
        state = _keep(state.replace(prior_moments=moments.update(state.prior_moments, _prior(state, obs))), obs, coins)
        return (state, {}) if batch.bonus is None else self.learn(state, learn_key)

    def learn(self, state: CFNState, key: Array) -> tuple[CFNState, dict[str, Array]]:
        """Gradient steps of the mean squared error on arrivals drawn uniformly from the ring."""
        optimiser = optax.adam(self.learning_rate)

        def gradient_step(carry, key):
            params, opt_state = carry
            chosen = jax.random.randint(key, (self.batch_size,), 0, state.used)
            obs, coins = jax.tree.map(lambda leaf: leaf[chosen], (state.obs, state.coins))

            def loss(params):
                return jnp.square(self._flips(state, params, obs) - coins).mean()

            value, grads = jax.value_and_grad(loss)(params)
            updates, opt_state = optimiser.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), value

        keys = jax.random.split(key, self.num_gradient_steps)
        (trained, opt_state), losses = jax.lax.scan(gradient_step, (state.trained, state.opt_state), keys)
        return state.replace(trained=trained, opt_state=opt_state), {"cfn_loss": losses.mean()}

    def _flips(self, state: CFNState, trained: PyTree, obs: PyTree) -> Array:
        """f of observations ``[batch, ...]``: ``[batch, num_coins]``."""
        prior = moments.standardise(state.prior_moments, _prior(state, obs), clip=5.0)
        return jax.vmap(state.networks[1].apply, (None, 0))(trained, _standardised(state, obs)) + prior


def _standardised(state: CFNState, obs: PyTree) -> PyTree:
    return moments.standardise(state.obs_moments, networks.bounded(obs), clip=5.0)


def _prior(state: CFNState, obs: PyTree) -> Array:
    """Outputs of the fixed network, as they are, ``[batch, num_coins]``."""
    return jax.vmap(state.networks[0].apply, (None, 0))(state.prior, _standardised(state, obs))


def _keep(state: CFNState, obs: PyTree, coins: Array) -> CFNState:
    """Write arrivals ``[batch, ...]``, the oldest first, over the oldest of the ring; of too many the last remain."""
    size, count = len(state.coins), min(len(coins), len(state.coins))
    where = (state.head + jnp.arange(count)) % size
    kept = jax.tree.map(lambda ring, new: ring.at[where].set(new[-count:]), (state.obs, state.coins), (obs, coins))
    used = jnp.minimum(state.used + count, size)
    return state.replace(obs=kept[0], coins=kept[1], head=(state.head + count) % size, used=used)
