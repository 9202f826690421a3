"""Where a kernel's text comes from: a str, or the file that a Python function was written in."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import reprlib
import textwrap
import types
from typing import Any

import numpy as np

from mexdask.errors import ArgumentError, SourceText, described, shortened
from mexdask.ops import FUNCTION_NAMES

PRAGMA = re.compile(r"\s*#\s*me\s*:\s*(.*?)\s*$")


def source_of_text(text: str, name: str = "kernel") -> SourceText:
    """Return the source of a kernel given as text."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    dedented = textwrap.dedent(lines.encode(errors="replace").decode())
    return SourceText(dedented.rstrip(" \t\n\f"), name)


def source_of_function(function: Any) -> SourceText:
    """Return the source of a Python function, with the pragmas right above it.

    Decorators are left out: the function in hand is the one below them.

    Raises
    ------
    ArgumentError
        If the object is not a plain function, or Python cannot find its source.
    """
    if (complaint := not_a_function(function)) is not None:
        raise ArgumentError(complaint)
    name = function.__name__
    try:
        lines, first = inspect.getsourcelines(function)
        above = inspect.findsource(function)[0][: first - 1]
    except (OSError, TypeError, SyntaxError) as error:
        raise ArgumentError(
            f"the source of {shortened(name)}() cannot be read ({error}); pass the kernel's source "
            "as text"
        ) from None
    margin = len(lines[0]) - len(lines[0].lstrip())
    own = [unindented(line, margin) for line in lines]
    header = [unindented(line, margin) for line in pragma_lines(above)]
    origin = inspect.getsourcefile(function) or ""
    definition = only_definition("".join(own))
    if definition is None or definition.name != function.__code__.co_name:
        raise ArgumentError(stale(function, origin))
    decorators = decorator_lines(definition, own)
    own = ["\n"] * decorators + own[decorators:] if header else own[decorators:]
    text = "".join([*header, *own]).rstrip()
    first += decorators if not header else -len(header)
    return SourceText(text, name, origin, first, margin)


def stale(function: types.FunctionType, origin: str) -> str:
    """Return the message for a function whose file holds something else by now."""
    code = function.__code__
    return (
        f"{origin}:{code.co_firstlineno} does not hold the source of {shortened(code.co_name)}() "
        "(any more); import it again, or pass the kernel's source as text"
    )


def only_definition(text: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """Return the function that a text defines, if it is that alone."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    match body:
        case [ast.FunctionDef() | ast.AsyncFunctionDef() as definition]:
            return definition
    return None


def not_a_function(function: Any) -> str | None:
    """Return why an object cannot be read as a kernel; None if it is a plain function."""
    if isinstance(function, bytes):
        return "a bytes object is not a kernel: decode it to a str"
    if not isinstance(function, types.FunctionType):
        given = f"{described(type(function))} ({reprlib.repr(function)})"
        hint = "give source text, an expression or a function written with def"
        if isinstance(function, functools.partial):
            hint = "give the function itself, and the bound values as arguments of the call"
        elif isinstance(function, types.MethodType):
            hint = "write it as a function outside the class"
        elif isinstance(function, np.ndarray) or hasattr(function, "__array__"):
            hint = "the kernel comes first, then its arguments"
        elif callable(function) and (name := getattr(function, "__name__", "")) in FUNCTION_NAMES:
            hint = f"write a text that calls it, such as '{name}(x)'"
        return f"{shortened(given)} is not a kernel: {hint}"
    if function.__code__.co_name == "<lambda>":
        return "a lambda cannot be a kernel: write it with def, or pass the expression as text"
    if hasattr(function, "__wrapped__"):
        return (
            f"{shortened(function.__name__)}() has been wrapped by a decorator, whose own doing a "
            "kernel would not see; give the function below it (.__wrapped__)"
        )
    return None


def unindented(line: str, margin: int) -> str:
    """Return a line without the indentation of the function that it belongs to."""
    return line[min(margin, len(line) - len(line.lstrip(" \t\f"))) :]


def pragma_lines(above: list[str]) -> list[str]:
    """Return the comments right above a function, from the first pragma among them on."""
    start = len(above)
    while start and above[start - 1].lstrip().startswith("#"):
        start -= 1
    comments = above[start:]
    pragma = next((i for i, line in enumerate(comments) if PRAGMA.match(line)), len(comments))
    return comments[pragma:]


def decorator_lines(definition: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Return how many lines of decorators stand above a ``def``; pragmas below them stay."""
    if not definition.decorator_list:
        return 0
    last = definition.decorator_list[-1].end_lineno or definition.lineno - 1
    below = any(map(PRAGMA.match, lines[last : definition.lineno - 1]))
    return last if below else definition.lineno - 1
