"""Craftax and Craftax-Classic: ``craftax:Craftax-Symbolic-v1``. Terminated: dead, in lava, or the boss is beaten.

Craftax itself has one flag for the end of an episode, the limit of 10,000 steps (100,000 without Classic) included;
here the limit truncates. No masks. A reset generates a world and costs as much as hundreds of steps; the loop computes
one where an episode has ended, and no other.

What is symbolic is shown as it is built, not as Craftax flattens it: ``map``, one-hot blocks, items and creatures
around the player (``[9, 11, 83]``, of Classic ``[7, 9, 21]``), which a network can look at as a grid, and ``status``,
inventory and health (``[51]``, of Classic ``[22]``). The ids with Pixels read Craftax's textures when made, which takes
a minute the first time; so does the first picture of the others.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import numpy as np
from gymnax.environments import spaces

from purejaxrl.envs.adapters.base import NEVER, Adapter, Params, box, package
from purejaxrl.types import Array, PyTree

PIXELS = 16  # of a block in a picture


def names() -> list[str]:
    package("craftax", "craftax")
    return [f"Craftax-{kind}-v1" for kind in ("Symbolic", "Pixels", "Classic-Symbolic", "Classic-Pixels")]


def settings(name: str) -> dict[str, Any]:
    """What EnvParams holds, but the limit and what no number sets; and `static_env_params`, None for Craftax's own."""
    params = dict(vars(_inner(name).default_params))
    return {key: params[key] for key in params if key not in ("max_timesteps", "fractal_noise_angles")} | {
        "static_env_params": None
    }


def make(name: str, **kwargs: Any) -> Craftax:
    return Craftax(name, **kwargs)


def _inner(name: str) -> Any:
    return package("craftax.craftax_env", "craftax").make_craftax_env_from_name(name, auto_reset=False)


class Craftax(Adapter):
    """See the module."""

    def __init__(self, name: str, static_env_params: Any = None, **world: Any):
        inner = _inner(name)
        self.inner = inner if static_env_params is None else type(inner)(static_env_params)
        own = self.inner.default_params.replace(**world)
        super().__init__(f"craftax:{name}", own.max_timesteps)
        self.world = own.replace(max_timesteps=NEVER)
        self.actions = spaces.Discrete(self.inner.action_space(own).n)
        declared = self.inner.observation_space(own)
        self.grid = None
        if "Symbolic" not in name:
            self.shown_space = box(declared.shape, declared.dtype, declared.low, declared.high)
        else:
            self.grid = package(f"{_game(name)}.envs.craftax_symbolic_env", "craftax").get_map_obs_shape()
            status = (declared.shape[0] - math.prod(self.grid),)
            shapes = {"map": self.grid, "status": status}
            self.shown_space = spaces.Dict({key: box(shape, declared.dtype, 0, 1) for key, shape in shapes.items()})

    def begin(self, key: Array, params: Params) -> tuple[PyTree, PyTree]:
        obs, inner = self.inner.reset_env(key, self.world)
        return self._parts(obs), inner

    def advance(self, key: Array, inner: PyTree, action: Array, params: Params) -> tuple[PyTree, PyTree, Array, Array]:
        obs, inner, reward, done, _ = self.inner.step_env(key, inner, action, self.world)
        return self._parts(obs), inner, reward, done

    def _parts(self, obs: Array) -> PyTree:
        if self.grid is None:
            return obs
        cells = math.prod(self.grid)
        return {"map": obs[:cells].reshape(self.grid), "status": obs[cells:]}

    def render_frame(self, state: Any, params: Any) -> np.ndarray:
        """What the player sees, uint8 ``[144, 144, 3]`` and up."""
        return np.asarray(_painter(_game(self.name))(state.inner)).astype(np.uint8)


def _game(name: str) -> str:
    return "craftax.craftax_classic" if "Classic" in name else "craftax.craftax"


@functools.cache
def _painter(game: str) -> Any:
    return jax.jit(package(f"{game}.renderer", "craftax").make_craftax_pixel_renderer(PIXELS))
