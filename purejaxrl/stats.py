"""Statistics over seeds."""

import numpy as np


def mean_interval(samples: np.ndarray, *, level: float = 0.95, resamples: int = 2000) -> tuple[np.ndarray, ...]:
    """Mean over the first axis with a percentile-bootstrap interval, ignoring NaN: ``(mean, low, high)``.

    Args:
      samples: ``[num_seeds, ...]``; a column without a finite value gives NaN.
      level: the interval's coverage.
      resamples: bootstrap samples, from a fixed generator, so that a report is reproducible.
    """
    samples = np.asarray(samples, float)
    draws = np.random.default_rng(0).integers(len(samples), size=(resamples, len(samples)))
    weights = np.apply_along_axis(np.bincount, 1, draws, minlength=len(samples)).astype(float)
    present = np.isfinite(samples)
    flat, counts = np.where(present, samples, 0.0).reshape(len(samples), -1), present.reshape(len(samples), -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (weights @ flat) / (weights @ counts)
        mean = flat.sum(0) / counts.sum(0)
    low, high = np.full(mean.shape, np.nan), np.full(mean.shape, np.nan)
    there = np.isfinite(means).any(0)
    tail = 100 * (1 - level) / 2
    low[there], high[there] = np.nanpercentile(means[:, there], [tail, 100 - tail], axis=0)
    shape = samples.shape[1:]
    return mean.reshape(shape), low.reshape(shape), high.reshape(shape)
