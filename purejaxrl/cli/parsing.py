"""From the words of a command line to a verb's command, with the settings of what it chooses."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.conf import arg

from purejaxrl.cli.verbs import Train

DESCRIPTION = """Reinforcement learning and exploration in pure JAX.

Examples:
  purejaxrl train --env CartPole-v1 --seeds 8 --out runs/pole
  purejaxrl report runs/pole --open
  purejaxrl train --env CartPole-v1 --algo dqn --help     every setting of what is chosen

Exit codes: 0 done, or saved at SIGTERM; 1 the machine failed (disk, memory); 2 a setting is wrong or a file damaged;
3 the run diverged; 4 it hung; 130 Ctrl-C. Completion: purejaxrl --tyro-print-completion bash (or zsh, tcsh)."""

_CONFIG = (tyro.conf.SuppressFixed,)
_POSITIONAL = get_args(tyro.conf.Positional[str])[1]  # what marks such a field's type
_REGISTRY = tyro.constructors.ConstructorRegistry()


@_REGISTRY.primitive_rule
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


@_REGISTRY.primitive_rule
def _or_none(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec | None:
    """A number or None, as the number is; what is neither is refused as no number, and not as nothing of a union."""
    for kind, of_str, metavar in ((int, _whole, "INT"), (float, _number, "FLOAT")):
        if info.type == kind | None:
            return tyro.constructors.PrimitiveConstructorSpec(
                nargs=1,
                metavar=f"{{None}}|{metavar}",
                instance_from_str=lambda words, of_str=of_str: None if words == ["None"] else of_str(words[0]),
                is_instance=lambda value: value is None or isinstance(value, (int, float)),
                str_from_instance=lambda value: [str(value)],
            )
    return None


def _number(text: str) -> float:
    """Raises ValueError: where it is none."""
    with contextlib.suppress(ValueError):
        return float(text)
    from purejaxrl.types import shown

    raise ValueError(f"write a number, such as 0.5 or 1e-3, not {shown(text)}")


def _whole(text: str) -> int:
    """Raises ValueError: where it is no whole number."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        if (value := float(text)).is_integer():
            return int(value)
    from purejaxrl.types import shown

    raise ValueError(f"write a whole number, such as 64 or 1e6, not {shown(text)}")


def with_env_named(argv: list[str]) -> list[str]:
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


def with_preset(argv: list[str]) -> list[str]:
    """The command with what is known to do well on its environment, which is said, where it chooses nothing itself."""
    from purejaxrl import presets

    added, source = presets.flags(argv, _peek(argv, "env") or "")
    if added and "--quiet" not in argv:
        print(f"no algorithm was chosen: {' '.join(added)} (measured: {source})", file=sys.stderr)
    return argv + added


def check(command: Any) -> None:
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


def flags(path: Path) -> list[str]:
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


def parse_with_settings(argv: list[str], verbs: dict[str, type], *titles: str) -> Any:
    """The command, with the settings of the environment, algorithm and bonus that it chooses."""
    verb = argv[0]
    command = parse(argv, verbs | {verb: _with_settings(argv, verbs[verb], {})}, *titles)
    # Defaults may follow from the constructor (DeepSea's step limit from its size), so parse again knowing it.
    if arguments := constructor(command):
        command = parse(argv, verbs | {verb: _with_settings(argv, verbs[verb], arguments)}, *titles)
    return command


def check_file(path: Path, written: list[str], argv: list[str], verb: type) -> None:
    """See that the flags written in a file name settings of what is chosen in it and after it.

    Raises:
      SettingError: where one does not, with the file and what may have been meant.
    """
    from purejaxrl.types import SettingError

    for flag, near in _unknown(written, _with_settings(argv, verb, {})):
        name, *meant = (one.removeprefix("--").replace("-", "_") for one in (flag, *near))
        hint = f"; did you mean {' or '.join(meant)}?" if meant else ""
        raise SettingError(f"{path}: {name} is no setting{hint}")


def _check_words(argv: list[str], cls: type, prog: str) -> None:
    """See that flags name settings of what is chosen, and that choices are among theirs.

    The parser's own guesses know no initials, such as ``--lr``, and take a screen.

    Raises:
      SettingError: where one does not, with what may have been meant.
    """
    from purejaxrl.types import SettingError, check_choice

    for flag, near in _unknown(argv, cls):
        hint = f"did you mean {' or '.join(near)}?" if near else f"`{prog} --help` lists them"
        raise SettingError(f"{flag} is no setting; {hint}")
    for name, hint in get_type_hints(cls, include_extras=True).items():
        if choices := sorted(_choices(hint)):
            label = name if _is_positional(hint) else f"--{name.replace('_', '-')}"
            for word in _words(argv, label):
                check_choice(word, choices, label)


