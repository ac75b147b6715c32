"""The pages say what the code says: options, defaults, kinds; links lead somewhere; snippets compile, some run."""

import ast
import dataclasses
import importlib
import re
from pathlib import Path

import pytest

import purejaxrl
from purejaxrl import algos, bonuses, discovery

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
COMPONENTS = [(package, name) for package in (algos, bonuses) for name in discovery.names(package)]
LINKED = [*PAGES, *(path for path in DOCS.parent.glob("*.md")), *DOCS.parent.glob("examples/*.md")]
RUN = ["quickstart.md", "own_environment.md", "own_bonus.md", "reading_results.md", "truncation.md", "determinism.md"]
RUN += ["migration.md"]
ROW = re.compile(r"^\| `(\w+)` \| `(.+?)` \| (\w+) \| (.+) \|$", re.MULTILINE)

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="not a source checkout")


@pytest.mark.parametrize(("package", "name"), COMPONENTS, ids=[name for _, name in COMPONENTS])
def test_the_page_lists_every_option(package, name):
    page = (DOCS / package.__name__.split(".")[-1] / f"{name}.md").read_text(encoding="utf-8")
    options = page.split("\n## Options\n")[1].split("\n## ")[0]
    expected = [
        (
            field.name,
            field.default.__name__ if callable(field.default) else repr(field.default),
            "traced" if field.metadata.get("pytree_node", True) else "static",
        )
        for field in dataclasses.fields(discovery.load(package, name))
    ]
    assert [row[:3] for row in ROW.findall(options)] == expected


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_snippets_compile_and_their_imports_exist(path):
    for code in re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        compile(code, str(path), "exec")
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(module, alias.name):  # a module that nothing has imported yet
                        importlib.import_module(f"{node.module}.{alias.name}")


def slugs(text):
    """The anchors of a page's headings, as GitHub and MyST make them."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,6} (.+)$", prose, re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading).strip().lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", LINKED, ids=lambda path: str(path.relative_to(DOCS.parent)))
def test_links_lead_somewhere(path):
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{link}: no such file"
        if anchor and target.suffix == ".md":
            assert anchor in slugs(target.read_text(encoding="utf-8")), f"{link}: no such heading"


def test_the_reference_has_every_component_and_public_name():
    text = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.rst"))
    for package, name in COMPONENTS:
        cls = discovery.load(package, name)
        assert f"autoclass:: {cls.__module__}.{cls.__name__}\n" in text
    for name in set(purejaxrl.__all__) - {"__version__"}:
        assert re.search(rf":: (purejaxrl\.(\w+\.)*)?{name}\n", text), name


@pytest.mark.parametrize("name", RUN)
def test_code_runs(name, tmp_path, monkeypatch):
    """Page by page, the blocks of a page one after the other, with few steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    page = (DOCS / name).read_text(encoding="utf-8")
    code = "\n\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    assert code
    few = re.sub(r'(total_steps"?[=:] ?)[\d_]+', r"\g<1>4_096", code)
    exec(compile(few, name, "exec"), {"__name__": "page"})
