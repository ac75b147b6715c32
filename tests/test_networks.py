import functools
import operator

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl import networks


@pytest.mark.parametrize("shape", [(64, 64), (400, 64), (3, 64), (1, 5), (3, 3, 4, 16)])
def test_orthogonal_rows_or_columns(shape):
    weight = np.asarray(networks.orthogonal(2.0)(jax.random.key(0), shape)).reshape(-1, shape[-1]).astype(np.float64)
    gram = weight @ weight.T if weight.shape[0] < weight.shape[1] else weight.T @ weight
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)


def test_orthogonal_has_the_distribution_of_qr():
    """Against NumPy's QR with positive diagonal of R, on the same normal matrix: the same matrix."""
    key = jax.random.key(3)
    normal = np.asarray(jax.random.normal(key, (20, 8)))
    q, r = np.linalg.qr(normal)
    np.testing.assert_allclose(networks.orthogonal()(key, (20, 8)), q * np.sign(np.diag(r)), atol=1e-5)


class Sizes(nn.Module):
    """Layers of very different sizes, and one with a kernel that is not ours."""

    @nn.compact
    def __call__(self, x):
        x = networks.Dense(200)(x)
        x = networks.Dense(3, 2.0)(x)
        return nn.Dense(7)(networks.MLP((5, 6))(x))


def gram(kernel):
    kernel = np.asarray(kernel, np.float64)
    return kernel @ kernel.T if kernel.shape[0] < kernel.shape[1] else kernel.T @ kernel


def test_layers_drawn_together_are_orthogonal_each_with_its_gain():
    obs = jnp.zeros(300)
    params = jax.jit(lambda key: networks.init(Sizes(), key, obs))(jax.random.key(0))["params"]
    alone = Sizes().init(jax.random.key(0), obs)["params"]
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, alone)
    gains = {("Dense_0",): 2**0.5, ("Dense_1",): 2.0, ("MLP_0", "Dense_0"): 2**0.5, ("MLP_0", "Dense_1"): 2**0.5}
    for path, gain in gains.items():
        drawn, one = (functools.reduce(operator.getitem, path, tree) for tree in (params, alone))
        for layer in (drawn, one):
            found = gram(layer["kernel"])
            np.testing.assert_allclose(found, gain**2 * np.eye(len(found)), atol=2e-5)
            assert not layer["bias"].any()
        assert not np.allclose(drawn["kernel"], one["kernel"])
    other = params["Dense_2"]["kernel"]
    assert (np.abs(gram(other) - np.diag(np.diag(gram(other)))) > 0.01).any()  # as its own initialiser draws it


def test_layers_and_networks_differ():
    """No two layers of one shape, of one network or of two, and no two keys give the same weights."""
    net = networks.MLP((8, 8, 8))
    first, second = networks.init_all(jax.random.key(0), (net, jnp.zeros(8)), (net, jnp.zeros(8)))
    (third,) = networks.init_all(jax.random.key(1), (net, jnp.zeros(8)))
    kernels = [layer["kernel"] for tree in (first, second, third) for layer in tree["params"].values()]
    assert len(kernels) == 9
    for number, kernel in enumerate(kernels):
        for other in kernels[:number]:
            assert np.abs(kernel - other).max() > 0.1


def test_a_pair_of_functions_may_join_modules_of_one_name():
    net = networks.MLP((4,))
    pair = networks.Network(
        lambda key, obs: [net.init(one, obs) for one in jax.random.split(key)],
        lambda params, obs: net.apply(params[1], net.apply(params[0], obs)),
    )
    for params in networks.init(pair, jax.random.key(0), jnp.zeros(4)):
        np.testing.assert_allclose(gram(params["params"]["Dense_0"]["kernel"]), 2 * np.eye(4), atol=1e-5)


