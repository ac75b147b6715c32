"""What untrained policies meet: random actions, ε-greedy around untrained networks, and random actions that last.

All of them play side by side in one program. Each step is taken twice from the same state: once as the episode goes on,
and once with a key that is a function of the observation and the action alone. Where the two outcomes differ, the
transition itself is random. Where the second differs between two steps with the same observation and action, their
states do, in something that the observation does not show: all that is random was the same.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from purejaxrl import exploration, hashing, networks, stepping
from purejaxrl.diagnosis.findings import num_networks
from purejaxrl.distributions import Categorical, MultiCategorical
from purejaxrl.resets import FreshResets
from purejaxrl.types import Array, OneHot, PyTree, SettingError, Spec, is_one_hot

POLICIES = ("random", "epsilon-greedy", "epsilon-z")
EPSILON = 0.1
ZETA = 2.0  # a random action lasts n steps with probability ∝ n^-2 (Dabney et al. 2021, arXiv:2006.01782)
KEYS = 8  # of the second step, for equal observations and actions, so that what is rare is neither missed nor all
TABLE = 2**21  # codes of observations: of 100,000 different ones 2 % share theirs
HASHES = 0x68617368
BITS = 32  # of the SimHash that joins similar observations


class Outcome(NamedTuple):
    """What a step led to."""

    reward: Array  # float32
    terminated: Array  # bool
    obs: Array  # int32 [..., 2], a hash of the next observation


class Play(NamedTuple):
    """Every step, leaves ``[num_steps, num_policies, num_envs, ...]``; episodes follow each other."""

    obs: Array  # float32 [..., size], every number of the observation; of the first `watched` envs alone
    action: Array  # float32 [..., n], discrete ones one-hot
    reward: Array  # float32
    terminated: Array  # bool
    truncated: Array  # bool
    first: Array  # bool, the step opens an episode
    codes: dict[str, Array]  # int32, of the state arrived at: its cell, its observation's code, its SimHash's
    same: Array  # int32 [..., 2], equal where observation and action are, and what else gives the second step its key
    again: Outcome  # of the second step
    differs: dict[str, Array]  # bool, whether the two steps differ in reward, termination, observation
    flicker: Any  # int32 [num_steps, size of the raw observation], in how many envs each number of it differed


class _Now(NamedTuple):
    """Envs under way, leaves ``[lanes, ...]``."""

    obs: PyTree
    env_state: PyTree
    first: Array
    action: Array  # the random action that is being repeated
    left: Array  # int32, for how many more steps


def policies(env: Any, env_params: Any) -> tuple[str, ...]:
    """The names of those that this action space allows: there are action values of discrete actions only."""
    discrete = hasattr(env.action_space(env_params), "n")
    return tuple(name for name in POLICIES if discrete or name != "epsilon-greedy")


def play(
    env: Any,
    env_params: Any,
    key: Array,
    *,
    num_envs: int,
    num_steps: int,
    watched: int,
    cell_fn: Callable[[PyTree], Array] | None = None,
) -> Play:
    """Let every policy play `num_steps` steps in `num_envs` envs; jits.

    Args:
      env, env_params: as everywhere.
      key: of everything random.
      num_envs: of each policy, a multiple of 4.
      num_steps: of each env.
      watched: so many envs of each policy keep their observations.
      cell_fn: of an env state the id of its cell, where there are cells.
    """
    names = policies(env, env_params)
    lanes = len(names) * num_envs
    spec = stepping.make_spec(env, env_params, num_envs=lanes, num_steps=num_steps, num_updates=1)
    encode = codes(spec, *hash_keys(key))
    key, reset_key, act_key, same_key, second_key = jax.random.split(key, 5)
    begin = functools.partial(stepping.reset, env, env_params)
    act = _behaviour(env, env_params, spec, act_key, names, num_envs)
    # One program over both keys: what does not depend on them is computed once, and equal to the bit.
    twice = jax.vmap(jax.vmap(functools.partial(stepping.step, env, env_params), (0, None, None)))
    same_of = _identity(spec, env, env_params, same_key)
    group = jnp.arange(lanes, dtype=jnp.int32) % KEYS

    def step(now: _Now, key: Array):
        act_key, env_key, reset_key = jax.random.split(key, 3)
        now = act(now, act_key)
        same = same_of((now.obs, now.action, group))
        again_keys = jax.vmap(lambda words: jax.random.fold_in(jax.random.fold_in(second_key, words[0]), words[1]))
        keys = jnp.stack([jax.random.split(env_key, lanes), again_keys(same)], axis=1)
        next_obs, env_state, reward, terminated, truncated = twice(keys, now.env_state, now.action)
        flicker = jax.vmap(_differing)(next_obs)
        ends = terminated[:, 0] | truncated[:, 0]
        arrived, env_state = jax.tree.map(lambda x: x[:, 0], (next_obs, env_state))
        second = jax.tree.map(lambda x: x[:, 1], next_obs)
        seen = {"cells": jax.vmap(cell_fn)(env_state).astype(jnp.int32)} if cell_fn else {}
        record = Play(
            obs=jax.vmap(vector)(_head(now.obs, len(names), watched)),
            action=_encoded(env.action_space(env_params), now.action),
            reward=reward[:, 0],
            terminated=terminated[:, 0],
            truncated=truncated[:, 0],
            first=now.first,
            codes=seen | encode(arrived),
            same=same,
            again=Outcome(reward[:, 1], terminated[:, 1], encode(second, words=True)),
            differs={
                "reward": jax.vmap(_differing)(reward[:, :, None])[:, 0],
                "termination": terminated[:, 0] != terminated[:, 1],
                "observation": flicker.any(-1),
            },
            flicker=None,
        )
        _, (obs, env_state) = FreshResets().reset((), reset_key, ends, begin, (arrived, env_state))
        return _Now(obs, env_state, ends, now.action, now.left), (record, flicker.sum(0, dtype=jnp.int32))

    obs, env_state = jax.vmap(begin)(jax.random.split(reset_key, lanes))
    action = jax.vmap(functools.partial(stepping.random_action, env, env_params))(jax.random.split(act_key, lanes))
    start = _Now(obs, env_state, jnp.ones(lanes, bool), action, jnp.zeros(lanes, jnp.int32))
    _, (record, flicker) = jax.lax.scan(step, start, jax.random.split(key, num_steps))
    apart = lambda x: x.reshape(num_steps, len(names), -1, *x.shape[2:])  # noqa: E731
    return jax.tree.map(apart, record)._replace(flicker=flicker)


def hash_keys(key: Array) -> tuple[Array, Array]:
    """Of :func:`codes`, from the key of :func:`play`."""
    exact, similar = jax.random.split(jax.random.fold_in(key, HASHES))
    return exact, similar


def codes(spec: Spec, exact_key: Array, similar_key: Array) -> Callable[..., Any]:
    """The function that gives observations ``[E, ...]`` their codes below TABLE, or with ``words=True`` a long hash."""
    exact, similar = hashing.make(exact_key, spec), hashing.make(similar_key, spec, BITS)

    def encode(obs: PyTree, *, words: bool = False) -> Any:
        if words:
            return hashing.cells(exact, obs, 1, 2**31)[:, :2]
        hashes = {"observations": exact, "groups of similar observations": similar}
        return {name: hashing.cells(hash, obs, 1, TABLE)[:, 0] for name, hash in hashes.items()}

    return encode


def check_pure(env: Any, env_params: Any) -> None:
    """Raise :class:`SettingError` where a step asks the host, whose state no second step can start from."""

    def once(key):
        _, state = stepping.reset(env, env_params, key)
        return stepping.step(env, env_params, key, state, stepping.random_action(env, env_params, key))

    if "callback" in str(jax.make_jaxpr(once)(jax.random.key(0))):
        raise SettingError(f"env: {type(env).__name__} is stepped in Python; diagnose needs steps that are pure in JAX")


def vector(obs: PyTree) -> Array:
    """Every number of one observation, float32 ``[size]``."""
    flat: Any = networks.flatten(obs)
    return flat.vector() if isinstance(flat, OneHot) else flat


def _behaviour(env, env_params, spec: Spec, key: Array, names: tuple[str, ...], num_envs: int) -> Callable:
    """The function ``(now, key) -> now`` that puts every lane's next action in place."""
    space, lanes = env.action_space(env_params), spec.num_envs
    duration_cdf = exploration.durations(ZETA)
    lasts = jnp.arange(lanes) // num_envs == names.index("epsilon-z")
    greedy = _greedy(space, spec, key, num_envs) if "epsilon-greedy" in names else None
    around = slice(num_envs, 2 * num_envs)  # ε-greedy is the second

    def act(now: _Now, key: Array) -> _Now:
        draw_key, duration_key, explore_key = jax.random.split(key, 3)
        mask = jax.vmap(functools.partial(stepping.action_mask, env, env_params))(now.env_state)
        draw = jax.vmap(functools.partial(stepping.random_action, env, env_params))
        drawn = draw(jax.random.split(draw_key, lanes), mask)
        if greedy is not None:
            best = greedy(*jax.tree.map(lambda x: x[around], (now.obs, mask)))
            explores = jax.random.uniform(explore_key, best.shape) < EPSILON
            drawn = drawn.at[around].set(jnp.where(explores, drawn[around], best.astype(drawn.dtype)))
        goes_on = (now.left > 0) & ~now.first & _allowed(space, mask, now.action)
        duration = 1 + jnp.searchsorted(duration_cdf, jax.random.uniform(duration_key, (lanes,))).astype(jnp.int32)
        duration = jnp.where(lasts, jnp.minimum(duration, len(duration_cdf)), 1)
        action = jax.vmap(jnp.where)(goes_on, now.action, drawn)
        return now._replace(action=action, left=jnp.where(goes_on, now.left - 1, duration - 1))

    return act


