"""The command line, by tyro. Nothing heavy is imported before a verb is known."""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import sys
from pathlib import Path
from typing import Any

from purejaxrl.cli import actions, parsing
from purejaxrl.cli.verbs import BENCHES, VERBS, Bench


def main(argv: list[str] | None = None) -> None:
    """The entry point.

    Exits with 0 when done, or saved at SIGTERM; 1 when the machine fails (disk, memory); 2 when a setting is wrong or a
    file damaged; 3 when a run diverged; 4 when it hung; 130 on Ctrl-C.
    """
    is_command, argv = argv is None, sys.argv[1:] if argv is None else argv
    if is_command:
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _unraisable
    try:
        _main(argv)
        sys.stdout.flush()  # where it fails here it is said as other failures are
    except KeyboardInterrupt:
        _leave()
    except BrokenPipeError:  # the reader of a pipe has gone: `purejaxrl list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ValueError as error:
        from purejaxrl.checkpoint import CheckpointError
        from purejaxrl.types import SettingError

        if not isinstance(error, (SettingError, CheckpointError)):
            raise
        _fail(str(error), 2)
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error), 1)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _fail(
            "out of memory: lower --num-envs, --seeds, --episodes, --algo.num-steps, or sizes of buffers and networks "
            f"({(str(error).splitlines() or ['no more is known'])[0]})",
            1,
        )
    finally:
        if is_command:  # what is left is Python's own end, in which a Ctrl-C would leave a traceback
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _leave() -> None:
    """End at once, after a Ctrl-C: an exit would wait for threads, which may wait for a disk that is gone."""
    if sys.stderr.isatty():
        sys.stderr.write("\033[?25h")  # the cursor, which a progress bar may have hidden
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)


def _interrupt(number: int, frame: Any) -> None:
    """Raise KeyboardInterrupt, but not into an import: compiled modules make an ImportError of it, or crash."""
    del number
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            _leave()
        frame = frame.f_back
    raise KeyboardInterrupt


def _unraisable(failed: Any) -> None:
    """Let a Ctrl-C end the process, too, where it falls into a callback, as JAX's at a garbage collection.

    Python would print it as ignored, and go on.
    """
    if failed.exc_type is KeyboardInterrupt:
        _leave()
    sys.__unraisablehook__(failed)


def _fail(message: str, code: int) -> None:
    # A name out of a file may hold codes that a terminal would obey.
    shown = "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in message)
    print(f"purejaxrl: {shown}", file=sys.stderr)
    sys.exit(code)


def _main(argv: list[str]) -> None:
    if argv in (["--version"], ["version"]):
        from purejaxrl import __version__

        print(__version__)
        return
    if not argv:
        with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit):
            parsing.parse(["--help"], VERBS)
        sys.exit(2)
    argv = parsing.with_env_named(["--help"] if argv == ["help"] else argv)
    verb = argv[0]
    trains = verb == "bench" and argv[1:2] in (["exploration"], ["deepsea"], ["minigrid"])
    if trains or verb in ("train", "sweep", "resume"):
        parsing.spread_over_cores()
    if verb in ("train", "sweep", "resume", "bench", "eval", "report", "diagnose"):
        from purejaxrl import caching

        caching.use()
    path = Path(argv[1]) if verb == "sweep" and argv[1:] and argv[1].endswith(".toml") else None
    written = [] if path is None else parsing.flags(path)
    if path is not None:
        argv = [verb, *written, *argv[2:]]
    if verb == "sweep" and "--distributed" in argv:  # before anything computes, as the parser does to know defaults
        from purejaxrl import processes

        processes.join()
    if path is not None:
        parsing.check_file(path, written, argv, VERBS[verb])
    if verb == "bench":
        parse = parsing.parse_with_settings if argv[1:2] == ["profile"] else parsing.parse
        command = parse(argv[1:], BENCHES, "purejaxrl bench", inspect.getdoc(Bench) or "")
    elif verb in ("train", "sweep"):
        command = parsing.parse_with_settings(parsing.with_preset(argv) if verb == "train" else argv, VERBS)
    elif verb == "diagnose":
        command = parsing.parse_with_env(argv, VERBS)
    else:
        command = parsing.parse(argv, VERBS)
    parsing.check(command)
    actions.ACTIONS[type(command).__name__](command)
