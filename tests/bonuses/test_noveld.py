"""NovelD against a plain NumPy version: a set for each episode, both networks in float64."""

import jax
import numpy as np
import numpynets
import trajectories

from purejaxrl.bonuses import NovelD


def numpy_novelty(state, seen, obs):
    """The norm of the error on observations standardised by all those seen."""
    seen = np.asarray(seen, np.float64).reshape(-1, obs.shape[-1])
    x = np.clip((np.asarray(obs, np.float64) - seen.mean(0)) / np.sqrt(seen.var(0) + 1e-8), -5, 5)
    error = numpynets.forward(state.predictor, x) - numpynets.forward(state.target, x)
    return np.sqrt(np.square(error).sum(-1))


def numpy_bonus(state, seen, batch, alpha):
    num_steps, num_envs = batch.reward.shape
    done, bonus = trajectories.done(batch), np.zeros((num_steps, num_envs))
    obs, next_obs = np.asarray(batch.obs), np.asarray(batch.next_obs)
    novelty, next_novelty = (numpy_novelty(state.distillation, seen, x) for x in (obs, next_obs))
    for env in range(num_envs):
        visited = None
        for t in range(num_steps):
            if batch.first[t, env]:
                visited = {obs[t, env].tobytes()}
            key = next_obs[t, env].tobytes()
            if key not in visited:
                bonus[t, env] = max(next_novelty[t, env] - alpha * novelty[t, env], 0.0)
            visited.add(key)
            if done[t, env]:
                visited = None  # the next step must open an episode
    return bonus


def test_bonus_is_the_paper_s():
    """Over two rollouts with learning in between; the second goes on in the episodes of the first."""
    alpha = 0.8
    noveld = NovelD(hidden=(8,), embedding_size=6, table_size=2**10, alpha=alpha, learning_rate=1e-2)
    warm, batch = trajectories.ring(1, 10, 4, scale=3.0), trajectories.ring(0, 42, 4, size=9)
    state = noveld.init(jax.random.key(0), trajectories.spec(4, 21))
    update = jax.jit(noveld.update)
    state, metrics = update(state, jax.random.key(1), warm.replace(bonus=None))
    assert not metrics

    first, second = trajectories.part(batch, slice(0, 21)), trajectories.part(batch, slice(21, None))
    state, memo, bonus = trajectories.rollout(noveld, state, first)
    expected = numpy_bonus(state, warm.next_obs, batch, alpha)
    np.testing.assert_allclose(bonus, expected[:21], rtol=1e-3, atol=1e-5)
    assert 0.1 < (expected > 0).mean() < 0.7  # neither gate is always open or always shut
    gains = numpy_novelty(state.distillation, warm.next_obs, batch.next_obs)
    gains = gains - alpha * numpy_novelty(state.distillation, warm.next_obs, batch.obs)
    assert (gains < 0).mean() > 0.1

    old = memo
    state, _ = update(state, jax.random.key(2), first.replace(memo=memo))
    seen = np.concatenate([warm.next_obs, first.next_obs])
    expected = numpy_bonus(state, seen, batch, alpha)
    state, memo, bonus = trajectories.rollout(noveld, state, second)
    np.testing.assert_allclose(bonus, expected[21:], rtol=1e-3, atol=1e-5)
    rows, columns = np.array([0, 20, 7, 7, 13]), np.array([3, 1, 0, 2, 2])
    samples = noveld.reward(state, trajectories.part(first, rows, columns), old[rows, columns])
    np.testing.assert_allclose(samples, expected[rows, columns], rtol=1e-3, atol=1e-5)
