"""MiniGrid beside the `minigrid` package: the same levels and actions in both, and levels drawn alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import purejaxrl
from purejaxrl.envs import minigrid as ours
from purejaxrl.envs.minigrid import drawing, engine, objects, tiles

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("minigrid")
from minigrid import minigrid_env, wrappers  # noqa: E402
from minigrid.core import constants, world_object  # noqa: E402
from minigrid.core.grid import Grid  # noqa: E402

STEPS = 250  # of each task in a replay


@functools.cache
def reference(env_id):
    _, settings = ours.TASKS[env_id]
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
    return (encoded(env.obj),), doors_of(env)


def doors_of(env):
    cells = [(x, y) for x in range(env.width) for y in range(env.height)]
    return [at for at in cells if isinstance(env.grid.get(*at), world_object.Door)]


def named(kind, colour):
    return constants.OBJECT_TO_IDX[kind] | constants.COLOR_TO_IDX[colour] << 4


EXTRAS = {
    ours.KeyCorridor: lambda env: ((encoded(env.obj),), ()),
    ours.ObstructedMaze: lambda env: ((encoded(env.obj),), ()),
    ours.Unlock: lambda env: ((), (env.door.cur_pos,)),
    ours.Memory: lambda env: ((), (env.success_pos, env.failure_pos)),
    ours.RedBlueDoors: lambda env: ((), sorted((x, y) for x, y in doors_of(env))),
    ours.DynamicObstacles: lambda env: ((), tuple(ball.cur_pos for ball in env.obstacles)),
    ours.Fetch: lambda env: ((named(env.targetType, env.targetColor),), ()),
    ours.GoToDoor: lambda env: ((named("door", env.target_color),), (env.target_pos,)),
    ours.GoToObject: lambda env: ((named(env.targetType, env.target_color),), (env.target_pos,)),
    ours.PutNear: lambda env: (
        (named(env.move_type, env.moveColor), named(env.target_type, env.target_color)),
        (env.target_pos,),
    ),
    ours.UnlockPickup: object_and_door,
}


# Play.


PLAYERS = {}


def player(env_id):
    """Our steps over a sequence of actions, some of them on fresh levels, jitted; tasks of one shape share it."""
    env, params = purejaxrl.make(env_id)

    def play(xs, params):
        def step(state, x):
            fresh, level, rolled, action = x
            state = jax.tree.map(lambda new, old: jnp.where(fresh, new, old), level, state)
            if rolled is not None:  # their balls' moves are random
                env.roll = lambda key, state: state.replace(grid=rolled)
            shown = image_of(env.get_obs(state))
            obs, state, reward, terminated, _ = env.step_env(jax.random.key(0), state, action, params)
            found = (shown, image_of(obs), reward, terminated, env.is_truncated(state, params))
            return state, (*found, state.grid, state.carrying)

        return jax.lax.scan(step, jax.tree.map(lambda leaf: leaf[0], xs[1]), xs)[1]

    play = PLAYERS.setdefault((type(env), env.height, env.width), jax.jit(play))
    return lambda xs: jax.tree.map(np.asarray, play(xs, params))


def image_of(obs):
    return obs[0] if isinstance(obs, tuple) else obs


def wander(env, rng):
    """An action that plays with what is in front of the agent more often than chance would."""
    thing = env.grid.get(*env.front_pos)
    if thing is not None and hasattr(env, "target_pos") and rng.random() < 0.3:
        return env.actions.done
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


def replay(env_id, steps=STEPS):
    """Play both over the same levels and actions: what ours and theirs saw, each a list of arrays ``[steps, ...]``."""
    env, rng = reference(env_id), np.random.default_rng(0)
    xs, theirs, episode, over = [], [], 0, True
    while len(xs) < steps:
        fresh = over
        if fresh:
            obs, _ = env.reset(seed=episode)
            if episode % 2 and ours.TASKS[env_id][0] is not ours.GoToDoor:  # whose doors lead out of the grid
                placed_by_something(env, rng)
                obs = env.gen_obs()
            if episode % 4 == 3:
                env.step_count = env.max_steps - 10
            level, episode = converted(env_id, env), episode + 1
        action, shown = int(wander(env, rng)), obs["image"]
        obs, reward, terminated, truncated, _ = env.step(action)
        over = terminated or truncated or (episode % 4 == 1 and env.step_count > 60)
        rolled = getattr(env, "rolled", None)
        xs.append((fresh, level, rolled, action))
        theirs.append((shown, obs["image"], reward, terminated, truncated, encoded_grid(env), encoded(env.carrying)))
    found = player(env_id)(jax.tree.map(lambda *leaves: np.stack(leaves), *xs))
    return found, [np.stack(leaves) for leaves in zip(*theirs, strict=True)]


@pytest.fixture
def rolling(monkeypatch):
    """Their obstacles' moves, kept before the agent acts."""
    step = minigrid_env.MiniGridEnv.step

    def keeping(env, action):
        if hasattr(env, "obstacles"):
            env.rolled = encoded_grid(env)
        return step(env, action)

    monkeypatch.setattr(minigrid_env.MiniGridEnv, "step", keeping)


