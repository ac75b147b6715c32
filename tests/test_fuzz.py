"""Whatever a file or an expression holds: the library's own errors or none, soon, and nothing is written elsewhere.

Hypothesis draws the same examples at each run. Files are arbitrary bytes, JSON of any shape, and valid ones that were
cut, flipped, or changed in one place.
"""

import contextlib
import copy
import hashlib
import json
import math
import shutil

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from commands import main
from rich.console import Console

import purejaxrl
from purejaxrl import checkpoint, engines, expressions, folders, report, runs, search, sweeps, trackers, tuning
from purejaxrl.algos import PPO
from purejaxrl.bench import exploration, parts, suites
from purejaxrl.checkpoint import CheckpointError
from purejaxrl.cli import parsing
from purejaxrl.progress import Progress
from purejaxrl.report import figures, stills
from purejaxrl.types import SettingError

pytestmark = pytest.mark.filterwarnings("ignore")
OURS = (SettingError, CheckpointError, OSError)

# What JSON can say and few programs expect. Numbers are far beyond memory or small: what lies between is only slow.
ODD = ["null", "true", "0", "-1", "1.5", "NaN", "-Infinity", "1e999", str(2**64), "9" * 400, "9" * 5000, '""']
ODD += ['"../../x"', '"/etc/passwd"', r'"\u0000"', r'"\ud800"', r'"\u001b[2J"', '"<script>"', '"$(touch x)"', '"$^$"']
ODD += ["[]", "{}", "[[1], 2]", '{"a": {"b": 1}}', '[null, "x"]']
ODD += ["[" * 5000 + "]" * 5000, '{"a":' * 5000 + "0" + "}" * 5000]
SLOT = "@here@"

LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=9)
NAMES = st.text(max_size=9)
JSON = st.recursive(LEAVES, lambda own: st.lists(own, max_size=3) | st.dictionaries(NAMES, own, max_size=3))


def fuzz(examples):
    """A test of so many examples, always the same."""
    checks = [hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow]
    settings = {"derandomize": True, "database": None, "deadline": None, "suppress_health_check": checks}
    return hypothesis.settings(max_examples=examples, **settings)


def places(content):
    """The paths to everything within a JSON value."""
    found = []
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        found.append((key,))
        if isinstance(value, (dict, list)):
            found += [(key, *path) for path in places(value)]
    return found


@st.composite
def changed_json(draw, content):
    """The text of a JSON value that was changed in one place: gone, renamed, doubled, or something else instead."""
    content = copy.deepcopy(content)
    *outer, key = draw(st.sampled_from(places(content)))
    inner = content
    for step in outer:
        inner = inner[step]
    how = draw(st.sampled_from(["gone", "renamed", "doubled", "odd", "odd", "odd", "any"]))
    if how == "gone":
        del inner[key]
    elif how == "renamed" and isinstance(inner, dict):
        inner[draw(st.sampled_from(["", "../../x", "\x1b[2J", "env_id", "self", "a.b", "loss"]))] = inner.pop(key)
    elif how == "any":
        inner[key] = draw(JSON)
    elif how == "doubled" and isinstance(inner, dict):
        inner[SLOT] = 0
        return json.dumps(content).replace(f'"{SLOT}"', json.dumps(key))
    else:
        inner[key] = SLOT
    return json.dumps(content).replace(f'"{SLOT}"', draw(st.sampled_from(ODD)))


