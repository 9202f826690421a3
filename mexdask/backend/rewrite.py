"""What passes over masked IR share: expressions and statements with parts replaced."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from mexdask import ir

Body = tuple[ir.Masked, ...]


def substituted(node: ir.Expr, new: Callable[[ir.Expr], ir.Expr | None]) -> ir.Expr:
    """Return an expression in which parts are replaced, from the outside in; itself if none is.

    Parameters
    ----------
    node : Expr
        An expression.
    new : callable
        Returns what takes the place of a part, or None to look inside it.
    """
    if (other := new(node)) is not None:
        return other
    if not isinstance(node, (ir.Apply, ir.Cast, ir.Select)):
        return node
    old = ir.operands(node)
    parts = tuple(substituted(part, new) for part in old)
    if all(map(operator.is_, parts, old)):
        return node
    if isinstance(node, ir.Apply):
        return ir.Apply(node.op, parts, node.dtype)
    if isinstance(node, ir.Cast):
        return ir.Cast(parts[0], node.dtype)
    return ir.Select(parts[0], parts[1], parts[2], node.dtype)


def with_expressions(node: ir.Masked, new: Callable[[ir.Expr], ir.Expr]) -> ir.Masked:
    """Return one statement with its own expressions replaced; nested statements are left alone."""
    expressions = ir.masked_expressions(node)
    if not expressions or (other := new(expressions[0])) is expressions[0]:
        return node
    match node:
        case ir.Set(target, _, mask):
            return ir.Set(target, other, mask)
        case ir.Mask(target, parent, _):
            return ir.Mask(target, parent, other)
        case ir.Test(_, site, mask):
            return ir.Test(other, site, mask)
        case _:
            raise AssertionError("other statements have no expressions of their own")


def renamed(body: Body, names: Mapping[ir.Var, ir.Var]) -> Body:
    """Return statements that read and set other variables; what is renamed is set in all lanes."""
    if not names:
        return body

    changed = names.keys()

    def other(part: ir.Expr) -> ir.Expr | None:
        if isinstance(part, ir.Var):
            return names.get(part)
        return part if changed.isdisjoint(ir.reads(part)) else None

    out: list[ir.Masked] = []
    for node in body:
        match node:
            case ir.Guard(mask, inner):
                out.append(ir.Guard(mask, renamed(inner, names)))
            case ir.Loop(live, inner):
                out.append(ir.Loop(live, renamed(inner, names)))
            case ir.Set(target, value, _) if target in names:
                out.append(ir.Set(names[target], substituted(value, other), None))
            case _:
                out.append(with_expressions(node, lambda e: substituted(e, other)))
    return tuple(out)
