"""Return distributions: the categorical projection and the quantile regression loss, one equation per function."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def project(atoms: Array, probs: Array, support: Array) -> Array:
    """Project a distribution onto equally spaced atoms (C51; Bellemare et al. 2017, arXiv:1707.06887, eq. 7).

    Φ_i = Σ_j p_j [1 − |clip(x_j, z_1, z_K) − z_i| / Δz]₀¹

    Args:
      atoms: ``[..., J]``, where the mass is, x.
      probs: ``[..., J]``, how much of it, p.
      support: ``[K]``, z, ascending and equally spaced.

    Returns:
      Probabilities ``[..., K]`` on `support`, with the same mean as far as the atoms lie within it.
    """
    atoms = jnp.clip(atoms, support[0], support[-1])
    distance = jnp.abs(atoms[..., None] - support) / (support[1] - support[0])
    return jnp.sum(probs[..., None] * jnp.clip(1.0 - distance, 0.0, 1.0), axis=-2)


def quantile_huber(quantiles: Array, targets: Array, kappa: float | Array = 1.0) -> Array:
    """Quantile Huber loss (QR-DQN; Dabney et al. 2018, arXiv:1710.10044, eq. 10 and algorithm 1), divided by κ.

    Σ_i mean_j |τ̂_i − 1{u_ij < 0}| L_κ(u_ij) / κ with u_ij = target_j − θ_i and τ̂_i = (2i − 1) / 2N.

    Args:
      quantiles: ``[..., N]``, θ.
      targets: ``[..., M]``, samples of the target distribution; no gradient flows into them.
      kappa: where the loss turns from squared to absolute.

    Returns:
      The loss ``[...]``.
    """
    number = quantiles.shape[-1]
    midpoints = (jnp.arange(number) + 0.5) / number
    error = jax.lax.stop_gradient(targets)[..., None, :] - quantiles[..., :, None]
    size = jnp.abs(error)
    huber = jnp.where(size <= kappa, 0.5 * error**2, kappa * (size - 0.5 * kappa)) / kappa
    return (jnp.abs(midpoints[:, None] - (error < 0)) * huber).mean(-1).sum(-1)
