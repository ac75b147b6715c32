"""Populations: who goes on from whom, with what, and that nothing else changes."""

import contextlib
import subprocess
import sys
import threading
import warnings

import jax
import numpy as np
import pandas as pd
import pytest
from commands import with_devices
from rich.console import Console

import purejaxrl
from purejaxrl import checkpoint, population_based, populations
from purejaxrl.algos import PPO
from purejaxrl.progress import Progress
from purejaxrl.search import LogUniform
from purejaxrl.types import SettingError

LEARNER = PPO(num_steps=16, num_minibatches=2, num_epochs=1, hidden=(8,))
SEARCH = {"algo.learning_rate": LogUniform(1e-4, 1e-1), "algo.gamma": [0.9, 0.95, 0.99]}
SETTINGS = {"num_envs": 2, "total_steps": 8 * 32, "interval": 64, "members": 4, "seeds": 2, "quantile": 0.25}


def train(**kwargs):
    kwargs = {"search": SEARCH, **SETTINGS, "progress": Progress(Console(quiet=True)), **kwargs}
    return purejaxrl.pbt(kwargs.pop("env", "CartPole-v1"), LEARNER, **kwargs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("pbt") / "whole"
    return train(out=out), out


def test_members_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr(populations, "free_memory", lambda: 1.0)
    with pytest.raises(SettingError, match=r"members: .*lower members|memory"):
        train()


def spans(frame):
    """The rows of each interval, in order."""
    return [frame[(frame["update"] - 1) // 2 == number] for number in range(4)]


def scores(rows):
    """Per seed and member the mean return of the interval's episodes."""
    total = (rows["episode_return"].fillna(0) * rows["num_episodes"]).groupby([rows["seed"], rows["config_id"]]).sum()
    return total / rows["num_episodes"].groupby([rows["seed"], rows["config_id"]]).sum()


def test_a_folder_is_read_as_what_the_call_gave(whole):
    found, out = whole
    read = population_based.read(out)
    pd.testing.assert_frame_equal(read.frame, found.frame)
    assert (read.fields, read.interval, read.complete) == (found.fields, found.interval, found.complete)
    pd.testing.assert_frame_equal(read.best(), found.best())


def test_the_scores_are_the_means_of_all_episodes_of_an_interval(whole):
    found = whole[0].scores()
    for number, rows in enumerate(spans(whole[0].frame)):
        of_interval = found[found["interval"] == number].set_index(["seed", "config_id"])
        np.testing.assert_allclose(of_interval["score"], scores(rows).fillna(-np.inf))
        assert (of_interval["env_steps"] == rows["env_steps"].max()).all()


def test_the_worst_goes_on_from_the_best_with_its_settings_changed(whole):
    frame = whole[0].frame
    assert frame.groupby(["seed", "config_id"])["update"].count().tolist() == [8] * 8
    assert (spans(frame)[0]["parent"] == spans(frame)[0]["config_id"]).all()
    moved = 0
    for before, after in zip(spans(frame)[:-1], spans(frame)[1:], strict=True):
        score = scores(before)
        now = after.groupby(["seed", "config_id"]).first()
        then = before.groupby(["seed", "config_id"]).first()
        for (seed, member), row in now.iterrows():
            if member != score[seed].idxmin():
                assert row["parent"] == member
                assert row[list(SEARCH)].tolist() == then.loc[(seed, member), list(SEARCH)].tolist()
                continue
            moved += 1
            assert row["parent"] == score[seed].idxmax()
            rate, taken = row["algo.learning_rate"], then.loc[(seed, row["parent"]), "algo.learning_rate"]
            assert 1e-4 <= rate <= 1e-1
            assert rate != taken
            assert row["algo.gamma"] in SEARCH["algo.gamma"]
    assert moved == 6


def test_every_member_is_what_its_ancestors_make_it(whole):
    """Against make_train, interval by interval: the parent's state, a key of its own, the settings of then."""
    env, env_params = purejaxrl.make("CartPole-v1")

    def made(rate, gamma):
        learner = LEARNER.replace(learning_rate=rate, gamma=gamma)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return purejaxrl.make_train(env, learner, env_params=env_params, num_envs=2, total_steps=8 * 32)

    begin = jax.jit(lambda rate, gamma, key: made(rate, gamma).init(key))
    advance = jax.jit(lambda rate, gamma, state: made(rate, gamma).advance(state, 2))
    frame = whole[0].frame[whole[0].frame["seed"] == 1]
    states = {}
    for rows in spans(frame):
        new = {}
        for member, of in rows.groupby("config_id"):
            numbers, parent = of[list(SEARCH)].iloc[0].tolist(), of["parent"].iloc[0]
            lane = 4 + member
            if not states:
                state = begin(*numbers, jax.random.key(lane))
            elif parent == member:
                state = states[member]
            else:
                state = states[parent].replace(key=jax.random.fold_in(states[parent].key, lane))
            new[member], found = advance(*numbers, state)
            for name in ("value_loss", "env_steps", "entropy"):
                np.testing.assert_allclose(of[name], found[name], rtol=2e-4, atol=1e-6)
        states = new


def test_the_schedule_follows_the_ancestors(whole):
    found = whole[0]
    best = found.best()
    assert best["score"].is_monotonic_decreasing
    for seed in (0, 1):
        way = found.schedule(seed)
        assert way["update"].tolist() == list(range(1, 9))
        assert way["config_id"].iloc[-1] == best[best["seed"] == seed]["config_id"].iloc[0]
        for before, after in zip(spans(way)[:-1], spans(way)[1:], strict=True):
            assert (after["parent"].iloc[0] == before["config_id"]).all()
    with pytest.raises(SettingError, match="seed must be one of"):
        found.schedule(2)


def test_it_goes_on_where_it_was_stopped(whole, tmp_path, monkeypatch):
    """Stopped after each of five updates, and then from the state before, since the newest is damaged."""
    event, advance = threading.Event(), population_based.Lanes.advance
    monkeypatch.setattr(population_based.runs, "interruptible", lambda: contextlib.nullcontext(event))
    monkeypatch.setattr(population_based.Lanes, "advance", lambda self, *args: (event.set(), advance(self, *args))[1])
    out = tmp_path / "x"
    for _ in range(5):
        event.clear()
        assert not train(out=out).complete
    monkeypatch.undo()
    (max(out.glob("state-*")) / "manifest.json").write_text("{")
    found = train(out=out)
    assert found.complete
    assert {path.name for path in out.glob("damaged-*")} == {"damaged-state-0000005"}
    pd.testing.assert_frame_equal(found.frame, whole[0].frame, check_exact=True)
    ordered = found.frame.sort_values(["config_id", "seed", "update"], ignore_index=True)
    pd.testing.assert_frame_equal(purejaxrl.load(out), ordered, check_exact=True)
    with pytest.raises(SettingError, match="of another sweep, which differs in interval"):
        train(out=out, interval=96)
    before = {path.name for path in out.iterdir()}
    for state in out.glob("state-*"):
        (state / "manifest.json").write_text("{")
    for _ in range(2):
        with pytest.raises(checkpoint.CheckpointError, match="nothing saved there can be used"):
            train(out=out)
    assert {path.name for path in out.iterdir()} == before


def test_a_short_last_interval_is_scored_with_what_came_before_it():
    """Of five updates three make an interval: member 0 goes on from member 1 after the third."""
    rows = pd.DataFrame(
        [
            {"seed": 0, "config_id": member, "update": update, "env_steps": update, "a": 1.0, "num_episodes": 1}
            | {"parent": 1 if update > 3 else member, "episode_return": value}
            for member, values in enumerate([(0, 1, 2, 3, 4), (5, 6, 8, 13, np.nan)])
            for update, value in enumerate(values, start=1)
        ]
    )
    rows["num_episodes"] = rows["num_episodes"].where(rows["episode_return"].notna(), 0)
    found = population_based.Population(rows, ["a"], 3).scores()
    assert found["interval"].tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(found["score"], [1, (8 + 3 + 4) / 3, 19 / 3, (8 + 13) / 2])
    whole = population_based.Population(rows[rows["update"] <= 3], ["a"], 3).scores()
    np.testing.assert_allclose(whole["score"], [1, 19 / 3])


def test_it_says_where_nobody_can_be_ranked():
    said, progress = [], Progress(Console(quiet=True))
    progress.warn = said.append
    found = train(total_steps=5 * 32, env="Pendulum-v1", progress=progress)
    assert np.isneginf(found.best()["score"]).all()
    assert sum("in population 0, 1: no episode ended" in line for line in said) == 2


def test_a_member_that_has_diverged_is_the_worst():
    """Whatever its episodes return: a policy of NaN plays on."""
    rows = pd.DataFrame({"num_episodes": [1, 1], "episode_return": [9.0, 9.0], "value_loss": [0.1, np.nan]})
    assert population_based._score(rows[:1]) == 9
    assert population_based._score(rows) == -np.inf


def test_an_interrupt_before_the_first_update(tmp_path, monkeypatch):
    event = threading.Event()
    event.set()
    monkeypatch.setattr(population_based.runs, "interruptible", lambda: contextlib.nullcontext(event))
    found = train(out=tmp_path / "x")
    assert not found.complete
    assert found.frame.empty


def test_two_devices(tmp_path):
    """Odd numbers of lanes over two devices: states are gathered, parked and restored where they belong."""
    code = """
import shutil, sys, jax, purejaxrl
from purejaxrl import population_based
from purejaxrl.algos import PPO
assert jax.device_count() == 2
learner, out = PPO(num_steps=16, num_minibatches=2, num_epochs=1, hidden=(8,)), sys.argv[1]
search, settings = {"algo.learning_rate": [1e-4, 1e-3, 1e-2]}, {"num_envs": 2, "total_steps": 256}
found = purejaxrl.sweep("CartPole-v1", learner, search=search, rungs=(0.5,), keep=0.5, out=out + "/s", **settings)
assert found.best(None)["rung"].tolist() == [2, 2, 1]
kwargs = settings | {"search": search, "interval": 64, "members": 3, "out": out + "/p"}
population_based.SAVE_SECONDS = -1  # save whenever it can
whole = purejaxrl.pbt("CartPole-v1", learner, **kwargs)
shutil.rmtree(out + "/p/state-0000008")  # as if it had been stopped before
again = purejaxrl.pbt("CartPole-v1", learner, **kwargs)
assert again.complete and again.frame.equals(whole.frame)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=200, env=with_devices(2))
