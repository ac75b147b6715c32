"""DeepSea and the cart-pole swing-up, step for step against bsuite."""

import warnings

import jax
import jax.numpy as jnp
import learners
import numpy as np
import pytest

import purejaxrl
from purejaxrl import algos, envs, stepping
from purejaxrl.types import SettingError


class Draws:
    """In the place of bsuite's generator: gives what was drawn elsewhere."""

    def rand(self):
        return self.uniform

    def randn(self):
        return self.normal


def bsuite_sea(**settings):
    deep_sea = pytest.importorskip("bsuite.environments.deep_sea")
    with warnings.catch_warnings():  # it warns that without random actions this is not DeepSea
        warnings.simplefilter("ignore")
        sea = deep_sea.DeepSea(**settings)
    sea._rng = Draws()
    return sea


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize(("size", "seed", "randomize"), [(4, 0, True), (9, 42, True), (7, 3, False)])
def test_deep_sea_is_bsuite_s(size, seed, randomize, deterministic):
    """Observations, rewards, ends and bsuite's counts over 150 episodes, wind and noise being what was drawn here."""
    settings = {"size": size, "mapping_seed": seed, "randomize_actions": randomize, "deterministic": deterministic}
    theirs = bsuite_sea(**settings)
    env, params = purejaxrl.make("BsuiteDeepSea-v0", **settings)
    np.testing.assert_array_equal(env.action_mapping, theirs._action_mapping)
    generator, keys = np.random.default_rng(1), jax.random.split(jax.random.key(7), 150 * size)
    actions, expected, timestep = [], [], theirs.reset()
    draws = jax.vmap(lambda key: [draw(k) for draw, k in zip(DRAW, jax.random.split(key), strict=True)])(keys)
    for step, (uniform, normal) in enumerate(zip(*map(np.asarray, draws), strict=True)):
        row, column = divmod(int(timestep.observation.argmax()), size)
        right = int(env.action_mapping[row, column])
        # Mostly right, so that the far end is seen, too.
        actions.append(right if generator.uniform() < 0.85 else 1 - right)
        theirs._rng.uniform, theirs._rng.normal = uniform, normal
        timestep = theirs.step(actions[-1])
        info = theirs.bsuite_info().values()
        expected.append((timestep.observation, timestep.reward, timestep.last(), timestep.discount == 0, *info))
        if timestep.last():
            assert step % size == size - 1
            timestep = theirs.reset()

    def one(carry, x):
        action, key = x
        _, state, bad, treasure = carry
        obs, state, reward, terminated, info = env.step_env(key, state, action, params)
        bad, treasure = bad + (terminated & info["bad"]), treasure + info["treasure"]
        start = env.reset_env(key, params)
        ended = terminated | env.is_truncated(state, params)
        carry = *jax.tree.map(lambda a, b: jnp.where(ended, a, b), start, (obs, state)), bad, treasure
        return carry, (obs, reward, ended, terminated, bad, treasure)

    carry = *env.reset_env(keys[0], params), jnp.int32(0), jnp.float32(0)
    found = jax.lax.scan(one, carry, (jnp.array(actions), keys))[1]
    for ours, wanted in zip(found, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(np.asarray(ours, float), np.asarray(wanted, float), atol=1e-6)
    assert 0 < found[4][-1] < 150, "some episodes were bad and some good"
    assert found[5][-1] > 0, "the treasure was found"
    assert theirs._optimal_return == pytest.approx((1 if deterministic else (1 - 1 / size) ** (size - 1)) - 0.01)


DRAW = jax.random.uniform, jax.random.normal  # as BsuiteDeepSea draws wind and noise


def test_wind_and_noise_of_the_stochastic_sea():
    """Right fails once in N times; only the last row's ends are noisy, with N(0, 1)."""
    env, params = purejaxrl.make("BsuiteDeepSea-v0", size=5, deterministic=False)
    right = jnp.asarray(env.action_mapping)
    keys = jax.random.split(jax.random.key(0), 10_000)
    _, start = env.reset_env(keys[0], params)
    rows, columns = (x.ravel() for x in np.mgrid[:5, :5])

    def play(row, column):
        state = start.replace(row=row, column=column)
        step = jax.vmap(lambda key: env.step_env(key, state, right[row, column], params))
        _, states, reward, *_ = step(keys)
        return (states.column == column).mean(), reward.mean(), reward.std()

    stays, mean, std = (np.asarray(x) for x in jax.jit(jax.vmap(play))(jnp.asarray(rows), jnp.asarray(columns)))
    inner = columns < 4
    np.testing.assert_allclose(stays[inner], 0.2, atol=0.016)  # 4 standard errors
    noisy = (rows == 4) & np.isin(columns, (0, 4))
    np.testing.assert_allclose(mean, (columns == 4) - 0.002, atol=0.04)
    np.testing.assert_allclose(std[noisy], 1, atol=0.03)
    np.testing.assert_allclose(std[~noisy], 0, atol=1e-4)


def test_limits_below_the_size_truncate():
    env, params = purejaxrl.make("BsuiteDeepSea-v0", size=4, max_steps_in_episode=3)
    _, state = env.reset_env(jax.random.key(0), params)
    flags = []
    for _ in range(4):
        _, state, *_ = env.step_env(jax.random.key(0), state, 0, params)
        flags.append((bool(env.is_terminated(state, params)), bool(env.is_truncated(state, params))))
    assert flags == [(False, False), (False, False), (False, True), (True, False)]


def test_cells_of_the_sea_are_those_of_gymnax_s():
    sea, theirs = (envs.cells(purejaxrl.make(name, size=6)[0]) for name in ("BsuiteDeepSea-v0", "DeepSea-bsuite"))
    np.testing.assert_array_equal(sea.layout, theirs.layout)
    env, params = purejaxrl.make("BsuiteDeepSea-v0", size=6)
    _, state = env.reset_env(jax.random.key(0), params)
    assert sea.cell_fn(state.replace(row=2, column=1)) == sea.layout[1, 1]


def test_a_training_run_counts_bad_episodes():
    """The visits of the two outcomes are the episodes that metrics report, and the good ones those that paid."""
    env, params = purejaxrl.make("BsuiteDeepSea-v0", size=3, unscaled_move_cost=0.0)
    learner = algos.PPO(num_steps=6, num_minibatches=2, num_epochs=1, hidden=(4,))
    train = learners.bind(env, learner, env_params=params, num_envs=2, total_steps=360, visits=env.outcomes()[:2])
    result = jax.jit(train)(jax.random.key(0))
    count, returns = (np.asarray(result.metrics[name]) for name in ("num_episodes", "episode_return"))
    good, bad = result.state.visits
    assert good + bad == count.sum() == 120
    assert good == round(float((count * np.nan_to_num(returns)).sum()))
    assert 0 < good < 120


def swing_ups(difficulty, number=3_000):
    """bsuite's own step from random states, most of them near upright: states, actions, what came of them."""
    swingup = pytest.importorskip("bsuite.experiments.cartpole_swingup.cartpole_swingup")
    from bsuite.environments.cartpole import CartpoleState
    from bsuite.experiments.cartpole_swingup.sweep import SETTINGS

    theirs, generator = swingup.CartpoleSwingup(seed=0, **SETTINGS[difficulty]), np.random.default_rng(2)
    states, actions, expected = [], generator.integers(0, 3, number), []
    for action in actions:
        theirs.reset()
        theta = generator.choice([generator.normal(0, 0.5), generator.uniform(0, 2 * np.pi)]) % (2 * np.pi)
        steps = int(generator.integers(0, 1100))
        x, x_dot, theta_dot = generator.uniform(-3.1, 3.1), generator.normal(), generator.normal()
        # Positions and times are drawn away from where rounding decides.
        theirs._state = CartpoleState(x, x_dot, theta, theta_dot, steps * 0.01 - 1e-9)
        timestep = theirs.step(int(action))
        states.append((x, x_dot, theta, theta_dot, steps))
        expected.append((timestep.observation[0], timestep.reward, timestep.last(), timestep.discount == 0))
    return states, actions, expected


@pytest.mark.parametrize("difficulty", [0, 10, 19])
def test_swing_up_is_bsuite_s(difficulty):
    """From the reference's state at each step, so that float32's errors do not add up."""
    states, actions, expected = swing_ups(difficulty)
    env, params = purejaxrl.make("BsuiteCartPoleSwingUp-v0", difficulty=difficulty)
    _, state = env.reset_env(jax.random.key(0), params)
    *floats, time = (jnp.asarray(column) for column in zip(*states, strict=True))
    names = ("x", "x_dot", "theta", "theta_dot")
    batch = type(state)(**{name: v.astype(jnp.float32) for name, v in zip(names, floats, strict=True)}, time=time)
    step = jax.jit(jax.vmap(lambda state, action: env.step_env(None, state, action, params)))
    obs, _, reward, terminated, _ = step(batch, jnp.asarray(actions))
    wanted_obs, wanted_reward, last, ended = (np.asarray(column) for column in zip(*expected, strict=True))
    np.testing.assert_allclose(obs, wanted_obs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(reward, wanted_reward, atol=1e-6)
    np.testing.assert_array_equal(terminated, last)
    np.testing.assert_array_equal(last, ended)
    assert 0.05 < last.mean() < 0.3
    assert (wanted_reward > 0.5).any(), "upright ones among them"


def test_swing_up_episodes_start_and_end_as_bsuite_s():
    """Three policies: doing nothing ends with the time, pushing to one side out of bounds."""
    swingup = pytest.importorskip("bsuite.experiments.cartpole_swingup.cartpole_swingup")
    env, params = purejaxrl.make("BsuiteCartPoleSwingUp-v0")
    starts = jax.vmap(lambda key: env.reset_env(key, params)[1])(jax.random.split(jax.random.key(0), 4_000))
    for value, middle in ((starts.x, 0), (starts.x_dot, 0), (starts.theta, np.pi), (starts.theta_dot, 0)):
        assert 0.0499 < jnp.abs(value - middle).max() <= 0.05 + 1e-6
        np.testing.assert_allclose(value.mean(), middle, atol=0.002)
    theirs = swingup.CartpoleSwingup(seed=3, height_threshold=0.0)
    for action in range(3):
        theirs.reset()
        x, x_dot, theta, theta_dot, _ = theirs._state
        length, total = 1, 0.0
        while not (timestep := theirs.step(action)).last():
            length, total = length + 1, total + timestep.reward
        start = jax.tree.map(lambda leaf: leaf[0], starts).replace(x=x, x_dot=x_dot, theta=theta, theta_dot=theta_dot)
        start = jax.tree.map(jnp.asarray, start)

        def one(state, _, action=action):
            _, state, reward, terminated, _ = env.step_env(None, state, action, params)
            return state, (reward, terminated | env.is_truncated(state, params))

        rewards, ends = jax.jit(lambda state: jax.lax.scan(one, state, None, 1_100)[1])(start)
        assert int(np.argmax(ends)) + 1 == length
        np.testing.assert_allclose(rewards[: length - 1].sum(), total, atol=1e-3)
        assert (length == 1001) == (action == 1)


def test_swing_up_cells_put_upright_in_the_middle():
    env, params = purejaxrl.make("BsuiteCartPoleSwingUp-v0")
    cells, (_, state) = envs.cells(env), stepping.reset(env, params, jax.random.key(0))
    for theta, columns in ((0.01, {10}), (2 * np.pi - 0.01, {9}), (np.pi - 0.01, {19}), (np.pi + 0.01, {0})):
        cell = cells.cell_fn(state.replace(theta=jnp.float32(theta), theta_dot=jnp.float32(0.1)))
        assert set(np.argwhere(cells.layout == cell)[0, 1:]) == columns


@pytest.mark.parametrize(
    ("env_id", "settings", "message"),
    [
        ("BsuiteDeepSea-v0", {"size": 1}, "size must be >= 2"),
        ("BsuiteDeepSea-v0", {"mapping_seed": -1}, "mapping_seed must be >= 0"),
        ("BsuiteCartPoleSwingUp-v0", {"difficulty": 20}, "difficulty must be <= 19"),
    ],
)
def test_wrong_settings(env_id, settings, message):
    with pytest.raises(SettingError, match=message):
        purejaxrl.make(env_id, **settings)
