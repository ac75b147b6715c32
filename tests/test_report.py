"""The page of `purejaxrl report`: what it says, and what a browser makes of it."""

import math
import re
import shlex
import shutil

import numpy as np
import pandas as pd
import pytest
from commands import main

import purejaxrl
from purejaxrl import folders, population_based, report, runs
from purejaxrl.algos import PPO
from purejaxrl.report import commands, data, numbers, verdicts
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
    two = tmp_path / "two.html"
    assert main("report", run_folder, run_folder, "--out", two, "--title", "<b>A & B</b>", "--no-films") == 0
    page = text_of(two)
    assert "&lt;b&gt;A &amp; B&lt;/b&gt;" in page
    assert "PPO + RND (2)" in page
    assert "share of pairs of runs" in page


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
    page = report.write([run_folder] * 9, tmp_path / "nine.html")
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


def test_the_first_tenth_is_each_seed_s_own_start():
    frame = pd.DataFrame({"seed": [0] * 20 + [1] * 20, "update": [*range(1, 21)] * 2, "num_episodes": 1.0})
    frame["episode_return"] = np.arange(40.0)
    np.testing.assert_allclose(data.early(frame), [0.5, 20.5])


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (12345.6, "12,346"), (-0.5, "−0.5"), (math.nan, "–"), (1e20, "1e+20"), (2.5e-4, "0.00025")],
)
def test_numbers(value, shown):
    assert numbers.number(value) == shown
    assert numbers.interval(1.0, -1e-6, 2.0) == "1 [0, 2]"


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

    def open_page(path, **settings):
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.on("console", lambda said: said.type in ("error", "warning") and wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith("data:") else None)
        page.goto(path.as_uri())
        assert wrong.pop(0) == path.as_uri()
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
    page = opened(report.write([run_folder, run_folder], tmp_path / "two.html"))
    assert page.locator(".plot canvas").count() >= page.locator(".plot").count()
    before = renderers(page)
    assert before == {
        "0 band": True, "1 band": True, "0 seeds": False, "1 seeds": False, "0 mean": True, "1 mean": True,
    }  # fmt: skip
    page.get_by_label("each seed").check()
    page.get_by_label("95 % intervals").uncheck()
    page.get_by_role("checkbox", name="PPO + RND (2)").focus()
    page.keyboard.press("Space")
    assert [name for name, shown in renderers(page).items() if shown] == ["0 seeds", "0 mean"]
    page.get_by_role("button", name="reset zoom").click()
    page.locator("[data-copy]").first.click()
    page.locator("figure details summary").first.click()
    assert page.locator("figure details table").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("folder", ["sweep_folder", "population_folder"])
def test_a_browser_draws_it_as_wide_as_a_phone(opened, folder, scheme, request):
    phone = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "color_scheme": scheme}
    page = opened(report.write([request.getfixturevalue(folder)]), **phone)
    assert page.evaluate("() => document.documentElement.scrollWidth") == 360


def test_a_page_without_scripts_has_pictures_and_tables(browser, run_folder, tmp_path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.write([run_folder], tmp_path / "still.html").as_uri())
    assert page.locator("noscript img").first.is_visible()
    assert not page.locator(".controls").is_visible()
    page.locator("figure details summary").first.click()
    assert page.locator("figure details table").first.is_visible()
    context.close()


def test_a_command_is_quoted(run_folder):
    assert shlex.split(commands.train(runs.read_config(run_folder)))[:2] == ["purejaxrl", "train"]
