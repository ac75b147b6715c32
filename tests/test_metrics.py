import numpy as np
import pandas as pd
import pytest

import purejaxrl
from purejaxrl import metrics, training
from purejaxrl.types import SettingError


@pytest.fixture
def frame():
    """Two seeds, 20 updates of 10 steps; seed 7 has no episodes in the last tenth but one."""
    updates = np.arange(1, 21)
    arrays = {
        "env_steps": np.tile(10 * updates, (2, 1)),
        "num_episodes": np.array([[2] * 20, [1] * 18 + [0, 3]]),
        "episode_return": np.array([updates, [1.0] * 18 + [np.nan, 9.0]]),
        "episode_return_max": np.array([updates + 0.5, [1.0] * 18 + [np.nan, 9.0]]),
    }
    return metrics.frame(arrays, [5, 7])


def test_frame_is_tidy(frame, tmp_path):
    assert list(frame.columns[:4]) == ["config_id", "seed", "update", "env_steps"]
    assert len(frame) == 40
    row = frame[(frame["seed"] == 5) & (frame["update"] == 3)].iloc[0]
    assert (row["env_steps"], row["episode_return"]) == (30, 3.0)
    metrics.write(tmp_path, frame)
    pd.testing.assert_frame_equal(purejaxrl.load(tmp_path), frame)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.parquet"]


def test_final_returns_weigh_episodes(frame):
    """The last tenth are updates 19 and 20."""
    assert metrics.final_means(frame, "episode_return").to_dict() == {5: 19.5, 7: 9.0}
    empty = frame.assign(num_episodes=0)
    assert metrics.final_means(empty, "episode_return").isna().all()


def test_a_return_that_is_no_number_makes_the_final_one_none(frame):
    """As in :func:`metrics.mean`; where no episode ended it does not count."""
    broken = frame.assign(episode_return=frame["episode_return"].mask(frame["update"] == 20))
    assert metrics.final_means(broken, "episode_return").isna().all()
    assert np.isnan(metrics.mean(broken[broken["seed"] == 5], "episode_return"))
    unused = broken.assign(num_episodes=broken["num_episodes"].mask(broken["update"] == 20, 0))
    assert metrics.final_means(unused, "episode_return")[5] == 19.0


def test_a_checkpoint_is_scored_by_what_it_holds(frame):
    """Of a seed that diverged that is its state before; it must not make the checkpoint better by its loss."""
    assert training._score(frame) == np.mean([19.5, 9.0])
    assert training._score(frame.iloc[:0]) is None
    low = frame["seed"] == 7
    broken = frame.assign(nonfinite=np.where(low & (frame["update"] == 20), 1, 0))
    broken.loc[low, "num_episodes"] = 1
    broken.loc[low & (frame["update"] == 19), "episode_return"] = 3.0
    broken.loc[low & (frame["update"] == 20), "episode_return"] = np.nan
    assert training._score(broken) == np.mean([19.5, 3.0])
    assert training._score(broken.assign(nonfinite=1)) is None


def test_final_means_of_what_is_there(frame):
    """Every update counts alike, whatever episodes ended; of a metric that is there late, those where it is."""
    late = frame["update"].where(frame["update"] == 20)
    assert metrics.final_means(frame.assign(entropy=frame["update"]), "entropy").to_dict() == {5: 19.5, 7: 19.5}
    assert metrics.final_means(frame.assign(first_reward=late), "first_reward").to_dict() == {5: 20.0, 7: 20.0}
    assert metrics.final_means(frame.assign(first_reward=np.nan), "first_reward").isna().all()


def test_first_success_counts_episodes(frame):
    assert metrics.first_success(frame, 3.0) == {5: 6, 7: 21}
    assert metrics.first_success(frame, 100.0) == {5: None, 7: None}


def test_curves_average_in_bins(frame):
    steps, found = metrics.curves(frame, ["episode_return"], bins=10)
    values = found["episode_return"]
    np.testing.assert_array_equal(steps, np.arange(20, 201, 20))
    np.testing.assert_array_equal(values[0], np.arange(1.5, 20, 2))
    np.testing.assert_array_equal(values[1], [1.0] * 9 + [9.0])
    missing = frame.assign(entropy=np.where((frame["seed"] == 5) & (frame["update"] > 10), np.nan, 1.0))
    steps, found = metrics.curves(missing, ["episode_return", "entropy"], bins=1000)
    assert found["episode_return"].shape == (2, 20)
    np.testing.assert_array_equal(found["entropy"], [[1.0] * 10 + [np.nan] * 10, [1.0] * 20])


def test_curves_weigh_episodes_as_final_returns_do(frame):
    """But for the last bin's they would end elsewhere; what is no episode's is a mean over updates."""
    several = frame.assign(num_episodes=frame["update"], entropy=frame["update"])
    _, found = metrics.curves(several, ["episode_return", "entropy"], bins=10)
    final = metrics.final_means(several[several["seed"] == 5], "episode_return")[5]
    assert found["episode_return"][0, -1] == final == (19 * 19 + 20 * 20) / 39
    assert found["entropy"][0, -1] == 19.5
    none = several.assign(num_episodes=0)
    assert np.isnan(metrics.curves(none, ["episode_return"], bins=10)[1]["episode_return"]).all()


def test_no_bit_can_change_a_number(frame, tmp_path):
    """Of Parquet's own three changed bits of five read as other numbers."""
    frame = frame.assign(entropy=np.linspace(0, 1, 40), word=["some", "words"] * 20, there=[True, False] * 20)
    metrics.write(tmp_path, frame)
    path, generator, refused = tmp_path / metrics.FILE, np.random.default_rng(0), 0
    pd.testing.assert_frame_equal(purejaxrl.load(tmp_path), frame, check_exact=True)
    content = path.read_bytes()
    for place in generator.integers(0, len(content), 300):
        changed = bytearray(content)
        changed[place] ^= 1 << generator.integers(0, 8)
        path.write_bytes(changed)
        try:
            found = purejaxrl.load(tmp_path)
        except SettingError:
            refused += 1
        else:
            pd.testing.assert_frame_equal(found, frame, check_exact=True)
    assert refused > 100


def test_load_says_what_is_missing(tmp_path):
    with pytest.raises(SettingError, match=r"it has neither metrics.parquet nor parts"):
        purejaxrl.load(tmp_path)
    (tmp_path / "metrics.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(SettingError, match="cannot be read"):
        purejaxrl.load(tmp_path)
