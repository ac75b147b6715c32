"""Where episodes start, and how only those envs that need one pay for a reset."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl import devices
from purejaxrl.types import Array, PyTree, Spec, StartFn, Transition, static


class FreshResets(struct.PyTreeNode):
    """The environment's own resets, of the envs that need one: a few at a time, until all of them have it.

    A reset of all envs at each step, of which most are thrown away, is what makes MiniGrid's or Craftax's resets dear.
    Here a step without an end costs none, and nothing is shared or repeated. How many at a time changes the speed and
    not the result: on CPUs a sixteenth of num_envs was the fastest on most environments and never far behind on the
    others. On an accelerator all are reset at each step and those that are wanted kept: there the host has to wait for
    each turn of a loop of unknown length, which took three quarters of a rollout's time on CartPole (H200).
    """

    at_once: int = static(0, ge=0)  # 0: a sixteenth of num_envs on CPUs, num_envs on accelerators

    def init(self, key: Array, spec: Spec, start: StartFn) -> PyTree:
        return ()

    def observe(self, state: PyTree, env_state: PyTree, transition: Transition) -> PyTree:
        return state

    def reset(
        self, state: PyTree, key: Array, done: Array, start: StartFn, current: tuple[PyTree, PyTree]
    ) -> tuple[PyTree, tuple[PyTree, PyTree]]:
        numbers = jnp.arange(len(done))
        return state, devices.locally(functools.partial(self._reset, start), key, numbers, done, current)

    def _reset(
        self, start: StartFn, key: Array, numbers: Array, done: Array, current: tuple[PyTree, PyTree]
    ) -> tuple[PyTree, PyTree]:
        """Of envs with these consecutive numbers; an env's episode depends on the key and its number alone."""
        num_envs, on_cpu = len(done), jax.default_backend() == "cpu"
        at_once = min(self.at_once or (max(num_envs // 16, 1) if on_cpu else num_envs), num_envs)
        fresh = jax.vmap(lambda number: start(jax.random.fold_in(key, number)))
        if at_once == num_envs and not (on_cpu and num_envs == 1):
            keep = jax.vmap(lambda done, new, old: jax.tree.map(lambda *both: jnp.where(done, *both), new, old))
            return keep(done, fresh(numbers), current)

        count = jnp.cumsum(done)  # up to each env
        where = jnp.where(done, count - 1, num_envs + at_once)  # past the end, or its place
        # The envs that need one, in order; beyond the last of them num_envs, where nothing is put.
        needing = jnp.full(num_envs + at_once, num_envs).at[where].set(jnp.arange(num_envs), mode="drop")
        # XLA for GPUs refuses a loop whose end it can work out while it compiles, as where all envs start.
        needing, last = jax.lax.optimization_barrier((needing, count[-1]))

        def some(carry):
            first, current = carry
            envs = jax.lax.dynamic_slice_in_dim(needing, first, at_once)
            put = lambda old, new: old.at[envs].set(new, mode="drop")  # noqa: E731
            return first + at_once, jax.tree.map(put, current, fresh(numbers[0] + envs))

        return jax.lax.while_loop(lambda carry: carry[0] < last, some, (jnp.zeros_like(last), current))[1]
