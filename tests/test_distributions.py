import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl.distributions import Categorical, Gaussian, MultiCategorical, TanhGaussian


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
    np.testing.assert_allclose(np.bincount(draws[:, 1], minlength=3) / 1000, 1 / 3, atol=0.06)  # nothing was left
    np.testing.assert_allclose(policy.entropy()[0], np.log(2), rtol=1e-5)
    np.testing.assert_allclose(policy.log_prob(jnp.array([0, 0])), np.log([1 / 2, 1 / 3]), rtol=1e-5)
    gradient = jax.grad(lambda logits: Categorical(logits).masked(mask).entropy().sum())(jnp.ones((2, 3)))
    assert jnp.isfinite(gradient).all()


NVEC = (2, 1, 3)


def multi(seed=0, batch=(4,)):
    return MultiCategorical(2 * jax.random.normal(jax.random.key(seed), (*batch, sum(NVEC))), NVEC)


def joint(policy):
    """Each action vector and its probability ``[..., actions]`` by NumPy, over all of them."""
    parts = np.split(np.asarray(policy.logits, np.float64), np.cumsum(NVEC)[:-1], axis=-1)
    parts = [np.exp(part) / np.exp(part).sum(-1, keepdims=True) for part in parts]
    actions = np.array(list(itertools.product(*map(range, NVEC))))
    return actions, np.stack([np.prod([p[..., a] for p, a in zip(parts, row, strict=True)], 0) for row in actions], -1)


def test_multi_categorical_against_enumeration():
    policy = multi()
    actions, probs = joint(policy)
    np.testing.assert_allclose(probs.sum(-1), 1, rtol=1e-6)
    for index, action in enumerate(actions):
        log_prob = policy.log_prob(jnp.broadcast_to(jnp.asarray(action), (4, 3)))
        np.testing.assert_allclose(log_prob, np.log(probs[:, index]), rtol=1e-4)
    np.testing.assert_allclose(policy.entropy(), -(probs * np.log(probs)).sum(-1), rtol=1e-4)
    np.testing.assert_array_equal(policy.mode(), actions[probs.argmax(-1)])
    draws = jax.jit(jax.vmap(lambda policy, key: policy.sample(key), (None, 0)))(
        policy, jax.random.split(jax.random.key(1), 20_000)
    )
    assert draws.shape == (20_000, 4, 3)
    assert draws.dtype == policy.mode().dtype == jnp.int32
    index = (np.asarray(draws) * [3, 3, 1]).sum(-1)
    found = np.stack([np.bincount(index[:, lane], minlength=6) for lane in range(4)]) / 20_000
    np.testing.assert_allclose(found, probs, atol=0.02)


def test_multi_categorical_masks():
    """Forbidden entries have probability 0; a component without any allowed one is uniform, the others are masked."""
    mask = jnp.array([[1, 0, 1, 1, 0, 1], [0, 0, 1, 0, 0, 0]], bool)
    policy = multi(batch=(2,)).masked(mask)
    draws = np.asarray(jax.vmap(policy.sample)(jax.random.split(jax.random.key(0), 2000)))
    assert not draws[:, 0, 0].any()
    assert not (draws[:, 0, 2] == 1).any()
    np.testing.assert_allclose(np.bincount(draws[:, 1, 0], minlength=2) / 2000, 1 / 2, atol=0.05)
    np.testing.assert_allclose(np.bincount(draws[:, 1, 2], minlength=3) / 2000, 1 / 3, atol=0.05)
    assert np.exp(policy.log_prob(jnp.array([[1, 0, 0], [0, 0, 0]])))[0] == 0
    odds = np.exp(multi(batch=(2,)).logits[0, jnp.array([3, 5])])
    odds = odds / odds.sum()
    np.testing.assert_allclose(policy.entropy(), [-(odds * np.log(odds)).sum(), np.log(6)], rtol=1e-4)
    np.testing.assert_allclose(policy.log_prob(jnp.array([[0, 0, 2], [1, 0, 1]])), np.log([odds[1], 1 / 6]), rtol=1e-4)

    def loss(logits):
        policy = MultiCategorical(logits, NVEC).masked(mask)
        return policy.entropy().sum() + policy.log_prob(policy.mode()).sum()

    assert jnp.isfinite(jax.grad(loss)(jnp.ones((2, 6)))).all()


def test_multi_categorical_is_refused_with_other_sizes():
    with pytest.raises(ValueError, match=r"sum\(nvec\) = 6, got shape \(7,\)"):
        MultiCategorical(jnp.zeros(7), NVEC).entropy()
    with pytest.raises(ValueError, match=r"sum\(nvec\) = 6, got shape \(3,\)"):
        multi().masked(jnp.ones(3, bool))


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


