"""The cache of compiled programs: it saves compiling in the next process, and is the user's alone."""

import os
import stat
import subprocess
import sys

import jax
import pytest

from purejaxrl import caching

NAMES = [
    "jax_compilation_cache_dir",
    "jax_compilation_cache_max_size",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_enable_compilation_cache",
]


@pytest.fixture(autouse=True)
def _restored():
    before = {name: getattr(jax.config, name) for name in NAMES}
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_the_folder_is_the_user_s_alone(tmp_path):
    assert caching.use(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "a" / "b")


@pytest.mark.parametrize("mode", [0o777, 0o720])
def test_a_folder_that_others_may_write_is_not_used(mode, tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    assert caching.use(folder) is None
    assert jax.config.jax_compilation_cache_dir is None


def test_a_file_in_the_way_is_no_error(tmp_path):
    (tmp_path / "x").write_text("")
    assert caching.use(tmp_path / "x") is None
    assert caching.use(tmp_path / "x" / "y") is None


def test_jax_s_own_settings_win(tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    assert caching.use(tmp_path / "x") is None
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_enable_compilation_cache", False)
    assert caching.use(tmp_path / "x") is None
    assert not (tmp_path / "x").exists()


def test_the_default_is_below_the_user_s_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert caching.default() == tmp_path / "purejaxrl" / "jax"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert caching.default() == tmp_path / ".cache" / "purejaxrl" / "jax"


def test_the_second_process_finds_the_first_one_s_programs(tmp_path):
    """Written once and only read again; a cached program says so through JAX's own events."""
    code = """
import sys, jax, pathlib
from purejaxrl import caching
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event) if "cache_hits" in event else None)
caching.SHORTEST_SECONDS = 0
assert caching.use(pathlib.Path(sys.argv[1]))
jax.jit(lambda x: jax.lax.fori_loop(0, 100, lambda i, x: x * x.sum(), x))(jax.numpy.ones(8))
print(len(hits))
"""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    command = [sys.executable, "-c", code, str(tmp_path / "x")]
    hits, files = [], []
    for _ in range(2):
        done = subprocess.run(command, check=True, timeout=120, env=environment, capture_output=True, text=True)
        hits.append(int(done.stdout))
        files.append({path.name for path in (tmp_path / "x").glob("*-cache")})
    assert hits[0] == 0 < hits[1]
    assert files[0] == files[1] != set()
