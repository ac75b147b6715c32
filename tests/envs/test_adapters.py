"""Other packages' environments against the packages themselves, step by step; what is not installed is skipped."""

import concurrent.futures
import dataclasses
import functools
import importlib
import importlib.util
import time
from collections.abc import Callable
from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import learners
import numpy as np
import pytest

import purejaxrl
from purejaxrl import envs, stepping
from purejaxrl.algos import PPO
from purejaxrl.checking import inspect
from purejaxrl.envs import adapters, maps
from purejaxrl.envs.adapters import gymnasium as gymnasium_adapter
from purejaxrl.types import SettingError

LIMIT = 40
JITTED = [
    "brax:inverted_pendulum",
    "craftax:Craftax-Classic-Symbolic-v1",
    "jumanji:Snake-v1",
    "navix:Navix-DoorKey-5x5-v0",
    "octax:brix",
    "pgx:connect_four",
    "xminigrid:MiniGrid-DoorKey-5x5",
]
EVERY = [*JITTED, "gymnasium:CartPole-v1"]


@functools.cache
def make(env_id, **kwargs):
    pytest.importorskip(env_id.split(":")[0])
    return purejaxrl.make(env_id, **kwargs)


def same(x, y):
    assert jax.tree.structure(x) == jax.tree.structure(y)
    jax.tree.map(np.testing.assert_array_equal, x, y)


# --- against the packages ---------------------------------------------------------------------------------------------


class Package(NamedTuple):
    """A package as it is used without us, with a limit of `LIMIT` of its own where it has one."""

    reset: Callable  # of a key, to the observation and its state
    step: Callable  # of a key, a state and an action, to observation, state, reward and whether the episode is over


def brax():
    env = importlib.import_module("brax.envs").create(
        "inverted_pendulum", episode_length=LIMIT, auto_reset=False, backend="spring"
    )

    def out(state):
        return state.obs, state

    def step(key, state, action):
        state = env.step(state, action)
        return *out(state), state.reward, state.done > 0

    return Package(lambda key: out(env.reset(key)), step)


def craftax():
    make = importlib.import_module("craftax.craftax_env").make_craftax_env_from_name
    env = make("Craftax-Classic-Symbolic-v1", auto_reset=False)
    params = env.default_params.replace(max_timesteps=LIMIT)

    def parts(obs):  # 7 × 9 cells of 17 blocks and 4 creatures
        return {"map": jnp.stack(jnp.split(obs[:1323], 63)).reshape(7, 9, 21), "status": obs[1323:]}

    def reset(key):
        obs, state = env.reset(key, params)
        return parts(obs), state

    def step(key, state, action):
        obs, *others = env.step(key, state, action, params)[:4]
        return parts(obs), *others

    return Package(reset, step)


