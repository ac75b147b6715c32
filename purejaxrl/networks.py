"""Networks on *one* observation (the algorithms vmap them), and initialisers that call no LAPACK.

Leaves of rank 3 are grids and go through a small CNN; every other leaf is flattened and cast to float32. A network with
a memory works on a sequence of one env's observations instead: see `memory.py`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from purejaxrl.distributions import Categorical, Gaussian, MultiCategorical
from purejaxrl.types import SettingError

Array = jax.Array
PyTree = Any


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


class NoisyDense(nn.Module):
    """A dense layer with factorised Gaussian noise on its weights (Fortunato et al. 2018, arXiv:1706.10295, eq. 10-11).

    w = μ + σ ⊙ f(ε_out) f(ε_in)ᵀ with f(x) = sgn(x) √|x|; μ ~ U(±1/√fan_in), σ = `sigma` / √fan_in at first. The noise
    comes from ``apply(..., rngs={"noise": key})``; without it, the layer is its mean.
    """

    features: int
    sigma: float = 0.5

    @nn.compact
    def __call__(self, x: Array) -> Array:
        bound = x.shape[-1] ** -0.5

        def uniform(key, shape):
            return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

        spread = nn.initializers.constant(self.sigma * bound)
        kernel, bias = (self.param(name, uniform, shape) for name, shape in self._shapes(x))
        noisy_kernel, noisy_bias = (self.param(f"{name}_sigma", spread, shape) for name, shape in self._shapes(x))
        y = x @ kernel + bias
        if not self.has_rng("noise"):
            return y
        into, out = (
            jnp.sign(noise) * jnp.sqrt(jnp.abs(noise))
            for noise in (jax.random.normal(self.make_rng("noise"), (size,)) for size in (x.shape[-1], self.features))
        )
        return y + ((x * into) @ noisy_kernel + noisy_bias) * out

    def _shapes(self, x: Array) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return ("kernel", (x.shape[-1], self.features)), ("bias", (self.features,))


def _layer(features: int, activation: str, layer_norm: bool, noisy: bool) -> Callable[[Array], Array]:
    """A dense layer, perhaps noisy, perhaps layer-normalised, and its activation."""
    layer = NoisyDense(features) if noisy else dense(features)
    norm = nn.LayerNorm() if layer_norm else lambda x: x
    return lambda x: ACTIVATIONS[activation](norm(layer(x)))


class MLP(nn.Module):
    """Dense layers, each followed by the activation."""

    hidden: Sequence[int]
    activation: str = "tanh"
    layer_norm: bool = False
    noisy: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for size in self.hidden:
            x = _layer(size, self.activation, self.layer_norm, self.noisy)(x)
        return x


class CNN(nn.Module):
    """The small network of the MinAtar paper (Young & Tian 2019): 16 filters of 3×3, then a dense layer of 128, ReLU.

    The convolution is a matrix product over shifted slices: under vmap over parameters, XLA's CPU backend turns
    ``lax.conv`` into a grouped convolution that is many times slower.
    """

    filters: int = 16
    features: int = 128
    layer_norm: bool = False
    noisy: bool = False

    @nn.compact
    def __call__(self, grid: Array) -> Array:
        x = grid.astype(jnp.float32)
        pad = [(1, 1) if size < 3 else (0, 0) for size in x.shape[:2]]
        x = jnp.pad(x, [*pad, (0, 0)])
        rows, columns = x.shape[0] - 2, x.shape[1] - 2
        patches = [x[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
        x = _layer(self.filters, "relu", self.layer_norm, False)(jnp.concatenate(patches, axis=-1))
        return _layer(self.features, "relu", self.layer_norm, self.noisy)(x.reshape(-1))


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
    layer_norm: bool = False
    noisy: bool = False

    @nn.compact
    def __call__(self, obs: Any) -> Array:
        leaves = jax.tree.leaves(obs)
        grids = [CNN(layer_norm=self.layer_norm, noisy=self.noisy)(leaf) for leaf in leaves if leaf.ndim == 3]
        flat = [leaf for leaf in leaves if leaf.ndim != 3]
        if flat:
            grids.append(MLP(self.hidden, self.activation, self.layer_norm, self.noisy)(flatten(flat)))
        return jnp.concatenate(grids)


def bounded(obs: Any) -> Any:
    """Observations as float32 within ±1e6, so that squares of what networks make of them stay finite."""
    return jax.tree.map(lambda leaf: jnp.clip(leaf.astype(jnp.float32), -1e6, 1e6), obs)


class Embedding(nn.Module):
    """A torso, `extra` further ReLU layers and a linear output, of observations that may be huge."""

    features: int
    hidden: Sequence[int] = (64, 64)
    extra: Sequence[int] = ()

    @nn.compact
    def __call__(self, obs: Any) -> Array:
        x = MLP(self.extra, "relu")(Torso(self.hidden, "relu")(bounded(obs)))
        return dense(self.features)(x)


class ActorCritic(nn.Module):
    """Policy and `num_values` value heads: returns ``(distribution, values)`` for one observation.

    Flat observations get separate torsos for actor and critic, grids share one. A Gaussian's log std does not depend
    on the observation and starts at 0.
    """

    num_values: int
    num_actions: int | None = None  # of a discrete space
    nvec: tuple[int, ...] | None = None  # of a multi-discrete one
    action_shape: tuple[int, ...] | None = None  # of a continuous one
    hidden: Sequence[int] = (64, 64)
    activation: str = "tanh"

    @nn.compact
    def __call__(self, obs: Any) -> tuple[Categorical | MultiCategorical | Gaussian, Array]:
        actor = Torso(self.hidden, self.activation, name="actor")(obs)
        critic = actor if has_grid(obs) else Torso(self.hidden, self.activation, name="critic")(obs)
        values = dense(self.num_values, 1.0, name="value")(critic)
        if self.num_actions is not None:
            return Categorical(dense(self.num_actions, 0.01, name="policy")(actor)), values
        if self.nvec is not None:
            return MultiCategorical(dense(sum(self.nvec), 0.01, name="policy")(actor), self.nvec), values
        shape = self.action_shape or ()
        mean = dense(math.prod(shape), 0.01, name="policy")(actor).reshape(shape)
        return Gaussian(mean, self.param("log_std", nn.initializers.zeros, shape), len(shape)), values


def actor_critic(action_space: Any, num_values: int, **settings: Any) -> ActorCritic:
    """The :class:`ActorCritic` of an action space: discrete (`n`), multi-discrete (`nvec`) or a box."""
    if hasattr(action_space, "n"):
        return ActorCritic(num_values, num_actions=int(action_space.n), **settings)
    if hasattr(action_space, "nvec"):
        return ActorCritic(num_values, nvec=tuple(map(int, action_space.nvec)), **settings)
    return ActorCritic(num_values, action_shape=tuple(action_space.shape), **settings)


class QNetwork(nn.Module):
    """Action values of one observation: ``[num_actions]``, or ``[num_actions, num_atoms]`` of their distributions.

    `dueling` splits value and advantage, whose mean over actions is taken off (Wang et al. 2016, arXiv:1511.06581,
    eq. 9). `noisy` makes every dense layer a :class:`NoisyDense`.
    """

    num_actions: int
    num_atoms: int | None = None
    hidden: Sequence[int] = (64, 64)
    activation: str = "relu"
    layer_norm: bool = False
    dueling: bool = False
    noisy: bool = False

    @nn.compact
    def __call__(self, obs: Any) -> Array:
        x = Torso(self.hidden, self.activation, self.layer_norm, self.noisy)(obs)

        def head(rows, name):
            size = rows * (self.num_atoms or 1)
            layer = NoisyDense(size, name=name) if self.noisy else dense(size, 1.0, name=name)
            return layer(x).reshape(rows, -1)

        q = head(self.num_actions, "advantage" if self.dueling else "q")
        if self.dueling:
            q = head(1, "value") + q - q.mean(0)
        return q if self.num_atoms else q[:, 0]


def from_setting(network: Any, default: Callable[[], Any]) -> Any:
    """The network that a setting asks for: a flax module, an ``(init, apply)`` pair, or None for the default."""
    if network is None:
        return default()
    return Network(*network) if isinstance(network, tuple) else network


def check_setting(settings: Any, *replaced: str) -> None:
    """Raise :class:`SettingError` unless a learner's `network` is of a kind that :func:`from_setting` can use.

    `replaced` names the settings that shape the default network: beside one of the user's own they would do nothing.
    """
    network = settings.network
    if network is None:
        return
    pair = isinstance(network, tuple) and len(network) == 2 and all(map(callable, network))
    if not (pair or (hasattr(network, "init") and hasattr(network, "apply"))):
        raise SettingError(f"algo.network must be (init, apply) or a flax module, got {network!r}")
    for field in dataclasses.fields(settings):
        if field.name in replaced and getattr(settings, field.name) != field.default:
            raise SettingError(f"algo.{field.name} does nothing beside algo.network: leave one of them out")
