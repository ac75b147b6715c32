"""Batches that Optuna proposes: they learn, go on after a stop as if there had been none, and know every value."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from purejaxrl.search import Choice, LogUniform, Uniform
from purejaxrl.tuning import Tuner
from purejaxrl.types import SettingError

SPACE = {"a": LogUniform(1e-5, 1e-1), "b": Uniform(-2.0, 2.0), "c": [(64, 64), (32,)], "d": Choice(("x", "y", "z"))}


def value(one):
    """The best is a = 1e-3, b = 1, c = (32,), d = y, where it is 0."""
    return -((math.log10(one["a"]) + 3) ** 2) - (one["b"] - 1) ** 2 - (one["c"] != (32,)) - (one["d"] != "y")


def values(one):
    """Two objectives, the second to be small, that contradict each other in b alone."""
    good = value(one | {"b": 1})
    return [good + one["b"], one["b"] ** 2 - good]


ONE, TWO = {"final_return": "maximize"}, {"final_return": "maximize", "first_reward": "minimize"}


def study(samples=48, batch=8, sampler="tpe", seed=0, journal=None, directions=ONE):
    return Tuner(SPACE, samples, batch, sampler, seed, journal, directions)


def flat(batches):
    return [one for batch in batches for one in batch]


def play(tuner, batches=100):
    """All that is proposed, batch by batch."""
    found = []
    while batches > 0 and (new := tuner.ask()):
        found.append(new)
        tell = values if len(tuner.directions) == 2 else lambda one: [value(one)]
        tuner.tell({number: tell(one) for number, one in enumerate(flat(found))})
        batches -= 1
    return found


def test_batches_and_their_values():
    found = play(study(samples=20))
    assert [len(batch) for batch in found] == [8, 8, 4]
    for one in flat(found):
        assert list(one) == list(SPACE)
        assert 1e-5 <= one["a"] <= 1e-1
        assert one["c"] in SPACE["c"]
        assert one["d"] in ("x", "y", "z")
    assert len({one["a"] for one in flat(found)}) == 20


def test_tpe_learns():
    """The last third is much better than the first, over three seeds; a space-filling sequence's is not."""
    gains = {}
    for sampler in ("tpe", "qmc"):
        values = [[value(one) for one in flat(play(study(sampler=sampler, seed=seed)))] for seed in range(3)]
        gains[sampler] = np.mean(values, 0)[-16:].mean() - np.mean(values, 0)[:16].mean()
    assert gains["tpe"] > 1.0
    assert abs(gains["qmc"]) < 0.8


def hypervolume(points, worst):
    """The area that is dominated by points whose first coordinate should be large, the second small."""
    area, height = 0.0, worst[1]
    for x, y in sorted(points, key=lambda point: -point[0]):
        if x > worst[0] and y < height:
            area, height = area + (x - worst[0]) * (height - y), y
    return area


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_two_objectives_are_learnt(sampler):
    """Over three seeds they dominate more than as many random configurations do, TPE almost all that there is."""
    import optuna

    assert hypervolume([(1, 1), (2, 3), (0, 2)], (0, 4)) == 1 * 3 + 1 * 1

    def dominated(sampler):
        found = [flat(play(study(96, 16, sampler, seed, directions=TWO))) for seed in range(3)]
        return np.mean([hypervolume(map(values, tried), (-2, 4)) for tried in found])

    best = hypervolume([(b, b**2) for b in np.linspace(-2, 2, 1000)], (-2, 4))
    random = dominated(lambda seed: optuna.samplers.RandomSampler(seed=seed))
    assert dominated(sampler) > random + {"tpe": 0.5, "nsga2": 0.1}[sampler] * (best - random)


@pytest.mark.parametrize("sampler", ["tpe", "qmc", "nsga2"])
@pytest.mark.parametrize("directions", [ONE, TWO])
def test_going_on_proposes_what_would_have_come(sampler, directions, tmp_path):
    """Stopped after two batches, and in the middle of the third, whose values nobody told."""
    how, journal = {"sampler": sampler, "directions": directions}, tmp_path / "journal.log"
    whole, first = play(study(**how)), study(**how, journal=journal)
    assert play(first, batches=2) == whole[:2]
    assert first.ask() == whole[2]
    again = study(**how, journal=journal)
    found = play(again)
    assert found[0] == flat(whole[:3])
    assert found[1:] == whole[3:]
    assert play(study(**how, journal=journal)) == [flat(whole)]  # finished: nothing new


@pytest.mark.parametrize("sampler", ["tpe", "qmc", "nsga2"])
def test_killed_as_it_wrote_it_goes_on_as_if_not(sampler, tmp_path, monkeypatch):
    """The journal ends anywhere, with Optuna's lock beside it, a link whose relative target is not there."""
    monkeypatch.chdir(tmp_path)
    journal = Path("folder") / "journal.log"
    journal.parent.mkdir()
    whole = flat(play(study(24, sampler=sampler, journal=journal)))
    content = journal.read_bytes()
    lines = np.cumsum([0, *map(len, content.splitlines(keepends=True))])
    generator = np.random.default_rng(0)
    anywhere = [*generator.choice(lines, 12, replace=False), *generator.integers(len(content), size=6)]
    for size in anywhere:
        journal.write_bytes(content[:size])
        journal.with_name("journal.log.lock").symlink_to(journal)
        again = study(24, sampler=sampler, journal=journal)
        found = flat(play(again))
        assert found == whole, f"{size} of {len(content)} bytes"
        assert [trial.state.name for trial in again.study.trials] == ["COMPLETE"] * 24


def test_values_that_python_takes_for_equal_are_told_apart():
    space = {"a": [1, True, 1.0, "1", (8,), "(8,)"]}
    tuner = Tuner(space, 60, 60, "qmc", 0, None, ONE)
    assert {repr(one["a"]) for one in tuner.ask()} == {repr(value) for value in space["a"]}


def test_no_return_is_a_failure():
    tuner = study(samples=8, batch=4)
    tuner.ask()
    tuner.tell({0: [1.0], 2: [3.0]})
    assert [trial.state.name for trial in tuner.study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "FAIL"]
    assert tuner.study.best_value == 3.0


def test_a_sampler_of_ones_own():
    import optuna

    tuner = study(sampler=lambda seed: optuna.samplers.RandomSampler(seed=seed))
    assert len(play(tuner)) == 6
    assert isinstance(tuner.study.sampler, optuna.samplers.RandomSampler)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "tpee"}, "sampler: unknown value 'tpee'; did you mean tpe"),
        ({"samples": None}, "samples must be an integer"),
        ({"samples": 0}, "samples must be >= 1"),
        ({"batch": 0}, "batch must be >= 1"),
        ({"batch": 1, "sampler": "nsga2"}, "batch must be >= 2"),
        ({"seed": -1}, "search_seed must be >= 0"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(SettingError, match=message):
        study(**changes)


def test_without_optuna(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SettingError, match=r"pip install 'purejaxrl\[optuna\]'"):
        study()
