"""MountainCar with a reward that only success brings."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from gymnax.environments.classic_control.mountain_car import MountainCar


class SparseMountainCar(MountainCar):
    """Gymnasium's MountainCar, with 1 for reaching the flag and nothing before it.

    As in Houthooft et al. 2016 (arXiv:1605.09674): without the -1 of every step nothing tells one failure from another.
    """

    @property
    def name(self) -> str:
        return "SparseMountainCar-v0"

    def step_env(self, key: Any, state: Any, action: Any, params: Any) -> tuple:
        obs, state, _, terminated, info = super().step_env(key, state, action, params)
        return obs, state, jnp.asarray(terminated, jnp.float32), terminated, info
