"""What each registered environment is, in one line of a table; nothing is compiled for it."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
from gymnax import registration

from purejaxrl.envs.minigrid import MiniGrid
from purejaxrl.envs.spaces import leaf_spaces
from purejaxrl.types import PyTree

DOWNLOADS = ("MNISTBandit-bsuite",)  # when made
# Why undirected exploration fails; a class of one's own says so itself, as `hard_exploration`.
HARD = {
    "DeepSea-bsuite": "one of 2^N ways pays, and each right step costs",
    "MountainCar-v0": "random actions do not reach the flag",
    "MountainCarContinuous-v0": "actions cost, and only the flag pays",
}


class Entry(NamedTuple):
    id: str
    observation: str  # dtype and shape, as a reset emits it
    actions: str
    steps: str  # the step limit
    source: str  # gymnax, its family, purejaxrl, or the module that registered it
    hard: str  # why exploring is hard, or nothing


def entry(env_id: str) -> Entry:
    """Describe the environment with its default settings."""
    factory = registration._registry[env_id]
    factory = getattr(factory, "func", factory)  # of a partial
    hard = getattr(factory, "hard_exploration", HARD.get(env_id, ""))
    if env_id in DOWNLOADS:
        return Entry(env_id, "(downloads its data)", "", "", _source(factory), hard)
    try:
        obs, made = _traced(env_id)
    except Exception:  # made of concrete numbers
        obs, made = _made(env_id)
    return Entry(env_id, _tree(obs), *made, _source(factory), hard)


def _traced(env_id: str) -> tuple[PyTree, tuple[str, str]]:
    """As :func:`_made`, the constructor's own array operations included: else each of them would be compiled."""
    found = []

    def begin(key):
        env, params = gymnax.make(env_id)
        found.append(_facts(env, params))
        if isinstance(env, MiniGrid):  # what it declares is what it shows, and tracing 75 levels takes seconds
            return [jnp.zeros(leaf.shape, leaf.dtype) for leaf in leaf_spaces(env.observation_space(params))]
        return env.reset_env(key, params)[0]

    return jax.eval_shape(begin, _key()), found[0]


def _made(env_id: str) -> tuple[PyTree, tuple[str, str]]:
    env, params = gymnax.make(env_id)
    return jax.eval_shape(env.reset_env, _key(), params)[0], _facts(env, params)


def _key() -> Any:
    """The shape of a key: making one would compile."""
    return jax.eval_shape(jax.random.key, 0)


def _facts(env: Any, params: Any) -> tuple[str, str]:
    limit = getattr(params, "max_steps_in_episode", None)
    return _actions(env.action_space(params)), "" if limit is None else f"{int(limit):,}"


def _actions(space: Any) -> str:
    if hasattr(space, "nvec"):
        return " x ".join(map(str, space.nvec))
    return str(space.n) if hasattr(space, "n") else f"box {_shape(space.shape)}".rstrip()


def _tree(obs: PyTree) -> str:
    return ", ".join(f"{leaf.dtype} {_shape(leaf.shape)}".rstrip() for leaf in jax.tree.leaves(obs))


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _source(factory: Any) -> str:
    """gymnax's with the family it comes from: ``gymnax, bsuite``."""
    package, *rest = factory.__module__.split(".")
    return f"{package}, {rest[1].replace('_', ' ')}" if package == "gymnax" and len(rest) > 2 else package
