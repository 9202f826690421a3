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
"""The values of variables: arrays of shape ``(lanes,)``, or one NumPy scalar for all lanes."""

LIMIT = ir.Var("%limit", ir.IterationLimit().dtype)


class Evaluator(Protocol):
    """Returns the value of an expression in every lane, or one value where all lanes share it.

    ``out``, an array of the expression's dtype and shape ``(lanes,)``, may be what it returns.
    """

    def __call__(self, env: Env, out: Array | None = None) -> Any: ...


def evaluator(node: ir.Expr) -> Evaluator:
    """Return what evaluates an expression."""
    match node:
        case ir.Var():
            return reading(node)
        case ir.IterationLimit():
            return reading(LIMIT)
        case ir.Const(value, dtype):
            number = dtype.type(value)
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
    if isinstance(function, np.ufunc):
        if len(operands) == 2:
            return applying_to_two(node, function, *operands)
        if len(operands) == 1:
            return applying_to_one(node, function, *operands)

    def evaluate(env: Env, out: Array | None = None) -> Any:
        result = function(*[operand(env) for operand in operands])
        return result if result.dtype == dtype else result.astype(dtype)

    return evaluate


def applying_to_one(node: ir.Apply, ufunc: np.ufunc, operand: Evaluator) -> Evaluator:
    """Return what evaluates an operator of one operand."""
    is_spare = may_overwrite(node.args[0], node)

    def evaluate(env: Env, out: Array | None = None) -> Any:
        value = operand(env)
        if is_spare and value.ndim and out is None:
            out = value
        return ufunc(value, out=out)

    return evaluate


def applying_to_two(
    node: ir.Apply, ufunc: np.ufunc, left: Evaluator, right: Evaluator
) -> Evaluator:
    """Return what evaluates an operator of two operands."""
    left_is_spare, right_is_spare = (may_overwrite(a, node) for a in node.args)

    def evaluate(env: Env, out: Array | None = None) -> Any:
        a, b = left(env), right(env)
        if out is None:
            if left_is_spare and a.ndim:
                out = a
            elif right_is_spare and b.ndim:
                out = b
        return ufunc(a, b, out=out)

    return evaluate


def may_overwrite(operand: ir.Expr, node: ir.Apply) -> bool:
    """Tell whether nobody else reads an operand and the result fits: its memory is in the caches."""
    if not (isinstance(operand, ir.Apply) and isinstance(operand.op.numpy, np.ufunc)):
        return False
    return operand.dtype == node.dtype


def selecting(node: ir.Select) -> Evaluator:
    """Return what evaluates a choice."""
    cond, yes, no = evaluator(node.cond), evaluator(node.yes), evaluator(node.no)

    def evaluate(env: Env, out: Array | None = None) -> Any:
        holds, if_so, otherwise = cond(env), yes(env), no(env)
        if holds.ndim == 0 and if_so.ndim == otherwise.ndim:
            return if_so if holds else otherwise
        return np.where(holds, if_so, otherwise)

    return evaluate
