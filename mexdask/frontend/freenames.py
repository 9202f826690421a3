"""Names that a Python function takes from its module: they must mean there what they mean here."""

from __future__ import annotations

import ast
import builtins
import math
import types
from typing import Any

import numpy as np

from mexdask.errors import Diagnostic, KernelSyntaxError
from mexdask.frontend.parse import FUNCTION_NAMES, MODULES, Parsed, span_of
from mexdask.frontend.validate import assigned_names
from mexdask.ops import ALIASES, CONSTANTS

ABSENT = object()


def check_free_names(function: types.FunctionType, parsed: Parsed) -> None:
    """Refuse a function whose free names would mean something else in a kernel.

    Raises
    ------
    KernelSyntaxError
        With one complaint for each such name.
    """
    local = {*parsed.parameters, *assigned_names(parsed.body)}
    names = [
        node
        for statement in parsed.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and node.id not in local
    ]
    names.sort(key=lambda n: (n.lineno, n.col_offset))
    complaints = []
    for node in names:
        value = value_of(function, node.id)
        if value is not ABSENT and (found := complaint(node, value)):
            complaints.append(found)
    if complaints:
        raise KernelSyntaxError(parsed.source, tuple(complaints))


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
        return Diagnostic("frozen-global", f"{name!r} is a number of your module, which kernels do "
                          "not take in yet", span_of(node),
                          f"make {name!r} a parameter, or write the number")  # fmt: skip
    if callable(value):
        return Diagnostic("helper-function", f"{name!r} is a function of your own, which kernels do "
                          "not call yet", span_of(node), "write its statements into the kernel")  # fmt: skip
    return Diagnostic("foreign-name", f"{name!r} is a {type(value).__name__} of your module, not a "
                      "number", span_of(node), "pass what the kernel needs as parameters")  # fmt: skip


def means_the_same(name: str, value: Any) -> bool:
    """Tell whether a name of the user's module is what the language calls by that name."""
    if name in MODULES:
        return value is (math if name == "math" else np)
    if isinstance(value, float) and name in CONSTANTS:
        return repr(value) == repr(CONSTANTS[name])
    if value is getattr(builtins, name, ABSENT):
        return True
    if name not in FUNCTION_NAMES or not callable(value):
        return False
    home = (getattr(value, "__module__", None) or "numpy").split(".")[0]
    own = getattr(value, "__name__", name)
    return home in ("numpy", "math", "scipy") and ALIASES.get(own, own) == ALIASES.get(name, name)
