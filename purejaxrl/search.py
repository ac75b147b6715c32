"""What a sweep searches: values by dotted names, as lists or distributions, or configuration by configuration."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import numpy as np

from purejaxrl.types import SettingError, check_choice, check_int, check_number, shown

Configuration = dict[str, Any]
MOST_RUNS = 1_000_000  # in one sweep; a typing error of more would fill the memory before anything is refused
CALL = re.compile(r"(\w+)\((.*)\)")


class Distribution(Protocol):
    """What values are drawn from, one for each configuration."""

    def draw(self, generator: np.random.Generator, count: int) -> list[Any]: ...


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Any number between `low` and `high`, all alike."""

    low: float
    high: float

    def __post_init__(self):
        _check_range(self)

    def draw(self, generator: np.random.Generator, count: int) -> list[float]:
        return generator.uniform(self.low, self.high, count).tolist()


@dataclasses.dataclass(frozen=True)
class LogUniform:
    """A number between `low` and `high` whose logarithm is uniform: for rates and coefficients."""

    low: float
    high: float

    def __post_init__(self):
        _check_range(self)
        if self.low <= 0:
            raise SettingError(f"LogUniform.low must be > 0, got {self.low}")

    def draw(self, generator: np.random.Generator, count: int) -> list[float]:
        exponents = generator.uniform(math.log(self.low), math.log(self.high), count)
        return np.clip(np.exp(exponents), self.low, self.high).tolist()


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of `values`."""

    values: tuple[Any, ...]

    def __post_init__(self):
        object.__setattr__(self, "values", tuple(listed("Choice.values", self.values)))

    def draw(self, generator: np.random.Generator, count: int) -> list[Any]:
        return [self.values[index] for index in generator.integers(len(self.values), size=count)]


DISTRIBUTIONS = {"uniform": Uniform, "loguniform": LogUniform, "choice": Choice}


def configurations(search: Any, samples: int | None = None, seed: int = 0) -> list[Configuration]:
    """Every configuration of a search, in order.

    Args:
      search: ``{"algo.learning_rate": [1e-4, 1e-3], "bonus.coef": [0.1, 1.0]}`` is the grid of all combinations. Where
        a value is a distribution, ``LogUniform(1e-5, 1e-2)``, `samples` configurations are drawn, from lists too; none
        twice where all fields are lists or choices. A sequence of mappings gives them one by one:
        ``[{"algo.learning_rate": 1e-3}, ...]``.
      samples: how many to draw.
      seed: of the draws.

    Raises:
      SettingError: (a ValueError) where that is empty or contradicts itself, with what would be right.
    """
    if isinstance(search, Mapping):
        check_fields(search)
        random = any(hasattr(values, "draw") for values in search.values())
        if random != (samples is not None):
            wrong = "search has distributions: say how many to draw" if random else "search is a grid, without draws"
            raise SettingError(f"samples: {wrong}, got {shown(samples)}")
        if samples is None:
            return _grid(search)
        finite = all(isinstance(values, Choice) or not hasattr(values, "draw") for values in search.values())
        return _distinct(search, samples, seed) if finite else draw(search, samples, seed)
    if not isinstance(search, Sequence) or isinstance(search, str) or not all(isinstance(c, Mapping) for c in search):
        raise SettingError(f"search must be a mapping of fields or a sequence of configurations, got {shown(search)}")
    if samples is not None:
        raise SettingError(f"samples: search names its configurations, none is drawn, got {shown(samples)}")
    for one in search:
        check_fields(one)
    return _unique([{name: _plain(value) for name, value in one.items()} for one in search])


def corners(search: Mapping[str, Any]) -> list[Configuration]:
    """Configurations that show every value of a search's lists and both ends of its ranges."""
    ends = {}
    for name, values in search.items():
        if isinstance(values, (Uniform, LogUniform)):
            ends[name] = [float(values.low), float(values.high)]  # as all that is drawn between them
        else:
            ends[name] = list(values.values) if isinstance(values, Choice) else listed(name, values)
    longest = max(map(len, ends.values()))
    return [{name: found[number % len(found)] for name, found in ends.items()} for number in range(longest)]


def types(found: Sequence[Configuration]) -> dict[str, type]:
    """The one type that each field has in a dataset: of numbers the widest, text where any value is no number."""
    return {name: _widest({type(one[name]) for one in found}) for name in found[0]}


def _widest(kinds: set[type]) -> type:
    numbers = (bool, int, float)  # each of which holds those before it
    return next((kind for end, kind in enumerate(numbers, 1) if kinds <= {*numbers[:end]}), str)


def converted(value: Any, kind: type) -> Any:
    """A field's value as one of these :func:`types`."""
    return kind(value) if kind is not str else value if isinstance(value, str) else repr(value)


def _grid(search: Mapping[str, Any]) -> list[Configuration]:
    fields = {name: listed(name, values) for name, values in search.items()}
    if (count := math.prod(map(len, fields.values()))) > MOST_RUNS:
        raise SettingError(
            f"search: a grid of {count:,} configurations, more than {MOST_RUNS:,}: draw some, with samples"
        )
    return _unique([dict(zip(fields, point, strict=True)) for point in itertools.product(*fields.values())])


def draw(search: Mapping[str, Any], samples: int, seed: int) -> list[Configuration]:
    return next(_draws(search, samples, seed))


