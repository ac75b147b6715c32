"""Whatever stops a run, it goes on to the same bits, and what was saved is never lost."""

import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import learners
import numpy as np
import pandas as pd
import probes
import pytest
from bonuses.test_contract import NAMES as BONUSES
from bonuses.test_contract import make as make_bonus
from commands import main
from rich.console import Console

import purejaxrl
from purejaxrl import algos, checkpoint, discovery, lanes, metrics, replay, runs, training
from purejaxrl.algos import DQN
from purejaxrl.progress import Progress
from purejaxrl.types import SettingError

TINY = {"env": "DeepSea-bsuite", "algo": "ppo", "num_envs": 2, "seeds": 2, "total_steps": 12 * 16}
TINY |= {"env_settings": {"size": 4}, "algo_settings": {"num_steps": 8, "hidden": (8,), "anneal_lr": False}}
FLAGS = ["--env", "DeepSea-bsuite", "--env.size", 4, "--num-envs", 2, "--algo.num-steps", 8, "--algo.hidden", 8]


class Told(Progress):
    """Keeps what it is told."""

    def __init__(self):
        self.lines = []
        super().__init__(Console(file=open(os.devnull, "w")))  # noqa: SIM115

    def warn(self, line):
        self.lines.append(line)


class After:
    """A tracker that does something at the first rows from an update on."""

    def __init__(self, update, action):
        self.update, self.action = update, action

    def log(self, rows, fields):
        if self.action and rows["update"].max() >= self.update:
            action, self.action = self.action, None
            action()

    def close(self):
        pass


class Slowly:
    """A tracker that leaves time to save."""

    def log(self, rows, fields):
        time.sleep(0.5)

    def close(self):
        pass


@pytest.fixture
def slow_chunks(monkeypatch):
    """One update at a time."""
    monkeypatch.setattr(lanes, "CHUNK_SECONDS", 0.0)


def config(**changes):
    return runs.Config(**(TINY | changes))


def start(folder, *trackers, **changes):
    return training.run(config(**changes), folder, Told(), trackers)


def resume(folder, **kwargs):
    told = Told()
    return training.resume(folder, told, **kwargs), "\n".join(told.lines)


def terminate():
    signal.raise_signal(signal.SIGTERM)


def same_run(one, two):
    """Learner states, by what the summaries say of them, and metrics."""
    first, second = (json.loads((folder / "summary.json").read_text()) for folder in (one, two))
    assert first["state_sha256"] == second["state_sha256"]
    assert len(set(first["state_sha256"])) == first["seeds"]
    pd.testing.assert_frame_equal(purejaxrl.load(one), purejaxrl.load(two), check_exact=True)


# --- exactness --------------------------------------------------------------------------------------------------------


def pairs():
    """Every algorithm with every bonus; PPO with all, and all without, are not slow."""
    for algo in discovery.names(algos):
        for bonus in ("none", *BONUSES):
            marks = [] if algo == "ppo" or bonus == "none" else [pytest.mark.slow]
            yield pytest.param(algo, bonus, marks=marks, id=f"{algo}-{bonus}")


@pytest.mark.parametrize(("algo", "bonus"), list(pairs()))
def test_every_algorithm_with_every_bonus_goes_on_from_disk(algo, bonus, tmp_path):
    env = probes.ContinuousEndings() if learners.is_continuous(algo) else probes.Endings()
    bonus = None if bonus == "none" else make_bonus(bonus, warmup_steps=8)
    train = learners.bind(env, learners.make(algo, num_steps=8), bonus=bonus, total_steps=8 + 32 * 4)
    advance = jax.jit(lambda state: train.advance(state, 1)[0])
    half = advance(advance(jax.jit(train.init)(jax.random.key(0))))
    checkpoint.save(tmp_path / "half", half)
    like = jax.eval_shape(train.init, jax.random.key(0))
    again, whole = checkpoint.restore(tmp_path / "half", like), half
    for _ in range(2):
        again, whole = advance(again), advance(whole)
    assert checkpoint.digest(again) == checkpoint.digest(whole) != checkpoint.digest(half)


