"""The head-to-head: what is run, that it goes on where it was stopped, and what its tables say of known numbers."""

import dataclasses
import json
import threading
import warnings

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from purejaxrl import cli, folders
from purejaxrl.bench import exploration, parts, suites, tables
from purejaxrl.bench.exploration import choose, final_return, time_to_solve
from purejaxrl.progress import Progress
from purejaxrl.types import SettingError

TINY = dataclasses.replace(
    suites.DEEPSEA, name="tiny", env_settings={"size": 3}, num_envs=2, num_steps=6, num_minibatches=2, total_steps=240
)
METHODS = tuple(method for method in suites.METHODS if method.name in ("entropy", "epsilon-z", "counts"))


def quiet():
    return Progress(Console(quiet=True))


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(exploration, "SUITES", {"small": (TINY,)})
    monkeypatch.setattr(exploration, "METHODS", METHODS)


def run(out, **kwargs):
    return exploration.run(out, quiet(), **{"num_seeds": 3, **kwargs})


def test_it_runs_tunes_and_reports(tiny, tmp_path):
    results, interrupted = run(tmp_path / "x")
    assert not interrupted.is_set()
    for method in METHODS:
        rows = results[results["method"] == method.name]
        tuning, reporting = rows[rows["phase"] == "tuning"], rows[rows["phase"] == "reporting"]
        wanted = {(value, seed) for value in method.values for seed in exploration.TUNING_SEEDS}
        assert set(zip(tuning["value"], tuning["seed"], strict=True)) == wanted
        assert list(reporting["seed"]) == [0, 1, 2]
        assert reporting["value"].nunique() == 1
        config = json.loads((tmp_path / f"x/parts/tiny--{method.name}.json").read_text())
        assert config["learner"]["type"] == method.learner
        assert config["versions"]["jax"]
    files = {path.name for path in (tmp_path / "x").iterdir()}
    figures = {"solved.png", "scores.png", "profile.png", "coverage.png"}
    assert files == {"lock", "parts", "results.parquet", "summary.parquet", "table.md", "report.html", *figures}
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "x/results.parquet"), results)


def test_a_call_for_some_keeps_the_others(tiny, tmp_path):
    results, _ = run(tmp_path / "x")
    again, _ = run(tmp_path / "x", methods=["counts"])
    pd.testing.assert_frame_equal(again, results)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "x/results.parquet"), results)


def test_a_folder_is_one_process_s(tiny, tmp_path):
    with folders.locked(tmp_path / "x"), pytest.raises(SettingError, match="another process is at work"):
        run(tmp_path / "x")


def test_it_goes_on_where_it_was_stopped(tiny, tmp_path, monkeypatch):
    """Stopped whenever some runs are done, in the end it has what one go gives; nothing is run twice."""
    whole, _ = run(tmp_path / "whole", methods=["counts"])
    add, stop, added = exploration.Pair.add, threading.Event(), []

    def add_and_stop(self, phase, points, frame):
        add(self, phase, points, frame)
        added.extend((phase, *point.values.values(), point.seed) for point in points)
        stop.set()

    class Interruptible:
        def __enter__(self):
            stop.clear()
            return stop

        def __exit__(self, *exception):
            pass

    monkeypatch.setattr(exploration.Pair, "add", add_and_stop)
    monkeypatch.setattr(exploration.runs, "interruptible", Interruptible)
    calls = [run(tmp_path / "pieces", methods=["counts"])]
    while stop.is_set() and len(calls) < 50:
        calls.append(run(tmp_path / "pieces", methods=["counts"]))
    assert len(calls) == 3
    assert len(added) == len(set(added)) == 9
    pd.testing.assert_frame_equal(calls[-1][0].drop(columns="seconds"), whole.drop(columns="seconds"), rtol=1e-5)
    assert set(calls[0][0]["phase"]) == {"tuning"}  # and its tables could be written


def test_more_seeds_later_and_another_configuration_never(tiny, tmp_path, monkeypatch):
    first, _ = run(tmp_path / "x", methods=["entropy"], num_seeds=2)
    more, _ = run(tmp_path / "x", methods=["entropy"], num_seeds=3)
    pd.testing.assert_frame_equal(more[: len(first)], first)
    assert len(more) == len(first) + 1
    monkeypatch.setattr(exploration, "SUITES", {"small": (dataclasses.replace(TINY, total_steps=360),)})
    with pytest.raises(SettingError, match=r"tiny--entropy.parquet has another configuration \(task\): give another"):
        run(tmp_path / "x", methods=["entropy"])


