"""Folders of results that a later call goes on in: what they are of, and who is at work there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from purejaxrl import files, runs
from purejaxrl.types import SettingError

FORMAT = 2
LOCK = "lock"


@contextmanager
def held(folder: Path, name: str, plan: Mapping[str, Any]) -> Iterator[None]:
    """Work in a folder that is new, empty, or of this very plan, which its file `name` holds, as the only process.

    Raises:
      SettingError: where it is something else, cannot be written, or another process is at work there; nothing in it
        is touched then.
    """
    plan = {"format": FORMAT, **runs.plain(dict(plan))}  # as the file will have it: null for what is not finite
    _check(folder, name, plan)
    with locked(folder):
        if not (folder / name).exists():
            runs.write_json(folder / name, plan | {"versions": runs.versions()})
        yield


def is_new(folder: Path) -> bool:
    """Whether nothing is there yet: no such folder, or one with nothing but the lock of a call that was refused.

    Raises:
      SettingError: where a link leads out of it.
    """
    if not folder.is_dir():
        return not folder.exists()
    files.check_contents(folder)
    return all(path.name == LOCK for path in folder.iterdir())


def is_held(folder: Path) -> bool:
    """Whether a process is at work in the folder."""
    import fcntl

    with (folder / LOCK).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def read(folder: Path, name: str) -> dict[str, Any]:
    """The plan that the folder is of.

    Raises:
      SettingError: where it has none, or it cannot be read.
    """
    path = folder / name
    try:
        content = files.read_json(path)
    except OSError:
        raise SettingError(f"{folder} has no readable {name}: it is of something else") from None
    except ValueError:
        raise SettingError(f"{path} is damaged: not JSON") from None
    if not isinstance(content, dict) or not content.get("fields"):
        raise SettingError(f"{path} is damaged: it names no fields")
    if content.get("format") != FORMAT:
        raise SettingError(f"{path} has another format than {FORMAT}, the one this version reads")
    return content


def _check(folder: Path, name: str, plan: Mapping[str, Any]) -> None:
    if is_new(folder):
        return
    if not folder.is_dir():
        raise SettingError(f"out: {folder} is a file; give a folder")
    if not (folder / name).exists():
        raise SettingError(f"out: {folder} exists and has no {name}; give another folder, or remove it")
    known = read(folder, name)
    fields = {**plan, **known}.keys() - {"versions"}
    if changed := sorted(field for field in fields if known.get(field) != plan.get(field)):
        raise SettingError(
            f"out: {folder} is of another sweep, which differs in {', '.join(changed)}; give another folder"
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and hold it; the system frees it however the process ends.

    Raises:
      SettingError: where it cannot be written, or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("w")
    except OSError as error:
        raise SettingError(f"out: {folder} cannot be written: {error.strerror}") from None
    with file:
        try:
            import fcntl
        except ImportError:  # not a POSIX system
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingError(f"out: another process is at work in {folder}; wait for it, or stop it") from None
        yield
