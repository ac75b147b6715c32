"""CartPole without its velocities: the smallest classic task that needs memory."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from gymnax.environments import spaces
from gymnax.environments.classic_control import cartpole

from purejaxrl.envs.spaces import clipped
from purejaxrl.types import Array


class PositionOnlyCartPole(cartpole.CartPole):
    """gymnax's CartPole-v1, observed by position and angle alone, float32 ``[2]``, on the scale that gymnax gives them.

    After POPGym's PositionOnlyCartPole (Morad et al. 2023). Without velocities a memoryless policy cannot balance the
    pole for long; a recurrent one, or one that sees several frames, can.
    """

    def __init__(self):
        super().__init__()
        self.obs_shape = (2,)

    @property
    def name(self) -> str:
        return "PositionOnlyCartPole-v1"

    def step_env(self, key: Any, state: Any, action: Any, params: Any) -> tuple:
        return super().step_env(key, state, clipped(self.action_space(params), action), params)

    def get_obs(self, state: cartpole.EnvState, params: Any = None, key: Array | None = None) -> Array:
        del params, key
        return jnp.array([state.x, state.theta])

    def observation_space(self, params: cartpole.EnvParams) -> spaces.Box:
        # Twice the thresholds that end an episode, so that its last observation lies within.
        high = 2 * jnp.array([params.x_threshold, params.theta_threshold_radians])
        return spaces.Box(-high, high, (2,), dtype=jnp.float32)
