"""XLand-MiniGrid: ``xminigrid:MiniGrid-DoorKey-8x8``, ``xminigrid:XLand-MiniGrid-R1-9x9``. No masks.

Terminated: the goal is reached. Its own TimeStep says LAST for both ends and tells them apart by the discount; its gym
wrapper resets at once and loses the last observation. The reward is 1 − 0.9 t / limit, and the limit is
`max_steps_in_episode`. Walls are transparent, unlike MiniGrid's, and there is no MultiRoom, KeyCorridor or
ObstructedMaze: ``MiniGrid-...`` without a prefix has them. XLand's tasks come from a benchmark that is downloaded; pass
one as `ruleset`, else there is no goal.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from gymnax.environments import spaces

from purejaxrl.envs import maps
from purejaxrl.envs.adapters.base import Adapter, Params, box, package
from purejaxrl.types import Array, PyTree


def names() -> list[str]:
    return list(package("xminigrid", "xminigrid").registered_environments())


def settings(name: str) -> dict[str, Any]:
    params = package("xminigrid", "xminigrid").make(name)[1]
    found = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    return {key: found[key] for key in found if key not in ("max_steps", "render_mode")}


def make(name: str, **kwargs: Any) -> XMiniGrid:
    return XMiniGrid(f"xminigrid:{name}", *package("xminigrid", "xminigrid").make(name, **kwargs))


class XMiniGrid(Adapter):
    """See the module. The observation is the view, uint8 ``[view_size, view_size, 2]``: tile and colour."""

    def __init__(self, env_id: str, inner: Any, world: Any):
        super().__init__(env_id, world.max_steps)
        self.inner, self.world = inner, world
        self.actions = spaces.Discrete(inner.num_actions(world))
        self.shown_space = box(inner.observation_shape(world), np.uint8, 0, 12)

    def begin(self, key: Array, params: Params) -> tuple[PyTree, PyTree]:
        inner = self.inner.reset(self._limited(params), key)
        return inner.observation, inner

    def advance(self, key: Array, inner: PyTree, action: Array, params: Params) -> tuple[PyTree, PyTree, Array, Array]:
        inner = self.inner.step(self._limited(params), inner, action)
        return inner.observation, inner, inner.reward, inner.discount == 0

    def _limited(self, params: Params) -> Any:
        """Its parameters with this limit, which may be traced: the reward depends on it."""
        return self.world.replace(max_steps=params.max_steps_in_episode)

    def cells(self) -> maps.Cells:
        """Where the agent stands."""

        def position(state: Any) -> tuple[Array, Array]:
            row, column = state.inner.state.agent.position
            return row, column

        return maps.grid(np.ones((self.world.height, self.world.width), bool), position)

    def render_frame(self, state: Any, params: Any) -> np.ndarray:
        """The whole grid, what the agent sees lighter."""
        draw = package("xminigrid.rendering.rgb_render", "xminigrid").render
        world = state.inner.state
        return draw(np.asarray(world.grid), world.agent, self.world.view_size)
