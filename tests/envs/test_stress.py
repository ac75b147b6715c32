"""Each wrapper against the environment alone, step by step with the same keys where the wrapper leaves them."""

import itertools

import jax
import jax.numpy as jnp
import learners
import numpy as np
import probes
import pytest
from gymnax.environments import spaces

import purejaxrl
from purejaxrl import envs
from purejaxrl.types import SettingError


class Ramp(probes.Probe):
    """Step t of an episode pays t; it ends after 7 steps or at a limit; x counts the actions 1."""

    def __init__(self, limit=1_000_000):
        self.limit = limit

    def start(self, key):
        return jax.random.randint(key, (), 10, 1000).astype(jnp.float32)

    def next_x(self, key, state, action):
        return state.x + action

    def ends(self, state):
        return state.time >= 7

    def reward(self, state, action):
        return jnp.asarray(state.time + 1, jnp.float32)

    def is_truncated(self, state, params):
        return state.time >= self.limit


def play(env, actions, seed=0):
    """Observations, rewards and flags of one episode, cut at its end; the true states' x."""
    params = env.default_params
    key = jax.random.key(seed)
    obs, state = env.reset_env(key, params)
    seen, rewards, step = [obs], [], jax.jit(env.step_env)
    for index, action in enumerate(actions):
        obs, state, reward, terminated, _ = step(jax.random.fold_in(key, index), state, action, params)
        seen.append(obs)
        rewards.append(float(reward))
        if terminated or env.is_truncated(state, params):
            break
    while hasattr(state, "env_state"):
        state = state.env_state
    return np.asarray(seen), rewards, state


ACTIONS = [0, 1, 1, 0, 1, 0, 1, 1]


def test_delayed_reward_pays_in_sums_and_all_at_the_end():
    assert play(Ramp(), ACTIONS)[1] == [1, 2, 3, 4, 5, 6, 7]
    assert play(envs.DelayedReward(Ramp(), 3), ACTIONS)[1] == [0, 0, 6, 0, 0, 15, 7]
    assert play(envs.DelayedReward(Ramp(limit=5), 3), ACTIONS)[1] == [0, 0, 6, 0, 9], "a time limit pays what is left"
    assert play(envs.DelayedReward(Ramp(), 1), ACTIONS)[1] == [1, 2, 3, 4, 5, 6, 7]


def test_sparse_reward_pays_at_the_end_alone():
    assert play(envs.SparseReward(Ramp()), ACTIONS)[1] == [0] * 6 + [28]
    assert play(envs.SparseReward(Ramp(), threshold=28), ACTIONS)[1] == [0] * 6 + [1]
    assert play(envs.SparseReward(Ramp(), threshold=28.5), ACTIONS)[1] == [0] * 7
    assert play(envs.SparseReward(Ramp(limit=4)), ACTIONS)[1] == [0, 0, 0, 10]


def test_sparse_mountain_car_pays_for_the_flag():
    env, params = purejaxrl.make("MountainCar-v0")
    env = envs.SparseReward(env, threshold=-199)
    obs, state = env.reset_env(jax.random.key(0), params)
    step, paid = jax.jit(env.step_env), 0.0
    for index in range(200):
        action = jnp.where(obs[1] >= 0, 2, 0)  # with the slope: reaches the flag
        obs, state, reward, terminated, _ = step(jax.random.key(index), state, action, params)
        paid += float(reward)
        if terminated:
            break
        assert reward == 0
    assert index < 199
    assert paid == 1


def test_sticky_actions_repeat_with_their_probability():
    stuck = play(envs.StickyActions(Ramp(), 1.0), [1, 0, 0, 0])[2]
    free = play(envs.StickyActions(Ramp(), 0.0), [1, 0, 0, 0])[2]
    assert stuck.x - free.x == 3, "the first action is never sticky"
    env, total = envs.StickyActions(Ramp(), 0.25), 0
    start = env.reset_env(jax.random.key(0), env.default_params)[1]
    one = env.step_env(jax.random.key(0), start, 1, env.default_params)[1]
    step = jax.vmap(lambda key: env.step_env(key, one, 0, env.default_params)[1].env_state.x)
    total = np.asarray(step(jax.random.split(jax.random.key(1), 10_000)) - one.env_state.x).mean()
    np.testing.assert_allclose(total, 0.25, atol=0.02)  # 4.6 standard errors


def test_sticky_actions_may_be_vectors():
    env, params = purejaxrl.make("Reacher-misc")
    env = envs.StickyActions(env, 1.0)
    state = env.reset_env(jax.random.key(0), params)[1]
    first, second = jnp.array([0.5, -0.5]), jnp.zeros(2)
    state = env.step_env(jax.random.key(1), state, first, params)[1]
    state = env.step_env(jax.random.key(2), state, second, params)[1]
    np.testing.assert_array_equal(state.action, first)


@pytest.mark.parametrize("env_id", ["MountainCar-v0", "Breakout-MinAtar"])
def test_noisy_tv_shows_the_environment_and_noise(env_id):
    env, params = purejaxrl.make(env_id)
    tv = envs.NoisyTV(env, size=5)
    obs, state = tv.reset_env(jax.random.key(0), params)
    assert obs.shape == tv.observation_space(params).shape
    assert tv.observation_space(params).contains(obs)
    width = tv.env.observation_space(params).shape[-1]
    screens = []
    for index in range(50):
        inner = state.env_state
        obs, state, reward, *_ = tv.step_env(jax.random.key(index), state, 1, params)
        key = jax.random.split(jax.random.key(index))[0]
        expected, _, expected_reward, *_ = env.step_env(key, inner, 1, params)
        np.testing.assert_array_equal(obs[..., :width], expected)
        assert reward == expected_reward
        screens.append(np.asarray(obs[..., width:], float))
    assert all((a != b).any() for a, b in itertools.pairwise(screens))
    np.testing.assert_allclose(np.mean(screens), 0.5, atol=0.1)


