"""Brax's continuous control: ``brax:ant``. Terminated: unhealthy, where the task knows that. No masks.

Brax's own wrappers truncate, reset every env to the same first state for ever, lose the last observation, and fail
with typed keys; none of them is used here. So every episode begins anew, and `max_steps_in_episode`, 1,000 as in
Brax, truncates. The physics are the spring backend unless `backend` says otherwise: the generalized one, Brax's own
default, and mjx call LAPACK, which can wait for ever on the CPU where it is batched. Brax's pictures need a display, so
there are none.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from purejaxrl.envs.adapters.base import Adapter, Params, arguments, box, package, shown
from purejaxrl.types import Array, PyTree

LIMIT = 1000  # brax.envs.create's


def names() -> list[str]:
    return list(package("brax.envs", "brax")._envs)


def settings(name: str) -> dict[str, Any]:
    return arguments(package("brax.envs", "brax")._envs[name].__init__) | {"backend": "spring"}


def make(name: str, *, backend: str = "spring", **kwargs: Any) -> Brax:
    return Brax(f"brax:{name}", package("brax.envs", "brax").get_environment(name, backend=backend, **kwargs))


class Brax(Adapter):
    """See the module."""

    def __init__(self, env_id: str, inner: Any):
        super().__init__(env_id, LIMIT)
        self.inner = inner
        self.actions = box((inner.action_size,), np.float32, -1.0, 1.0)
        self.shown_space = shown(self)

    def begin(self, key: Array, params: Params) -> tuple[PyTree, PyTree]:
        inner = self.inner.reset(key)
        return inner.obs, inner

    def advance(self, key: Array, inner: PyTree, action: Array, params: Params) -> tuple[PyTree, PyTree, Array, Array]:
        copied = jax.tree.map(lambda leaf: leaf, inner)  # Brax writes into the dictionary of the state it is given
        inner = self.inner.step(copied, action)
        return inner.obs, inner, inner.reward, inner.done > 0
