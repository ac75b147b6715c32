"""Networks on *one* observation (the algorithms vmap them), and initialisers that call no LAPACK.

Leaves of rank 3 are grids and go through a small CNN; every other leaf is flattened and cast to float32. A network with
a memory works on a sequence of one env's observations instead: see `memory.py`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl.distributions import Categorical, Gaussian, MultiCategorical
from purejaxrl.types import OneHot, SettingError, is_one_hot, map_numbers, shown

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
        (basis,) = orthonormal(key, ((math.prod(shape[:-1]), shape[-1]),))
        return (scale * basis).reshape(shape).astype(dtype)

    return init


@functools.partial(jax.jit, static_argnames="shapes", inline=True)  # traced once: flax asks for shapes at every call
def orthonormal(key: Array, shapes: tuple[tuple[int, int], ...]) -> list[Array]:
    """Matrices of these shapes whose rows or columns, whichever are fewer, are orthonormal: one loop for all."""
    tall = np.array([(max(shape), min(shape)) for shape in shapes])
    rows, columns = tall.max(0)
    inside = (np.arange(rows)[:, None] < tall[:, 0, None, None]) & (np.arange(columns) < tall[:, 1, None, None])

    def column(j, bases):
        v = bases[:, :, j]
        done = jnp.where(jnp.arange(columns) < j, bases, 0.0)
        for _ in range(2):
            v -= jnp.einsum("nrc,nc->nr", done, jnp.einsum("nrc,nr->nc", done, v))
        norm = jnp.linalg.norm(v, axis=1, keepdims=True)  # 0 beyond a matrix's own columns
        return bases.at[:, :, j].set(v / jnp.where(norm > 0, norm, 1.0))

    bases = jnp.where(inside, jax.random.normal(key, inside.shape), 0.0)
    bases = jax.lax.fori_loop(0, columns, column, bases)
    cut = [basis[:rows, :columns] for basis, (rows, columns) in zip(bases, tall.tolist(), strict=True)]
    return [basis.T if shape[0] < shape[1] else basis for basis, shape in zip(cut, shapes, strict=True)]


_gains: ContextVar[dict[tuple[str, ...], float] | None] = ContextVar("gains", default=None)


class Dense(nn.Module):
    """A dense layer with orthogonal weights of gain `scale` and zero bias; of a :class:`OneHot` it looks up a row."""

    features: int
    scale: float = 2**0.5

    @nn.compact
    def __call__(self, x: Array | OneHot) -> Array:
        kernel = self.param("kernel", self._kernel, (_width(x), self.features))
        return _product(x, kernel) + self.param("bias", nn.initializers.zeros, (self.features,))

    def _kernel(self, key: Array, shape: tuple[int, int]) -> Array:
        gains = _gains.get()
        if gains is None:
            return orthogonal(self.scale)(key, shape)
        gains[*self.path, "kernel"] = self.scale
        return jnp.zeros(shape)


def _width(x: Array | OneHot) -> int:
    return x.size if isinstance(x, OneHot) else x.shape[-1]


def _product(x: Array | OneHot, kernel: Array) -> Array:
    return kernel[x.index] if isinstance(x, OneHot) else x @ kernel


def check_actor_critic(found: Any, heads: int, *, masked: bool) -> None:
    """Raise :class:`SettingError` unless what ``algo.network`` returns, as shapes, is a policy and `heads` values."""
    if not isinstance(found, tuple) or len(found) != 2 or not hasattr(found[1], "shape"):
        raise SettingError(f"algo.network must return (distribution, values), got {shown(found)}")
    policy, value = found
    needed = ("sample", "mode", "log_prob", "entropy", *["masked"] * masked)
    if missing := [name for name in needed if not callable(getattr(policy, name, None))]:
        raise SettingError(
            "algo.network must return (distribution, values) with a distribution such as distributions.Categorical, "
            f"got a {type(policy).__name__}, which has no {', '.join(missing)}"
        )
    if value.shape != (heads,):
        raise SettingError(f"algo.network must return values of shape ({heads},) here, got {value.shape}")


def init(network: Any, key: Array, *inputs: Any) -> Any:
    """``network.init(key, *inputs)``, but for the weights of all :class:`Dense` layers, which are drawn together.

    Drawn one by one they take longer to compile than a whole update of a small network.
    """
    return init_all(key, (network, *inputs))[0]


def init_all(key: Array, *calls: tuple[Any, ...]) -> list[Any]:
    """As :func:`init`, of several ``(network, *inputs)`` together."""
    kernels_key, *network_keys = jax.random.split(key, len(calls) + 1)
    found, layers = [], []
    for network_key, (network, *inputs) in zip(network_keys, calls, strict=True):
        # Where a pair of functions joins several modules, a layer's path would not tell which is meant.
        token = _gains.set({} if isinstance(network, nn.Module) else None)
        try:
            found.append(network.init(network_key, *inputs))
            for (*path, name), scale in (_gains.get() or {}).items():
                layer = functools.reduce(operator.getitem, path, found[-1]["params"])
                *lifted, rows, columns = layer[name].shape
                if lifted:  # by flax's vmap or scan over parameters
                    kernels_key, layer_key = jax.random.split(kernels_key)
                    draw = jax.vmap(functools.partial(orthogonal(scale), shape=(rows, columns)))
                    kernels = draw(jax.random.split(layer_key, math.prod(lifted)))
                    layer[name] = kernels.reshape(*lifted, rows, columns)
                else:
                    layers.append((layer, name, scale))
        finally:
            _gains.reset(token)
    for group in _alike(layers):
        kernels_key, group_key = jax.random.split(kernels_key)
        kernels = orthonormal(group_key, tuple(layer[name].shape for layer, name, _ in group))
        for (layer, name, scale), kernel in zip(group, kernels, strict=True):
            layer[name] = scale * kernel
    return found


def _alike(layers: list[tuple[dict[str, Array], str, float]]) -> list[list[tuple[dict[str, Array], str, float]]]:
    """Groups of layers that are not made much larger when all are as tall and as wide as the largest of them."""
    groups: list[list] = []
    for entry in sorted(layers, key=lambda entry: -entry[0][entry[1]].size):
        group = [*(groups[-1] if groups else []), entry]
        shapes = np.array([sorted(layer[name].shape) for layer, name, _ in group])
        if groups and len(group) * shapes.max(0).prod() <= 4 * shapes.prod(1).sum():
            groups[-1] = group
        else:
            groups.append([entry])
    return groups


ACTIVATIONS = {"tanh": nn.tanh, "relu": nn.relu, "swish": nn.swish, "elu": nn.elu}


class NoisyDense(nn.Module):
    """A dense layer with factorised Gaussian noise on its weights (Fortunato et al. 2018, arXiv:1706.10295, eq. 10-11).

    w = μ + σ ⊙ f(ε_out) f(ε_in)ᵀ with f(x) = sgn(x) √|x|; μ ~ U(±1/√fan_in), σ = `sigma` / √fan_in at first. The noise
    comes from ``apply(..., rngs={"noise": key})``; without it, the layer is its mean.
    """

    features: int
    sigma: float = 0.5

    @nn.compact
    def __call__(self, x: Array | OneHot) -> Array:
        bound = _width(x) ** -0.5

        def uniform(key, shape):
            return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

        spread = nn.initializers.constant(self.sigma * bound)
        kernel, bias = (self.param(name, uniform, shape) for name, shape in self._shapes(x))
        noisy_kernel, noisy_bias = (self.param(f"{name}_sigma", spread, shape) for name, shape in self._shapes(x))
        y = _product(x, kernel) + bias
        if not self.has_rng("noise"):
            return y
        into, out = (
            jnp.sign(noise) * jnp.sqrt(jnp.abs(noise))
            for noise in (jax.random.normal(self.make_rng("noise"), (size,)) for size in (_width(x), self.features))
        )
        return y + (_product(x, into[:, None] * noisy_kernel) + noisy_bias) * out

    def _shapes(self, x: Array | OneHot) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return ("kernel", (_width(x), self.features)), ("bias", (self.features,))


def _layer(features: int, activation: str, layer_norm: bool, noisy: bool) -> Callable[[Array | OneHot], Array]:
    """A dense layer, perhaps noisy, perhaps layer-normalised, and its activation."""
    layer = NoisyDense(features) if noisy else Dense(features)
    norm = nn.LayerNorm() if layer_norm else lambda x: x
    return lambda x: ACTIVATIONS[activation](norm(layer(x)))


class MLP(nn.Module):
    """Dense layers, each followed by the activation."""

    hidden: Sequence[int]
    activation: str = "tanh"
    layer_norm: bool = False
    noisy: bool = False

    @nn.compact
    def __call__(self, x: Array | OneHot) -> Array | OneHot:
        for size in self.hidden:
            x = _layer(size, self.activation, self.layer_norm, self.noisy)(x)
        return x


class CNN(nn.Module):
    """The small network of the MinAtar paper (Young & Tian 2019): 16 filters of 3×3, then a dense layer of 128, ReLU.

    Cells of more channels than filters, as one-hot ones have, are embedded first, each by itself.

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
        if x.shape[-1] > self.filters:
            x = _layer(self.filters, "relu", self.layer_norm, False)(x)
        pad = [(1, 1) if size < 3 else (0, 0) for size in x.shape[:2]]
        x = jnp.pad(x, [*pad, (0, 0)])
        rows, columns = x.shape[0] - 2, x.shape[1] - 2
        patches = [x[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
        x = _layer(self.filters, "relu", self.layer_norm, False)(jnp.concatenate(patches, axis=-1))
        return _layer(self.features, "relu", self.layer_norm, self.noisy)(x.reshape(-1))


def has_grid(obs: Any) -> bool:
    """Whether one observation holds a leaf of rank 3."""
    return any(map(_is_grid, _leaves(obs)))


def _is_grid(leaf: Any) -> bool:
    return leaf.ndim == 3 and not is_one_hot(leaf)


def _leaves(obs: Any) -> list[Any]:
    return jax.tree.leaves(obs, is_leaf=is_one_hot)


def flatten(obs: Any) -> Array | OneHot:
    """Every leaf of one observation, flattened, cast to float32 and joined: ``[features]``.

    A lone OneHot, of one place, is returned as it is.
    """
    leaves = _leaves(obs)
    if len(leaves) == 1 and isinstance(leaves[0], OneHot) and leaves[0].index.ndim == 0:
        return leaves[0]
    vectors = [leaf.vector() if isinstance(leaf, OneHot) else leaf for leaf in leaves]
    return jnp.concatenate([jnp.ravel(leaf).astype(jnp.float32) for leaf in vectors])


def random_inputs(key: Array, obs: Any, count: int) -> Any:
    """`count` made-up observations like `obs`: standard normal numbers, and any place of a OneHot."""

    def leaf(key, x):
        if isinstance(x, OneHot):
            return OneHot(jax.random.randint(key, (count, *x.index.shape), 0, x.size), x.size)
        return jax.random.normal(key, (count, *x.shape)).astype(x.dtype)

    leaves, tree = jax.tree.flatten(obs, is_leaf=is_one_hot)
    return tree.unflatten(map(leaf, jax.random.split(key, len(leaves)), leaves))


class Torso(nn.Module):
    """From one observation of any structure to a feature vector: grids by CNN, the rest flat through an MLP."""

    hidden: Sequence[int] = (64, 64)
    activation: str = "tanh"
    layer_norm: bool = False
    noisy: bool = False

    @nn.compact
    def __call__(self, obs: Any) -> Array:
        leaves = _leaves(obs)
        grids = [CNN(layer_norm=self.layer_norm, noisy=self.noisy)(leaf) for leaf in leaves if _is_grid(leaf)]
        flat = [leaf for leaf in leaves if not _is_grid(leaf)]
        if flat:
            vector: Any = MLP(self.hidden, self.activation, self.layer_norm, self.noisy)(flatten(flat))
            grids.append(vector)
        return jnp.concatenate(grids)


def bounded(obs: Any) -> Any:
    """Observations as float32 within ±1e6, so that squares of what networks make of them stay finite."""
    return map_numbers(lambda leaf: jnp.clip(leaf.astype(jnp.float32), -1e6, 1e6), obs)


class Embedding(nn.Module):
    """A torso, `extra` further ReLU layers and a linear output, of observations that may be huge."""

    features: int
    hidden: Sequence[int] = (64, 64)
    extra: Sequence[int] = ()

    @nn.compact
    def __call__(self, obs: Any) -> Array:
        x = MLP(self.extra, "relu")(Torso(self.hidden, "relu")(bounded(obs)))
        return Dense(self.features)(x)


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
        values = Dense(self.num_values, 1.0, name="value")(critic)
        if self.num_actions is not None:
            return Categorical(Dense(self.num_actions, 0.01, name="policy")(actor)), values
        if self.nvec is not None:
            return MultiCategorical(Dense(sum(self.nvec), 0.01, name="policy")(actor), self.nvec), values
        shape = self.action_shape or ()
        mean = Dense(math.prod(shape), 0.01, name="policy")(actor).reshape(shape)
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
            layer = NoisyDense(size, name=name) if self.noisy else Dense(size, 1.0, name=name)
            return layer(x).reshape(rows, -1)

        q = head(self.num_actions, "advantage" if self.dueling else "q")
        if self.dueling:
            q = head(1, "value") + q - q.mean(0)
        return q if self.num_atoms else q[:, 0]


def hypermodel(
    obs: Any, num_actions: int, index_size: int, hidden: Sequence[int], *, layer_norm: bool = False
) -> Array:
    """``[num_actions, 1 + index_size]`` of one observation: the mean μ, then w, for each action; within a module."""
    x = Torso(hidden, "relu", layer_norm)(obs)
    return Dense(num_actions * (1 + index_size), 1.0)(x).reshape(num_actions, -1)


def from_setting(network: Any, default: Callable[[], Any]) -> Any:
    """The network that a setting asks for: a flax module, an ``(init, apply)`` pair, or None for the default."""
    if network is None:
        return default()
    return Network(*network) if isinstance(network, tuple) and not hasattr(network, "apply") else network


def check_setting(settings: Any, *replaced: str) -> None:
    """Raise :class:`SettingError` unless a learner's `network` is of a kind that :func:`from_setting` can use.

    `replaced` names the settings that shape the default network: beside one of the user's own they would do nothing.
    """
    network = settings.network
    if network is None:
        return
    if isinstance(network, type):
        raise SettingError(f"algo.network must be an instance: {network.__name__}(...), not {network.__name__}")
    pair = isinstance(network, tuple) and len(network) == 2 and all(map(callable, network))
    if not (pair or (hasattr(network, "init") and hasattr(network, "apply"))):
        raise SettingError(f"algo.network must be (init, apply) or a flax module, got {shown(network)}")
    for field in dataclasses.fields(settings):
        if field.name in replaced and getattr(settings, field.name) != field.default:
            raise SettingError(f"algo.{field.name} does nothing beside algo.network: leave one of them out")
