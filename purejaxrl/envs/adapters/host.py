"""Calls from a compiled program to Python, for environments that are nothing but Python."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from purejaxrl.types import Array, PyTree, SettingError


def on_host(env_id: str, function: Callable[..., PyTree], shapes: PyTree) -> Callable[..., PyTree]:
    """A function that Python computes for N envs at once, ``[N, ...]``, as one of a single env, which vmaps once.

    `shapes` are those of a single env's results.

    Raises:
      SettingError: while tracing, where a second axis is vmapped, unless its size is 1, as the command line's is.
    """

    @custom_vmap
    def batch(*args: Array) -> PyTree:
        size = len(args[0])
        stacked = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape), leaf.dtype), shapes)
        # Not `io_callback`: evaluation's loop ends at its own time in each run, and JAX refuses that around one.
        return jax.pure_callback(function, stacked, *args)

    @batch.def_vmap
    def runs(axis_size: int, batched: list[bool], *args: Array) -> tuple[PyTree, PyTree]:
        if axis_size > 1:
            raise SettingError(
                f"env {env_id} is stepped on the host, one run at a time, but {axis_size} are vmapped: "
                "run one seed and one setting after the other"
            )
        out = batch(*(arg[0] if is_batched else arg for arg, is_batched in zip(args, batched, strict=True)))
        return jax.tree.map(lambda leaf: leaf[None], out), jax.tree.map(lambda leaf: True, out)

    @custom_vmap
    def single(*args: Array) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[0], batch(*(arg[None] for arg in args)))

    @single.def_vmap
    def envs(axis_size: int, batched: list[bool], *args: Array) -> tuple[PyTree, PyTree]:
        def spread(arg: Array, is_batched: bool) -> Array:
            return arg if is_batched else jnp.broadcast_to(arg, (axis_size, *arg.shape))

        out = batch(*map(spread, args, batched))
        return out, jax.tree.map(lambda leaf: True, out)

    return single