@pytest.mark.parametrize("name", ["tiny--entropy.parquet", "tiny--entropy.json"])
def test_a_damaged_part_is_named(tiny, tmp_path, name):
    run(tmp_path, methods=["entropy"], num_seeds=1)
    (tmp_path / "parts" / name).write_bytes(b"PAR1")
    with pytest.raises(SettingError, match=r"tiny--entropy.parquet or its .json is damaged"):
        run(tmp_path, methods=["entropy"], num_seeds=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ["count"]}, r"methods.*count.*counts"),
        ({"tasks": ["deepse"]}, r"tasks.*deepse.*deepsea"),
        ({"suite": "smal"}, r"suite.*small"),
        ({"num_seeds": 0}, r"seeds must be >= 1"),
        ({"num_seeds": 1001}, r"seeds must be <= 1000"),
    ],
)
def test_bad_input_is_refused_and_nothing_written(tmp_path, arguments, message):
    with pytest.raises(SettingError, match=message):
        run(tmp_path / "x", **arguments)
    assert not (tmp_path / "x").exists()


def test_a_folder_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit) as error:
        cli.main(["bench", "exploration", "--out", str(tmp_path)])
    assert error.value.code == 2
    assert "exists and is no benchmark's folder" in capsys.readouterr().err


def test_folders_with_parts_of_something_else_are_refused(tmp_path):
    """A sweep's, and another benchmark's: neither's tables are written over."""
    sweep, other = tmp_path / "sweep", tmp_path / "other"
    for folder in (sweep, other):
        (folder / "parts").mkdir(parents=True)
        parts.write(folder / "parts" / "x.parquet", {"budget": 3}, pd.DataFrame({"seed": [0]}))
    (sweep / "sweep.json").write_text("{}")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for folder, message in ((sweep, "is no benchmark's folder"), (other, "another benchmark's folder, with x.parquet")):
        with pytest.raises(SettingError, match=message):
            exploration.run(folder, Progress(quiet=True), suite="small", num_seeds=1)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("suite", suites.SUITES)
def test_every_pair_of_the_suites_can_be_made(suite, tmp_path):
    """Every setting fits the last task, all PPOs of a task are equal, all bonuses are scaled alike."""
    tasks = suites.SUITES[suite]
    assert len({task.name for task in tasks}) == len(tasks)
    for task in tasks:
        env, _ = task.make()
        cells = exploration.envs.cells(env)
        assert (cells is not None) == (task.env != "CartPole-v1")
        learners = [suites.make_learner(task, method) for method in suites.METHODS if method.learner == "PPO"]
        assert all(learner == learners[0] for learner in learners)
        for method in suites.METHODS:
            bonus = suites.make_bonus(task, method)
            assert (bonus is None) == (not method.bonus)
            assert bonus is None or bonus.normalise == "return_std"
            if task is tasks[-1]:
                setup = exploration.Pair(task, method, 1, tmp_path).program().setup
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    setup.bind(setup.components, {})


def frame(returns, counts=None, **columns):
    updates = np.arange(1, len(returns) + 1)
    counts = np.ones(len(returns), int) if counts is None else counts
    return pd.DataFrame(
        {"update": updates, "env_steps": 10 * updates, "episode_return": returns, "num_episodes": counts, **columns}
    )


def test_final_return_is_that_of_the_last_tenths_episodes():
    returns = np.arange(20.0)
    assert final_return(frame(returns)) == 18.5
    assert final_return(frame(returns, counts=[1] * 18 + [1, 3])) == (18 + 3 * 19) / 4
    assert final_return(frame([*returns[:19], np.nan], counts=[1] * 19 + [0])) == 18
    assert np.isnan(final_return(frame([1.0, np.nan], counts=[1, 0])))


def test_time_to_solve_by_hand():
    """Of 40 updates, two are the window: their mean over episodes has to be above, not one of them."""
    returns = np.zeros(40)
    returns[[10, 20, 21, 22]] = 1.0
    assert time_to_solve(frame(returns), 0.5) == 220
    assert time_to_solve(frame(returns), 0.4) == 110
    assert np.isnan(time_to_solve(frame(returns), 1.0))
    counts = np.ones(40, int)
    counts[10] = 9  # ten episodes, nine of them good
    assert time_to_solve(frame(returns, counts), 0.5) == 110
    empty = np.where(np.arange(40) == 10, 1.0, np.nan)
    assert time_to_solve(frame(empty, (np.arange(40) == 10) * 1), 0.5) == 110
    assert time_to_solve(frame(np.ones(40)), 0.5) == 20  # never before a whole window


