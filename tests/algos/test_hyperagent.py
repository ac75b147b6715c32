"""HyperAgent: its closed-form loss, its prior, its indices, and that it explores where chance does not."""

import itertools
import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import learners
import numpy as np
import pytest

import purejaxrl
from purejaxrl import envs, offpolicy, replay
from purejaxrl.algos import DQN, HyperAgent
from purejaxrl.bench import bsuite
from purejaxrl.types import OneHot

SIZE = 3  # of the index


class Table:
    """A network that looks up its parameters ``[states, actions, 1 + SIZE]``."""

    apply = staticmethod(lambda params, obs: params[obs[0].astype(int)])


def samples(last_mask=None):
    """An ordinary step from state 0 to 2, a terminated one from 1, one from 2 to 1."""
    return offpolicy.Sample(
        obs=jnp.array([[0.0], [1.0], [2.0]]),
        action=jnp.array([1, 0, 1]),
        reward=jnp.array([1.0, 2.0, 3.0]),
        discount=jnp.array([0.9, 0.0, 0.9]),
        last=jnp.array([[2.0], [1.0], [1.0]]),
        last_mask=last_mask,
        weight=jnp.array([1.0, 0.5, 0.25]),
        place=jnp.array([3, 4, 8]),
    )


def test_the_loss_is_the_mean_over_all_indices():
    """Against the mean over ± a basis, which is the mean of a square over the sphere, with targets by hand."""
    rng = np.random.default_rng(0)
    params, target, prior = rng.normal(size=(3, 3, 2, 1 + SIZE))
    agent = HyperAgent(num_targets=1, index_size=SIZE, prior_scale=2.0, noise_scale=0.3)
    state = SimpleNamespace(prior_gain=jnp.asarray(0.5), noise_seed=jnp.uint32(7), network=Table)
    key, fixed = jax.random.key(1), (jnp.asarray(target), jnp.asarray(prior))
    loss, _ = agent._loss(state, jnp.asarray(params), fixed, key, samples())
    noise = np.asarray(replay.coins(jnp.uint32(7), jnp.array([3, 4, 8]), SIZE))

    prior[..., 0] = 0.0  # the prior has no mean
    online, target = params + prior, target + prior
    index = np.asarray(agent._indices(jax.random.split(key)[0], (1, 3)))[0]
    np.testing.assert_allclose(np.linalg.norm(index, axis=-1), 1.0, rtol=1e-6)
    sphere = np.concatenate([np.eye(SIZE), -np.eye(SIZE)])
    expected = 0.0
    for sample, (state_now, action, after, discount, weight) in enumerate(
        zip([0, 1, 2], [1, 0, 1], [2, 1, 1], [0.9, 0.0, 0.9], [1.0, 0.5, 0.25], strict=True)
    ):
        at = lambda values, xi: values[:, 0] + values[:, 1:] @ xi  # noqa: E731
        choice = at(online[after], index[sample]).argmax()
        y = [1.0, 2.0, 3.0][sample] + discount * at(target[after], index[sample])[choice]
        errors = [(at(online[state_now], xi)[action] - y - 0.3 * noise[sample] @ xi) ** 2 for xi in sphere]
        expected += weight * np.mean(errors) / 1.75
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_the_prior_never_changes_and_gets_no_gradient():
    env, _ = purejaxrl.make("Catch-bsuite")
    agent = learners.make("hyperagent")
    train = learners.bind(env, agent, total_steps=800)
    start = jax.jit(train.init)(jax.random.key(0))
    end, _ = jax.jit(train.advance, static_argnums=1)(start, train.num_updates)
    jax.tree.map(np.testing.assert_array_equal, start.learner.prior, end.learner.prior)
    changed = [
        not np.array_equal(*both)
        for both in zip(*map(jax.tree.leaves, (start.learner.params, end.learner.params)), strict=True)
    ]
    assert all(changed)


def test_an_index_lasts_an_episode_and_each_env_has_its_own():
    env, _ = purejaxrl.make("Catch-bsuite")
    agent = learners.make("hyperagent")
    state = learners.bind(env, agent).init(jax.random.key(0))
    obs, first = state.obs, jnp.array([True, False, False, True])
    before = state.actor
    after, _, _ = agent.act(state.learner, before, jax.random.key(1), obs, first, None)
    kept = [bool((new == old).all()) for new, old in zip(after, before, strict=True)]
    assert kept == [False, True, True, False]
    assert all((a != b).any() for a, b in itertools.combinations(np.asarray(after), 2))
    greedy = [
        agent.act(state.learner, index, jax.random.key(1), obs, first, None, greedy=True)[1]
        for index in (before, after)
    ]
    np.testing.assert_array_equal(*greedy)  # the mean, whatever the index


def test_the_prior_spreads_values_by_its_scale():
    """Over indices, at the start, for observations of any size."""
    for size in (6, 20):
        env = envs.IndexObservation(envs.BsuiteDeepSea(size))
        agent = HyperAgent(prior_scale=3.0, buffer_size=1000, learning_starts=0)
        state = learners.bind(env, agent, num_envs=1, total_steps=size).init(jax.random.key(0)).learner
        params = jax.tree.map(jnp.zeros_like, state.params)
        obs = OneHot(jnp.arange(size**2), size**2 + 1)
        values = agent._values(state, params, state.prior, obs)
        np.testing.assert_allclose(np.asarray(values[..., 0]), 0.0)
        spread = np.sqrt((np.asarray(values[..., 1:]) ** 2).sum(-1).mean() / agent.index_size)
        np.testing.assert_allclose(spread, 3.0, rtol=0.3)


def episodes_to_solve(learner, num_episodes, size=12, seeds=3):
    env = envs.BsuiteDeepSea(size)
    cell_fn, num_cells, _ = env.outcomes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train = purejaxrl.make_train(
            envs.IndexObservation(env),
            learner,
            num_envs=1,
            total_steps=num_episodes * size,
            visits=(lambda state: cell_fn(state.env_state), num_cells),
        )

    def run(key):
        def one(state, _):
            state, _ = train.advance(state, 1)
            return state, state.visits

        return jax.lax.scan(one, train.init(key), length=train.num_updates)[1]

    visits = np.asarray(jax.jit(jax.vmap(run))(jax.vmap(jax.random.key)(jnp.arange(seeds))))
    return [bsuite.deep_sea_solved(found[:, 1], found.sum(-1)) for found in visits]


@pytest.mark.fully_optimised
def test_deep_sea_is_solved_where_epsilon_greedy_finds_nothing():
    """Size 12, 400 episodes: a random walk finds the treasure in one of 4,096."""
    agent, dqn = (
        HyperAgent(hidden=(64,), prior_scale=1.0, learning_rate=1e-3),
        DQN(num_steps=4, num_gradient_steps=4, epsilon_end=0.1, learning_rate=1e-3),
    )
    assert np.isfinite(episodes_to_solve(agent, 400)).all()
    assert np.isnan(episodes_to_solve(dqn, 400)).sum() >= 2
