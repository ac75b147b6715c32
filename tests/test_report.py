"""The page of `purejaxrl report`: what it says, and what a browser makes of it."""

import dataclasses
import json
import math
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import main
from scipy.stats import ttest_ind

import purejaxrl
from purejaxrl import files, folders, metrics, population_based, report, runs, stats, sweeps
from purejaxrl.algos import PPO
from purejaxrl.report import commands, data, figures, numbers, pages, population_page, sweep_page, verdicts
from purejaxrl.search import LogUniform
from purejaxrl.types import SettingError

TINY = ["--env", "DeepSea-bsuite", "--env.size", "4", "--num-envs", "2", "--algo.num-steps", "8", "--algo.hidden", "8"]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "x"
    bonus = ["--bonus", "rnd", "--bonus.warmup-steps", 20]
    assert (
        main("train", *TINY, *bonus, "--total-steps", 200, "--seeds", 2, "--seed", 3, "--visits", "--out", folder) == 0
    )
    return folder


@pytest.fixture(scope="module")
def sweep_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps") / "x"
    search = {"algo.learning_rate": [1e-4, 1e-2], "algo.activation": ["tanh", "relu"]}
    learner = PPO(num_steps=8, hidden=(8,))
    purejaxrl.sweep("CartPole-v1", learner, search=search, seeds=2, num_envs=2, total_steps=1024, out=folder)
    return folder


@pytest.fixture(scope="module")
def population_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("populations") / "x"
    search = {"algo.learning_rate": LogUniform(1e-4, 1e-1), "algo.gamma": [0.9, 0.95, 0.99]}
    learner, settings = PPO(num_steps=16, num_minibatches=2, num_epochs=1, hidden=(8,)), {"num_envs": 2, "seeds": 2}
    settings |= {"total_steps": 8 * 32, "interval": 64, "members": 4}
    purejaxrl.pbt("CartPole-v1", learner, search=search, out=folder, **settings)
    return folder


def text_of(page):
    """The page without its scripts."""
    return re.sub(r"\s+", " ", re.sub(r"(?s)<script>.*?</script>", "", page.read_text(encoding="utf-8")))


def test_a_run(run_folder, capsys):
    assert main("report", run_folder) == 0
    assert capsys.readouterr().out.strip() == str(run_folder / "report.html")
    page = text_of(run_folder / "report.html")
    assert "DeepSea-bsuite of size 4" in page
    assert "Did PPO + RND learn" in page
    assert re.search(r"peak memory</dt><dd>\d+\.\d\d GB", page)
    assert page.count("data:image/png;base64,") == 2 + page.count("data:image/gif;base64,")  # curves, maps, stills
    assert page.count("data:image/gif;base64,") == 2  # the best seed and the median one
    assert (
        "purejaxrl train --env DeepSea-bsuite --env.size 4 --algo ppo --algo.num-steps 8 "
        "--algo.hidden 8 --bonus rnd --bonus.warmup-steps 20 --total-steps 200 --num-envs 2 --seeds 2 --seed 3 --visits"
    ) in page
    assert page.count("<figure") == page.count("as a table") + page.count('class="film"') + 2


def test_runs_side_by_side(run_folder, tmp_path):
    two, again = tmp_path / "two.html", changed(run_folder, tmp_path / "again")
    assert main("report", run_folder, again, "--out", two, "--title", "<b>A & B</b>", "--no-films") == 0
    page = text_of(two)
    assert "&lt;b&gt;A &amp; B&lt;/b&gt;" in page
    assert "PPO + RND (x)" in page
    assert "PPO + RND (again)" in page
    assert "share of pairs of runs" in page


def test_a_run_is_not_compared_with_itself(run_folder, tmp_path):
    (tmp_path / "link").symlink_to(run_folder)
    for again in (run_folder, run_folder / ".." / run_folder.name, tmp_path / "link"):
        with pytest.raises(SettingError, match=rf"runs: {run_folder} stands there twice"):
            report.write([run_folder, again], tmp_path / "two.html")


def test_a_page_that_cannot_be_written_is_refused_at_once(run_folder, tmp_path, monkeypatch):
    """The default one, too: nothing is read or played before."""
    monkeypatch.setattr(pages, "make", None)
    folder = changed(run_folder, tmp_path / "x")
    (folder / "report.html").mkdir()
    with pytest.raises(SettingError, match=r"out: .*x/report.html is a folder; name the page"):
        report.write([folder])


