"""Spaces that gymnax lacks. What has the attribute ``nvec`` is multi-discrete, wherever the library asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from gymnax.environments import spaces

from purejaxrl.types import Array, SettingError, check_int


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
