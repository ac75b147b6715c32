"""The multi-discrete space and random actions under masks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

from purejaxrl import stepping
from purejaxrl.envs import MultiDiscrete
from purejaxrl.types import SettingError


def draw(env, count=3000, mask=None):
    sample = jax.vmap(lambda key: stepping.random_action(env, env.default_params, key, mask))
    return np.asarray(sample(jax.random.split(jax.random.key(0), count)))


def test_samples_are_uniform_and_contained():
    space = MultiDiscrete(np.array([2, 1, 4]))
    assert (space.nvec, space.shape, space.dtype) == ((2, 1, 4), (3,), jnp.int32)
    assert repr(space) == "MultiDiscrete([2, 1, 4])"
    draws = jax.jit(jax.vmap(space.sample))(jax.random.split(jax.random.key(0), 3000))
    assert draws.shape == (3000, 3)
    assert draws.dtype == jnp.int32
    assert space.contains(draws)
    for component, n in enumerate(space.nvec):
        np.testing.assert_allclose(np.bincount(draws[:, component], minlength=n) / 3000, 1 / n, atol=0.04)


@pytest.mark.parametrize("x", [[2, 0, 0], [0, 1, 0], [0, 0, 4], [-1, 0, 0]])
def test_what_lies_outside(x):
    assert MultiDiscrete([2, 1, 4]).contains(jnp.array([1, 0, 3]))
    assert not MultiDiscrete([2, 1, 4]).contains(jnp.array(x))


@pytest.mark.parametrize("nvec", [[], [2, 0], [2.5], [True]])
def test_wrong_components_are_refused(nvec):
    with pytest.raises(SettingError, match="nvec"):
        MultiDiscrete(nvec)


def test_random_actions_of_several_components():
    env = probes.MultiTarget()
    draws = draw(env)
    pairs = np.bincount(3 * draws[:, 0] + draws[:, 1], minlength=6) / len(draws)
    np.testing.assert_allclose(pairs, 1 / 6, atol=0.03)


# What is allowed of (0, 1) and (0, 1, 2), then each pair's probability under uniform choice: of all where none is left.
MASKS: list[Any] = [
    ([1, 1, 1, 1, 1], np.full((2, 3), 1 / 6)),
    ([0, 1, 1, 0, 1], [[0, 0, 0], [1 / 2, 0, 1 / 2]]),
    ([1, 0, 0, 0, 0], [[1 / 3, 1 / 3, 1 / 3], [0, 0, 0]]),
    ([0, 0, 0, 0, 0], np.full((2, 3), 1 / 6)),
]


@pytest.mark.parametrize(("mask", "wanted"), MASKS)
def test_masked_random_actions_of_several_components(mask, wanted):
    draws = draw(probes.MultiTarget(), mask=jnp.array(mask, bool))
    assert draws.shape == (3000, 2)
    assert draws.dtype == np.int32
    pairs = np.bincount(3 * draws[:, 0] + draws[:, 1], minlength=6).reshape(2, 3) / len(draws)
    np.testing.assert_allclose(pairs, wanted, atol=0.03)
    np.testing.assert_array_equal(pairs[np.asarray(wanted) == 0], 0)


def test_a_mask_that_forbids_everything_allows_everything():
    draws = draw(probes.Clock(), mask=jnp.zeros(3, bool))
    np.testing.assert_allclose(np.bincount(draws, minlength=3) / len(draws), 1 / 3, atol=0.04)


def test_multi_target_rewards_each_component():
    env = probes.MultiTarget()
    for x, target in ((-1.0, (0, 2)), (1.0, (1, 0))):
        for action in np.ndindex(2, 3):
            state = probes.State(jnp.zeros((), jnp.int32), jnp.asarray(x))
            _, _, reward, terminated, truncated = stepping.step(
                env, env.default_params, jax.random.key(0), state, jnp.array(action)
            )
            assert reward == sum(np.equal(action, target))
            assert terminated
            assert not truncated


def test_recall_shows_its_cue_once():
    env, seen = probes.Recall(), set()
    for seed in range(8):
        key = jax.random.key(seed)
        obs, state = stepping.reset(env, env.default_params, key)
        cue, actions = float(obs[0]), (1, 0, 1, seed % 2)
        seen.add(cue)
        for time, action in enumerate(actions):
            obs, state, reward, terminated, _ = stepping.step(env, env.default_params, key, state, jnp.array(action))
            last = time == env.delay
            assert obs[0] == 0
            assert terminated == last
            assert reward == (0 if not last else 1 if (action == 1) == (cue > 0) else -1)
    assert seen == {-1.0, 1.0}
