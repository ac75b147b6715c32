"""What SECURITY.md promises: files are data, nothing leaves its folder, and text is shown as text."""

import ast
import base64
import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import main

import purejaxrl
from purejaxrl import caching, engines, files, folders, report, runs, sweeps
from purejaxrl.bench import parts, peers_venv
from purejaxrl.cli import actions
from purejaxrl.report import commands
from purejaxrl.types import SettingError

PACKAGE = Path(purejaxrl.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
UNSAFE = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "yaml"}
SCRIPT = "<script>alert(1)</script>"
links = pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes are POSIX's")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "x"
    sizes = ["--env.size", 4, "--num-envs", 2, "--algo.num-steps", 8, "--algo.hidden", 8, "--total-steps", 64]
    assert main("train", "--env", "DeepSea-bsuite", *sizes, "--visits", "--out", folder) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a run's folder."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def precious(tmp_path):
    """A file outside of every folder of results, as it is afterwards."""
    path = tmp_path / "precious"
    path.write_text("untouched")
    yield path
    assert path.read_text() == "untouched"


def change(path, **settings):
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


# --- code -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_nothing_unpickles_or_evaluates(path):
    """In our own files; submitit and Ray hand jobs over by cloudpickle, which SECURITY.md says."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & UNSAFE
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in UNSAFE
        elif isinstance(node, ast.Call):
            called, settings = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert called not in ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "pd.read_pickle")
            assert settings.get("shell", "False") == "False"
            if called in ("np.load", "numpy.load"):
                assert settings["allow_pickle"] == "False"


def test_reading_a_whole_run_unpickles_nothing(trained):
    """By the interpreter's own audit, other packages' reading included."""
    code = """
import sys
from pathlib import Path
import purejaxrl
from purejaxrl import report, runs
folder = Path(sys.argv[1])
def audit(event, arguments):
    if event == "pickle.find_class":
        raise RuntimeError(f"unpickled {arguments}")
