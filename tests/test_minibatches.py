import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from purejaxrl import minibatches


@pytest.mark.parametrize("count", [1, 2, 7, 16, 30, 128, 512, 1280, 2 * 257, 8192])
def test_a_shuffle_holds_every_number_once(count):
    orders = jax.vmap(lambda key: minibatches.shuffled(key, count))(jax.random.split(jax.random.key(0), 5))
    assert orders.dtype == jnp.int32
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.broadcast_to(np.arange(count), (5, count)))
    if count > 7:
        assert len(np.unique(orders, axis=0)) == 5


def test_fewer_samples_than_minibatches_are_a_minibatch_each():
    def step(seen, chosen):
        return seen.at[chosen].add(1), chosen

    settings = {"count": 3, "num_minibatches": 8, "num_epochs": 2}
    seen, chosen = minibatches.epochs(step, jnp.zeros(3, int), jax.random.key(0), **settings)
    np.testing.assert_array_equal(seen, 2)
    assert chosen.shape == (2, 3, 1)


def shuffles(count, num, seed=0):
    draw = jax.jit(jax.vmap(lambda key: minibatches.shuffled(key, count)))
    return np.asarray(draw(jax.random.split(jax.random.key(seed), num)))


@pytest.mark.parametrize("count", [16, 128, 512, 1280])
def test_shuffles_are_uniform_in_each_place(count):
    """The number of times that a sample comes to a place, as Pearson's χ² against its normal limit."""
    num = 4000
    orders = shuffles(count, num)
    seen = np.stack([np.bincount(orders[:, place], minlength=count) for place in range(0, count, max(count // 64, 1))])
    chi2 = ((seen - num / count) ** 2 / (num / count)).sum()
    freedom = len(seen) * (count - 1)
    assert abs(chi2 - freedom) < 4 * np.sqrt(2 * freedom)


@pytest.mark.parametrize(("count", "num_minibatches"), [(16, 4), (128, 4), (512, 4), (512, 16), (1280, 8)])
def test_any_two_samples_share_a_minibatch_as_often_as_in_a_permutation(count, num_minibatches):
    """Of some samples with each other one: the deviation from the exact probability is what chance makes of it."""
    num, size = 6000, count // num_minibatches
    place = np.argsort(shuffles(count, num), axis=1) // size  # the minibatch of each sample
    exact = (size - 1) / (count - 1)
    found = []
    for sample in (0, 1, count // 2 + 1, count - 1):
        share = (place == place[:, sample : sample + 1]).mean(0)
        found.append(np.delete(share, sample))
    z = (np.concatenate(found) - exact) / np.sqrt(exact * (1 - exact) / num)
    assert abs(z.std() - 1) < 0.15
    assert np.abs(z).max() < 5.5


def test_shuffles_of_epochs_are_independent():
    """How many samples two epochs' first minibatches share is hypergeometric."""
    count, size, num = 512, 128, 4000
    first, second = shuffles(count, num, seed=1)[:, :size], shuffles(count, num, seed=2)[:, :size]
    shared = np.array([len(np.intersect1d(*pair)) for pair in zip(first, second, strict=True)])
    mean, variance = size * size / count, size * (size / count) * (1 - size / count) * (count - size) / (count - 1)
    assert abs(shared.mean() - mean) < 5 * np.sqrt(variance / num)
    assert abs(shared.var() / variance - 1) < 0.15


PARAMS = {"w": jnp.array([[0.5], [-1.0], [2.0]]), "b": jnp.zeros(1)}


def loss(params, minibatch):
    x, y = minibatch
    error = jnp.square(x @ params["w"] + params["b"] - y).mean()
    return error, {"error": error}


def data(count):
    x = jax.random.normal(jax.random.key(1), (count, 3))
    return x, x @ jnp.array([[1.0], [0.0], [-1.0]]) + 0.1


def test_descend_is_gradient_descent():
    """Against NumPy, on the same shuffles."""
    x, y = (np.asarray(leaf, np.float64) for leaf in data(30))
    optimiser, key = optax.sgd(0.1), jax.random.key(3)
    state = minibatches.init(optimiser, PARAMS)
    sizes = {"num_minibatches": 4, "num_epochs": 3}
    params, _, metrics = minibatches.descend(loss, optimiser, PARAMS, state, data(30), key, **sizes)
    w, b, errors = np.array([[0.5], [-1.0], [2.0]]), np.zeros(1), []
    for epoch in jax.random.split(key, 3):
        for some in np.asarray(minibatches.shuffled(epoch, 30))[:28].reshape(4, 7):
            error = x[some] @ w + b - y[some]
            errors.append((error**2).mean())
            w, b = w - 0.1 * 2 * x[some].T @ error / 7, b - 0.1 * 2 * error.mean(0)
    np.testing.assert_allclose(params["w"], w, rtol=1e-4)
    np.testing.assert_allclose(params["b"], b, rtol=1e-4)
    np.testing.assert_allclose(metrics["error"].ravel(), errors, rtol=1e-4)


@pytest.mark.parametrize(
    ("count", "part", "parts"), [(64, 16, 4), (60, 16, 4), (62, 16, 1), (64, None, 1), (64, 64, 1)]
)
def test_parts_change_nothing(count, part, parts):
    """62 has no divisor that leaves parts of a fair size."""
    assert minibatches._num_parts(count, part) == parts
    optimiser, samples = optax.adam(1e-2), data(2 * count)
    state = minibatches.init(optimiser, PARAMS)
    sizes = {"num_minibatches": 2, "num_epochs": 2}
    arguments = loss, optimiser, PARAMS, state, samples, jax.random.key(0)
    whole, in_parts = (minibatches.descend(*arguments, **sizes, part=some) for some in (None, part))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), whole, in_parts)
    found = minibatches.in_parts(lambda pair: {"sum": pair[0].sum(-1), "y": pair[1]}, samples, part)
    np.testing.assert_allclose(found["sum"], samples[0].sum(-1), rtol=1e-6)
    np.testing.assert_array_equal(found["y"], samples[1])
