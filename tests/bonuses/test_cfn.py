"""CFN against plain NumPy: its value, the ring of arrivals, and the least squares that its training leads to."""

import jax
import jax.numpy as jnp
import learners
import numpy as np
import probes
import pytest
from numpynets import forward

from purejaxrl.algos import PPO
from purejaxrl.bonuses import CFN, RND
from purejaxrl.types import Spec, Transition


def spec(size, num_envs=3, num_steps=5):
    return Spec(None, None, num_envs, num_steps, 40, observation=jax.ShapeDtypeStruct((size,), np.float32))


def batch(obs, warm_up=False):
    leading = obs.shape[:2]
    return Transition(
        next_obs=jnp.asarray(obs, jnp.float32), reward=jnp.zeros(leading), bonus=None if warm_up else jnp.zeros(leading)
    )


def test_the_ring_holds_a_whole_run_whatever_warms_up_longer():
    """A larger ring of a longer run could else not go on from it: it would have come around."""
    bonus = CFN(warmup_steps=0, num_gradient_steps=1, hidden=(4,)) + RND(warmup_steps=60, hidden=(4,))
    learner = PPO(num_steps=8, num_minibatches=2, hidden=(4,))
    train = learners.bind(probes.Clock(), learner, bonus=bonus, num_envs=4, total_steps=60 + 3 * 32)
    found = jax.jit(train)(jax.random.key(0)).state.bonus[0]
    assert found.used == found.coins.shape[0] == 60 + 3 * 32


def init(cfn, spec):
    return jax.jit(lambda key: cfn.init(key, spec))(jax.random.key(0))


def numpy_bonus(state, seen, obs):
    """Moments of all that was `seen`, a list of batches; the prior's are of its outputs when each batch came."""

    def standardised(seen, obs):
        seen = np.concatenate([x.reshape(-1, x.shape[-1]) for x in seen]).astype(np.float64)
        return np.clip((obs - seen.mean(0)) / np.sqrt(seen.var(0) + 1e-8), -5, 5)

    def prior(x):
        return forward(state.prior, x)

    priors = [prior(standardised(seen[: i + 1], x)) for i, x in enumerate(seen)]
    x = standardised(seen, obs)
    flips = standardised(priors, prior(x)) + forward(state.trained, x)
    return np.sqrt(np.square(flips).mean(-1))


def test_bonus_is_the_paper_s():
    generator = np.random.default_rng(0)
    cfn = CFN(hidden=(8, 8), num_coins=6, learning_rate=1e-2)
    state = init(cfn, spec(4))
    seen = [generator.normal(2, 3, (10, 3, 4)).astype(np.float32)]
    seen[0][..., 3] = 1.0  # a constant feature
    first, metrics = cfn.update(state, jax.random.key(1), batch(seen[0], warm_up=True))
    assert not metrics
    for name in ("prior", "trained"):
        jax.tree.map(np.testing.assert_array_equal, getattr(state, name), getattr(first, name))  # nothing learnt yet
    state = first
    for index in range(3):
        obs = generator.normal(2, 5, (5, 3, 4)).astype(np.float32)
        got = cfn.reward(state, batch(obs), ())
        np.testing.assert_allclose(got, numpy_bonus(state, seen, obs), rtol=1e-3)
        assert got.shape == (5, 3)
        prior = state.prior
        state, _ = cfn.update(state, jax.random.key(index), batch(obs))
        seen.append(obs)
        jax.tree.map(np.testing.assert_array_equal, prior, state.prior)
    assert any((np.asarray(leaf) != 0).any() for leaf in jax.tree.leaves(state.trained["params"]["Dense_0"]))


def test_what_is_unseen_starts_near_one():
    generator = np.random.default_rng(1)
    cfn = CFN(num_coins=64)
    state = init(cfn, spec(6))
    state, _ = cfn.update(state, jax.random.key(1), batch(generator.normal(3, 2, (100, 3, 6)), warm_up=True))
    fresh = cfn.reward(state, batch(generator.normal(3, 2, (100, 3, 6))), ())
    assert 0.95 < np.sqrt(np.square(fresh).mean()) < 1.05
    assert np.percentile(fresh, 5) > 0.5


