"""Go-Explore: the archive against brute force, selection, ties, recovery of ways, and policies made of them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment, spaces

import purejaxrl
from purejaxrl import envs, goexplore, stepping
from purejaxrl.algos import PPO
from purejaxrl.demonstrations import BackwardResets, actions, demonstrate, nodes
from purejaxrl.goexplore import FAR, GoExplore, Ways, make_explore
from purejaxrl.types import SettingError, Transition, to_numpy

STATES, ACTIONS, LIMIT = 24, 3, 9


@struct.dataclass
class WalkState:
    position: jax.Array
    time: jax.Array
    key: jax.Array
    luck: jax.Array  # what the state's own key drew last


@struct.dataclass
class WalkParams:
    max_steps_in_episode: int = LIMIT


class Walk(environment.Environment):
    """Random tables of few rewards, so that scores tie often; one state is final, and two share a cell."""

    def __init__(self, noise=0.0, masked=False):
        super().__init__()
        rng = np.random.default_rng(0)
        self.next = rng.integers(0, STATES, (STATES, ACTIONS))
        self.reward = rng.choice([0.0, 0.0, 0.0, 1.0, -1.0], (STATES, ACTIONS))
        self.noise = noise
        if masked:
            self.action_mask = lambda state, params: jnp.arange(ACTIONS) != state.position % ACTIONS

    @property
    def default_params(self) -> Any:
        return WalkParams()

    def reset_env(self, key, params):
        state = WalkState(jnp.int32(1), jnp.int32(0), key, jnp.float32(0))
        return self.get_obs(state), state

    def step_env(self, key, state, action, params):
        reward = jnp.asarray(self.reward, jnp.float32)[state.position, action]
        if self.noise:
            reward += self.noise * jax.random.normal(key)
        own, luck_key = jax.random.split(state.key)
        position = jnp.asarray(self.next, jnp.int32)[state.position, action]
        state = WalkState(position, state.time + 1, own, jax.random.uniform(luck_key))
        return self.get_obs(state), state, reward, position == 0, {}

    def is_truncated(self, state, params):
        return state.time >= params.max_steps_in_episode

    def get_obs(self, state, params=None, key=None):
        return jax.nn.one_hot(state.position, STATES)

    def action_space(self, params=None):
        return spaces.Discrete(ACTIONS)

    def observation_space(self, params=None):
        return spaces.Box(0, 1, (STATES,))

    @staticmethod
    def cell(state):
        return jnp.where(state.position == 5, -1, state.position // 2)  # 5 is in no cell


CELLS = STATES // 2


def explore_walk(settings=None, num_envs=4, rounds=30, **env):
    settings = GoExplore(explore_steps=5, repeat=0.3) if settings is None else settings
    total = num_envs * settings.explore_steps * rounds
    return make_explore(Walk(**env), settings, cells=(Walk.cell, CELLS), num_envs=num_envs, total_steps=total)


@functools.cache
def run(repeat=0.3, reset_counts=True, noise=0.0, masked=False):
    settings = GoExplore(explore_steps=5, repeat=repeat, reset_counts=reset_counts)
    explore = explore_walk(settings, noise=noise, masked=masked)
    return explore, jax.jit(explore)(jax.random.key(3))


def brute_force(explore, state, walk):
    """The archive after the same choices and actions, in plain Python: row -> [score, length, node, position, time]."""
    origin, log = np.asarray(state.origin), np.asarray(state.action)
    at = {0: (0.0, 0, 1, 0)}  # node -> score, length, position, time
    rows, seen, metrics, steps = {0: [0.0, 0, 0, 1, 0]}, dict.fromkeys(range(CELLS + 2), 0), [], 0  # position 1: cell 0
    for number, (starts, taken) in enumerate(zip(origin, log, strict=True)):
        row_of = {entry[2]: row for row, entry in rows.items()}
        came_through = [{row_of[start]} for start in starts]
        now, alive, improved = [at[start] for start in starts], [True] * len(starts), set()
        for t, acts in enumerate(taken):
            for e, action in enumerate(acts):
                if not alive[e]:
                    continue
                steps += 1
                score, length, position, time = now[e]
                node = 1 + (number * len(taken) + t) * len(acts) + e
                score += walk.reward[position, action]
                position, length, time = int(walk.next[position, action]), length + 1, time + 1
                now[e] = at[node] = (score, length, position, time)
                alive[e] = position != 0 and time < LIMIT
                if alive[e] and position == 5:
                    continue
                row = position // 2 if alive[e] else CELLS
                came_through[e].add(row)
                if row not in rows or (score, -length) > (rows[row][0], -rows[row][1]):
                    rows[row] = [score, length, node, position, time]
                    improved.add(row)
        for through in came_through:
            for row in through:
                seen[row] += 1
        if explore.settings.reset_counts:
            for row in improved:
                seen[row] = 0
        metrics.append((steps, sum(row < CELLS for row in rows), max(entry[0] for entry in rows.values())))
    return rows, seen, metrics


@pytest.mark.parametrize("reset_counts", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_the_archive_is_that_of_brute_force(reset_counts, masked):
    explore, (state, metrics) = run(reset_counts=reset_counts, masked=masked)
    rows, seen, expected = brute_force(explore, state, explore.env)
    archive = state.archive
    assert set(np.flatnonzero(archive.score > -np.inf)) == set(rows)
    assert len(rows) > CELLS // 2
    for row, (score, length, node, position, time) in rows.items():
        assert (archive.score[row], archive.length[row], archive.node[row]) == (score, length, node)
        assert (archive.env.position[row], archive.env.time[row]) == (position, time)
    assert [int(count) for count in state.seen] == list(seen.values())
    found = zip(metrics["env_steps"], metrics["cells"], metrics["best_score"], strict=True)
    assert [(int(a), int(b), float(c)) for a, b, c in found] == expected
    assert state.env_steps < 30 * 5 * 4  # some ended before
    assert CELLS in rows  # and that is known


def test_masked_actions_are_neither_drawn_nor_repeated():
    explore, (state, _) = run(repeat=1.0, masked=True)
    for row in (explore.end, CELLS - 1):
        way = demonstrate(explore, state, int(row))
        assert (way.actions != way.states.position % ACTIONS).all()


def test_actions_repeat_as_often_as_asked():
    explore = explore_walk(GoExplore(explore_steps=8, repeat=0.6), num_envs=256, rounds=4)
    state, _ = jax.jit(explore)(jax.random.key(0))
    same = np.asarray(state.action[:, 1:] == state.action[:, :-1])
    expected = 0.6 + 0.4 / ACTIONS
    assert abs(same.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / same.size)
    first = np.bincount(np.asarray(state.action[:, 0]).ravel(), minlength=ACTIONS)
    assert (abs(first / first.sum() - 1 / ACTIONS) < 0.08).all()


def test_choices_follow_the_formula():
    """Chi-square of 40,000 draws; rows that hold nothing, and the one of ended episodes, are never drawn."""
    explore = explore_walk(num_envs=40_000, rounds=1)
    score = jnp.zeros(explore.nowhere).at[jnp.array([2, 7])].set(-jnp.inf)
    seen = jnp.arange(explore.nowhere, dtype=jnp.int32) ** 2
    archive = Ways((), score, score, score)
    drawn = np.bincount(explore._choose(jax.random.key(1), archive, seen), minlength=explore.nowhere)
    open_rows = np.setdiff1d(np.arange(explore.nowhere), [2, 7, explore.end])
    assert drawn[open_rows].sum() == 40_000
    expected = 1 / np.sqrt(np.arange(explore.nowhere) ** 2 + 1)[open_rows]
    expected *= 40_000 / expected.sum()
    freedom = len(open_rows) - 1
    chi2 = ((drawn[open_rows] - expected) ** 2 / expected).sum()
    assert abs(chi2 - freedom) < 4 * np.sqrt(2 * freedom)
    alone = archive.replace(score=jnp.full(explore.nowhere, -jnp.inf).at[3].set(0.0))
    assert (explore._choose(jax.random.key(1), alone, seen) == 3).all()


def test_of_explorers_in_one_cell_the_best_is_kept_whole():
    ways = Ways(
        env={"x": jnp.arange(7), "y": 10 * jnp.arange(7)},
        score=jnp.array([1.0, 2.0, 2.0, 2.0, 9.0, 0.5, 0.5]),
        length=jnp.array([1, 5, 4, 4, 1, 3, 2]),
        node=jnp.arange(100, 107),
    )
    empty = Ways(
        env={"x": jnp.full(4, -1), "y": jnp.full(4, -1)},
        score=jnp.array([-jnp.inf, 0.5, 0.5, -jnp.inf]),
        length=jnp.array([FAR, 2, 3, FAR]),
        node=jnp.zeros(4, jnp.int32),
    )
    # The best of row 0 is 2: as good as 1 in fewer steps, and before 3. Row 4 is beyond. 5 and 6 are no better than
    # what row 1 holds; in row 2 an equal score in fewer steps is.
    after = jax.jit(goexplore.insert)(empty, jnp.array([0, 0, 0, 0, 4, 1, 1]), ways)
    assert list(after.env["x"]) == [2, -1, -1, -1]
    assert list(after.env["y"]) == [20, -1, -1, -1]
    assert list(after.node) == [102, 0, 0, 0]
    assert list(after.score) == [2.0, 0.5, 0.5, -np.inf]
    after = goexplore.insert(empty, jnp.array([4, 4, 4, 4, 4, 2, 2]), ways)
    assert list(after.env["x"]) == [-1, -1, 6, -1]
    assert list(after.length) == [FAR, 2, 2, FAR]


def test_one_go_is_the_same_as_pieces_and_nothing_happens_beyond():
    explore, (state, metrics) = run()
    advance = jax.jit(explore.advance, static_argnums=1)
    again = jax.jit(explore.init)(jax.random.key(3))
    for _ in range(2):
        again, _ = advance(again, 15)
    same(again, state)
    beyond, more = advance(state, 15)
    same(beyond, state)
    assert (more["env_steps"] == metrics["env_steps"][-1]).all()


def same(x, y):
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(to_numpy(a), to_numpy(b)), x, y)


def test_lanes_are_runs_of_their_own():
    explore, _ = run()
    keys = jax.random.split(jax.random.key(1), 3)
    lanes = jax.jit(jax.vmap(explore))(keys)
    alone = jax.jit(explore)(keys[1])
    for name, values in alone.metrics.items():
        np.testing.assert_array_equal(lanes.metrics[name][1], values)
    one = jax.tree.map(lambda leaf: leaf[1], lanes.state)
    np.testing.assert_array_equal(actions(explore, one), actions(explore, alone.state))
    with pytest.raises(SettingError, match="one run"):
        actions(explore, lanes.state)


def test_what_is_returned_to_goes_on_with_other_keys():
    """Its own keys, plain ones of other packages included, and nothing else changes."""
    key = jax.random.key(0)
    state = {
        "key": key,
        "rng": jax.random.key_data(key),
        "keys": jax.random.split(key, (2, 3)),
        "pair": jnp.zeros(2, jnp.uint32),
        "x": jnp.ones(3),
    }
    one, two = (stepping.renew_keys(jax.random.key(seed), state) for seed in (1, 2))
    for new in (one, two):
        assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)
        assert (new["pair"] == 0).all()
        assert (new["x"] == 1).all()
    drawn = [jax.random.bits(x) for s in (state, one, two) for x in (s["key"], s["rng"], *s["keys"].ravel())]
    assert len({int(bits) for bits in drawn}) == len(drawn) - 1  # the state's `key` and `rng` are the same


def test_explorers_in_one_state_have_luck_of_their_own():
    """In their first step from the same state, and in every round; its own key decides there."""
    explore = explore_walk(GoExplore(explore_steps=1), num_envs=16, rounds=2)

    def first_steps(key):
        state = explore.init(key)
        return [lucks(state, first) for first in (1, 17)]

    def lucks(state, first):
        return_keys, _, env_keys = explore.keys(state.key, first + jnp.arange(16))
        renewed = jax.vmap(stepping.renew_keys, (0, None))(return_keys, state.start[1])
        step = jax.vmap(lambda key, env: stepping.step(explore.env, explore.env_params, key, env, jnp.int32(0)))
        return step(env_keys, renewed)[1].luck

    assert len(set(np.concatenate(jax.jit(first_steps)(jax.random.key(0))).tolist())) == 32


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_every_way_leads_there_again(noise):
    """With the exploration's random numbers, whatever the environment; the states on it are those of the archive."""
    explore, (state, _) = run(noise=noise)
    archive, tried = state.archive, 0
    for row in np.flatnonzero(archive.length < FAR)[::2]:  # the first is the start
        if archive.length[row] == 0:
            assert len(nodes(explore, state, int(row))) == 0
            continue
        way, tried = demonstrate(explore, state, int(row)), tried + 1
        assert len(way.actions) == archive.length[row]
        np.testing.assert_allclose(way.rewards.sum(), archive.score[row], atol=1e-5)
        np.testing.assert_allclose(way.returns_to_go[0], archive.score[row], atol=1e-5)
        assert way.states.position[0] == 1
        np.testing.assert_array_equal(way.states.time, np.arange(len(way.actions)))
        np.testing.assert_array_equal(way.obs.argmax(-1), way.states.position)
        position = explore.env.next[way.states.position[-1], way.actions[-1]]
        assert position == archive.env.position[row]
        if noise:
            with pytest.raises(RuntimeError, match=r"score of .*: the environment is stochastic"):
                demonstrate(explore, state, int(row), key=jax.random.key(9))
        else:
            np.testing.assert_array_equal(
                demonstrate(explore, state, int(row), key=jax.random.key(9)).rewards, way.rewards
            )
    assert tried > 3
    best = demonstrate(explore, state)
    np.testing.assert_allclose(best.rewards.sum(), archive.score.max(), atol=1e-5)


