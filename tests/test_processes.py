"""Several processes on one machine work as one: the results are those of one process with as many devices."""

import os
import subprocess
import sys

import pandas as pd
import pytest
from commands import free_port, main, with_devices

import purejaxrl
from purejaxrl import processes

pytest.importorskip("optuna")
# Each call of a process: what it found, or how it was refused. The second process is the one that is interrupted.
PROGRAM = """
import sys, jax
count, number, port, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
if count > 1:
    jax.distributed.initialize(f"localhost:{port}", num_processes=count, process_id=number, initialization_timeout=60)
import purejaxrl
from purejaxrl import runs, sweeps
from purejaxrl.algos import PPO
from purejaxrl.search import LogUniform
from purejaxrl.types import SettingError
assert jax.device_count() == 4

def sweep(name, **changes):
    learner = PPO(num_steps=16, num_minibatches=2, num_epochs=1, hidden=(8,))
    settings = {"search": {"algo.learning_rate": [1e-4, 1e-3, 1e-2], "algo.num_epochs": [1, 2]}, "seeds": 2} | changes
    folder = f"{out}/{name}"
    return purejaxrl.sweep("CartPole-v1", learner, num_envs=4, total_steps=64 * 8, num_lanes=4, out=folder, **settings)

halved = {"rungs": (0.5,), "keep": 0.5}
tuned = {"search": {"algo.learning_rate": LogUniform(1e-4, 1e-2)}, "sampler": "tpe"}
tuned |= {"samples": 4, "batch": 2}
found = sweep("halved", **halved)
assert found.complete
sweep("tuned", **tuned)

interruptible, keep = runs.interruptible, sweeps._Run._keep
class Stopped(Exception): pass
def kept(self, part, train):
    keep(self, part, train)
    if number == count - 1:
        interrupt.set()
def once():
    global interrupt
    interrupt = runs.Interrupt()
    import contextlib
    return contextlib.nullcontext(interrupt)
runs.interruptible, sweeps._Run._keep = once, kept
part = sweep("stopped", **halved)
assert not part.complete
runs.interruptible, sweeps._Run._keep = interruptible, keep
assert sweep("stopped", **halved).complete
for name in ("stopped", "tuned"):
    try:
        sweep(name, seeds=3)
    except SettingError as error:
        assert "of another sweep" in str(error), error
    else:
        raise AssertionError("not refused")
if count > 1:
    try:
        search = {"algo.gamma": [0.9, 0.99]}
        purejaxrl.pbt("CartPole-v1", PPO(), search=search, interval=512, num_envs=4, total_steps=2048)
    except SettingError as error:
        assert "pbt runs in one process" in str(error), error
print(len(found.frame), sum(found.best()["final_return"]))
"""


def _run(commands, environs):
    """Run the processes together and return what each printed."""
    started = [
        subprocess.Popen([sys.executable, *command], env=os.environ | environ, stdout=subprocess.PIPE, text=True)
        for command, environ in zip(commands, environs, strict=True)
    ]
    try:
        printed = [process.communicate(timeout=270)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * len(started)
    return printed


def _together(count, out):
    """Run the program in so many processes that have four devices in all, and return the last line of each."""
    port, environ = free_port(), with_devices(4 // count)
    commands = [["-c", PROGRAM, str(count), str(number), port, str(out)] for number in range(count)]
    return [lines.splitlines()[-1] for lines in _run(commands, [environ] * count)]


@pytest.mark.slow
@pytest.mark.timeout(560)
def test_two_processes_are_as_one(tmp_path):
    """Halving, proposals, an interrupt of one process alone, and refusals; equal to the bit."""
    alone, both = _together(1, tmp_path / "alone"), _together(2, tmp_path / "both")
    assert both == alone * 2
    for name in ("halved", "tuned", "stopped"):
        one, two = (purejaxrl.load(tmp_path / who / name) for who in ("alone", "both"))
        same = [column for column in one.columns if column != "seconds"]
        pd.testing.assert_frame_equal(one[same], two[same], check_exact=True)
    whole, stopped = (purejaxrl.load(tmp_path / "both" / name) for name in ("halved", "stopped"))
    same = [column for column in whole.columns if column != "seconds"]
    pd.testing.assert_frame_equal(whole[same], stopped[same], check_exact=True)


def test_alone_nothing_is_asked_of_others():
    assert processes.is_first()
    assert processes.from_first(lambda: processes) is processes  # no JSON value
    assert processes.anywhere(True)
    assert not processes.anywhere(False)


def test_the_command_line_joins_its_launcher(tmp_path):
    """With the variables that Slurm sets; one process writes and prints."""
    options = "--env CartPole-v1 --search algo.gamma=0.9,0.99 --seeds 2 --total-steps 512 --algo.num-steps 16"
    command = ["-m", "purejaxrl", "sweep", *options.split(), "--distributed", "--out", str(tmp_path / "x")]
    job = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_NODEID": "0"}
    job["JAX_COORDINATOR_ADDRESS"] = f"localhost:{free_port()}"
    tasks = [job | {"SLURM_PROCID": number, "SLURM_LOCALID": number} for number in "01"]
    first, second = _run([command] * 2, tasks)
    assert "the best 2 configurations" in first
    assert all(line.startswith("[Gloo]") for line in second.splitlines())  # which JAX's own library prints
    assert purejaxrl.load(tmp_path / "x").groupby(["config_id", "seed"]).ngroups == 4


def test_no_launcher(capsys):
    assert main("sweep", "--env", "CartPole-v1", "--search", "algo.gamma=0.9", "--distributed") == 2
    assert "distributed: start several processes with srun or mpirun" in capsys.readouterr().err
