import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments.spaces import Box, Dict, Discrete

import purejaxrl
from purejaxrl.algos import PPO
from purejaxrl.bonuses import Counts
from purejaxrl.envs.spaces import OneHotSpace
from purejaxrl.types import OneHot, Spec, Transition


def transitions(next_obs):
    leading = next_obs.shape[:2]
    return Transition(next_obs=jnp.asarray(next_obs), reward=jnp.zeros(leading), bonus=jnp.zeros(leading))


def spec(shape, dtype):
    return Spec(None, None, 4, 8, 1, observation=jax.ShapeDtypeStruct(shape, dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint8, bool])
def test_counts_are_exact(dtype):
    """Against a dictionary, over three updates, with each update's own arrivals not yet counted in its bonus."""
    generator = np.random.default_rng(0)
    bonus = Counts()
    state = bonus.init(jax.random.key(0), spec((3, 5), dtype))
    counts = {}
    for _ in range(3):
        obs = generator.integers(0, 2, (7, 4, 3, 5)).astype(dtype)
        obs[:, :, 1:] = 0
        batch = transitions(obs)
        known = np.array([[counts.get(x.tobytes(), 0) for x in row] for row in obs])
        np.testing.assert_allclose(bonus.reward(state, batch, ()), 1 / np.sqrt(1 + known), rtol=1e-6)
        for x in obs.reshape(-1, 3, 5):
            counts[x.tobytes()] = counts.get(x.tobytes(), 0) + 1
        state, _ = bonus.update(state, jax.random.key(1), batch)
    np.testing.assert_array_equal(
        bonus.count(state, jnp.asarray(obs), 2), [[counts[x.tobytes()] for x in row] for row in obs]
    )
    assert len(counts) == 32


def test_ten_thousand_observations_do_not_collide():
    obs = np.zeros((10_000, 1, 100, 100), bool)
    obs.reshape(10_000, -1)[np.arange(10_000), np.arange(10_000)] = True
    bonus = Counts()
    state = bonus.init(jax.random.key(0), spec((100, 100), bool))
    state, _ = bonus.update(state, jax.random.key(1), transitions(obs))
    assert (bonus.count(state, jnp.asarray(obs), 2) == 1).all()


def test_continuous_observations_do_not_collide():
    obs = np.random.default_rng(0).normal(size=(5_000, 2, 3)).astype(np.float32)
    bonus = Counts()
    state = bonus.init(jax.random.key(0), spec((3,), np.float32))
    state, _ = bonus.update(state, jax.random.key(1), transitions(obs))
    assert (bonus.count(state, jnp.asarray(obs), 2) == 1).all()


@pytest.mark.fully_optimised
def test_minus_zero_is_zero():
    bonus = Counts()
    state = bonus.init(jax.random.key(0), spec((2,), np.float32))
    state, _ = bonus.update(state, jax.random.key(1), transitions(np.array([[[0.0, 1.0]]], np.float32)))
    count = jax.jit(bonus.count, static_argnums=2)  # XLA folds x + 0.0 to x, so the trick for it must survive jit
    assert count(state, jnp.array([-0.0, 1.0]), 0) == 1
    assert count(state, jnp.array([0.0, 1.0]), 0) == 1


def test_simhash_joins_what_lies_on_the_same_sides_of_random_planes():
    """Against NumPy: the bits are sgn(A g(s)), and states share a count where all bits are equal."""
    low, high = np.array([-1.2, -0.07], np.float32), np.array([0.6, 0.07], np.float32)
    space = Box(low, high, (2,))
    state = Counts(bits=12).init(jax.random.key(0), Spec(space, None, 1, 1, 1))
    obs = np.random.default_rng(0).uniform(low, high, (400, 1, 2)).astype(np.float32)
    scaled = np.concatenate([(2 * obs - low - high) / (high - low), np.ones((400, 1, 1))], -1)[:, 0]
    hash = state.hash
    planes = np.concatenate(
        [hash.projection * ((high - low) / 2)[:, None], [hash.offset + (low + high) / 2 @ hash.projection]]
    )
    sides = scaled @ planes > 0
    _, group, sizes = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    assert 20 < len(sizes) <= 1 + 12 + 66  # so many cells 12 lines cut a plane into, each way of cutting in use
    state, _ = Counts(bits=12).update(state, jax.random.key(1), transitions(obs))
    np.testing.assert_array_equal(Counts(bits=12).count(state, jnp.asarray(obs[:, 0]), 1), sizes[group])
    assert 0.1 < np.abs(planes).mean() / 0.8 < 1.5  # standard normal: no axis is lost to its unit


