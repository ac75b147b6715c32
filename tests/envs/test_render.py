"""Pictures of states: every environment that has one draws it, and what they show is where it should be."""

from types import SimpleNamespace

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

import purejaxrl
from purejaxrl import envs
from purejaxrl.envs import drawing, minigrid, scenes
from purejaxrl.envs.minigrid import engine, objects, picture
from purejaxrl.types import SettingError

WITHOUT = {
    *("MemoryChain-bsuite", "UmbrellaChain-bsuite", "DiscountingChain-bsuite"),
    *("MNISTBandit-bsuite", "SimpleBandit-bsuite", "BernoulliBandit-misc", "GaussianBandit-misc"),
}
IDS = [env_id for env_id in envs.ids() if env_id not in WITHOUT | minigrid.TASKS.keys()]  # all levels are drawn alike


def pixels(frame, colour):
    """The pixels of exactly this colour: their columns and rows, ``[n]`` each."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    rows, columns = np.nonzero((frame == wanted).all(-1))
    assert len(rows), f"nothing is {colour}"
    return columns, rows


def centre(frame, colour):
    """The mean column and row of this colour."""
    columns, rows = pixels(frame, colour)
    return columns.mean(), rows.mean()


def cell(frame, colour, rows, columns):
    """The row and column of the board's cell at the middle of what has this colour."""
    x, y = centre(frame, colour)
    return int(y / frame.shape[0] * rows), int(x / frame.shape[1] * columns)


@pytest.mark.parametrize("env_id", [*IDS, "MiniGrid-Fetch-5x5-N2-v0"])
def test_every_environment_draws_its_states(env_id):
    env, params = purejaxrl.make(env_id)

    @jax.jit
    def played(key):
        _, state = env.reset_env(key, params)
        if env_id.endswith("MinAtar"):  # seconds of compiling, for a state that is drawn no differently
            return (state,)
        _, after, *_ = env.step_env(key, state, env.action_space(params).sample(key), params)
        return state, after

    for state in played(jax.random.key(0)):
        frame = envs.render(env, state, params)
        assert frame.dtype == np.uint8
        assert frame.ndim == 3
        assert frame.shape[2] == 3
        assert 300 <= max(frame.shape) <= 500
        assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 2


def pole(theta, x=0.0):
    return scenes.cart_pole(x, theta, limit=2.4, length=1.0, below=1.25)


def test_a_pole_leans_where_its_angle_says():
    middle, _ = centre(pole(0.0), drawing.INK)
    right, up = centre(pole(0.3), drawing.ROD)
    assert right > middle
    assert centre(pole(-0.3), drawing.ROD)[0] < middle
    assert centre(pole(np.pi), drawing.ROD)[1] > up  # hangs
    assert centre(pole(0.0, x=1.0), drawing.INK)[0] > middle
    columns, _ = pixels(pole(0.3), drawing.ROD)
    scale = drawing.PIXELS / 5.5  # from -2.4 - .35 to 2.4 + .35
    np.testing.assert_allclose((columns.max() - middle) / scale, np.sin(0.3) + 0.05, atol=0.03)  # half its width more


def test_a_car_is_on_the_hill_where_its_position_says():
    params = envs.make("MountainCar-v0")[1]
    frames = [scenes.mountain_car(SimpleNamespace(position=p), params) for p in np.linspace(-1.2, 0.5, 9)]
    x, y = np.array([centre(frame, drawing.AGENT) for frame in frames]).T
    assert (np.diff(x) > 0).all()
    position = x / drawing.PIXELS * 1.9 - 1.25
    height = 1.32 - y / drawing.PIXELS * 1.9
    np.testing.assert_allclose(height, 0.45 * np.sin(3 * position) + 0.55, atol=0.15)  # its middle is above the road
    flag, _ = pixels(frames[0], drawing.GOAL)
    np.testing.assert_allclose(flag.min() / drawing.PIXELS * 1.9 - 1.25, 0.5, atol=0.02)
    trap = scenes.mountain_car(SimpleNamespace(position=-0.5), params, trap=-0.9)
    np.testing.assert_allclose(pixels(trap, drawing.TRAP)[0].min() / drawing.PIXELS * 1.9 - 1.25, -0.9, atol=0.02)


def test_an_acrobot_hangs_at_zero_and_turns_to_the_right_first():
    env, params = envs.make("Acrobot-v1")

    def end(first, second):
        x, y = centre(envs.render(env, SimpleNamespace(joint_angle1=first, joint_angle2=second), params), drawing.AGENT)
        return (x / drawing.PIXELS - 0.5) * 4.4, (0.5 - y / drawing.PIXELS) * 4.4

    np.testing.assert_allclose(end(0.0, 0.0), (0, -2), atol=0.03)
    np.testing.assert_allclose(end(np.pi / 2, 0.0), (2, 0), atol=0.03)
    np.testing.assert_allclose(end(np.pi, 0.0), (0, 2), atol=0.03)
    np.testing.assert_allclose(end(0.0, np.pi / 2), (1, -1), atol=0.03)


def test_a_pendulum_stands_at_zero_and_turns_against_the_clock():
    env, params = envs.make("Pendulum-v1")

    def drawn(theta, torque=0.0):
        return envs.render(env, SimpleNamespace(theta=theta, last_u=torque), params)

    middle = drawing.PIXELS / 2
    assert centre(drawn(0.0), drawing.ROD)[1] < middle < centre(drawn(np.pi), drawing.ROD)[1]
    assert centre(drawn(np.pi / 2), drawing.ROD)[0] < middle < centre(drawn(-np.pi / 2), drawing.ROD)[0]
    assert centre(drawn(np.pi, 2.0), drawing.AGENT)[0] < middle < centre(drawn(np.pi, -2.0), drawing.AGENT)[0]


