import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl.distributions import Categorical, Gaussian


def test_categorical_against_numpy():
    logits = np.array([[0.0, 1.0, 2.0], [5.0, 5.0, 5.0]])
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    policy = Categorical(jnp.asarray(logits))
    np.testing.assert_allclose(policy.log_prob(jnp.array([2, 0])), np.log([probs[0, 2], 1 / 3]), rtol=1e-5)
    np.testing.assert_allclose(policy.entropy(), -(probs * np.log(probs)).sum(-1), rtol=1e-5)
    assert policy.mode().tolist() == [2, 0]
    draws = jax.vmap(policy.sample)(jax.random.split(jax.random.key(0), 20_000))
    np.testing.assert_allclose([(draws[:, 0] == action).mean() for action in range(3)], probs[0], atol=0.02)


def test_masked_actions_never_happen():
    mask = jnp.array([[True, False, True], [False, False, False]])
    policy = Categorical(jnp.array([[0.0, 50.0, 0.0], [1.0, 2.0, 3.0]])).masked(mask)
    draws = jax.vmap(policy.sample)(jax.random.split(jax.random.key(0), 1000))
    assert not (draws[:, 0] == 1).any()
    np.testing.assert_allclose(policy.entropy()[0], np.log(2), rtol=1e-5)
    np.testing.assert_allclose(policy.log_prob(jnp.array([0, 0])), np.log([1 / 2, 1 / 3]), rtol=1e-5)
    gradient = jax.grad(lambda logits: Categorical(logits).masked(mask).entropy().sum())(jnp.ones((2, 3)))
    assert jnp.isfinite(gradient).all()


@pytest.mark.parametrize("event", [(), (2,), (2, 3)])
def test_gaussian_against_its_density(event):
    mean = jnp.arange(4.0).reshape(4, *(1 for _ in event)) * jnp.ones((4, *event))
    log_std = jnp.full(event, np.log(0.5))
    policy = Gaussian(mean, log_std, len(event))
    action = mean + 0.25
    size = int(np.prod(event))
    density = -0.5 * 0.5**2 - np.log(0.5) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(policy.log_prob(action), np.full(4, size * density), rtol=1e-5)
    np.testing.assert_allclose(policy.entropy(), size * 0.5 * np.log(2 * np.pi * np.e * 0.25), rtol=1e-5)
    assert policy.sample(jax.random.key(0)).shape == (4, *event)
    np.testing.assert_array_equal(policy.mode(), mean)