def last_of_each_family(ids):
    """The ids, all but the last of each family marked slow, for their number."""
    last = {ours.TASKS[env_id][0]: env_id for env_id in ids}.values()
    return [pytest.param(one, marks=() if one in last else pytest.mark.slow) for one in ids]


@pytest.mark.parametrize("env_id", last_of_each_family(ours.TASKS))
@pytest.mark.usefixtures("rolling")
def test_replay_is_minigrid_s(env_id):
    found, theirs = replay(env_id)
    for name, x, y in zip(PLAYED, found, theirs, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6 if name == "reward" else 0, err_msg=name)


PLAYED = ("image before", "image", "reward", "terminated", "truncated", "grid", "carrying")


# Levels.


def their_levels(env_id, count):
    """Grids ``[count, height, width]``, agents ``[count, 3]`` as row, column, direction."""
    env, grids, agents = reference(env_id), [], []
    env.reset(seed=0)
    for _ in range(count):
        env.agent_pos = (-1, -1)
        env._gen_grid(env.width, env.height)
        grids.append(encoded_grid(env))
        agents.append((env.agent_pos[1], env.agent_pos[0], env.agent_dir))
    return np.stack(grids), np.array(agents)


def our_levels(env_id, count, seed=1):
    env, _ = purejaxrl.make(env_id)
    states = jax.jit(jax.vmap(env.generate))(jax.random.split(jax.random.key(seed), count))
    return np.asarray(states.grid), np.stack([states.y, states.x, states.direction], 1)


def features(grids, agents):
    """Discrete numbers of each level, ``[features, count]``: every cell, the agent, what is ahead, counts, places."""
    count, height, width = grids.shape
    index, (y, x, direction) = np.arange(count), agents.T
    dy, dx = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])[direction].T
    kinds = grids & 15
    rows, columns = np.mgrid[:height, :width]
    found = [*grids.reshape(count, -1).T, y, x, y * width + x, direction, grids[index, y + dy, x + dx]]
    for kind in range(1, 11):
        mask = kinds == kind
        found += [mask.sum((1, 2)), (mask * columns).sum((1, 2)), (mask * rows).sum((1, 2))]
        found.append((mask * (np.abs(rows - y[:, None, None]) + np.abs(columns - x[:, None, None]))).sum((1, 2)))
        found += [(mask & (grids >> 4 & 7 == hue)).sum((1, 2)) for hue in range(6)]
    return np.stack(found)


def least_p(ours, theirs):
    """The least p-value of chi-square tests that each feature is distributed alike, times their number."""
    values = []
    for a, b in zip(ours, theirs, strict=True):
        kinds, index = np.unique(np.concatenate([a, b]), return_inverse=True)
        table = np.stack([np.bincount(part, minlength=len(kinds)) for part in np.split(index, [len(a)])])
        rare = table.sum(0) < 10
        table = np.concatenate([table[:, ~rare], table[:, rare].sum(1, keepdims=True)], 1)
        table = table[:, table.sum(0) >= 10]
        if table.shape[1] > 1:
            values.append(stats.chi2_contingency(table, correction=False).pvalue)
    return min(values, default=1.0) * len(values)


