"""Steps on a batch's rows alone, against steps on the whole table."""

from typing import Any

import jax
import jax.numpy as jnp
import learners
import numpy as np
import optax
import probes
import pytest

from purejaxrl import bonuses, discovery, envs, networks, offpolicy, replay
from purejaxrl.types import OneHot

SIZE, COUNT = 11, 6


def sample(index):
    """Samples of these places, whose observations are one-hot vectors or OneHot."""
    now, last = index
    empty = jnp.zeros(COUNT)
    return offpolicy.Sample(now, empty, jnp.arange(6.0), empty, last, None, jnp.ones(COUNT), jnp.arange(COUNT))


def loss(network):
    def function(params, fixed, key, sample):
        value, last = (
            jax.vmap(lambda x, p=p: network.apply(p, x))(obs) for p, obs in ((params, sample.obs), (fixed, sample.last))
        )
        return jnp.mean((value[:, 0] - sample.reward - last[:, 1]) ** 2), {}

    return function


@pytest.mark.parametrize("members", [None, 3, SIZE])
@pytest.mark.parametrize(("ready", "hidden"), [(True, (5, 4)), (True, (SIZE, SIZE)), (False, (5, 4))])
def test_steps_on_rows_equal_steps_on_the_table(members, ready, hidden):
    """With an optimiser that leaves what has no gradient alone; places appear twice in the batches.

    Layers and ensembles may have as many rows as the table.
    """
    network = networks.QNetwork(num_actions=2, hidden=hidden)
    optimiser = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1))
    key = jax.random.key(0)

    def draw(as_vectors):
        def function(key):
            now, last = jax.random.randint(key, (2, COUNT), 0, SIZE - 3)
            obs = OneHot(now, SIZE), OneHot(last, SIZE)
            return sample(tuple(x.vector() for x in obs) if as_vectors else obs)

        return function

    def train(init_key, as_vectors):
        params = networks.init(network, init_key, jnp.zeros(SIZE))
        fixed = jax.tree.map(lambda x: 2 * x, params)
        learned = params, optimiser.init(params)
        return offpolicy.descend(
            loss(network), optimiser, learned, fixed, draw(as_vectors), key, num_steps=4, ready=ready
        )[0][0]

    keys = jax.random.key(1) if members is None else jax.random.split(jax.random.key(1), members)
    run = train if members is None else jax.vmap(train, in_axes=(0, None))
    rows, table = run(keys, False), run(keys, True)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-6), rows, table)
    start = jax.vmap(lambda key: networks.init(network, key, jnp.zeros(SIZE)))(jnp.atleast_1d(keys))
    moved = [bool((x != y.reshape(x.shape)).any()) for x, y in zip(*map(jax.tree.leaves, (rows, start)), strict=True)]
    assert all(moved) if ready else not any(moved)


def test_untouched_rows_keep_their_moments():
    network, optimiser = networks.QNetwork(num_actions=2, hidden=(5,)), optax.adam(0.1)
    params = networks.init(network, jax.random.key(0), OneHot(jnp.int32(0), SIZE))
    learned = params, optimiser.init(params)
    step = lambda learned, place: offpolicy.descend(  # noqa: E731
        loss(network),
        optimiser,
        learned,
        params,
        lambda key: sample((OneHot(jnp.full(COUNT, place), SIZE), OneHot(jnp.full(COUNT, place), SIZE))),
        jax.random.key(0),
        num_steps=2,
    )[0]
    first = step(learned, 4)
    second = step(first, 7)
    table = lambda tree: np.asarray(jax.tree.leaves(tree["params"]["Torso_0"])[-1])  # noqa: E731
    moments = [np.asarray(x) for x in jax.tree.leaves(second[1]) if np.shape(x) == (SIZE, 5)]
    assert len(moments) == 2
    assert all(set(np.flatnonzero(x.any(1))) == {4, 7} for x in moments)
    np.testing.assert_array_equal(table(second[0])[4], table(first[0])[4])
    np.testing.assert_array_equal(np.delete(table(second[0]), (4, 7), 0), np.delete(table(params), (4, 7), 0))


