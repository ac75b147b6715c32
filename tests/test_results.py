"""Best, importance and sensitivity against closed forms."""

import numpy as np
import pandas as pd
import pytest

from purejaxrl.results import Sweep
from purejaxrl.types import SettingError


def frame(score, fields, seeds=4, updates=20, **columns):
    """A sweep's frame whose runs end with the return ``score(configuration, seed)``."""
    rows = [
        {"config_id": number, **one, "seed": seed, "update": update, "env_steps": 10 * update, "num_episodes": 1}
        | {"episode_return": score(one, seed) if update > 18 else -99.0, "value_loss": 1.0, "seconds": 0.5}
        for number, one in enumerate(fields)
        for seed in range(seeds)
        for update in range(1, updates + 1)
    ]
    return pd.DataFrame(rows).assign(**columns)


GRID = [{"a": a, "b": b} for a in (0.0, 1.0, 2.0) for b in (0.0, 1.0)]


def test_best_ranks_the_final_returns():
    found = Sweep(frame(lambda one, seed: 10 * one["a"] + one["b"] + 0.1 * seed, GRID), ["a", "b"])
    best = found.best()
    assert list(best["config_id"]) == [5, 4, 3, 2, 1, 0]
    np.testing.assert_allclose(best["final_return"], [21.15, 20.15, 11.15, 10.15, 1.15, 0.15])
    assert ((best["low"] < best["final_return"]) & (best["final_return"] < best["high"])).all()
    assert (best["seeds"] == 4).all()
    assert list(found.best(2)["config_id"]) == [5, 4]
    assert list(found.best().columns[:3]) == ["config_id", "a", "b"]


def test_pareto_is_what_no_other_beats():
    """Beside brute force, with many equals; one objective alone leaves the best."""
    drawn = [dict(zip("abc", one, strict=True)) for one in np.random.default_rng(0).integers(4, size=(40, 3)).tolist()]
    data = frame(lambda one, seed: one["a"] + seed, drawn)
    late = np.where(data["update"] < 20, np.nan, data["c"])
    found = Sweep(data.assign(coverage=data["b"], first_reward=late), ["a", "b", "c"])
    for objectives, signs in (
        (["final_return"], {"a": 1}),
        (["min:first_reward"], {"c": -1}),
        (["final_return", "min:first_reward"], {"a": 1, "c": -1}),
        (["min:coverage", "final_return", "first_reward"], {"b": -1, "a": 1, "c": 1}),
    ):
        values = [[sign * one[name] for name, sign in signs.items()] for one in drawn]
        left = [
            number
            for number, one in enumerate(values)
            if not any(all(x >= y for x, y in zip(other, one, strict=True)) and other != one for other in values)
        ]
        front = found.pareto(*objectives)
        assert sorted(front["config_id"]) == left
        first, sign = next(iter(signs.items()))
        assert (sign * front[first]).is_monotonic_decreasing
    front = found.pareto("final_return", "min:first_reward")
    assert list(front.columns) == ["config_id", "a", "b", "c", "final_return", "first_reward", "seeds", "diverged"]
    np.testing.assert_allclose(front["final_return"], front["a"] + 1.5)
    np.testing.assert_allclose(front["first_reward"], front["c"])


def test_what_is_missing_counts_as_the_worst_in_each_objective():
    data = frame(lambda one, seed: 10 * one["a"] + seed, GRID, first_reward=50.0, seconds=0.5)
    data.loc[data["config_id"] == 2, "first_reward"] = 80.0
    data.loc[data["config_id"] == 3, "first_reward"] = np.nan
    data.loc[(data["config_id"] == 4) & (data["seed"] == 0), "value_loss"] = np.nan
    means = Sweep(data, ["a", "b"]).means("final_return", "min:first_reward", "seconds")
    np.testing.assert_allclose(means["first_reward"], [50, 50, 80, 201, (201 + 3 * 50) / 4, 50])
    np.testing.assert_allclose(means["final_return"], [1.5, 1.5, 11.5, 11.5, (0 + 21 + 22 + 23) / 4, 21.5])
    assert means["diverged"].tolist() == [0, 0, 0, 0, 1, 0]
    assert (means["seconds"] == 0.5).all()


