"""Beside other libraries: the tables from known numbers, a small work of our own, and what is refused."""

import dataclasses
import json

import pandas as pd
import pytest
from commands import main
from rich.console import Console

from purejaxrl.bench import peers_venv, speed
from purejaxrl.progress import Progress
from purejaxrl.types import SettingError

QUIET = Progress(Console(quiet=True))
TINY = speed.Work("ppo", 2, 256, speed.PPO | {"num_steps": 16, "num_epochs": 1}, peers=())


def rows(library, speeds, work="ppo-4", **more):
    start = [{"work": work, "library": library, "round": 0, "compile_seconds": 2.0 if library == "rejax" else 1.0}]
    return start + [
        {"work": work, "library": library, "round": number, "steps_per_second": found, "peak_bytes": 5e8, **more}
        for number, found in enumerate(speeds)
    ]


def test_ratios_are_of_rounds():
    """300/100, 100/100 and 400/200: the median 2, not the ratio of the medians."""
    results = rows("purejaxrl", [300, 100, 400], mean_return=400.0) + rows("rejax", [100, 100, 200], mean_return=9.25)
    table = speed.markdown(pd.DataFrame(results))
    assert "| ppo-4 | rejax | 100 | 300 | 2.00 (1.00 to 3.00) | 400, 9.25 | 1.0 / 2.0 | 500 / 500 |" in table
    assert "beside | its seconds" not in table
    assert speed.ratios(pd.DataFrame(results)) == {("ppo-4", "rejax"): 2.0}


def test_a_ratio_that_is_asked_for(tmp_path, monkeypatch, capsys):
    results = pd.DataFrame(rows("purejaxrl", [150], mean_return=1.0) + rows("rejax", [100], mean_return=1.0))
    monkeypatch.setattr(speed, "run", lambda **_: results)
    assert main("bench", "speed", "--out", tmp_path / "x", "--at-least", "1.5") == 0
    assert main("bench", "speed", "--out", tmp_path / "x", "--at-least", "1.6") == 1
    assert "ppo-4: 1.50 times as fast as rejax, at least 1.6 is asked for" in capsys.readouterr().err


def test_times_from_the_start():
    timed = [
        {"work": "first update", "library": library, "round": number, "since_start": seconds}
        for library, found in (("purejaxrl", [4, 4]), ("purejaxrl, warm cache", [2, 2]), ("rejax", [8, 6]))
        for number, seconds in enumerate(found)
    ]
    table = speed.markdown(pd.DataFrame(timed))
    assert "| first update | 4.0 | rejax | 7.0 | 1.75 (1.50 to 2.00) |" in table
    assert "| first update, warm cache | 2.0 | rejax | 7.0 | 3.50 (3.00 to 4.00) |" in table


def test_a_small_work_of_our_own(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setattr(speed, "WORKS", {"tiny": TINY, "two": dataclasses.replace(TINY, num_envs=4)})
    for name in ("tiny", "two"):
        speed.run(tmp_path / "x", QUIET, works=[name], rounds=2, start_up=())
    results = pd.read_parquet(tmp_path / "x" / "speed.parquet")
    assert list(results["work"]) == ["tiny"] * 3 + ["two"] * 3
    trained = results.dropna(subset=["seconds"])
    assert (trained["steps"] == 256).all()
    assert ((trained["mean_return"] > 5) & (trained["mean_return"] <= 500)).all()
    assert (trained["steps_per_second"] > 0).all()
    assert (trained["peak_bytes"] > 1e7).all()
    assert (trained["since_start"] > trained["seconds"]).all()
    assert results["compile_seconds"].notna().sum() == 2
    assert json.loads((tmp_path / "x" / "machine.json").read_text())["cores"] >= 1
    assert (tmp_path / "x" / "speed.md").exists()


def test_a_worker_that_stops_is_named(tmp_path, monkeypatch):
    broken = dataclasses.replace(TINY, settings=dict(TINY.settings) | {"num_steps": 0})
    monkeypatch.setattr(speed, "WORKS", {"tiny": broken})
    with pytest.raises(SettingError, match=r"worker of purejaxrl has stopped: .*num_steps must be >= 1"):
        speed.run(tmp_path / "x", QUIET, rounds=1, start_up=())


def test_packages_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setitem(peers_venv.PACKAGES, "rejax", ("no-such-package-at-all==1",))
    with pytest.raises(SettingError, match="peers: no-such-package-at-all==1 cannot be installed: ERROR"):
        peers_venv.python("rejax")
    assert not list(tmp_path.rglob("installed"))


def test_an_environment_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        peers_venv, "install", lambda interpreter, packages: interpreter.parent.mkdir(parents=True) or 1.0
    )
    assert peers_venv.python("rejax") == peers_venv.python("rejax")  # the second would fail on the folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"works": ["ppo-5"]}, "works: unknown value 'ppo-5'; did you mean ppo-"),
        ({"start_up": ["torch"]}, "start_up: unknown value 'torch'; choose from rejax"),
        ({"rounds": 0}, "rounds must be >= 1, got 0"),
        ({"devices": 0}, "devices must be >= 1, got 0"),
        ({"checkout": "nowhere"}, "has no purejaxrl/ppo.py"),
    ],
)
def test_refused_before_anything_is_installed(changes, message, tmp_path):
    changes = {name: tmp_path / value if name == "checkout" else value for name, value in changes.items()}
    with pytest.raises(SettingError, match=message):
        speed.run(tmp_path / "x", QUIET, **changes)
    assert not (tmp_path / "x").exists()


def test_the_command_line_knows_it(tmp_path, capsys):
    assert main("bench", "speed", "--out", tmp_path / "x", "--rounds", "0") == 2
    assert "rounds must be >= 1" in capsys.readouterr().err
