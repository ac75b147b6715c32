import importlib.metadata
import os
import sys
from pathlib import Path

import pytest

# What tests compile is no use to the user's own commands; the commands that tests start inherit it.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

import jax

sys.path.insert(0, str(Path(__file__).parent))  # probes, learners

# Most of the suite's time is compiling, which this halves; later versions know no such flag. Set for this process
# alone: the commands that tests start compile as users' do.
JAXLIB = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
if "XLA_FLAGS" not in os.environ and JAXLIB < (0, 11):
    os.environ["XLA_FLAGS"] = "--xla_cpu_use_fusion_emitters=false"
    jax.devices()
    del os.environ["XLA_FLAGS"]


# Let XLA leave out its costly passes, but in tests marked `fully_optimised`: most compile much and compute little.
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True)
def full_optimisation(request):
    jax.config.update("jax_disable_most_optimizations", "fully_optimised" not in request.keywords)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
