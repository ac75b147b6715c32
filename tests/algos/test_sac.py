"""SAC: each of its losses by hand, the temperature's direction, units of bounded actions, and what it learns."""

import jax
import jax.numpy as jnp
import learners
import numpy as np
import probes
import pytest

import purejaxrl
from purejaxrl import offpolicy, replay
from purejaxrl.algos import SAC
from purejaxrl.types import Transition


def start(learner, env=None, **kwargs):
    train = learners.bind(probes.ContinuousEndings() if env is None else env, learner, **kwargs)
    return train, jax.jit(train.init)(jax.random.key(0))


def one_step(learner, state, reward):
    found = offpolicy.joined(windows(), reward, learner.gamma, jnp.arange(7))
    carry = (state.actor_params, state.critic_params, state.target_params, state.log_alpha, state.opt_states)
    return learner._gradient_step(carry, jax.random.key(5), found, state.bounds)


def windows(size=7):
    generator = np.random.default_rng(0)
    obs, action = np.eye(7)[generator.integers(7, size=(1, size))], generator.uniform(-1, 3, (1, size, 2))
    flags = generator.random((2, 1, size)) < 0.4
    step = Transition(
        obs=jnp.asarray(obs, jnp.float32), action=jnp.asarray(action, jnp.float32), terminated=jnp.asarray(flags[0]),
        truncated=jnp.asarray(flags[1]),
    )  # fmt: skip
    last = jnp.asarray(np.eye(7)[generator.integers(7, size=size)], jnp.float32)
    return replay.Windows(step, jnp.ones((1, size), bool), last, None, jnp.ones(size))


def test_critic_target_and_losses_by_hand():
    learner = learners.make("sac", gamma=0.9, alpha=0.3)
    state = start(learner)[1].learner
    found, reward = windows(), jnp.linspace(-1, 1, 7)[None]
    _, metrics = one_step(learner, state, reward)
    next_key, actor_key = jax.random.split(jax.random.key(5))

    def sample(obs, key):
        """Actions and log-probabilities of u = tanh's argument, with the change of variables written out."""
        mean, log_std = jax.vmap(learner._actor((2,)).apply, (None, 0))(state.actor_params, obs)
        noise = np.asarray(jax.random.normal(key, mean.shape), np.float64)
        u = np.asarray(mean) + np.exp(log_std) * noise
        log_prob = (-0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi) - np.log(1 - np.tanh(u) ** 2)).sum(-1)
        return -1 + 4 * (np.tanh(u) + 1) / 2, np.asarray(log_prob)

    action, log_prob = sample(found.last, next_key)
    next_q = learner._values(state.target_params, found.last, jnp.asarray(action, jnp.float32)).min(0)
    target = reward[0] + 0.9 * (1 - found.steps.terminated[0]) * (next_q - 0.3 * log_prob)
    q = learner._values(state.critic_params, found.steps.obs[0], found.steps.action[0])
    np.testing.assert_allclose(metrics["q_loss"], 0.5 * ((q - target) ** 2).sum(0).mean(), rtol=1e-4)
    action, log_prob = sample(found.steps.obs[0], actor_key)
    value = learner._values(state.critic_params, found.steps.obs[0], jnp.asarray(action, jnp.float32)).min(0)
    np.testing.assert_allclose(metrics["actor_loss"], (0.3 * log_prob - value).mean(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(metrics["entropy"], -log_prob.mean(), rtol=1e-4)


@pytest.mark.parametrize(("target_entropy", "grows"), [(-5.0, False), (0.69, True)])
def test_temperature_falls_where_entropy_is_above_its_target(target_entropy, grows):
    """A new policy is close to tanh of a standard normal; log 2 a dimension, the uniform's, is out of its reach."""
    learner = learners.make("sac", target_entropy=target_entropy)
    state = start(learner)[1].learner
    (*_, log_alpha, _), _ = one_step(learner, state, jnp.zeros((1, 7)))
    np.testing.assert_allclose(log_alpha, learner.learning_rate * (1 if grows else -1), rtol=1e-2)


def test_fixed_temperature_stays():
    learner = learners.make("sac", auto_alpha=False, alpha=0.25)
    state = jax.jit(learners.bind(probes.ContinuousEndings(), learner))(jax.random.key(0)).state.learner
    np.testing.assert_allclose(jnp.exp(state.log_alpha), 0.25, rtol=1e-6)


def test_entropy_does_not_depend_on_the_actions_scale():
    class Wide(probes.ContinuousEndings):
        def action_space(self, params=None):
            return probes.spaces.Box(-300.0, 100.0, (2,))

    learner = learners.make("sac")
    entropies = []
    for env in (probes.ContinuousEndings(), Wide()):
        state = start(learner, env)[1].learner
        _, log_prob = learner._sample(state.actor_params, windows().last, state.bounds, jax.random.key(0))
        entropies.append(-log_prob.mean())
    np.testing.assert_allclose(*entropies, rtol=1e-4)


def test_target_critics_follow_by_tau():
    learner = learners.make("sac", tau=0.25)
    state = start(learner)[1].learner
    (_, critic, target, _, _), _ = one_step(learner, state, jnp.ones((1, 7)))
    for old, new, found in zip(*map(jax.tree.leaves, (state.target_params, critic, target)), strict=True):
        np.testing.assert_allclose(found, 0.75 * old + 0.25 * new, rtol=1e-5, atol=1e-7)


def test_actions_are_uniform_until_learning_starts_and_in_evaluation_never():
    learner = learners.make("sac", learning_starts=64 * 4, num_steps=4, buffer_size=5_000)
    train, state = start(learner, num_envs=64, total_steps=64 * 4 * 2)
    obs, first = jnp.zeros((4000, 7)), jnp.zeros(4000, bool)
    act = jax.jit(lambda state: learner.act(state, (), jax.random.key(0), obs, first, None)[1])
    np.testing.assert_allclose(act(state.learner).std(0), 4 / np.sqrt(12), rtol=0.05)
    state, _ = jax.jit(train.advance, static_argnums=1)(state, 1)
    one = learner.act(state.learner, (), jax.random.key(0), obs[:1], first[:1], None)[1]
    policy = learner._policy(state.learner.actor_params, obs[:1], state.learner.bounds)
    np.testing.assert_allclose(one, policy.sample(jax.random.split(jax.random.key(0))[0]), rtol=1e-5)


def test_policy_finds_its_target():
    """The best action is half the observation, which is ±1; the temperature falls so far that it is found."""
    learner = SAC(
        hidden=(32,), num_steps=1, batch_size=64, learning_starts=200, learning_rate=3e-3, target_entropy=-2.0
    )
    state = learners.learn(probes.Target(), learner, num_envs=8, total_steps=12_000)
    action = learner._policy(state.actor_params, jnp.array([[-1.0], [1.0]]), state.bounds).mode()
    np.testing.assert_allclose(action[:, 0], [-0.5, 0.5], atol=0.12)


def test_bounds_may_be_traced():
    """The host loop hands environment parameters in as arguments, and Pendulum's bounds are among them."""
    env, env_params = purejaxrl.make("Pendulum-v1")

    @jax.jit
    def run(env_params, key):
        learner = learners.make("sac")
        return learners.bind(env, learner, env_params=env_params, total_steps=64)(key).metrics["q_loss"]

    assert np.isfinite(run(env_params, jax.random.key(0))).all()
