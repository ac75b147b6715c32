"""The command line: one dataclass per verb, shown by tyro. Nothing heavy is imported before a verb is known."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import itertools
import json
import math
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import tyro
from tyro.conf import arg

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from purejaxrl.progress import Progress
    from purejaxrl.runs import Interrupt


@dataclasses.dataclass
class Train:
    """Train with one algorithm on one environment, several seeds at once, and fill a run's folder.

    Example: purejaxrl train --env DeepSea-bsuite --env.size 20 --bonus counts --seeds 8 --out runs/deepsea

    --env.*, --algo.* and --bonus.* set what the chosen environment, algorithm and bonus offer: choose them and ask for
    --help again. With --env alone, settings that were measured on such environments are taken where there are some,
    and said.
    """

    env: str
    """The environment's id; `purejaxrl list` shows them, and the prefixes that open other packages."""
    algo: str = "ppo"
    """The algorithm."""
    bonus: str = "none"
    """The exploration bonus, or none, or bonuses combined: 'e3b*rnd', 'counts+rnd', 'sofe(e3b)'."""
    total_steps: int = 500_000
    """Environment steps per seed, rounded down to whole updates."""
    num_envs: int = 4
    """Environments per seed, stepped in parallel."""
    seeds: int = 1
    """How many seeds run at once."""
    seed: int = 0
    """The first seed; the others follow it."""
    visits: bool = False
    """Count exactly how often each true state, or box of a continuous one, is visited (where there are cells)."""
    save_seconds: float = 60.0
    """Seconds from one checkpoint to the next; one more is saved at the end."""
    keep: int = 2
    """How many of the newest checkpoints are kept, beside the one with the best return."""
    if_diverged: Literal["stop", "freeze"] = "stop"
    """Where a reward, an observation or a loss is not finite: stop the run, or freeze that seed while others go on."""
    stall_minutes: float = 60.0
    """After so many minutes without progress print where it hangs, and exit with 4; 0: wait for ever."""
    log: tuple[Literal["jsonl", "tensorboard", "wandb", "trackio"], ...] = ()
    """Where metrics go, too, while it trains: jsonl and tensorboard write into the folder."""
    quiet: bool = False
    """No progress: the result and errors alone."""
    json: bool = False
    """Print the summary as JSON on stdout."""
    out: Path | None = None
    """The run's folder; by default runs/ENV-ALGO-BONUS-N with the next free N."""


@dataclasses.dataclass
class Resume:
    """Go on with a run that was stopped or killed, to the same results as if it had not been.

    Example: purejaxrl resume runs/deepsea

    A run that is done stays as it is, unless --total-steps asks for more. A sweep goes on by its own command.
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    total_steps: int | None = None
    """Environment steps per seed of the whole run, where it is to be longer than it was."""
    stall_minutes: float = 60.0
    """After so many minutes without progress print where it hangs, and exit with 4; 0: wait for ever."""
    log: tuple[Literal["jsonl", "tensorboard", "wandb", "trackio"], ...] = ()
    """Where metrics go, too, while it trains; rows since the last checkpoint come again."""
    quiet: bool = False
    """No progress: the result and errors alone."""
    json: bool = False
    """Print the summary as JSON on stdout."""


@dataclasses.dataclass
class Sweep:
    """Train every configuration of a search with several seeds, in as few compiled programs as possible.

    Example: purejaxrl sweep --env CartPole-v1 --search algo.learning_rate=1e-4,1e-3 algo.ent_coef=0,0.01 --seeds 8

    --search takes field=values, a grid of all combinations, or field=loguniform(1e-5,1e-2), uniform(a,b) or
    choice(a,b,c), of which --samples are drawn. Fields: algo.*, bonus.*, env.*, num_envs, total_steps. Everything may
    also stand in a TOML file, flags by their names: purejaxrl sweep rates.toml. Stop it with Ctrl-C; the same command
    with the same --out goes on.
    """

    env: str
    """The environment's id; `purejaxrl list` shows them."""
    search: tuple[str, ...]
    """field=values, one or several."""
    algo: str = "ppo"
    """The algorithm."""
    bonus: str = "none"
    """The exploration bonus, or none, or bonuses combined: 'e3b*rnd', 'counts+rnd', 'sofe(e3b)'."""
    total_steps: int = 500_000
    """Environment steps of each run, rounded down to whole updates."""
    num_envs: int = 4
    """Environments of each run, stepped in parallel."""
    seeds: int = 1
    """Seeds of each configuration, from 0 on."""
    samples: int | None = None
    """How many configurations to draw, where the search has distributions."""
    search_seed: int = 0
    """The seed of the draws, or of the sampler."""
    sampler: Literal["tpe", "qmc", "nsga2"] | None = None
    """Let Optuna propose the samples: tpe and nsga2 learn from those before, qmc covers the ranges evenly."""
    batch: int = 16
    """Configurations that a sampler proposes at once."""
    objectives: tuple[str, ...] = ("final_return",)
    """Metrics that a sampler makes large, or small after min: final_return min:first_reward."""
    rungs: tuple[float, ...] = ()
    """Successive halving: shares of a run, as 0.1 0.3, after which only the best configurations go on."""
    keep: float = 1 / 3
    """The share of the configurations that each rung leaves."""
    visits: bool = False
    """Count exactly how often each true state, or box of a continuous one, is visited (where there are cells)."""
    num_lanes: int | None = None
    """Runs at once; chosen unless given."""
    memory_gb: float | None = None
    """What all runs at once may need; most of what is free unless given."""
    on: Literal["local", "slurm", "ray"] | None = None
    """Let other processes train: of this machine (local), or of others by an engine. All of them must see --out."""
    workers: int = 2
    """How many of these processes or jobs at a time."""
    distributed: bool = False
    """This command runs as several processes (srun, mpirun): spread the lanes over the devices of all of them."""
    stall_minutes: float = 60.0
    """After so many minutes without progress print where it hangs, and exit with 4; 0, or --on: wait for ever."""
    log: tuple[Literal["jsonl", "tensorboard", "wandb", "trackio"], ...] = ()
    """Where metrics go, too, while it trains: jsonl and tensorboard write into the folder."""
    quiet: bool = False
    """No progress: the result and errors alone."""
    json: bool = False
    """Print the best configurations as JSON on stdout, instead of a table."""
    out: Path | None = None
    """The folder; by default runs/sweep-ENV-ALGO-BONUS-N with the next free N."""


