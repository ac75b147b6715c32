"""MiniGrid's tasks under MiniGrid's ids, each a family and its settings."""

from __future__ import annotations

from purejaxrl.envs.minigrid.doorkey import DoorKey
from purejaxrl.envs.minigrid.empty import Empty
from purejaxrl.envs.minigrid.engine import MiniGrid, State
from purejaxrl.envs.minigrid.fourrooms import FourRooms
from purejaxrl.envs.minigrid.keycorridor import KeyCorridor
from purejaxrl.envs.minigrid.multiroom import MultiRoom
from purejaxrl.envs.minigrid.obstructedmaze import ObstructedMaze
from purejaxrl.envs.minigrid.unlock import Unlock, UnlockPickup

__all__ = [
    "TASKS",
    "DoorKey",
    "Empty",
    "FourRooms",
    "KeyCorridor",
    "MiniGrid",
    "MultiRoom",
    "ObstructedMaze",
    "State",
    "Unlock",
    "UnlockPickup",
]

# Settings of ObstructedMaze: two rooms, or one open side of nine with the agent in it; without boxes, without balls.
_TWO = {"num_quarters": 0, "agent_room": (0, 0), "num_rooms_visited": 2}
_SIDE = {"num_quarters": 1, "agent_room": (2, 1), "num_rooms_visited": 4}
_ONE_QUARTER = {"num_quarters": 1, "agent_room": (1, 1), "num_rooms_visited": 5}
_TWO_QUARTERS = {"num_quarters": 2, "agent_room": (2, 1), "num_rooms_visited": 11}
_PLAIN, _HIDDEN, _V0 = {"key_in_box": False, "blocked": False}, {"blocked": False}, {"keys_last": False}

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
    "MiniGrid-MultiRoom-N2-S4-v0": (MultiRoom, {"num_rooms": 2, "max_room_size": 4}),
    "MiniGrid-MultiRoom-N4-S5-v0": (MultiRoom, {"num_rooms": 6, "max_room_size": 5}),  # six: as it is in MiniGrid
    "MiniGrid-MultiRoom-N4-S5-v1": (MultiRoom, {"num_rooms": 4, "max_room_size": 5}),
    "MiniGrid-MultiRoom-N6-v0": (MultiRoom, {"num_rooms": 6}),
    "MiniGrid-MultiRoom-N7-S8-v0": (MultiRoom, {"num_rooms": 7, "max_room_size": 8}),  # of papers, not of MiniGrid
    "MiniGrid-KeyCorridorS3R1-v0": (KeyCorridor, {"room_size": 3, "num_rows": 1}),
    "MiniGrid-KeyCorridorS3R2-v0": (KeyCorridor, {"room_size": 3, "num_rows": 2}),
    "MiniGrid-KeyCorridorS3R3-v0": (KeyCorridor, {"room_size": 3, "num_rows": 3}),
    "MiniGrid-KeyCorridorS4R3-v0": (KeyCorridor, {"room_size": 4, "num_rows": 3}),
    "MiniGrid-KeyCorridorS5R3-v0": (KeyCorridor, {"room_size": 5, "num_rows": 3}),
    "MiniGrid-KeyCorridorS6R3-v0": (KeyCorridor, {"room_size": 6, "num_rows": 3}),
    "MiniGrid-Unlock-v0": (Unlock, {}),
    "MiniGrid-UnlockPickup-v0": (UnlockPickup, {}),
    "MiniGrid-BlockedUnlockPickup-v0": (UnlockPickup, {"blocked": True}),
    "MiniGrid-ObstructedMaze-1Dl-v0": (ObstructedMaze, _TWO | _PLAIN),
    "MiniGrid-ObstructedMaze-1Dlh-v0": (ObstructedMaze, _TWO | _HIDDEN),
    "MiniGrid-ObstructedMaze-1Dlhb-v0": (ObstructedMaze, _TWO),
    "MiniGrid-ObstructedMaze-2Dl-v0": (ObstructedMaze, _SIDE | _PLAIN | _V0),
    "MiniGrid-ObstructedMaze-2Dlh-v0": (ObstructedMaze, _SIDE | _HIDDEN | _V0),
    "MiniGrid-ObstructedMaze-2Dlhb-v0": (ObstructedMaze, _SIDE | _V0),
    "MiniGrid-ObstructedMaze-2Dlhb-v1": (ObstructedMaze, _SIDE),
    "MiniGrid-ObstructedMaze-1Q-v0": (ObstructedMaze, _ONE_QUARTER | _V0),
    "MiniGrid-ObstructedMaze-1Q-v1": (ObstructedMaze, _ONE_QUARTER),
    "MiniGrid-ObstructedMaze-2Q-v0": (ObstructedMaze, _TWO_QUARTERS | _V0),
    "MiniGrid-ObstructedMaze-2Q-v1": (ObstructedMaze, _TWO_QUARTERS),
    "MiniGrid-ObstructedMaze-Full-v0": (ObstructedMaze, _V0),
    "MiniGrid-ObstructedMaze-Full-v1": (ObstructedMaze, {}),
}