@st.composite
def changed_bytes(draw, data):
    """A file that was cut, or some of whose bits were flipped, or whose bytes are others."""
    how = draw(st.sampled_from(["cut", "flipped", "flipped", "other", "more"]))
    if how == "cut":
        return data[: draw(st.integers(0, len(data) - 1))]
    if how == "other":
        return draw(st.binary(max_size=100))
    if how == "more":
        place = draw(st.integers(0, len(data)))
        return data[:place] + draw(st.binary(min_size=1, max_size=9)) + data[place:]
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        changed[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(changed)


def any_json(content):
    """Files that may stand where one with this content belongs."""
    texts = changed_json(content) | JSON.map(json.dumps)
    return texts.map(str.encode) | changed_bytes(json.dumps(content).encode())


@st.composite
def changed_frame(draw, frame):
    """A frame with a column that is gone, of another type, odd in one row, or as index; or with other rows."""
    name = draw(st.sampled_from(list(frame.columns)))
    size = len(frame)
    others = {
        "gone": lambda: frame.drop(columns=name),
        "words": lambda: frame.assign(**{name: ["x"] * size}),
        "lists": lambda: frame.assign(**{name: [[1, 2]] * size}),
        "nothing": lambda: frame.assign(**{name: [None] * size}),
        "dates": lambda: frame.assign(**{name: pd.Timestamp(0)}),
        "nullable": lambda: frame.assign(**{name: pd.array([1, None] * size, dtype="Int64")[:size]}),
        "odd": lambda: frame.assign(**{name: [draw(st.sampled_from([math.nan, math.inf, -1e308, 1e308]))] * size}),
        "huge": lambda: frame.assign(**{name: 2**63 - 1}),
        "negative": lambda: frame.assign(**{name: -5}),
        "index": lambda: frame.set_index(name),
        "empty": lambda: frame.iloc[:0],
        "fewer": lambda: frame.iloc[1::2],
        "twice": lambda: pd.concat([frame, frame]),
        "one": lambda: pd.DataFrame({"x": [1]}),
    }
    return others[draw(st.sampled_from(list(others)))]()


def table(frame, path):
    """The bytes of a Parquet file."""
    frame.to_parquet(path)
    return path.read_bytes()


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder, within one that nothing else may write to."""
    folder = tmp_path_factory.mktemp("trained") / "inner" / "x"
    sizes = ["--env.size", 4, "--num-envs", 2, "--algo.num-steps", 8, "--algo.hidden", 8, "--bonus", "counts+counts"]
    steps = ["--total-steps", 64, "--seeds", 2, "--visits"]
    assert main("train", "--env", "DeepSea-bsuite", *sizes, *steps, "--out", folder) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it; whatever is done there, nothing beside it changes."""
    folder = tmp_path / "inner" / "x"
    shutil.copytree(trained, folder)
    (tmp_path / "sentinel").write_text("untouched")
    before = {path: digest for path, digest in digests(tmp_path).items() if folder not in path.parents}
    yield folder
    assert {path: digest for path, digest in digests(tmp_path).items() if folder not in path.parents} == before


@pytest.fixture
def no_pictures(monkeypatch):
    """Nine tenths of a page's time."""

    def undrawn(name, title, note, lines, wide=False, of="seed"):
        return figures.Drawn(name, title, note, {}, figures._curve_table(lines))

    monkeypatch.setattr(figures, "curve", undrawn)
    monkeypatch.setattr(figures, "_item", lambda plot, name: {})
    monkeypatch.setattr(stills, "_image", lambda figure: "")


def refuse(function, *arguments):
    """Call it; its own errors are fine."""
    with contextlib.suppress(*OURS):
        return function(*arguments)


@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_a_run_s_json(run, no_pictures, name):
    content = json.loads((run / name).read_text())

    @fuzz(60)
    @hypothesis.given(any_json(content))
    def check(data):
        (run / name).write_bytes(data)
        refuse(report.write, [run])

    check()


def test_a_run_whose_config_is_another_s(run):
    """Everything that is needed to restore it: names, settings, shapes."""
    content = json.loads((run / "config.json").read_text())

    @fuzz(15)
    @hypothesis.given(changed_json(content))
    def check(text):
        (run / "config.json").write_text(text)
        refuse(runs.restore, run)

    check()


def test_metrics(run, no_pictures):
    path = run / "metrics.parquet"
    frame, data = pd.read_parquet(path), path.read_bytes()

    @fuzz(60)
    @hypothesis.given(changed_bytes(data) | changed_frame(frame).map(lambda frame: table(frame, path)))
    def check(data):
        path.write_bytes(data)
        refuse(report.write, [run])
        refuse(purejaxrl.load, run)

    check()


def test_visits(run, no_pictures):
    """Damaged archives, and arrays of another type or shape."""
    path = run / "visits.npz"
    data = path.read_bytes()
    visits = np.load(path)["visits"]
    others = [visits[0], visits[:, :3], visits.astype(float), visits.astype(complex), visits.astype(str), np.zeros(())]
    others += [np.array([{}]), np.zeros((0, 0), int)]  # the first one would have to be unpickled

    @fuzz(60)
    @hypothesis.given(changed_bytes(data) | st.sampled_from(range(len(others))))
    def check(data):
        if isinstance(data, bytes):
            path.write_bytes(data)
        else:
            np.savez(path, visits=others[data])
        refuse(report.write, [run])

    check()
    np.save(path.with_suffix(".npy"), others[0])
    path.with_suffix(".npy").rename(path)
    with pytest.raises(SettingError, match=r"visits.npz is damaged"):
        report.write([run])


TREE = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.zeros((0, 3)), "key": jnp.arange(3)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "state"
    purejaxrl.save(path, TREE)
    return path


def test_a_checkpoint_s_manifest(saved, tmp_path):
    path = tmp_path / "state"
    shutil.copytree(saved, path)
    content = json.loads((path / "manifest.json").read_text())

    @fuzz(150)
    @hypothesis.given(any_json(content))
    def check(data):
        (path / "manifest.json").write_bytes(data)
        refuse(checkpoint.restore, path, TREE)

    check()


def test_a_checkpoint_s_arrays(saved, tmp_path):
    """Damage is found before Orbax reads it; where the manifest agrees with it, Orbax does, or the leaves' digests."""
    path = tmp_path / "state"
    names = [one.relative_to(saved) for one in saved.rglob("*") if one.is_file() and one.name != "manifest.json"]
    manifest = json.loads((saved / "manifest.json").read_text())

    @fuzz(40)
    @hypothesis.given(st.data(), st.booleans())
    def check(data, agrees):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(saved, path)
        broken = path / data.draw(st.sampled_from(sorted(names)))
        content = data.draw(changed_bytes(broken.read_bytes() or b"x"))
        broken.write_bytes(content)
        if agrees:
            name = broken.relative_to(path / "arrays").as_posix()
            found = manifest["files"] | {name: hashlib.sha256(content).hexdigest()}
            (path / "manifest.json").write_text(json.dumps(manifest | {"files": found}))
        refuse(checkpoint.restore, path, TREE)

    check()
    assert np.array_equal(checkpoint.restore(saved, TREE)["a"], TREE["a"])  # nor is Orbax left broken


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep's folder as if it were done: a part for each of its two configurations."""
    out = tmp_path_factory.mktemp("swept") / "x"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps._Run, "_some", lambda *arguments: None)
        again(out)
    (out / "parts").mkdir(exist_ok=True)
    for number, rate in enumerate((1e-4, 1e-3)):
        rows = {"config_id": number, "algo.learning_rate": rate, "seed": 0, "update": [1, 2, 3]}
        rows |= {
            "env_steps": [8, 16, 24],
            "num_episodes": 1,
            "episode_return": [0.0, 1.0, 2.0],
            "episode_return_max": 2.0,
            "seconds": 0.1,
        }
        pd.DataFrame(rows).to_parquet(out / "parts" / f"{number:07d}-0.parquet")
    return out


