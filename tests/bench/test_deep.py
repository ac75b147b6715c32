"""Deep exploration: what is run and kept, that it is judged right, and what is refused before anything runs."""

import contextlib
import inspect
import re
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from purejaxrl import algos, bonuses, cli, envs
from purejaxrl.bench import bsuite, deep, deep_figures, deep_methods
from purejaxrl.cli import verbs
from purejaxrl.progress import Progress
from purejaxrl.types import SettingError

EMPTY = "MiniGrid-Empty-5x5-v0"
SMALL = {"num_minibatches": 1, "num_epochs": 2, "hidden": (8,), "learning_rate": 0.02}


def one(size):
    """An episode per update, so that each update's mean return is that episode's."""
    return algos.PPO(num_steps=size, **SMALL), None, 1


def many(size):
    return algos.PPO(num_steps=2 * size, **SMALL), bonuses.Counts(coef=0.1), 4


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep, "DEEPSEA", {"one": one, "many": many})
        patch.setattr(deep, "MINIGRID", {"ppo": lambda task: (algos.PPO(num_steps=64, **SMALL), None)})
        patch.setitem(deep_methods.GRIDS, EMPTY, deep_methods.Grid(6_000, 2, published=5_000, source="somebody"))
        yield


def run(out, study, keys, **kwargs):
    return deep.run(out, Progress(Console(quiet=True)), study, keys, **{"num_seeds": 2, **kwargs})


@pytest.fixture(scope="module")
def sea(tmp_path_factory):
    """Eight seeds on a sea of four that may take 20 episodes: some solve it."""
    out = tmp_path_factory.mktemp("sea") / "x"
    results, interrupted = run(out, deep.deepsea(20), [4], methods=["one"], num_seeds=8)
    assert not interrupted.is_set()
    return out, results


def test_the_folder_and_its_columns(sea):
    out, results = sea
    assert {path.name for path in out.iterdir()} == {"lock", "parts", "results.parquet", "table.md", "deepsea.png"}
    assert {path.name for path in (out / "parts").iterdir()} == {"one--deepsea-4.parquet", "one--deepsea-4.json"}
    pd.testing.assert_frame_equal(pd.read_parquet(out / "results.parquet"), results)
    assert list(results.columns) == deep.ROWS
    assert list(results["seed"]) == list(range(8))
    assert set(results["task"]) == {"deepsea-4"}
    assert (results["env_steps"] == 4 * results["episodes"]).all()
    assert (results["seconds"] > 0).all()
    together = np.arange(8) // len(jax.devices())  # a seed for each device at a time
    assert (results["seconds"].groupby(together).nunique() == 1).all()
    assert results["seconds"].nunique() == together.max() + 1
    assert ((results["compile_seconds"] > 0) == (together == 0)).all()
    assert "| deepsea-4 | one |" in (out / "table.md").read_text()


