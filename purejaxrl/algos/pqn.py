"""Parallelised Q-network (Gallici et al. 2024, arXiv:2407.04811): Q(λ) without replay or target network, with memory.

Details that matter, with their sources ("paper": the above; "code": its authors' purejaxql):

- targets are λ-returns over the rollout, with the network from before the update (paper). The last step of the
  rollout and a truncated one bootstrap fully from their own next observation, and nothing crosses an episode's end;
- LayerNorm before each activation is what keeps it stable without a target network (paper);
- several epochs of minibatches over the rollout; RAdam, gradients clipped by their global norm of 10, learning rate
  annealed linearly to 0 (code);
- ε falls linearly, then stays; every env explores by itself;
- with a memory, minibatches of whole sequences, one per env, replayed from the memory that the rollout started with;
- with a bonus, one stream: reward plus bonus.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from purejaxrl import exploration, memory, minibatches, networks, returns, types
from purejaxrl.types import Array, PyTree, SettingError, Spec, Transition, number, static


class PQNState(struct.PyTreeNode):
    params: PyTree
    opt_state: PyTree
    updates: Array  # int32 scalar, updates done
    num_updates: Array  # int32 scalar, updates of the whole run: the schedules' length
    network: Any = struct.field(pytree_node=False)


class PQNActor(struct.PyTreeNode):
    carry: PyTree  # the memory's, leaves [num_envs, ...]
    repeats: exploration.Repeats


class PQN(struct.PyTreeNode):
    """Parallelised Q-network for discrete actions; the defaults learn CartPole."""

    learning_rate: float = number(1e-3, gt=0)  # RAdam's step size
    gamma: float = number(0.99, ge=0, le=1)  # discount
    lam: float = number(0.9, ge=0, le=1)  # λ of the returns
    epsilon_start: float = number(1.0, ge=0, le=1)  # share of random actions at first
    epsilon_end: float = number(0.05, ge=0, le=1)  # and after exploration_fraction of the run
    exploration_fraction: float = number(0.2, gt=0, le=1, schedule=True)
    max_grad_norm: float = number(10.0, gt=0)  # gradients are clipped to this global norm
    num_steps: int = static(64, ge=1)  # steps per env between updates
    num_epochs: int = static(4, ge=1)  # passes over the batch
    num_minibatches: int = static(4, ge=1)  # a remainder of the batch is left out, another one each epoch
    anneal_lr: bool = static(True, schedule=True)  # learning rate falls linearly to 0 over the run
    zeta: float = static(0.0, ge=0)  # above 1: random actions last n steps with P(n) ∝ n^-zeta (2 in the paper); 0: one
    hidden: tuple[int, ...] = static((64, 64))  # layers for flat observations (grids get a CNN); first, memory, others
    activation: str = static("relu", choices=tuple(networks.ACTIVATIONS))
    layer_norm: bool = static(True)
    memory: str = static("none", choices=memory.KINDS)  # minibatches then are made of whole envs
    memory_size: int = static(64, ge=4)  # features of the memory (transformer: a multiple of 4)
    memory_window: int = static(32, ge=1)  # steps that each layer of the transformer looks back
    network: Any = static(None)  # (init, apply) or flax module on one observation, returns as networks.QNetwork

    def check(self, spec: Spec) -> None:
        """Raise where the settings do not fit the environment or the batch."""
        types.check_action_space(spec, "PQN", n="Discrete")
        shaping = "hidden", "activation", "layer_norm", "memory", "memory_size", "memory_window"
        networks.check_setting(self, *shaping)
        memory.check_settings(self)
        exploration.check_zeta(self.zeta)
        network, shape = self._network(spec), (int(spec.action_space.n),)
        types.check_minibatches(
            self.num_minibatches, "algo.num_minibatches", spec, whole_envs=memory.has_memory(network)
        )
        q = memory.output_shapes(network, spec)
        if getattr(q, "shape", None) != shape:
            raise SettingError(f"algo.network must return action values of shape {shape} here, got {q}")

    def init(self, key: Array, spec: Spec) -> PQNState:
        network = self._network(spec)
        params = memory.init(network, key, spec.example_obs())
        return PQNState(
            params=params,
            opt_state=minibatches.init(self._optimiser(0.0), params),
            updates=jnp.zeros((), jnp.int32),
            num_updates=jnp.asarray(spec.num_updates, jnp.int32),
            network=network,
        )

    def init_actor(self, key: Array, spec: Spec) -> PQNActor:
        del key
        carry = memory.initial_carry(self._network(spec), spec.num_envs)
        return PQNActor(carry, exploration.no_repeats(spec.num_envs))

    def act(self, state, actor, key, obs, first, mask, *, greedy=False):
        carry, q = memory.step(state.network, state.params, actor.carry, obs, first)
        cdf = exploration.durations(self.zeta) if self.zeta else None
        epsilon = 0.0 if greedy else self._epsilon(state)
        repeats, action = exploration.epsilon_greedy(key, q, mask, epsilon, actor.repeats, first, cdf)
        return PQNActor(carry, repeats), action, None

    def update(self, state: PQNState, key: Array, batch: Transition, actor0: PQNActor, reward_fn: Callable):
        del reward_fn
        network, carry0 = state.network, actor0.carry
        reward = batch.reward if batch.bonus is None else batch.reward + batch.bonus
        next_q = memory.lookahead(network, state.params, carry0, batch.obs, batch.first, batch.next_obs)
        next_value = exploration.masked(next_q, batch.next_mask).max(-1)
        ends = batch.terminated, batch.truncated
        target = returns.q_lambda(reward, next_value, *ends, gamma=self.gamma, lam=self.lam)
        samples = carry0, *memory.samples(network, (batch.obs, batch.first, batch.action, target))

        remaining = jnp.maximum(1.0 - state.updates / state.num_updates, 0.0) if self.anneal_lr else 1.0
        optimiser = self._optimiser(self.learning_rate * remaining)

        def loss(params, minibatch):
            carry0, obs, first, action, target = minibatch
            q = memory.replay(network, params, carry0, obs, first)
            q = exploration.taken(q, action)
            loss = 0.5 * jnp.square(q - target).mean()
            return loss, {"q_loss": loss, "q_mean": q.mean()}

        sizes: dict[str, Any] = {"num_minibatches": self.num_minibatches, "num_epochs": self.num_epochs}
        params, opt_state, metrics = minibatches.descend(
            loss, optimiser, state.params, state.opt_state, samples, key, **sizes
        )
        metrics = {**jax.tree.map(jnp.mean, metrics), "epsilon": self._epsilon(state)}
        return state.replace(params=params, opt_state=opt_state, updates=state.updates + 1), metrics

    def _epsilon(self, state: PQNState) -> Array:
        progress = state.updates / state.num_updates
        return exploration.annealed(self.epsilon_start, self.epsilon_end, progress, self.exploration_fraction)

    def _optimiser(self, learning_rate: Any) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(self.max_grad_norm), optax.radam(learning_rate))

    def _network(self, spec: Spec) -> Any:
        def default():
            head = networks.QNetwork(
                num_actions=int(spec.action_space.n),
                hidden=self.hidden if self.memory == "none" else self.hidden[1:],
                activation=self.activation,
                layer_norm=self.layer_norm,
            )
            return memory.remember(head, self)

        return networks.from_setting(self.network, default)
