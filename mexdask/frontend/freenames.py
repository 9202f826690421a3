"""Names that a Python function takes from its module: they must mean there what they mean here."""

from __future__ import annotations

import ast
import builtins
import math
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from mexdask.errors import ArgumentError, Diagnostic, KernelSyntaxError, described
from mexdask.frontend.parse import MODULES, Parsed, span_of
from mexdask.frontend.source import stale
from mexdask.frontend.validate import assigned_names, validate
from mexdask.ops import ALIASES, CONSTANTS, FUNCTION_NAMES
from mexdask.stack import roomy

ABSENT = object()


@roomy
def check_free_names(function: types.FunctionType, parsed: Parsed) -> None:
    """Refuse a function whose free names would mean something else in a kernel.

    Raises
    ------
    KernelSyntaxError
        With one complaint for each such name, and every other that there is about the text.
    ArgumentError
        If the text that was read is not the function's own.
    """
    check_text(function, parsed)
    complaints = list(free_name_complaints(function, parsed))
    known = {(d.span.line, d.span.col) for d in complaints}
    try:
        validate(parsed)
    except KernelSyntaxError as error:
        complaints += [d for d in error.diagnostics if (d.span.line, d.span.col) not in known]
    if complaints:
        complaints.sort(key=lambda d: (d.span.line, d.span.col))
        raise KernelSyntaxError(parsed.source, tuple(complaints))


def check_text(function: types.FunctionType, parsed: Parsed) -> None:
    """Refuse a text that cannot be the function's: its file has changed since it was imported."""
    code = function.__code__
    if parsed.parameters != code.co_varnames[: code.co_argcount]:
        raise ArgumentError(stale(function, parsed.source.origin))


def free_name_complaints(function: types.FunctionType, parsed: Parsed) -> Iterator[Diagnostic]:
    """Yield a complaint for each free name that the kernel would understand differently."""
    local = {*parsed.parameters, *assigned_names(parsed.body), function.__code__.co_name}
    for statement in parsed.body:
        for node in ast.walk(statement):
            if not isinstance(node, ast.Name) or node.id in local:
                continue
            value = value_of(function, node.id)
            if value is not ABSENT and (found := complaint(node, value)):
                yield found


def value_of(function: types.FunctionType, name: str) -> Any:
    """Return what a name stands for where the function was written."""
    if name in function.__code__.co_freevars and function.__closure__:
        cell = function.__closure__[function.__code__.co_freevars.index(name)]
        try:
            return cell.cell_contents
        except ValueError:
            return ABSENT
    return function.__globals__.get(name, ABSENT)


def complaint(node: ast.Name, value: Any) -> Diagnostic | None:
    """Return what is wrong with one free name, if anything is."""
    name = node.id
    if means_the_same(name, value):
        return None
    if isinstance(value, (bool, int, float, complex, np.generic)):
        code, what = (
            "frozen-global",
            "is a number from outside the kernel, which kernels do not take in yet",
        )
        hint = f"make {name!r} a parameter, or write the number"
    elif isinstance(value, types.ModuleType):
        code, what = "foreign-name", f"is the module {value.__name__} here"
        hint = "write functions bare, or after np., numpy. or math."
    elif callable(value) and is_library_function(value):
        own = value.__name__
        code, what = "foreign-name", f"is {value.__module__ or 'numpy'}.{own} here"
        hint = f"write '{own}'" if own in FUNCTION_NAMES else "kernels do not have that function"
        if value is math.remainder:
            hint = "write a - b * rint(a / b), or np.remainder(a, b)"
    elif callable(value):
        code, what = "helper-function", "is a function of your own, which kernels do not call yet"
        hint = "write its statements into the kernel"
    else:
        code, what = "foreign-name", f"is {described(type(value))} from outside the kernel"
        hint = "pass what the kernel needs as parameters"
    return Diagnostic(code, f"{name!r} {what}", span_of(node), hint)


def is_library_function(value: Any) -> bool:
    """Tell whether a function is NumPy's, math's or SciPy's."""
    home = getattr(value, "__module__", None) or ("numpy" if isinstance(value, np.ufunc) else "")
    named = isinstance(getattr(value, "__name__", None), str)
    return named and home.split(".")[0] in ("numpy", "math", "scipy")


def means_the_same(name: str, value: Any) -> bool:
    """Tell whether a name of the user's module is what the language calls by that name."""
    if name in MODULES:
        return value is (math if name == "math" else np)
    if isinstance(value, float) and name in CONSTANTS:
        return repr(value) == repr(CONSTANTS[name])
    if value is getattr(builtins, name, ABSENT):
        return True
    if name not in FUNCTION_NAMES or not callable(value) or value is math.remainder:
        return False
    own = getattr(value, "__name__", name)
    return is_library_function(value) and ALIASES.get(own, own) == ALIASES.get(name, name)
