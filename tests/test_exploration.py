import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from purejaxrl import exploration
from purejaxrl.types import SettingError

act = jax.jit(exploration.epsilon_greedy)


def simulate(key, q, mask, epsilon, first, cdf):
    """Actions and repeats, ``[time, num_envs]``, along ``first`` and ``mask``; action values stay as they are."""

    @jax.jit
    def run(key, mask, first):
        def step(repeats, x):
            repeats, action = exploration.epsilon_greedy(x[0], q, x[1], epsilon, repeats, x[2], cdf)
            return repeats, (action, repeats.left)

        xs = jax.random.split(key, len(first)), mask, first
        return jax.lax.scan(step, exploration.no_repeats(first.shape[1]), xs)[1]

    return map(np.asarray, run(key, mask, first))


def fits(counts, share):
    """Whether counts may well come from these shares; what has none must not occur."""
    counts, share = np.ravel(counts), np.ravel(share)
    assert counts[share == 0].sum() == 0
    return (
        np.sum(share > 0) == 1
        or scipy.stats.chisquare(counts[share > 0], counts.sum() * share[share > 0]).pvalue > 1e-4
    )


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_shares_of_greedy_and_random_actions(epsilon):
    """Greedy where allowed, or uniform over what is allowed."""
    q = np.array([[3, 1, 2, 0], [3, 1, 2, 0], [-3, -1, -2, -4], [0, 0, 0, 0]], np.float32)
    mask = np.array([[1, 1, 1, 1], [0, 1, 1, 0], [1, 0, 0, 0], [0, 1, 1, 1]], bool)
    greedy, envs = [0, 2, 0, 1], 4000
    none, first = exploration.no_repeats(4 * envs), np.zeros(4 * envs, bool)
    q_all, mask_all = np.repeat(q, envs, axis=0), np.repeat(mask, envs, axis=0)
    repeats, action = act(jax.random.key(0), q_all, mask_all, epsilon, none, first)
    for row, allowed, best in zip(action.reshape(4, envs), mask, greedy, strict=True):
        share = epsilon * allowed / allowed.sum() + (1 - epsilon) * np.eye(4)[best]
        assert fits(np.bincount(row, minlength=4), share)
    assert action.dtype == jnp.int32
    np.testing.assert_array_equal([repeats.action, repeats.left], 0)
    # One step is what random actions last without a distribution, too.
    _, lasting = act(jax.random.key(0), q_all, mask_all, epsilon, none, first, np.ones(1, np.float32))
    np.testing.assert_array_equal(lasting, action)
    everything = act(jax.random.key(1), q_all, np.ones_like(mask_all), epsilon, none, first)[1]
    np.testing.assert_array_equal(act(jax.random.key(1), q_all, None, epsilon, none, first)[1], everything)


def test_envs_explore_independently():
    """Neighbours' actions and durations have the product of the distribution of one."""
    envs, epsilon = 40_000, 0.5
    q = np.tile(np.array([1, 0, 0], np.float32), (envs, 1))
    cdf = np.array([0.25, 1], np.float32)
    arguments = epsilon, exploration.no_repeats(envs), np.zeros(envs, bool), cdf
    repeats, action = act(jax.random.key(0), q, None, *arguments)
    np.testing.assert_array_equal(repeats.action, action)
    one = epsilon / 3 * np.tile([0.25, 0.75], (3, 1))  # action, what is left
    one[0, 0] += 1 - epsilon
    code = (2 * action + repeats.left).reshape(-1, 2)
    assert fits(np.bincount(code[:, 0] * 6 + code[:, 1], minlength=36), np.outer(one, one))


def test_random_actions_last_as_long_as_zeta_says():
    """How often an action is seen in a row: n times for a duration of n, unless the next one drawn is the same."""
    envs, longest, actions = 10_000, 8, 4
    first = np.zeros((longest + 1, envs), bool)
    action, _ = simulate(jax.random.key(0), jnp.zeros((envs, actions)), None, 1.0, first, exploration.durations(2.0))
    changed = np.concatenate([action[1:] != action[0], np.ones((1, envs), bool)])
    in_a_row = np.minimum(1 + np.argmax(changed, axis=0), longest + 1)
    duration = np.append(0, scipy.stats.zipf(2).pmf(np.arange(1, longest + 1)))
    share = np.zeros(longest + 1)
    for n in range(1, longest + 1):
        again = sum(duration[m] * share[n - m] for m in range(1, n)) / actions
        share[n] = duration[n] * (1 - 1 / actions) + again
    assert fits(np.bincount(in_a_row, minlength=longest + 2)[1:], np.append(share[1:], 1 - share.sum()))


