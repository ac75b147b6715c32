"""Trackers: what they write is what the frame has, read back by their own packages."""

import json
import math
import sys

import numpy as np
import pandas as pd
import probes
import pytest
from commands import main
from rich.console import Console

import purejaxrl
from purejaxrl import runs, trackers, training
from purejaxrl.algos import PPO
from purejaxrl.progress import Progress
from purejaxrl.types import SettingError

LEARNER = PPO(num_steps=6, num_minibatches=2, num_epochs=1, hidden=(8,))
ROWS = pd.DataFrame(
    {
        "config_id": [0, 0, 1, 1],
        "algo.gamma": [0.9, 0.9, 0.99, 0.99],
        "seed": [3, 3, 3, 3],
        "update": [2, 1, 1, 2],
        "env_steps": [20, 10, 10, 20],
        "value_loss": [0.2, 0.1, 0.3, 0.4],
        "episode_return": [np.nan, 1.0, 2.0, np.inf],
    }
)


def expected(metric):
    """By run, the steps and values that are numbers."""
    found = {}
    for row in ROWS.sort_values("update").to_dict("records"):
        if math.isfinite(row[metric]):
            found.setdefault(f"config-{row['config_id']}-seed-3", []).append((row["env_steps"], row[metric]))
    return found


class Mine:
    """A tracker of one's own."""

    def __init__(self):
        self.rows, self.closed = [], 0

    def log(self, rows, fields):
        self.rows.append((rows, list(fields)))

    def close(self):
        self.closed += 1


def test_a_sweep_tells_what_its_frame_has():
    """And the progress line ends with the best configuration."""
    mine, search, progress = Mine(), {"algo.learning_rate": [1e-3, 3e-3]}, Progress(Console(quiet=True))
    settings = {"num_envs": 2, "total_steps": 72, "seeds": 2, "progress": progress}
    found = purejaxrl.sweep("CartPole-v1", LEARNER, search=search, trackers=[mine], **settings)
    best = found.best(1).iloc[0]
    shown = f"best so far {best['final_return']:.4g}, configuration {best['config_id']:.0f}, peak memory "
    assert progress.note.startswith(shown)
    assert 0.1 < float(progress.note.removeprefix(shown).removesuffix(" GB")) < 20
    told = pd.concat([rows for rows, _ in mine.rows]).sort_values(["config_id", "seed", "update"], ignore_index=True)
    pd.testing.assert_frame_equal(told, found.frame)
    assert mine.rows[0][1] == ["algo.learning_rate"]
    assert mine.closed == 1


class Fails(Mine):
    """Like a full disk, or a service without a login."""

    def log(self, rows, fields):
        super().log(rows, fields)
        raise RuntimeError("no login")

    def close(self):
        super().close()
        raise RuntimeError("no login")


def test_a_tracker_that_fails_is_left_out_and_nothing_is_lost(tmp_path):
    """By a run, a sweep and a population; also one that fails as it closes."""
    lines, progress = [], Progress(Console(quiet=True))
    progress.say = lines.append
    bad, good = Fails(), Mine()
    sizes = {"num_envs": 2, "total_steps": 72}
    config = runs.Config("CartPole-v1", "ppo", algo_settings={"num_steps": 4, "hidden": [4]}, **sizes)
    summary = training.run(config, tmp_path / "x", progress, [bad, good])
    assert summary["updates"] == 9
    assert len(bad.rows) == 1 < len(good.rows)
    search = {"algo.learning_rate": [1e-3, 3e-3]}
    found = purejaxrl.sweep("CartPole-v1", LEARNER, search=search, trackers=[bad, good], progress=progress, **sizes)
    assert found.complete
    settings = {"interval": 24, "members": 2, "progress": progress}
    found = purejaxrl.pbt(probes.Clock(), LEARNER, search=search, trackers=[bad, good], **sizes, **settings)
    assert found.complete
    assert (bad.closed, good.closed) == (3, 3)
    assert sum("log: Fails failed (no login): going on without it" in line for line in lines) == 3


def test_all_are_closed_where_one_cannot_be():
    bad, good, lines = Fails(), Mine(), []
    with trackers.closing([bad, good], lines.append):
        pass
    assert (bad.closed, good.closed) == (1, 1)
    assert lines == ["log: Fails could not be closed (no login)"]