SAMPLED = {
    "MiniGrid-Empty-Random-6x6-v0": 1000,
    "MiniGrid-DoorKey-6x6-v0": 1000,
    "MiniGrid-FourRooms-v0": 400,
    "MiniGrid-MultiRoom-N4-S5-v1": 400,
    "MiniGrid-KeyCorridorS3R3-v0": 600,
    "MiniGrid-Unlock-v0": 500,
    "MiniGrid-BlockedUnlockPickup-v0": 500,
    "MiniGrid-ObstructedMaze-2Dlhb-v0": 400,
    "MiniGrid-LavaGapS6-v0": 500,
    "MiniGrid-SimpleCrossingS9N3-v0": 500,
    "MiniGrid-Dynamic-Obstacles-Random-6x6-v0": 500,
    "MiniGrid-MemoryS13Random-v0": 400,
    "MiniGrid-PutNear-8x8-N3-v0": 400,
    "MiniGrid-GoToDoor-8x8-v0": 500,
    "MiniGrid-GoToObject-6x6-N2-v0": 500,
    "MiniGrid-Fetch-8x8-N3-v0": 400,
    "MiniGrid-RedBlueDoors-6x6-v0": 500,
}


@pytest.mark.parametrize("env_id", SAMPLED)
def test_levels_are_drawn_alike(env_id):
    count = SAMPLED[env_id]
    assert least_p(features(*our_levels(env_id, count)), features(*their_levels(env_id, count))) > 1e-3


@pytest.mark.parametrize(("low", "high"), [(1, 4), (2, 4)])  # of the door's row, of the wall's column
def test_a_range_off_by_one_is_noticed(low, high, monkeypatch):
    integer = drawing.integer
    monkeypatch.setattr(drawing, "integer", lambda u, a, b: integer(u, a, b + ((a, b) == (low, high))))
    env_id = "MiniGrid-DoorKey-6x6-v0"
    assert least_p(features(*our_levels(env_id, 1000)), features(*their_levels(env_id, 1000))) < 1e-6


def reached(grid, y, x, through):
    """The cells one can walk to, and those beside them, over cells that are `through`."""
    seen, edge = np.zeros(grid.shape, bool), [(y, x)]
    while edge:
        y, x = edge.pop()
        if seen[y, x]:
            continue
        seen[y, x] = True
        if through[y, x]:
            edge += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
    return seen


@pytest.mark.parametrize(
    "env_id", ["DoorKey-6x6-v0", "MultiRoom-N7-S8-v0", "KeyCorridorS3R3-v0", "LavaCrossingS9N3-v0"]
)
def test_levels_can_be_solved(env_id):
    """The key without the locked door, everything with it; what is carried opens the way, lava and walls do not."""
    for grid, (y, x, _) in zip(*our_levels("MiniGrid-" + env_id, 50), strict=True):
        kind, state = grid & 15, grid >> 7 & 3
        door = kind == objects.DOOR
        walkable = ~np.isin(kind, [objects.WALL_KIND, objects.LAVA_KIND])
        before, after = (
            reached(grid, y, x, walkable & ~(door & (state == objects.LOCKED))),
            reached(grid, y, x, walkable),
        )
        assert before[kind == objects.KEY].all()
        assert after[np.isin(kind, [objects.GOAL_KIND, objects.BALL])].all()
        assert after[door].all()
        assert door.sum() == 6 or "MultiRoom" not in env_id


def test_obstacles_roll_as_theirs(rolling):
    """From one crowded level, where three balls can be after a step: chi-square over their cells together."""
    env_id = "MiniGrid-Dynamic-Obstacles-6x6-v0"
    env, theirs = purejaxrl.make(env_id)[0], reference(env_id)
    theirs.reset(seed=4)
    state, counts = converted(env_id, theirs), 2000
    grids = np.asarray(jax.jit(jax.vmap(env.roll, (0, None)))(jax.random.split(jax.random.key(0), counts), state).grid)
    cells, places = theirs.grid.grid.copy(), [ball.cur_pos for ball in theirs.obstacles]
    expected = []
    for _ in range(counts):
        theirs.grid.grid = cells.copy()
        for ball, place in zip(theirs.obstacles, places, strict=True):
            ball.cur_pos = place
        theirs.step(theirs.actions.left)
        expected.append(theirs.rolled)
    agents = np.tile([state.y, state.x, state.direction], (counts, 1))
    assert least_p(features(grids, agents), features(np.stack(expected), agents)) > 1e-3


