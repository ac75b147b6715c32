"""MiniGrid beside the `minigrid` package: the same levels and actions in both, and levels drawn alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purejaxrl
from purejaxrl.envs import minigrid as ours
from purejaxrl.envs.minigrid import engine, objects

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("minigrid")
from minigrid.core import world_object  # noqa: E402

STEPS, SEEDS = 128, 4


@functools.cache
def reference(env_id):
    family, settings = ours.TASKS[env_id]
    if env_id in NOT_THEIRS:
        from minigrid.envs import MultiRoomEnv

        return MultiRoomEnv(settings["num_rooms"], settings["num_rooms"], settings["max_room_size"])
    return gymnasium.make(env_id).unwrapped


NOT_THEIRS = {"MiniGrid-MultiRoom-N7-S8-v0"}


# Their levels as ours.


def encoded(thing):
    if thing is None:
        return objects.EMPTY
    kind, colour, state = thing.encode()
    inside = encoded(thing.contains) << 9 if kind == objects.BOX else 0
    return kind | colour << 4 | state << 7 | inside


def encoded_grid(env):
    cells = [encoded(env.grid.get(x, y)) for y in range(env.height) for x in range(env.width)]
    return np.array(cells, np.uint16).reshape(env.height, env.width)


def converted(env_id, env):
    """Our state of their level."""
    mission, places = EXTRAS.get(ours.TASKS[env_id][0], lambda env: ((), ()))(env)
    x, y = env.agent_pos
    places = tuple((y, x) for x, y in places)
    state = engine.start(encoded_grid(env), y, x, env.agent_dir, mission=mission, places=places)
    return state.replace(carrying=jnp.uint16(encoded(env.carrying)), time=jnp.int32(env.step_count))


def object_and_door(env):
    doors = [(x, y) for x in range(env.width) for y in range(env.height) if is_door(env.grid.get(x, y))]
    return (encoded(env.obj),), doors


def is_door(thing):
    return isinstance(thing, world_object.Door)


EXTRAS = {
    ours.KeyCorridor: lambda env: ((encoded(env.obj),), ()),
    ours.ObstructedMaze: lambda env: ((encoded(env.obj),), ()),
    ours.Unlock: lambda env: ((), (env.door.cur_pos,)),
    ours.UnlockPickup: object_and_door,
}


# Play.


@functools.cache
def player(env_id):
    """A jitted scan of our steps over an action sequence, and how a level starts."""
    env, params = purejaxrl.make(env_id)

    def step(state, action):
        obs, state, reward, terminated, _ = env.step_env(jax.random.key(0), state, action, params)
        image = obs[0] if isinstance(obs, tuple) else obs
        return state, (image, reward, terminated, env.is_truncated(state, params), state)

    return jax.jit(lambda state, actions: jax.lax.scan(step, state, actions)[1]), jax.jit(env.get_obs)


def wander(env, rng):
    """An action that plays with what is in front of the agent more often than chance would."""
    thing = env.grid.get(*env.front_pos)
    if thing is not None and rng.random() < 0.6:
        if isinstance(thing, world_object.Door):
            return env.actions.forward if thing.is_open and rng.random() < 0.7 else env.actions.toggle
        if isinstance(thing, (world_object.Key, world_object.Ball, world_object.Box)):
            return rng.choice([env.actions.pickup, env.actions.pickup, env.actions.toggle])
        if isinstance(thing, world_object.Goal):
            return env.actions.forward
    return rng.choice(7, p=[0.17, 0.17, 0.46, 0.05, 0.06, 0.08, 0.01])


def placed_by_something(env, rng):
    """Put the agent beside a random thing, facing it, in half of the calls with a fitting key: rare events happen."""
    spots = []
    for x in range(1, env.width - 1):
        for y in range(1, env.height - 1):
            if env.grid.get(x, y) is not None:
                continue
            for direction, (dx, dy) in enumerate([(1, 0), (0, 1), (-1, 0), (0, -1)]):
                thing = env.grid.get(x + dx, y + dy)
                if thing is not None and thing.type != "wall":
                    spots.append(((x, y), direction, thing))
    if not spots:
        return
    kinds = sorted({spot[2].type for spot in spots})
    kind = kinds[rng.integers(len(kinds))]
    spots = [spot for spot in spots if spot[2].type == kind]
    env.agent_pos, env.agent_dir, thing = spots[rng.integers(len(spots))]
    if thing.type == "door" and rng.random() < 0.5:
        env.carrying = world_object.Key(thing.color)


def replay(env_id, seeds=SEEDS, steps=STEPS):
    """Play both over the same levels and actions; what differs fails. Returns the steps and what was met."""
    env, rng = reference(env_id), np.random.default_rng(0)
    scan, first_obs = player(env_id)
    count, met = 0, {"reward": 0, "terminated": 0, "carried": 0, "door": 0, "truncated": 0}
    for seed in range(seeds):
        obs, _ = env.reset(seed=seed)
        if seed % 2:
            placed_by_something(env, rng)
            obs = env.gen_obs()
        if seed % 4 == 3:
            env.step_count = env.max_steps - 10
        state = converted(env_id, env)
        shown = first_obs(state)
        np.testing.assert_array_equal(shown[0] if isinstance(shown, tuple) else shown, obs["image"])
        actions, theirs = [], []
        for _ in range(steps):
            action = int(wander(env, rng))
            obs, reward, terminated, truncated, _ = env.step(action)
            actions.append(action)
            theirs.append((obs["image"], reward, terminated, truncated, encoded_grid(env), encoded(env.carrying)))
            if terminated or truncated:
                break
        length = len(actions)
        found = jax.tree.map(np.asarray, scan(state, jnp.array(actions + [0] * (steps - length))))
        image, reward, terminated, truncated, states = jax.tree.map(lambda leaf: leaf[:length], found)
        expected = [np.stack(leaves) for leaves in zip(*theirs, strict=True)]
        np.testing.assert_array_equal(image, expected[0])
        np.testing.assert_allclose(reward, expected[1], rtol=1e-6)
        np.testing.assert_array_equal(terminated, expected[2])
        np.testing.assert_array_equal(truncated, expected[3])
        np.testing.assert_array_equal(states.grid, expected[4])
        np.testing.assert_array_equal(states.carrying, expected[5])
        count += length
        met["reward"] += int((reward > 0).any())
        met["terminated"] += int(terminated.any())
        met["truncated"] += int(truncated.any())
        met["carried"] += int((states.carrying != objects.EMPTY).any())
        met["door"] += int((((states.grid & 15) == objects.DOOR) & (states.grid >> 7 == objects.OPEN)).any())
    return count, met


@pytest.mark.parametrize("env_id", ours.TASKS)
def test_replay_is_minigrid_s(env_id):
    count, met = replay(env_id)
    assert count > 20
