"""Spaces that gymnax lacks, and the leaves and bounds of any space.

What has the attribute ``nvec`` is multi-discrete, wherever the library asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from gymnax.environments import spaces

from purejaxrl.types import Array, OneHot, PyTree, SettingError, check_int


class OneHotSpace(spaces.Space):
    """One-hot vectors of length `n`, as :class:`purejaxrl.types.OneHot`: one, or several of a `leading` shape."""

    def __init__(self, n: int, leading: tuple[int, ...] = ()):
        self.n, self.leading = n, leading
        self.shape, self.dtype = (*leading, n), jnp.float32  # of the vectors

    def __repr__(self) -> str:
        return f"OneHotSpace({self.n}{f', {self.leading}' if self.leading else ''})"

    def sample(self, key: Array) -> Any:
        return OneHot(jax.random.randint(key, self.leading, 0, self.n), self.n)

    def contains(self, x: Any) -> Any:
        return jnp.all((x.index >= 0) & (x.index < self.n))


class MultiDiscrete(spaces.Space):
    """Several discrete components at once: int32 vectors whose component i lies in ``[0, nvec[i])``.

    An action mask for it is flat, bool ``[sum(nvec)]``: the components' masks one after the other.

    Raises:
      SettingError: where `nvec` is empty or holds anything but integers >= 1.
    """

    def __init__(self, nvec: Sequence[int]):
        for number in nvec:
            check_int(number, "nvec", ge=1)
        self.nvec = tuple(int(number) for number in nvec)
        if not self.nvec:
            raise SettingError("nvec must have at least one component")
        self.shape = (len(self.nvec),)
        self.dtype = jnp.int32

    def __repr__(self) -> str:
        return f"MultiDiscrete({list(self.nvec)})"

    def sample(self, key: Array) -> Array:
        """Sample every component uniformly, int32 ``[len(nvec)]``."""
        return jax.random.randint(key, self.shape, 0, jnp.asarray(self.nvec, self.dtype), self.dtype)

    def contains(self, x: Any) -> Array:
        """Whether `x` ``[..., len(nvec)]`` lies within the space, all of it."""
        x = jnp.asarray(x, self.dtype)
        return jnp.all((x >= 0) & (x < jnp.asarray(self.nvec, self.dtype)))


class Part(NamedTuple):
    """One leaf of an observation, and what it is declared to be."""

    path: str  # of the leaf within the observation, "" for the whole of it
    space: Any
    value: Any


def parts(space: Any, value: PyTree, path: str = "") -> list[Part]:
    """The leaves of `value`, an element of `space`, in the order in which gymnax's Dict and Tuple name them.

    Values of a Dict are mappings, or have its names as attributes.

    Raises:
      SettingError: where `value` is built otherwise than the space says, which the message shows.
    """
    if not hasattr(space, "spaces"):
        if not hasattr(value, "shape"):
            raise SettingError(f"obs{path} is declared as {space!r}, but is a {type(value).__name__}")
        return [Part(path, space, value)]
    children = space.spaces
    if isinstance(children, Mapping):
        names = list(value) if isinstance(value, Mapping) else [name for name in children if hasattr(value, name)]
        if set(names) != set(children):
            raise SettingError(f"obs{path} is declared with the entries {sorted(children)}, but has {sorted(names)}")
        get = value.__getitem__ if isinstance(value, Mapping) else lambda name: getattr(value, name)
        found = [(f"{path}[{name!r}]", child, get(name)) for name, child in children.items()]
    else:
        count = len(value) if isinstance(value, (tuple, list)) else None
        if count != len(children):
            raise SettingError(f"obs{path} is declared as a tuple of {len(children)}, but is {_kind(value, count)}")
        found = [(f"{path}[{i}]", *pair) for i, pair in enumerate(zip(children, value, strict=True))]
    return [part for path, child, inner in found for part in parts(child, inner, path)]


def leaf_spaces(space: Any) -> list[Any]:
    """The spaces of :func:`parts`, in the same order."""
    if not hasattr(space, "spaces"):
        return [space]
    children = space.spaces.values() if isinstance(space.spaces, Mapping) else space.spaces
    return [leaf for child in children for leaf in leaf_spaces(child)]


def _kind(value: Any, count: int | None) -> str:
    return type(value).__name__ if count is None else f"one of {count}"


def clipped(space: Any, action: Any) -> Any:
    """A discrete action as the nearest one of its space. Others pass: environments clip a Box's actions themselves."""
    return jnp.clip(action, 0, space.n - 1) if hasattr(space, "n") else action


def bounds(space: Any) -> tuple[Array, Array] | None:
    """The lowest and highest values of a space without children, both of its shape; None where they are not known.

    ``Discrete(3)`` has 0 and 2.
    """
    if isinstance(space, OneHotSpace):
        return jnp.zeros(space.shape), jnp.ones(space.shape)
    if hasattr(space, "nvec"):
        return jnp.zeros(space.shape, jnp.int32), jnp.asarray(space.nvec, jnp.int32) - 1
    if hasattr(space, "n"):
        return jnp.zeros((), jnp.int32), jnp.asarray(space.n, jnp.int32) - 1
    if not hasattr(space, "low"):
        return None
    return jnp.broadcast_to(space.low, space.shape), jnp.broadcast_to(space.high, space.shape)