def test_a_first_reward_that_never_came_is_later_than_any():
    """One seed of four that finds it early is worse than four that find it late; one that was stopped had less time."""
    fields = [{"a": value} for value in (0.0, 1.0, 2.0)]
    data = frame(lambda one, seed: 1.0, fields).assign(first_reward=150.0)
    data.loc[(data["a"] == 0) & (data["seed"] > 0), "first_reward"] = np.nan
    data.loc[(data["a"] == 0) & (data["seed"] == 0), "first_reward"] = 20.0
    data.loc[data["a"] == 2, "first_reward"] = np.nan
    data = data[(data["a"] != 2) | (data["update"] <= 16)]
    best = Sweep(data, ["a"]).best(objective="min:first_reward")
    assert best["config_id"].tolist() == [1, 0, 2]
    np.testing.assert_allclose(best["first_reward"], [150, (20 + 3 * 201) / 4, 161])


def test_of_equals_the_one_with_fewer_useless_runs_is_better():
    data = frame(lambda one, seed: 5.0 - one["a"], [{"a": value} for value in (0.0, 0.0, 0.0, -1.0)])
    data.loc[(data["config_id"] == 0) | ((data["config_id"] == 1) & (data["seed"] == 0)), "value_loss"] = np.nan
    found = Sweep(data, ["a"])
    assert found.best()["config_id"].tolist() == [3, 2, 1, 0]
    data = data[data["config_id"] < 3]
    assert Sweep(data, ["a"]).pareto("final_return")["config_id"].tolist() == [2]
    assert Sweep(data, ["a"]).pareto("env_steps", "min:final_return")["config_id"].tolist() == [2]


def test_the_intervals_are_student_s():
    fields = [{"a": value} for value in (0.0, 1.0)]
    data = frame(lambda one, seed: 10 * one["a"] + seed, fields, seeds=2)
    for found in (Sweep(data, ["a"]).best(), Sweep(data, ["a"]).sensitivity("a")):
        np.testing.assert_allclose((found["high"] - found["low"]) / 2, 12.7062 * 0.5, rtol=1e-5)
    one = Sweep(data[data["seed"] == 0], ["a"])
    assert one.best()[["low", "high"]].isna().all(axis=None)
    assert one.sensitivity("a")[["low", "high"]].isna().all(axis=None)


def test_what_mattered_is_of_those_that_came_furthest():
    """Longer runs return more, whatever the field: of the long ones it explains all that there is."""
    data = frame(lambda one, seed: one["a"] + (100 if one["a"] < 2 else 0), [{"a": float(a)} for a in range(4)])
    data = data.assign(rung=np.where(data["a"] < 2, 2, 1))
    found = Sweep(data[(data["a"] < 2) | (data["update"] > 18)], ["a"])
    assert found.sensitivity("a")["value"].tolist() == [0.0, 1.0]
    assert found.importance()["a"] == pytest.approx(1.0)


def test_pareto_of_those_that_came_furthest():
    data = frame(lambda one, seed: -one["a"], GRID)
    data = data.assign(rung=np.where(data["a"] > 0, 2, 1))
    assert set(Sweep(data[(data["a"] > 0) | (data["update"] < 10)], ["a", "b"]).pareto("final_return")["a"]) == {1.0}


def test_importance_is_the_share_of_variance():
    """Σ of independent effects: Var[3a] = 9 · 2/3 = 6 and Var[2b] = 4 · 1/4 = 1; an interaction a·b takes the rest."""
    found = Sweep(frame(lambda one, seed: 3 * one["a"] + 2 * one["b"], GRID), ["a", "b"])
    assert found.importance().to_dict() == pytest.approx({"a": 6 / 7, "b": 1 / 7})
    # (a − 1)(b − 1/2) has no main effects at all.
    found = Sweep(frame(lambda one, seed: (one["a"] - 1) * (one["b"] - 0.5), GRID), ["a", "b"])
    assert found.importance().to_dict() == pytest.approx({"a": 0.0, "b": 0.0})


