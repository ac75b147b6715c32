"""Ground truth for exploration: the true states of an environment as cells of a map."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from gymnax.environments.bsuite.deep_sea import DeepSea
from gymnax.environments.classic_control.acrobot import Acrobot
from gymnax.environments.classic_control.continuous_mountain_car import ContinuousMountainCar
from gymnax.environments.classic_control.mountain_car import MountainCar
from gymnax.environments.classic_control.pendulum import Pendulum
from gymnax.environments.misc.rooms import FourRooms

from purejaxrl.types import Array

BOXES = 20


class Cells(NamedTuple):
    """Ground truth for exploration: an environment's true states as cells of a map."""

    cell_fn: Callable[[Any], Array]  # of one env state, to the int32 id of its cell, in [0, num_cells)
    num_cells: int
    layout: np.ndarray  # int [rows, columns], the id of the cell that is shown there, -1 where there is none


def cells(env: Any) -> Cells | None:
    """The cells of an environment, or None where it has none; one of one's own offers them as ``env.cells()``.

    Of gymnax's, and what is made of them: the true states of DeepSea and FourRooms, as far as a step can arrive at
    them, and 20 x 20 equal boxes of two numbers of MountainCar (position, velocity), Pendulum (angle, velocity) and
    Acrobot (its two angles), some of which cannot be reached.
    """
    if hasattr(env, "cells"):
        return env.cells()
    return next((cells_of(env) for kind, cells_of in OF_GYMNAX.items() if isinstance(env, kind)), None)


def grid(there: np.ndarray, position: Callable[[Any], tuple[Any, Any]]) -> Cells:
    """Cells where `there` is true, numbered row by row; `position` gives a state's row and column."""
    layout = np.where(there, np.cumsum(there).reshape(there.shape) - 1, -1)
    return Cells(lambda state: jnp.asarray(layout, jnp.int32)[position(state)], int(there.sum()), layout)


def sea(size: int, position: Callable[[Any], tuple[Any, Any]]) -> Cells:
    """What DeepSea's steps can arrive at: rows 1 to `size`, on and left of the diagonal. Nothing leads to the start."""
    row, column = np.mgrid[1 : size + 1, :size]
    return grid(column <= row, lambda state: (position(state)[0] - 1, position(state)[1]))


def boxes(point: Callable[[Any], tuple[Any, Any]], x: tuple[float, float], y: tuple[float, float]) -> Cells:
    """20 x 20 equal boxes of the plane: `point` gives a state's (x, y), `x` and `y` their lowest and highest values.

    Points outside belong to the nearest box; x grows to the right, y upwards.
    """

    def position(state: Any) -> tuple[Array, Array]:
        column, row = (
            jnp.clip(jnp.floor((v - low) / (high - low) * BOXES).astype(jnp.int32), 0, BOXES - 1)
            for v, (low, high) in zip(point(state), (x, y), strict=True)
        )
        return BOXES - 1 - row, column

    return grid(np.ones((BOXES, BOXES), bool), position)


def angle_boxes(angle: Callable[[Any], Any], velocity: Callable[[Any], Any], fastest: float) -> Cells:
    """Boxes of an angle, from -π to π whatever its turns, and a velocity within ±`fastest`."""
    return boxes(
        lambda state: (wrapped(angle(state)), velocity(state)), x=(-np.pi, np.pi), y=(-float(fastest), float(fastest))
    )


def wrapped(angle: Array) -> Array:
    """The angle in [-π, π)."""
    return (angle + jnp.pi) % (2 * jnp.pi) - jnp.pi


_car_cells = functools.partial(boxes, lambda state: (state.position, state.velocity), (-1.2, 0.6), (-0.07, 0.07))
OF_GYMNAX: dict[type, Callable[[Any], Cells]] = {
    DeepSea: lambda env: sea(env.size, lambda state: (state.row, state.column)),
    FourRooms: lambda env: grid(np.asarray(env.env_map), lambda state: (state.pos[0], state.pos[1])),
    MountainCar: lambda _: _car_cells(),
    ContinuousMountainCar: lambda _: _car_cells(),
    Pendulum: lambda _: angle_boxes(lambda state: state.theta, lambda state: state.theta_dot, 8.0),
    Acrobot: lambda _: boxes(
        lambda state: (wrapped(state.joint_angle1), wrapped(state.joint_angle2)), (-np.pi, np.pi), (-np.pi, np.pi)
    ),
}
