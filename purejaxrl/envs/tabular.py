"""Finite MDPs given by their tables: what an agent should do, and how well, is known exactly."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces

from purejaxrl.envs import maps, scenes
from purejaxrl.envs.spaces import clipped
from purejaxrl.types import Array, SettingError, check_choice, check_int, check_number

LEFT, RIGHT = 0, 1


@struct.dataclass
class TabularState:
    position: Array  # int32, the state of the MDP
    time: Array  # int32


@struct.dataclass
class TabularParams:
    max_steps_in_episode: int


class TabularMDP(environment.Environment):
    """A finite MDP of S states and A actions that never terminates; a step limit truncates it.

    Args:
      transition: ``[S, A, S]``, the probability of each next state.
      reward: ``[S, A, S]``, what the step between two states pays.
      start: ``[S]``, the probability of each first state.
      max_steps: the default step limit.
      observations: ``[S, n]``, what each state shows; None shows one-hot vectors.

    The tables stay readable under these names.

    Raises:
      SettingError: where shapes do not fit, numbers are not finite, or probabilities are none.
    """

    def __init__(self, transition: Any, reward: Any, start: Any, max_steps: int, observations: Any = None):
        super().__init__()
        self.transition, self.reward, self.start = (np.asarray(table, float) for table in (transition, reward, start))
        self.num_states = self.start.size
        if self.transition.ndim != 3 or self.start.ndim != 1:
            shapes = f"{self.transition.shape} and {self.start.shape}"
            raise SettingError(f"transition and start must have the shapes (S, A, S) and (S,), got {shapes}")
        shape = (self.num_states, self.num_actions, self.num_states)
        if self.transition.shape != shape or self.reward.shape != shape:
            raise SettingError(f"transition and reward must be {shape} of (S, A, S)")
        if not np.isfinite(self.reward).all():
            raise SettingError("reward must hold finite numbers")
        for name, table in (("transition", self.transition), ("start", self.start)):
            if (table < 0).any() or not np.allclose(table.sum(-1), 1):
                raise SettingError(f"{name} must hold probabilities that sum to 1")
        check_int(max_steps, "max_steps", ge=1)
        self.max_steps = max_steps
        self.observations = np.asarray(np.eye(self.num_states) if observations is None else observations, np.float32)
        if self.observations.ndim != 2 or len(self.observations) != self.num_states:
            wanted = f"({self.num_states}, n), a row for each state"
            raise SettingError(f"observations must have the shape {wanted}, got {self.observations.shape}")
        if not np.isfinite(self.observations).all():
            raise SettingError("observations must hold finite numbers")

    @property
    def name(self) -> str:
        return f"{type(self).__name__}-v0"

    @property
    def num_actions(self) -> int:
        return self.transition.shape[1]

    @property
    def default_params(self) -> Any:
        return TabularParams(max_steps_in_episode=self.max_steps)

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        state = TabularState(_draw(key, self.start), jnp.int32(0))
        return self.get_obs(state), state

    def step_env(self, key: Array, state: Any, action: Any, params: Any) -> tuple:
        action = clipped(self.action_space(params), action)
        position = _draw(key, jnp.asarray(self.transition, jnp.float32)[state.position, action])
        reward = jnp.asarray(self.reward, jnp.float32)[state.position, action, position]
        state = TabularState(position, state.time + 1)
        return self.get_obs(state), state, reward, jnp.bool(False), {"discount": jnp.float32(1.0)}

    def is_terminated(self, state: Any, params: Any) -> Array:
        return jnp.zeros_like(state.time, bool)

    def get_obs(self, state: Any, params: Any = None, key: Array | None = None) -> Array:
        return jnp.asarray(self.observations)[state.position]

    def cells(self) -> maps.Cells:
        """Every state, in one row."""
        return maps.grid(np.ones((1, self.num_states), bool), lambda state: (0, state.position))

    def render_frame(self, state: Any, params: Any) -> np.ndarray:
        del params
        return scenes.row(self._expected_reward().max(-1), state.position)

    def action_values(self, gamma: float, tolerance: float = 1e-10) -> np.ndarray:
        """Optimal discounted action values without a step limit, ``[S, A]``, by value iteration.

        Raises:
          SettingError: unless 0 <= gamma < 1.
        """
        check_number(gamma, "gamma", ge=0, lt=1)
        expected, values = self._expected_reward(), np.zeros(self.num_states)
        while True:
            found = expected + gamma * self.transition @ values
            change, values = np.abs(found.max(-1) - values).max(), found.max(-1)
            if gamma * change <= (1 - gamma) * tolerance:  # then they are that near to the fixed point
                return found

    def values(self, gamma: float) -> np.ndarray:
        """Optimal discounted values without a step limit, ``[S]``."""
        return self.action_values(gamma).max(-1)

    def best_return(self, horizon: int | None = None) -> float:
        """The best expected return of an episode of `horizon` steps, by default of the step limit, undiscounted."""
        horizon = self.max_steps if horizon is None else horizon
        check_int(horizon, "horizon", ge=0)
        expected, values = self._expected_reward(), np.zeros(self.num_states)
        for _ in range(horizon):
            values = (expected + self.transition @ values).max(-1)
        return float(self.start @ values)

    def _expected_reward(self) -> np.ndarray:
        return (self.transition * self.reward).sum(-1)

    def action_space(self, params: Any = None) -> spaces.Discrete:
        return spaces.Discrete(self.num_actions)

    def observation_space(self, params: Any) -> spaces.Box:
        # At least from 0 to 1: a number that never changes has bounds, too.
        low, high = self.observations.min(0, initial=0.0), self.observations.max(0, initial=1.0)
        return spaces.Box(jnp.asarray(low), jnp.asarray(high), low.shape, jnp.float32)


def _draw(key: Array, probabilities: Any) -> Array:
    """The index of one draw, int32; what has probability 0 is never drawn, however the sum is rounded."""
    cumulative = jnp.cumsum(jnp.asarray(probabilities, jnp.float32))
    return jnp.searchsorted(cumulative, cumulative[-1] * (1 - jax.random.uniform(key))).astype(jnp.int32)


class RiverSwim(TabularMDP):
    """RiverSwim (Strehl & Littman 2008, "An analysis of model-based interval estimation", figure 1).

    Six states along a river. Action 0 swims left with the current and always gets there; action 1 swims right against
    it: .3 one state on, .6 none, .1 back; from the first state .3 on, .7 none; in the last .3 none, .7 back. Left in
    the first state pays `small`, staying in the last one by swimming right pays `large`. The start is in the second or
    third state.

    The probabilities are the paper's, and so is the ratio of its rewards 5 and 10,000, here divided by 10,000. Osband
    et al. 2013 (arXiv:1306.0940) and others since use a gentler river (.35, .6, .05; .6 at both ends), the start at
    the first state, and rewards .005 and 1; from them is the step limit of 20.
    """

    hard_exploration = "the large reward lies upstream of a small one"

    def __init__(self, num_states: int = 6, small: float = 0.0005, large: float = 1.0):
        check_int(num_states, "num_states", ge=3)
        last = num_states - 1
        transition, reward = np.zeros((2, num_states, 2, num_states))
        for state in range(num_states):
            transition[state, LEFT, max(state - 1, 0)] = 1
            transition[state, RIGHT, [state - 1, state, (state + 1) % num_states]] = 0.1, 0.6, 0.3
        transition[0, RIGHT], transition[last, RIGHT] = 0, 0
        transition[0, RIGHT, :2] = 0.7, 0.3
        transition[last, RIGHT, -2:] = 0.7, 0.3
        reward[0, LEFT, 0], reward[last, RIGHT, last] = small, large
        start = np.isin(np.arange(num_states), (1, 2)) / 2
        super().__init__(transition, reward, start, max_steps=20)


class Chain(TabularMDP):
    """The chain of Osband et al. 2016, "Deep Exploration via Bootstrapped DQN" (arXiv:1602.04621), section 5.

    N states in a row, the start in the second; actions 0 and 1 go left and right, and stay at an end. Left in the
    first state pays .001, right in the last one pays 1. Observations: `thermometer` shows 1 up to the state, which
    generalises, `one-hot` shows 1 at it.

    An episode of the paper's N + 9 time steps has N + 8 actions, of which N - 2 lead to the end: its best return, 10.
    """

    hard_exploration = "one of 2^N ways pays, past a small reward"

    def __init__(self, num_states: int = 10, observation: str = "thermometer"):
        check_int(num_states, "num_states", ge=4)
        check_choice(observation, ["thermometer", "one-hot"], "observation")
        states, last = np.arange(num_states), num_states - 1
        transition, reward = np.zeros((2, num_states, 2, num_states))
        transition[states, LEFT, np.maximum(states - 1, 0)] = 1
        transition[states, RIGHT, np.minimum(states + 1, last)] = 1
        reward[0, LEFT, 0], reward[last, RIGHT, last] = 0.001, 1.0
        shown = np.tril(np.ones((num_states, num_states))) if observation == "thermometer" else None
        super().__init__(transition, reward, states == 1, max_steps=num_states + 8, observations=shown)


class RandomMDP(TabularMDP):
    """A random MDP, drawn once by `seed`: next states from Dirichlet(`concentration`, ...), rewards from N(0, 1).

    The prior from which posterior sampling draws (Osband et al. 2013, arXiv:1306.0940). A reward is of a state and an
    action, without noise. A low concentration makes most next states unlikely, and far ones harder to reach. The start
    is state 0.
    """

    def __init__(self, num_states: int = 10, num_actions: int = 5, concentration: float = 1.0, seed: int = 0):
        check_int(num_states, "num_states", ge=2)
        check_int(num_actions, "num_actions", ge=1)
        check_number(concentration, "concentration", gt=0)
        check_int(seed, "seed", ge=0)
        generator = np.random.default_rng(seed)
        transition = generator.dirichlet(np.full(num_states, concentration), (num_states, num_actions))
        reward = np.repeat(generator.normal(size=(num_states, num_actions, 1)), num_states, -1)
        super().__init__(transition, reward, np.arange(num_states) == 0, max_steps=100)