def test_importance_of_drawn_values():
    """Five equal bins of a uniform variable explain 1 − 1/25 of a linear effect."""
    drawn = [{"a": value, "b": other} for value, other in np.random.default_rng(0).random((400, 2))]
    found = Sweep(frame(lambda one, seed: one["a"], drawn, seeds=1, updates=19), ["a", "b"]).importance()
    assert found["a"] == pytest.approx(0.96, abs=0.01)
    assert found["b"] < 0.05


def test_fields_that_do_nothing_explain_nothing():
    """Sixteen draws of three fields and noise: of the raw shares, (k - 1) / (n - 1) = 4 / 15 each is chance.

    The part less chance is 1 - (1 - R²) (n - 1) / (n - k), the adjusted R² of a regression on a field's five bins.
    """
    found = []
    for number in range(40):
        generator = np.random.default_rng(number)
        drawn = [dict(zip("abc", one, strict=True)) for one in generator.random((16, 3)).tolist()]
        noise = iter(generator.normal(size=16 * 20))
        data = frame(lambda one, seed, noise=noise: next(noise), drawn, seeds=1, updates=19)
        shares = Sweep(data, list("abc")).importance()
        returns = data.loc[data["update"] == 19, "episode_return"].to_numpy()
        for name in "abc":
            bins = np.repeat(np.arange(5), [4, 3, 3, 3, 3])[np.argsort(np.argsort([one[name] for one in drawn]))]
            dummies = np.eye(5)[bins]
            left = returns - dummies @ np.linalg.lstsq(dummies, returns, rcond=None)[0]
            adjusted = 1 - (left @ left / (16 - 5)) / (returns.var(ddof=1))
            assert shares[name] == pytest.approx(max(adjusted, 0.0), abs=1e-9)
            found.append(shares[name])
    assert np.mean(found) < 0.14


def test_importance_on_a_grid_is_less_the_noise_over_seeds():
    """Three levels of each: a field that does nothing would explain two noise variances of a mean over four seeds."""
    grid = [{"a": a, "b": b} for a in (0.0, 1.0, 2.0) for b in (0.0, 1.0, 2.0)]
    noise = np.random.default_rng(3).normal(size=(9, 4))
    data = frame(lambda one, seed: 2 * one["a"] + noise[int(3 * one["a"] + one["b"]), seed], grid)
    means = (2 * np.repeat([0.0, 1.0, 2.0], 3) + noise.mean(1)).reshape(3, 3)
    by_chance, total = 2 * noise.var(axis=1, ddof=1).mean() / 4, ((means - means.mean()) ** 2).sum()
    between = [3 * ((means.mean(axis) - means.mean()) ** 2).sum() for axis in (1, 0)]
    shares = Sweep(data, ["a", "b"]).importance()
    np.testing.assert_allclose([shares["a"], shares["b"]], np.clip((np.array(between) - by_chance) / total, 0, None))
    # With one seed what a + b leaves stands for the noise, on 8 - 2 - 2 degrees of freedom.
    one, means = data[data["seed"] == 0], (2 * np.repeat([0.0, 1.0, 2.0], 3) + noise[:, 0]).reshape(3, 3)
    total = ((means - means.mean()) ** 2).sum()
    between = np.array([3 * ((means.mean(axis) - means.mean()) ** 2).sum() for axis in (1, 0)])
    by_chance = 2 * (total - between.sum()) / 4
    shares = Sweep(one, ["a", "b"]).importance()
    np.testing.assert_allclose([shares["a"], shares["b"]], np.clip((between - by_chance) / total, 0, None))


def test_importance_says_nothing_where_chance_cannot_be_told():
    fields = [{"a": value} for value in (0.0, 1.0, 2.0)]
    data = frame(lambda one, seed: one["a"] + 0.1 * seed, fields)
    assert Sweep(data[data["seed"] == 0], ["a"]).importance().isna().all()
    assert Sweep(data, ["a"]).importance()["a"] == pytest.approx(1 - 2 * (np.var([0, 0.1, 0.2, 0.3], ddof=1) / 4) / 2)


