"""Flattening, one-hot observations, time limits, scaled rewards and checked actions, alone, nested, and in the loop."""

import jax
import jax.numpy as jnp
import learners
import numpy as np
import probes
import pytest
from gymnax.environments import spaces
from jax.experimental import checkify

import purejaxrl
from purejaxrl import checking, envs, stepping
from purejaxrl.envs import CheckActions, FlattenObservation, FrameStack, OneHotObservation, ScaleReward, TimeLimit
from purejaxrl.types import SettingError


class Leaves(probes.Clock):
    """A Dict whose entries are not in alphabetical order, with a grid, a category and a pair in it."""

    def obs(self, state):
        x = state.x
        return {"grid": jnp.full((2, 2), x).astype(jnp.int8), "category": x.astype(jnp.int32), "pair": (x, x[None] / 2)}

    def observation_space(self, params):
        pair = spaces.Tuple((spaces.Box(0.0, 3.0, ()), spaces.Box(jnp.zeros(1), jnp.ones(1) * 2, (1,))))
        grid = spaces.Box(0, 9, (2, 2), jnp.int8)
        return spaces.Dict({"pair": pair, "grid": grid, "category": spaces.Discrete(4)})

    def cells(self):
        return envs.Cells(lambda state: state.time - 1, 3, np.arange(3)[None])


class Shown(probes.Clock):
    """Shows what `show` makes of the time, in the given space."""

    def __init__(self, space, show):
        super().__init__()
        self.space, self.show = space, show

    def obs(self, state):
        return self.show(state.x.astype(jnp.int32))

    def observation_space(self, params):
        return self.space


def play(env, actions=(0, 1, 1)):
    """Observations, rewards and flags of one episode under these actions, and its last state."""
    params = env.default_params
    obs, state = stepping.reset(env, params, jax.random.key(0))
    seen = [(obs, np.nan, False, False)]
    for action in actions:
        obs, state, *rest = stepping.step(env, params, jax.random.key(0), state, jnp.int32(action))
        seen.append((obs, *rest))
    return *(np.stack(column) for column in zip(*seen, strict=True)), state


def test_flattening_follows_the_space():
    env = FlattenObservation(Leaves())
    obs, *_ = play(env)
    np.testing.assert_array_equal(obs, [[t, t / 2, t, t, t, t, t] for t in range(4)])
    space = env.observation_space(env.default_params)
    np.testing.assert_array_equal(space.high, [3, 2, 9, 9, 9, 9, 3])
    np.testing.assert_array_equal(space.low, np.zeros(7))
    assert (space.shape, obs.dtype, space.dtype) == ((7,), np.float32, jnp.float32)
    sea = FlattenObservation(purejaxrl.make("DeepSea-bsuite", size=3)[0])
    assert play(sea)[0].shape == (4, 9)