def test_solved_is_what_a_recount_says(sea):
    """By the returns, which only the good episodes have: an episode per update, of which the curve has every one."""
    out, results = sea
    curves = pd.read_parquet(out / "parts/one--deepsea-4.parquet")
    assert 0 < results["solved"].sum() < 8
    for row, (_, curve) in zip(results.itertuples(), curves.groupby("seed"), strict=True):
        bad, expected = 0, np.nan
        for number, value in enumerate(curve["episode_return"], 1):
            bad += value < 0.5
            if np.isnan(expected) and bad / number < 0.9:
                expected = number
        np.testing.assert_equal(row.episodes_to_solve, expected)
        np.testing.assert_equal(row.steps_to_solve, 4 * expected)
        assert row.solved == np.isfinite(expected)
        last = curve["episode_return"][-max(len(curve) // 10, 1) :]
        assert row.final_success == np.mean(last > 0.5)
        np.testing.assert_allclose(row.final_return, np.mean(last), rtol=1e-6)


def test_nothing_is_run_twice_and_more_seeds_join(sea, monkeypatch):
    out, before = sea
    trained = []

    def recorded(self, seeds, *rest):
        trained.append((self.name, seeds))
        yield from trained_at_once(self, seeds, *rest)

    monkeypatch.setattr(deep.Piece, "train", recorded)
    again, interrupted = run(out, deep.deepsea(20), [4], methods=["one"], num_seeds=8)
    assert not interrupted.is_set()
    assert trained == []
    pd.testing.assert_frame_equal(again, before)
    more, _ = run(out, deep.deepsea(20), [4, 2], num_seeds=1)  # the first method is the recommended one
    assert trained == [("one--deepsea-2", [0])]
    pd.testing.assert_frame_equal(more[1:].reset_index(drop=True), before)
    assert list(more["size"]) == [2] + [4] * 8
    more, _ = run(out, deep.deepsea(20), [2], num_seeds=2)
    assert trained[1:] == [("one--deepsea-2", [1])]
    assert len(more) == 10


def test_a_seed_ends_once_it_has_solved_its_task(tmp_path, monkeypatch):
    """Whatever the lanes beside it need: six in one program, as on a GPU, looked at after every second update."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    results, _ = run(tmp_path, deep.deepsea(2000), [3], methods=["many"], num_seeds=6)
    assert results["solved"].all()
    assert results["seconds"].nunique() == 1
    assert results["episodes"].nunique() > 1
    assert (results["env_steps"] == 3 * results["episodes"]).all()
    part = pd.read_parquet(tmp_path / "parts/many--deepsea-3.parquet")
    for _, curve in part.groupby("seed"):
        total = np.r_[0, curve["episodes"]]
        good = np.cumsum(np.r_[0, curve["success"].fillna(0)] * np.diff(total, prepend=0))

        def done(updates, total=total, good=good):
            last = updates - max(updates // 10, 1)
            share = (good[updates] - good[last]) / (total[updates] - total[last])
            return (
                np.isfinite(bsuite.deep_sea_solved((total - good)[1 : updates + 1], total[1 : updates + 1]))
                and share > 0.1
            )

        assert [done(updates) for updates in range(2, len(curve) + 1, 2)] == [False] * (len(curve) // 2 - 1) + [True]


def test_luck_ends_no_seed(tmp_path, monkeypatch):
    """Four looks at 40 updates, of which the first succeeds, and then none until the twentieth."""
    monkeypatch.setattr(deep, "LOOKS", 4)
    advance, good = deep.Counted.advance, lambda update: (update <= 1) | (update > 20)

    def lucky(self, state, num_updates):
        state, found = advance(self, state, num_updates)
        ended = found["good"] + found["bad"]
        updates = jnp.arange(1, 41)
        won = jnp.cumsum(good(updates))[ended // 4 - 1] * 4
        return state, found | {"good": won, "bad": ended - won}

    monkeypatch.setattr(deep.Counted, "advance", lucky)
    monkeypatch.setitem(deep.DEEPSEA, "sure", lambda size: (algos.PPO(num_steps=size, **SMALL), None, 4))
    results, _ = run(tmp_path, deep.deepsea(160), [3], methods=["sure"])
    assert (results["episodes_to_solve"] == 4).all()
    assert (results["episodes"] == 4 * 30).all()


def test_an_interrupt_keeps_what_is_done(tmp_path, monkeypatch):
    stop, write = threading.Event(), deep.parts.write

    def write_and_stop(*args):
        write(*args)
        stop.set()

    monkeypatch.setattr(deep.runs, "interruptible", lambda: contextlib.nullcontext(stop))
    monkeypatch.setattr(deep.parts, "write", write_and_stop)
    monkeypatch.setattr(deep.Piece, "train", trained_at_once)
    found, interrupted = run(tmp_path, deep.deepsea(8), [2, 3])
    assert interrupted.is_set()
    assert set(found["size"]) == {2}
    stop.clear()
    found, interrupted = run(tmp_path, deep.deepsea(8), [2, 3])
    assert set(found["size"]) == {2, 3}
    assert interrupted.is_set()  # the signal came with the last one


def test_an_interrupt_keeps_the_seeds_that_are_done(tmp_path, monkeypatch):
    stop, train, num_lanes = threading.Event(), deep.Piece._train, min(len(jax.devices()), 8)

    def train_and_stop(*args):
        found = train(*args)
        stop.set()
        return found

    monkeypatch.setattr(deep.runs, "interruptible", lambda: contextlib.nullcontext(stop))
    monkeypatch.setattr(deep.Piece, "_train", train_and_stop)
    words = {"methods": ["one"], "num_seeds": num_lanes + 1}
    found, _ = run(tmp_path, deep.deepsea(20), [4], **words)
    assert list(found["seed"]) == list(range(num_lanes))
    stop.clear()
    more, _ = run(tmp_path, deep.deepsea(20), [4], **words)
    assert list(more["seed"]) == list(range(num_lanes + 1))
    pd.testing.assert_frame_equal(more[:-1], found)


@pytest.mark.parametrize(("method", "size", "num_seeds"), [("one", 10, 1), ("many", 3, 6)])
def test_seeds_under_way_go_on_where_they_were(method, size, num_seeds, tmp_path, monkeypatch):
    """Interrupted after the first chunk, when some are done: to the same bits, without doing a chunk twice."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")  # where all seeds are lanes of one program
    stop, advance, chunks = threading.Event(), deep.Lanes.advance, []
    words = {"methods": [method], "num_seeds": num_seeds}
    whole, _ = run(tmp_path / "whole", deep.deepsea(2000), [size], **words)

    def counted(self, *args):
        chunks.append(self.done)
        if len(chunks) == 1:
            stop.set()
        return advance(self, *args)

    monkeypatch.setattr(deep.runs, "interruptible", lambda: contextlib.nullcontext(stop))
    monkeypatch.setattr(deep.Lanes, "advance", counted)
    found, _ = run(tmp_path / "x", deep.deepsea(2000), [size], **words)
    assert found.empty
    stop.clear()
    found, _ = run(tmp_path / "x", deep.deepsea(2000), [size], **words)
    assert len(set(chunks)) == len(chunks)
    pd.testing.assert_frame_equal(*(rows.drop(columns=["seconds", "compile_seconds"]) for rows in (found, whole)))
    assert not (tmp_path / "x" / "under-way").exists()


def test_sigterm_keeps_what_is_done_and_is_no_fault(tmp_path):
    words = ["deepsea", "--sizes", "4", "20", "--method", "epsilon", "--seeds", "1", "--out", str(tmp_path / "x")]
    command = [sys.executable, "-m", "purejaxrl", "bench", *words, "--episodes", "5000"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("1 of 2"):
                break
        process.terminate()
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 0
    assert "interrupted: the same command goes on" in rest
    assert "Traceback" not in rest
    assert [path.name for path in (tmp_path / "x").glob("parts/*.parquet")] == ["epsilon--deepsea-4.parquet"]


def trained_at_once(self, seeds, progress, interrupted, out):
    del progress, out
    if interrupted.is_set():
        return
    rows = [
        {"seed": seed, "update": 1, "env_steps": 8, "episodes": 4, "success": 0.5, "episode_return": 0.5}
        for seed in seeds
    ]
    more = {"solved": True, "episodes_to_solve": 4.0, "steps_to_solve": 8.0, "final_success": 1.0, "final_return": 1.0}
    more |= {"method": self.method, "task": self.task, "size": self.size, "seconds": 1.0, "compile_seconds": 1.0}
    yield pd.DataFrame(rows).assign(**more)


def test_minigrid_runs_its_whole_budget(tmp_path):
    results, interrupted = run(tmp_path, deep.minigrid(), [EMPTY])
    assert not interrupted.is_set()
    assert list(results["task"]) == [EMPTY] * 2
    assert (results["env_steps"] == 6_000 // 128 * 128).all()
    assert (results["size"] == 5).all()
    curves = pd.read_parquet(tmp_path / f"parts/ppo--{EMPTY}.parquet")
    success, returns = (np.asarray(curves[name])[curves["success"].notna()] for name in ("success", "episode_return"))
    np.testing.assert_array_equal(returns > 0, success > 0)  # each success pays,
    assert (returns <= success).all()  # at most 1
    assert 0 < success.max() <= 1
    assert (tmp_path / "minigrid.png").exists()


def test_outcomes_tell_successes_from_failures():
    """On a sea of two, where 1 goes right: twice pays, and all else does not; a time limit ends an episode as well."""
    env = envs.Outcomes(envs.BsuiteDeepSea(2, randomize_actions=False))
    cell_fn, num_cells, _ = env.outcomes()
    step = jax.jit(env.step_env)
    assert num_cells == 2

    def play(actions, params=env.default_params):
        _, state = env.reset_env(jax.random.key(0), params)
        found = [int(cell_fn(state))]
        for action in actions:
            _, state, *_ = step(jax.random.key(0), state, jnp.int32(action), params)
            found.append(int(cell_fn(state)))
        return found

    assert play([1, 1]) == [-1, -1, 0]
    assert play([1, 0]) == play([0, 1]) == play([0, 0]) == [-1, -1, 1]
    assert play([1], env.default_params.replace(max_steps_in_episode=1)) == [-1, 1]


def test_succeeds_is_what_counting_says():
    rng = np.random.default_rng(0)
    for num_updates, share, least in [(40, 0.9, 1), (60, 0.85, 1), (100, 0.95, 12), (7, 0.5, 1)]:
        won, lost = rng.binomial(3, share, num_updates), rng.binomial(1, 1 - share, num_updates)
        width, expected = max(num_updates // 20, least), None
        for index in range(width - 1, num_updates):
            here = slice(index - width + 1, index + 1)
            good, ended = won[here].sum(), won[here].sum() + lost[here].sum()
            if expected is None and ended and good / ended >= 0.9:
                expected = index
        assert deep.succeeds(won.cumsum(), lost.cumsum(), num_updates, least=least) == expected
    assert deep.succeeds(np.zeros(50, int), np.zeros(50, int), 50) is None


def test_time_limits_that_come_together_do_not_hide_failures():
    """A twentieth of DoorKey-16x16's budget is less than its time limit: one early success there must not solve it."""
    piece = deep.minigrid().piece("ppo", "MiniGrid-DoorKey-16x16-v0")
    steps = piece.learner.num_steps
    num_updates = piece.total_steps // (piece.num_envs * steps)
    won, lost = np.zeros((2, num_updates), int)
    won[10::40] = 1
    lost[piece.env.max_steps // steps - 1 :: piece.env.max_steps // steps] = piece.num_envs
    assert deep.succeeds(won.cumsum(), lost.cumsum(), num_updates) is not None
    assert piece.solved(won.cumsum(), lost.cumsum(), num_updates) is None


def test_a_curve_is_thinned_and_loses_no_episode():
    rng, count = np.random.default_rng(0), 1234
    won, lost = rng.poisson(1, (2, count))
    run = pd.DataFrame({"seed": 3, "update": np.arange(1, count + 1), "env_steps": 10 * np.arange(1, count + 1)})
    ended = won + lost
    with np.errstate(invalid="ignore"):
        run = run.assign(num_episodes=ended, episode_return=won / ended, good=won.cumsum(), bad=lost.cumsum())
    thin = deep.curve(run)
    assert len(thin) == deep.POINTS
    assert thin["env_steps"].iloc[-1] == 10 * count
    assert thin["episodes"].iloc[-1] == ended.sum()
    weights = np.diff(thin["episodes"], prepend=0)
    for column in ("success", "episode_return"):
        np.testing.assert_allclose(np.nansum(thin[column] * weights), won.sum())
    assert len(deep.curve(run[:77])) == 77


def test_the_budget_may_be_larger_than_bsuites():
    bad = np.full(20_000, 10_900)
    assert np.isnan(bsuite.deep_sea_solved(bad))
    assert bsuite.deep_sea_solved(bad, within=20_000) == 12_112


def test_slope_of_a_power_law():
    sizes = np.array([10.0, 20, 40])
    assert deep_figures.slope(sizes, 3 * sizes**2.5) == pytest.approx(2.5)
    assert np.isnan(deep_figures.slope(sizes, np.array([100, 400, np.inf])))  # not that of the sizes it survived
    assert np.isnan(deep_figures.slope(sizes[:2], np.array([100.0, 400.0])))  # any two points are on a line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deepsea", "--method", "mny"], "method.*mny.*many"),
        (["deepsea", "--sizes", "1"], "size must be >= 2, got 1"),
        (["deepsea", "--episodes", "0"], "episodes must be >= 1"),
        (["deepsea", "--stochastic", "--episodes", "99"], "episodes must be >= 100"),
        (["deepsea", "--episodes", "2", "--method", "many"], "episodes must be >= 8, got 2"),
        (["deepsea", "--seeds", "0"], "seeds must be >= 1"),
        (["minigrid", "--tasks", "MiniGrid-KeyCorridorS3R4-v0"], "tasks.*S3R4.*S3R3"),
        (["minigrid", "--method", "counts"], "method.*counts.*ppo"),
    ],
)
def test_bad_input_is_refused_and_nothing_written(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as error:
        cli.main(["bench", *arguments, "--out", str(tmp_path / "x")])
    assert error.value.code == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (tmp_path / "x").exists()


def test_folders_of_something_else_are_refused(sea, tmp_path, monkeypatch):
    out, _ = sea
    with pytest.raises(SettingError, match=r"another budget than .*'episodes': 50.*give another --out"):
        run(out, deep.deepsea(50), [4])
    with pytest.raises(SettingError, match="another budget"):
        run(out, deep.minigrid(), [EMPTY])
    with monkeypatch.context() as patch:
        patch.setitem(deep.DEEPSEA, "one", lambda size: (algos.PPO(num_steps=size, **SMALL, gamma=0.5), None, 1))
        with pytest.raises(SettingError, match=r"one--deepsea-\d.parquet has another configuration \(learner\)"):
            run(out, deep.deepsea(20), [4], methods=["many"])
        patch.delitem(deep.DEEPSEA, "one")
        with pytest.raises(SettingError, match=r"is of one on \d, which there is no more"):
            run(out, deep.deepsea(20), [4], methods=["many"])
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SettingError, match="exists and is no benchmark's folder"):
        run(tmp_path, deep.deepsea(20), [4])


def test_every_method_fits_its_tasks():
    """Of the real tables, before anything compiles."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep, "DEEPSEA", deep_methods.DEEPSEA)
        patch.setattr(deep, "MINIGRID", deep_methods.MINIGRID)
        sea, grids = deep.deepsea(), deep.minigrid()
        pieces = [sea.piece(method, size) for method in deep_methods.DEEPSEA for size in (10, 50)]
        pieces += [grids.piece(method, EMPTY) for method in deep_methods.MINIGRID]
        pieces += [grids.piece("noveld", task) for task in deep_methods.GRIDS]
    for piece in pieces:
        assert piece.bind().num_updates > deep.LOOKS * piece.stops, piece.name
        assert piece.bonus is None or piece.bonus.normalise == "return_std"
    learners = [method(deep_methods.GRIDS[EMPTY])[0] for method in deep_methods.MINIGRID.values()]
    assert all(learner == learners[0] for learner in learners)
    assert set(deep_methods.GRIDS) <= set(envs.ids())
    for command, methods in ((verbs.BenchDeepsea, deep_methods.DEEPSEA), (verbs.BenchMinigrid, deep_methods.MINIGRID)):
        assert all(name in inspect.getsource(command) for name in methods), "--help names every method"
