"""Assignments, one after the other: each becomes the source of a kernel of its own."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator

from mexdask.errors import Diagnostic, KernelSyntaxError, SourceText
from mexdask.frontend.nodes import head_of, span_of
from mexdask.frontend.parse import python_tree, reserved
from mexdask.frontend.pragmas import pragma_comments, pragmas
from mexdask.frontend.source import source_of_text

ORIGIN = "statement"
BLANK = re.compile(rb"(?:[ \t\f]|\\\n)*")


@functools.lru_cache(maxsize=1024)
def assignments(text: str) -> tuple[tuple[str, SourceText], ...] | None:
    """Take a text of assignments apart.

    Parameters
    ----------
    text : str
        Lines such as ``speed = hypot(u, v)``.

    Returns
    -------
    tuple of (str, SourceText) or None
        Each target and the expression on its right, which knows its place in the text; None for a
        text without assignments at its top level, and for the text of functions.

    Raises
    ------
    KernelSyntaxError
        If the text is not Python, or if something other than assignments to a single name stands
        among them.
    """
    source = source_of_text(text, ORIGIN)
    tree = python_tree(source)
    if any(isinstance(node, ast.FunctionDef) for node in tree.body) or not any(
        isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)) for node in tree.body
    ):
        return None
    if complaints := tuple(misplaced(source, tree.body)):
        raise KernelSyntaxError(source, complaints)
    pragmas(source, tree)
    header = {n: m.string for n, m in pragma_comments(source).items()}
    return tuple(
        (node.targets[0].id, right_side(source, node, header))
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    )


def misplaced(source: SourceText, body: list[ast.stmt]) -> Iterator[Diagnostic]:
    """Yield a complaint for each statement that is no assignment to one name."""
    lines = source.text.encode(errors="replace").split(b"\n")
    for node in body:
        match node:
            case ast.Assign([ast.Name(name) as target]):
                yield from filter(None, [reserved(name, span_of(target))])
                continue
            case ast.Assign([target]):
                what, hint = "the left side is not one name", "write one assignment for each result"
                span = span_of(target)
            case ast.Assign([_, second, *_]):
                what, hint = "two names are assigned at once", "write one assignment for each"
                span = span_of(second)
            case ast.AugAssign(target):
                what, span = "an assignment that also reads its target", span_of(node)
                name = ast.unparse(target)
                hint = f"write it out, such as {name} = {name} + 1"
            case ast.AnnAssign(target):
                what, span = "an assignment with an annotation", span_of(node)
                hint = "leave the annotation out: dtypes come from the variables"
            case ast.Expr():
                what, span = "an expression among assignments", span_of(node)
                hint = "give its value a name: name = ..."
            case _:
                what, span = "a statement among assignments", head_of(node, lines)
                hint = "beside assignments stands nothing else; write a def for more"
        yield Diagnostic("not-a-kernel", what, span, hint)


def right_side(source: SourceText, node: ast.Assign, header: dict[int, str]) -> SourceText:
    """Return the right side of an assignment as a source of its own, below the text's pragmas."""
    data = source.text.encode(errors="replace")
    starts = [0, *(i + 1 for i, byte in enumerate(data) if byte == ord("\n"))]
    target = node.targets[0]
    sign = data.index(b"=", starts[(target.end_lineno or 1) - 1] + (target.end_col_offset or 0))
    blank = BLANK.match(data, sign + 1)
    start = blank.end() if blank else sign + 1
    end = starts[(node.end_lineno or 1) - 1] + (node.end_col_offset or 0)
    first = data.count(b"\n", 0, start) + 1
    column = len(data[starts[first - 1] : start].decode())
    text = "\n".join([*header.values(), data[start:end].decode()])
    own = len(header) + 1
    # Where each line of the new text stands in the user's: only its first has something in front.
    pieces = (
        *((i, ORIGIN, number, 0) for i, number in enumerate(header, 1)),
        (own, ORIGIN, first, column),
        (own + 1, ORIGIN, first + 1, 0),
    )
    return SourceText(text, target.id if isinstance(target, ast.Name) else "", ORIGIN, 1, 0, pieces)