def again(out):
    """The call that goes on in the folder; training is left out."""
    settings = {"search": {"algo.learning_rate": [1e-4, 1e-3]}, "num_envs": 2, "total_steps": 64}
    learner = PPO(num_steps=4, num_minibatches=1, hidden=(8,))
    return purejaxrl.sweep("CartPole-v1", learner, out=out, progress=Progress(Console(quiet=True)), **settings)


@pytest.fixture
def population(tmp_path):
    """A population's folder: three members, two intervals of two updates, one copy."""
    out, rows = tmp_path / "population", []
    for member, parent in enumerate((0, 1, 0)):
        own = {"config_id": member, "algo.learning_rate": 1e-3 * (member + 1), "seed": 0, "update": [1, 2, 3, 4]}
        own |= {"parent": [member, member, parent, parent], "env_steps": [8, 16, 24, 32], "num_episodes": 1}
        rows.append(pd.DataFrame(own | {"episode_return": [0.0, 1.0, 2.0, float(member)], "episode_return_max": 2.0}))
    out.mkdir()
    pd.concat(rows).to_parquet(out / "metrics.parquet", index=False)
    plan = {
        "format": folders.FORMAT,
        "fields": ["algo.learning_rate"],
        "env": "CartPole-v1",
        "algo": {"type": "PPO"},
        "bonus": None,
    }
    plan |= {"interval": 16, "total_steps": 32, "members": 3, "seeds": [0], "env_settings": {"size": 4}, "num_envs": 2}
    plan |= {"search": {"algo.learning_rate": {"type": "LogUniform", "low": 1e-4, "high": 0.1}}, "resets": None}
    plan |= {"visits": False, "quantile": 0.25, "perturb": 1.25, "resample": 0.25, "versions": {"jax": "1"}}
    (out / "pbt.json").write_text(json.dumps(plan))
    return out


