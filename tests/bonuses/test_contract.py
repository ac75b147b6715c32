"""What every bonus must do, for all that the package holds."""

from pathlib import Path

import jax
import jax.numpy as jnp
import learners
import numpy as np
import probes
import pytest
from trajectories import play, spec, walk

from purejaxrl import algos, bonuses, discovery, types
from purejaxrl.bonuses import Counts
from purejaxrl.types import SettingError

NAMES = discovery.names(bonuses)
DOCS = Path(__file__).parent.parent.parent / "docs"
FAST = {"hidden": (16,), "embedding_size": 8, "learning_rate": 3e-3, "update_fraction": 1.0}
# Small, and fast enough learners of their models for a test; what is left out keeps its default.
SETTINGS = {
    "byolexplore": {
        **{"hidden": (16,), "embedding_size": 8, "memory_size": 8, "horizon": 3, "learning_rate": 3e-3},
        **{"num_minibatches": 2, "prioritise": False},
    },
    "cfn": {"hidden": (16,), "learning_rate": 3e-3, "buffer_size": 2**10, "batch_size": 64},
    "counts": {"table_size": 2**10},
    "disagreement": {"hidden": (16,), "embedding_size": 8, "learning_rate": 3e-3},
    "e3b": {"hidden": (16,), "embedding_size": 8, "learning_rate": 3e-3},
    "icm": {"hidden": (16,), "embedding_size": 8, "learning_rate": 3e-3},
    "ngu": {"hidden": (16,), "embedding_size": 8, "memory_size": 16},
    "noveld": {**FAST, "table_size": 2**10},
    "re3": {"hidden": (16,), "embedding_size": 8, "memory_size": 32},
    "ride": {"hidden": (16,), "embedding_size": 8, "learning_rate": 3e-3, "table_size": 2**10},
    "rnd": FAST,
    "sofe": {"bonus": Counts(episodic=True, table_size=2**6)},
}


class Pytree(probes.Clock):
    """Observations that are a tuple of a grid and a vector."""

    def obs(self, state):
        return jnp.zeros((5, 5, 2), jnp.uint8).at[0, 0, 0].set(state.x.astype(jnp.uint8)), jnp.array([state.x, 1.0])


def make(name, **settings):
    return discovery.load(bonuses, name)(**(SETTINGS.get(name, {}) | {"warmup_steps": 0} | settings))


def bind(env, name, **settings):
    learner = algos.PPO(num_steps=7, hidden=(8,), num_minibatches=1, num_epochs=1)
    return learners.bind(env, learner, bonus=make(name, **settings), num_envs=4, total_steps=7 * 4 * 3 + 8)


def random_walk(seed, steps, envs):
    generator = np.random.default_rng(seed)
    path = generator.normal(size=(steps + 1, envs, 3))
    return path, generator.random((steps, envs)) < 0.2, generator.integers(0, 3, (steps, envs)).astype(np.int32)


DESIGNED = ["counts", "rnd", "noveld", "e3b", "icm", "disagreement", "re3", "ngu", "ride", "byolexplore", "cfn"]