def _draws(search: Mapping[str, Any], samples: int, seed: int) -> Iterator[list[Configuration]]:
    """So many configurations at a time, without end."""
    check_int(samples, "samples", ge=1, le=MOST_RUNS)
    check_int(seed, "search_seed", ge=0)
    sources = [
        values if hasattr(values, "draw") else Choice(tuple(listed(name, values))) for name, values in search.items()
    ]
    # A generator per field: what is drawn of one does not change when another is added.
    generators = [np.random.default_rng([seed, number]) for number in range(len(sources))]
    while True:
        columns = [map(_plain, source.draw(each, samples)) for source, each in zip(sources, generators, strict=True)]
        yield [dict(zip(search, point, strict=True)) for point in zip(*columns, strict=True)]


def _distinct(search: Mapping[str, Any], samples: int, seed: int) -> list[Configuration]:
    """Draws from lists and choices without those that were there before."""
    check_int(samples, "samples", ge=1, le=MOST_RUNS)
    values = corners(search)
    kinds = types(values)
    size = math.prod(len({converted(one[name], kind) for one in values}) for name, kind in kinds.items())
    if samples > size:
        raise SettingError(f"samples must be <= {size:,}, as many configurations as search has, got {samples:,}")
    found: dict[tuple[Any, ...], Configuration] = {}
    for drawn in _draws(search, samples, seed):
        for one in drawn:
            found.setdefault(_key(one, kinds), one)
        if len(found) >= samples:
            break
    return list(found.values())[:samples]


def listed(name: str, values: Any) -> list[Any]:
    """A field's values as a list of Python's own.

    Raises:
      SettingError: where they are none.
    """
    if hasattr(values, "tolist"):  # an array of NumPy's or JAX's
        values = values.tolist()
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        raise SettingError(f"search: {name} must be a list of values or a distribution, got {shown(values)}")
    if not 1 <= len(values) <= MOST_RUNS:
        raise SettingError(f"search: {name} must have 1 to {MOST_RUNS:,} values, got {len(values):,}")
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """A value as Python's own: of NumPy's and JAX's scalars the number, a list, as JSON has tuples, as a tuple."""
    if isinstance(value, list):
        return tuple(map(_plain, value))
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def check_fields(search: Mapping[Any, Any]) -> None:
    """Raise :class:`SettingError` where a field is no word, or is searched over a class."""
    for name, values in search.items():
        if not isinstance(name, str):
            raise SettingError(f"search: fields go by their names, such as 'algo.gamma', got {shown(name)}")
        if isinstance(values, type):
            raise SettingError(f"search: {name} must be an instance: {values.__name__}(...), not {values.__name__}")


def _unique(found: list[Configuration]) -> list[Configuration]:
    """The configurations, unless there are none, two are equal, or they have different fields."""
    if not found or not found[0]:
        raise SettingError("search is empty: name at least one field and its values")
    for number, one in enumerate(found):
        if one.keys() != found[0].keys():
            odd = sorted(one.keys() ^ found[0].keys())
            raise SettingError(f"search: configuration {number} differs from the first in its fields: {', '.join(odd)}")
    kinds, seen = types(found), set()
    for one in found:
        if (key := _key(one, kinds)) in seen:
            raise SettingError(f"search names a configuration twice: {shown(one)}")
        seen.add(key)
    return found


def _key(one: Configuration, kinds: Mapping[str, type]) -> tuple[Any, ...]:
    """What a dataset tells a configuration by."""
    return tuple(converted(one[name], kind) for name, kind in kinds.items())


def _check_range(distribution: Any) -> None:
    name, low, high = type(distribution).__name__, distribution.low, distribution.high
    for bound, value in (("low", low), ("high", high)):
        check_number(value, f"{name}.{bound}")
    if not (low < high and math.isfinite(float(high) - float(low))):
        raise SettingError(f"{name} needs low < high, whose difference is a float, got {shown(low)} and {shown(high)}")


# --- as text ----------------------------------------------------------------------------------------------------------


def parse(text: str) -> tuple[str, Any]:
    """A field and what is searched of it: ``algo.learning_rate=1e-4,1e-3`` or ``bonus.coef=loguniform(0.01,10)``.

    Raises:
      SettingError: where it is neither.
    """
    name, equals, values = (part.strip() for part in text.partition("="))
    if not name or not equals or not values:
        raise SettingError(
            f"search: {shown(text)} is none; write 'algo.learning_rate=1e-4,1e-3' or 'bonus.coef=loguniform(0.01,10)'"
        )
    return name.replace("-", "_"), parse_values(values)  # flags are written with dashes


def parse_values(text: str) -> Any:
    """The right side of :func:`parse`."""
    if called := CALL.fullmatch(text):
        name, arguments = called[1].lower(), _list(called[2])
        check_choice(name, list(DISTRIBUTIONS), "search")
        if name == "choice":
            return Choice(tuple(arguments))
        if len(arguments) != 2:
            raise SettingError(f"search: {name} takes a low and a high end, got {called[2]!r}")
        return DISTRIBUTIONS[name](*arguments)
    return _list(text)


def _list(text: str) -> list[Any]:
    """Values between commas: JSON's numbers, truth values and lists (as tuples), or words."""
    try:
        values = json.loads(f"[{text}]")
    except (ValueError, RecursionError):
        values = [_value(word.strip()) for word in text.split(",")]
        if "" in values:
            raise SettingError(f"search: {shown(text)} has nothing between two commas, or at an end") from None
    return [tuple(value) if isinstance(value, list) else value for value in values]


def _value(word: str) -> Any:
    """A word as the number or truth value that Python reads in it, as in ``.5`` and ``True``, or as it is."""
    if word in ("True", "False"):
        return word == "True"
    for kind in (int, float):
        with suppress(ValueError):
            return kind(word)
    return word
