"""The package as a whole: the direction of imports, the public surface, and what a wheel holds."""

import ast
import importlib.metadata
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import purejaxrl

ROOT = Path(purejaxrl.__file__).parent
# What each part may import of ours. Ground modules import only each other; envs, bonuses and algos never each other.
ALLOWED = {
    "types": set(),
    "returns": set(),
    "moments": {"types"},
    "devices": set(),
    "distributions": set(),
    "discovery": {"types"},
    "stats": set(),
    "exploration": {"types"},
    "distributional": set(),
    "minibatches": {"devices"},
    "replay": {"types"},
    "offpolicy": {"ensembles", "replay", "types"},
    "networks": {"distributions", "types"},
    "memory": {"devices", "minibatches", "networks", "types"},
    "ensembles": {"exploration", "networks", "types"},
    "hashing": {"types"},
    "episodic": {"devices", "hashing", "types"},
    "distillation": {"minibatches", "moments", "networks", "types"},
    "dynamics": {"minibatches", "networks", "types"},
    "intrinsic": {"moments", "types"},
    "stepping": {"types", "distributions"},
    "algos": {
        *("types", "returns", "networks", "memory", "minibatches", "moments", "distributions", "distributional"),
        *("exploration", "ensembles", "replay", "offpolicy", "discovery"),
    },
    "bonuses": {
        *(
            "types",
            "devices",
            "networks",
            "minibatches",
            "moments",
            "intrinsic",
            "hashing",
            "episodic",
            "distillation",
            "dynamics",
        ),
        "discovery",
    },
    "deferred": set(),
    "envs": {"types", "deferred"},
    "visits": {"stepping", "types"},
    "resets": {"devices", "types"},
    "goexplore": {"hashing", "stepping", "types", "visits"},
    "demonstrations": {"goexplore", "resets", "stepping", "types"},
    "train": {"types", "intrinsic", "resets", "stepping", "visits"},
    "sharding": {"devices", "train", "types"},
    "evaluation": {"types", "intrinsic", "stepping", "train"},
    "checking": {"types", "stepping", "envs"},
    "diagnosis": {
        *("types", "stats", "distributions", "exploration", "hashing", "networks", "stepping", "resets", "envs"),
        *("algos", "bonuses", "train", "checking", "progress", "files", "runs", "report"),
    },
    "checkpoint": {"types", "files"},
    "trackers": {"types", "files"},
    "files": {"types"},
    "metrics": {"types", "files"},
    "watchdog": set(),
    "progress": {"watchdog"},
    "caching": set(),
    "presets": set(),
    "search": {"types"},
    "processes": {"types"},
    "tuning": {"types", "files", "search", "processes"},
    "results": {"types", "metrics", "stats"},
}
TOP = {
    "runs",
    "training",
    "gifs",
    "expressions",
    "lanes",
    "populations",
    "population_based",
    "folders",
    "engines",
    "sweeps",
    "bench",
    "report",
    "cli",
    "__init__",
    "__main__",
}  # on top: these may import anything


def imports(path):
    """Our own parts that a module imports, deferred imports included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "purejaxrl":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("purejaxrl."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("purejaxrl.")}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: imports are absolute"
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if part in TOP:
        return
    assert part in ALLOWED, f"say what {part} may import"
    own = {part} if path.parent != ROOT else set()
    assert imports(path) - own <= ALLOWED[part]


def test_every_public_name_is_there():
    for name in purejaxrl.__all__:
        assert getattr(purejaxrl, name) is not None
    assert set(dir(purejaxrl)) == set(purejaxrl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = purejaxrl.nothing


def test_importing_touches_nothing():
    code = "import sys, purejaxrl; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_environments_leave_plotting_packages_until_they_are_used():
    code = (
        "import sys\nfrom purejaxrl import envs\nfrom gymnax.environments.misc import pong\n"
        "plotting = {'seaborn', 'pandas', 'scipy.stats', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "assert not plotting, plotting\n"
        "assert len(pong.sns.color_palette('cubehelix', 3)) == 3\n"
        "import seaborn, matplotlib.pyplot\nassert seaborn.color_palette is pong.sns.color_palette\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_algorithms_stay_readable():
    for path in (ROOT / "algos").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 260, path.name


def test_a_wheel_from_the_sdist_holds_every_module(tmp_path):
    """Hatchling follows the links at the root and would drop what they point to; every module must import."""
    project = ROOT.parent
    if not (project / "pyproject.toml").exists():
        pytest.skip("not a source checkout")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(project)]
    subprocess.run(build, check=True, capture_output=True, timeout=200)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    here = {
        str(path.relative_to(ROOT.parent))
        for path in ROOT.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert here <= names
    modules = [
        "purejaxrl",
        *(m.name for m in pkgutil.walk_packages([str(ROOT)], "purejaxrl.") if "__main__" not in m.name),
    ]
    code = f"import importlib, purejaxrl\nfor m in {modules!r}: importlib.import_module(m)\nprint(purejaxrl.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "site", capture_output=True, text=True, check=True, timeout=100
    )
    assert str(tmp_path) in done.stdout
    assert importlib.metadata.version("purejaxrl") == purejaxrl.__version__
