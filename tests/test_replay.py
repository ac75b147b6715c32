import itertools

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from purejaxrl import replay, returns
from purejaxrl.types import SettingError, Spec, Transition

# An observation is a number that no other moment has: s for the moment before a step, and for the one after it either
# the next step's or, at an episode's end, one that appears nowhere else. Everything else in a step follows from them.

add = jax.jit(replay.add)
windows = jax.jit(replay.windows, static_argnames="n")
sample_uniform = jax.jit(replay.sample_uniform, static_argnames="batch_size")
set_priorities = jax.jit(replay.set_priorities)
sample_prioritised = jax.jit(replay.sample_prioritised, static_argnames="batch_size")
n_step = jax.jit(returns.n_step, static_argnames="n")

# num_envs, steps in a rollout, buffer_size (the smallest allowed, in two of them not a multiple of num_envs), tree obs
SHAPES = {"one": (1, 1, 4, False), "two": (2, 3, 15, True), "three": (3, 5, 35, True)}
ROLLOUTS = 8
LONGEST = 3


def observed(number, tree):
    """The observation with that number, and the mask that goes with it."""
    if not tree:
        return number.astype(np.float32), None
    digits = np.stack([number // 256, number % 256], -1).astype(np.uint8)
    return {"number": number.astype(np.int32), "picture": digits}, number[..., None] >> np.arange(4) & 1 == 1


def stream(terminated, truncated, tree):
    """All the steps of a run, ``[time, num_envs]``."""
    time, envs = np.indices(terminated.shape)
    number, done = 1000 * envs + 10 * time, terminated | truncated
    after = number + np.where(done, 1, 10)
    (obs, mask), (next_obs, next_mask) = observed(number, tree), observed(after, tree)
    return Transition(
        obs=obs,
        action=np.stack([number, -number], -1).astype(np.int32),
        reward=np.sin(number).astype(np.float32),
        bonus=np.full(number.shape, 7, np.float32) if tree else None,
        terminated=terminated,
        truncated=truncated,
        next_obs=next_obs,
        first=np.concatenate([np.ones_like(done[:1]), done[:-1]]),
        mask=mask,
        next_mask=next_mask,
        cell=(number % 89).astype(np.int32) if tree else None,
        memo={"visits": (number % 97).astype(np.int32)} if tree else None,
        extras=number.astype(np.float32) if tree else None,
    )


def part(tree, where):
    return jax.tree.map(lambda x: x[where], tree)


def empty(steps, buffer_size):
    example = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[2:], x.dtype), steps)
    return replay.init(example, steps.reward.shape[1], buffer_size)


def same(got, expected):
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def number_of(obs):
    return np.asarray(obs["number"] if isinstance(obs, dict) else obs).astype(int)


def whereabouts(steps):
    """From an observation's number to the time and env of the step that was taken there."""
    return {number: where for where, number in np.ndenumerate(number_of(steps.obs))}


def held_by_a_ring(done, slots):
    """Each env's newest steps that fit, as ``(time, env)``: an observation takes a slot, a final one and the newest."""
    held = set()
    for env in range(done.shape[1]):
        moments = []
        for time, ends in enumerate(done[:, env]):
            moments += [(time, env), None] if ends else [(time, env)]
        if not done[-1, env]:
            moments.append(None)
        held |= set(moments[-slots:]) - {None}
    return held


def piece_length(done, time, env, n):
    """Up to n steps: to the episode's end or the newest step."""
    ends = np.flatnonzero(done[time : time + n, env])
    return ends[0] + 1 if len(ends) else min(n, len(done) - time)