def _greedy(space: Any, spec: Spec, key: Array, num_envs: int) -> Callable[[PyTree, Array | None], Array]:
    """The best actions of untrained networks, int32 ``[num_envs]``, each of an equal share of the envs.

    Several, since one network's habits are no policy's; by turns, so that each plays what is held out, too.
    """
    network = networks.QNetwork(int(space.n))
    init = lambda key: networks.init(network, key, spec.example_obs())  # noqa: E731
    params = jax.vmap(init)(jax.random.split(key, num_networks(num_envs)))

    def best(obs: PyTree, mask: Array | None) -> Array:
        by_turns = lambda x: x.reshape(-1, num_networks(num_envs), *x.shape[1:])  # noqa: E731
        each: Any = jax.vmap(jax.vmap(network.apply), (None, 0))
        q = each(params, jax.tree.map(by_turns, networks.bounded(obs)))
        return jnp.argmax(exploration.masked(q.reshape(-1, q.shape[-1]), mask), -1)

    return best


def _allowed(space: Any, mask: Array | None, action: Array) -> Array:
    """Whether the mask allows each action ``[E, ...]``; one that allows none allows all."""
    if mask is None:
        return jnp.ones(len(action), bool)
    even = jnp.zeros(mask.shape)
    policy = MultiCategorical(even, tuple(space.nvec)) if hasattr(space, "nvec") else Categorical(even)
    return policy.masked(mask).log_prob(action) > -1e6


