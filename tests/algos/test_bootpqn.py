"""BootPQN: one update by hand, from the λ-returns that a member's own best actions cut to RAdam's step."""

import jax
import jax.numpy as jnp
import learners
import numpy as np
import pytest

import purejaxrl
from purejaxrl import ensembles
from purejaxrl.algos.bootpqn import BootPQN, BootPQNState
from purejaxrl.types import Transition

MEMBERS, STEPS, ENVS, STATES, ACTIONS = 3, 6, 4, 5, 3
GAMMA, LAM, SCALE = 0.9, 0.7, 1.5


class Table:
    """A network that looks up its parameters ``[states, actions]``."""

    apply = staticmethod(lambda params, obs: params[obs])


def a_batch(masks):
    draw = np.random.default_rng(0)
    states = draw.integers(0, STATES, (STEPS + 1, ENVS))
    ended = draw.integers(0, 4, (STEPS, ENVS))
    mask = draw.random((STEPS + 1, ENVS, ACTIONS)) < 0.7
    mask[..., 0] = True
    action = draw.integers(0, ACTIONS, (STEPS, ENVS))
    mask[:-1][*np.indices(action.shape), action] = True
    batch = Transition(
        obs=states[:-1],
        next_obs=states[1:],
        action=action,
        reward=draw.normal(size=(STEPS, ENVS)).astype(np.float32),
        bonus=draw.random((STEPS, ENVS)).astype(np.float32),
        terminated=ended == 1,
        truncated=ended == 2,
        mask=mask[:-1] if masks else None,
        next_mask=mask[1:] if masks else None,
    )
    return jax.tree.map(jnp.asarray, batch)


def best(values, mask):
    return values.max() if mask is None else values[mask].max()


@pytest.mark.parametrize("masks", [False, True])
def test_one_update_by_hand(masks):
    params, prior = np.random.default_rng(1).normal(size=(2, MEMBERS, STATES, ACTIONS)).astype(np.float32)
    learner = BootPQN(
        gamma=GAMMA, lam=LAM, prior_scale=SCALE, num_members=MEMBERS, learning_rate=0.1, max_grad_norm=1e6,
        num_epochs=1, num_minibatches=1,
    )  # fmt: skip
    learner_state = BootPQNState(
        params=jnp.asarray(params),
        prior=jnp.asarray(prior),
        prior_gain=jnp.asarray(0.5),
        opt_state=learner._optimiser(0.0).init(jnp.zeros(params.size)),
        updates=jnp.zeros((), jnp.int32),
        num_updates=jnp.asarray(10),
        network=Table,
    )
    batch = a_batch(masks)
    after, metrics = jax.jit(lambda state, key: learner.update(state, key, batch, None, None))(
        learner_state, jax.random.key(0)
    )
    q, cut = params + SCALE * 0.5 * prior, 0
    gradient, squares = np.zeros_like(params), []
    for k in range(MEMBERS):
        for env in range(ENVS):
            later = 0.0
            for t in reversed(range(STEPS)):
                step = jax.tree.map(lambda x, t=t, env=env: np.asarray(x)[t, env], batch)
                value = best(q[k, step.next_obs], step.next_mask)
                trace = 0.0
                if t < STEPS - 1 and not (step.terminated or step.truncated):
                    following = jax.tree.map(lambda x, t=t, env=env: np.asarray(x)[t + 1, env], batch)
                    own = q[k, following.obs, following.action] == best(q[k, following.obs], following.mask)
                    trace, cut = LAM * own, cut + (not own)
                onward = 0.0 if step.terminated else (1 - trace) * value + trace * later
                later = step.reward + step.bonus + GAMMA * onward
                error = q[k, step.obs, step.action] - later
                gradient[k, step.obs, step.action] += error / (MEMBERS * ENVS * STEPS)
                squares.append(error**2)
    assert 0 < cut < 0.9 * MEMBERS * ENVS * STEPS
    np.testing.assert_allclose(metrics["q_loss"], 0.5 * np.mean(squares), rtol=1e-5)
    # RAdam's first steps are not adaptive: the learning rate times the gradient
    np.testing.assert_allclose(after.params, params - 0.1 * gradient, atol=1e-6)
    taken = q[:, np.asarray(batch.obs), np.asarray(batch.action)]
    np.testing.assert_allclose(metrics["q_spread"], taken.std(0).mean(), rtol=1e-5)


def test_members_of_a_hypermodel_are_its_readings():
    """Each is the mean and a combination of `index_size` directions, the same one whatever the observation."""
    network = ensembles.HyperEnsemble(num_members=7, num_actions=3, index_size=2, hidden=(16,))
    obs = jax.random.normal(jax.random.key(1), (40, 4))
    params = jax.tree.map(lambda x: x[None], network.init(jax.random.key(2), obs[0]))
    values = np.asarray(ensembles.values(network, params, obs))
    assert values.shape == (7, 40, 3)
    mean = jax.vmap(lambda x: network.clone(num_members=2).apply(network.init(jax.random.key(2), obs[0]), x))(obs)
    np.testing.assert_allclose(values.mean(0), mean.mean(1), atol=1e-5)
    apart = (values - values.mean(0)).reshape(7, -1)
    singular = np.linalg.svd(apart, compute_uv=False)
    assert singular[1] > 0.01 * singular[0] > 1000 * singular[2]
    np.testing.assert_allclose(ensembles.prior_values(network, params, obs), values - values.mean(0), atol=1e-6)


def test_a_hypermodels_prior_never_changes_and_all_of_it_learns():
    env, _ = purejaxrl.make("Catch-bsuite")
    agent = learners.make("bootpqn", num_members=5, index_size=2, prior_scale=2.0)
    train = learners.bind(env, agent, total_steps=800)
    start = jax.jit(train.init)(jax.random.key(0))
    some = jax.random.uniform(jax.random.key(1), (500, *start.obs.shape[1:]))
    assert 1.0 < agent._prior(start.learner, some).std() < 3.0
    end, metrics = jax.jit(train.advance, static_argnums=1)(start, train.num_updates)
    jax.tree.map(np.testing.assert_array_equal, start.learner.prior, end.learner.prior)
    changed = jax.tree.map(lambda x, y: bool((x != y).any()), start.learner.params, end.learner.params)
    assert all(jax.tree.leaves(changed))
    assert metrics["q_spread"][-1] < metrics["q_spread"][0]