def test_a_population_tells_what_its_frame_has():
    mine, search = Mine(), {"algo.learning_rate": [1e-3, 3e-3]}
    settings = {"num_envs": 2, "total_steps": 72, "interval": 24, "members": 2}
    progress = Progress(Console(quiet=True))
    found = purejaxrl.pbt(probes.Clock(), LEARNER, search=search, trackers=[mine], progress=progress, **settings)
    told = pd.concat([rows for rows, _ in mine.rows]).sort_values(["seed", "config_id", "update"], ignore_index=True)
    pd.testing.assert_frame_equal(told, found.frame)
    assert mine.closed == 1


def test_json_lines(tmp_path):
    tracker = trackers.JsonLines(tmp_path / "new" / "metrics.jsonl")
    tracker.log(ROWS[:2], ["algo.gamma"])
    tracker.log(ROWS[2:], ["algo.gamma"])
    lines = [json.loads(line) for line in tracker.path.read_text().splitlines()]
    assert pd.DataFrame(lines)["value_loss"].tolist() == ROWS["value_loss"].tolist()
    assert [line["episode_return"] for line in lines] == [None, 1.0, 2.0, None]
    assert list(lines[0]) == list(ROWS.columns)


@pytest.mark.parametrize("left", ["", '{"config_id": 0, "see', '{"config_id": 0}\n{"config_id": 1, "se'])
def test_json_lines_after_a_kill(left, tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(left)
    tracker = trackers.JsonLines(path)
    tracker.log(ROWS[:1], [])
    tracker.log(ROWS[1:2], [])
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 2 + left.count("\n")


def test_tensorboard(tmp_path, monkeypatch):
    """Read back record by record; more runs than open writers."""
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    monkeypatch.setattr(trackers.TensorBoard, "OPEN", 1)
    tracker = trackers.TensorBoard(tmp_path)
    tracker.log(ROWS, ["algo.gamma"])
    tracker.log(ROWS.assign(update=ROWS["update"] + 2, env_steps=ROWS["env_steps"] + 20), ["algo.gamma"])
    tracker.close()
    for metric in ("value_loss", "episode_return"):
        for name, points in expected(metric).items():
            found = []
            for path in sorted((tmp_path / name).iterdir()):
                content = path.read_bytes()
                while content:  # a record: its length in 8 bytes, 4 of a checksum, the event, 4 of its checksum
                    size = int.from_bytes(content[:8], "little")
                    event, content = Event.FromString(content[12 : 12 + size]), content[16 + size :]
                    found += [(event.step, value.simple_value) for value in event.summary.value if value.tag == metric]
            again = [(steps + 20, value) for steps, value in points]
            np.testing.assert_allclose(sorted(found), sorted(points + again), rtol=1e-6)


def test_wandb_offline(tmp_path, monkeypatch):
    """Without a network: an offline run for each, in the folder, with its settings and its numbers."""
    wandb = pytest.importorskip("wandb")
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_SILENT", "true"), ("WANDB_DIR", str(tmp_path))):
        monkeypatch.setenv(name, value)
    logged = []
    monkeypatch.setattr(wandb.Run, "log", lambda self, values, step: logged.append((self.name, step, values)))
    tracker = trackers.WandB(tmp_path / "x")
    tracker.log(ROWS, ["algo.gamma"])
    assert {name: run.config["algo.gamma"] for name, run in tracker.runs.items()} == {
        "config-0-seed-3": 0.9,
        "config-1-seed-3": 0.99,
    }
    assert tracker.runs["config-0-seed-3"].group == "x"
    tracker.close()
    assert len(list((tmp_path / "x" / "wandb").glob("offline-run-*"))) == 2
    for metric in ("value_loss", "episode_return"):
        for name, points in expected(metric).items():
            assert [
                (step, values[metric]) for run, step, values in logged if run == name and metric in values
            ] == points


def test_commands_take_trackers_by_name(tmp_path, monkeypatch, capsys):
    flags = [
        "--env",
        "CartPole-v1",
        "--num-envs",
        "2",
        "--algo.num-steps",
        "8",
        "--total-steps",
        "64",
        "--algo.hidden",
        "8",
    ]
    assert main("train", *flags, "--log", "jsonl", "--out", tmp_path / "x") == 0
    lines = (tmp_path / "x" / "metrics.jsonl").read_text().splitlines()
    frame = purejaxrl.load(tmp_path / "x")
    assert [json.loads(line)["env_steps"] for line in lines] == frame["env_steps"].tolist()
    monkeypatch.setitem(sys.modules, "trackio", None)
    capsys.readouterr()
    assert main("train", *flags, "--log", "trackio", "--out", tmp_path / "y") == 2
    assert "pip install 'purejaxrl[trackio]'" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "y").exists()
    with pytest.raises(SettingError, match="did you mean wandb"):
        trackers.make(["wandbb"], tmp_path)
