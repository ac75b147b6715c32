"""PPO on probe environments that isolate one fault each, its loss by hand, and its options."""

import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

import purejaxrl
from purejaxrl import networks, returns
from purejaxrl.algos import PPO
from purejaxrl.algos.ppo import Minibatch, ppo_loss
from purejaxrl.bonuses import Counts
from purejaxrl.distributions import Categorical
from purejaxrl.types import SettingError, Transition


def learn(env, *, total_steps=30_000, num_envs=16, bonus=None, **settings):
    """Train a small PPO and return ``(learner, state)``."""
    defaults = {"learning_rate": 3e-3, "num_steps": 16, "hidden": (16,), "ent_coef": 0.0, "gamma": 0.9}
    learner = PPO(**(defaults | settings))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train = purejaxrl.make_train(env, learner, bonus=bonus, num_envs=num_envs, total_steps=total_steps)
    return learner, jax.jit(train)(jax.random.key(0)).state.learner


def values(learner, state, *obs):
    """The learned values of these scalar observations, one row per observation and one column per head."""
    batch = jnp.asarray(obs, jnp.float32)[:, None]
    return np.asarray(learner.act(state, (), jax.random.key(0), batch, None, None)[2]["value"])


def actions(learner, state, *obs):
    batch = jnp.asarray(obs, jnp.float32)[:, None]
    return np.asarray(learner.act(state, (), jax.random.key(0), batch, None, None, greedy=True)[1])


def test_value_of_a_constant_reward():
    np.testing.assert_allclose(values(*learn(probes.ConstantReward()), 0.0), [[1.0]], atol=0.05)


def test_value_follows_the_observation():
    np.testing.assert_allclose(values(*learn(probes.RewardFromObs()), -1.0, 1.0)[:, 0], [-1.0, 1.0], atol=0.1)


def test_value_is_discounted_over_time():
    np.testing.assert_allclose(values(*learn(probes.Discounting()), 0.0, 1.0)[:, 0], [0.9, 1.0], atol=0.05)


def test_policy_finds_the_better_action():
    learned = learn(probes.RewardFromAction())
    assert actions(*learned, 0.0) == [1]


def test_policy_depends_on_the_observation():
    learned = learn(probes.RewardFromObsAndAction())
    assert actions(*learned, -1.0, 1.0).tolist() == [0, 1]


@pytest.mark.parametrize("num_steps", [4, 16])
def test_a_time_limit_bootstraps_from_the_true_final_observation(num_steps):
    """Reward 1 for ever, γ = 0.9: V = 10. Taking the limit of 5 steps for an end gives at most 4.1."""
    learned = learn(probes.TimeLimited(), total_steps=60_000, num_steps=num_steps)
    np.testing.assert_allclose(values(*learned, 0.0), [[10.0]], rtol=0.1)


def test_termination_wins_over_truncation():
    """V(time) = Σ γ^k over the steps left; bootstrapping at the end would give 10 everywhere."""
    learned = learn(probes.BothFlags(), total_steps=60_000, hidden=(32, 32))
    expected = [(1 - 0.9**left) / 0.1 for left in (5, 3, 1)]
    np.testing.assert_allclose(values(*learned, 0.0, 2.0, 4.0)[:, 0], expected, atol=0.25)


def test_continuous_policy_finds_its_target():
    learned = learn(probes.Target(), total_steps=60_000)
    np.testing.assert_allclose(actions(*learned, -1.0, 1.0)[:, 0], [-0.5, 0.5], atol=0.12)


def test_normalised_observations_and_rewards_still_learn():
    learned = learn(probes.RewardFromObsAndAction(), normalise_obs=True, normalise_reward=True)
    assert actions(*learned, -1.0, 1.0).tolist() == [0, 1]
    moments = learned[1].obs_moments
    np.testing.assert_allclose([moments.mean[0], moments.var[0]], [0.0, 1.0], atol=0.05)