def test_options_shape_the_observation():
    """Direction, mission and one-hot planes, within the declared space; another view size than 7, as theirs."""
    env, params = purejaxrl.make("MiniGrid-GoToDoor-8x8-v0", direction=True, observation="one_hot", view_size=5)
    (image, vector), state = env.reset(jax.random.key(0), params)
    assert (image.shape, vector.shape) == ((5, 5, 20), (4 + 17,))
    assert env.observation_space(params).contains((image, vector))
    plain, _ = purejaxrl.make("MiniGrid-GoToDoor-8x8-v0", mission=False, view_size=5)
    symbols = np.asarray(plain.get_obs(state))
    planes = np.concatenate([np.eye(size)[symbols[..., i]] for i, size in enumerate((11, 6, 3))], -1)
    np.testing.assert_array_equal(image, planes)
    name = int(state.mission[0])
    expected = np.concatenate([np.eye(4)[state.direction], np.eye(11)[name & 15], np.eye(6)[name >> 4 & 7]])
    np.testing.assert_array_equal(vector, expected)
    with pytest.raises(purejaxrl.types.SettingError, match="must be odd"):
        purejaxrl.make("MiniGrid-DoorKey-8x8-v0", view_size=4)


LEAST = [  # a task, the smallest that its sizes may be, and what is too small or too much
    ("Empty-8x8", {"size": 4}, {"size": 3}),
    ("Empty-Random-5x5", {"size": 4}, {"size": -4}),
    ("DoorKey-8x8", {"size": 5}, {"size": 4}),
    ("LavaGapS7", {"size": 5}, {"size": 4}),
    ("LavaCrossingS9N1", {"size": 5, "num_crossings": 2}, {"size": 5, "num_crossings": 3}),
    ("SimpleCrossingS9N1", {"size": 7, "num_crossings": 4}, {"size": 6}),
    ("SimpleCrossingS9N1", {}, {"num_crossings": 0}),
    ("RedBlueDoors-8x8", {"size": 4}, {"size": 2}),
    ("KeyCorridorS3R1", {"room_size": 3, "num_rows": 1}, {"room_size": 2}),
    ("KeyCorridorS3R1", {}, {"num_rows": 0}),
    ("Dynamic-Obstacles-8x8", {"size": 5, "num_obstacles": 9}, {"size": 4}),
    ("ObstructedMaze-1Dl", {"agent_room": (1, 0)}, {"agent_room": (7, 7)}),
    ("ObstructedMaze-Full", {"num_quarters": 3}, {"num_quarters": 5}),
    ("Fetch-5x5-N2", {"size": 4, "num_objects": 3}, {"size": 4, "num_objects": 4}),
    ("GoToObject-6x6-N2", {"size": 4, "num_objects": 3}, {"size": 3}),
    ("PutNear-6x6-N2", {"num_objects": 3}, {"size": 5}),
    ("MultiRoom-N6", {"num_rooms": 8}, {"num_rooms": 200}),
    ("Fetch-5x5-N2", {"mission": False}, {"mission": "no"}),
]


@pytest.mark.parametrize(("name", "least", "wrong"), LEAST, ids=[f"{name}-{wrong}" for name, _, wrong in LEAST])
def test_sizes_that_no_level_fits_are_refused_and_others_give_whole_levels(name, least, wrong):
    with pytest.raises(purejaxrl.types.SettingError, match=rf"env\.{list(wrong)[-1]} must be"):
        purejaxrl.make(f"MiniGrid-{name}-v0", **wrong)
    env, params = purejaxrl.make(f"MiniGrid-{name}-v0", **least)
    _, states = jax.jit(jax.vmap(lambda key: env.reset_env(key, params)))(jax.random.split(jax.random.key(0), 64))
    y, x = np.asarray(states.y), np.asarray(states.x)
    assert ((y > 0) & (y < env.height - 1) & (x > 0) & (x < env.width - 1)).all()
    grid = np.asarray(states.grid)
    np.testing.assert_array_equal(grid[np.arange(64), y, x], objects.EMPTY)
    if env.outcome.__qualname__.startswith("MiniGrid."):  # the goal's
        assert (grid == objects.GOAL).any((1, 2)).all()


