"""Returns and advantages: one equation per function.

Arrays are ``[num_steps, num_envs]``, time first. ``next_value[t]`` is the value of the observation *before* auto-reset.
The truncation contract: a terminated step does not bootstrap, a truncated one bootstraps from its own ``next_value``,
no recursion crosses an episode's end, and where both flags are true termination wins.
"""

import chex
import jax
import jax.numpy as jnp

Array = jax.Array


def gae(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Array,
    truncated: Array,
    *,
    gamma: float | Array,
    gae_lambda: float | Array,
) -> tuple[Array, Array]:
    """Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438, eq. 16).

    δ_t = r_t + γ (1 − terminated_t) V(s'_t) − V(s_t)
    A_t = δ_t + γ λ (1 − terminated_t ∨ truncated_t) A_{t+1}

    Args:
      reward: ``[num_steps, num_envs]``, r_t.
      value: V(s_t), as it was when acting.
      next_value: V(s'_t), with s'_t the observation before auto-reset.
      terminated: whether s'_t ended the episode by its own rules.
      truncated: whether a time limit ended it there.
      gamma: discount γ.
      gae_lambda: λ; 0 gives one-step TD, 1 Monte Carlo.

    Returns:
      ``(advantage, target)``, both ``[num_steps, num_envs]``; target = advantage + value, the λ-return.
    """
    chex.assert_equal_shape([reward, value, next_value, terminated, truncated])
    delta = reward + gamma * (1.0 - terminated) * next_value - value
    decay = gamma * gae_lambda * (1.0 - jnp.logical_or(terminated, truncated))

    def backwards(advantage, step):
        delta, decay = step
        advantage = delta + decay * advantage
        return advantage, advantage

    _, advantage = jax.lax.scan(backwards, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)
    return advantage, advantage + value