def test_craftax_s_map_is_one():
    """Each cell in sight has one block; the player sees the map of the game's state, the player in the middle."""
    pytest.importorskip("craftax")
    for name, blocks in (("Craftax-Symbolic-v1", 37), ("Craftax-Classic-Symbolic-v1", 17)):
        env, params = make(f"craftax:{name}")
        obs, state = jax.jit(lambda key, env=env, params=params: env.reset_env(key, params))(jax.random.key(0))
        shown = np.asarray(obs["map"])[..., :blocks]
        np.testing.assert_array_equal(shown.sum(-1), 1)
        world = np.asarray(state.inner.map)
        world = world[0] if world.ndim == 3 else world
        rows, columns = (size // 2 for size in shown.shape[:2])
        row, column = np.asarray(state.inner.player_position)
        there = world[row - rows : row + rows + 1, column - columns : column + columns + 1]
        np.testing.assert_array_equal(shown.argmax(-1), there)
        assert obs["status"].shape == env.observation_space(params).spaces["status"].shape


def jumanji():
    env = importlib.import_module("jumanji").make("Snake-v1", time_limit=LIMIT)

    def reset(key):
        state, timestep = env.reset(key)
        return timestep.observation, state

    def step(key, state, action):
        state, timestep = env.step(state.replace(key=key), action)
        return timestep.observation, state, timestep.reward, timestep.last()

    return Package(reset, step)


def navix():
    env = importlib.import_module("navix").make("Navix-DoorKey-5x5-v0", max_steps=LIMIT)

    def out(timestep):
        return timestep.observation, timestep

    def step(key, timestep, action):
        timestep = env.step(timestep, action)
        return *out(timestep), timestep.reward, timestep.is_done()

    return Package(lambda key: out(env.reset(key)), step)


def octax():
    create = importlib.import_module("octax.environments").create_environment
    env, _ = create("brix", max_num_steps_per_episodes=LIMIT)

    def reset(key):
        state, obs, _ = env.reset(key)
        return jnp.moveaxis(obs, 0, -1), state

    def step(key, state, action):
        state, obs, reward, terminated, truncated, _ = env.step(state.replace(rng=key), action)
        return jnp.moveaxis(obs, 0, -1), state, reward, terminated | truncated

    return Package(reset, step)


def xminigrid():
    env, params = importlib.import_module("xminigrid").make("MiniGrid-DoorKey-5x5", max_steps=LIMIT)

    def out(timestep):
        return timestep.observation, timestep

    def step(key, timestep, action):
        timestep = env.step(params, timestep, action)
        return *out(timestep), timestep.reward, timestep.last()

    return Package(lambda key: out(env.reset(params, key)), step)


def pgx():
    """One player after the other; there is no limit."""
    env = importlib.import_module("pgx").make("connect_four")

    def out(state):
        return state.observation, state

    def step(key, state, action):
        mover, state = state.current_player, env.step(state, action, jax.random.split(key)[0])
        return *out(state), state.rewards[mover], state.terminated

    return Package(lambda key: out(env.init(jax.random.split(key)[0])), step)


def play(reset, step, choose, key, num_steps):
    """Observations, rewards, ends and actions with resets after ends; ``choose(key, state, number)`` acts."""
    reset_key, loop_key = jax.random.split(key)
    like = jax.eval_shape(lambda key: step(key, reset(key)[1], choose(key, reset(key)[1], 0))[:2], key)

    def begin(key):
        return jax.tree.map(lambda leaf, shape: jnp.asarray(leaf, shape.dtype), reset(key), like)

    def body(now, number):
        step_key, begin_key, action_key = jax.random.split(jax.random.fold_in(loop_key, number), 3)
        action = choose(action_key, now[1], number)
        obs, state, reward, done = step(step_key, now[1], action)
        following = jax.lax.cond(done, lambda: begin(begin_key), lambda: (obs, state))  # one env: a reset only then
        return following, (obs, jnp.float32(reward), done, action)

    first = begin(reset_key)
    return first[0], *jax.lax.scan(body, first, jnp.arange(num_steps))[1]


@pytest.mark.parametrize("env_id", JITTED)
def test_steps_are_the_package_s(env_id):
    """Observations, the final ones included, rewards and ends over random actions, with resets; rounding aside."""
    prefix = env_id.split(":")[0]
    num_steps = 90 if prefix == "craftax" else 300
    env, params = make(env_id, opponent="self") if prefix == "pgx" else make(env_id)
    if prefix != "pgx":
        params = params.replace(max_steps_in_episode=LIMIT)

    def step(key, state, action):
        obs, state, reward, terminated, truncated = stepping.step(env, params, key, state, action)
        return obs, state, reward, terminated | truncated

    def random(key, state, number):
        return stepping.random_action(env, params, key, stepping.action_mask(env, params, state))

    run = functools.partial(play, key=jax.random.key(3), num_steps=num_steps)
    ours = jax.jit(lambda: run(lambda key: env.reset_env(key, params), step, random))()
    package = globals()[prefix]()
    theirs = jax.jit(lambda actions: run(*package, lambda key, state, number: actions[number]))(ours[-1])
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), ours, theirs)
    assert ours[3].sum() >= num_steps // LIMIT


