"""The intrinsic curiosity module (Pathak et al. 2017, arXiv:1705.05363): ½ ‖φ̂(s') − φ(s')‖², eq. 6 with η in `coef`.

φ learns from the inverse model alone: the forward model's error does not flow into it, or it would shrink to what is
easy to predict (Burda et al. 2018, arXiv:1808.04355, section 2.1). A batch's bonus uses the models from before its
update. What no model can predict and actions do change stays a bonus for ever: see the noisy TV in the tests.
"""

from __future__ import annotations

from purejaxrl import dynamics
from purejaxrl.intrinsic import Weighted
from purejaxrl.types import NORMALISERS, Array, PyTree, Spec, Transition, check_minibatches, number, static


class ICM(Weighted):
    """Curiosity, the error of a forward model in features that an inverse model learns; lifelong."""

    normalise: str = static("return_std", choices=NORMALISERS)
    learning_rate: float = number(3e-4, gt=0)  # of the models' Adam
    beta: float = number(0.2, ge=0, le=1)  # weight of the forward loss, the inverse loss has 1 - beta (eq. 7)
    num_epochs: int = static(4, ge=1)  # passes of the models over the batch
    num_minibatches: int = static(4, ge=1)
    hidden: tuple[int, ...] = static((64, 64))  # of the encoder, for flat observations (grids get a CNN)
    embedding_size: int = static(32, ge=1)  # features φ

    def check(self, spec: Spec) -> None:
        check_minibatches(self.num_minibatches, "bonus.num_minibatches", spec)

    def init(self, key: Array, spec: Spec) -> dynamics.Dynamics:
        return dynamics.init(self, key, spec)

    def observe(self, state, transition: Transition):
        return state, ()

    def reward(self, state, transition: Transition, memo: PyTree) -> Array:
        return dynamics.prediction_error(state, transition)

    def update(self, state, key: Array, batch: Transition):
        return dynamics.learn(self, state, key, batch, self._loss)

    def _loss(self, losses: dynamics.Losses) -> Array:
        return (1.0 - self.beta) * losses.inverse + self.beta * losses.forward
