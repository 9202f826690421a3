"""The notebook of the documentation runs, and every page is in a table of contents."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import mexdask

DOCS = Path(__file__).resolve().parent.parent / "docs"
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_every_page_is_in_one_table_of_contents():
    """The index lists what no other page does, so it is enough that no page stands in two."""
    listed = [
        line
        for page in DOCS.glob("*.md")
        for tree in TOCTREE.findall(page.read_text(encoding="utf-8"))
        for line in tree.split()
        if not line.startswith(":") and line not in ("More", "OTHERS")
    ]
    assert len(set(listed)) == len(listed)
    pages = {path.stem for path in (*DOCS.glob("*.md"), *DOCS.glob("*.ipynb"))}
    assert not set(listed) - pages
    assert "OTHERS" in (DOCS / "index.md").read_text(encoding="utf-8")


def test_the_page_on_the_python_interface_has_every_public_name():
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    assert set(mexdask.__all__) <= set(re.findall(r"^   (\w+)$", text, re.MULTILINE))


@pytest.mark.parametrize("notebook", sorted(DOCS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_run(notebook: Path, monkeypatch: pytest.MonkeyPatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert texts
    assert not [cell for cell in cells if cell.get("outputs")], "outputs are made by `make docs`"
    namespace = {"__name__": "notebook"}
    for number, text in enumerate(texts):
        exec(compile(text, f"<cell {number} of {notebook.name}>", "exec"), namespace)
