import numpy as np

from purejaxrl import stats


def test_mean_interval_covers_as_it_says():
    """Of many samples of 30 normals, about 95 % of the intervals hold the true mean."""
    generator = np.random.default_rng(1)
    samples = generator.normal(3.0, 2.0, (30, 1000))
    mean, low, high = stats.mean_interval(samples)
    np.testing.assert_allclose(mean, samples.mean(0))
    covered = ((low < 3.0) & (high > 3.0)).mean()
    assert 0.91 < covered < 0.97


def test_missing_values_are_left_out():
    samples = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    mean, low, high = stats.mean_interval(samples)
    np.testing.assert_array_equal(mean, [2.0, 5.0, np.nan])
    np.testing.assert_array_equal(low, [1.0, 5.0, np.nan])
    np.testing.assert_array_equal(high, [3.0, 5.0, np.nan])
