"""Programs that run only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from purejaxrl.checking import QUICK_TO_COMPILE


def once(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns, as NumPy arrays: jitted, and compiled quickly, since that takes longer than running."""
    options: Any = QUICK_TO_COMPILE.get(jax.default_backend(), {})
    return jax.device_get(jax.jit(function).lower(*arguments).compile(compiler_options=options)(*arguments))
