"""What all exploration bonuses share: weight, normaliser and decay of their value, and how they combine.

A bonus gives raw values; the loop makes the intrinsic reward of them here, once and alike for every method:
``coef · (1 - decay)^env_steps · raw / scale``, where the scale is 1, the running std of the raw values or that of their
discounted return. A composition's parts are first weighted each by its own settings, then combined.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl import moments
from purejaxrl.types import (
    BONUS,
    NORMALISERS,
    SettingError,
    Spec,
    Transition,
    check_choice,
    check_component,
    check_int,
    number,
    shown,
    static,
)

Array = jax.Array
PyTree = Any
RETURN_STD_GAMMA = 0.99  # of the return that normalise="return_std" scales by: RND's value, so coefs stay comparable


class Weighted(struct.PyTreeNode):
    """The settings that every bonus has; ``a + b`` and ``a * b`` combine bonuses."""

    coef: float = number(1.0, ge=0)  # weight of the bonus, after it was normalised
    decay: float = number(0.0, ge=0, lt=1)  # the weight falls by this share with each env step (1e-5: to 1/e in 100k)
    normalise: str = static("none", choices=NORMALISERS)  # divide by nothing, its running std or its return's
    warmup_steps: int = static(0, ge=0)  # random steps before training, counted

    def __add__(self, other: Any) -> Sum:
        return Sum(parts=(self, other))

    def __mul__(self, other: Any) -> Product:
        return Product(parts=(self, other))


class Composition(Weighted):
    """Bonuses side by side, its `parts`. Their states, memos and raw values are tuples, one entry each."""

    @property
    def parts(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def combine(self, values: list[Array]) -> Array:
        """The composition's value, of its parts' weighted ones."""
        raise NotImplementedError

    def check(self, spec: Spec) -> None:
        """Check each part against the spec; one that feeds the policy features must stand outside."""
        for name, part in named_parts(self).items():
            if callable(getattr(part, "features", None)):
                kind = type(part).__name__
                raise SettingError(f"bonus.{name}: {kind} must wrap the whole composition: {kind}(bonus=a * b)")
            if hasattr(part, "check"):
                try:
                    part.check(spec)
                except SettingError as error:  # it takes itself for the whole bonus
                    raise SettingError(str(error).replace("bonus.", f"bonus.{name}.")) from None

    def init(self, key: Array, spec: Spec) -> PyTree:
        keys = jax.random.split(key, len(self.parts))
        return tuple(part.init(key, spec) for part, key in zip(self.parts, keys, strict=True))

    def observe(self, state: PyTree, transition: Transition) -> tuple[PyTree, PyTree]:
        seen = [part.observe(own, transition) for part, own in zip(self.parts, state, strict=True)]
        states, memos = zip(*seen, strict=True)
        return states, memos

    def reward(self, state: PyTree, transition: Transition, memo: PyTree) -> tuple[Any, ...]:
        """The parts' raw values; :func:`weigh` combines them."""
        each = zip(self.parts, state, memo, strict=True)
        return tuple(part.reward(own, transition, memo) for part, own, memo in each)

    def update(self, state: PyTree, key: Array, batch: Transition) -> tuple[PyTree, dict[str, Array]]:
        keys = jax.random.split(key, len(self.parts))
        each = zip(self.parts, state, keys, batch.memo, strict=True)
        done = [part.update(own, key, batch.replace(memo=memo)) for part, own, key, memo in each]
        named = zip([type(part).__name__.lower() for part in self.parts], done, strict=True)
        metrics = {
            f"{name}_{index}/{metric}": value
            for index, (name, (_, found)) in enumerate(named)
            for metric, value in found.items()
        }
        return tuple(state for state, _ in done), metrics

    def statistics(self, state: PyTree, obs: PyTree) -> Array:
        """What SOFE shows the policy: the statistics of all parts that have them, side by side."""
        each = zip(self.parts, state, strict=True)
        return jnp.concatenate([part.statistics(own, obs) for part, own in each if has_statistics(part)], axis=-1)


class Sum(Composition):
    """Σ of the parts' weighted values."""

    parts: tuple[Any, ...] = ()  # pyright: ignore[reportIncompatibleMethodOverride]

    def combine(self, values: list[Array]) -> Array:
        return functools.reduce(operator.add, values)


class Product(Composition):
    """Π of the parts' weighted values: for example an episodic bonus times a lifelong one (Henaff et al. 2023)."""

    parts: tuple[Any, ...] = ()  # pyright: ignore[reportIncompatibleMethodOverride]

    def combine(self, values: list[Array]) -> Array:
        return functools.reduce(operator.mul, values)


