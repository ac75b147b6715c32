"""Environments by id: everything gymnax registers, and what others register with :func:`gymnax.register`."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import gymnax
import jax.numpy as jnp
import numpy as np
from gymnax import registration

from purejaxrl.types import Array, SettingError, check_choice, check_int, check_number


def ids() -> list[str]:
    """Every registered id, in the order of registration."""
    return list(gymnax.registered_envs)


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
    """The constructor's arguments alone, with their defaults."""
    check_choice(env_id, ids(), "env")
    parameters = inspect.signature(registration._registry[env_id]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def make(env_id: str, **kwargs: Any) -> tuple[Any, Any]:
    """Return ``(env, env_params)``, gymnax's convention; keyword arguments set the constructor's and EnvParams' fields.

    ``purejaxrl.make("DeepSea-bsuite", size=20)``, ``purejaxrl.make("CartPole-v1", max_steps_in_episode=200)``.

    Raises:
      SettingError: (a ValueError) for an unknown id or setting, with the nearest names.
    """
    known = constructor_settings(env_id)
    env, params = _construct(env_id, {name: value for name, value in kwargs.items() if name in known})
    fields = {field.name for field in dataclasses.fields(params)}
    for name, value in kwargs.items():
        check_choice(name, [*known, *fields], f"env {env_id}")
        default = getattr(params, name) if name in fields else None
        if isinstance(default, int) and not isinstance(default, bool):
            check_int(value, f"env.{name}", ge=1 if name == "max_steps_in_episode" else None)
        elif isinstance(default, float):
            check_number(value, f"env.{name}")
    return env, dataclasses.replace(params, **{name: kwargs[name] for name in kwargs if name in fields})


def _construct(env_id: str, constructor: dict[str, Any]) -> tuple[Any, Any]:
    check_choice(env_id, ids(), "env")
    try:
        return gymnax.make(env_id, **constructor)
    except Exception as error:  # whatever the environment's own constructor raises
        given = ", ".join(f"{name}={value!r}" for name, value in constructor.items())
        raise SettingError(f"env {env_id} cannot be made with ({given}): {type(error).__name__}: {error}") from error


class Cells(NamedTuple):
    """Ground truth for exploration: an environment's true states as cells of a map."""

    cell_fn: Callable[[Any], Array]  # of one env state, to the int32 id of its cell, in [0, num_cells)
    num_cells: int
    layout: np.ndarray  # int [rows, columns], the id of the cell that is shown there, -1 where there is none


def cells(env: Any) -> Cells | None:
    """The cells of a tabular environment, or None; an environment of one's own offers them as ``env.cells()``.

    Only states that a step can arrive at have a cell: DeepSea's start, to which nothing leads, has none.
    """
    if hasattr(env, "cells"):
        return env.cells()
    name = getattr(env, "name", "")
    if name == "DeepSea-bsuite":
        row, column = np.mgrid[1 : env.size + 1, : env.size]
        return _cells(column <= row, lambda state: (state.row - 1, state.column))
    if name == "FourRooms-misc":
        return _cells(np.asarray(env.env_map), lambda state: (state.pos[0], state.pos[1]))
    return None


def _cells(there: np.ndarray, position: Callable[[Any], tuple[Array, Array]]) -> Cells:
    """Cells where `there` is true, numbered row by row; `position` gives a state's row and column."""
    layout = np.where(there, np.cumsum(there).reshape(there.shape) - 1, -1)
    return Cells(lambda state: jnp.asarray(layout, jnp.int32)[position(state)], int(there.sum()), layout)
