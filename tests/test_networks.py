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
