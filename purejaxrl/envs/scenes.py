"""Pictures of environments' states. One's own environment offers its picture as ``env.render_frame(state, params)``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from gymnax.environments.bsuite.catch import Catch
from gymnax.environments.bsuite.deep_sea import DeepSea
from gymnax.environments.classic_control.acrobot import Acrobot
from gymnax.environments.classic_control.cartpole import CartPole
from gymnax.environments.classic_control.continuous_mountain_car import ContinuousMountainCar
from gymnax.environments.classic_control.mountain_car import MountainCar
from gymnax.environments.classic_control.pendulum import Pendulum
from gymnax.environments.minatar.asterix import MinAsterix
from gymnax.environments.minatar.breakout import MinBreakout
from gymnax.environments.minatar.freeway import MinFreeway
from gymnax.environments.minatar.seaquest import MinSeaquest
from gymnax.environments.minatar.space_invaders import MinSpaceInvaders
from gymnax.environments.misc.frozen_lake import GOAL as LAKE_GOAL
from gymnax.environments.misc.frozen_lake import HOLE, FrozenLake
from gymnax.environments.misc.meta_maze import MetaMaze
from gymnax.environments.misc.point_robot import PointRobot
from gymnax.environments.misc.pong import Pong
from gymnax.environments.misc.reacher import Reacher
from gymnax.environments.misc.rooms import FourRooms
from gymnax.environments.misc.swimmer import Swimmer

from purejaxrl.envs.drawing import (
    AGENT,
    DEEP,
    DIM,
    FLOOR,
    GOAL,
    GROUND,
    INK,
    NIGHT,
    PAPER,
    ROD,
    TRAP,
    WALL,
    WATER,
    Board,
    Scene,
    mixed,
)
from purejaxrl.envs.wrappers import Wrapper
from purejaxrl.types import SettingError

Painter = Callable[[Any, Any], np.ndarray]  # of (state, params)


def render(env: Any, state: Any, params: Any = None) -> np.ndarray:
    """A picture of one state of an environment, uint8 ``[H, W, 3]``, 400 pixels along its longer side.

    It needs no display, and runs on the host: not inside a jitted function. `params` None means the defaults.

    Raises:
      SettingError: where the environment has no picture.
    """
    return painter(env)(state, env.default_params if params is None else params)


def painter(env: Any) -> Painter:
    """What draws this environment's states; a wrapper's is the inner environment's.

    Raises:
      SettingError: where the environment has no picture.
    """
    if hasattr(env, "render_frame"):
        return env.render_frame
    if isinstance(env, Wrapper):
        inner = painter(env.env)
        return lambda state, params: inner(state.env_state, params)
    for kind, paint in OF_GYMNAX.items():
        if isinstance(env, kind):
            return functools.partial(paint, env)
    raise SettingError(
        f"env: {type(env).__name__} has no picture; "
        "define render_frame(state, params) there, which returns uint8 [height, width, 3]"
    )


def sea(size: int, row: Any, column: Any) -> np.ndarray:
    """DeepSea: the water deepens row by row, the treasure lies in the last cell, below it is the seabed."""
    board = Board(size + 1, size)
    for r, c in np.ndindex(size, size):
        board.cell(r, c, mixed(WATER, DEEP, r / size) if c <= r else FLOOR)
    for c in range(size):
        board.cell(size, c, GROUND)
    board.box((size - 0.8, size - 0.2), (1.2, 1.8), GOAL)
    board.piece(int(row), int(column), AGENT)
    return board.frame()


def row(rewards: np.ndarray, position: Any) -> np.ndarray:
    """A finite MDP's states in a row, the greener the more their best action pays at once, ``[S]``."""
    best = np.maximum(rewards, 0)
    board = Board(3, len(best))
    # States differ by orders of magnitude, and the lesser reward is to be seen as well.
    shares = np.where(best > 0, (best / max(best.max(), 1e-12)) ** 0.25, 0)
    for column, share in enumerate(shares):
        board.cell(1, column, mixed(FLOOR, GOAL, 0.8 * share))
    board.piece(1, int(position), AGENT)
    return board.frame()


def cart_pole(x: Any, theta: Any, limit: float, length: float, below: float) -> np.ndarray:
    """A cart on its track, with posts at ±`limit`, and its pole, `theta` clockwise from upright."""
    x, theta = float(x), float(theta)
    end = limit + 0.35
    scene = Scene((-end, end), (-below, length + 0.5))
    scene.line([(-end, -0.22), (end, -0.22)], 0.02, WALL)
    for post in (-limit, limit):
        scene.line([(post, -0.34), (post, -0.1)], 0.04, TRAP)
    scene.box((x - 0.3, x + 0.3), (-0.14, 0.14), INK)
    for wheel in (-0.18, 0.18):
        scene.disc((x + wheel, -0.15), 0.075, WALL)
    scene.line([(x, 0), (x + length * np.sin(theta), length * np.cos(theta))], 0.1, ROD)
    scene.disc((x, 0), 0.045, AGENT)
    return scene.frame()


