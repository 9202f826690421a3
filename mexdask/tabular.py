"""Rows of text as columns for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return lines with aligned columns; numbers to the right, the last column as long as it is."""
    body = [list(map(cell, row)) for row in rows]
    raw = [list(header), *body]
    widths = [max(len(row[i]) for row in raw) for i in range(len(header))]
    numeric = [bool(body) and all(is_number(row[i]) for row in body) for i in range(len(header))]
    lines = []
    for row in raw:
        padded = [
            text.rjust(wide) if right else text.ljust(wide)
            for text, wide, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def cell(value: object) -> str:
    """Return one value on one line; seconds and ratios to four digits."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.strip().split("\n")[0]


def is_number(text: str) -> bool:
    """Tell whether a cell reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