LOW, HIGH = -0.3, 2.1


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.7, 0.3), (-1.5, 0.8), (2.0, 2.0)])
def test_tanh_gaussian_s_density(mean, std):
    """The log-probability at u is that of the density transformed by hand, which integrates to 1 over the bounds."""
    keys = jax.random.split(jax.random.key(0), 1000)
    policy = TanhGaussian(jnp.full(1, mean), jnp.full(1, np.log(std)), jnp.array([LOW]), jnp.array([HIGH]))
    actions, log_probs = (np.asarray(x, np.float64) for x in jax.vmap(policy.sample_and_log_prob)(keys))

    def density(action):
        tanh = 2 * (action - LOW) / (HIGH - LOW) - 1
        normal = np.exp(-0.5 * ((np.arctanh(tanh) - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
        return normal / ((1 - tanh**2) * (HIGH - LOW) / 2)

    inside = (actions > LOW + 0.01) & (actions < HIGH - 0.01)  # nearer to a bound float32 has lost u
    assert inside.mean() > 0.5
    np.testing.assert_allclose(np.exp(log_probs)[inside[:, 0]], density(actions[inside]), rtol=2e-3)
    u = np.linspace(-9, 9, 200_001)  # quadrature over u, which bunches the points near the bounds
    grid = LOW + (HIGH - LOW) * (np.tanh(u) + 1) / 2
    np.testing.assert_allclose(np.trapezoid(density(grid), grid), 1, atol=2e-3)
    assert ((actions >= LOW) & (actions <= HIGH)).all()
    np.testing.assert_allclose(policy.mode(), LOW + (HIGH - LOW) * (np.tanh(mean) + 1) / 2, rtol=1e-5)
    np.testing.assert_allclose(np.median(actions), policy.mode()[0], atol=0.15)


@pytest.mark.parametrize("event", [(), (2,), (2, 3)])
def test_tanh_gaussian_sums_over_the_event(event):
    low, high = -jnp.arange(1.0, 7.0)[: int(np.prod(event))].reshape(event), jnp.asarray(0.5)
    mean = jax.random.normal(jax.random.key(0), (4, *event))
    log_std = jnp.full(event, -0.5)
    key = jax.random.key(1)
    policy = TanhGaussian(mean, log_std, low, high, len(event))
    action, log_prob = policy.sample_and_log_prob(key)
    assert action.shape == policy.mode().shape == (4, *event)
    assert log_prob.shape == (4,)
    np.testing.assert_array_equal(policy.sample(key), action)
    elementwise = TanhGaussian(mean, log_std, low, high, 0).sample_and_log_prob(key)[1]
    np.testing.assert_allclose(log_prob, elementwise.reshape(4, -1).sum(1), rtol=1e-5)
    assert ((action > low) & (action < high)).all()
    # Twice the bounds' width is half the density, in every element.
    wider = TanhGaussian(mean, log_std, 2 * low, 2 * high, len(event)).sample_and_log_prob(key)[1]
    np.testing.assert_allclose(wider, log_prob - np.prod(event) * np.log(2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mean", [-200.0, -20.0, 0.0, 20.0, 200.0])
def test_tanh_gaussian_stays_finite_at_the_bounds(mean):
    low, high, key = jnp.array([-0.7, 0.1]), jnp.array([0.1, 0.7]), jax.random.key(0)

    def run(mean, log_std):
        return TanhGaussian(mean, log_std, low, high).sample_and_log_prob(key)

    parameters = jnp.full(2, mean), jnp.full(2, -1.0)
    action, log_prob = run(*parameters)
    assert ((action >= low) & (action <= high)).all()
    assert jnp.isfinite(log_prob)
    for number in range(2):
        gradients = jax.grad(lambda *p, number=number: run(*p)[number].sum(), (0, 1))(*parameters)
        assert all(jnp.isfinite(gradient).all() for gradient in gradients)
    # log(1 - tanh(u)²) = log 4 - 2 |u| + O(exp(-2 |u|)), so far out the gradient by the mean is 2 sign(u).
    if abs(mean) >= 20:
        np.testing.assert_allclose(jax.grad(lambda m: run(m, parameters[1])[1])(parameters[0]), 2 * np.sign(mean))
        noise = np.asarray(jax.random.normal(key, (2,)), np.float64)
        u = mean + np.exp(-1.0) * noise
        normal = -0.5 * noise**2 + 1.0 - 0.5 * np.log(2 * np.pi)
        wanted = normal - (np.log(4) - 2 * np.abs(u)) - np.log((np.asarray(high) - np.asarray(low)) / 2)
        np.testing.assert_allclose(log_prob, wanted.sum(), rtol=1e-5)
