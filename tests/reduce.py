"""Make a failing kernel small: smaller texts are tried many at a time, so that compiling is cheap.

A step is to leave a statement out, to put a body in the place of the statement that holds it, or
to put a part of an expression, or 0, in the place of the whole. It counts if the kernel is still
in the language and still fails.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

AT_ONCE = 40
"""Texts that are tried together."""
ROUNDS = 60


def reduced(source: str, failing: Callable[[Sequence[str]], list[bool]]) -> str:
    """Return a text that fails as ``source`` does and has no smaller step that fails.

    ``failing`` tells for each of several texts whether it is a kernel that fails.
    """
    for _ in range(ROUNDS):
        texts = sorted({t for t in smaller(source) if len(t) < len(source)}, key=len)
        for start in range(0, len(texts), AT_ONCE):
            some = texts[start : start + AT_ONCE]
            if found := [t for t, fails in zip(some, failing(some), strict=True) if fails]:
                source = found[0]
                break
        else:
            return source
    return source


def smaller(source: str) -> Iterator[str]:
    """Yield every text that is one step smaller."""
    tree = ast.parse(source)
    places = [
        (number, field, index)
        for number, node in enumerate(ast.walk(tree))
        for field, value in ast.iter_fields(node)
        for index in (range(len(value)) if isinstance(value, list) else [None])
    ]
    for number, field, index in places:
        node = list(ast.walk(tree))[number]
        value = getattr(node, field)
        for replacement in steps(value if index is None else value[index]):
            other = copy.deepcopy(tree)
            put(list(ast.walk(other))[number], field, index, replacement)
            yield ast.unparse(ast.fix_missing_locations(other))


def steps(node: Any) -> Iterator[list[ast.AST]]:
    """Yield what may stand in the place of a statement or an expression."""
    if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef):
        yield []
        for field in ("body", "orelse"):
            if inner := getattr(node, field, []):
                yield inner
    elif isinstance(node, ast.expr):
        yield from ([n] for n in ast.walk(node) if isinstance(n, ast.expr) and n is not node)
        yield [ast.Constant(0)]


def put(node: ast.AST, field: str, index: int | None, replacement: list[ast.AST]) -> None:
    """Replace a field of a node, or an item of it."""
    if index is None:
        setattr(node, field, replacement[0])
    else:
        items = getattr(node, field)
        items[index : index + 1] = replacement
        if not items and field == "body":
            items.append(ast.Pass())