class Pairs(Walk):
    """Two actions at once, of which some are forbidden."""

    def __init__(self):
        super().__init__()
        self.action_mask = lambda state, params: jnp.array([True, True, True, state.position % 2 == 0, True])

    def step_env(self, key, state, action, params):
        return super().step_env(key, state, action[0], params)

    def action_space(self, params=None) -> Any:
        return envs.MultiDiscrete([3, 2])


@pytest.mark.parametrize("env", [Pairs(), purejaxrl.make("Pendulum-v1")[0]], ids=["multi-discrete", "continuous"])
def test_other_actions_are_logged_and_played_again(env):
    cells = (
        (Walk.cell, CELLS)
        if isinstance(env, Pairs)
        else (lambda state: (100 * jnp.abs(state.theta)).astype(jnp.int32), 400)
    )
    settings = GoExplore(explore_steps=6, repeat=0.5)
    explore = make_explore(env, settings, cells=cells, num_envs=4, total_steps=240)
    state, _ = jax.jit(explore)(jax.random.key(0))
    row = jnp.argmax(jnp.where(state.archive.length < FAR, state.archive.length, -1))
    way = demonstrate(explore, state, int(row))
    assert way.actions.shape == (state.archive.length[row], 2 if isinstance(env, Pairs) else 1)
    assert way.actions.dtype == state.action.dtype
    if isinstance(env, Pairs):
        assert ((way.actions[:, 1] == 1) | (way.states.position % 2 == 0)).all()


