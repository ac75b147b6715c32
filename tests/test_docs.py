"""The pages of algorithms and bonuses say what the code says: every option, its default and kind; snippets compile."""

import ast
import dataclasses
import importlib
import re
from pathlib import Path

import pytest

from purejaxrl import algos, bonuses, discovery

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
COMPONENTS = [(package, name) for package in (algos, bonuses) for name in discovery.names(package)]
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