def test_gymnasium_s_steps_are_gymnasium_s():
    """CartPole alone and two at once, each by its own seed, over its ends and with the limit."""
    env, params = purejaxrl.make("gymnasium:CartPole-v1", max_steps_in_episode=15)
    reset = jax.jit(jax.vmap(lambda key: env.reset_env(key, params)))
    step = jax.jit(jax.vmap(lambda key, state, action: stepping.step(env, params, key, state, action)))
    theirs = [gymnasium.make("CartPole-v1", max_episode_steps=15) for _ in range(2)]
    ends = np.zeros(2, int)
    obs, state = reset(jax.random.split(jax.random.key(0), 2))
    for other, seed, row in zip(theirs, np.asarray(state.inner.seed), obs, strict=True):
        np.testing.assert_array_equal(row, other.reset(seed=int(seed))[0])
    for number in range(60):
        key = jax.random.key(number)
        action = jax.random.randint(key, (2,), 0, 2)
        obs, state, *outcome = step(jax.random.split(key, 2), state, action)
        found = [other.step(int(a)) for other, a in zip(theirs, action, strict=True)]
        np.testing.assert_array_equal(obs, [each[0] for each in found])
        np.testing.assert_array_equal(np.array(outcome), np.array([each[1:4] for each in found]).T)
        done = np.asarray(outcome[1] | outcome[2])
        ends += np.asarray(outcome[1:]).sum(1)
        _, fresh = reset(jax.random.split(key, 2))
        state = jax.tree.map(lambda x, y, done=done: jnp.where(done, x, y), fresh, state)
        for i in np.flatnonzero(done):
            theirs[i].reset(seed=int(fresh.inner.seed[i]))
    assert (ends > 0).all()


# --- one contract for all ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", EVERY)
def test_the_limit_truncates_and_nothing_else(env_id):
    """Three steps with a limit of three end truncated alone, with the observation that steps without it have."""
    env, params = make(env_id)
    short = dataclasses.replace(params, max_steps_in_episode=3)
    key = jax.random.key(1)

    def step(params, state, number):
        step_key = jax.random.fold_in(key, number)
        action = stepping.random_action(env, params, step_key, stepping.action_mask(env, params, state))
        obs, state, _, terminated, truncated = stepping.step(env, params, step_key, state, action)
        return state, (obs, terminated, truncated)

    @jax.jit
    def steps(params):
        _, state = stepping.reset(env, params, key)
        return jax.lax.scan(functools.partial(step, params), state, jnp.arange(3))[1]

    (obs, terminated, truncated), (other, *ends) = steps(short), steps(params)
    assert truncated.tolist() == [False, False, True]
    assert not terminated.any()
    assert not np.any(ends)
    same(obs, other)


@pytest.mark.parametrize("env_id", EVERY)
def test_check_env_finds_nothing_wrong(env_id):
    env, params = make(env_id)
    errors = inspect(env, params, num_envs=4, num_steps=100).errors
    assert len(errors) == env_id.startswith("gymnasium")
    assert all("calls Python on the host" in error for error in errors)


@pytest.mark.parametrize("env_id", EVERY)
def test_ppo_trains(env_id):
    env, params = make(env_id)
    small = PPO(num_steps=8, num_epochs=1, num_minibatches=1, hidden=(8,))
    train = learners.bind(env, small, env_params=params, num_envs=2, total_steps=32)
    metrics = jax.jit(train)(jax.random.key(0)).metrics
    assert metrics["env_steps"].tolist() == [16, 32]
    assert np.isfinite(metrics["policy_loss"]).all()


# --- what is special --------------------------------------------------------------------------------------------------


