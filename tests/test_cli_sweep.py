"""The sweep's command line: flags and TOML file mean the same."""

import json

from commands import main

import purejaxrl

SIZES = ["--env.size", "4", "--num-envs", "2", "--algo.num-steps", "8", "--algo.hidden", "8", "--total-steps", "160"]
FLAGS = ["--env", "DeepSea-bsuite", *SIZES, "--bonus", "counts", "--algo.no-anneal-lr", "--seeds", "2"]
SEARCH = ["--search", "bonus.coef=0,1", "algo.num_epochs=1", "--rungs", "0.5", "--keep", "0.9"]
FILE = """
env = "DeepSea-bsuite"
bonus = "counts"
"env.size" = 4
num_envs = 2
seeds = 2
total_steps = 160
rungs = [0.5]
keep = 0.9
"algo.num_steps" = 8
"algo.hidden" = 8
"algo.anneal_lr" = false

[search]
"bonus.coef" = [0, 1]
"algo.num_epochs" = [1]
"""


def test_flags_and_file_are_the_same_sweep(tmp_path, capsys):
    out = tmp_path / "x"
    assert main("sweep", *FLAGS, *SEARCH, "--out", out) == 0
    shown = capsys.readouterr().out
    assert "the best 2 configurations" in shown
    assert "bonus.coef" in shown
    assert "rung" in shown
    assert "variance explained by each field alone" in shown
    frame = purejaxrl.load(out)
    assert frame.groupby(["config_id", "bonus.coef", "algo.num_epochs", "seed"]).ngroups == 4
    assert (frame.loc[frame["bonus.coef"] == 0, "bonus_mean"] == 0).all()
    tables = FILE.replace('"bonus.coef"', "bonus.coef")  # TOML's own dotted names
    tables = tables.replace('"algo.num_steps" = 8\n"algo.hidden" = 8\n"algo.anneal_lr" = false\n', "")
    tables += "[algo]\nnum_steps = 8\nhidden = 8\nanneal_lr = false\n"
    for text in (tables, FILE):
        (tmp_path / "sweep.toml").write_text(text)
        assert main("sweep", tmp_path / "sweep.toml", "--out", out) == 0  # the same: nothing is left to do
    assert main("sweep", tmp_path / "sweep.toml", "--seeds", 3, "--out", out) == 2
    assert "of another sweep, which differs in seeds" in capsys.readouterr().err
    assert json.loads((out / "sweep.json").read_text())["env_settings"] == {"size": 4}


def test_the_pareto_set_of_several_objectives(tmp_path, capsys):
    out, tuned = tmp_path / "x", ["--search", "bonus.coef=uniform(0,1)", "--samples", 3, "--sampler", "nsga2"]
    tuned += ["--visits", "--objectives", "coverage", "min:visit_entropy", "--out", out]
    assert main("sweep", *FLAGS, *tuned) == 0
    shown = capsys.readouterr().out
    assert "that no other beats: means over seeds" in shown
    assert "visit_entropy" in shown
    table = 'search = {"bonus.coef" = "uniform(0, 1)"}\nvisits = true\nobjectives = ["coverage", "min:visit_entropy"]\n'
    own = FILE.partition("[search]")[0].replace("rungs = [0.5]\nkeep = 0.9\n", 'samples = 3\nsampler = "nsga2"\n')
    (tmp_path / "sweep.toml").write_text(own + table)
    assert main("sweep", tmp_path / "sweep.toml", "--out", out) == 0  # the same: nothing is left to do
    assert capsys.readouterr().out == shown
    assert main("sweep", tmp_path / "sweep.toml", "--json", "--out", out) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert {"coverage", "visit_entropy"} <= best[0].keys()
    assert len(best) == int(shown.split(" configuration")[0].split()[-1])
    assert main("sweep", tmp_path / "sweep.toml", "--objectives", "first_rewar", "--out", out) == 2
    assert "objectives: unknown value 'first_rewar'; did you mean first_reward" in capsys.readouterr().err


def test_where_all_runs_diverge_the_sweep_says_so(tmp_path, capsys):
    wild = ["--search", "algo.learning_rate=1e30,1e31", "--algo.max-grad-norm", "1e30", "--out", tmp_path / "x"]
    assert main("sweep", *FLAGS, *wild) == 3
    said = capsys.readouterr().err
    assert "no run has a final return: all diverged" in said
    assert f"{tmp_path / 'x'}: 4 runs" in said.replace("\n", "")
    assert "all of them diverged" in said


def test_a_searched_constructor_argument_brings_its_defaults(tmp_path):
    """DeepSea's step limit follows its size, so the default size's must not be pinned."""
    flags = [*FLAGS[:2], *SIZES[2:], "--search", "env.size=3,5", "--out", tmp_path / "x"]
    assert main("sweep", *flags) == 0
    assert purejaxrl.load(tmp_path / "x").groupby("env.size")["episode_length"].max().to_dict() == {3: 3.0, 5: 5.0}
