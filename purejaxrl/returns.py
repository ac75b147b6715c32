"""Returns and advantages: one equation per function.

Arrays are ``[num_steps, num_envs]``, time first. ``next_value[t]`` is the value of the observation *before* auto-reset.
The truncation contract: a terminated step does not bootstrap, a truncated one bootstraps from its own ``next_value``,
no recursion crosses an episode's end, and where both flags are true termination wins. The batch's last step ends its
piece of an episode as a truncation does. Gradients flow through every argument: stop them where a target is a constant.
"""

import numbers

import chex
import jax
import jax.numpy as jnp

Array = jax.Array


def _continues(terminated: Array, truncated: Array) -> Array:
    """Whether step t + 1 is in the batch and belongs to the same episode."""
    return jnp.logical_not(jnp.logical_or(terminated, truncated)).at[-1].set(False)


def _following(target: Array, next_value: Array, continues: Array) -> Array:
    """target_{t+1} where the episode continues, and the step's own next_value_t where it ends."""
    return jnp.where(continues, jnp.roll(target, -1, axis=0), next_value)


def _accumulate(step: Array, decay: Array) -> Array:
    """x_t = step_t + decay_t x_{t+1}, with x = 0 beyond the batch."""

    def backwards(total, now):
        step, decay = now
        total = step + decay * total
        return total, total

    return jax.lax.scan(backwards, jnp.zeros_like(step[0] * decay[0]), (step, decay), reverse=True)[1]


@jax.named_scope("targets")
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
    advantage = _accumulate(delta, gamma * gae_lambda * _continues(terminated, truncated))
    return advantage, advantage + value


@jax.named_scope("targets")
def n_step(
    reward: Array,
    next_value: Array,
    terminated: Array,
    truncated: Array,
    *,
    gamma: float | Array,
    n: int,
) -> Array:
    """The n-step return (Sutton & Barto 2018, eq. 7.1; Mnih et al. 2016, arXiv:1602.01783, section 4).

    G_t = Σ_{k<m} γ^k r_{t+k} + γ^m (1 − terminated_{t+m−1}) V(s'_{t+m−1})
    m = min(n, steps to the episode's end, steps to the batch's end), counting step t

    It is not corrected for actions that another policy chose.

    Args:
      reward: ``[num_steps, num_envs]``, r_t.
      next_value: V(s'_t), or max_a Q(s'_t, a) for Q-learning, with s'_t the observation before auto-reset.
      terminated: whether s'_t ended the episode by its own rules.
      truncated: whether a time limit ended it there.
      gamma: discount γ.
      n: number of rewards in a sum, static; 1 is one-step TD, ``num_steps`` or more Monte Carlo.

    Returns:
      G, ``[num_steps, num_envs]``.

    Raises:
      ValueError: `n` is not an integer of at least 1.
    """
    if not isinstance(n, numbers.Integral) or n < 1:
        raise ValueError(f"n must be an integer >= 1, got {n!r}")
    chex.assert_equal_shape([reward, next_value, terminated, truncated])
    discount, continues = gamma * (1.0 - terminated), _continues(terminated, truncated)

    def one_more_step(_, target):
        return reward + discount * _following(target, next_value, continues)

    return jax.lax.fori_loop(1, min(n, len(reward)), one_more_step, reward + discount * next_value)


@jax.named_scope("targets")
def td_lambda(
    reward: Array,
    next_value: Array,
    terminated: Array,
    truncated: Array,
    *,
    gamma: float | Array,
    lam: float | Array,
) -> Array:
    """The λ-return: every n-step return, the n-th weighted (1 − λ) λ^{n−1} (Sutton & Barto 2018, eq. 12.18).

    G_t = r_t + γ (1 − terminated_t) ((1 − λ) V(s'_t) + λ G_{t+1})

    with V(s'_t) for G_{t+1} at the last step of an episode or of the batch. The target of :func:`gae` is the same where
    ``next_value[t] == value[t + 1]`` inside episodes.

    Args:
      reward: ``[num_steps, num_envs]``, r_t.
      next_value: V(s'_t), with s'_t the observation before auto-reset.
      terminated: whether s'_t ended the episode by its own rules.
      truncated: whether a time limit ended it there.
      gamma: discount γ.
      lam: λ; 0 gives one-step TD, 1 Monte Carlo.

    Returns:
      G, ``[num_steps, num_envs]``.
    """
    chex.assert_equal_shape([reward, next_value, terminated, truncated])
    trace = lam * _continues(terminated, truncated)
    return _accumulate(reward + gamma * (1.0 - terminated) * (1.0 - trace) * next_value, gamma * trace)


