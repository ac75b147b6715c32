import functools

import jax
import jax.numpy as jnp
import learners
import numpy as np
import probes
import pytest

import purejaxrl
from purejaxrl import bonuses, evaluation
from purejaxrl.algos import PPO
from purejaxrl.types import SettingError

LEARNER = PPO(num_steps=8, hidden=(8,))


def trained(env, learner=LEARNER, updates=1):
    train = purejaxrl.make_train(env, learner, num_envs=4, total_steps=4 * learner.num_steps * updates)
    return jax.jit(train)(jax.random.key(0)).state


def test_episodes_count_once_whatever_their_length():
    """Episodes of 1 to 4 steps by a random start: returns are lengths, and all lengths are equally likely."""

    class Short(probes.Probe):
        def start(self, key):
            return jax.random.randint(key, (), 1, 5).astype(jnp.float32)

        def ends(self, state):
            return state.time >= state.x

    state = trained(Short())
    found = purejaxrl.evaluate(Short(), LEARNER, state, jax.random.key(5), 2000)
    np.testing.assert_array_equal(found.episode_return, found.episode_length)
    assert found.finished.all()
    np.testing.assert_allclose(np.bincount(found.episode_length, minlength=5)[1:] / 2000, 0.25, atol=0.04)


def test_greedy_takes_the_mode_and_sampling_does_not():
    state = trained(probes.Clock())
    greedy = purejaxrl.evaluate(probes.Clock(), LEARNER, state, jax.random.key(1), 64)
    sampled = purejaxrl.evaluate(probes.Clock(), LEARNER, state, jax.random.key(1), 64, greedy=False)
    assert len(np.unique(greedy.episode_return)) == 1
    assert len(np.unique(sampled.episode_return)) > 1
    assert sampled.episode_return.max() <= 3  # the masked action, which pays 2 a step, is never taken


def test_the_cap_stops_endless_episodes():
    found = purejaxrl.evaluate(probes.Probe(), LEARNER, trained(probes.Probe()), jax.random.key(1), 3, max_steps=7)
    assert found.episode_length.tolist() == [7] * 3
    assert not found.finished.any()


def test_what_has_no_limit_ends_all_the_same(monkeypatch):
    """As environments of other packages that know no time limit, whose policy may walk into a wall for ever."""
    monkeypatch.setattr(evaluation, "MOST_STEPS", 9)
    env = probes.Probe()
    params = env.default_params.replace(max_steps_in_episode=2**31 - 1)
    found = purejaxrl.evaluate(env, LEARNER, trained(env), jax.random.key(1), 3, env_params=params)
    assert found.episode_length.tolist() == [9] * 3
    assert not found.finished.any()


def test_an_environment_may_know_no_limit(monkeypatch):
    class Limitless(probes.Probe):
        default_params = probes.State(0, 0)  # whatever it is, it has no max_steps_in_episode

        def is_truncated(self, state, params):
            return jnp.zeros((), bool)

    monkeypatch.setattr(evaluation, "MOST_STEPS", 9)
    found = purejaxrl.evaluate(Limitless(), LEARNER, trained(Limitless()), jax.random.key(1), 3)
    assert found.episode_length.tolist() == [9] * 3


def test_time_limits_end_an_episode():
    found = purejaxrl.evaluate(probes.TimeLimited(), LEARNER, trained(probes.TimeLimited()), jax.random.key(1), 3)
    assert found.episode_length.tolist() == [5] * 3
    assert found.finished.all()


def test_jits_and_vmaps_over_seeds():
    train = purejaxrl.make_train(probes.Clock(), LEARNER, num_envs=4, total_steps=32)
    states = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 3)).state
    run = jax.jit(jax.vmap(lambda state, key: purejaxrl.evaluate(probes.Clock(), LEARNER, state, key, 5)))
    assert run(states, jax.random.split(jax.random.key(1), 3)).episode_return.shape == (3, 5)


