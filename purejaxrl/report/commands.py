"""The commands that reproduce what a page shows; every word is quoted for a shell."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from purejaxrl import algos, bonuses, discovery, expressions, runs, search


def train(config: runs.Config) -> str:
    """The command that reproduces the run."""
    words = ["purejaxrl train", f"--env {shlex.quote(config.env)}"]
    for kind in ("env", "algo", "bonus"):
        if kind != "env" and getattr(config, kind) != "none":
            words.append(f"--{kind} {shlex.quote(getattr(config, kind))}")
        words += flags(config, kind)
    words += [f"--total-steps {config.total_steps}", f"--num-envs {config.num_envs}"]
    words += [f"--seeds {config.seeds}", f"--seed {config.seed}", *(["--visits"] if config.visits else [])]
    defaults = {field.name: field.default for field in dataclasses.fields(runs.Config)}
    for name in ("save_seconds", "keep", "if_diverged"):
        if (value := getattr(config, name)) != defaults[name]:
            words.append(f"--{name.replace('_', '-')} {shlex.quote(str(value))}")
    return " ".join(words)


def flags(config: runs.Config, kind: str) -> list[str]:
    """Those settings of a component that differ from its defaults, as flags."""
    settings = getattr(config, f"{kind}_settings")
    if kind == "env":
        return _differing(kind, settings, _env_defaults(config))
    if kind == "algo":
        return _differing(kind, settings, dataclasses.asdict(runs.make_learner(config.algo, {})))
    expression = expressions.parse(config.bonus)
    return [] if expression is None else _differing(kind, settings, expressions.settings_class(expression)())


def settings(config: runs.Config) -> dict[str, Any]:
    """What a run is trained with, the environment apart, by dotted names; what its config leaves out is the default."""
    learner, expression = runs.make_learner(config.algo, {}), expressions.parse(config.bonus)
    found = _dotted("algo", config.algo_settings, learner)
    if expression is not None:
        found |= _dotted("bonus", config.bonus_settings, expressions.settings_class(expression)())
    return found | {name: getattr(config, name) for name in ("total_steps", "num_envs", "seeds", "seed")}


def _dotted(prefix: str, settings: Mapping[str, Any], defaults: Any) -> dict[str, Any]:
    """A component's settings by dotted names, those of its parts too; the defaults are a dataclass."""
    found = {}
    for field in dataclasses.fields(defaults):
        name, default = f"{prefix}.{field.name}", getattr(defaults, field.name)
        value = settings.get(field.name, {} if dataclasses.is_dataclass(default) else default)
        is_part = dataclasses.is_dataclass(default) and isinstance(value, Mapping)
        found |= _dotted(name, value, default) if is_part else {name: value}
    return found


def _env_defaults(config: runs.Config) -> dict[str, Any]:
    """The defaults of an environment's settings, of which some follow from the constructor's arguments that it has."""
    constructor = runs.envs.constructor_settings(config.env)
    return env_settings(config.env, {n: v for n, v in config.env_settings.items() if n in constructor}) | constructor


def chosen(config: runs.Config) -> list[str]:
    """The names of the environment's settings that are not the defaults."""
    defaults = _env_defaults(config)
    return [name for name, value in config.env_settings.items() if not equal(value, defaults[name])]