def test_a_screen_beside_integers_flickers_too():
    env, params = purejaxrl.make("FourRooms-misc")
    tv = envs.NoisyTV(env, size=4)
    obs, state = tv.reset_env(jax.random.key(0), params)
    assert obs.dtype == tv.observation_space(params).dtype == np.float32
    np.testing.assert_array_equal(obs[:4], env.get_obs(state.env_state, params))
    assert len(np.unique(obs[4:])) == 4


def test_what_a_mask_forbids_does_not_stick():
    class Taken(Ramp):
        """Each action is allowed once; or of two components the first once and the second always."""

        several = False

        def action_space(self, params=None):
            return envs.MultiDiscrete((2, 3)) if self.several else spaces.Discrete(9)

        def next_x(self, key, state, action):
            return 1.0 + jnp.ravel(action)[0]

        def start(self, key):
            return jnp.zeros(())

        def action_mask(self, state, params):
            free = jnp.arange(9) != state.x - 1
            return jnp.concatenate([free[:2], jnp.ones(3, bool)]) if self.several else free

    env = envs.StickyActions(Taken(), 1.0)
    assert play(env, [4, 5, 6])[2].x == 7, "4 and 5 are taken"
    several = Taken()
    several.several = True
    env = envs.StickyActions(several, 1.0)
    state = env.reset_env(jax.random.key(0), env.default_params)[1]
    for action in ([1, 2], [0, 0]):
        state = env.step_env(jax.random.key(0), state, jnp.array(action), env.default_params)[1]
    np.testing.assert_array_equal(state.action, [0, 2])  # the first may not stick, the second does


def test_a_remote_changes_the_screen_and_nothing_else_does():
    env, params = purejaxrl.make("MountainCar-v0")
    tv = envs.NoisyTV(env, size=4, remote=1)
    obs, state = tv.reset_env(jax.random.key(0), params)
    for index, action in enumerate([0, 2, 1, 0, 1, 1]):
        before = obs[2:]
        obs, state, *_ = tv.step_env(jax.random.key(index), state, action, params)
        assert (before != obs[2:]).all() if action == 1 else (before == obs[2:]).all()


def test_fixed_layouts():
    for count in (1, 3):
        env = envs.FixedLayouts(Ramp(), num_layouts=count, seed=4)
        starts = jax.vmap(lambda key, env=env: env.reset_env(key, None)[0])(jax.random.split(jax.random.key(0), 60))
        assert len(np.unique(starts)) == count
    other = envs.FixedLayouts(Ramp(), seed=5).reset_env(jax.random.key(0), None)[0]
    assert other != envs.FixedLayouts(Ramp(), seed=4).reset_env(jax.random.key(0), None)[0]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: envs.NoisyTV(env, 3),
        envs.SparseReward,
        envs.StickyActions,
        envs.FixedLayouts,
        lambda env: envs.StickyActions(envs.DelayedReward(envs.NoisyTV(env, 3, remote=0), 4), 0.1),
        lambda env: envs.FrameStack(envs.NoisyTV(env, 3), 2),
    ],
)
def test_wrappers_nest_train_and_keep_the_cells(wrap):
    env, params = purejaxrl.make("FourRooms-misc")
    wrapped = wrap(env)
    assert learners.trace(wrapped, params).metrics["episode_return"].shape == (2,)
    found, bare = envs.cells(wrapped), envs.cells(env)
    key = jax.random.key(3)
    _, state = wrapped.reset_env(key, params)
    obs, state, *_, info = wrapped.step(key, state, 1, params)
    assert info["final_observation"].shape == obs.shape
    inner = state
    while hasattr(inner, "env_state"):
        inner = inner.env_state
    assert found.cell_fn(state) == bare.cell_fn(inner)
    assert wrapped.name == env.name


def test_what_does_not_fit_is_refused():
    env, _ = purejaxrl.make("MountainCar-v0")
    for make, message in [
        (lambda: envs.NoisyTV(env, remote=3), "remote must be <= 2, got 3"),
        (lambda: envs.NoisyTV(env, size=0), "size must be >= 1"),
        (lambda: envs.StickyActions(env, 1.5), "probability must be finite and >= 0 and <= 1"),
        (lambda: envs.DelayedReward(env, 0), "delay must be >= 1"),
        (lambda: envs.SparseReward(env, float("nan")), "threshold must be finite"),
        (lambda: envs.FixedLayouts(env, 0), "num_layouts must be >= 1"),
    ]:
        with pytest.raises(SettingError, match=message):
            make()

    class Odd(probes.Clock):
        def observation_space(self, params):
            return spaces.Discrete(3)

    for env in (Odd(), envs.FrameStack(Odd(), 2), envs.IndexObservation(envs.BsuiteDeepSea(3))):
        with pytest.raises(SettingError, match="a vector or a grid"):
            envs.NoisyTV(env)
    for wrap in (envs.SparseReward, envs.Outcomes, lambda env: envs.DelayedReward(envs.ScaleReward(env, 1.0), 3)):
        with pytest.raises(SettingError, match=r"TimeLimit belongs inside (SparseReward|Outcomes|DelayedReward)"):
            envs.TimeLimit(envs.FrameStack(wrap(Ramp()), 2), 5)
        envs.TimeLimit(wrap(envs.TimeLimit(Ramp(), 5)).env, 4)
