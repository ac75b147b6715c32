import jax
import jax.numpy as jnp
import learners
import numpy as np
import pandas as pd
import probes

import purejaxrl
from purejaxrl import algos, visits
from purejaxrl.bonuses import Counts


def test_entropy_and_coverage():
    assert visits.entropy(jnp.zeros(4, jnp.int32)) == 0
    np.testing.assert_allclose(visits.entropy(jnp.array([3, 3, 3])), np.log(3), rtol=1e-6)
    share = np.array([1, 2, 5, 0]) / 8
    expected = -np.sum(share[:3] * np.log(share[:3]))
    np.testing.assert_allclose(visits.entropy(jnp.array([1, 2, 5, 0])), expected, rtol=1e-6)
    assert visits.coverage(jnp.array([1, 2, 5, 0])) == 0.75


def test_rank_correlation_is_pandas_s():
    """With many ties, and arrivals outside all cells, which do not count."""
    generator = np.random.default_rng(0)
    for _ in range(10):
        n = generator.integers(0, 6, 8)
        cell = generator.integers(-1, 9, (7, 5))
        bonus = np.round(1 / np.sqrt(1 + n[np.clip(cell, 0, 7)]) + 0.3 * generator.normal(size=cell.shape), 1)
        known = (cell >= 0) & (cell < 8)
        frame = pd.DataFrame({"bonus": bonus[known], "rare": 1 / np.sqrt(1 + n[cell[known]])})
        expected = frame.rank().corr().iloc[0, 1]
        found = jax.jit(visits.rank_correlation)(jnp.asarray(bonus), jnp.asarray(n), jnp.asarray(cell))
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert np.isnan(visits.rank_correlation(jnp.ones(5), jnp.asarray(n), jnp.arange(5)))
    many = jnp.arange(8_000_000.0)  # arrivals of one update, whose squared ranks fill a float
    np.testing.assert_allclose(visits._correlation(many, many, many >= 0), 1.0, rtol=1e-3)


def test_a_run_s_counts_agree_with_the_truth():
    """Clock shows its true state, so counts before each update rank exactly as the visits do."""
    cells = (lambda state: state.x.astype(int), 5)
    train = learners.bind(
        probes.Clock(), algos.PPO(num_steps=5, hidden=(8,)), bonus=Counts(table_size=64), num_envs=4, total_steps=200,
        visits=cells,
    )  # fmt: skip
    metrics = jax.jit(train)(jax.random.key(0)).metrics
    assert np.isnan(metrics["bonus_rank_correlation"][0]), "nothing was visited before"
    known = metrics["bonus_rank_correlation"][np.isfinite(metrics["bonus_rank_correlation"])]
    assert len(known) > 4, "NaN only where all cells were visited equally often"
    np.testing.assert_allclose(known, 1, rtol=1e-5)
    assert (metrics["visit_entropy"] <= np.log(3) + 1e-6).all()


def test_first_reward():
    """DeepSea's treasure under a policy that nobody trained: the first episode with a positive return, warm-up too."""
    env, params = purejaxrl.make("DeepSea-bsuite", size=4)
    learner = algos.PPO(num_steps=4, hidden=(8,))
    for warmup in (0, 400):
        bonus = Counts(coef=0.0, table_size=64, warmup_steps=warmup)
        train = learners.bind(env, learner, bonus=bonus, env_params=params, num_envs=2, total_steps=1200)
        metrics = jax.jit(train)(jax.random.key(1)).metrics
        found = metrics["first_reward"]
        if warmup:
            assert found[0] <= 400
            assert found[0] % 8 == 0
            continue
        first = np.flatnonzero(metrics["episode_return_max"] > 0)[0]
        assert first > 0
        assert np.isnan(found[:first]).all()
        np.testing.assert_array_equal(found[first:], metrics["env_steps"][first])