def test_a_population_s_folder(population, no_pictures):
    plan, path = json.loads((population / "pbt.json").read_text()), population / "metrics.parquet"
    frame, data = pd.read_parquet(path), path.read_bytes()
    assert report.write([population]).exists()

    @fuzz(60)
    @hypothesis.given(any_json(plan))
    def check_plan(text):
        (population / "pbt.json").write_bytes(text)
        refuse(report.write, [population])

    @fuzz(60)
    @hypothesis.given(changed_bytes(data) | changed_frame(frame).map(lambda frame: table(frame, path)))
    def check_metrics(data):
        path.write_bytes(data)
        refuse(report.write, [population])

    check_plan()
    (population / "pbt.json").write_text(json.dumps(plan))
    check_metrics()


def every_view(out):
    """Whoever reads a sweep's folder."""
    found = sweeps.read(out)
    for view in (found.best, found.importance, lambda: found.means("final_return")):
        refuse(view)
    refuse(report.write, [out])
    engines._pairs(out)


def test_a_sweep_s_plan(swept, tmp_path, no_pictures):
    out = tmp_path / "x"
    shutil.copytree(swept, out)
    content = json.loads((out / "sweep.json").read_text())

    @fuzz(80)
    @hypothesis.given(any_json(content))
    def check(data):
        (out / "sweep.json").write_bytes(data)
        refuse(every_view, out)
        refuse(folders._check, out, "sweep.json", content)

    check()


def test_a_sweep_s_parts(swept, tmp_path, monkeypatch, no_pictures):
    """What reads them, and the call that goes on, up to where it trains."""
    out, calls = tmp_path / "x", []
    monkeypatch.setattr(sweeps._Run, "all", lambda call, *proposed: calls.append(call))
    again(out)
    frame = pd.read_parquet(swept / "parts" / "0000001-0.parquet")
    data = (swept / "parts" / "0000001-0.parquet").read_bytes()

    @fuzz(60)
    @hypothesis.given(changed_bytes(data) | changed_frame(frame).map(lambda frame: table(frame, tmp_path / "y")))
    def check(data):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(swept, out)
        (out / "parts" / "0000001-0.parquet").write_bytes(data)
        refuse(every_view, out)
        call = copy.copy(calls[0])
        call.parts, call.updates = [], {}
        call._read(out)
        call._means()
        call._found(complete=False)

    check()


def test_a_study_s_journal(tmp_path):
    pytest.importorskip("optuna")
    space, path = {"algo.gamma": search.Uniform(0.9, 0.99), "algo.hidden": [(8,), (8, 8)]}, tmp_path / "journal.log"

    def ask():
        tuner = tuning.Tuner(space, 6, 2, "tpe", 0, path, {"final_return": "maximize"})
        found = tuner.ask()
        tuner.tell({0: [1.0], 1: [2.0]})
        return found + tuner.ask()

    assert len(ask()) == 4
    data = path.read_bytes()

    @fuzz(60)
    @hypothesis.given(changed_bytes(data))
    def check(data):
        path.write_bytes(data)
        refuse(ask)

    check()


def test_a_benchmark_s_part(tmp_path):
    task, method = suites.SUITES["small"][0], suites.METHODS[0]
    path = tmp_path / "x" / "parts" / f"{task.name}--{method.name}.parquet"
    path.parent.mkdir(parents=True)
    config = exploration.Pair(task, method, 1, path.parent).config
    rows = {"phase": "tuning", "value": method.values[0], "seed": 1000, "update": [1, 2], "env_steps": [8, 16]}
    rows |= {"num_episodes": 1, "episode_return": 0.5, "first_reward": math.nan, "seconds": 0.1, "coverage": 0.5}
    parts.write(path, config, pd.DataFrame(rows))
    good = path.read_bytes(), path.with_suffix(".json").read_bytes()
    content, frame = json.loads(good[1]), pd.read_parquet(path)

    def read():
        parts.folder(tmp_path / "x", "tuning_seeds")
        pair = exploration.Pair(task, method, 1, path.parent)
        pair.missing()
        pair.results()

    read()

    @fuzz(60)
    @hypothesis.given(st.data(), st.booleans())
    def check(data, of_config):
        path.write_bytes(good[0])
        path.with_suffix(".json").write_bytes(good[1])
        if of_config:
            path.with_suffix(".json").write_bytes(data.draw(any_json(content)))
        else:
            changed = changed_frame(frame).map(lambda frame: table(frame, path))
            path.write_bytes(data.draw(changed_bytes(good[0]) | changed))
        refuse(read)

    check()