@pytest.mark.parametrize(
    "space", [None, Box(-np.inf, np.inf, (3,)), Box(-3.4e38, 3.4e38, (3,)), Dict({"a": Box(0, 1, (3,))})]
)
def test_simhash_without_bounds_takes_observations_as_they_are(space):
    state = Counts(bits=8).init(
        jax.random.key(0), Spec(space, None, 1, 1, 1, observation=jax.ShapeDtypeStruct((3,), np.float32))
    )
    assert np.isfinite(state.hash.projection).all()
    assert np.isfinite(state.hash.offset).all()
    assert 0.3 < np.abs(state.hash.projection).mean() < 1.5


def test_simhash_of_a_tree_is_that_of_its_numbers_side_by_side():
    """Bounds leaf by leaf: of boxes in a dictionary, of categories, and of one-hot observations by their place."""

    def counted(space, obs):
        example = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[2:], leaf.dtype), obs)
        bonus = Counts(bits=24)
        state = bonus.init(jax.random.key(0), Spec(space, None, 1, 1, 1, observation=example))
        batch = Transition(next_obs=obs, reward=jnp.zeros((40, 1)))
        return np.asarray(bonus.update(state, jax.random.key(1), batch)[0].table)

    random = np.random.default_rng(0)
    place, speed, kind = random.uniform(0, 1000, (40, 1, 1)), random.uniform(-0.07, 0.07, (40, 1, 1)), np.arange(40) % 7
    place, speed = place.astype(np.float32), speed.astype(np.float32)
    low, high = np.array([0, -0.07, 0], np.float32), np.array([1000, 0.07, 6], np.float32)
    flat = counted(Box(low, high, (3,)), jnp.concatenate([place, speed, kind.reshape(40, 1, 1)], -1))
    space = Dict({"b": Box(low[1], high[1], (1,)), "a": Box(low[:1], high[:1], (1,)), "c": Discrete(7)})
    tree = {"b": jnp.asarray(speed), "a": jnp.asarray(place), "c": jnp.asarray(kind.reshape(40, 1))}
    np.testing.assert_array_equal(counted(space, tree), flat)

    one_hot = OneHot(jnp.arange(40).reshape(40, 1), 40)
    flat = counted(Box(0.0, 1.0, (40,)), one_hot.vector())
    np.testing.assert_array_equal(counted(OneHotSpace(40), one_hot), flat)
    assert (flat > 0).sum(1).mean() > 20  # of 40 vectors at the same distance


def test_a_small_table_overestimates_and_never_under():
    obs = np.arange(64, dtype=np.int32).reshape(64, 1, 1)
    bonus = Counts(table_size=8)
    state = bonus.init(jax.random.key(0), spec((1,), np.int32))
    state, _ = bonus.update(state, jax.random.key(1), transitions(obs))
    counted = bonus.count(state, jnp.asarray(obs), 2)
    assert (counted >= 1).all()
    assert (counted > 1).any()


def test_counts_agree_with_the_ground_truth_in_a_run():
    """On DeepSea every true state but the terminal row has its own observation: counts equal the visits."""
    env, params = purejaxrl.make("DeepSea-bsuite", size=5)
    cells = purejaxrl.envs.cells(env)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train = purejaxrl.make_train(
            env, PPO(num_steps=10, hidden=(8,)), bonus=Counts(table_size=4096), env_params=params, num_envs=3,
            total_steps=300, visits=(cells.cell_fn, cells.num_cells),
        )  # fmt: skip
    state, _ = jax.jit(train)(jax.random.key(0))
    for row in range(1, 5):
        for column in range(row + 1):
            obs = jnp.zeros((5, 5)).at[row, column].set(1.0)
            visits = state.visits[cells.layout[row - 1, column]]
            assert Counts(table_size=4096).count(state.bonus, obs, 0) == visits