def test_hashed_cells_tell_states_apart():
    cell_fn, num_cells = goexplore.hashed(lambda state: (state["x"], state["y"]), 2**12)
    x, y = (grid.ravel() for grid in jnp.mgrid[:10, :10])
    found = jax.vmap(cell_fn)({"x": x, "y": y.astype(jnp.uint8), "time": x * y})
    assert num_cells == 4096
    assert ((found >= 0) & (found < 4096)).all()
    assert len(set(found.tolist())) > 95
    assert cell_fn({"x": x[3], "y": y[3].astype(jnp.uint8), "time": 7}) == found[3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": PPO()}, "settings must be GoExplore"),
        ({"settings": GoExplore(repeat=1.5)}, "settings.repeat must be finite and >= 0 and <= 1"),
        ({"settings": GoExplore(explore_steps=0)}, "settings.explore_steps must be >= 1"),
        ({"cells": envs.cells}, "cells must be"),
        ({"cells": (Walk.cell, 0)}, "cells' num_cells"),
        ({"cells": (lambda state: jnp.zeros(2, jnp.int32), 4)}, "cells' cell_fn must give one state one integer"),
        ({"cells": (lambda state: jnp.float32(1.0), 4)}, "cells' cell_fn must give one state one integer"),
        ({"num_envs": 0}, "num_envs"),
        ({"total_steps": 399}, "4 \\* 100 = 400 steps, got 399"),
        ({"env": "DeepSea-bsuite"}, "env must be an environment"),
    ],
)
def test_wrong_settings_are_refused_by_name(change, message):
    given = {"env": Walk(), "settings": GoExplore(), "cells": (Walk.cell, CELLS), "num_envs": 4, "total_steps": 4000}
    given |= change
    with pytest.raises(SettingError, match=message):
        make_explore(given.pop("env"), given.pop("settings"), **given)
    with pytest.raises(SettingError, match="power of two"):
        goexplore.hashed(Walk.cell, 100)


