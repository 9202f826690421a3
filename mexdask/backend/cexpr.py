"""Expressions as C text. Names in C never come from the source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import assert_never

import numpy as np

from mexdask import ir
from mexdask.dtypes import BOOL, FLOAT32, NATIVE, UINT64

Names = Mapping[ir.Var, str]


def c_type(dtype: np.dtype) -> str:
    """Return the short C type of a dtype."""
    return NATIVE[dtype].c


def c_expr(node: ir.Expr, names: Names) -> str:
    """Return the C text of an expression."""
    match node:
        case ir.Const(value, dtype):
            return c_literal(value, dtype)
        case ir.Var():
            return names[node]
        case ir.Cast(arg, dtype):
            return c_cast(c_expr(arg, names), arg.dtype, dtype)
        case ir.Apply(op, args):
            operands = [c_expr(a, names) for a in args]
            dtypes = tuple(a.dtype for a in args)
            suffix = "f" if dtypes[0] == FLOAT32 else ""
            return op.template(dtypes).format(*operands, n=c_type(dtypes[0]), s=suffix)
        case ir.Select(cond, yes, no, _):
            c, y, n = (c_expr(e, names) for e in (cond, yes, no))
            return f"({c} ? {y} : {n})"
        case ir.IterationLimit():
            return "limit"
        case _:
            assert_never(node)


def c_cast(text: str, source: np.dtype, target: np.dtype) -> str:
    """Return C text that converts as ``meaning.cast`` does."""
    if target == BOOL:
        return f"((b8)({text} != 0))"
    if source.kind == "f" and target.kind in "iu":
        name = "tou64" if target == UINT64 else "toi64"
        return f"(({c_type(target)})me_{name}_{c_type(source)}({text}))"
    return f"(({c_type(target)}){text})"


def c_literal(value: ir.Number, dtype: np.dtype) -> str:
    """Return a constant exactly: floats in hexadecimal, the lowest integers without overflow."""
    if dtype.kind == "f":
        return float_literal(float(value.real), "f" if dtype == FLOAT32 else "")
    number, name = int(value.real), c_type(dtype)
    if number == -(2**63):
        return "(-0x7fffffffffffffffLL - 1)"
    text = f"{number}{'ULL' if number > 2**63 - 1 else 'LL' if abs(number) > 2**31 - 1 else ''}"
    return f"(({name}){text})" if number >= 0 else f"(({name})({text}))"


def float_literal(value: float, suffix: str) -> str:
    """Return a float constant."""
    if math.isnan(value):
        return f'__builtin_nan{suffix}("")'
    if math.isinf(value):
        return f"({'-' if value < 0 else ''}__builtin_inf{suffix}())"
    text = f"{value.hex()}{suffix}"
    return f"({text})" if text.startswith("-") else text