@dataclasses.dataclass
class Eval:
    """Play fresh episodes with a trained run's policies.

    Example: purejaxrl eval runs/deepsea --episodes 128 --gif deepsea.gif
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    episodes: int = 128
    """Episodes per seed."""
    seed: int = 0
    """The episodes' own seed; training's keys are not touched."""
    sample: bool = False
    """Sample actions instead of taking the most likely ones."""
    checkpoint: str = "newest"
    """newest, best, or the number of updates after which it was saved."""
    json: bool = False
    """Print a row for each seed as JSON on stdout, instead of a table."""
    gif: Path | None = None
    """Write one more episode as an animated GIF; the seed of median return plays it."""


@dataclasses.dataclass
class Report:
    """Write one HTML page about a run, comparing several, or about a sweep or a population: answers, and figures.

    Example: purejaxrl report runs/ppo runs/counts --out comparison.html
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The runs' folders, or one sweep's or population's."""
    out: Path | None = None
    """The page; by default report.html in the only run's folder, or in the folder that holds the first run."""
    title: str = ""
    """A heading; by default the environment's id."""
    films: bool = True
    """Play an episode of each run's best and of its median seed, where the environment has a picture."""
    open: bool = False
    """Open the page in a browser, where there is a screen."""


@dataclasses.dataclass
class Diagnose:
    """Say what an environment is like before any training, and what to train it with; in less than a minute.

    Example: purejaxrl diagnose DeepSea-bsuite --env.size 20

    Untrained policies play: random actions, epsilon-greedy, random actions that last. How often a reward is seen, what
    the observation hides, what is noise, what a small network can predict, and whether a bonus reaches more.
    --env.* set what the environment offers: name it and ask for --help again.
    """

    env: tyro.conf.Positional[str]
    """The environment's id; `purejaxrl list` shows them, and the prefixes that open other packages."""
    num_envs: int = 64
    """Environments of each policy, a multiple of 4."""
    num_steps: int = 512
    """Steps of each of them; more than an episode's length is best."""
    train: bool = True
    """Train PPO with and without a bonus, too, for as many steps; half of the time goes there."""
    seed: int = 0
    """The seed of everything random."""
    out: Path | None = None
    """The folder for diagnosis.json and diagnosis.png; by default runs/diagnose-ENV-N with the next free N."""


@dataclasses.dataclass
class BenchExploration:
    """Every bonus and tuned entropy, epsilon- and epsilon-z-greedy on each task of a suite.

    Example: purejaxrl bench exploration --suite small --out bench/small

    Each method's one number is tuned on seeds of its own. Stop it with Ctrl-C, or SIGTERM; the same command goes on.
    """

    out: Path
    """The folder; what an earlier call has left there is not run again."""
    suite: Literal["small", "noisy", "full"] = "small"
    """small: 3 tasks of 150,000 steps; noisy: 2 with and without noisy TVs; full: 8 tasks, up to a million steps."""
    methods: Annotated[tuple[str, ...], arg(aliases=["--method"])] = ()
    """Only these methods."""
    tasks: tuple[str, ...] = ()
    """Only these tasks of the suite."""
    seeds: int = 10
    """Reporting seeds."""


@dataclasses.dataclass
class BenchDeepsea:
    """How many episodes DeepSea takes, size by size: random actions need about 2^N of size N.

    Example: purejaxrl bench deepsea --sizes 20 30 --seeds 10 --out bench/deepsea

    It is bsuite's, and judged as there: solved once fewer than .9 of the episodes went wrong. Calls with other methods
    and sizes join the folder's table and figures. Stop it with Ctrl-C, or SIGTERM; the same command goes on.
    """

    out: Path
    """The folder; what an earlier call has left there is not run again."""
    sizes: tuple[int, ...] = (10, 20, 30)
    """N: so many rows and columns, and steps of an episode."""
    method: Annotated[tuple[str, ...], arg(aliases=["--methods"])] = ()
    """Of hyperagent, hyperdqn, bootdqn, bootpqn, hyperpqn, noisynet, counts and epsilon; hyperagent unless given."""
    seeds: int = 10
    """Seeds of each method and size, from 0 on."""
    episodes: int = 10_000
    """The budget of each; a seed ends as soon as it has solved its size."""
    stochastic: bool = False
    """bsuite's deep_sea_stochastic: going right fails at times, and the last rewards are noisy."""


@dataclasses.dataclass
class BenchMinigrid:
    """MiniGrid's hard tasks with one setting for nearly all, each within a budget of frames.

    Example: purejaxrl bench minigrid --tasks MiniGrid-KeyCorridorS3R3-v0 --seeds 10 --out bench/minigrid

    A task is solved once .9 of the episodes of a twentieth of its budget (a time limit at least) were successful. Calls
    with other methods and tasks join the folder's table and figures. Stop it with Ctrl-C, or SIGTERM; the same
    command goes on.
    """

    out: Path
    """The folder; what an earlier call has left there is not run again."""
    tasks: tuple[str, ...] = ()
    """Only these, by their ids; ten unless given, from DoorKey-8x8 to ObstructedMaze-Full, which need hours."""
    method: Annotated[tuple[str, ...], arg(aliases=["--methods"])] = ()
    """One or several of noveld, ngu, counts and entropy; the recommended one, noveld, unless given."""
    seeds: int = 10
    """Seeds of each method and task, from 0 on."""


