"""gymnax, without the plotting packages that it imports for pictures of its own: a second of every process's start.

`purejaxrl.envs` imports it from here before anything else imports it.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

PLOTTING = ("seaborn", "matplotlib.pyplot")  # seaborn brings scipy.stats and pandas


class Deferred(types.ModuleType):
    """Stands for a module, which is imported when something in it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def deferred(*names: str) -> Iterator[None]:
    """What is imported within it gets a :class:`Deferred` for each of these modules; afterwards they are as before."""
    stubs = {name: Deferred(name) for name in names if name not in sys.modules}
    sys.modules.update(stubs)
    try:
        yield
    finally:
        for name, stub in stubs.items():
            if sys.modules.get(name) is stub:
                del sys.modules[name]


with deferred(*PLOTTING):
    import gymnax

__all__ = ["deferred", "gymnax"]
