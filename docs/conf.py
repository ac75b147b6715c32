"""The documentation site: `make docs` builds it from the pages in this folder into build/docs."""

import ast
import dataclasses
import functools
import inspect
import io
import os
import re
import shutil
import tokenize
from pathlib import Path

import purejaxrl

HERE = Path(__file__).parent

project = "purejaxrl"
author = "the purejaxrl authors"
project_copyright = "the purejaxrl authors, Apache-2.0"
version = release = purejaxrl.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}
exclude_patterns = ["data", "**.ipynb_checkpoints"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", r".*")]  # other packages' types have no pages here; Markdown links are checked

html_theme = "furo"
html_title = f"purejaxrl {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}

myst_heading_anchors = 4  # links to #headings, as on GitHub
nb_execution_mode = os.environ.get("NOTEBOOKS", "off")  # tests/test_examples.py runs them; `make docs-full`, "cache"
nb_execution_timeout, nb_execution_raise_on_error = 1800, True
copybutton_prompt_text = r"^\$ "

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # signatures keep names and defaults; the docstrings have shapes and dtypes
default_role = "code"  # docstrings write `name` for a name
napoleon_google_docstring, napoleon_numpy_docstring, napoleon_use_rtype = True, False, False


def copy_notebooks():
    """Copy the examples here: Sphinx reads only what is in its own folder."""
    target = HERE / "notebooks"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for notebook in (HERE.parent / "examples").glob("*.ipynb"):
        shutil.copyfile(notebook, target / notebook.name)


copy_notebooks()


def adapt(app, docname, source):
    """Links to the examples, as GitHub follows them, lead to their copies here; `make soak`'s page is there or not."""
    if docname == "index" and (HERE / "soak.md").exists():
        source[0] = source[0].replace("\nperformance\n", "\nperformance\nsoak\n")
    up = "../" * docname.count("/")
    source[0] = re.sub(r"\]\((?:\.\./)+examples/(\w+\.ipynb)\)", rf"]({up}notebooks/\1)", source[0])


@functools.cache
def field_comments(cls):
    """The comment behind each field of a class's own body, as its source has it."""
    source = inspect.cleandoc("\n" + inspect.getsource(cls))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    body = ast.parse(source).body[0].body
    found = {node.target.id: comments.get(node.end_lineno, "") for node in body if isinstance(node, ast.AnnAssign)}
    return {name: comment for name, comment in found.items() if "pyright" not in comment and "type:" not in comment}


def described(cls):
    """The fields of a class of settings or state, a line each: name, default, kind and what it is."""
    comments = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("purejaxrl"):
            comments |= field_comments(base)
    settings = {field.name: field for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    for name in settings or getattr(cls, "_fields", None) or comments:
        words, field = [], settings.get(name)
        if field is not None and "bounds" in field.metadata:
            default = getattr(field.default, "__name__", None) or repr(field.default)
            words = [f"``{default}``", "traced" if field.metadata.get("pytree_node", True) else "static"]
        text = ", ".join(words) + (": " if words and comments.get(name) else "") + escaped(comments.get(name, ""))
        yield f"* ``{name}``" + (f", {text}" if text else "")


def escaped(text):
    for mark in ("*", "|", "_"):
        text = text.replace(mark, "\\" + mark)
    return text


def add_fields(app, what, name, thing, options, lines):
    """List the fields below a class's docstring; its own generated one is only its signature."""
    if what != "class" or not name.startswith("purejaxrl"):
        return
    if lines and lines[0].startswith(f"{thing.__name__}("):
        lines.clear()
    has_own = any(line.startswith((":param", ":ivar")) for line in lines)
    if not has_own and (fields := list(described(thing))):
        lines += ["", *fields, ""]


def escape_bars(app, what, name, thing, options, lines):
    """Docstrings write |x| for a size; reStructuredText takes that for a substitution."""
    pieces = (re.split(r"(``.*?``)", line) for line in lines)
    lines[:] = ["".join(x if x.startswith("``") else x.replace("|", "\\|") for x in line) for line in pieces]


def short_signature(app, what, name, thing, options, signature, returns):
    """Leave out a class's signature where its fields are listed, or where it is a protocol and nobody calls it."""
    is_listed = dataclasses.is_dataclass(thing) or hasattr(thing, "_fields") or getattr(thing, "_is_protocol", False)
    is_listed = what == "class" and is_listed
    return ("", returns) if is_listed else None


def setup(app):
    app.connect("source-read", adapt)
    app.connect("autodoc-process-docstring", escape_bars, priority=400)
    app.connect("autodoc-process-docstring", add_fields, priority=900)  # after napoleon
    app.connect("autodoc-process-signature", short_signature)
