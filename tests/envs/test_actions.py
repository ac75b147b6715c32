"""Discrete actions outside their space: our own environments take the nearest one within it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax import registration

import purejaxrl
from purejaxrl import envs
from purejaxrl.envs import minigrid


def families():
    """An id of each of our own classes that act in a Discrete space: ``{class: id}``."""
    factories = {env_id: registration._registry[env_id] for env_id in envs.ids()}
    found = {getattr(factory, "func", factory): env_id for env_id, factory in factories.items()}  # of a partial
    ours = {family: env_id for family, env_id in found.items() if family.__module__.startswith("purejaxrl.")}
    return {family: env_id for family, env_id in ours.items() if hasattr(envs.make(env_id)[0].action_space(), "n")}


FAMILIES = families()
# MiniGrid's share one step, whose compiling takes seconds: here `done` ends the episode.
STEPPED = [env_id for env_id in FAMILIES.values() if env_id not in minigrid.TASKS] + ["MiniGrid-GoToDoor-5x5-v0"]


def steps(env_id, actions):
    """A step with each of the actions from each of 16 first states: all that it returns, leaves ``[16, n, ...]``."""
    env, params = purejaxrl.make(env_id)

    def step(key):
        _, state = env.reset_env(key, params)
        return jax.vmap(lambda action: env.step_env(key, state, action, params))(jnp.array(actions))

    return jax.jit(jax.vmap(step))(jax.random.split(jax.random.key(0), 16))


@pytest.mark.parametrize("env_id", STEPPED)
def test_an_action_outside_is_the_nearest_one_inside(env_id):
    last = purejaxrl.make(env_id)[0].action_space().n - 1
    outside, inside = steps(env_id, [-9, -1, last + 1, last + 6]), steps(env_id, [0, 0, last, last])
    jax.tree.map(np.testing.assert_array_equal, outside, inside)


def test_minigrid_s_share_one_step():
    for family in FAMILIES:
        if issubclass(family, minigrid.MiniGrid):
            assert family.step_env is minigrid.MiniGrid.step_env, family


def test_dynamic_obstacles_take_others_for_left():
    """As MiniGrid does."""
    outside, left = (steps("MiniGrid-Dynamic-Obstacles-5x5-v0", actions) for actions in ([-1, 3, 6, 9], [0, 0, 0, 0]))
    jax.tree.map(np.testing.assert_array_equal, outside, left)
