"""The calls' half of lowering: helper functions inlined, reductions taken out, results joined."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from mexdask import ir
from mexdask.dtypes import Type, held, join, kind, type_name
from mexdask.errors import NOWHERE, SourceText, Span
from mexdask.frontend.expressions import ExpressionLowering
from mexdask.frontend.nodes import Location, head_of, span_of
from mexdask.frontend.parse import Parsed
from mexdask.frontend.stages import ReducedHere
from mexdask.frontend.states import (
    Assumed,
    Env,
    LoopFrame,
    Missing,
    conversions,
    join_envs,
    spelt_out,
)
from mexdask.frontend.values import Abandon, Value
from mexdask.reductions import Reduction

MAX_ROUNDS = 400
WIDEN_AFTER = 12
MAX_CALLS = 200
MAX_CALL_DEPTH = 50

T = TypeVar("T")


@dataclass
class Inlined:
    """A call of a helper whose body is being lowered: where its results go, and who called."""

    label: str
    result: Assumed
    place: Span


class CallLowering(ExpressionLowering):
    """Lowers what functions take and give; their statements are lowered by a subclass."""

    source: SourceText
    env: Env | None
    loops: list[LoopFrame]
    inlined: list[Inlined]
    points: dict[tuple[str, str, int], Assumed]
    reduced: list[ReducedHere]
    result: Assumed
    result_dtype: np.dtype | None
    top: list[ir.Stmt]
    prefix: str
    calls: int
    changed: bool
    widen: bool
    may_have_returned: bool
    endless: Span

    def statements(self, body: list[ast.stmt]) -> None:
        """Lower statements."""
        raise AssertionError("the statements' half lowers bodies")

    def assign(self, name: str, value: Value, place: Location) -> None:
        """Assign a value to a local."""
        raise AssertionError("the statements' half knows the locals")

    def until_settled(self, work: Callable[[], T]) -> T:
        """Do a part of the lowering again until it assumes what it finds; return its result."""
        outer = (self.changed, self.widen)
        out, env, endless = self.out, self.env and dict(self.env), self.endless
        counts = (self.temporaries, self.calls)
        returned = (self.inlined[-1].result if self.inlined else self.result).found
        grown: list[list[Any]] = [out, self.complaints, self.sites, self.reduced, returned]
        lengths = [len(items) for items in grown]
        try:
            for number in range(MAX_ROUNDS):
                self.changed, self.widen = False, number >= WIDEN_AFTER
                result = work()
                if not self.changed:
                    return result
                for items, length in zip(grown, lengths, strict=True):
                    del items[length:]
                self.env, self.endless = env and dict(env), endless
                self.temporaries, self.calls = counts
            raise AssertionError("types did not settle")
        finally:
            self.changed, self.widen = outer

    def ending(self, result: Assumed) -> None:
        """Complain about paths that end without a result."""
        last = self.parsed.body[-1] if self.parsed.body else self.parsed.definition
        assert last is not None
        if self.env is not None:
            self.complain(
                "missing-return",
                "a path through the kernel ends without 'return'",
                head_of(last, self.parsed.lines),
                "end the kernel with 'return ...'",
            )
        elif not result.found and not self.complaints:
            self.complain("missing-return", "the kernel never returns", self.endless,
                          "add a 'return', or a 'break' to the endless loop")  # fmt: skip

    # Helper functions.

    def inline(self, helper: Parsed, values: list[Value], node: ast.Call) -> list[Value]:
        """Lower a helper's body in place of a call; its locals are this call's own."""
        return self.until_settled(partial(self.inline_once, helper, values, node))

    def inline_once(self, helper: Parsed, values: list[Value], node: ast.Call) -> list[Value]:
        """Lower a helper's body under what is assumed of its results."""
        assert helper.definition is not None
        self.calls += 1
        if self.calls > MAX_CALLS:
            self.fail("too-large", f"helpers are called at more than {MAX_CALLS} places",
                      node, "split the kernel")  # fmt: skip
        if len(self.inlined) >= MAX_CALL_DEPTH:
            self.fail("too-large", f"helpers call each other more than {MAX_CALL_DEPTH} deep",
                      node, "join some of them")  # fmt: skip
        label = f"L{self.calls}"
        call = Inlined(label, self.point("result", node), span_of(node.func))
        call.result.found = []
        literals = [Value(self.literal(v, call.place).expr, type(v), v, call.place)
                    for v in helper.defaults.values() if not isinstance(v, complex)]  # fmt: skip
        defaults = dict(zip(helper.defaults, literals, strict=True))
        given = dict(zip(helper.parameters, values, strict=False))
        arguments = {name: given.get(name) or defaults[name] for name in helper.parameters}
        saved = (self.parsed, self.env, self.local_names, self.loops, self.prefix, self.out,
                 self.top)  # fmt: skip
        self.parsed, self.env, self.loops, body = helper, {}, [], list[ir.Stmt]()
        known = len(self.reduced)
        self.top = body if self.out is self.top else self.top
        self.out = body
        self.local_names = helper.variables
        self.prefix = f"{helper.definition.name}#{self.calls}."
        self.inlined.append(call)
        try:
            for name, value in arguments.items():
                self.assign(name, value, call.place)
            self.statements(helper.body)
            self.ending(call.result)
        finally:
            self.inlined.pop()
            (self.parsed, self.env, self.local_names, self.loops, self.prefix, self.out,
             self.top) = saved  # fmt: skip
        result = self.settle(call.result)
        if result is None or any(isinstance(t, Missing) for t in result.values()):
            raise Abandon
        if self.splice(label, body) and len(self.reduced) > known:
            self.complain("reduction", f"a reduction in {helper.source.name}(), which may return "
                          "early", call.place, "reduce before the first 'return'")  # fmt: skip
        types = [t for t in result.values() if not isinstance(t, Missing)]
        return [Value(self.result_variable(label, n, t), t) for n, t in enumerate(types)]

    def splice(self, label: str, body: list[ir.Stmt]) -> bool:
        """Emit an inlined body; return whether it needs a block: not if only its end leaves it."""
        leave = ir.Leave(label)
        if body and body[-1] == leave and leave not in ir.walk(tuple(body[:-1])):
            self.out += body[:-1]
            return False
        self.out.append(ir.Block(label, tuple(body)))
        return True

    def reduction(self, row: Reduction, value: Value, node: ast.Call) -> Value:
        """Lower a reduction: its operand gets a name, its result is a variable from outside."""
        spelt = f"{ast.unparse(node.func)}()"
        if self.out is not self.top or self.may_have_returned:
            where = "inside a condition or a loop"
            if self.out is self.top:
                where = "after a 'return' that some elements take"
            self.fail("reduction", f"{spelt} reduces over the whole array and cannot stand {where}",
                      node.func, "reduce at the top of the kernel: m = ...")  # fmt: skip
        operand = self.materialised(value, node.args[0])
        try:
            dtype = row.result(operand.dtype)
        except TypeError:
            self.fail("dtype-mismatch", f"{spelt} is not defined for {type_name(value.type)}",
                      node.func, "it takes real numbers, such as abs(z)")  # fmt: skip
        kept = self.temporary(operand.dtype)
        self.out.append(ir.Assign(kept, operand))
        result = ir.Var(f"%reduced{len(self.reduced)}", dtype)
        self.reduced.append(ReducedHere(row.name, kept, result, span_of(node)))
        return Value(result, dtype)

    def result_variable(self, label: str, number: int, t: Type) -> ir.Var:
        """Return the hidden local that takes one of an inlined call's results."""
        return ir.Var(f"%{label}.{number}" if number else f"%{label}", held(t))

    def var(self, name: str, dtype: np.dtype) -> ir.Var:
        """Return the IR's variable for a local of the function in hand."""
        return ir.Var(self.prefix + name, dtype)

    def point(self, what: str, node: ast.AST) -> Assumed:
        """Return what is assumed of a place in the function in hand, for the call in hand."""
        return self.points.setdefault((what, self.prefix, id(node)), Assumed())

    def complain(self, code: str, message: str, place: Location, hint: str = "") -> None:
        """Note a complaint; one inside a helper names the call that led there."""
        if self.inlined:
            places = [self.source.place(call.place) for call in reversed(self.inlined)]
            message = f"{message} (called at {', from '.join(places)})"
        super().complain(code, message, place, hint)

    def check(self, failed: ir.Expr, reason: str, place: Location) -> None:
        """Emit a test that fails at run time; its site knows the calls around it."""
        super().check(failed, reason, place)
        calls = tuple(call.place for call in reversed(self.inlined))
        self.sites[-1] = replace(self.sites[-1], calls=calls)

    def several(self, node: ast.expr) -> list[Value]:
        """Lower what may be a tuple: several expressions, or a call that gives several results."""
        match node:
            case ast.Tuple(elements):
                return self.operands(elements)
            case ast.Call(ast.Name(name), arguments) if name in self.helpers:
                return self.inline(self.helpers[name], self.operands(arguments), node)
            case _:
                return [self.expression(node)]

    def give_back(self, values: list[Value], node: ast.expr) -> None:
        """Lower a ``return``, of the kernel or of a helper."""
        places = node.elts if isinstance(node, ast.Tuple) else [node] * len(values)
        if self.inlined:
            self.give_back_to_caller(values, places)
            return
        self.result.found.append(numbered(values))
        self.may_have_returned = True
        cast = self.result_dtype is not None
        self.out.append(ir.Return(tuple(
            self.coerced(value, dtype, place, cast=cast)
            for value, dtype, place in zip(values, self.returned_dtypes(), places, strict=True)
        )))  # fmt: skip
        self.env = None

    def give_back_to_caller(self, values: list[Value], places: list[ast.expr]) -> None:
        """Lower a helper's ``return``: set the call's results, leave the inlined body."""
        call = self.inlined[-1]
        call.result.found.append(numbered(values))
        known = call.result.types or numbered(values)
        for n, (value, t, place) in enumerate(zip(values, known.values(), places, strict=True)):
            assert not isinstance(t, Missing)
            variable = self.result_variable(call.label, n, t)
            if held(value.type).kind != "c" or held(t).kind == "c":
                expr = self.coerced(value, held(t), place)
                self.out.append(ir.Assign(variable, expr))
        self.out.append(ir.Leave(call.label))
        self.env = None

    def returned_dtypes(self) -> tuple[np.dtype, ...]:
        """Return the dtypes of the results, as far as they are known."""
        known = [self.result.types] if self.result.types else self.result.found
        if self.result_dtype is not None:
            return (self.result_dtype,) * len(known[0])
        columns = zip(*(env.values() for env in known), strict=True)
        return tuple(
            held(join(*(t for t in column if not isinstance(t, Missing)))) for column in columns
        )

    # Joining types where paths meet.

    def joined(self, point: Assumed) -> Env | None:
        """Return the state at a point, by what was found there; at last it only widens."""
        joined = join_envs(point.found)
        if self.widen and joined is not None and point.types is not None:
            return join_envs([point.types, joined])
        return joined

    def settle(self, point: Assumed) -> Env | None:
        """Join what was found at a point; note whether code for it would now be another."""
        joined = self.joined(point)
        if point.types is None and joined is not None:
            self.changed |= any(True for env in point.found for _ in conversions(env, joined))
        elif spelt_out(joined) != spelt_out(point.types):
            self.changed = True
        point.types = joined
        return None if joined is None else dict(joined)

    def convert(self, source: Env, target: Env | None) -> None:
        """Emit what brings each local from its dtype in one state to its dtype in another."""
        for name, now, t in conversions(source, target or {}):
            if kind(now) == "c" and kind(t) != "c":
                continue  # what was assumed is about to be widened
            value = self.coerced(Value(self.var(name, held(now)), now), held(t), NOWHERE)
            self.out.append(ir.Assign(self.var(name, held(t)), value))


def numbered(values: list[Value]) -> Env:
    """Return the types of the results of one ``return``, by number."""
    return {f"return {n}": value.type for n, value in enumerate(values)}