def env_settings(env: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that an environment is made with: what is given, and what the rest is by default under that."""
    constructor = runs.envs.constructor_settings(env)
    own = {name: value for name, value in given.items() if name in constructor}
    return runs.envs.settings(env, **own) | dict(given)


def _differing(prefix: str, settings: dict[str, Any], defaults: Any) -> list[str]:
    """Flags of the settings that are not the defaults, a mapping or a dataclass; nested ones have dotted names."""
    found = []
    for name, value in settings.items():
        default = defaults[name] if isinstance(defaults, dict) else getattr(defaults, name)
        flag = f"--{prefix}.{name.replace('_', '-')}"
        if isinstance(value, dict) and dataclasses.is_dataclass(default):
            found += _differing(f"{prefix}.{name}", value, default)
        elif equal(value, default):
            continue
        elif isinstance(value, bool):
            found.append(flag if value else f"--{prefix}.no-{name.replace('_', '-')}")
        else:
            words = value if isinstance(value, list) else [value]
            found.append(" ".join([flag, *(shlex.quote(str(word)) for word in words)]))
    return found


def equal(value: Any, default: Any) -> bool:
    """Whether JSON's value is this one, which may be a tuple or an array."""
    return bool(np.array_equal(value, default))


def sweep(plan: dict[str, Any], folder: Path) -> str:
    """The call in Python that does a sweep of built-in parts again, by the plan in its folder; else nothing.

    The configurations, drawn ones too, are read from the plan, so that they are exactly those.
    """
    if "configurations" not in plan:
        return ""
    reading = ["import json", f"plan = json.load(open({str(folder / 'sweep.json')!r}))"]
    given = {name: plan[name] for name in ("rungs", "keep") if name in plan}
    return _again("sweep", plan, folder, reading, 'plan["configurations"]', {"seeds": plan.get("seeds"), **given})


def population(plan: dict[str, Any], folder: Path) -> str:
    """The call in Python that trains a population of built-in parts again; else nothing."""
    classes = {cls.__name__: cls for cls in search.DISTRIBUTIONS.values()}
    try:
        spaces = {name: _space(values, classes) for name, values in plan["search"].items()}
        rules = {name: plan[name] for name in ("interval", "members", "quantile", "perturb", "resample")}
        given = {"seeds": len(plan["seeds"]), **rules}
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""
    kinds = sorted({type(space).__name__ for space in spaces.values()} & classes.keys())
    before = [f"from purejaxrl.search import {', '.join(kinds)}"] if kinds else []
    return _again("pbt", plan, folder, before, repr(spaces), given)


def _space(values: Any, classes: dict[str, Any]) -> Any:
    """A list or a distribution, from what :func:`purejaxrl.runs.describe` made of it."""
    if isinstance(values, list):
        return values
    return classes[values["type"]](**{name: value for name, value in values.items() if name != "type"})


def _again(
    function: str, plan: dict[str, Any], folder: Path, before: list[str], searched: str, given: dict[str, Any]
) -> str:
    """A call with the parts that a plan names, after the lines `before`; nothing where one is not built in."""
    try:
        learner, bonus = _call(plan["algo"], algos), None if plan["bonus"] is None else _call(plan["bonus"], bonuses)
        given = {name: plan[name] for name in ("num_envs", "total_steps", "visits")} | given
        if not isinstance(plan["env"], str) or plan["resets"] or not isinstance(plan["visits"], bool):
            return ""
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""
    if plan.get("env_settings"):
        given = {"env_settings": plan["env_settings"]} | given
    lines = [f"{plan['env']!r}", learner, *([f"bonus={bonus}"] if bonus else []), f"search={searched}"]
    lines += [*(f"{name}={value!r}" for name, value in given.items()), f"out={str(folder) + '-again'!r}"]
    imports = ["import purejaxrl", f"from purejaxrl.algos import {learner.partition('(')[0]}"]
    imports += [f"from purejaxrl.bonuses import {bonus.partition('(')[0]}"] if bonus else []
    return "\n".join([*imports, *before, f"purejaxrl.{function}(", *(f"    {line}," for line in lines), ")"])


def _call(described: dict[str, Any], package: Any) -> str:
    """A component of ours as a call, from what :func:`purejaxrl.runs.describe` made of it.

    Raises:
      ValueError: where it is another's, or has parts of its own.
    """
    classes = {cls.__name__: cls for cls in (discovery.load(package, name) for name in discovery.names(package))}
    if described["type"] not in classes:
        raise ValueError(described["type"])
    defaults, words = json.loads(json.dumps(runs.describe(classes[described["type"]]()))), []
    for name, value in described.items():
        if name not in defaults:
            raise ValueError(name)
        if value != defaults[name]:
            if isinstance(value, dict) or name in ("loss", "network"):
                raise ValueError(name)
            words.append(f"{name}={tuple(value) if isinstance(value, list) else value!r}")
    return f"{described['type']}({', '.join(words)})"
