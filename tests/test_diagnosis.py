"""A diagnosis of environments whose answers are known: exactly, in closed form, or by how they are made."""

import dataclasses
import errno
import functools
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import main
from probes import Clock, ConstantReward, Endings, Probe, Recall, RewardFromObsAndAction, State

import purejaxrl
from purejaxrl import diagnosis, envs
from purejaxrl.diagnosis import advice, diagnose, findings, pages, play, prediction, training
from purejaxrl.diagnosis.findings import Estimate
from purejaxrl.types import LARGEST_INT, SettingError


class RandomReward(Probe):
    """A reward of N(0, 1) at every step, whatever is seen and done; episodes of 8 steps."""

    limit = 8

    def step_env(self, key, state, action, params):
        obs, state, _, terminated, info = super().step_env(key, state, action, params)
        return obs, state, jax.random.normal(key), terminated, info


class BrokenReward(Probe):
    """A reward that is NaN in every other step and 0 else; episodes of 8 steps."""

    limit = 8

    def reward(self, state, action):
        return jnp.where(state.time % 2 == 0, jnp.nan, 0.0)


class Endless(Probe):
    """Nothing is paid, and nothing ends."""

    limit = LARGEST_INT

    def reward(self, state, action):
        return jnp.zeros(())


class Deadly(Probe):
    """Shows a clock twice. Action 1 costs .01, the 20th in a row pays 10; action 0 costs 1 and ends it."""

    def step_env(self, key, state, action, params):
        state = State(state.time + 1, state.x + 1)
        there = (state.x >= 20) & (action == 1)
        reward = jnp.where(action == 0, -1.0, jnp.where(there, 10.0, -0.01))
        return self.obs(state), state, reward, (action == 0) | there, {}

    def obs(self, state):
        return jnp.stack([state.x / 20, 1 - state.x / 20]).astype(jnp.float32)


class Bandit(Probe):
    """One step: 1 with probability .6 or .4. Of the reward's variance .01 / .25 is the action's."""

    limit = 1

    def step_env(self, key, state, action, params):
        state = State(state.time + 1, state.x)
        return self.obs(state), state, (jax.random.uniform(key) < 0.4 + 0.2 * action) * 1.0, jnp.ones((), bool), {}


class Repeat(Probe):
    """Pays 1 for the ninth equal action in a row, within 16 steps."""

    limit = 16

    def step_env(self, key, state, action, params):
        sign = 2.0 * action - 1
        state = State(state.time + 1, jnp.where(jnp.sign(state.x) == sign, state.x + sign, sign))
        there = jnp.abs(state.x) >= 9
        return self.obs(state), state, there * 1.0, there, {}


class Late(Probe):
    """Pays 1 and ends, at 1 to 600 steps from the start: half of the time within 300. What is left is shown."""

    def start(self, key):
        return jnp.ceil(600 * jax.random.uniform(key, minval=1e-3))

    def step_env(self, key, state, action, params):
        state = State(state.time + 1, state.x - 1)
        return self.obs(state), state, (state.x <= 0) * 1.0, state.x <= 0, {}


class Scales(Probe):
    """Four numbers: one constant and large, one that hardly varies, a good one, and one that is not there."""

    limit = 8

    def start(self, key):
        return jax.random.normal(key)

    def obs(self, state):
        return jnp.stack([jnp.float32(1e4), 1e-3 * state.x, state.x, jnp.float32(jnp.nan)])


def made(env_id, **settings):
    return lambda: purejaxrl.make(env_id, **settings)


def probe(cls):
    return lambda: (cls(), cls().default_params)


def noisy_tv():
    env, env_params = purejaxrl.make("Chain-v0", num_states=6)
    return envs.NoisyTV(env, 3), env_params


MAKERS = {
    "deepsea": made("BsuiteDeepSea-v0", size=16),
    "cartpole": made("CartPole-v1"),
    "positions": made("PositionOnlyCartPole-v1"),
    "mdp": made("RandomMDP-v0", num_states=4, num_actions=3),
    "pendulum": made("Pendulum-v1"),
    "recall": probe(Recall),
    "endings": probe(Endings),
    "constant": probe(ConstantReward),
    "exact": probe(RewardFromObsAndAction),
    "random": probe(RandomReward),
    "tv": noisy_tv,
    "broken": probe(BrokenReward),
    "endless": probe(Endless),
    "deadly": probe(Deadly),
    "bandit": probe(Bandit),
    "repeat": probe(Repeat),
    "late": probe(Late),
    "scales": probe(Scales),
}
STEPS = {"pendulum": 224, "bandit": 512, "late": 200, "deadly": 512}


