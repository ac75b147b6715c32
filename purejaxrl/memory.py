"""Networks that remember, and what learners do with a network whether it remembers or not.

A memory works on a sequence of one env: ``(carry, x [L, D], first [L]) -> (carry, y [L, features])``, where a step that
is `first` forgets what came before it. Acting is the same call with L = 1, so that a rollout replayed from the carry it
started with gives the very outputs that acted: the flags are aligned by construction, and no burn-in is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from purejaxrl import devices, minibatches, networks
from purejaxrl.networks import Dense, Torso
from purejaxrl.types import SettingError, Spec

Array = jax.Array
PyTree = Any
KINDS = ("none", "gru", "transformer")


class GRU(nn.Module):
    """A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078) over ``x [L, D]``; ``first [L]`` forgets before a step.

    Returns ``(carry, y [L, features])``; the carry ``[features]`` is the last output.
    """

    features: int

    def initial(self) -> Array:
        return jnp.zeros(self.features)

    @nn.compact
    def __call__(self, carry: Array, x: Array, first: Array) -> tuple[Array, Array]:
        size = self.features
        # What the inputs add is one product over all steps, forwards and backwards; only the rest goes step by step.
        from_x = [Dense(size, 1.0, name=gate)(x) for gate in ("reset", "update", "new")]
        kernel = self.param("recurrent", _recurrent, (size, 3 * size))
        bias = self.param("recurrent_bias", nn.initializers.zeros, (size,))

        def step(carry, inputs):
            (reset, update, new), first = inputs
            carry = jnp.where(first, 0.0, carry)
            reset_carry, update_carry, new_carry = jnp.split(carry @ kernel, 3)
            update = nn.sigmoid(update + update_carry)
            new = jnp.tanh(new + nn.sigmoid(reset + reset_carry) * (new_carry + bias))
            carry = (1.0 - update) * new + update * carry
            return carry, carry

        return jax.lax.scan(step, carry, (from_x, first))


def _recurrent(key: Array, shape: tuple[int, int]) -> Array:
    """An orthogonal matrix for each gate, side by side."""
    size, all_gates = shape
    return jnp.concatenate(networks.orthonormal(key, ((size, size),) * (all_gates // size)), axis=1)


class TransformerCarry(NamedTuple):
    cache: Array  # [num_layers, window, features], each layer's last inputs, the newest last
    length: Array  # int32 scalar, how many of them belong to the episode under way


class Transformer(nn.Module):
    """Gated transformer layers with a memory (GTrXL; Parisotto et al. 2020, arXiv:1910.06764) over ``x [L, D]``.

    Each step attends to itself and the `window` steps before it, within its episode and no further; a learned bias per
    head and distance tells them apart, from the start by how near they are. Steps before ``x`` come from the carry, as
    in Transformer-XL (Dai et al. 2019, arXiv:1901.02860): no gradient flows into them. One call on L steps equals L
    calls on one.
    """

    features: int
    window: int = 32
    num_layers: int = 2
    num_heads: int = 4

    def initial(self) -> TransformerCarry:
        return TransformerCarry(jnp.zeros((self.num_layers, self.window, self.features)), jnp.zeros((), jnp.int32))

    @nn.compact
    def __call__(self, carry: TransformerCarry, x: Array, first: Array) -> tuple[TransformerCarry, Array]:
        steps = len(first)
        time, source_time = jnp.arange(steps, dtype=jnp.int32), jnp.arange(-self.window, steps, dtype=jnp.int32)
        start = jax.lax.cummax(jnp.where(first, time, -carry.length))  # [L], where each step's episode begins
        distance = time[:, None] - source_time
        visible = (distance >= 0) & (distance <= self.window) & (source_time >= start[:, None])
        x, cache = Dense(self.features, 1.0)(x), []
        for cached in carry.cache:
            sources = jnp.concatenate([jax.lax.stop_gradient(cached), x])
            cache.append(sources[-self.window :])
            x = GatedAttention(self.window, self.num_heads)(x, sources, visible, distance)
        return TransformerCarry(jnp.stack(cache), jnp.minimum(steps - start[-1], self.window)), x


class GatedAttention(nn.Module):
    """One layer: attention, then two dense layers, each normalised before and gated after."""

    window: int
    num_heads: int

    @nn.compact
    def __call__(self, x: Array, sources: Array, visible: Array, distance: Array) -> Array:
        """From ``x [L, F]``, attending to ``sources [S, F]`` where ``visible [L, S]``."""
        size = x.shape[-1]
        norm = nn.LayerNorm()
        query = Dense(size, 1.0)(norm(x)).reshape(len(x), self.num_heads, -1)
        both = Dense(2 * size, 1.0)(norm(sources)).reshape(len(sources), self.num_heads, -1)
        key, value = jnp.split(both, 2, axis=-1)
        bias = self.param("bias", _recency, (self.num_heads, self.window + 1))
        logits = jnp.einsum("thd,shd->hts", query, key) * query.shape[-1] ** -0.5
        logits += bias[:, jnp.clip(distance, 0, self.window)]
        weights = nn.softmax(jnp.where(visible, logits, -1e9))
        attended = jnp.einsum("hts,shd->thd", weights, value).reshape(x.shape)
        x = Gate()(x, nn.relu(Dense(size, 1.0)(attended)))
        hidden = nn.relu(Dense(size)(nn.LayerNorm()(x)))
        return Gate()(x, nn.relu(Dense(size)(hidden)))


def _recency(key: Array, shape: tuple[int, int]) -> Array:
    """−slope · distance, ALiBi's biases (Press et al. 2022, arXiv:2108.12409) as a start: heads see near or far."""
    del key
    heads, distances = (jnp.arange(size) for size in shape)
    return -(2.0 ** (1 - 2 * heads))[:, None] * distances