def test_ways_that_are_not_there_are_refused():
    explore = explore_walk()
    state = explore.init(jax.random.key(0))
    with pytest.raises(SettingError, match="no way to 3 was found"):
        demonstrate(explore, state, 3)
    with pytest.raises(SettingError, match="is the start"):
        demonstrate(explore, state)


# --- the backward algorithm -----------------------------------------------------------------------------------------


def demonstration_of(length):
    return jnp.arange(length) + 100, jax.nn.one_hot(jnp.arange(length), length), jnp.ones(length)


def spec_of(length, num_envs):
    space = spaces.Box(0, 1, (length,))
    return purejaxrl.types.Spec(space, spaces.Discrete(2), num_envs, 1, 1)


def fresh(key):
    return jnp.zeros(6), jnp.int32(7)


def test_the_start_moves_back_on_success_alone_and_ends_at_the_true_start():
    num_envs = 8
    resets = BackwardResets(*demonstration_of(6), threshold=0.25, later=0.0, window=8)
    resets.check(spec_of(6, num_envs))
    state = resets.init(jax.random.key(0), spec_of(6, num_envs), fresh)
    current = jnp.zeros((num_envs, 6)), jnp.zeros(num_envs, jnp.int32)
    everyone = jnp.ones(num_envs, bool)
    reset, observe = jax.jit(resets.reset, static_argnums=3), jax.jit(resets.observe)

    def episode(state, rewards):
        """All envs play one step that ends their episode."""
        state, current_ = reset(state, jax.random.key(1), everyone, fresh, current)
        ended = Transition(reward=jnp.asarray(rewards), terminated=everyone, truncated=~everyone)
        return observe(state, None, ended), current_

    starts = []
    for successes in (1, 2, 0, 8, 2, 2, 2, 2, 8):
        begins = int(state.start)
        state, (obs, env) = episode(state, [1.0] * successes + [0.0] * (num_envs - successes))
        starts.append(int(state.start))
        assert (state.place == begins).all()
        assert (obs.argmax(-1) == begins).all()
        assert (env == (100 + begins if begins else 7)).all()  # 7 is the environment's own start
    assert starts == [5, 4, 4, 3, 2, 1, 0, 0, 0]

    # Who has not ended stays; its return goes on.
    halfway = everyone.at[0].set(False)
    state = state.replace(total=jnp.arange(8.0), place=jnp.full(8, 3))
    after, (_, env) = reset(state, jax.random.key(2), halfway, fresh, (current[0], current[1] - 5))
    assert list(env) == [-5] + [7] * 7
    assert list(after.place) == [3] + [0] * 7
    assert list(after.total) == [0.0] * 8
    going = Transition(reward=jnp.ones(8), terminated=~everyone, truncated=~everyone)
    assert list(observe(after, None, going).total) == [1.0] * 8
    assert observe(after, None, going).tried == after.tried


