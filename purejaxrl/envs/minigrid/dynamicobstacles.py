"""Balls that roll about; to run into one, or into a wall, ends the episode."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl.envs.minigrid import drawing, objects
from purejaxrl.envs.minigrid.engine import EAST, FORWARD, LEFT, MiniGrid, State, act, front_cell, start
from purejaxrl.types import Array, check_int

OBSTACLE = objects.BALL | objects.BLUE << 4


class DynamicObstacles(MiniGrid):
    """MiniGrid-Dynamic-Obstacles: to the goal, -1 for walking against anything. The places are the balls'.

    Only the first three actions count; others turn left. MiniGrid gives a ball 101 tries to find a free cell among
    the nine around it, here it always finds one that exists: they differ once in 150,000 moves with one cell free.
    """

    see_through_walls = True

    def __init__(self, size: int = 8, num_obstacles: int = 4, random_start: bool = False, **options: Any):
        check_int(size, "env.size", ge=5)
        check_int(num_obstacles, "env.num_obstacles", ge=1)
        super().__init__(size, size, 4 * size**2, **options)
        self.num_obstacles = num_obstacles if num_obstacles <= size / 2 + 1 else size // 2
        self.random_start = random_start

    @property
    def num_actions(self) -> int:
        return 3

    def generate(self, key: Array) -> State:
        u = jax.random.uniform(key, (self.num_obstacles + 2,))
        walls = drawing.walled(self.height, self.width)
        walls[-2, -2] = objects.GOAL
        grid = jnp.asarray(walls)
        y, x, direction = jnp.int32(1), jnp.int32(1), jnp.int32(EAST)
        if self.random_start:
            (y, x), direction = drawing.pick(u[-1], grid == objects.EMPTY), drawing.integer(u[-2], 0, 4)
        places = []
        for one in u[: self.num_obstacles]:
            place = drawing.pick(one, (grid == objects.EMPTY) & ~drawing.at(grid.shape, y, x))
            grid = drawing.put(grid, *place, OBSTACLE)
            places.append(place)
        return start(grid, y, x, direction, places=tuple(places))

    def transition(self, key: Array, state: State, action: Array) -> State:
        return act(self.roll(key, state), jnp.where(action > FORWARD, LEFT, action))

    def roll(self, key: Array, state: State) -> State:
        """Each ball in its turn moves to a free cell next to it, if there is one, diagonals included."""
        assert state.places is not None
        u, grid, places = jax.random.uniform(key, (self.num_obstacles,)), state.grid, []
        rows, columns = np.arange(-1, 2)[:, None], np.arange(-1, 2)
        for one, (y, x) in zip(u, state.places, strict=True):
            here = (y + rows == state.y) & (x + columns == state.x)
            free = (drawing.get(grid, y + rows, x + columns) == objects.EMPTY) & ~here
            down, right = drawing.pick(one, free)
            moves = free.any()
            new_y, new_x = jnp.where(moves, y + down - 1, y), jnp.where(moves, x + right - 1, x)
            grid = drawing.put(drawing.put(grid, y, x, objects.EMPTY), new_y, new_x, OBSTACLE)
            places.append(jnp.stack([new_y, new_x]))
        return state.replace(grid=grid, places=jnp.stack(places))

    def outcome(self, before: State, action: Array, after: State, prize: Array) -> tuple[Array, Array]:
        reward, terminated = super().outcome(before, action, after, prize)
        ahead = front_cell(before)  # before the balls move
        crash = (action == FORWARD) & (ahead != objects.EMPTY) & (ahead != objects.GOAL)
        # The goal is reached by what is there when the agent moves: no ball rolls onto it.
        return jnp.where(crash, -1.0, reward), terminated | crash
