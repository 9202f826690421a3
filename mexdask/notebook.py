"""Small pieces of HTML for notebooks; everything of the user's is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Return rows of a name and a text as a table."""
    cells = "".join(
        f'<tr><th style="text-align: left; vertical-align: top">{html.escape(name)}</th>'
        f'<td style="text-align: left"><code>{html.escape(text)}</code></td></tr>'
        for name, text in rows
    )
    return f"<table>{cells}</table>"


def folded(title: str, text: str, *, is_open: bool = False) -> str:
    """Return a text of several lines under a title that folds it away."""
    state = ' open=""' if is_open else ""
    return (
        f"<details{state}><summary>{html.escape(title)}</summary>"
        f"<pre>{html.escape(text)}</pre></details>"
    )


def titled(title: str, *parts: str) -> str:
    """Return parts below a title."""
    return f"<div><strong>{html.escape(title)}</strong>{''.join(parts)}</div>"