def test_stopped_runs_end_as_if_they_had_not_been(tmp_path, slow_chunks):
    whole = start(tmp_path / "whole")
    assert not whole["interrupted"]
    for name, save_seconds in (("at once", 60.0), ("with checkpoints", 0.0)):
        folder = tmp_path / name
        found = start(folder, After(3, terminate), save_seconds=save_seconds)
        assert (found["interrupted"], found["signal"], found["updates"]) == (True, "SIGTERM", 3)
        assert len(purejaxrl.load(folder)) == 2 * 3
        found, said = resume(folder)
        assert "going on after 3 of 12 updates" in said
        assert not found["interrupted"]
        same_run(tmp_path / "whole", folder)


@pytest.mark.parametrize("bonus", [pytest.param("none", marks=pytest.mark.slow), "rnd"])
@pytest.mark.parametrize("algo", ["ppo", pytest.param("dqn", marks=pytest.mark.slow)])
def test_the_length_of_chunks_does_not_matter(algo, bonus, tmp_path, monkeypatch):
    """One update at a time, up to 4, and up to as many as there are."""
    settings = {"num_steps": 8, "hidden": (8,)} | ({"learning_starts": 32} if algo == "dqn" else {})
    for chunk in (0.0, 1e-2, 1e9):
        monkeypatch.setattr(lanes, "CHUNK_SECONDS", chunk)
        warm_up = {"warmup_steps": 20} if bonus == "rnd" else {}
        changes = {"algo": algo, "algo_settings": settings, "bonus": bonus, "bonus_settings": warm_up}
        start(tmp_path / str(chunk), **changes, total_steps=20 + 12 * 16)
    same_run(tmp_path / "0.0", tmp_path / "0.01")
    same_run(tmp_path / "0.0", tmp_path / str(1e9))


@pytest.mark.parametrize("prioritised", [pytest.param(False, marks=pytest.mark.slow), True])
def test_more_steps_are_those_of_a_longer_run(prioritised, tmp_path):
    """Of DQN, too, whose replay holds what the whole run can fill; but not where a schedule runs over all steps."""
    settings = {"num_steps": 8, "hidden": (8,), "learning_starts": 32, "batch_size": 8, "anneal_lr": False}
    settings |= {"epsilon_start": 0.1, "epsilon_end": 0.1, "prioritised": prioritised, "beta": 1.0}
    for algo, chosen in (("ppo", TINY["algo_settings"]), ("dqn", settings)):
        start(tmp_path / f"{algo} long", algo=algo, algo_settings=chosen)
        start(tmp_path / algo, algo=algo, algo_settings=chosen, total_steps=5 * 16)
        summary, said = resume(tmp_path / algo, total_steps=12 * 16)
        assert summary["env_steps"] == 12 * 16
        names = "exploration_fraction, prioritised run" if prioritised else "exploration_fraction runs"
        assert (f"{names} over total_steps" in said) == (algo == "dqn")
        same_run(tmp_path / algo, tmp_path / f"{algo} long")


def test_a_longer_run_that_does_not_fit_leaves_the_run_as_it_was(tmp_path, monkeypatch):
    start(tmp_path / "x", total_steps=6 * 16)
    monkeypatch.setattr(lanes.Lanes, "memory", lambda self: 1e15)
    with pytest.raises(SettingError, match="more than the"):
        resume(tmp_path / "x", total_steps=12 * 16)
    assert runs.read_config(tmp_path / "x").total_steps == 6 * 16
    resume(tmp_path / "x")  # which has nothing to do, and does not need it


def test_a_config_that_was_changed_is_not_gone_on_with(tmp_path):
    start(tmp_path / "x", After(6, terminate))
    path = tmp_path / "x" / "config.json"
    path.write_text(path.read_text().replace('"anneal_lr": false', '"anneal_lr": true'))
    with pytest.raises(SettingError, match=r"config\.json is not the config of its checkpoints, by algo_settings"):
        resume(tmp_path / "x")


