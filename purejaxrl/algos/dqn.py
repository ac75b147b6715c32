"""Deep Q-networks (Mnih et al. 2015), with each part of Rainbow (Hessel et al. 2018, arXiv:1710.02298) as a switch.

Details that matter, with their sources:

- each update takes ``num_envs * num_steps`` environment steps, then `num_gradient_steps` gradient steps: the ratio is
  what it says for every number of envs, since no counter of environment steps is taken modulo anything;
- the replay stores each observation once and keeps the true final ones: a time limit bootstraps from it, a termination
  does not (Pardo et al. 2018, arXiv:1712.00378);
- `double`: the online network chooses the target's action (van Hasselt et al. 2016, arXiv:1509.06461, eq. 4);
- `dueling`: value and advantage streams (Wang et al. 2016, arXiv:1511.06581, eq. 9), from a shared torso;
- `n_step`: n rewards, then a bootstrap discounted by γⁿ, fewer where the episode or the buffer ends;
- `prioritised`: p = (|error| + 10⁻⁶)^α with importance weights, β rising linearly to 1 (Schaul et al. 2016,
  arXiv:1511.05952); the error of a distribution is its KL divergence, as in Rainbow, or its quantile loss;
- `noisy`: factorised noise on every dense layer (Fortunato et al. 2018, arXiv:1706.10295), when acting drawn for each
  env by itself, since shared noise would correlate their exploration; when learning one draw for each network and
  batch (section 3.2);
- `head`: "scalar" with the squared error and a clipped gradient norm (Huber's loss caps each error: where returns are
  larger than 1 that outweighs the terminal steps, and values of a five-state chain diverge), "c51" (Bellemare et al.
  2017, arXiv:1707.06887) or "qr" (Dabney et al. 2018, arXiv:1710.10044);
- `zeta`: random actions that last (εz-greedy; Dabney et al. 2021, arXiv:2006.01782);
- with a bonus, one stream: reward plus bonus. What is lifelong in it is computed anew whenever a step is sampled, what
  belongs to its episode is kept as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree

from purejaxrl import distributional, exploration, memory, minibatches, networks, offpolicy, replay, types
from purejaxrl.types import Array, PyTree, SettingError, Spec, Transition, number, static


class DQNState(struct.PyTreeNode):
    params: PyTree
    target_params: PyTree
    opt_state: PyTree
    replay: replay.Replay
    priorities: Any  # replay.Priorities, with prioritised
    updates: Array  # int32 scalar, updates done
    num_updates: Array  # int32 scalar, updates of the whole run: the schedules' length
    gradient_steps: Array  # int32 scalar
    start_updates: int = struct.field(pytree_node=False)  # that it takes until learning starts
    network: Any = struct.field(pytree_node=False)


class DQN(struct.PyTreeNode):
    """Deep Q-network for discrete actions; the defaults learn CartPole."""

    learning_rate: float = number(5e-4, gt=0)  # Adam's step size
    gamma: float = number(0.99, ge=0, le=1)  # discount
    epsilon_start: float = number(1.0, ge=0, le=1)  # share of random actions at first
    epsilon_end: float = number(0.05, ge=0, le=1)  # and after exploration_fraction of the run
    exploration_fraction: float = number(0.2, gt=0, le=1, schedule=True)
    tau: float = number(0.005, gt=0, le=1)  # target network moves this far towards the online one, each target_period
    max_grad_norm: float = number(10.0, gt=0)  # gradients are clipped to this global norm
    num_steps: int = static(4, ge=1)  # steps per env between updates
    num_gradient_steps: int = static(2, ge=1)  # per update
    anneal_lr: bool = static(True, schedule=True)  # learning rate falls linearly to 0 over the run
    buffer_size: int = static(100_000, ge=1)  # observations held, over all envs; a final one takes a place, too
    batch_size: int = static(128, ge=1)  # steps sampled for each gradient step
    learning_starts: int = static(1_000, ge=0)  # env steps, over all envs, before the first gradient step
    target_period: int = static(1, ge=1)  # gradient steps between updates of the target network
    n_step: int = static(1, ge=1)  # rewards before bootstrapping
    double: bool = static(True)
    dueling: bool = static(False)
    noisy: bool = static(False)  # usually with epsilon_start and epsilon_end 0
    prioritised: bool = static(False, schedule=True)  # its beta rises over the run
    alpha: float = number(0.6, ge=0, le=1)  # prioritised: exponent of the priorities
    beta: float = number(0.4, ge=0, le=1)  # prioritised: exponent of the importance weights at first
    head: str = static("scalar", choices=("scalar", "c51", "qr"))
    num_atoms: int = static(51, ge=2)  # c51: atoms, qr: quantiles
    v_min: float = number(-10.0)  # c51: the smallest return that it can tell; set both to what the task pays
    v_max: float = number(10.0)  # c51: the largest (CartPole: 100)
    zeta: float = static(0.0, ge=0)  # above 1: random actions last n steps with P(n) ∝ n^-zeta (2 in the paper); 0: one
    hidden: tuple[int, ...] = static((64, 64))  # layers for flat observations (grids get a CNN)
    activation: str = static("relu", choices=tuple(networks.ACTIVATIONS))
    network: Any = static(None)  # (init, apply) or flax module on one observation, returns as networks.QNetwork

    def check(self, spec: Spec) -> None:
        """Raise where the settings do not fit the environment or each other."""
        types.check_action_space(spec, "DQN", n="Discrete")
        networks.check_setting(self, "hidden", "activation", "dueling")
        replay.check(self, spec, self.n_step)
        if self.head == "c51":
            types.check_less(self.v_min, self.v_max, "algo.v_min", "algo.v_max")
        if self.noisy and isinstance(self.network, tuple):
            raise SettingError("algo.noisy needs a flax module as algo.network: a pair of functions takes no noise")
        if memory.has_memory(self.network):
            raise SettingError("algo.network must have no memory: DQN replays single steps; PQN and PPO can use one")
        exploration.check_zeta(self.zeta)
        q = memory.output_shapes(self._network(spec), spec)
        shape = (spec.action_space.n,) if self.head == "scalar" else (spec.action_space.n, self.num_atoms)
        if getattr(q, "shape", None) != shape:
            raise SettingError(f"algo.network must return action values of shape {shape} here, got {q}")

    def init(self, key: Array, spec: Spec) -> DQNState:
        network = self._network(spec)
        params = networks.init(network, key, spec.example_obs())
        size = replay.useful_size(self.buffer_size, spec)
        buffer = replay.init(spec.transition, spec.num_envs, size)
        return DQNState(
            params=params,
            target_params=params,
            opt_state=minibatches.init(self._optimiser(1.0), params),
            replay=buffer,
            priorities=replay.init_priorities(buffer.holds_step.size) if self.prioritised else None,
            updates=jnp.zeros((), jnp.int32),
            num_updates=jnp.asarray(spec.num_updates, jnp.int32),
            gradient_steps=jnp.zeros((), jnp.int32),
            start_updates=replay.start_updates(self.learning_starts, spec),
            network=network,
        )

    def init_actor(self, key: Array, spec: Spec) -> exploration.Repeats:
        del key
        return exploration.no_repeats(spec.num_envs)

    def act(self, state, actor, key, obs, first, mask, *, greedy=False):
        noise_key, epsilon_key = jax.random.split(key)
        if greedy or not self.noisy:
            q = _apply(state.network, state.params, obs)
        else:
            noises = {"noise": jax.random.split(noise_key, len(first))}
            q = jax.vmap(lambda obs, rngs: state.network.apply(state.params, obs, rngs=rngs))(obs, noises)
        cdf = exploration.durations(self.zeta) if self.zeta else None
        epsilon = 0.0 if greedy else self._epsilon(state)
        return *exploration.epsilon_greedy(epsilon_key, self._mean(q), mask, epsilon, actor, first, cdf), None

    def update(self, state: DQNState, key: Array, batch: Transition, actor0: PyTree, reward_fn: Callable):
        del actor0
        buffer, written, emptied = replay.add(state.replay, batch)
        bonus = None if batch.bonus is None else reward_fn
        priorities = state.priorities
        if self.prioritised:
            new = jnp.broadcast_to(priorities.largest, written.shape)
            priorities = replay.set_priorities(priorities, emptied, jnp.zeros(emptied.shape))
            priorities = replay.set_priorities(priorities, written, new)
        ready = state.updates + 1 >= state.start_updates
        progress = state.updates / state.num_updates
        beta = exploration.annealed(self.beta, 1.0, progress, 1.0)
        optimiser = self._optimiser(jnp.maximum(1.0 - progress, 0.0) if self.anneal_lr else 1.0)

        def gradient_step(carry, key):
            params, target_params, opt_state, priorities, count = carry
            sample_key, loss_key = jax.random.split(key)
            if self.prioritised:
                drawn = replay.sample_prioritised(priorities, sample_key, self.batch_size, beta)
            else:
                drawn = replay.sample_uniform(buffer, sample_key, self.batch_size)
            found = offpolicy.sample(buffer, drawn, self.n_step, self.gamma, bonus)
            target = unflatten(target_params)
            loss = lambda x: self._loss(unflatten(x), target, state.network, loss_key, found)  # noqa: E731
            with jax.named_scope("gradient"):
                grads, (error, metrics) = jax.grad(loss, has_aux=True)(params)
            with jax.named_scope("optimiser"):
                updates, new_opt_state = optimiser.update(grads, opt_state, params)
                new_params = optax.apply_updates(params, updates)
            tau = jnp.where((count + 1) % self.target_period == 0, self.tau, 0.0)
            new_target = optax.incremental_update(new_params, target_params, tau)
            if self.prioritised:
                index = jnp.where(ready, found.place, priorities.tree.size)  # beyond the leaves: left out
                error = jnp.where(ready, error, 0.0)
                priorities = replay.set_priorities(priorities, index, (error + 1e-6) ** self.alpha)
            new, old = (new_params, new_target, new_opt_state), (params, target_params, opt_state)
            new = jax.tree.map(lambda x, y: jnp.where(ready, x, y), new, old)
            return (*new, priorities, count + ready), metrics

        # As one vector each: see minibatches.descend.
        (params, unflatten), (target_params, _) = ravel_pytree(state.params), ravel_pytree(state.target_params)
        carry = (params, target_params, state.opt_state, priorities, state.gradient_steps)
        carry, metrics = jax.lax.scan(gradient_step, carry, jax.random.split(key, self.num_gradient_steps))
        params, target_params, opt_state, priorities, gradient_steps = carry
        metrics = {**jax.tree.map(jnp.mean, metrics), "epsilon": self._epsilon(state), "gradient_steps": gradient_steps}
        return state.replace(
            params=unflatten(params),
            target_params=unflatten(target_params),
            opt_state=opt_state,
            replay=buffer,
            priorities=priorities,
            updates=state.updates + 1,
            gradient_steps=gradient_steps,
        ), metrics

    def _loss(self, params: PyTree, target_params: PyTree, network: Any, key: Array, found: offpolicy.Sample):
        """The weighted mean loss, and ``(error [batch_size], metrics)``."""
        online_key, target_key, choice_key = jax.random.split(key, 3) if self.noisy else (None,) * 3
        next_q = _apply(network, target_params, found.last, target_key)
        chooser = _apply(network, params, found.last, choice_key) if self.double else next_q
        choice = jnp.argmax(exploration.masked(self._mean(chooser), found.last_mask), axis=-1)
        next_q = exploration.taken(next_q, choice)
        q = exploration.taken(_apply(network, params, found.obs, online_key), found.action)
        reward, discount = _column(found.reward, next_q), _column(found.discount, next_q)
        target = jax.lax.stop_gradient(reward + discount * self._returns(next_q))
        if self.head == "c51":
            target = distributional.project(target, jax.nn.softmax(jax.lax.stop_gradient(next_q)), self._support())
            loss = optax.softmax_cross_entropy(q, target)
            error = jnp.maximum(loss + jax.scipy.special.xlogy(target, target).sum(-1), 0.0)
        elif self.head == "qr":
            loss = distributional.quantile_huber(q, target)
            error = loss
        else:
            loss, error = 0.5 * jnp.square(q - target), jnp.abs(q - target)
        q_mean = self._mean(q).mean()
        loss = jnp.sum(found.weight * loss) / jnp.maximum((found.weight > 0).sum(), 1)
        return loss, (error, {"q_loss": loss, "q_mean": q_mean})

    def _support(self) -> Array:
        return self.v_min + (self.v_max - self.v_min) * jnp.arange(self.num_atoms) / (self.num_atoms - 1)

    def _returns(self, output: Array) -> Array:
        """The returns that an output stands for: c51's atoms whatever it is, else the output itself."""
        return self._support() if self.head == "c51" else output

    def _mean(self, output: Array) -> Array:
        """Action values from the network's output."""
        if self.head == "c51":
            return jax.nn.softmax(output) @ self._support()
        return output.mean(-1) if self.head == "qr" else output

    def _epsilon(self, state: DQNState) -> Array:
        progress = state.updates / state.num_updates
        return exploration.annealed(self.epsilon_start, self.epsilon_end, progress, self.exploration_fraction)

    def _optimiser(self, remaining: Any) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(self.max_grad_norm), optax.adam(self.learning_rate * remaining))

    def _network(self, spec: Spec) -> Any:
        def default():
            return networks.QNetwork(
                num_actions=int(spec.action_space.n),
                num_atoms=None if self.head == "scalar" else self.num_atoms,
                hidden=self.hidden,
                activation=self.activation,
                dueling=self.dueling,
                noisy=self.noisy,
            )

        return networks.from_setting(self.network, default)


def _apply(network: Any, params: PyTree, obs: PyTree, key: Array | None = None) -> Array:
    """The network's output for ``obs [B, ...]``, all with the same noise where there is a key."""
    noise = {} if key is None else {"rngs": {"noise": key}}
    return jax.vmap(lambda obs: network.apply(params, obs, **noise))(obs)


def _column(x: Array, like: Array) -> Array:
    """``x [B]`` with the axes that it lacks."""
    return x.reshape(x.shape + (1,) * (like.ndim - 1))
