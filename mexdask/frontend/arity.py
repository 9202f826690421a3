"""How many arguments functions take, and how many values they give."""

from __future__ import annotations

import ast

from mexdask.frontend.parse import Parsed
from mexdask.ops import BY_FUNCTION_NAME, CASTS
from mexdask.reductions import REDUCTIONS


def arity_fits(name: str, count: int) -> bool:
    """Tell whether a function takes that many arguments."""
    if name in ("min", "max"):
        return count >= 1
    return count == expected_arity(name)


def expected_arity(name: str) -> int:
    """Return how many arguments a function of fixed arity takes."""
    if name in CASTS or name in REDUCTIONS:
        return 1
    return 3 if name == "where" else BY_FUNCTION_NAME[name].arity


def arity_text(name: str) -> str:
    """Return how many arguments a function takes, in words."""
    if name in ("min", "max"):
        return "1 or more arguments"
    count = expected_arity(name)
    return f"{count} argument{'s' if count > 1 else ''}"


def arity_hint(name: str) -> str:
    """Return how a call of the function looks."""
    if name == "round":
        return "round to other places by scaling: round(x * 100) / 100"
    if name == "log":
        return "divide for another base: log(x) / log(base)"
    if name in ("min", "max"):
        return f"write {name}(a, b)"
    return f"write {name}({', '.join('abc'[: expected_arity(name)])})"


def counted(results: int) -> str:
    """Return a number of results in words."""
    return f"{results or 'no'} value{'' if results == 1 else 's'}"


def value_count(value: ast.expr, functions: dict[str, Parsed], seen: tuple[str, ...] = ()) -> int:
    """Return how many values an expression gives: those of a tuple, or of a helper's return."""
    match value:
        case ast.Tuple(elements):
            return len(elements)
        case ast.Call(ast.Name(name)) if name in functions and name not in seen:
            return result_count(functions[name], functions, (*seen, name))
        case _:
            return 1


def result_count(function: Parsed, functions: dict[str, Parsed], seen: tuple[str, ...] = ()) -> int:
    """Return how many values the first ``return`` of a function gives."""
    for statement in function.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Return) and node.value is not None:
                return value_count(node.value, functions, seen)
    return 1
