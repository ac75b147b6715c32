"""Sparse and deceptive classic control: gymnasium's dynamics, and rewards that a formula gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs import classic_control

import purejaxrl
from purejaxrl import envs, stepping

# Each with gymnasium's, the state's fields, bounds to draw states from, and who says when gymnasium's step succeeds.
TASKS = {
    "SparseMountainCar-v0": (classic_control.MountainCarEnv, ("position", "velocity"), [1.2, 0.07]),
    "SparseMountainCarContinuous-v0": (
        classic_control.Continuous_MountainCarEnv,
        ("position", "velocity"),
        [1.2, 0.07],
    ),
    "SparseAcrobot-v0": (
        classic_control.AcrobotEnv,
        ("joint_angle1", "joint_angle2", "velocity_1", "velocity_2"),
        [3.1, 3.1, 6.0, 9.0],
    ),
    "SparsePendulum-v0": (classic_control.PendulumEnv, ("theta", "theta_dot"), [3.1, 2.0]),
    "DeceptiveMountainCar-v0": (classic_control.MountainCarEnv, ("position", "velocity"), [1.2, 0.07]),
}


def gymnasium_steps(env_id, number=2_000):
    """States, actions, and gymnasium's next observations and ends from there."""
    make, _, bounds = TASKS[env_id]
    theirs, generator = make(), np.random.default_rng(0)
    theirs.reset(seed=0)
    states = generator.uniform(-1, 1, (number, len(bounds))) * bounds
    if "Car" in env_id:
        states[:, 0] = generator.uniform(-1.2, theirs.goal_position, number)
    if hasattr(theirs.action_space, "n"):
        actions = generator.integers(0, theirs.action_space.n, number)
    else:
        actions = generator.uniform(-2, 2, (number, 1)).astype(np.float32)
    found = []
    for state, action in zip(states, actions, strict=True):
        theirs.state = state.copy()
        obs, _, terminated, *_ = theirs.step(action)
        found.append((obs, terminated))
    obs, terminated = zip(*found, strict=True)
    return states, actions, np.asarray(obs), np.asarray(terminated)


def paid(env_id, obs, terminated):
    """What each task pays where gymnasium arrives, and whether it ends."""
    if env_id == "SparsePendulum-v0":
        return ((obs[:, 0] > 0.95) & (np.abs(obs[:, 2]) < 0.5)) * 1.0, terminated
    if env_id == "DeceptiveMountainCar-v0":
        trapped = obs[:, 0] <= -0.9
        return np.where(trapped, 0.1, terminated), terminated | trapped
    return terminated * 1.0, terminated


@pytest.mark.parametrize("env_id", TASKS)
def test_steps_are_gymnasium_s_and_success_alone_pays(env_id):
    states, actions, wanted, terminated = gymnasium_steps(env_id)
    env, params = purejaxrl.make(env_id)
    assert env.name == env_id
    _, start = env.reset_env(jax.random.key(0), params)
    fields = {name: jnp.asarray(states[:, i], jnp.float32) for i, name in enumerate(TASKS[env_id][1])}

    def one(fields, action):
        return env.step_env(jax.random.key(0), start.replace(**fields), action, params)

    obs, _, reward, ended, _ = jax.jit(jax.vmap(one))(fields, jnp.asarray(actions))
    np.testing.assert_allclose(obs, wanted, atol=1e-4 if "Acrobot" in env_id else 1e-5)
    wanted_reward, wanted_end = paid(env_id, wanted, terminated)
    np.testing.assert_array_equal(ended, wanted_end)
    np.testing.assert_allclose(reward, wanted_reward)
    assert 0 < (wanted_reward > 0.5).mean() < 0.2, "some steps succeeded, most did not"


def test_pendulum_hangs_at_first():
    env, params = purejaxrl.make("SparsePendulum-v0")
    obs, state = jax.vmap(lambda key: env.reset_env(key, params))(jax.random.split(jax.random.key(0), 2_000))
    for value, middle in ((state.theta, np.pi), (state.theta_dot, 0)):
        assert 0.0498 < jnp.abs(value - middle).max() <= 0.05 + 1e-6
    assert obs[:, 0].max() < -0.99
    assert env.is_truncated(jax.tree.map(lambda leaf: leaf[0], state).replace(time=200), params)


def rollout(env, params, position, action_fn, steps=200):
    """Rewards up to the first end, of one episode from a standing car."""
    state = stepping.reset(env, params, jax.random.key(0))[1].replace(position=jnp.float32(position))

    def one(carry, t):
        state, over = carry
        _, state, reward, terminated, _ = stepping.step(env, params, jax.random.key(0), state, action_fn(state, t))
        return (state, over | terminated), jnp.where(over, 0.0, reward)

    return jax.lax.scan(one, (state, jnp.bool(False)), jnp.arange(steps))[1].sum()


def test_the_trap_is_on_the_way_and_can_be_avoided():
    """Pushing the way the car moves ends in it from every start; some right-left-right reaches the flag from each."""
    env, params = purejaxrl.make("DeceptiveMountainCar-v0")
    starts = jnp.linspace(-0.6, -0.4, 9)
    swing = lambda state, t: jnp.where(state.velocity < 0, 0, 2)  # noqa: E731
    np.testing.assert_allclose(jax.vmap(lambda x: rollout(env, params, x, swing))(starts), 0.1)
    plans = jnp.asarray(list(np.ndindex(40, 60)))

    def planned(x, plan):
        return rollout(env, params, x, lambda _, t: jnp.where((t >= plan[0]) & (t < plan.sum()), 0, 2), 150)

    best = jax.jit(jax.vmap(lambda x: jax.vmap(lambda plan: planned(x, plan))(plans).max()))(starts)
    np.testing.assert_array_equal(best, 1)


@pytest.mark.parametrize(("env_id", "x", "y"), [("SparsePendulum-v0", 3.1, 7.9), ("SparseAcrobot-v0", 3.1, 3.1)])
def test_cells_are_boxes(env_id, x, y):
    """Against NumPy's histogram, whatever the angle's turns."""
    env, params = purejaxrl.make(env_id)
    found, fields = envs.cells(env), TASKS[env_id][1][:2]
    _, state = env.reset_env(jax.random.key(0), params)
    points = np.random.default_rng(0).uniform(-1, 1, (500, 2)) * [x, y]
    turned = jnp.asarray(points + np.array([2 * np.pi, 0]), jnp.float32)
    cell = jax.vmap(lambda point: found.cell_fn(state.replace(**dict(zip(fields, point, strict=True)))))(turned)
    counts = np.bincount(np.asarray(cell), minlength=found.num_cells)[found.layout]
    bounds = [[-8, 8] if "Pendulum" in env_id else [-np.pi, np.pi], [-np.pi, np.pi]]
    np.testing.assert_array_equal(counts[::-1], np.histogram2d(points[:, 1], points[:, 0], bins=20, range=bounds)[0])


@pytest.mark.parametrize("env_id", ["Acrobot-v1", "Pendulum-v1", "MountainCar-v0", "DeceptiveMountainCar-v0"])
def test_what_is_made_of_an_environment_has_its_cells(env_id):
    assert envs.cells(purejaxrl.make(env_id)[0]).num_cells == 400