def test_a_folder_that_is_closed_for_a_while_costs_a_checkpoint(tmp_path, monkeypatch):
    """As a network's file system whose ticket has run out."""
    save, tries = checkpoint.save, []

    def closed(path, *args, **kwargs):
        tries.append(path)
        if len(tries) == 1:
            raise SettingError(f"path: {path} cannot be made")
        save(path, *args, **kwargs)

    monkeypatch.setattr(checkpoint, "save", closed)
    told = Told()
    training.run(config(save_seconds=0.0), tmp_path / "x", told, [Slowly()])
    assert any("could not save (path: " in line for line in told.lines)
    assert runs.checkpoints(tmp_path / "x")[-1] == 12


def test_a_schedule_that_a_longer_run_changes_is_named(tmp_path):
    settings = TINY["algo_settings"] | {"anneal_lr": True}
    start(tmp_path / "x", algo_settings=settings, total_steps=6 * 16)
    _, said = resume(tmp_path / "x", total_steps=12 * 16)
    assert "algo: anneal_lr runs over total_steps" in said
    assert runs.read_config(tmp_path / "x").total_steps == 12 * 16
    frame = purejaxrl.load(tmp_path / "x")
    assert frame["update"].max() == 12


def test_rings_grow_as_if_they_had_been_larger_from_the_start():
    found = []
    for updates in (3, 7):
        steady = {"anneal_lr": False, "epsilon_start": 0.1, "epsilon_end": 0.1, "beta": 1.0}
        learner = DQN(num_steps=4, batch_size=8, learning_starts=8, prioritised=True, hidden=(8,), **steady)
        train = learners.bind(probes.Endings(), learner, num_envs=3, total_steps=updates * 12)
        found.append(jax.jit(lambda key, train=train: train.advance(train.init(key), 3)[0])(jax.random.key(0)).learner)
    short, long = found
    assert short.replay.holds_step.shape < long.replay.holds_step.shape
    grown = replay.grown(short, jax.tree.map(jnp.zeros_like, long))
    for part in ("replay", "priorities"):
        for got, wanted in zip(
            jax.tree.leaves(getattr(grown, part)), jax.tree.leaves(getattr(long, part)), strict=True
        ):
            np.testing.assert_array_equal(got, wanted)


# --- resume's own answers ---------------------------------------------------------------------------------------------


def test_a_finished_run_stays_as_it_is(tmp_path, capsys):
    assert main("train", *FLAGS, "--total-steps", 64, "--out", tmp_path / "x") == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.name in ("0", "metrics.parquet")}
    assert main("resume", tmp_path / "x") == 0
    assert "the run is done" in capsys.readouterr().err
    assert all(path.read_bytes() == content for path, content in before.items())


def test_without_a_checkpoint_it_starts_over(tmp_path):
    start(tmp_path / "whole")
    (tmp_path / "x").mkdir()
    shutil.copy(tmp_path / "whole" / "config.json", tmp_path / "x")
    _, said = resume(tmp_path / "x")
    assert "no checkpoint yet: the run starts over" in said
    same_run(tmp_path / "whole", tmp_path / "x")


def test_what_cannot_be_resumed_is_refused(tmp_path, capsys):
    assert main("resume", tmp_path) == 2
    assert "is not a run's folder" in capsys.readouterr().err
    assert main("train", *FLAGS, "--total-steps", 64, "--out", tmp_path / "x") == 0
    assert main("resume", tmp_path / "x", "--total-steps", 32) == 2
    assert "total_steps must be at least the run's 64, got 32" in capsys.readouterr().err
    with training.folders.locked(tmp_path / "x"):
        assert main("resume", tmp_path / "x", "--total-steps", 128) == 2
    assert "another process is at work in" in capsys.readouterr().err
    assert runs.read_config(tmp_path / "x").total_steps == 64
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{}")
    assert main("resume", tmp_path / "sweep") == 2
    assert "is a sweep's folder" in capsys.readouterr().err


