import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl import distributional

project = jax.jit(distributional.project)
quantile_huber = jax.jit(distributional.quantile_huber)


def project_by_loop(atoms, probs, low, high, number):
    """Algorithm 1 of Bellemare et al. 2017; as printed it loses the mass that falls on an atom, where l = u."""
    projected, step = np.zeros(number), (high - low) / (number - 1)
    for x, p in zip(atoms, probs, strict=True):
        b = (np.clip(x, low, high) - low) / step
        lower, upper = int(np.floor(b)), int(np.ceil(b))
        projected[lower] += p * (upper - b) if upper > lower else p
        projected[upper] += p * (b - lower)
    return projected


def quantile_huber_by_loop(quantiles, targets, kappa):
    total = 0.0
    for i, quantile in enumerate(quantiles):
        for target in targets:
            u = target - quantile
            huber = u**2 / 2 if abs(u) <= kappa else kappa * (abs(u) - kappa / 2)
            total += abs((2 * i + 1) / (2 * len(quantiles)) - (u < 0)) * huber / kappa / len(targets)
    return total


def random_distributions(seed, shape=(2, 3, 6)):
    chance = np.random.default_rng(seed)
    return chance.normal(0, 4, shape).astype(np.float32), chance.dirichlet(np.ones(6), shape[:-1]).astype(np.float32)


@pytest.mark.parametrize("ends", [(-10, 10, 51), (0, 1, 2), (-2, 5, 7)])
@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(data=st.data())
def test_projection_is_algorithm_1(ends, data):
    """Which conserves mass, and the mean of what lies within the support."""
    support = np.linspace(*ends, dtype=np.float32)
    places = st.floats(-15, 15, width=32) | st.sampled_from(support.tolist())
    atoms = data.draw(hnp.arrays(np.float32, 5, elements=places), "atoms")
    masses = data.draw(hnp.arrays(np.float32, 5, elements=st.floats(0, 1, width=32)), "masses")
    probs = (masses + 1e-3) / np.sum(masses + 1e-3)
    projected = project(atoms, probs, support)
    np.testing.assert_allclose(projected, project_by_loop(atoms.astype(float), probs, *ends), atol=5e-6)
    np.testing.assert_allclose(projected.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(projected @ support, probs @ np.clip(atoms, support[0], support[-1]), atol=1e-4)


def test_projection_leaves_mass_on_atoms_where_it_is():
    support = np.linspace(-2, 2, 9, dtype=np.float32)
    probs = np.random.default_rng(0).dirichlet(np.ones(9), 4).astype(np.float32)
    np.testing.assert_array_equal(project(np.tile(support, (4, 1)), probs, support), probs)
    np.testing.assert_array_equal(project(support[::-1], probs[0, ::-1], support), probs[0], err_msg="in any order")
    beyond = project(np.array([-9.0, 9.0]), np.array([0.25, 0.75]), support)
    np.testing.assert_array_equal(beyond, [0.25, *[0] * 7, 0.75])


def test_projection_agrees_with_rlax():
    rlax = pytest.importorskip("rlax")
    (atoms, probs), support = random_distributions(1), jnp.linspace(-3, 4, 8)
    each = jax.vmap(jax.vmap(rlax.categorical_l2_project, (0, 0, None)), (0, 0, None))
    np.testing.assert_allclose(project(atoms, probs, support), each(atoms, probs, support), atol=1e-5)


@pytest.mark.parametrize("kappa", [0.5, 1.0, 2.0])
def test_quantile_huber_is_its_definition(kappa):
    """Against two loops, and rlax, whose loss is not divided by κ (nor is the summing over quantiles averaged)."""
    chance = np.random.default_rng(0)
    quantiles, targets = chance.normal(0, 2, (2, 3, 5)), chance.normal(0, 2, (2, 3, 7))
    targets[..., 0] = quantiles[..., 0]  # u = 0
    quantiles, targets = quantiles.astype(np.float32), targets.astype(np.float32)
    found = quantile_huber(quantiles, targets, kappa)
    expected = [[quantile_huber_by_loop(quantiles[i, j], targets[i, j], kappa) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    rlax = pytest.importorskip("rlax")
    midpoints = (np.arange(5, dtype=np.float32) + 0.5) / 5
    other = rlax.quantile_regression_loss(quantiles[1, 2], midpoints, targets[1, 2], kappa)
    np.testing.assert_allclose(found[1, 2], other / kappa, rtol=1e-5)


def test_quantile_huber_is_least_at_the_quantiles():
    """Half between two of eight samples, as many lie below as the midpoints 1/8, 3/8, 5/8, 7/8 ask for."""
    targets = jnp.array([7.0, 3.0, 1.0, 0.0, 5.0, 2.0, 6.0, 4.0])
    gradient, through_targets = jax.grad(distributional.quantile_huber, argnums=(0, 1)), jnp.array([0.5, 2.5, 4.5, 6.5])
    slope, of_targets = gradient(through_targets, targets, 0.5)
    np.testing.assert_allclose(slope, 0, atol=1e-6)
    np.testing.assert_array_equal(of_targets, 0, err_msg="targets are constants")
    for shift in (-1.0, 1.0):
        slope, of_targets = gradient(through_targets + shift, targets, 0.5)
        np.testing.assert_allclose(slope, shift / 8, atol=1e-6)
        np.testing.assert_array_equal(of_targets, 0)
