"""Tables against the papers' figures, steps against the tables, values against closed forms and brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import purejaxrl
from purejaxrl import envs, stepping
from purejaxrl.envs import TabularMDP
from purejaxrl.types import SettingError


def test_river_swim_is_the_paper_s():
    env, _ = purejaxrl.make("RiverSwim-v0")
    right = [
        [0.7, 0.3, 0.0, 0.0, 0.0, 0.0],
        [0.1, 0.6, 0.3, 0.0, 0.0, 0.0],
        [0.0, 0.1, 0.6, 0.3, 0.0, 0.0],
        [0.0, 0.0, 0.1, 0.6, 0.3, 0.0],
        [0.0, 0.0, 0.0, 0.1, 0.6, 0.3],
        [0.0, 0.0, 0.0, 0.0, 0.7, 0.3],
    ]
    np.testing.assert_allclose(env.transition[:, 1], right)
    np.testing.assert_array_equal(env.transition[:, 0].argmax(-1), [0, 0, 1, 2, 3, 4])
    assert np.argwhere(env.reward).tolist() == [[0, 0, 0], [5, 1, 5]]
    assert env.reward[5, 1, 5] / env.reward[0, 0, 0] == pytest.approx(10_000 / 5)
    assert env.start.tolist() == [0, 0.5, 0.5, 0, 0, 0]


@pytest.mark.parametrize(("env_id", "settings"), [("RiverSwim-v0", {}), ("RandomMDP-v0", {"num_states": 7})])
def test_steps_follow_the_tables(env_id, settings):
    """Chi-square of 4,000 draws of each state and action; what has probability 0 never comes."""
    env, params = purejaxrl.make(env_id, **settings)
    keys = jax.random.split(jax.random.key(5), 4_000)

    def play(position, action):
        _, start = env.reset_env(keys[0], params)
        step = jax.vmap(lambda key: env.step_env(key, start.replace(position=position), action, params))
        obs, state, reward, terminated, _ = step(keys)
        return obs.argmax(-1), state.position, reward, terminated

    pairs = jnp.asarray(list(np.ndindex(env.num_states, env.num_actions)))
    shown, arrived, reward, ended = (np.asarray(x) for x in jax.jit(jax.vmap(play))(pairs[:, 0], pairs[:, 1]))
    np.testing.assert_array_equal(shown, arrived)
    assert not ended.any()
    surprises = []
    for (state, action), positions, rewards in zip(np.asarray(pairs), arrived, reward, strict=True):
        counts = np.bincount(positions, minlength=env.num_states)
        expected = env.transition[state, action] * 4_000
        possible = expected > 0
        assert not counts[~possible].any()
        if possible.sum() > 1:
            surprises.append(stats.chisquare(counts[possible], expected[possible]).pvalue)
        np.testing.assert_allclose(rewards, env.reward[state, action, positions], rtol=1e-6)
    assert min(surprises) > 0.01 / len(surprises)
    starts = jax.vmap(lambda key: env.reset_env(key, params)[1].position)(keys)
    np.testing.assert_allclose(np.bincount(starts, minlength=env.num_states) / 4_000, env.start, atol=0.04)


@pytest.mark.parametrize("num_states", [4, 10, 50])
def test_chain_returns_ten(num_states):
    """The paper's optimum for every length, by always going right; then the limit truncates and nothing terminates."""
    env, params = purejaxrl.make("Chain-v0", num_states=num_states)
    assert env.best_return() == pytest.approx(10)

    def one(state, key):
        _, state, reward, terminated, truncated = stepping.step(env, params, key, state, 1)
        return state, (reward, terminated, truncated)

    start = stepping.reset(env, params, jax.random.key(0))[1]
    assert start.position == 1
    keys = jax.random.split(jax.random.key(0), num_states + 8)
    reward, terminated, truncated = jax.lax.scan(one, start, keys)[1]
    assert reward.sum() == 10
    assert not terminated.any()
    assert truncated.tolist() == [False] * (num_states + 7) + [True]


def test_chain_shows_its_state():
    _, state = stepping.reset(*purejaxrl.make("Chain-v0", num_states=4), jax.random.key(0))
    for observation, shown in (("thermometer", [1, 1, 1, 0]), ("one-hot", [0, 0, 1, 0])):
        env, params = purejaxrl.make("Chain-v0", num_states=4, observation=observation)
        assert env.get_obs(state.replace(position=jnp.int32(2))).tolist() == shown
        assert env.observation_space(params).shape == (4,)


def test_values_of_the_chain_by_hand():
    """Right all the way, or where the near end is worth more, left."""
    env, _ = purejaxrl.make("Chain-v0", num_states=6)
    far = 0.9 ** np.arange(5, -1, -1) / 0.1
    np.testing.assert_allclose(env.values(0.9), far, rtol=1e-9)
    np.testing.assert_allclose(env.action_values(0.9)[:, 0], [0.001 + 0.9 * far[0], *(0.9 * far[:-1])], rtol=1e-9)
    near = 0.001 * 0.1 ** np.arange(6) / 0.9
    np.testing.assert_allclose(env.values(0.1), np.maximum(near, 0.1 ** np.arange(5, -1, -1) / 0.9), rtol=1e-7)


