"""Learning runs of minutes, `make test-slow`: what the README claims, on seeds that nothing was tuned on."""

import json
import subprocess
import sys

import pytest

import purejaxrl
from purejaxrl import metrics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
DEEPSEA = (
    "--env DeepSea-bsuite --env.size 20 --num-envs 32 --algo.num-steps 40 --algo.ent-coef 0.03"
    " --algo.learning-rate 2.5e-4 --total-steps 1000000"
)


def train(folder, arguments):
    command = [sys.executable, "-m", "purejaxrl", "train", *arguments.split(), "--seeds", "8", "--out", str(folder)]
    subprocess.run(command, check=True)
    return json.loads((folder / "summary.json").read_text()), purejaxrl.load(folder)


def test_cartpole_with_defaults(tmp_path):
    summary, _ = train(tmp_path / "x", "--env CartPole-v1 --algo ppo --total-steps 500000 --num-envs 4")
    assert summary["final_return_mean"] >= 475


@pytest.mark.parametrize(
    ("algo", "env", "steps", "least"),
    [("dqn", "CartPole-v1", 500_000, 400), ("pqn", "CartPole-v1", 500_000, 450), ("sac", "Pendulum-v1", 80_000, -200)],
)
def test_the_other_learners_with_defaults(algo, env, steps, least, tmp_path):
    """Training episodes: DQN and PQN still take 5 % of their actions at random."""
    summary, _ = train(tmp_path / "x", f"--env {env} --algo {algo} --total-steps {steps} --num-envs 4")
    print(algo, summary["final_return_per_seed"], summary["steps_per_second"])
    assert summary["final_return_mean"] >= least


@pytest.mark.parametrize(
    ("bonus", "least", "most"),
    [("--bonus counts", 7, 8), ("--bonus rnd --bonus.learning-rate 3e-4", 6, 8), ("--bonus none", 0, 0)],
)
def test_deepsea_is_solved_by_exploring_only(bonus, least, most, tmp_path):
    summary, frame = train(tmp_path / "x", f"{DEEPSEA} {bonus}")
    solved = sum(value > 0.9 for value in summary["final_return_per_seed"])
    print(bonus, "solved", solved, "episodes to the first success", metrics.first_success(frame, 0.9))
    assert least <= solved <= most


def test_twenty_processes_in_a_row_and_none_hangs():
    """The program that deadlocks with a batched QR: 8 seeds × 64 envs, vmapped on one CPU device."""
    program = """
import jax, purejaxrl
from purejaxrl.algos import PPO
env, env_params = purejaxrl.make("CartPole-v1")
train = purejaxrl.make_train(env, PPO(), env_params=env_params, num_envs=64, total_steps=64 * 128 * 4)
print(jax.block_until_ready(jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 8))).metrics["entropy"][:, -1])
"""
    for _ in range(20):
        subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
