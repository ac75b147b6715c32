"""Replay: a pure ring buffer of what rollouts record, and a sum tree for prioritised sampling.

Each env has a ring of *slots*. A slot holds one observation and the step that was taken from it; the observation that
the step led to stands in the next slot and is stored once. Behind an episode's last step one more slot holds its true
final observation, and no step. So nothing is copied, nothing is lost at an auto-reset, and a window of consecutive
slots is a piece of one episode until a step that ends it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl.types import Array, PyTree, SettingError, Spec, Transition

ATTEMPTS = 16  # tries to find a slot with a step; at least about half of those drawn from have one


class Replay(struct.PyTreeNode):
    """``size`` slots for each of ``E`` envs."""

    frame: PyTree  # {"obs", "mask"}: what belongs to a moment, leaves [size, E, ...]
    step: Transition  # what belongs to a step, leaves [size, E, ...]; obs and mask are None
    holds_step: Array  # bool [size, E]
    head: Array  # int32 [E], where the next step goes
    used: Array  # int32 [E], slots that were ever written


class Windows(NamedTuple):
    """``B`` pieces of episodes of up to ``n`` steps."""

    steps: Transition  # [n, B]; what lies beyond a piece's end is to be ignored
    valid: Array  # bool [n, B], the step belongs to the piece
    last: PyTree  # observation after the last valid step, before any reset, [B, ...]
    last_mask: Array | None  # actions allowed there, [B, num_actions]
    weight: Array  # float32 [B], 0 in the rare case that no step was found


def check(settings: Any, spec: Spec, n: int) -> None:
    """Raise :class:`SettingError` where a learner's buffer does not fit its run, batches and pieces of `n` steps."""
    check_size(settings.buffer_size, settings.batch_size, n, spec.num_envs, spec.num_steps)
    check_start(settings.learning_starts, spec)


def check_size(buffer_size: int, batch_size: int, n: int, num_envs: int, num_steps: int) -> None:
    """Raise :class:`SettingError` where a buffer cannot hold what is asked of it."""
    slots = buffer_size // num_envs
    needed = {
        f"num_envs = {num_envs}": num_envs,
        f"batch_size = {batch_size}": batch_size,
        f"num_envs * (2 * num_steps + 1) = {num_envs * (2 * num_steps + 1)}, one rollout with every step an episode": (
            num_envs * (2 * num_steps + 1)
        ),
        f"num_envs * (n_step + 1) = {num_envs * (n + 1)}": num_envs * (n + 1),  # never of learners without n_step
    }
    used = slots * num_envs
    share = "" if used == buffer_size else f" ({used} when {num_envs} envs share it equally)"
    for name, least in needed.items():
        if used < least:
            raise SettingError(f"algo.buffer_size must be at least {name}, got {buffer_size}{share}")


def check_start(learning_starts: int, spec: Spec) -> None:
    """Raise :class:`SettingError` where learning would never start."""
    steps = spec.num_envs * spec.num_steps * spec.num_updates
    if learning_starts > steps:
        raise SettingError(f"algo.learning_starts must be at most the run's {steps} steps, got {learning_starts}")


