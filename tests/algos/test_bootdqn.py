"""Bootstrapped DQN: its loss by hand; what it shares with BootPQN: members that differ, priors that stay, ties."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import learners
import numpy as np
import pytest

import purejaxrl
from purejaxrl import exploration, replay
from purejaxrl.algos import BootDQN

MEMBERS = 4


class Table:
    """A network that looks up its parameters ``[states, actions]``."""

    apply = staticmethod(lambda params, obs: params[obs[0].astype(int)])


@pytest.mark.parametrize("bootstrap", [False, True])
def test_the_loss_by_hand(bootstrap):
    """Each member towards its own target, with its own prior and its own coins."""
    params, target, prior = np.random.default_rng(0).normal(size=(3, MEMBERS, 3, 2))
    agent = BootDQN(num_members=MEMBERS, prior_scale=2.0, noise_scale=0.3, bootstrap=bootstrap)
    state = SimpleNamespace(prior_gain=jnp.asarray(0.5), seed=jnp.uint32(7), network=Table)
    mask = jnp.array([[True, False], [True, True], [True, True]])
    fixed = jnp.asarray(target), jnp.asarray(prior)
    loss, metrics = agent._loss(state, jnp.asarray(params), fixed, jax.random.key(0), learners.samples(mask))
    coins = np.asarray(replay.coins(jnp.uint32(7), jnp.array([3, 4, 8]), 2 * MEMBERS))
    params, target = params + prior, target + prior
    total = weights = 0.0
    for member in range(MEMBERS):
        for sample, (now, action, after, discount, weight) in enumerate(
            zip([0, 1, 2], [1, 0, 1], [2, 1, 1], [0.9, 0.0, 0.9], [1.0, 0.5, 0.25], strict=True)
        ):
            best = target[member, after, 0] if sample == 0 else target[member, after].max()
            y = [1.0, 2.0, 3.0][sample] + 0.3 * coins[sample, member] + discount * best
            weight *= coins[sample, MEMBERS + member] > 0 if bootstrap else 1.0
            total, weights = total + weight * (params[member, now, action] - y) ** 2, weights + weight
    np.testing.assert_allclose(loss, total / weights, rtol=1e-5)
    spread = np.std([params[:, 0, 1], params[:, 1, 0], params[:, 2, 1]], axis=1).mean()
    np.testing.assert_allclose(metrics["q_spread"], spread, rtol=1e-5)


@pytest.mark.parametrize("name", ["bootdqn", "bootpqn"])
def test_members_differ_and_priors_never_change(name):
    env, _ = purejaxrl.make("Catch-bsuite")
    train = learners.bind(env, learners.make(name), total_steps=800)
    start = jax.jit(train.init)(jax.random.key(0))
    end, _ = jax.jit(train.advance, static_argnums=1)(start, train.num_updates)
    jax.tree.map(np.testing.assert_array_equal, start.learner.prior, end.learner.prior)
    for tree in (end.learner.params, end.learner.prior):
        kernels = [leaf for leaf in jax.tree.leaves(tree) if leaf.ndim == 3]
        assert all((kernel[i] != kernel[j]).any() for kernel in kernels for i in range(3) for j in range(i))
    changed = jax.tree.map(lambda x, y: bool((x != y).any()), start.learner.params, end.learner.params)
    assert all(jax.tree.leaves(changed))


@pytest.mark.parametrize("name", ["bootdqn", "bootpqn"])
def test_a_member_acts_for_an_episode_and_all_of_them_together_at_the_end(name):
    env, _ = purejaxrl.make("Catch-bsuite")
    agent = learners.make(name, num_steps=1)
    state = learners.bind(env, agent, num_envs=64).init(jax.random.key(0))
    first = jnp.arange(64) < 48
    after, action, _ = agent.act(state.learner, state.actor, jax.random.key(1), state.obs, first, None)
    np.testing.assert_array_equal(after[48:], state.actor[48:])
    assert set(np.asarray(after[:48])) == set(range(agent.num_members))
    both = (state.learner.params, state.learner.prior) if name == "bootdqn" else ()
    values = np.asarray(agent._values(state.learner, *both, state.obs))
    np.testing.assert_array_equal(action, [values[m, e].argmax() for e, m in enumerate(np.asarray(after))])
    greedy = agent.act(state.learner, after, jax.random.key(1), state.obs, first, None, greedy=True)[1]
    np.testing.assert_array_equal(greedy, values.mean(0).argmax(-1))


def test_ties_break_at_random_among_what_is_allowed():
    q = jnp.broadcast_to(jnp.array([1.0, 2.0, 2.0, 2.0]), (3000, 4))
    mask = jnp.broadcast_to(jnp.array([True, True, True, False]), q.shape)
    shares = np.bincount(exploration.greedy(jax.random.key(0), q, mask), minlength=4) / 3000
    np.testing.assert_allclose(shares, [0, 0.5, 0.5, 0], atol=0.04)
    broken, allowed = jnp.array([1.0, 2.0, jnp.nan]), jnp.array([False, True, True])
    assert all(exploration.greedy(jax.random.key(i), broken, allowed) > 0 for i in range(5))
