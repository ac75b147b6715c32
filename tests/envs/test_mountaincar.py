"""SparseMountainCar beside gymnax's own, the boxes that count its visits, and observations scaled by their bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purejaxrl
from purejaxrl import envs
from purejaxrl.envs import RescaleObservation
from purejaxrl.types import SettingError


def push(env, params, steps=190):
    """Push the way the car moves, which brings it to the flag: observations, states, rewards, ends."""

    def one(carry, key):
        obs, state = carry
        obs, state, reward, terminated, _ = env.step_env(key, state, jnp.where(obs[1] < 0, 0, 2), params)
        return (obs, state), (obs, state, reward, terminated)

    start = env.reset_env(jax.random.key(3), params)
    return jax.tree.map(np.asarray, jax.lax.scan(one, start, jax.random.split(jax.random.key(0), steps))[1])


def test_only_the_flag_pays():
    sparse, params = purejaxrl.make("SparseMountainCar-v0")
    plain, plain_params = purejaxrl.make("MountainCar-v0")
    assert (sparse.name, params) == ("SparseMountainCar-v0", plain_params)
    obs, state, reward, terminated = push(sparse, params)
    plain_obs, plain_state, plain_reward, plain_terminated = push(plain, plain_params)
    jax.tree.map(np.testing.assert_array_equal, (obs, state, terminated), (plain_obs, plain_state, plain_terminated))
    assert terminated.any()
    assert (plain_reward[: np.argmax(terminated)] == -1).all()
    np.testing.assert_array_equal(reward, terminated.astype(np.float32))
    assert not sparse.is_truncated(jax.tree.map(lambda leaf: leaf[100], state), params)


@pytest.mark.parametrize("env_id", ["MountainCar-v0", "MountainCarContinuous-v0", "SparseMountainCar-v0"])
def test_cells_are_boxes_of_position_and_velocity(env_id):
    """Against NumPy's histogram; the fastest car to the right is in the corner above."""
    env, params = purejaxrl.make(env_id)
    found = envs.cells(env)
    _, state = env.reset_env(jax.random.key(0), params)
    generator = np.random.default_rng(0)
    position, velocity = generator.uniform(-1.2, 0.6, 500), generator.uniform(-0.07, 0.07, 500)
    cell = jax.vmap(lambda x, v: found.cell_fn(state.replace(position=x, velocity=v)))(
        jnp.asarray(position, jnp.float32), jnp.asarray(velocity, jnp.float32)
    )
    counts = np.bincount(np.asarray(cell), minlength=found.num_cells)[found.layout]
    expected, *_ = np.histogram2d(velocity, position, bins=20, range=[[-0.07, 0.07], [-1.2, 0.6]])
    np.testing.assert_array_equal(counts[::-1], expected)
    for x, v, corner in [(0.6, 0.07, (0, -1)), (-1.2, -0.07, (-1, 0)), (0.7, 0.08, (0, -1))]:
        assert found.cell_fn(state.replace(position=x, velocity=v)) == found.layout[corner]


def test_rescaled_observations_fill_the_unit_box():
    env, params = purejaxrl.make("SparseMountainCar-v0")
    scaled = RescaleObservation(env)
    obs, _, *rest = push(env, params)
    # The policy that pushes looks at a sign that scaling keeps.
    found, states, *found_rest = push(scaled, params)
    np.testing.assert_allclose(found, (obs - [-0.3, 0.0]) / [0.9, 0.07], atol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, rest, found_rest)
    space = scaled.observation_space(params)
    assert jax.vmap(space.contains)(jnp.asarray(found)).all()
    assert envs.cells(scaled).cell_fn(jax.tree.map(lambda leaf: leaf[0], states)) < 400
    first, _ = scaled.reset_env(jax.random.key(3), params)
    assert jnp.abs(first).max() <= 1


@pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-misc"])
def test_without_bounds_there_is_no_scale(env_id):
    with pytest.raises(SettingError, match="RescaleObservation needs"):
        RescaleObservation(purejaxrl.make(env_id)[0])
