"""Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347), with or without memory.

Details that matter, with their sources ("details": Huang et al. 2022, "The 37 implementation details of PPO"):

- orthogonal initialisation, gains √2 in the torso, 0.01 on the policy, 1 on the value; Adam's eps 1e-5 (details 2, 3);
- advantages by GAE, bootstrapping at time limits from the true final observation (Pardo et al. 2018, arXiv:1712.00378);
- advantages normalised per minibatch (details 7); clipped policy ratio (eq. 7); entropy bonus (eq. 9);
- value clipping as an option, off: it does not help (Andrychowicz et al. 2021, arXiv:2006.05990, section 3.3);
- gradients clipped by their *global* norm (details 11); learning rate annealed linearly to 0 as an option (details 4);
- a Gaussian with state-independent log std, actions clipped to the bounds by the loop (continuous details 2, 5); a
  product of categoricals for multi-discrete actions (details, section "MultiDiscrete");
- action masks in sampling, log-probability and entropy (Huang & Ontañón 2022, arXiv:2006.14171);
- with a memory, minibatches of whole sequences, one per env, replayed from the memory that the rollout started with:
  flags aligned, the ratio starts at exactly 1, no burn-in (LSTM details 1-5);
- observations standardised and clipped to ±10, rewards divided by the running std of the discounted return, as options
  (continuous details 6-8). The statistics move only between rollouts, so the ratio starts at exactly 1, and an
  episode's last reward is counted before its return restarts;
- with a bonus, a second value head on the intrinsic stream, and A = A_ext + A_int (Burda et al. 2018, arXiv:1810.12894,
  section 2.3; with advantages normalised, their weights 2 : 1 are a `coef` of 0.5), the stream episodic or not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax
from flax import struct

from purejaxrl import memory, minibatches, moments, networks, returns, types
from purejaxrl.types import Array, PyTree, SettingError, Spec, Transition, number, static


class PPOState(struct.PyTreeNode):
    params: PyTree
    opt_state: PyTree
    updates: Array  # int32 scalar, updates done
    num_updates: Array  # int32 scalar, updates of the whole run: the schedule's length
    obs_moments: PyTree  # Moments, with normalise_obs
    reward_moments: PyTree  # Moments, with normalise_reward
    running_return: Any  # [num_envs], discounted return so far, with normalise_reward
    network: Any = struct.field(pytree_node=False)  # a flax module, perhaps with a memory, or a networks.Network


class Minibatch(struct.PyTreeNode):
    """What the loss sees, leading axis ``[samples]``, with a memory ``[sequences, num_steps]``.

    Value-like fields have one column per value head: ``[..., heads]``.
    """

    obs: PyTree
    action: Array
    mask: Array | None
    log_prob: Array
    value: Array  # when acting
    target: Array
    advantage: Array
    first: Array | None = None


def ppo_loss(ppo: PPO, params: PyTree, apply: Callable, batch: Minibatch) -> tuple[Array, dict[str, Array]]:
    """The clipped surrogate, value and entropy loss (eq. 9). ``apply(params, obs, mask)`` is batched.

    Advantages are normalised already. A replacement (``PPO(loss=...)``) has the same signature and returns
    ``(loss, metrics)``.
    """
    policy, value = apply(params, batch.obs, batch.mask)
    log_ratio = policy.log_prob(batch.action) - batch.log_prob
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1.0 - ppo.clip_eps, 1.0 + ppo.clip_eps)
    policy_loss = -jnp.minimum(ratio * batch.advantage, clipped * batch.advantage).mean()

    value_error = jnp.square(value - batch.target)
    if ppo.clip_value:
        value_near = batch.value + jnp.clip(value - batch.value, -ppo.clip_eps, ppo.clip_eps)
        value_error = jnp.maximum(value_error, jnp.square(value_near - batch.target))
    value_loss = 0.5 * value_error.sum(-1).mean()  # summed over heads

    entropy = policy.entropy().mean()
    loss = policy_loss + ppo.vf_coef * value_loss - ppo.ent_coef * entropy
    return loss, {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        "approx_kl": (ratio - 1.0 - log_ratio).mean(),  # Schulman's k3 estimator
        "clip_fraction": (jnp.abs(ratio - 1.0) > ppo.clip_eps).mean(),
    }


class PPO(struct.PyTreeNode):
    """Proximal policy optimisation; the defaults learn CartPole."""

    learning_rate: float = number(7e-4, gt=0)  # Adam's step size
    gamma: float = number(0.99, ge=0, le=1)  # discount of the extrinsic return
    gamma_int: float = number(0.99, ge=0, le=1)  # discount of the intrinsic return
    gae_lambda: float = number(0.95, ge=0, le=1)  # λ of GAE, both streams
    clip_eps: float = number(0.2, gt=0)  # clipping of the policy ratio (and of values with clip_value)
    ent_coef: float = number(0.01, ge=0)  # weight of the entropy bonus
    vf_coef: float = number(0.5, ge=0)  # weight of the value loss
    max_grad_norm: float = number(0.5, gt=0)  # gradients are clipped to this global norm
    num_steps: int = static(128, ge=1)  # steps per env between updates
    num_epochs: int = static(4, ge=1)  # passes over the batch
    num_minibatches: int = static(4, ge=1)  # a remainder of the batch is left out, another one each epoch
    anneal_lr: bool = static(True, schedule=True)  # learning rate falls linearly to 0 over the run
    normalise_advantage: bool = static(True)  # per minibatch
    clip_value: bool = static(False)  # clip the value's change by clip_eps too
    normalise_obs: bool = static(False)  # standardise observations by running moments, clip to ±10
    normalise_reward: bool = static(False)  # divide rewards by the running std of the discounted return
    episodic_bonus: bool = static(True)  # False: the intrinsic return runs on across episodes, as in RND
    hidden: tuple[int, ...] = static((64, 64))  # layers for flat observations (grids get a CNN); first, memory, others
    activation: str = static("tanh", choices=tuple(networks.ACTIVATIONS))
    memory: str = static("none", choices=memory.KINDS)  # minibatches then are made of whole envs
    memory_size: int = static(64, ge=4)  # features of the memory (transformer: a multiple of 4)
    memory_window: int = static(32, ge=1)  # steps that each layer of the transformer looks back
    loss: Callable = static(ppo_loss)  # ppo_loss's signature
    network: Any = static(None)  # (init, apply) or flax module on one observation, returns as networks.ActorCritic

    def check(self, spec: Spec) -> None:
        """Raise where the settings do not fit the environment or the batch."""
        types.check_action_space(spec, "PPO", n="Discrete", nvec="MultiDiscrete", low="Box")
        if not callable(self.loss):
            raise SettingError(f"algo.loss must be a function like algos.ppo.ppo_loss, got {types.shown(self.loss)}")
        networks.check_setting(self, "hidden", "activation", "memory", "memory_size", "memory_window")
        memory.check_settings(self)
        network, heads = self._network(spec), 2 if spec.has_bonus else 1
        types.check_minibatches(
            self.num_minibatches, "algo.num_minibatches", spec, whole_envs=memory.has_memory(network)
        )
        if self.normalise_advantage and spec.num_envs * spec.num_steps < 2 * self.num_minibatches:
            why = "leaves one sample in each, whose normalised advantage is 0"
            raise SettingError(f"algo.num_minibatches {why}: lower it, or set algo.normalise_advantage to False")
        masked = getattr(spec.transition, "mask", None) is not None
        networks.check_actor_critic(memory.output_shapes(network, spec), heads, masked=masked)

    def init(self, key: Array, spec: Spec) -> PPOState:
        network, obs = self._network(spec), spec.example_obs()
        params = memory.init(network, key, obs)
        return PPOState(
            params=params,
            opt_state=minibatches.init(self._optimiser(0.0), params),
            updates=jnp.zeros((), jnp.int32),
            num_updates=jnp.asarray(spec.num_updates, jnp.int32),
            obs_moments=moments.init(obs) if self.normalise_obs else None,
            reward_moments=moments.init(jnp.zeros(())) if self.normalise_reward else None,
            running_return=jnp.zeros(spec.num_envs) if self.normalise_reward else None,
            network=network,
        )

    def init_actor(self, key: Array, spec: Spec) -> PyTree:
        del key
        return memory.initial_carry(self._network(spec), spec.num_envs)

    def act(self, state, actor, key, obs, first, mask, *, greedy=False):
        actor, (policy, value) = memory.step(state.network, state.params, actor, self._standardised(state, obs), first)
        policy = policy if mask is None else policy.masked(mask)
        action = policy.mode() if greedy else policy.sample(key)
        return actor, action, {"log_prob": policy.log_prob(action), "value": value}

    def update(self, state: PPOState, key: Array, batch: Transition, actor0: PyTree, reward_fn: Callable):
        del reward_fn
        chex.assert_rank([batch.reward, batch.terminated, batch.truncated], 2)
        reward = batch.reward
        reward_moments, running_return = state.reward_moments, state.running_return
        if self.normalise_reward:
            history, running_return = moments.discounted(reward, running_return, self.gamma, batch.first)
            reward_moments = moments.update(reward_moments, history)
            reward = moments.scale_by_std(reward_moments, reward)

        network, value = state.network, batch.extras["value"]
        obs, next_obs = self._standardised(state, batch.obs), self._standardised(state, batch.next_obs)
        _, next_value = memory.lookahead(network, state.params, actor0, obs, batch.first, next_obs)
        advantage, target = self._advantages(batch, reward, next_value)
        rollout = Minibatch(
            obs, batch.action, batch.mask, batch.extras["log_prob"], value, target, advantage, batch.first
        )
        samples = memory.samples(network, rollout), actor0

        remaining = jnp.maximum(1.0 - state.updates / state.num_updates, 0.0) if self.anneal_lr else 1.0
        optimiser = self._optimiser(self.learning_rate * remaining)

        def prepare(minibatch):
            return self._normalised(minibatch[0]), minibatch[1]

        def loss(params, minibatch):
            minibatch, carry0 = minibatch

            def apply(params, obs, mask):
                policy, value = memory.replay(network, params, carry0, obs, minibatch.first)
                return policy if mask is None else policy.masked(mask), value

            return self.loss(self, params, apply, minibatch)

        sizes: dict[str, Any] = {"num_minibatches": self.num_minibatches, "num_epochs": self.num_epochs}
        # An own loss need not be a mean over samples, so it sees whole minibatches.
        sizes["part"] = minibatches.PART if self.loss is ppo_loss else None
        params, opt_state, metrics = minibatches.descend(
            loss, optimiser, state.params, state.opt_state, samples, key, prepare=prepare, **sizes
        )
        unexplained = jnp.var(target[..., 0] - value[..., 0]) / (jnp.var(target[..., 0]) + 1e-8)
        metrics = {**jax.tree.map(jnp.mean, metrics), "explained_variance": 1.0 - unexplained}
        return state.replace(
            params=params,
            opt_state=opt_state,
            updates=state.updates + 1,
            obs_moments=moments.update(state.obs_moments, batch.obs) if self.normalise_obs else None,
            reward_moments=reward_moments,
            running_return=running_return,
        ), metrics

    def _normalised(self, minibatch: Minibatch) -> Minibatch:
        advantage = minibatch.advantage
        if not self.normalise_advantage:
            return minibatch
        return minibatch.replace(advantage=(advantage - advantage.mean()) / (advantage.std() + 1e-8))

    def _advantages(self, batch: Transition, reward: Array, next_value: Array) -> tuple[Array, Array]:
        """The advantage ``[num_steps, num_envs]``, summed over streams, and targets with one column per value head."""
        value, ends = batch.extras["value"], (batch.terminated, batch.truncated)
        gae = functools.partial(returns.gae, gae_lambda=self.gae_lambda)
        advantage, target = gae(reward, value[..., 0], next_value[..., 0], *ends, gamma=self.gamma)
        if batch.bonus is None:
            return advantage, target[..., None]
        next_value_int = next_value[..., 1]
        if not self.episodic_bonus:
            # The stream runs on into the next episode: bootstrap from the observation after the reset. The one after
            # the batch's last step is not known; resets are alike, so its value is estimated by the mean over those
            # in the batch (the value before the reset where there is none).
            done, first, start_value = jnp.logical_or(*ends)[-1], batch.first, value[..., 1]
            restart = jnp.sum(start_value, where=first) / jnp.maximum(first.sum(), 1)
            last = jnp.where(done & first.any(), restart, next_value_int[-1])
            next_value_int = jnp.concatenate([value[1:, :, 1], last[None]])
            ends = (jnp.zeros_like(batch.terminated),) * 2
        advantage_int, target_int = gae(batch.bonus, value[..., 1], next_value_int, *ends, gamma=self.gamma_int)
        return advantage + advantage_int, jnp.stack([target, target_int], axis=-1)

    def _network(self, spec: Spec) -> Any:
        def default():
            heads, hidden = 2 if spec.has_bonus else 1, self.hidden if self.memory == "none" else self.hidden[1:]
            head = networks.actor_critic(spec.action_space, heads, hidden=hidden, activation=self.activation)
            return memory.remember(head, self)

        return networks.from_setting(self.network, default)

    def _optimiser(self, learning_rate: Any) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(self.max_grad_norm), optax.adam(learning_rate, eps=1e-5))

    def _standardised(self, state: PPOState, obs: PyTree) -> PyTree:
        return obs if state.obs_moments is None else moments.standardise(state.obs_moments, obs, clip=10.0)
