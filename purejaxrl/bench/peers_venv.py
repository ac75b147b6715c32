"""Peers' own environments, made once below the user's cache folder: their packages do not go with ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from purejaxrl import caching
from purejaxrl.types import SettingError

SCRIPTS = Path(__file__).parent / "peers"
REJAX = ("rejax==0.1.3", "gymnax==0.0.9", "jax==0.10.2", "flax==0.12.8", "distrax==0.1.9")
SB3 = ("stable-baselines3==2.9.2", "gymnasium<1.4", "sbx-rl==0.28.0", "jax==0.10.2")
PACKAGES = {"rejax": REJAX, "original": (*REJAX, "flashbax==0.1.3"), "sb3": SB3, "sbx": SB3}


def python(peer: str) -> Path:
    """The interpreter that has the peer, installed the first time (torch, for SB3, takes minutes and gigabytes).

    Raises:
      SettingError: when its packages cannot be installed, with the last line that pip says, or others may change them.
    """
    folder = caching.default().parent / "peers" / "_".join(PACKAGES[peer]).replace("==", "-").replace("<", "-below-")
    found = folder / "bin" / "python"
    if not caching.make_private(folder.parent):
        raise SettingError(f"peers: {folder.parent} cannot be used, or others may write to it: it holds what is run")
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        seconds = install(found, PACKAGES[peer])
        (folder / "installed").write_text(f"{seconds:.1f} s\n")
    return found


def install(interpreter: Path, packages: Sequence[str]) -> float:
    """Make the environment that `interpreter` belongs to, with these packages: the seconds it took."""
    start = time.perf_counter()
    make = [sys.executable, "-m", "venv", str(interpreter.parent.parent)]
    fill = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *packages]
    for command in (make, fill):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:  # pip says why on stderr, venv on stdout
            reason = ((done.stderr.strip() or done.stdout.strip()).splitlines() or ["it said nothing"])[-1]
            raise SettingError(f"peers: {' '.join(packages)} cannot be installed: {reason}")
    return time.perf_counter() - start
