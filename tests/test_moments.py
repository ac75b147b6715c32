import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl import moments


def test_merged_batches_equal_all_at_once():
    generator = np.random.default_rng(0)
    batches = [generator.normal(3, 2, (steps, 4, 3)).astype(np.float32) for steps in (1, 5, 12)]
    running = moments.init(jnp.zeros(3))
    for batch in batches:
        running = moments.update(running, jnp.asarray(batch))
    everything = np.concatenate([batch.reshape(-1, 3) for batch in batches])
    np.testing.assert_allclose(running.mean, everything.mean(0), rtol=1e-5)
    np.testing.assert_allclose(running.var, everything.var(0), rtol=1e-5)
    assert running.count == len(everything)


def test_counts_and_values_may_be_as_large_as_floats_are():
    """Where the count cannot grow any more older samples fade, and values far from 1 do not overflow."""
    full = moments.init(jnp.zeros(())).replace(mean=jnp.float32(0.5), var=jnp.float32(1.0), count=jnp.float32(2**24))
    samples = jax.random.normal(jax.random.key(0), (2**21, 1, 1))
    found, _ = jax.jit(lambda: jax.lax.scan(lambda state, x: (moments.update(state, x), None), full, samples))()
    assert found.count == 2**24
    np.testing.assert_allclose(found.mean, 0.5 * np.exp(-1 / 8), atol=2e-3)  # 2^21 of 2^24
    assert 0.9 < found.var < 1.1
    small = moments.update(moments.init(jnp.zeros(())), jnp.array([0.0, 1e-6]))  # whatever there was before
    np.testing.assert_allclose(small.var, 2.5e-13, rtol=1e-5)
    huge = moments.init(jnp.zeros(())).replace(count=jnp.float32(2**24))
    for scale in (1e15, 1e17):
        found = moments.update(
            huge.replace(var=jnp.float32(scale**2)), scale * jax.random.normal(jax.random.key(1), (999,))
        )
        np.testing.assert_allclose(found.var, scale**2, rtol=1e-3)


def test_trees_keep_their_structure():
    tree = (jnp.ones((5, 2, 3)), (jnp.zeros((5, 2)), jnp.ones((5, 2, 2, 2), jnp.uint8)))
    example = (jnp.zeros(3), (jnp.zeros(()), jnp.zeros((2, 2), jnp.uint8)))
    running = moments.update(moments.init(example), tree)
    assert [leaf.shape for leaf in (running.mean[0], running.mean[1][0], running.mean[1][1])] == [(3,), (), (2, 2)]
    assert running.count == 10
    np.testing.assert_allclose(running.mean[1][1], 1.0)


def test_nothing_seen_changes_nothing():
    x = jnp.array([[1.0, -2.0]])
    np.testing.assert_allclose(moments.standardise(moments.init(jnp.zeros(2)), x, clip=10.0), x)


def test_standardise_clips_and_survives_constant_columns():
    running = moments.update(moments.init(jnp.zeros(2)), jnp.array([[0.0, 7.0], [2.0, 7.0]]))
    standard = moments.standardise(running, jnp.array([[100.0, 7.0], [1.0, 8.0]]), clip=5.0)
    np.testing.assert_allclose(standard, [[5.0, 0.0], [0.0, 5.0]], atol=1e-5)


def test_scale_by_std_leaves_a_constant_stream_alone():
    for constant in (0.0, 0.1, -2.0, 1e-6):
        running = moments.update(moments.init(jnp.zeros(())), jnp.full((4, 3), constant))
        np.testing.assert_allclose(moments.scale_by_std(running, jnp.array([constant])), [constant])


def test_discounted_runs_over_time_not_envs():
    """num_steps ≠ num_envs, against loops; with `first`, an episode's last reward is counted before the restart."""
    generator = np.random.default_rng(1)
    reward, running = generator.normal(size=(7, 3)), generator.normal(size=3)
    first = generator.random((7, 3)) < 0.3
    for cut in (None, first):
        state, expected = running.copy(), []
        for t in range(7):
            keep = np.ones(3) if cut is None else 1.0 - cut[t]
            state = 0.9 * keep * state + reward[t]
            expected.append(state)
        got, last = moments.discounted(jnp.asarray(reward), jnp.asarray(running), 0.9, cut)
        np.testing.assert_allclose(got, expected, rtol=1e-5)
        np.testing.assert_allclose(last, expected[-1], rtol=1e-5)