def test_only_episodes_from_the_present_start_count():
    resets = BackwardResets(*demonstration_of(6), window=100, slack=0.5)
    state = resets.init(jax.random.key(0), spec_of(6, 4), fresh)
    state = state.replace(start=jnp.int32(3), place=jnp.array([3, 4, 3, 3]), total=jnp.array([0.6, 1.0, 0.4, 9.0]))
    done = jnp.array([True, True, True, False])
    ended = Transition(reward=jnp.zeros(4), terminated=done & (jnp.arange(4) < 2), truncated=done)
    after = resets.observe(state, None, ended)
    assert (after.tried, after.succeeded) == (2, 1)


def test_rounding_is_no_failure():
    """A return of some hundreds is summed forwards in an episode, backwards in a demonstration; a worse one fails."""
    rewards = np.random.default_rng(0).uniform(-16, 0, (200, 64)).astype(np.float32)
    to_go = jnp.asarray(rewards[::-1].cumsum(axis=0, dtype=np.float32)[-1])
    total = jnp.asarray(rewards.cumsum(axis=0, dtype=np.float32)[-1])
    assert (total < to_go - 1e-4).any()
    states, obs, _ = demonstration_of(64)
    resets = BackwardResets(states, obs, to_go, window=100)
    spec, ends = spec_of(64, 64), jnp.ones(64, bool)
    state = resets.init(jax.random.key(0), spec, fresh).replace(place=jnp.arange(64))
    for worse, succeeds in ((0.0, True), (0.1, False)):
        ended = Transition(reward=jnp.full(64, -worse), terminated=ends, truncated=~ends)
        for start in range(64):
            found = resets.observe(state.replace(total=total, start=jnp.int32(start)), None, ended)
            assert (int(found.tried), int(found.succeeded)) == (1, int(succeeds))


