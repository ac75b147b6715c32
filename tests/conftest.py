import gc
import importlib.metadata
import os
import sys
import time
from pathlib import Path

import pytest

# Most of the suite's time is compiling. Let tests, and the commands that they start, find what another has compiled.
CACHE = Path(__file__).parent.parent / ".pytest_cache" / "compiled"
CACHE.mkdir(parents=True, exist_ok=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# Let XLA leave out its costly passes, but in tests marked `fully_optimised`, not split a program among threads, since
# several tests run at a time, and generate code in the way that takes half the time, which later versions do not know.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
JAXLIB = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
FLAGS = ["--xla_cpu_parallel_codegen_split_count=1"]
if JAXLIB < (0, 11):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
if "PYTEST_XDIST_WORKER" not in os.environ:  # whose environment has them
    os.environ["XLA_FLAGS"] = " ".join([*os.environ.get("XLA_FLAGS", "").split(), *FLAGS])
    for path in CACHE.iterdir():
        if path.stat().st_mtime < time.time() - 7 * 86400:
            path.unlink()

# Tracing makes many objects, of which hardly any are garbage.
gc.set_threshold(50_000, 20, 100)

import jax  # noqa: E402

jax.devices()  # which read the flags now, before a command adds to them
sys.path.insert(0, str(Path(__file__).parent))  # probes, learners


@pytest.fixture(autouse=True)
def full_optimisation(request):
    jax.config.update("jax_disable_most_optimizations", "fully_optimised" not in request.keywords)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