def test_one_hot_observations_are_their_places():
    env = envs.BsuiteDeepSea(5)
    short = envs.IndexObservation(env)
    params, key = env.default_params, jax.random.key(0)
    obs, state = env.reset_env(key, params)
    index, short_state = short.reset_env(key, params)
    for _ in range(5):
        assert short.observation_space(params).contains(index)
        np.testing.assert_array_equal(index.vector(), np.append(np.ravel(obs), float(not obs.any())))
        obs, state, *_ = env.step_env(key, state, 1, params)
        index, short_state, *_ = short.step_env(key, short_state, 1, params)
    np.testing.assert_array_equal(index.index, 25)  # the end shows zeros


@pytest.mark.parametrize("noisy", [False, True])
def test_networks_take_one_hot_observations_as_vectors(noisy):
    network, index = networks.QNetwork(num_actions=3, hidden=(6,), noisy=noisy), jnp.int32(4)
    short, rngs = OneHot(index, SIZE), {"noise": jax.random.key(2)}
    params = networks.init(network, jax.random.key(0), short)
    same = networks.init(network, jax.random.key(0), short.vector())
    jax.tree.map(np.testing.assert_array_equal, params, same)

    def output(params, obs) -> Any:
        return network.apply(params, obs, rngs=rngs)

    np.testing.assert_allclose(output(params, short), output(params, short.vector()), rtol=1e-5)
    grads = [jax.grad(lambda p, obs=obs: output(p, obs)[1])(params) for obs in (short, short.vector())]
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7), *grads)
    stack = OneHot(jnp.array([4, 0, 9]), SIZE)  # as FrameStack shows it
    params = networks.init(network, jax.random.key(0), stack)
    jax.tree.map(
        np.testing.assert_array_equal, params, networks.init(network, jax.random.key(0), stack.vector().ravel())
    )
    np.testing.assert_allclose(output(params, stack), output(params, stack.vector().ravel()), rtol=1e-5)
    both = networks.flatten({"place": short, "number": jnp.array([2.0])})
    np.testing.assert_array_equal(both, np.append(2.0, short.vector()))


@pytest.mark.parametrize("name", ["bootdqn", "hyperagent"])
def test_stacks_of_one_hot_observations_and_blank_ones(name):
    """Stacks are learnt from as the vectors that they are; of zeros no prior's gain can be taken, so that it stays."""
    env = envs.FrameStack(envs.IndexObservation(envs.BsuiteDeepSea(4)), 3)
    learner = learners.make(name, num_steps=4, learning_starts=8, buffer_size=200, batch_size=8)
    train = learners.bind(env, learner, num_envs=2, total_steps=24)
    found = jax.jit(train)(jax.random.key(0))
    assert np.isfinite(found.metrics["q_loss"]).all()

    train = learners.bind(Blank(), learner, num_envs=2, total_steps=24)
    before = train.init(jax.random.key(0))
    after, _ = jax.jit(train.advance, static_argnums=1)(before, 3)
    np.testing.assert_array_equal(after.learner.prior_gain, before.learner.prior_gain)


class Blank(probes.Clock):
    """Which shows nothing."""

    def obs(self, state):
        return jnp.zeros(1)


def test_coins_are_fair_and_stay():
    places = jnp.arange(4000)
    coins = np.asarray(replay.coins(jnp.uint32(12345), places, 4))
    np.testing.assert_array_equal(coins[[5, 9]], replay.coins(jnp.uint32(12345), jnp.array([5, 9]), 4))
    assert set(np.unique(coins)) == {-1.0, 1.0}
    covariance = coins.T @ coins / len(coins)
    np.testing.assert_allclose(covariance, np.eye(4), atol=0.08)
    np.testing.assert_allclose(coins.mean(0), 0.0, atol=0.08)
    assert (coins != np.asarray(replay.coins(jnp.uint32(999), places, 4))).mean() > 0.4


@pytest.mark.parametrize("name", ["none", *discovery.names(bonuses)])
def test_every_bonus_takes_one_hot_observations(name):
    """Traced, with a learner that standardises what it sees."""
    env = envs.IndexObservation(envs.BsuiteDeepSea(5))
    settings = {"bonus": bonuses.Counts()} if name == "sofe" else {}
    bonus = None if name == "none" else discovery.load(bonuses, name)(**settings)
    learner = learners.make("ppo", normalise_obs=True)
    shapes = jax.eval_shape(learners.bind(env, learner, bonus=bonus, total_steps=20_000), jax.random.key(0))
    assert isinstance(shapes.state.obs, OneHot)
