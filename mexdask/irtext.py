"""IR as text: the same in every process, fit for reading, diffs and digests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import assert_never

from mexdask import ir
from mexdask.dtypes import type_name

INDENT = "    "


def function_text(function: ir.Function) -> str:
    """Return the text of a function: signature, body, places that can fail."""
    params = ", ".join(
        f"{p.var.name}: {p.var.dtype.name}{'[]' if p.is_array else ''}" for p in function.params
    )
    results = ", ".join(d.name for d in function.results)
    if function.reductions:
        pairs = zip(function.reductions, function.results, strict=True)
        results = ", ".join(f"{r.result.name} = {r.name}({d.name})" for r, d in pairs)
    indices = "".join(f"; {v.name}" for v in function.indices)
    head = f"kernel {function.name}({params}{indices}) -> {results}  # fp={function.fp}"
    sites = [f"# site {n}: {site.reason}" for n, site in enumerate(function.sites)]
    return "\n".join([head, *body_lines(function.body, INDENT), *sites]) + "\n"


def masked_text(body: tuple[ir.Masked, ...]) -> str:
    """Return the text of the masked form."""
    return "\n".join(masked_lines(body, "")) + "\n"


def body_lines(body: tuple[ir.Stmt, ...], indent: str) -> Iterator[str]:
    """Yield the lines of structured statements."""
    deeper = indent + INDENT
    for node in body:
        match node:
            case ir.Assign(target, value):
                yield f"{indent}{var_text(target)} = {expr_text(value)}"
            case ir.If(cond, then, orelse):
                yield f"{indent}if {expr_text(cond)}:"
                yield from body_lines(then, deeper)
                if orelse:
                    yield f"{indent}else:"
                    yield from body_lines(orelse, deeper)
            case ir.For(counter, trips, inner):
                yield f"{indent}for {var_text(counter)} below {expr_text(trips)}:"
                yield from body_lines(inner, deeper)
            case ir.While(head, cond, inner):
                yield f"{indent}loop:"
                yield from body_lines(head, deeper)
                yield f"{deeper}while {expr_text(cond)}"
                yield from body_lines(inner, deeper)
            case ir.Break():
                yield f"{indent}break"
            case ir.Continue():
                yield f"{indent}continue"
            case ir.Return(values):
                yield f"{indent}return {', '.join(map(expr_text, values))}"
            case ir.Block(label, inner):
                yield f"{indent}block {label}:"
                yield from body_lines(inner, deeper)
            case ir.Leave(label):
                yield f"{indent}leave {label}"
            case ir.Check(failed, site):
                yield f"{indent}fail at site {site} if {expr_text(failed)}"
            case _:
                assert_never(node)


def masked_lines(body: tuple[ir.Masked, ...], indent: str) -> Iterator[str]:
    """Yield the lines of masked statements."""
    deeper = indent + INDENT
    for node in body:
        match node:
            case ir.Set(target, value, mask):
                under = f"  [{mask.name}]" if mask else ""
                yield f"{indent}{var_text(target)} = {expr_text(value)}{under}"
            case ir.Mask(target, parent, cond):
                also = f" & {expr_text(cond)}" if cond is not None else ""
                yield f"{indent}{target.name} = {parent.name}{also}"
            case ir.Kill(masks, by):
                yield f"{indent}{', '.join(m.name for m in masks)} &= ~{by.name}"
            case ir.Guard(mask, inner):
                yield f"{indent}if any {mask.name}:"
                yield from masked_lines(inner, deeper)
            case ir.Loop(live, inner):
                yield f"{indent}while any {live.name}:"
                yield from masked_lines(inner, deeper)
            case ir.Test(failed, site, mask):
                yield f"{indent}fail at site {site} if {expr_text(failed)}  [{mask.name}]"
            case _:
                assert_never(node)


def expr_text(node: ir.Expr) -> str:
    """Return the text of an expression."""
    match node:
        case ir.Var():
            return var_text(node)
        case ir.Apply():
            name, texts = node.op.name, [expr_text(a) for a in node.args]
            if name.isidentifier():
                return f"{name}({', '.join(texts)})"
            if len(texts) == 1:
                return f"({name.removeprefix('u')}{texts[0]})"
            return f"({texts[0]} {name} {texts[1]})"
        case ir.Const(value, dtype):
            return f"{number_text(value)}:{type_name(dtype)}"
        case ir.Cast(arg, dtype):
            return f"{type_name(dtype)}({expr_text(arg)})"
        case ir.Select(cond, yes, no):
            return f"select({expr_text(cond)}, {expr_text(yes)}, {expr_text(no)})"
        case ir.IterationLimit():
            return "%limit"
        case _:
            assert_never(node)


def var_text(var: ir.Var) -> str:
    """Return a variable with its dtype, which is part of what it is."""
    return f"{var.name}.{var.dtype.kind}{8 * var.dtype.itemsize}"


def number_text(value: ir.Number) -> str:
    """Return a number exactly: floats in hexadecimal."""
    if isinstance(value, float):
        return value.hex() if math.isfinite(value) else repr(value)
    return repr(value)