@pytest.mark.parametrize("episodic", [True, False])
def test_intrinsic_stream_has_its_own_head_and_discount(episodic):
    """A bonus of 1 at each step of one-step episodes: V_int = 1 when episodic, 1 / (1 - γ_int) = 2 when it runs on."""
    bonus = Counts(table_size=16).replace(coef=1.0)

    class Constant:
        coef, normalise, warmup_steps = 1.0, "none", 0

        def __getattr__(self, name):
            return getattr(bonus, name)

        def reward(self, state, transition, memo):
            return jnp.ones_like(transition.reward)

    learned = learn(probes.ConstantReward(), bonus=Constant(), gamma_int=0.5, episodic_bonus=episodic)
    np.testing.assert_allclose(values(*learned, 0.0), [[1.0, 1.0 if episodic else 2.0]], atol=0.1)


def test_non_episodic_advantages_by_hand():
    """Two envs, three steps: δ uses the next row's value across the reset, and at a done last step the resets' mean."""
    ppo = PPO(gamma_int=0.5, gae_lambda=0.5, episodic_bonus=False)
    value = jnp.stack([jnp.zeros((3, 2)), jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])], -1)
    next_value = jnp.full((3, 2, 2), 100.0).at[:, :, 0].set(0.0)
    end = jnp.array([[False, False], [True, False], [False, True]])
    first = jnp.array([[True, False], [False, False], [True, False]])  # resets have intrinsic values 1 and 5
    zeros, none = jnp.zeros((3, 2)), None
    batch = Transition(
        obs=none, action=none, reward=zeros, bonus=jnp.ones((3, 2)), terminated=end, truncated=end & False,
        next_obs=none, first=first, mask=none, next_mask=none, cell=none, memo=none, extras={"value": value},
    )  # fmt: skip
    advantage, target = ppo._advantages(batch, zeros, next_value)
    following = np.array([[3.0, 4.0], [5.0, 6.0], [100.0, 3.0]])  # the last env is done: the mean of 1 and 5
    delta = 1 + 0.5 * following - np.asarray(value[..., 1])
    expected = delta.copy()
    for t in (1, 0):
        expected[t] = delta[t] + 0.25 * expected[t + 1]
    np.testing.assert_allclose(advantage, expected, rtol=1e-5)
    np.testing.assert_allclose(target[..., 1], expected + value[..., 1], rtol=1e-5)
    np.testing.assert_allclose(target[..., 0], 0.0)


def loss_inputs():
    logits = jnp.array([[0.0, 1.0], [2.0, 0.0], [0.5, 0.5]])
    value = jnp.array([[1.0, 0.0], [2.0, 1.0], [3.0, -1.0]])
    batch = Minibatch(
        obs=jnp.zeros((3, 1)),
        action=jnp.array([0, 0, 1]),
        mask=None,
        log_prob=jnp.log(jnp.array([0.5, 0.5, 0.3])),
        value=value - jnp.array([[0.5, 0.0], [0.1, 0.0], [0.0, 0.0]]),
        target=jnp.array([[0.0, 0.0], [3.0, 0.0], [3.0, 1.0]]),
        advantage=jnp.array([1.0, -1.0, 2.0]),
    )
    return logits, value, batch


@pytest.mark.parametrize("clip_value", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
def test_loss_by_hand(clip_value, normalise):
    """Against the paper's equations in NumPy, in float64."""
    logits, value, batch = loss_inputs()
    ppo = PPO(clip_eps=0.2, vf_coef=0.7, ent_coef=0.03, clip_value=clip_value, normalise_advantage=normalise)
    apply = lambda params, obs, mask: (Categorical(logits), value)  # noqa: E731
    loss, metrics = ppo_loss(ppo, None, apply, ppo._normalised(batch))

    p = np.exp(np.asarray(logits, np.float64))
    p /= p.sum(-1, keepdims=True)
    ratio = p[[0, 1, 2], [0, 0, 1]] / np.array([0.5, 0.5, 0.3])
    advantage = np.array([1.0, -1.0, 2.0])
    if normalise:
        advantage = (advantage - advantage.mean()) / advantage.std()
    surrogate = np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage).mean()
    v, old, target = (np.asarray(x, np.float64) for x in (value, batch.value, batch.target))
    error = (v - target) ** 2
    if clip_value:
        error = np.maximum(error, (old + np.clip(v - old, -0.2, 0.2) - target) ** 2)
    entropy = -(p * np.log(p)).sum(-1).mean()
    value_loss = 0.5 * error.mean(0).sum()
    np.testing.assert_allclose(loss, -surrogate + 0.7 * value_loss - 0.03 * entropy, rtol=1e-5)
    np.testing.assert_allclose(metrics["clip_fraction"], (abs(ratio - 1) > 0.2).mean())
    np.testing.assert_allclose(metrics["approx_kl"], (ratio - 1 - np.log(ratio)).mean(), rtol=1e-4)