@pytest.mark.parametrize("size", [3, 9])
def test_other_view_sizes(size):
    theirs = gymnasium.make("MiniGrid-FourRooms-v0", agent_view_size=size).unwrapped
    env, _ = purejaxrl.make("MiniGrid-FourRooms-v0", view_size=size)
    shows = jax.jit(env.get_obs)
    for seed in range(30):
        obs, _ = theirs.reset(seed=seed)
        np.testing.assert_array_equal(shows(converted("MiniGrid-FourRooms-v0", theirs)), obs["image"])


# Pixels.


@pytest.mark.parametrize("size", [3, 8])
def test_tiles_are_minigrid_s(size):
    """Every object in every colour and state, seen or not, and the agent on each."""
    table = tiles.table(size)
    for kind, hue, state in np.ndindex(objects.AGENT, objects.NUM_COLOURS, objects.NUM_STATES):
        theirs = world_object.WorldObj.decode(kind, hue, state)
        if theirs is not None and theirs.encode() != (kind, hue, state):
            continue  # a state of what has none, or a colour of what has one
        column = tiles.look(jnp.uint16(kind | hue << 4 | state << 7))
        for row, (lit, direction) in enumerate([(False, None), (True, None), *((True, turn) for turn in range(4))]):
            drawn = Grid.render_tile(theirs, direction, lit, size).astype(np.uint8)
            np.testing.assert_array_equal(table[row, column], drawn, err_msg=f"{kind, hue, state, lit, direction}")


PIXELS = {  # what must occur, by kind and state of doors
    "MiniGrid-DoorKey-8x8-v0": {(objects.DOOR, 0), (objects.DOOR, 2), (objects.KEY, 0), (objects.GOAL_KIND, 0)},
    "MiniGrid-ObstructedMaze-1Dlhb-v0": {(objects.DOOR, 2), (objects.BALL, 0), (objects.BOX, 0), (objects.KEY, 0)},
    "MiniGrid-KeyCorridorS3R3-v0": {(objects.DOOR, 0), (objects.DOOR, 1), (objects.DOOR, 2), (objects.BALL, 0)},
    "MiniGrid-LavaGapS6-v0": {(objects.LAVA_KIND, 0)},
    "MiniGrid-Fetch-8x8-N3-v0": {(objects.KEY, 0), (objects.BALL, 0)},
}


@pytest.mark.parametrize("env_id", PIXELS)
@pytest.mark.parametrize(
    ("observation", "wrapper"), [("rgb", wrappers.RGBImgPartialObsWrapper), ("rgb_grid", wrappers.RGBImgObsWrapper)]
)
def test_pixels_are_minigrid_s(env_id, observation, wrapper):
    theirs, rng = reference(env_id), np.random.default_rng(0)
    wrapped, states, frames, over = wrapper(theirs), [], [], True
    for step in range(150):
        if over or step % 15 == 0:
            theirs.reset(seed=step)
            placed_by_something(theirs, rng)
            over = False
        else:
            *_, over, _, _ = theirs.step(int(wander(theirs, rng)))
        states.append(converted(env_id, theirs))
        frames.append(wrapped.observation({})["image"])
    states = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
    assert set(zip((states.grid & 15).flat, (states.grid >> 7 & 3).flat, strict=True)) >= PIXELS[env_id]
    assert set(states.direction) == {0, 1, 2, 3}
    assert (states.carrying != objects.EMPTY).any() or env_id == "MiniGrid-LavaGapS6-v0"
    env, params = purejaxrl.make(env_id, observation=observation, mission=False)
    ours = np.asarray(jax.jit(jax.vmap(env.get_obs))(states))
    space = env.observation_space(params)
    assert (ours.shape[1:], ours.dtype) == (tuple(space.shape), space.dtype) == (frames[0].shape, np.uint8)
    np.testing.assert_array_equal(ours, frames)


def test_cells_are_where_the_agent_is():
    env, params = purejaxrl.make("MiniGrid-RedBlueDoors-6x6-v0")
    _, state = env.reset(jax.random.key(0), params)
    found = purejaxrl.envs.cells(env)
    assert found.layout[state.y, state.x] == found.cell_fn(state)
    assert found.num_cells == 6 * 12
