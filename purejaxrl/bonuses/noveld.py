"""NovelD (Zhang et al. 2021, NeurIPS 34; first as BeBold, arXiv:2012.08621).

max(n(s') − α n(s), 0) · 1[s' is visited for the first time in its episode], with n(s) = ‖f̂(x) − f(x)‖₂ the error of
random network distillation, not squared: what is newer than where the agent came from, the boundary of what it knows.

The reference code trains the predictor once on all samples; four passes over a quarter of them, as RND makes here, are
as many. Unlike there, observations are standardised and clipped (RND's way, hence the warm-up), the predictor's loss is
the squared error, an episode's first observation counts as visited in that episode, not in the one before, and its last
step is judged on the true final observation. A batch's bonus uses the moments and parameters from before its update.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl import distillation, episodic
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


class NovelDState(struct.PyTreeNode):
    distillation: distillation.Distillation
    visits: episodic.EpisodicCounts


class NovelD(Weighted):
    """Gain of lifelong novelty in one step, paid once per episode and observation."""

    normalise: str = static("std", choices=NORMALISERS)
    warmup_steps: int = static(512, ge=0)  # random steps for the observation moments before training, counted
    alpha: float = number(0.5, ge=0)  # α, how much of the novelty of where a step comes from is taken off
    learning_rate: float = number(1e-4, gt=0)  # of the predictor's Adam
    num_epochs: int = static(4, ge=1)  # passes of the predictor over the batch
    num_minibatches: int = static(4, ge=1)
    update_fraction: float = static(0.25, gt=0, le=1)  # share of each minibatch that the predictor learns from
    hidden: tuple[int, ...] = static((64, 64))  # of both networks, for flat observations (grids get a CNN)
    embedding_size: int = static(64, ge=1)  # outputs that the predictor has to match
    bits: int = static(0, ge=0)  # above 0: visits of the SimHash, for observations that hardly repeat; 0: exact ones
    table_size: int = static(2**12, ge=2, power_of_two=True)  # cells in each of 4 rows of every env's counts

    def check(self, spec: Spec) -> None:
        check_minibatches(self.num_minibatches, "bonus.num_minibatches", spec)

    def init(self, key: Array, spec: Spec) -> NovelDState:
        networks_key, hash_key = jax.random.split(key)
        visits = episodic.init(hash_key, spec, bits=self.bits, size=self.table_size)
        return NovelDState(distillation.init(self, networks_key, spec.example_obs()), visits)

    def observe(self, state: NovelDState, transition: Transition) -> tuple[NovelDState, Array]:
        visits, before = episodic.observe(state.visits, transition)
        return state.replace(visits=visits), before == 0

    def reward(self, state: NovelDState, transition: Transition, memo: PyTree) -> Array:
        leading = transition.reward.ndim
        novelty, next_novelty = (
            jnp.sqrt(distillation.squared_error(state.distillation, obs, leading))
            for obs in (transition.obs, transition.next_obs)
        )
        return jnp.where(memo, jnp.maximum(next_novelty - self.alpha * novelty, 0.0), 0.0)

    def update(self, state: NovelDState, key: Array, batch: Transition) -> tuple[NovelDState, dict[str, Array]]:
        learned, metrics = distillation.learn(self, state.distillation, key, batch)
        return state.replace(distillation=learned), metrics
