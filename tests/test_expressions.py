"""Bonuses by expression."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl import expressions, intrinsic
from purejaxrl.bonuses import E3B, RND, SOFE, Counts
from purejaxrl.types import SettingError


def make(text, **settings):
    return expressions.make(expressions.parse(text), settings)


def same(one, other):
    return jax.tree.structure(one) == jax.tree.structure(other) and jax.tree.leaves(one) == jax.tree.leaves(other)


def test_expressions_are_what_python_makes():
    assert same(make("rnd"), RND())
    assert same(make(" E3B*rnd "), E3B() * RND())
    assert same(make("counts + rnd"), Counts() + RND())
    assert same(make("sofe(e3b)"), SOFE(bonus=E3B()))
    assert same(make("sofe(counts*e3b)"), SOFE(bonus=Counts() * E3B()))
    assert same(make("counts*(e3b+rnd)"), Counts() * (E3B() + RND()))
    assert expressions.parse("none") is None


def test_a_chain_is_one_composition_and_worth_what_python_s_pairs_are():
    chain = make("counts*rnd*e3b", coef=0.5)
    assert len(chain.parts) == 3
    pairs = (Counts() * RND() * E3B()).replace(coef=0.5)
    raw = [jnp.asarray(x) for x in np.random.default_rng(0).random((3, 8, 3))]

    def weigh(bonus, raw):
        scale = intrinsic.update(bonus, intrinsic.init(bonus, 3), raw, jnp.zeros(()))
        return intrinsic.weigh(bonus, scale, raw, jnp.zeros(()))

    np.testing.assert_allclose(weigh(chain, tuple(raw)), weigh(pairs, ((raw[0], raw[1]), raw[2])), rtol=1e-5)


def test_settings_are_nested_by_the_parts_names():
    found = make("e3b*rnd", coef=0.5, e3b={"ridge": 0.2, "hidden": [8, 8]}, rnd={"coef": 2.0})
    assert same(found, (E3B(ridge=0.2, hidden=(8, 8)) * RND(coef=2.0)).replace(coef=0.5))
    twice = make("counts*counts", counts2={"episodic": True})
    assert [part.episodic for part in twice.parts] == [False, True]
    assert same(make("sofe(counts)", counts={"episodic": True}), SOFE(bonus=Counts(episodic=True)))


def test_the_command_line_s_dataclass_holds_every_default():
    cls = expressions.settings_class(expressions.parse("sofe(counts*e3b)"))
    assert cls().product.e3b.ridge == E3B().ridge
    assert cls().coef == 1.0


@pytest.mark.parametrize("text", ["rnd", "e3b*rnd", "counts+e3b*rnd", "counts*(e3b+rnd)", "sofe(e3b)", "ngu*ngu"])
def test_what_is_shown_can_be_read_again(text):
    expression = expressions.parse(text)
    assert expressions.parse(str(expression)) == expression


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rdn", "bonus: unknown value 'rdn'; did you mean rnd or ride?"),
        ("e3b*rdn", "did you mean rnd or ride?"),
        ("sofe", r"sofe goes around another bonus: sofe\(e3b\)"),
        ("rnd(e3b)", "bonus: unknown value 'rnd'"),
        ("sofe(e3b, rnd)", "is none; write one like"),
        ("e3b-rnd", "is none; write one like"),
        ("e3b*none", "is none; write one like"),
        ("2*e3b", "is none; write one like"),
        ("__import__('os').system('x')", "is none; write one like"),
        ("", "is none; write one like"),
        ("(" * 500, "is none; write one like"),
        ("e3b*" * 3000 + "e3b", "is none; write one like"),
    ],
)
def test_what_is_no_expression_is_refused(text, said):
    with pytest.raises(SettingError, match=said):
        expressions.parse(text)


def test_unknown_settings_are_refused_by_their_place():
    with pytest.raises(SettingError, match=r"bonus\.e3b: unknown value 'rigde'; did you mean ridge"):
        make("e3b*rnd", e3b={"rigde": 1.0})
    with pytest.raises(SettingError, match="bonus: unknown value 'e3'"):
        make("e3b*rnd", e3={})
