"""Finds components by walking a package: the class in ``rnd.py`` whose lower-cased name is ``rnd``.

So a new bonus or algorithm is one new file, and the command line, ``list`` and the contract tests know it.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from purejaxrl.types import SettingError, check_choice

CODE = ("Any", "Callable")  # types of settings that are functions or networks of a user's own


def names(package: ModuleType) -> list[str]:
    """Names of the package's components, which are those of its modules, without importing them."""
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def load(package: ModuleType, name: str) -> type:
    """Import one component by its (case-insensitive) name.

    Raises:
      AttributeError: where the package has no such component.
    """
    if name.lower() in names(package):
        module = importlib.import_module(f"{package.__name__}.{name.lower()}")
        for public, value in vars(module).items():
            if isinstance(value, type) and public.lower() == name.lower() and value.__module__ == module.__name__:
                return value
    raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}")


def construct(cls: type, settings: Mapping[str, Any], known: Iterable[str], label: str) -> Any:
    """``cls(**settings)``, where lists, as JSON has them, become tuples.

    Raises:
      SettingError: for a setting that is not among the `known`, with the nearest ones, and for code.
    """
    for name in settings:
        check_choice(name, known, label)
    for field in dataclasses.fields(cls):
        if field.name in settings and field.type in CODE:
            raise SettingError(f"{label}.{field.name} is code: it can be given in Python alone")
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()})
