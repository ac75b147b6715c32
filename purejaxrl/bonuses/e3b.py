"""Exploration by elliptical episodic bonuses (E3B; Henaff et al. 2022, arXiv:2210.05805, algorithm 1).

The bonus for arriving at s' is b = φ(s')ᵀ C⁻¹ φ(s'), with C = λ I + Σ φ(s) φ(s)ᵀ over the episode's observations before
it, the first included: with one-hot φ an episodic count, 1 / (λ + n). φ learns from the inverse model alone. The
reference code judges the observation acted on and pays 0 for an episode's first one; here every observation but the
first is judged when it is arrived at, the true final one, too. Observations stay in C as φ was when they were acted on.

Kept is not C⁻¹ but S with C⁻¹ = S Sᵀ, so that b = ‖Sᵀφ‖² cannot become negative: Sherman and Morrison's formula takes
differences of large numbers, which in float32 are worth nothing once ‖φ‖² / λ nears 10⁷ (raw pixels are enough).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl import dynamics
from purejaxrl.intrinsic import Weighted
from purejaxrl.types import NORMALISERS, Array, PyTree, Spec, Transition, check_minibatches, number, static


class E3BState(struct.PyTreeNode):
    dynamics: dynamics.Dynamics
    root: Any  # float32 [num_envs, embedding_size, embedding_size], S with S Sᵀ the inverse of the episode's C


class E3B(Weighted):
    """Elliptical distance to what the episode has seen, in features of what actions can change; episodic."""

    normalise: str = static("std", choices=NORMALISERS)
    ridge: float = number(0.1, gt=0)  # λ, the weight of the prior: the bonus of a new direction is ‖φ‖² / λ
    learning_rate: float = number(3e-4, gt=0)  # of the encoder's and the inverse model's Adam
    num_epochs: int = static(4, ge=1)  # passes of both over the batch
    num_minibatches: int = static(4, ge=1)
    hidden: tuple[int, ...] = static((64, 64))  # of the encoder, for flat observations (grids get a CNN)
    embedding_size: int = static(32, ge=1)  # features φ; memory and time per env grow with the square

    def check(self, spec: Spec) -> None:
        check_minibatches(self.num_minibatches, "bonus.num_minibatches", spec)

    def init(self, key: Array, spec: Spec) -> E3BState:
        empty = jnp.broadcast_to(self._empty(), (spec.num_envs, self.embedding_size, self.embedding_size))
        return E3BState(dynamics.init(self, key, spec), empty)

    def observe(self, state: E3BState, transition: Transition) -> tuple[E3BState, Array]:
        # What is acted on enters C, then next_obs is judged: the reset observation is in it, and nothing counts twice.
        phi, next_phi = (dynamics.embed(state.dynamics, obs, 1) for obs in (transition.obs, transition.next_obs))
        root = jax.vmap(_include)(state.root, phi)
        value = jnp.square(jnp.einsum("eij,ei->ej", root, next_phi)).sum(-1)
        done = transition.terminated | transition.truncated
        return state.replace(root=jnp.where(done[:, None, None], self._empty(), root)), value

    def reward(self, state: E3BState, transition: Transition, memo: PyTree) -> Array:
        return memo

    def update(self, state: E3BState, key: Array, batch: Transition) -> tuple[E3BState, dict[str, Array]]:
        model, metrics = dynamics.learn(self, state.dynamics, key, batch, lambda losses: losses.inverse)
        # The forward model stays as it was: its loss would say nothing.
        return state.replace(dynamics=model), {"inverse_loss": metrics["inverse_loss"]}

    def statistics(self, state: E3BState, obs: PyTree) -> Array:
        """λ times the diagonal of each env's C⁻¹, ``[num_envs, embedding_size]`` in (0, 1]; 1: nothing seen yet."""
        return self.ridge * jnp.square(state.root).sum(-1)

    def _empty(self) -> Array:
        return jnp.eye(self.embedding_size) / jnp.sqrt(self.ridge)


def _include(root: Array, phi: Array) -> Array:
    """S after C gains φφᵀ: S (I − f fᵀ / (1 + b + √(1 + b))), with f = Sᵀφ and b = fᵀf.

    Potter's square root (1963) of Sherman and Morrison's C⁻¹ − C⁻¹φ φᵀC⁻¹ / (1 + b).
    """
    f = phi @ root
    b = f @ f
    return root - jnp.outer(root @ f, f / (1.0 + b + jnp.sqrt(1.0 + b)))
