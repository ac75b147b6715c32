"""What test_sharding.py runs in processes of its own, which have several devices: ``python sharded.py WHAT [ARGS]``."""

import re
import sys
import tempfile
import warnings

import jax
import jax.numpy as jnp
import learners
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import purejaxrl
from purejaxrl import bonuses, discovery, envs
from purejaxrl.types import SettingError, to_numpy

NUM_ENVS, UPDATES = 8, 4
PARTS = {"hidden": (8,), "num_minibatches": 2, "num_epochs": 1}
BONUSES = {
    "counts": {"table_size": 64},
    "episodic": {"table_size": 64, "episodic": True},
    "rnd": PARTS | {"warmup_steps": 2 * NUM_ENVS},
    "e3b": PARTS | {"embedding_size": 4},
    "ngu": PARTS | {"warmup_steps": 0, "embedding_size": 4, "memory_size": 8},
    "byolexplore": {"num_minibatches": 2, "num_epochs": 1},
}
NORMALISED = {"normalise_obs": True, "normalise_reward": True}


def make(env_id, learner, bonus="none", num_envs=NUM_ENVS, visits=False, **settings):
    env, env_params = purejaxrl.make(env_id)
    if bonus != "none":
        name = "counts" if bonus == "episodic" else bonus
        bonus = discovery.load(bonuses, name)(**BONUSES.get(bonus, {}))
    cells = envs.cells(env) if visits else None
    return learners.bind(
        env,
        learners.make(learner, **settings),
        bonus=None if bonus == "none" else bonus,
        env_params=env_params,
        num_envs=num_envs,
        visits=None if cells is None else (cells.cell_fn, cells.num_cells),
    )


def same(found, expected, rtol, atol):
    """Floats nearly, all else exactly."""
    pairs = zip(jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(found), strict=True)
    for (path, one), other in pairs:
        exact = not jnp.issubdtype(one.dtype, jnp.floating)
        tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": rtol, "atol": atol}
        np.testing.assert_allclose(to_numpy(other), to_numpy(one), err_msg=jax.tree_util.keystr(path), **tolerance)


def one_device(train):
    return jax.jit(lambda key: train.advance(train.init(key), UPDATES))(jax.random.key(0))


def equal(env_id, learner, bonus="none", more="{}"):
    """The run over two devices is the run on one; all of it that belongs to envs is split."""
    assert jax.device_count() == 2
    train = make(env_id, learner, bonus, **eval(more))
    sharded = purejaxrl.shard(train)
    state, metrics = sharded.advance(sharded.init(jax.random.key(0)), UPDATES)
    expected = one_device(train)
    same(metrics, expected[1], rtol=1e-4, atol=1e-5)
    same(state, expected[0], rtol=1e-4, atol=1e-5)
    assert np.sum(metrics["num_episodes"]) > 0 or "MiniGrid" in env_id or "Pendulum" in env_id
    split = (state.env, state.obs, state.actor, state.first, state.episode_return, state.episode_length)
    for leaf in jax.tree.leaves(split):
        assert {shard.data.shape for shard in leaf.addressable_shards} == {(NUM_ENVS // 2, *leaf.shape[1:])}
    replayed = [leaf for leaf in jax.tree.leaves(getattr(state.learner, "replay", None)) if leaf.ndim > 1]
    for leaf in replayed:
        assert leaf.sharding.spec == PartitionSpec(None, "envs")
    assert state.key.sharding.is_fully_replicated
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(metrics))


def local():
    """In a rollout no device waits for another, whatever the parts; only BYOL-Explore keeps a sum over all envs."""
    found = {}
    combinations = [("ppo-gru", "episodic"), ("dqn-qr-zeta", "e3b"), ("pqn", "ngu"), ("sac", "rnd")]
    for learner, bonus in [*combinations, ("ppo", "byolexplore")]:
        train = make("Pendulum-v1" if learner == "sac" else "MiniGrid-Empty-5x5-v0", learner, bonus)
        sharded = purejaxrl.shard(train)
        leaves, structure = jax.tree.flatten(jax.eval_shape(train.init, jax.random.key(0)))

        def rollout(leaves, train=train, structure=structure):
            state = jax.tree.unflatten(structure, leaves)
            return jax.tree.leaves(jax.lax.scan(train._step, state, train._keys(state.key, 4)))

        with jax.set_mesh(sharded.mesh):
            compiled = jax.jit(rollout, in_shardings=(jax.tree.leaves(sharded.shardings),)).lower(leaves).compile()
        kinds = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")
        text = compiled.as_text()
        found[learner, bonus] = {kind for kind in kinds if f" {kind}(" in text or f" {kind}-start(" in text}
    assert found.pop(("ppo", "byolexplore")) == {"all-reduce"}, "the check still finds one"
    assert not any(found.values()), found


def pieces():
    """In pieces, with a checkpoint between them, and over a mesh of one's own."""
    train, key = make("CartPole-v1", "ppo"), jax.random.key(0)
    sharded = purejaxrl.shard(train, Mesh(np.asarray(jax.devices()[::-1]), ("any",)))
    whole, expected = sharded(key)
    assert len(expected["env_steps"]) == train.num_updates == sharded.num_updates
    state, first = sharded.advance(sharded.init(key), 2)
    with tempfile.TemporaryDirectory() as folder:
        purejaxrl.save(folder + "/state", sharded.gather(state))
        restored = purejaxrl.restore(folder + "/state", like=state)
    state, second = sharded.advance(restored, train.num_updates - 2)
    same(state, whole, rtol=1e-6, atol=1e-7)
    same(jax.tree.map(lambda *rows: np.concatenate(rows), first, second), dict(expected), rtol=1e-5, atol=1e-6)


def refused():
    train = make("CartPole-v1", "ppo", num_envs=3)
    cases = [
        (lambda: purejaxrl.shard(train), "num_envs must be a multiple of the mesh's 2 devices, got 3; use 2 or 4"),
        (lambda: purejaxrl.shard(make("CartPole-v1", "ppo", num_envs=1)), "got 1; use 2, or a mesh"),
        (lambda: purejaxrl.shard(train, jax.make_mesh((1, 2), ("a", "b"))), "mesh must have one axis, got"),
        (lambda: purejaxrl.shard(learners.make("ppo")), "train must be what purejaxrl.make_train returns, got PPO"),
    ]
    for call, message in cases:
        with pytest.raises(SettingError, match=re.escape(message)):
            call()
    purejaxrl.shard(train, Mesh(np.asarray(jax.devices()[:1]), ("envs",)))


def process():
    """One of two processes with two devices each."""
    assert (jax.device_count(), jax.local_device_count()) == (4, 2)
    train = make("CartPole-v1", "ppo", "episodic")
    sharded = purejaxrl.shard(train)
    state, metrics = sharded.advance(sharded.init(jax.random.key(0)), UPDATES)
    assert not state.obs.is_fully_addressable
    expected = one_device(train)
    same(metrics, expected[1], rtol=1e-4, atol=1e-5)
    same(sharded.gather(state), expected[0], rtol=1e-4, atol=1e-5)
    # As from a checkpoint: each process has all of it.
    again, _ = sharded.advance(expected[0], 1)
    same(sharded.gather(again), sharded.gather(sharded.advance(state, 1)[0]), rtol=1e-4, atol=1e-5)
    jax.distributed.shutdown()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {f.__name__: f for f in (equal, local, pieces, refused)}[sys.argv[1]](*sys.argv[2:])