def test_a_run_keeps_its_folder_to_itself(tmp_path, capsys):
    """While it trains a second one of the same folder is refused, and so is resuming it."""
    refused = []

    def others():
        for command in (["train", *FLAGS, "--out"], ["resume"]):
            thread = threading.Thread(target=lambda command=command: refused.append(main(*command, tmp_path / "x")))
            thread.start()
            thread.join()

    assert start(tmp_path / "x", After(1, others))["updates"] == 12
    assert refused == [2, 2]
    shown = capsys.readouterr().err
    assert "exists and is not an empty folder" in shown
    assert "another process is at work in" in shown


# --- retention --------------------------------------------------------------------------------------------------------


def test_the_newest_and_the_best_checkpoints_are_kept(tmp_path):
    like = {"x": jnp.zeros(2)}
    for step, score in ((1, None), (2, 5.0), (3, 4.0), (4, 1.0), (5, None), (6, 2.0)):
        runs.save(tmp_path, runs.Reached(config(keep=2), None, like, metrics.empty(), step, 1.0), score)
    assert runs.checkpoints(tmp_path) == [2, 5, 6]


def test_eval_takes_the_checkpoint_that_is_asked_for(tmp_path, slow_chunks, capsys):
    folder = tmp_path / "x"
    start(folder, Slowly(), save_seconds=0.0, keep=20)
    kept = runs.checkpoints(folder)
    assert len(kept) > 2
    for which in ("newest", "best", str(kept[0])):
        assert main("eval", folder, "--episodes", 2, "--checkpoint", which) == 0
    assert runs.restore(folder, kept[0]).state.update.tolist() == [kept[0]] * 2
    assert main("eval", folder, "--checkpoint", "worst") == 2
    assert f"checkpoint: {folder} has newest, best, or those after {kept[0]}" in capsys.readouterr().err


