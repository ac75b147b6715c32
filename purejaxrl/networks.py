"""Networks on *one* observation (the algorithms vmap them), and initialisers that call no LAPACK.

Leaves of rank 3 are grids and go through a small CNN; every other leaf is flattened and cast to float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from purejaxrl.distributions import Categorical, Gaussian

Array = jax.Array


class Network(NamedTuple):
    """A pair of pure functions: ``init(key, obs) -> params`` and ``apply(params, obs)``, on one observation."""

    init: Callable[..., Any]
    apply: Callable[..., Any]


def orthogonal(scale: float = 1.0) -> Callable[..., Array]:
    """Orthogonal initialiser (Saxe et al. 2014) by Gram-Schmidt, applied twice to each column for full precision.

    The distribution is that of the usual QR one with positive diagonal of R. A batched QR deadlocks inside a vmapped
    program on the CPU (both workers of XLA's pool wait in LAPACK for each other), so it is written in matrix products.
    """

    def init(key, shape, dtype=jnp.float32):
        fan_out, fan_in = shape[-1], 1
        for size in shape[:-1]:
            fan_in *= size
        tall = jax.random.normal(key, (max(fan_in, fan_out), min(fan_in, fan_out)))

        def column(j, basis):
            v = basis[:, j]
            done = jnp.where(jnp.arange(basis.shape[1]) < j, basis, 0.0)
            for _ in range(2):
                v = v - done @ (done.T @ v)
            return basis.at[:, j].set(v / jnp.linalg.norm(v))

        basis = jax.lax.fori_loop(0, tall.shape[1], column, tall)
        if fan_in < fan_out:
            basis = basis.T
        return (scale * basis).reshape(shape).astype(dtype)

    return init


def dense(features: int, scale: float = 2**0.5, name: str | None = None) -> nn.Dense:
    """A dense layer with orthogonal weights of gain `scale` and zero bias."""
    return nn.Dense(features, kernel_init=orthogonal(scale), name=name)


ACTIVATIONS = {"tanh": nn.tanh, "relu": nn.relu, "swish": nn.swish, "elu": nn.elu}


class MLP(nn.Module):
    """Dense layers, each followed by the activation."""

    hidden: Sequence[int]
    activation: str = "tanh"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for size in self.hidden:
            x = ACTIVATIONS[self.activation](dense(size)(x))
        return x


class CNN(nn.Module):
    """The small network of the MinAtar paper (Young & Tian 2019): 16 filters of 3×3, then a dense layer of 128, ReLU.

    The convolution is a matrix product over shifted slices: under vmap over parameters, XLA's CPU backend turns
    ``lax.conv`` into a grouped convolution that is many times slower.
    """

    filters: int = 16
    features: int = 128

    @nn.compact
    def __call__(self, grid: Array) -> Array:
        x = grid.astype(jnp.float32)
        pad = [(1, 1) if size < 3 else (0, 0) for size in x.shape[:2]]
        x = jnp.pad(x, [*pad, (0, 0)])
        rows, columns = x.shape[0] - 2, x.shape[1] - 2
        patches = [x[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
        x = nn.relu(dense(self.filters)(jnp.concatenate(patches, axis=-1)))
        return nn.relu(dense(self.features)(x.reshape(-1)))


def has_grid(obs: Any) -> bool:
    """Whether one observation holds a leaf of rank 3."""
    return any(leaf.ndim == 3 for leaf in jax.tree.leaves(obs))


def flatten(obs: Any) -> Array:
    """Every leaf of one observation, flattened, cast to float32 and joined: ``[features]``."""
    return jnp.concatenate([jnp.ravel(leaf).astype(jnp.float32) for leaf in jax.tree.leaves(obs)])


class Torso(nn.Module):
    """From one observation of any structure to a feature vector: grids by CNN, the rest flat through an MLP."""

    hidden: Sequence[int] = (64, 64)
    activation: str = "tanh"

    @nn.compact
    def __call__(self, obs: Any) -> Array:
        leaves = jax.tree.leaves(obs)
        grids = [CNN()(leaf) for leaf in leaves if leaf.ndim == 3]
        flat = [leaf for leaf in leaves if leaf.ndim != 3]
        if flat:
            grids.append(MLP(self.hidden, self.activation)(flatten(flat)))
        return jnp.concatenate(grids)


class ActorCritic(nn.Module):
    """Policy and `num_values` value heads: returns ``(distribution, values)`` for one observation.

    Flat observations get separate torsos for actor and critic, grids share one. A Gaussian's log std does not depend
    on the observation and starts at 0.
    """

    num_values: int
    num_actions: int | None = None  # of a discrete space
    action_shape: tuple[int, ...] | None = None  # of a continuous one
    hidden: Sequence[int] = (64, 64)
    activation: str = "tanh"

    @nn.compact
    def __call__(self, obs: Any) -> tuple[Categorical | Gaussian, Array]:
        actor = Torso(self.hidden, self.activation, name="actor")(obs)
        critic = actor if has_grid(obs) else Torso(self.hidden, self.activation, name="critic")(obs)
        values = dense(self.num_values, 1.0, name="value")(critic)
        if self.num_actions is not None:
            return Categorical(dense(self.num_actions, 0.01, name="policy")(actor)), values
        shape = self.action_shape or ()
        mean = dense(math.prod(shape), 0.01, name="policy")(actor).reshape(shape)
        return Gaussian(mean, self.param("log_std", nn.initializers.zeros, shape), len(shape)), values