# A space, how it shows the time t, and its one-hot form.
CATEGORIES = {
    "discrete": (spaces.Discrete(4), lambda t: t, np.eye(4).__getitem__),
    "components": (
        envs.MultiDiscrete((4, 2)),
        lambda t: jnp.stack([t, t // 2]),
        lambda t: [*np.eye(4)[t], *np.eye(2)[t // 2]],
    ),
    "vector": (
        spaces.Box(-1, 3, (2,), jnp.int32),
        lambda t: jnp.stack([t, -1]),
        lambda t: [*np.eye(5)[t + 1], *np.eye(5)[0]],
    ),
    "grid": (
        spaces.Box(0, 3, (2, 3), jnp.int8),
        lambda t: jnp.full((2, 3), t, jnp.int8),
        lambda t: np.full((2, 3, 4), np.eye(4)[t]),
    ),
    "channels": (
        spaces.Box(0, 3, (2, 2, 2), jnp.int32),
        lambda t: jnp.stack([jnp.zeros((2, 2), jnp.int32), jnp.full((2, 2), t)], -1),
        lambda t: np.full((2, 2, 8), [*np.eye(4)[0], *np.eye(4)[t]]),
    ),
}


@pytest.mark.parametrize("kind", CATEGORIES)
def test_one_hot(kind):
    space, show, wanted = CATEGORIES[kind]
    env = OneHotObservation(Shown(space, show))
    obs, *_ = play(env)
    np.testing.assert_array_equal(obs, [wanted(t) for t in range(4)])
    declared = env.observation_space(env.default_params)
    assert (declared.shape, obs.dtype) == (obs.shape[1:], np.float32)


def test_one_hot_of_whole_numbers():
    """FourRooms declares floats from 1 on and shows positions; a value outside shows zeros."""
    rooms, params = purejaxrl.make("FourRooms-misc")
    env = OneHotObservation(rooms, num_values=12)
    bare, obs = (stepping.reset(e, params, jax.random.key(1))[0] for e in (rooms, env))
    np.testing.assert_array_equal(obs, np.eye(12)[bare - 1].ravel())
    few = OneHotObservation(Shown(spaces.Discrete(4), lambda t: t), num_values=2)
    np.testing.assert_array_equal(play(few)[0], [[1, 0], [0, 1], [0, 0], [0, 0]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneHotObservation(purejaxrl.make("CartPole-v1")[0]), "how many values .* num_values"),
        (lambda: OneHotObservation(Shown(spaces.Box(0, 9, (2,)), None)), "how many values .* num_values"),
        (lambda: OneHotObservation(Leaves()), "needs one space of categories"),
        (lambda: OneHotObservation(Leaves(), num_values=0), "num_values must be >= 1"),
        (lambda: OneHotObservation(Shown(spaces.Box(-np.inf, np.inf, (2,)), None), 3), "values from the lowest on"),
        (lambda: FlattenObservation(Shown(spaces.Space(), None)), "unknown bounds"),
        (lambda: TimeLimit(Leaves(), 0), "max_steps must be >= 1"),
        (lambda: TimeLimit(Leaves(), 2.5), "max_steps must be an integer"),
        (lambda: ScaleReward(Leaves(), float("nan")), "scale must be finite"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(SettingError, match=message):
        make()


def test_a_time_limit_truncates():
    _, _, terminated, truncated, _ = play(TimeLimit(probes.Clock(), 2))
    np.testing.assert_array_equal(truncated, [False, False, True, True])
    np.testing.assert_array_equal(terminated, [False, False, False, True])
    *_, truncated, _ = play(TimeLimit(probes.TimeLimited(), 9), actions=[0] * 6)
    np.testing.assert_array_equal(truncated, [False] * 5 + [True] * 2)


@pytest.mark.slow
def test_a_time_limit_bootstraps():
    """Reward 1 for ever, cut after 3 steps: V = 1 / (1 - γ) = 2, from the loop's own estimates."""
    env = TimeLimit(probes.Probe(), 3)
    learner = learners.make("ppo", num_steps=16, gamma=0.5, learning_rate=1e-2, num_epochs=8)
    state = learners.learn(env, learner, total_steps=12_000)
    np.testing.assert_allclose(learners.values(learner, state, [[0.0]]), 2.0, atol=0.2)


def test_scaled_rewards():
    np.testing.assert_array_equal(play(ScaleReward(probes.Clock(), 0.5))[1][1:], [0.0, 0.5, 0.5])

    def returns(scale):
        env = ScaleReward(probes.TimeLimited(), scale)
        train = learners.bind(env, learners.make("ppo"), total_steps=128)
        return train(jax.random.key(0)).metrics["episode_return"][-1]

    np.testing.assert_allclose(jax.jit(jax.vmap(returns))(jnp.array([1.0, 3.0])), [5.0, 15.0], rtol=1e-5)


def test_gymnax_s_own_methods_reach_the_inner_environment():
    """`get_obs` and `observe` of a wrapper's state, and a copy whose steps have gradients, wrappers and all."""
    env, params = purejaxrl.make("Pendulum-v1")
    for wrapped in (
        TimeLimit(env, 5),
        ScaleReward(envs.RescaleObservation(TimeLimit(env, 5)), 2.0),
        FrameStack(env, 2),
    ):
        obs, state = wrapped.reset_env(jax.random.key(0), params)
        np.testing.assert_allclose(wrapped.get_obs(state, params), obs, rtol=1e-6)
        np.testing.assert_allclose(wrapped.observe(jax.random.key(0), state, jnp.zeros(1), params), obs, rtol=1e-6)
        other = wrapped.with_transition_gradients()
        assert type(other) is type(wrapped)
        grads = [
            jax.grad(lambda a, e=e, s=state: e.step_env(jax.random.key(0), s, a, params)[0].sum())(jnp.zeros(1))
            for e in (wrapped, other)
        ]
        assert grads[0] == 0
        assert grads[1] != 0


def test_one_hot_observations_by_their_place_pass_the_check_and_other_wrappers():
    env = envs.IndexObservation(envs.BsuiteDeepSea(4))
    assert checking.inspect(env, num_steps=20) == ([], [])
    stack = FrameStack(env, 3)
    assert checking.inspect(stack, num_steps=20) == ([], [])
    space, obs = stack.observation_space(None), stepping.reset(stack, env.default_params, jax.random.key(0))[0]
    assert obs.shape == space.shape == (3, 17)
    assert space.contains(obs)
    flat = FlattenObservation(stack)
    np.testing.assert_array_equal(stepping.reset(flat, env.default_params, jax.random.key(0))[0], obs.vector().ravel())


def nested():
    return TimeLimit(ScaleReward(FrameStack(FlattenObservation(Leaves()), 2), 10.0), 2)


def test_nested_wrappers():
    env = nested()
    obs, reward, _, truncated, state = play(env)
    flat = play(FlattenObservation(Leaves()))[0]
    np.testing.assert_array_equal(obs, np.concatenate([flat[[0, 0, 1, 2]], flat], -1))
    np.testing.assert_array_equal(reward[1:], [0, 10, 10])
    np.testing.assert_array_equal(truncated, [False, False, True, True])
    np.testing.assert_array_equal(stepping.action_mask(env, env.default_params, state), [True, True, False])
    assert envs.cells(env).cell_fn(state) == 2
    _, state = env.reset(jax.random.key(0))
    out = env.step(jax.random.key(0), state, 0)
    assert out[5]["final_observation"].shape == (14,)


def test_nested_wrappers_pass_the_check_and_train():
    env = nested()
    assert checking.inspect(env, num_steps=20) == ([], [])
    result = learners.trace(env, env.default_params)
    assert result.metrics["episode_return"].shape == (2,)


@pytest.mark.parametrize("action", [3, -1])
def test_checked_actions_raise_from_python(action):
    env = CheckActions(probes.Clock())
    params = env.default_params
    _, state = env.reset_env(jax.random.key(0), params)
    env.step_env(jax.random.key(0), state, 2, params)
    with pytest.raises(checkify.JaxRuntimeError, match=f"action {action} is outside"):
        env.step_env(jax.random.key(0), state, action, params)


def test_checked_actions_of_another_kind():
    env, box = CheckActions(probes.Clock()), CheckActions(probes.Target())
    for checked, action in ((env, 0.5), (env, jnp.zeros(1, jnp.int32)), (box, 0.5)):
        _, state = checked.reset_env(jax.random.key(0), checked.default_params)
        with pytest.raises(SettingError, match="is none of"):
            checked.step_env(jax.random.key(0), state, action, checked.default_params)
    with pytest.raises(checkify.JaxRuntimeError, match="is outside"):
        box.step_env(jax.random.key(0), state, jnp.array([jnp.nan]), box.default_params)


def test_checked_actions_in_a_jitted_program():
    env = CheckActions(probes.Clock())
    params = env.default_params
    keys = jax.random.split(jax.random.key(0), 3)
    _, states = jax.vmap(env.reset_env, in_axes=(0, None))(keys, params)
    step = jax.jit(checkify.checkify(jax.vmap(env.step_env, in_axes=(0, 0, 0, None))))
    step(keys, states, jnp.array([0, 1, 2]), params)[0].throw()
    with pytest.raises(checkify.JaxRuntimeError, match="action 7 is outside"):
        step(keys, states, jnp.array([0, 7, 2]), params)[0].throw()
    with pytest.raises(ValueError, match="checkify"):
        jax.jit(env.step_env)(keys[0], jax.tree.map(lambda x: x[0], states), 0, params)


def test_a_whole_run_with_checked_actions():
    train = learners.bind(CheckActions(probes.Clock()), learners.make("pqn"), total_steps=64)
    error, result = jax.jit(checkify.checkify(train))(jax.random.key(0))
    error.throw()
    assert result.metrics["env_steps"][-1] == 64
