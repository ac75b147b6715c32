"""Where the arrays of a run over several devices lie. Within any other run nothing here does anything.

XLA places by itself whatever follows from arrays ``[num_envs, ...]`` that are split; here it is told what it would not
find. That a run is sharded is known by the mesh that :mod:`purejaxrl.sharding` sets while it traces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec

Array = jax.Array
PyTree = Any
AXIS = "envs"


def count() -> int:
    """How many devices the run under way is split over; 1 unless it is sharded."""
    mesh = jax.sharding.get_abstract_mesh()
    ours = mesh.axis_names == (AXIS,) and mesh.axis_types == (AxisType.Auto,)
    return mesh.size if ours else 1


def spread(tree: PyTree, axis: int = 0) -> PyTree:
    """The arrays with this axis shared out over the devices; those that they do not divide stay as they are."""

    def place(x):
        return jax.lax.with_sharding_constraint(x, split) if x.shape[axis] % devices == 0 else x

    devices, split = count(), PartitionSpec(*[None] * axis, AXIS)
    return tree if devices == 1 else jax.tree.map(place, tree)


def everywhere(tree: PyTree) -> PyTree:
    """The arrays whole on every device: sent once, and not anew for each part that is taken from them."""
    return tree if count() == 1 else jax.lax.with_sharding_constraint(tree, PartitionSpec())


def locally(function: Callable[..., PyTree], shared: PyTree, *own: PyTree) -> PyTree:
    """``function(shared, *own)`` of leaves ``[rows, ...]``, returned as such, where each device has its own rows.

    Each row's result must depend on that row and on what is shared alone. Then no device waits for another, whatever
    `function` does, and gradients for what is shared are added up once, behind its loops.
    """
    devices = count()
    if devices == 1 or any(len(leaf) % devices for leaf in jax.tree.leaves(own)):
        return function(shared, *own)
    rows = PartitionSpec(AXIS)
    specs = PartitionSpec(), *[rows] * len(own)
    return jax.shard_map(function, in_specs=specs, out_specs=rows, check_vma=False)(shared, *own)
