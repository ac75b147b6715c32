"""Choosing actions from action values: greedy, ε-greedy and εz-greedy, under masks."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purejaxrl.types import Array, SettingError


def masked(q: Array, mask: Array | None) -> Array:
    """Action values ``[..., num_actions]`` with -inf where `mask` forbids; one that forbids everything forbids nothing.

    So a maximum over actions is always finite: a game that is over may well allow no action.
    """
    if mask is None:
        return q
    return jnp.where(mask | ~mask.any(-1, keepdims=True), q, -jnp.inf)


def greedy(key: Array, q: Array, mask: Array | None) -> Array:
    """An allowed action with the largest of ``q [..., num_actions]``, any of several with equal chance; int32.

    Of values that are NaN any allowed one.
    """
    q, draws = masked(q, mask), jax.random.uniform(key, q.shape)
    ties = jnp.where(q == q.max(-1, keepdims=True), draws, masked(draws - 2.0, mask))
    return jnp.argmax(ties, axis=-1).astype(jnp.int32)


def annealed(start: Any, end: Any, progress: Array, fraction: Any) -> Array:
    """From `start` to `end`, linearly over the first `fraction` of the run; `progress` is the part that is done."""
    return start + (end - start) * jnp.clip(progress / fraction, 0.0, 1.0)


class Repeats(NamedTuple):
    """Each env's random action and how many more steps it will be repeated, both int32 ``[num_envs]``."""

    action: Array
    left: Array


def no_repeats(num_envs: int) -> Repeats:
    return Repeats(jnp.zeros(num_envs, jnp.int32), jnp.zeros(num_envs, jnp.int32))


def check_zeta(zeta: float) -> None:
    """Raise :class:`SettingError` unless durations can be drawn with this exponent, or it is 0: none are."""
    if 0 < zeta <= 1:
        raise SettingError(f"algo.zeta must be above 1 (or 0: random actions last one step), got {zeta}")


def durations(mu: float, longest: int = 10_000) -> np.ndarray:
    """The distribution function of the zeta distribution, P(n) ∝ n^-μ on 1 … `longest`."""
    weights = np.arange(1, longest + 1, dtype=np.float64) ** -mu
    return np.asarray(np.cumsum(weights) / weights.sum(), np.float32)


def epsilon_greedy(
    key: Array,
    q: Array,
    mask: Array | None,
    epsilon: Array | float,
    repeats: Repeats,
    first: Array,
    duration_cdf: np.ndarray | None = None,
) -> tuple[Repeats, Array]:
    """ε-greedy, or εz-greedy when random actions last (Dabney et al. 2021, arXiv:2006.01782, algorithm 1).

    With probability ε an env that repeats nothing draws a uniform allowed action and a duration from `duration_cdf`
    (None: one step, plain ε-greedy), and keeps to it. A repetition ends with its episode, and where it is forbidden.

    Args:
      key: one for all envs.
      q: ``[num_envs, num_actions]``.
      mask: bool like q, or None.
      epsilon: ε.
      repeats: what is being repeated.
      first: bool ``[num_envs]``, the step opens an episode.
      duration_cdf: see :func:`durations`.

    Returns:
      ``(repeats, action)``, actions int32 ``[num_envs]``.
    """
    explore_key, action_key, duration_key = jax.random.split(key, 3)
    q, drawable = masked(q, mask), masked(jnp.zeros_like(q), mask)
    greedy = jnp.argmax(q, axis=-1).astype(jnp.int32)
    drawn = jax.random.categorical(action_key, drawable).astype(jnp.int32)
    explores = jax.random.uniform(explore_key, first.shape) < epsilon
    if duration_cdf is None:
        return repeats, jnp.where(explores, drawn, greedy)
    duration = 1 + jnp.searchsorted(duration_cdf, jax.random.uniform(duration_key, first.shape)).astype(jnp.int32)
    allowed = jnp.take_along_axis(drawable, repeats.action[:, None], axis=-1)[:, 0] == 0
    goes_on = (repeats.left > 0) & ~first & allowed
    left = jnp.where(goes_on, repeats.left - 1, jnp.where(explores, jnp.minimum(duration, len(duration_cdf)) - 1, 0))
    action = jnp.where(goes_on, repeats.action, jnp.where(explores, drawn, greedy))
    return Repeats(action, left), action


def taken(values: Array, action: Array) -> Array:
    """The values of the actions: of ``values [..., num_actions, *rest]`` and ``action [...]`` the ``[..., *rest]``.

    A sum, since the gradient of a gather is a scatter, which takes longer and compiles to more.
    """
    axis = action.ndim
    chosen = jnp.arange(values.shape[axis]) == action[..., None]
    return jnp.sum(values, axis=axis, where=chosen.reshape(*chosen.shape, *(1,) * (values.ndim - axis - 1)))
