"""Environments by id: everything gymnax registers, and what others register with :func:`gymnax.register`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import gymnax
import jax.numpy as jnp
from gymnax import registration

from purejaxrl.types import Array, SettingError, check_choice


def ids() -> list[str]:
    """Every registered id, in the order of registration."""
    return list(gymnax.registered_envs)


def settings(env_id: str) -> dict[str, Any]:
    """What :func:`make` accepts for this id, with defaults: constructor arguments first, then EnvParams' fields.

    Raises:
      SettingError: for an unknown id, with the nearest ones.
    """
    found = dict(_constructor_settings(env_id))
    _, params = gymnax.make(env_id)
    found |= {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    return found


def make(env_id: str, **kwargs: Any) -> tuple[Any, Any]:
    """Return ``(env, env_params)``, gymnax's convention; keyword arguments set the constructor's and EnvParams' fields.

    ``purejaxrl.make("DeepSea-bsuite", size=20)``, ``purejaxrl.make("CartPole-v1", max_steps_in_episode=200)``.

    Raises:
      SettingError: (a ValueError) for an unknown id or setting, with the nearest names.
    """
    constructor = {name: kwargs[name] for name in _constructor_settings(env_id) if name in kwargs}
    env, params = gymnax.make(env_id, **constructor)
    rest = {name: value for name, value in kwargs.items() if name not in constructor}
    fields = {field.name for field in dataclasses.fields(params)}
    for name in rest:
        check_choice(name, [*constructor, *_constructor_settings(env_id), *fields], f"env {env_id}")
    return env, dataclasses.replace(params, **rest)


def _constructor_settings(env_id: str) -> dict[str, Any]:
    check_choice(env_id, ids(), "env")
    parameters = inspect.signature(registration._registry[env_id]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def cells(env: Any) -> tuple[Callable[[Any], Array], tuple[int, int]] | None:
    """Ground truth for exploration: ``(cell_fn, (rows, columns))`` of a tabular environment, or None.

    ``cell_fn(state)`` is the int32 id, ``row * columns + column``, of one true state. An environment of one's own offers
    its pair as ``env.cells()``.
    """
    if hasattr(env, "cells"):
        return env.cells()
    if env.name == "DeepSea-bsuite":
        size = env.size  # the row after the last is where episodes end
        return lambda state: (state.row * size + state.column).astype(jnp.int32), (size + 1, size)
    if env.name == "FourRooms-misc":
        rows, columns = env.env_map.shape
        return lambda state: (state.pos[0] * columns + state.pos[1]).astype(jnp.int32), (rows, columns)
    return None