@dataclasses.dataclass
class BenchSpeed:
    """Steps per second, compile times, memory and start-up, in turns with other libraries on the same work.

    Example: purejaxrl bench speed --out bench/speed

    Peers are installed into environments of their own the first time. Nothing else should run on the machine.
    """

    out: Path
    """The folder; works that are not asked for now stay as an earlier call has left them."""
    works: tuple[str, ...] = ()
    """Only these, of ppo-4, ppo-64, ppo-2048, ppo-minatar, dqn-10, dqn-128, pqn-128."""
    rounds: int = 5
    """Runs of each library, in turns."""
    devices: int = 1
    """Host devices that one run of ours is spread over (not DQN's)."""
    checkout: Path | None = None
    """A clone of PureJaxRL's repository, the original, to compare with as well."""
    start_up: tuple[Literal["rejax", "original", "sbx", "sb3"], ...] = ("rejax",)
    """Peers to be timed from a process's start as well, beside ours without and with a cache; sb3 takes minutes."""
    at_least: float = 0.0
    """Exit with 1 where the ratio of steps per second to a peer's is below this."""


@dataclasses.dataclass
class BenchProfile:
    """Where the time of one update goes: rollout, environment, resets, policy, bonus, and what the learner does.

    Example: purejaxrl bench profile --env CartPole-v1 --num-envs 64 --bonus rnd

    --env.*, --algo.* and --bonus.* are those of `purejaxrl train`.
    """

    env: str
    """The environment's id; `purejaxrl list` shows them."""
    algo: str = "ppo"
    """The algorithm."""
    bonus: str = "none"
    """The exploration bonus, or none, or bonuses combined: 'e3b*rnd', 'counts+rnd', 'sofe(e3b)'."""
    num_envs: int = 64
    """Environments, stepped in parallel."""
    updates: int = 4
    """Updates that each part is timed over; for the short ones of DQN take hundreds."""


@dataclasses.dataclass
class Bench:
    """Run a comparison and write its tables, or say where the time goes.

    Example: purejaxrl bench exploration --suite small --out bench/small"""


@dataclasses.dataclass
class List:
    """Show every environment, algorithm and bonus, or one of the three.

    Example: purejaxrl list envs

    `list envs` says what each environment is: observation, actions, step limit, source, and why exploring is hard.
    `list envs --source craftax` shows the ids of another package.
    """

    what: tyro.conf.Positional[Literal["envs", "algos", "bonuses"] | None] = None
    """Only these."""
    source: str | None = None
    """Environments of another package, by the prefix of their ids."""


BENCHES = {
    "exploration": BenchExploration,
    "deepsea": BenchDeepsea,
    "minigrid": BenchMinigrid,
    "speed": BenchSpeed,
    "profile": BenchProfile,
}
VERBS = {
    "train": Train,
    "sweep": Sweep,
    "resume": Resume,
    "eval": Eval,
    "report": Report,
    "diagnose": Diagnose,
    "bench": Bench,
    "list": List,
}


REGISTRY = tyro.constructors.ConstructorRegistry()


@REGISTRY.primitive_rule
def _whole_numbers(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """Integers may be written as people write many steps, ``1e6``."""
    if info.type is not int:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: _whole(words[0]),
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    )


def _whole(text: str) -> int:
    """Raises ValueError: where it is no whole number."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        if (value := float(text)).is_integer():
            return int(value)
    from purejaxrl.types import shown

    raise ValueError(f"write a whole number, such as 64 or 1e6, not {shown(text)}")


DESCRIPTION = """Reinforcement learning and exploration in pure JAX.

Examples:
  purejaxrl train --env CartPole-v1 --seeds 8 --out runs/pole
  purejaxrl report runs/pole --open
  purejaxrl train --env CartPole-v1 --algo dqn --help     every setting of what is chosen

