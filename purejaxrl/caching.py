"""Compiled programs of earlier commands, so that a command with the same program starts at once the next time."""

from __future__ import annotations

import os
import stat
import warnings
from pathlib import Path
from typing import Any

MOST_BYTES = 2**31  # what has not been used for longest goes first
SHORTEST_SECONDS = 0.3  # what compiles faster is not worth a file


def use(folder: Path | None = None) -> Path | None:
    """Let JAX keep compiled programs in `folder`; by default in purejaxrl/jax below the user's cache folder.

    Whoever can write there can run code as the user, so the folder is made for the user alone, and one that others
    own or may write to is not used. JAX's own settings win: ``JAX_COMPILATION_CACHE_DIR`` names another folder,
    ``JAX_ENABLE_COMPILATION_CACHE=false`` turns it off.

    Returns:
      The folder, or None where there is no cache.
    """
    import jax

    config: Any = jax.config  # whose fields its type does not tell
    if config.jax_compilation_cache_dir is not None or not config.jax_enable_compilation_cache:
        return None
    folder = folder or default()
    if not make_private(folder):
        return None
    # A full disk, or another process that has just removed the file: the program runs all the same.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
    config.update("jax_compilation_cache_dir", str(folder))
    config.update("jax_compilation_cache_max_size", MOST_BYTES)
    config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST_SECONDS)
    return folder


def make_private(folder: Path) -> bool:
    """Make a folder of code for the user alone, unless it is there; whether nobody else owns it or may write to it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        writable = os.access(folder, os.W_OK)
    except OSError:  # no home, or a file in the way
        return False
    others = hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    return writable and not others


def default() -> Path:
    """``$XDG_CACHE_HOME/purejaxrl/jax``, or ``~/.cache/purejaxrl/jax``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "purejaxrl" / "jax"
