"""How bsuite judges DeepSea and the cart-pole swing-up (Osband et al. 2020, arXiv:1908.03568), on plain arrays.

An environment forgets its episodes at every reset, so the counts come from the run: of a rollout, `bad` and `ended` of
every step go through :func:`episodes`; a training run counts ends with ``visits=env.outcomes()[:2]``, of which every
``state.visits`` (after each ``train.advance``) is one entry of `total_bad` and `episode` below. Episodes of parallel
envs all count.

The functions follow `analysis.py` of the experiments deep_sea, deep_sea_stochastic and cartpole_swingup.
"""

from __future__ import annotations

from typing import Any

import numpy as np

DEEP_SEA_EPISODES = 10_000  # of an experiment; later ones do not count
SWING_UP_EPISODES = 1_000
SWING_UP_REGRET = 700  # a perfect episode's return, as bsuite counts regret
SWING_UP_GOOD = 100  # an episode's return above it is a swing-up
SIZES = tuple(range(10, 51, 2))  # of both DeepSea sweeps


def episodes(values: Any, ended: Any) -> np.ndarray:
    """The values at the ends of episodes, in the order in which they ended; of those at one step, by env.

    Args:
      values: ``[num_steps, num_envs]``, such as ``info["bad"]``.
      ended: bool ``[num_steps, num_envs]``.
    """
    return np.asarray(values)[np.asarray(ended, bool)]


def deep_sea_solved(
    total_bad: Any, episode: Any = None, *, stochastic: bool = False, within: int = DEEP_SEA_EPISODES
) -> float:
    """The first episode at which the share of bad ones so far was below .9, NaN where it never was.

    With `stochastic`, below .8 and after 100 episodes at least: luck alone makes some episodes good there.

    Args:
      total_bad: ``[n]``, how many episodes were bad so far.
      episode: ``[n]``, how many there were; 1, 2, ... by default. They may skip some, as bsuite's own logs do.
      within: later episodes do not count.
    """
    total_bad = np.asarray(total_bad)
    episode = np.arange(1, len(total_bad) + 1) if episode is None else np.asarray(episode)
    counts = (episode <= within) & (episode >= (100 if stochastic else 1))
    solved = counts & (total_bad / np.maximum(episode, 1) < (0.8 if stochastic else 0.9))
    return float(episode[solved].min()) if solved.any() else np.nan


def deep_sea_score(size: Any, solved: Any) -> float:
    """The share of the runs that solved their size before dithering would: in fewer than 2^size + 100 episodes.

    Args:
      size: ``[n]``, of each run.
      solved: ``[n]``, what :func:`deep_sea_solved` says of it.
    """
    return float(np.mean(np.asarray(solved, float) < 2.0 ** np.asarray(size) + 100))


def swing_up_score(returns: Any) -> float:
    """Half for the mean return, as a share of 700, and half for whether any episode's was above 100; one run's.

    bsuite's score is the mean over the 20 difficulties.

    Args:
      returns: ``[num_episodes]``; the first 1,000 count.
    """
    returns = np.asarray(returns, float)[:SWING_UP_EPISODES]
    return float(0.5 * np.clip(returns.mean() / SWING_UP_REGRET, 0, 1) + 0.5 * (returns.max() > SWING_UP_GOOD))