@pytest.mark.parametrize("shape", SHAPES)
@hypothesis.settings(deadline=None, max_examples=10)
@hypothesis.given(data=st.data())
def test_is_a_list_of_the_newest_steps(shape, data):
    """Whatever is in the buffer comes out as it was recorded, as pieces of the unbroken run."""
    envs, length, buffer_size, tree = SHAPES[shape]
    slots = buffer_size // envs
    replay.check_size(buffer_size, 1, LONGEST, envs, length)
    kinds = data.draw(st.sampled_from([[0], [1, 2, 3], [0, 1, 2, 3], [0] * 9 + [1, 2, 3]]), "of steps")
    kind = hnp.arrays(np.int8, (ROLLOUTS * length, envs), elements=st.sampled_from(kinds), fill=st.nothing())
    kind = data.draw(kind, "1: terminated, 2: truncated, 3: both")
    steps = stream(kind % 2 == 1, kind >= 2, tree)
    done, where = kind > 0, whereabouts(steps)
    recorded = steps.replace(bonus=None, extras=None)
    buffer, everywhere, alive = empty(steps, buffer_size), np.arange(slots * envs), set()
    for end in range(length, len(done) + 1, length):
        buffer, written, emptied = add(buffer, part(steps, slice(end - length, end)))
        alive = (alive - set(np.ravel(emptied).tolist())) | set(np.ravel(written).tolist())
        places = np.flatnonzero(buffer.holds_step)
        assert alive == set(places.tolist()), "written and emptied tell what is held"
        newest = list(itertools.product(range(end - length, end), range(envs)))
        for n in range(1, LONGEST + 1):
            found = jax.tree.map(np.asarray, windows(buffer, everywhere, np.ones(len(everywhere)), n))
            numbers = number_of(found.steps.obs)[0]
            assert [where[number] for number in numbers[np.ravel(written)]] == newest
            starts = [where[number] for number in numbers[places]]
            assert set(starts) == held_by_a_ring(done[:end], slots)
            assert len(set(starts)) == len(starts), "no step is held twice"
            valid = np.stack([np.arange(n) < piece_length(done[:end], *start, n) for start in starts], 1)
            np.testing.assert_array_equal(found.valid[:, places], valid)
            time, env = np.transpose(starts)
            during = np.minimum(time + np.arange(n)[:, None], end - 1), env
            same(part(part(found.steps, (slice(None), places)), valid), part(part(recorded, during), valid))
            last = part(recorded, (time + valid.sum(0) - 1, env))
            same(part((found.last, found.last_mask), places), (last.next_obs, last.next_mask))


@pytest.mark.parametrize("n", [1, 4])
def test_n_step_returns_of_pieces_are_those_of_the_unbroken_run(n):
    """The newest step ends a piece as it ends the batch of :func:`returns.n_step`: both bootstrap there."""
    chance = np.random.default_rng(n)
    kind = chance.choice(4, (30, 2), p=[0.7, 0.1, 0.1, 0.1])
    kind[-6:] = 0  # pieces that the newest step cuts
    steps = stream(kind % 2 == 1, kind >= 2, False)
    buffer = empty(steps, 40)
    for start in range(0, 30, 3):
        buffer = add(buffer, part(steps, slice(start, start + 3)))[0]
    expected = n_step(steps.reward, np.cos(steps.next_obs), steps.terminated, steps.truncated, gamma=0.9, n=n)
    places = np.flatnonzero(buffer.holds_step)
    found = windows(buffer, places, np.ones(len(places)), n)
    # What lies beyond a piece's end is ignored, whatever it is.
    reward = jnp.where(found.valid, found.steps.reward, jnp.nan)
    found = found._replace(steps=found.steps.replace(terminated=found.steps.terminated | ~found.valid))
    total, discount = replay.n_step_return(reward, found, 0.9)
    where = whereabouts(steps)
    expected = [expected[where[number]] for number in number_of(found.steps.obs)[0]]
    np.testing.assert_allclose(total + discount * np.cos(found.last), expected, rtol=1e-6, atol=1e-6)
    total, discount = replay.n_step_return(reward, found, 0.0)
    np.testing.assert_array_equal(total, reward[0], err_msg="gamma 0 leaves the first reward")
    np.testing.assert_array_equal(discount, 0)


def test_stores_each_observation_once():
    steps = stream(np.zeros((3, 2), bool), np.zeros((3, 2), bool), True)
    buffer = add(empty(steps, 15), steps)[0]
    kept = steps.replace(next_obs=None, next_mask=None, bonus=None, extras=None)
    wanted = [((7, 2, *x.shape[2:]), x.dtype) for x in jax.tree.leaves(kept)]
    leaves = jax.tree.leaves((buffer.frame, buffer.step))
    assert sorted((x.shape, str(x.dtype)) for x in leaves) == sorted((shape, str(dtype)) for shape, dtype in wanted)