def test_the_package_is_walked():
    assert {*DESIGNED, "sofe"} <= set(NAMES)
    assert {"dqn", "ppo", "pqn", "sac"} <= set(discovery.names(algos))
    assert dir(bonuses) == [discovery.load(bonuses, name).__name__ for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_fields(name):
    bonus = discovery.load(bonuses, name)()
    assert "coef" in jax.tree_util.keystr(jax.tree_util.tree_leaves_with_path(bonus)[0][0])
    assert bonus.normalise in types.NORMALISERS


@pytest.mark.parametrize("name", NAMES)
def test_trains_vmapped_over_seeds_and_coefficients(name):
    """Each lane with its seed and coefficient, whatever the other lanes do; num_envs is not num_steps."""

    def run(coef, key):
        return bind(Pytree(), name, warmup_steps=8, coef=coef)(key).metrics

    coefs, keys = jnp.array([0.0, 1.0, 2.0]), jax.random.split(jax.random.key(0), 2)
    program = jax.jit(jax.vmap(jax.vmap(run, (None, 0)), (0, None)))
    metrics = program(coefs, keys)
    by_chance = "episode", "first_reward"  # NaN where there was none
    assert all(np.isfinite(values).all() for key, values in metrics.items() if not key.startswith(by_chance))
    pages = "bonuses/README.md", "algos/README.md", "algos/ppo.md"
    documented = "".join((DOCS / page).read_text() for page in pages)
    assert all(f"`{metric}`" in documented for metric in metrics)
    assert (metrics["bonus_mean"][0] == 0).all()
    np.testing.assert_allclose(2 * metrics["bonus_mean"][1, :, 0], metrics["bonus_mean"][2, :, 0], rtol=1e-4)
    other = program(jnp.array([3.0, 1.0, 0.5]), jax.random.split(jax.random.key(1), 2).at[1].set(keys[1]))
    for metric in ("bonus_raw_mean", "value_loss"):
        np.testing.assert_array_equal(other[metric][1, 1], metrics[metric][1, 1])
        assert (other[metric][0, 0] != metrics[metric][0, 0]).any() or name in ("counts", "sofe")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("env", [probes.Target(), probes.MultiTarget()], ids=lambda env: env.name)
def test_every_kind_of_action(name, env):
    """Traced, not compiled."""
    program = jax.jit(jax.vmap(bind(env, name, warmup_steps=8))).lower(jax.random.split(jax.random.key(0), 2))
    assert program.out_info.metrics["bonus_mean"].shape == (2, 3)
    assert not learners.lapack_calls(program)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_envs_does_not_matter(name):
    bonus, order = make(name), np.array([2, 0, 3, 1])
    state = bonus.init(jax.random.key(0), spec(4, 7, features=3))
    batch = walk(*random_walk(0, 7, 4))
    shuffled = jax.tree.map(lambda x: x[:, order], batch)
    values = jax.jit(lambda batch: play(bonus, state, batch)[2])
    raw, other = values(batch), values(shuffled)
    assert raw.shape == (7, 4)
    np.testing.assert_allclose(other, raw[:, order], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_novelty_falls_with_visits(name):
    """Round and round four observations in one long episode: the bonus falls to less than half."""
    bonus = make(name)
    cycle = np.eye(4)[:, :3] + 0.5
    path = np.broadcast_to(cycle[np.arange(17) % 4][:, None], (17, 5, 3))
    batch = walk(path, action=np.broadcast_to((np.arange(16) % 3)[:, None], (16, 5)).astype(np.int32))
    state, means = bonus.init(jax.random.key(0), spec(5, 16, features=3)), []

    @jax.jit
    def step(state, batch, key):
        state, batch, raw = play(bonus, state, batch)
        return bonus.update(state, key, batch)[0], raw

    for index in range(120):
        state, raw = step(state, batch.replace(first=batch.first & (index == 0)), jax.random.key(index))
        means.append(np.asarray(raw).mean())
    assert np.mean(means[-4:]) < 0.5 * np.asarray(means[0])


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_ends_in_its_true_last_observation_and_forgets_only_itself(name):
    """Two passes over the same observations: env 0 is done in between, env 1 is not."""
    bonus = make(name)
    path, _, action = random_walk(1, 6, 2)
    path, action = np.concatenate([path[:-1], path]), np.concatenate([action, action])
    path, action = path[:, :1].repeat(2, 1), action[:, :1].repeat(2, 1)
    done = np.zeros((12, 2), bool)
    done[5, 0] = True
    batch = walk(path, done, action)
    final = batch.next_obs.copy()
    final[5, 0] += 1.0  # true last observation of env 0: no part of the next episode
    batch = batch.replace(next_obs=final)
    state = bonus.init(jax.random.key(0), spec(2, 12, features=3))
    raw = np.asarray(jax.jit(lambda batch: play(bonus, state, batch)[2])(batch))
    np.testing.assert_allclose(raw[:5, 0], raw[:5, 1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(raw[6:11, 0], raw[:5, 0], rtol=1e-3, atol=1e-5)  # a fresh episode
    # Counts know no observation yet, and Disagreement's bonus is one of (s, a): neither sees what s' is here.
    if name not in ("counts", "sofe", "disagreement"):
        assert abs(raw[5, 0] - raw[5, 1]) > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_stays_finite(name):
    """With constant observations and with huge ones."""
    bonus = make(name)
    start = bonus.init(jax.random.key(0), spec(3, 8, features=3))
    path, done, action = random_walk(2, 8, 3)

    @jax.jit
    def step(state, batch, key):
        state, batch, raw = play(bonus, state, batch)
        return *bonus.update(state, key, batch), raw

    for size in (0.0, 1e30):
        state, batch = start, walk(path * size, done, action)
        for index in range(3):
            state, *found = step(state, batch, jax.random.key(index))
            leaves = [leaf for leaf in jax.tree.leaves((state, found)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
            assert all(np.isfinite(leaf).all() for leaf in leaves), size


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_finite_is_refused(name):
    for coef in (np.nan, np.inf, -1.0):
        with pytest.raises(SettingError, match=r"bonus.coef must be finite and >= 0"):
            bind(probes.Clock(), name, coef=coef)
    with pytest.raises(SettingError, match=r"bonus.decay must be finite and >= 0 and < 1"):
        bind(probes.Clock(), name, decay=1.0)
