"""Environments by id: everything gymnax registers, our own, what others register with :func:`gymnax.register`, and,
with a prefix as in ``craftax:Craftax-Symbolic-v1``, those of other packages.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any

import jax
from jax.core import Tracer

from purejaxrl.deferred import gymnax  # before anything else imports it

# isort: split
from gymnax import registration

from purejaxrl.envs import adapters, minigrid
from purejaxrl.envs.bsuite import BsuiteCartPoleSwingUp, BsuiteDeepSea
from purejaxrl.envs.cartpole import PositionOnlyCartPole
from purejaxrl.envs.maps import Cells, cells
from purejaxrl.envs.scenes import render
from purejaxrl.envs.spaces import MultiDiscrete
from purejaxrl.envs.sparse import (
    DeceptiveMountainCar,
    SparseAcrobot,
    SparseMountainCar,
    SparseMountainCarContinuous,
    SparsePendulum,
)
from purejaxrl.envs.stress import DelayedReward, FixedLayouts, NoisyTV, SparseReward, StickyActions
from purejaxrl.envs.tabular import Chain, RandomMDP, RiverSwim, TabularMDP
from purejaxrl.envs.wrappers import (
    CheckActions,
    FlattenObservation,
    FrameStack,
    IndexObservation,
    OneHotObservation,
    Outcomes,
    RescaleObservation,
    ScaleReward,
    TimeLimit,
)
from purejaxrl.types import SettingError, check_choice, check_int, check_like, shown

__all__ = [
    "BsuiteCartPoleSwingUp",
    "BsuiteDeepSea",
    "Cells",
    "Chain",
    "CheckActions",
    "DeceptiveMountainCar",
    "DelayedReward",
    "FixedLayouts",
    "FlattenObservation",
    "FrameStack",
    "IndexObservation",
    "MultiDiscrete",
    "NoisyTV",
    "OneHotObservation",
    "Outcomes",
    "PositionOnlyCartPole",
    "RandomMDP",
    "RescaleObservation",
    "RiverSwim",
    "ScaleReward",
    "SparseAcrobot",
    "SparseMountainCar",
    "SparseMountainCarContinuous",
    "SparsePendulum",
    "SparseReward",
    "StickyActions",
    "TabularMDP",
    "TimeLimit",
    "adapters",
    "cells",
    "constructor_settings",
    "ids",
    "make",
    "minigrid",
    "render",
    "settings",
]

for _env_id, _env in {
    "BsuiteCartPoleSwingUp-v0": BsuiteCartPoleSwingUp,
    "BsuiteDeepSea-v0": BsuiteDeepSea,
    "Chain-v0": Chain,
    "DeceptiveMountainCar-v0": DeceptiveMountainCar,
    "PositionOnlyCartPole-v1": PositionOnlyCartPole,
    "RandomMDP-v0": RandomMDP,
    "RiverSwim-v0": RiverSwim,
    "SparseAcrobot-v0": SparseAcrobot,
    "SparseMountainCar-v0": SparseMountainCar,
    "SparseMountainCarContinuous-v0": SparseMountainCarContinuous,
    "SparsePendulum-v0": SparsePendulum,
    **{name: functools.partial(family, **kwargs) for name, (family, kwargs) in minigrid.TASKS.items()},
}.items():
    if _env_id not in gymnax.registered_envs:
        gymnax.register(_env_id, _env)


def ids(source: str | None = None) -> list[str]:
    """Every registered id, in the order of registration; or those of another package, by its prefix.

    Raises:
      SettingError: for an unknown prefix, and where its package is not installed.
    """
    return list(gymnax.registered_envs) if source is None else adapters.ids(source)


def settings(env_id: str, **constructor: Any) -> dict[str, Any]:
    """What :func:`make` accepts for this id, with its defaults under these constructor arguments.

    Constructor arguments come first, then EnvParams' fields.

    Raises:
      SettingError: for an unknown id, with the nearest ones.
    """
    _, params = _construct(env_id, constructor)
    fields = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    return constructor_settings(env_id) | constructor | fields


def constructor_settings(env_id: str) -> dict[str, Any]:
    """The constructor's arguments alone, with their defaults, and `frame_stack`, which every environment takes."""
    if _is_elsewhere(env_id):
        return adapters.settings(env_id) | {"frame_stack": 1}
    check_choice(env_id, ids(), "env")
    parameters = inspect.signature(registration._registry[env_id]).parameters.values()
    own = {p.name: p.default for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return own | {"frame_stack": 1}


def make(env_id: str, /, *, frame_stack: int = 1, **kwargs: Any) -> tuple[Any, Any]:
    """Return ``(env, env_params)``, gymnax's convention; keyword arguments set the constructor's and EnvParams' fields.

    ``purejaxrl.make("DeepSea-bsuite", size=20)``, ``purejaxrl.make("CartPole-v1", max_steps_in_episode=200)``.

    An id with a prefix opens another package: ``purejaxrl.make("craftax:Craftax-Classic-Symbolic-v1")``; keyword
    arguments go to that package's constructor. :mod:`purejaxrl.envs.adapters` has the prefixes.

    With ``frame_stack=k`` the environment shows its last k observations at once: see :class:`FrameStack`.

    Raises:
      SettingError: (a ValueError) for an unknown id or setting, with the nearest names, and where a package is not
        installed, with the extra that installs it.
    """
    known = constructor_settings(env_id)
    constructor = {name: value for name, value in kwargs.items() if name in known}
    env, params = _construct(env_id, constructor | {"frame_stack": frame_stack})
    fields = {field.name for field in dataclasses.fields(params)}
    for name, value in kwargs.items():
        check_choice(name, [*known, *fields], f"env {env_id}")
        if name in fields:
            check_param(name, value, getattr(params, name))
    return env, dataclasses.replace(params, **{name: kwargs[name] for name in kwargs if name in fields})


def check_param(name: str, value: Any, default: Any) -> None:
    """Raise :class:`SettingError` unless the value is a tracer, or what the parameter's default is."""
    if isinstance(value, Tracer):
        return
    if isinstance(value, jax.Array) and value.ndim == 0:
        value = value.item()
    check_like(value, default, f"env.{name}", ge=1 if name == "max_steps_in_episode" else None)


def _construct(env_id: str, constructor: dict[str, Any]) -> tuple[Any, Any]:
    elsewhere = _is_elsewhere(env_id)
    if not elsewhere:
        check_choice(env_id, ids(), "env")
    frame_stack = constructor.get("frame_stack", 1)
    check_int(frame_stack, "env.frame_stack", ge=1)
    own = {name: value for name, value in constructor.items() if name != "frame_stack"}
    if not elsewhere:
        defaults = constructor_settings(env_id)
        for name, value in own.items():
            check_like(value, defaults.get(name), f"env.{name}")
    try:
        env, params = (adapters.make if elsewhere else gymnax.make)(env_id, **own)
        limit = getattr(params, "max_steps_in_episode", None)
        if isinstance(limit, int) and limit < 1:
            raise ValueError("its episodes would have no steps")
    except SettingError:
        raise
    except Exception as error:  # whatever the environment's own constructor raises
        given = ", ".join(f"{name}={shown(value)}" for name, value in own.items())
        raise SettingError(f"env {env_id} cannot be made with ({given}): {type(error).__name__}: {error}") from error
    return (FrameStack(env, frame_stack) if frame_stack > 1 else env), params


def _is_elsewhere(env_id: str) -> bool:
    return adapters.is_prefixed(env_id) and env_id not in ids()
