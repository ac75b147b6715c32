"""Bootstrapped DQN with randomised prior functions (Osband et al. 2018, arXiv:1806.03335): an ensemble that disagrees.

Details that matter, with their sources ("bsuite": its baseline boot_dqn):

- K networks, each with a fixed random one added to its output, which nothing ever trains: where there is no data the
  members disagree, where there is they agree (paper, section 2; bsuite's prior scale is 5 with weights that shrink with
  the observation's size; here `prior_scale` is the prior's own standard deviation, on what the replay holds as learning
  starts);
- one member acts for a whole episode, each env by itself: what is unknown is tried to its end (paper; bsuite);
- each member has its own target network and learns towards its own maximum, so that its doubts travel back (paper);
- `bootstrap`: each step is learnt from by half of the members, by coins that it keeps (Osband et al. 2016,
  arXiv:1602.04621); off in bsuite, where different starts and priors suffice. `noise_scale` adds coins of that size to
  each member's reward, for rewards that are noisy themselves (paper, algorithm 1);
- equal values are chosen among at random; no ε;
- the target network is the one from before the update: it follows every `num_gradient_steps` steps (bsuite: 4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from purejaxrl import ensembles, exploration, networks, offpolicy, replay, types
from purejaxrl.types import Array, PyTree, Spec, Transition, number, static


class BootDQNState(struct.PyTreeNode):
    params: PyTree  # leaves [num_members, ...]
    prior: PyTree  # likewise; never changes
    prior_gain: Array  # makes the prior's standard deviation 1
    seed: Array  # uint32, of the steps' coins
    opt_state: PyTree
    replay: replay.Replay
    updates: Array  # int32 scalar, updates done
    start_updates: int = struct.field(pytree_node=False)  # that it takes until learning starts
    network: Any = struct.field(pytree_node=False)


class BootDQN(struct.PyTreeNode):
    """Bootstrapped DQN with priors, for discrete actions."""

    learning_rate: float = number(1e-3, gt=0)  # Adam's step size
    gamma: float = number(0.99, ge=0, le=1)  # discount
    prior_scale: float = number(3.0, ge=0)  # standard deviation of the prior's values, in units of the return
    noise_scale: float = number(0.0, ge=0)  # size of the coins added to each member's rewards
    max_grad_norm: float = number(10.0, gt=0)  # gradients are clipped to this global norm
    num_members: int = static(10, ge=1)  # K
    bootstrap: bool = static(False)  # each step is learnt from by half of the members
    num_steps: int = static(4, ge=1)  # steps per env between updates
    num_gradient_steps: int = static(4, ge=1)  # per update; then the target network follows
    batch_size: int = static(128, ge=1)  # steps sampled for each gradient step
    buffer_size: int = static(1_000_000, ge=1)  # observations held, over all envs; a final one takes a place, too
    learning_starts: int = static(128, ge=0)  # env steps, over all envs, before the first gradient step
    n_step: int = static(1, ge=1)  # rewards before bootstrapping
    hidden: tuple[int, ...] = static((64, 64))  # layers for flat observations (grids get a CNN)

    def check(self, spec: Spec) -> None:
        """Raise where the settings do not fit the environment or each other."""
        types.check_action_space(spec, "BootDQN", n="Discrete")
        replay.check(self, spec, self.n_step)

    def init(self, key: Array, spec: Spec) -> BootDQNState:
        network = networks.QNetwork(int(spec.action_space.n), hidden=self.hidden)
        keys = jax.random.split(key, 4)
        params, prior, gain = ensembles.init(network, keys[:3], self.num_members, spec)
        size = replay.useful_size(self.buffer_size, spec)
        return BootDQNState(
            params=params,
            prior=prior,
            prior_gain=gain,
            seed=jax.random.bits(keys[3], dtype=jnp.uint32),
            opt_state=self.optimiser().init(params),
            replay=replay.init(spec.transition, spec.num_envs, size),
            updates=jnp.zeros((), jnp.int32),
            start_updates=replay.start_updates(self.learning_starts, spec),
            network=network,
        )

    def init_actor(self, key: Array, spec: Spec) -> Array:
        return jax.random.randint(key, (spec.num_envs,), 0, self.num_members)

    def act(self, state, actor, key, obs, first, mask, *, greedy=False):
        values = self._values(state, state.params, state.prior, obs)
        return *ensembles.act(key, values, actor, first, mask, greedy=greedy), None

    def update(self, state: BootDQNState, key: Array, batch: Transition, actor0: PyTree, reward_fn: Callable):
        del actor0
        return offpolicy.update(self, state, key, batch, reward_fn, self._loss)

    def _loss(self, state: Any, params: PyTree, fixed: tuple[PyTree, PyTree], key: Array, sample: offpolicy.Sample):
        """The mean loss over the samples and members; `fixed`: the target networks, the priors."""
        del key
        target_params, prior = fixed
        next_q = exploration.masked(self._values(state, target_params, prior, sample.last), sample.last_mask)
        coins = replay.coins(state.seed, sample.place, 2 * self.num_members)
        noises, masks = self.noise_scale * coins[:, : self.num_members].T, coins[:, self.num_members :].T > 0
        target = jax.lax.stop_gradient(sample.reward + noises + sample.discount * next_q.max(-1))
        values = self._values(state, params, prior, sample.obs)
        q = exploration.taken(values, jnp.broadcast_to(sample.action, values.shape[:2]))
        weight = sample.weight * (masks if self.bootstrap else 1.0) * jnp.ones_like(q)
        loss = jnp.sum(weight * jnp.square(q - target)) / jnp.maximum(weight.sum(), 1.0)
        return loss, {"q_loss": loss, "q_mean": q.mean(), "q_spread": q.std(0).mean()}

    def _values(self, state: Any, params: PyTree, prior: PyTree, obs: PyTree) -> Array:
        """Learned part and prior of ``obs [B, ...]``: ``[num_members, B, num_actions]``."""
        fixed = ensembles.prior_values(state.network, prior, obs)
        return ensembles.values(state.network, params, obs) + self.prior_scale * state.prior_gain * fixed

    prior_gain = staticmethod(ensembles.gain)

    def optimiser(self) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(self.max_grad_norm), optax.adam(self.learning_rate))
