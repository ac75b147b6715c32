"""The command line and the run's folder, mostly in this process; a few real processes for exits and signals."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import main
from PIL import Image

import purejaxrl
from purejaxrl import algos, discovery, envs, lanes, processes, runs
from purejaxrl.cli import actions, parsing
from purejaxrl.types import SettingError

TINY = ["--env", "DeepSea-bsuite", "--env.size", "4", "--num-envs", "2", "--algo.num-steps", "8", "--algo.hidden", "8"]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "x"
    arguments = [
        "--bonus",
        "rnd",
        "--bonus.warmup-steps",
        20,
        "--total-steps",
        200,
        "--seeds",
        2,
        "--seed",
        3,
        "--visits",
    ]
    assert main("train", *TINY, *arguments, "--out", folder) == 0
    return folder


def test_the_folder_holds_what_it_should(run_folder):
    assert {path.name for path in run_folder.iterdir()} >= {
        "config.json", "metrics.parquet", "summary.json", "checkpoints", "visits.npz",
    }  # fmt: skip
    config = json.loads((run_folder / "config.json").read_text())
    assert config["env_settings"]["size"] == config["env_settings"]["max_steps_in_episode"] == 4
    assert config["algo_settings"]["hidden"] == [8]
    assert config["bonus_settings"]["warmup_steps"] == 20
    summary = json.loads((run_folder / "summary.json").read_text())
    assert summary["env_steps"] == 20 + 11 * 16  # 200 rounded down, the warm-up counted
    assert {key: summary[key] for key in ("env", "algo", "bonus", "seeds", "interrupted")} == {
        "env": "DeepSea-bsuite", "algo": "ppo", "bonus": "rnd", "seeds": 2, "interrupted": False,
    }  # fmt: skip
    assert len(summary["final_return_per_seed"]) == 2
    np.testing.assert_allclose(summary["final_return_mean"], np.mean(summary["final_return_per_seed"]))
    assert set(summary) >= {"steps_per_second", "compile_seconds", "run_seconds", "versions"}
    assert 1e8 < summary["peak_host_bytes"] < 1e12  # JAX alone takes more than the one
    assert summary["peak_device_bytes"] is None or summary["peak_device_bytes"] > 0
    with np.load(run_folder / "visits.npz") as stored:
        assert stored["visits"].sum(1).tolist() == [summary["env_steps"]] * 2


def test_a_run_s_folder_that_is_none_says_what_may_be_meant(run_folder, capsys, tmp_path):
    for word, said in (
        (run_folder.parent, f"runs in it: {run_folder}"),
        (tmp_path / "x", "there is no such folder"),
    ):
        assert main("report", word) == 2
        assert said in capsys.readouterr().err
    shutil.copytree(run_folder, tmp_path / "first")
    assert main("eval", tmp_path / "frist") == 2
    assert f"did you mean {tmp_path / 'first'}?" in capsys.readouterr().err


def test_the_end_of_a_run_says_what_comes_next(capsys, tmp_path):
    assert main("train", *TINY, "--total-steps", "1e2", "--out", tmp_path / "a b") == 0  # as many write 100 steps
    assert f"`purejaxrl report '{tmp_path / 'a b'}'` draws it" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["help"], ["--help"]])
def test_help_is_the_overview(words, capsys):
    assert main(*words) == 0
    assert "Exit codes:" in capsys.readouterr().out


@pytest.mark.parametrize("algo", [name for name in discovery.names(algos) if name != "ppo"])
def test_every_algorithm_runs_saves_and_plays(algo, tmp_path):
    """With defaults but for sizes; env_params are arguments of the program there, and give Pendulum its bounds."""
    env = "Pendulum-v1" if algo == "sac" else "CartPole-v1"
    sizes = ["--algo.learning-starts", 100] if algo in ("dqn", "sac") else ["--algo.num-steps", 8]
    arguments = ["--algo", algo, "--env", env, "--total-steps", 200, "--algo.hidden", "8", *sizes, "--seeds", 2]
    assert main("train", *arguments, "--out", tmp_path / "x") == 0
    assert main("eval", tmp_path / "x", "--episodes", 2) == 0


def test_load_gives_a_tidy_frame(run_folder):
    frame = purejaxrl.load(run_folder)
    assert frame["seed"].unique().tolist() == [3, 4]
    assert frame[frame["seed"] == 3]["update"].tolist() == list(range(1, 12))
    assert frame["env_steps"].max() == 196
    assert {"episode_return", "bonus_mean", "bonus_raw_mean", "coverage", "rnd_loss", "entropy"} <= set(frame.columns)
    assert isinstance(frame, pd.DataFrame)


def test_seeds_are_those_of_a_run_of_their_own(run_folder, tmp_path):
    arguments = [
        "--bonus",
        "rnd",
        "--bonus.warmup-steps",
        20,
        "--total-steps",
        200,
        "--seeds",
        1,
        "--seed",
        4,
        "--visits",
    ]
    assert main("train", *TINY, *arguments, "--out", tmp_path / "alone") == 0
    together, alone = purejaxrl.load(run_folder), purejaxrl.load(tmp_path / "alone")
    together = together[together["seed"] == 4].reset_index(drop=True)
    np.testing.assert_allclose(together["bonus_raw_mean"], alone["bonus_raw_mean"], rtol=1e-3)


def test_eval_in_another_process(run_folder):
    command = [sys.executable, "-m", "purejaxrl", "eval", str(run_folder), "--episodes", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "5 episodes per seed, greedy actions" in done.stdout
    assert "mean return over seeds" in done.stdout


def test_evaluate_a_folder(run_folder):
    table = runs.evaluate(runs.restore(run_folder), 6, greedy=False)
    assert table["seed"].tolist() == [3, 4]
    assert (table["mean_length"] == 4).all()
    assert (table["finished"] == 1).all()


def test_eval_writes_a_gif(run_folder, tmp_path, capsys):
    gif = tmp_path / "new" / "x.GIF"
    assert main("eval", run_folder, "--episodes", 2, "--gif", gif) == 0
    assert "return" in capsys.readouterr().err
    with Image.open(gif) as movie:
        assert movie.n_frames == 5  # the start and four steps
        pictures = []
        for index in range(movie.n_frames):
            movie.seek(index)
            pictures.append(np.asarray(movie.convert("RGB")))
            assert movie.info["duration"] == (1000 if index == 4 else 200)
        assert movie.info["loop"] == 0
    assert all((a != b).any() for a, b in itertools.pairwise(pictures))
    assert [path.name for path in gif.parent.iterdir()] == ["x.GIF"]


def test_a_gif_that_cannot_be_is_refused_before_anything_is_played(run_folder, tmp_path, capsys):
    assert main("eval", run_folder, "--gif", tmp_path / "x.mp4") == 2
    shown = capsys.readouterr()
    assert "x.mp4 must end in .gif" in shown.err
    assert not shown.out
    config = {"format": 1, "env": "MemoryChain-bsuite", "algo": "ppo"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main("eval", tmp_path, "--gif", tmp_path / "x.gif") == 2
    assert "MemoryChain has no picture" in capsys.readouterr().err


def test_bonuses_combined_by_their_expression(tmp_path, capsys):
    out = tmp_path / "both"
    bonus = ["--bonus", "sofe(counts*rnd)", "--bonus.coef", 0.5, "--bonus.product.counts.episodic"]
    bonus += ["--bonus.product.rnd.hidden", 8, "--bonus.product.rnd.warmup-steps", 20]
    assert main("train", *TINY, *bonus, "--total-steps", 200, "--out", out) == 0
    settings = json.loads((out / "config.json").read_text())["bonus_settings"]
    assert settings["product"]["counts"]["episodic"] is True
    assert "product_0/rnd_1/rnd_loss" in pd.read_parquet(out / "metrics.parquet")
    assert main("eval", out, "--episodes", 2) == 0
    assert main("report", out, "--no-films") == 0
    page = (out / "report.html").read_text()
    assert (
        "--bonus &#39;sofe(counts*rnd)&#39; --bonus.coef 0.5 --bonus.product.counts.episodic "
        "--bonus.product.rnd.warmup-steps 20 --bonus.product.rnd.hidden 8"
    ) in page
    assert "PPO + SOFE(Counts * RND)" in page
    capsys.readouterr()
    assert main("train", *TINY, "--bonus", "counts*rnd", "--help") == 0
    assert "--bonus.rnd.learning-rate" in capsys.readouterr().out
    assert main("train", *TINY, "--bonus", "counts*rnd", "--bonus.rnd.coef", -1) == 2
    assert "bonus.rnd.coef must be finite and >= 0" in capsys.readouterr().err


def test_list(capsys):
    assert main("list") == 0
    shown = capsys.readouterr().out
    for name in ("ppo", "counts", "rnd", "DeepSea-bsuite", "Breakout-MinAtar"):
        assert name in shown


@pytest.mark.parametrize(
    ("what", "shown", "hidden"),
    [("algos", "ppo", "counts"), ("bonuses", "counts", "CartPole-v1"), ("envs", "CartPole-v1", "ppo")],
)
def test_list_of_one_kind(capsys, what, shown, hidden):
    assert main("list", what) == 0
    out = capsys.readouterr().out
    assert shown in out
    assert hidden not in out


def test_list_of_something_else(capsys):
    assert main("list", "nothing") == 2


def test_list_envs_says_what_each_is(capsys):
    """One whole line for each id where it is piped; nothing is downloaded or left out."""
    assert main("list", "envs") == 0
    shown = capsys.readouterr()
    rows = {line.split()[0]: " ".join(line.split()) for line in shown.out.splitlines()[1:]}
    assert list(rows) == envs.ids()
    assert rows["CartPole-v1"] == "CartPole-v1 float32 4 2 500 gymnax, classic control"
    assert rows["Pendulum-v1"] == "Pendulum-v1 float32 3 box 1 200 gymnax, classic control"
    assert "float32 8x8 2 8 gymnax, bsuite one of 2^N ways pays" in rows["DeepSea-bsuite"]
    assert rows["SparseAcrobot-v0"].endswith("float32 6 3 500 purejaxrl only the goal pays")
    assert rows["MNISTBandit-bsuite"] == "MNISTBandit-bsuite (downloads its data) gymnax, bsuite"
    assert "--source" in shown.err


def test_list_envs_of_another_package(capsys):
    assert main("list", "envs", "--source", "gymnasium") == 0
    assert "gymnasium:CartPole-v1" in capsys.readouterr().out.splitlines()
    assert main("list", "envs", "--source", "gym") == 2
    assert "did you mean gymnasium" in capsys.readouterr().err


def test_top_level_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom purejaxrl import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'jax', 'numpy', 'pandas', 'gymnax', 'matplotlib'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout


def test_train_help_shows_the_settings_of_what_is_chosen(capsys):
    assert main("train", "--env", "DeepSea-bsuite", "--bonus", "rnd", "--help") == 0
    shown = capsys.readouterr().out
    for option in ("--env.size", "--algo.learning-rate", "--bonus.warmup-steps", "--total-steps"):
        assert option in shown
    assert "--algo.loss" not in shown
    assert main("--version") == 0
    assert capsys.readouterr().out.strip() == purejaxrl.__version__


@pytest.mark.parametrize(
    ("words", "shown", "hidden"),
    [
        ("report", "usage: purejaxrl report", "--total-steps"),
        ("list", "[{algos,bonuses,envs}]", "{None,"),
        ("bench", "exploration", "--works"),
        ("bench exploration", "usage: purejaxrl bench exploration", "--works"),
        ("bench deepsea", "--methods", "--works"),
    ],
)
def test_a_verb_s_help_is_its_own(words, shown, hidden, capsys):
    assert main(*words.split(), "--help") == 0
    out = capsys.readouterr().out
    assert shown in out
    assert "Example: purejaxrl" in out
    assert hidden not in out


def test_completion_knows_every_verb_and_option(capsys):
    assert main("--tyro-print-completion", "bash") == 0
    shown = capsys.readouterr().out
    for word in ("'report'", "'--films'", "'--total-steps'", "'bench'"):
        assert word in shown


def test_a_full_folder_is_refused_and_left_alone(tmp_path, capsys):
    (tmp_path / "results.txt").write_text("mine")
    assert main("train", *TINY, "--total-steps", 200, "--out", tmp_path) == 2
    assert "exists and is not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["results.txt"]


@pytest.mark.parametrize("verb", ["eval", "report"])
def test_folders_that_are_no_runs(verb, run_folder, tmp_path, capsys):
    assert main(verb, tmp_path) == 2
    assert "is not a run's folder: it has no readable config.json" in capsys.readouterr().err
    (tmp_path / "config.json").write_text("{")
    assert main(verb, tmp_path) == 2
    assert "is damaged: not JSON" in capsys.readouterr().err
    (tmp_path / "config.json").write_text("[]")
    assert main(verb, tmp_path) == 2
    assert "is damaged: no JSON object" in capsys.readouterr().err
    (tmp_path / "config.json").write_text('{"format": 1, "environment": "x"}')
    assert main(verb, tmp_path) == 2
    assert "is damaged" in capsys.readouterr().err
    (tmp_path / "config.json").write_bytes((run_folder / "config.json").read_bytes())
    assert main(verb, tmp_path) == 2
    assert "ended before it" in capsys.readouterr().err
    (tmp_path / "config.json").write_text(
        (run_folder / "config.json").read_text().replace('"seeds": 2', '"seeds": null')
    )
    assert main(verb, tmp_path) == 2
    assert "is damaged: seeds is no int" in capsys.readouterr().err


def test_a_damaged_run_is_named(run_folder, tmp_path, capsys):
    for name, content in (("summary.json", b"{}"), ("visits.npz", b"PK cut"), ("metrics.parquet", b"PAR1")):
        folder = tmp_path / name
        shutil.copytree(run_folder, folder)
        (folder / name).write_bytes(content)
        assert main("report", folder) == 2
        assert name in capsys.readouterr().err
    assert main("report", run_folder, "--out", tmp_path) == 2
    assert "is a folder; name the page" in capsys.readouterr().err


def test_the_last_chunk_may_be_shorter_and_saves_happen(tmp_path, monkeypatch):
    """11 updates in chunks of 4 equal those in one chunk, with a save after each; one checkpoint stays."""
    for name, seconds in (("one", 1e9), ("many", 0.0)):
        monkeypatch.setattr(lanes, "CHUNK_SECONDS", seconds)
        flags = ["--total-steps", 11 * 16, "--seeds", 2, "--save-seconds", 0, "--keep", 1]
        assert main("train", *TINY, *flags, "--out", tmp_path / name) == 0
        assert "11" in [path.name for path in (tmp_path / name / "checkpoints").iterdir()]
    same = purejaxrl.load(tmp_path / "one"), purejaxrl.load(tmp_path / "many")
    pd.testing.assert_frame_equal(*same, check_exact=True)


def test_flags_can_be_given_either_way(tmp_path):
    config = []
    for number, flag in enumerate(("--algo.anneal-lr", "--algo.no-anneal-lr")):
        assert main("train", *TINY, flag, "--total-steps", 64, "--out", tmp_path / str(number)) == 0
        config.append(runs.read_config(tmp_path / str(number)).algo_settings["anneal_lr"])
    assert config == [True, False]


def test_eval_refuses_no_episodes(run_folder, capsys):
    assert main("eval", run_folder, "--seed", 10**20) == 2
    assert "seed must be <=" in capsys.readouterr().err
    assert main("eval", run_folder, "--episodes", 0) == 2
    assert "episodes must be >= 1" in capsys.readouterr().err


def interrupt(folder, *, total_steps, after, stop, delay=0.0):
    """Start a run, send it `stop` once a line begins with `after`, and return what it says from then on."""
    words = ["-u", "-m", "purejaxrl", "train", *TINY, "--total-steps", str(total_steps), "--out", str(folder)]
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True, cwd=folder.parent) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(after):
                break
        time.sleep(delay)
        process.send_signal(stop)
        rest = process.stderr.read()
        assert process.wait(timeout=60) == (0 if stop == signal.SIGTERM else 130)
    return rest


@pytest.mark.parametrize("stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupt_leaves_a_run_that_can_be_read(stop, tmp_path):
    folder = tmp_path / "x"
    rest = interrupt(folder, total_steps=1_000_000_000, after="training:", stop=stop)
    assert "interrupted after" in rest
    assert "Traceback" not in rest
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["interrupted"]
    frame = purejaxrl.load(folder)
    assert frame["env_steps"].max() == summary["env_steps"] == 16 * summary["updates"]
    assert len(runs.evaluate(runs.restore(folder), 2)) == 1
    assert main("report", folder, "--no-films") == 0
    assert "before it was interrupted" in (folder / "report.html").read_text()


def test_an_interrupt_when_all_is_done_leaves_no_traceback():
    """As Python ends, by threads that are waited for."""
    code = (
        "import sys, threading, time\nfrom purejaxrl import cli\n"
        "sys.argv = ['purejaxrl', 'list', 'bonuses']\ncli.main()\n"
        "threading.Thread(target=time.sleep, args=(20,)).start()\nprint('done', file=sys.stderr)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr.readline() == "done\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert not process.stderr.read()
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize(
    "fall",
    [
        # Python swallows what is raised where JAX asks to be called, at each garbage collection.
        "import gc\ngc.callbacks.append(lambda *_: signal.raise_signal(signal.SIGINT))\ngc.collect()",
        "import module",
        "signal.raise_signal(signal.SIGINT)",
    ],
    ids=["in a callback", "in an import", "elsewhere"],
)
def test_an_interrupt_ends_the_process_wherever_it_falls(fall, tmp_path):
    (tmp_path / "module.py").write_text(
        "import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:\n    raise ImportError('as compiled modules do') from None"
    )
    code = (
        "import signal, sys\nfrom purejaxrl import cli\n"
        f"def _main(argv):\n    exec({fall!r}, globals())\n    print('went on')\n"
        "cli._main = _main\nsys.argv = ['purejaxrl', 'list']\ncli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interrupt_while_compiling_too(tmp_path):
    folder = tmp_path / "x"
    rest = interrupt(folder, total_steps=1_000_000, after="compiling", stop=signal.SIGINT, delay=0.2)
    assert "Traceback" not in rest
    assert json.loads((folder / "summary.json").read_text())["updates"] == 0
    assert len(purejaxrl.load(folder)) == 0
    assert len(runs.evaluate(runs.restore(folder), 2)) == 1
    assert main("report", folder, "--no-films") == 0


def test_the_default_folder_is_the_next_free_one_and_taken_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, *others = (Path(f"runs/CartPole-v1-ppo-none-{number}") for number in (1, 2, 3))
    first.mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        assert sorted(pool.map(actions._new_folder, ["CartPole-v1-ppo-none"] * 2)) == others
    with actions._folder(None, "x/../y") as folder:
        assert folder == Path("runs/x-..-y-1")
    assert not folder.exists()  # nothing came to be in it
    assert first.exists()
    with actions._folder(None, "x") as folder:
        (folder / "config.json").touch()
    assert folder.exists()
    with actions._folder(first, "x") as folder:
        assert folder == first
    assert folder.exists()  # it was there before
    shutil.rmtree("runs")
    with actions._folder(None, "x"):
        pass
    assert not Path("runs").exists()
    Path("runs").symlink_to("nowhere")
    with pytest.raises(SettingError, match=r"out: .* cannot be written"):
        actions._new_folder("x")


def test_a_closed_pipe_is_no_error():
    read, write = os.pipe()
    os.close(read)
    for verb in (["list"], ["list", "envs"], ["--version"]):  # by rich, and by print
        done = subprocess.run(
            [sys.executable, "-m", "purejaxrl", *verb],
            check=False,
            stdout=write,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": ""},
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, ""), verb
    os.close(write)


def test_processes_join_before_a_file_s_settings_are_looked_at(tmp_path, monkeypatch):
    """Which makes environments, and so starts JAX."""
    called = []
    monkeypatch.setattr(processes, "join", lambda: called.append("join"))
    monkeypatch.setattr(parsing, "_with_settings", lambda *args: called.append("settings") or sys.exit(9))
    (tmp_path / "x.toml").write_text('env = "CartPole-v1"\ndistributed = true\n')
    assert main("sweep", tmp_path / "x.toml") == 9
    assert called == ["join", "settings"]