Exit codes: 0 done, or saved at SIGTERM; 1 the machine failed (disk, memory); 2 a setting is wrong or a file damaged;
3 the run diverged; 4 it hung; 130 Ctrl-C. Completion: purejaxrl --tyro-print-completion bash (or zsh, tcsh)."""


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
            _parse(["--help"], VERBS)
        sys.exit(2)
    argv = _with_env_named(["--help"] if argv == ["help"] else argv)
    verb = argv[0]
    trains = verb == "bench" and argv[1:2] in (["exploration"], ["deepsea"], ["minigrid"])
    if trains or verb in ("train", "sweep", "resume"):
        _spread_over_cores()
    if verb in ("train", "sweep", "resume", "bench", "eval", "report", "diagnose"):
        from purejaxrl import caching

        caching.use()
    if verb == "sweep" and argv[1:] and argv[1].endswith(".toml"):
        argv = [verb, *_flags(Path(argv[1])), *argv[2:]]
    if verb == "sweep" and "--distributed" in argv:  # before anything computes, as the parser does to know defaults
        from purejaxrl import processes

        processes.join()
    if verb == "bench":
        parse = _parse_with_settings if argv[1:2] == ["profile"] else _parse
        command = parse(argv[1:], BENCHES, "purejaxrl bench", inspect.getdoc(Bench) or "")
    elif verb in ("train", "sweep"):
        command = _parse_with_settings(_with_preset(argv) if verb == "train" else argv, VERBS)
    elif verb == "diagnose":
        command = _parse_with_env(argv, VERBS)
    else:
        command = _parse(argv, VERBS)
    _check(command)
    _ACTIONS[type(command).__name__](command)


def _with_env_named(argv: list[str]) -> list[str]:
    """The command with its environment where the verb has it, after ``--env`` or as the first word, however it came."""
    verb, *rest = argv
    names_env = rest and not rest[0].startswith("-") and not rest[0].endswith(".toml")
    if verb in ("train", "sweep") and names_env:
        return [verb, "--env", *rest]
    if verb == "bench" and rest[:1] == ["profile"] and rest[1:] and not rest[1].startswith("-"):
        return [verb, "profile", "--env", *rest[1:]]
    if verb == "diagnose" and rest[:1] == ["--env"]:
        return [verb, *rest[1:]]
    return argv


def _with_preset(argv: list[str]) -> list[str]:
    """The command with what is known to do well on its environment, which is said, where it chooses nothing itself."""
    from purejaxrl import presets

    added, source = presets.flags(argv, _peek(argv, "env") or "")
    if added and "--quiet" not in argv:
        print(f"no algorithm was chosen: {' '.join(added)} (measured: {source})", file=sys.stderr)
    return argv + added


def _check(command: Any) -> None:
    """See that paths can be such, that integers have 32 bits and that numbers are finite, whatever the verb."""
    from purejaxrl.types import check_int, check_new_path, check_number, check_path

    for field in dataclasses.fields(command):
        value = getattr(command, field.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Path):
                (check_new_path if field.name in ("out", "gif") else check_path)(one, field.name)
            elif isinstance(one, float):
                check_number(one, field.name)
            elif isinstance(one, int) and not isinstance(one, bool):
                check_int(one, field.name)


def _flags(path: Path) -> list[str]:
    """The flags that a TOML file stands for: ``"algo.num_steps" = 64`` is ``--algo.num-steps 64``."""
    import tomllib

    from purejaxrl.types import SettingError, check_path, shown

    path = check_path(path, "the file")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        json.dumps(content, default=str)  # refuses hexadecimal numbers of more digits than Python writes
    except (ValueError, RecursionError) as error:
        # TOML takes env.size for a table, which env = "..." is not.
        hint = '; put names with a dot in quotes, "env.size" = 20' if "overwrite" in str(error) else ""
        raise SettingError(f"{path} is not TOML: {error}{hint}") from None
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from None
    flags, searched = [], []
    for name, value in _dotted(content):
        if not re.fullmatch(r"[A-Za-z][\w.-]*", name):
            raise SettingError(f"{path}: {shown(name)} is no flag's name")
        if name.startswith("search."):
            searched.append(f"{name.removeprefix('search.')}={_searched(value)}")
        elif isinstance(value, list) and not any(isinstance(one, (dict, list, bool)) for one in value):
            flags += [f"--{name}", *map(str, value)]
        elif isinstance(value, list):
            raise SettingError(f"{path}: {name} must be a value or some; a search stands in the table [search]")
        elif isinstance(value, bool):
            flags.append(
                f"--{name}" if value else f"--{'.'.join([*name.split('.')[:-1], 'no-' + name.split('.')[-1]])}"
            )
        else:
            flags += [f"--{name}", str(value)]
    flags = [flag.replace("_", "-") if flag.startswith("--") else flag for flag in flags]
    return flags + ["--search", *searched] * bool(searched)


def _dotted(table: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a table and of those in it by their dotted names: ``num_steps`` of ``[algo]`` is algo.num_steps."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _searched(values: Any) -> str:
    """A value of the table [search] as the flag has it."""
    if isinstance(values, list):
        return ",".join(json.dumps(value, default=str) for value in values)
    return values if isinstance(values, str) else json.dumps(values, default=str)


def _parse_with_settings(argv: list[str], verbs: dict[str, type], *titles: str) -> Any:
    """The command, with the settings of the environment, algorithm and bonus that it chooses."""
    verb = argv[0]
    known = _with_settings(argv, verbs[verb], {})
    _check_flags(argv, known)
    command = _parse(argv, verbs | {verb: known}, *titles)
    # Defaults may follow from the constructor (DeepSea's step limit from its size), so parse again knowing it.
    if constructor := _constructor(command):
        command = _parse(argv, verbs | {verb: _with_settings(argv, verbs[verb], constructor)}, *titles)
    return command


def _check_flags(argv: list[str], known: type) -> None:
    """See that flags name settings of what is chosen: the parser's own guesses know no initials, such as ``--lr``.

    Raises:
      SettingError: where one does not, with what may have been meant.
    """
    from purejaxrl.types import SettingError, are_initials, nearest

    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(known)}
    parts = {
        name.removesuffix("_settings"): [one.name for one in dataclasses.fields(default)]
        for name, default in defaults.items()
        if name.endswith("_settings")
    }
    for word in argv:
        flag = word.partition("=")[0]
        part, dot, name = flag.removeprefix("--").replace("-", "_").partition(".")
        name = name.partition(".")[0]
        if not flag.startswith("--"):
            continue
        if dot and part in parts and name not in parts[part] and name.removeprefix("no_") not in parts[part]:
            near = [f"{part}.{one}" for one in nearest(name, parts[part])]
        elif not dot and part not in defaults:
            settings = [(kind, one) for kind, names in parts.items() for one in names]
            near = [f"{kind}.{one}" for kind, one in settings if part == one or are_initials(part, one)]
        else:
            continue
        if near:
            meant = " or ".join(f"--{one.replace('_', '-')}" for one in near)
            raise SettingError(f"{flag} is no setting; did you mean {meant}?")


def _parse_with_env(argv: list[str], verbs: dict[str, type]) -> Any:
    """The command with the settings of its environment, which is the first word after the verb."""
    if not argv[1:] or argv[1].startswith("-"):
        return _parse(argv, verbs)
    verb, env = argv[:2]

    def parse(constructor: dict[str, Any]) -> Any:
        base = verbs[verb]
        fields, namespace = [_env_settings(env, constructor)], {"__doc__": base.__doc__}
        return _parse(
            argv, verbs | {verb: dataclasses.make_dataclass(base.__name__, fields, bases=(base,), namespace=namespace)}
        )

    command = parse({})
    constructor = _constructor(command)  # whose values may change other settings' defaults
    return parse(constructor) if constructor else command


def _parse(
    argv: list[str],
    verbs: dict[str, type],
    prog: str = "purejaxrl",
    description: str = DESCRIPTION,
) -> Any:
    verb = argv[0] if argv else "-"
    overview = verb.startswith("-")  # there a line says what each verb is; its own help says the rest
    if not overview:
        from purejaxrl.types import check_choice

        check_choice(verb, verbs, "command")
    lines = {name: (inspect.getdoc(cls) or "").splitlines()[0] for name, cls in verbs.items()}
    members = tuple(
        Annotated[cls, tyro.conf.subcommand(name, description=lines[name] if overview else None)]
        for name, cls in verbs.items()
    )
    return tyro.cli(
        tyro.conf.OmitSubcommandPrefixes[Union[members]],  # type: ignore[valid-type]  # noqa: UP007
        prog=prog,
        args=argv,
        description=description,
        config=(tyro.conf.SuppressFixed,),
        registry=REGISTRY,
    )


def _spread_over_cores() -> None:
    """Give JAX one CPU device per core, so that seeds run beside each other; it must happen before JAX starts."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "host_platform_device_count" not in flags:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={cores}".strip()


