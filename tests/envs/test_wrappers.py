"""FrameStack against a NumPy stack of the bare environment's observations, and CartPole without velocities."""

import pickle

import jax
import jax.numpy as jnp
import learners
import numpy as np
import probes
import pytest
from flax import struct
from gymnax.environments import spaces

import purejaxrl
from purejaxrl import envs, stepping
from purejaxrl.algos import PPO
from purejaxrl.envs import FrameStack, MultiDiscrete
from purejaxrl.types import SettingError

STACKED = ["CartPole-v1", "Breakout-MinAtar", "DeepSea-bsuite", "FrozenLake-misc", "FourRooms-misc", "Catch-bsuite"]


class Leaves(probes.Clock):
    """Observations of several kinds, an int8 grid among them; rows of ``[3, 2]`` share the bounds of their columns."""

    def obs(self, state):
        x = state.x
        return {"grid": jnp.full((3, 2), x).astype(jnp.int8), "pair": (x, jnp.stack([x, -x]))}

    def observation_space(self, params):
        grid = spaces.Box(jnp.array([-1, 0]), 9, (3, 2), jnp.int8)
        pair = spaces.Tuple((spaces.Discrete(4), spaces.Box(jnp.array([0.0, -3.0]), jnp.array([3.0, 0.0]), (2,))))
        return spaces.Dict({"grid": grid, "pair": pair})

    def cells(self):
        return envs.Cells(lambda state: state.time - 1, 3, np.arange(3)[None])


@struct.dataclass
class Recorder(PPO):
    """Hands every batch out as a metric."""

    def update(self, state, key, batch, actor0, reward_fn):
        state, metrics = super().update(state, key, batch, actor0, reward_fn)
        return state, {**metrics, "batch": batch.replace(extras=None)}


def trajectory(env, params, steps=8):
    """Every observation from a reset on, and the states, under the same keys and actions whatever wraps the env."""

    def play(key):
        reset_key, loop_key = jax.random.split(key)
        obs, state = stepping.reset(env, params, reset_key)

        def step(state, key):
            action = stepping.random_action(env, params, key)
            obs, state, *rest = stepping.step(env, params, key, state, action)
            return state, (obs, state, rest)

        return obs, jax.lax.scan(step, state, jax.random.split(loop_key, steps))[1]

    first, (later, states, rest) = jax.jit(play)(jax.random.key(3))
    return jax.tree.map(lambda x, xs: np.concatenate([x[None], xs]), first, later), states, rest


def stack(observations, num_frames):
    """The last `num_frames` of ``[T, ...]`` along the last axis, the first one repeated before the start."""
    if observations.ndim == 1:
        observations = observations[:, None]
    times = np.arange(len(observations))
    return np.concatenate([observations[np.maximum(times - age, 0)] for age in reversed(range(num_frames))], -1)


def flat_space(space):
    children = space.spaces if hasattr(space, "spaces") else None
    if children is None:
        return [space]
    return [
        leaf for child in (children.values() if isinstance(children, dict) else children) for leaf in flat_space(child)
    ]


