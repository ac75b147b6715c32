"""Notebooks: paired with their script, without stored outputs, and every cell runs."""

import re
import runpy
import shutil
import tomllib
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


@pytest.mark.skipif(not EXAMPLES.exists(), reason="not a source checkout")
def test_the_repository_s_address_goes_where_it_belongs(tmp_path):
    """Badges, what notebooks install, the package's URLs; another address takes the first one's place."""
    jupytext = pytest.importorskip("jupytext")
    for name in ("pyproject.toml", "CITATION.cff"):
        shutil.copy(EXAMPLES.parent / name, tmp_path)
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    main = runpy.run_path(str(EXAMPLES.parent / "docs" / "address.py"))["main"]
    with pytest.raises(SystemExit, match="OWNER/NAME"):
        main("somewhere", tmp_path)
    for repository in ("one/first", "other/second", "other/second"):
        main(repository, tmp_path)
    assert {path.name for path in NOTEBOOKS} == {path.name for path in (tmp_path / "examples").glob("*.ipynb")}
    for path in (tmp_path / "examples").glob("*.ipynb"):
        notebook, script = jupytext.read(path), jupytext.read(path.with_suffix(".py"))
        assert [cell.source for cell in notebook.cells] == [cell.source for cell in script.cells]
        title, badge = notebook.cells[0].source.splitlines()[:3:2]
        assert title.startswith("# ")
        assert badge.endswith(f"(https://colab.research.google.com/github/other/second/blob/main/examples/{path.name})")
        assert re.search(
            r'^PACKAGE = "purejaxrl(\[\w+\])? @ git\+https://github.com/other/second"$', notebook.cells[1].source, re.M
        )
        assert "one/first" not in notebook.cells[0].source
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Repository"] == "https://github.com/other/second"
    assert project["scripts"]["purejaxrl"]
    citation = (tmp_path / "CITATION.cff").read_text()
    assert citation.count("repository-code:") == 1
    assert "other/second" in citation


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs(path, monkeypatch):
    nbclient, jupytext = pytest.importorskip("nbclient"), pytest.importorskip("jupytext")
    for package in re.findall(r'find_spec\("(\w+)"\) is None', path.with_suffix(".py").read_text()):
        pytest.importorskip(package)  # or the notebook would install it
    monkeypatch.setenv("EXAMPLE_STEPS", {"evolve": "512", "tune_rnd": "1536"}.get(path.stem, "4096"))
    notebook = jupytext.read(path)
    nbclient.NotebookClient(notebook, timeout=280, kernel_name="python3").execute()
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert pictures