def test_by_another_objective():
    """Low is best after ``min:``, and what is missing counts as the highest."""
    data = frame(lambda one, seed: np.nan, GRID, num_episodes=0)
    data = data.assign(entropy=3 * data["a"] + data["b"] + data["seed"])
    data.loc[(data["config_id"] == 0) & (data["seed"] == 3), "value_loss"] = np.nan
    found = Sweep(data, ["a", "b"])
    best = found.best(objective="min:entropy")
    assert list(best["config_id"]) == [1, 0, 2, 3, 4, 5]
    np.testing.assert_allclose(best["entropy"].head(2), [2.5, (0 + 1 + 2 + 10) / 4])
    assert ((best["low"] < best["entropy"]) & (best["entropy"] < best["high"])).all()
    assert list(found.importance("min:entropy").index) == ["a", "b"]
    assert list(found.sensitivity("a", "entropy").columns) == ["value", "entropy", "low", "high", "runs"]
    assert found.scored("min:entropy")["entropy"].notna().all()
    with pytest.raises(SettingError, match="no run has a final return"):
        found.best()


def test_sensitivity_averages_over_the_rest():
    found = Sweep(frame(lambda one, seed: one["a"] ** 2 + one["b"], GRID), ["a", "b"]).sensitivity("a")
    assert list(found["value"]) == [0.0, 1.0, 2.0]
    np.testing.assert_allclose(found["final_return"], [0.5, 1.5, 4.5])
    assert (found["runs"] == 8).all()


def test_words_can_be_searched():
    fields = [{"a": "tanh"}, {"a": "relu"}]
    found = Sweep(frame(lambda one, seed: len(one["a"]) + (one["a"] == "relu"), fields), ["a"])
    assert list(found.best()["a"]) == ["relu", "tanh"]
    assert list(found.sensitivity("a")["value"]) == ["relu", "tanh"]
    assert found.importance()["a"] == pytest.approx(1.0)


def test_a_diverged_run_is_marked_and_counts_as_the_worst():
    data = frame(lambda one, seed: 10 * one["a"] + seed, GRID)
    broken = (data["config_id"] == 5) & (data["seed"] == 2) & (data["update"] >= 7)
    data.loc[broken, "value_loss"] = np.nan
    found = Sweep(data, ["a", "b"])
    runs = found.runs().set_index(["config_id", "seed"])
    assert runs.loc[(5, 2), "diverged"] == 7
    assert runs["diverged"].notna().sum() == 1
    best = found.best().set_index("config_id")
    assert best.loc[5, "diverged"] == 1
    assert best.loc[5, "final_return"] == pytest.approx((20 + 21 + 0 + 23) / 4)  # the worst of all returns is 0


def test_no_episode_is_not_divergence():
    data = frame(lambda one, seed: 1.0, GRID)
    data.loc[data["config_id"] == 3, ["episode_return", "num_episodes"]] = [np.nan, 0]
    runs = Sweep(data, ["a", "b"]).runs()
    assert runs["diverged"].isna().all()
    assert runs.loc[runs["config_id"] == 3, "final_return"].isna().all()


def test_nothing_to_rank():
    data = frame(lambda one, seed: np.nan, GRID, num_episodes=0)
    with pytest.raises(SettingError, match="no run has a final return"):
        Sweep(data, ["a", "b"]).best()
    with pytest.raises(SettingError, match="no results yet"):
        Sweep(data.iloc[:0], ["a", "b"]).best()
    with pytest.raises(SettingError, match="no run has a first reward"):
        Sweep(frame(lambda one, seed: 1.0, GRID, first_reward=np.nan), ["a", "b"]).pareto("first_reward")
    with pytest.raises(SettingError, match="field: unknown value 'c'"):
        Sweep(frame(lambda one, seed: 1.0, GRID), ["a", "b"]).sensitivity("c")


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        (["min:value_los"], "metric: unknown value 'value_los'; did you mean value_loss"),
        (["a"], "metric: unknown value 'a'"),
        (["seed"], "metric: unknown value 'seed'"),
        ([], "objectives must be some"),
        (["final_return", "min:final_return"], "objectives names a metric twice"),
    ],
)
def test_objectives_that_cannot_be(objectives, message):
    with pytest.raises(SettingError, match=message):
        Sweep(frame(lambda one, seed: 1.0, GRID), ["a", "b"]).pareto(*objectives)
