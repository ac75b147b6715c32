"""Episodes prepared beforehand: each is played once, in order, while the queue holds enough."""

import jax
import numpy as np
import pytest

from purejaxrl import PooledResets
from purejaxrl.types import SettingError, Spec


def start(key):
    """An episode that is known by a number of its own."""
    number = jax.random.bits(key)
    return number, {"number": number, "key": key}


def play(resets, ends):
    """Numbers of the episodes ``[steps, envs]`` that begin where `ends` is true, and the pool after all of them."""
    pool = resets.init(jax.random.key(0), Spec(None, None, ends.shape[1], 1, 1), start)

    @jax.jit
    def run(pool):
        def step(pool, inputs):
            key, done = inputs
            pool, obs, env_state = resets.reset(pool, key, done, start)
            return pool, (obs, env_state["number"])

        return jax.lax.scan(step, pool, (jax.random.split(jax.random.key(1), len(ends)), ends))

    pool, (obs, state) = run(pool)
    np.testing.assert_array_equal(obs, state)
    return np.asarray(obs), pool


@pytest.mark.parametrize("resets", [PooledResets(), PooledResets(per_step=2), PooledResets(per_step=3, size=24)])
def test_every_episode_is_played_once_while_there_are_enough(resets):
    """All end together now and then, as at time limits, and some at any time."""
    ends = np.random.default_rng(0).random((200, 16)) < 0.04
    ends[[0, 40, 80, 120]] = True
    begun, pool = play(resets, ends)
    begun = begun[ends]
    assert pool.repeated == 0
    assert len(set(begun.tolist())) == len(begun) > 120


def test_an_empty_queue_repeats_and_counts():
    ends = np.ones((6, 8), bool)
    begun, pool = play(PooledResets(per_step=2, size=8), ends)
    assert len(set(begun[0].tolist())) == 8
    assert pool.repeated == 5 * 8 - 5 * 2  # two new ones each step after the first
    assert len(set(begun.ravel().tolist())) == 8 + 5 * 2


def test_a_full_queue_keeps_what_it_has():
    ends = np.zeros((50, 4), bool)
    ends[-1] = True
    begun, pool = play(PooledResets(per_step=3, size=6), ends)
    first = [int(start(key)[0]) for key in jax.random.split(jax.random.key(0), 6)]
    assert begun[-1].tolist() == first[:4]
    assert (pool.ready, pool.head) == (2 + 3, 4)


def test_bad_input():
    spec = Spec(None, None, 8, 1, 1)
    with pytest.raises(SettingError, match=r"resets.size must be at least num_envs = 8 \(or 0\), got 4"):
        PooledResets(size=4).check(spec)
    with pytest.raises(SettingError, match=r"resets.per_step must be at most resets.size"):
        PooledResets(per_step=9, size=8).check(spec)