def test_the_ratio_starts_at_one():
    """With one epoch of one minibatch the policy has not moved: KL and clipping are zero, normalised inputs or not."""
    for options in ({}, {"normalise_obs": True, "normalise_reward": True}):
        learner = PPO(num_steps=16, hidden=(8,), num_epochs=1, num_minibatches=1, **options)
        train = purejaxrl.make_train(probes.RewardFromObs(), learner, num_envs=4, total_steps=256)
        metrics = jax.jit(train)(jax.random.key(0)).metrics
        np.testing.assert_allclose(metrics["approx_kl"], 0.0, atol=1e-6)
        np.testing.assert_array_equal(metrics["clip_fraction"], 0.0)


def test_gradients_are_clipped_by_their_global_norm():
    """Not element by element: one SGD-like step through the chain keeps the gradient's direction."""
    optimiser = PPO(max_grad_norm=0.5)._optimiser(1.0)
    gradient = {"a": jnp.array([30.0, 40.0]), "b": jnp.array([0.0])}
    _, (_, adam) = optimiser.update(gradient, optimiser.init(gradient))
    np.testing.assert_allclose(adam[0].mu["a"], 0.1 * np.array([0.3, 0.4]), rtol=1e-5)


def test_rewards_are_divided_by_the_std_of_their_return():
    """Against NumPy: the return restarts with an episode's first step, after its last reward was counted."""
    learner = PPO(num_steps=5, gamma=0.9, hidden=(4,), num_minibatches=1, normalise_reward=True)
    train = purejaxrl.make_train(probes.Discounting(), learner, num_envs=3, total_steps=15 * 4)
    state, _ = jax.jit(train)(jax.random.key(0))
    reward = np.tile([0.0, 1.0], 10)
    running, history = 0.0, []
    for t in range(20):
        running = 0.9 * running * (t % 2 == 1) + reward[t]
        history.append(running)
    np.testing.assert_allclose(state.learner.reward_moments.var, np.var(history), rtol=1e-4)
    np.testing.assert_allclose(state.learner.running_return, running, rtol=1e-5)


def test_masks_hold_in_sampling_and_learning():
    """Action 2 pays most and is forbidden; the learner settles on 1, and log-probabilities stay finite."""
    learned = learn(probes.Clock(), total_steps=20_000)
    mask = jnp.array([[True, True, False]])
    act = jax.vmap(lambda key: learned[0].act(learned[1], (), key, jnp.zeros((1, 1)), None, mask)[1])
    assert (act(jax.random.split(jax.random.key(0), 200)) == 1).mean() > 0.9
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(learned[1].params))


def test_own_loss_and_own_network():
    def my_loss(ppo, params, apply, batch):
        loss, metrics = ppo_loss(ppo, params, apply, batch)
        return loss, {**metrics, "mine": jnp.float32(42)}

    def init(key, obs):
        return {"w": jnp.zeros((obs.size, 2)), "v": jnp.zeros(())}

    def apply(params, obs):
        return Categorical(obs.ravel() @ params["w"]), params["v"][None]

    learner = PPO(loss=my_loss, network=(init, apply), num_steps=8)
    train = purejaxrl.make_train(probes.RewardFromObs(), learner, num_envs=4, total_steps=64)
    result = jax.jit(train)(jax.random.key(0))
    assert (result.metrics["mine"] == 42).all()
    assert result.state.learner.params["w"].shape == (1, 2)
    with pytest.raises(SettingError, match=r"algo.network must return values of shape \(2,\) here, got \(1,\)"):
        purejaxrl.make_train(probes.RewardFromObs(), learner, bonus=Counts(), num_envs=4, total_steps=64)


class Logits(nn.Module):
    """The likeliest mistake: logits, not what they are of."""

    @nn.compact
    def __call__(self, obs):
        return nn.Dense(2)(obs), nn.Dense(1)(obs)


