"""purejaxrl: reinforcement learning and exploration where a whole run, or a sweep of them, is one JAX function."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from purejaxrl.checking import check_env as check_env
    from purejaxrl.checkpoint import restore as restore
    from purejaxrl.checkpoint import save as save
    from purejaxrl.envs import make as make
    from purejaxrl.evaluation import evaluate as evaluate
    from purejaxrl.metrics import load as load
    from purejaxrl.population_based import pbt as pbt
    from purejaxrl.sharding import shard as shard
    from purejaxrl.sweeps import sweep as sweep
    from purejaxrl.train import Result as Result
    from purejaxrl.train import make_train as make_train

__version__ = "0.1.0"

# Imported on first use: `import purejaxrl` neither loads JAX nor touches its configuration.
_PUBLIC = {
    "Result": "train",
    "check_env": "checking",
    "evaluate": "evaluation",
    "load": "metrics",
    "make": "envs",
    "make_train": "train",
    "pbt": "population_based",
    "restore": "checkpoint",
    "save": "checkpoint",
    "shard": "sharding",
    "sweep": "sweeps",
}
__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'purejaxrl' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"purejaxrl.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
