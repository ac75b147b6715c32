"""What `purejaxrl train --env X` alone chooses."""

import json

import pytest
from commands import main

from purejaxrl import envs, presets, runs, training
from purejaxrl.cli import actions


@pytest.mark.parametrize("pattern", presets.PRESETS)
def test_presets_are_commands_that_can_be_run(pattern, monkeypatch, tmp_path, capsys):
    """Each is parsed and built as typed; what it chooses is said, and its source is a page that is there."""
    source = pattern.partition(":")[0] if ":" in pattern else None
    if source:
        pytest.importorskip(source)
    env = next(name for name in envs.ids(source) if presets.fnmatch.fnmatchcase(name, pattern))
    seen = []
    monkeypatch.setattr(training, "run", lambda config, *args: seen.append(config) or {})
    monkeypatch.setattr(actions, "_end", lambda *args: None)
    assert main("train", "--env", env, "--out", tmp_path / "x") == 0
    (config,) = seen
    runs.build(config)
    said = capsys.readouterr().err
    preset = presets.PRESETS[pattern]
    assert f"no algorithm was chosen: {preset.flags} (measured: {preset.source})" in said
    chosen = " ".join(preset.flags.split()[::1])
    assert (config.algo == "sac") == ("--algo sac" in chosen)
    assert (config.bonus != "none") == ("--bonus" in chosen)


def test_what_a_person_chooses_stays():
    for flag in ("--algo=ppo", "--bonus", "--num-envs", "--num_envs=2", "--algo.num-steps", "--bonus.coef=1"):
        assert presets.flags(["train", "--env", "DeepSea-bsuite", flag], "DeepSea-bsuite") == ([], "")
    for argv in (["--total-steps", "100"], ["--total-steps=100"], ["--total_steps", "100"]):
        added, _ = presets.flags(argv, "Pendulum-v1")
        assert "sac" in added
        assert "--total-steps" not in added
        assert "40000" not in added
    assert presets.flags(["--seeds", "2"], "CartPole-v1") == ([], "")


def test_quiet_and_json(tmp_path, capsys):
    tiny = ["--env", "DeepSea-bsuite", "--env.size", 4, "--num-envs", 2, "--algo.num-steps", 8, "--algo.hidden", 8]
    assert main("train", *tiny, "--total-steps", 64, "--quiet", "--json", "--out", tmp_path / "x") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    summary = json.loads(printed.out)
    assert summary["out"] == str(tmp_path / "x")
    assert summary["env_steps"] == 64
    assert main("eval", tmp_path / "x", "--episodes", 3, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["seed"] == 0
    assert main("resume", tmp_path / "x", "--quiet") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path / 'x'}: ")  # and the result
    search = ["--search", "algo.gamma=0.9,0.99", "--total-steps", 64, "--quiet", "--json"]
    assert main("sweep", *tiny, *search, "--out", tmp_path / "y") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    found = json.loads(printed.out)
    assert found["complete"]
    assert {row["algo.gamma"] for row in found["best"]} == {0.9, 0.99}
