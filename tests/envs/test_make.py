"""Every environment that gymnax registers goes through the loop; ids, settings and their errors."""

import gymnax
import jax
import jax.numpy as jnp
import learners
import numpy as np
import probes
import pytest
from gymnax.environments import spaces

import purejaxrl
from purejaxrl import envs, stepping
from purejaxrl.types import SettingError

# Of MiniGrid's, one of each family. MNISTBandit downloads its data when made.
FAMILIES = {family: env_id for env_id, (family, _) in reversed(envs.minigrid.TASKS.items())}
SKIPPED = {"MNISTBandit-bsuite", *envs.minigrid.TASKS} - {*FAMILIES.values()}
IDS = [env_id for env_id in envs.ids() if env_id not in SKIPPED]


@pytest.mark.parametrize("env_id", IDS)
def test_every_environment_trains(env_id):
    """Traced, not compiled: shapes and dtypes of reset and step agree, with parameters as arguments."""
    env, params = purejaxrl.make(env_id)
    result = learners.trace(env, params)
    assert result.metrics["episode_return"].shape == (2,)


@pytest.mark.parametrize("env_id", IDS)
def test_step_is_gymnax_s_own_without_its_reset(env_id):
    """Against ``env.step``: reward, flags and the final observation, over random actions."""
    env, params = purejaxrl.make(env_id)

    @jax.jit
    def compare(key):
        reset_key, action_key, step_key = jax.random.split(key, 3)
        _, state = stepping.reset(env, params, reset_key)
        action = stepping.random_action(env, params, action_key)
        inner_key, _ = jax.random.split(step_key)  # gymnax's step splits its key so
        ours = stepping.step(env, params, inner_key, state, action)
        theirs = env.step(step_key, state, action, params)
        return ours[0], ours[2:], theirs[5]["final_observation"], theirs[2:5]

    obs, rest, final_obs, theirs = compare(jax.random.key(1))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), obs, final_obs)
    for x, y in zip(rest, theirs, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5)
    assert [x.dtype for x in rest] == [jnp.float32, bool, bool]


def test_settings_reach_constructor_and_params():
    env, params = purejaxrl.make("DeepSea-bsuite", size=12, unscaled_move_cost=0.5)
    assert env.size == 12
    assert params.max_steps_in_episode == 12
    assert params.unscaled_move_cost == 0.5
    _, params = purejaxrl.make("CartPole-v1", max_steps_in_episode=200)
    assert params.max_steps_in_episode == 200
    assert envs.settings("DeepSea-bsuite", size=9)["max_steps_in_episode"] == 9


def test_a_limit_may_be_traced():
    def limit(steps):
        env, params = purejaxrl.make("CartPole-v1", max_steps_in_episode=steps)
        state = env.reset_env(jax.random.key(0), params)[1].replace(time=jnp.int32(7))
        return env.is_truncated(state, params)

    np.testing.assert_array_equal(jax.jit(jax.vmap(limit))(jnp.array([7, 8])), [True, False])
    assert limit(jnp.int32(7))
    with pytest.raises(SettingError, match=r"env\.max_steps_in_episode must be an integer"):
        limit(jnp.float32(7))


def test_what_make_returns_is_gymnax():
    env, params = purejaxrl.make("CartPole-v1")
    obs, state = env.reset(jax.random.key(0), params)
    assert obs.shape == (4,)
    assert len(env.step(jax.random.key(0), state, 0, params)) == 6


@pytest.mark.parametrize(
    ("env_id", "settings", "message"),
    [
        ("CartPole", {}, r"env: unknown value 'CartPole'; did you mean CartPole-v1"),
        ("deepsea", {}, r"did you mean DeepSea-bsuite"),
        ("Breakout-minatar", {}, r"did you mean Breakout-MinAtar"),
        ("DeepSea-bsuite", {"sise": 4}, r"env DeepSea-bsuite: unknown value 'sise'; did you mean size\?"),
        ("DeepSea-bsuite", {"size": -3}, r"env DeepSea-bsuite cannot be made with \(size=-3\)"),
        ("", {}, r"env: unknown value ''"),
    ],
)
def test_wrong_ids_and_settings(env_id, settings, message):
    with pytest.raises(SettingError, match=message):
        purejaxrl.make(env_id, **settings)


def test_registered_environments_are_found():
    gymnax.register("Probe-test", probes.Clock)
    try:
        assert isinstance(purejaxrl.make("Probe-test")[0], probes.Clock)
        assert "Probe-test" in envs.ids()
    finally:
        gymnax.registration._registry.pop("Probe-test")
        gymnax.registered_envs.remove("Probe-test")


def test_deepsea_cells_are_its_states():
    """Random play reaches only cells of the map, each id once in the layout, and finds most of the triangle."""
    env, params = purejaxrl.make("DeepSea-bsuite", size=6)
    cells = envs.cells(env)
    assert cells.num_cells == 2 + 3 + 4 + 5 + 6 + 6
    assert sorted(cells.layout[cells.layout >= 0]) == list(range(cells.num_cells))

    def play(key):
        _, state = stepping.reset(env, params, key)

        def step(state, key):
            _, state, *_ = stepping.step(env, params, key, state, jax.random.randint(key, (), 0, 2))
            return state, (cells.cell_fn(state), state.row, state.column)

        return jax.lax.scan(step, state, jax.random.split(key, 6))[1]

    ids, row, column = (np.asarray(x).ravel() for x in jax.vmap(play)(jax.random.split(jax.random.key(0), 500)))
    np.testing.assert_array_equal(cells.layout[row - 1, column], ids)
    assert (ids >= 0).all()
    assert len(np.unique(ids)) > 0.8 * cells.num_cells


def test_four_rooms_cells_are_its_floor():
    env, _ = purejaxrl.make("FourRooms-misc")
    cells = envs.cells(env)
    assert cells.num_cells == int(env.env_map.sum())
    assert envs.cells(purejaxrl.make("CartPole-v1")[0]) is None


def test_random_actions_cover_their_space():
    env = probes.Target()
    draws = jax.vmap(lambda key: stepping.random_action(env, env.default_params, key))(
        jax.random.split(jax.random.key(0), 2000)
    )
    assert draws.min() < -0.95
    assert draws.max() > 0.95
    np.testing.assert_allclose(draws.mean(), 0.0, atol=0.05)
    mask = jnp.array([False, True, True])
    masked = jax.vmap(lambda key: stepping.random_action(probes.Clock(), None, key, mask))(
        jax.random.split(jax.random.key(0), 2000)
    )
    np.testing.assert_allclose(np.bincount(masked, minlength=3) / 2000, [0, 0.5, 0.5], atol=0.05)


def test_random_actions_of_boxes_that_have_one_bound_or_none():
    """Exponentially far from the bound, with mean 1; else standard normal."""

    class Half(probes.Probe):
        def action_space(self, params=None):
            inf = jnp.inf
            return spaces.Box(jnp.array([5.0, -inf, -inf]), jnp.array([inf, -2.0, inf]), (3,))

    draw = jax.vmap(lambda key: stepping.random_action(Half(), None, key))
    draws = np.asarray(draw(jax.random.split(jax.random.key(0), 4000)))
    assert draws[:, 0].min() >= 5
    assert draws[:, 1].max() <= -2
    np.testing.assert_allclose(draws.mean(0), [6, -3, 0], atol=0.08)
    np.testing.assert_allclose(draws.std(0), [1, 1, 1], atol=0.08)