def tuning(**finals):
    """Runs of two tuning seeds with these returns in the last tenth; 0.1 before it at every value but "x3"."""
    runs = []
    for name, pair in finals.items():
        for seed, final in enumerate(pair):
            returns = np.r_[np.full(18, 0.1), final, final]
            runs.append(frame(returns, phase="tuning", value=float(name[1:]), seed=seed))
    return pd.concat(runs, ignore_index=True)


def test_choose_takes_the_best_then_the_fastest_then_the_middle():
    assert choose(tuning(x1=(0.2, 0.4), x2=(0.0, 0.5), x3=(0.1, 0.1))) == 1
    assert choose(tuning(x1=(0.0, 0.0), x2=(0.0, 0.0), x3=(0.0, 0.0))) == 2
    found = tuning(x1=(0.3, 0.3), x2=(0.3, 0.3), x3=(0.3, 0.3))
    found.loc[found["value"] == 3.0, "episode_return"] = 0.3
    assert choose(found) == 3
    reported = tuning(x1=(0.0, 0.0), x2=(0.5, 0.5), x3=(0.0, 0.0)).assign(phase="reporting")
    assert choose(pd.concat([tuning(x1=(0.9, 0.9), x2=(0.5, 0.5), x3=(0.0, 0.0)), reported])) == 1


def results():
    """Method a solves three of four runs on each of two tasks, method b none; c was run on one task only."""
    rows = []
    for method, task, solved in [("a", "s", 3), ("a", "t", 3), ("b", "s", 0), ("b", "t", 0), ("c", "s", 4)]:
        for seed in range(4):
            done = seed < solved
            row = {
                "method": method,
                "task": task,
                "phase": "reporting",
                "seed": seed,
                "field": "bonus.coef",
                "value": 1.0,
            }
            row |= {
                "final_return": 2.0 * done,
                "score": 1.0 * done,
                "solved": done,
                "coverage": 0.5,
                "seconds": 1.0,
                "rank_correlation": 0.25,
            }
            row |= {"steps_to_solve": 100.0 * (seed + 1) if done else np.nan, "first_reward": np.nan}
            rows.append(row)
    ignored = {**rows[0], "phase": "tuning", "final_return": -50.0, "seed": 1000}
    return pd.DataFrame([*rows, ignored])


def test_a_run_without_a_final_return_counts_as_0():
    """For each task as for all of them."""
    found = results()
    found.loc[found["final_return"] == 0, ["final_return", "score"]] = np.nan
    pd.testing.assert_frame_equal(tables.summarise(found), tables.summarise(results()))
    pd.testing.assert_frame_equal(tables.overall(found), tables.overall(results()))


def test_the_best_are_by_the_share_of_their_runs():
    """Method b has solved 8 of 24, more than 6 of 8."""
    found = results()[lambda one: one["phase"] == "reporting"]
    more = [found[found["method"] == "b"].assign(solved=number == 0) for number in range(3)]
    more = [rows.assign(seed=rows["seed"] + 4 * number) for number, rows in enumerate(more)]
    found = pd.concat([found[found["method"] != "b"], *more], ignore_index=True)
    assert tables.overall(found)[["method", "solved"]].to_numpy().tolist() == [["a", 6], ["b", 8]]
    of_t = tables.markdown(found).partition("**t**")[2]
    assert 0 < of_t.index("| a |") < of_t.index("| b |")


def test_the_tables_of_known_runs():
    summary = tables.summarise(results()).set_index(["task", "method"])
    row = summary.loc[("s", "a")]
    assert (row["seeds"], row["solved"], row["iqm"]) == (4, 3, 2.0)  # without the lowest and the highest
    assert row["median_steps_to_solve"] == 250  # of 100, 200, 300 and one that took longer
    np.testing.assert_allclose([row["solve_rate_low"], row["solve_rate_high"]], [0.3006, 0.9544], atol=1e-4)
    assert np.isinf(summary.loc[("t", "b"), "median_steps_to_solve"])
    order = tables.overall(results())
    assert list(order["method"]) == ["a", "b"]  # c has not run on every task
    assert list(order["solved"]) == [6, 0]
    assert list(order["iqm"]) == [1.0, 0.0]
    text = tables.markdown(results())
    assert "| a | 6 of 8 | 1.00 [" in text
    assert "| c | coef 1 | 4 of 4 [51 %, 100 %] | 250 | 2.00 [2.00, 2.00] | 50 % | 0.25 |" in text
    tuned = results().assign(phase="tuning")  # stopped before anything was reported
    assert tables.markdown(tuned).startswith("| method |")
