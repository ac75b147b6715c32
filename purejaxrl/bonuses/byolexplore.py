"""BYOL-Explore (Guo et al. 2022, arXiv:2206.08332): how badly a latent world model foresaw the next observation.

A closed-loop GRU hears the embedded observations and the actions before them: b_t. An open-loop GRU goes on from b_t
with the actions that follow: b_{t,k}, from which a predictor guesses the embedding of o_{t+k}, as an exponential moving
average of the encoder sees it. The error is ℓ(t, k) = ‖unit(guess) − unit(target)‖², between 0 and 4. The raw bonus
for arriving at o_{t+1} adds up what was foreseen of it in the last K steps of its episode, Σ_{k=1..K} ℓ(t + 1 − k, k).

It is causal: `observe` keeps the K open loops of each env, lets each take the action and sums their errors. `update`
replays the rollout from the carry that it started with and learns all unrolls within it at once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from purejaxrl import devices, dynamics, minibatches, networks
from purejaxrl.intrinsic import Weighted
from purejaxrl.types import NORMALISERS, Array, PyTree, Spec, Transition, check_minibatches, number, static


class Networks(NamedTuple):
    encoder: Any
    closed: Any
    open: Any
    predictor: Any


class History(NamedTuple):
    """What the closed loop knows before it hears the next observation; an episode's first step forgets it."""

    carry: Array  # [E, memory_size]
    action: Array  # [E, features] of the last action


class BYOLState(struct.PyTreeNode):
    params: Networks
    target: PyTree  # the moving average of params.encoder
    opt_state: PyTree
    history: History
    start: History  # as it was when the rollout began
    futures: Array  # [E, K, memory_size], open loops; the k-th began k + 1 steps ago
    age: Array  # int32 [E], steps that the episode had, at most K: as many open loops are its own
    mean: Array  # float32 scalar, moving average of the raw bonuses up to the rollout
    num_means: Array  # float32 scalar, rollouts in it
    total: Array  # float32 scalar, the rollout's raw bonuses so far
    count: Array  # float32 scalar, and their number
    bounds: Any  # of continuous actions; None for discrete ones
    networks: Networks = struct.field(pytree_node=False)
    nvec: tuple[int, ...] | None = struct.field(pytree_node=False)  # of discrete actions; None for continuous ones


