"""What the head-to-heads compare: tasks with their budgets, and methods with the one number that is tuned of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from purejaxrl import algos, bonuses, envs

COEFS = (0.01, 0.1, 1.0)  # of every bonus, in units of reward: all are divided by the std of their discounted return
EPSILONS = (0.02, 0.1, 0.3)
LEARNING_RATE = 1e-3  # of every policy
BONUS_LEARNING_RATE = 5e-4  # of everything that bonuses learn


@dataclasses.dataclass(frozen=True)
class Task:
    """An environment, the budget, and what PPO needs there; the same for every method."""

    name: str
    env: str
    env_settings: Mapping[str, Any]
    threshold: float  # a mean return above it is a solved task
    best: float  # the return of a perfect policy: scores are returns divided by it, between 0 and 1
    num_envs: int
    num_steps: int
    num_minibatches: int
    normalise_obs: bool
    rescale: bool = False  # observations to [-1, 1], for the bonuses that take them as they are
    bits: int = 0  # of SimHash, where observations hardly repeat
    total_steps: int = 150_000
    tv: Mapping[str, Any] | None = None  # envs.NoisyTV's settings, where the task has one
    flatten: bool = False  # small grids as vectors, so that every method has the same small network

    def make(self) -> tuple[Any, Any]:
        env, env_params = envs.make(self.env, **self.env_settings)
        env = envs.FlattenObservation(env) if self.flatten else env
        env = envs.RescaleObservation(env) if self.rescale else env
        return (env if self.tv is None else envs.NoisyTV(env, **self.tv)), env_params


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to explore: a learner, perhaps a bonus, and the one number that is tuned."""

    name: str
    field: str
    values: tuple[float, ...]
    bonus: str = ""  # its class, or two of them with a * between, or within SOFE()
    algo: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # settings beside the common ones
    learner: str = "PPO"


DEEPSEA = Task("deepsea", "DeepSea-bsuite", {"size": 20}, 0.5, 0.99, 32, 40, 8, normalise_obs=False)
CAR = Task("mountaincar", "SparseMountainCar-v0", {}, 0.5, 1.0, 16, 128, 16, normalise_obs=True, rescale=True, bits=32)
ROOMS = Task(
    "fourrooms",
    "FourRooms-misc",
    # From corner to corner without slips: 20 steps at best, and no random walk of 40 gets there.
    {"pos_fixed": (1, 1), "goal_fixed": (11, 11), "fail_prob": 0.0, "max_steps_in_episode": 40},
    0.5,
    1.0,
    16,
    80,
    8,
    normalise_obs=True,
    rescale=True,
)
DOORKEY = Task(
    "doorkey",
    "MiniGrid-DoorKey-8x8-v0",
    {"observation": "one_hot", "direction": True},
    0.5,
    1.0,
    16,
    128,
    16,
    normalise_obs=False,
    flatten=True,
    total_steps=500_000,
)
REMOTE = {"remote": 1}  # the screen changes when the car coasts, which gets it nowhere
SMALL = (DEEPSEA, CAR, ROOMS)
SUITES: dict[str, tuple[Task, ...]] = {
    "small": SMALL,
    "noisy": (
        CAR,
        dataclasses.replace(CAR, name="mountaincar-tv", tv={}),
        dataclasses.replace(CAR, name="mountaincar-remote", tv=REMOTE),
        ROOMS,
        dataclasses.replace(ROOMS, name="fourrooms-tv", tv={}, bits=16),
        dataclasses.replace(ROOMS, name="fourrooms-remote", tv={"remote": 0}, bits=16),
    ),
    "full": (
        *SMALL,
        DOORKEY,
        dataclasses.replace(DOORKEY, name="multiroom", env="MiniGrid-MultiRoom-N4-S5-v1", total_steps=1_000_000),
        dataclasses.replace(
            ROOMS,
            name="fourrooms-goals",
            env_settings={"resample_goal_pos": True, "resample_init_pos": True, "max_steps_in_episode": 60},
            num_steps=120,
            total_steps=500_000,
        ),
        dataclasses.replace(DEEPSEA, name="deepsea-30", env_settings={"size": 30}, num_steps=60, total_steps=500_000),
        Task("cartpole", "CartPole-v1", {}, 475.0, 500.0, 16, 128, 16, normalise_obs=True, bits=32),
    ),
}
METHODS = (
    Method("entropy", "algo.ent_coef", (0.01, 0.03, 0.1)),
    Method("epsilon", "algo.epsilon_end", EPSILONS, learner="PQN"),
    Method("epsilon-z", "algo.epsilon_end", EPSILONS, learner="PQN", algo={"zeta": 2.0}),
    *(
        Method(bonus.lower().replace("*", "-x-"), "bonus.coef", COEFS, bonus=bonus)
        for bonus in (
            *("Counts", "CFN", "RND", "RE3", "ICM", "Disagreement", "BYOLExplore"),  # lifelong
            *("E3B", "SOFE", "NovelD", "RIDE", "NGU", "E3B*RND"),  # episodic, and both
        )
    ),
)


def make_learner(task: Task, method: Method) -> Any:
    """PPO, or for ε-greedy PQN with the same network and batches: 64-64, no part of it tuned for a method."""
    common = {"num_steps": task.num_steps, "num_minibatches": task.num_minibatches, "num_epochs": 4}
    common |= {"learning_rate": LEARNING_RATE, "gamma": 0.99} | dict(method.algo)
    if method.learner == "PPO":
        return algos.PPO(normalise_obs=task.normalise_obs, **common)
    return algos.PQN(**common)


def make_bonus(task: Task, method: Method) -> Any:
    """The method's bonus at its defaults, but that all learn at one rate and are scaled by the std of their return."""
    if not method.bonus:
        return None
    if method.bonus == "SOFE":
        bonus = bonuses.SOFE(bonus=_with(bonuses.Counts(episodic=True), bits=task.bits))
    elif "*" in method.bonus:
        parts = (getattr(bonuses, name)() for name in method.bonus.split("*"))
        first, second = (_with(part, learning_rate=BONUS_LEARNING_RATE) for part in parts)
        bonus = first * second
    else:
        bonus = getattr(bonuses, method.bonus)()
    return _with(bonus, normalise="return_std", learning_rate=BONUS_LEARNING_RATE, bits=task.bits)


def _with(bonus: Any, **settings: Any) -> Any:
    """The bonus with those of the settings that it has."""
    known = {field.name for field in dataclasses.fields(bonus)}
    return dataclasses.replace(bonus, **{name: value for name, value in settings.items() if name in known})
