"""Names that a Python function takes from outside: numbers and functions come along with it."""

from __future__ import annotations

import ast
import builtins
import math
import types
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mexdask.dtypes import supported
from mexdask.errors import ArgumentError, Diagnostic, KernelSyntaxError, SourceText, described
from mexdask.frontend.nodes import span_of
from mexdask.frontend.parse import INDEX_SYMBOL, MODULES, Parsed, parse
from mexdask.frontend.pragmas import pragma_comments
from mexdask.frontend.source import source_of_function, stale
from mexdask.frontend.validate import validate
from mexdask.ops import ALIASES, CONSTANTS, FUNCTION_NAMES
from mexdask.stack import roomy

ABSENT = object()
NUMBERS = (bool, int, float, complex, np.generic)


@dataclass
class Gathered:
    """What a function and its helpers take from outside."""

    constants: dict[str, str] = field(default_factory=dict)
    helpers: dict[str, tuple[types.FunctionType, SourceText]] = field(default_factory=dict)
    complaints: list[tuple[SourceText, Diagnostic]] = field(default_factory=list)


@roomy
def gather(function: Any) -> SourceText:
    """Return the source of a Python function with all that it needs from outside.

    Numbers of its module or closure are frozen as constants, functions that it calls come along as
    helpers, each with what it needs itself.

    Raises
    ------
    KernelSyntaxError
        With a complaint for each free name that is neither, and every other about the text.
    ArgumentError
        If a text cannot be read, or is not the function's own.
    """
    gathered = Gathered()
    source = source_of_function(function)
    kernel = take_in(function, source, gathered)
    text = put_together(source, gathered)
    if not gathered.complaints:
        return text
    complaints = [d for at, d in gathered.complaints if at is source]
    if not complaints:
        raise KernelSyntaxError(gathered.complaints[0][0], (gathered.complaints[0][1],))
    known = {(d.span.line, d.span.col) for d in complaints}
    try:
        validate(kernel)
    except KernelSyntaxError as error:
        # What comes from outside is unknown to the text alone.
        complaints += [d for d in error.diagnostics if (d.span.line, d.span.col) not in known
                       and value_of(function, name_at(d, source)) is ABSENT]  # fmt: skip
    complaints.sort(key=lambda d: (d.span.line, d.span.col))
    raise KernelSyntaxError(source, tuple(complaints))


def name_at(diagnostic: Diagnostic, source: SourceText) -> str:
    """Return the text under a diagnostic's carets."""
    span = diagnostic.span
    line = source.line(span.line).encode(errors="replace")
    return line[span.col : span.end].decode(errors="replace")


def take_in(function: types.FunctionType, source: SourceText, gathered: Gathered) -> Parsed:
    """Note what a function takes from outside, and go on into its helpers."""
    parsed = parse(source)
    check_text(function, parsed)
    for node in free_names(function, parsed):
        value = value_of(function, node.id)
        if value is ABSENT or means_the_same(node.id, value) or INDEX_SYMBOL.fullmatch(node.id):
            continue
        if (found := complaint(node, value)) is not None:
            gathered.complaints.append((source, found))
        elif isinstance(value, NUMBERS):
            clash = gathered.constants.setdefault(node.id, spelt(value)) != spelt(value)
            note_clash(node, source, gathered, clash or node.id in gathered.helpers)
        else:
            helper = below_kernel(value)
            known = gathered.helpers.get(node.id)
            if known is None:
                own = source_of_function(helper)
                gathered.helpers[node.id] = (helper, own)
                take_in(helper, own, gathered)
            clash = known is not None and known[0] is not helper
            note_clash(node, source, gathered, clash or node.id in gathered.constants)
    return parsed


def note_clash(node: ast.Name, source: SourceText, gathered: Gathered, clash: bool) -> None:
    """Complain about a name that is one thing in a function and another in one that it calls."""
    if clash:
        found = Diagnostic("name-clash", f"{node.id!r} means something else in another of the "
                           "kernel's functions", span_of(node),
                           "give the two their own names")  # fmt: skip
        gathered.complaints.append((source, found))


