"""Gradient steps on replayed samples, on those rows alone that they look up.

The first layer on :class:`purejaxrl.types.OneHot` observations is a table with a row for each place. A batch touches a
few of its rows and the gradient of all others is zero, but an optimiser would pass over the whole of it, which is
where most of the time goes with thousands of places. Here networks and the optimiser's state are narrowed to the
batch's rows, which changes nothing of what networks return, and written back after the step. Rows that a batch does
not touch keep their moments and stay where they are until they are touched again, as in PyTorch's SparseAdam.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from purejaxrl import ensembles, replay
from purejaxrl.types import Array, OneHot, PyTree, Transition, is_one_hot

TABLE = ("MLP_0", "Dense_0", "kernel")  # the end of the path of a first layer of flat observations


class Sample(NamedTuple):
    """``B`` steps to learn from, each with the rewards and the observation that its target needs."""

    obs: PyTree  # [B, ...]
    action: Array  # [B]
    reward: Array  # [B], of up to n steps, discounted
    discount: Array  # [B], of the value of `last`: 0 behind a termination
    last: PyTree  # [B, ...], before any reset
    last_mask: Array | None  # actions allowed there, [B, num_actions]
    weight: Array  # [B], 0 in the rare case that no step was found
    place: Array  # int32 [B], in the replay


def sample(
    buffer: replay.Replay, drawn: tuple[Array, Array], n: int, gamma: Array | float, bonus: Callable | None
) -> Sample:
    """The steps at the places and with the weights `drawn`; ``bonus(steps, memo)`` is added to each reward."""
    place, weight = drawn
    found = replay.windows(buffer, place, weight, n)
    reward = found.steps.reward + (0.0 if bonus is None else bonus(found.steps, found.steps.memo))
    return joined(found, reward, gamma, place)


def joined(found: replay.Windows, reward: Array, gamma: Array | float, place: Array) -> Sample:
    """Pieces of episodes as the step that each begins with, with the n-step return of ``reward [n, B]``."""
    reward, discount = replay.n_step_return(reward, found, gamma)
    first = jax.tree.map(lambda x: x[0], found.steps)
    return Sample(first.obs, first.action, reward, discount, found.last, found.last_mask, found.weight, place)


def update(
    settings: Any, state: Any, key: Array, batch: Transition, reward_fn: Callable, loss: Callable
) -> tuple[Any, PyTree]:
    """Keep a rollout and learn from the replay: one update of a learner with a target network and a fixed prior.

    As learning starts the prior's gain, which made-up observations gave it, is taken from those in the replay.

    Args:
      settings: the learner, with `batch_size`, `n_step`, `gamma`, `num_gradient_steps`, an `optimiser()` and a
        ``prior_gain(network, prior, obs)``.
      state: with `params`, `prior`, `prior_gain`, `network`, `opt_state`, `replay`, `updates` and `start_updates`.
      key: for all of it.
      batch: the rollout.
      reward_fn: the bonus of sampled steps, where the rollout has one.
      loss: ``(state, *arguments)`` with those of :func:`descend`'s; `fixed` is ``(target_params, prior)``, the target
        being what `params` are now.

    Returns:
      ``(state, metrics)``.
    """
    buffer, _, _ = replay.add(state.replay, batch)
    bonus = None if batch.bonus is None else reward_fn

    def draw(key):
        drawn = replay.sample_uniform(buffer, key, settings.batch_size)
        return sample(buffer, drawn, settings.n_step, settings.gamma, bonus)

    leaves = jax.tree.leaves(batch.obs, is_leaf=is_one_hot)
    if not all(map(is_one_hot, leaves)):  # those are made up as they are

        def measured():
            found = draw(jax.random.fold_in(key, settings.num_gradient_steps)).obs
            gain = settings.prior_gain(state.network, state.prior, found)
            # All observations so far may be zero, of which a prior is, too.
            return jnp.where(gain < 0.5 * ensembles.LARGEST_GAIN, gain, state.prior_gain)

        starts = state.updates + 1 == max(state.start_updates, 1)
        state = state.replace(prior_gain=jax.lax.cond(starts, measured, lambda: state.prior_gain))
    (params, opt_state), metrics = descend(
        functools.partial(loss, state),
        settings.optimiser(),
        (state.params, state.opt_state),
        (state.params, state.prior),
        draw,
        key,
        num_steps=settings.num_gradient_steps,
        ready=state.updates + 1 >= state.start_updates,
    )
    return state.replace(params=params, opt_state=opt_state, replay=buffer, updates=state.updates + 1), metrics


def descend(
    loss: Callable[[PyTree, PyTree, Array, Sample], tuple[Array, PyTree]],
    optimiser: optax.GradientTransformation,
    learned: tuple[PyTree, PyTree],
    fixed: PyTree,
    draw: Callable[[Array], Sample],
    key: Array,
    *,
    num_steps: int,
    ready: Array | bool = True,
) -> tuple[tuple[PyTree, PyTree], PyTree]:
    """`num_steps` gradient steps, each on samples of its own.

    Args:
      loss: ``(params, fixed, key, sample) -> (loss, metrics)``.
      optimiser: its steps must treat each number of the parameters alike, whatever its row.
      learned: the parameters, and the optimiser's state of them.
      fixed: other parameters that the loss needs, as of a target network or a prior.
      draw: samples for a key.
      key: for all of it.
      num_steps: how many.
      ready: where false, nothing changes.

    Returns:
      ``(learned, metrics)``, metrics as means.
    """

    def step(carry, key):
        learned, memory = carry
        draw_key, loss_key = jax.random.split(key)
        found = draw(draw_key)
        memory, rows, (obs, last) = _rows(memory, found.obs, found.last)
        found = found._replace(obs=obs, last=last)
        (params, opt_state), others = rows.narrow(learned), rows.narrow(fixed)
        with jax.named_scope("gradient"):
            grads, metrics = jax.grad(lambda x: loss(x, others, loss_key, found), has_aux=True)(params)
        with jax.named_scope("optimiser"):
            updates, new_opt_state = optimiser.update(grads, opt_state, params)
        new = optax.apply_updates(params, updates), new_opt_state
        new = jax.tree.map(lambda x, y: jnp.where(ready, x, y), new, (params, opt_state))
        return (rows.widen(learned, new), memory), metrics

    obs = jax.eval_shape(draw, key).obs
    memory = jnp.zeros(obs.size if _looks_up(obs) else 0, jnp.int32)
    (learned, _), metrics = jax.lax.scan(step, (learned, memory), jax.random.split(key, num_steps))
    return learned, jax.tree.map(jnp.mean, metrics)


class _Rows(NamedTuple):
    """Rows of a table that some observations look up."""

    size: int  # of the whole table; 0: there is none, and nothing is narrowed
    index: Any  # int32 [count], the row of each place in the narrow table
    write: Any  # int32 [count], as index, but `size` where another place stands for the same row

    def narrow(self, tree: PyTree) -> PyTree:
        found = self._tables(tree)
        if self.size and not any(jax.tree.leaves(found)):
            raise ValueError(f"no network looks one-hot observations up in a first layer {'/'.join(TABLE)}")
        return jax.tree.map(lambda x, is_table: jnp.take(x, self.index, axis=-2) if is_table else x, tree, found)

    def widen(self, tree: PyTree, narrow: PyTree) -> PyTree:
        """The whole `tree` with what became of its narrow form."""

        def put(x, some, is_table):
            return x.at[..., self.write, :].set(some, mode="drop") if is_table else some

        return jax.tree.map(put, tree, narrow, self._tables(tree))

    def _tables(self, tree: PyTree) -> PyTree:
        """Whether each leaf is the table, or the optimiser's of it, perhaps with a leading axis of members.

        By its name: other layers may have as many rows.
        """
        return jax.tree_util.tree_map_with_path(
            lambda path, _: bool(self.size) and tuple(getattr(part, "key", None) for part in path[-3:]) == TABLE, tree
        )


def _looks_up(obs: PyTree) -> bool:
    """Whether a batch of observations is one of one-hot vectors alone, one each."""
    return isinstance(obs, OneHot) and obs.index.ndim == 1


def _rows(memory: Array, *observations: PyTree) -> tuple[Array, _Rows, tuple[PyTree, ...]]:
    """The rows that batches of observations look up, and the same observations in the narrow table.

    `memory` has a number for each row of the table; what it holds before does not matter.
    """
    if not _looks_up(observations[0]):
        return memory, _Rows(0, None, None), observations
    index = jnp.concatenate([obs.index for obs in observations])
    place = jnp.arange(len(index))
    memory = memory.at[index].set(place)  # where several look up a row, one place stands for all
    found = memory[index]
    rows = _Rows(observations[0].size, index, jnp.where(found == place, index, observations[0].size))
    parts = jnp.split(found, len(observations))  # batches of equal size
    return memory, rows, tuple(OneHot(part, len(index)) for part in parts)