# --- damage -----------------------------------------------------------------------------------------------------------


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def arrays(step):
    return max((path for path in (step / "arrays").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


DAMAGE = {
    "deleted": lambda step: (step / "manifest.json").unlink(),
    "emptied": lambda step: [shutil.rmtree(step), step.mkdir()],
    "truncated": lambda step: arrays(step).write_bytes(arrays(step).read_bytes()[:-7]),
    "flipped": lambda step: flip(arrays(step)),
    "metrics flipped": lambda step: flip(step / "metrics.parquet"),
    "config lost": lambda step: (step / "run.json").unlink(),
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was stopped, with several checkpoints, and the same without a stop."""
    root = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "CHUNK_SECONDS", 0.0)
        start(root / "whole")
        start(root / "part", Slowly(), After(7, terminate), save_seconds=0.0, keep=20)
    assert len(runs.checkpoints(root / "part")) > 2
    return root


@pytest.mark.parametrize("name", DAMAGE)
def test_the_newest_checkpoint_that_is_whole_is_taken(name, stopped, tmp_path, capsys):
    folder = tmp_path / "x"
    shutil.copytree(stopped / "part", folder)
    steps = runs.checkpoints(folder)
    DAMAGE[name](folder / "checkpoints" / str(steps[-1]))
    said = []
    assert runs.restore(folder, say=said.append).state.update.tolist() == [steps[-2]] * 2
    assert len(said) == 1
    named(said[0], steps[-1], steps[-2])
    _, told = resume(folder)
    assert "put aside" in told
    assert f"going on after {steps[-2]} of 12 updates" in told
    same_run(folder, stopped / "whole")


def named(line, damaged, taken):
    assert re.search(rf"checkpoints/{damaged} is .*; the one after {taken} updates is taken", line), line


@pytest.mark.parametrize("gif", [False, True], ids=["alone", "with a gif"])
def test_eval_says_that_it_plays_an_older_checkpoint(gif, stopped, tmp_path, capsys):
    folder = tmp_path / "x"
    shutil.copytree(stopped / "part", folder)
    newest, before = runs.checkpoints(folder)[:-3:-1]
    flip(arrays(folder / "checkpoints" / str(newest)))
    assert main("eval", folder, "--episodes", 2, "--json", *(["--gif", tmp_path / "x.gif"] * gif)) == 0
    shown = capsys.readouterr()
    assert [row["seed"] for row in json.loads(shown.out)] == [0, 1]
    [line] = [line for line in shown.err.splitlines() if "damaged" in line]
    named(line, newest, before)
    assert (tmp_path / "x.gif").exists() == gif


def test_from_python_an_older_checkpoint_is_a_warning_where_it_was_asked_for(stopped, tmp_path):
    folder = tmp_path / "x"
    shutil.copytree(stopped / "part", folder)
    newest, before = runs.checkpoints(folder)[:-3:-1]
    flip(arrays(folder / "checkpoints" / str(newest)))
    with pytest.warns(UserWarning, match="damaged") as warned:
        reached = runs.restore(folder)
    named(str(warned[0].message), newest, before)
    assert warned[0].filename == __file__
    assert len(runs.evaluate(reached, 2)) == 2


def test_a_run_whose_checkpoints_are_all_damaged_says_so(stopped, tmp_path, capsys):
    folder = tmp_path / "x"
    shutil.copytree(stopped / "part", folder)
    for step in runs.checkpoints(folder):
        flip(arrays(folder / "checkpoints" / str(step)))
    before = {path.name for path in (folder / "checkpoints").iterdir()}
    for verb in ("eval", "resume", "resume"):  # as a queue would, again and again: it must not start over
        assert main(verb, folder) == 2
        assert "checkpoints can be used" in capsys.readouterr().err
    assert {path.name for path in (folder / "checkpoints").iterdir()} == before


def test_metrics_that_were_cut_come_back_from_the_checkpoint(stopped, tmp_path):
    folder = tmp_path / "x"
    shutil.copytree(stopped / "part", folder)
    (folder / "metrics.parquet").write_bytes((folder / "metrics.parquet").read_bytes()[:100])
    (folder / "summary.json").write_text('{"env": ')
    resume(folder)
    same_run(folder, stopped / "whole")


# --- faults -----------------------------------------------------------------------------------------------------------


def spawn(*words, before=()):
    command = [*before, sys.executable, "-m", "purejaxrl", *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait_for(process, word):
    for line in process.stderr:
        if word in line:
            return


ENDLESS = [*FLAGS, "--algo.no-anneal-lr", "--total-steps", 10**9, "--save-seconds", 0]


def killed(folder, generator, words=ENDLESS):
    """A training process that was killed at some moment after its first checkpoint."""
    process = spawn("train", *words, "--out", folder)
    deadline = time.monotonic() + 120
    while not (runs.checkpoints(folder) or process.poll() is not None or time.monotonic() > deadline):
        time.sleep(0.01)
    time.sleep(generator.uniform(0, 0.5))
    process.kill()
    process.communicate()


def test_a_killed_run_goes_on(tmp_path):
    """Killed while it saves all the time: what comes after is, to the bit, a run that was not killed."""
    killed(tmp_path / "x", random.Random(0))
    path = tmp_path / "x" / "config.json"
    more = (runs.newest(tmp_path / "x", print).updates + 4) * 16
    path.write_text(json.dumps(json.loads(path.read_text()) | {"total_steps": more, "save_seconds": 60.0}))
    assert spawn("resume", tmp_path / "x").wait(timeout=120) == 0
    assert not list((tmp_path / "x" / "checkpoints").glob(".*"))
    whole = [*ENDLESS, "--total-steps", more, "--save-seconds", 60]
    assert spawn("train", *whole, "--out", tmp_path / "whole").wait(timeout=120) == 0
    same_run(tmp_path / "x", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_moment_of_a_save_loses_what_was_saved(tmp_path):
    """20 kills, most of the time in the middle of a save: each leaves a checkpoint that is whole."""
    generator = random.Random(1)
    for number in range(20):
        folder = tmp_path / str(number)
        killed(folder, generator)
        assert runs.newest(folder, print).updates >= 1
        shutil.rmtree(folder)


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_save_and_exit_within_seconds(stop, code, tmp_path):
    process = spawn("train", *FLAGS, "--total-steps", 10**9, "--out", tmp_path / "x")
    wait_for(process, "training:")
    process.send_signal(stop)
    before = time.monotonic()
    _, rest = process.communicate(timeout=30)
    assert time.monotonic() - before < 15
    assert process.returncode == code
    assert "purejaxrl resume" in rest
    assert (
        runs.newest(tmp_path / "x", print).updates
        == json.loads((tmp_path / "x" / "summary.json").read_text())["updates"]
    )


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    process = spawn("train", *FLAGS, "--total-steps", 10**9, "--save-seconds", 0, "--out", tmp_path / "x")
    wait_for(process, "training:")
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert runs.newest(tmp_path / "x", print).updates >= 1


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on files")
def test_a_full_disk_ends_no_run_and_leaves_no_half_checkpoint(tmp_path):
    """A checkpoint that cannot be written is said; training goes on to its end, whose save fails with exit code 1."""
    words = [*FLAGS, "--algo.hidden", 256, 256, "--total-steps", 16 * 60, "--save-seconds", 0]
    full = ["bash", "-c", 'trap "" XFSZ; ulimit -f 100; exec "$@"', "bash"]  # files of at most 100 KB
    process = spawn("train", *words, "--out", tmp_path / "x", before=full)
    _, shown = process.communicate(timeout=120)
    assert process.returncode == 1, shown
    assert "could not save (File too large)" in shown
    assert "Traceback" not in shown  # as Orbax's threads leave where they meet the limit
    assert [path.name for path in (tmp_path / "x" / "checkpoints").iterdir()] == []
    assert spawn("resume", tmp_path / "x").wait(timeout=120) == 0
    assert runs.checkpoints(tmp_path / "x")[-1] == 60


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert main("train", *FLAGS, "--total-steps", 64, "--out", tmp_path / "x") == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main("train", *FLAGS, "--total-steps", 64, "--out", tmp_path / "file" / "x") == 2
    assert "cannot be made" in capsys.readouterr().err


def test_a_full_disk_is_seen_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    with pytest.raises(OSError, match="No space left on device"):
        checkpoint.save(tmp_path / "x", {"x": jnp.zeros(100)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [100, 10])
def test_a_limit_is_met_before_orbax_meets_it(size, tmp_path):
    """Of one array, and of several that fit by themselves: Orbax writes them as one file."""
    code = """
import resource, signal, sys
import numpy as np
from purejaxrl import checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
state = {str(number): np.random.rand(int(sys.argv[1])) for number in range(80)}
for name in "ab":
    try:
        checkpoint.save(f"{sys.argv[2]}/{name}", state)
    except OSError as error:
        assert error.strerror == "File too large", error
    else:
        raise AssertionError
"""
    command = [sys.executable, "-c", code, str(size), str(tmp_path)]
    done = subprocess.run(command, check=True, timeout=100, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_nothing_stays_of_a_save_whose_threads_outlive_it(tmp_path, monkeypatch):
    """Where one of Orbax's threads fails, those beside it write on, into folders that they make again."""
    late = []

    def fails(path, arrays):
        late.append(threading.Timer(0.3, lambda: path.mkdir(parents=True)))
        late[-1].start()
        raise OSError("full")

    monkeypatch.setattr(checkpoint, "_write_arrays", fails)
    with pytest.raises(OSError, match="full"):
        checkpoint.save(tmp_path / "x", {"x": jnp.zeros(100)})
    assert not late[0].is_alive()
    assert not list(tmp_path.iterdir())


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    """By decades, forth and back: while it trains, and while it saves, where Orbax waits by the clock."""
    real, offset, calls = time.time, [0.0], [0]

    def jumping():
        calls[0] += 1
        if calls[0] in (30, 100):
            offset[0] = 1e9 - offset[0]
        return real() + offset[0]

    start(tmp_path / "whole")
    monkeypatch.setattr(time, "time", jumping)
    start(tmp_path / "x", Slowly(), save_seconds=0.0)
    same_run(tmp_path / "whole", tmp_path / "x")
    assert calls[0] > 100


def test_more_memory_than_there_is_is_refused_with_what_to_lower(tmp_path, capsys):
    words = [*FLAGS[:4], "--algo", "dqn", "--algo.buffer-size", 10**9, "--total-steps", 2 * 10**9]
    assert main("train", *words, "--out", tmp_path / "x") == 2
    shown = capsys.readouterr().err
    assert "the run needs" in shown
    assert "GB of memory, more than the" in shown
    assert "lower num_envs, seeds" in shown
    assert not (tmp_path / "x").exists()


def test_running_out_of_memory_says_what_to_lower(tmp_path, monkeypatch, capsys):
    def exhausted(*args):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes")

    monkeypatch.setattr(lanes.Lanes, "begin", exhausted)
    assert main("train", *FLAGS, "--total-steps", 64, "--out", tmp_path / "x") == 1
    assert "out of memory: lower --num-envs" in capsys.readouterr().err


# --- what is not finite -----------------------------------------------------------------------------------------------


class Breaks(probes.Probe):
    """One endless episode, in which seeds that started above 1/2 get or see this value at the 37th step."""

    def __init__(self, where, value):
        super().__init__()
        self.where, self.value = where, value

    def start(self, key):
        return jax.random.uniform(key)

    def breaks(self, state, time):
        return (state.time == time) & (state.x > 0.5)

    def reward(self, state, action):
        return jnp.where(self.breaks(state, 36) & (self.where == "reward"), self.value, 1.0)

    def obs(self, state):
        shown = jnp.where(self.breaks(state, 37) & (self.where == "obs"), self.value, 0.0)
        return jnp.reshape(shown, (1,))


BREAKS = [
    ("reward", jnp.nan, "a reward"),
    ("reward", -jnp.inf, "a reward"),
    ("obs", jnp.inf, "an observation"),
    ("obs", jnp.nan, "an observation"),
    ("reward", 1e30, "value_loss"),  # whose square is not finite
]


@pytest.fixture
def broken(request, monkeypatch, slow_chunks):
    """Runs of an environment that breaks: the config, and which seeds do."""
    where, value, _ = request.param
    env = Breaks(where, value)
    build = runs.build
    monkeypatch.setattr(
        runs, "build", lambda config: dataclasses.replace(build(config), env=env, env_params=env.default_params)
    )
    changes = {"num_envs": 1, "seeds": 4, "total_steps": 8 * 12, "save_seconds": 0.0}
    train = runs.bind(config(**changes), runs.build(config(**changes)))
    start = jax.vmap(train.init)(lanes.lane_keys(range(4))).env.x[:, 0]
    seeds = np.flatnonzero(start > 0.5).tolist()
    assert 0 < len(seeds) < 4
    return changes, seeds


@pytest.mark.parametrize(("broken", "what"), [(case, case[2]) for case in BREAKS], indirect=["broken"])
def test_what_is_not_finite_stops_the_run_and_is_named(broken, what, tmp_path):
    changes, seeds = broken
    told = Told()
    summary = training.run(config(**changes), tmp_path / "x", told)
    assert (summary["interrupted"], summary["signal"]) == (True, None)
    named = {seed: text.split(" at update")[0] for seed, text in summary["diverged"].items()}
    assert named.keys() == {str(seed) for seed in seeds}
    assert all(what in text.split(", ") for text in named.values())
    assert all(" at update 5, 40 steps" in text for text in summary["diverged"].values())
    assert f"seed {seeds[0]} has diverged" in "\n".join(told.lines)
    reached = runs.newest(tmp_path / "x", print)
    assert reached.updates <= 4
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(reached.state.learner.params))
    assert len(runs.evaluate(runs.restore(tmp_path / "x"), 1)) == 4


@pytest.mark.parametrize(("broken", "stop"), [(BREAKS[0], 8), (BREAKS[0], 5), (BREAKS[2], 8)], indirect=["broken"])
def test_a_seed_can_be_frozen_while_others_go_on(broken, stop, tmp_path):
    """It stays as it was before the update, after a resume too, also from the update that froze it."""
    changes, seeds = broken
    told = Told()
    trackers = [After(stop, terminate)]
    summary = training.run(config(**changes, if_diverged="freeze"), tmp_path / "x", told, trackers)
    assert summary["updates"] == stop
    resumed, _ = resume(tmp_path / "x")
    assert not resumed["interrupted"]
    assert resumed["diverged"] == summary["diverged"]
    assert [int(seed) for seed in resumed["diverged"]] == seeds
    last = purejaxrl.load(tmp_path / "x").groupby("seed")["update"].max()
    assert last.tolist() == [5 if seed in seeds else 12 for seed in range(4)]
    state = runs.newest(tmp_path / "x", print).state
    assert state.update.tolist() == [4 if seed in seeds else 12 for seed in range(4)]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.learner.params))


