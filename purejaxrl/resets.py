"""Where episodes start, and how only those envs that need it pay for a reset."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl.types import Array, PyTree, Spec, StartFn, Transition, static


class FreshResets(struct.PyTreeNode):
    """The environment's own resets, of the envs that need one: a few at a time, until all of them have it.

    A reset of all envs at each step, of which most are thrown away, is what makes MiniGrid's or Craftax's resets dear.
    Here a step without an end costs none, and nothing is shared or repeated. How many at a time changes the speed and
    not the result; a sixteenth of num_envs was the fastest on most environments, never far behind on the others.
    """

    at_once: int = static(0, ge=0)  # 0: a sixteenth of num_envs

    def init(self, key: Array, spec: Spec, start: StartFn) -> PyTree:
        return ()

    def observe(self, state: PyTree, env_state: PyTree, transition: Transition) -> PyTree:
        return state

    def reset(
        self, state: PyTree, key: Array, done: Array, start: StartFn, current: tuple[PyTree, PyTree]
    ) -> tuple[PyTree, tuple[PyTree, PyTree]]:
        at_once = min(self.at_once or max(len(done) // 16, 1), len(done))
        needed = jnp.cumsum(done)  # up to each env

        def some(carry):
            first, current = carry
            envs = jnp.searchsorted(needed, first + 1 + jnp.arange(at_once))  # num_envs, dropped, beyond the last
            fresh = jax.vmap(lambda env: start(jax.random.fold_in(key, env)))(envs)
            put = lambda old, new: old.at[envs].set(new, mode="drop")  # noqa: E731
            return first + at_once, jax.tree.map(put, current, fresh)

        first = jnp.zeros((), needed.dtype)
        return state, jax.lax.while_loop(lambda carry: carry[0] < needed[-1], some, (first, current))[1]