class BYOLExplore(Weighted):
    """Errors of a multi-step latent world model; lifelong. It has its own memory, whatever the learner's."""

    normalise: str = static("std", choices=NORMALISERS)
    prioritise: bool = static(True)  # keep only what exceeds the running mean
    mean_decay: float = number(0.9, ge=0, lt=1)  # of that mean, from rollout to rollout
    learning_rate: float = number(3e-4, gt=0)  # of the world model's Adam
    target_decay: float = number(0.99, ge=0, le=1)  # of the target encoder, from gradient step to gradient step
    horizon: int = static(8, ge=1)  # K, steps foreseen; each env step costs as many GRU steps
    num_epochs: int = static(1, ge=1)  # passes of the world model over the batch
    num_minibatches: int = static(4, ge=1)  # of whole envs
    hidden: tuple[int, ...] = static((64, 64))  # of the encoder, for flat observations (grids get a CNN)
    embedding_size: int = static(32, ge=1)
    memory_size: int = static(64, ge=1)  # of both GRUs

    def check(self, spec: Spec) -> None:
        check_minibatches(self.num_minibatches, "bonus.num_minibatches", spec, whole_envs=True)

    def init(self, key: Array, spec: Spec) -> BYOLState:
        nvec, bounds, features = dynamics.action_features(spec.action_space)
        cell = nn.GRUCell(  # flax's own recurrent initialiser is a QR: no LAPACK under vmap
            self.memory_size, kernel_init=networks.orthogonal(), recurrent_kernel_init=networks.orthogonal()
        )
        nets = Networks(
            networks.Embedding(self.embedding_size, self.hidden),
            cell,
            cell,
            networks.Embedding(self.embedding_size, self.hidden[-1:]),
        )
        carry, embedding, action = map(jnp.zeros, (self.memory_size, self.embedding_size, features))
        inputs = (spec.example_obs(),), (carry, jnp.concatenate([embedding, action])), (carry, action), (carry,)
        calls = [(network, *some) for network, some in zip(nets, inputs, strict=True)]
        params = Networks(*networks.init_all(key, *calls))
        history = History(*(jnp.zeros((spec.num_envs, len(x))) for x in (carry, action)))
        zero = jnp.zeros(())
        return BYOLState(
            params=params,
            target=params.encoder,
            opt_state=optax.adam(self.learning_rate).init(params),
            history=history,
            start=history,
            futures=jnp.zeros((spec.num_envs, self.horizon, self.memory_size)),
            age=jnp.zeros(spec.num_envs, jnp.int32),
            mean=zero,
            num_means=zero,
            total=zero,
            count=zero,
            bounds=bounds,
            networks=nets,
            nvec=nvec,
        )

    def observe(self, state: BYOLState, transition: Transition) -> tuple[BYOLState, Array]:
        """The memo is the raw bonus ``[E]``."""
        nets, params, first = state.networks, state.params, transition.first
        age = jnp.where(first, 0, state.age)
        carry = _listen(nets, params, state.history, _each(nets.encoder, params.encoder, transition.obs, 1), first)
        action = dynamics.encode_action(state, transition.action)
        futures = jnp.concatenate([carry[:, None], state.futures[:, :-1]], axis=1)
        futures = _imagine(
            nets, params, futures, jnp.broadcast_to(action[:, None], (*futures.shape[:2], action.shape[-1]))
        )
        target = _unit(_each(nets.encoder, state.target, transition.next_obs, 1))
        errors = _errors(nets, params, futures, target[:, None])
        raw = jnp.sum(errors, axis=1, where=jnp.arange(self.horizon) <= age[:, None])
        state = state.replace(
            history=History(carry, action),
            futures=futures,
            age=jnp.minimum(age + 1, self.horizon),
            total=state.total + raw.sum(),
            count=state.count + raw.size,
        )
        return state, raw

    def reward(self, state: BYOLState, transition: Transition, memo: PyTree) -> Array:
        return jnp.maximum(memo - self._mean(state), 0.0) if self.prioritise else memo

    def _mean(self, state: BYOLState) -> Array:
        """The moving average with the rollout under way, corrected for its start at 0 (as Adam's)."""
        now = state.total / jnp.maximum(state.count, 1.0)
        share = (1.0 - self.mean_decay) / (1.0 - self.mean_decay ** (state.num_means + 1.0))
        return jnp.where(state.count > 0, state.mean + share * (now - state.mean), state.mean)

    def update(self, state: BYOLState, key: Array, batch: Transition) -> tuple[BYOLState, dict[str, Array]]:
        """Learn from whole sequences of envs; then the history becomes the next rollout's start."""
        leading, optimiser = batch.reward.shape, optax.adam(self.learning_rate)
        action = dynamics.encode_action(state, minibatches.flatten(batch.action)).reshape(*leading, -1)
        rollout = devices.everywhere((batch.obs, action, batch.next_obs, batch.first))

        def minibatch_step(carry, envs):
            params, target, opt_state = carry
            start = jax.tree.map(lambda x: x[envs], state.start)
            chosen = jax.tree.map(lambda x: x[:, envs], rollout)
            loss, grads = jax.value_and_grad(self.loss)(params, target, state.networks, start, *chosen)
            updates, opt_state = optimiser.update(grads, opt_state, params)
            params: Any = optax.apply_updates(params, updates)
            target = optax.incremental_update(params.encoder, target, 1.0 - self.target_decay)
            return (params, target, opt_state), loss

        sizes = {"count": leading[1], "num_minibatches": self.num_minibatches, "num_epochs": self.num_epochs}
        carry = state.params, state.target, state.opt_state
        (params, target, opt_state), losses = minibatches.epochs(minibatch_step, carry, key, **sizes)
        zero = jnp.zeros(())
        state = state.replace(
            params=params, target=target, opt_state=opt_state, start=state.history,
            mean=self._mean(state), num_means=state.num_means + 1.0, total=zero, count=zero,
        )  # fmt: skip
        return state, {"byol_loss": losses.mean()}

    def loss(self, params, target, nets, start: History, obs, action, next_obs, first) -> Array:
        """Mean over the steps t of ``[T, E]`` of the mean of ℓ(t, k) over the k within rollout, episode and horizon."""

        def listen(history, step):
            embedding, action, first = step
            carry = _listen(nets, params, history, embedding, first)
            return History(carry, action), carry

        embeddings = _each(nets.encoder, params.encoder, obs, 2)
        _, futures = jax.lax.scan(listen, start, (embeddings, action, first))
        targets = jax.lax.stop_gradient(_unit(_each(nets.encoder, target, next_obs, 2)))

        def later(x):  # the same of one step later; nothing comes after the last
            return jnp.concatenate([x[1:], jnp.zeros_like(x[:1])])

        def foresee(carry, _):
            futures, action, targets, goes_on, valid = carry
            futures = _imagine(nets, params, futures, action)
            error = jnp.where(valid, _errors(nets, params, futures, targets), 0.0)
            goes_on = later(goes_on)
            return (futures, later(action), later(targets), goes_on, valid & goes_on), (error, valid)

        carry = futures, action, targets, ~first, jnp.ones_like(first)
        _, (errors, valid) = jax.lax.scan(foresee, carry, length=self.horizon)
        return (errors.sum(0) / valid.sum(0)).mean()


def _each(net: Any, params: PyTree, x: PyTree, num_leading: int) -> Array:
    """A network on one sample, over leading axes."""
    leading = jax.tree.leaves(x)[0].shape[:num_leading]
    return jax.vmap(net.apply, (None, 0))(params, minibatches.flatten(x, num_leading)).reshape(*leading, -1)


def _listen(nets: Networks, params: Networks, history: History, embedding: Array, first: Array) -> Array:
    """b_t of the observation's embedding ``[E, embedding_size]`` and of what came before in its episode."""
    carry, action = jax.tree.map(lambda x: jnp.where(first[:, None], 0.0, x), history)
    return nets.closed.apply(params.closed, carry, jnp.concatenate([embedding, action], axis=-1))[0]


def _imagine(nets: Networks, params: Networks, carry: Array, action: Array) -> Array:
    """One step of the open loop, any leading axes."""
    return nets.open.apply(params.open, carry, action)[0]


def _errors(nets: Networks, params: Networks, futures: Array, target: Array) -> Array:
    """ℓ of open loops ``[..., memory_size]`` and unit targets that broadcast against them: ``[...]``."""
    guess = _unit(_each(nets.predictor, params.predictor, futures, futures.ndim - 1))
    return jnp.square(guess - target).sum(-1)


def _unit(x: Array) -> Array:
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-8)
