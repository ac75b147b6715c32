"""Saving and restoring states: the one module that knows Orbax.

A checkpoint is a folder: ``manifest.json`` (format; each leaf's path, shape, dtype and SHA-256; each file's SHA-256)
beside the arrays, which Orbax writes, and whatever else belongs to it. It is written under a temporary name and
renamed: it is there whole or not at all. Orbax itself loads flipped bits, other dtypes and missing leaves without a
word, or leaves its event loop broken by what it could not read: files are checked before it sees them, and leaves
after.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl.files import read_json
from purejaxrl.types import SettingError, check_new_path, check_path, is_key, shown, to_numpy

FORMAT = 3
ATTEMPTS = 3  # to write
LARGEST_FILE = 2**30  # bytes, of those that are made to see whether there is room


class CheckpointError(ValueError):
    """A checkpoint cannot be written there, is damaged, or does not fit the state that was asked for."""


def save(path: str | os.PathLike, state: Any, *, beside: Mapping[str, bytes] | None = None) -> None:
    """Save a pytree of arrays and typed keys, such as ``Result.state``, as the folder `path`.

    `beside` are contents of further files by their names, which :func:`read_beside` gives back.

    Raises:
      CheckpointError: (a ValueError) when `path` already exists.
      SettingError: (a ValueError) when nothing can be made there, or a leaf is no array of numbers.
      OSError: when it cannot be written; nothing is left at `path` then.
    """
    path = check_new_path(path, "path").absolute()
    if path.exists():
        raise CheckpointError(f"path {path} already exists; give a new folder")
    for name, leaf in _named_leaves(state):
        if not is_key(leaf) and np.dtype(_signature(leaf)["dtype"]).kind in "OSUMm":
            raise SettingError(f"state{name} must be an array of numbers, got {shown(leaf)}")
    if not jax.tree.leaves(state):
        raise SettingError(f"state must have arrays, got {shown(state)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays, entries = {}, []
    for number, (name, leaf) in enumerate(_named_leaves(state)):
        array = to_numpy(leaf)
        key = {"key": str(jax.random.key_impl(leaf))} if is_key(leaf) else {}
        entries.append({"path": name, **_signature(leaf), **key, "sha256": _digest(array)})
        if array.size:  # Orbax refuses empty arrays; the manifest is enough for them
            arrays[f"{number:05d}"] = array
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    _check_space(temporary, sum(array.nbytes for array in arrays.values()))
    try:
        temporary.mkdir()
        _write_arrays(temporary / "arrays", arrays)
        manifest = {"format": FORMAT, "leaves": entries, "files": _file_digests(temporary / "arrays"), "beside": {}}
        for name, content in (beside or {}).items():
            (temporary / name).write_bytes(content)
            manifest["beside"][name] = hashlib.sha256(content).hexdigest()
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1))
        temporary.rename(path)
    except BaseException:
        gone = 0
        for _ in range(100):  # 5 s: Orbax's threads may still be at it, and make it again
            if temporary.exists():
                shutil.rmtree(temporary, ignore_errors=True)
                gone = 0
            elif (gone := gone + 1) == 10:
                break
            time.sleep(0.05)
        raise


def _check_space(folder: Path, size: int) -> None:
    """Make a file of so many bytes, as Orbax will, and remove it: limits and quotas leave less than the free space.

    What Orbax cannot write it says in tracebacks of its threads, which nothing catches.
    """
    if shutil.disk_usage(folder.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder.parent))
    if not hasattr(os, "posix_fallocate") or not size:
        return
    folder.mkdir()
    try:
        for number, start in enumerate(range(0, size, LARGEST_FILE)):
            with (folder / str(number)).open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, min(size - start, LARGEST_FILE))
    finally:
        shutil.rmtree(folder)


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Let Orbax write; what goes wrong is an OSError here, and its threads' tracebacks stay unsaid."""
    from orbax.checkpoint import v1 as ocp

    logger = logging.getLogger("absl")
    level = logger.level
    for attempt in range(ATTEMPTS):
        try:
            logger.setLevel(logging.CRITICAL + 1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ocp.save(str(path), arrays, overwrite=True)
            return
        except TimeoutError:  # it waits by the clock, which someone has set
            if attempt == ATTEMPTS - 1:
                raise
        except (ValueError, RuntimeError) as error:
            code = re.search(r"os_error_code='(\d+)'", str(error))
            if code:
                raise OSError(int(code[1]), os.strerror(int(code[1])), str(path.parent)) from error
            raise OSError(f"{path.parent} could not be written: {error}") from error
        finally:
            logger.setLevel(level)


def restore(path: str | os.PathLike, like: Any) -> Any:
    """Load the state saved at `path`, with the structure of `like` (arrays or ShapeDtypeStructs), bit for bit.

    Raises:
      CheckpointError: (a ValueError) when there is no checkpoint, it is damaged, or its leaves differ from `like`'s in
        name, shape or dtype; the message names the first difference.
    """
    from orbax.checkpoint import v1 as ocp

    path = check_path(path, "path").absolute()
    manifest = _manifest(path)
    entries, files = manifest["leaves"], manifest.get("files")
    wanted = [{"path": name, **_signature(leaf)} for name, leaf in _named_leaves(like)]
    _compare(path, [{key: entry.get(key) for key in ("path", "shape", "dtype")} for entry in entries], wanted)
    if not isinstance(files, dict):
        raise CheckpointError(f"{path} is damaged: its manifest.json lacks the files' SHA-256")
    if (found := _file_digests(path / "arrays")) != files:
        changed = min(name for name in {*found, *files} if found.get(name) != files.get(name))
        raise CheckpointError(f"{path} is damaged: arrays/{changed} is missing, new or changed (SHA-256)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arrays = ocp.load(str(path / "arrays"))
    except Exception as error:
        raise CheckpointError(f"{path} is damaged: its arrays cannot be read ({type(error).__name__})") from error
    return jax.tree.unflatten(jax.tree.structure(like), _checked(path, entries, arrays, jax.tree.leaves(like)))


def _checked(path: Path, entries: list[dict[str, Any]], arrays: Any, like: list[Any]) -> list[Any]:
    """The leaves, where what Orbax found is what the manifest says."""
    leaves = []
    for number, (entry, leaf) in enumerate(zip(entries, like, strict=True)):
        stored = {} if not isinstance(arrays, dict) else arrays
        stored = stored.get(f"{number:05d}", np.zeros(0))
        array = np.asarray(stored) if np.size(stored) else np.zeros(leaf.shape, leaf.dtype)
        held = jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf
        if _signature(array) != _signature(held) or entry.get("sha256") != _digest(array):
            raise CheckpointError(f"{path} is damaged: the data of {entry['path']} does not match its SHA-256")
        if is_key(leaf):
            try:
                leaves.append(jax.random.wrap_key_data(jnp.asarray(array), impl=entry["key"]))
            except (KeyError, TypeError, ValueError):
                raise CheckpointError(f"{path} is damaged: {entry['path']} has no kind of keys") from None
        else:  # NumPy leaves stay NumPy, and what has a type of 64 bits, which JAX would narrow, is one
            narrowed = jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype
            leaves.append(array if isinstance(leaf, np.ndarray) or narrowed else jnp.asarray(array))
    return leaves


def read_beside(path: str | os.PathLike, name: str) -> bytes:
    """The content of a further file of the checkpoint at `path`, as `save` got it.

    Raises:
      CheckpointError: (a ValueError) when there is no such checkpoint or file, or it has changed since.
    """
    path = Path(path).absolute()
    known = _manifest(path).get("beside")
    digest = known.get(name) if isinstance(known, dict) else None
    try:
        content = (path / name).read_bytes()
    except OSError:
        content = b""
    if digest is None or hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(f"{path} is damaged: {name} is missing or changed (SHA-256)")
    return content


def put_aside(path: Path) -> None:
    """Rename a damaged checkpoint, in the place of an earlier one of its name."""
    aside = path.with_name(f"damaged-{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)


def on_host(state: Any) -> Any:
    """A copy of the state in NumPy arrays, typed keys as they are, that `save` takes while the state itself goes on."""
    return jax.tree.map(lambda leaf: jnp.copy(leaf) if is_key(leaf) else np.array(leaf), state)


def digest(tree: Any, lane: int | None = None) -> str:
    """The SHA-256 of all leaves: their paths, shapes, dtypes and bytes; of one lane where they have such an axis."""
    found = hashlib.sha256()
    for name, leaf in _named_leaves(tree):
        array = to_numpy(leaf)
        array = array if lane is None else array[lane]
        found.update(f"{name} {array.dtype} {list(array.shape)}\n".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _manifest(path: Path) -> dict[str, Any]:
    _check_kinds(path.glob("*"))
    try:
        manifest = read_json(path / "manifest.json")
        version, entries = manifest["format"], manifest["leaves"]
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("leaves")
    except OSError:
        raise CheckpointError(f"{path} is not a checkpoint: it has no readable manifest.json") from None
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path} is damaged: its manifest.json cannot be parsed") from None
    if version != FORMAT:
        raise CheckpointError(f"{path} has checkpoint format {version}; this version reads format {FORMAT}")
    return manifest


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def _signature(leaf: Any) -> dict[str, Any]:
    if not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _file_digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file below `folder`, by its path from there."""
    digests, paths = {}, sorted(folder.rglob("*"))
    _check_kinds(paths)
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests


def _check_kinds(paths: Iterable[Path]) -> None:
    """A link would lead out of the checkpoint, and a pipe hang; Orbax follows both."""
    for path in paths:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise CheckpointError(f"{path} is damaged: a checkpoint holds files and folders, no links")


def _compare(path: Path, saved: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    for here, there in zip(saved, wanted, strict=False):
        if here != there:
            raise CheckpointError(f"{path} does not fit `like`: it holds {_show(here)} where {_show(there)} is wanted")
    if len(saved) != len(wanted):
        more, side = (saved, "`like` lacks") if len(saved) > len(wanted) else (wanted, "the checkpoint lacks")
        extra = more[min(len(saved), len(wanted))]
        raise CheckpointError(f"{path} does not fit `like`: {side} {_show(extra)}")


def _show(entry: dict[str, Any]) -> str:
    return f"{entry['path']} {entry['dtype']}{entry['shape']}"
