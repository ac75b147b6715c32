"""Go-Explore's exploration phase (Ecoffet et al. 2021, "First return, then explore", arXiv:2004.12919).

An archive holds for each cell of states the best way that is known to lead there, with the whole environment state at
its end. In each round explorers choose cells, rarely seen ones rather than others, return to their states and take
random steps from there; whatever they reach that is new or better than what the archive holds replaces it. States are
pytrees: returning is a gather, keeping what was found a scatter, and a whole run jits and vmaps.

Details that matter, with their sources ("code": the authors' ``robustified/goexplore_py``):

- a cell is chosen with probability proportional to 1/√(C_seen + 1) (paper, Methods; code: `seen_weight` 1,
  `seen_power` .5), C_seen being the number of explorers that started in it or came through it, each counted once;
- what is improved, or new, counts as not seen yet, from the end of the round on (code: `reset_cell_on_update`);
- better is a higher score, or an equal one with fewer steps (code: `should_accept_cell`);
- an action is repeated with probability .95, else drawn anew (code: `repeat_action` 20), for 100 steps at most;
- all ends of episodes share a row of the archive (code: the DONE cell): their score counts, nothing starts there;
- of several explorers that reach a cell in the same step the best one is kept, of equals the first.

To return to a state is a privilege that other methods do not have. Rewards are summed without a discount.
:mod:`purejaxrl.demonstrations` recovers the ways and makes policies of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from purejaxrl import hashing, stepping, visits
from purejaxrl.types import (
    Array,
    Metrics,
    PyTree,
    SettingError,
    Spec,
    check_int,
    check_key,
    check_protocol,
    check_settings,
    number,
    shown,
    static,
)

FAR = 2**31 - 1  # steps to what was never reached


class GoExplore(struct.PyTreeNode):
    """How explorers move and what they count; the defaults are the paper's for Atari."""

    repeat: float = number(0.95, ge=0, le=1)  # probability of taking the last action again
    explore_steps: int = static(100, ge=1)  # from a chosen cell; fewer where the episode ends
    reset_counts: bool = static(True)  # what is improved counts as not seen yet


class Ways(struct.PyTreeNode):
    """Ways from the start, one for each row of the archive or for each explorer."""

    env: PyTree  # environment states at their ends, leaves [rows, ...]
    score: Array  # float32 [rows], sum of rewards; -inf where no way is known
    length: Array  # int32 [rows], steps
    node: Array  # int32 [rows], id of the last step; 0 is the start


class ExploreState(struct.PyTreeNode):
    """Everything a run is. The archive's rows: `num_cells` cells, the ends of episodes, a start that is in no cell."""

    archive: Ways
    seen: Array  # int32 [rows], explorers that came through since the row was last improved
    start: tuple[PyTree, PyTree]  # first observation and environment state
    origin: Array  # int32 [num_rounds, num_envs], the node that an explorer's steps of a round begin at
    action: Array  # [num_rounds, explore_steps, num_envs, ...], of the nodes 1, 2, 3, ... in this order
    key: Array  # of all that is random; never changes
    round: Array  # int32 scalar, rounds done
    env_steps: Array  # int32 scalar, over all explorers


def check_state(state: Any) -> None:
    """Raise :class:`SettingError` unless it is the state of one exploration."""
    if not isinstance(state, ExploreState):
        raise SettingError(f"state must be Result.state, got {type(state).__name__}")
    if jnp.ndim(state.round):
        raise SettingError("state must be of one run: jax.tree.map(lambda leaf: leaf[i], state)")


class Result(NamedTuple):
    state: ExploreState
    metrics: Metrics  # each [num_rounds]