def test_check_size_names_what_does_not_fit():
    fits = {"buffer_size": 24, "batch_size": 24, "n": 7, "num_envs": 3, "num_steps": 3}
    replay.check_size(**fits)
    for change, name in [
        ({"batch_size": 25}, "batch_size = 25"),
        ({"buffer_size": 26, "batch_size": 25}, r"batch_size = 25, got 26 \(24 when 3 envs share it equally\)"),
        ({"n": 8}, r"num_envs \* \(n_step \+ 1\) = 27"),
        ({"num_steps": 4}, r"num_envs \* \(2 \* num_steps \+ 1\) = 27"),
        ({"buffer_size": 2, "batch_size": 1}, r"num_envs = 3, got 2 \(0 when 3 envs share it equally\)"),
    ]:
        with pytest.raises(SettingError, match=f"^algo.buffer_size must be at least {name}"):
            replay.check_size(**(fits | change))


def test_uniform_over_all_steps_that_are_held():
    """The first env ends every episode at once, the second none: they use more slots, then hold fewer steps."""
    done = np.array([[1, 0, 0], [1, 0, 1], [1, 0, 0], [1, 0, 1], [1, 0, 0]], bool)
    steps = stream(done, done, False)
    buffer = empty(steps, 33)
    for used, number in [([10, 5, 7], [5, 5, 5]), ([11, 10, 11], [5, 10, 7]), ([11, 11, 11], [5, 10, 7])]:
        buffer = add(buffer, steps)[0]
        held = np.asarray(buffer.holds_step)
        np.testing.assert_array_equal([buffer.used, held.sum(0)], [used, number])
        places, weight = sample_uniform(buffer, jax.random.key(0), 20_000)
        np.testing.assert_array_equal(weight, held.ravel()[places])
        counts = np.bincount(places[weight > 0], minlength=held.size)
        assert counts[~held.ravel()].sum() == 0
        assert weight.mean() > 0.999
        assert scipy.stats.chisquare(counts[held.ravel()]).pvalue > 1e-4


def test_uniform_weights_tell_that_nothing_was_found():
    steps = stream(np.zeros((5, 3), bool), np.zeros((5, 3), bool), False)
    buffer = add(empty(steps, 33), steps)[0]
    places, weight = sample_uniform(buffer.replace(holds_step=buffer.holds_step & False), jax.random.key(0), 20_000)
    np.testing.assert_array_equal(weight, 0)
    assert np.all((places >= 0) & (places < 33))
    lonely = jnp.zeros(33, bool).at[7].set(True).reshape(11, 3)  # one of the 15 that were written
    places, weight = sample_uniform(buffer.replace(holds_step=lonely), jax.random.key(1), 20_000)
    np.testing.assert_array_equal(weight, places == 7)
    np.testing.assert_allclose(1 - weight.mean(), (14 / 15) ** replay.ATTEMPTS, atol=0.02)
    np.testing.assert_array_equal(windows(buffer, places, weight, 1).weight, weight)


def test_start_and_useful_size():
    """Of what a run can fill, nothing is lost: not even where every step is an episode."""
    spec = Spec(None, None, num_envs=3, num_steps=2, num_updates=4)
    assert [replay.start_updates(steps, spec) for steps in (0, 1, 6, 7, 24)] == [0, 1, 1, 2, 4]
    replay.check_start(24, spec)
    with pytest.raises(SettingError, match=r"^algo.learning_starts must be at most the run's 24 steps, got 25"):
        replay.check_start(25, spec)
    assert replay.useful_size(40, spec) == 40
    steps = stream(np.ones((8, 3), bool), np.zeros((8, 3), bool), False)
    buffer = empty(steps, replay.useful_size(10**9, spec))
    for start in range(0, 8, 2):
        buffer = add(buffer, part(steps, slice(start, start + 2)))[0]
    assert buffer.holds_step.sum() == 24
    assert buffer.holds_step.size < 3 * 24


