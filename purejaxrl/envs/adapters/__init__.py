"""Doors to other packages' environments, by an id with a prefix: ``craftax:Craftax-Symbolic-v1``.

One module per package. It imports the package when it is asked for something, not before, and defines

* ``names()``: what the package calls its environments;
* ``settings(name)``: the constructor's arguments and their defaults;
* ``make(name, **kwargs)``: the environment, an :class:`~purejaxrl.envs.adapters.base.Adapter`.
"""

from __future__ import annotations

import importlib
from typing import Any

from purejaxrl.types import check_choice

PREFIXES = ("brax", "craftax", "gymnasium", "jumanji", "navix", "octax", "pgx", "xminigrid")


def is_prefixed(env_id: Any) -> bool:
    return isinstance(env_id, str) and ":" in env_id


def ids(prefix: str) -> list[str]:
    """Every id that this package offers.

    Raises:
      SettingError: for an unknown prefix, and where the package is not installed.
    """
    return [f"{prefix}:{name}" for name in _door(prefix).names()]


def settings(env_id: str) -> dict[str, Any]:
    """The constructor's arguments and their defaults.

    Raises:
      SettingError: for an unknown prefix or name, with the nearest ones, and where the package is not installed.
    """
    door, name = _checked(env_id)
    return door.settings(name)


def make(env_id: str, **kwargs: Any) -> tuple[Any, Any]:
    """Return the environment and its default parameters.

    Raises:
      SettingError: as :func:`settings`.
    """
    door, name = _checked(env_id)
    env = door.make(name, **kwargs)
    return env, env.default_params


def _checked(env_id: str) -> tuple[Any, str]:
    prefix, name = env_id.split(":", 1)
    check_choice(env_id, ids(prefix), "env")
    return _door(prefix), name


def _door(prefix: str) -> Any:
    check_choice(prefix, PREFIXES, "env: the prefix")
    return importlib.import_module(f"{__name__}.{prefix}")