def mountain_car(state: Any, params: Any, trap: float | None = None) -> np.ndarray:
    """A car on the hill y = .45 sin(3x) + .55, with a flag at the goal and another one at the trap."""
    position, low, high = float(state.position), float(params.min_position), float(params.max_position)
    scene = Scene((low - 0.05, high + 0.05), (0, 1.32))
    hill = np.linspace(low - 0.1, high + 0.1, 200)
    scene.polygon([(hill[-1], -1), (hill[0], -1), *zip(hill, _height(hill), strict=True)], GROUND)
    scene.line(list(zip(hill, _height(hill), strict=True)), 0.012, WALL)
    scene.flag((float(params.goal_position), _height(float(params.goal_position))), GOAL)
    if trap is not None:
        scene.flag((trap, _height(trap)), TRAP)
    slope = np.arctan(0.45 * 3 * np.cos(3 * position))
    along, up = np.array([np.cos(slope), np.sin(slope)]), np.array([-np.sin(slope), np.cos(slope)])
    foot = np.array([position, _height(position)])
    body = [(-0.07, 0.03), (0.07, 0.03), (0.07, 0.06), (0.04, 0.065), (0.025, 0.1), (-0.04, 0.1), (-0.07, 0.065)]
    scene.polygon([foot + a * along + b * up for a, b in body], AGENT)
    for wheel in (-0.04, 0.04):
        scene.disc(foot + wheel * along + 0.028 * up, 0.024, INK)
    return scene.frame()


def _height(position: Any) -> Any:
    return 0.45 * np.sin(3 * position) + 0.55


def acrobot(env: Any, state: Any, params: Any) -> np.ndarray:
    """Two rods that hang from a bar, and the line that the free end shall reach."""
    del env
    lengths = np.array([float(params.link_length_1), float(params.link_length_2)])
    angles = np.cumsum([float(state.joint_angle1), float(state.joint_angle2)])
    joints = np.cumsum([np.zeros(2), *(lengths[:, None] * np.stack([np.sin(angles), -np.cos(angles)], 1))], 0)
    reach = lengths.sum() + 0.2
    scene = Scene((-reach, reach), (-reach, reach))
    scene.line([(-reach, 1), (reach, 1)], 0.03, GOAL)  # the height of 1 is in the environment, whatever the lengths
    scene.line(joints[:2], 0.2, ROD)
    scene.line(joints[1:], 0.2, mixed(ROD, AGENT, 0.5))
    for joint, colour in zip(joints, (INK, INK, AGENT), strict=True):
        scene.disc(joint, 0.07, colour)
    return scene.frame()


def pendulum(env: Any, state: Any, params: Any) -> np.ndarray:
    """A rod on a pivot, its angle counted against the clock from upright, and an arc for the last torque."""
    del env
    theta, torque = float(state.theta), float(state.last_u) / float(params.max_torque)
    scene = Scene((-1.3, 1.3), (-1.3, 1.3))
    scene.line([(0, 1.1), (0, 1.2)], 0.03, GOAL)
    scene.line([(0, 0), (-np.sin(theta), np.cos(theta))], 0.18, ROD)
    scene.disc((0, 0), 0.06, INK)
    if abs(torque) > 0.02:
        turn = np.linspace(0, torque * np.pi / 2, 30)
        arc = 0.4 * np.stack([-np.sin(turn), np.cos(turn)], 1)
        ahead = np.sign(torque) * np.array([-np.cos(turn[-1]), -np.sin(turn[-1])])
        outward = arc[-1] / 0.4
        scene.line(arc, 0.03, AGENT)
        scene.polygon([arc[-1] + 0.12 * ahead, arc[-1] + 0.07 * outward, arc[-1] - 0.07 * outward], AGENT)
    return scene.frame()


def rooms(env: Any, state: Any, params: Any) -> np.ndarray:
    """A map of walls and floor (FourRooms, MetaMaze), with the goal and the agent."""
    del params
    floor = np.asarray(env.env_map, bool)
    board = Board(*floor.shape)
    for (r, c), free in np.ndenumerate(floor):
        board.cell(r, c, FLOOR if free else WALL)
    board.cell(int(state.goal[0]), int(state.goal[1]), GOAL)
    board.piece(int(state.pos[0]), int(state.pos[1]), AGENT)
    return board.frame()


def lake(env: Any, state: Any, params: Any) -> np.ndarray:
    """Ice with holes (FrozenLake)."""
    del params
    tiles = np.asarray(env.desc)
    board = Board(*tiles.shape)
    for (r, c), tile in np.ndenumerate(tiles):
        board.cell(r, c, {HOLE: DEEP, LAKE_GOAL: GOAL}.get(int(tile), mixed(PAPER, WATER, 0.3)))
    board.piece(*divmod(int(state.position), tiles.shape[1]), AGENT)
    return board.frame()


def catch(env: Any, state: Any, params: Any) -> np.ndarray:
    """A ball that falls to a paddle."""
    del params
    board = Board(env.rows, env.columns, DIM, NIGHT)
    board.cell(int(state.paddle_y), int(state.paddle_x), AGENT)
    board.piece(int(state.ball_y), int(state.ball_x), ROD)
    return board.frame()


