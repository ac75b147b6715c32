"""RIDE against a plain NumPy version: a dictionary for each episode, the encoder in float64."""

import jax
import numpy as np
import numpynets
import trajectories

from purejaxrl.bonuses import RIDE
from purejaxrl.dynamics import Losses


def numpy_bonus(params, batch):
    num_steps, num_envs = batch.reward.shape
    done, bonus = trajectories.done(batch), np.zeros((num_steps, num_envs))
    obs, next_obs = np.asarray(batch.obs), np.asarray(batch.next_obs)
    impact = numpynets.forward(params, next_obs) - numpynets.forward(params, obs)
    for env in range(num_envs):
        visits = None
        for t in range(num_steps):
            if batch.first[t, env]:
                visits = {obs[t, env].tobytes(): 1}
            key = next_obs[t, env].tobytes()
            visits[key] = visits.get(key, 0) + 1
            bonus[t, env] = np.sqrt(np.square(impact[t, env]).sum()) / np.sqrt(visits[key])
            if done[t, env]:
                visits = None  # the next step must open an episode
    return bonus


def test_bonus_is_the_paper_s():
    """Over two rollouts, the second of which goes on in the episodes of the first; and of samples, as in a replay."""
    ride = RIDE(hidden=(8,), embedding_size=6, table_size=2**10)
    batch = trajectories.ring(0, 42, 4)
    state = ride.init(jax.random.key(0), trajectories.spec(4, 21))
    state, memo, first = trajectories.rollout(ride, state, trajectories.part(batch, slice(0, 21)))
    expected = numpy_bonus(state.dynamics.params.encoder, batch)
    np.testing.assert_allclose(first, expected[:21], rtol=1e-4, atol=1e-6)
    old = memo
    state, memo, second = trajectories.rollout(ride, state, trajectories.part(batch, slice(21, None)))
    np.testing.assert_allclose(second, expected[21:], rtol=1e-4, atol=1e-6)
    rows, columns = np.array([0, 20, 7, 7, 13]), np.array([3, 1, 0, 2, 2])
    samples = ride.reward(state, trajectories.part(batch, rows, columns), old[rows, columns])
    np.testing.assert_allclose(samples, expected[rows, columns], rtol=1e-4, atol=1e-6)


def test_samples_get_the_learned_features_and_keep_their_counts():
    ride = RIDE(hidden=(8,), embedding_size=6, table_size=2**10, learning_rate=1e-2)
    batch = trajectories.ring(0, 21, 4)
    state, memo, _ = trajectories.rollout(ride, ride.init(jax.random.key(0), trajectories.spec(4, 21)), batch)
    learned, _ = jax.jit(ride.update)(state, jax.random.key(1), batch.replace(memo=memo))
    expected = numpy_bonus(learned.dynamics.params.encoder, batch)
    np.testing.assert_allclose(ride.reward(learned, batch, memo), expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(ride.reward(state, batch, memo), expected, rtol=1e-2)


def test_both_losses_are_weighed_and_flow_into_the_features():
    """Each alone moves the encoder."""
    losses = Losses(inverse=np.array([0.7, 2.0]), forward=np.array([9.0, 0.0]))
    loss = RIDE(forward_coef=10.0, inverse_coef=0.1)._loss(losses)
    np.testing.assert_allclose(loss, [10 * 9 + 0.1 * 0.7, 0.1 * 2.0], rtol=1e-6)

    batch = trajectories.ring(0, 21, 4)
    for weights in ({"inverse_coef": 0.0}, {"forward_coef": 0.0}):
        ride = RIDE(hidden=(8,), embedding_size=6, table_size=2**10, **weights)
        state = ride.init(jax.random.key(0), trajectories.spec(4, 21))
        learned, _ = jax.jit(ride.update)(state, jax.random.key(1), batch)
        before, after = state.dynamics.params.encoder, learned.dynamics.params.encoder
        assert any((x != y).any() for x, y in zip(*map(jax.tree.leaves, (before, after)), strict=True))


def test_features_do_not_collapse():
    """The forward loss alone would make φ a constant: with both, actions are told apart and steps still move φ."""
    ride = RIDE(hidden=(16,), embedding_size=6, table_size=2**6, learning_rate=3e-3)
    state = ride.init(jax.random.key(0), trajectories.spec(16, 21))
    batch, update = trajectories.ring(0, 21, 16), jax.jit(ride.update)
    moves = np.asarray(batch.action) != 1
    for step in range(150):
        state, metrics = update(state, jax.random.key(step), batch)
    assert metrics["inverse_loss"] < 0.2 * np.log(3)
    impact = np.asarray(ride.reward(state, batch, np.zeros((21, 16))))
    assert impact[moves].mean() > 0.1
    np.testing.assert_allclose(impact[~moves], 0.0, atol=1e-6)
