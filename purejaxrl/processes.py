"""Several processes that work as one, after `jax.distributed.initialize()`: what they must agree on.

Every process makes the same calls in the same order. Where there is one process alone, nothing here costs anything.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

import jax
import numpy as np
import pandas as pd
from jax.experimental import multihost_utils

from purejaxrl.types import PyTree, SettingError, is_key, to_numpy

T = TypeVar("T")


def join() -> None:
    """Become one of several processes, as their launcher's variables say (Slurm, Open MPI, TPU pods, Kubernetes).

    Raises:
      SettingError: where there is no such launcher, or the others cannot be reached.
    """
    try:
        jax.distributed.initialize()
    except (RuntimeError, ValueError) as error:
        raise SettingError(f"distributed: start several processes with srun or mpirun; JAX says: {error}") from None


def is_first() -> bool:
    """Whether this process writes files, shows progress and decides."""
    return jax.process_index() == 0


def check_alone(what: str) -> None:
    """Raise :class:`SettingError` where there are other processes."""
    if jax.process_count() > 1:
        raise SettingError(f"{what} runs in one process, and jax.distributed has {jax.process_count()} of them")


def from_first(make: Callable[[], T]) -> T:
    """What the first process makes, on all of them: a JSON value.

    Raises:
      SettingError: on all of them, where the first one raised it.
    """
    if jax.process_count() == 1:
        return make()
    message = b""
    if is_first():
        try:
            message = json.dumps({"made": make()}).encode()
        except SettingError as error:
            message = json.dumps({"error": str(error)}).encode()
    found = json.loads(_broadcast(message))
    if "error" in found:
        raise SettingError(found["error"])
    return found["made"]


def frame_from_first(make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The first process's frame on all of them."""
    if jax.process_count() == 1:
        return make()
    content = io.BytesIO()
    if is_first():
        make().to_parquet(content, index=False)
    return pd.read_parquet(io.BytesIO(_broadcast(content.getvalue())))


@contextmanager
def in_first(make: Callable[[], AbstractContextManager]) -> Iterator[None]:
    """Let the first process enter what `make` gives; where it cannot, it is a :class:`SettingError` on all of them."""
    with ExitStack() as stack:

        def enter() -> None:
            stack.enter_context(make())

        from_first(enter)
        yield


def anywhere(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def to_host(tree: PyTree) -> PyTree:
    """Arrays that may be spread over processes as whole NumPy ones on each; typed keys as their data."""
    if jax.process_count() == 1:
        return jax.tree.map(to_numpy, tree)
    data = jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree)
    return multihost_utils.process_allgather(data, tiled=True)


def _broadcast(message: bytes) -> bytes:
    """The first process's bytes; their number goes first, since all must bring an array of one shape."""
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(message))))
    data = np.frombuffer(message, np.uint8) if is_first() else np.zeros(size, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(data), np.uint8).tobytes()