def test_runs_of_one_name_are_told_apart_by_what_they_differ_in():
    def labels(*configs, folders=("a/x", "a/y", "b/x")):
        return data._labels(configs, [Path(name) for name in folders[: len(configs)]])

    def config(bonus="counts", env=(), **settings):
        bonus_settings = settings.pop("bonus_settings", {})
        run = {name: settings.pop(name) for name in ("seed", "total_steps", "num_envs") if name in settings}
        given = {"env_settings": dict(env), "algo_settings": settings, "bonus_settings": bonus_settings}
        return runs.Config("DeepSea-bsuite", "ppo", bonus, **run, **given)

    assert labels(config(learning_rate=0.01), config()) == [
        "PPO + Counts, learning_rate 0.01",
        f"PPO + Counts, learning_rate {PPO().learning_rate:.4g}",
    ]
    coef = {"product": {"rnd": {"learning_rate": 0.5}}}
    both = labels(config("sofe(counts*rnd)", learning_rate=0.01, bonus_settings=coef), config("sofe(counts*rnd)"))
    assert both[0] == "PPO + SOFE(Counts * RND), algo.learning_rate 0.01, bonus.product.rnd.learning_rate 0.5"
    assert labels(config(seed=3), config(total_steps=7), config("none")) == [
        "PPO + Counts, total_steps 500000, seed 3",
        "PPO + Counts, total_steps 7, seed 0",
        "PPO alone",
    ]
    several = config(seed=3, total_steps=7, num_envs=9, gamma=0.5)
    assert labels(config(), several) == ["PPO + Counts (x)", "PPO + Counts (y)"]
    assert labels(config(), config(), config()) == [
        "PPO + Counts (x) (a/x)",
        "PPO + Counts (y)",
        "PPO + Counts (x) (b/x)",
    ]
    assert labels(config(seed=1), config(), config(hidden=[64, 64], seed=1)) == [
        "PPO + Counts, seed 1 (x) (a/x)",
        "PPO + Counts, seed 0",
        "PPO + Counts, seed 1 (x) (b/x)",
    ]
    size = {"size": 10, "max_steps_in_episode": 10}
    assert labels(config(env=size), config(env=size, seed=1), config())[0] == "PPO + Counts on size 10, seed 0"


def test_many_runs_and_seeds_stay_small(run_folder, tmp_path):
    """64 seeds of one run, and more runs than there are colours."""
    frame, many = purejaxrl.load(run_folder), tmp_path / "many"
    shutil.copytree(run_folder, many)
    config = runs.read_config(many)
    (many / "visits.npz").unlink()
    runs.write_config(many, type(config)(**vars(config) | {"seeds": 64, "seed": 0}))
    one = frame[frame["seed"] == 3]
    noise = np.random.default_rng(0)
    grown = pd.concat([one.assign(seed=i, bonus_mean=noise.random(len(one))) for i in range(64)] * 20)
    grown["update"] = grown.groupby("seed").cumcount() + 1
    grown["env_steps"] = grown["update"] * 1000
    grown["episode_return"] = noise.random(len(grown))
    grown.to_parquet(many / "metrics.parquet")
    summary = runs.read_summary(many) | {"final_return_per_seed": [0.5] * 64}
    runs.write_json(many / "summary.json", summary)
    assert report.write([many]).stat().st_size < 5e6
    page = report.write([changed(run_folder, tmp_path / str(i)) for i in range(9)], tmp_path / "nine.html")
    assert "1 in grey" in text_of(page)


def test_a_sweep(sweep_folder, run_folder):
    page = report.write([sweep_folder])
    text = text_of(page)
    assert page == sweep_folder / "report.html"
    assert page.stat().st_size < 5e6
    for said in (
        "4 configurations were compared",
        "peak memory</dt>",
        "The best 4 of 4",
        "algo.activation",
        "of the variance",
    ):
        assert said in text
    with pytest.raises(SettingError, match="is a sweep's folder, which has a page of its own"):
        report.write([run_folder, sweep_folder])


def test_the_call_of_a_sweep_does_it_again(sweep_folder, monkeypatch):
    call = commands.sweep(folders.read(sweep_folder, "sweep.json"), sweep_folder)
    assert "PPO(num_steps=8, hidden=(8,))" in call
    calls = []
    monkeypatch.setattr(purejaxrl, "sweep", lambda *parts, **settings: calls.append((parts, settings)))
    exec(call, {})
    ((env, learner), settings), = calls  # fmt: skip
    assert (env, learner) == ("CartPole-v1", PPO(num_steps=8, hidden=(8,)))
    assert len(settings["search"]) == 4


def test_a_population(population_folder, run_folder):
    """What it says of copies and ancestors, by walking the metrics row by row."""
    text, found = text_of(report.write([population_folder])), population_based.read(population_folder)
    best = found.best().iloc[0]
    rows = found.frame[(found.frame["seed"] == best["seed"]) & (found.frame["update"] % found.interval == 0)]
    parents = {(row.config_id, row.update): row.parent for row in rows.itertuples()}
    copies, ancestors, lineage = sum(one != key[0] for key, one in parents.items()), set(), []
    for member in range(4):
        now = member
        for update in (8, 6, 4, 2):
            lineage += [now] if member == best["config_id"] else []
            now = parents[now, update]
        ancestors.add(now)
    assert copies == 3
    assert (
        f"{copies} times a member went on from another one; the 4 at the end descend from {len(ancestors)} of" in text
    )
    through = list(dict.fromkeys(lineage[::-1]))
    assert ("in one member" if len(through) == 1 else f"through members {', '.join(map(str, through))}") in text
    assert "The best members of 2 populations" in text
    assert "The best 8 of 8 members" in text
    for name in ("algo.learning_rate", "algo.gamma"):
        assert f"{name} went from" in text
    with pytest.raises(SettingError, match="is a population's folder, which has a page of its own"):
        report.write([run_folder, population_folder])


