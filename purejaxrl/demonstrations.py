"""What Go-Explore found, step by step, and a policy learned from it: the backward algorithm.

:func:`demonstrate` recovers a way from an exploration's log of steps. :class:`BackwardResets` starts a learner's
episodes near its end and moves the start back as they succeed (Salimans & Chen 2018, "Learning Montezuma's Revenge from
a single demonstration", arXiv:1812.03381), until the learner succeeds from the start itself: a policy, where what was
found is one sequence of actions.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from purejaxrl import stepping
from purejaxrl.goexplore import Explore, ExploreState, best_row, check_state
from purejaxrl.resets import FreshResets
from purejaxrl.types import Array, PyTree, SettingError, Spec, StartFn, Transition, check_int, check_key, number, static


class Demonstration(struct.PyTreeNode):
    """A way from the start: ``L`` actions, what each was taken in, and what it gave."""

    states: PyTree  # environment states, leaves [L, ...]
    obs: PyTree  # [L, ...]
    actions: Array  # [L, ...]
    rewards: Array  # float32 [L]

    @property
    def returns_to_go(self) -> Array:
        """The sum of the rewards from each step on, float32 ``[L]``."""
        return jnp.cumsum(self.rewards[::-1])[::-1]


def nodes(explore: Explore, state: ExploreState, row: int | None = None) -> np.ndarray:
    """The ids of the steps that lead to a row of the archive, int32 ``[L]``; None means the best one. On the host."""
    check_state(state)
    if row is None:
        row = int(best_row(state.archive))
    check_int(row, "row", ge=0, le=int(explore.no_cell))
    if not state.archive.score[row] > -np.inf:
        raise SettingError(f"row: no way to {row} was found")
    origin, (num_steps, num_envs) = np.asarray(state.origin), state.action.shape[1:3]
    node, pieces = int(state.archive.node[row]), [np.zeros(0, np.int32)]
    while node:  # its round's steps of the same explorer, then where that had started
        number, env = divmod(node - 1, num_envs)
        step = number % num_steps
        pieces.append(np.arange(node - step * num_envs, node + 1, num_envs, dtype=np.int32))
        node = int(origin[number // num_steps, env])
    return np.concatenate(pieces[::-1])


def actions(explore: Explore, state: ExploreState, row: int | None = None) -> np.ndarray:
    """The actions ``[L, ...]`` that lead from the start to a row of the archive; None means the best one."""
    return np.asarray(state.action).reshape(-1, *state.action.shape[3:])[nodes(explore, state, row) - 1]


def demonstrate(
    explore: Explore, state: ExploreState, row: int | None = None, *, key: Array | None = None
) -> Demonstration:
    """Play a way once more, for the states and observations along it.

    Args:
      explore: the exploration.
      state: where it stands, of one run.
      row: a cell, ``explore.end`` for the best episode that ended, None for the best of all.
      key: None plays with the very random numbers of the exploration, so that stochastic environments repeat what they
        did; a key with others.

    Raises:
      SettingError: where an argument is wrong, no way was found, or the best one is to stay at the start.
      RuntimeError: where the actions do not lead there again.
    """
    if key is not None:
        check_key(key)
    way = nodes(explore, state, row)
    row = int(best_row(state.archive)) if row is None else row
    if not len(way):
        raise SettingError(f"row: {row} is the start, to which no actions lead")
    first = (way - 1) // explore.num_envs % explore.settings.explore_steps == 0
    steps = way, first, actions(explore, state, row)
    found, ended, last = _replay(explore, state.key if key is None else key, state.start, steps)

    score, wanted, length = float(found.rewards.sum()), float(state.archive.score[row]), len(way)
    there = explore.end if ended[-1] else last
    if not np.isclose(score, wanted, rtol=1e-4, atol=1e-5) or ended[:-1].any() or row != there:
        why = "what the environment does depends on more than its state, the action and the key it is given"
        if key is not None:
            why = "the environment is stochastic; without key= it is played with the random numbers of the exploration"
        raise RuntimeError(
            f"the {length} actions that led to row {row} with a score of {wanted:g} now end in row {int(there)} with "
            f"{score:g}{', and the episode ended before' * bool(ended[:-1].any())}: {why}"
        )
    return found


@functools.partial(jax.jit, static_argnums=0)
def _replay(explore: Explore, key: Array, start: tuple[PyTree, PyTree], steps: tuple) -> tuple:
    """The demonstration, where episodes ended ``[L]``, and the row of the last state."""

    def step(now, step):
        (obs, env_state), (first, action, return_key, env_key) = now, step
        renewed = stepping.renew_keys(return_key, env_state)
        env_state = jax.tree.map(functools.partial(jnp.where, first), renewed, env_state)
        new_obs, new_state, reward, *ended = stepping.step(explore.env, explore.env_params, env_key, env_state, action)
        return (new_obs, new_state), (Demonstration(env_state, obs, action, reward), ended[0] | ended[1])

    way, first, actions = steps
    return_keys, _, env_keys = explore.keys(key, way)
    (_, last), (found, ended) = jax.lax.scan(step, start, (first, actions, return_keys, env_keys))
    return found, ended, explore.row(last)


class BackwardState(struct.PyTreeNode):
    """Where episodes start now, and how those that started there fared. ``E`` is num_envs."""

    start: Array  # int32 scalar, step of the demonstration; 0 is the true start
    tried: Array  # int32 scalar, episodes from there that ended
    succeeded: Array  # int32 scalar, those of them that did as well as the demonstration
    place: Array  # int32 [E], where each env's episode started
    total: Array  # float32 [E], its return so far


class BackwardResets(struct.PyTreeNode):
    """Starts episodes at states of a demonstration, first near its end and in the end at the true start.

    An episode from step i succeeds where its return is at least the demonstration's from there, less `slack`. After
    each `window` episodes from the present start it moves back by `stride` steps if a share of at least `threshold` of
    them succeeded. Step 0 is the environment's own start, whatever that is. From Salimans & Chen 2018 with their
    threshold; their workers' starts are spread over an interval, here a share of the episodes starts later:
    ``frac_sample`` of their code, so that what was learned is kept.

    ``make_train(env, PPO(), resets=BackwardResets(demo.states, demo.obs, demo.returns_to_go), ...)``. The present start
    is ``result.state.resets.start``.
    """

    states: PyTree  # environment states of a demonstration, leaves [L, ...]
    obs: PyTree  # [L, ...]
    returns_to_go: Array  # float32 [L], sum of the rewards from each state on
    threshold: float = number(0.2, ge=0, le=1)  # share of successes that moves the start
    later: float = number(0.2, ge=0, le=1)  # share of episodes that start anywhere behind it
    slack: float = number(1e-4, ge=0)  # what a successful return may lack
    window: int = static(32, ge=1)  # episodes that the share is of
    stride: int = static(1, ge=1)  # steps that the start moves

    def check(self, spec: Spec) -> None:
        """Raise where the demonstration is none, or of another environment."""
        leaves = jax.tree.leaves((self.states, self.obs, self.returns_to_go))
        lengths = {jnp.shape(leaf)[:1] for leaf in leaves}
        if jnp.ndim(self.returns_to_go) != 1 or len(lengths) != 1 or lengths == {(0,)}:
            raise SettingError(
                f"resets: states, obs and returns_to_go must have one length in common, got {sorted(lengths)}"
            )
        wanted = jax.tree.map(lambda leaf: (len(self.returns_to_go), *leaf.shape), spec.example_obs())
        if (found := jax.tree.map(jnp.shape, self.obs)) != wanted:
            raise SettingError(f"resets.obs must be observations of the environment, {wanted}, got {found}")

    def init(self, key: Array, spec: Spec, start: StartFn) -> BackwardState:
        none = jnp.zeros((), jnp.int32)
        return BackwardState(
            start=jnp.int32(len(self.returns_to_go) - 1),
            tried=none,
            succeeded=none,
            place=jnp.zeros(spec.num_envs, jnp.int32),
            total=jnp.zeros(spec.num_envs),
        )

    def observe(self, state: BackwardState, env_state: PyTree, transition: Transition) -> BackwardState:
        total = state.total + transition.reward
        counts = (transition.terminated | transition.truncated) & (state.place == state.start)
        wanted = jnp.asarray(self.returns_to_go)[state.place]
        succeeds = total >= wanted - self.slack - 1e-5 * jnp.abs(wanted)  # both are sums, rounded in another order
        tried = state.tried + counts.sum()
        succeeded = state.succeeded + (counts & succeeds).sum()
        judged = tried >= self.window
        moves = judged & (succeeded >= self.threshold * tried)
        return state.replace(
            start=jnp.where(moves, jnp.maximum(state.start - self.stride, 0), state.start),
            tried=jnp.where(judged, 0, tried),
            succeeded=jnp.where(judged, 0, succeeded),
            total=total,
        )

    def reset(
        self, state: BackwardState, key: Array, done: Array, start: StartFn, current: tuple[PyTree, PyTree]
    ) -> tuple[BackwardState, tuple[PyTree, PyTree]]:
        later_key, place_key, fresh_key, renew_key = jax.random.split(key, 4)
        later = jax.random.bernoulli(later_key, self.later, done.shape)
        behind = jax.random.randint(place_key, done.shape, state.start, len(self.returns_to_go))
        place = jnp.where(done, jnp.where(later, behind, state.start), state.place)
        _, current = FreshResets().reset((), fresh_key, done & (place == 0), start, current)
        obs, env = jax.tree.map(lambda leaf: jnp.asarray(leaf)[place], (self.obs, self.states))
        if jax.tree.map(jnp.shape, env) != jax.tree.map(jnp.shape, current[1]):
            raise SettingError("resets.states must be states of the environment, with a leading axis of their steps")
        env = jax.vmap(stepping.renew_keys)(jax.random.split(renew_key, len(done)), env)
        keep = jax.vmap(lambda done, new, old: jax.tree.map(functools.partial(jnp.where, done), new, old))
        current = keep(done & (place > 0), (obs, env), current)
        return state.replace(place=place, total=jnp.where(done, 0.0, state.total)), current
