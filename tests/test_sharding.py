"""One run over several devices: the same run, split where it can be, without waiting within a rollout."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import free_port, with_devices

SCRIPT = Path(__file__).with_name("sharded.py")

# Before anything else: gymnax starts JAX's backends when it is imported.
PROCESS = """
import sys, jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{sys.argv[2]}", 2, int(sys.argv[1]), initialization_timeout=60)
sys.path.insert(0, sys.argv[3])
import sharded
sharded.process()
"""


def start(*command):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    # Two devices of two cores, so that collectives find a thread for each.
    return subprocess.Popen([sys.executable, *map(str, command)], env=with_devices(2), **pipes)


def finish(*processes, timeout=280):
    """Wait for them all; none is left behind, whatever happens."""
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert all(process.returncode == 0 for process in processes), "\n".join(outputs)[-6000:]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(("CartPole-v1", "ppo", "rnd", "NORMALISED"), marks=pytest.mark.slow),
        ("CartPole-v1", "ppo-gru", "ngu"),
        pytest.param(("CartPole-v1", "pqn", "e3b"), marks=pytest.mark.slow),
        pytest.param(("CartPole-v1", "dqn", "episodic"), marks=pytest.mark.slow),
        ("DeepSea-bsuite", "dqn-rainbow", "counts", "{'visits': True}"),
        pytest.param(("MiniGrid-DoorKey-5x5-v0", "ppo"), marks=pytest.mark.slow),
        pytest.param(("Pendulum-v1", "sac"), marks=pytest.mark.slow),
    ],
    ids="-".join,
)
def test_the_same_run_as_on_one_device(case):
    finish(start(SCRIPT, "equal", *case))


def test_no_device_waits_within_a_rollout():
    finish(start(SCRIPT, "local"))


def test_in_pieces_from_a_checkpoint_on_any_mesh():
    finish(start(SCRIPT, "pieces"))


def test_what_cannot_be_shared_out_is_refused():
    finish(start(SCRIPT, "refused"))


def test_two_processes():
    port = free_port()
    finish(*(start("-c", PROCESS, number, port, SCRIPT.parent) for number in range(2)))
