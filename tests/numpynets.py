"""The networks of bonuses and their gradients in plain NumPy, float64, for flat observations."""

import jax
import numpy as np
from jax.flatten_util import ravel_pytree


def forward(params, *inputs):
    """`networks.Embedding` on ``inputs [..., features]`` side by side: ReLU layers, then a linear one."""
    tree = params["params"]
    mlps = [tree["Torso_0"]["MLP_0"], tree.get("MLP_0", {})]
    hidden = [layer for mlp in mlps for _, layer in sorted(mlp.items())]
    x = np.concatenate([np.asarray(x, np.float64) for x in inputs], axis=-1)
    for layer in hidden:
        x = np.maximum(x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64), 0)
    last = tree["Dense_0"]
    return x @ np.asarray(last["kernel"], np.float64) + np.asarray(last["bias"], np.float64)


def gradient(loss, params, step=1e-6):
    """Central differences of ``loss(params)`` in every number of `params`."""
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda x: np.array(x, np.float64), params))
    params, grads = structure.unflatten(leaves), [np.zeros_like(leaf) for leaf in leaves]
    for leaf, grad in zip(leaves, grads, strict=True):
        for index in np.ndindex(leaf.shape):
            before, values = leaf[index], []
            for sign in (1, -1):
                leaf[index] = before + sign * step
                values.append(loss(params))
            leaf[index] = before
            grad[index] = (values[0] - values[1]) / (2 * step)
    return structure.unflatten(grads)


def adam_gradient(opt_state, params=None):
    """The gradient of Adam's only step so far: its first moment is (1 - 0.9) of it.

    Of an optimiser that saw `params` as one vector (`minibatches.descend`), as a tree like them.
    """
    if params is not None:
        return ravel_pytree(params)[1](opt_state[0].mu * 10)
    return jax.tree.map(lambda mu: np.asarray(mu, np.float64) * 10, opt_state[0].mu)


def assert_trees_close(found, expected, rtol=2e-3, atol=1e-4):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), found, expected)
