"""How runs are judged, against bsuite's own analysis of the same numbers."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import purejaxrl
from purejaxrl.bench import bsuite

# Of bsuite's analysis, about pandas.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")
SIZES = (10, 12, 14, 20, 30)


@pytest.fixture
def analysis(monkeypatch):
    """bsuite's analysis modules; they call a method that pandas 2 has lost."""
    pytest.importorskip("bsuite")
    append = lambda self, other: pd.concat([self, other])  # noqa: E731
    monkeypatch.setattr(pd.Series, "append", append, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from bsuite.experiments.cartpole_swingup import analysis as swing_up
        from bsuite.experiments.deep_sea import analysis as deep_sea
        from bsuite.experiments.deep_sea_stochastic import analysis as stochastic
    return {"swing_up": swing_up, False: deep_sea, True: stochastic}


def total_bad(generator, learns_at, number=12_000):
    """Bad episodes so far of a run that is mostly bad until it learns."""
    episode = np.arange(number)
    lucky = (generator.uniform(size=number) < 0.03) & (episode >= 50)  # not at once, where one would be enough
    return np.where(episode < learns_at, ~lucky, lucky).cumsum()


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("logged", [1, 7])
def test_deep_sea_is_judged_as_by_bsuite(analysis, stochastic, seed, logged):
    """One run of each size: early, late, at the very start, after the last episode that counts, never."""
    generator = np.random.default_rng(seed)
    runs = [total_bad(generator, learns_at) for learns_at in (300, 4_000, 0, 9_950, 12_000)]
    episode = np.arange(1, 12_001)[logged - 1 :: logged]
    frame = pd.concat(
        [
            pd.DataFrame({"size": size, "episode": episode, "total_bad_episodes": bad[episode - 1]})
            for size, bad in zip(SIZES, runs, strict=True)
        ]
    )
    theirs = analysis[stochastic].find_solution(frame).set_index("size")
    found = [bsuite.deep_sea_solved(bad[episode - 1], episode, stochastic=stochastic) for bad in runs]
    for size, solved in zip(SIZES, found, strict=True):
        assert np.isfinite(solved) == theirs.solved[size]
        assert not theirs.solved[size] or solved == theirs.episode[size]
    assert {bool(np.isfinite(solved)) for solved in found} == {True, False}
    score = bsuite.deep_sea_score(SIZES, found)
    assert score == pytest.approx(analysis[stochastic].score(frame))
    assert 0 < score < 1


def test_deep_sea_by_hand():
    """Nine bad ones of ten are not below .9, nine of eleven are; 2^3 + 100 episodes are too many for size 3."""
    assert bsuite.deep_sea_solved(np.cumsum([1] * 9 + [0, 0])) == 11
    assert np.isnan(bsuite.deep_sea_solved(np.cumsum([1] * 9 + [0])))
    assert bsuite.deep_sea_solved(np.zeros(120, int)) == 1
    assert bsuite.deep_sea_solved(np.zeros(120, int), stochastic=True) == 100
    assert np.isnan(bsuite.deep_sea_solved([0], [10_001]))
    assert bsuite.deep_sea_score([3, 3, 4, 10], [108, 107, 108, np.nan]) == 0.5
    assert bsuite.SIZES == (10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50)


@pytest.mark.parametrize("returns", [np.full(1_000, 350.0), np.zeros(1_000), np.r_[np.zeros(999), 700], [-3.0] * 50])
def test_swing_up_is_scored_as_by_bsuite(analysis, returns):
    number = len(returns)
    frame = pd.DataFrame(
        {
            "episode": np.arange(1, number + 1),
            "total_return": np.cumsum(returns),
            "best_episode": np.maximum.accumulate(np.maximum(returns, 0)),
            "height_threshold": 0.5,
            "bsuite_id": "cartpole_swingup/10",
        }
    )
    assert bsuite.swing_up_score(returns) == pytest.approx(analysis["swing_up"].score(frame))


def test_episodes_of_a_rollout():
    """Three parallel seas: always right, right with one mistake, always left."""
    env, params = purejaxrl.make("BsuiteDeepSea-v0", size=4)
    right = jnp.asarray(env.action_mapping)

    def play(mistakes):
        def one(state, t):
            action = right[state.row, state.column] ^ mistakes[t]
            _, state, _, terminated, info = env.step_env(None, state, action, params)
            start = env.reset_env(None, params)[1]
            state = jax.tree.map(lambda a, b: jnp.where(terminated, a, b), start, state)
            return state, (info["bad"], terminated)

        return jax.lax.scan(one, env.reset_env(None, params)[1], jnp.arange(8))[1]

    mistakes = jnp.array([[0] * 8, [0] * 5 + [1, 0, 0], [1] * 8])
    bad, ended = jax.vmap(play, out_axes=1)(mistakes)
    assert bsuite.episodes(bad, ended).tolist() == [False, False, True, False, True, True]
