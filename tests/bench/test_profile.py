"""Where the time goes: what belongs to which part, and how much work it is."""

import jax
import numpy as np
import pytest
from commands import main
from rich.console import Console

import purejaxrl
from purejaxrl.algos import DQN, PPO
from purejaxrl.bench import profile
from purejaxrl.bonuses import RND
from purejaxrl.progress import Progress
from purejaxrl.types import SettingError

QUIET = Progress(Console(quiet=True))

TEXT = """
%fused (p0: f32[8,4], p1: f32[4,2]) -> f32[8,2] {
  %p0 = f32[8,4]{1,0} parameter(0)
  %p1 = f32[4,2]{1,0} parameter(1)
  ROOT %dot.1 = f32[8,2]{1,0} dot(%p0, %p1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%body (carry: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %carry = (s32[], f32[8,4]{1,0}) parameter(0)
  %x = f32[8,4]{1,0} get-tuple-element(%carry), index=1
  %w = f32[4,2]{1,0} constant({...})
  %fusion.1 = f32[8,2]{1,0} fusion(%x, %w), kind=kLoop, calls=%fused
  %dot.2 = f32[4,4]{1,0} dot(%x, %x), lhs_contracting_dims={0}, metadata={op_name="jit(f)/transpose(jvp(gradient))/dot"}
  %sine = f32[8,4]{1,0} sine(%x), metadata={op_name="jit(f)/bonus/while/body/gradient/sin"}
  ROOT %tuple = (s32[], f32[8,4]{1,0}) tuple(%w, %x)
}

ENTRY %main (x: f32[8,4]) -> (s32[], f32[8,4]) {
  %x.2 = (s32[], f32[8,4]{1,0}) parameter(0)
  ROOT %while.1 = (s32[], f32[8,4]{1,0}) while(%x.2), body=%body, metadata={op_name="jit(f)/targets/while"}
}
"""


def test_operations_are_assigned_and_counted():
    found = profile.operations(TEXT)
    assert found["fusion.1"] == ("targets", 2 * 8 * 4 * 2)  # by the loop it is in; its product is its own work
    assert found["dot.2"] == ("gradient", 2 * 4 * 8 * 4)
    assert found["sine"] == ("bonus", 0)
    assert found["x.2"] == ("rest", 0)
    assert found["dot.1"].flops == 0


@pytest.fixture(scope="module")
def ppo():
    env, env_params = purejaxrl.make("CartPole-v1")
    learner = PPO(num_steps=16, num_epochs=3, num_minibatches=2)
    size = {"num_envs": 8, "total_steps": 16 * 8 * 100}
    train = purejaxrl.make_train(env, learner, bonus=RND(), env_params=env_params, **size)
    return profile.profile(train, QUIET, updates=2)


def test_the_parts_of_an_update(ppo):
    parts = ppo.parts.set_index(ppo.parts["part"] + ppo.parts.groupby("part").cumcount().astype(str))
    top = parts[~parts["part"].str.startswith(" ")]
    assert list(top["part"]) == ["rollout", "bonus", "learner", "rest"]
    assert (parts["milliseconds"] >= 0).all()
    inside = parts.loc["learner0":"rest0"].iloc[1:-1]
    assert {"  targets", "  minibatches", "  gradient", "  optimiser"} <= set(inside["part"])
    np.testing.assert_allclose(inside["milliseconds"].sum(), parts.loc["learner0", "milliseconds"])
    np.testing.assert_allclose(parts["share"], parts["milliseconds"] / (1e3 * ppo.seconds))
    assert ppo.env_steps == 16 * 8
    assert ppo.peak_flops > 1e9


def test_the_work_of_the_gradients(ppo):
    """Two networks 4-64-64 with heads of 2 actions and 2 values: forwards, of the weights, of the layers' inputs."""
    samples = 16 * 8 * 3
    forwards = 2 * samples * (2 * (4 * 64 + 64 * 64) + 64 * 2 + 64 * 2)
    inputs = 2 * samples * (2 * 64 * 64 + 64 * 2 + 64 * 2)
    gradient = ppo.parts[ppo.parts["part"] == "  gradient"]["gigaflops"].item()
    np.testing.assert_allclose(gradient, (2 * forwards + inputs) / 1e9, rtol=1e-6)


def test_a_learner_with_a_replay_memory():
    env, env_params = purejaxrl.make("CartPole-v1")
    train = purejaxrl.make_train(
        env, DQN(learning_starts=200, buffer_size=1000), env_params=env_params, num_envs=4, total_steps=4000
    )
    found = profile.profile(train, QUIET, updates=8, key=jax.random.key(1))
    assert {"  replay", "  gradient", "  optimiser"} <= set(found.parts["part"])


def test_it_is_a_command(capsys):
    options = "--env Catch-bsuite --num-envs 4 --algo.num-steps 8 --algo.hidden 8 --updates 1"
    assert main("bench", "profile", *options.split()) == 0
    printed = capsys.readouterr().out
    assert "the learner's choice of actions" in printed
    assert "an update of 32 steps takes" in printed


def test_what_cannot_be_profiled(capsys):
    with pytest.raises(SettingError, match="updates must be >= 1, got 0"):
        profile.profile(None, QUIET, updates=0)
    assert main("bench", "profile", "--env", "CartPol") == 2
    assert "did you mean CartPole-v1?" in capsys.readouterr().err