def test_pgx_s_opponent_answers():
    """Against a loop in Python: who moves first, whose reward, and the mask of whoever is to move."""
    game = pytest.importorskip("pgx").make("tic_tac_toe")
    door = importlib.import_module("purejaxrl.envs.adapters.pgx")
    env, params = make("pgx:tic_tac_toe")
    reset, step = jax.jit(lambda key: env.reset_env(key, params)), jax.jit(lambda *args: env.step_env(*args, params))
    init, move, answer = jax.jit(game.init), jax.jit(game.step), jax.jit(door.random_opponent)
    first, returns = [], []

    def answered(key, state):
        rewards = state.rewards
        while state.current_player != door.LEARNER and not state.terminated:
            key, choose, play = jax.random.split(key, 3)
            state = move(state, answer(choose, state), play)
            rewards += state.rewards
        return state, rewards

    for seed in range(20):
        deal, reply = jax.random.split(jax.random.key(seed))
        _, state = reset(jax.random.key(seed))
        theirs, _ = answered(reply, init(deal))
        first.append(not state.inner.observation.any())
        total, terminated = 0.0, False
        while not terminated:
            same(state.inner, theirs)
            mask = env.action_mask(state, params)
            key = jax.random.fold_in(jax.random.key(seed), int(state.time))
            action = stepping.random_action(env, params, key, mask)
            obs, state, reward, terminated, _ = step(key, state, action)
            play, reply = jax.random.split(key)
            theirs, rewards = answered(reply, move(theirs, action, play))
            assert reward == rewards[0]
            same(obs, theirs.observation)
            total += reward
        returns.append(float(total))
    assert {True, False} == set(first)
    assert {-1.0, 1.0} <= set(returns)
    with pytest.raises(SettingError, match=r"env.opponent: unknown value 'nobody'; choose from random, self"):
        purejaxrl.make("pgx:tic_tac_toe", opponent="nobody")


def test_pgx_s_illegal_action_loses():
    env, params = make("pgx:tic_tac_toe")
    _, state = env.reset(jax.random.key(0), params)
    for _ in range(2):  # the same field twice
        _, state, reward, terminated, _ = jax.jit(env.step_env)(jax.random.key(0), state, 4, params)
    assert reward == -1
    assert terminated


@pytest.mark.parametrize(
    ("env_id", "kwargs", "actions"),
    [
        ("jumanji:Tetris-v0", {}, (40,)),  # a joint mask
        ("jumanji:Cleaner-v0", {}, (4, 4, 4)),  # one for each agent
        ("jumanji:RubiksCube-v0", {"time_limit": 7}, (6, 1, 3)),  # none
    ],
)
def test_jumanji_s_actions(env_id, kwargs, actions):
    """Random actions that the masks allow are never the end of Jumanji's game, and masks are the observation's."""
    env, params = make(env_id, **kwargs)
    space = env.action_space(params)
    assert getattr(space, "nvec", (getattr(space, "n", None),)) == actions
    assert params.max_steps_in_episode == kwargs.get("time_limit", params.max_steps_in_episode)

    def body(state, key):
        mask = stepping.action_mask(env, params, state)
        action = stepping.random_action(env, params, key, mask)
        obs, state, _, terminated, truncated = stepping.step(env, params, key, state, action)
        masks = () if mask is None else (stepping.action_mask(env, params, state), obs.action_mask.ravel())
        return state, (terminated, truncated, masks)

    @jax.jit
    def run(key):
        _, state = stepping.reset(env, params, key)
        return jax.lax.scan(body, state, jax.random.split(key, 7))[1]

    terminated, truncated, masks = run(jax.random.key(0))
    assert not terminated.any()
    assert truncated.tolist() == [False] * 6 + [bool(kwargs)]
    assert hasattr(env, "action_mask") == bool(masks)
    if masks:
        np.testing.assert_array_equal(*masks)


