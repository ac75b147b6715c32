"""MiniGrid's tasks under MiniGrid's ids, each a family and its settings."""

from __future__ import annotations

from purejaxrl.envs.minigrid.crossing import Crossing
from purejaxrl.envs.minigrid.distshift import DistShift
from purejaxrl.envs.minigrid.doorkey import DoorKey
from purejaxrl.envs.minigrid.dynamicobstacles import DynamicObstacles
from purejaxrl.envs.minigrid.empty import Empty
from purejaxrl.envs.minigrid.engine import MiniGrid, State
from purejaxrl.envs.minigrid.fourrooms import FourRooms
from purejaxrl.envs.minigrid.keycorridor import KeyCorridor
from purejaxrl.envs.minigrid.lavagap import LavaGap
from purejaxrl.envs.minigrid.memory import Memory
from purejaxrl.envs.minigrid.multiroom import MultiRoom
from purejaxrl.envs.minigrid.named import Fetch, GoToDoor, GoToObject, PutNear
from purejaxrl.envs.minigrid.obstructedmaze import ObstructedMaze
from purejaxrl.envs.minigrid.redbluedoors import RedBlueDoors
from purejaxrl.envs.minigrid.unlock import Unlock, UnlockPickup

__all__ = [
    "TASKS",
    "Crossing",
    "DistShift",
    "DoorKey",
    "DynamicObstacles",
    "Empty",
    "Fetch",
    "FourRooms",
    "GoToDoor",
    "GoToObject",
    "KeyCorridor",
    "LavaGap",
    "Memory",
    "MiniGrid",
    "MultiRoom",
    "ObstructedMaze",
    "PutNear",
    "RedBlueDoors",
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
    "MiniGrid-LavaGapS5-v0": (LavaGap, {"size": 5}),
    "MiniGrid-LavaGapS6-v0": (LavaGap, {"size": 6}),
    "MiniGrid-LavaGapS7-v0": (LavaGap, {"size": 7}),
    "MiniGrid-LavaCrossingS9N1-v0": (Crossing, {"size": 9, "num_crossings": 1, "obstacle": "lava"}),
    "MiniGrid-LavaCrossingS9N2-v0": (Crossing, {"size": 9, "num_crossings": 2, "obstacle": "lava"}),
    "MiniGrid-LavaCrossingS9N3-v0": (Crossing, {"size": 9, "num_crossings": 3, "obstacle": "lava"}),
    "MiniGrid-LavaCrossingS11N5-v0": (Crossing, {"size": 11, "num_crossings": 5, "obstacle": "lava"}),
    "MiniGrid-SimpleCrossingS9N1-v0": (Crossing, {"size": 9, "num_crossings": 1, "obstacle": "wall"}),
    "MiniGrid-SimpleCrossingS9N2-v0": (Crossing, {"size": 9, "num_crossings": 2, "obstacle": "wall"}),
    "MiniGrid-SimpleCrossingS9N3-v0": (Crossing, {"size": 9, "num_crossings": 3, "obstacle": "wall"}),
    "MiniGrid-SimpleCrossingS11N5-v0": (Crossing, {"size": 11, "num_crossings": 5, "obstacle": "wall"}),
    "MiniGrid-DistShift1-v0": (DistShift, {"strip_row": 2}),
    "MiniGrid-DistShift2-v0": (DistShift, {"strip_row": 5}),
    "MiniGrid-Dynamic-Obstacles-5x5-v0": (DynamicObstacles, {"size": 5, "num_obstacles": 2}),
    "MiniGrid-Dynamic-Obstacles-Random-5x5-v0": (
        DynamicObstacles,
        {"size": 5, "num_obstacles": 2, "random_start": True},
    ),
    "MiniGrid-Dynamic-Obstacles-6x6-v0": (DynamicObstacles, {"size": 6, "num_obstacles": 3}),
    "MiniGrid-Dynamic-Obstacles-Random-6x6-v0": (
        DynamicObstacles,
        {"size": 6, "num_obstacles": 3, "random_start": True},
    ),
    "MiniGrid-Dynamic-Obstacles-8x8-v0": (DynamicObstacles, {"size": 8, "num_obstacles": 4}),
    "MiniGrid-Dynamic-Obstacles-16x16-v0": (DynamicObstacles, {"size": 16, "num_obstacles": 8}),
    "MiniGrid-MemoryS7-v0": (Memory, {"size": 7}),
    "MiniGrid-MemoryS9-v0": (Memory, {"size": 9}),
    "MiniGrid-MemoryS11-v0": (Memory, {"size": 11}),
    "MiniGrid-MemoryS13-v0": (Memory, {"size": 13}),
    "MiniGrid-MemoryS13Random-v0": (Memory, {"size": 13, "random_length": True}),
    "MiniGrid-MemoryS17Random-v0": (Memory, {"size": 17, "random_length": True}),
    "MiniGrid-PutNear-6x6-N2-v0": (PutNear, {"size": 6, "num_objects": 2}),
    "MiniGrid-PutNear-8x8-N3-v0": (PutNear, {"size": 8, "num_objects": 3}),
    "MiniGrid-GoToDoor-5x5-v0": (GoToDoor, {"size": 5}),
    "MiniGrid-GoToDoor-6x6-v0": (GoToDoor, {"size": 6}),
    "MiniGrid-GoToDoor-8x8-v0": (GoToDoor, {"size": 8}),
    "MiniGrid-GoToObject-6x6-N2-v0": (GoToObject, {"size": 6}),
    "MiniGrid-GoToObject-8x8-N2-v0": (GoToObject, {"size": 8}),
    "MiniGrid-Fetch-5x5-N2-v0": (Fetch, {"size": 5, "num_objects": 2}),
    "MiniGrid-Fetch-6x6-N2-v0": (Fetch, {"size": 6, "num_objects": 2}),
    "MiniGrid-Fetch-8x8-N3-v0": (Fetch, {"size": 8, "num_objects": 3}),
    "MiniGrid-RedBlueDoors-6x6-v0": (RedBlueDoors, {"size": 6}),
    "MiniGrid-RedBlueDoors-8x8-v0": (RedBlueDoors, {"size": 8}),
}