@pytest.mark.parametrize("broken", [("reward", -1e20, "")], indirect=True)
def test_a_learner_that_is_no_longer_finite_is_frozen_and_named(broken, tmp_path):
    """Here by statistics that overflow: every metric of that update is finite."""
    changes, seeds = broken
    told, settings = Told(), {"normalise_reward": True}
    summary = training.run(
        config(**changes, algo_settings=TINY["algo_settings"] | settings, if_diverged="freeze"), tmp_path / "x", told
    )
    assert summary["diverged"].keys() == {str(seed) for seed in seeds}
    assert all("what the learner holds at update 5" in text for text in summary["diverged"].values())
    last = purejaxrl.load(tmp_path / "x").groupby("seed")["update"].max()
    assert last.tolist() == [5 if seed in seeds else 12 for seed in range(4)]


def test_a_seed_that_has_diverged_has_no_final_return(tmp_path, monkeypatch):
    monkeypatch.setattr(
        metrics, "diverged", lambda rows, *fields: np.asarray((rows["seed"] == 1) & (rows["update"] > 4))
    )
    summary = training.run(config(if_diverged="freeze"), tmp_path / "x", Told())
    kept, lost = summary["final_return_per_seed"]
    assert np.isnan(lost)
    assert np.isfinite(kept)
    assert summary["final_return_mean"] == kept


