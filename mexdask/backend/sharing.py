"""Masked IR: costly expressions computed once, cheap arms computed without asking.

Every expression is total, so that it may be computed for lanes that do not want it. What follows
decides by cost alone; the C compiler shares and moves what is left between plain statements.
"""

from __future__ import annotations

from dataclasses import replace

from mexdask import ir
from mexdask.backend.lockstep import targets
from mexdask.backend.predicate import MaskedFunction
from mexdask.backend.rewrite import substituted, with_expressions

Body = tuple[ir.Masked, ...]

COSTS = {"/": 8, "sqrt": 8} | dict.fromkeys(
    "+ - * & | ^ ~ u- u+ < <= > >= == != abs square floor ceil trunc rint round copysign sign "
    "minimum maximum fmin fmax clip isnan isinf isfinite signbit deg2rad rad2deg heaviside".split(),
    1,
)
"""Vector operations that an operator takes, about."""
COSTLY = 20
"""Of every other operator: an inline function, or one that goes lane by lane."""
WORTH_SHARING = 8
WORTH_A_TEST = 6
"""What an arm must cost for the test whether a lane wants it to pay."""


def shared(masked: MaskedFunction) -> MaskedFunction:
    """Return the function with costly expressions out of loops and in front of their arms."""
    return replace(masked, body=Sharing().body(masked.body))


def unguarded(masked: MaskedFunction) -> MaskedFunction:
    """Return the function whose cheap arms are computed for all lanes and blended."""
    return replace(masked, body=without_guards(masked.body))


def cost(node: ir.Expr) -> int:
    """Return about how many vector operations an expression takes."""
    return sum(
        COSTS.get(part.op.name, COSTLY) if isinstance(part, ir.Apply) else
        1 if isinstance(part, (ir.Select, ir.Cast)) else 0
        for part in ir.parts(node)
    )  # fmt: skip


def is_costly(node: ir.Expr) -> bool:
    """Tell whether an expression's own operator is worth computing once only."""
    return isinstance(node, ir.Apply) and COSTS.get(node.op.name, COSTLY) >= WORTH_SHARING


class Sharing:
    """The state of the pass: how many variables it has made."""

    def __init__(self) -> None:
        self.made = 0
        self.costly: dict[int, tuple[ir.Masked, list[ir.Expr]]] = {}

    def body(self, body: Body) -> Body:
        """Return statements with what they share computed in front of the first that wants it."""
        while found := self.shareable(body):
            value, first, last = found
            self.made += 1
            held = ir.Var(f"%h{self.made}", value.dtype)
            inner = tuple(replaced(node, value, held) for node in body[first : last + 1])
            body = (*body[:first], ir.Set(held, value, None), *inner, *body[last + 1 :])
        return tuple(
            replace(node, body=self.body(node.body))
            if isinstance(node, (ir.Guard, ir.Loop)) else node
            for node in body
        )  # fmt: skip

    def shareable(self, body: Body) -> tuple[ir.Expr, int, int] | None:
        """Return the costliest expression to compute once, and the statements between which it is.

        One that a loop repeats though it does not change there, or that arms have in common.
        """
        places: dict[ir.Expr, list[int]] = {}
        for at, node in enumerate(body):
            if isinstance(node, (ir.Guard, ir.Loop)):
                for value in self.costly_parts(node):
                    places.setdefault(value, []).append(at)
        best: tuple[ir.Expr, int, int] | None = None
        for value, found in places.items():
            first, last = found[0], found[-1]
            several = len(set(found)) > 1
            if not several and not isinstance(body[first], ir.Loop):
                continue
            changed = targets(body[first : last + 1])
            if changed.isdisjoint(ir.reads(value)) and (
                best is None or cost(value) > cost(best[0])
            ):
                best = value, first, last
        return best

    def costly_parts(self, node: ir.Masked) -> list[ir.Expr]:
        """Return the costly expressions in a statement and those inside it, not constant ones."""
        if id(node) not in self.costly:
            expressions = ir.masked_expressions(node)
            found = [p for e in expressions for p in ir.parts(e) if is_costly(p) and ir.reads(p)]
            if isinstance(node, (ir.Guard, ir.Loop)):
                for inner in node.body:
                    found += self.costly_parts(inner)
            # The statement is kept, so that its identity is given to no other.
            self.costly[id(node)] = node, found
        return self.costly[id(node)][1]


def replaced(node: ir.Masked, value: ir.Expr, held: ir.Var) -> ir.Masked:
    """Return a statement that reads a variable where it computed a value."""
    if isinstance(node, (ir.Guard, ir.Loop)):
        return replace(node, body=tuple(replaced(n, value, held) for n in node.body))
    wanted = ir.reads(value)

    def other(part: ir.Expr) -> ir.Expr | None:
        if part == value:
            return held
        return None if wanted <= ir.reads(part) else part

    return with_expressions(node, lambda e: substituted(e, other))


def without_guards(body: Body) -> Body:
    """Return statements whose cheap guarded arms stand among them."""
    out: list[ir.Masked] = []
    for node in body:
        match node:
            case ir.Guard(_, inner) if (
                all(isinstance(n, ir.Set) for n in inner)
                and sum(1 + cost(n.value) for n in inner if isinstance(n, ir.Set)) <= WORTH_A_TEST
            ):
                out += inner
            case ir.Guard(mask, inner):
                out.append(ir.Guard(mask, without_guards(inner)))
            case ir.Loop(live, inner):
                out.append(ir.Loop(live, without_guards(inner)))
            case _:
                out.append(node)
    return tuple(out)