@pytest.mark.parametrize(
    ("num_frames", "max_steps", "steps"), [(2, None, [0, 2, 3]), (5, None, [0, 1, 2, 3, 3, 3]), (2, 2, [0, 1, 2])]
)
def test_a_film_is_an_episode(num_frames, max_steps, steps):
    """Every n-th state, so that all fit, and the last one; the same episode as evaluation plays."""
    state = trained(probes.Clock())
    settings = {"max_steps": max_steps, "greedy": False}
    film = purejaxrl.evaluation.film(probes.Clock(), LEARNER, state, jax.random.key(1), num_frames, **settings)
    whole = purejaxrl.evaluate(probes.Clock(), LEARNER, state, jax.random.key(1), 1, **settings)
    assert film.step.tolist() == film.env_state.time.tolist() == steps
    assert film.episode_return[0] == 0
    assert film.episode_return[-1] == whole.episode_return[0]


def test_the_same_key_as_training_s_gives_other_episodes():
    """Training splits its key; whatever a user passes here leads to keys of another domain."""
    seen = []

    class Spy(probes.Clock):
        def start(self, key):
            jax.debug.callback(lambda data: seen.append(tuple(np.asarray(data).ravel())), jax.random.key_data(key))
            return jnp.zeros(())

    state = trained(Spy())
    jax.effects_barrier()
    training = set(seen)
    seen.clear()
    purejaxrl.evaluate(Spy(), LEARNER, state, jax.random.key(0), 4)
    jax.effects_barrier()
    assert seen
    assert not training & set(seen)


@pytest.mark.parametrize("name", ["ppo", "ppo-gru", "dqn", "hyperagent"])
def test_a_policy_by_itself_is_the_learner_s(name):
    """Step by step with the ends of episodes, beside the learner on three environments that see the same."""
    env, _ = purejaxrl.make("Catch-bsuite")
    train = learners.bind(env, learners.make(name), num_envs=3)
    state = jax.jit(train)(jax.random.key(0)).state
    policy = evaluation.policy(train, state)
    rng = np.random.default_rng(0)
    key = jax.random.key(1)
    carried, together = policy.init(key), train.learner.init_actor(key, train.learner_spec)
    act = jax.jit(functools.partial(train.learner.act, greedy=True))
    for step in range(12):
        obs, first = rng.normal(size=(10, 5)).astype(np.float32), step % 5 == 0
        carried, action = policy.act(carried, key, obs, first)
        same = jnp.stack([obs] * 3), jnp.full(3, first)
        together, actions, _ = act(state.learner, together, key, *same, None)
        assert action.shape == ()
        np.testing.assert_array_equal(actions, [action] * 3)


def test_a_policy_keeps_to_its_mask():
    env, _ = purejaxrl.make("Catch-bsuite")
    train = learners.bind(env, learners.make("dqn"))
    policy = evaluation.policy(train, jax.jit(train)(jax.random.key(0)).state)
    for allowed in range(3):
        _, action = policy.act(
            policy.init(jax.random.key(0)), jax.random.key(0), jnp.zeros((10, 5)), True, jnp.arange(3) == allowed
        )
        assert action == allowed


def test_a_policy_keeps_to_its_bounds():
    """As the environment did in training, which clips what a Gaussian draws."""
    train = learners.bind(probes.Target(), learners.make("ppo"))
    policy = evaluation.policy(train, jax.jit(train.init)(jax.random.key(0)), greedy=False)
    keys, obs = jax.random.split(jax.random.key(1), 200), jnp.zeros(1)
    draws = jax.vmap(lambda key: policy.act(policy.init(key), key, obs, True)[1])(keys)
    assert jnp.abs(draws).max() == 1
    assert (jnp.abs(draws) < 1).any()


def test_a_policy_is_of_one_seed():
    env, _ = purejaxrl.make("Catch-bsuite")
    train = learners.bind(env, learners.make("dqn"))
    states = jax.vmap(train.init)(jax.random.split(jax.random.key(0), 3))
    with pytest.raises(SettingError, match="state must be that of one run"):
        evaluation.policy(train, states)


def test_a_policy_that_sees_a_bonus_s_features_is_refused():
    env, _ = purejaxrl.make("Catch-bsuite")
    train = learners.bind(env, learners.make("ppo"), bonus=bonuses.SOFE(bonus=bonuses.Counts(episodic=True)))
    with pytest.raises(SettingError, match="features of the bonus: play it with"):
        evaluation.policy(train, train.init(jax.random.key(0)))
