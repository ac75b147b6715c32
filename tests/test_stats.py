import numpy as np
import pytest
from scipy.stats import binomtest, mannwhitneyu, norm, trim_mean, ttest_1samp, ttest_ind

from purejaxrl import stats

INTERVALS = {stats.mean_interval: np.mean, stats.iqm_interval: lambda column: trim_mean(column, 0.25)}


@pytest.mark.parametrize(("interval", "statistic"), INTERVALS.items())
@pytest.mark.parametrize("num_seeds", [1, 2, 3, 5, 20])
def test_interval_against_brute_force(interval, statistic, num_seeds):
    """Value by NumPy and SciPy; the interval by a bootstrap that draws the seeds themselves, ties and all."""
    samples = np.random.default_rng(2).normal(0.0, 5.0, (num_seeds, 2, 2)).round()
    draws = np.random.default_rng(0).integers(num_seeds, size=(500, num_seeds))
    value, low, high = interval(samples, level=0.9, resamples=500)
    for index in np.ndindex(2, 2):
        column = samples[:, *index]
        drawn = [statistic(column[draw]) for draw in draws]
        found = [value[index], low[index], high[index]]
        np.testing.assert_allclose(found, [statistic(column), *np.percentile(drawn, [5, 95])], atol=1e-12)


@pytest.mark.parametrize("interval", INTERVALS)
def test_interval_covers_as_it_says(interval):
    """Of many samples of 30 normals, about 95 % of the intervals hold the true mean."""
    samples = np.random.default_rng(1).normal(3.0, 2.0, (30, 1000))
    _, low, high = interval(samples)
    covered = ((low < 3.0) & (high > 3.0)).mean()
    assert 0.91 < covered < 0.97


@pytest.mark.parametrize("interval", INTERVALS)
def test_missing_values_are_left_out(interval):
    samples = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    value, low, high = interval(samples)
    np.testing.assert_array_equal(value, [2.0, 5.0, np.nan])
    np.testing.assert_array_equal(low, [1.0, 5.0, np.nan])
    np.testing.assert_array_equal(high, [3.0, 5.0, np.nan])
    assert np.isnan(interval(np.full(4, np.nan))).all()


def test_quarters_are_counted_without_missing_values():
    """Of eight scores two fall on each side: 3 … 6 are left. Counted as a ninth, the missing one would shift that."""
    scores = np.array([np.nan, 1000.0, 3.0, 5.0, 1.0, 4.0, 100.0, 6.0, -2.0])
    iqm, low, high = stats.iqm_interval(scores)
    assert iqm == 4.5
    assert low < iqm < high


def test_one_wild_seed_moves_the_mean_but_not_the_interquartile_mean():
    scores = np.append(np.full(19, 10.0), 1e6)
    assert stats.mean_interval(scores)[0] > 1e4
    assert stats.iqm_interval(scores)[0] == 10.0


def test_stratified_interval_against_brute_force():
    """Seeds are drawn within each task; scores of all tasks are trimmed together."""
    scores = np.random.default_rng(3).normal(0.0, 1.0, (7, 3)) + np.array([0.0, 1.0, 5.0])
    iqm, low, high = stats.stratified_iqm_interval(scores, level=0.9, resamples=300)
    draws = np.random.default_rng(0).integers(7, size=(300, 7, 3))
    drawn = [trim_mean([scores[seed, task] for row in draw for task, seed in enumerate(row)], 0.25) for draw in draws]
    np.testing.assert_allclose([iqm, low, high], [trim_mean(scores.ravel(), 0.25), *np.percentile(drawn, [5, 95])])
    far = stats.stratified_iqm_interval(np.array([[0.0, 100.0], [0.0, 100.0]]))
    assert far == (50.0, 50.0, 50.0)  # every task stays in every resample


PAIRS = {
    stats.difference_interval: lambda x, y: x - y,
    stats.probability_of_improvement: lambda x, y: 1.0 if x > y else 0.5 if x == y else 0.0,
}


@pytest.mark.parametrize(("interval", "of_pair"), PAIRS.items())
@pytest.mark.parametrize("sizes", [(1, 1), (2, 5), (6, 4), (10, 10)])
def test_interval_of_pairs_against_brute_force(interval, of_pair, sizes):
    """Every pair of every resample one by one; rounded, so that some are equal."""
    x, y = (np.random.default_rng(4 + i).normal(0.5 * i, 1.0, size).round(1) for i, size in enumerate(sizes))
    drawn = []
    counts = [np.random.default_rng(i).multinomial(size, [1 / size] * size, 300) for i, size in enumerate(sizes)]
    for of_x, of_y in zip(*counts, strict=True):
        drawn.append(np.mean([of_pair(a, b) for a in np.repeat(x, of_x) for b in np.repeat(y, of_y)]))
    value = np.mean([of_pair(a, b) for a in x for b in y])
    np.testing.assert_allclose(interval(x, y, resamples=300), [value, *np.percentile(drawn, [2.5, 97.5])], atol=1e-12)


