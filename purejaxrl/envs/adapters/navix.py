"""navix, MiniGrid in JAX: ``navix:Navix-DoorKey-8x8-v0``. Terminated: as the task says. No masks.

navix resets in the step after the last, and ignores that step's action; here it never gets there. Its levels and
rules are not MiniGrid's to the letter: by default the whole grid is seen (`observation_fn` chooses another view, a
function of ``navix.observations``), the reward does not fall with time, and version 0.7, the last for Python 3.11,
makes every task with 100 steps (4.0, from Python 3.12 on, with 4 x height x width) and lacks MultiRoom, ObstructedMaze,
Memory and others. ``MiniGrid-...`` without a prefix has MiniGrid's own. Observations leave the space that navix
declares, so the space here is what their dtype allows.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from gymnax.environments import spaces

from purejaxrl.envs import maps
from purejaxrl.envs.adapters.base import Adapter, Params, package, shown
from purejaxrl.types import Array, PyTree

BOUND = ("height", "width", "max_steps", "observation_space", "action_space", "reward_space", "random_start")


def names() -> list[str]:
    return sorted(package("navix", "navix").registry())


def settings(name: str) -> dict[str, Any]:
    """What every task takes; the rest is bound by its name."""
    env = package("navix", "navix").make(name)
    common = dataclasses.fields(package("navix.environments", "navix").Environment)
    return {field.name: getattr(env, field.name) for field in common if field.name not in BOUND}


def make(name: str, **kwargs: Any) -> Navix:
    return Navix(f"navix:{name}", package("navix", "navix").make(name, **kwargs))


class Navix(Adapter):
    """See the module. `state.inner` is navix's timestep."""

    def __init__(self, env_id: str, inner: Any):
        super().__init__(env_id, inner.max_steps)
        self.inner = inner
        self.transition, _, self.termination = range(3)  # navix's step types
        self.actions = spaces.Discrete(len(inner.action_set))
        self.shown_space = shown(self)

    def begin(self, key: Array, params: Params) -> tuple[PyTree, PyTree]:
        inner = self.inner.reset(key)
        return inner.observation, inner

    def advance(self, key: Array, inner: PyTree, action: Array, params: Params) -> tuple[PyTree, PyTree, Array, Array]:
        # The key of the step, so that one start can be played in more than one way. A step type that is no traced
        # value spares vmap the reset that navix would select from.
        inner = inner.replace(state=inner.state.replace(key=key), step_type=np.int32(self.transition))
        inner = self.inner.replace(max_steps=params.max_steps_in_episode).step(inner, action)
        return inner.observation, inner, inner.reward, inner.step_type == self.termination

    def cells(self) -> maps.Cells:
        """Where the agent stands."""

        def position(state: Any) -> tuple[Array, Array]:
            row, column = state.inner.state.get_player().position
            return row, column

        return maps.grid(np.ones((self.inner.height, self.inner.width), bool), position)

    def render_frame(self, state: Any, params: Any) -> np.ndarray:
        """The whole grid."""
        return np.asarray(package("navix.observations", "navix").rgb(state.inner.state))