def test_some_episodes_start_later():
    resets = BackwardResets(*demonstration_of(6), later=0.5)
    state = resets.init(jax.random.key(0), spec_of(6, 4000), fresh).replace(start=jnp.int32(2))
    everyone = jnp.ones(4000, bool)
    current = jnp.zeros((4000, 6)), jnp.zeros(4000, jnp.int32)
    state, (obs, env) = resets.reset(state, jax.random.key(0), everyone, fresh, current)
    np.testing.assert_array_equal(env, 100 + state.place)
    np.testing.assert_array_equal(obs.argmax(-1), state.place)
    share = np.bincount(state.place, minlength=6) / 4000
    np.testing.assert_allclose(share, [0, 0, 0.625, 0.125, 0.125, 0.125], atol=0.03)


def test_a_demonstration_may_be_numpy_s():
    def starts(demonstration):
        resets = BackwardResets(*demonstration, later=0.5)
        state = resets.init(jax.random.key(0), spec_of(6, 8), fresh)
        reset, everyone = jax.jit(resets.reset, static_argnums=3), jnp.ones(8, bool)
        current = jnp.zeros((8, 6)), jnp.zeros(8, jnp.int32)
        state, current = reset(state, jax.random.key(1), everyone, fresh, current)
        return resets.observe(state, None, Transition(reward=jnp.ones(8), terminated=everyone, truncated=~everyone))

    demonstration = demonstration_of(6)
    found, expected = map(starts, (jax.tree.map(np.asarray, demonstration), demonstration))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_keys_are_checked():
    env, env_params = purejaxrl.make("DeepSea-bsuite", size=4)
    cells = lambda state: jnp.zeros((), jnp.int32), 1
    explore = make_explore(env, cells=cells, env_params=env_params, num_envs=2, total_steps=200)
    for call in (explore, explore.init, lambda key: demonstrate(explore, None, key=key)):
        with pytest.raises(SettingError, match=r"^key "):
            call(0)


def test_a_demonstration_of_something_else_is_refused():
    states, obs, to_go = demonstration_of(6)
    for wrong, message in (
        (BackwardResets(states[:5], obs, to_go), "one length in common"),
        (BackwardResets(states[:0], obs[:0], to_go[:0]), "one length in common"),
        (BackwardResets(states, obs[:, :3], to_go), "observations of the environment"),
    ):
        with pytest.raises(SettingError, match=message):
            wrong.check(spec_of(6, 4))
    env, env_params = purejaxrl.make("BsuiteDeepSea-v0", size=4)
    resets = BackwardResets(states, jnp.zeros((6, 4, 4)), to_go)
    with pytest.raises(SettingError, match=r"resets.states must be states of the environment"):
        purejaxrl.make_train(env, PPO(), env_params=env_params, num_envs=4, total_steps=4096, resets=resets)
    resets = BackwardResets(states, obs, to_go, threshold=2.0)
    with pytest.raises(SettingError, match=r"resets.threshold must be finite and >= 0 and <= 1"):
        purejaxrl.make_train(env, PPO(), env_params=env_params, num_envs=4, total_steps=4096, resets=resets)


# --- end to end -----------------------------------------------------------------------------------------------------


def test_deepsea_is_found_and_learned_from_the_true_start():
    """Random episodes need 2^16 in the mean; a policy that learns from them alone would not be faster."""
    size = 16
    env, env_params = purejaxrl.make("BsuiteDeepSea-v0", size=size)
    explore = make_explore(
        env,
        GoExplore(explore_steps=size, repeat=0.0),
        cells=env.cells()[:2],
        env_params=env_params,
        num_envs=16,
        total_steps=100 * size * 16,
    )
    state, metrics = jax.jit(explore)(jax.random.key(0))
    assert metrics["best_score"][-1] > 0.9
    found = int(np.argmax(np.asarray(metrics["best_score"]) > 0.9))
    assert metrics["env_steps"][found] / size < 2**size / 100  # episodes, of which a random walk needs 2^16
    way = demonstrate(explore, state)
    np.testing.assert_array_equal(way.states.column, np.arange(size))

    learner = PPO(num_steps=2 * size, learning_rate=2e-3, num_minibatches=4, anneal_lr=False, hidden=(32,))
    train = purejaxrl.make_train(
        env,
        learner,
        env_params=env_params,
        num_envs=16,
        total_steps=2 * size * 16 * 50,
        resets=BackwardResets(way.states, way.obs, way.returns_to_go),
    )
    result = jax.jit(train)(jax.random.key(1))
    assert result.state.resets.start == 0
    judged = purejaxrl.evaluate(env, learner, result.state, jax.random.key(2), 16, env_params=env_params)
    assert (judged.episode_return > 0.9).all()
