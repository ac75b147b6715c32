"""Exploration bonuses, one file each: ``from purejaxrl.bonuses import RND``."""

import sys

from purejaxrl import discovery


def __getattr__(name: str) -> type:
    return discovery.load(sys.modules[__name__], name)


def __dir__() -> list[str]:
    return [discovery.load(sys.modules[__name__], name).__name__ for name in discovery.names(sys.modules[__name__])]