@pytest.mark.parametrize("steps", [[5, 5, 5, 5, 5, 5], [2, 12, 2, 12, 2]], ids=["equal", "longer than the ring too"])
def test_ring_holds_the_last_arrivals_with_their_own_coins(steps):
    """Against a list: observations by their number, coins that stay, and differ from arrival to arrival."""
    cfn = CFN(buffer_size=28, num_coins=16, hidden=(4,), num_gradient_steps=1, batch_size=4)
    state, update = init(cfn, spec(1)), jax.jit(lambda state, key, obs: cfn.update(state, key, batch(obs, True)))
    arrived, coins = [], {}
    for index, count in enumerate(steps):
        obs = len(arrived) + np.arange(count * 3).reshape(count, 3, 1)
        state, _ = update(state, jax.random.key(index), obs)
        arrived += list(obs.ravel())
        held = arrived[-28:]
        assert state.used == len(held)
        ring = np.asarray(state.obs)[: len(held), 0].astype(int)
        assert sorted(ring) == held
        for number, drawn in zip(ring, np.asarray(state.coins), strict=False):
            coins.setdefault(number, drawn)
            np.testing.assert_array_equal(coins[number], drawn)
    drawn = np.array(list(coins.values()))
    assert set(drawn.ravel()) == {-1, 1}
    assert len(np.unique(drawn, axis=0)) > len(drawn) - 3
    assert abs(drawn.mean()) < 0.15


def rank(x):
    return np.argsort(np.argsort(x))


def test_training_leads_to_least_squares_and_that_to_one_over_the_root_of_n():
    """Ten states visited 1 to 512 times: f tends to the mean coins of each, whose root mean square is near 1/√n."""
    counts = 2 ** np.arange(10)
    visits = np.random.default_rng(2).permutation(np.repeat(np.arange(10), counts)).reshape(-1, 3, 1)
    cfn = CFN(num_coins=100, hidden=(64,), batch_size=512, num_gradient_steps=400)
    state = init(cfn, spec(10, num_envs=3, num_steps=341))
    state, _ = cfn.update(state, jax.random.key(1), batch(np.eye(10)[visits[..., 0]], warm_up=True))
    learn = jax.jit(lambda rate, state, key: cfn.replace(learning_rate=rate).learn(state, key))
    for index, rate in enumerate([3e-3, 3e-3, 1e-3, 3e-4, 1e-4]):
        state, metrics = learn(rate, state, jax.random.key(index))

    state_of = np.asarray(state.obs)[: state.used].argmax(-1)
    coins = np.asarray(state.coins, np.float64)[: state.used]
    mean_coins = np.array([coins[state_of == index].mean(0) for index in range(10)])  # least squares in closed form
    solution = np.sqrt(np.square(mean_coins).mean(-1))
    bonus = cfn.reward(state, batch(np.eye(10)[:, None]), ())[:, 0]
    np.testing.assert_allclose(solution, 1 / np.sqrt(counts), rtol=0.25)
    np.testing.assert_allclose(bonus, solution, rtol=0.1, atol=0.01)
    np.testing.assert_array_equal(rank(bonus), rank(1 / np.sqrt(counts)))
    best = np.square(mean_coins[state_of] - coins).mean()
    assert best * 0.95 < metrics["cfn_loss"] < best * 1.05


def test_old_states_stay_known():
    """One hundred visits to two states, then as many updates with other ones only."""
    cfn = CFN(hidden=(32,), learning_rate=3e-3)
    state = init(cfn, spec(4))
    update = jax.jit(cfn.update)
    old, new = (np.eye(4)[np.arange(15).reshape(5, 3) % 2 + shift] for shift in (0, 2))
    for index in range(30):
        state, _ = update(state, jax.random.key(index), batch(old))
    before = cfn.reward(state, batch(old), ()).mean()
    for index in range(30):
        state, _ = update(state, jax.random.key(100 + index), batch(new))
    assert before < 0.2
    assert cfn.reward(state, batch(old), ()).mean() < 0.2