def make_explore(
    env: Any,
    settings: GoExplore | None = None,
    *,
    cells: tuple[Callable[[PyTree], Array], int],
    env_params: PyTree = None,
    num_envs: int,
    total_steps: int,
) -> Explore:
    """Bind an environment, its cells and settings into one exploration, a pure function of a key.

    Args:
      env: a gymnax environment, as :func:`purejaxrl.make` returns it.
      settings: its number may be traced; None means ``GoExplore()``.
      cells: ``(cell_fn, num_cells)``, as ``envs.cells(env)[:2]`` or :func:`hashed` give it: ``cell_fn(env_state)`` is
        the int32 id of a state's cell. States with an id outside [0, num_cells) are passed through and not kept.
      env_params: the environment's parameters; None means its defaults.
      num_envs: explorers, stepped in parallel.
      total_steps: steps over all explorers at most, for whole rounds of ``num_envs * explore_steps``.

    Raises:
      SettingError: (a ValueError) where a setting is wrong, by its name. Traced numbers are not looked at.
    """
    check_protocol(env)
    settings = GoExplore() if settings is None else settings
    if not isinstance(settings, GoExplore):
        raise SettingError(f"settings must be GoExplore(...), got {shown(settings)}")
    check_settings(settings, "settings")
    check_int(num_envs, "num_envs", ge=1)
    check_int(total_steps, "total_steps", ge=1, le=FAR)
    per_round = num_envs * settings.explore_steps
    if total_steps < per_round:
        raise SettingError(
            f"total_steps must allow at least one round of num_envs * explore_steps = {num_envs} * "
            f"{settings.explore_steps} = {per_round} steps, got {total_steps}"
        )
    env_params = stepping.check_params(env, env_params)
    visits.check(cells, "cells", env, env_params, most=FAR - 2)
    return Explore(env, settings, cells, env_params, num_envs, total_steps // per_round)


class Explore:
    """One exploration as pure functions. Hashed by identity, so that ``jax.jit(explore)`` works."""

    def __init__(self, env, settings, cells, env_params, num_envs, num_rounds):
        self.env, self.settings, self.env_params = env, settings, env_params
        (self.cell_fn, self.num_cells), self.num_envs, self.num_rounds = cells, num_envs, num_rounds
        self.end, self.no_cell, self.nowhere = self.num_cells + np.arange(3, dtype=np.int32)  # rows; the last is none

    def __call__(self, key: Array) -> Result:
        """Explore from `key` to the end."""
        return Result(*self.advance(self.init(key), self.num_rounds))

    def init(self, key: Array) -> ExploreState:
        """The state before the first round: all that is known is the start."""
        check_key(key)
        key, start_key = jax.random.split(key)
        obs, env_state = stepping.reset(self.env, self.env_params, start_key)
        row = self.row(env_state)
        first = jnp.arange(self.nowhere) == jnp.where(row == self.nowhere, self.no_cell, row)
        action = jax.eval_shape(functools.partial(stepping.random_action, self.env, self.env_params), key)
        num_rounds, num_steps, num_envs = self.num_rounds, self.settings.explore_steps, self.num_envs
        return ExploreState(
            archive=Ways(
                env=jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(first), *leaf.shape)), env_state),
                score=jnp.where(first, 0.0, -jnp.inf),
                length=jnp.where(first, 0, FAR),
                node=jnp.zeros(len(first), jnp.int32),
            ),
            seen=jnp.zeros(len(first), jnp.int32),
            start=(obs, env_state),
            origin=jnp.zeros((num_rounds, num_envs), jnp.int32),
            action=jnp.zeros((num_rounds, num_steps, num_envs, *action.shape), action.dtype),
            key=key,
            round=jnp.zeros((), jnp.int32),
            env_steps=jnp.zeros((), jnp.int32),
        )

    def advance(self, state: ExploreState, num_rounds: int) -> tuple[ExploreState, Metrics]:
        """Do `num_rounds` (static) more rounds; metrics have that leading axis. Jit it yourself.

        Beyond the run's own number of rounds nothing is explored: the log of steps is full.
        """
        check_int(num_rounds, "num_rounds", ge=1)
        check_state(state)
        return jax.lax.scan(lambda state, _: self._round(state), state, length=num_rounds)

    def weights(self, archive: Ways, seen: Array) -> Array:
        """What a row's probability to be chosen is proportional to, ``[rows]``."""
        there = (archive.score > -jnp.inf) & (jnp.arange(len(seen)) != self.end)
        return jnp.where(there, 1.0 / jnp.sqrt(seen + 1.0), 0.0)

    def keys(self, key: Array, nodes: Array) -> tuple[Array, Array, Array]:
        """Keys ``[nodes]`` of the state that is returned to, of the action, and of the environment's step."""
        keys = jax.vmap(lambda node: jax.random.split(jax.random.fold_in(key, node), 3))(nodes)
        return keys[:, 0], keys[:, 1], keys[:, 2]

    def _round(self, state: ExploreState) -> tuple[ExploreState, Metrics]:
        before, (num_steps, num_envs) = state.archive, state.action.shape[1:3]
        chosen = self._choose(jax.random.fold_in(jax.random.fold_in(state.key, 0), state.round), before, state.seen)
        nodes = jnp.arange(num_steps * num_envs, dtype=jnp.int32).reshape(num_steps, num_envs)
        nodes += 1 + state.round * nodes.size
        ways = jax.tree.map(lambda leaf: leaf[chosen], before)
        ways = ways.replace(env=jax.vmap(stepping.renew_keys)(self.keys(state.key, nodes[0])[0], ways.env))
        under_way = jnp.full(num_envs, state.round < self.num_rounds)
        (archive, *_), (rows, actions, moved) = jax.lax.scan(
            functools.partial(self._step, state.key),
            (before, ways, state.action[0, 0], under_way),
            (nodes, jnp.arange(num_steps) == 0),
        )
        state = state.replace(
            archive=archive,
            seen=self._count(state, archive, jnp.where(under_way, chosen, self.nowhere), rows),
            origin=state.origin.at[state.round].set(before.node[chosen], mode="drop"),
            action=state.action.at[state.round].set(actions, mode="drop"),
            round=jnp.minimum(state.round + 1, self.num_rounds),
            env_steps=state.env_steps + moved.sum(),
        )
        best = best_row(archive)
        return state, {
            "env_steps": state.env_steps,
            "cells": jnp.sum(archive.score[: self.num_cells] > -jnp.inf),
            "best_score": archive.score[best],
            "best_length": archive.length[best],
        }

    def _choose(self, key: Array, archive: Ways, seen: Array) -> Array:
        """Rows to start from, int32 ``[num_envs]``."""
        weights = self.weights(archive, seen)
        rows = jax.random.choice(key, len(weights), (self.num_envs,), p=weights).astype(jnp.int32)
        # Rounding of sums may lend a little weight to rows that have none.
        return jnp.where(weights[rows] > 0, rows, jnp.argmax(weights))

    def _step(self, key: Array, carry: tuple, now: tuple[Array, Array]) -> tuple[tuple, tuple]:
        """Let each explorer whose episode has not ended take a step, and keep what is better."""
        (archive, ways, last, under_way), (nodes, first) = carry, now
        _, act_keys, env_keys = self.keys(key, nodes)
        action = jax.vmap(functools.partial(self._act, first))(act_keys, ways.env, last)
        step = jax.vmap(functools.partial(stepping.step, self.env, self.env_params))
        _, env, reward, terminated, truncated = step(env_keys, ways.env, action)
        ended = terminated | truncated
        row = jnp.where(ended, self.end, jax.vmap(self.row)(env))
        row = jnp.where(under_way, row, self.nowhere)
        ways = Ways(env, ways.score + reward, ways.length + 1, nodes)
        return (insert(archive, row, ways), ways, action, under_way & ~ended), (row, action, under_way)

    def _act(self, first: Array, key: Array, env_state: PyTree, last: Array) -> Array:
        """A random action, or once more the last one where that is allowed."""
        repeat_key, action_key = jax.random.split(key)
        mask = stepping.action_mask(self.env, self.env_params, env_state)
        again = jax.random.bernoulli(repeat_key, self.settings.repeat) & ~first
        if mask is not None:
            sizes = getattr(self.env.action_space(self.env_params), "nvec", None)
            again &= mask[last if sizes is None else last + np.cumsum([0, *sizes[:-1]])].all()
        return jnp.where(again, last, stepping.random_action(self.env, self.env_params, action_key, mask))

    def row(self, env_state: PyTree) -> Array:
        cell = jnp.asarray(self.cell_fn(env_state), jnp.int32)
        return jnp.where((cell >= 0) & (cell < self.num_cells), cell, self.nowhere)

    def _count(self, state: ExploreState, archive: Ways, chosen: Array, rows: Array) -> Array:
        """The rows' counts after a round: of the rows ``[explore_steps, num_envs]`` each explorer counts once."""
        rows = jnp.sort(jnp.concatenate([chosen[None], rows]), axis=0)
        again = jnp.concatenate([jnp.zeros_like(chosen, bool)[None], rows[1:] == rows[:-1]])
        seen = state.seen.at[jnp.where(again, self.nowhere, rows)].add(1, mode="drop")
        improved = archive.node != state.archive.node  # no node is put in twice
        return jnp.where(improved, 0, seen) if self.settings.reset_counts else seen


