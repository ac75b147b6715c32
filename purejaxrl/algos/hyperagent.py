"""HyperAgent (Li et al. 2024, arXiv:2402.10228): deep exploration by a linear hypermodel of action values.

One network gives a whole distribution of value functions, q(s, a, ξ) = μ(s, a) + w(s, a)ᵀξ for an index ξ on the unit
sphere. Each episode acts greedily on one draw of it, so that what is unknown is tried to its end; a draw costs a dot
product, where an ensemble costs a network. Details that matter, with their sources ("code": the authors' HyperAgent):

- a fixed prior of the same form with a network of its own is added to the learned part, and no gradient reaches it
  (code); `prior_scale` is its standard deviation over ξ, on what the replay holds as learning starts (*deviates*: the
  code's falls with the number of observations);
- every sample has target indices of its own, independent of the ones it learns for (code): steps into the unknown are
  then worth the expected maximum of what may be there, and that optimism travels back like a value. `num_targets`
  indices are averaged; the code has one;
- the loss is the mean over all indices, in closed form (*deviates*: the code draws 20): E_ξ (μ + wᵀξ - y)² =
  (μ - y)² + |w|² / d, since E ξξᵀ = I / d. With `noise_scale` σ each step keeps a direction z, and the target is
  y + σ zᵀξ: w then shrinks no further than the data allow (paper, eq. 4);
- `target_index="same"` is HyperDQN (Li et al. 2022, ICLR): each index learns from its own values, y(ξ), at the indices
  that were drawn, for which there is no closed form;
- double Q-learning per target index; equal values are chosen among at random; the target network is the one from before
  the update, that is, of every `num_gradient_steps` gradient steps (code: 4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from purejaxrl import ensembles, exploration, networks, offpolicy, replay, types
from purejaxrl.types import Array, PyTree, Spec, Transition, number, static


class Hypermodel(nn.Module):
    """``[num_actions, 1 + index_size]`` of one observation: the mean μ, then w, for each action."""

    num_actions: int
    index_size: int
    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, obs: Any) -> Array:
        return networks.hypermodel(obs, self.num_actions, self.index_size, self.hidden)


class HyperAgentState(struct.PyTreeNode):
    params: PyTree
    prior: PyTree  # never changes
    prior_gain: Array  # makes the prior's spread 1
    noise_seed: Array  # uint32, of the directions z
    opt_state: PyTree
    replay: replay.Replay
    updates: Array  # int32 scalar, updates done
    start_updates: int = struct.field(pytree_node=False)  # that it takes until learning starts
    network: Any = struct.field(pytree_node=False)


class HyperAgent(struct.PyTreeNode):
    """Hypermodel Q-learning for discrete actions; the defaults solve DeepSea."""

    learning_rate: float = number(5e-4, gt=0)  # Adam's step size
    gamma: float = number(0.99, ge=0, le=1)  # discount
    prior_scale: float = number(3.0, ge=0)  # spread of the prior's values over the index, in units of the return
    noise_scale: float = number(0.0, ge=0)  # σ of the perturbed targets, for noisy rewards
    max_grad_norm: float = number(10.0, gt=0)  # gradients are clipped to this global norm
    index_size: int = static(4, ge=1)  # d, dimensions of the index
    num_targets: int = static(4, ge=1)  # target indices of each sample
    target_index: str = static("independent", choices=("independent", "same"))  # of the one that learns; HyperDQN: same
    num_steps: int = static(4, ge=1)  # steps per env between updates
    num_gradient_steps: int = static(4, ge=1)  # per update; then the target network follows
    batch_size: int = static(128, ge=1)  # steps sampled for each gradient step
    buffer_size: int = static(1_000_000, ge=1)  # observations held, over all envs; a final one takes a place, too
    learning_starts: int = static(128, ge=0)  # env steps, over all envs, before the first gradient step
    n_step: int = static(1, ge=1)  # rewards before bootstrapping
    hidden: tuple[int, ...] = static((64, 64))  # layers for flat observations (grids get a CNN)

    def check(self, spec: Spec) -> None:
        """Raise where the settings do not fit the environment or each other."""
        types.check_action_space(spec, "HyperAgent", n="Discrete")
        replay.check(self, spec, self.n_step)

    def init(self, key: Array, spec: Spec) -> HyperAgentState:
        network = Hypermodel(int(spec.action_space.n), self.index_size, self.hidden)
        params_key, prior_key, example_key, noise_key = jax.random.split(key, 4)
        params = networks.init(network, params_key, spec.example_obs())
        prior = networks.init(network, prior_key, spec.example_obs())
        some = networks.random_inputs(example_key, spec.example_obs(), 64)
        size = replay.useful_size(self.buffer_size, spec)
        return HyperAgentState(
            params=params,
            prior=prior,
            prior_gain=self.prior_gain(network, prior, some),
            noise_seed=jax.random.bits(noise_key, dtype=jnp.uint32),
            opt_state=self.optimiser().init(params),
            replay=replay.init(spec.transition, spec.num_envs, size),
            updates=jnp.zeros((), jnp.int32),
            start_updates=replay.start_updates(self.learning_starts, spec),
            network=network,
        )

    def init_actor(self, key: Array, spec: Spec) -> Array:
        return self._indices(key, (spec.num_envs,))

    def act(self, state, actor, key, obs, first, mask, *, greedy=False):
        index_key, choice_key = jax.random.split(key)
        actor = jnp.where(first[:, None], self._indices(index_key, first.shape), actor)
        values = self._values(state, state.params, state.prior, obs)
        q = values[..., 0] if greedy else _at(values, actor)
        return actor, exploration.greedy(choice_key, q, mask), None

    def update(self, state: HyperAgentState, key: Array, batch: Transition, actor0: PyTree, reward_fn: Callable):
        del actor0
        return offpolicy.update(self, state, key, batch, reward_fn, self._loss)

    def _loss(self, state: Any, params: PyTree, fixed: tuple[PyTree, PyTree], key: Array, sample: offpolicy.Sample):
        """The mean loss over the samples and all indices; `fixed`: the target network, the prior."""
        target_params, prior = fixed
        index_key, choice_key = jax.random.split(key)
        index = self._indices(index_key, (self.num_targets, len(sample.place)))
        online, target = (_at(self._values(state, x, prior, sample.last), index) for x in (params, target_params))
        choice = exploration.greedy(choice_key, online, sample.last_mask)
        target = jax.lax.stop_gradient(sample.reward + sample.discount * exploration.taken(target, choice))
        value = exploration.taken(self._values(state, params, prior, sample.obs), sample.action)
        noise = self.noise_scale * replay.coins(state.noise_seed, sample.place, self.index_size)
        doubt = value[:, 1:] - noise
        if self.target_index == "same":
            loss = jnp.square(value[:, 0] + (index * doubt).sum(-1) - target).mean(0)
        else:
            loss = jnp.square(value[:, 0] - target.mean(0)) + jnp.square(doubt).sum(-1) / self.index_size
        loss = jnp.sum(sample.weight * loss) / jnp.maximum(sample.weight.sum(), 1.0)
        spread = jnp.sqrt(jnp.square(value[:, 1:]).sum(-1) / self.index_size).mean()
        return loss, {"q_loss": loss, "q_mean": value[:, 0].mean(), "q_spread": spread}

    def _values(self, state: Any, params: PyTree, prior: PyTree, obs: PyTree) -> Array:
        """Learned part and prior of ``obs [B, ...]``: ``[B, num_actions, 1 + index_size]``."""
        learned, prior = (jax.vmap(lambda obs, x=x: state.network.apply(x, obs))(obs) for x in (params, prior))
        # A prior mean would be no doubt but a prejudice, which nothing that was not seen can correct.
        return learned + self.prior_scale * state.prior_gain * prior.at[..., 0].set(0.0)

    def prior_gain(self, network: Any, prior: PyTree, obs: PyTree) -> Array:
        """What makes the prior's spread over the index 1 on ``obs [B, ...]``."""
        values: Any = jax.vmap(lambda obs: network.apply(prior, obs))(obs)
        return ensembles.inverse(jnp.sqrt(jnp.square(values[..., 1:]).sum(-1).mean() / self.index_size))

    def _indices(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Uniform on the sphere of radius 1, ``[*shape, index_size]``."""
        index = jax.random.normal(key, (*shape, self.index_size))
        return index / jnp.linalg.norm(index, axis=-1, keepdims=True)

    def optimiser(self) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(self.max_grad_norm), optax.adam(self.learning_rate))


def _at(values: Array, index: Array) -> Array:
    """Action values at indices ``[..., index_size]``: of ``values [B, num_actions, 1 + index_size]``."""
    return values[..., 0] + jnp.einsum("bad,...bd->...ba", values[..., 1:], index)
