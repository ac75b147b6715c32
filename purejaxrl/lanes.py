"""Many runs at once: their start and a chunk of updates as two programs, lanes spread over the devices there are."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from purejaxrl import processes
from purejaxrl.metrics import MAY_BE_NAN
from purejaxrl.progress import Progress
from purejaxrl.replay import Replay
from purejaxrl.train import Train, TrainState
from purejaxrl.types import PyTree, is_key

Parked = list[np.ndarray]  # the leaves of one lane's state

CHUNK_STEPS = 2**20  # env steps of all lanes between two looks at the clock, at most
CHUNK_ROWS = 4096  # updates, whose metrics wait on the device
CHUNK_SECONDS = 1.0  # aimed at: as long an interrupt may wait


class Lanes:
    """`num_lanes` runs of one program, which differ in their keys and in the numbers that are their own.

    `train` is one of them, made before, and ``bind(shared, own)`` makes that of a lane. `shared` are the numbers that
    all lanes have in common and `own` those of each lane, leaves ``[num_lanes]``: both are arguments of the programs,
    as constants each new value would compile again.
    """

    def __init__(
        self,
        train: Train,
        bind: Callable[[PyTree, PyTree], Train],
        shared: PyTree,
        own: PyTree,
        num_lanes: int,
        *,
        chunk_updates: int | None = None,
        freeze: bool = False,
    ):
        """Trace both programs, which finds every error in what they are made of; nothing is compiled yet.

        `chunk_updates` are done at a time; unless given, as many as take about a second. With `freeze` a lane stays as
        it was before the first update after which something in it is not finite.
        """
        self.train, self.shared, self.num_lanes = train, shared, num_lanes
        self.per_update = self.train.spec.num_envs * self.train.spec.num_steps * num_lanes
        # Whatever the run's length: longer runs then have the same program, and the same bits.
        self.chunk = chunk_updates or min(max(CHUNK_STEPS // self.per_update, 1), CHUNK_ROWS)
        # Several processes would have to agree on the time that a chunk took.
        self.freeze, self._steady = freeze, chunk_updates is not None or jax.process_count() > 1
        self._pace = self.chunk if self._steady else 1
        self.compile_seconds = self.run_seconds = 0.0
        self.state: Any = None
        self.done = 0  # updates
        count = max(d for d in range(1, len(jax.devices()) + 1) if num_lanes % d == 0)
        mesh, lanes = Mesh(np.asarray(jax.devices()[:count]), ("lanes",)), PartitionSpec("lanes")
        self._sharding = NamedSharding(mesh, lanes)

        def over_lanes(function, *, extra=0):
            def one(shared, own, lane, *rest):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # all was said when `train` was made
                    return function(bind(shared, own), lane, *rest)

            # One lane per device is not vmapped, so that what is conditional stays so.
            apply = _alone(one) if num_lanes == count else jax.vmap(one, in_axes=(None, 0, 0, *[None] * extra))
            specs = (PartitionSpec(), lanes, lanes, *[PartitionSpec()] * extra)
            return jax.shard_map(apply, mesh=mesh, check_vma=False, in_specs=specs, out_specs=lanes)

        start = jax.jit(over_lanes(lambda train, key: train.init(key)))
        chunk = jax.jit(over_lanes(self._updates, extra=1), donate_argnums=2)
        keys = lane_keys(range(num_lanes))
        self.example = jax.eval_shape(start, shared, own, keys)  # shapes and dtypes of `state`
        self._start = start.lower(shared, own, keys)
        self._chunk = chunk.lower(shared, own, self.example, np.int32(1))

    def compile(self, progress: Progress) -> None:
        start = time.perf_counter()
        with progress.phase("compiling the start"):
            self._begin = self._start.compile()
        with progress.phase("compiling the training"):
            self._advance = self._chunk.compile()
        self.compile_seconds = time.perf_counter() - start

    def memory(self) -> float:
        """Bytes that the larger program needs, of all devices that share a memory."""
        sharing = len(self._sharding.addressable_devices) if jax.default_backend() == "cpu" else 1
        found = [program.memory_analysis() for program in (self._begin, self._advance)]
        sizes = [
            one.argument_size_in_bytes + one.output_size_in_bytes + one.temp_size_in_bytes - one.alias_size_in_bytes
            for one in found
            if one is not None
        ]
        return float(sharing * max(sizes, default=0))

    def begin(self, own: PyTree, keys: jax.Array) -> None:
        """Bring `state` to where every lane starts, warm-up done."""
        start = time.perf_counter()
        self.done, self.state = 0, jax.block_until_ready(self._begin(self.shared, own, keys))
        self.run_seconds += time.perf_counter() - start

    def gather(self, source: np.ndarray) -> None:
        """Let each lane go on from the state of lane ``source[lane]``, a copy with randomness of its own."""

        def copied(state):
            key = state.key
            state = jax.tree.map(lambda leaf: leaf[source], state)
            lanes = np.arange(self.num_lanes)
            fresh = jax.vmap(jax.random.fold_in)(state.key, lanes)
            return state.replace(key=jax.vmap(jnp.where)(source == lanes, key, fresh))

        self.state = jax.jit(copied, out_shardings=self._sharding)(self.state)

    def park(self) -> list[Parked]:
        """Every lane's state, on the host, for `unpark`."""
        leaves = jax.tree.leaves(self.state)
        self._keys = [str(jax.random.key_impl(leaf)) if is_key(leaf) else "" for leaf in leaves]
        arrays = processes.to_host(leaves)
        return [[array[lane].copy() for array in arrays] for lane in range(self.num_lanes)]

    def unpark(self, lanes: Sequence[Parked], done: int) -> None:
        """Go on from states that `park` gave, of any lanes in any order, after `done` updates."""
        arrays = jax.device_put([np.stack(leaf) for leaf in zip(*lanes, strict=True)], self._sharding)
        wrapped = [
            jax.random.wrap_key_data(array, impl=key) if key else array
            for array, key in zip(arrays, self._keys, strict=True)
        ]
        self.place(jax.tree.unflatten(jax.tree.structure(self.example), wrapped), done)

    def place(self, state: Any, done: int) -> None:
        """Go on from the state of all lanes after `done` updates, wherever its arrays are."""
        self.done, self.state = done, jax.device_put(state, self._sharding)

    def advance(self, own: PyTree, until: int | None = None) -> dict[str, np.ndarray]:
        """Do one chunk more, or what is left up to `until` or the run's end: metrics ``[num_lanes, updates, ...]``."""
        start, count = time.perf_counter(), min(self._pace, (until or self.train.num_updates) - self.done)
        self.state, found = self._advance(self.shared, own, self.state, np.int32(count))
        found = {name: rows[:, :count] for name, rows in processes.to_host(found).items()}
        self.done += count
        seconds = time.perf_counter() - start
        self.run_seconds += seconds
        if not self._steady:
            self._pace = max(1, min(self.chunk, 4 * self._pace, int(count * CHUNK_SECONDS / seconds)))
        return found

    def _updates(self, train: Train, state: TrainState, count: Any) -> Any:
        """`count` updates, traced, so that the last chunk may be shorter without a program of its own."""
        shapes = jax.eval_shape(lambda: train.advance(state, 1)[1])
        found = jax.tree.map(lambda leaf: jnp.zeros((self.chunk, *leaf.shape[1:]), leaf.dtype), shapes)

        def one(number, carry):
            before, found = carry
            state, new = train.advance(before, 1)
            if self.freeze:
                holds = finite(state.learner) | ~finite(before.learner)
                new = {**new, "nonfinite": jnp.where(holds, new["nonfinite"], new["nonfinite"] | 4)}
                fine = (new["nonfinite"] == 0).all() & _are_finite(new)
                state = jax.tree.map(lambda now, then: jnp.where(fine, now, then), state, before)
            return state, jax.tree.map(lambda rows, row: rows.at[number].set(row[0]), found, new)

        return jax.lax.fori_loop(0, count, one, (state, found))


def _are_finite(metrics: PyTree) -> jax.Array:
    """Whether an update's metrics are finite where they have to be."""
    return finite([value for name, value in metrics.items() if name not in MAY_BE_NAN and name != "nonfinite"])


def finite(tree: PyTree) -> jax.Array:
    """Whether every number is finite, replay aside, whose rewards and observations were looked at as they came."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, Replay))
    floats = [leaf for leaf in leaves if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.asarray([jnp.isfinite(leaf).all() for leaf in floats], bool))


def _alone(function: Callable[..., Any]) -> Callable[..., Any]:
    """As ``jax.vmap(function)`` over the second and third argument, of which each has one lane."""

    def apply(shared, own, lane, *rest):
        found = function(shared, *jax.tree.map(lambda leaf: leaf[0], (own, lane)), *rest)
        return jax.tree.map(lambda leaf: leaf[None], found)

    return apply


def lane_keys(seeds: Any) -> jax.Array:
    """The key of each lane, of its seed."""
    return jax.vmap(jax.random.key)(np.asarray(list(seeds), np.uint32))