def test_jumanji_s_limit_is_the_run_s():
    """Of games with one reward for each agent, too."""
    env, params = make("jumanji:Connector-v3")
    params = params.replace(max_steps_in_episode=60)  # Jumanji's own is 50
    _, state = jax.jit(env.reset_env)(jax.random.key(0), params)
    step = jax.jit(lambda state: stepping.step(env, params, jax.random.key(1), state, jnp.zeros(10, jnp.int32))[1:])
    for t in range(1, 61):
        state, _, terminated, truncated = step(state)  # nobody moves
        assert (bool(terminated), bool(truncated)) == (False, t == 60)


def test_gymnasium_s_host_takes_one_call_at_a_time():
    """Runs on several devices call from a thread each: the reset of one must not come into that of another."""

    class Slow:
        observation_space = gymnasium.spaces.Box(-1e6, 1e6, (1,))

        def reset(self, seed):
            self.seed = seed
            time.sleep(1e-3)
            return np.full(1, self.seed, np.float32), {}

    host = gymnasium_adapter.Host(Slow)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda seed: host.reset(np.full(5, seed)), range(8)))
    np.testing.assert_array_equal(np.stack(found)[..., 0], np.arange(8)[:, None] * np.ones(5))


def test_gymnasium_refuses_a_second_axis():
    env, params = make("gymnasium:CartPole-v1")
    small = PPO(num_steps=4, num_epochs=1, num_minibatches=1, hidden=(8,))
    train = learners.bind(env, small, env_params=params, num_envs=2, total_steps=8)
    with pytest.raises(SettingError, match=r"env gymnasium:CartPole-v1 is stepped on the host.*3 are vmapped"):
        jax.vmap(train)(jax.random.split(jax.random.key(0), 3))
    shapes = jax.eval_shape(jax.vmap(train), jax.random.split(jax.random.key(0), 1))
    assert shapes.metrics["env_steps"].shape == (1, 1)


def test_gymnasium_does_not_go_back():
    """A reset can be played as often as one likes, a later state only once; what ended may be stepped on."""
    env, params = purejaxrl.make("gymnasium:CartPole-v1", max_steps_in_episode=2)
    key = jax.random.key(0)
    _, start = env.reset_env(key, params)
    one, first, *_ = env.step_env(key, start, 1, params)
    two, second, *_ = env.step_env(key, start, 1, params)
    same(one, two)
    _, last, *_ = env.step_env(key, first, 1, params)
    assert env.is_truncated(last, params)
    _, after, reward, terminated, _ = env.step_env(key, last, 1, params)
    assert after.inner.ended
    assert reward == 0
    assert terminated
    _, _, *_ = env.step_env(key, second, 1, params)
    with pytest.raises(Exception, match="goes on from its latest state only"):
        jax.block_until_ready(env.step_env(key, first, 1, params))


def test_gymnasium_s_spaces():
    """Numbers count from 0, trees stay trees, and what has no fixed shape is refused."""
    door = importlib.import_module("purejaxrl.envs.adapters.gymnasium")
    box, spaces = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64), gymnasium.spaces
    theirs = spaces.Dict({"a": spaces.Discrete(3, start=5), "b": spaces.Tuple([box, spaces.MultiBinary(2)])})
    ours = door._space(theirs)
    found = door._observed(theirs, theirs.sample())
    assert 0 <= found["a"] < 3
    assert found["b"][0].dtype == np.float32
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), found) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), door._shapes(ours)
    )
    assert door._action(spaces.Discrete(3, start=5), np.int32(1)) == 6
    with pytest.raises(SettingError, match="no arrays of a fixed shape"):
        door._space(spaces.Text(3))