# --- prioritised ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("places", [1, 5, 8, 13])
def test_priorities_are_sums_of_what_was_set(places):
    chance = np.random.default_rng(places)
    priorities = replay.init_priorities(places)
    leaves = len(priorities.tree) // 2
    assert places <= leaves < 2 * places
    expected, largest = np.zeros(leaves, np.float32), 1.0
    for _ in range(40):
        index = chance.integers(0, 2 * leaves + 3, (2, 4))  # with repetitions, and places beyond the leaves
        value = chance.choice([0.0, 1e-6, 1.0, 3e3], (2, 4)) * chance.random((2, 4)).astype(np.float32)
        value = np.where(index < leaves, value, 0).astype(np.float32)
        for place in set(index[index < leaves].tolist()):
            expected[place] = value[index == place].max()
        largest = max(largest, value.max())
        priorities = set_priorities(priorities, index, value)
        tree = np.asarray(priorities.tree)
        np.testing.assert_array_equal(tree[leaves:], expected)
        np.testing.assert_array_equal(tree[1:leaves], (tree[0::2] + tree[1::2])[1:], err_msg="sums of the children")
        np.testing.assert_allclose(tree[1], expected.sum(dtype=np.float64), rtol=1e-6)
        assert priorities.largest == np.float32(largest)


def prioritised(values):
    values = np.asarray(values, np.float32)
    return set_priorities(replay.init_priorities(len(values)), np.arange(len(values)), values)


def test_prioritised_draws_in_proportion():
    """One at a time, so that draws are independent; then a batch, one from each stratum, with its weights."""
    values = np.array([0, 5, 1, 0, 3, 2.5, 0.1, 0, 8, 0.5, 4, 1, 0])
    priorities, share = prioritised(values), values / values.sum()
    draw = jax.jit(jax.vmap(lambda key: replay.sample_prioritised(priorities, key, 1, 0.5)))
    places, weight = draw(jax.random.split(jax.random.key(0), 20_000))
    counts = np.bincount(places[:, 0], minlength=len(values))
    assert len(counts) == len(values)
    assert counts[values == 0].sum() == 0
    assert scipy.stats.chisquare(counts[values > 0], 20_000 * share[values > 0]).pvalue > 1e-4
    np.testing.assert_array_equal(weight, 1)

    upper = np.cumsum(share)
    below = np.zeros(len(values))  # how far inside its stratum each place begins
    for key, beta in zip(jax.random.split(jax.random.key(1), 8), [0, 0.4, 0.7, 1] * 2, strict=True):
        places, weight = map(np.asarray, sample_prioritised(priorities, key, 40, beta))
        stratum = np.arange(40) / 40
        assert np.all(upper[places] > stratum - 1e-6)
        assert np.all((upper - share)[places] < stratum + 1 / 40 + 1e-6)
        raw = (len(values) * share[places]) ** -beta
        np.testing.assert_allclose(weight, raw / raw.max(), rtol=1e-5)
        below += np.bincount(places, minlength=len(values))
    np.testing.assert_allclose(below / 320, share, atol=2 / 40)


@pytest.mark.parametrize("u", [None, 0.0, 0.5, 1 - 2.0**-24])
def test_what_has_no_priority_is_never_drawn(u, monkeypatch):
    """Whatever the ratios, where sums lose the small ones; also at the ends of strata, where a target rounds up."""
    if u is not None:
        monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.full(shape, u, jnp.float32))
    draw = jax.jit(lambda priorities, key: replay.sample_prioritised(priorities, key, 512, 1.0))  # traced anew
    chance = np.random.default_rng(0)
    rows = [chance.choice([0.0, 1e-6, 1.0, 1e6], 33, p=[0.5, 0.2, 0.1, 0.2]) for _ in range(20)]
    rows += [*np.eye(33)[[0, 16, 31, 32]], 1e6 * np.eye(33)[3] + 1e-6 * np.eye(33)[4]]
    for row in rows:
        places, weight = draw(prioritised(row), jax.random.key(0))
        assert places.max() < 33
        assert row[places].min() > 0, row
        np.testing.assert_allclose(weight, row[places].min() / row[places], rtol=1e-5)
