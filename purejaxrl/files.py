"""Files of results: written so that they are there whole or not at all, and read as data that anybody may have made."""

import hashlib
import json
import mmap
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from purejaxrl.types import SettingError

Names = Sequence[str]
DIGEST = b"purejaxrl_sha256"  # in the metadata of a table


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, of its suffix; what was written there replaces `path` if all went well.

    Nobody can foresee its name: a folder from elsewhere may hold links, and one of that name would be written through.
    """
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """What a file of JSON holds.

    Raises:
      OSError: where it cannot be read.
      ValueError: where it is no JSON, or nested too deep.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def cut_half_line(path: Path) -> None:
    """Drop what a file has after its last newline: who wrote it was killed there, and would be appended to."""
    with path.open("r+b") as file:
        if file.seek(0, os.SEEK_END):
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                end = content.rfind(b"\n") + 1
            file.truncate(end)


def write_table(path: Any, frame: pd.DataFrame) -> None:
    """Write a frame as a Parquet file, with the SHA-256 of what it holds: most changed bits read as another number."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    noted = {**table.schema.metadata, DIGEST: _digest(table)}
    parquet.write_table(table.replace_schema_metadata(noted), path)


def read_table(
    path: Any, integers: Names = (), numbers: Names = (), words: Names = (), *, others: bool = True
) -> pd.DataFrame:
    """What a Parquet file holds, a frame with at least these columns; without `others` with no more, and unverified.

    Raises:
      OSError: where it cannot be read.
      ValueError: where it is no table, has changed since :func:`write_table`, or :func:`check_columns` raises it.
    """
    try:
        table = parquet.read_table(path, columns=None if others else [*integers, *numbers, *words])
        noted = (table.schema.metadata or {}).get(DIGEST)
        if others and noted is not None and noted != _digest(table):
            raise ValueError("it has changed since it was written (SHA-256)")
        found = table.to_pandas(ignore_metadata=True)  # which holds the names once more
    except OSError:
        raise
    except Exception as error:  # of damage Arrow has errors of many types, and pandas of damaged metadata
        raise ValueError(f"{type(error).__name__}: {error}") from None
    if not found.columns.is_unique or not all(isinstance(name, str) for name in found.columns):
        raise ValueError("its columns have no names of their own")
    check_columns(found, integers, numbers, words)
    return found.reset_index(drop=True)


def _digest(table: pa.Table) -> bytes:
    """Of the names and values of all columns, however Arrow has cut and encoded them."""
    found = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        plain = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
        values = column.to_numpy() if plain else np.frombuffer(repr(column.to_pylist()).encode(), np.uint8)
        found.update(f"{name} {values.dtype} {len(values)}\n".encode())
        found.update(values.tobytes())
    return found.hexdigest().encode()


def of_kind(column: pd.Series, kinds: str) -> bool:
    """Whether it is of one of these kinds of NumPy, by their letters."""
    return isinstance(column.dtype, np.dtype) and column.dtype.kind in kinds


def check_columns(frame: pd.DataFrame, integers: Names = (), numbers: Names = (), words: Names = ()) -> None:
    """Raise :class:`ValueError` where one of these columns is missing or of another type."""

    for names, wanted, right in (
        (integers, "integers", lambda column: of_kind(column, "iu")),
        (numbers, "numbers", lambda column: of_kind(column, "iufb")),
        (words, "words", pd.api.types.is_string_dtype),
    ):
        for name in names:
            if name not in frame or not right(frame[name]):
                raise ValueError(f"it has no column {name} of {wanted}")


def check_contents(folder: Path) -> None:
    """See that what is read, replaced or removed in a folder of results is in it: no link leads out, no pipe hangs.

    Raises:
      SettingError: where something else is.
    """
    root = os.path.realpath(folder)
    for place in (folder, folder / "parts", folder / "checkpoints", folder / "under-way"):
        for path in place.glob("*"):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                raise SettingError(f"{path} is a link that leads out of its folder: put what it means in its place")
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise SettingError(f"{path} is neither a file nor a folder: remove it")
