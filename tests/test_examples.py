"""Notebooks: paired with their script, without stored outputs, and every cell runs."""

import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS or not EXAMPLES.exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_and_script_are_one(path):
    jupytext = pytest.importorskip("jupytext")
    notebook, script = jupytext.read(path), jupytext.read(path.with_suffix(".py"))
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in script.cells
    ], f"run `make notebooks` and commit {path.name} with {path.with_suffix('.py').name}"
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs(path, monkeypatch):
    nbclient, jupytext = pytest.importorskip("nbclient"), pytest.importorskip("jupytext")
    for package in re.findall(r'find_spec\("(\w+)"\) is None', path.with_suffix(".py").read_text()):
        pytest.importorskip(package)  # or the notebook would install it
    monkeypatch.setenv("EXAMPLE_STEPS", {"evolve": "1024", "tune_rnd": "1536"}.get(path.stem, "4096"))
    notebook = jupytext.read(path)
    nbclient.NotebookClient(notebook, timeout=280, kernel_name="python3").execute()
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert pictures