def test_river_swim_is_worth_the_swim():
    """At .99 the best is always right: its value is the solution of linear equations. Two steps reach only the left."""
    env, _ = purejaxrl.make("RiverSwim-v0")
    right = np.linalg.solve(np.eye(6) - 0.99 * env.transition[:, 1], [0, 0, 0, 0, 0, 0.3])
    np.testing.assert_allclose(env.values(0.99), right, rtol=1e-7)
    assert (env.action_values(0.99).argmax(-1) == 1).all()
    assert env.best_return(1) == 0
    assert env.best_return(2) == pytest.approx(0.5 * 0.0005)


def test_random_mdp_values_by_brute_force():
    """The best of all 2^4 policies, for discounted values; the best of all action sequences in no wind, for returns."""
    env, _ = purejaxrl.make("RandomMDP-v0", num_states=4, num_actions=2, seed=3)
    expected, states = (env.transition * env.reward).sum(-1), np.arange(4)
    policies = [np.asarray(policy) for policy in itertools.product(range(2), repeat=4)]
    found = [np.linalg.solve(np.eye(4) - 0.8 * env.transition[states, p], expected[states, p]) for p in policies]
    np.testing.assert_allclose(env.values(0.8), np.max(found, 0), atol=1e-8)
    # Of a horizon, policies that may change at each of three steps.
    returns = []
    for plan in itertools.product(policies, repeat=3):
        values = np.zeros(4)
        for policy in plan:
            values = expected[states, policy] + env.transition[states, policy] @ values
        returns.append(values[0])
    assert env.best_return(3) == pytest.approx(max(returns))


def test_random_mdps_are_dirichlet_and_come_from_their_seed():
    env, again, other = (purejaxrl.make("RandomMDP-v0", num_states=20, seed=s)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(env.transition, again.transition)
    assert (env.transition != other.transition).all()
    for concentration in (0.1, 1.0):
        env, _ = purejaxrl.make("RandomMDP-v0", num_states=20, num_actions=50, concentration=concentration)
        # Each component of Dirichlet(c, ..., c) over 20 is Beta(c, 19c).
        assert stats.kstest(env.transition[..., 0].ravel(), stats.beta(concentration, 19 * concentration).cdf)[1] > 1e-3
        assert stats.kstest(env.reward[..., 0].ravel(), stats.norm.cdf)[1] > 1e-3
    assert (env.reward == env.reward[..., :1]).all()


@pytest.mark.parametrize("env_id", ["RiverSwim-v0", "Chain-v0", "RandomMDP-v0"])
def test_every_state_is_a_cell(env_id):
    env, params = purejaxrl.make(env_id)
    cells = envs.cells(env)
    _, state = env.reset_env(jax.random.key(0), params)
    ids = [int(cells.cell_fn(state.replace(position=jnp.int32(p)))) for p in range(env.num_states)]
    assert ids == list(range(cells.num_cells)) == cells.layout.ravel().tolist()


def test_the_space_is_that_of_the_observations():
    shown = np.array([[5.0, -2.0], [0.0, 0.5]])
    env = TabularMDP(np.full((2, 1, 2), 0.5), np.zeros((2, 1, 2)), [1, 0], 5, observations=shown)
    space = env.observation_space(env.default_params)
    np.testing.assert_array_equal([space.low, space.high], [[0, -2], [5, 1]])
    scaled = envs.RescaleObservation(env)
    np.testing.assert_allclose(scaled.reset_env(jax.random.key(0), env.default_params)[0], [1, -1])


def test_what_is_improbable_is_refused():
    good = np.full((2, 1, 2), 0.5)
    TabularMDP(good, good, [1, 0], 5)
    with pytest.raises(SettingError, match="transition must hold probabilities"):
        TabularMDP(good * 0.9, good, [1, 0], 5)
    with pytest.raises(SettingError, match="start must hold probabilities"):
        TabularMDP(good, good, [2, -1], 5)
    with pytest.raises(SettingError, match=r"must be \(2, 1, 2\)"):
        TabularMDP(good, good[0], [1, 0], 5)
    for arguments, message in [
        ((good, good * np.nan, [1, 0], 5), "reward must hold finite"),
        ((good[0, 0], good, [1, 0], 5), r"transition and start must have the shapes .* got \(2,\) and \(2,\)"),
        ((good, good, 1.0, 5), r"got \(2, 1, 2\) and \(\)"),
        ((good, good, [1, 0], 5, [[1.0, 2.0]]), r"observations must have the shape \(2, n\)"),
        ((good, good, [1, 0], 5, [[np.inf], [0.0]]), "observations must hold finite"),
    ]:
        with pytest.raises(SettingError, match=message):
            TabularMDP(*arguments)
    for horizon in (-3, 2.5):
        with pytest.raises(SettingError, match="horizon must be"):
            TabularMDP(good, good, [1, 0], 5).best_return(horizon)
    with pytest.raises(SettingError, match="did you mean one-hot"):
        purejaxrl.make("Chain-v0", observation="one_hot")
    with pytest.raises(SettingError, match=r"gamma must be .* < 1"):
        purejaxrl.make("Chain-v0")[0].values(1.0)
