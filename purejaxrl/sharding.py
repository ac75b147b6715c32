"""One run whose environments are spread over devices: jit with shardings, so that computation follows the data."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from purejaxrl.devices import AXIS
from purejaxrl.train import Result, Train, TrainState, check_state
from purejaxrl.types import Array, Metrics, PyTree, SettingError, check_int, check_key, is_key, shown, to_numpy


def shard(train: Train, mesh: Mesh | None = None) -> Sharded:
    """The same run with its environments spread over the devices of `mesh`: an equal share of them on each.

    The result is that of one device but for float rounding: sums over envs are added up in another order. Each device
    steps its own envs and none waits for another until the rollout ends; then all see the whole batch, and each
    learns from its share of every minibatch that the number of devices divides.

    Several processes, each with devices of its own, run the same program: ``jax.distributed.initialize()`` comes first,
    even before other imports, as gymnax starts JAX's backends when it is imported.

    Args:
      train: as :func:`purejaxrl.make_train` returns it.
      mesh: with one axis, whatever its name; None means all devices of all processes.

    Returns:
      A :class:`Sharded`, which is used as `train` is, and compiles by itself.

    Raises:
      SettingError: (a ValueError) where num_envs cannot be shared out equally, or the mesh has several axes.
    """
    if not isinstance(train, Train):
        raise SettingError(f"train must be what purejaxrl.make_train returns, got {type(train).__name__}")
    if not (mesh is None or isinstance(mesh, Mesh)):
        raise SettingError(
            f"mesh must be a jax.sharding.Mesh, such as jax.make_mesh((2,), ('envs',)), got {shown(mesh)}"
        )
    devices = np.asarray(jax.devices()) if mesh is None else mesh.devices
    if devices.ndim != 1:
        raise SettingError(f"mesh must have one axis, got {dict(mesh.shape)}" if mesh else "mesh must have one axis")
    num_envs, count = train.spec.num_envs, devices.size
    if num_envs % count:
        below = num_envs // count * count
        wanted = f"{below} or {below + count}" if below else f"{count}"
        raise SettingError(
            f"num_envs must be a multiple of the mesh's {count} devices, got {num_envs}; "
            f"use {wanted}, or a mesh of fewer devices"
        )
    return Sharded(train, Mesh(devices, (AXIS,), axis_types=(AxisType.Auto,)))


class Sharded:
    """A :class:`purejaxrl.train.Train` over devices; :func:`shard` makes it.

    `shardings` is a :class:`TrainState` of shardings: leaves with an axis of num_envs are split along it, whoever's
    state they belong to, and all others are whole on every device. `mesh` has one axis, "envs".
    """

    def __init__(self, train: Train, mesh: Mesh):
        self.train, self.mesh = train, mesh
        self.num_updates, self.env_steps = train.num_updates, train.env_steps
        self.shardings: TrainState = _shardings(train, mesh)
        whole = NamedSharding(mesh, PartitionSpec())
        # States go in and out as leaves: what is static in some, such as a network, equals no other trace's.
        leaves, structure = jax.tree.flatten(self.shardings)

        def init(data, impl):
            key = data if impl is None else jax.random.wrap_key_data(data, impl=impl)
            return jax.tree.leaves(train.init(key))

        def advance(leaves, num_updates):
            state, metrics = train.advance(jax.tree.unflatten(structure, leaves), num_updates)
            return jax.tree.leaves(state), metrics

        self._init = jax.jit(init, static_argnums=1, out_shardings=leaves)
        self._advance = jax.jit(advance, static_argnums=1, donate_argnums=0, out_shardings=(leaves, whole))
        self._gather = jax.jit(lambda state: state, out_shardings=whole)

    def __call__(self, key: Array) -> Result:
        """Run from `key`, the same one in every process, to the end."""
        return Result(*self.advance(self.init(key), self.num_updates))

    def init(self, key: Array) -> TrainState:
        """The state before the first update, a bonus's warm-up done; `key` as for :meth:`__call__`."""
        check_key(key)
        # On the host a key belongs to no device, and each process brings the same one.
        impl = jax.random.key_impl(key) if is_key(key) else None
        data = np.asarray(jax.random.key_data(key) if is_key(key) else key)
        with jax.set_mesh(self.mesh):
            return self._state(self._init(data, impl))

    def advance(self, state: TrainState, num_updates: int) -> tuple[TrainState, Metrics]:
        """Do `num_updates` more; metrics have that leading axis and are whole in every process.

        `state` is used up. One that is elsewhere, as :func:`purejaxrl.restore` loads it, is brought to the devices;
        of several processes each must have all of it.
        """
        check_int(num_updates, "num_updates", ge=1)
        check_state(state)
        leaves = list(map(_bring, jax.tree.leaves(state), jax.tree.leaves(self.shardings)))
        with jax.set_mesh(self.mesh):
            leaves, metrics = self._advance(leaves, num_updates)
        return self._state(leaves), metrics

    def gather(self, state: PyTree) -> PyTree:
        """The state whole on every device, as saving it or looking at it from one process needs it.

        Of several processes all must call this, and each can then save it.
        """
        return self._gather(state)

    def _state(self, leaves: list[Array]) -> TrainState:
        return jax.tree.unflatten(jax.tree.structure(self.shardings), leaves)


def _bring(leaf: Any, sharding: NamedSharding) -> Array:
    """The leaf with this sharding, by way of the host unless it has it already: so it may come from any device."""
    if isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(sharding, leaf.ndim):
        return leaf
    found = jax.device_put(to_numpy(leaf), sharding)
    return jax.random.wrap_key_data(found, impl=str(jax.random.key_impl(leaf))) if is_key(leaf) else found


def _shardings(train: Train, mesh: Mesh) -> TrainState:
    """A sharding for each leaf of the state: split where an axis grows with num_envs and is as long.

    Where an axis looks so by chance the result stays right, as jit keeps it whatever the shardings.
    """
    num_envs = train.spec.num_envs

    def shapes(number):
        spec = dataclasses.replace(train.spec, num_envs=number, warmup_steps=number * train.warmup)
        parts = train.env, train.learner, train.bonus, train.env_params, train.resets, train.visits
        return jax.eval_shape(Train(*parts, spec).init, jax.random.key(0))

    here, double = shapes(num_envs), shapes(2 * num_envs)

    def place(one, two):
        grows = [lengths == (num_envs, 2 * num_envs) for lengths in zip(one.shape, two.shape, strict=True)]
        spec = PartitionSpec(*[None] * grows.index(True), AXIS) if any(grows) else PartitionSpec()
        return NamedSharding(mesh, spec)

    # Not by jax.tree.map: what is static in a state may depend on num_envs, too.
    leaves, structure = jax.tree.flatten(here)
    return jax.tree.unflatten(structure, map(place, leaves, jax.tree.leaves(double)))