sys.addaudithook(audit)
runs.restore(folder)
purejaxrl.load(folder)
report.write([folder], folder.parent / "audited.html")
"""
    subprocess.run([sys.executable, "-c", code, str(trained)], check=True, timeout=120)


def test_optuna_s_journal_has_no_pickled_snapshots():
    pytest.importorskip("optuna")
    from optuna.storages import journal
    from optuna.storages.journal._base import BaseJournalSnapshot

    assert not issubclass(journal.JournalFileBackend, BaseJournalSnapshot)


@pytest.mark.parametrize(
    "settings",
    [
        {"env": "os:system"},
        {"env": "gymnasium:os:system"},
        {"env": "../../x"},
        {"algo": "os"},
        {"algo": "../runs"},
        {"algo": "__init__"},
        {"bonus": "__import__('os').system('touch x')"},
        {"algo_settings": {"loss": "os.system"}},
        {"algo_settings": {"network": ["os.system", "os.system"]}},
        {"algo_settings": {"__class__": "x"}},
        {"env_settings": {"env_id": "CartPole-v1"}},
        {"env_settings": {"__class__": "x"}},
        {"bonus": "rnd", "bonus_settings": {"__class__": "x"}},
    ],
)
def test_a_config_cannot_bring_code(run, settings):
    change(run / "config.json", **settings)
    with pytest.raises(SettingError):
        runs.restore(run)
    with pytest.raises(SettingError):
        report.write([run])


def test_results_of_jobs_to_come_cannot_be_laid_in_the_folder(tmp_path):
    """submitit unpickles them: each call has a folder of its own for its jobs."""
    pytest.importorskip("submitit")
    folders = {engines._submitit("local", tmp_path).__self__.folder for _ in range(2)}
    assert len(folders) == 2
    assert all(folder.parent == tmp_path / engines.JOBS for folder in folders)


# --- files and folders ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/../../b", "..", "x\0y", "~/x"])
def test_a_run_s_default_folder_is_in_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = actions._new_folder(f"{name}-ppo-none")
    assert folder.parent == Path("runs")
    assert folder.resolve().parent == tmp_path / "runs"


def test_members_of_an_archive_stay_in_it(run, tmp_path):
    with zipfile.ZipFile(run / "visits.npz", "a") as archive:
        archive.writestr("../../escaped.npy", b"x")
        archive.writestr("/escaped.npy", b"x")
    report.write([run])
    assert not list(tmp_path.rglob("escaped*"))


def test_a_pickled_array_is_damage(run, monkeypatch):
    class Exploit:
        def __reduce__(self):
            return os.mkdir, ("unpickled",)

    monkeypatch.chdir(run)
    np.savez(run / "visits.npz", visits=np.array([Exploit()]))
    with pytest.raises(SettingError, match=r"visits\.npz is damaged"):
        report.write([run])
    assert not (run / "unpickled").exists()


@links
@pytest.mark.parametrize("name", ["config.json", "summary.json", "metrics.parquet", "visits.npz"])
def test_a_link_that_leads_out_is_refused(run, tmp_path, name):
    (run / name).rename(tmp_path / name)
    (run / name).symlink_to(tmp_path / name)
    with pytest.raises(SettingError, match=f"{name} is a link that leads out of its folder"):
        report.write([run])


@links
def test_links_within_a_folder_and_to_it_are_fine(run, tmp_path):
    (run / "newest.parquet").symlink_to("metrics.parquet")
    (run / "lost").symlink_to("nothing")
    (tmp_path / "link").symlink_to(run)
    assert report.write([tmp_path / "link"]).exists()


@links
def test_a_circle_of_links_and_a_pipe_are_no_trap(run):
    (run / "a").symlink_to("b")
    (run / "b").symlink_to("a")
    files.check_contents(run)
    (run / "visits.npz").unlink()
    os.mkfifo(run / "visits.npz")
    with pytest.raises(SettingError, match="is neither a file nor a folder"):
        report.write([run])


@links
def test_a_benchmark_s_parts_are_in_its_folder(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "parts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingError, match="parts is a link that leads out of its folder"):
        parts.folder(tmp_path / "x", "budget")


@links
def test_replacing_a_link_leaves_what_it_means(precious, tmp_path):
    (tmp_path / "page").symlink_to(precious)
    with files.replacing(tmp_path / "page") as temporary:
        temporary.write_text("new")
    assert not (tmp_path / "page").is_symlink()
    assert (tmp_path / "page").read_text() == "new"


def test_temporary_names_cannot_be_foreseen(tmp_path):
    names = set()
    for _ in range(9):
        with files.replacing(tmp_path / "x.json") as temporary:
            temporary.write_text("")
            names.add(temporary.name)
            assert temporary.parent == tmp_path
    assert len(names) == 9
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_fields_of_a_plan_are_columns(tmp_path):
    (tmp_path / "parts").mkdir()
    frame = {"config_id": [0], "seed": 0, "update": 1, "env_steps": 8, "num_episodes": 1, "episode_return": 0.0}
    frame |= {"episode_return_max": 0.0, "seconds": 0.1}
    pd.DataFrame(frame).to_parquet(tmp_path / "parts" / "0000000-0.parquet")
    (tmp_path / "sweep.json").write_text(json.dumps({"format": folders.FORMAT, "fields": ["../../x"]}))
    with pytest.raises(SettingError, match="its fields are not those of the parts"):
        sweeps.read(tmp_path)


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_a_page_escapes_all_text_and_loads_nothing(run, tmp_path):
    change(run / "config.json", algo_settings={"activation": SCRIPT})
    change(run / "summary.json", versions={SCRIPT: SCRIPT})
    renamed = run.rename(tmp_path / "a <b>&x")
    other = shutil.copytree(renamed, tmp_path / "<script>")  # told apart by their folders' names
    page = report.write([renamed, other], tmp_path / "x.html", title=SCRIPT).read_text(encoding="utf-8")
    assert SCRIPT not in page
    assert "(&lt;script&gt;)" in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4  # title twice, settings, versions
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2  # Bokeh's and ours, which the page's policy names by their digests, and no others
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"&#39;sha256-{digest}&#39;" in page
        page = page.replace(script, "")
    assert "default-src &#39;none&#39;" in page
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!data:image/(?:png|gif);base64,)", page)
    assert page.count("<script") == 2 + page.count('<script type="application/json"')


def test_templates_escape():
    for path in sorted((PACKAGE / "templates").glob("*.html")):
        assert report.template(path.name).environment.autoescape is True
        assert not re.search(r"\|\s*safe|autoescape|Markup", path.read_text(encoding="utf-8"))


def test_the_command_that_reproduces_a_run_is_one_command(run):
    evil = "x; touch y $(touch y) `touch y` \n'"
    change(run / "config.json", algo_settings={"activation": evil, "hidden": [evil, 8]})
    config = runs.read_config(run)
    words = shlex.split(commands.train(config))
    assert words[:2] == ["purejaxrl", "train"]
    assert words[words.index("--algo.activation") + 1] == evil
    assert words[words.index("--algo.hidden") + 1 :][:2] == [evil, "8"]


def test_an_error_has_no_control_codes(run, capsys):
    change(run / "config.json", **{"\x1b[2J\x9b": 1})
    assert main("report", run) == 2
    said = capsys.readouterr().err
    assert said.rstrip("\n").isprintable()
    assert r"\x1b[2J\x9b" in said


# --- folders of code --------------------------------------------------------------------------------------------------


@links
def test_folders_of_code_are_the_user_s_own(tmp_path, monkeypatch):
    """Of compiled programs and of the benchmark's peers; tests/test_caching.py has more."""
    assert caching.make_private(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    monkeypatch.setattr(os, "getuid", lambda: (tmp_path / "new").stat().st_uid + 1)
    assert not caching.make_private(tmp_path / "new")
    monkeypatch.setattr(caching, "default", lambda: tmp_path / "x" / "jax")
    with pytest.raises(SettingError, match="others may write to it"):
        peers_venv.python("rejax")


# --- folders that are gone on in ---------


@links
@pytest.mark.parametrize("what", ["file", "folder", "arrays", "pipe"])
def test_a_checkpoint_holds_files_and_folders_alone(tmp_path, what):
    state = {"a": np.arange(6.0)}
    purejaxrl.save(tmp_path / "state", state)
    arrays = tmp_path / "state" / "arrays"
    inner = {"file": Path.is_file, "folder": Path.is_dir}.get(what)
    place = next(filter(inner, sorted(arrays.rglob("*")))) if inner else arrays
    if what == "pipe":
        os.mkfifo(arrays / "new")
    else:
        place.rename(tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(purejaxrl.checkpoint.CheckpointError, match="no links"):
        purejaxrl.restore(tmp_path / "state", like=state)


@links
def test_a_run_s_checkpoints_are_in_its_folder(run, tmp_path):
    (run / "checkpoints").rename(tmp_path / "elsewhere")
    (run / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingError, match="checkpoints is a link that leads out of its folder"):
        runs.restore(run)


@links
@pytest.mark.parametrize("name", ["lock", "parts", "journal.log", "metrics.jsonl", "under-way", "under-way/0-0"])
def test_a_sweep_goes_on_in_its_own_folder_alone(precious, tmp_path, name):
    """Its lock is opened for writing, which would empty what a link means, and lines are appended to others."""
    plan = {"fields": ["algo.gamma"]}
    with folders.held(tmp_path / "x", "sweep.json", plan):
        pass
    (tmp_path / "x" / name).unlink(missing_ok=True)
    (tmp_path / "x" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "x" / name).symlink_to(precious)
    with pytest.raises(SettingError, match=f"{name} is a link that leads out"):
        folders.held(tmp_path / "x", "sweep.json", plan).__enter__()


@links
def test_a_run_begins_in_its_own_folder_alone(precious, tmp_path, capsys):
    """With a lock in it a folder counts as empty, and the lock is opened for writing."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "lock").symlink_to(precious)
    assert main("train", "--env", "CartPole-v1", "--algo", "ppo", "--out", tmp_path / "x") == 2
    assert "lock is a link that leads out" in capsys.readouterr().err