def test_interval_of_pairs_is_that_of_ranks_and_means():
    x, y = np.random.default_rng(6).normal(0.0, 1.0, (2, 12))
    np.testing.assert_allclose(stats.probability_of_improvement(x, y)[0], mannwhitneyu(x, y).statistic / 144)
    np.testing.assert_allclose(stats.difference_interval(x, y)[0], x.mean() - y.mean())


@pytest.mark.parametrize(
    ("interval", "truth"), [(stats.difference_interval, 1.0), (stats.probability_of_improvement, None)]
)
def test_interval_of_pairs_covers_about_as_it_says(interval, truth):
    """Of normals with another mean and spread; 30 of each."""
    truth = norm.cdf(1.0 / np.sqrt(5.0)) if truth is None else truth
    x, y = np.random.default_rng(7).normal(0.0, 1.0, (2, 300, 30))
    found = np.array([interval(1.0 + 2.0 * a, b, resamples=500) for a, b in zip(x, y, strict=True)])
    assert 0.9 < ((found[:, 1] < truth) & (truth < found[:, 2])).mean() < 0.99


def test_pairs_with_missing_values():
    """Left out of a difference; in a comparison a run without a value is worse than any, and level with its like."""
    x, y = np.array([1.0, np.nan, 3.0]), np.array([np.nan, 2.0])
    assert stats.difference_interval(x, y)[0] == 0.0
    assert stats.probability_of_improvement(x, y)[0] == (1 + 1 + 0.5 + 0 + 1 + 0) / 6
    assert np.isnan(stats.difference_interval(x, np.array([np.nan]))).all()


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 3), (9, 10), (10, 10), (50, 200)])
def test_wilson_against_scipy(successes, trials):
    known = binomtest(successes, trials).proportion_ci(method="wilson")
    np.testing.assert_allclose(stats.wilson_interval(successes, trials), known, atol=1e-7)


def test_wilson_ends_at_0_and_1():
    for trials in range(1, 200):
        assert stats.wilson_interval(0, trials)[0] == 0.0
        assert stats.wilson_interval(trials, trials)[1] == 1.0


@pytest.mark.parametrize("sizes", [(2, 2), (3, 8), (20, 5)])
def test_t_intervals_against_scipy(sizes):
    x, y = (np.random.default_rng(8 + i).normal(i, 1.0 + 3 * i, size) for i, size in enumerate(sizes))
    known = ttest_1samp(x, 0.0).confidence_interval(0.9)
    np.testing.assert_allclose(stats.t_interval(np.append(x, np.nan), level=0.9), [x.mean(), *known])
    known = ttest_ind(x, y, equal_var=False).confidence_interval(0.9)
    np.testing.assert_allclose(stats.welch_interval(x, np.append(y, np.nan), level=0.9), [x.mean() - y.mean(), *known])


def test_one_seed_has_no_bounds():
    assert stats.t_interval(np.array([3.0, np.nan])) == (3.0, -np.inf, np.inf)
    assert stats.welch_interval(np.array([3.0]), np.array([1.0, 2.0, 3.0])) == (1.0, -np.inf, np.inf)
    assert np.isnan(stats.t_interval(np.array([np.nan]))).all()
    assert np.isnan(stats.welch_interval(np.array([np.nan]), np.array([1.0, 2.0]))).all()
    assert stats.welch_interval(np.array([3.0, 3.0]), np.array([1.0, 1.0])) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize("num_seeds", [2, 3, 5, 8])
def test_t_intervals_cover_as_they_say_however_few_seeds(num_seeds):
    """Of normals; a percentile bootstrap of three covers 71 % of them."""
    x, y = np.random.default_rng(9).normal(0.0, 1.0, (2, 2000, num_seeds))
    found = np.array([stats.t_interval(one) for one in x])
    assert 0.93 < ((found[:, 1] < 0) & (found[:, 2] > 0)).mean() < 0.97
    found = np.array([stats.welch_interval(one, 1.0 + 4.0 * other) for one, other in zip(x, y, strict=True)])
    assert 0.93 < ((found[:, 1] < -1) & (found[:, 2] > -1)).mean() < 0.98
