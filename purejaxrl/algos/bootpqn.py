"""PQN with an ensemble that disagrees: deep exploration without a replay buffer or target networks.

PQN (Gallici et al. 2024, arXiv:2407.04811) learns Q(λ) from the last rollout alone; randomised prior functions (Osband
et al. 2018, arXiv:1806.03335) make an ensemble of it that knows what it has not seen. Of the pair we know no
publication; docs/deep.md has what it can and cannot do. Details that matter ("PQN", "BootDQN": the algorithms here):

- K networks, each with a fixed random one of `prior_scale` standard deviation added to its output (BootDQN); with
  `index_size` K readings of one hypermodel, which differ in the last layer alone (HyperAgent);
- one member acts for a whole episode, each env by itself; equal values are chosen among at random; no ε (BootDQN);
- every member learns from every env's steps, towards λ-returns of its own networks from before the update (PQN);
- the λ of a member's return is 0 after a step at which another action was its best (Watkins 1989): most of the batch is
  other members' doing, and what these lose by trying must not count against a member's own plan;
- LayerNorm, RAdam, a global norm of gradients (PQN); the learning rate stays, unless `anneal_lr`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from purejaxrl import ensembles, exploration, minibatches, networks, returns, types
from purejaxrl.types import Array, PyTree, Spec, Transition, number, static


class BootPQNState(struct.PyTreeNode):
    params: PyTree  # leaves [num_members, ...]; [1, ...] of a hypermodel
    prior: PyTree  # likewise; never changes
    prior_gain: Array  # makes the prior's standard deviation 1
    opt_state: PyTree
    updates: Array  # int32 scalar, updates done
    num_updates: Array  # int32 scalar, updates of the whole run: the schedule's length
    network: Any = struct.field(pytree_node=False)


class BootPQN(struct.PyTreeNode):
    """PQN with bootstrapped members and priors, for discrete actions."""

    learning_rate: float = number(1e-3, gt=0)  # RAdam's step size
    gamma: float = number(0.99, ge=0, le=1)  # discount
    lam: float = number(0.9, ge=0, le=1)  # λ of the returns, where the member would have done the same
    prior_scale: float = number(3.0, ge=0)  # standard deviation of the prior's values, in units of the return
    max_grad_norm: float = number(10.0, gt=0)  # gradients are clipped to this global norm
    num_members: int = static(10, ge=1)  # K
    index_size: int = static(0, ge=0)  # 0: K networks; else one hypermodel, at K indices in so many dimensions
    num_steps: int = static(16, ge=1)  # steps per env between updates
    num_epochs: int = static(8, ge=1)  # passes over the batch
    num_minibatches: int = static(4, ge=1)  # a remainder of the batch is left out, another one each epoch
    anneal_lr: bool = static(False, schedule=True)  # learning rate falls linearly to 0 over the run
    hidden: tuple[int, ...] = static((64, 64))  # layers for flat observations (grids get a CNN)
    layer_norm: bool = static(True)

    def check(self, spec: Spec) -> None:
        """Raise where the settings do not fit the environment or the batch."""
        types.check_action_space(spec, "BootPQN", n="Discrete")
        types.check_minibatches(self.num_minibatches, "algo.num_minibatches", spec, whole_envs=False)
        if self.index_size and self.num_members == 1:
            raise types.SettingError(
                "algo.num_members must be >= 2 where algo.index_size is set, got 1: each member is an index of many"
            )

    def init(self, key: Array, spec: Spec) -> BootPQNState:
        num_actions, shape = int(spec.action_space.n), {"hidden": self.hidden, "layer_norm": self.layer_norm}
        if self.index_size:
            network = ensembles.HyperEnsemble(self.num_members, num_actions, self.index_size, **shape)
        else:
            network = networks.QNetwork(num_actions, **shape)
        params, prior, gain = ensembles.init(network, jax.random.split(key, 3), self.num_members, spec)
        return BootPQNState(
            params=params,
            prior=prior,
            prior_gain=gain,
            opt_state=minibatches.init(self._optimiser(0.0), params),
            updates=jnp.zeros((), jnp.int32),
            num_updates=jnp.asarray(spec.num_updates, jnp.int32),
            network=network,
        )

    def init_actor(self, key: Array, spec: Spec) -> Array:
        return jax.random.randint(key, (spec.num_envs,), 0, self.num_members)

    def act(self, state, actor, key, obs, first, mask, *, greedy=False):
        values = self._values(state, obs)
        return *ensembles.act(key, values, actor, first, mask, greedy=greedy), None

    def update(self, state: BootPQNState, key: Array, batch: Transition, actor0: PyTree, reward_fn: Callable):
        del actor0, reward_fn
        obs, next_obs = minibatches.flatten((batch.obs, batch.next_obs))
        shape = (self.num_members, *batch.reward.shape, -1)
        prior, learned = self._prior(state, obs), ensembles.values(state.network, state.params, obs)
        found = learned + prior, self._values(state, next_obs), prior
        q, next_q, prior = (values.reshape(shape) for values in found)
        target = self._targets(batch, exploration.masked(q, batch.mask), exploration.masked(next_q, batch.next_mask))
        action = jnp.broadcast_to(batch.action, target.shape)
        rest = target - exploration.taken(prior, action)  # for the learned part
        samples = minibatches.samples((batch.obs, batch.action, jnp.moveaxis(rest, 0, -1)))
        remaining = jnp.maximum(1.0 - state.updates / state.num_updates, 0.0) if self.anneal_lr else 1.0
        optimiser = self._optimiser(self.learning_rate * remaining)

        def loss(params, minibatch):
            obs, action, target = minibatch
            values = ensembles.values(state.network, params, obs)
            error = exploration.taken(values, jnp.broadcast_to(action, values.shape[:2])) - target.T
            loss = 0.5 * jnp.square(error).mean()
            return loss, {"q_loss": loss}

        sizes: dict[str, Any] = {"num_minibatches": self.num_minibatches, "num_epochs": self.num_epochs}
        params, opt_state, metrics = minibatches.descend(
            loss, optimiser, state.params, state.opt_state, samples, key, **sizes
        )
        chosen = exploration.taken(q, action)
        metrics = jax.tree.map(jnp.mean, metrics) | {"q_mean": chosen.mean(), "q_spread": chosen.std(0).mean()}
        return state.replace(params=params, opt_state=opt_state, updates=state.updates + 1), metrics

    def _targets(self, batch: Transition, q: Array, next_q: Array) -> Array:
        """Every member's λ-returns, ``[num_members, num_steps, num_envs]``; values have an axis of actions more."""
        reward = batch.reward if batch.bonus is None else batch.reward + batch.bonus
        own = exploration.taken(q, jnp.broadcast_to(batch.action, q.shape[:-1])) >= q.max(-1)
        lam = self.lam * jnp.roll(own, -1, axis=1)  # the next step's; the last one has none, and does not look at it
        ends = batch.terminated, batch.truncated
        one = lambda value, lam: returns.q_lambda(reward, value, *ends, gamma=self.gamma, lam=lam)  # noqa: E731
        return jax.vmap(one)(next_q.max(-1), lam)

    def _values(self, state: BootPQNState, obs: PyTree) -> Array:
        """Learned part and prior of ``obs [B, ...]``: ``[num_members, B, num_actions]``."""
        return ensembles.values(state.network, state.params, obs) + self._prior(state, obs)

    def _prior(self, state: BootPQNState, obs: PyTree) -> Array:
        return self.prior_scale * state.prior_gain * ensembles.prior_values(state.network, state.prior, obs)

    def _optimiser(self, learning_rate: Any) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(self.max_grad_norm), optax.radam(learning_rate))