class Gate(nn.Module):
    """GRU-type gating of a residual branch y (Parisotto et al. 2020, eq. 9-12); its bias of 2 starts near identity."""

    @nn.compact
    def __call__(self, x: Array, y: Array) -> Array:
        size = x.shape[-1]
        reset_y, update_y, new_y = jnp.split(Dense(3 * size, 1.0)(y), 3, axis=-1)
        reset_x, update_x = jnp.split(Dense(2 * size, 1.0)(x), 2, axis=-1)
        update = nn.sigmoid(update_y + update_x - 2.0)
        new = nn.tanh(new_y + Dense(size, 1.0)(nn.sigmoid(reset_y + reset_x) * x))
        return (1.0 - update) * x + update * new


class Recurrent(nn.Module):
    """Torso, memory and head over a sequence of one env's observations.

    ``apply(params, carry, obs, first) -> (carry, outputs)`` with the leading axis ``[L]`` on obs, first and outputs;
    `initial` gives the carry of an episode's start, and a step where `first` is true forgets what came before.
    """

    head: nn.Module  # on one feature vector
    memory: nn.Module  # GRU or Transformer
    hidden: Sequence[int] = (64,)
    activation: str = "tanh"
    layer_norm: bool = False

    def initial(self) -> PyTree:
        return self.memory.initial()

    @nn.compact
    def __call__(self, carry: PyTree, obs: PyTree, first: Array) -> tuple[PyTree, Any]:
        def each(function):
            return nn.vmap(function, variable_axes={"params": None}, split_rngs={"params": False})

        torso = Torso(self.hidden, self.activation, self.layer_norm)
        carry, x = self.memory(carry, each(lambda torso, obs: torso(obs))(torso, obs), first)
        return carry, each(lambda head, x: head(x))(self.head, x)


def remember(head: nn.Module, settings: Any) -> nn.Module:
    """`head`, or what a learner's settings put before it: the first of its hidden layers and its memory."""
    if settings.memory == "none":
        return head
    size, window = settings.memory_size, settings.memory_window
    core = GRU(size) if settings.memory == "gru" else Transformer(size, window)
    return Recurrent(head, core, settings.hidden[:1], settings.activation, getattr(settings, "layer_norm", False))


