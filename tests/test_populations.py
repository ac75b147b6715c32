"""Runs as lanes: each is the run that it would be by itself, whatever runs beside it."""

import dataclasses
import subprocess
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import probes
import pytest
from commands import with_devices
from rich.console import Console

from purejaxrl import lanes
from purejaxrl.algos import PPO
from purejaxrl.bonuses import E3B, RND, SOFE, Counts
from purejaxrl.populations import Point, Program, Setup, replaced
from purejaxrl.progress import Progress
from purejaxrl.types import SettingError

PPO_TINY = PPO(num_steps=6, num_minibatches=2, num_epochs=1, hidden=(8,))


def setup(bonus=None, total_steps=80, **kwargs):
    env = probes.Clock()
    return Setup(env, env.default_params, PPO_TINY, bonus, num_envs=2, total_steps=total_steps, **kwargs)


def run(program, points, interrupted=None):
    progress = Progress(Console(quiet=True))
    with progress.training(1):
        yield from program.run(points, progress, interrupted or threading.Event())


def test_a_number_that_is_whole_now_may_be_searched_over_others():
    assert setup(RND(coef=1)).dtype("bonus.coef") == np.float32


@pytest.mark.filterwarnings("ignore:total_steps")
def test_each_run_is_its_own():
    """Against make_train with the same numbers and key; a chunk is a part of the run, the last one shorter."""
    bonus = RND(warmup_steps=8, hidden=(8,), num_minibatches=2)
    program = Program(setup(bonus), ["bonus.coef", "algo.learning_rate"], 5)
    points = [
        Point({"bonus.coef": coef, "algo.learning_rate": 1e-3 * (seed + 1)}, seed)
        for seed, coef in enumerate([0.5, 2.0, 1.0])
    ]
    found = {}
    for batch, frame, _ in run(program, points):
        assert set(frame["point"]) == set(range(len(batch)))
        found |= {point.seed: frame[frame["point"] == number] for number, point in enumerate(batch)}
    one = setup(bonus)
    alone = jax.jit(lambda values, key: one.bind(one.components, values)(key).metrics)
    for point in points:
        expected = alone(point.values, jax.random.key(point.seed))
        for name in ("value_loss", "bonus_mean", "episode_return", "env_steps"):
            np.testing.assert_allclose(found[point.seed][name], expected[name], rtol=2e-4, atol=1e-6)
    assert len({tuple(frame["value_loss"]) for frame in found.values()}) == 3


def test_chunks_cover_the_run_once(monkeypatch):
    monkeypatch.setattr(lanes, "CHUNK_STEPS", 4 * 12)
    program = Program(setup(total_steps=11 * 12), ["algo.ent_coef"], 1)
    ((_, frame, _),) = run(program, [Point({"algo.ent_coef": 0.1}, 0)])
    assert list(frame["update"]) == list(range(1, 12))
    assert list(frame["env_steps"]) == list(range(12, 144, 12))


def test_one_program_for_all(monkeypatch):
    program = Program(setup(Counts(table_size=64)), ["bonus.coef"], 1)
    compiled, compile = [], lanes.Lanes.compile
    monkeypatch.setattr(lanes.Lanes, "compile", lambda *args: compiled.append(compile(*args)))
    for seeds in (range(3), range(7, 8)):
        list(run(program, [Point({"bonus.coef": 0.1 * seed}, seed) for seed in seeds]))
    assert len(compiled) == 1


@pytest.mark.parametrize(
    ("num_envs", "num_points", "lanes"),
    [(64, 100, 1), (128, 100, 1), (16, 100, 4), (16, 6, 3), (4, 10, 10), (4, 17, 9)],
)
def test_runs_with_few_envs_go_together(num_envs, num_points, lanes):
    """On one CPU device, in equal shares."""
    few = setup(total_steps=10_000)
    program = Program(dataclasses.replace(few, num_envs=num_envs), ["algo.ent_coef"], num_points)
    assert program.num_lanes == lanes
    assert Program(few, ["algo.ent_coef"], 5, num_lanes=3).num_lanes == 3


def test_an_interrupt_ends_it():
    interrupted = threading.Event()
    program = Program(setup(), ["algo.ent_coef"], 1)
    batches = run(program, [Point({"algo.ent_coef": 0.1}, seed) for seed in range(8)], interrupted)
    next(batches)
    interrupted.set()
    assert list(batches) == []


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("algo.learning_rat", r"algo.*learning_rate"),
        ("alg.learning_rate", r"alg.*algo"),
        ("bonus.coef", r"bonus.coef: there is no bonus"),
        ("algo.num_steps", r"algo.num_steps shapes the program"),
        ("learning_rate", r"learning_rate.*algo, bonus|part of a searched field"),
    ],
)
def test_what_cannot_be_searched_is_refused(field, message):
    with pytest.raises(SettingError, match=message):
        Program(setup(), [field], 1)


def test_settings_of_what_is_wrapped_and_of_parts_are_replaced():
    bonus = SOFE(bonus=E3B() * Counts())
    assert replaced(bonus, ["product", "e3b", "ridge"], 0.5).bonus.parts[0].ridge == 0.5
    assert replaced(SOFE(bonus=E3B()), ["e3b", "ridge"], 0.5).bonus.ridge == 0.5


def test_memory_is_that_of_the_devices_that_run(tmp_path):
    """On a CPU with a device for each core a single lane runs on one of them."""
    code = """
import jax, probes
import purejaxrl
from purejaxrl import lanes
from purejaxrl.algos import PPO
from purejaxrl.progress import Progress
from rich.console import Console
learner = PPO(num_steps=6, num_minibatches=2, hidden=(64,))
train = purejaxrl.make_train(probes.Clock(), learner, num_envs=2, total_steps=72)
found = []
for count in (1, 4):
    lanes_of = lanes.Lanes(train, lambda shared, own: train, (), (), count)
    lanes_of.compile(Progress(Console(quiet=True)))
    found.append(lanes_of.memory())
assert len(jax.devices()) == 4
assert 3.5 < found[1] / found[0] < 4.5, found
"""
    environment = with_devices(4) | {"PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200, env=environment)
