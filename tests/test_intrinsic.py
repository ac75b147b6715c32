"""Weight, normaliser, decay and composition against NumPy, in whole runs."""

import jax
import jax.numpy as jnp
import learners
import numpy as np
import probes

import purejaxrl
from purejaxrl import algos, intrinsic
from purejaxrl.bonuses import E3B, RND, SOFE, Counts
from purejaxrl.intrinsic import Weighted
from purejaxrl.types import number


class Time(Weighted):
    """Pays `slope` times the step's number in its episode, plus 1."""

    slope: float = number(1.0)

    def init(self, key, spec):
        return {"time": jnp.zeros(spec.num_envs)}

    def observe(self, state, transition):
        time = jnp.where(transition.first, 0.0, state["time"]) + 1.0
        return {"time": time}, time

    def reward(self, state, transition, memo):
        return 1.0 + self.slope * memo

    def update(self, state, key, batch):
        return state, {"seen": batch.memo.mean()}


def metrics(bonus, num_envs=4, num_steps=6):
    learner = algos.PPO(num_steps=num_steps, hidden=(4,), num_minibatches=1, num_epochs=1)
    train = learners.bind(probes.Clock(), learner, bonus=bonus, num_envs=num_envs, total_steps=24 * 5)
    return jax.device_get(jax.jit(train)(jax.random.key(0)).metrics)


def raw(slope):
    """Clock's episodes have three steps: the same in each update of six."""
    return 1 + slope * np.tile([1.0, 2.0, 3.0], 2)


def std_of(values, update):
    return np.std(np.tile(values, update))


def return_std(values, updates):
    """Std of the discounted return over time, not cut at episodes' ends; all envs alike."""
    running, returns = 0.0, []
    for value in np.tile(values, updates):
        running = 0.99 * running + value
        returns.append(running)
    return np.std(returns)


def test_weight_and_decay():
    found = metrics(Time(coef=0.5, decay=1e-2))
    expected = 0.5 * 0.99 ** found["env_steps"] * raw(1).mean()
    np.testing.assert_allclose(found["bonus_mean"], expected, rtol=1e-4)
    np.testing.assert_allclose(found["bonus_raw_mean"], raw(1).mean(), rtol=1e-6)


def test_normalisers():
    found = metrics(Time(normalise="std"))["bonus_mean"]
    np.testing.assert_allclose(found, raw(1).mean() / std_of(raw(1), 1), rtol=1e-4)
    found = metrics(Time(normalise="return_std"))["bonus_mean"]
    expected = [raw(1).mean() / return_std(raw(1), update) for update in range(1, 6)]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_sum_and_product_of_weighted_parts():
    """Each part by its own settings, then the whole by its own."""
    first, second = Time(coef=0.5, decay=1e-2), Time(slope=-0.1, coef=3.0, normalise="std")
    steps = metrics(first)["env_steps"]
    x = 0.5 * 0.99 ** steps[:, None] * raw(1)
    y = 3.0 * raw(-0.1) / std_of(raw(-0.1), 1)
    np.testing.assert_allclose(metrics(first + second)["bonus_mean"], (x + y).mean(1), rtol=1e-4)
    np.testing.assert_allclose(metrics(first * second)["bonus_mean"], (x * y).mean(1), rtol=1e-4)
    whole = metrics((first * second).replace(coef=2.0, normalise="std"))
    seen = [np.concatenate(x[: update + 1] * y) for update in range(5)]
    expected = [2 * (x[update] * y).mean() / np.std(values) for update, values in enumerate(seen)]
    np.testing.assert_allclose(whole["bonus_mean"], expected, rtol=1e-3)
    np.testing.assert_allclose(whole["bonus_raw_mean"], (x * y).mean(1), rtol=1e-4)
    three = metrics(first + second * first)["bonus_mean"]
    np.testing.assert_allclose(three, (x + y * x).mean(1), rtol=1e-4)


def test_metrics_of_parts_have_names_of_their_own():
    found = metrics(Time() + Time())
    assert {"time_0/seen", "time_1/seen"} <= set(found)


def test_composition_warms_up_for_its_neediest_part():
    bonus = Counts(warmup_steps=12) * RND(warmup_steps=36) + Counts()
    assert intrinsic.warmup_steps(bonus) == 36
    assert metrics(bonus)["env_steps"][0] == 36 + 24