def _with_settings(argv: list[str], base: type, constructor: dict[str, Any]) -> type:
    """The verb's class with the settings of what `argv` chooses, environment, algorithm and bonus, as nested fields."""
    from purejaxrl import expressions, runs

    chosen = {name: _peek(argv, name) for name in ("env", "algo", "bonus")}
    fields: list[Any] = []
    if chosen["env"] is not None:
        fields.append(_env_settings(chosen["env"], constructor))
    fields.append(_nested("algo", type(runs.make_learner(chosen["algo"] or Train.algo, {}))))
    expression = expressions.parse(chosen["bonus"] or Train.bonus)
    if expression is not None:
        fields.append(_nested("bonus", expressions.settings_class(expression)))
    return dataclasses.make_dataclass(base.__name__, fields, bases=(base,), namespace={"__doc__": base.__doc__})


def _env_settings(env: str, constructor: dict[str, Any]) -> tuple[str, Any, Any]:
    """The environment's settings as a nested field, with their defaults under these constructor arguments."""
    from purejaxrl import envs

    defaults = envs.settings(env, **constructor)
    typed = [(name, type(value), value) for name, value in defaults.items() if _is_scalar(value)]
    return _nested("env", dataclasses.make_dataclass("EnvSettings", typed, frozen=True))


def _nested(name: str, cls: type) -> tuple[str, Any, Any]:
    return f"{name}_settings", Annotated[cls, arg(name=name)], dataclasses.field(default=cls(), kw_only=True)


def _constructor(command: Any) -> dict[str, Any]:
    """The environment's constructor arguments that differ from their defaults."""
    from purejaxrl import envs

    defaults = envs.constructor_settings(command.env)
    chosen = vars(command.env_settings)
    return {name: chosen[name] for name in defaults if name in chosen and chosen[name] != defaults[name]}


def _peek(argv: list[str], name: str) -> str | None:
    """The last value of ``--name`` in `argv`, which says what further options there are."""
    found = None
    for here, following in zip(argv, [*argv[1:], None], strict=True):
        if here == f"--{name}":
            found = following
        elif here.startswith(f"--{name}="):
            found = here.split("=", 1)[1]
    return found


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str))


def _chosen(command: Any) -> dict[str, dict[str, Any]]:
    """The settings of environment, algorithm and bonus; none of what there is not."""
    nested = {kind: getattr(command, f"{kind}_settings", None) for kind in ("env", "algo", "bonus")}
    return {kind: {} if settings is None else _settings(settings) for kind, settings in nested.items()}


def _settings(settings: Any) -> dict[str, Any]:
    """Every setting that JSON can hold, which leaves out a user's own functions; those of parts are nested."""
    found = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    found = {name: _settings(value) if dataclasses.is_dataclass(value) else value for name, value in found.items()}
    return {name: value for name, value in found.items() if _is_scalar(value) or isinstance(value, (tuple, dict))}


def _train(command: Train) -> None:
    from purejaxrl import runs, trackers, training

    config = runs.Config(
        env=command.env,
        algo=command.algo,
        bonus=command.bonus,
        total_steps=command.total_steps,
        num_envs=command.num_envs,
        seeds=command.seeds,
        seed=command.seed,
        visits=command.visits,
        save_seconds=command.save_seconds,
        keep=command.keep,
        if_diverged=command.if_diverged,
        **{f"{kind}_settings": settings for kind, settings in _chosen(command).items()},
    )
    progress = _progress(command)
    with _folder(command.out, f"{command.env}-{command.algo}-{command.bonus}") as out:
        summary = training.run(config, out, progress, trackers.make(command.log, out))
    _end(command, out, summary, progress)


def _resume(command: Resume) -> None:
    from purejaxrl import trackers, training
    from purejaxrl.types import SettingError

    if (command.run / "sweep.json").exists():
        raise SettingError(f"{command.run} is a sweep's folder: `purejaxrl sweep` as before with this --out goes on")
    progress, log = _progress(command), trackers.make(command.log, command.run)
    summary = training.resume(command.run, progress, log, total_steps=command.total_steps)
    _end(command, command.run, summary, progress)