def insert(archive: Ways, row: Array, ways: Ways) -> Ways:
    """The archive with those ways that are better than what their row, int32 ``[num_envs]``, holds; others stay out.

    Of those for one row the best is taken whole, of equals the first. Rows beyond the archive are left out.
    """
    ordered, *_, order = jax.lax.sort((row, -ways.score, ways.length, jnp.arange(len(row))), num_keys=4)
    leads = jnp.concatenate([jnp.ones(1, bool), ordered[1:] != ordered[:-1]])
    leads = jnp.zeros_like(leads).at[order].set(leads)
    score, length = archive.score[row], archive.length[row]
    better = (ways.score > score) | ((ways.score == score) & (ways.length < length))
    place = jnp.where(leads & better, row, len(archive.score))
    return jax.tree.map(lambda old, new: old.at[place].set(new, mode="drop"), archive, ways)


def best_row(archive: Ways) -> Array:
    """The row with the highest score, ends of episodes included, of equals the one with the shortest way."""
    return jnp.argmin(jnp.where(archive.score == archive.score.max(), archive.length, FAR))


def hashed(features: Callable[[PyTree], PyTree], num_cells: int = 2**16) -> tuple[Callable[[PyTree], Array], int]:
    """Cells of states that cannot be numbered, by a hash of their `features`, any pytree of numbers.

    `num_cells` must be a power of two. With M different features about a share M / num_cells of them has a cell that
    belongs to others, too, of which the archive keeps one.
    """
    check_int(num_cells, "num_cells", ge=1)
    if num_cells & (num_cells - 1):
        raise SettingError(f"num_cells must be a power of two, got {num_cells}")

    def cell_fn(env_state: PyTree) -> Array:
        found = features(env_state)
        hash = hashing.make(jax.random.key(0), Spec(None, None, 1, 1, 1, observation=found))
        return hashing.cells(hash, found, 0, num_cells)[0]

    return cell_fn, num_cells
