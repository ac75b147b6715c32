"""What deep exploration compares: methods for DeepSea and for MiniGrid, and MiniGrid's tasks with their budgets.

A further method is an entry of `DEEPSEA` or `MINIGRID`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from purejaxrl import algos, bonuses
from purejaxrl.bench.suites import BONUS_LEARNING_RATE, LEARNING_RATE


def hyperagent(size: int) -> tuple[Any, Any, int]:
    """HyperAgent, the same whatever the size: one gradient step for each step of its one environment."""
    del size
    return algos.HyperAgent(learning_rate=5e-4, prior_scale=3.0, num_targets=4, hidden=(64,)), None, 1


def hyperdqn(size: int) -> tuple[Any, Any, int]:
    """HyperAgent whose indices each learn from their own values."""
    learner, bonus, num_envs = hyperagent(size)
    return learner.replace(target_index="same"), bonus, num_envs


def bootdqn(size: int) -> tuple[Any, Any, int]:
    """Ten members with priors, stepped as HyperAgent."""
    del size
    return algos.BootDQN(hidden=(64,)), None, 1


def bootpqn(size: int) -> tuple[Any, Any, int]:
    """Ten members with priors that learn from rollouts of eight environments, without a replay."""
    del size
    return algos.BootPQN(num_steps=10, num_epochs=8, num_minibatches=4, hidden=(64,)), None, 8


def hyperpqn(size: int) -> tuple[Any, Any, int]:
    """The same with one network, a hypermodel read at twenty indices, and longer rollouts in as large minibatches."""
    learner, bonus, num_envs = bootpqn(size)
    learner = learner.replace(index_size=4, num_members=20, learning_rate=5e-4, num_steps=50, num_minibatches=20)
    return learner, bonus, num_envs


def dqn(size: int) -> tuple[Any, Any, int]:
    """bsuite's own DQN, with ε-greedy exploration: one gradient step for each step of its one environment."""
    learner = algos.DQN(
        learning_rate=1e-3,
        gamma=0.99,
        epsilon_start=0.05,
        epsilon_end=0.05,
        tau=1.0,
        target_period=4,
        num_steps=size,
        num_gradient_steps=size,
        anneal_lr=False,
        buffer_size=10_000,
        batch_size=32,
        learning_starts=100,
        double=False,
        hidden=(50, 50),
    )
    return learner, None, 1


def noisynet(size: int) -> tuple[Any, Any, int]:
    """The same with noise on the weights in place of ε."""
    learner, bonus, num_envs = dqn(size)
    return learner.replace(noisy=True, epsilon_start=0.0, epsilon_end=0.0), bonus, num_envs


def counts(size: int) -> tuple[Any, Any, int]:
    """PPO with visit counts, two episodes of each environment per update."""
    learner = algos.PPO(
        num_steps=2 * size, num_minibatches=8, num_epochs=4, learning_rate=LEARNING_RATE, gamma=0.99, ent_coef=0.01
    )
    return learner, bonuses.Counts(coef=0.1, normalise="return_std"), 32


# DeepSea's size, and the episodes that HyperAgent's own scripts run there (szrlee/HyperAgent).
SCRIPTS = {20: 2_500, 50: 4_000}


@dataclasses.dataclass(frozen=True)
class Grid:
    """A task of MiniGrid: the budget in frames, and the frames after which a result was published, if any was.

    The other settings are the same for all but the shortest budget, in which they would allow 14 updates, and
    FourRooms, where the agent has to remember which rooms it has seen.
    """

    frames: int
    num_envs: int = 64
    num_steps: int = 128
    num_minibatches: int = 16
    learning_rate: float = LEARNING_RATE
    memory: str = "none"
    published: int | None = None
    source: str = ""


ANDRES = "Andres et al. 2022"
GRIDS = {
    "MiniGrid-DoorKey-8x8-v0": Grid(
        120_000, num_envs=8, num_steps=256, learning_rate=2 * LEARNING_RATE, published=123_000, source="DEIR"
    ),
    "MiniGrid-DoorKey-16x16-v0": Grid(2_000_000),
    "MiniGrid-FourRooms-v0": Grid(2_000_000, num_minibatches=8, memory="gru"),
    "MiniGrid-MultiRoom-N6-v0": Grid(1_000_000),
    "MiniGrid-KeyCorridorS3R3-v0": Grid(1_000_000, published=30_000_000, source=ANDRES),
    "MiniGrid-MultiRoom-N7-S8-v0": Grid(1_000_000, published=30_000_000, source=ANDRES),
    "MiniGrid-KeyCorridorS4R3-v0": Grid(3_000_000),
    "MiniGrid-ObstructedMaze-2Dlh-v0": Grid(5_000_000),
    "MiniGrid-KeyCorridorS6R3-v0": Grid(5_000_000),
    "MiniGrid-ObstructedMaze-Full-v0": Grid(10_000_000),
}


def ppo(bonus: Any) -> Callable[[Grid], tuple[Any, Any]]:
    """PPO with this bonus: one setting for every task of MiniGrid, but for what :class:`Grid` says."""
    learner = algos.PPO(num_epochs=4, gamma=0.99, ent_coef=0.01, hidden=(64, 64))
    own = "num_steps", "num_minibatches", "learning_rate", "memory"
    return lambda task: (learner.replace(**{name: getattr(task, name) for name in own}), bonus)


SCALED: Any = {"normalise": "return_std", "learning_rate": BONUS_LEARNING_RATE}
# Of DeepSea: (learner, bonus, num_envs) of a size. Of MiniGrid: (learner, bonus) of a task. The recommended one first.
DEEPSEA: dict[str, Callable[[int], tuple[Any, Any, int]]] = {
    "hyperagent": hyperagent,
    "hyperdqn": hyperdqn,
    "bootdqn": bootdqn,
    "bootpqn": bootpqn,
    "hyperpqn": hyperpqn,
    "counts": counts,
    "noisynet": noisynet,
    "epsilon": dqn,
}
MINIGRID: dict[str, Callable[[Grid], tuple[Any, Any]]] = {
    "noveld": ppo(bonuses.NovelD(coef=0.03, **SCALED)),
    "ngu": ppo(bonuses.NGU(coef=0.03, **SCALED)),
    "counts": ppo(bonuses.Counts(coef=0.03, normalise="return_std")),
    "entropy": ppo(None),
}
