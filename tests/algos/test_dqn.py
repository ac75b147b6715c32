"""DQN: its loss by hand, its switches one by one, its update interval, and what it does with a bonus."""

import warnings

import jax
import jax.numpy as jnp
import learners
import numpy as np
import probes
import pytest
from flax import struct

from purejaxrl import networks, offpolicy, replay
from purejaxrl.algos import DQN
from purejaxrl.bonuses import Counts
from purejaxrl.types import SettingError, Transition, number, static

# One learned number per action and observation: outputs[online or target][obs, action].
ONLINE = np.array([[1.0, 2.0], [0.5, 3.0], [4.0, -1.0]])
TARGET = np.array([[0.0, 1.0], [2.0, 1.0], [-1.0, 6.0]])


class Table:
    """A network that looks up its parameters."""

    apply = staticmethod(lambda params, obs, **_: params[obs[0].astype(int)])


def sample(reward, gamma):
    """Three samples: an ordinary step, a terminated one, a truncated one; the middle step of each is at obs = place."""
    flags = {"terminated": [False, True, False], "truncated": [False, True, True]}
    step = Transition(
        obs=jnp.array([[[0.0], [1.0], [2.0]]]),
        action=jnp.array([[1, 0, 1]]),
        **{name: jnp.array([flag]) for name, flag in flags.items()},
    )
    last = jnp.array([[2.0], [1.0], [1.0]])
    found = replay.Windows(step, jnp.ones((1, 3), bool), last, None, jnp.array([1.0, 0.5, 0.25]))
    return offpolicy.joined(found, jnp.array([reward]), gamma, jnp.arange(3))


@pytest.mark.parametrize("double", [False, True])
def test_scalar_loss_by_hand(double):
    """Targets: 1 + 0.9 Q⁻(2, a*), 2 (terminated, though truncated too), 3 + 0.9 Q⁻(1, a*) (truncated)."""
    dqn = DQN(gamma=0.9, double=double)
    found = sample([1.0, 2.0, 3.0], 0.9)
    loss, (error, _) = dqn._loss(jnp.asarray(ONLINE), jnp.asarray(TARGET), Table, jax.random.key(0), found)
    # double: the online network prefers action 0 in 2 and action 1 in 1; else the target's own best: 6 and 2
    target = np.array([1 + 0.9 * -1, 2, 3 + 0.9 * 1]) if double else np.array([1 + 0.9 * 6, 2, 3 + 0.9 * 2])
    expected = np.abs(np.array([2.0, 0.5, -1.0]) - target)
    np.testing.assert_allclose(error, expected, rtol=1e-5)
    np.testing.assert_allclose(loss, (0.5 * expected**2 * [1, 0.5, 0.25]).sum() / 3, rtol=1e-5)


def test_masks_hold_in_the_target():
    """The best next action is forbidden; where all are, as in a game that is over, nothing is, and nothing is NaN."""
    dqn, found = DQN(gamma=0.9, double=False), sample([0.0, 0.0, 0.0], 0.9)
    found = found._replace(last_mask=jnp.array([[True, False], [False, False], [False, False]]))
    arguments = jnp.asarray(ONLINE), jnp.asarray(TARGET), Table, jax.random.key(0), found
    _, (error, _) = dqn._loss(*arguments)
    np.testing.assert_allclose(error, np.abs(np.array([2 - 0.9 * -1, 0.5, -1 - 0.9 * 2])), rtol=1e-5)