def _progress(command: Any) -> Progress:
    from purejaxrl.progress import Progress
    from purejaxrl.types import check_number

    check_number(command.stall_minutes, "stall_minutes", ge=0)
    # An engine's queue may take days: nothing hangs then.
    stall_minutes = 0.0 if getattr(command, "on", None) else command.stall_minutes
    return Progress(stall_minutes=stall_minutes, quiet=command.quiet)


def _print_json(content: Any) -> None:
    from purejaxrl import runs

    print(json.dumps(runs.plain(content), indent=2, allow_nan=False))


def _end(command: Any, out: Path, summary: dict[str, Any], progress: Progress) -> None:
    """Say what came of a run, and exit with what its end means."""
    from purejaxrl import runs

    say = progress.say if command.json else progress.warn  # quiet or not, the result is told
    if command.json:
        _print_json({"out": str(out), **summary})
    final, seeds = summary["final_return_mean"], summary["seeds"]
    shown = "no episode ended in the last tenth" if final is None else f"mean final return {final:.4g}"
    silent = sum(not math.isfinite(value) for value in summary["final_return_per_seed"])
    if silent and final is not None:
        shown += f" ({silent} without one: no episode ended in the last tenth, or it diverged)"
    say(
        f"{out}: {shown} over {seeds} seed{'s' * (seeds > 1)}, {summary['env_steps']:,} steps each, "
        f"{summary['steps_per_second']:,.0f} steps/s, {summary['run_seconds']:.1f} s after "
        f"{summary['compile_seconds']:.1f} s of compiling"
    )
    if not summary["interrupted"]:
        progress.say(f"`purejaxrl report {shlex.quote(str(out))}` draws it")
        return
    if summary["signal"] is None:
        saved = "the last checkpoint before it stays" if runs.checkpoints(out) else "no checkpoint had been saved yet"
        progress.warn(
            f"diverged: {saved}; lower --algo.learning-rate or --algo.max-grad-norm, "
            "or look at the environment's rewards and observations"
        )
        sys.exit(3)
    progress.warn(f"interrupted after {summary['updates']} updates: `purejaxrl resume {shlex.quote(str(out))}` goes on")
    sys.exit(_code(summary["signal"]))


def _code(signal: str | None) -> int:
    """Of what was saved at this signal: SIGTERM is how machines are taken away, and no fault."""
    return 0 if signal == "SIGTERM" else 130


