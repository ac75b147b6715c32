"""Sweeps: what runs is what was asked for, once, and nothing that was computed is lost."""

import contextlib
import functools
import json
import math
import signal
import subprocess
import sys
import threading
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optuna
import pandas as pd
import probes
import pyarrow
import pytest
from pyarrow import parquet
from rich.console import Console

import purejaxrl
from purejaxrl import folders, lanes, networks, sweeps
from purejaxrl.algos import PPO, ppo
from purejaxrl.bonuses import E3B, RND, Counts
from purejaxrl.progress import Progress
from purejaxrl.search import LogUniform, Uniform
from purejaxrl.types import SettingError

LEARNER = PPO(num_steps=6, num_minibatches=2, num_epochs=1, hidden=(8,))
SEARCH = {"algo.learning_rate": [1e-3, 3e-3], "num_envs": [2, 3]}


def sweep(search=SEARCH, env=None, learner=LEARNER, **kwargs):
    kwargs = {"seeds": 2, "num_envs": 2, "total_steps": 80, "progress": Progress(Console(quiet=True))} | kwargs
    return purejaxrl.sweep(env or probes.Clock(), learner, search=search, **kwargs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The sweep of this module, uninterrupted, and its folder."""
    out = tmp_path_factory.mktemp("sweep") / "whole"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sweep(out=out), out


class Sized(probes.Clock):
    """An environment that is given as it is, with what it was made with."""

    def __init__(self, size, table=(), inner=None):
        super().__init__()
        self.size, self.table, self.inner = size, np.asarray(table), inner


def cell(state, *, size=1):
    return state.time // size


def pair(size):
    net = networks.actor_critic(probes.Clock().action_space(), 1, hidden=(size,))
    return {"learner": LEARNER.replace(hidden=(64, 64), network=(net.init, net.apply))}


def weighed(weight):
    def loss(*arguments):
        found, metrics = ppo.ppo_loss(*arguments)
        return weight * found, metrics

    return {"learner": LEARNER.replace(loss=loss)}


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (pair(8), pair(16)),
        (weighed(1.0), weighed(2.0)),
        ({"env": Sized(1)}, {"env": Sized(2)}),
        ({"env": Sized(1, np.arange(500))}, {"env": Sized(1, np.arange(500) + 1)}),
        ({"env": Sized(1, inner=Sized(1))}, {"env": Sized(1, inner=Sized(2))}),
        ({"visits": (cell, 9)}, {"visits": (functools.partial(cell, size=2), 9)}),
        ({"learner": LEARNER}, {"learner": LEARNER.replace(loss=functools.partial(ppo.ppo_loss))}),
    ],
    ids=["methods", "closure", "size", "array", "within", "cells", "loss"],
)
def test_another_sweep_in_its_folder_is_refused(first, other, tmp_path):
    """By what objects of one's own were made with, too."""
    search = {"algo.gamma": [0.9]}
    base = {"env": Sized(1), "seeds": 1}
    whole = sweep(search, out=tmp_path / "x", **base | first)
    pd.testing.assert_frame_equal(sweep(search, out=tmp_path / "x", **base | first).frame, whole.frame)
    with pytest.raises(SettingError, match="differs in"):
        sweep(search, out=tmp_path / "x", **base | other)


def test_what_holds_itself_can_be_described():
    env = Sized(1)
    env.inner = env.step_env
    assert "step_env" in json.dumps(sweeps.runs.describe(env))

    def counting(state):
        return counting, env

    assert "counting" in json.dumps(sweeps.runs.describe(counting))


def test_a_plan_with_a_number_that_is_not_finite_goes_on(tmp_path):
    told = {"env": Sized(math.inf), "seeds": 1, "out": tmp_path / "x"}
    whole = sweep({"algo.gamma": [0.9]}, **told)
    pd.testing.assert_frame_equal(sweep({"algo.gamma": [0.9]}, **told).frame, whole.frame)


def test_values_of_jax_and_lists_are_pythons_own(tmp_path):
    found = sweep(
        {"algo.gamma": list(jnp.array([0.5, 0.75])), "algo.hidden": [[8], [8, 8]]}, seeds=1, out=tmp_path / "x"
    )
    assert found.complete
    assert set(found.best(None)["algo.gamma"]) == {0.5, 0.75}
    assert set(found.best(None)["algo.hidden"]) == {"(8,)", "(8, 8)"}


def test_a_field_has_one_type_in_all_parts(tmp_path):
    """Also where a part has whole numbers alone."""
    search = {"algo.ent_coef": [0, 0.01], "algo.activation": ["tanh", "relu"]}
    found = sweep(search, seeds=1, num_lanes=1, out=tmp_path / "x")
    dataset = pd.read_parquet(tmp_path / "x" / "parts")
    assert len(dataset) == len(found.frame)
    assert sorted(dataset["algo.ent_coef"].unique()) == [0.0, 0.01]
    assert {parquet.read_schema(part).field("algo.ent_coef").type for part in (tmp_path / "x" / "parts").iterdir()} == {
        pyarrow.float64()
    }


def test_a_sampler_s_fields_have_the_types_of_its_search(tmp_path):
    search = {"algo.ent_coef": [0, 0.01], "algo.gamma": Uniform(0.9, 0.99)}
    sweep(search, sampler="qmc", samples=2, batch=1, seeds=1, out=tmp_path / "x")
    for part in (tmp_path / "x" / "parts").iterdir():
        assert parquet.read_schema(part).field("algo.ent_coef").type == pyarrow.float64()


def test_ranges_are_checked_as_what_is_drawn_from_them(tmp_path):
    with pytest.raises(SettingError, match="max_steps_in_episode must be an integer"):
        purejaxrl.sweep(
            "CartPole-v1", LEARNER, search={"env.max_steps_in_episode": Uniform(50, 200)}, samples=2,
            sampler="tpe", seeds=1, num_envs=2, total_steps=80, out=tmp_path / "x",
        )  # fmt: skip
    assert not (tmp_path / "x").exists()


def test_halving_without_some_of_its_last_rung_is_not_complete(tmp_path):
    out = tmp_path / "x"
    sweep({"algo.gamma": [0.9, 0.95, 0.97, 0.99]}, seeds=1, rungs=(0.5,), keep=0.5, num_lanes=1, out=out)
    assert sweeps.read(out).complete
    *_, last = sorted(out.glob("parts/*-2.parquet"))
    last.unlink()
    assert not sweeps.read(out).complete


def test_a_sampler_of_one_s_own_goes_on(tmp_path):
    """In another process a function has another address."""
    told = {"env": probes.Clock(), "seeds": 1, "samples": 2, "batch": 1, "out": tmp_path / "x"}
    for _ in range(2):

        def sampler(seed):
            return optuna.samplers.RandomSampler(seed=seed)

        sweep({"algo.gamma": Uniform(0.8, 0.99)}, sampler=sampler, **told)


def _alone(num_envs):
    """The metrics of one run of `make_train` with this rate and key."""

    def run(rate, key):
        learner = LEARNER.replace(learning_rate=rate)
        return purejaxrl.make_train(probes.Clock(), learner, num_envs=num_envs, total_steps=80)(key).metrics

    return jax.jit(run)


@pytest.mark.filterwarnings("ignore:total_steps")
def test_every_run_is_the_one_that_make_train_gives(whole):
    frame = whole[0].frame
    assert list(frame.columns[:6]) == ["config_id", "algo.learning_rate", "num_envs", "seed", "update", "env_steps"]
    assert frame.groupby(["config_id", "seed"]).ngroups == 8
    alone = {num_envs: _alone(num_envs) for num_envs in (2, 3)}
    for (rate, num_envs, seed), run in frame.groupby(["algo.learning_rate", "num_envs", "seed"]):
        expected = alone[num_envs](rate, jax.random.key(seed))
        for name in ("value_loss", "episode_return", "env_steps"):
            np.testing.assert_allclose(run[name], expected[name], rtol=2e-4, atol=1e-6)
    assert len(set(frame[frame["update"] == 4]["value_loss"])) == 8


def test_the_folder_is_the_frame(whole):
    found, out = whole
    pd.testing.assert_frame_equal(purejaxrl.load(out), found.frame)
    again = sweeps.read(out)
    pd.testing.assert_frame_equal(again.frame, found.frame)
    assert again.fields == ["algo.learning_rate", "num_envs"]
    assert list(again.best()["config_id"]) == list(found.best()["config_id"])


def test_a_finished_sweep_runs_nothing(whole, monkeypatch):
    found, out = whole
    monkeypatch.setattr(lanes.Lanes, "compile", lambda *args: pytest.fail("compiled"))
    pd.testing.assert_frame_equal(sweep(out=out).frame, found.frame)


def test_one_program_for_each_shape(monkeypatch):
    compiled, compile = [], lanes.Lanes.compile
    monkeypatch.setattr(lanes.Lanes, "compile", lambda *args: compiled.append(compile(*args)))
    sweep({"algo.learning_rate": [1e-3, 2e-3, 3e-3], "algo.gamma": [0.9, 0.99]}, seeds=1)
    assert len(compiled) == 1
    sweep({"algo.learning_rate": [1e-3], "algo.num_epochs": [1, 2]}, seeds=1)
    assert len(compiled) == 3


def test_the_next_program_compiles_while_one_trains(monkeypatch):
    """The second bucket's program is there, from another thread, before the first bucket's last run is."""
    events, compile, keep = [], lanes.Lanes.compile, sweeps._Run._keep

    def compiled(*args):
        compile(*args)
        events.append(threading.current_thread() is threading.main_thread())

    def kept(self, part, train):
        deadline = time.monotonic() + 60
        while len(events) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        events.append("run")
        keep(self, part, train)

    monkeypatch.setattr(lanes.Lanes, "compile", compiled)
    monkeypatch.setattr(sweeps._Run, "_keep", kept)
    sweep(seeds=1)
    assert events[:3] == [True, False, "run"]


def test_an_interrupted_sweep_goes_on(whole, tmp_path, monkeypatch):
    """Interrupted after the first part, then damaged in another way: the rest comes out the same, to the bit."""
    event = threading.Event()
    monkeypatch.setattr(sweeps.runs, "interruptible", lambda: contextlib.nullcontext(event))
    labelled = sweeps.labelled
    monkeypatch.setattr(sweeps, "labelled", lambda *args: (event.set(), labelled(*args))[1])
    out = tmp_path / "x"
    part = sweep(out=out)
    assert not part.complete
    assert 0 < part.frame.groupby(["config_id", "seed"]).ngroups < 8
    monkeypatch.undo()
    left = sorted((out / "parts").iterdir())
    left[0].write_bytes(left[0].read_bytes()[:100])
    found = sweep(out=out)
    assert found.complete
    assert left[0].with_suffix(".damaged").exists()
    pd.testing.assert_frame_equal(purejaxrl.load(out), found.frame)
    same = [name for name in found.frame.columns if name != "seconds"]
    pd.testing.assert_frame_equal(found.frame[same], whole[0].frame[same], check_exact=True)


@pytest.mark.parametrize("damaged", [False, True])
def test_lanes_under_way_go_on_in_the_middle_of_their_runs(whole, tmp_path, monkeypatch, damaged):
    """Interrupted after 3 of a bucket's 6 updates: the rest is done, to the same bits; all of it where damaged."""
    event, done = threading.Event(), []
    monkeypatch.setattr(lanes, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(sweeps.runs, "interruptible", lambda: contextlib.nullcontext(event))
    advance = lanes.Lanes.advance

    def counted(self, *args):
        done.append(self.done + 1)
        if len(done) == 3:
            event.set()
        return advance(self, *args)

    monkeypatch.setattr(lanes.Lanes, "advance", counted)
    out = tmp_path / "x"
    assert not sweep(out=out).complete
    assert done == [1, 2, 3]
    (saved,) = (out / sweeps.UNDER_WAY).glob("*/*")
    assert saved.name == "000000003"
    if damaged:
        (saved / "batch.json").write_text("{}")
    event.clear()
    found = sweep(out=out)
    assert done[3] == (1 if damaged else 4)
    assert not (out / sweeps.UNDER_WAY).exists()
    same = [name for name in found.frame.columns if name != "seconds"]
    pd.testing.assert_frame_equal(found.frame[same], whole[0].frame[same], check_exact=True)
    assert (found.frame["seconds"] > 0).all()


def test_a_last_rung_goes_on_in_the_middle_of_its_runs(tmp_path, monkeypatch):
    event, done, advance = threading.Event(), [], lanes.Lanes.advance
    halved = {"rungs": (0.5,), "keep": 0.5}
    whole = cartpole(**halved)
    monkeypatch.setattr(lanes, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(sweeps.runs, "interruptible", lambda: contextlib.nullcontext(event))

    def counted(self, *args):
        done.append(self.done + 1)
        if self.done >= 12:
            event.set()
        return advance(self, *args)

    monkeypatch.setattr(lanes.Lanes, "advance", counted)
    assert not cartpole(out=tmp_path / "x", **halved).complete
    assert not sweeps.read(tmp_path / "x").complete
    event.clear()
    monkeypatch.setattr(sweeps.runs, "interruptible", lambda: contextlib.nullcontext(threading.Event()))
    first = len(done)
    again = cartpole(out=tmp_path / "x", **halved)
    assert done[first] == 14
    same = [name for name in again.frame.columns if name != "seconds"]
    pd.testing.assert_frame_equal(again.frame[same], whole.frame[same], check_exact=True)
    assert sweeps.read(tmp_path / "x").complete


def test_what_a_sampler_has_tried_is_shown_again_whatever_programs_it_took(tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "MOST_PROGRAMS", 2)
    search = {"algo.num_epochs": [1, 2], "algo.num_minibatches": [1, 2]}
    tuned = {"sampler": "qmc", "samples": 8, "batch": 1, "seeds": 1, "env": "CartPole-v1", "out": tmp_path / "x"}
    found = sweep(search, **tuned)
    assert len(found.frame.drop_duplicates(list(search))) > 2
    pd.testing.assert_frame_equal(sweep(search, **tuned).frame, found.frame)


def test_a_killed_sweep_goes_on(tmp_path):
    """SIGKILL once the first part is there; the same call then fills the folder, and no lock is left behind."""
    code = """
import sys, purejaxrl
from purejaxrl.algos import PPO
learner = PPO(num_steps=8, num_minibatches=1, num_epochs=1, hidden=(8,))
purejaxrl.sweep("RiverSwim-v0", learner, search={"algo.learning_rate": [1e-4, 1e-3], "algo.gamma": [0.9, 0.99]},
                seeds=40, num_envs=2, total_steps=1600, out=sys.argv[1])
"""
    out = tmp_path / "x"
    process = subprocess.Popen([sys.executable, "-c", code, str(out)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(out.glob("parts/[0-9]*.parquet")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path: path.read_bytes() for path in out.glob("parts/[0-9]*.parquet")}
    assert before
    assert len(before) < 160 / len(jax.devices())
    subprocess.run([sys.executable, "-c", code, str(out)], check=True, timeout=200)
    assert all(path.read_bytes() == content for path, content in before.items())
    frame = purejaxrl.load(out)
    assert frame.groupby(["config_id", "seed"]).ngroups == 160
    assert not frame.duplicated(["config_id", "seed", "update"]).any()


def test_proposed_configurations_run_and_go_on(tmp_path, monkeypatch):
    """Two batches of two and one of one; stopped after the first run of the second, they go on as they would have."""
    import optuna

    search = {"algo.learning_rate": LogUniform(1e-4, 1e-1), "algo.num_epochs": [1, 2]}
    objectives = "final_return", "min:entropy"
    tuned = {"samples": 5, "batch": 2, "sampler": "tpe", "seeds": 2, "objectives": objectives}
    whole = sweep(search, out=tmp_path / "whole", **tuned)
    assert whole.complete
    assert whole.frame.groupby(["config_id", "seed"]).ngroups == 10
    assert whole.frame.groupby("config_id")["algo.learning_rate"].nunique().eq(1).all()
    event, kept = threading.Event(), sweeps._Run._keep
    monkeypatch.setattr(sweeps.runs, "interruptible", lambda: contextlib.nullcontext(event))

    def keep(self, part, train):
        kept(self, part, train)
        if part["config_id"].iloc[0] >= 2:
            event.set()

    monkeypatch.setattr(sweeps._Run, "_keep", keep)
    assert not sweep(search, out=tmp_path / "x", **tuned).complete
    monkeypatch.undo()
    found = sweep(search, out=tmp_path / "x", **tuned)
    same = [name for name in found.frame.columns if name != "seconds"]
    pd.testing.assert_frame_equal(found.frame[same], whole.frame[same], check_exact=True)
    journal = optuna.storages.journal.JournalFileBackend(str(tmp_path / "x" / "journal.log"))
    study = optuna.load_study(study_name="sweep", storage=optuna.storages.JournalStorage(journal))
    assert study.metric_names == ["final_return", "entropy"]
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    means = found.means(*objectives)[study.metric_names]
    np.testing.assert_array_equal([trial.values for trial in study.trials], means)
    assert {trial.number for trial in study.best_trials} == set(found.pareto(*objectives)["config_id"])
    with pytest.raises(SettingError, match="of another sweep, which differs in objectives, samples"):
        sweep(search, out=tmp_path / "x", **tuned | {"samples": 6, "objectives": ["entropy"]})
    with pytest.raises(SettingError, match=r"algo.learning_rate must be finite and > 0"):
        sweep({"algo.learning_rate": Uniform(-1.0, 1.0)}, **tuned)


TUNED = {"search": {"algo.gamma": Uniform(0.9, 0.99)}, "samples": 2, "sampler": "tpe"}
HALVED = {"algo.learning_rate": [1e-4, 1e-3, 1e-2, 0.1, 0.3], "algo.gamma": [0.9, 0.99]}


def cartpole(**kwargs):
    return sweep(HALVED, "CartPole-v1", LEARNER.replace(num_steps=16), total_steps=20 * 32, **kwargs)


def test_each_rung_leaves_the_best(tmp_path, monkeypatch):
    """Of 10 configurations 4 go on after 5 updates of 20, 2 after 10: those that the whole runs' prefixes say, and with
    the rows that they have there. Stopped within the second rung, it goes on as it would have."""
    whole = cartpole().frame
    halved = {"rungs": (0.25, 0.5), "keep": 0.4}
    found = cartpole(out=tmp_path / "halved", **halved)
    left = set(range(10))
    for updates, count in ((5, 4), (10, 2)):
        assert set(found.frame.loc[found.frame["update"] == updates, "config_id"]) == left
        runs = whole[whole["config_id"].isin(left) & (whole["update"] <= updates)].groupby(["config_id", "seed"])
        means = {pair: np.average(of["episode_return"].fillna(0), weights=of["num_episodes"]) for pair, of in runs}
        left = set(pd.Series(means).groupby(level=0).mean().nlargest(count).index)
    assert set(found.frame.loc[found.frame["update"] == 20, "config_id"]) == left
    same = [name for name in whole.columns if name != "seconds"]
    ends = found.frame.groupby(["config_id", "seed"])["update"].transform("max")
    merged = found.frame.assign(end=ends).merge(whole, on=["config_id", "seed", "update"], suffixes=("", "_whole"))
    assert len(merged) == len(found.frame)
    pd.testing.assert_frame_equal(
        found.frame[same],
        merged[[name if name in ("config_id", "seed", "update") else f"{name}_whole" for name in same]].set_axis(
            same, axis=1
        ),
        check_exact=True,
    )
    for row in found.runs().to_dict("records"):  # a run's part in each rung has seconds of its own
        run = found.frame[(found.frame["config_id"] == row["config_id"]) & (found.frame["seed"] == row["seed"])]
        assert row["seconds"] == pytest.approx(sum(part["seconds"].iloc[-1] for _, part in run.groupby("rung")))
    best = found.best(None)
    assert best["rung"].tolist() == [3] * 2 + [2] * 2 + [1] * 6
    assert set(best["config_id"][:2]) == left

    event, kept = threading.Event(), sweeps._Run._keep
    monkeypatch.setattr(sweeps.runs, "interruptible", lambda: contextlib.nullcontext(event))
    monkeypatch.setattr(
        sweeps._Run,
        "_keep",
        lambda self, part, train: (kept(self, part, train), part["rung"].max() == 2 and event.set()),
    )
    assert not cartpole(out=tmp_path / "x", **halved).complete
    monkeypatch.undo()
    first = tmp_path / "x" / "parts" / "0000000-0-1.parquet"
    first.write_bytes(first.read_bytes()[:100])  # and what went on with it is lost too
    again = cartpole(out=tmp_path / "x", **halved)
    assert again.complete
    same.append("rung")
    pd.testing.assert_frame_equal(again.frame[same], found.frame[same], check_exact=True)
    pd.testing.assert_frame_equal(purejaxrl.load(tmp_path / "x"), again.frame)
    with pytest.raises(SettingError, match="of another sweep, which differs in rungs"):
        cartpole(out=tmp_path / "x", rungs=(0.25, 0.75), keep=0.4)


def at_a_rung(returns, episodes=1, diverged=()):
    """Rows of two updates of two seeds, by configuration."""
    rows = [
        {"config_id": number, "seed": seed, "update": update, "num_episodes": episodes, "episode_return": value}
        | {"value_loss": np.nan if number in diverged else 0.0}
        for number, values in enumerate(returns)
        for seed in range(2)
        for update, value in enumerate(values, start=1)
    ]
    rows = pd.DataFrame(rows)
    return rows.assign(num_episodes=rows["num_episodes"].where(rows["episode_return"].notna(), 0))


class Endless(probes.Clock):
    def ends(self, state):
        return state.time < 0


HALF, UNKNOWN = sweeps.Halving((0.5,), 0.5), (np.nan, np.nan)


def test_a_rung_ranks_by_all_episodes_so_far():
    """Each alike: not by the last tenth, in which none may have ended."""
    frame = at_a_rung([(9, 1), (2, 9), (9, np.nan), (1, 2)])
    frame.loc[frame["config_id"] == 1, "num_episodes"] = [9, 1] * 2  # (18 + 9) / 10
    assert sweeps._going_on(frame, [], HALF) == ([2, 0], [])


def test_what_a_rung_cannot_rank_goes_on():
    assert sweeps._going_on(at_a_rung([UNKNOWN, (1, 2), (3, 4), UNKNOWN, (5, 6)]), [], HALF) == ([4, 2], [0, 3])
    assert sweeps._going_on(at_a_rung([UNKNOWN] * 3), [], HALF) == ([], [0, 1, 2])
    assert sweeps._going_on(at_a_rung([UNKNOWN] * 3, diverged=[1]), [], HALF) == ([], [0, 2])


def test_a_rung_promotes_nothing_that_diverged_before_its_equals():
    best, _ = sweeps._going_on(at_a_rung([(9, 9), (2, 2), (3, 3), (2, 2)], diverged=[0]), [], HALF)
    assert best in ([2, 1], [2, 3])
    assert sweeps._going_on(at_a_rung([(9, 9), (2, 2)], diverged=[0]), [], HALF) == ([1], [])


def test_equals_go_on_by_lot():
    best, _ = sweeps._going_on(at_a_rung([(1, 1)] * 20), [], HALF)
    assert len(best) == 10
    assert set(best) != set(range(10))
    assert sweeps._going_on(at_a_rung([(1, 1)] * 20), [], HALF)[0] == best


def test_nobody_is_stopped_before_any_episode_has_ended(tmp_path):
    """And a folder is complete when all have ended."""
    said, progress = [], Progress(Console(quiet=True))
    progress.say = said.append
    told = {"env": Endless(), "rungs": (0.5,), "keep": 0.5, "num_lanes": 1, "seeds": 1}
    found = sweep({"algo.gamma": [0.9, 0.99]}, out=tmp_path / "x", progress=progress, **told)
    assert found.runs()["rung"].tolist() == [2, 2]
    assert any("2 of 2 configurations go on, 2 of them unranked: no episode has ended" in line for line in said)
    assert sweeps.read(tmp_path / "x").complete
    max((tmp_path / "x" / "parts").iterdir()).unlink()
    assert not sweeps.read(tmp_path / "x").complete


@pytest.mark.parametrize("rungs", [(0.3, 0.35), (0.5, 0.95)])
def test_rungs_that_are_one_update_are_refused(rungs, tmp_path):
    with pytest.raises(SettingError, match=r"rungs: 0\.\S+ and \S+ of a run of 6 updates are both update"):
        sweep({"algo.gamma": [0.9, 0.99]}, rungs=rungs, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_rungs_are_for_configurations_that_are_there_at_first():
    with pytest.raises(SettingError, match="leave the sampler out"):
        sweep(rungs=(0.5,), sampler="tpe", samples=3)


def test_ids_and_constructor_arguments():
    found = sweep(
        {"env.size": [3, 4], "bonus.coef": [0.1, 1.0]}, "DeepSea-bsuite", bonus=Counts(table_size=64), seeds=1
    )
    steps = found.frame.groupby("env.size")["episode_length"].max()
    assert steps.to_dict() == {3: 3.0, 4: 4.0}
    assert found.runs()["diverged"].isna().all()


def test_parts_of_a_composed_bonus():
    bonus = E3B(hidden=(8,), embedding_size=4, warmup_steps=0) * RND(hidden=(8,), embedding_size=4, warmup_steps=0)
    found = sweep({"bonus.rnd.learning_rate": [1e-5, 1e-1], "bonus.e3b.ridge": [0.1]}, bonus=bonus, seeds=1)
    last = found.frame[found.frame["update"] == found.frame["update"].max()]
    assert last["bonus_raw_mean"].nunique() == 2


def test_a_diverged_lane_is_marked_and_the_others_go_on():
    found = sweep({"algo.learning_rate": [1e-3, 1e30]}, learner=LEARNER.replace(max_grad_norm=1e30), seeds=1)
    runs = found.runs()
    assert runs["diverged"].notna().tolist() == [False, True]
    assert found.best()["config_id"].tolist()[0] == 0


def test_memory_that_is_asked_for_limits_the_lanes(monkeypatch):
    monkeypatch.setattr(lanes, "CHUNK_ROWS", 8)  # so that metrics on the device are not most of it
    said = []
    progress = Progress(Console(quiet=True))
    progress.say = said.append
    lots = sweep({"algo.gamma": [0.9, 0.99]}, seeds=8, num_lanes=16, progress=progress)
    assert not any("lanes need" in line for line in said)
    needed = 16 * 20_000 / 1e9  # more than one lane needs, far less than sixteen
    few = sweep({"algo.gamma": [0.9, 0.99]}, seeds=8, num_lanes=16, memory_gb=needed / 8, progress=progress)
    assert any("lanes need" in line for line in said)
    np.testing.assert_allclose(few.frame["value_loss"], lots.frame["value_loss"], rtol=2e-4)
    with pytest.raises(SettingError, match=r"one lane per device needs .* GB"):
        sweep({"algo.gamma": [0.9]}, memory_gb=1e-6)


def test_other_folders_are_left_alone(whole, tmp_path):
    out = whole[1]
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(SettingError, match=r"of another sweep, which differs in seeds"):
        sweep(out=out, seeds=3)
    with pytest.raises(SettingError, match=r"differs in algo, configurations, fields"):
        sweep({"algo.gamma": [0.9]}, learner=LEARNER.replace(hidden=(9,)), out=out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all of it")
    with pytest.raises(SettingError, match=r"exists and has no sweep.json"):
        sweep(out=tmp_path / "mine")
    with pytest.raises(SettingError, match=r"is a file"):
        sweep(out=tmp_path / "mine" / "thesis.tex")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sweep.json").write_text("{")
    with pytest.raises(SettingError, match=r"damaged: not JSON"):
        sweep(out=tmp_path / "broken")
    with pytest.raises(SettingError, match=r"has no readable sweep.json"):
        sweeps.read(tmp_path)


def test_two_at_once_are_one_too_many(whole):
    with folders.locked(whole[1]), pytest.raises(SettingError, match="another process is at work"):
        sweep(out=whole[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({**TUNED, "objectives": ["max:entropy"]}, r"objectives: unknown value 'max:entropy'; did you mean entropy"),
        (
            {**TUNED, "objectives": ["final_return", "min:coverage"]},
            r"objectives: coverage is of visits, .* give visits=True",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(changes, message, tmp_path):
    with pytest.raises(SettingError, match=message):
        sweep(**{"out": tmp_path / "x"} | changes)
    assert not (tmp_path / "x").exists()


def test_what_was_swept_is_written_down(whole):
    content = json.loads((whole[1] / "sweep.json").read_text())
    assert content["fields"] == ["algo.learning_rate", "num_envs"]
    assert content["configurations"][3] == {"algo.learning_rate": 3e-3, "num_envs": 3}
    assert content["algo"]["hidden"] == [8]
    assert content["seeds"] == [0, 1]
    assert "jax" in content["versions"]
