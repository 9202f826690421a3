"""How the documentation is built: ``make docs``."""

from __future__ import annotations

import re
from pathlib import Path

import mexdask

HERE = Path(__file__).parent

project = "mexdask"
author = "mexdask developers"
copyright = "mexdask developers"
version = release = mexdask.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
templates_path = ["_templates"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
default_role = "py:obj"

html_theme = "sphinx_book_theme"
html_title = "mexdask"
html_theme_options = {"show_toc_level": 2, "home_page_in_toc": False}

# Pages that README, CHANGELOG and the like link to by their place in the repository.
REPOSITORY_LINK = re.compile(r"\]\((?:docs/|\.\./)?([A-Z]+|[a-z-]+)\.md(#[^)]*)?\)")
PAGE_OF = {
    "CONTRIBUTING": "contributing",
    "DECISIONS": "decisions",
    "CHANGELOG": "changelog",
    "SECURITY": "security",
}


def listed_elsewhere(text: str) -> set[str]:
    """Return the pages that the toctrees of a text name."""
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return {line.strip() for tree in trees for line in tree.splitlines()}


def fill_in(app: object, page: str, source: list[str]) -> None:
    """Put the pages that no toctree names into the index; make links of the repository ours."""
    if page == "index":
        texts = {path.stem: path.read_text(encoding="utf-8") for path in HERE.glob("*.md")}
        listed = set().union(*map(listed_elsewhere, texts.values()))
        others = sorted(set(texts) - listed - {"index"})
        source[0] = source[0].replace("OTHERS", "\n".join(others))
    own_links(source)


def included(app: object, path: object, page: str, source: list[str]) -> None:
    """Do the same to what a page includes."""
    own_links(source)


def own_links(source: list[str]) -> None:
    """Turn links between files of the repository into links between pages."""
    source[0] = REPOSITORY_LINK.sub(
        lambda m: f"]({PAGE_OF.get(m[1], m[1])}.md{m[2] or ''})", source[0]
    )


def setup(app: object) -> None:
    """Connect what changes sources as they are read."""
    app.connect("source-read", fill_in)  # type: ignore[attr-defined]
    app.connect("include-read", included)  # type: ignore[attr-defined]