TOML = """
env = "CartPole-v1"
seeds = 2
"algo.num_steps" = 8
rungs = [0.1, 0.3]
[search]
"algo.learning_rate" = [1e-4, 1e-3]
"algo.gamma" = "uniform(0.9, 0.99)"
"""


@st.composite
def changed_toml(draw):
    """One value is another one."""
    odd = ["nan", "inf", "9" * 5000, "0x" + "f" * 5000, "1979-05-27", "07:32:00", "{a = 1}", "[{}]"]
    odd += ["[" * 3000 + "]" * 3000]
    lines = TOML.strip().splitlines()
    number = draw(st.sampled_from([index for index, line in enumerate(lines) if "=" in line]))
    name = draw(st.sampled_from([lines[number].split("=")[0], '"--env"', "a.b.c", '""', '"\\u0000"']))
    lines[number] = f"{name} = {draw(st.sampled_from(odd))}"
    return "\n".join(lines).encode()


@fuzz(200)
@hypothesis.given(changed_toml() | changed_bytes(TOML.encode()))
def test_a_sweep_as_toml(tmp_path, data):
    (tmp_path / "x.toml").write_bytes(data)
    flags = refuse(parsing.flags, tmp_path / "x.toml")
    for flag in flags or []:
        assert isinstance(flag, str)
        if "=" in flag:
            refuse(search.parse, flag)


WORDS = ["algo.gamma", "=", "(", ")", ",", "[", "]", "uniform", "LogUniform", "choice", "1", "-1e308", "1e308", "1e999"]
WORDS += ["NaN", "9" * 400, "9" * 5000, "[" * 5000, '{"a": 1}', "true", '"', " ", "\n", "\x00", "\ud800", "é"]


@fuzz(300)
@hypothesis.given(st.text() | st.lists(st.sampled_from(WORDS)).map("".join).map("algo.gamma=".__add__))
def test_a_search_as_text(text):
    parsed = refuse(search.parse, text)
    if parsed is not None:
        name, values = parsed
        samples = 3 if hasattr(values, "draw") else None
        found = refuse(search.configurations, {name: values}, samples) or []
        assert all(one.keys() == {name} for one in found)


TOKENS = [
    "rnd",
    "e3b",
    "counts",
    "sofe",
    "none",
    "sum",
    "x",
    "(",
    ")",
    "*",
    "+",
    "-",
    ",",
    ".",
    "[",
    "]",
    "lambda:",
    "'",
    "\\",
]
TOKENS += [
    "__import__('os').system('touch x')",
    "1",
    "9" * 5000,
    "(" * 300,
    "-" * 9000,
    "rnd*" * 2000,
    "\x00",
    "\ud800",
]


@fuzz(300)
@hypothesis.given(st.text() | st.lists(st.sampled_from(TOKENS), max_size=9).map("".join), JSON)
def test_a_bonus_as_text(text, settings):
    expression = refuse(expressions.parse, text)
    if expression is not None:
        refuse(expressions.make, expression, settings)
        assert expressions.parse(str(expression)) == expression


@fuzz(60)
@hypothesis.given(st.lists(st.tuples(st.text(), st.floats(), st.lists(st.integers(), max_size=2)), min_size=1))
def test_json_lines_are_lines_of_json(tmp_path, rows):
    """Whatever words and numbers there are: a line per row, which any JSON parser reads."""
    path = tmp_path / "lines.jsonl"
    path.unlink(missing_ok=True)
    frame = pd.DataFrame(rows, columns=["algo.activation", "episode_return", "algo.hidden"])
    frame["algo.hidden"] = frame["algo.hidden"].map(np.asarray)  # as Parquet has it
    trackers.JsonLines(path).log(frame.assign(config_id=0, seed=0, update=1, env_steps=8), ["algo.activation"])
    lines = path.read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    found = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [one["algo.activation"] for one in found] == [row[0] for row in rows]
