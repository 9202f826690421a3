"""A kernel's source as a plain Python function of NumPy scalars: for debuggers, and as oracle."""

from __future__ import annotations
import __future__

import ast
import builtins
import dis
import functools
import operator
import types
from collections.abc import Callable, Collection
from typing import Any, cast

import numpy as np

from mexdask import meaning
from mexdask.dtypes import WEAK, Type
from mexdask.frontend.parse import Parsed
from mexdask.ops import BY_FUNCTION_NAME, CASTS, CONSTANTS, SPELT_AS_OPERATOR, Op
from mexdask.reductions import REDUCTIONS

PYTHON_OWN = {
    "abs": abs,
    "pow": pow,
    "int": int,
    "float": float,
    "bool": bool,
}


def scalar_function(parsed: Parsed) -> Callable[..., Any]:
    """Return the function that Python itself makes of a validated kernel's source.

    It runs with Python's operators on whatever scalars it is given, so that a debugger can step
    through it; functions of the language come from the op table.
    """
    names = namespace()
    tree = ast.parse(parsed.source.text)
    match tree.body:
        case [*_, ast.FunctionDef()]:
            for statement in tree.body:
                if isinstance(statement, ast.FunctionDef):
                    statement.decorator_list.clear()
        case [ast.Expr(value)]:
            # A parameter may be called like a function that the expression calls.
            names |= {called(name): meant for name, meant in names.items()}
            for node in ast.walk(value):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    node.func.id = called(node.func.id)
            head = ast.parse(f"def expression({', '.join(parsed.parameters)}): pass").body[0]
            assert isinstance(head, ast.FunctionDef)
            head.body = [ast.copy_location(ast.Return(value), value)]
            tree.body = [head]
    # Annotations may name anything, so they are not evaluated.
    flags = __future__.annotations.compiler_flag
    code = compile(tree, f"<{parsed.source.name}>", "exec", flags, dont_inherit=True)
    if parsed.helpers or parsed.constants:
        exec(code, names)
        return cast("Callable[..., Any]", names[parsed.source.name])
    # A namespace of its own: the function may be called like one that it calls.
    made: dict[str, Callable[..., Any]] = {}
    exec(code, names, made)
    (function,) = made.values()
    return function


def with_language(function: Callable[..., Any], helpers: Collection[str]) -> Callable[..., Any]:
    """Return a kernel's function so that it finds the language's bare names as well.

    Parameters
    ----------
    function : function
        As it was decorated.
    helpers : collection of str
        The functions that it calls, which are made to find them too.

    Returns
    -------
    function
        The same one if it knows all its names already.
    """
    assert isinstance(function, types.FunctionType), function
    code, known = function.__code__, function.__globals__
    wanted = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    found = {**known, **{name: cells[name].cell_contents for name in cells if name in helpers}}
    called_too = {
        name: with_language(found[name], helpers)
        for name in {*wanted, *cells} & set(helpers) - {function.__name__}
        if isinstance(found.get(name), types.FunctionType)
    }
    language = namespace()
    unknown = {
        name: language[name]
        for name in wanted
        if name in language and name not in known and not hasattr(builtins, name)
    }
    if not unknown and all(found[name] is made for name, made in called_too.items()):
        return function
    names = {**known, **unknown, **called_too}
    closure = tuple(
        types.CellType(called_too[name]) if name in called_too else cell
        for name, cell in cells.items()
    )
    made = types.FunctionType(code, names, function.__name__, function.__defaults__, closure)
    made.__kwdefaults__ = function.__kwdefaults__
    return functools.update_wrapper(made, function)


def called(name: str) -> str:
    """Return a name that no parameter can have, for a function."""
    return f"{name}()"


def namespace() -> dict[str, Any]:
    """Return every name of the language with its meaning on scalars."""
    functions = {name: on_scalars(op) for name, op in BY_FUNCTION_NAME.items()}
    for name, symbol in SPELT_AS_OPERATOR.items():
        functions[name] = strong_operator(symbol)
    functions["where"] = choose
    reduced = {name: getattr(np, name) for name in REDUCTIONS}
    casts = {name: caster(t) for name, t in CASTS.items()}
    module = types.SimpleNamespace(
        **{**functions, **casts, "bool": np.bool_, **CONSTANTS, **reduced}
    )
    modules = {"np": module, "numpy": module, "math": module}
    own = PYTHON_OWN | {"min": extremum(min), "max": extremum(max)}
    return {**functions, **casts, **CONSTANTS, **reduced, **own, **modules}


def extremum(choice: Callable[..., Any]) -> Callable[..., Any]:
    """Return Python's min or max, which of one scalar is that scalar."""
    return lambda *values: choice(values)


def on_scalars(op: Op) -> Callable[..., Any]:
    """Return a row of the table as a function of scalars."""

    def function(*values: Any) -> Any:
        types_ = [type(v) if type(v) in WEAK else np.asarray(v).dtype for v in values]
        dtypes, result = op.resolve(*types_)
        with np.errstate(all="ignore"):
            args = (np.asarray(v).astype(d) for v, d in zip(values, dtypes, strict=True))
            return np.asarray(op.numpy(*args)).astype(result)[()]

    function.__name__ = op.name
    return function


def strong_operator(symbol: str) -> Callable[[Any, Any], Any]:
    """Return an operator that also has a function's name; its result is strong."""
    apply = {"**": operator.pow, "%": operator.mod}[symbol]
    return lambda a, b: np.asarray(apply(a, b))[()]


def caster(t: Type) -> Callable[[Any], Any]:
    """Return a cast as a function of scalars."""
    if not isinstance(t, np.dtype):
        return t
    return lambda value: meaning.cast(np.asarray(value), t)[()]


def choose(cond: Any, yes: Any, no: Any) -> Any:
    """Return ``np.where`` of scalars as a scalar."""
    return np.where(cond, yes, no)[()]
