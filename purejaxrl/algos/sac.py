"""Soft actor-critic with automatic temperature (Haarnoja et al. 2018, arXiv:1812.05905), for continuous actions.

Details that matter, with their sources ("paper": the above):

- two critics: the smaller of the target critics' values in the critics' targets, of the critics' own in the actor's
  loss (paper, section 5; clipped double Q of Fujimoto et al. 2018, arXiv:1802.09477);
- a tanh-squashed Gaussian scaled to the action bounds, its log-probability with the change of variables in the stable
  form (paper, appendix C); log std clipped to [-10, 2]. Entropies are those of actions scaled to [-1, 1], so that
  rescaling an action space changes neither the soft values nor the temperature;
- the temperature descends on log α so that the entropy meets `target_entropy` per action dimension (paper, eq. 18;
  −1 each, table 1);
- critics, actor and temperature each take their step from what the others were before it (the paper's algorithm 1 takes
  them in turn);
- target critics follow by Polyak averaging after each gradient step (paper, algorithm 1);
- until `learning_starts`, actions are uniform;
- each update takes ``num_envs * num_steps`` environment steps, then `num_gradient_steps` gradient steps of the three;
- a time limit bootstraps from the true final observation, a termination does not (Pardo et al. 2018, arXiv:1712.00378);
- with a bonus, one stream: reward plus bonus. What is lifelong in it is computed anew whenever a step is sampled, what
  belongs to its episode is kept as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.core import Tracer

from purejaxrl import networks, offpolicy, replay
from purejaxrl.distributions import TanhGaussian
from purejaxrl.types import Array, PyTree, SettingError, Spec, Transition, check_action_space, number, static


class Actor(nn.Module):
    """Mean and log std of an action before squashing, each ``[*action_shape]``, from one observation."""

    action_shape: tuple[int, ...]
    hidden: tuple[int, ...]
    activation: str

    @nn.compact
    def __call__(self, obs: PyTree) -> tuple[Array, Array]:
        x = networks.Torso(self.hidden, self.activation)(obs)
        size = math.prod(self.action_shape)
        mean, log_std = (networks.Dense(size, 0.01, name=name)(x) for name in ("mean", "log_std"))
        return mean.reshape(self.action_shape), jnp.clip(log_std, -10.0, 2.0).reshape(self.action_shape)


class Critic(nn.Module):
    """The value of one observation and action: a scalar. Grids go through a CNN before the action joins them."""

    hidden: tuple[int, ...]
    activation: str

    @nn.compact
    def __call__(self, obs: PyTree, action: Array) -> Array:
        if networks.has_grid(obs):
            obs = networks.Torso(self.hidden, self.activation)(obs)
        x = networks.MLP(self.hidden, self.activation)(networks.flatten((obs, action)))
        return networks.Dense(1, 1.0)(x)[0]


class SACState(struct.PyTreeNode):
    actor_params: PyTree
    critic_params: PyTree  # leaves [2, ...]
    target_params: PyTree  # leaves [2, ...], the critics'
    log_alpha: Array  # scalar
    opt_states: PyTree  # actor's, critics', temperature's
    replay: replay.Replay
    updates: Array  # int32 scalar, updates done
    bounds: tuple[Array, Array]  # low and high of each action
    start_updates: int = struct.field(pytree_node=False)  # that it takes until learning starts


class SAC(struct.PyTreeNode):
    """Soft actor-critic for bounded continuous actions; the defaults learn Pendulum."""

    learning_rate: float = number(1e-3, gt=0)  # Adam's step size, for all three
    gamma: float = number(0.99, ge=0, le=1)  # discount
    tau: float = number(0.005, gt=0, le=1)  # how far the target critics follow after each gradient step
    alpha: float = number(1.0, gt=0)  # temperature at first, or for good without auto_alpha
    target_entropy: float = number(-1.0)  # per action dimension, with actions scaled to [-1, 1]
    num_steps: int = static(1, ge=1)  # steps per env between updates
    num_gradient_steps: int = static(1, ge=1)  # per update
    buffer_size: int = static(100_000, ge=1)  # observations held, over all envs; a final one takes a place, too
    batch_size: int = static(256, ge=1)  # steps sampled for each gradient step
    learning_starts: int = static(1_000, ge=0)  # env steps, over all envs, of uniform actions before learning
    auto_alpha: bool = static(True)  # learn the temperature
    hidden: tuple[int, ...] = static((64, 64))  # layers of the actor and of each critic
    activation: str = static("relu", choices=tuple(networks.ACTIVATIONS))

    def check(self, spec: Spec) -> None:
        """Raise where the settings do not fit the environment or each other."""
        check_action_space(spec, "SAC", low="Box")
        low, high = spec.action_space.low, spec.action_space.high
        known = not any(isinstance(bound, Tracer) for bound in (low, high))
        if known and not (np.isfinite(low).all() and np.isfinite(high).all() and np.less(low, high).all()):
            raise SettingError(f"algo: SAC needs finite bounds of actions, low below high, got {low} and {high}")
        replay.check(self, spec, 1)

    def init(self, key: Array, spec: Spec) -> SACState:
        actor_key, critic_key = jax.random.split(key)
        obs, (low, high) = spec.example_obs(), self._bounds(spec)
        actor_params = networks.init(self._actor(low.shape), actor_key, obs)
        critic_params = jax.vmap(lambda key: networks.init(self._critic(), key, obs, low))(jax.random.split(critic_key))
        log_alpha = jnp.log(jnp.asarray(self.alpha, jnp.float32))
        return SACState(
            actor_params=actor_params,
            critic_params=critic_params,
            target_params=critic_params,
            log_alpha=log_alpha,
            opt_states=tuple(map(self._optimiser().init, (actor_params, critic_params, log_alpha))),
            replay=replay.init(spec.transition, spec.num_envs, replay.useful_size(self.buffer_size, spec)),
            updates=jnp.zeros((), jnp.int32),
            bounds=(low, high),
            start_updates=replay.start_updates(self.learning_starts, spec),
        )

    def init_actor(self, key: Array, spec: Spec) -> tuple[()]:
        del key, spec
        return ()

    def act(self, state, actor, key, obs, first, mask, *, greedy=False):
        del mask
        policy, (low, high) = self._policy(state.actor_params, obs, state.bounds), state.bounds
        if greedy:
            return actor, policy.mode(), None
        sample_key, uniform_key = jax.random.split(key)
        uniform = low + (high - low) * jax.random.uniform(uniform_key, (len(first), *low.shape))
        starting = state.updates < state.start_updates
        return actor, jnp.where(starting, uniform, policy.sample(sample_key)), None

    def update(self, state: SACState, key: Array, batch: Transition, actor0: PyTree, reward_fn: Callable):
        del actor0
        buffer, _, _ = replay.add(state.replay, batch)
        bonus = None if batch.bonus is None else reward_fn
        ready = state.updates + 1 >= state.start_updates

        def gradient_step(carry, key):
            sample_key, loss_key = jax.random.split(key)
            drawn = replay.sample_uniform(buffer, sample_key, self.batch_size)
            found = offpolicy.sample(buffer, drawn, 1, self.gamma, bonus)
            new, metrics = self._gradient_step(carry, loss_key, found, state.bounds)
            return jax.tree.map(lambda x, y: jnp.where(ready, x, y), new, carry), metrics

        carry = (state.actor_params, state.critic_params, state.target_params, state.log_alpha, state.opt_states)
        carry, metrics = jax.lax.scan(gradient_step, carry, jax.random.split(key, self.num_gradient_steps))
        actor_params, critic_params, target_params, log_alpha, opt_states = carry
        return state.replace(
            actor_params=actor_params,
            critic_params=critic_params,
            target_params=target_params,
            log_alpha=log_alpha,
            opt_states=opt_states,
            replay=buffer,
            updates=state.updates + 1,
        ), jax.tree.map(jnp.mean, metrics)

    def _gradient_step(self, carry: PyTree, key: Array, found: offpolicy.Sample, bounds: PyTree):
        """One step of critics, actor, temperature and target critics, each with the others as they were before."""
        actor_params, critic_params, target_params, log_alpha, opt_states = carry
        next_key, actor_key = jax.random.split(key)
        alpha = jnp.exp(log_alpha)
        next_action, next_log_prob = self._sample(actor_params, found.last, bounds, next_key)
        next_value = self._values(target_params, found.last, next_action).min(0) - alpha * next_log_prob
        target = found.reward + found.discount * next_value

        def critic_loss(params):
            q = self._values(params, found.obs, found.action)
            return 0.5 * jnp.mean(found.weight * jnp.square(q - target).sum(0)), q.mean()

        def actor_loss(params):
            action, log_prob = self._sample(params, found.obs, bounds, actor_key)
            value = self._values(critic_params, found.obs, action).min(0)
            return jnp.mean(found.weight * (alpha * log_prob - value)), log_prob

        with jax.named_scope("gradient"):
            critic_grads, (q_loss, q_mean) = _grad(critic_loss, critic_params)
            actor_grads, (actor_loss_value, log_prob) = _grad(actor_loss, actor_params)
        entropy = -jnp.mean(log_prob, dtype=jnp.float32)
        alpha_grad = (entropy - bounds[0].size * self.target_entropy) * self.auto_alpha
        params, grads = (actor_params, critic_params, log_alpha), (actor_grads, critic_grads, alpha_grad)
        with jax.named_scope("optimiser"):
            moved = [
                self._optimiser().update(grad, opt_state, param)
                for grad, opt_state, param in zip(grads, opt_states, params, strict=True)
            ]
            new = [optax.apply_updates(param, update) for param, (update, _) in zip(params, moved, strict=True)]
        target_params = optax.incremental_update(new[1], target_params, self.tau)
        metrics = {"q_loss": q_loss, "q_mean": q_mean, "actor_loss": actor_loss_value}
        metrics |= {"entropy": entropy, "alpha": alpha}
        return (new[0], new[1], target_params, new[2], tuple(opt_state for _, opt_state in moved)), metrics

    def _policy(self, params: PyTree, obs: PyTree, bounds: tuple[Array, Array]) -> TanhGaussian:
        """The policy for ``obs [B, ...]``."""
        low, high = bounds
        apply: Any = self._actor(low.shape).apply
        mean, log_std = jax.vmap(apply, (None, 0))(params, obs)
        return TanhGaussian(mean, log_std, low, high, event_ndim=low.ndim)

    def _sample(self, params: PyTree, obs: PyTree, bounds: tuple[Array, Array], key: Array) -> tuple[Array, Array]:
        """Actions ``[B, ...]`` and the log-probabilities ``[B]`` that they have when scaled to [-1, 1]."""
        action, log_prob = self._policy(params, obs, bounds).sample_and_log_prob(key)
        return action, log_prob + jnp.log((bounds[1] - bounds[0]) / 2).sum()

    def _values(self, params: PyTree, obs: PyTree, action: Array) -> Array:
        """Both critics' values ``[2, B]``."""
        apply: Any = self._critic().apply
        return jax.vmap(jax.vmap(apply, (None, 0, 0)), (0, None, None))(params, obs, action)

    def _actor(self, action_shape: tuple[int, ...]) -> Actor:
        return Actor(action_shape, self.hidden, self.activation)

    def _critic(self) -> Critic:
        return Critic(self.hidden, self.activation)

    def _optimiser(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate)

    def _bounds(self, spec: Spec) -> tuple[Array, Array]:
        space = spec.action_space
        low, high = (jnp.broadcast_to(jnp.asarray(x, jnp.float32), space.shape) for x in (space.low, space.high))
        return low, high


def _grad(loss: Callable, params: PyTree) -> tuple[PyTree, tuple[Array, Any]]:
    """Gradients, and the loss with what it returns beside it."""
    (value, more), grads = jax.value_and_grad(loss, has_aux=True)(params)
    return grads, (value, more)