def test_columns_of_drawn_layers_are_uniform_on_the_sphere():
    """The mean of x⁴ over a uniform direction in n dimensions is 3 / (n (n + 2)), of each entry of each layer."""
    net, draws = networks.MLP((6, 3)), 20_000
    keys = jax.random.split(jax.random.key(5), draws)
    params = jax.vmap(lambda key: networks.init(net, key, jnp.zeros(6)))(keys)["params"]
    for layer in ("Dense_0", "Dense_1"):
        kernel = np.asarray(params[layer]["kernel"], np.float64) / 2**0.5
        np.testing.assert_allclose(kernel.mean(0), 0, atol=5 / (6 * draws) ** 0.5)
        np.testing.assert_allclose((kernel**4).mean(0), 3 / 48, rtol=0.06)


def test_layers_that_are_lifted_over_parameters_are_orthogonal_each():
    """Twin networks by flax's vmap, beside a layer of the same kind that is not lifted."""

    class Twins(nn.Module):
        @nn.compact
        def __call__(self, x):
            lifted = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}, "in_axes": None}
            return networks.Dense(3)(nn.vmap(networks.MLP, axis_size=2, **lifted)((8,))(x).reshape(-1))

    params = networks.init(Twins(), jax.random.key(0), jnp.zeros(5))["params"]
    kernels = params["VmapMLP_0"]["Dense_0"]["kernel"]
    assert kernels.shape == (2, 5, 8)
    for kernel in kernels:
        np.testing.assert_allclose(gram(kernel), 2 * np.eye(5), atol=1e-5)
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1
    np.testing.assert_allclose(gram(params["Dense_0"]["kernel"]), 2 * np.eye(3), atol=1e-5)


def test_cnn_is_a_convolution():
    grid = jax.random.normal(jax.random.key(0), (10, 8, 4))
    params = networks.CNN().init(jax.random.key(1), grid)
    kernel = params["params"]["Dense_0"]["kernel"].reshape(3, 3, 4, 16)
    conv = jax.lax.conv_general_dilated(
        grid[None], kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
    )[0]
    dense = params["params"]["Dense_1"]
    expected = jax.nn.relu(jax.nn.relu(conv).reshape(-1) @ dense["kernel"] + dense["bias"])
    np.testing.assert_allclose(networks.CNN().apply(params, grid), expected, atol=1e-4)


def test_cnn_embeds_the_cells_of_many_channels():
    """One matrix for every cell and ReLU, then the convolution of what it gives."""
    grid = jax.random.normal(jax.random.key(0), (5, 6, 40))
    params = networks.CNN().init(jax.random.key(1), grid)["params"]
    cell = params.pop("Dense_0")
    rest = {f"Dense_{number - 1}": params[f"Dense_{number}"] for number in (1, 2)}
    embedded = jax.nn.relu(grid @ cell["kernel"] + cell["bias"])
    expected = networks.CNN().apply({"params": rest}, embedded)
    found = networks.CNN().apply({"params": {"Dense_0": cell, **params}}, grid)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert embedded.shape == (5, 6, 16)


def test_cnn_takes_grids_smaller_than_its_filter():
    grid = jnp.ones((2, 1, 3), jnp.uint8)
    assert networks.CNN().apply(networks.CNN().init(jax.random.key(0), grid), grid).shape == (128,)


@pytest.mark.parametrize(
    ("obs", "size"),
    [
        (jnp.zeros(()), 8),
        (jnp.zeros((3, 3)), 8),
        (jnp.zeros((7, 7, 3), jnp.uint8), 128),
        ((jnp.zeros((7, 7, 3)), jnp.zeros(4, jnp.int32)), 128 + 8),
    ],
)
def test_torso_takes_any_observation(obs, size):
    torso = networks.Torso((16, 8))
    assert torso.apply(torso.init(jax.random.key(0), obs), obs).shape == (size,)


def test_actor_and_critic_share_weights_only_on_grids():
    network = networks.ActorCritic(num_values=2, num_actions=3)
    flat = network.init(jax.random.key(0), jnp.zeros(4))["params"]
    grid = network.init(jax.random.key(0), jnp.zeros((5, 5, 2)))["params"]
    assert {"actor", "critic"} <= set(flat)
    assert "critic" not in grid
    _, values = network.apply({"params": flat}, jnp.ones(4))
    assert values.shape == (2,)