@pytest.mark.parametrize("num_frames", [1, 3])
@pytest.mark.parametrize("env_id", [*STACKED, "leaves"])
def test_against_a_numpy_stack(env_id, num_frames):
    env = Leaves() if env_id == "leaves" else purejaxrl.make(env_id)[0]
    stacked, params = FrameStack(env, num_frames), env.default_params
    bare, bare_states, bare_rest = trajectory(env, params)
    frames, states, rest = trajectory(stacked, params)
    for x, y in zip(jax.tree.leaves(bare), jax.tree.leaves(frames), strict=True):
        np.testing.assert_array_equal(stack(x, num_frames), y)
        assert x.dtype == y.dtype
    for x, y in zip(jax.tree.leaves((bare_states, bare_rest)), jax.tree.leaves((states.env_state, rest)), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("env_id", [*STACKED, "leaves"])
def test_space_is_that_of_the_stack(env_id):
    """Its shapes, its bounds, and the dtypes that the bare environment declares, which may not be those it emits."""
    env = Leaves() if env_id == "leaves" else purejaxrl.make(env_id)[0]
    stacked, params = FrameStack(env, 3), env.default_params
    frames, *_ = trajectory(stacked, params, 3)
    children, bare = (flat_space(e.observation_space(params)) for e in (stacked, env))
    for child, inner, leaf in zip(children, bare, jax.tree.leaves(frames), strict=True):
        assert leaf.shape[1:] == child.shape
        assert child.dtype == inner.dtype
        assert jax.vmap(child.contains)(leaf).all()
    assert stacked.action_space(params).n == env.action_space(params).n


def test_bounds_are_repeated():
    env, params = purejaxrl.make("CartPole-v1", frame_stack=2)
    space, bare = env.observation_space(params), env.env.observation_space(params)
    np.testing.assert_array_equal(space.high, np.tile(bare.high, 2))
    np.testing.assert_array_equal(space.low, np.tile(bare.low, 2))
    grid = FrameStack(Leaves(), 2).observation_space(params).spaces["grid"]
    assert grid.shape == (3, 4)
    np.testing.assert_array_equal(np.broadcast_to(grid.low, (3, 4)), [[-1, 0, -1, 0]] * 3)
    assert grid.high == 9
    lake, params = purejaxrl.make("FrozenLake-misc", frame_stack=2)
    assert lake.observation_space(params).nvec == (16, 16)
    nested = FrameStack(lake, 2).observation_space(params)
    assert isinstance(nested, MultiDiscrete)
    assert nested.nvec == (16,) * 4


def test_unknown_spaces_are_refused():
    class Odd(probes.Clock):
        def observation_space(self, params):
            return spaces.Space()

    with pytest.raises(SettingError, match=r"frame_stack: observations of the space .* cannot be stacked"):
        FrameStack(Odd(), 2).observation_space(None)


def test_the_rest_passes_through():
    env, params = purejaxrl.make("DeepSea-bsuite", frame_stack=3, size=5)
    assert (env.size, env.name, env.num_actions) == (5, "DeepSea-bsuite", 2)
    assert params.max_steps_in_episode == 5
    assert not hasattr(env, "action_mask")
    assert not hasattr(env, "nothing")
    clock = FrameStack(Leaves(), 2)
    _, state = clock.reset(jax.random.key(0))
    np.testing.assert_array_equal(stepping.action_mask(clock, clock.default_params, state), [True, True, False])
    assert clock.get_obs(state) is clock.observe(jax.random.key(0), state, None, None) is state.frames
    assert set(clock.env.__dict__) == set(Leaves().__dict__)
    lake, params = purejaxrl.make("FrozenLake-misc", frame_stack=2)
    _, state = lake.reset(jax.random.key(0), params)
    assert not lake.is_terminated(state, params)
    assert not lake.is_terminal(state, params)
    assert lake.discount(state, params) == 1
    assert set(lake.state_space(params).spaces) == {"env_state", "frames"}
    copied = pickle.loads(pickle.dumps(FrameStack(probes.Clock(), 2)))
    assert copied.num_frames == 2


def test_cells_see_the_inner_state():
    env, params = purejaxrl.make("DeepSea-bsuite", size=4)
    stacked = FrameStack(FrameStack(env, 2), 2)
    bare, cells = envs.cells(env), envs.cells(stacked)
    assert cells.num_cells == bare.num_cells
    np.testing.assert_array_equal(cells.layout, bare.layout)
    ids = [jax.vmap(found.cell_fn)(trajectory(e, params, 4)[1]) for e, found in ((env, bare), (stacked, cells))]
    np.testing.assert_array_equal(*ids)
    assert envs.cells(FrameStack(Leaves(), 2)).num_cells == 3
    assert envs.cells(FrameStack(probes.Clock(), 2)) is None


@pytest.mark.parametrize("env_id", ["CartPole-v1", "DeepSea-bsuite", "FrozenLake-misc"])
def test_gymnax_s_own_step_resets_the_stack(env_id):
    """``env.step`` against the bare one's, statistics that DeepSea keeps across episodes included."""
    env, params = purejaxrl.make(env_id)
    stacked = FrameStack(env, 2)
    params = params.replace(max_steps_in_episode=3)
    obs, state = env.reset(jax.random.key(0), params)
    frames, stacked_state = stacked.reset(jax.random.key(0), params)
    previous, ends = obs, 0
    np.testing.assert_array_equal(frames, stack(np.stack([obs]), 2)[0])
    for key in jax.random.split(jax.random.key(1), 10):
        action = env.action_space(params).sample(key)
        obs, state, *rest, info = env.step(key, state, action, params)
        frames, stacked_state, *stacked_rest, stacked_info = stacked.step(key, stacked_state, action, params)
        np.testing.assert_array_equal(
            stacked_info["final_observation"], stack(np.stack([previous, info["final_observation"]]), 2)[1]
        )
        done = bool(rest[1] | rest[2])
        before = obs if done else previous
        np.testing.assert_array_equal(frames, stack(np.stack([before, obs]), 2)[1])
        np.testing.assert_array_equal(stacked_state.frames, frames)
        jax.tree.map(np.testing.assert_array_equal, (stacked_state.env_state, stacked_rest), (state, rest))
        previous, ends = obs, ends + done
    assert ends >= 2


def test_the_loop_resets_the_stack():
    """Clock's x counts an episode's three steps; PPO's batches show whole stacks on both sides of an episode's end."""
    env = FrameStack(probes.Clock(), 3)
    algo = Recorder(num_steps=8, hidden=(8,), num_minibatches=2, num_epochs=1)
    train = purejaxrl.make_train(env, algo, num_envs=2, total_steps=32)
    result = jax.jit(train)(jax.random.key(0))
    batch = jax.tree.map(lambda x: np.asarray(x).reshape(16, *x.shape[2:]), result.metrics["batch"])
    seen, following = [[0, 0, 0], [0, 0, 1], [0, 1, 2]], [[0, 0, 1], [0, 1, 2], [1, 2, 3]]
    for env_number in range(2):
        np.testing.assert_array_equal(batch.obs[:, env_number], [seen[time % 3] for time in range(16)])
        np.testing.assert_array_equal(batch.next_obs[:, env_number], [following[time % 3] for time in range(16)])
    np.testing.assert_array_equal(batch.terminated, (np.arange(16) % 3 == 2)[:, None].repeat(2, 1))
    assert (batch.action != 2).all()
    assert np.isfinite(jax.tree.leaves(result.state.learner)[0]).all()


@pytest.mark.parametrize("env_id", ["PositionOnlyCartPole-v1", "FrozenLake-misc", "DeepSea-bsuite", "Breakout-MinAtar"])
def test_every_kind_of_observation_trains(env_id):
    """Traced, not compiled, with traced parameters."""
    env, params = purejaxrl.make(env_id, frame_stack=4)
    result = learners.trace(env, params)
    assert result.metrics["episode_return"].shape == (2,)


def test_make_offers_frame_stack():
    assert isinstance(purejaxrl.make("CartPole-v1", frame_stack=2)[0], FrameStack)
    assert not isinstance(purejaxrl.make("CartPole-v1")[0], FrameStack)
    assert not isinstance(purejaxrl.make("CartPole-v1", frame_stack=1)[0], FrameStack)
    assert envs.constructor_settings("DeepSea-bsuite")["frame_stack"] == 1
    found = envs.settings("DeepSea-bsuite", frame_stack=3, size=9)
    assert (found["frame_stack"], found["size"], found["max_steps_in_episode"]) == (3, 9, 9)


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "2", None])
def test_wrong_frame_stacks_are_refused(value):
    with pytest.raises(SettingError, match=r"env\.frame_stack must be"):
        purejaxrl.make("CartPole-v1", frame_stack=value)
    with pytest.raises(SettingError, match="num_frames must be"):
        FrameStack(probes.Clock(), value)