def check_settings(settings: Any) -> None:
    """Raise :class:`SettingError` where a learner's settings make no memory."""
    if settings.memory == "transformer" and settings.memory_size % Transformer.num_heads:
        wanted = f"a multiple of its {Transformer.num_heads} heads with memory='transformer'"
        raise SettingError(f"algo.memory_size must be {wanted}, got {settings.memory_size}")


# --- what learners do with a network, whether it has a memory or not --------------------------------------------------


def has_memory(network: Any) -> bool:
    return hasattr(network, "initial")


def init(network: Any, key: Array, obs: PyTree) -> PyTree:
    """Parameters, given one observation."""
    if has_memory(network):
        sequence = jax.tree.map(lambda x: x[None], obs)
        return networks.init(network, key, network.initial(), sequence, jnp.ones(1, bool))
    return networks.init(network, key, obs)


def output_shapes(network: Any, spec: Spec) -> Any:
    """Shapes and dtypes of what the network returns for one observation."""

    def output():
        obs, key = spec.example_obs(), jax.random.key(0)
        batch, first = jax.tree.map(lambda x: x[None], obs), jnp.ones(1, bool)
        _, outputs = step(network, init(network, key, obs), initial_carry(network, 1), batch, first)
        return jax.tree.map(lambda x: x[0], outputs)

    return jax.eval_shape(output)


def initial_carry(network: Any, num_envs: int) -> PyTree:
    """The carries ``[num_envs, ...]`` of fresh episodes; empty without a memory."""
    if not has_memory(network):
        return ()
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (num_envs, *x.shape)), network.initial())


def step(network: Any, params: PyTree, carry: PyTree, obs: PyTree, first: Array) -> tuple[PyTree, Any]:
    """One step of every env: ``obs [E, ...]``, ``first [E]`` to ``(carry, outputs [E, ...])``."""
    if not has_memory(network):
        return carry, jax.vmap(network.apply, (None, 0))(params, obs)
    sequence = jax.tree.map(lambda x: x[:, None], (obs, first))
    carry, outputs = jax.vmap(network.apply, (None, 0, 0, 0))(params, carry, *sequence)
    return carry, jax.tree.map(lambda x: x[:, 0], outputs)


@jax.named_scope("targets")
def lookahead(network: Any, params: PyTree, carry: PyTree, obs: PyTree, first: Array, next_obs: PyTree) -> Any:
    """Outputs at each step's `next_obs`, all ``[T, E, ...]``, with the memory of the episode that the step is in."""
    if not has_memory(network):
        apply = functools.partial(jax.vmap(network.apply, (None, 0)), params)
        found = minibatches.in_parts(apply, minibatches.flatten(next_obs))
        return jax.tree.map(lambda x: x.reshape(*first.shape, *x.shape[1:]), found)

    def forwards(carry, inputs):
        obs, first, next_obs = inputs
        carry, _ = step(network, params, carry, obs, first)
        return carry, step(network, params, carry, next_obs, jnp.zeros_like(first))[1]

    return jax.lax.scan(forwards, carry, (obs, first, next_obs))[1]


def samples(network: Any, rollout: PyTree) -> PyTree:
    """What minibatches are drawn from: steps ``[T * E, ...]``, or with a memory whole sequences ``[E, T, ...]``."""
    if has_memory(network):
        return devices.everywhere(jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), rollout))
    return minibatches.samples(rollout)


def replay(network: Any, params: PyTree, carry: PyTree, obs: PyTree, first: Array) -> Any:
    """Outputs for a minibatch of :func:`samples`; sequences start from `carry`, what acting carried into them."""
    if not has_memory(network):
        return jax.vmap(network.apply, (None, 0))(params, obs)
    return devices.locally(jax.vmap(network.apply, (None, 0, 0, 0)), params, carry, obs, first)[1]