def start_updates(learning_starts: int, spec: Spec) -> int:
    """How many updates it takes to have `learning_starts` environment steps."""
    return -(-learning_starts // (spec.num_envs * spec.num_steps))


def useful_size(buffer_size: int, spec: Spec) -> int:
    """`buffer_size`, or what the whole run can fill if that is less."""
    return min(buffer_size, spec.num_envs * (2 * spec.num_steps * spec.num_updates + 1))


def grown(old: PyTree, new: PyTree) -> PyTree:
    """The state `old` in the larger rings of `new`, as a run of more `total_steps` from its start would have it.

    Only rings that the whole run could not have filled depend on its length (:func:`useful_size`): they have never come
    around, so that what they hold stays where it is, before empty places. Leaves may have leading axes of runs.
    """

    def leaf(old, new):
        if isinstance(old, Priorities):
            missing = new.tree.shape[-1] - old.tree.shape[-1]
            leaves = old.tree[..., old.tree.shape[-1] // 2 :]
            level = jnp.concatenate([leaves, jnp.zeros((*leaves.shape[:-1], missing // 2))], axis=-1)
            levels = [level]
            while level.shape[-1] > 1:
                level = level[..., ::2] + level[..., 1::2]
                levels.insert(0, level)
            return Priorities(jnp.concatenate([jnp.zeros_like(level), *levels], axis=-1), old.largest)
        if old.shape == new.shape:
            return old
        return new.at[tuple(slice(0, size) for size in old.shape)].set(old)

    return jax.tree.map(leaf, old, new, is_leaf=lambda node: isinstance(node, Priorities))


def init(example: Transition, num_envs: int, buffer_size: int) -> Replay:
    """An empty buffer; `example` gives the shapes and dtypes of one env's step (``Spec.transition``)."""
    size = buffer_size // num_envs

    def empty(tree):
        return jax.tree.map(lambda leaf: jnp.zeros((size, num_envs, *leaf.shape), leaf.dtype), tree)

    frame, step, _ = _split(example)
    none = jnp.zeros(num_envs, jnp.int32)
    return Replay(empty(frame), empty(step), jnp.zeros((size, num_envs), bool), none, none)


def _split(batch: Transition) -> tuple[PyTree, Transition, PyTree]:
    """What belongs to the moments before steps, to the steps, and to the moments after."""
    step = batch.replace(obs=None, next_obs=None, mask=None, next_mask=None, bonus=None, extras=None)
    return {"obs": batch.obs, "mask": batch.mask}, step, {"obs": batch.next_obs, "mask": batch.next_mask}


@jax.named_scope("replay")
def add(replay: Replay, batch: Transition) -> tuple[Replay, Array, Array]:
    """Write a rollout ``[T, E]`` over the oldest slots.

    Returns ``(replay, written, emptied)``: flat places ``[T, E]`` of the new steps, and of slots that now hold none
    (beyond the buffer where there is no such slot).
    """
    (size, num_envs), (steps, _) = replay.holds_step.shape, batch.reward.shape
    done = batch.terminated | batch.truncated
    env, ends_before = jnp.arange(num_envs), jnp.cumsum(done, 0, dtype=jnp.int32) - done
    slot = (replay.head + jnp.arange(steps, dtype=jnp.int32)[:, None] + ends_before) % size
    # After an episode's end comes its final observation; after the newest step too, until the next rollout writes it.
    after = jnp.where(done.at[-1].set(True), (slot + 1) % size, size)
    frame, step, next_frame = _split(batch)

    def write(buffer, values, where):
        return buffer.at[where, env].set(values.astype(buffer.dtype), mode="drop")

    frames = jax.tree.map(lambda buffer, x, y: write(write(buffer, x, slot), y, after), replay.frame, frame, next_frame)
    taken = steps + done.sum(0, dtype=jnp.int32)
    replay = Replay(
        frame=frames,
        step=jax.tree.map(lambda buffer, x: write(buffer, x, slot), replay.step, step),
        holds_step=replay.holds_step.at[slot, env].set(True).at[after, env].set(False, mode="drop"),
        head=(replay.head + taken) % size,
        used=jnp.minimum(replay.used + taken, size),
    )
    return replay, slot * num_envs + env, after * num_envs + env


@jax.named_scope("replay")
def sample_uniform(replay: Replay, key: Array, batch_size: int) -> tuple[Array, Array]:
    """Places of `batch_size` steps, uniform over all that are held, with replacement; and their weights, 1 or 0.

    By rejection: a slot that holds no step is drawn again, up to `ATTEMPTS` times, then its weight is 0. One random
    number each and what a hash makes of it, since 16 random numbers each took half the time of an update.
    """
    num_envs = replay.holds_step.shape[1]
    places = (jnp.maximum(replay.used.max(), 1) * num_envs).astype(jnp.uint32)
    numbers = jax.random.bits(key, (batch_size,), jnp.uint32) + jnp.arange(ATTEMPTS, dtype=jnp.uint32)[:, None]
    drawn = (_mixed(numbers) % places).astype(jnp.int32)
    good = replay.holds_step.reshape(-1)[drawn]
    choice = jnp.argmax(good, axis=0)[None]
    return jnp.take_along_axis(drawn, choice, 0)[0], good.any(0).astype(jnp.float32)


def coins(seed: Array, index: Array, size: int) -> Array:
    """``size`` coin flips, -1 or 1, for each of these places: the same whenever a place is asked for; ``[B, size]``.

    `seed` is a random uint32.
    """
    numbers = (index[:, None] * size + jnp.arange(size)).astype(jnp.uint32) ^ seed
    return 1.0 - 2.0 * (_mixed(numbers) >> 31)


def _mixed(x: Array) -> Array:
    """A bijection of uint32 that flips about half the bits for each that differs (constants: Wellons, "lowbias32")."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


@jax.named_scope("replay")
def windows(replay: Replay, index: Array, weight: Array, n: int) -> Windows:
    """The pieces of up to `n` steps from `index` on; an episode's end and the newest step cut them short."""
    size, num_envs = replay.holds_step.shape
    env = index % num_envs
    slot = (index // num_envs + jnp.arange(n + 1)[:, None]) % size
    steps = jax.tree.map(lambda x: x[slot[:n], env], replay.step)
    goes_on = replay.holds_step[slot[1:n], env]  # the slot behind an episode's last step, or the newest, holds none
    valid = jnp.cumprod(jnp.concatenate([jnp.ones((1, *index.shape), bool), goes_on]), axis=0).astype(bool)

    def frames(slot):
        return jax.tree.map(lambda x: x[slot, env], replay.frame)

    now, after, last = frames(slot[:n]), frames(slot[1:]), frames((index // num_envs + valid.sum(0)) % size)
    steps = steps.replace(obs=now["obs"], mask=now["mask"], next_obs=after["obs"], next_mask=after["mask"])
    return Windows(steps, valid, last["obs"], last["mask"], weight)


def n_step_return(reward: Array, found: Windows, gamma: Array | float) -> tuple[Array, Array]:
    """``(Σ_k γ^k r_k, γ^m)`` over each piece's m valid steps, both ``[B]``; γ^m is 0 where the last one terminated.

    The target is then the first plus the second times the value of `found.last`.
    """
    valid = found.valid
    total = jnp.sum(gamma ** jnp.arange(len(reward))[:, None] * reward, axis=0, where=valid)
    terminated = (found.steps.terminated & valid).any(0)
    return total, gamma ** valid.sum(0) * (1.0 - terminated)


# --- prioritised (Schaul et al. 2016, arXiv:1511.05952) -----------------------------------------------------------


class Priorities(struct.PyTreeNode):
    """A binary tree of sums: node i has the children 2i and 2i + 1, leaves hold priorities, p^α already."""

    tree: Array  # float32 [2 * leaves]
    largest: Array  # float32 scalar, the largest priority ever given: new steps get it


def init_priorities(places: int) -> Priorities:
    """All zero: nothing can be drawn."""
    leaves = 1 << max(places - 1, 0).bit_length()
    return Priorities(jnp.zeros(2 * leaves), jnp.ones(()))


@jax.named_scope("replay")
def set_priorities(priorities: Priorities, index: Array, value: Array) -> Priorities:
    """Set leaves, the largest value where a place appears twice, and add up the way to the root: O(log n) for each.

    Sums are computed anew from the children, so no rounding error piles up. Places beyond the leaves are left out.
    """
    tree = priorities.tree
    leaves = len(tree) // 2
    index = index.reshape(-1)
    node = jnp.where(index < leaves, index + leaves, 0)  # node 0 is nobody's parent or child
    tree = tree.at[node].set(0.0).at[node].max(jnp.ravel(value))

    def up(_, carry):
        tree, node = carry
        node = node // 2
        return tree.at[node].set(tree[2 * node] + tree[2 * node + 1]), node

    tree, _ = jax.lax.fori_loop(0, leaves.bit_length() - 1, up, (tree, node))
    return Priorities(tree.at[0].set(0.0), jnp.maximum(priorities.largest, jnp.max(value)))


@jax.named_scope("replay")
def sample_prioritised(priorities: Priorities, key: Array, batch_size: int, beta: Array) -> tuple[Array, Array]:
    """Places drawn in proportion to priority, one from each of `batch_size` equal strata, and importance weights.

    w_i = (N P(i))^-β / max_j w_j over the batch, in which N cancels (section 3.4).
    """
    tree = priorities.tree
    leaves, total = len(tree) // 2, tree[1]
    target = (jnp.arange(batch_size) + jax.random.uniform(key, (batch_size,))) / batch_size * total

    def down(_, carry):
        # The priority comes along: read from the tree at the end, XLA would copy the whole tree to keep it.
        node, target, _ = carry
        left, right = tree[2 * node], tree[2 * node + 1]
        goes_right = ((target >= left) & (right > 0)) | (left <= 0)  # rounding never leads to a priority of 0
        return 2 * node + goes_right, target - jnp.where(goes_right, left, 0.0), jnp.where(goes_right, right, left)

    root = jnp.ones(batch_size, jnp.int32), target, jnp.broadcast_to(total, target.shape)
    node, _, priority = jax.lax.fori_loop(0, leaves.bit_length() - 1, down, root)
    priority = jnp.maximum(priority, jnp.finfo(jnp.float32).tiny)
    return node - leaves, (priority.min() / priority) ** beta
