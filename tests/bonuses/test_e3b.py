"""E3B against the sums of outer products of its paper, inverted."""

import jax
import numpy as np
import numpynets
import pytest
import trajectories

from purejaxrl.bonuses import E3B


def numpy_bonus(params, batch, ridge):
    """Each env and episode by itself: φ(s')ᵀ (λ I + Σ φφᵀ)⁻¹ φ(s') over all that the episode saw before."""
    num_steps, num_envs = batch.reward.shape
    done, bonus = trajectories.done(batch), np.zeros((num_steps, num_envs))
    phi, next_phi = (numpynets.forward(params, obs) for obs in (batch.obs, batch.next_obs))
    for env in range(num_envs):
        seen = []
        for t in range(num_steps):
            if batch.first[t, env]:
                seen = [phi[t, env]]
            covariance = ridge * np.eye(phi.shape[-1]) + sum(np.outer(x, x) for x in seen)
            bonus[t, env] = next_phi[t, env] @ np.linalg.inv(covariance) @ next_phi[t, env]
            seen.append(next_phi[t, env])
            if done[t, env]:
                seen = None  # the next step must open an episode
    return bonus


@pytest.mark.parametrize("scale", [1.0, 300.0], ids=["small", "like pixels"])
def test_bonus_is_the_paper_s(scale):
    """Over two rollouts, the second of which goes on in the episodes of the first."""
    e3b = E3B(hidden=(8,), embedding_size=6, ridge=0.3)
    batch = trajectories.ring(0, 42, 4, scale=scale)
    state = e3b.init(jax.random.key(0), trajectories.spec(4, 21))
    state, _, first = trajectories.rollout(e3b, state, trajectories.part(batch, slice(0, 21)))
    state, _, second = trajectories.rollout(e3b, state, trajectories.part(batch, slice(21, None)))
    expected = numpy_bonus(state.dynamics.params.encoder, batch, 0.3)
    assert trajectories.done(batch).sum(0).min() >= 2
    # what is left of float32 where φ(s') was seen before: the bonus of a new φ is the scale of both
    np.testing.assert_allclose(np.concatenate([first, second]), expected, rtol=2e-4, atol=1e-9 * expected.max())


def test_the_inverse_stays_one_however_long_the_episode():
    """Large features, seen hundreds of times: C⁻¹ by differences turns negative here, and infinite soon after."""
    e3b, rounds = E3B(hidden=(8,), embedding_size=6), 50
    batch = trajectories.ring(1, 20, 2, scale=1e3)
    never = np.zeros((20, 2), bool)
    batch = batch.replace(first=never, terminated=never, truncated=never)
    state = e3b.init(jax.random.key(0), trajectories.spec(2, 20))
    phi, next_phi = (numpynets.forward(state.dynamics.params.encoder, x) for x in (batch.obs, batch.next_obs))
    batch = jax.tree.map(lambda leaf: np.concatenate([leaf] * rounds), batch)
    bonus = trajectories.rollout(e3b, state, batch)[2][-20:]
    for env in range(2):  # after so many rounds it hardly matters which steps of the last one are in C
        inverse = np.linalg.inv(0.1 * np.eye(6) + rounds * sum(np.outer(x, x) for x in phi[:, env]))
        np.testing.assert_allclose(bonus[:, env], [x @ inverse @ x for x in next_phi[:, env]], rtol=0.1)


def test_learning_moves_the_encoder_by_the_inverse_loss_alone_and_leaves_the_episode():
    e3b = E3B(hidden=(8,), embedding_size=6, learning_rate=3e-3)
    state = e3b.init(jax.random.key(0), trajectories.spec(4, 21))
    batch = trajectories.ring(0, 21, 4)
    state, memo, _ = trajectories.rollout(e3b, state, batch)
    update, learned, losses = jax.jit(e3b.update), state, []
    for step in range(60):
        learned, metrics = update(learned, jax.random.key(step), batch.replace(memo=memo))
        losses.append(float(metrics["inverse_loss"]))
    assert set(metrics) == {"inverse_loss"}
    assert losses[-1] < 0.5 * losses[0]
    np.testing.assert_array_equal(learned.root, state.root)
    before, after = state.dynamics.params, learned.dynamics.params
    assert any((x != y).any() for x, y in zip(*map(jax.tree.leaves, (before.encoder, after.encoder)), strict=True))
    jax.tree.map(np.testing.assert_array_equal, before.forward, after.forward)


def test_statistics_are_the_inverse_s_diagonal():
    e3b = E3B(hidden=(8,), embedding_size=6, ridge=0.3)
    state = e3b.init(jax.random.key(0), trajectories.spec(4, 21))
    batch = trajectories.ring(0, 5, 4)
    never = np.zeros((5, 4), bool)
    batch = batch.replace(terminated=never, truncated=never)
    np.testing.assert_allclose(e3b.statistics(state, batch.obs[0]), 1.0, rtol=1e-6)
    state, _, _ = trajectories.rollout(e3b, state, batch)
    phi = numpynets.forward(state.dynamics.params.encoder, batch.obs)
    covariance = 0.3 * np.eye(6) + np.einsum("tei,tej->eij", phi, phi)
    expected = 0.3 * np.diagonal(np.linalg.inv(covariance), axis1=1, axis2=2)
    np.testing.assert_allclose(e3b.statistics(state, batch.obs[-1]), expected, rtol=1e-3, atol=1e-6)
