"""Expressions made ready for the interpreter: each becomes one function of the variables' values.

What a node is has then been asked once, not for every batch of lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, assert_never

import numpy as np

from mexdask import ir, meaning

Array = np.ndarray[Any, Any]
Env = dict[ir.Var, Any]
"""The values of variables: arrays of shape ``(lanes,)``, or of shape ``()`` for all lanes."""

LIMIT = ir.Var("%limit", ir.IterationLimit().dtype)


class Evaluator(Protocol):
    """An expression made ready."""

    def __call__(self, env: Env, out: Array | None = None) -> Any:
        """Return its value in every lane, or one value where all lanes share it.

        ``out``, of the expression's dtype and shape ``(lanes,)``, may be what is returned.
        """


def evaluator(node: ir.Expr) -> Evaluator:
    """Return what evaluates an expression."""
    match node:
        case ir.Var():
            return reading(node)
        case ir.IterationLimit():
            return reading(LIMIT)
        case ir.Const(value, dtype):
            number = np.asarray(dtype.type(value))  # ufuncs make one of a scalar at each call
            return lambda env, out=None: number
        case ir.Apply():
            return applying(node)
        case ir.Cast(arg, dtype):
            operand = evaluator(arg)
            return lambda env, out=None: meaning.cast(operand(env), dtype)
        case ir.Select():
            return selecting(node)
        case _:
            assert_never(node)


def reading(variable: ir.Var) -> Evaluator:
    """Return what looks up a variable."""
    # Lanes that have ended may read what a body without live lanes would have set.
    unset = variable.dtype.type(0)
    return lambda env, out=None: env.get(variable, unset)


def applying(node: ir.Apply) -> Evaluator:
    """Return what evaluates an operator."""
    function, dtype = node.op.numpy, node.dtype
    operands = [evaluator(a) for a in node.args]
    if can_write_to(function):
        spare = [may_overwrite(a, dtype) for a in node.args]
        if len(operands) == 2:
            return applying_to_two(function, operands[0], operands[1], spare[0], spare[1])
        return applying_in_place(function, operands, spare)

    def evaluate(env: Env, out: Array | None = None) -> Any:
        result = function(*[operand(env) for operand in operands])
        return result if result.dtype == dtype else result.astype(dtype)

    return evaluate


def applying_in_place(
    function: Callable[..., Any], operands: list[Evaluator], spare: list[bool]
) -> Evaluator:
    """Return what evaluates an operator, over an operand's value where that is ``spare``."""

    def evaluate(env: Env, out: Array | None = None) -> Any:
        values = [operand(env) for operand in operands]
        if out is None:
            for value, is_spare in zip(values, spare, strict=True):
                if is_spare and value.ndim:
                    out = value
        return function(*values, out=out)

    return evaluate


def applying_to_two(
    function: Callable[..., Any],
    left: Evaluator,
    right: Evaluator,
    left_is_spare: bool,
    right_is_spare: bool,
) -> Evaluator:
    """Return what `applying_in_place` does in half of its time; ``out`` serves for operands too."""
    right_alone_is_spare = right_is_spare and not left_is_spare

    def evaluate(env: Env, out: Array | None = None) -> Any:
        a = left(env, out) if left_is_spare else left(env)
        b = right(env, out) if right_alone_is_spare else right(env)
        if out is None:
            if left_is_spare and a.ndim:
                out = a
            elif right_is_spare and b.ndim:
                out = b
        return function(a, b, out=out)

    return evaluate


def can_write_to(function: Callable[..., Any]) -> bool:
    """Tell whether a function takes ``out``, and else gives memory of its own."""
    return isinstance(function, np.ufunc) or function in meaning.WITH_OUT


def may_overwrite(operand: ir.Expr, dtype: np.dtype) -> bool:
    """Tell whether nobody else reads a value of this dtype: its memory is in the caches."""
    match operand:
        case ir.Cast(_, given):
            return given == dtype
        case ir.Apply(op, _, given):
            return can_write_to(op.numpy) and given == dtype
        case _:
            return False


def selecting(node: ir.Select) -> Evaluator:
    """Return what evaluates a choice."""
    cond, yes, no = evaluator(node.cond), evaluator(node.yes), evaluator(node.no)

    def evaluate(env: Env, out: Array | None = None) -> Any:
        holds, if_so, otherwise = cond(env), yes(env), no(env)
        if holds.ndim == 0 and if_so.ndim == otherwise.ndim:
            return if_so if holds else otherwise
        return np.where(holds, if_so, otherwise)

    return evaluate