def test_what_a_network_returns_is_looked_at():
    with pytest.raises(SettingError, match=r"a distribution such as .* no sample, mode, log_prob, entropy$"):
        purejaxrl.make_train(probes.RewardFromObs(), PPO(network=Logits()), num_envs=4, total_steps=512)
    with pytest.raises(SettingError, match=r"no sample, mode, log_prob, entropy, masked"):
        purejaxrl.make_train(probes.Clock(), PPO(network=Logits()), num_envs=4, total_steps=512)


def test_minibatches_of_one_sample_are_refused():
    """Their normalised advantage is 0, whatever happens."""
    with pytest.raises(SettingError, match=r"algo.num_minibatches leaves one sample in each"):
        purejaxrl.make_train(probes.Clock(), PPO(num_steps=4, num_minibatches=4), num_envs=1, total_steps=64)
    learner = PPO(num_steps=4, num_minibatches=4, normalise_advantage=False)
    purejaxrl.make_train(probes.Clock(), learner, num_envs=1, total_steps=64)


def test_the_state_knows_whether_observations_are_standardised():
    """Whatever the settings that it is played with."""
    env, learner = probes.RewardFromObs(), PPO(num_steps=4, num_minibatches=2, normalise_obs=True)
    train = purejaxrl.make_train(env, learner, num_envs=4, total_steps=64)
    state, obs = jax.jit(train)(jax.random.key(0)).state.learner, jnp.array([[3.0]])
    act = lambda learner: learner.act(state, (), jax.random.key(0), obs, jnp.ones(1, bool), None)[2]["value"]  # noqa: E731
    np.testing.assert_array_equal(act(PPO()), act(learner))


def test_an_action_space_that_does_not_fit_is_refused():
    class Odd(probes.Probe):
        def action_space(self, params=None):
            class Space:
                shape, dtype = (), jnp.int32

                def sample(self, key):
                    return jnp.zeros((), jnp.int32)

            return Space()

    with pytest.raises(
        SettingError, match=r"algo: PPO acts in Discrete, MultiDiscrete or Box spaces, the environment.s is Space"
    ):
        purejaxrl.make_train(Odd(), PPO(), num_envs=4, total_steps=5000)


def test_a_batch_that_minibatches_do_not_divide():
    learner = PPO(num_steps=5, num_minibatches=4, hidden=(4,))
    train = purejaxrl.make_train(probes.RewardFromObs(), learner, num_envs=3, total_steps=30)
    assert np.isfinite(jax.jit(train)(jax.random.key(0)).metrics["policy_loss"]).all()


def test_advantages_are_gae_plus_gae():
    generator = np.random.default_rng(0)
    shape = (6, 3)
    value, next_value = (jnp.asarray(generator.normal(size=(*shape, 2))) for _ in range(2))
    reward, bonus = (jnp.asarray(generator.normal(size=shape)) for _ in range(2))
    terminated, truncated = (jnp.asarray(generator.random(shape) < 0.2) for _ in range(2))
    batch = Transition(bonus=bonus, terminated=terminated, truncated=truncated, extras={"value": value})
    advantage, target = PPO(gamma=0.9, gamma_int=0.8)._advantages(batch, reward, next_value)
    streams = [
        returns.gae(r, value[..., i], next_value[..., i], terminated, truncated, gamma=g, gae_lambda=0.95)
        for i, (r, g) in enumerate(((reward, 0.9), (bonus, 0.8)))
    ]
    np.testing.assert_allclose(advantage, streams[0][0] + streams[1][0], rtol=1e-5)
    np.testing.assert_allclose(target, np.stack([streams[0][1], streams[1][1]], -1), rtol=1e-5)


def test_networks_compare_by_value():
    """So that states made by two calls fit one compiled function."""
    first, second = (networks.ActorCritic(num_values=1, num_actions=2) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)


def test_multi_discrete_actions():
    learned = learn(probes.MultiTarget())
    assert actions(*learned, -1.0, 1.0).tolist() == [[0, 2], [1, 0]]


def test_a_mask_may_forbid_everything_without_nan():
    class Shut(probes.Clock):
        def action_mask(self, state, params):
            return jnp.zeros(3, bool)

    train = purejaxrl.make_train(Shut(), PPO(num_steps=8, hidden=(4,)), num_envs=4, total_steps=96)
    result = jax.jit(train)(jax.random.key(0))
    assert np.isfinite(result.metrics["policy_loss"]).all()
    assert result.metrics["entropy"][0] > 0.9, "the documented behaviour: everything is allowed then"
