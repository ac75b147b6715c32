"""MiniGrid's tasks under MiniGrid's ids, each a family and its settings."""

from __future__ import annotations

from purejaxrl.envs.minigrid.doorkey import DoorKey
from purejaxrl.envs.minigrid.empty import Empty
from purejaxrl.envs.minigrid.engine import MiniGrid, State
from purejaxrl.envs.minigrid.fourrooms import FourRooms

__all__ = ["TASKS", "DoorKey", "Empty", "FourRooms", "MiniGrid", "State"]

TASKS: dict[str, tuple[type[MiniGrid], dict]] = {
    "MiniGrid-Empty-5x5-v0": (Empty, {"size": 5}),
    "MiniGrid-Empty-Random-5x5-v0": (Empty, {"size": 5, "random_start": True}),
    "MiniGrid-Empty-6x6-v0": (Empty, {"size": 6}),
    "MiniGrid-Empty-Random-6x6-v0": (Empty, {"size": 6, "random_start": True}),
    "MiniGrid-Empty-8x8-v0": (Empty, {"size": 8}),
    "MiniGrid-Empty-16x16-v0": (Empty, {"size": 16}),
    "MiniGrid-DoorKey-5x5-v0": (DoorKey, {"size": 5}),
    "MiniGrid-DoorKey-6x6-v0": (DoorKey, {"size": 6}),
    "MiniGrid-DoorKey-8x8-v0": (DoorKey, {"size": 8}),
    "MiniGrid-DoorKey-16x16-v0": (DoorKey, {"size": 16}),
    "MiniGrid-FourRooms-v0": (FourRooms, {}),
}
