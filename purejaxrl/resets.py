"""Where episodes start: afresh, or from episodes that were prepared beforehand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl.types import Array, PyTree, SettingError, Spec, StartFn, Transition, static


class FreshResets(struct.PyTreeNode):
    """The environment's own reset, of every env at every step: what is not needed is thrown away."""

    def init(self, key: Array, spec: Spec, start: StartFn) -> PyTree:
        return ()

    def observe(self, state: PyTree, env_state: PyTree, transition: Transition) -> PyTree:
        return state

    def reset(self, state: PyTree, key: Array, done: Array, start: StartFn) -> tuple[PyTree, PyTree, PyTree]:
        return state, *jax.vmap(start)(jax.random.split(key, len(done)))


class Pool(struct.PyTreeNode):
    """A queue in a ring: `ready` episodes from `head` on have not been played yet."""

    episodes: PyTree  # (obs, env_state), leaves [size, ...]
    head: Array  # int32 scalar
    ready: Array  # int32 scalar
    repeated: Array  # int32 scalar, how many episodes began as an earlier one had


class PooledResets(struct.PyTreeNode):
    """Episodes from a queue, filled up by a few at a time: for environments whose reset costs much.

    While the queue holds enough, every episode is a fresh one and nothing differs in distribution from the
    environment's own resets. Where more envs end than there are episodes left, some begin as an earlier one did, which
    biases training towards those levels; ``result.state.resets.repeated`` counts them. It stays 0 where `per_step` is
    at least num_envs / (mean episode length), and `size` holds as many as ever end within a few steps. Evaluation
    always plays the environment's own resets.

    A step at which the queue has no room for `per_step` more costs no reset at all, but where lanes are vmapped: there
    every step prepares them, and all but what is needed is thrown away.
    """

    per_step: int = static(0, ge=0)  # episodes prepared at once; 0: an eighth of num_envs
    size: int = static(0, ge=0)  # of the queue; 0: num_envs + per_step. At least num_envs

    def check(self, spec: Spec) -> None:
        """Raise where the queue could not even start every env."""
        if 0 < self.size < spec.num_envs:
            raise SettingError(f"resets.size must be at least num_envs = {spec.num_envs} (or 0), got {self.size}")
        if 0 < self.size < self.per_step:
            raise SettingError(f"resets.per_step must be at most resets.size, got {self.per_step}")

    def init(self, key: Array, spec: Spec, start: StartFn) -> Pool:
        size = self.size or spec.num_envs + self._per_step(spec.num_envs)
        nothing, everything = jnp.zeros((), jnp.int32), jnp.full((), size, jnp.int32)
        return Pool(jax.vmap(start)(jax.random.split(key, size)), nothing, everything, nothing)

    def observe(self, state: Pool, env_state: PyTree, transition: Transition) -> Pool:
        return state

    def reset(self, state: Pool, key: Array, done: Array, start: StartFn) -> tuple[Pool, PyTree, PyTree]:
        size, per_step = len(jax.tree.leaves(state.episodes)[0]), self._per_step(len(done))
        order = (state.head + jnp.cumsum(done) - 1) % size
        obs, env_state = jax.tree.map(lambda leaf: leaf[order], state.episodes)
        wanted = done.sum(dtype=jnp.int32)
        taken = jnp.minimum(wanted, state.ready)
        left = state.ready - taken

        has_room = size - left >= per_step
        new = jax.lax.cond(
            has_room,
            lambda: jax.vmap(start)(jax.random.split(key, per_step)),
            lambda: jax.tree.map(lambda leaf: leaf[:per_step], state.episodes),
        )
        # An index of `size` is out of range, and dropped.
        slots = jnp.where(has_room, (state.head + state.ready + jnp.arange(per_step)) % size, size)
        episodes = jax.tree.map(lambda leaf, row: leaf.at[slots].set(row, mode="drop"), state.episodes, new)
        pool = Pool(
            episodes=episodes,
            head=(state.head + taken) % size,
            ready=left + jnp.where(has_room, per_step, 0),
            repeated=state.repeated + wanted - taken,
        )
        return pool, obs, env_state

    def _per_step(self, num_envs: int) -> int:
        return self.per_step or max(num_envs // 8, 1)
