"""HyperAgent: its closed-form loss, its prior, its indices, and that it explores where chance does not."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import learners
import numpy as np
import pytest

import purejaxrl
from purejaxrl import envs, replay
from purejaxrl.algos import HyperAgent
from purejaxrl.types import OneHot

SIZE = 3  # of the index


class Table:
    """A network that looks up its parameters ``[states, actions, 1 + SIZE]``."""

    apply = staticmethod(lambda params, obs: params[obs[0].astype(int)])


@pytest.mark.parametrize("target_index", ["independent", "same"])
def test_the_loss_is_that_of_a_loop_over_indices(target_index):
    """Where targets have indices of their own: over ± a basis, whose mean of a square is the sphere's."""
    rng = np.random.default_rng(0)
    params, target, prior = rng.normal(size=(3, 3, 2, 1 + SIZE))
    settings = {"num_targets": 2, "index_size": SIZE, "prior_scale": 2.0, "noise_scale": 0.3}
    agent = HyperAgent(target_index=target_index, **settings)
    state = SimpleNamespace(prior_gain=jnp.asarray(0.5), noise_seed=jnp.uint32(7), network=Table)
    key, fixed = jax.random.key(1), (jnp.asarray(target), jnp.asarray(prior))
    mask = jnp.array([[True, False], [True, True], [True, True]])
    loss, _ = agent._loss(state, jnp.asarray(params), fixed, key, learners.samples(mask))
    noise = np.asarray(replay.coins(jnp.uint32(7), jnp.array([3, 4, 8]), SIZE))

    prior[..., 0] = 0.0  # the prior has no mean
    online, target = params + prior, target + prior
    indices = np.asarray(agent._indices(jax.random.split(key)[0], (2, 3)))
    np.testing.assert_allclose(np.linalg.norm(indices, axis=-1), 1.0, rtol=1e-6)
    sphere = np.concatenate([np.eye(SIZE), -np.eye(SIZE)])
    expected = 0.0
    for sample, (state_now, action, after, discount, weight) in enumerate(
        zip([0, 1, 2], [1, 0, 1], [2, 1, 1], [0.9, 0.0, 0.9], [1.0, 0.5, 0.25], strict=True)
    ):
        at = lambda values, xi: values[:, 0] + values[:, 1:] @ xi  # noqa: E731
        targets = []
        for xi in indices[:, sample]:
            choice = 0 if sample == 0 else at(online[after], xi).argmax()  # the other one is not allowed there
            targets.append([1.0, 2.0, 3.0][sample] + discount * at(target[after], xi)[choice])
        pairs = [(xi, np.mean(targets)) for xi in sphere]
        if target_index == "same":
            pairs = zip(indices[:, sample], targets, strict=True)
        errors = [(at(online[state_now], xi)[action] - y - 0.3 * noise[sample] @ xi) ** 2 for xi, y in pairs]
        expected += weight * np.mean(errors) / 1.75
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_the_prior_never_changes():
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


@pytest.mark.parametrize("name", ["hyperagent", "bootdqn"])
@pytest.mark.parametrize("size", [6, 20])
def test_the_prior_fits_the_observations_that_are_met(name, size):
    """A grid's one 1 among many 0 is nothing like normal numbers, whose prior would be a tenth of its scale."""
    env, cells = envs.BsuiteDeepSea(size), jnp.eye(size**2).reshape(-1, size, size)
    settings = {"num_members": 40} if name == "bootdqn" else {"index_size": 40}
    agent = learners.make(name, num_steps=16, learning_starts=64, buffer_size=2000, batch_size=64, **settings)
    train = learners.bind(env, agent, num_envs=4, total_steps=256)
    before = train.init(jax.random.key(0))
    first, after = (jax.jit(train.advance, static_argnums=1)(before, count)[0] for count in (1, 4))

    def spread(learner):
        zero = jax.tree.map(jnp.zeros_like, learner.params)
        values = np.asarray(agent._values(learner, zero, learner.prior, cells))
        return values.std() if name == "bootdqn" else np.sqrt(np.square(values[..., 1:]).sum(-1).mean() / 40)

    seen, loss = [], type(agent)._loss

    def recorded(self, state, *rest):
        jax.debug.callback(lambda gain: seen.append(float(gain)), state.prior_gain)
        return loss(self, state, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(agent), "_loss", recorded)
        jax.jit(learners.bind(env, agent, num_envs=4, total_steps=256).advance, static_argnums=1)(before, 1)
        jax.effects_barrier()
    np.testing.assert_allclose(seen, float(first.learner.prior_gain))  # from the first gradient step on
    assert spread(before.learner) < 0.7 * agent.prior_scale
    np.testing.assert_allclose(spread(first.learner), agent.prior_scale, rtol=0.25)
    np.testing.assert_array_equal(first.learner.prior_gain, after.learner.prior_gain)
