"""Index symbols that name a dimension, ``_i_time`` and ``_n_time``, by its number: ``_i0``."""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Sequence
from dataclasses import replace

from mexdask.errors import SourceText
from mexdask.frontend.hints import near
from mexdask.frontend.nodes import span_of
from mexdask.frontend.parse import DIMENSION_SYMBOL, Parsed, refuse


def numbered(parsed: Parsed, dimensions: Sequence[Hashable]) -> SourceText:
    """Return a kernel's source with the number of each dimension that it names.

    Parameters
    ----------
    parsed : Parsed
        A validated kernel.
    dimensions : sequence of hashable
        The names of the result's dimensions, in order.

    Raises
    ------
    KernelSyntaxError
        If the result has no dimension of a name.
    """
    names = [unicodedata.normalize("NFKC", d) if isinstance(d, str) else "" for d in dimensions]
    lines = parsed.source.text.encode(errors="replace").split(b"\n")
    for node in sorted(parsed.by_dimension, key=lambda n: (n.lineno, -n.col_offset)):
        kind, name = DIMENSION_SYMBOL.fullmatch(node.id).groups()  # type: ignore[union-attr]
        span = span_of(node)
        if name not in names[:8]:
            known = [f"_{kind}_{n}" for n in names if n.isidentifier()]
            hint = near(node.id, known, "") or f"its dimensions are {', '.join(names) or 'none'}"
            raise refuse(parsed.source, "unknown-name",
                         f"{node.id!r}: the result has no dimension {name!r}", span,
                         hint.removesuffix(" Otherwise "))  # fmt: skip
        # As wide as before, so that carets point at the same columns.
        spelt = f"_{kind}{names.index(name)}".encode().ljust(span.end - span.col)
        line = lines[node.lineno - 1]
        lines[node.lineno - 1] = line[: span.col] + spelt + line[span.end :]
    return replace(parsed.source, text=b"\n".join(lines).decode())
