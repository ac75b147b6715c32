"""Memories: acting is the replay of the sequence, nothing crosses an episode's start, windows are exact."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import learners
import numpy as np
import probes
import pytest

import purejaxrl
from purejaxrl import algos, discovery, memory, networks
from purejaxrl.algos import PPO, PQN
from purejaxrl.distributions import Categorical
from purejaxrl.types import Transition

each_kind = pytest.mark.parametrize("kind", ["gru", "transformer"])
STEPS, WINDOW = 23, 4


def make(kind, seed=0):
    learner = PPO(memory=kind, memory_size=8, memory_window=WINDOW, hidden=(8, 8))
    network = memory.remember(networks.ActorCritic(1, num_actions=3, hidden=(8,)), learner)
    apply = jax.jit(network.apply)
    obs = jax.random.normal(jax.random.key(seed), (STEPS, 2))
    first = jnp.zeros(STEPS, bool).at[jnp.array([0, 5, 6, 15])].set(True)
    params = memory.init(network, jax.random.key(seed + 1), obs[0])
    # Biases that are not zero, so that a forgotten mask or a stale cache shows.
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(2), x.shape), params)
    return network, apply, params, obs, first


def by_steps(apply, params, carry, obs, first):
    values = []
    for t in range(len(obs)):
        carry, (_, value) = apply(params, carry, obs[t : t + 1], first[t : t + 1])
        values.append(value[0, 0])
    return carry, np.asarray(values)


def test_the_gru_is_flax_s():
    """The same weights in flax's cell, step by step, over an episode's start."""
    gru, cell = memory.GRU(5), nn.GRUCell(5)
    carry, x, first = jnp.linspace(-1, 1, 5), jax.random.normal(jax.random.key(0), (6, 3)), jnp.arange(6) == 2
    params = networks.init(gru, jax.random.key(1), carry, x, first)
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(2), x.shape), params)
    own = params["params"]
    recurrent = dict(zip(("hr", "hz", "hn"), jnp.split(own["recurrent"], 3, axis=1), strict=True))
    theirs = {"ir": own["reset"], "iz": own["update"], "in": own["new"]}
    theirs |= {name: {"kernel": kernel} for name, kernel in recurrent.items()}
    theirs["hn"]["bias"] = own["recurrent_bias"]
    last, found = gru.apply(params, carry, x, first)
    for t in range(6):
        carry, expected = cell.apply({"params": theirs}, jnp.zeros(5) if t == 2 else carry, x[t])
        np.testing.assert_allclose(found[t], expected, atol=1e-6)
    np.testing.assert_array_equal(last, found[-1])
    start = networks.init(gru, jax.random.key(1), carry, x, first)["params"]["recurrent"]
    for kernel in jnp.split(start, 3, axis=1):  # what is carried neither grows nor fades at first
        np.testing.assert_allclose(kernel @ kernel.T, np.eye(5), atol=1e-5)


def test_a_tuple_of_functions_may_have_a_memory():
    class Own(NamedTuple):
        init: Callable
        apply: Callable
        initial: Callable

    def apply(params, carry, obs, first):
        del first
        logits = jnp.broadcast_to(params, (len(obs), 2))
        return carry + 1, (Categorical(logits), jnp.zeros((len(obs), 1)))

    own = Own(lambda key, carry, obs, first: jnp.zeros(2), apply, lambda: jnp.zeros(()))
    env, _ = purejaxrl.make("CartPole-v1")
    train = learners.bind(env, PPO(num_steps=4, num_minibatches=1, network=own), num_envs=2, total_steps=16)
    state, _ = jax.jit(train.advance, static_argnums=1)(train.init(jax.random.key(0)), 2)
    assert (state.actor == 8).all()


@each_kind
@pytest.mark.parametrize("begins", [True, False])
def test_replaying_a_sequence_is_acting_step_by_step(kind, begins):
    """From a fresh carry, and from one that an unfinished episode has left."""
    network, apply, params, obs, first = make(kind)
    carry = network.initial()
    if not begins:
        carry, _ = by_steps(apply, params, carry, obs[::-1][:7], first[:7])
        first = first.at[0].set(False)
    carry_steps, expected = by_steps(apply, params, carry, obs, first)
    carry_whole, (_, value) = apply(params, carry, obs, first)
    np.testing.assert_allclose(value[:, 0], expected, atol=1e-5)
    for x, y in zip(jax.tree.leaves(carry_steps), jax.tree.leaves(carry_whole), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


@each_kind
def test_nothing_crosses_an_episodes_start(kind):
    network, _, params, obs, first = make(kind)

    def value(obs, t):
        return network.apply(params, network.initial(), obs, first)[1][1][t, 0]

    gradient = jax.jit(jax.grad(value))
    reach = {t: np.flatnonzero(np.abs(gradient(obs, t)).sum(-1) > 0).tolist() for t in (4, 5, 14)}
    assert reach[5] == [5]
    assert min(reach[14]) >= 6
    assert max(reach[14]) == 14
    assert reach[4][0] == 0, "inside an episode it does reach back"


def test_a_transformer_layer_sees_exactly_its_window():
    """Two layers of 4 steps reach 8 steps back, in a replay and step by step."""
    network, apply, params, obs, _ = make("transformer")
    first = jnp.zeros(STEPS, bool).at[0].set(True)
    values = [apply(params, network.initial(), x, first)[1][1][:, 0] for x in (obs, obs.at[3].add(1.0))]
    changed = np.flatnonzero(np.abs(values[0] - values[1]) > 1e-7)
    assert changed.tolist() == list(range(3, 3 + 2 * WINDOW + 1))


@each_kind
def test_lookahead_continues_the_episode_that_a_step_is_in(kind):
    """At an episode's end the value is that of the final observation after the episode, not of the next one's start."""
    network, apply, params, obs, first = make(kind)
    final = jax.random.normal(jax.random.key(9), obs.shape)
    _, value = memory.lookahead(
        network, params, memory.initial_carry(network, 1), obs[:, None], first[:, None], final[:, None]
    )
    for t in (4, 5, 11):
        sequence, flags = jnp.concatenate([obs[: t + 1], final[t : t + 1]]), jnp.append(first[: t + 1], False)
        _, (_, expected) = apply(params, network.initial(), sequence, flags)
        np.testing.assert_allclose(value[t, 0], expected[-1], atol=1e-5)


@pytest.mark.parametrize("learner", [PPO, PQN])
@pytest.mark.parametrize("kind", ["gru", pytest.param("transformer", marks=pytest.mark.slow)])
def test_what_only_memory_can_know_is_learned(learner, kind):
    """The first observation tells which action pays three steps later; without memory the mean return is 0."""
    size = {"memory": kind, "memory_size": 16, "memory_window": 4, "hidden": (16, 16), "num_steps": 16}
    learner = learner(**size, learning_rate=3e-3, gamma=0.9)
    train = learners.bind(probes.Recall(), learner, num_envs=16, total_steps=60_000)
    returns = np.asarray(jax.jit(train)(jax.random.key(0)).metrics["episode_return"])
    assert returns[-10:].mean() > 0.8
    assert abs(returns[:2].mean()) < 0.4


def test_the_ratio_starts_at_one():
    """One epoch of one minibatch: the replayed policy is the one that acted, over episode ends and batch borders."""
    for kind in ("gru", "transformer"):
        learner = learners.make(f"ppo-{kind}", num_epochs=1, num_minibatches=1)
        metrics = jax.jit(learners.bind(probes.Clock(), learner, total_steps=256))(jax.random.key(0)).metrics
        np.testing.assert_allclose(metrics["approx_kl"], 0.0, atol=1e-6)
        np.testing.assert_array_equal(metrics["clip_fraction"], 0.0)


def test_samples_are_steps_or_whole_envs():
    rollout = Transition(obs=jnp.arange(6).reshape(3, 2, 1))
    plain = memory.samples(networks.ActorCritic(1, num_actions=2), rollout).obs
    np.testing.assert_array_equal(plain[:, 0], range(6))
    whole = memory.samples(make("gru")[0], rollout).obs
    np.testing.assert_array_equal(whole[..., 0], [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize("name", sorted({*learners.VARIANTS, *discovery.names(algos)}))
def test_traces_with_64_bits(name):
    """Where a user has set jax_enable_x64, counters keep their dtypes."""
    env = probes.ContinuousEndings() if learners.is_continuous(name) else probes.Endings()
    jax.config.update("jax_enable_x64", True)
    try:
        jax.eval_shape(learners.bind(env, learners.make(name)), jax.random.key(0))
    finally:
        jax.config.update("jax_enable_x64", False)
