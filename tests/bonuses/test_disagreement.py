"""Disagreement against a plain NumPy version of Pathak et al. 2019 and its reference code."""

import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces
from numpynets import adam_gradient, assert_trees_close, forward, gradient

from purejaxrl.bonuses import Disagreement
from purejaxrl.types import Spec, Transition

SPEC = Spec(None, spaces.Discrete(3), 4, 6, 4, observation=jax.ShapeDtypeStruct((3,), np.float32))
SMALL = {"hidden": (5,), "embedding_size": 4, "num_models": 3, "num_epochs": 1, "num_minibatches": 1}


def random_batch(seed, warm_up=False):
    generator = np.random.default_rng(seed)
    obs, next_obs = (generator.normal(size=(2, 6, 4, 3)) * [1, 4, 0] + [0, 2, 7]).astype(np.float32)
    zeros = np.zeros((6, 4), np.float32)
    batch = Transition(obs=obs, action=generator.integers(0, 3, (6, 4)), next_obs=next_obs, reward=zeros, bonus=zeros)
    return jax.tree.map(jnp.asarray, batch).replace(**({"bonus": None} if warm_up else {}))


def start(**settings):
    """A bonus, its state after a warm-up, and what standardises observations by the warm-up's next ones."""
    bonus = Disagreement(**(SMALL | settings))
    before, warm = bonus.init(jax.random.key(0), SPEC), random_batch(9, warm_up=True)
    state, metrics = bonus.update(before, jax.random.key(1), warm)
    assert not metrics
    jax.tree.map(np.testing.assert_array_equal, (before.models, before.encoder), (state.models, state.encoder))
    seen = np.asarray(warm.next_obs, np.float64).reshape(-1, 3)
    return bonus, state, lambda x: (np.asarray(x).reshape(-1, 3) - seen.mean(0)) / seen.std(0).mean()


def numpy_predictions(state, models, standardise, batch):
    phi = forward(state.encoder, standardise(batch.obs))
    action = np.eye(3)[np.asarray(batch.action).reshape(-1)]
    each = [jax.tree.map(lambda x, k=k: x[k], models) for k in range(3)]
    return np.stack([forward(model, phi, action) for model in each])


def numpy_bonus(state, standardise, batch):
    predictions = numpy_predictions(state, state.models, standardise, batch)
    variance = np.square(predictions - predictions.mean(0)).sum(0) / 3
    return variance.mean(-1).reshape(6, 4)


def test_bonus_and_gradient_are_the_paper_s():
    bonus, state, standardise = start(keep_fraction=1.0)
    batch = random_batch(0)
    expected = numpy_bonus(state, standardise, batch)
    np.testing.assert_allclose(bonus.reward(state, batch, ()), expected, rtol=1e-3)
    row = jax.tree.map(lambda x: x[2], batch)
    np.testing.assert_allclose(bonus.reward(state, row, ()), expected[2], rtol=1e-3)

    after, metrics = bonus.update(state, jax.random.key(1), batch)
    target = forward(state.encoder, standardise(batch.next_obs))

    def errors(models):
        return np.square(numpy_predictions(state, models, standardise, batch) - target).mean((1, 2))

    np.testing.assert_allclose(metrics["forward_loss"], errors(state.models).mean(), rtol=1e-4)
    expected = gradient(lambda models: errors(models).sum(), state.models)  # of each model's own mean error
    assert_trees_close(adam_gradient(after.opt_state), expected)
    np.testing.assert_allclose(bonus.reward(after, batch, ()), numpy_bonus(after, standardise, batch), rtol=1e-3)
    fixed = (state.encoder, state.obs_moments), (after.encoder, after.obs_moments)
    jax.tree.map(np.testing.assert_array_equal, *fixed)


def test_models_start_apart_and_learn_from_their_own_samples():
    _, state, _ = start()
    kernel = np.asarray(jax.tree.leaves(state.models)[1])
    assert np.abs(kernel[0] - kernel[1]).max() > 0.1
    alike = state.replace(models=jax.tree.map(lambda x: x[:1].repeat(3, 0), state.models))
    for keep_fraction in (1.0, 0.5):
        after, _ = start(keep_fraction=keep_fraction)[0].update(alike, jax.random.key(1), random_batch(0))
        grads = jax.tree.leaves(adam_gradient(after.opt_state))
        assert all(np.array_equal(grad[0], grad[1]) for grad in grads) == (keep_fraction == 1.0)


def test_noise_is_no_bonus_for_ever_and_what_is_new_is():
    """Next observations are drawn anew: the error stays, the models agree, but not on what they never saw."""
    bonus, state, _ = start(hidden=(16,), num_models=5, num_epochs=4, learning_rate=3e-3)

    @jax.jit
    def step(state, key, batch):
        state, metrics = bonus.update(state, key, batch)
        return state, bonus.reward(state, batch, ()).mean(), metrics["forward_loss"]

    found = []
    for index in range(200):
        state, *means = step(state, jax.random.key(index), random_batch(index))
        found.append(means)
    (bonus_before, error_before), (bonus_after, error_after) = found[0], found[-1]
    assert bonus_after < 0.1 * bonus_before
    assert error_after > 0.2 * error_before
    far = random_batch(0)
    assert bonus.reward(state, far.replace(obs=far.obs + 30.0), ()).mean() > 10 * bonus_after
