"""What every bonus must do, for all that the package holds."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

import purejaxrl
from purejaxrl import algos, bonuses, discovery, types

NAMES = discovery.names(bonuses)


class Pytree(probes.Clock):
    """Observations that are a tuple of a grid and a vector."""

    def obs(self, state):
        return jnp.zeros((5, 5, 2), jnp.uint8).at[0, 0, 0].set(state.x.astype(jnp.uint8)), jnp.array([state.x, 1.0])


def train_on(env, name, **settings):
    bonus = discovery.load(bonuses, name)(**settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return purejaxrl.make_train(
            env, algos.PPO(num_steps=7, hidden=(8,)), bonus=bonus, num_envs=4, total_steps=7 * 4 * 3 + 8
        )


def test_the_package_is_walked():
    assert {"counts", "rnd"} <= set(NAMES)
    assert {"dqn", "ppo", "pqn", "sac"} <= set(discovery.names(algos))
    assert dir(bonuses) == [discovery.load(bonuses, name).__name__ for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_fields(name):
    bonus = discovery.load(bonuses, name)()
    assert "coef" in jax.tree_util.keystr(jax.tree_util.tree_leaves_with_path(bonus)[0][0])
    assert bonus.normalise in types.NORMALISERS


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("env", [probes.Clock(), probes.Target(), Pytree()], ids=lambda env: env.name)
def test_trains_vmapped_over_seeds_and_coefficients(name, env):
    def run(coef, key):
        return train_on(env, name, warmup_steps=8, coef=coef)(key).metrics

    coefs, keys = jnp.array([0.0, 1.0, 2.0]), jax.random.split(jax.random.key(0), 2)
    metrics = jax.jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None)))(coefs, keys)
    assert all(np.isfinite(values).all() for key, values in metrics.items() if not key.startswith("episode"))
    assert (metrics["bonus_mean"][0] == 0).all()
    np.testing.assert_allclose(2 * metrics["bonus_mean"][1, :, 0], metrics["bonus_mean"][2, :, 0], rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_envs_does_not_matter(name):
    bonus = discovery.load(bonuses, name)()
    train = train_on(probes.Clock(), name, warmup_steps=0)
    state = bonus.init(jax.random.key(0), train.spec)
    obs = jnp.asarray(np.random.default_rng(0).normal(size=(7, 4, 1)), jnp.float32)
    batch = types.Transition(*[None] * 13).replace(next_obs=obs, obs=obs, reward=jnp.zeros((7, 4)))
    order = jnp.array([2, 0, 3, 1])
    shuffled = jax.tree.map(lambda x: x[:, order], batch)
    np.testing.assert_allclose(bonus.reward(state, shuffled, ()), bonus.reward(state, batch, ())[:, order], rtol=1e-5)