def test_c51_loss_by_hand():
    """Against the projection as a loop; priorities are the KL divergence, 0 where the distribution is right."""
    dqn = DQN(gamma=0.5, double=False, head="c51", num_atoms=3, v_min=0.0, v_max=2.0)
    logits = np.random.default_rng(0).normal(size=(2, 3, 2, 3)).astype(np.float32)  # [online or target, obs, action, :]
    found = sample([0.5, 1.0, 0.0], 0.5)
    loss, (error, _) = dqn._loss(*map(jnp.asarray, logits), Table, jax.random.key(0), found)
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    support, expected = np.array([0.0, 1.0, 2.0]), []
    for place, (action, last, r, discount) in enumerate([(1, 2, 0.5, 0.5), (0, 1, 1.0, 0.0), (1, 1, 0.0, 0.5)]):
        best = (probs[1, last] @ support).argmax()
        target = np.zeros(3)
        for p, z in zip(probs[1, last, best], support, strict=True):
            at = np.clip(r + discount * z, 0, 2)
            low = int(np.floor(at))
            target[low] += p * (1 - (at - low))
            target[min(low + 1, 2)] += p * (at - low)
        cross = -(target * np.log(probs[0, place, action])).sum()
        expected.append((cross, cross + (target[target > 0] * np.log(target[target > 0])).sum()))
    cross, divergence = np.array(expected).T
    np.testing.assert_allclose(error, divergence, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(loss, (cross * [1, 0.5, 0.25]).sum() / 3, rtol=1e-4)


@pytest.mark.parametrize(("num_envs", "num_steps"), [(1, 4), (3, 4), (7, 1), (64, 2)])
def test_gradient_steps_are_what_was_asked_for_any_number_of_envs(num_envs, num_steps):
    """Not thinned out by a step counter's modulo; the first ones wait for `learning_starts` steps, not more."""
    settings = {"num_steps": num_steps, "num_gradient_steps": 3, "learning_starts": 10, "buffer_size": 2000}
    learner = learners.make("dqn", **settings)
    train = learners.bind(probes.Clock(), learner, num_envs=num_envs, total_steps=num_envs * num_steps * 20)
    found = np.asarray(jax.jit(train)(jax.random.key(0)).metrics["gradient_steps"])
    started = 10 // (num_envs * num_steps) if 10 % (num_envs * num_steps) == 0 else 10 // (num_envs * num_steps) + 1
    np.testing.assert_array_equal(found, 3 * np.maximum(np.arange(1, 21) - max(started, 1) + 1, 0))


def test_target_network_follows_its_period():
    learner = learners.make("dqn", tau=1.0, target_period=3, num_gradient_steps=1, learning_starts=0)
    train = learners.bind(probes.Clock(), learner)
    state, advance = jax.jit(train.init)(jax.random.key(0)), jax.jit(train.advance, static_argnums=1)
    for step in range(1, 7):
        before, (state, _) = state.learner, advance(state, 1)
        follows = state.learner.params if step % 3 == 0 else before.target_params
        for x, y in zip(jax.tree.leaves(state.learner.target_params), jax.tree.leaves(follows), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6)  # XLA computes both, and may round them in two ways


def test_noise_is_drawn_for_each_env_and_none_when_greedy():
    learner = learners.make("dqn-rainbow", buffer_size=1000)
    train = learners.bind(probes.Clock(), learner, num_envs=64)
    state = jax.jit(train.init)(jax.random.key(0))
    actor = learner.init_actor(jax.random.key(0), train.learner_spec)
    same = jnp.ones((64, 1)), jnp.zeros(64, bool), None
    chosen = {
        greedy: learner.act(state.learner, actor, jax.random.key(1), *same, greedy=greedy)[1]
        for greedy in (False, True)
    }
    assert len(np.unique(chosen[True])) == 1
    assert len(np.unique(chosen[False])) > 1, "64 envs that see the same explore differently"


def test_noisy_dense_by_hand():
    """y = (μ + σ ⊙ f(ε_out) f(ε_in)ᵀ) x + μ_b + σ_b ⊙ f(ε_out), over many draws: mean μ and its variance."""
    layer, x = networks.NoisyDense(3), jnp.array([1.0, -2.0])
    params = layer.init(jax.random.key(0), x)
    kernel, bias = params["params"]["kernel"], params["params"]["bias"]
    np.testing.assert_allclose(params["params"]["kernel_sigma"], 0.5 / np.sqrt(2))
    assert np.abs(kernel).max() <= 2**-0.5
    draws = jax.vmap(lambda key: layer.apply(params, x, rngs={"noise": key}))(
        jax.random.split(jax.random.key(1), 40_000)
    )
    np.testing.assert_allclose(layer.apply(params, x), x @ kernel + bias, rtol=1e-5)
    np.testing.assert_allclose(draws.mean(0), x @ kernel + bias, atol=0.03)
    # f(ε)² = |ε| has mean √(2/π); the kernel's terms and the bias's share f(ε_out)
    mean_abs, sigma2 = np.sqrt(2 / np.pi), 0.125
    np.testing.assert_allclose(draws.var(0), sigma2 * (mean_abs**2 * (1 + 4) + mean_abs), rtol=0.05)


def test_dueling_streams_by_hand():
    network = networks.QNetwork(3, dueling=True, hidden=(4,))
    obs = jnp.array([0.3, -0.2])
    params = network.init(jax.random.key(0), obs)["params"]
    x = jax.nn.relu(obs @ params["Torso_0"]["MLP_0"]["Dense_0"]["kernel"])
    advantage, value = x @ params["advantage"]["kernel"], x @ params["value"]["kernel"]
    np.testing.assert_allclose(network.apply({"params": params}, obs), value + advantage - advantage.mean(), rtol=1e-5)


@struct.dataclass
class Fading:
    """A lifelong bonus that is 1 at first and halves at each update, plus the episode's step as its memo."""

    coef: float = number(1.0, ge=0)
    normalise: str = static("none")
    warmup_steps: int = static(0)

    def init(self, key, spec):
        return {"scale": jnp.ones(()), "steps": jnp.zeros(spec.num_envs)}

    def observe(self, state, transition):
        done = transition.terminated | transition.truncated
        return {**state, "steps": jnp.where(done, 0.0, state["steps"] + 1)}, state["steps"]

    def reward(self, state, transition, memo):
        return state["scale"] + 10 * memo + 0 * transition.next_obs[..., 0]

    def update(self, state, key, batch):
        return {**state, "scale": state["scale"] / 2}, {}


@pytest.mark.parametrize("name", ["dqn", "sac"])
def test_lifelong_bonus_is_computed_anew_and_the_episodes_is_kept(name, monkeypatch):
    """What is sampled pays the newest lifelong bonus, and the episodic part that the step had: 10 times its time."""
    env = probes.ContinuousEndings() if name == "sac" else probes.Clock()
    seen, returned = [], replay.n_step_return

    def spy(reward, found, gamma):
        jax.debug.callback(lambda *x: seen.append(jax.tree.map(np.asarray, x)), reward, found.steps, found.weight)
        return returned(reward, found, gamma)

    monkeypatch.setattr(replay, "n_step_return", spy)
    learner = learners.make(name, learning_starts=0, num_gradient_steps=1)
    train = learners.bind(env, learner, bonus=Fading(), total_steps=4 * 4 * 6)
    jax.block_until_ready(jax.jit(train)(jax.random.key(0)))
    jax.effects_barrier()
    assert len(seen) == 6
    for update, (reward, steps, weight) in enumerate(seen):
        fresh = reward - steps.reward - 10 * steps.memo
        np.testing.assert_allclose(fresh[0][weight > 0], 0.5**update, atol=1e-5)
    assert {0.0, 1.0, 2.0} <= set(np.concatenate([steps.memo.ravel() for _, steps, _ in seen]))


def test_replay_differs_between_seeds():
    train = learners.bind(probes.Clock(), learners.make("dqn"))
    states = jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 3)).state.learner
    actions = np.asarray(states.replay.step.action).reshape(3, -1)
    assert len(np.unique(actions, axis=0)) == 3


