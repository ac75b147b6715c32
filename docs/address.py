"""Write the repository's address wherever it belongs, once it has one, or another one.

    python docs/address.py OWNER/NAME

Each notebook gets an Open-in-Colab badge and installs from there, pyproject.toml its URLs, CITATION.cff its repository.
"""

import re
import sys
from pathlib import Path

import jupytext

BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
COLAB = "https://colab.research.google.com/github"


def notebook(text, name, repository):
    """A notebook's script with the badge below its title, and its package from the repository."""
    text = re.sub(rf"# {re.escape(BADGE)}.*\n#\n", "", text)
    badge = f"# {BADGE}({COLAB}/{repository}/blob/main/examples/{name}.ipynb)"
    text, titles = re.subn(r"^(# # .+\n#\n)", rf"\g<1>{badge}\n#\n", text, count=1, flags=re.MULTILINE)
    source = f"git+https://github.com/{repository}"
    text, packages = re.subn(r'^PACKAGE = "(purejaxrl(\[\w+\])?).*"', rf'PACKAGE = "\1 @ {source}"', text, flags=re.M)
    if (titles, packages) != (1, 1):
        raise ValueError(f"{name} has no title, or names no package")
    return text


def main(repository, root=Path(__file__).parents[1]):
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise SystemExit(f"the repository must be OWNER/NAME, got {repository!r}")
    for path in sorted((root / "examples").glob("*.py")):
        path.write_text(notebook(path.read_text(encoding="utf-8"), path.stem, repository), encoding="utf-8")
        jupytext.write(jupytext.read(path), path.with_suffix(".ipynb"))
    address = f"https://github.com/{repository}"
    path = root / "pyproject.toml"
    text = re.sub(r"\[project\.urls\]\n(.+\n)*\n", "", path.read_text(encoding="utf-8"))
    urls = f'[project.urls]\nRepository = "{address}"\nIssues = "{address}/issues"\n\n'
    path.write_text(text.replace("[project.scripts]\n", f"{urls}[project.scripts]\n"), encoding="utf-8")
    path = root / "CITATION.cff"
    text = re.sub(r"repository-code: .*\n", "", path.read_text(encoding="utf-8")).rstrip("\n")
    path.write_text(f'{text}\nrepository-code: "{address}"\n', encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
