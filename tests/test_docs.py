"""Every Python block of the documentation runs, and prints what the text block after it says."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import NamedTuple

import pytest

TOP = Path(__file__).resolve().parent.parent
TUTORIALS = ("README.md", "docs/language.md", "docs/xarray.md")
# The blocks of diagnostics.md are kernels; test_reference_pages.py runs those.
PAGES = [
    TOP / "README.md",
    *(page for page in sorted((TOP / "docs").glob("*.md")) if page.name != "diagnostics.md"),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A Python block: its text, the line it starts at, and what it must print if that is said."""

    code: str
    line: int
    printed: str | None


def python_blocks(text: str) -> list[Block]:
    """Return the Python blocks of a page; one followed at once by a text block prints that."""
    fences = list(FENCE.finditer(text))
    blocks = []
    for fence, after in zip(fences, [*fences, None][1:], strict=True):
        if fence[1] != "python":
            continue
        adjacent = after is not None and not text[fence.end() : after.start()].strip()
        printed = after[2] if adjacent and after[1] == "text" else None
        blocks.append(Block(fence[2], text.count("\n", 0, fence.start(2)), printed))
    return blocks


def runs_everywhere(page: Path) -> bool:
    """Tell whether a page prints the same where there is no compiler."""
    return page.name not in ("README.md", "tutorial.md")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if runs_everywhere(page) else pytest.mark.compiler)
        for page in PAGES
    ],
    ids=lambda page: page.relative_to(TOP).as_posix(),
)
def test_blocks_run(page, tmp_path, monkeypatch):
    if page.name in ("README.md", "xarray.md"):
        pytest.importorskip("xarray")
    blocks = python_blocks(page.read_text(encoding="utf-8"))
    assert blocks or page.relative_to(TOP).as_posix() not in TUTORIALS
    monkeypatch.chdir(tmp_path)
    # Kernels are read back from their file, so there must be one: the page with all prose blank.
    script = tmp_path / f"{page.stem}.py"
    lines = []
    for block in blocks:
        lines += [""] * (block.line - len(lines)) + block.code.splitlines()
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")

    namespace = {"__name__": page.stem}
    for block in blocks:
        # Blank lines in front, so that a traceback gives the line in the page.
        code = compile("\n" * block.line + block.code, str(script), "exec")
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(code, namespace)
        if block.printed is not None:
            assert said.getvalue() == block.printed, f"{page.name}:{block.line}"


def test_blocks_know_their_lines_and_output():
    text = (
        "a\n```python\nx = 1\n```\n\n```text\n1\n```\n```python\ny\n```\nprose\n```text\n2\n```\n"
    )
    assert python_blocks(text) == [Block("x = 1\n", 2, "1\n"), Block("y\n", 9, None)]
    assert python_blocks("prose") == []