def _sweep(command: Sweep) -> None:
    from purejaxrl import envs, processes, runs, search, sweeps, trackers
    from purejaxrl.types import SettingError

    for name, partner in {"workers": "on", "batch": "sampler", "keep": "rungs", "search_seed": "samples"}.items():
        if getattr(command, name) != getattr(Sweep, name) and not getattr(command, partner):
            raise SettingError(f"{name} is of no use without {partner}: give --{partner}, too, or leave it out")
    chosen, constructor = _chosen(command), _constructor(command)
    fields = [search.parse(text) for text in command.search]
    names = [name for name, _ in fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingError(f"search: {twice[0]} stands there twice; list all its values once")
    # What follows from a constructor's argument must not be pinned where that argument is searched.
    defaults = envs.settings(command.env, **constructor)
    differing = {name: value for name, value in chosen["env"].items() if value != defaults[name]}
    first = processes.is_first()
    progress = _progress(command) if first else None
    training = functools.partial(
        sweeps.sweep,
        command.env,
        runs.make_learner(command.algo, chosen["algo"]),
        bonus=runs.make_bonus(command.bonus, chosen["bonus"]),
        env_settings=constructor | differing,
        seeds=command.seeds,
        num_envs=command.num_envs,
        total_steps=command.total_steps,
        search=dict(fields),
        samples=command.samples,
        search_seed=command.search_seed,
        sampler=command.sampler,
        batch=command.batch,
        objectives=command.objectives,
        rungs=command.rungs,
        keep=command.keep,
        visits=command.visits,
        num_lanes=command.num_lanes,
        memory_gb=command.memory_gb,
        on=command.on,
        workers=command.workers,
        progress=progress,
    )
    with _folder(command.out, f"sweep-{command.env}-{command.algo}-{command.bonus}") as out:
        found = training(out=out, trackers=trackers.make(command.log, out) if first else ())
    if progress is None:
        sys.exit(0 if found.complete else _code(found.signal))
    try:
        _show_sweep(found, out, command)
    except SettingError as error:  # no run has a value of what was asked for
        progress.warn(str(error))
    progress.say(
        f"{out}: {found.frame.groupby(['config_id', 'seed']).ngroups} runs; `purejaxrl report {shlex.quote(str(out))}` "
        f"draws them, purejaxrl.load({str(out)!r}) reads them"
    )
    if not found.complete:
        progress.warn("interrupted: the same command with this --out goes on")
        sys.exit(_code(found.signal))
    if found.runs()["diverged"].notna().all():
        progress.warn("all of them diverged")
        sys.exit(3)


def _show_sweep(found: Any, out: Path, command: Sweep) -> None:
    """Print what is best: by the objectives, where there are some, and else by the final return.

    Raises:
      SettingError: where no run has a value of one of them.
    """
    objectives = () if command.objectives == Sweep.objectives else command.objectives
    find = functools.partial(found.pareto, *objectives) if objectives else found.best
    if command.json:
        content: dict[str, Any] = {"out": str(out), "complete": found.complete}
        try:
            content["best"] = find().to_dict("records")
            content |= {} if objectives else {"importance": found.importance().to_dict()}
        finally:
            _print_json(content)
        return
    best = find()
    if objectives:
        title = f"{len(best)} configuration{'s' * (len(best) > 1)} that no other beats: means over seeds"
        _show_table(title, best)
        return
    numbers = best[["final_return", "low", "high"]].round(6) + 0.0
    interval = [f"[{_short(low)}, {_short(high)}]" for low, high in numbers[["low", "high"]].to_numpy()]
    interval = ["–" if seeds == 1 else shown for seeds, shown in zip(best["seeds"], interval, strict=True)]
    best = best.assign(final_return=numbers["final_return"], low=interval).drop(columns="high")
    title = f"the best {len(best)} configurations: mean final return over seeds [95 % interval]"
    _show_table(title, best.rename(columns={"final_return": "return", "low": "interval"}))
    shares = found.importance().items()  # NaN where it cannot be told from chance
    known = ", ".join(f"{name} {'unknown' if math.isnan(share) else f'{share:.0%}'}" for name, share in shares)
    line = f"variance explained by each field alone, less what chance explains: {known}"
    _stdout().print(line, highlight=False, soft_wrap=True)


def _show_table(title: str, rows: Any) -> None:
    """Configurations as a table; `diverged` only where a run has."""
    from rich.table import Table

    rows = rows.rename(columns={"config_id": "config"})
    if not rows["diverged"].any():
        rows = rows.drop(columns="diverged")
    console, shown = _stdout(), Table(box=None, padding=(0, 2, 0, 0))
    console.print(title, highlight=False)
    for column in rows.columns:
        shown.add_column(column, justify="right", overflow="fold")
    for row in rows.to_dict("records"):
        shown.add_row(*map(_short, row.values()))
    console.print(shown)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@contextlib.contextmanager
def _folder(given: Path | None, name: str) -> Iterator[Path]:
    """The folder given, or the next of this name in `runs`; a new one is gone again where nothing came to be in it."""
    from purejaxrl import processes

    is_new = given is None or not given.exists()
    folder = given or Path(processes.from_first(lambda: str(_new_folder(name))))
    try:
        yield folder
    finally:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
                if given is None:
                    folder.parent.rmdir()


def _new_folder(name: str) -> Path:
    """Made at once, since the same command may start twice at the same time."""
    from purejaxrl.types import SettingError

    above, name = Path("runs"), re.sub(r"[^\w.-]+", "-", name).strip("-")[:100]  # file systems take 255 bytes
    numbers = itertools.count(1)
    try:
        while True:
            above.mkdir(exist_ok=True)
            folder = above / f"{name}-{next(numbers)}"
            with contextlib.suppress(FileExistsError, FileNotFoundError):  # another call may take either, or tidy up
                folder.mkdir()
                return folder
    except OSError as error:
        raise SettingError(f"out: {above.absolute()} cannot be written: {error.strerror}") from None


def _eval(command: Eval) -> None:
    from purejaxrl import gifs, runs
    from purejaxrl.progress import Progress
    from purejaxrl.types import check_int

    check_int(command.episodes, "episodes", ge=1)
    check_int(command.seed, "seed", ge=0)
    if command.gif is not None:
        gifs.check(command.run, command.gif)
    progress = Progress()
    reached = runs.restore(command.run, command.checkpoint, progress.say)
    how: dict[str, Any] = {"seed": command.seed, "greedy": not command.sample}
    table = runs.evaluate(reached, command.episodes, **how)
    if command.json:
        _print_json(table.to_dict("records"))
    else:
        _show_episodes(command, table)
    if command.gif is not None:
        ranked = table.sort_values("mean_return")["seed"].tolist()
        policy = ranked[(len(ranked) - 1) // 2]
        gifs.record(reached, command.gif, progress, policy=policy, **how)


def _show_episodes(command: Eval, table: Any) -> None:
    from rich.table import Table

    shown = Table(title=f"{command.episodes} episodes per seed, {'sampled' if command.sample else 'greedy'} actions")
    for column in table.columns:
        shown.add_column(column.replace("_", " "), justify="right", overflow="fold")
    for row in table.itertuples(index=False):
        shown.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row))
    console = _stdout()
    console.print(shown)
    console.print(f"mean return over seeds: {table['mean_return'].mean():.4g}")


def _report(command: Report) -> None:
    from purejaxrl import report
    from purejaxrl.progress import Progress

    with Progress() as progress:
        path = report.write(command.runs, command.out, title=command.title, films=command.films, progress=progress)
    print(path)
    # Without a screen the module would start a browser for terminals and wait for it.
    if command.open and (sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()):
        import webbrowser

        webbrowser.open(path.absolute().as_uri())


def _diagnose(command: Diagnose) -> None:
    from purejaxrl import diagnosis, envs, presets, report, runs
    from purejaxrl.diagnosis import pages, play
    from purejaxrl.progress import Progress

    settings = _chosen(command)["env"]
    env, env_params = envs.make(command.env, **settings)
    how: dict[str, Any] = {name: getattr(command, name) for name in ("num_envs", "num_steps", "train", "seed")}
    diagnosis.check(env, **how)
    play.check_pure(env, env_params)  # before there is a folder
    flags = report.flags(runs.Config(command.env, "ppo", env_settings=settings), "env")
    opening = " ".join([f"--env {command.env}", *flags])
    with _folder(command.out, f"diagnose-{command.env}") as out:
        pages.prepare(out)
        with Progress() as progress:
            found = diagnosis.diagnose(env, env_params, opening=opening, progress=progress, **how)
        preset, source = presets.flags([], command.env)
        if preset:
            found = found.beside(" ".join(["purejaxrl train", opening, *preset]), source)
        pages.write(found, out)
    console = _stdout()
    for part in pages.shown(found):
        console.print(part, highlight=False, soft_wrap=isinstance(part, str))
    progress.say(f"{out / 'diagnosis.png'} has the figure, {out / 'diagnosis.json'} the numbers")