def check(bonus: Any, label: str = "bonus") -> None:
    """Raise :class:`SettingError` unless it is a bonus, its parts are, and their settings are within their bounds."""
    check_component(bonus, label, BONUS)
    check_choice(getattr(bonus, "normalise", "none"), NORMALISERS, f"{label}.normalise")
    check_int(getattr(bonus, "warmup_steps", 0), f"{label}.warmup_steps", ge=0)
    parts = getattr(bonus, "parts", ())
    if not isinstance(parts, tuple) or (isinstance(bonus, Composition) and not parts):
        raise SettingError(f"{label}.parts must be a tuple of one or several bonuses, got {shown(parts)}")
    for index, part in enumerate(parts):
        if isinstance(part, type) or not callable(getattr(part, "reward", None)):
            place = "bonus" if hasattr(bonus, "bonus") else f"parts[{index}]"
            raise SettingError(f"{label}.{place} must be a bonus, such as Counts(), got {shown(part)}")
    for name, part in named_parts(bonus).items():
        check(part, f"{label}.{name}")


def named_parts(bonus: Any) -> dict[str, Any]:
    """Parts of a bonus by their names, as the command line has them: ``e3b``, or ``rnd1`` and ``rnd2`` of two."""
    parts = getattr(bonus, "parts", None) or tuple(filter(None, [getattr(bonus, "bonus", None)]))
    return dict(zip(numbered([type(part).__name__.lower() for part in parts]), parts, strict=True))


def numbered(names: list[str]) -> list[str]:
    """The names, each that comes more than once with its number: ``["rnd1", "e3b", "rnd2"]``."""
    seen = [names[: index + 1].count(name) for index, name in enumerate(names)]
    return [f"{name}{count}" if names.count(name) > 1 else name for name, count in zip(names, seen, strict=True)]


def has_statistics(bonus: Any) -> bool:
    """Whether the bonus, or one of its parts, has statistics to show."""
    parts = getattr(bonus, "parts", ())
    return any(map(has_statistics, parts)) if parts else callable(getattr(bonus, "statistics", None))


def warmup_steps(bonus: Any) -> int:
    """The most that the bonus or one of its parts asks for; 0 without a bonus."""
    return max(getattr(bonus, "warmup_steps", 0), *map(warmup_steps, getattr(bonus, "parts", ())), 0)


def for_fresh_episodes(bonus: Any, state: PyTree, key: Array, spec: Spec) -> PyTree:
    """The trained state with empty episodic memory for ``spec.num_envs`` envs, such as evaluation plays.

    What depends on the episode is what has one entry for each env: leaves whose shape changes with their number.
    """

    def shapes(num_envs):
        return jax.eval_shape(lambda key: bonus.init(key, dataclasses.replace(spec, num_envs=num_envs)), key)

    def choose(one, two, fresh, trained):
        return fresh if one.shape != two.shape else trained

    return jax.tree.map(choose, shapes(1), shapes(2), bonus.init(key, spec), state)


class Scale(struct.PyTreeNode):
    """Running statistics of a bonus's raw values, and those of its parts."""

    moments: PyTree  # Moments of the values or of their return; None with normalise="none"
    running: Any  # float32 [num_envs], the return so far, not cut at episodes' ends, with "return_std"
    parts: tuple[Scale, ...]


def init(bonus: Any, num_envs: int) -> Scale:
    normalise = getattr(bonus, "normalise", "none")
    return Scale(
        moments=moments.init(jnp.zeros(())) if normalise != "none" else None,
        running=jnp.zeros(num_envs) if normalise == "return_std" else None,
        parts=tuple(init(part, num_envs) for part in getattr(bonus, "parts", ())),
    )


def update(bonus: Any, scale: Scale, raw: PyTree, env_steps: Array) -> Scale:
    """Merge the raw values of a rollout, ``[num_steps, num_envs]``, into the statistics."""
    if scale.parts:
        each = zip(bonus.parts, scale.parts, raw, strict=True)
        scale = scale.replace(parts=tuple(update(part, own, raw, env_steps) for part, own, raw in each))
    if scale.moments is None:
        return scale
    samples, running = combined(bonus, scale, raw, env_steps), scale.running
    if running is not None:
        samples, running = moments.discounted(samples, running, RETURN_STD_GAMMA)
    return scale.replace(moments=moments.update(scale.moments, samples), running=running)


def combined(bonus: Any, scale: Scale, raw: PyTree, env_steps: Array) -> Array:
    """A composition's value before its own weight; of a single bonus the raw value itself."""
    if not scale.parts:
        return raw
    each = zip(bonus.parts, scale.parts, raw, strict=True)
    return bonus.combine([weigh(part, own, raw, env_steps) for part, own, raw in each])


def weigh(bonus: Any, scale: Scale, raw: PyTree, env_steps: Array) -> Array:
    """The intrinsic reward of raw values with any leading axes, after `env_steps` steps over all envs."""
    value = combined(bonus, scale, raw, env_steps)
    value = value if scale.moments is None else moments.scale_by_std(scale.moments, value)
    fallen = jnp.exp(env_steps * jnp.log1p(-getattr(bonus, "decay", 0.0)))
    return getattr(bonus, "coef", 1.0) * fallen * value
