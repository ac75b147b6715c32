"""Stationary objectives for exploration (SOFE; Castanyer et al. 2024, arXiv:2310.18144).

A bonus that falls with every visit is a reward whose meaning the policy cannot see. SOFE shows it the statistics that
determine the bonus, beside each observation, so that the reward is a function of what it sees. The bonus itself is the
wrapped one's.
"""

from __future__ import annotations

from typing import Any

from purejaxrl import intrinsic
from purejaxrl.intrinsic import Composition
from purejaxrl.types import Array, PyTree, SettingError, Spec


class SOFE(Composition):
    """Another bonus, whose statistics the policy sees: sofe(e3b), from Python ``SOFE(bonus=E3B())``.

    Any bonus that has ``statistics(state, obs)`` will do, and a composition with such a part.
    """

    bonus: Any = None  # the wrapped bonus, weighed by its own settings first

    @property
    def parts(self) -> tuple[Any, ...]:
        return (self.bonus,)

    def combine(self, values: list[Array]) -> Array:
        (value,) = values
        return value

    def check(self, spec: Spec) -> None:
        if not intrinsic.has_statistics(self.bonus):
            wanted = "a bonus with a method `statistics`: SOFE(bonus=E3B()) or SOFE(bonus=Counts(episodic=True))"
            raise SettingError(f"bonus.bonus must be {wanted}, got {type(self.bonus).__name__}")
        super().check(spec)

    def features(self, state: PyTree, obs: PyTree) -> Array:
        """The wrapped bonus's statistics at each env's observation: ``[num_envs, features]``."""
        return self.bonus.statistics(state[0], obs)