def _bench_profile(command: BenchProfile) -> None:
    from purejaxrl import intrinsic, runs
    from purejaxrl.bench import profile
    from purejaxrl.progress import Progress
    from purejaxrl.train import make_train
    from purejaxrl.types import SettingError

    settings: dict[str, Any] = {f"{kind}_settings": settings for kind, settings in _chosen(command).items()}
    parts = runs.build(runs.Config(env=command.env, algo=command.algo, bonus=command.bonus, **settings))
    total_steps = 1_000_000  # a usual run's: replay memories have its size
    warmup = intrinsic.warmup_steps(parts.bonus)
    most = (total_steps - warmup) // (parts.learner.num_steps + (warmup > 0))  # every env warms up for a step at least
    if 1 <= most < command.num_envs:
        raise SettingError(
            f"num_envs must be <= {most:,} for an update of {parts.learner.num_steps} steps each within the "
            f"{total_steps:,} of the run that is profiled, got {command.num_envs:,}; or lower algo.num_steps"
        )
    train = make_train(
        parts.env,
        parts.learner,
        bonus=parts.bonus,
        env_params=parts.env_params,
        num_envs=command.num_envs,
        total_steps=total_steps,
    )
    with Progress() as progress:
        found = profile.profile(train, progress, updates=command.updates)
    _stdout().print(profile.table(found), *profile.notes(found), sep="\n", highlight=False)


def _bench_speed(command: BenchSpeed) -> None:
    from purejaxrl.bench import speed
    from purejaxrl.progress import Progress

    settings = vars(command).copy()
    least = settings.pop("at_least")
    with Progress() as progress:
        results = speed.run(progress=progress, **settings)
    print(speed.markdown(results))
    for (work, peer), found in speed.ratios(results).items():
        if found < least:
            _fail(f"{work}: {found:.2f} times as fast as {peer}, at least {least:g} is asked for", 1)


def _bench_exploration(command: BenchExploration) -> None:
    from purejaxrl.bench import exploration, tables
    from purejaxrl.progress import Progress

    chosen = {"suite": command.suite, "methods": command.methods, "tasks": command.tasks, "num_seeds": command.seeds}
    progress = Progress()
    results, interrupted = exploration.run(command.out, progress, **chosen)
    if not results.empty and (results["phase"] == "reporting").any():
        print(tables.markdown(results))
        progress.say(f"{command.out / 'report.html'} has the figures")
    _end_bench(interrupted, progress)


def _bench_deepsea(command: BenchDeepsea) -> None:
    from purejaxrl.bench import deep

    _bench_deep(command, deep.deepsea(command.episodes, stochastic=command.stochastic), command.sizes)


def _bench_minigrid(command: BenchMinigrid) -> None:
    from purejaxrl.bench import deep

    _bench_deep(command, deep.minigrid(), command.tasks or tuple(deep.GRIDS))


def _bench_deep(command: Any, study: Any, keys: tuple[Any, ...]) -> None:
    from purejaxrl.bench import deep, deep_figures
    from purejaxrl.progress import Progress

    progress = Progress()
    results, interrupted = deep.run(command.out, progress, study, keys, methods=command.method, num_seeds=command.seeds)
    if not results.empty:
        print(deep_figures.markdown(study.name, results))
    _end_bench(interrupted, progress)


def _end_bench(interrupted: Interrupt, progress: Progress) -> None:
    if interrupted.is_set():
        progress.say("interrupted: the same command goes on")
        sys.exit(_code(interrupted.name))


def _list(command: List) -> None:
    if command.source is not None:
        from purejaxrl import envs
        from purejaxrl.types import SettingError

        if command.what not in (None, "envs"):
            raise SettingError(f"source: {command.what} come from here alone; leave --source out, or list envs")
        print("\n".join(envs.ids(command.source)))
        return
    if command.what == "envs":
        _list_envs(_stdout())
        return
    from rich.table import Table

    from purejaxrl import algos, bonuses, discovery, envs

    console = _stdout()
    for package, title in ((algos, "Algorithms"), (bonuses, "Bonuses")):
        if command.what not in (None, package.__name__.split(".")[-1]):
            continue
        console.print(f"[bold]{title}[/bold]")
        table = Table(box=None, show_header=False, padding=(0, 0, 0, 2))
        for name in discovery.names(package):
            table.add_row(name, (discovery.load(package, name).__doc__ or "").strip().splitlines()[0])
        console.print(table, highlight=False, markup=False)
    if command.what is None:
        console.print("[bold]Environments[/bold]")
        for env_id in envs.ids():
            console.print(f"  {env_id}", highlight=False)
        console.print(f"  {_elsewhere()}", highlight=False)


def _list_envs(console: Console) -> None:
    from rich.table import Table

    from purejaxrl import envs
    from purejaxrl.envs import catalogue

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("id", "observation", "actions", "steps", "source", "exploring is hard because"):
        table.add_column(title, no_wrap=title != "exploring is hard because")
    for env_id in envs.ids():
        table.add_row(*catalogue.entry(env_id))
    console.print(table, highlight=False, markup=False)
    print(_elsewhere(), file=sys.stderr)  # not into a pipe


def _elsewhere() -> str:
    from purejaxrl.envs import adapters

    return f"other packages': `purejaxrl list envs --source PREFIX`, one of {', '.join(adapters.PREFIXES)}"


def _stdout() -> Console:
    from rich.console import Console

    class Stdout(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # which `main` knows

    console = Stdout()
    if not console.is_terminal:
        console.width = 1000  # into a pipe a row is one whole line
    return console


_ACTIONS = {
    "Train": _train,
    "Sweep": _sweep,
    "Resume": _resume,
    "Eval": _eval,
    "Report": _report,
    "Diagnose": _diagnose,
    "BenchExploration": _bench_exploration,
    "BenchDeepsea": _bench_deepsea,
    "BenchMinigrid": _bench_minigrid,
    "BenchSpeed": _bench_speed,
    "BenchProfile": _bench_profile,
    "List": _list,
}

if __name__ == "__main__":
    main()
