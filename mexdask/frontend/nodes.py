"""Nodes of Python's syntax tree: what stands in them, what they set, where they stand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from mexdask.errors import Span
from mexdask.reductions import REDUCTIONS

DEF_NAME = re.compile(rb"(?:async\s+)?(?:def|class)\s+([^\s(\[:]+)")
OPERATOR = re.compile(rb"is\s+not\b|not\s+in\b|[^\s()\\]+")
WITHOUT_NODES = frozenset("op ops ctx id attr kind type_comment".split())
"""Fields that hold operators, contexts or names."""


class Between(NamedTuple):
    """The place of the operator between two operands, which Python's tree leaves out."""

    left: ast.expr
    right: ast.expr
    whole: ast.AST


Location = Span | ast.AST | Between
"""Where a complaint points to; lines and columns are found only if there is one."""

FIELDS = {
    kind: tuple(f for f in kind._fields if f not in WITHOUT_NODES)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST) and kind is not ast.Constant
}
"""What may hold nodes, for each kind of node."""


def children(node: ast.AST) -> list[ast.AST]:
    """Return what ``ast.iter_child_nodes`` yields, operators and contexts left out, and faster."""
    found: list[ast.AST] = []
    for field in FIELDS.get(type(node), ()):
        value = getattr(node, field, None)
        if isinstance(value, list):
            found += [item for item in value if isinstance(item, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


def all_nodes(body: Iterable[ast.AST]) -> list[ast.AST]:
    """Return every node of some trees, parents before children."""
    found = list(body)
    for node in found:  # it grows meanwhile
        found += children(node)
    return found


def names_set(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """Return the names that are assigned by some nodes."""
    return frozenset(
        n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    )


def is_reduction(node: ast.Call) -> bool:
    """Tell whether a call is one of a reduction over the whole array."""
    match node.func:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name in REDUCTIONS and (name not in ("min", "max") or len(node.args) == 1)
        case _:
            return False


def span_of(node: Any) -> Span:
    """Return the part of a node that stands on its first line."""
    end = node.end_col_offset if node.end_lineno == node.lineno else 1 << 20
    return Span(node.lineno, node.col_offset, end)


def head_of(node: ast.stmt, lines: list[bytes]) -> Span:
    """Return the word that a statement starts with, or the name that it defines."""
    rest = lines[node.lineno - 1][node.col_offset :]
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and (m := DEF_NAME.match(rest)):
        return Span(node.lineno, node.col_offset + m.start(1), node.col_offset + m.end(1))
    word = re.match(rb"[a-z]+", rest) if hasattr(node, "body") else None
    return (
        Span(node.lineno, node.col_offset, node.col_offset + word.end()) if word else span_of(node)
    )


def span_at(place: Location, lines: list[bytes]) -> Span:
    """Return a place as lines and columns, which only what is complained about needs."""
    if isinstance(place, Between):
        return operator_between(place.left, place.right, lines) or span_of(place.whole)
    return place if isinstance(place, Span) else span_of(place)


def operator_between(left: ast.expr, right: ast.expr, lines: list[bytes]) -> Span | None:
    """Return the place of an operator, which Python's tree leaves out."""
    first, last = left.end_lineno or left.lineno, right.lineno
    for number in range(first, last + 1):
        line = lines[number - 1]
        start = (left.end_col_offset or 0) if number == first else 0
        end = right.col_offset if number == last else len(line)
        comment = line.find(b"#", start, end)
        if m := OPERATOR.search(line, start, comment if comment >= 0 else end):
            return Span(number, m.start(), m.end())
    return None
