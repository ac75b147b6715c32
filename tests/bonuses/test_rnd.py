"""RND against a plain NumPy version written from the paper and its reference code."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpynets
import probes

import purejaxrl
from purejaxrl.algos import PPO
from purejaxrl.bonuses import RND
from purejaxrl.types import Spec, Transition

SPEC = Spec(None, None, 3, 5, 4, observation=jax.ShapeDtypeStruct((4,), np.float32))


def batch(obs, warm_up=False):
    leading = obs.shape[:2]
    return Transition(
        next_obs=jnp.asarray(obs), reward=jnp.zeros(leading), bonus=None if warm_up else jnp.zeros(leading)
    )


def numpy_bonus(state, seen, obs):
    seen = seen.reshape(-1, 4)
    x = np.clip((obs - seen.mean(0)) / np.sqrt(seen.var(0) + 1e-8), -5, 5)
    return 0.5 * np.square(numpynets.forward(state.predictor, x) - numpynets.forward(state.target, x)).sum(-1)


def test_bonus_is_the_paper_s():
    generator = np.random.default_rng(0)
    rnd = RND(hidden=(8, 8), embedding_size=6)
    state = rnd.init(jax.random.key(0), SPEC)
    warm = generator.normal(2, 3, (10, 3, 4)).astype(np.float32)
    warm[..., 3] = 1.0  # a constant feature
    target, predictor = state.target, state.predictor
    state, metrics = rnd.update(state, jax.random.key(1), batch(warm, warm_up=True))
    assert not metrics
    for before, after in ((target, state.target), (predictor, state.predictor)):
        jax.tree.map(np.testing.assert_array_equal, before, after)  # warm-up moves statistics only

    obs = generator.normal(2, 9, (5, 3, 4)).astype(np.float32)
    expected = numpy_bonus(state, warm, obs)
    np.testing.assert_allclose(rnd.reward(state, batch(obs), ()), expected, rtol=1e-3)

    old = state
    state, _ = rnd.update(state, jax.random.key(2), batch(obs))
    jax.tree.map(np.testing.assert_array_equal, target, state.target)
    assert any((x != y).any() for x, y in zip(*map(jax.tree.leaves, (old.predictor, state.predictor)), strict=True))
    np.testing.assert_allclose(
        rnd.reward(state, batch(obs), ()), numpy_bonus(state, np.concatenate([warm, obs]), obs), rtol=1e-3
    )


def test_novelty_falls_with_visits_and_stays_elsewhere():
    generator = np.random.default_rng(0)
    rnd = RND(hidden=(32,), embedding_size=16, learning_rate=1e-3)
    state = rnd.init(jax.random.key(0), SPEC)
    state, _ = rnd.update(state, jax.random.key(1), batch(generator.normal(size=(50, 3, 4)).astype(np.float32), True))
    near = (0.1 * generator.normal(size=(20, 3, 4)) + [1, 1, 0, 0]).astype(np.float32)
    far = near * [-1, -1, 1, 1]
    first = [float(rnd.reward(state, batch(jnp.asarray(obs, jnp.float32)), ()).mean()) for obs in (near, far)]
    update = jax.jit(rnd.update)
    for step in range(100):
        state, _ = update(state, jax.random.key(step), batch(near))
    last = [float(rnd.reward(state, batch(jnp.asarray(obs, jnp.float32)), ()).mean()) for obs in (near, far)]
    assert last[0] < 0.1 * first[0]
    assert last[1] > 5 * last[0]


def test_any_leading_axes():
    rnd = RND(hidden=(8,), embedding_size=4)
    state = rnd.init(jax.random.key(0), SPEC)
    obs = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    whole = rnd.reward(state, batch(obs), ())
    row = rnd.reward(state, Transition(next_obs=jnp.asarray(obs[2]), reward=jnp.zeros(3)), ())
    np.testing.assert_allclose(whole[2], row, rtol=1e-5)


def test_normalised_bonus_in_a_run_is_finite_and_of_order_one():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train = purejaxrl.make_train(
            probes.Clock(), PPO(num_steps=16, hidden=(8,)), bonus=RND(hidden=(8,), warmup_steps=100), num_envs=5,
            total_steps=3000,
        )  # fmt: skip
    metrics = jax.jit(train)(jax.random.key(0)).metrics
    assert np.isfinite(metrics["bonus_mean"]).all()
    assert 1e-3 < metrics["bonus_mean"][0] < 10
    assert metrics["env_steps"][0] == 100 + 80
