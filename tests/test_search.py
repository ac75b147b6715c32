"""What a search expands to, and what is refused before anything else happens."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl import search
from purejaxrl.search import Choice, LogUniform, Uniform
from purejaxrl.types import SettingError


def test_a_grid_is_every_combination_in_order():
    found = search.configurations({"algo.learning_rate": np.array([1e-4, 1e-3]), "bonus.coef": [0.0, 1.0, 2.0]})
    assert [tuple(one.values()) for one in found] == [(r, c) for r in (1e-4, 1e-3) for c in (0.0, 1.0, 2.0)]
    assert list(found[0]) == ["algo.learning_rate", "bonus.coef"]


def test_draws_follow_their_distributions():
    """Against the distribution functions: Kolmogorov's 0.1 % bound for 4000 draws."""
    space = {"a": LogUniform(1e-5, 1e-1), "b": Uniform(-1.0, 3.0), "c": [1, 2, 4, 8]}
    found = search.configurations(space, samples=4000, seed=1)
    bound = 1.95 / math.sqrt(4000)
    rank = np.arange(1, 4001) / 4000
    assert abs(np.sort([math.log10(one["a"]) / 4 + 1.25 for one in found]) - rank).max() < bound
    assert abs(np.sort([(one["b"] + 1) / 4 for one in found]) - rank).max() < bound
    counts = np.bincount([one["c"] for one in found])[[1, 2, 4, 8]]
    assert ((counts - 1000) ** 2 / 1000).sum() < 16.3  # chi-square, 3 degrees, 0.1 %
    assert abs(np.corrcoef([one["b"] for one in found], [one["a"] for one in found])[0, 1]) < 0.06


def test_draws_depend_on_the_seed_alone():
    space = {"a": LogUniform(1e-5, 1e-1), "b": Choice(("x", "y"))}
    same = [search.configurations(space, 9, seed=3) for _ in range(2)]
    assert same[0] == same[1] != search.configurations(space, 9, seed=4)
    more = search.configurations({"a": LogUniform(1e-5, 1e-1), "c": Uniform(0, 1)}, 9, seed=3)
    assert [one["a"] for one in more] == [one["a"] for one in same[0]]


def test_draws_from_lists_do_not_repeat():
    """As few as there are, and what was drawn before stays where nothing was drawn twice."""
    space = {"a": Choice((0.0, 0.01, 0.02)), "b": ["x", "y"]}
    found = search.configurations(space, 6, seed=1)
    assert sorted(map(tuple, (one.values() for one in found))) == [(a, b) for a in (0.0, 0.01, 0.02) for b in "xy"]
    assert search.configurations(space, 4, seed=1) == found[:4]
    many = {"a": Choice(tuple(range(10**4))), "b": list(range(10**4))}
    assert search.configurations(many, 9, seed=3) == search.draw(many, 9, seed=3)


def test_a_field_has_one_type():
    rows = [{"a": 0, "b": 1, "c": True, "d": None, "e": (8,)}, {"a": 0.5, "b": True, "c": False, "d": -1.0, "e": "x"}]
    assert search.types(rows) == {"a": float, "b": int, "c": bool, "d": str, "e": str}
    found = [[search.converted(one[name], kind) for name, kind in search.types(rows).items()] for one in rows]
    assert repr(found) == repr([[0.0, 1, True, "None", "(8,)"], [0.5, 1, False, "-1.0", "x"]])


def test_values_become_pythons_own():
    assert search.configurations({"a": list(jnp.array([1.0, 2.0])), "b": [[8], [8, 8]]})[0] == {"a": 1.0, "b": (8,)}
    assert search.configurations({"a": jnp.arange(2)}) == [{"a": 0}, {"a": 1}]
    assert search.configurations([{"a": [32, 32], "b": np.float32(0.5)}]) == [{"a": (32, 32), "b": 0.5}]
    assert Choice((jnp.int32(3), [4])).values == (3, (4,))
    for one in search.configurations({"a": Choice((jnp.float32(1.0),)), "b": Uniform(0, 1)}, 2):
        assert all(type(value) is float for value in one.values())


def test_configurations_one_by_one():
    given = [{"a": 1, "b": 2}, {"b": 3, "a": 1}]
    assert search.configurations(given) == given


@pytest.mark.parametrize(
    ("space", "samples", "message"),
    [
        ({}, None, "search is empty"),
        ([], None, "search is empty"),
        ({"a": []}, None, "search: a must have 1 to 1,000,000 values, got 0"),
        ({"a": 3}, None, "search: a must be a list of values or a distribution, got 3"),
        ({"a": "words"}, None, "a must be a list"),
        ({"a": [1, 2, 1]}, None, "names a configuration twice: {'a': 1}"),
        ({"a": [0, 0.5, 0.0]}, None, "names a configuration twice: {'a': 0.0}"),
        (
            {"a": Choice((0, 1)), "b": [1, 1.0, 2]},
            5,
            "samples must be <= 4, as many configurations as search has, got 5",
        ),
        ({"a": [1]}, 5, "samples: search is a grid"),
        ({"a": Uniform(0, 1)}, None, "samples: search has distributions: say how many"),
        ({"a": Uniform(0, 1)}, 0, "samples must be >= 1, got 0"),
        ([{"a": 1}], 3, "samples: search names its configurations"),
        ([{"a": 1}, {"b": 1}], None, "configuration 1 differs from the first in its fields: a, b"),
        ("grid", None, "search must be a mapping"),
    ],
)
def test_contradictions(space, samples, message):
    with pytest.raises(SettingError, match=message):
        search.configurations(space, samples)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Uniform(1.0, 1.0),
        lambda: Uniform(0.0, math.inf),
        lambda: LogUniform(0.0, 1.0),
        lambda: LogUniform("a", 1.0),
        lambda: Uniform(-1e308, 1e308),  # whose width is no float
        lambda: Uniform(0, 10**400),
        lambda: Choice(()),
    ],
)
def test_distributions_that_are_none(make):
    with pytest.raises(SettingError, match=r"Uniform|Choice"):
        make()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("algo.learning_rate=1e-4,1e-3", ("algo.learning_rate", [1e-4, 1e-3])),
        (" bonus.coef = 0 , 2 ", ("bonus.coef", [0, 2])),
        ("algo.double=true,false", ("algo.double", [True, False])),
        ("algo.hidden=[64,64],[32]", ("algo.hidden", [(64, 64), (32,)])),
        ("algo.activation=tanh,relu", ("algo.activation", ["tanh", "relu"])),
        ("bonus.coef=loguniform(0.01, 10)", ("bonus.coef", LogUniform(0.01, 10))),
        ("bonus.coef=Uniform(0,1)", ("bonus.coef", Uniform(0, 1))),
        ("algo.memory=choice(none,gru)", ("algo.memory", Choice(("none", "gru")))),
    ],
)
def test_as_text(text, expected):
    assert search.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("algo.learning_rate", "write 'algo.learning_rate=1e-4,1e-3'"),
        ("=3", "write"),
        ("a=", "write"),
        ("a=normal(0,1)", "unknown value 'normal'"),
        ("a=uniform(1)", "uniform takes a low and a high end, got '1'"),
        ("a=loguniform(x,y)", "LogUniform.low must be a number"),
    ],
)
def test_text_that_is_none(text, message):
    with pytest.raises(SettingError, match=message):
        search.parse(text)