def test_repetitions_end_with_their_episode():
    """Durations are 3: what is left counts down from 2, and a new draw begins it again."""
    q, threes = jnp.zeros((64, 4)), np.array([0, 0, 1], np.float32)
    first = np.zeros((9, 64), bool)
    first[np.ix_([0, 1, 5], range(32))] = True
    action, left = simulate(jax.random.key(0), q, None, 1.0, first, threes)
    np.testing.assert_array_equal(left.T, [[2, 2, 1, 0, 2, 2, 1, 0, 2]] * 32 + [[2, 1, 0] * 3] * 32)
    np.testing.assert_array_equal(action[[2, 3, 6, 7], :32], action[[1, 1, 5, 5], :32])
    np.testing.assert_array_equal(action[[1, 2, 4, 5, 7, 8], 32:], action[[0, 0, 3, 3, 6, 6], 32:])
    assert 0 < np.mean(action[[1, 5], :32] == action[[0, 4], :32]) < 0.5, "drawn anew"
    # The greedy action of an episode's first step does not last, nor does what was left before come back.
    repeats = exploration.Repeats(jnp.full(64, 3), jnp.full(64, 2))
    repeats, action = act(jax.random.key(0), q, None, 0.0, repeats, np.ones(64, bool), threes)
    np.testing.assert_array_equal([action, repeats.left], 0)


def test_repetitions_under_masks():
    """With every mask and episodes of every length, each step follows one of the two rules."""
    chance = np.random.default_rng(0)
    time, envs = 60, 64
    mask, first = chance.random((time, envs, 3)) < 0.6, chance.random((time, envs)) < 0.1
    q = jnp.tile(jnp.array([0.0, 2.0, 1.0]), (envs, 1))
    action, left = simulate(jax.random.key(0), q, mask, 0.5, first, exploration.durations(1.5))
    usable = mask | ~mask.any(-1, keepdims=True)  # a mask that forbids everything forbids nothing
    allowed = np.take_along_axis(usable, action[..., None], -1)[..., 0]
    assert allowed.all()
    before, left_before = action[:-1], left[:-1]
    still_allowed = np.take_along_axis(usable[1:], before[..., None], -1)[..., 0]
    goes_on = (left_before > 0) & ~first[1:] & still_allowed
    np.testing.assert_array_equal(action[1:][goes_on], before[goes_on])
    np.testing.assert_array_equal(left[1:][goes_on], left_before[goes_on] - 1)
    greedy = np.argmax(np.where(usable[1:], q, -np.inf), -1)
    assert 0.4 < np.mean(action[1:][~goes_on] == greedy[~goes_on]) < 0.95
    assert all(np.any(stops & (left_before > 0)) for stops in (first[1:], ~still_allowed, ~mask[1:].any(-1)))


def test_masked_forbids_unless_nothing_is_left():
    q = np.array([[1, 2, -3], [1, 2, -3]], np.float32)
    masked = exploration.masked(q, np.array([[True, False, True], [False, False, False]]))
    np.testing.assert_array_equal(masked, [[1, -np.inf, -3], [1, 2, -3]])
    np.testing.assert_array_equal(exploration.masked(q, None), q)
    repeats = exploration.no_repeats(3000), np.zeros(3000, bool)
    nothing = act(jax.random.key(0), np.ones((3000, 3)), np.zeros((3000, 3), bool), 1.0, *repeats)[1]
    assert fits(np.bincount(nothing, minlength=3), np.ones(3) / 3)


def test_annealed_and_durations_by_hand():
    progress = np.array([0, 0.1, 0.2, 0.7, 1])
    np.testing.assert_allclose(exploration.annealed(1.0, 0.2, progress, 0.2), [1, 0.6, 0.2, 0.2, 0.2], rtol=1e-6)
    np.testing.assert_allclose(exploration.annealed(0.4, 1.0, progress, 1.0), [0.4, 0.46, 0.52, 0.82, 1], rtol=1e-6)
    np.testing.assert_allclose(exploration.durations(2, longest=3), [36 / 49, 45 / 49, 1], rtol=1e-6)
    whole = exploration.durations(2.0)
    assert (len(whole), whole.dtype) == (10_000, np.float32)
    np.testing.assert_allclose(whole, scipy.stats.zipf(2).cdf(np.arange(1, 10_001)), atol=1e-4)


@pytest.mark.parametrize("rest", [(), (3,)])
def test_taken_and_its_gradient(rest):
    """Against indexing; the gradient is that of the chosen actions and 0 elsewhere."""
    values, action = jax.random.normal(jax.random.key(0), (4, 2, 5, *rest)), jnp.arange(8).reshape(4, 2) % 5
    expected = np.asarray(values)[np.arange(4)[:, None], np.arange(2), np.asarray(action)]
    np.testing.assert_array_equal(exploration.taken(values, action), expected)
    grads = jax.grad(lambda values: exploration.taken(values, action).sum())(values)
    np.testing.assert_array_equal(grads.sum(2), np.ones((4, 2, *rest)))
    np.testing.assert_array_equal(exploration.taken(grads, action), np.ones((4, 2, *rest)))


def test_zeta_must_have_a_distribution():
    for zeta in (0, 1.01, 2):
        exploration.check_zeta(zeta)
    for zeta in (0.5, 1):
        with pytest.raises(SettingError, match=r"^algo.zeta must be above 1 .*got"):
            exploration.check_zeta(zeta)
