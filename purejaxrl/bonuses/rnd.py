"""Random network distillation (Burda et al. 2018, arXiv:1810.12894).

The bonus of a transition is ½ ‖f̂(x) − f(x)‖² with x the standardised next observation, f a fixed random network and f̂ a
predictor trained on what was seen (the reference takes the mean over outputs, which `normalise` cancels). As in the
reference code: observation moments warmed up by random steps, x clipped to ±5, the bonus divided by the running std of
its non-episodic return, the predictor trained on a quarter of the samples over as many passes as PPO makes. A batch's
bonus uses the moments and parameters from before its update; the predictor then learns under the new moments. The
paper's own setting beside it is ``PPO(gamma=0.999, gamma_int=0.99, episodic_bonus=False)`` with ``coef=0.5``.
"""

from __future__ import annotations

from purejaxrl import distillation
from purejaxrl.intrinsic import Weighted
from purejaxrl.types import NORMALISERS, Array, PyTree, Spec, Transition, check_minibatches, number, static


class RND(Weighted):
    """Random network distillation; lifelong."""

    normalise: str = static("return_std", choices=NORMALISERS)
    warmup_steps: int = static(512, ge=0)  # random steps for the observation moments before training, counted
    learning_rate: float = number(1e-4, gt=0)  # of the predictor's Adam
    num_epochs: int = static(4, ge=1)  # passes of the predictor over the batch
    num_minibatches: int = static(4, ge=1)
    update_fraction: float = static(0.25, gt=0, le=1)  # share of each minibatch that the predictor learns from
    hidden: tuple[int, ...] = static((64, 64))  # of both networks, for flat observations (grids get a CNN)
    embedding_size: int = static(64, ge=1)  # outputs that the predictor has to match

    def check(self, spec: Spec) -> None:
        check_minibatches(self.num_minibatches, "bonus.num_minibatches", spec)

    def init(self, key: Array, spec: Spec) -> distillation.Distillation:
        return distillation.init(self, key, spec.example_obs())

    def observe(self, state, transition: Transition):
        return state, ()

    def reward(self, state, transition: Transition, memo: PyTree) -> Array:
        return 0.5 * distillation.squared_error(state, transition.next_obs, transition.reward.ndim)

    def update(self, state, key: Array, batch: Transition):
        return distillation.learn(self, state, key, batch)