def put_together(source: SourceText, gathered: Gathered) -> SourceText:
    """Return one text of constants, helpers and the kernel, which knows where each came from."""
    if not gathered.constants and not gathered.helpers:
        return source
    pragmas = [found.string for found in pragma_comments(source).values()]
    constants = [f"{name} = {text}" for name, text in gathered.constants.items()]
    lines, pieces = pragmas + constants, [(1, source.origin, source.first_line, source.margin)]
    for own in (*(text for _, text in reversed(gathered.helpers.values())), source):
        pieces.append((len(lines) + 1, own.origin, own.first_line, own.margin))
        # A helper's own pragmas hold where it is the kernel, not here.
        below = pragma_comments(own)
        lines += ["" if n in below else line for n, line in enumerate(own.text.split("\n"), 1)]
    return replace(source, text="\n".join(lines), pieces=tuple(pieces))


def below_kernel(value: Any) -> Any:
    """Return the function that a decorated kernel was made from, or the function itself."""
    return value if isinstance(value, types.FunctionType) else value.__dict__.get("__wrapped__")


def below_kernel_or_none(value: Any) -> Any:
    """Return what a call of the value would run, None where that cannot be read."""
    return below_kernel(value) if hasattr(value, "__dict__") else None


def spelt(value: Any) -> str:
    """Return a number as the text of a constant: weak Python numbers, strong NumPy scalars."""
    if isinstance(value, np.generic):
        name = "bool" if value.dtype.kind == "b" else value.dtype.name
        return f"np.{name}({spelt(value.item())})"
    # Its own repr for what derives from a number, such as an enum's member.
    return repr(next(kind(value) for kind in (bool, int, float) if isinstance(value, kind)))


def check_text(function: types.FunctionType, parsed: Parsed) -> None:
    """Refuse a text that cannot be the function's: its file has changed since it was imported."""
    code = function.__code__
    if parsed.parameters != code.co_varnames[: code.co_argcount]:
        raise ArgumentError(stale(function, parsed.source.origin))


def free_names(function: types.FunctionType, parsed: Parsed) -> Iterator[ast.Name]:
    """Yield the names that a function does not bind itself."""
    local = parsed.variables | {function.__code__.co_name}
    for node in parsed.nodes:
        if isinstance(node, ast.Name) and node.id not in local:
            yield node


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
    if isinstance(value, NUMBERS) and supported(np.asarray(value).dtype):
        if not isinstance(value, (complex, np.complexfloating)):
            return None
        code, what = "foreign-name", "is a complex number from outside the kernel"
        hint = f"make {name!r} a parameter"
    elif isinstance(value, types.ModuleType):
        code, what = "foreign-name", f"is the module {value.__name__} here"
        hint = "write functions bare, or after np., numpy. or math."
    elif callable(value) and is_library_function(value):
        own = value.__name__
        code, what = "foreign-name", f"is {value.__module__ or 'numpy'}.{own} here"
        hint = f"write '{own}'" if own in FUNCTION_NAMES else "kernels do not have that function"
        if value is math.remainder:
            hint = "write a - b * rint(a / b), or np.remainder(a, b)"
    elif isinstance(below := below_kernel_or_none(value), types.FunctionType):
        if (own := below.__name__) == name:
            return None
        code, what = "foreign-name", f"is another name of {own}()"
        hint = f"call it {own}"
    elif callable(value):
        code, what = "helper-function", f"is {described(type(value))}, not a plain function"
        hint = "write it with def, or write its statements into the kernel"
        if isinstance(value, type):
            hint = f"give its numbers names above the kernel, such as LIMIT = {name}.limit"
    else:
        code, what = "foreign-name", f"is {described(type(value))} from outside the kernel"
        hint = f"pass what the kernel needs as parameters, or as numbers: LIMIT = {name}.limit"
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
