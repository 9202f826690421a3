"""A kernel's source as a plain Python function of NumPy scalars: for debuggers, and as oracle."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np

from mexdask import meaning
from mexdask.dtypes import WEAK, Type
from mexdask.frontend.parse import Parsed
from mexdask.ops import BY_FUNCTION_NAME, CASTS, CONSTANTS, SPELT_AS_OPERATOR, Op

PYTHON_OWN = {"abs": abs, "pow": pow, "min": min, "max": max, "int": int, "float": float, "bool": bool}


def scalar_function(parsed: Parsed) -> Callable[..., Any]:
    """Return the function that Python itself makes of a validated kernel's source.

    It runs with Python's operators on whatever scalars it is given, so that a debugger can step
    through it; functions of the language come from the op table.
    """
    names = namespace()
    if parsed.is_expression:
        code = f"def expression({', '.join(parsed.parameters)}):\n return (\n{parsed.source.text}\n)"
        shadowed = {n: v for n, v in names.items() if n not in parsed.parameters}
        exec(compile(code, f"<{parsed.source.name}>", "exec"), shadowed)
        return shadowed["expression"]
    assert parsed.definition is not None
    decorated = len(parsed.definition.decorator_list) > 0
    lines = parsed.source.text.split("\n")
    if decorated:
        lines[: parsed.definition.lineno - 1] = [""] * (parsed.definition.lineno - 1)
    exec(compile("\n".join(lines), f"<{parsed.source.name}>", "exec"), names)
    return names[parsed.definition.name]


def namespace() -> dict[str, Any]:
    """Return every name of the language with its meaning on scalars."""
    functions = {name: on_scalars(op) for name, op in BY_FUNCTION_NAME.items()}
    for name, symbol in SPELT_AS_OPERATOR.items():
        functions[name] = strong_operator(symbol)
    functions["where"] = lambda cond, yes, no: np.where(cond, yes, no)[()]
    casts = {name: caster(t) for name, t in CASTS.items()}
    module = types.SimpleNamespace(**{**functions, **casts, "bool": np.bool_, **CONSTANTS})
    modules = {"np": module, "numpy": module, "math": module}
    return {**functions, **casts, **CONSTANTS, **PYTHON_OWN, **modules}


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
    apply = {"**": lambda a, b: a**b, "%": lambda a, b: a % b}[symbol]
    return lambda a, b: np.asarray(apply(a, b))[()]


def caster(t: Type) -> Callable[[Any], Any]:
    """Return a cast as a function of scalars."""
    if not isinstance(t, np.dtype):
        return t
    return lambda value: meaning.cast(np.asarray(value), t)[()]
