"""Functions that come to call themselves, alone or through others."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mexdask.errors import Diagnostic, Span
from mexdask.frontend.nodes import span_of
from mexdask.frontend.parse import Parsed


def recursion(functions: dict[str, Parsed]) -> Iterator[Diagnostic]:
    """Yield a complaint for each call by which a function comes to call itself."""
    calls = {name: dict(called_functions(parsed, functions)) for name, parsed in functions.items()}
    for name, called in calls.items():
        for other, span in called.items():
            if name in reachable(other, calls):
                how = "calls itself" if other == name else f"calls itself through {other!r}"
                yield Diagnostic("recursion", f"{name!r} {how}", span, "write a loop")


def called_functions(parsed: Parsed, functions: dict[str, Parsed]) -> Iterator[tuple[str, Span]]:
    """Yield the functions of the source that a function calls, and where."""
    for node in parsed.nodes:
        match node:
            case ast.Call(ast.Name(name)) if name in functions and name not in parsed.variables:
                yield name, span_of(node.func)


def reachable(name: str, calls: dict[str, dict[str, Span]]) -> set[str]:
    """Return a function and all that it calls, directly or not."""
    found, waiting = set[str](), [name]
    while waiting:
        if (at := waiting.pop()) not in found:
            found.add(at)
            waiting += calls.get(at, {})
    return found
