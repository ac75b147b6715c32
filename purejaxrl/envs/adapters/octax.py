"""octax, CHIP-8 games on an emulator: ``octax:brix``. Terminated: the game's own end. No masks.

The last action is to press nothing. Observations are the last `frame_skip` screens, bool ``[64, 32, frame_skip]``,
octax's own with the frames last, as convolutions want them. octax flags both ends itself; its gymnax wrapper joins
them. Every episode begins alike; what is random comes from the steps' keys. Levels are part of the name:
``octax:cavern2``. octax imports OpenCV without saying so, the extra installs it; octax 0.1.1 also installs a
top-level folder ``roms``.
"""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces

from purejaxrl.envs.adapters.base import NEVER, Adapter, Params, box, package
from purejaxrl.types import Array, PyTree

LIMIT = 4500  # octax's


def names() -> list[str]:
    """Games, and after them levels of those that have some; a game's name alone is its first level."""
    games = package("octax.environments", "octax")
    found = sorted(module.name for module in pkgutil.iter_modules(games.__path__))
    roms = Path(games.__file__).parents[2] / "roms"
    levels = sorted(rom.stem for rom in roms.glob("*.ch8") if rom.stem.rstrip("0123456789") in found)
    return found + [level for level in levels if level not in found]


def settings(name: str) -> dict[str, Any]:
    return {"instruction_frequency": 700, "fps": 60, "frame_skip": 4}


def make(name: str, **kwargs: Any) -> Octax:
    create = package("octax.environments", "octax").create_environment
    inner, _ = create(name, max_num_steps_per_episodes=NEVER, render_mode="rgb_array", **kwargs)
    return Octax(f"octax:{name}", inner)


class Octax(Adapter):
    """See the module."""

    def __init__(self, env_id: str, inner: Any):
        super().__init__(env_id, LIMIT)
        self.inner = inner
        self.actions = spaces.Discrete(inner.num_actions)
        self.shown_space = box((64, 32, inner.frame_skip), bool)

    def begin(self, key: Array, params: Params) -> tuple[PyTree, PyTree]:
        inner, obs, _ = self.inner.reset(key)
        return jnp.moveaxis(obs, 0, -1), inner

    def advance(self, key: Array, inner: PyTree, action: Array, params: Params) -> tuple[PyTree, PyTree, Array, Array]:
        inner, obs, reward, terminated, _, _ = self.inner.step(inner.replace(rng=key), action)
        return jnp.moveaxis(obs, 0, -1), inner, reward, terminated

    def render_frame(self, state: Any, params: Any) -> np.ndarray:
        return self.inner.render(state.inner)
