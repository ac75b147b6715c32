"""Never give up (NGU; Badia et al. 2020, arXiv:2002.06038, eq. 1-3 and alg. 1): episodic times lifelong novelty.

Episodic: 1 / s with s = √(Σ K) + c over the k nearest of this episode's earlier embeddings φ, K = ε / (max(d²/d_m² − ξ,
0) + ε), and 0 where s > s_max. φ learns to tell the action (inverse model), d_m² is the running mean of squared
distances to those neighbours. Lifelong: clip(1 + (e − μ)/σ, 1, L) with e the error of random network distillation and
μ, σ its running moments. All that is learned or running stays as it is during a rollout.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl import devices, distillation, dynamics, moments
from purejaxrl.intrinsic import Weighted
from purejaxrl.types import NORMALISERS, Array, Spec, Transition, check_minibatches, number, static


class NGUState(struct.PyTreeNode):
    dynamics: dynamics.Dynamics
    distillation: distillation.Distillation
    errors: moments.Moments  # μ and σ² of the distillation's error
    distance: Array  # float32 scalar, d_m²; 1 until there is any
    num_distances: Array  # float32 scalar, distances averaged so far
    memory: Array  # float32 [num_envs, memory_size, embedding_size], a ring
    length: Array  # int32 [num_envs], embeddings of this episode written so far


class Memo(NamedTuple):
    value: Array  # float32, the episodic bonus
    squared: Array  # float32, sum of the squared distances to the neighbours
    neighbours: Array  # int32, how many there were


class NGU(Weighted):
    """Novelty within the episode, scaled by lifelong novelty."""

    normalise: str = static("return_std", choices=NORMALISERS)
    warmup_steps: int = static(512, ge=0)  # random steps for moments and d_m² before training, counted
    learning_rate: float = number(5e-4, gt=0)  # of both Adams: inverse model and distillation
    epsilon: float = number(1e-4, gt=0)  # ε of the kernel
    cluster_distance: float = number(8e-3, ge=0)  # ξ, relative squared distance below which observations are the same
    min_count: float = number(1e-3, gt=0)  # c
    max_similarity: float = number(8.0, gt=0)  # s_max
    max_scale: float = number(5.0, ge=1)  # L, 1 for the episodic bonus alone
    k: int = static(10, ge=1)  # nearest neighbours
    memory_size: int = static(512, ge=1)  # embeddings of the episode under way, per env; then the oldest go
    num_epochs: int = static(4, ge=1)  # passes of the models over the batch
    num_minibatches: int = static(4, ge=1)
    update_fraction: float = static(0.25, gt=0, le=1)  # share of each minibatch that the distillation learns from
    hidden: tuple[int, ...] = static((64, 64))  # of all networks, for flat observations (grids get a CNN)
    embedding_size: int = static(32, ge=1)  # features φ, and outputs that the distillation has to match

    def check(self, spec: Spec) -> None:
        check_minibatches(self.num_minibatches, "bonus.num_minibatches", spec)

    def init(self, key: Array, spec: Spec) -> NGUState:
        dynamics_key, distillation_key = jax.random.split(key)
        return NGUState(
            dynamics=dynamics.init(self, dynamics_key, spec),
            distillation=distillation.init(self, distillation_key, spec.example_obs()),
            errors=moments.init(jnp.zeros(())),
            distance=jnp.ones(()),
            num_distances=jnp.zeros(()),
            memory=jnp.zeros((spec.num_envs, self.memory_size, self.embedding_size)),
            length=jnp.zeros(spec.num_envs, jnp.int32),
        )

    def observe(self, state: NGUState, transition: Transition) -> tuple[NGUState, Memo]:
        both = jax.tree.map(lambda *x: jnp.stack(x), transition.obs, transition.next_obs)
        phi, next_phi = dynamics.embed(state.dynamics, both, 2)
        state = _write(state, phi, transition.first)

        squared = jnp.square(state.memory - next_phi[:, None]).sum(-1)
        written = jnp.arange(self.memory_size) < state.length[:, None]
        scores, k = jnp.where(written, -squared, -jnp.inf), min(self.k, self.memory_size)
        nearest = -devices.locally(lambda _, scores: jax.lax.top_k(scores, k)[0], (), scores)
        # Where the episode has fewer than k the rest is infinitely far, which the kernel maps to 0.
        relative = jnp.maximum(nearest / jnp.maximum(state.distance, 1e-12) - self.cluster_distance, 0.0)
        similarity = jnp.sqrt((self.epsilon / (relative + self.epsilon)).sum(-1)) + self.min_count
        there = jnp.isfinite(nearest)
        memo = Memo(
            value=jnp.where(similarity > self.max_similarity, 0.0, 1.0 / similarity),
            squared=nearest.sum(-1, where=there),
            neighbours=there.sum(-1),
        )
        state = _write(state, next_phi, jnp.ones_like(transition.first))
        done = transition.terminated | transition.truncated
        return state.replace(length=jnp.where(done, 0, state.length)), memo

    def reward(self, state: NGUState, transition: Transition, memo: Memo) -> Array:
        error = distillation.squared_error(state.distillation, transition.next_obs, transition.reward.ndim)
        surplus = moments.scale_by_std(state.errors, error - state.errors.mean)
        return memo.value * jnp.clip(1.0 + surplus, 1.0, self.max_scale)

    def update(self, state: NGUState, key: Array, batch: Transition) -> tuple[NGUState, dict[str, Array]]:
        """Learn φ and the distillation; the warm-up's batch moves running statistics only."""
        warm_up = batch.bonus is None
        dynamics_key, distillation_key = jax.random.split(key)
        distilled, metrics = distillation.learn(self, state.distillation, distillation_key, batch)
        # Errors as the bonus saw them; after the warm-up, under the observation moments that it gave.
        errors = distillation.squared_error(distilled if warm_up else state.distillation, batch.next_obs, 2)
        neighbours = batch.memo.neighbours.sum().astype(jnp.float32)
        total = state.num_distances + neighbours
        step = (batch.memo.squared.sum() - neighbours * state.distance) / jnp.maximum(total, 1.0)
        state = state.replace(
            distillation=distilled,
            errors=moments.update(state.errors, errors),
            distance=state.distance + step,
            num_distances=total,
        )
        if warm_up:
            return state, {}
        learned, found = dynamics.learn(self, state.dynamics, dynamics_key, batch, lambda losses: losses.inverse)
        metrics |= {"inverse_loss": found["inverse_loss"], "ngu_distance": state.distance}
        return state.replace(dynamics=learned), metrics


def _write(state: NGUState, phi: Array, really: Array) -> NGUState:
    """Append ``phi [num_envs, embedding_size]`` to the rings of the envs where `really`."""

    def write(_, memory, slot, phi):
        return memory.at[jnp.arange(len(slot)), slot].set(phi, mode="drop")

    size = state.memory.shape[1]
    slot = jnp.where(really, state.length % size, size)  # out of bounds is left out
    memory = devices.locally(write, (), state.memory, slot, phi)
    return state.replace(memory=memory, length=state.length + really)