def _encoded(space: Any, action: Array) -> Array:
    """Actions ``[E, ...]`` as the numbers that a network takes, float32 ``[E, n]``."""
    if hasattr(space, "n"):
        return jax.nn.one_hot(action, int(space.n))
    if hasattr(space, "nvec"):
        return jnp.concatenate([jax.nn.one_hot(action[:, i], int(n)) for i, n in enumerate(space.nvec)], -1)
    return stepping.clipped(space, action).reshape(len(action), -1).astype(jnp.float32)


def _identity(spec: Spec, env: Any, env_params: Any, key: Array) -> Callable[[PyTree], Array]:
    """The function that hashes (observation, action, group), leaves ``[E, ...]``, to int32 ``[E, 2]``."""
    action = jax.eval_shape(lambda key: stepping.random_action(env, env_params, key), key)
    example = (spec.observation, action, jax.ShapeDtypeStruct((), jnp.int32))
    hash = hashing.make(key, dataclasses.replace(spec, observation=example))
    return lambda tree: hashing.cells(hash, tree, 1, 2**31)[:, :2]


def _head(tree: PyTree, num_policies: int, count: int) -> PyTree:
    """Of leaves ``[num_policies * E, ...]`` the first `count` envs of each policy."""
    return jax.tree.map(lambda x: x.reshape(num_policies, -1, *x.shape[1:])[:, :count].reshape(-1, *x.shape[1:]), tree)


def _differing(pair: PyTree) -> Array:
    """Which numbers of two observations, leaves ``[2, ...]``, differ: bool ``[size]``; NaN does not from NaN."""

    def leaf(x):
        if is_one_hot(x):
            return jnp.ravel(x.index[0] != x.index[1])
        same = (x[0] == x[1]) | ((x[0] != x[0]) & (x[1] != x[1]))
        return jnp.ravel(~same)

    return jnp.concatenate([leaf(x) for x in jax.tree.leaves(pair, is_leaf=is_one_hot)])