def test_a_misspelt_frame_stack_is_named():
    with pytest.raises(SettingError, match="did you mean frame_stack"):
        purejaxrl.make("CartPole-v1", framestack=2)


def test_position_only_cartpole_hides_the_velocities():
    hidden, params = purejaxrl.make("PositionOnlyCartPole-v1")
    full, full_params = purejaxrl.make("CartPole-v1")
    assert params == full_params
    assert "PositionOnlyCartPole-v1" in envs.ids()
    assert (hidden.name, hidden.obs_shape) == ("PositionOnlyCartPole-v1", (2,))
    seen, states, rest = trajectory(hidden, params, 40)
    wanted, full_states, full_rest = trajectory(full, params, 40)
    np.testing.assert_array_equal(seen, wanted[:, [0, 2]])
    jax.tree.map(np.testing.assert_array_equal, (states, rest), (full_states, full_rest))
    space, full_space = hidden.observation_space(params), full.observation_space(params)
    np.testing.assert_allclose(space.high, full_space.high[jnp.array([0, 2])])
    np.testing.assert_allclose(space.low, full_space.low[jnp.array([0, 2])])
    assert space.shape == seen.shape[1:]
    ended = np.flatnonzero(rest[1])
    assert ended.size
    assert jax.vmap(space.contains)(seen[: ended[0] + 2]).all()  # the last observation of the episode included