def test_a_population_says_how_far_it_came_and_not_that_it_helped():
    """Any training ends higher than it began; copies are no independent members."""
    scores = np.random.default_rng(0).normal(size=(1, 8, 2)) + np.array([0, 9])
    several = np.repeat(scores, 3, axis=0)
    for some in (scores, -scores, several, np.where([True, False], math.nan, several)):
        said = population_page._reached(some, 0)
        assert (said.word, said.kind) == ("How far it came", "open")
        assert "whether copying helped, only a population with fixed settings beside it can tell" in said.text
    assert population_page._reached(np.full((1, 8, 2), math.nan), 0).word == "No result"


def test_a_population_in_which_members_diverged_says_so(population_folder, tmp_path):
    assert "Diverged" not in text_of(report.write([population_folder]))
    shutil.copytree(population_folder, tmp_path / "x")
    frame = population_based.read(tmp_path / "x").frame
    members = frame["config_id"].isin([1, 3]) & (frame["seed"] == 0)
    frame.loc[members & (frame["update"] > frame["update"].max() // 2), "value_loss"] = math.nan
    metrics.write(tmp_path / "x", frame)
    interval = (frame["update"].max() // 2) // population_based.read(population_folder).interval + 1
    text = text_of(report.write([tmp_path / "x"]))
    assert f"2 of 8 members had a number that was not finite at some time, first in interval {interval}." in text


def test_the_call_of_a_population_trains_it_again(population_folder, monkeypatch):
    plan, calls = folders.read(population_folder, "pbt.json"), []
    code = commands.population(plan, population_folder)
    monkeypatch.setattr(purejaxrl, "pbt", lambda *parts, **settings: calls.append((parts, settings)))
    exec(code, {})
    ((env, learner), settings), = calls  # fmt: skip
    assert env == "CartPole-v1"
    assert learner == PPO(num_steps=16, num_minibatches=2, num_epochs=1, hidden=(8,))
    assert settings["search"] == {"algo.learning_rate": LogUniform(1e-4, 1e-1), "algo.gamma": [0.9, 0.95, 0.99]}
    assert {name: settings[name] for name in ("members", "interval", "total_steps")} == {
        "members": 4, "interval": 64, "total_steps": 256,
    }  # fmt: skip
    assert commands.population(plan | {"search": {"x": {"type": "Evil", "low": 1}}}, population_folder) == ""
    assert commands.population(plan | {"visits": ["a.function", 10]}, population_folder) == ""


def test_numbers_that_are_not_finite_are_left_out(run_folder, tmp_path):
    odd = tmp_path / "odd"
    shutil.copytree(run_folder, odd)
    frame = purejaxrl.load(odd)
    frame["value_loss"] = [math.nan, math.inf, -math.inf, 1e308, -1e308, 1e-300] * (len(frame) // 6) + [0.0] * (
        len(frame) % 6
    )
    frame["policy_loss"] = math.inf
    frame.to_parquet(odd / "metrics.parquet")
    assert report.write([odd]).exists()


def test_a_verdict_goes_by_threshold_or_start():
    low, high = np.array([0.0, 0.1, 0.0]), np.array([0.9, 1.0, 0.95])
    assert verdicts._word(high, low, 0.5)[0] == "Solved"
    assert verdicts._word(np.array([0.9, 0.0, 0.0]), low, 0.5)[0] == "Solved by 1 of 3 seeds"
    assert verdicts._word(high, low, 2.0)[0] == "Not solved, but better"
    assert verdicts._word(high, low, None)[0] == "Learned"
    assert verdicts._word(low, high, None)[0] == "Got worse"
    assert verdicts._word(low, low, None)[0] == "Did not learn"
    assert verdicts._word(np.array([1.0, 0.0]), np.array([0.0, 1.0]), None)[0] == "Not clear"
    missing = np.array([0.9, 1.0, 0.95, math.nan]), np.append(low, 0.0)
    assert verdicts._word(*missing, 0.5) == ("Solved by 3 of 4 seeds", "open")
    assert verdicts._word(*missing, None) == ("Learned, without 1 of 4 seeds", "open")


def test_one_seed_neither_learned_nor_got_worse():
    """What learns nothing ends higher or lower than it began, by chance."""
    for final, word in ((1.0, "Higher"), (-1.0, "Lower"), (1e-4, "Higher"), (0.0, "Did not learn")):
        assert verdicts._word(np.array([final]), np.zeros(1), None)[0] == word
        assert verdicts._word(np.array([final]), np.zeros(1), 2.0)[0] == word
        assert verdicts._word(np.array([final, math.nan]), np.zeros(2), None)[0] == word


@pytest.mark.parametrize(("scale", "offset"), [(1e-3, 0.0), (1.0, 1e5), (1.0, -1e5)])
def test_what_was_learned_may_be_small_beside_one_or_beside_the_return(scale, offset):
    low, high = np.array([0.0, 0.1, 0.0]), np.array([0.9, 1.0, 0.95])
    assert verdicts._word(scale * high + offset, scale * low + offset, None)[0] == "Learned"
    rounded = np.array([1e6, 1e6, 1e6], np.float32)
    assert verdicts._word(np.nextafter(rounded, np.float32(2e6)), rounded, None)[0] == "Did not learn"


def judged(run_folder, folder, start, final):
    """What is said of a run by the returns that its seeds began and ended with."""
    (found,) = data.read([changed(run_folder, folder, final_return_per_seed=final)])
    found.frame["num_episodes"] = 1
    found.frame["episode_return"] = np.where(found.frame["update"] == 1, start, 0.0)
    return verdicts.learned(found, data.series(["x"], [found.frame], [found.final])[0]).text


def test_a_change_and_an_interval_are_shown_with_the_digits_that_they_need(run_folder, tmp_path):
    text = judged(run_folder, tmp_path / "near", -1000.4, [-999.7, -999.6])
    assert (
        "went from −1,000.4 in the first tenth of the training to −999.7 [−1,000.3, −999.0] in the last (95 %" in text
    )
    text = judged(run_folder, tmp_path / "same", 1.0, [5.0, 5.0])
    assert "from 1 in the first tenth of the training to 5 in the last." in text
    assert "interval" not in text


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_noise_is_rarely_said_to_have_learned(num_seeds):
    """In 2.5 % of cases; by a bootstrap in 15 % of those of three seeds."""
    drawn = np.random.default_rng(0).normal(10.0, 1.0, (2, 1000, num_seeds))
    words = [verdicts._word(final, start, None)[0] for final, start in zip(*drawn, strict=True)]
    assert words.count("Learned") < 40
    assert words.count("Got worse") < 40


def lines(**finals):
    frames = [pd.DataFrame()] * len(finals)
    return data.series(list(finals), frames, [np.asarray(one, float) for one in finals.values()])


def test_seeds_without_a_result_count_as_the_worst():
    nan = math.nan
    text, rows = verdicts.comparison(lines(x=[500, nan, nan, nan], y=[490, 491, 489, 490]))
    assert "is best" not in text
    assert "3 of 4 seeds of x" in text
    text, rows = verdicts.comparison(lines(x=[9, 9.1, 9.2], y=[nan] * 3, z=[1, 1.1, 1.2]))
    assert text == (
        "x is best: the interval of its difference to every other one is above zero. No seed has a result of y."
    )
    assert rows[0][:2] == ["y", "no result"]
    assert verdicts.comparison(lines(x=[9, 9.1], y=[nan, nan]))[0] == "x is the only one with a result."
    assert verdicts.comparison(lines(x=[nan], y=[nan])) == ("", [])


def test_what_is_best_of_few_seeds_is_told_by_welch():
    """Three seeds whose bootstrap interval leaves out zero, and Welch's does not."""
    one, other = [3.0, 2.0, 4.0], [1.0, 2.0, 1.9]
    assert stats.difference_interval(np.array(one), np.array(other))[1] > 0
    low, _ = ttest_ind(one, other, equal_var=False).confidence_interval()
    assert low < 0
    assert "includes zero" in verdicts.comparison(lines(x=one, y=other))[0]


def changed(run_folder, folder, config=None, **summary):
    """A copy of a run with another config and summary."""
    shutil.copytree(run_folder, folder, ignore=shutil.ignore_patterns("*.html"))
    before = runs.read_config(folder)
    runs.write_config(folder, dataclasses.replace(before, **(config or {})))
    runs.write_json(folder / "summary.json", runs.read_summary(folder) | summary)
    return folder


def test_a_run_says_what_ended_it_or_that_it_is_still_training(run_folder, tmp_path):
    """Of one at work, and of one that was killed, the last save says the same."""
    folder = changed(run_folder, tmp_path / "x", interrupted=True, signal=None)
    assert "with 2 seeds, until it was killed:" in text_of(report.write([folder], films=False))
    with folders.locked(folder):
        text = text_of(report.write([folder], films=False))
        assert "with 2 seeds so far (it is still training):" in text
        assert "killed" not in text
        (folder / "summary.json").unlink()
        with pytest.raises(SettingError, match=r"has no summary.json yet: it is still training"):
            report.write([folder], films=False)


def test_a_run_that_diverged_says_so(run_folder, tmp_path):
    ended = {"4": "a reward at update 5, 80 steps"}
    stopped = changed(run_folder, tmp_path / "stopped", interrupted=True, signal=None, diverged=ended)
    text = text_of(report.write([stopped]))
    assert "<strong>Diverged</strong> PPO + RND: seed 4, not finite: a reward at update 5, 80 steps." in text
    assert "until it diverged" in text
    assert "before it was interrupted" not in text
    assert "The run stopped there." in text
    freeze = {"if_diverged": "freeze"}
    facts = {"interrupted": True, "signal": "SIGTERM", "diverged": ended, "final_return_per_seed": [0.9, 0.9]}
    frozen = changed(run_folder, tmp_path / "frozen", freeze, **facts)
    (found,) = data.read([frozen])
    np.testing.assert_array_equal(found.final, [0.9, math.nan])
    text = text_of(report.write([frozen]))
    assert "before it was interrupted" in text
    assert "It was frozen then, and the other 1 went on: from there on the curves are of what is left." in text
    assert "1 of 2 seeds has no result and is left out of the mean" in text
    line = data.series(["x"], [found.frame], [found.final])[0]
    before = verdicts.learned(found, line).text
    found.frame.loc[found.frame["seed"] == found.frame["seed"].max(), "episode_return"] = 700.0  # the one that diverged
    assert verdicts.learned(found, line).text == before
    assert "<dt>diverged</dt><dd>seed 4</dd>" in text
    for odd in (None, [1], {"x": 3}, "4"):
        odd = changed(run_folder, tmp_path / str(odd), diverged=odd)
        assert "Diverged" not in text_of(report.write([odd]))


def test_runs_on_other_settings_are_on_another_environment(run_folder, tmp_path):
    def config(env="DeepSea-bsuite", **settings):
        return runs.Config(env, "ppo", env_settings=settings)

    alike = [config(), config(size=8), config(size=8, max_steps_in_episode=8)]
    assert data.same_env(alike)
    paths = [Path(name) for name in "abc"]
    assert data._labels(alike, paths) == ["PPO alone (a)", "PPO alone (b)", "PPO alone (c)"]
    other = [config(), config(size=10, max_steps_in_episode=10)]
    assert not data.same_env(other)
    assert data._labels(other, paths[:2]) == ["PPO alone on size 8", "PPO alone on size 10"]
    other.append(config("CartPole-v1"))
    assert data._labels(other, paths)[1:] == ["PPO alone on DeepSea-bsuite, size 10", "PPO alone on CartPole-v1"]
    shorter = changed(run_folder, tmp_path / "x", {"env_settings": {"size": 4, "max_steps_in_episode": 3}})
    text = text_of(report.write([run_folder, shorter], tmp_path / "two.html"))
    assert "The runs are on environments that differ." in text
    assert "PPO + RND on max_steps_in_episode 3" in text
    assert "share of pairs of runs" not in text


def test_runs_of_other_lengths_are_said_to_be(run_folder, tmp_path):
    longer = changed(run_folder, tmp_path / "x", env_steps=1_000_000)
    text = text_of(report.write([run_folder, longer], tmp_path / "two.html"))
    steps = runs.read_summary(run_folder)["env_steps"]
    assert f"But they took {steps} to 1,000,000 steps per seed" in text
    assert verdicts.unequal([7, 7]) == ""
    assert verdicts.unequal([149_504, 149_760]) == ""  # a warm-up and whole updates
    assert "148,000 to 149,760 steps" in verdicts.unequal([149_760, 148_000])


def test_what_is_solved_is_known_of_a_task_s_own_settings():
    def known(env, **settings):
        config = runs.Config(env, "ppo", env_settings=settings)
        return verdicts.target(data.Run(None, "", config, {}, None, None, {}, None, runs.build(config)))

    assert known("CartPole-v1").solved == known("CartPole-v1", max_steps_in_episode=500).solved == 475
    assert known("CartPole-v1", max_steps_in_episode=200).solved is None
    assert known("DeepSea-bsuite", size=20, max_steps_in_episode=20).solved == 0.5
    assert known("DeepSea-bsuite", size=4).solved is None
    rooms = {"pos_fixed": [1, 1], "goal_fixed": [11, 11], "fail_prob": 0.0, "max_steps_in_episode": 40}
    assert known("FourRooms-misc", **rooms).solved == 0.5
    assert known("FourRooms-misc").solved is None
    # Of Chain's N + 7 steps, N - 2 lead to the end, and each other one pays 1.
    assert known("Chain-v0").best == pytest.approx(10)
    assert known("Chain-v0", max_steps_in_episode=12).best == pytest.approx(12 - 8)


def test_a_curve_that_ended_has_no_value_in_later_rows():
    def one(last):
        steps = np.linspace(last / 200, last, 200)
        return data.Curve(steps, *[np.full(200, last)] * 3, [])

    short, long = lines(short=[1.0], long=[1.0])
    table = figures._curve_table([(short, one(100_000.0)), (long, one(1_000_000.0))])
    assert [row[1] for row in table.rows] == ["–"] * 8
    table = figures._curve_table([(short, one(990_000.0)), (long, one(1_000_000.0))])
    assert [row[1] for row in table.rows] == ["990,000"] * 7 + ["–"]
    table = figures._curve_table([(short, one(999_000.0)), (long, one(1_000_000.0))])  # as of whole updates
    assert table.rows[-1] == ["1,000,000", "999,000", "1,000,000"]


def test_the_command_keeps_what_a_run_was_to_do_with_its_folder():
    config = runs.Config("CartPole-v1", "ppo", if_diverged="freeze", keep=5, save_seconds=0.5)
    assert commands.train(config).endswith("--seed 0 --save-seconds 0.5 --keep 5 --if-diverged freeze")
    assert commands.train(runs.Config("CartPole-v1", "ppo")).endswith("--seed 0")


def test_level_with_the_best_are_intervals_with_zero():
    """By the runs as they were ranked, and only those that came as far."""
    best = pd.DataFrame({"config_id": [3, 1, 2, 0]})
    scores = {3: [10.0, 11, 12], 1: [9.0, 10, 11], 2: [0.0, 0.1, 0.2], 0: [-5.0, -5.1, -5.2]}
    scores = {number: np.asarray(one) for number, one in scores.items()}
    assert "1 of the other 3 cannot be told apart" in sweep_page._how_sure(best, scores)
    rungs = best.assign(rung=[2, 2, 1, 1])
    scores[2] = np.array([9.0, 10, 11])
    text = sweep_page._how_sure(rungs, scores)
    assert "The other one cannot be told apart" in text
    assert "The 2 that were stopped early are not among these." in text
    assert "No other configuration came as far" in sweep_page._how_sure(best.assign(rung=[2, 1, 1, 1]), scores)
    assert "to the other one leaves out zero" in sweep_page._how_sure(best.iloc[[0, 3]], scores)
    assert "to each of the other 2 leaves out zero" in sweep_page._how_sure(best.iloc[[0, 3, 3]], scores)


@pytest.mark.filterwarnings("ignore:Precision loss")
def test_a_sweep_that_diverged_is_compared_as_it_is_ranked(sweep_folder, tmp_path):
    """The runs of three of four configurations diverged: they are the worst, and level with nobody by a high return."""
    folder = tmp_path / "x"
    shutil.copytree(sweep_folder, folder, ignore=shutil.ignore_patterns("*.html"))
    for path in metrics.parts(folder):
        part = pd.read_parquet(path)
        own = part["config_id"] == 0
        part["episode_return"] = np.where(own, 50.0 + part["seed"] / 10, 49.0 + part["seed"])
        part["num_episodes"] = 1.0
        part.loc[~own & (part["seed"] == 1), "value_loss"] = math.nan
        files.write_table(path, part)
    text = text_of(report.write([folder]))
    found = sweeps.read(folder).scored().groupby("config_id")["final_return"].apply(list)
    own, *others = (found[number] for number in (0, 1, 2, 3))
    level = sum(ttest_ind(own, one, equal_var=False).confidence_interval()[0] <= 0 for one in others)
    said = f"{level} of the other 3 cannot" if level else "each of the other 3 leaves out zero"
    assert said in text
    assert "3 runs, which count as the worst of all" in text


def test_a_sweep_is_ranked_by_its_objectives(sweep_folder, tmp_path):
    """No episode ends in it, and the least entropy is best."""
    folder = tmp_path / "x"
    shutil.copytree(sweep_folder, folder, ignore=shutil.ignore_patterns("*.html"))
    plan = folders.read(folder, "sweep.json")
    runs.write_json(folder / "sweep.json", plan | {"objectives": ["min:entropy", "value_loss"]})
    for path in metrics.parts(folder):
        part = pd.read_parquet(path)
        part[["episode_return", "num_episodes"]] = math.nan, 0.0
        part["entropy"] = 10.0 - part["config_id"] + 0.1 * part["seed"]
        part["value_loss"] = np.where(part["config_id"] == 2, 1.0, 5.0)
        files.write_table(path, part)
    text = text_of(report.write([folder]))
    labels = "learning_rate {}, activation {}"
    last = sweeps.read(folder).runs().set_index("config_id").loc[3].iloc[0]
    rate, activation = f"{last['algo.learning_rate']:.4g}", last["algo.activation"]
    assert f"<strong>Best</strong> {labels.format(rate, activation)}: mean entropy 7.05" in text
    assert "1 configuration that no other beats: means over seeds" in text
    assert "by entropy, the lower the better and value loss" in text
    assert "The share of the variance of the entropy" in text
    for path in metrics.parts(folder):
        part = pd.read_parquet(path)
        part["value_loss"] = part["config_id"].map(float)
        part["entropy"] = part["config_id"].map(float)
        files.write_table(path, part)
    assert "4 configurations that no other beats: means over seeds" in text_of(report.write([folder]))
    for odd in (3, ["min:x"], [1], "entropy"):
        runs.write_json(folder / "sweep.json", plan | {"objectives": odd})
        with pytest.raises(SettingError):
            report.write([folder])


def test_the_first_tenth_is_each_seed_s_own_start():
    frame = pd.DataFrame({"seed": [0] * 20 + [1] * 20, "update": [*range(1, 21)] * 2, "num_episodes": 1.0})
    frame["episode_return"] = np.arange(40.0)
    np.testing.assert_allclose(data.early(frame), [0.5, 20.5])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (12345.6, "12,346"),
        (-0.5, "−0.5"),
        (math.nan, "–"),
        (1e20, "1e+20"),
        (999.6, "1,000"),
        (999.4, "999"),
        (2.5e-4, "0.00025"),
    ],
)
def test_numbers(value, shown):
    assert numbers.number(value) == shown
    assert numbers.interval(1.0, -1e-6, 2.0) == "1 [0, 2]"
    assert numbers.interval(1.0, -math.inf, math.inf) == "1"
    assert numbers.interval(100.0, 99.98, 100.02) == "100.00 [99.98, 100.02]"
    assert numbers.interval(-1000.0, -1000.2, -999.8) == "−1,000.0 [−1,000.2, −999.8]"
    assert numbers.interval(2.0, 2.0, 2.0 + 1e-9) == "2"


def pointed_at(item):
    """What the figure's tools show beside the pointer."""
    return re.findall(r'"tooltips": "(.*?)</div>"', json.dumps(item, default=str))


def test_one_seed_has_no_interval_where_it_is_pointed_at():
    steps = np.arange(1.0, 4.0)
    one, several = lines(one=[0.0], several=[0.0, 1.0])
    curves = [(series, data.Curve(steps, *[steps] * 3, [(steps, steps)])) for series in (one, several)]
    (alone,) = pointed_at(figures.curve("x", "x", "", curves[:1]).item)
    assert "@mean{%0.4g}<br>after" in alone
    assert len(pointed_at(figures.curve("x", "x", "", curves).item)) == 2
    best = pd.DataFrame({"config_id": [0, 1], "final_return": [2.0, 1.0], "low": [2.0, 0.5], "high": [2.0, 1.5]})
    item = json.dumps(figures.ranking("x", "final_return", best, best, ["a", "b"], ["#000", "#000"]).item, default=str)
    assert '["2", "1 [0.5, 1.5]"]' in item


def test_ranks_are_whole_and_a_factor_of_ten_is_a_logarithmic_axis():
    best = pd.DataFrame({"config_id": [0, 1], "final_return": [2.0, 1.0], "low": [2.0, 0.5], "high": [2.0, 1.5]})
    item = figures.ranking("x", "final_return", best, best, ["a", "b"], ["#000", "#000"]).item
    assert '"min_interval": 1' in json.dumps(item, default=str)
    assert figures._is_log(np.array([1e-4, 1e-3]))
    assert not figures._is_log(np.array([0.9, 0.99]))
    assert not figures._is_log(np.array([0.0, 1e-3]))


def within(item):
    """Every mapping in what JSON has."""
    if isinstance(item, dict):
        yield item
    for one in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
        yield from within(one)


def contrast(one, other):
    """Of two colours, as WCAG 2 has it."""

    def luminance(colour):
        parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_lines_stand_out_from_the_page_in_light_and_dark():
    """3 is what WCAG 1.4.11 asks of what a figure is made of."""
    backs = re.findall(r"--back: (#\w{6})", report.template("page.html").render())
    assert len(backs) == 2
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    low = {(one, back) for one in [*report.COLOURS, data.GREY] for back in backs if contrast(one, back) < 3}
    assert not low
    steps = np.arange(1.0, 4.0)
    drawn = [
        (series, data.Curve(steps, *[steps] * 3, [(steps, steps)]))
        for series in lines(**{name: [0.0] for name in "abcdefghi"})
    ]
    item = figures.curve("x", "x", "", drawn).item
    glyphs = [one["glyph"]["attributes"] for one in within(item) if "glyph" in one]
    (grey,) = (one for one in glyphs if one.get("line_color") == {"type": "value", "value": data.GREY})
    assert "line_alpha" not in grey  # which is 1


def test_memory_is_shown_where_it_is_known():
    known = {"peak_host_bytes": 1_234_000_000, "peak_device_bytes": 40_000_000_000}
    assert numbers.memory(known) == {"peak memory": "1.23 GB", "peak device memory": "40.00 GB"}
    for odd in ({}, {"peak_host_bytes": None}, {"peak_host_bytes": "x"}, {"peak_host_bytes": 10**400}):
        assert numbers.memory(odd) == {}


# --- a real browser ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser):
    """Open a page from its file, fail at what the console says, and at whatever else is loaded."""
    wrong, contexts = [], []

    def open_page(path, *, drawn=True, **settings):
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.on("console", lambda said: said.type in ("error", "warning") and wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith("data:") else None)
        page.goto(path.as_uri())
        assert wrong.pop(0) == path.as_uri()
        if not drawn:
            return page
        page.locator("details.group > summary").evaluate_all("all => all.forEach(one => one.click())")
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")  # draws what is below the screen, too
        for plot in page.locator(".plot").all():
            plot.locator("xpath=self::*[@data-drawn='done']").wait_for(state="attached", timeout=60_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def renderers(page):
    """Of the figure of the return: each renderer's tags, and whether it is shown."""
    code = """() => document.querySelector("figure.wide .plot").view.model.renderers
        .map((one) => [one.glyph.tags.join(" "), one.visible])"""
    return dict(page.evaluate(code))


def test_a_browser_draws_a_run_and_its_controls_work(opened, run_folder, tmp_path):
    page = opened(report.write([run_folder, changed(run_folder, tmp_path / "again")], tmp_path / "two.html"))
    assert page.locator(".plot canvas").count() >= page.locator(".plot").count()
    before = renderers(page)
    assert before == {
        "0 band": True, "1 band": True, "0 seeds": False, "1 seeds": False, "0 mean": True, "1 mean": True,
    }  # fmt: skip
    page.get_by_label("each seed").check()
    page.get_by_label("95 % intervals").uncheck()
    page.get_by_role("checkbox", name="PPO + RND (again)").focus()
    page.keyboard.press("Space")
    assert [name for name, shown in renderers(page).items() if shown] == ["0 seeds", "0 mean"]
    page.get_by_role("button", name="reset zoom").click()
    page.locator("[data-copy]").first.click()
    page.locator("figure details summary").first.click()
    assert page.locator("figure details table").first.is_visible()


def test_a_zoom_moves_the_curves_that_are_drawn_later(opened, run_folder):
    """Those of a group that is folded, and of what is below the screen; not once the zoom was reset."""
    page = opened(report.write([run_folder]), drawn=False)
    page.locator("figure.wide .plot[data-drawn='done']").wait_for(state="attached", timeout=60_000)
    page.evaluate(
        """() => {
        const range = document.querySelector("figure.wide .plot").view.model.x_range;
        range.have_updated_interactively = true; // as Bokeh's own tools say
        range.setv({ start: 40, end: 80 });
    }"""
    )
    last = page.locator("details.group .plot[id^='curve-']")
    assert last.first.get_attribute("data-drawn") is None
    page.locator("details.group > summary").evaluate_all("all => all.forEach(one => one.click())")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    plots = page.locator(".plot[id^='curve-']")
    for plot in plots.all():
        plot.locator("xpath=self::*[@data-drawn='done']").wait_for(state="attached", timeout=60_000)
    page.wait_for_timeout(500)  # Bokeh paints, and would fit the range to the data
    code = "all => all.map((one) => [one.view.model.x_range.start, one.view.model.x_range.end])"
    assert plots.evaluate_all(code) == [[40, 80]] * plots.count()
    page.get_by_role("button", name="reset zoom").click()
    page.wait_for_timeout(500)
    assert [40, 80] not in plots.evaluate_all(code)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("folder", ["sweep_folder", "population_folder"])
def test_a_browser_draws_it_as_wide_as_a_phone(opened, folder, scheme, request):
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "color_scheme": scheme}
    page = opened(report.write([request.getfixturevalue(folder)]), **phone)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360


def test_a_map_on_a_phone_is_as_high_as_what_it_shows(opened, run_folder):
    page = opened(report.write([run_folder], films=False), viewport={"width": 360, "height": 740})
    boxes = "one => [one, one.firstElementChild].map((box) => box.getBoundingClientRect().height)"
    place, drawn = page.locator(".plot[id^='map-']").first.evaluate(boxes)
    assert abs(place - drawn) < 5


def test_a_film_is_paused_by_a_button_that_names_it(opened, run_folder):
    page = opened(report.write([run_folder], films=True), drawn=False)
    button = page.get_by_role("button", name=re.compile("^pause PPO . RND, best seed, seed [34]$"))
    button.click()
    paused = page.get_by_role("button", name=re.compile("^play PPO . RND, best seed"))
    assert paused.get_attribute("aria-pressed") is None


def test_a_page_without_scripts_has_pictures_and_tables(browser, run_folder, tmp_path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.write([run_folder], tmp_path / "still.html").as_uri())
    assert page.locator("noscript img").first.is_visible()
    assert not page.locator(".controls").is_visible()
    tables = page.locator("figure details table")
    assert tables.count() > 10  # those of the group that is folded else, too
    assert all(table.is_visible() for table in tables.all())
    context.close()


def test_a_command_is_quoted(run_folder):
    assert shlex.split(commands.train(runs.read_config(run_folder)))[:2] == ["purejaxrl", "train"]
