import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest

import purejaxrl
from purejaxrl.algos import PPO
from purejaxrl.bonuses import RND
from purejaxrl.checkpoint import CheckpointError

TREE = {
    "floats": jnp.arange(6.0).reshape(2, 3),
    "half": jnp.ones(3, jnp.bfloat16),
    "flag": jnp.array(True),
    "words": jnp.array([1, 2], jnp.uint32),
    "empty": jnp.zeros((0, 3)),
    "key": jax.random.key(7),
    "keys": jax.random.split(jax.random.key(7, impl="rbg"), 3),
    "nothing": None,
    "pair": (jnp.zeros(()), ()),
}


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


def test_round_trip_is_exact(tmp_path):
    purejaxrl.save(tmp_path / "deep" / "state", TREE)
    same(purejaxrl.restore(tmp_path / "deep" / "state", like=TREE), TREE)
    same(purejaxrl.restore(tmp_path / "deep" / "state", like=jax.eval_shape(lambda: TREE)), TREE)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["state"]


def test_numpy_leaves_keep_their_64_bits(tmp_path):
    tree = {"steps": np.array([2**40]), "mean": np.array(1 / 3)}
    purejaxrl.save(tmp_path / "state", tree)
    same(purejaxrl.restore(tmp_path / "state", like=tree), tree)


def test_what_has_64_bits_is_not_narrowed(tmp_path):
    tree = {"steps": 2**40 + 7, "mean": 0.1, "scalar": np.int64(2**33)}
    purejaxrl.save(tmp_path / "state", tree)
    shapes = {"steps": np.int64, "mean": np.float64, "scalar": np.int64}
    shapes = {name: jax.ShapeDtypeStruct((), dtype) for name, dtype in shapes.items()}
    for like in (tree, shapes):
        assert purejaxrl.restore(tmp_path / "state", like=like) == tree


def test_relative_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    purejaxrl.save("state", TREE)
    same(purejaxrl.restore("state", like=TREE), TREE)


def test_a_run_goes_on_from_disk_bit_for_bit(tmp_path):
    learner = PPO(num_steps=8, hidden=(8,), normalise_obs=True, normalise_reward=True)
    bonus = RND(warmup_steps=8, hidden=(8,))
    train = purejaxrl.make_train(probes.RewardFromObs(), learner, bonus=bonus, num_envs=4, total_steps=8 + 32 * 4)
    advance = jax.jit(train.advance, static_argnums=1)
    half, _ = advance(jax.jit(train.init)(jax.random.key(0)), 2)
    purejaxrl.save(tmp_path / "half", half)
    like = jax.eval_shape(train.init, jax.random.key(0))
    same(advance(purejaxrl.restore(tmp_path / "half", like=like), 2)[0], advance(half, 2)[0])


def test_never_overwrites(tmp_path):
    purejaxrl.save(tmp_path / "state", TREE)
    with pytest.raises(CheckpointError, match="already exists"):
        purejaxrl.save(tmp_path / "state", TREE)


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({**TREE, "floats": jnp.zeros((3, 2))}, r"\['floats'\] float32\[2, 3\] where \['floats'\] float32\[3, 2\]"),
        ({**TREE, "floats": jnp.zeros((2, 3), jnp.int32)}, r"float32\[2, 3\] where .* int32\[2, 3\]"),
        ({**TREE, "floats": None}, r"where \['half'\]|\['floats'\]"),
        ({**TREE, "zoo": jnp.zeros(2)}, r"the checkpoint lacks \['zoo'\] float32\[2\]"),
        ({k: v for k, v in TREE.items() if k != "words"}, r"`like` lacks \['words'\]"),
        ({**TREE, "key": jax.random.key(7, impl="rbg")}, r"key<fry>.* where .*key<rbg>"),
    ],
)
def test_another_structure_is_refused(tmp_path, like, message):
    purejaxrl.save(tmp_path / "state", TREE)
    with pytest.raises(CheckpointError, match=message):
        purejaxrl.restore(tmp_path / "state", like=like)


def test_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match=r"is not a checkpoint: it has no readable manifest.json"):
        purejaxrl.restore(tmp_path / "missing", like=TREE)


def test_damage_is_noticed(tmp_path):
    """A flipped bit anywhere in the arrays or the manifest's digests, a cut manifest, other formats, missing data."""
    purejaxrl.save(tmp_path / "good", TREE)
    files = [path for path in (tmp_path / "good" / "arrays").rglob("*") if path.is_file() and path.stat().st_size > 0]
    generator = np.random.default_rng(0)
    for trial in range(20):
        broken = tmp_path / f"broken{trial}"
        shutil.copytree(tmp_path / "good", broken)
        path = broken / files[trial % len(files)].relative_to(tmp_path / "good")
        content = bytearray(path.read_bytes())
        content[generator.integers(len(content))] ^= 1 << generator.integers(8)
        path.write_bytes(content)
        name = path.relative_to(broken)
        with pytest.raises(CheckpointError, match=f"damaged: {name} is missing, new or changed"):
            purejaxrl.restore(broken, like=TREE)
    manifest = tmp_path / "good" / "manifest.json"
    content = json.loads(manifest.read_text())
    forged = [{**leaf, "sha256": "0"} for leaf in content["leaves"]]
    for damaged, message in (
        (manifest.read_text()[:-20], "damaged"),
        (json.dumps({**content, "format": 99}), "format 99; this version reads format 3"),
        (json.dumps({"format": 1, "leaves": content["leaves"]}), "format 1; this version reads format 3"),
        (json.dumps([1]), "damaged"),
        (json.dumps({**content, "leaves": forged}), "match its SHA-256"),
        (json.dumps({**content, "leaves": content["leaves"][:-1]}), "the checkpoint lacks"),
        (json.dumps({**content, "files": {}}), "damaged: arrays/"),
        (json.dumps({**content, "files": None}), "lacks the files' SHA-256"),
    ):
        manifest.write_text(damaged)
        with pytest.raises(CheckpointError, match=message):
            purejaxrl.restore(tmp_path / "good", like=TREE)
    manifest.write_text(json.dumps(content))
    shutil.rmtree(tmp_path / "good" / "arrays")
    with pytest.raises(CheckpointError, match="damaged: arrays/"):
        purejaxrl.restore(tmp_path / "good", like=TREE)


def test_nothing_is_left_of_a_failed_save(tmp_path, monkeypatch):
    from orbax.checkpoint import v1 as ocp

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ocp, "save", full)
    with pytest.raises(OSError, match="No space left"):
        purejaxrl.save(tmp_path / "state", TREE)
    assert not list(tmp_path.iterdir())
