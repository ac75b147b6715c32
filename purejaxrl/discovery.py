"""Finds components by walking a package: the class in ``rnd.py`` whose lower-cased name is ``rnd``.

So a new bonus or algorithm is one new file, and the command line, ``list`` and the contract tests know it.
"""

import importlib
import pkgutil
from types import ModuleType


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
