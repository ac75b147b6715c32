"""BYOL-Explore against plain NumPy written from the paper: bonus and loss over several episodes and rollouts."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from numpynets import forward
from trajectories import play, spec, walk

import purejaxrl
from purejaxrl.algos import PPO
from purejaxrl.bonuses import BYOLExplore

STEPS, ENVS, HORIZON = 7, 3, 4
# Two rollouts; env 0 has episodes of 1, 2, 6 and 5 steps, env 1 one of 14, env 2 some that end with a rollout.
DONE = np.zeros((2 * STEPS, ENVS), bool)
DONE[[0, 2, 8, 13], 0] = DONE[[3, 6, 10], 2] = True
SETTINGS = {"horizon": HORIZON, "hidden": (8,), "embedding_size": 5, "memory_size": 6, "num_minibatches": 3}
FROZEN = {"learning_rate": 1e-30, "target_decay": 1.0}


def gru(params, h, x):
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    r = sigmoid(x @ p["ir"]["kernel"] + p["ir"]["bias"] + h @ p["hr"]["kernel"])
    z = sigmoid(x @ p["iz"]["kernel"] + p["iz"]["bias"] + h @ p["hz"]["kernel"])
    n = np.tanh(x @ p["in"]["kernel"] + p["in"]["bias"] + r * (h @ p["hn"]["kernel"] + p["hn"]["bias"]))
    return (1 - z) * n + z * h


def unit(x):
    """A network whose ReLUs are all off gives 0, which has no direction and stays 0."""
    return x / (np.linalg.norm(x) or 1.0)


def numpy_errors(state, batch):
    """ℓ(t, k) ``[T, E, K + 1]`` of whole trajectories, each unroll from its start; NaN where it leaves its episode."""
    length, envs = batch.reward.shape
    batch = jax.tree.map(np.asarray, batch)
    errors = np.full((length, envs, HORIZON + 1), np.nan)
    for env in range(envs):
        for t in range(length):
            if batch.first[t, env]:
                carry, action = np.zeros(6), np.zeros(3)
            carry = gru(state.params.closed, carry, np.append(forward(state.params.encoder, batch.obs[t, env]), action))
            action = np.eye(3)[batch.action[t, env]]
            future = carry
            for k in range(1, HORIZON + 1):
                last = t + k - 1  # the step that leads to o_{t+k}
                if last >= length or batch.first[t + 1 : last + 1, env].any():
                    break
                future = gru(state.params.open, future, np.eye(3)[batch.action[last, env]])
                target = unit(forward(state.target, batch.next_obs[last, env]))
                errors[t, env, k] = np.square(unit(forward(state.params.predictor, future)) - target).sum()
    return errors


def numpy_bonus(errors):
    raw = np.zeros(errors.shape[:2])
    for t, env in np.ndindex(raw.shape):
        raw[t, env] = np.nansum([errors[t + 1 - k, env, k] for k in range(1, HORIZON + 1) if t + 1 - k >= 0])
    return raw


def numpy_loss(errors):
    """Of one rollout: its start times, and what lies within it."""
    means = []
    for t, env in np.ndindex(errors.shape[:2]):
        found = [errors[t, env, k] for k in range(1, HORIZON + 1) if t + k <= len(errors)]
        means.append(np.nanmean(found))
    return np.mean(means)


@functools.cache
def initial():
    """A state whose target is not its encoder."""
    init = jax.jit(lambda key: BYOLExplore(**SETTINGS).init(key, spec(ENVS, STEPS, features=3)))
    return init(jax.random.key(0)).replace(target=init(jax.random.key(1)).params.encoder)


@functools.cache
def steps():
    """A rollout and an update of it, compiled once for all numbers."""
    return jax.jit(play), jax.jit(lambda bonus, *arguments: bonus.update(*arguments))


def world(**settings):
    """A bonus, its state and two rollouts, each episode with a last observation of its own."""
    bonus, state = BYOLExplore(**SETTINGS | settings), initial()
    generator = np.random.default_rng(0)
    batch = walk(
        generator.normal(size=(2 * STEPS + 1, ENVS, 3)), DONE, generator.integers(0, 3, DONE.shape).astype(np.int32)
    )
    final = batch.next_obs + (DONE[..., None] * generator.normal(size=batch.next_obs.shape)).astype(np.float32)
    batch = jax.tree.map(jnp.asarray, batch.replace(next_obs=final))
    return bonus, state, batch, [jax.tree.map(lambda x, i=i: x[i * STEPS :][:STEPS], batch) for i in range(2)]


def test_bonus_and_loss_are_the_paper_s():
    """Two rollouts with an update that changes nothing in between: episodes go on over it."""
    bonus, state, whole, parts = world(prioritise=False, **FROZEN)
    errors = numpy_errors(state, whole)
    expected, params, (observe, update) = numpy_bonus(errors), state.params, steps()
    for index, part in enumerate(parts):
        state, full, raw = observe(bonus, state, part)
        here = slice(index * STEPS, (index + 1) * STEPS)
        np.testing.assert_allclose(raw, expected[here], rtol=1e-4)
        state, metrics = update(bonus, state, jax.random.key(index), full)
        np.testing.assert_allclose(metrics["byol_loss"], numpy_loss(errors[here]), rtol=1e-4)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-20), params, state.params)


def test_only_what_exceeds_the_running_mean_is_kept():
    bonus, state, whole, parts = world(mean_decay=0.6, **FROZEN)
    raw = numpy_bonus(numpy_errors(state, whole))
    average, (observe, update) = 0.0, steps()
    for index, part in enumerate(parts):
        here = raw[index * STEPS :][:STEPS]
        average = 0.6 * average + 0.4 * here.mean()
        state, full, got = observe(bonus, state, part)
        expected = np.maximum(here - average / (1 - 0.6 ** (index + 1)), 0)
        assert 0.2 < (expected > 0).mean() < 0.8
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)
        sample = jax.tree.map(lambda x: x[2:5, 1], full)  # other leading axes
        np.testing.assert_allclose(bonus.reward(state, sample, sample.memo), expected[2:5, 1], rtol=1e-3, atol=1e-5)
        state, _ = update(bonus, state, jax.random.key(index), full)


def test_target_is_a_moving_average_of_the_encoder():
    """One gradient step: by hand. Six that change nothing: as many moves towards the encoder."""
    bonus, state, _, parts = world(learning_rate=1e-2, target_decay=0.9, num_minibatches=1)
    new, _ = steps()[1](bonus, state, jax.random.key(0), parts[0])
    moved = jax.tree.map(lambda target, online: 0.9 * target + 0.1 * online, state.target, new.params.encoder)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), new.target, moved)
    assert all(
        (np.asarray(x) != y).any() for x, y in zip(*map(jax.tree.leaves, (state.params, new.params)), strict=True)
    )
    frozen = bonus.replace(learning_rate=1e-30, num_minibatches=3, num_epochs=2)
    new, _ = steps()[1](frozen, state, jax.random.key(0), parts[0])
    moved = jax.tree.map(lambda target, online: online + 0.9**6 * (target - online), state.target, state.params.encoder)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), new.target, moved)


def test_what_is_new_stands_out():
    """After many rounds over four observations, an unseen one is worse foreseen than all of them."""
    bonus = BYOLExplore(**SETTINGS, learning_rate=3e-3, prioritise=False)
    state, corner = initial(), np.eye(4)[:, :3] + 0.5
    path = np.broadcast_to(corner[np.arange(17) % 4][:, None], (17, ENVS, 3)).copy()
    batch = jax.tree.map(jnp.asarray, walk(path))

    @jax.jit
    def step(state, batch, key):
        state, batch, raw = play(bonus, state, batch)
        return bonus.update(state, key, batch)[0], raw

    for index in range(200):
        state, raw = step(state, batch, jax.random.key(index))
    path[-1] = [-1.0, 2.0, -1.0]
    _, surprised = step(state, walk(path), jax.random.key(0))
    assert raw[8:].max() < 1.0
    assert surprised[-1].min() > 3 * raw[8:].max()


@pytest.mark.parametrize("memory", ["none", "gru"])
def test_beside_learners_with_and_without_memory(memory):
    """Clock's episodes have three steps: the horizon is longer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train = purejaxrl.make_train(
            probes.Clock(), PPO(num_steps=8, hidden=(8,), memory=memory, memory_size=8),
            bonus=BYOLExplore(**SETTINGS, learning_rate=3e-3, prioritise=False), num_envs=5, total_steps=1600,
        )  # fmt: skip
    metrics = jax.jit(train)(jax.random.key(0)).metrics
    assert all(np.isfinite(metrics[name]).all() for name in ("bonus_mean", "bonus_raw_mean", "byol_loss"))
    assert 0 < metrics["bonus_raw_mean"][0] < 4 * 2  # three steps: two open loops on average, each below 4
    assert jnp.mean(metrics["bonus_raw_mean"][-4:]) < 0.5 * metrics["bonus_raw_mean"][0]