@functools.cache
def diagnosed(name):
    env, env_params = MAKERS[name]()
    return diagnose(env, env_params, num_envs=16, num_steps=STEPS.get(name, 96), train=False, opening=f"--env {name}")


def value(name, *fields):
    found = diagnosed(name).findings
    for field in fields:
        found = found[field] if isinstance(found, dict) else getattr(found, field)
    return found


def topics(name):
    return [some.topic for some in diagnosed(name).advice]


# --- environments -----------------------------------------------------------------------------------------------------


def test_deepsea_pays_no_untrained_policy():
    """2^16 episodes are needed, and there are 288."""
    found = diagnosed("deepsea").findings
    assert found.signal.kind == "costs"
    assert [row.policy for row in found.rewards] == list(play.POLICIES)
    for row in found.rewards:
        assert row.first_reward is None
        assert (row.steps, row.episodes) == (16 * 96, 16 * 6)
        assert set(row.lengths) == {16.0}
        assert row.terminated.value == 1
        assert -0.01 <= row.returns[0] < row.returns[-1] <= 0
    assert found.signal.distance == 16
    np.testing.assert_allclose([found.signal.kept, found.signal.gamma**16], [0.99**16, 0.5])
    assert (found.observations.kind, found.observations.size) == ("one-hot grid, 16x16", 256)
    assert len(found.observations.constant) >= 16 * 15 / 2  # right of the diagonal
    assert (found.coverage.unit, found.coverage.of) == ("cells", 16 * 17 // 2 + 15)
    assert all(curve[-1] <= found.coverage.of for curve in found.coverage.found.values())
    assert value("deepsea", "randomness", "noise", "any").value == 0
    assert value("deepsea", "randomness", "aliasing", "any").value == 0
    assert found.randomness.pairs > 1000
    assert value("deepsea", "prediction", "reward").observation.value > 0.6  # another action is right in each cell
    assert value("deepsea", "prediction", "termination").observation.value > 0.95
    assert "--env deepsea --num-envs 16" in diagnosed("deepsea").command
    assert "--bonus noveld" in diagnosed("deepsea").command
    assert "--bonus counts" in diagnosed("deepsea").alternatives[0][1]


def test_cartpole_is_dense_and_needs_nothing():
    found = diagnosed("cartpole").findings
    assert found.signal.kind == "dense"
    assert found.signal.values == ((1.0, 1.0),)
    assert (found.observations.unnormalised, found.observations.constant) == ((), ())
    assert found.observations.kind == "vector of real numbers, 4"
    assert found.prediction["reward"] is None
    assert value("cartpole", "prediction", "termination").observation.low > 0.95
    assert abs(value("cartpole", "prediction", "termination").shuffled - 0.5) < 0.15
    assert diagnosed("cartpole").command == "purejaxrl train --env cartpole"
    assert all(row.first_reward == 16 for row in found.rewards)


def test_what_a_memory_predicts():
    """Three of four steps look alike, of which a third ends with ±1: half of the pairs differ, 3/8 of all."""
    reward = value("recall", "prediction", "reward")
    assert abs(reward.observation.value) < 0.1
    assert reward.history.value > 0.8
    assert reward.gain.low > 0.5
    assert "--algo.memory gru" in diagnosed("recall").command
    aliasing = value("recall", "randomness", "aliasing")
    np.testing.assert_allclose(aliasing["any"].value, 3 / 8, atol=0.04)
    np.testing.assert_allclose(aliasing["termination"].value, 3 / 4 * 4 / 9, atol=0.04)
    assert aliasing["observation"].value == 0
    assert value("recall", "randomness", "noise", "any").value == 0


def test_velocities_that_are_not_seen_are_missed():
    """One step tells little of when the pole falls, but where it is next takes two positions."""
    seen, hidden = (value(name, "prediction", "observation") for name in ("cartpole", "positions"))
    assert seen.observation.value > 0.9
    assert seen.gain.value < 0.05
    assert hidden.gain.low > 0.2
    assert "--algo.memory gru" in diagnosed("positions").command


def test_a_memory_that_does_not_help():
    """Every step's outcome is told by what is seen; limits are no outcomes."""
    assert value("endings", "randomness", "aliasing", "any").value == 0
    assert value("endings", "prediction", "termination").observation.value > 0.99
    assert "memory" not in topics("endings")
    third = [row.terminated for row in diagnosed("endings").findings.rewards]
    assert all(share.low < 2 / 3 < share.high for share in third)  # by termination, or by both at once


def test_noise_is_what_the_transition_table_says():
    """Two draws of the next state differ with probability 1 - Σ p²; nothing is hidden."""
    env, env_params = MAKERS["mdp"]()
    how = {"num_envs": 16, "num_steps": 96, "watched": 16}
    played = jax.device_get(jax.jit(lambda key: play.play(env, env_params, key, **how))(jax.random.key(3)))
    state, action = played.obs.argmax(-1), played.action.argmax(-1)
    expected = 1 - np.square(env.transition).sum(-1)[state, action]
    noise = findings.randomness(played).noise["observation"]
    assert noise.low - 0.01 < expected.mean() < noise.high + 0.01
    assert value("mdp", "randomness", "noise", "reward").value == 0
    assert value("mdp", "randomness", "aliasing", "any").value == 0
    assert "ICM" in " ".join(some.text for some in diagnosed("mdp").advice)


def test_rewards_that_never_differ_have_no_r2():
    found = diagnosed("constant").findings
    assert set(found.prediction.values()) == {None}  # every step terminates, too
    assert found.signal.kind == "constant"
    text = " ".join(some.text for some in diagnosed("constant").advice)
    assert "the reward was always 1, and every episode paid the same" in text
    assert "above 0" not in text


def test_a_reward_that_is_seen_is_predicted():
    reward = value("exact", "prediction", "reward")
    assert reward.observation.value > 0.99
    assert abs(reward.shuffled) < 0.1
    assert abs(reward.gain.value) < 0.01
    assert "memory" not in topics("exact")


def test_a_random_reward_is_not():
    reward = value("random", "prediction", "reward")
    assert abs(reward.observation.value) < 0.1
    assert abs(reward.shuffled) < 0.1
    assert value("random", "randomness", "noise", "reward").value == 1
    assert value("random", "randomness", "aliasing", "any").value == 0
    assert {"rewards", "prediction", "noise"} <= set(topics("random"))
    assert "--bonus" in diagnosed("random").command  # rewards above 0 come by chance


def test_continuous_actions():
    found = diagnosed("pendulum").findings
    assert [row.policy for row in found.rewards] == ["random", "epsilon-z"]
    assert found.signal.kind == "graded"
    assert value("pendulum", "prediction", "reward").observation.value > 0.9
    assert all(row.terminated.value == 0 for row in found.rewards)
    assert found.coverage.unit == "cells"
    assert diagnosed("pendulum").command == "purejaxrl train --env pendulum"


def test_rewards_that_are_not_finite_are_said_and_nothing_else_of_rewards():
    found = diagnosed("broken")
    steps = sum(row.steps for row in found.findings.rewards)
    assert found.findings.signal.nonfinite == steps / 2
    assert found.findings.signal.kind == "unknown"
    assert np.isnan(found.findings.signal.distance)
    assert "[bold]Once that is repaired start with[/bold]" in [*pages.shown(found)]
    assert found.findings.randomness.noise["reward"].value == 0  # NaN again is no other outcome
    assert found.advice[0].topic == "broken"
    assert "rewards were not finite" in found.advice[0].text
    assert not {"rewards", "noise"} & set(topics("broken"))
    assert "--bonus" not in found.command


def test_a_clock_is_no_prediction():
    """Both numbers change by the same amount at each step, so that there is nothing to explain, and nothing hidden."""
    found = diagnosed("deadly").findings
    assert found.prediction["observation"] is None
    assert found.prediction["reward"] is not None
    assert abs(found.prediction["reward"].shuffled) < 0.1
    assert found.randomness.pairs > 0.9 * sum(row.steps for row in found.rewards)
    assert not {"memory", "aliasing"} & set(topics("deadly"))


def test_a_weak_signal_is_no_noise():
    """R² can be .04 at most, and is surely above 0: a bandit needs no bonus."""
    reward = value("bandit", "prediction", "reward")
    assert 0.02 < reward.observation.low < reward.observation.value < 0.06
    assert value("bandit", "signal", "kind") == "dense"
    assert "--bonus" not in diagnosed("bandit").command
    assert "only 4" in " ".join(some.text for some in diagnosed("bandit").advice if some.topic == "prediction")


def test_what_an_untrained_network_repeats_is_rare_all_the_same():
    """Nine in a row, which uniform actions do in 2 · 2⁻⁹ of the starts and some more: less than 5 %."""
    rows = {row.policy: row.rewarded_episodes for row in diagnosed("repeat").findings.rewards}
    assert rows["epsilon-greedy"].value > 0.5
    assert rows["epsilon-greedy"].high - rows["epsilon-greedy"].low > 0.05  # sixteen networks, whatever their episodes
    assert rows["random"].high < 0.1
    assert value("repeat", "signal", "kind") == "rare"


def test_rewards_that_come_late_are_not_the_few_that_came_soon():
    signal = value("late", "signal")
    assert signal.waits  # 200 steps of 300
    assert 200 < signal.distance < 600
    assert "by its rate so far about" in " ".join(some.text for some in diagnosed("late").advice)
    assert all(row.under_way > row.episodes / 10 for row in diagnosed("late").findings.rewards)
    waits = np.random.default_rng(0).exponential(10.0, 4001)
    censored = np.minimum(waits, np.random.default_rng(1).exponential(20.0, 4001))
    median, guessed = findings.median_wait(censored, censored == waits)
    np.testing.assert_allclose(median, 10 * np.log(2), rtol=0.1)
    assert not guessed
    assert findings.median_wait(np.array([3, 1, 2]), np.ones(3, bool)) == (2.0, False)
    assert findings.median_wait(np.array([4, 9, 9]), np.array([True, False, False])) == (np.log(2) * 22, True)


def test_scales():
    seen = value("scales", "observations")
    assert (seen.large, seen.small, seen.constant, seen.unnormalised) == ((0,), (1,), (0,), (0, 1))
    text = " ".join(some.text for some in diagnosed("scales").advice)
    assert "number 0 is above 10; number 1 is of a standard deviation below 0.03" in text
    assert "1 of 4 numbers of the observation never changed (0)" in text


def test_where_nothing_ends_no_horizon_is_known():
    found = diagnosed("endless")
    assert found.findings.signal.step_limit is None
    assert np.isnan(found.findings.signal.distance)
    assert "horizon" not in topics("endless")
    assert "--algo.gamma" not in found.command
    assert "horizon: not known, no episode ended; no step limit" in [*pages.shown(found)]
    none = np.zeros(4)
    under_way = findings.Episodes(none, none, none + 96, none, none > 0, none > 0)
    assert findings.typical_distance([under_way], "constant", 500) == (500, False)  # not what was played of it


def test_a_noisy_tv_is_found_by_its_places():
    found = diagnosed("tv").findings
    assert found.observations.flickering == (6, 7, 8)
    assert found.randomness.noise["observation"].value == 1
    assert found.randomness.noise["reward"].value == 0
    assert found.randomness.pairs == 0
    assert "noisy TVs" in " ".join(some.text for some in diagnosed("tv").advice)


# --- how they play ----------------------------------------------------------------------------------------------------


def test_random_actions_last_and_masks_hold():
    env = Clock()
    how = {"num_envs": 8, "num_steps": 64, "watched": 4}
    played = jax.device_get(play.play(env, env.default_params, jax.random.key(0), **how))
    assert played.obs.shape == (64, 3, 4, 1)
    assert played.first[0].all()
    np.testing.assert_array_equal(played.first[1:], (played.terminated | played.truncated)[:-1])
    assert not played.action[..., 2].any()  # forbidden
    again = ((played.action[1:] == played.action[:-1]).all(-1) & ~played.first[1:]).mean((0, 2))
    again /= (~played.first[1:]).mean((0, 2))
    assert again[0] < 0.62 < again[2]  # 1/2 of uniform ones; at least 1 - 1/2 · P(n = 1) = .7 of those that last


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_estimates():
    generator = np.random.default_rng(0)
    above, below = generator.normal(size=(2, 30))
    weight = np.repeat([1.0, 1.0, 1.0, 2.0], 3)  # envs that count 3, 3, 3 and 6: (Σ w)² / Σ w²
    score = prediction._score([(weight / 2, weight)] * 4, np.repeat(np.arange(4), 3), 12)
    np.testing.assert_allclose(score.envs, 15**2 / (3 * 9 + 36))
    found = findings.ratio(above, 1 + below**2)
    np.testing.assert_allclose(found.value, above.sum() / (1 + below**2).sum())
    assert found.low < found.value < found.high
    assert np.isnan(findings.ratio([0.0], [0.0]).value)
    positive, score = np.array([1, 0, 1, 0, 0]), np.array([3.0, 1.0, 2.0, 2.0, 5.0])
    pairs = [(p > n) + 0.5 * (p == n) for p in score[positive > 0] for n in score[positive == 0]]
    placed, weight = prediction._placements(positive, score)
    np.testing.assert_allclose(placed.sum() / weight.sum(), np.mean(pairs))  # the AUC: Mann & Whitney 1947


def test_shares_of_episodes_that_depend_on_each_other():
    """Wilson's of as many as there are groups where these agree within, of all trials where they are independent."""
    groups = np.repeat(np.arange(20), 50)
    alike = findings.clustered(groups % 2 == 0, groups)
    low, high = alike.low, alike.high
    np.testing.assert_allclose([low, high], [findings.proportion(10, 20).low, findings.proportion(10, 20).high])
    coins = np.random.default_rng(0).random(1000) < 0.3
    one, other = findings.clustered(coins, groups), findings.proportion(coins.sum(), 1000)
    np.testing.assert_allclose([one.value, one.low, one.high], [other.value, other.low, other.high], atol=0.01)
    never = findings.clustered(np.zeros(1000), groups)
    np.testing.assert_allclose(never.high, findings.proportion(0, 20).high)


def test_minibatches_of_rare_events_keep_the_mean():
    rows = np.stack([np.arange(1000)] * 2, 1)
    events = np.arange(1000) < 10
    drawn, weights = prediction._batches(rows, events, np.random.default_rng(0))
    assert (drawn[..., 0] < 10).mean() > 0.5
    np.testing.assert_allclose((weights * (drawn[..., 0] < 10)).mean(), 0.01, rtol=0.05)
    np.testing.assert_allclose(weights.mean(), 1, rtol=0.02)


def test_episodes_under_way_count_once_they_are_long():
    """Two of three envs are at their first episode still; only one ended, since it was lucky."""
    nothing = np.zeros((10, 1, 3))
    reward, terminated = nothing.copy(), nothing.astype(bool)
    reward[5, 0, 0], terminated[5, 0, 0] = 1, True
    some = findings.episodes(types.SimpleNamespace(reward=reward, terminated=terminated, truncated=terminated), 0)
    assert some.length.tolist() == [6, 10, 10]
    assert some.until.tolist() == [6, 0, 0]
    assert some.ended.tolist() == [True, False, False]


# --- rules ------------------------------------------------------------------------------------------------------------


def changed(found, **parts):
    return dataclasses.replace(
        found, **{name: dataclasses.replace(getattr(found, name), **fields) for name, fields in parts.items()}
    )


def test_rules_follow_the_numbers():
    plain = diagnosed("cartpole").findings
    flags = lambda found: advice.command("", advice.advise(found)).split()  # noqa: E731
    assert flags(plain) == ["purejaxrl", "train"]
    assert "--algo.normalise-obs" in flags(changed(plain, observations={"large": (1,)}))
    far = flags(changed(plain, signal={"distance": 700.0, "kept": 0.99**700, "gamma": 0.5 ** (1 / 700)}))
    assert far[-2:] == ["--algo.gamma", "0.99901"]
    rare = flags(changed(plain, signal={"kind": "rare"}))
    assert rare[rare.index("--bonus") + 1] == "noveld"
    assert "--bonus.bits" in rare  # CartPole's observations do not repeat
    noisy = flags(changed(plain, signal={"kind": "rare"}, observations={"flickering": (0,)}))
    assert noisy[noisy.index("--bonus") + 1] == "rnd"
    helped = prediction.Score(*(Estimate(x, x - 0.1, x + 0.1) for x in (0.1, 0.9, 0.8)), 0.0, 12.0, 50)
    assert flags(dataclasses.replace(plain, prediction=plain.prediction | {"reward": helped}))[-1] == "gru"
    lucky = dataclasses.replace(helped, envs=5.0)  # five envs that met a rare reward
    assert flags(dataclasses.replace(plain, prediction=plain.prediction | {"reward": lucky})) == flags(plain)
    broken = advice.advise(changed(plain, observations={"nonfinite": 7}))
    assert "check_env" in broken[0].text
    none = tuple(dataclasses.replace(row, first_reward=None) for row in plain.rewards)
    trained = advice.Trained(dict.fromkeys(training.NAMES, 9.0), {"PPO + NovelD": 2.0})
    never = dataclasses.replace(plain, rewards=none, trained=trained)
    curves = {name: (4.0,) for name in training.NAMES}
    never = changed(never, signal={"kind": "costs"}, coverage={"found": curves | {"PPO + NovelD": (8.0,)}})
    text = " ".join(some.text for some in advice.advise(never))
    assert "after 9 steps" in text
    assert "2.0 times as many as PPO" in text


@pytest.mark.parametrize(
    ("distinct", "first", "share", "lengths", "terminated", "kind"),
    [
        (2, 7, 0.3, (5.0, 5.0), 1.0, "dense"),
        (2, 7, 0.01, (5.0, 5.0), 1.0, "rare"),
        (500, None, 0.0, (5.0, 5.0), 0.0, "graded"),
        (1, None, 0.0, (3.0, 9.0), 0.5, "endings"),
        (2, None, 0.0, (5.0, 5.0), 1.0, "costs"),
        (1, None, 0.0, (5.0, 5.0), 0.0, "constant"),
        (1, 1, 1.0, (5.0, 5.0), 0.0, "constant"),
        (1, 1, 1.0, (5.0, 9.0), 1.0, "dense"),
    ],
)
def test_kinds_of_rewards(distinct, first, share, lengths, terminated, kind):
    row = dataclasses.replace(
        diagnosed("cartpole").findings.rewards[0],
        first_reward=first,
        rewarded_episodes=Estimate(share, share, share),
        lengths=lengths,
        returns=tuple(-length for length in reversed(lengths)),
        terminated=Estimate(terminated, terminated, terminated),
    )
    assert findings.classify([row], distinct, distinct > findings.GRADED) == kind


def test_rewards_that_only_lasting_actions_meet_are_rare():
    """PPO explores step by step."""
    random = dataclasses.replace(diagnosed("cartpole").findings.rewards[0], first_reward=None)
    random = dataclasses.replace(random, rewarded_episodes=Estimate(0.0, 0.0, 0.06))
    lasting = dataclasses.replace(random, policy="epsilon-z", first_reward=9)
    lasting = dataclasses.replace(lasting, rewarded_episodes=Estimate(0.16, 0.1, 0.3))
    assert findings.classify([random, lasting], 500, True) == "rare"


def test_what_actions_cost_grades_nothing():
    action = np.random.default_rng(0).uniform(-1, 1, (50, 2, 8, 2))
    cost = -0.1 * np.square(action).sum(-1) - np.abs(action[..., 0])
    of = lambda reward: findings._of_actions_alone(types.SimpleNamespace(action=action, reward=reward))  # noqa: E731
    assert of(cost)
    assert not of(cost - 1e-2 * np.sin(np.arange(50))[:, None, None])  # and something that happens


def test_what_was_measured_comes_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(diagnosis, "diagnose", lambda *args, **how: diagnosed("pendulum"))
    assert main("diagnose", "Pendulum-v1", "--out", tmp_path / "x") == 0
    said = capsys.readouterr().out
    measured, own = said.split("Start with")[1].split("or, since")
    assert "docs/algos/sac.md" in measured
    assert "purejaxrl train --env Pendulum-v1 --algo sac" in measured
    assert "purejaxrl train --env pendulum --algo ppo" in own  # which train alone would not take
    content = json.loads((tmp_path / "x" / "diagnosis.json").read_text())
    assert content["measured"] == "docs/algos/sac.md"
    assert diagnosed("pendulum").measured == ""


def test_what_cannot_be_written_is_shown_all_the_same(tmp_path, monkeypatch, capsys):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(diagnosis, "diagnose", lambda *args, **how: diagnosed("pendulum"))
    monkeypatch.setattr(pages.runs, "write_json", full)
    assert main("diagnose", "Pendulum-v1", "--out", tmp_path / "x") == 1
    shown = capsys.readouterr()
    assert "Start with" in shown.out
    assert f"No space left on device: {tmp_path / 'x'}" in shown.err


def test_a_diagnosis_that_fails_leaves_no_folder(tmp_path, monkeypatch):
    def fail(*args, **how):
        raise SettingError("no")

    monkeypatch.setattr(diagnosis, "diagnose", fail)
    assert main("diagnose", "Pendulum-v1", "--out", tmp_path / "x") == 2
    assert not (tmp_path / "x").exists()


# --- training, and the command line -----------------------------------------------------------------------------------


def test_training_with_and_without_a_bonus():
    env, env_params = purejaxrl.make("Chain-v0", num_states=8)
    found = diagnose(env, env_params, num_envs=16, num_steps=64).findings
    assert found.trained is not None
    assert list(found.coverage.found)[-2:] == list(training.NAMES)
    for name in training.NAMES:
        assert found.coverage.steps[name][-1] == 1024
        assert 2 <= found.coverage.found[name][-1] <= found.coverage.of == 8
        assert list(found.coverage.found[name]) == sorted(found.coverage.found[name])
    coded = training.Coded(env, lambda obs: obs.sum().astype(int))
    _, state = coded.reset_env(jax.random.key(0), env_params)
    assert int(state.code) == -1
    obs, state, *_ = coded.step_env(jax.random.key(0), state, 1, env_params)
    assert int(state.code) == int(obs.sum())


def test_the_command(tmp_path, capsys):
    words = ["diagnose", "Chain-v0", "--env.num-states", 6, "--num-envs", 8, "--num-steps", 32, "--no-train"]
    assert main(*words, "--out", tmp_path / "new" / "x") == 0
    shown = capsys.readouterr()
    assert "untrained policies play 256 steps each" in shown.err
    assert "purejaxrl train --env Chain-v0 --env.num-states 6" in shown.out
    content = json.loads((tmp_path / "new" / "x" / "diagnosis.json").read_text())
    assert content["findings"]["coverage"]["of"] == 6
    assert content["command"].startswith("purejaxrl train --env Chain-v0 --env.num-states 6")
    assert (tmp_path / "new" / "x" / "diagnosis.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("CartPole", "env: unknown value 'CartPole'; did you mean CartPole-v1"),
        ("CartPole-v1 --num-envs 6", "num_envs must be a multiple of 4"),
        ("CartPole-v1 --num-steps 1", "num_steps must be >= 2"),
        ("CartPole-v1 --num-steps 4", "num_steps must give at least 512 steps"),
        ("CartPole-v1 --seed -1", "seed must be >= 0"),
        ("CartPole-v1 --env.size 3", "--env.size"),
        ("CartPole-v1 --out /dev/null/x", "out: /dev/null/x cannot be made"),
        ("", "Required options"),
    ],
)
def test_bad_input(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main("diagnose", *words.split()) == 2
    shown = capsys.readouterr().err
    assert message in " ".join(shown.replace("│", " ").split())
    assert "Traceback" not in shown
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "results.txt").write_text("mine")
    assert main("diagnose", "CartPole-v1", "--out", tmp_path) == 2
    assert "is no folder of a diagnosis" in capsys.readouterr().err


def test_what_is_stepped_in_python_is_refused():
    class Host(Probe):
        def reward(self, state, action):
            return jax.pure_callback(lambda: np.float32(1), jax.ShapeDtypeStruct((), np.float32))

    with pytest.raises(SettingError, match="Host is stepped in Python"):
        diagnose(Host())
    with pytest.raises(SettingError, match=r"use env, env_params = purejaxrl\.make"):
        diagnose("CartPole-v1")