@jax.named_scope("targets")
def q_lambda(
    reward: Array,
    next_value: Array,
    terminated: Array,
    truncated: Array,
    *,
    gamma: float | Array,
    lam: float | Array,
) -> Array:
    """Peng's Q(λ) (Peng & Williams 1996), the target of PQN (Gallici et al. 2024, arXiv:2407.04811).

    G_t = r_t + γ (1 − terminated_t) ((1 − λ) max_a Q(s'_t, a) + λ G_{t+1})

    :func:`td_lambda` of the greedy value. Unlike Watkins's Q(λ) it does not cut the trace at an action that was not
    greedy: what exploration costs stays in the target, and grows with λ. A λ of 0 before such a step cuts it.

    Args:
      reward: ``[num_steps, num_envs]``, r_t.
      next_value: max_a Q(s'_t, a), with s'_t the observation before auto-reset.
      terminated: whether s'_t ended the episode by its own rules.
      truncated: whether a time limit ended it there.
      gamma: discount γ.
      lam: λ, or one of each step, ``[num_steps, num_envs]``; 0 gives one-step Q-learning, 1 Monte Carlo.

    Returns:
      G for Q(s_t, a_t), ``[num_steps, num_envs]``.
    """
    return td_lambda(reward, next_value, terminated, truncated, gamma=gamma, lam=lam)


@jax.named_scope("targets")
def vtrace(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Array,
    truncated: Array,
    log_ratio: Array,
    *,
    gamma: float | Array,
    lam: float | Array = 1.0,
    clip_rho: float | Array = 1.0,
    clip_c: float | Array = 1.0,
) -> tuple[Array, Array]:
    """V-trace (Espeholt et al. 2018, arXiv:1802.01561, eq. 1 in the recursive form of remark 1, λ as in remark 2).

    ρ_t = min(clip_rho, π/μ), c_t = λ min(clip_c, π/μ), both at (s_t, a_t)
    v_t = V(s_t) + ρ_t (r_t + γ (1 − terminated_t) V(s'_t) − V(s_t)) + γ c_t (v_{t+1} − V(s_{t+1}))
    A_t = ρ_t (r_t + γ (1 − terminated_t) v_{t+1} − V(s_t))

    At the last step of an episode or of the batch, v_t has no last term and A_t takes V(s'_t) for v_{t+1}. The
    advantage is clipped at `clip_rho` too, as in section 4.2 of the paper; some programs have a third threshold there.

    Args:
      reward: ``[num_steps, num_envs]``, r_t.
      value: V(s_t) as it is now, when learning.
      next_value: V(s'_t) as it is now, with s'_t the observation before auto-reset.
      terminated: whether s'_t ended the episode by its own rules.
      truncated: whether a time limit ended it there.
      log_ratio: log π(a_t | s_t) − log μ(a_t | s_t), with π the policy now and μ the one that acted.
      gamma: discount γ.
      lam: λ; 1 is the paper's eq. 1.
      clip_rho: ρ-bar, which decides whose value is learnt: μ's near 0, π's at infinity. The paper wants it >= `clip_c`.
      clip_c: c-bar, which decides how far back an error is carried.

    Returns:
      ``(v, A)``, both ``[num_steps, num_envs]``: the target of the value, and the advantage with its ρ_t, which
      multiplies ∇ log π(a_t | s_t) as it is.
    """
    chex.assert_equal_shape([reward, value, next_value, terminated, truncated, log_ratio])
    ratio = jnp.exp(log_ratio)
    rho, c = jnp.minimum(clip_rho, ratio), lam * jnp.minimum(clip_c, ratio)
    discount, continues = gamma * (1.0 - terminated), _continues(terminated, truncated)
    delta = rho * (reward + discount * next_value - value)
    target = value + _accumulate(delta, gamma * c * continues)
    return target, rho * (reward + discount * _following(target, next_value, continues) - value)


@jax.named_scope("targets")
def retrace(
    reward: Array,
    q: Array,
    next_value: Array,
    terminated: Array,
    truncated: Array,
    log_ratio: Array,
    *,
    gamma: float | Array,
    lam: float | Array = 1.0,
) -> Array:
    """Retrace(λ) (Munos et al. 2016, arXiv:1606.02647v1, eq. 4, written as a recursion).

    c_t = λ min(1, π/μ) at (s_t, a_t)
    G_t = r_t + γ (1 − terminated_t) (E_π Q(s'_t, ·) + c_{t+1} (G_{t+1} − Q(s_{t+1}, a_{t+1})))

    without the term of c_{t+1} at the last step of an episode or of the batch.

    Args:
      reward: ``[num_steps, num_envs]``, r_t.
      q: Q(s_t, a_t) of the action taken, by the network that makes targets, as it is now.
      next_value: E_{a~π} Q(s'_t, a) by the same network, with s'_t the observation before auto-reset.
      terminated: whether s'_t ended the episode by its own rules.
      truncated: whether a time limit ended it there.
      log_ratio: log π(a_t | s_t) − log μ(a_t | s_t), with π the policy now and μ the one that acted.
      gamma: discount γ.
      lam: λ; 0 gives expected Sarsa.

    Returns:
      G for Q(s_t, a_t), ``[num_steps, num_envs]``.
    """
    chex.assert_equal_shape([reward, q, next_value, terminated, truncated, log_ratio])
    c = lam * jnp.minimum(1.0, jnp.exp(log_ratio))
    delta = reward + gamma * (1.0 - terminated) * next_value - q
    return q + _accumulate(delta, gamma * jnp.roll(c, -1, axis=0) * _continues(terminated, truncated))
