"""Classic control with rewards that only success brings, and one where a lesser success is nearer."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment
from gymnax.environments.classic_control import mountain_car, pendulum
from gymnax.environments.classic_control.acrobot import Acrobot
from gymnax.environments.classic_control.continuous_mountain_car import ContinuousMountainCar

from purejaxrl.envs import scenes
from purejaxrl.envs.spaces import clipped
from purejaxrl.types import Array


class OnlySuccessPays(environment.Environment):
    """Before a gymnax environment that terminates at its goal: 1 for reaching it and nothing before.

    As in Houthooft et al. 2016 (arXiv:1605.09674): without a cost of every step, or of every action, nothing tells one
    failure from another. A discrete action outside the space is clipped to it, where gymnax pushes the harder.
    """

    hard_exploration = "only the goal pays"

    @property
    def name(self) -> str:
        return f"{type(self).__name__}-v0"

    def step_env(self, key: Any, state: Any, action: Any, params: Any) -> tuple:
        action = clipped(self.action_space(params), action)
        obs, state, _, terminated, info = super().step_env(key, state, action, params)
        return obs, state, jnp.asarray(terminated, jnp.float32), terminated, info


class SparseMountainCar(OnlySuccessPays, mountain_car.MountainCar):
    """Gymnasium's MountainCar, with 1 for reaching the flag and nothing before it."""


class SparseMountainCarContinuous(OnlySuccessPays, ContinuousMountainCar):
    """Gymnasium's MountainCarContinuous, with 1 for reaching the flag; pushing costs nothing.

    The car stops at the wall on the left, as gymnasium's does; gymnax's keeps its velocity there.
    """

    def step_env(self, key: Any, state: Any, action: Any, params: Any) -> tuple:
        _, state, *rest = super().step_env(key, state, action, params)
        at_wall = state.position <= params.min_position
        state = state.replace(velocity=jnp.where(at_wall, jnp.maximum(state.velocity, 0.0), state.velocity))
        return self.get_obs(state), state, *rest


class SparseAcrobot(OnlySuccessPays, Acrobot):
    """Gymnasium's Acrobot, with 1 for lifting the free end above the bar's height and nothing before it."""


@struct.dataclass
class SparsePendulumParams(pendulum.EnvParams):
    cos_threshold: float = 0.95
    velocity_threshold: float = 0.5
    init_range: float = 0.05


class SparsePendulum(pendulum.Pendulum):
    """Gymnasium's Pendulum that hangs at first, with 1 for every step at whose end it stands nearly still upright.

    Upright: cos θ > .95 and the speed < .5, the bounds of the swing-up in Curi et al. 2020 (arXiv:2006.08684), here
    sharp ones and without their cost of actions. The start is within ±.05 of hanging still. 200 steps truncate.
    """

    hard_exploration = "only standing still upright pays"

    @property
    def name(self) -> str:
        return "SparsePendulum-v0"

    @property
    def default_params(self) -> Any:
        return SparsePendulumParams()

    def reset_env(self, key: Any, params: Any) -> tuple:
        theta, theta_dot = params.init_range * jax.random.uniform(key, (2,), minval=-1.0)
        state = pendulum.EnvState(theta=jnp.pi + theta, theta_dot=theta_dot, last_u=jnp.array(0.0), time=0)
        return self.get_obs(state), state

    def step_env(self, key: Any, state: Any, action: Any, params: Any) -> tuple:
        obs, state, _, terminated, info = super().step_env(key, state, action, params)
        upright = (jnp.cos(state.theta) > params.cos_threshold) & (jnp.abs(state.theta_dot) < params.velocity_threshold)
        return obs, state, jnp.where(upright, 1.0, 0.0), terminated, info


@struct.dataclass
class DeceptiveMountainCarParams(mountain_car.EnvParams):
    trap_position: float = -0.9
    trap_reward: float = 0.1


class DeceptiveMountainCar(SparseMountainCar):
    """SparseMountainCar with a trap on the lower hill: reaching it pays .1 and ends the episode; the flag still pays 1.

    Half the swing that the flag asks for gets into the trap, and the way to the flag passes near it: what follows the
    reward it has found ends there every time. A *deceptive* reward in the sense of Conti et al. 2018
    (arXiv:1712.06560); this task is our own.
    """

    hard_exploration = "a lesser reward is nearer than the goal's"

    @property
    def default_params(self) -> Any:
        return DeceptiveMountainCarParams()

    def step_env(self, key: Any, state: Any, action: Any, params: Any) -> tuple:
        obs, state, _, terminated, info = super().step_env(key, state, action, params)
        reward = jnp.where(self._trapped(state, params), params.trap_reward, jnp.asarray(terminated, jnp.float32))
        return obs, state, reward, terminated, info

    def is_terminated(self, state: Any, params: Any) -> Array:
        return super().is_terminated(state, params) | self._trapped(state, params)

    def render_frame(self, state: Any, params: Any) -> np.ndarray:
        return scenes.mountain_car(state, params, trap=float(params.trap_position))

    def _trapped(self, state: Any, params: Any) -> Array:
        return state.position <= params.trap_position
