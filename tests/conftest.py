import gc
import importlib.metadata
import os
import sys
from pathlib import Path

import pytest

# What tests compile is no use to the user's own commands; the commands that tests start inherit it.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

# Most of the suite's time is compiling: let XLA leave out its costly passes, but in tests marked `fully_optimised`, and
# generate code in the way that takes half the time, which later versions do not know. So do commands that tests start.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
JAXLIB = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
if JAXLIB < (0, 11):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false".strip()

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
