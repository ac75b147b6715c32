"""bsuite's two exploration tasks, step for step: DeepSea with its own action mapping, and the cart-pole swing-up.

Osband et al. 2020, "Behaviour Suite for Reinforcement Learning" (arXiv:1908.03568). How bsuite judges a run of them is
in :mod:`purejaxrl.bench.bsuite`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces

from purejaxrl.envs import maps, scenes
from purejaxrl.envs.spaces import clipped
from purejaxrl.types import Array, check_int

LEVELS = 20  # of the swing-up


@struct.dataclass
class DeepSeaState:
    row: Array  # int32, the steps taken in this episode
    column: Array  # int32
    bad: Array  # bool, whether the episode went left off the diagonal, away from the treasure


@struct.dataclass
class DeepSeaParams:
    unscaled_move_cost: float = 0.01  # of N moves right together
    max_steps_in_episode: int = 8  # a lower one than N truncates; N steps end the episode whatever it is


class BsuiteDeepSea(environment.Environment):
    """bsuite's DeepSea of size N, with the action mapping that `mapping_seed` gives there (42 in its sweep).

    N rows of N cells, from the top left one row down at each step. One of the two actions, another one in each cell,
    goes right at a cost of .01/N, the other left; right in the last cell of the last row pays 1, so that the best
    return is .99. N steps terminate the episode; nothing truncates it. With ``deterministic=False`` it is bsuite's
    deep_sea_stochastic: going right fails with probability 1/N, though it costs, and N(0, 1) noise is added to the
    reward of the last row's first and last cell. Observation: float32 ``[N, N]``, 1 where the diver is; zeros at the
    end.

    A *bad* episode went left from the diagonal at least once: ``info["bad"]``, and in the state until the reset.
    ``info["treasure"]`` is the step's part of bsuite's `denoised_return`. See :meth:`outcomes` for a run's count.

    gymnax's DeepSea-bsuite is the same game with other mappings (of JAX keys), and ends both terminated and truncated.
    """

    hard_exploration = "one of 2^N ways pays, and each right step costs"

    def __init__(
        self, size: int = 8, mapping_seed: int = 42, randomize_actions: bool = True, deterministic: bool = True
    ):
        super().__init__()
        check_int(size, "size", ge=2, le=1000)
        check_int(mapping_seed, "mapping_seed", ge=0)
        self.size, self.deterministic = size, deterministic
        # NumPy's legacy generator is bsuite's; without random actions 1 is right everywhere.
        draws = np.random.RandomState(mapping_seed).binomial(1, 0.5, (size, size))
        self.action_mapping = np.asarray(draws if randomize_actions else np.ones_like(draws), np.int32)  # what is right

    @property
    def name(self) -> str:
        return "BsuiteDeepSea-v0"

    @property
    def default_params(self) -> Any:
        return DeepSeaParams(max_steps_in_episode=self.size)

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        del key, params
        state = DeepSeaState(jnp.int32(0), jnp.int32(0), jnp.bool(False))
        return self.get_obs(state), state

    def step_env(self, key: Array, state: Any, action: Any, params: Any) -> tuple:
        last = self.size - 1
        row, column = state.row, state.column
        right = clipped(self.action_space(params), action) == jnp.asarray(self.action_mapping)[row, column]
        treasure = jnp.where(right & (column == last), 1.0, 0.0)
        reward = treasure - right * params.unscaled_move_cost / self.size
        moves = right
        if not self.deterministic:
            wind_key, noise_key = jax.random.split(key)
            moves = right & (jax.random.uniform(wind_key) > 1 / self.size)
            ends = (row == last) & ((column == 0) | (column == last))
            reward += ends * jax.random.normal(noise_key)
        shift = jnp.where(right, moves.astype(jnp.int32), -1)
        bad = state.bad | (~right & (row == column))
        state = DeepSeaState(row + 1, jnp.clip(column + shift, 0, last), bad)
        info = {"discount": self.discount(state, params), "bad": bad, "treasure": treasure}
        return self.get_obs(state), state, reward, self.is_terminated(state, params), info

    def is_terminated(self, state: Any, params: Any) -> Array:
        return state.row >= self.size

    def is_truncated(self, state: Any, params: Any) -> Array:
        return (state.row >= params.max_steps_in_episode) & ~self.is_terminated(state, params)

    def get_obs(self, state: Any, params: Any = None, key: Array | None = None) -> Array:
        cell = jnp.arange(self.size)
        return jnp.outer(cell == state.row, cell == state.column).astype(jnp.float32)  # no row is row N

    def cells(self) -> maps.Cells:
        """Every true state that a step can arrive at."""
        return maps.sea(self.size, lambda state: (state.row, state.column))

    def render_frame(self, state: Any, params: Any) -> np.ndarray:
        del params
        return scenes.sea(self.size, state.row, state.column)

    def outcomes(self) -> maps.Cells:
        """The ends of episodes as two cells, 0 good and 1 bad; other states have the id -1, which is not counted.

        ``make_train(env, ..., visits=env.outcomes()[:2])`` counts them exactly, over all parallel envs:
        ``state.visits[1]`` is bsuite's `total_bad_episodes` after ``state.visits.sum()`` episodes, which is what
        :func:`purejaxrl.bench.bsuite.deep_sea_solved` judges.
        """
        return maps.Cells(
            lambda state: jnp.where(state.row >= self.size, state.bad.astype(jnp.int32), -1), 2, np.array([[0, 1]])
        )

    @property
    def num_actions(self) -> int:
        return 2

    def action_space(self, params: Any = None) -> spaces.Discrete:
        return spaces.Discrete(2)

    def observation_space(self, params: Any) -> spaces.Box:
        return spaces.Box(0, 1, (self.size, self.size), jnp.float32)


@struct.dataclass
class SwingUpState:
    x: Array
    x_dot: Array
    theta: Array  # from upright, in [0, 2π)
    theta_dot: Array
    time: Array  # int32


@struct.dataclass
class SwingUpParams:
    height_threshold: float = 0.0  # the pole is upright where cos θ is above it,
    theta_dot_threshold: float = 1.0  # it turns slower than this,
    x_reward_threshold: float = 1.0  # and the cart is nearer to the middle than this
    move_cost: float = 0.1
    x_threshold: float = 3.0  # farther out the episode ends
    init_range: float = 0.05
    timescale: float = 0.01
    max_time: float = 10.0  # that the observation divides the time by
    # bsuite ends where its sum of 0.01 is above 10: the 1,000th is 9.99999999999983.
    max_steps_in_episode: int = 1001


class BsuiteCartPoleSwingUp(environment.Environment):
    """bsuite's cartpole_swingup: a pole hangs from a cart; swinging it up and holding it pays, every push costs.

    Three actions push left, not at all, right. A step pays 1 while the pole is upright, slow and central (see the
    parameters), less .1 for a push: who does not explore deeply learns to stay still. `difficulty` n in 0 ... 19 is
    the n-th task of bsuite's sweep: height_threshold n/20, x_reward_threshold 1 - n/20. The episode *terminates* with
    its 1,001st step, or more than 3 from the middle; nothing truncates it, and the time is observed.

    Observation, float32 ``[8]``: x/3, ẋ/3, sin θ, cos θ, θ̇, time/10, and ±1 for whether the cart is central and for
    whether the pole is slow enough for the reward. bsuite's has a leading axis of 1.
    """

    hard_exploration = "pushing costs, and only an upright pole pays"

    def __init__(self, difficulty: int = 0):
        super().__init__()
        check_int(difficulty, "difficulty", ge=0, le=LEVELS - 1)
        self.difficulty = difficulty

    @property
    def name(self) -> str:
        return "BsuiteCartPoleSwingUp-v0"

    @property
    def default_params(self) -> Any:
        level = self.difficulty / LEVELS
        return SwingUpParams(height_threshold=level, x_reward_threshold=1 - level)

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        x, x_dot, theta, theta_dot = params.init_range * jax.random.uniform(key, (4,), minval=-1.0)
        state = SwingUpState(x, x_dot, jnp.pi + theta, theta_dot, jnp.int32(0))
        return self.get_obs(state, params), state

    def step_env(self, key: Array, state: Any, action: Any, params: Any) -> tuple:
        del key
        direction = clipped(self.action_space(params), action) - 1
        state = swing(state, direction, params.timescale)
        upright = (
            (jnp.cos(state.theta) > params.height_threshold)
            & (jnp.abs(state.theta_dot) < params.theta_dot_threshold)
            & (jnp.abs(state.x) < params.x_reward_threshold)
        )
        reward = upright - params.move_cost * jnp.abs(direction)
        info = {"discount": self.discount(state, params)}
        return self.get_obs(state, params), state, reward, self.is_terminated(state, params), info

    def is_terminated(self, state: Any, params: Any) -> Array:
        return (state.time >= params.max_steps_in_episode) | (jnp.abs(state.x) > params.x_threshold)

    def is_truncated(self, state: Any, params: Any) -> Array:
        return jnp.zeros_like(state.time, bool)

    def get_obs(self, state: Any, params: Any = None, key: Array | None = None) -> Array:
        params = self.default_params if params is None else params
        return jnp.array(
            [
                state.x / params.x_threshold,
                state.x_dot / params.x_threshold,
                jnp.sin(state.theta),
                jnp.cos(state.theta),
                state.theta_dot,
                state.time * params.timescale / params.max_time,
                jnp.where(jnp.abs(state.x) < params.x_reward_threshold, 1.0, -1.0),
                jnp.where(jnp.abs(state.theta_dot) < params.theta_dot_threshold, 1.0, -1.0),
            ]
        )

    def cells(self) -> maps.Cells:
        """Boxes of the pole's angle, upright in the middle, and its velocity."""
        return maps.angle_boxes(lambda state: state.theta, lambda state: state.theta_dot, 10.0)

    def render_frame(self, state: Any, params: Any) -> np.ndarray:
        return scenes.cart_pole(state.x, state.theta, float(params.x_threshold), length=1.0, below=1.25)

    @property
    def num_actions(self) -> int:
        return 3

    def action_space(self, params: Any = None) -> spaces.Discrete:
        return spaces.Discrete(3)

    def observation_space(self, params: Any) -> spaces.Box:
        # The last step may end a little outside; the velocities have no bounds.
        high = jnp.array([2.0, jnp.inf, 1.0, 1.0, jnp.inf, 2.0, 1.0, 1.0])
        return spaces.Box(-high, high, (8,), jnp.float32)


def swing(state: Any, direction: Any, timescale: Any) -> SwingUpState:
    """One Euler step of the cart and its pole (Barto, Sutton & Anderson 1983) under a force of 10 in a `direction`.

    Positions advance with the velocities from before the step.
    """
    cart, pole, half_length, force, gravity = 1.0, 0.1, 0.5, 10.0, 9.8
    total, moment = cart + pole, pole * half_length
    sin, cos = jnp.sin(state.theta), jnp.cos(state.theta)
    push = (direction * force + moment * state.theta_dot**2 * sin) / total
    theta_acc = (gravity * sin - cos * push) / (half_length * (4 / 3 - pole * cos**2 / total))
    x_acc = push - moment * theta_acc * cos / total
    return SwingUpState(
        x=state.x + timescale * state.x_dot,
        x_dot=state.x_dot + timescale * x_acc,
        theta=(state.theta + timescale * state.theta_dot) % (2 * jnp.pi),
        theta_dot=state.theta_dot + timescale * theta_acc,
        time=state.time + 1,
    )