@pytest.mark.parametrize("env_id", ["DeepSea-bsuite", "BsuiteDeepSea-v0"])
def test_the_diver_is_in_its_cell(env_id):
    env, _ = envs.make(env_id, size=5)
    for row, column in [(0, 0), (3, 1), (4, 4), (5, 2)]:  # the last one on the seabed
        frame = envs.render(env, SimpleNamespace(row=row, column=column))
        assert cell(frame, drawing.AGENT, 6, 5) == (row, column)
        assert cell(frame, drawing.GOAL, 6, 5)[0] == 4


def test_a_row_shows_its_state_and_where_rewards_are():
    env, _ = envs.make("Chain-v0", num_states=8)
    frame = envs.render(env, SimpleNamespace(position=jnp.int32(5)))
    assert cell(frame, drawing.AGENT, 3, 8) == (1, 5)
    first, second, last = (frame[75, column].astype(int) for column in (4, 75, 395))
    assert last[0] < first[0] < second[0]  # the greener the more it pays


def test_maps_show_goal_and_agent():
    env, _ = envs.make("FourRooms-misc")
    frame = envs.render(env, SimpleNamespace(pos=np.array([3, 1]), goal=np.array([8, 9])))
    assert cell(frame, drawing.AGENT, 13, 13) == (3, 1)
    assert cell(frame, drawing.GOAL, 13, 13) == (8, 9)
    env, _ = envs.make("FrozenLake-misc")
    assert cell(envs.render(env, SimpleNamespace(position=6)), drawing.AGENT, 4, 4) == (1, 2)


def test_an_arcade_screen_shows_each_channel_in_its_cells():
    env, params = envs.make("Breakout-MinAtar")
    _, state = jax.jit(env.reset_env)(jax.random.key(0), params)
    middles = envs.render(env, state.replace(ball_y=3, ball_x=9, pos=6), params)[20::40, 20::40]
    bricks = np.asarray(state.brick_map, bool)
    bricks[3, 9] = False  # the ball is before it
    for colour, there in (
        (drawing.WATER, np.argwhere(bricks)),
        (drawing.ROD, [(3, 9)]),
        (drawing.AGENT, [(9, 6)]),
    ):
        columns, rows = pixels(middles, colour)
        assert set(zip(rows, columns, strict=True)) == set(map(tuple, there))


def test_a_minigrid_level_shows_its_objects_and_what_is_seen():
    """Agent in the corner of a room of 6 x 6, looking east along a wall: key, door and goal in their cells."""
    env, params = purejaxrl.make("MiniGrid-DoorKey-8x8-v0")
    grid = np.full((8, 8), objects.WALL, np.uint16)
    grid[1:-1, 1:-1] = objects.EMPTY
    grid[1, 3], grid[3, 3], grid[6, 6] = objects.thing(objects.DOOR, objects.RED, objects.LOCKED), 0, objects.GOAL
    grid[3, 3] = objects.thing(objects.BALL, objects.BLUE)
    state = engine.start(grid, 1, 1, engine.EAST)
    frame = envs.render(env, jax.device_get(state), params)
    middles = frame[25::50, 25::50]
    assert hexed(middles[1, 1]) == drawing.AGENT
    assert hexed(middles[6, 6]) == picture.COLOURS[objects.GREEN]
    assert hexed(middles[3, 3]) == picture.COLOURS[objects.BLUE]
    assert hexed(middles[1, 3]) == picture.COLOURS[objects.RED]
    assert hexed(middles[0, 0]) == drawing.WALL
    assert hexed(middles[2, 2]) == drawing.PAPER, "seen"
    assert hexed(middles[6, 1]) == drawing.FLOOR, "beside the view, which goes 3 to the side"
    turned = envs.render(env, state.replace(direction=jnp.int32(engine.SOUTH)), params)[25::50, 25::50]
    assert hexed(turned[6, 1]) == drawing.PAPER


def hexed(pixel):
    return "#" + "".join(f"{value:02x}" for value in pixel)


def test_wrappers_show_what_is_inside():
    env, params = envs.make("RiverSwim-v0")
    wrapped = envs.FrameStack(envs.StickyActions(env), 2)
    _, state = wrapped.reset_env(jax.random.key(0), params)
    np.testing.assert_array_equal(
        envs.render(wrapped, state, params), envs.render(env, state.env_state.env_state, params)
    )
    cartpole, params = envs.make("CartPole-v1", frame_stack=2)  # gymnax's, which has no method of its own
    _, state = cartpole.reset_env(jax.random.key(0), params)
    np.testing.assert_array_equal(envs.render(cartpole, state), envs.render(cartpole.env, state.env_state))


def test_an_environment_draws_itself_or_is_refused_by_name():
    class Drawn(probes.Probe):
        def render_frame(self, state, params):
            return np.full((2, 3, 3), state, np.uint8)

    assert envs.render(Drawn(), 7).tolist() == np.full((2, 3, 3), 7).tolist()
    assert envs.render(envs.StickyActions(Drawn()), SimpleNamespace(env_state=7)).max() == 7
    for env in (probes.Probe(), envs.StickyActions(probes.Probe()), gymnax.make("MemoryChain-bsuite")[0]):
        with pytest.raises(SettingError, match=r"has no picture; define render_frame\(state, params\)"):
            envs.render(env, None)