def test_the_buffer_takes_no_more_than_the_run_can_fill():
    learner = learners.make("dqn", buffer_size=1_000_000)
    train = learners.bind(probes.Clock(), learner, total_steps=4 * 4 * 5)
    state = jax.eval_shape(train.init, jax.random.key(0)).learner
    assert state.replay.holds_step.shape == (2 * 4 * 5 + 1, 4)


def test_network_of_ones_own():
    def init(key, obs):
        return jnp.zeros((obs.size, 3))

    learner = learners.make("dqn", network=(init, lambda params, obs: obs @ params), hidden=(64, 64))
    assert learners.learn(probes.Clock(), learner).params.shape == (1, 3)
    for settings, message in (
        ({"dueling": True}, r"algo.dueling does nothing beside algo.network"),
        ({"noisy": True}, r"algo.noisy needs a flax module"),
        ({"head": "qr"}, r"algo.network must return action values of shape \(3, 51\) here"),
    ):
        with pytest.raises(SettingError, match=message):
            learners.bind(probes.Clock(), DQN(network=learner.network, **settings))
    with pytest.raises(SettingError, match=r"algo.learning_starts must be at most the run's 2000 steps, got 9000"):
        learners.bind(probes.Clock(), DQN(learning_starts=9000))


@pytest.mark.slow
def test_counts_lead_where_epsilon_does_not():
    """A corridor of 12 steps whose end alone pays, a wrong step leads back to its start: ε gets there once in 2¹²."""

    class Corridor(probes.Probe):
        limit = 14

        def next_x(self, key, state, action):
            return jnp.where(action == 1, state.x + 1, 0.0)

        def reward(self, state, action):
            return ((state.x >= 11) & (action == 1)).astype(jnp.float32)

        def ends(self, state):
            return state.x >= 12

        def obs(self, state):
            return jax.nn.one_hot(state.x.astype(jnp.int32), 13)

        def observation_space(self, params):
            return probes.spaces.Box(0.0, 1.0, (13,))

    settings = {"n_step": 3, "gamma": 0.95, "hidden": (32,), "buffer_size": 10_000, "learning_starts": 200}
    learner = DQN(**settings, learning_rate=2e-3, epsilon_start=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best = {
            bonus is not None: learners.bind(Corridor(), learner, bonus=bonus, total_steps=20_000, num_envs=8)
            for bonus in (None, Counts(coef=2.0, table_size=64))
        }
    keys = jax.random.split(jax.random.key(0), 8)
    found = {
        with_bonus: np.asarray(jax.jit(jax.vmap(train))(keys).metrics["episode_return"])
        for with_bonus, train in best.items()
    }
    assert (np.nanmax(found[False], axis=1) == 0).sum() >= 5  # the others are lucky
    assert (np.nanmean(found[True][:, -50:], axis=1) > 0.5).sum() >= 7
