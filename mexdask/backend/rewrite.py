"""What passes over masked IR share: expressions and statements with parts replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from mexdask import ir

Body = tuple[ir.Masked, ...]


def substituted(node: ir.Expr, new: Callable[[ir.Expr], ir.Expr | None]) -> ir.Expr:
    """Return an expression in which parts are replaced, from the outside in.

    Parameters
    ----------
    node : Expr
        An expression.
    new : callable
        Returns what takes the place of a part, or None to look inside it.
    """
    if (other := new(node)) is not None:
        return other
    match node:
        case ir.Cast(arg, _):
            return replace(node, arg=substituted(arg, new))
        case ir.Apply(_, args, _):
            return replace(node, args=tuple(substituted(a, new) for a in args))
        case ir.Select(cond, yes, no, _):
            cond, yes, no = (substituted(e, new) for e in (cond, yes, no))
            return ir.Select(cond, yes, no, node.dtype)
        case _:
            return node


def with_expressions(node: ir.Masked, new: Callable[[ir.Expr], ir.Expr]) -> ir.Masked:
    """Return one statement with its own expressions replaced; nested statements are left alone."""
    match node:
        case ir.Set(_, value, _):
            return replace(node, value=new(value))
        case ir.Mask(_, _, cond) if cond is not None:
            return replace(node, cond=new(cond))
        case ir.Test(failed, _, _):
            return replace(node, failed=new(failed))
        case _:
            return node


def renamed(body: Body, names: Mapping[ir.Var, ir.Var]) -> Body:
    """Return statements that read and set other variables; what is renamed is set in all lanes."""
    if not names:
        return body

    def other(part: ir.Expr) -> ir.Expr | None:
        return names.get(part) if isinstance(part, ir.Var) else None

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