def test_coefficients_of_parts_are_traced():
    def run(coef, key):
        learner = algos.PPO(num_steps=6, hidden=(4,), num_minibatches=1, num_epochs=1)
        bonus = Time(coef=coef) * Counts(table_size=64)
        return learners.bind(probes.Clock(), learner, bonus=bonus, num_envs=4, total_steps=48)(key).metrics

    found = jax.jit(jax.vmap(run, (0, None)))(jnp.array([1.0, 2.0]), jax.random.key(0))["bonus_mean"]
    np.testing.assert_allclose(found[1], 2 * found[0], rtol=1e-5)


def test_a_composition_is_relabelled_in_replay():
    """DQN asks for the bonus of what it samples: the part of the episode as stored, the other as it is now."""
    bonus = Time() * Counts(table_size=64)
    learner = learners.make("dqn")
    state = jax.jit(learners.bind(probes.Clock(), learner, bonus=bonus, num_envs=4, total_steps=600))(jax.random.key(0))
    assert np.isfinite(state.metrics["bonus_mean"]).all()


def test_sofe_shows_the_policy_the_statistics():
    """A policy that sees how often it was where it is; evaluation counts from empty memory, as an episode does."""
    bonus = SOFE(bonus=Counts(episodic=True, table_size=64))
    learner = algos.PPO(num_steps=6, hidden=(4,))
    train = learners.bind(probes.Clock(), learner, bonus=bonus, num_envs=4, total_steps=240)
    assert train.learner_spec.num_features == 1
    state = jax.jit(train)(jax.random.key(0)).state
    found = purejaxrl.evaluate(probes.Clock(), learner, state, jax.random.key(1), 8, bonus=bonus, max_steps=9)
    assert found.finished.all()
    fresh = intrinsic.for_fresh_episodes(bonus, state.bonus, jax.random.key(0), train.spec)
    np.testing.assert_allclose(bonus.features(fresh, state.obs), 1 / np.sqrt(2), rtol=1e-6)  # the arrival is one visit
    assert (np.asarray(bonus.features(state.bonus, jnp.full((4, 1), 1.0))) <= 1).all()


def test_sofe_of_lifelong_counts_keeps_them_for_evaluation():
    bonus = SOFE(bonus=Counts(table_size=64))
    train = learners.bind(probes.Clock(), algos.PPO(num_steps=6, hidden=(4,)), bonus=bonus, num_envs=4, total_steps=240)
    state = jax.jit(train)(jax.random.key(0)).state
    fresh = intrinsic.for_fresh_episodes(bonus, state.bonus, jax.random.key(5), train.spec)
    np.testing.assert_allclose(bonus.features(fresh, jnp.ones((4, 1)))[:, 0], 1 / np.sqrt(1 + 240 / 3), rtol=1e-5)


def test_sofe_of_a_composition_shows_what_its_parts_have():
    counts, e3b = Counts(episodic=True, table_size=64), E3B(hidden=(4,), embedding_size=3)
    bonus = SOFE(bonus=counts * RND(warmup_steps=0, hidden=(4,)) * e3b)
    train = learners.bind(probes.Clock(), algos.PPO(num_steps=6, hidden=(4,)), bonus=bonus, num_envs=4, total_steps=24)
    state = jax.jit(train.init)(jax.random.key(0))
    ((first, _), last), obs = state.bonus[0], state.obs
    shown = np.concatenate([counts.statistics(first, obs), e3b.statistics(last, obs)], axis=-1)
    np.testing.assert_array_equal(bonus.features(state.bonus, obs), shown)
    assert train.learner_spec.num_features == 4


def test_sofe_of_e3b_shows_the_diagonal_of_the_inverse():
    """λ times it: 1 at first, less with what the episode has seen, and 1 again where an episode begins."""
    bonus = SOFE(bonus=E3B(hidden=(4,), embedding_size=3, ridge=0.5))
    train = learners.bind(probes.Clock(), algos.PPO(num_steps=8, hidden=(4,)), bonus=bonus, num_envs=4, total_steps=32)
    state = jax.jit(train)(jax.random.key(0)).state
    assert train.learner_spec.num_features == 3
    shown = bonus.features(state.bonus, state.obs)
    assert not state.first.any(), "two steps into the third episode"
    assert (shown <= 1 + 1e-5).all()
    assert (shown.min(-1) < 0.999).all()
    fresh = intrinsic.for_fresh_episodes(bonus, state.bonus, jax.random.key(0), train.spec)
    np.testing.assert_allclose(bonus.features(fresh, state.obs), 1.0, rtol=1e-5)