def _unknown(argv: list[str], cls: type) -> Iterator[tuple[str, list[str]]]:
    """The flags that the class has no field of, each with those that may have been meant."""
    from purejaxrl.types import are_initials, nearest

    hints, own, parts = get_type_hints(cls, include_extras=True), [], {}  # names of its own, and of each component
    for field in dataclasses.fields(cls):
        if field.name.endswith("_settings"):
            default: Any = field.default
            parts[field.name.removesuffix("_settings")] = [one.name for one in dataclasses.fields(default)]
        elif not _is_positional(hints[field.name]):
            aliases = (one for of in _metadata(hints[field.name]) for one in getattr(of, "aliases", None) or ())
            own += [field.name, *(one.removeprefix("--") for one in aliases)]
            own += [f"no_{field.name}"] * isinstance(field.default, bool)
    settings = [(kind, one) for kind, names in parts.items() for one in names]
    for word in argv:
        flag = word.partition("=")[0]
        part, dot, name = flag.removeprefix("--").replace("-", "_").partition(".")
        first = name.partition(".")[0]
        if not flag.startswith("--") or flag in ("--", "--help") or flag.startswith("--tyro-"):
            continue
        if dot and part in parts:
            near = [f"{part}.{one}" for one in nearest(first, parts[part])]
            known = {first, first.removeprefix("no_")} & {*parts[part]}
        elif dot:
            near, known = [f"{one}.{name}" for one in nearest(part, parts)], set()
        else:
            near = [f"{kind}.{one}" for kind, one in settings if part == one or are_initials(part, one)]
            named = {one: f"{kind}.{one}" for kind, one in settings} | {one: one for one in own}
            near = near or [named[one] for one in nearest(part, named)]
            known = {part} & {*own}
        if not known:
            yield flag, [f"--{one.replace('_', '-')}" for one in near]


def _is_positional(hint: Any) -> bool:
    return _POSITIONAL in _metadata(hint)


def _metadata(hint: Any) -> tuple[Any, ...]:
    """What stands beside the type of an Annotated one."""
    return getattr(hint, "__metadata__", ())


def _choices(hint: Any) -> tuple[str, ...]:
    """The words of a Literal, in whatever the type has it."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    inner = (hint.__origin__,) if get_origin(hint) is Annotated else get_args(hint)
    return tuple(word for one in inner for word in _choices(one))


def _words(argv: list[str], label: str) -> Iterator[str]:
    """The words that stand after a flag, or as the first positional one, up to the next flag."""
    here = not label.startswith("--")
    for word in argv[1:]:
        if word.startswith("--"):
            flag, given, value = word.partition("=")
            here = flag == label and not given
            if flag == label and given:
                yield value
        elif here:
            yield word


def parse_with_env(argv: list[str], verbs: dict[str, type]) -> Any:
    """The command with the settings of its environment, which is the first word after the verb."""
    if not argv[1:] or argv[1].startswith("-"):
        return parse(argv, verbs)
    verb, env = argv[:2]

    def knowing(arguments: dict[str, Any]) -> Any:
        base = verbs[verb]
        fields, namespace = [_env_settings(env, arguments)], {"__doc__": base.__doc__}
        return parse(
            argv, verbs | {verb: dataclasses.make_dataclass(base.__name__, fields, bases=(base,), namespace=namespace)}
        )

    command = knowing({})
    arguments = constructor(command)  # whose values may change other settings' defaults
    return knowing(arguments) if arguments else command


def parse(
    argv: list[str],
    verbs: dict[str, type],
    prog: str = "purejaxrl",
    description: str = DESCRIPTION,
) -> Any:
    """The command of the verb that comes first; where none does, the overview, in which a line says what each is."""
    verb = argv[0] if argv else "-"
    if not verb.startswith("-"):
        from purejaxrl.types import check_choice

        check_choice(verb, verbs, "command")
        prog = f"{prog} {verb}"
        _check_words(argv, verbs[verb], prog)
        return tyro.cli(verbs[verb], prog=prog, args=argv[1:], config=_CONFIG, registry=_REGISTRY)
    lines = {name: (inspect.getdoc(cls) or "").splitlines()[0] for name, cls in verbs.items()}
    members = tuple(Annotated[cls, tyro.conf.subcommand(name, description=lines[name])] for name, cls in verbs.items())
    return tyro.cli(
        tyro.conf.OmitSubcommandPrefixes[Union[members]],  # type: ignore[valid-type]  # noqa: UP007
        prog=prog,
        args=argv,
        description=description,
        config=_CONFIG,
        registry=_REGISTRY,
    )


def spread_over_cores() -> None:
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


def constructor(command: Any) -> dict[str, Any]:
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


def chosen(command: Any) -> dict[str, dict[str, Any]]:
    """The settings of environment, algorithm and bonus; none of what there is not."""
    nested = {kind: getattr(command, f"{kind}_settings", None) for kind in ("env", "algo", "bonus")}
    return {kind: {} if settings is None else _settings(settings) for kind, settings in nested.items()}


def _settings(settings: Any) -> dict[str, Any]:
    """Every setting that JSON can hold, which leaves out a user's own functions; those of parts are nested."""
    found = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    found = {name: _settings(value) if dataclasses.is_dataclass(value) else value for name, value in found.items()}
    return {name: value for name, value in found.items() if _is_scalar(value) or isinstance(value, (tuple, dict))}
