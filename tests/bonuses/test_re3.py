"""RE3 against a plain NumPy version of Seo et al. 2021, with the memory it documents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpynets import forward

from purejaxrl.bonuses import RE3, re3
from purejaxrl.types import SettingError, Spec, Transition

NUM_STEPS, NUM_ENVS = 5, 3
SPEC = Spec(None, None, NUM_ENVS, NUM_STEPS, 4, observation=jax.ShapeDtypeStruct((4,), np.float32))


def random_batch(seed):
    """Few distinct observations, far from the origin, so that many neighbours are exactly alike."""
    zeros = jnp.zeros((NUM_STEPS, NUM_ENVS))
    obs = np.random.default_rng(seed).integers(0, 3, (NUM_STEPS, NUM_ENVS, 4)) + 100
    return Transition(next_obs=jnp.asarray(obs, jnp.float32), reward=zeros, bonus=zeros)


def numpy_bonus(bonus, state, obs, numbers):
    """By brute force over the memory; what it lacks of k neighbours lies at the origin."""
    rows = np.asarray(state.priority) >= 0
    memory, own = np.asarray(state.embedding, np.float64)[rows], np.asarray(state.number)[rows]
    found = []
    for y, number in zip(forward(state.encoder, obs.reshape(-1, 4)), numbers.reshape(-1), strict=True):
        distances = sorted(np.linalg.norm(y - m) for m, other in zip(memory, own, strict=True) if other != number)
        distances = distances[: bonus.k] + [np.linalg.norm(y)] * max(bonus.k - len(distances), 0)
        found.append(np.log((np.mean(distances) if bonus.average else max(distances)) + 1))
    return np.reshape(found, numbers.shape)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("memory_size", [12, 100])
def test_bonus_is_the_paper_s(average, memory_size, monkeypatch):
    """Over four rollouts, with an empty memory first, new and replayed transitions; one memory overflows."""
    monkeypatch.setattr(re3, "CHUNK", 7)
    bonus = RE3(hidden=(8,), embedding_size=6, memory_size=memory_size, average=average)
    state, seen = bonus.init(jax.random.key(0), SPEC), []
    bonus_of = jax.jit(bonus.reward)
    for index in range(4):
        batch = random_batch(index)
        state, numbers = jax.lax.scan(bonus.observe, state, batch)
        np.testing.assert_array_equal(numbers.reshape(-1), index * 15 + np.arange(15))
        seen.append((batch, numbers))
        for old, memo in seen:  # the newest is not in the memory yet, the others are in part
            expected = numpy_bonus(bonus, state, np.asarray(old.next_obs), np.asarray(memo))
            np.testing.assert_allclose(bonus_of(state, old, memo), expected, rtol=1e-3, atol=1e-3)
        one = jax.tree.map(lambda x: x[2], batch)
        np.testing.assert_allclose(bonus.reward(state, one, numbers[2]), expected[2], rtol=1e-3, atol=1e-3)

        state, _ = bonus.update(state, jax.random.key(index), batch.replace(memo=numbers))
        full = np.asarray(state.priority) >= 0
        assert full.sum() == min((index + 1) * 15, memory_size)
        kept = np.asarray(state.number)[full]
        assert len(set(kept)) == len(kept)
        obs = np.concatenate([np.asarray(old.next_obs).reshape(-1, 4) for old, _ in seen])
        np.testing.assert_allclose(state.embedding[full], forward(state.encoder, obs)[kept], rtol=1e-3, atol=1e-3)


def test_fewer_than_k_neighbours():
    bonus = RE3(hidden=(8,), embedding_size=6, memory_size=2, k=2)
    state, batch = bonus.init(jax.random.key(0), SPEC), random_batch(0)
    state, numbers = jax.lax.scan(bonus.observe, state, batch)
    state, _ = bonus.update(state, jax.random.key(1), batch.replace(memo=numbers))
    expected = numpy_bonus(bonus, state, np.asarray(batch.next_obs), np.asarray(numbers))
    np.testing.assert_allclose(bonus.reward(state, batch, numbers), expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(SettingError, match=r"bonus.k must be at most bonus.memory_size = 2"):
        RE3(memory_size=2).check(SPEC)


def test_the_memory_is_a_uniform_sample_of_all_that_was_seen():
    """Over 2,000 keys, each of 60 transitions is in a memory of 10 with probability 1/6."""
    bonus = RE3(hidden=(2,), embedding_size=1, memory_size=10)
    start = bonus.init(jax.random.key(0), SPEC)

    def numbers(key):
        state = start
        for index in range(4):
            memo = index * 15 + jnp.arange(15).reshape(NUM_STEPS, NUM_ENVS)
            state, _ = bonus.update(state, jax.random.fold_in(key, index), random_batch(index).replace(memo=memo))
        return state.number

    found = jax.jit(jax.vmap(numbers))(jax.random.split(jax.random.key(1), 2_000))
    share = np.bincount(np.asarray(found).reshape(-1), minlength=60) / 2_000
    assert np.abs(share - 1 / 6).max() < 4.5 * np.sqrt(1 / 6 * 5 / 6 / 2_000)