@pytest.mark.parametrize("env_id", ["navix:Navix-Empty-5x5-v0", "xminigrid:MiniGrid-Empty-5x5"])
def test_cells_are_where_the_agent_stands(env_id):
    env, params = make(env_id)
    ground_truth = maps.cells(env)

    def step(state, key):
        _, state, *_ = env.step_env(key, state, stepping.random_action(env, params, key), params)
        return state, ground_truth.cell_fn(state)

    @jax.jit
    def walk(key):
        _, state = stepping.reset(env, params, key)
        return ground_truth.cell_fn(state), jax.lax.scan(step, state, jax.random.split(key, 100))[1]

    start, walked = walk(jax.random.key(0))
    assert ground_truth.num_cells == 25
    assert start == 6  # row 1, column 1
    assert len(np.unique(walked)) > 1
    assert {*walked.tolist()} <= {6, 7, 8, 11, 12, 13, 16, 17, 18}


@pytest.mark.parametrize("env_id", ["navix:Navix-Empty-5x5-v0", "octax:brix", "xminigrid:MiniGrid-Empty-5x5"])
def test_pictures(env_id):
    env, params = make(env_id)
    _, state = env.reset(jax.random.key(0), params)
    picture = envs.render(env, state, params)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert picture.std() > 5


# --- ids --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env_id", "kwargs", "message"),
    [
        ("gymnasium:CartPole", {}, r"env: unknown value 'gymnasium:CartPole'; did you mean gymnasium:CartPole-v1"),
        ("gymnasum:CartPole-v1", {}, r"env: the prefix: unknown value 'gymnasum'; did you mean gymnasium\?"),
        ("gymnasium:CartPole-v1", {"sutton": 1}, r"unknown value 'sutton'; did you mean sutton_barto_reward"),
        ("gymnasium:CartPole-v1", {"max_steps_in_episode": 0}, r"env.max_steps_in_episode"),
    ],
)
def test_wrong_ids_and_settings(env_id, kwargs, message):
    with pytest.raises(SettingError, match=message):
        purejaxrl.make(env_id, **kwargs)


@pytest.mark.parametrize("prefix", [prefix for prefix in adapters.PREFIXES if prefix != "gymnasium"])
def test_a_missing_package_is_named_with_its_extra(prefix, monkeypatch):
    """As though it were not installed; gymnasium is what gymnax needs."""

    def missing(module, *args, real=importlib.import_module):
        if module.split(".")[0] == prefix:
            raise ModuleNotFoundError(f"No module named {prefix!r}", name=prefix)
        return real(module, *args)

    monkeypatch.setattr(importlib, "import_module", missing)
    message = rf"the package {prefix} is not installed: pip install 'purejaxrl\[{prefix}\]'"
    for call in (lambda: purejaxrl.make(f"{prefix}:Some-v0"), lambda: envs.ids(prefix)):
        with pytest.raises(SettingError, match=message):
            call()


def test_what_an_environment_of_gymnasium_needs_is_named():
    """Box2D and MuJoCo come with extras of Gymnasium's, and Gymnasium itself looks for them at different moments."""
    if importlib.util.find_spec("Box2D"):
        pytest.skip("Box2D is installed")
    for call in (purejaxrl.make, envs.settings):
        with pytest.raises(SettingError, match=r"env gymnasium:LunarLander-v3 needs what is not installed: .*box2d"):
            call("gymnasium:LunarLander-v3")


@pytest.mark.parametrize("env_id", EVERY)
def test_settings_and_ids(env_id):
    """Every constructor's defaults make what nothing makes; frame stacking goes on top."""
    env, params = make(env_id)
    assert env_id in envs.ids(env_id.split(":")[0])
    assert env.name == env_id
    found = envs.settings(env_id)
    assert found["max_steps_in_episode"] == params.max_steps_in_episode
    # As the command line passes them: all that are numbers and words.
    given = {name: value for name, value in found.items() if isinstance(value, (bool, int, float, str))}
    again, same_params = purejaxrl.make(env_id, **given)
    assert same_params == params
    assert repr(again.action_space(params)) == repr(env.action_space(params))