def screen(colours: Mapping[int, str], env: Any, state: Any, params: Any) -> np.ndarray:
    """An observation ``[H, W, C]`` as an arcade's screen: each channel's colour, painted in the mapping's order."""
    channels = np.asarray(_observed(env, state, params))
    rows, columns, _ = channels.shape
    board = Board(rows, columns, DIM, NIGHT)
    for channel, colour in colours.items():
        for r, c in np.argwhere(channels[..., channel] > 0):
            board.cell(int(r), int(c), colour)
    return board.frame()


@functools.partial(jax.jit, static_argnames="env")
def _observed(env: Any, state: Any, params: Any) -> Any:
    return env.get_obs(state, params)


def _plane(discs: Sequence[tuple[Any, float, str]], reach: float, links: Any = ()) -> np.ndarray:
    """Discs in a square around the origin, over a chain of rods."""
    scene = Scene((-reach, reach), (-reach, reach))
    if len(links):
        scene.line(links, reach / 20, ROD)
    for centre, radius, colour in discs:
        scene.disc(centre, radius, colour)
    return scene.frame()


def point_robot(env: Any, state: Any, params: Any) -> np.ndarray:
    """A point that looks for its goal on a half circle."""
    del env
    radius = float(params.circle_radius)
    turn = np.linspace(0, np.pi, 60)
    scene = Scene((-1.4 * radius, 1.4 * radius), (-0.4 * radius, 1.4 * radius))
    scene.line(radius * np.stack([np.cos(turn), np.sin(turn)], 1), 0.015 * radius, GROUND)
    scene.disc(state.goal, float(params.goal_radius), mixed(PAPER, GOAL, 0.6))
    scene.disc(state.pos, 0.06 * radius, AGENT)
    return scene.frame()


def reacher(env: Any, state: Any, params: Any) -> np.ndarray:
    """A chain of rods of length 1, each at its own angle from the right, that reaches for its goal."""
    del params
    angles = np.asarray(state.angles)
    joints = np.cumsum([np.zeros(2), *np.stack([np.cos(angles), np.sin(angles)], 1)], 0)
    reach = env.num_joints * 1.1
    goal = (state.goal_xy, reach / 20, GOAL)
    return _plane([goal, (joints[0], reach / 30, INK), (joints[-1], reach / 24, AGENT)], reach, joints)


def swimmer(env: Any, state: Any, params: Any) -> np.ndarray:
    """A swimmer among urchins; the nearer it is to one the less it earns."""
    del env, params
    urchins = [(xy, 0.18, TRAP) for xy in np.asarray(state.urchin_xys)]
    return _plane([*urchins, (state.goal_xy, 0.08, GOAL), (state.xy, 0.08, AGENT)], 1.5)


TRAIL, FISH = "#5c6270", mixed(DEEP, WATER, 0.4)
OF_GYMNAX: dict[type, Callable[[Any, Any, Any], np.ndarray]] = {
    DeepSea: lambda env, state, params: sea(env.size, state.row, state.column),
    FourRooms: rooms,
    MetaMaze: rooms,
    FrozenLake: lake,
    Catch: catch,
    CartPole: lambda env, state, params: cart_pole(
        state.x, state.theta, float(params.x_threshold), 2 * float(params.length), below=0.45
    ),
    MountainCar: lambda env, state, params: mountain_car(state, params),
    ContinuousMountainCar: lambda env, state, params: mountain_car(state, params),
    Acrobot: acrobot,
    Pendulum: pendulum,
    PointRobot: point_robot,
    Reacher: reacher,
    Swimmer: swimmer,
    Pong: functools.partial(screen, {2: TRAIL, 1: ROD, 0: AGENT}),
    # MinAtar's channels, in their games' words; what is painted last is on top.
    MinAsterix: functools.partial(screen, {2: TRAIL, 3: ROD, 1: TRAP, 0: AGENT}),  # trail, gold, enemy, player
    MinBreakout: functools.partial(screen, {3: WATER, 2: TRAIL, 1: ROD, 0: AGENT}),  # brick, trail, ball, paddle
    # Trails of cars that move every 5th to every single step, car, chicken.
    MinFreeway: functools.partial(
        screen, {6: "#2f4858", 5: "#36566a", 4: "#3d647c", 3: "#43728e", 2: "#4a80a0", 1: WATER, 0: AGENT}
    ),
    # Oxygen and divers on board, trail, diver, enemy submarine, fish, bullets, the submarine's back and front.
    MinSeaquest: functools.partial(
        screen,
        {
            7: WATER,
            8: GOAL,
            3: TRAIL,
            9: GOAL,
            6: TRAP,
            5: FISH,
            4: PAPER,
            2: ROD,
            1: mixed(NIGHT, AGENT, 0.6),
            0: AGENT,
        },
    ),
    # Bullets, aliens (the two channels of their direction show the same ones), cannon.
    MinSpaceInvaders: functools.partial(screen, {5: TRAP, 4: ROD, 1: WATER, 0: AGENT}),
}
