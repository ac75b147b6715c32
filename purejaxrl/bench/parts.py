"""A benchmark's folder: ``parts`` with a table for each piece of work and the exact configuration beside it as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from purejaxrl import files, folders, runs
from purejaxrl.types import SettingError

Frame = Any  # pandas.DataFrame, whose type stubs know no difference between a column and a row


def folder(out: Path, mark: str) -> Path:
    """Where the parts of the benchmark in `out` are, or will be; each of its configurations has the field `mark`.

    Raises:
      SettingError: where `out` is something else, another benchmark's folder included.
    """
    found = out / "parts"
    sweep = (out / "sweep.json").exists()  # which has parts, too
    if sweep or (not found.is_dir() and not folders.is_new(out)):
        raise SettingError(f"out: {out} exists and is no benchmark's folder; give another one")
    files.check_contents(out)
    if other := [path.name for path in sorted(found.glob("*.parquet")) if mark not in read_config(path)]:
        raise SettingError(f"out: {out} is another benchmark's folder, with {other[0]}; give another one")
    return found


def read(
    path: Path,
    config: Mapping[str, Any],
    integers: Sequence[str] = (),
    numbers: Sequence[str] = (),
    words: Sequence[str] = (),
) -> Frame:
    """What an earlier call has left of this configuration, with at least these columns; empty where there is nothing.

    Raises:
      SettingError: when it was of another configuration, or is damaged.
    """
    if not path.exists():
        return pd.DataFrame()
    known, wanted = read_config(path), json.loads(json.dumps(config))
    try:
        frame = files.read_table(path, integers, numbers, words)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    if known != wanted:
        changed = [name for name in sorted({*known, *wanted}) if known.get(name) != wanted.get(name)]
        raise SettingError(f"{path} has another configuration ({', '.join(changed)}): give another --out")
    return frame


def read_config(path: Path) -> dict[str, Any]:
    """The configuration that the part at `path` is of."""
    try:
        known = files.read_json(path.with_suffix(".json"))
        known.pop("versions", None)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise _damaged(path, error) from None
    return known


def write(path: Path, config: Mapping[str, Any], frame: Frame) -> None:
    runs.write_json(path.with_suffix(".json"), {**config, "versions": runs.versions()})
    with files.replacing(path) as temporary:
        files.write_table(temporary, frame)


def _damaged(path: Path, error: Exception) -> SettingError:
    return SettingError(f"{path} or its .json is damaged ({error}): remove both to run again")
