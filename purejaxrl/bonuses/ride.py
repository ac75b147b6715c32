"""Rewarding impact-driven exploration (RIDE; Raileanu & Rocktäschel 2020, arXiv:2002.12292).

‖φ(s') − φ(s)‖₂ / √N(s'): how far a step moves the features, over the root of how often the episode has visited s', this
visit included. φ learns from both models of the dynamics. As in the reference code, the forward loss flows into φ, on
both sides of it: φ keeps what is easy to predict. (In ICM it must not, as there that error is the bonus.)

Unlike there, the forward loss is ½ ‖φ̂(s') − φ(s')‖², weighed against the inverse loss by 0.2 to 0.8 as in ICM. The norm
itself, at 10 to 0.1, pulls as hard on a small φ as on a large one, and drew φ of these networks to a constant. Unlike
there, too, an episode's first observation counts in that episode, not in the one before, and its last step is judged
on the true final observation, not on the next episode's first. A batch's bonus uses φ from before its update.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl import dynamics, episodic
from purejaxrl.intrinsic import Weighted
from purejaxrl.types import (
    NORMALISERS,
    Array,
    PyTree,
    Spec,
    Transition,
    check_minibatches,
    number,
    static,
)


class RIDEState(struct.PyTreeNode):
    dynamics: dynamics.Dynamics
    visits: episodic.EpisodicCounts


class RIDE(Weighted):
    """Change in features that both models of the dynamics learn, over the root of episodic visits."""

    normalise: str = static("std", choices=NORMALISERS)
    forward_coef: float = number(0.2, ge=0)  # weight of the forward model's loss
    inverse_coef: float = number(0.8, ge=0)  # and of the inverse model's
    learning_rate: float = number(3e-4, gt=0)  # of the encoder's and the models' Adam
    num_epochs: int = static(4, ge=1)  # passes of all three over the batch
    num_minibatches: int = static(4, ge=1)
    hidden: tuple[int, ...] = static((64, 64))  # of the encoder, for flat observations (grids get a CNN)
    embedding_size: int = static(32, ge=1)  # features φ
    bits: int = static(0, ge=0)  # above 0: visits of the SimHash, for observations that hardly repeat; 0: exact ones
    table_size: int = static(2**12, ge=2, power_of_two=True)  # cells in each of 4 rows of every env's counts

    def check(self, spec: Spec) -> None:
        check_minibatches(self.num_minibatches, "bonus.num_minibatches", spec)

    def init(self, key: Array, spec: Spec) -> RIDEState:
        models_key, hash_key = jax.random.split(key)
        visits = episodic.init(hash_key, spec, bits=self.bits, size=self.table_size)
        return RIDEState(dynamics.init(self, models_key, spec), visits)

    def observe(self, state: RIDEState, transition: Transition) -> tuple[RIDEState, Array]:
        visits, before = episodic.observe(state.visits, transition)
        return state.replace(visits=visits), before

    def reward(self, state: RIDEState, transition: Transition, memo: PyTree) -> Array:
        leading = transition.reward.ndim
        phi, next_phi = (dynamics.embed(state.dynamics, obs, leading) for obs in (transition.obs, transition.next_obs))
        return jnp.linalg.norm(next_phi - phi, axis=-1) / jnp.sqrt(1.0 + memo)

    def update(self, state: RIDEState, key: Array, batch: Transition) -> tuple[RIDEState, dict[str, Array]]:
        model, metrics = dynamics.learn(self, state.dynamics, key, batch, self._loss, detach=False)
        return state.replace(dynamics=model), metrics

    def _loss(self, losses: dynamics.Losses) -> Array:
        return self.forward_coef * losses.forward + self.inverse_coef * losses.inverse
