"""pgx: board games, cards, 2048 and MinAtar: ``pgx:connect_four``. Terminated: the game is over; masks: yes.

`opponent` says who plays the others' moves:

* ``"random"``, or a function ``(key, state) -> action`` of pgx's state: the learner is player 0, who moves first in
  half of the games, and a step is its move and all that the others answer. The reward is the learner's.
* ``"self"``: each step is one move of whoever is to move; observation, mask and reward are the mover's view. The next
  observation is then the other's, so the value that a learner bootstraps from has the other's sign: that needs a
  learner that knows it, and `gamma` alone does not say so.

pgx's games never truncate, though Go, chess and shogi end by rule after many moves, and some MinAtar games need not
end at all: `max_steps_in_episode` truncates. An illegal action loses at once. In a game of three or more the others may
win before the learner moves: its one step is then worth nothing. pgx's bridge needs a data set, and is left out. Its
MinAtar is GPL-3; gymnax has the same games. pgx draws SVG only, so there are no pictures, and it installs a top-level
package ``tests``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from gymnax.environments import spaces

from purejaxrl.envs.adapters.base import Adapter, Params, arguments, package, shown
from purejaxrl.types import Array, PyTree, check_choice

LEARNER = 0  # pgx's id of the player that learns
OF_NAME: dict[str, dict[str, Any]] = {"go_9x9": {"size": 9}, "go_19x19": {"size": 19}}  # what pgx makes of the name

Opponent = str | Callable[[Array, Any], Array]


def names() -> list[str]:
    return list(package("pgx", "pgx").available_envs())


def settings(name: str) -> dict[str, Any]:
    return arguments(type(package("pgx", "pgx").make(name)).__init__) | OF_NAME.get(name, {}) | {"opponent": "random"}


def make(name: str, *, opponent: Opponent = "random", **kwargs: Any) -> Game:
    game = type(package("pgx", "pgx").make(name))
    return Game(f"pgx:{name}", game(**(OF_NAME.get(name, {}) | kwargs)), opponent)


def random_opponent(key: Array, state: Any) -> Array:
    """Any legal action, uniformly."""
    return jax.random.categorical(key, jnp.where(state.legal_action_mask, 0.0, -jnp.inf))


class Game(Adapter):
    """A game of pgx, against an opponent or against oneself: see the module."""

    def __init__(self, env_id: str, inner: Any, opponent: Opponent):
        super().__init__(env_id, None)
        if not callable(opponent):
            check_choice(opponent, ("random", "self"), "env.opponent")
        self.inner = inner
        self.opponent = opponent if callable(opponent) else random_opponent
        self.alone = opponent == "self" or inner.num_players == 1
        self.actions = spaces.Discrete(inner.num_actions)
        self.shown_space = shown(self)

    def begin(self, key: Array, params: Params) -> tuple[PyTree, PyTree]:
        deal, answer = jax.random.split(key)
        inner, _ = self._answered(answer, self.inner.init(deal))
        return inner.observation, inner

    def advance(self, key: Array, inner: PyTree, action: Array, params: Params) -> tuple[PyTree, PyTree, Array, Array]:
        play, answer = jax.random.split(key)
        mover = inner.current_player if self.alone else LEARNER
        inner, rewards = self._answered(answer, self.inner.step(inner, action, play))
        return inner.observation, inner, rewards[mover], inner.terminated

    def cut(self, inner: PyTree) -> Array:
        return inner.truncated

    def action_mask(self, state: Any, params: Any) -> Array:
        return state.inner.legal_action_mask

    def _answered(self, key: Array, inner: Any) -> tuple[Any, Array]:
        """The state when the learner is to move, or the game is over, and every player's rewards since its move."""
        if self.alone:
            return inner, inner.rewards

        def others_move(now: tuple) -> Array:
            return (now[1].current_player != LEARNER) & ~(now[1].terminated | now[1].truncated)

        def move(now: tuple) -> tuple:
            key, choose, play = jax.random.split(now[0], 3)
            inner = self.inner.step(now[1], self.opponent(choose, now[1]), play)
            return key, inner, now[2] + inner.rewards

        return jax.lax.while_loop(others_move, move, (key, inner, inner.rewards))[1:]