def test_diverging_has_an_exit_code_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(metrics, "diverged", lambda rows, *fields: np.ones(len(rows), bool))
    assert main("train", *FLAGS, "--total-steps", 64, "--out", tmp_path / "x") == 3
    told = capsys.readouterr().err
    assert "diverged: no checkpoint had been saved yet; lower --algo.learning-rate" in told


def test_a_reader_that_has_gone_costs_no_training(tmp_path):
    """`2>&1 | head -1`: all goes on, without a word."""
    command = [sys.executable, "-m", "purejaxrl", "train", *map(str, FLAGS), "--total-steps", "640"]
    with subprocess.Popen([*command, "--out", tmp_path / "x"], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.close()
        assert process.wait(timeout=60) == 0
    assert json.loads((tmp_path / "x" / "summary.json").read_text())["updates"] == 40


# --- what hangs -------------------------------------------------------------------------------------------------------


def test_a_hanging_run_shows_its_stacks_and_ends():
    code = """
import time
from purejaxrl.progress import Progress
from purejaxrl.types import SettingError
def the_place_where_it_hangs():
    time.sleep(60)
with Progress(stall_minutes=0.01) as progress:
    for _ in range(20):
        time.sleep(0.1)
        progress.say("at work")
    the_place_where_it_hangs()
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4
    assert done.stderr.count("at work") == 20
    assert "no progress for 0.01 minutes" in done.stderr
    assert "the_place_where_it_hangs" in done.stderr


def test_a_process_that_was_stopped_for_a_while_does_not_hang():
    code = """
import time
from purejaxrl.progress import Progress
from purejaxrl.types import SettingError
with Progress(stall_minutes=0.02) as progress:
    progress.say("ready")
    for _ in range(20):
        time.sleep(0.1)
        progress.say("at work")
"""
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as process:
        wait_for(process, "ready")
        process.send_signal(signal.SIGSTOP)
        time.sleep(3)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=30)
    assert process.returncode == 0
