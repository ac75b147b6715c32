"""What `purejaxrl list envs` says, and that nothing is compiled for it."""

import gymnax
import jax
import probes
import pytest

from purejaxrl import envs
from purejaxrl.envs import catalogue


@pytest.mark.parametrize("env_id", ["DeepSea-bsuite", "Breakout-MinAtar", "Chain-v0"])
def test_nothing_is_compiled(env_id, caplog):
    with jax.log_compiles():
        assert catalogue.entry(env_id).observation.startswith("float32")
        assert not [record for record in caplog.records if "Compiling" in record.message]
        jax.jit(lambda x: x + 1)(1)  # and would be seen
    assert [record for record in caplog.records if "Compiling" in record.message]


@pytest.mark.parametrize("env_id", {family: env_id for env_id, (family, _) in envs.minigrid.TASKS.items()}.values())
def test_minigrid_s_observations_are_as_declared(env_id):
    """Levels are not traced for the list."""
    env, params = envs.make(env_id)
    obs, _ = jax.eval_shape(env.reset_env, jax.random.key(0), params)
    shown = ", ".join(f"{leaf.dtype} {'x'.join(map(str, leaf.shape))}" for leaf in jax.tree.leaves(obs))
    assert catalogue.entry(env_id).observation == shown


def test_what_exploration_is_about():
    """Reasons are of ids that exist; all that is made for sparse rewards has one."""
    assert set(catalogue.HARD) <= set(envs.ids())
    hard = {env_id for env_id in envs.ids() if catalogue.entry(env_id).hard}
    assert {env_id for env_id in envs.ids() if env_id.startswith(("Sparse", "Deceptive", "BsuiteDeepSea"))} <= hard
    assert not {"CartPole-v1", "RandomMDP-v0", "Breakout-MinAtar"} & hard


class Odd(probes.MultiTarget):
    """Two components of actions, a tree of observations, no step limit."""

    hard_exploration = "it says so"
    default_params = ()

    def obs(self, state):
        return {"x": state.x, "all": super().obs(state)}


def test_what_others_register():
    gymnax.register("Odd-test", Odd)
    try:
        found = catalogue.entry("Odd-test")
    finally:
        gymnax.registration._registry.pop("Odd-test")
        gymnax.registered_envs.remove("Odd-test")
    assert found[1:4] == ("float32 1, float32", "2 x 3", "")
    assert found.source == Odd.__module__.split(".")[0]
    assert found.hard == "it says so"
