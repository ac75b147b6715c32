"""Resets of those envs that need one: each gets its own episode, and the others stay where they are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purejaxrl.resets import FreshResets


def start(key):
    """An episode that is known by a number of its own."""
    number = jax.random.bits(key)
    return number, {"grid": jnp.full((2, 3), number), "key": key}


def expected(key, done, current):
    """Every env's own reset, chosen where it is done."""
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(len(done)))
    fresh = jax.vmap(start)(keys)
    return jax.vmap(lambda *one: jax.tree.map(functools.partial(jnp.where, one[0]), *one[1:]))(done, fresh, current)


def same(x, y):
    plain = lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf  # noqa: E731
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(plain(a), plain(b)), x, y)


@pytest.mark.parametrize("at_once", [0, 1, 3, 8, 100])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
def test_only_who_is_done_begins_anew(at_once, share):
    """Against a reset of everyone, for any number at a time."""
    done = jnp.asarray(np.random.default_rng(3).random(37) < share)
    current = jax.vmap(start)(jax.random.split(jax.random.key(1), 37))
    reset = jax.jit(lambda key: FreshResets(at_once).reset((), key, done, start, current)[1])
    same(reset(jax.random.key(0)), expected(jax.random.key(0), done, current))


def test_the_same_under_vmap():
    done = jnp.asarray(np.random.default_rng(0).random((5, 20)) < np.array([[0.0], [0.1], [0.5], [0.9], [1.0]]))
    keys = jax.random.split(jax.random.key(0), 5)
    current = jax.vmap(start)(jax.random.split(jax.random.key(1), 20))
    found = jax.jit(jax.vmap(lambda key, done: FreshResets(3).reset((), key, done, start, current)[1]))(keys, done)
    same(found, jax.vmap(lambda key, done: expected(key, done, current))(keys, done))


def test_steps_without_an_end_reset_nobody():
    """Counted where the reset is computed: rows, so many at a time."""
    calls = []

    def counted(key):
        jax.debug.callback(lambda: calls.append(1))
        return start(key)

    current = jax.vmap(start)(jax.random.split(jax.random.key(1), 32))
    reset = jax.jit(lambda done: FreshResets(4).reset((), jax.random.key(0), done, counted, current)[1][0])
    for count, rows in ((0, 0), (1, 4), (4, 4), (5, 8), (32, 32)):
        calls.clear()
        jax.block_until_ready(reset(jnp.arange(32) < count))
        jax.effects_barrier()
        assert len(calls) in (rows, rows // 4)  # a call under vmap is one for each row or one for all

    alone = jax.tree.map(lambda x: x[:1], current)
    reset = jax.jit(lambda done: FreshResets().reset((), jax.random.key(0), done, counted, alone)[1][0])
    for done in (False, True):
        calls.clear()
        jax.block_until_ready(reset(jnp.array([done])))
        jax.effects_barrier()
        assert len(calls) == done
