"""From a valid kernel and the types of its arguments to typed IR: statements and control flow.

All meaning is decided here (``frontend.expressions`` has the expressions' half). Types flow
forward; a loop's head and exit, and a result, need types that are only known further down, so a
loop, or a body that returns, is lowered again until what it assumed and what it found agree.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import Any, TypeVar

import numpy as np

from mexdask import ir
from mexdask.dtypes import BOOL, INT64, UINT64, Type, held, join, kind, type_name
from mexdask.errors import NOWHERE, Diagnostic, KernelTypeError, Span
from mexdask.frontend.expressions import MILESTONE, Abandon, ExpressionLowering, Value, milestones
from mexdask.frontend.parse import (
    Parsed,
    all_nodes,
    head_of,
    names_set,
    operator_between,
    span_of,
)
from mexdask.frontend.stages import ParamType, ReducedHere, split
from mexdask.reductions import Reduction

MAX_ROUNDS = 400
WIDEN_AFTER = 12
MAX_CALLS = 200
MAX_CALL_DEPTH = 50

T = TypeVar("T")


class Missing(Enum):
    """Why a name has no type at a point."""

    MAYBE = "unassigned on some path"
    BROKEN = "its assignment has been complained about"


State = Type | Missing
Env = dict[str, State]


@dataclass
class Assumed:
    """What is assumed about a point that is reached later, and what was then found there."""

    types: Env | None = None
    found: list[Env] = field(default_factory=list)


@dataclass
class LoopFrame:
    """The loop around the statement in hand."""

    entry: Env
    head: Env
    exit: Assumed
    back: Assumed


def lower(
    parsed: Parsed,
    types: Mapping[str, ParamType],
    result_dtype: np.dtype | None = None,
    ndim: int | None = None,
) -> ir.Program:
    """Lower a validated kernel for arguments of given types.

    Parameters
    ----------
    parsed : Parsed
        A kernel that ``validate`` has passed.
    types : mapping of str to ParamType
        The type of each parameter.
    result_dtype : numpy.dtype, optional
        What every result is cast to.
    ndim : int, optional
        Dimensions of the whole array, which kernels with index symbols need.

    Raises
    ------
    KernelTypeError
        With every complaint about dtypes, unassigned names and missing returns.
    """
    lowering = Lowering(parsed, types, result_dtype, ndim)
    lowering.until_settled(lowering.kernel)
    if lowering.complaints:
        ordered = sorted(lowering.complaints, key=lambda d: (d.span.line, d.span.col))
        raise KernelTypeError(parsed.source, tuple(dict.fromkeys(ordered)))
    function = lowering.function()
    if not lowering.reduced:
        return ir.Program((function,))
    return split(function, lowering.reduced, types, parsed.source)


@dataclass
class Inlined:
    """A call of a helper whose body is being lowered: where its results go, and who called."""

    label: str
    result: Assumed
    place: Span


class Lowering(ExpressionLowering):
    """The state of the walk over a kernel's statements.

    While a helper's body is lowered in place of a call, ``parsed``, ``env``, ``local_names``,
    ``loops`` and ``prefix`` are the helper's.
    """

    def __init__(
        self,
        parsed: Parsed,
        types: Mapping[str, ParamType],
        result_dtype: np.dtype | None,
        ndim: int | None,
    ):
        self.parsed = parsed
        self.types = types
        self.result_dtype = result_dtype
        self.ndim = ndim
        self.local_names = parsed.variables
        self.assigned: dict[int, list[str]] = {}
        self.source = parsed.source
        self.constants = parsed.constants
        self.helpers = parsed.helpers
        functions = (parsed, *parsed.helpers.values()) if parsed.depth > MILESTONE else ()
        self.milestones = {node for function in functions for node in milestones(function)}
        self.points: dict[tuple[str, str, int], Assumed] = {}
        self.result = Assumed()
        self.out: list[ir.Stmt] = []
        self.complaints: list[Diagnostic] = []
        self.sites: list[ir.Site] = []
        self.temporaries = 0
        self.prefix = ""
        self.inlined: list[Inlined] = []
        self.calls = 0
        self.loops: list[LoopFrame] = []
        self.changed = False
        self.widen = False
        self.endless = NOWHERE
        self.env: Env | None = {name: t.type for name, t in types.items()}
        self.indices: dict[ir.Var, None] = {}
        self.reduced: list[ReducedHere] = []
        self.top = self.out
        self.may_have_returned = False

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

    def kernel(self) -> None:
        """Lower the kernel's body."""
        self.may_have_returned = False
        self.statements(self.parsed.body)
        self.ending(self.result)
        self.settle(self.result)

    def function(self) -> ir.Function:
        """Return what the last walk lowered."""
        params = tuple(
            ir.Param(ir.Var(name, held(self.types[name].type)), self.types[name].is_array)
            for name in self.parsed.parameters
        )
        name = "expression" if self.parsed.is_expression else self.parsed.source.name
        return ir.Function(
            name, params, self.returned_dtypes(), tuple(self.out), tuple(self.sites),
            self.parsed.fp, tuple(sorted(self.indices, key=lambda v: v.name)),
        )  # fmt: skip

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
                      span_of(node), "split the kernel")  # fmt: skip
        if len(self.inlined) >= MAX_CALL_DEPTH:
            self.fail("too-large", f"helpers call each other more than {MAX_CALL_DEPTH} deep",
                      span_of(node), "join some of them")  # fmt: skip
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
                      span_of(node.func), "reduce at the top of the kernel: m = ...")  # fmt: skip
        operand = self.materialised(value, span_of(node.args[0]))
        try:
            dtype = row.result(operand.dtype)
        except TypeError:
            self.fail("dtype-mismatch", f"{spelt} is not defined for {type_name(value.type)}",
                      span_of(node.func), "it takes real numbers, such as abs(z)")  # fmt: skip
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

    def complain(self, code: str, message: str, span: Span, hint: str = "") -> None:
        """Note a complaint; one inside a helper names the call that led there."""
        if self.inlined:
            places = [self.source.place(call.place) for call in reversed(self.inlined)]
            message = f"{message} (called at {', from '.join(places)})"
        super().complain(code, message, span, hint)

    def check(self, failed: ir.Expr, reason: str, span: Span) -> None:
        """Emit a test that fails at run time; its site knows the calls around it."""
        super().check(failed, reason, span)
        calls = tuple(call.place for call in reversed(self.inlined))
        self.sites[-1] = replace(self.sites[-1], calls=calls)

    def names_set_in(self, node: ast.stmt) -> list[str]:
        """Return the names that a loop assigns, looked for once for all rounds."""
        if id(node) not in self.assigned:
            self.assigned[id(node)] = sorted(names_set(all_nodes([node])))
        return self.assigned[id(node)]

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

    # Statements.

    def statements(self, body: list[ast.stmt]) -> None:
        """Lower statements up to the first that no path reaches."""
        for node in body:
            if self.env is None:
                return
            try:
                self.statement(node)
            except Abandon:
                self.break_targets(node)

    def break_targets(self, node: ast.stmt) -> None:
        """Silence later complaints about what a refused statement would have assigned."""
        if isinstance(node, ast.Return):
            self.env = None
            return
        assert self.env is not None
        for child in ast.walk(node):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                self.env[child.id] = Missing.BROKEN

    def statement(self, node: ast.stmt) -> None:
        """Lower one statement."""
        match node:
            case ast.Assign(targets, value):
                self.assignment(targets, value)
            case ast.AugAssign(ast.Name(name) as target, operator, value):
                left, right = self.operands([target, value])
                place = operator_between(target, value, self.parsed.lines)
                result = self.binary(operator, left, right, place or span_of(node))
                self.assign(name, result, span_of(node))
            case ast.If(test, body, orelse):
                self.branch(test, body, orelse)
            case ast.While():
                self.until_settled(partial(self.while_loop, node))
            case ast.For():
                self.until_settled(partial(self.for_loop, node))
            case ast.Break():
                frame = self.loops[-1]
                self.leave(frame.exit.types, frame.exit, ir.Break())
            case ast.Continue():
                frame = self.loops[-1]
                self.next_iteration(frame)
                self.out.append(ir.Continue())
                self.env = None
            case ast.Return(value):
                assert value is not None
                self.give_back(self.several(value), value)
            case ast.Pass() | ast.Expr():
                pass
            case _:
                raise AssertionError(f"validate let {type(node).__name__} pass")

    def assign(self, name: str, value: Value, span: Span) -> None:
        """Assign a value to a local, whose dtype becomes the value's."""
        assert self.env is not None
        expr = self.materialised(value, span)
        self.out.append(ir.Assign(self.var(name, expr.dtype), expr))
        self.env[name] = value.type

    def assignment(self, targets: list[ast.expr], node: ast.expr) -> None:
        """Lower an assignment to names and tuples; every value is taken before any is set."""
        values = self.several(node)
        if len(targets) > 1 or len(values) > 1:
            values = [self.kept(value, names_change=True) for value in values]
        for target in targets:
            names = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
            for name, value in zip(names, values, strict=True):
                assert isinstance(name, ast.Name)
                self.assign(name.id, value, span_of(node))

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
            self.coerced(value, dtype, span_of(place), cast=cast)
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
                expr = self.coerced(value, held(t), span_of(place))
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

    def body(self, nodes: list[ast.stmt], env: Env) -> tuple[list[ir.Stmt], Env | None]:
        """Lower statements into a list of their own; return the state after them too."""
        saved, self.out = self.out, []
        self.env = dict(env)
        self.statements(nodes)
        result, self.out = self.out, saved
        return result, self.env

    def branch(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> None:
        """Lower an ``if``."""
        assert self.env is not None
        cond = self.condition(test)
        before = self.env
        then, after_then = self.body(body, before)
        other, after_other = self.body(orelse, before)
        joined = join_envs([e for e in (after_then, after_other) if e is not None])
        for statements, env in ((then, after_then), (other, after_other)):
            if env is not None:
                saved, self.out = self.out, statements
                self.convert(env, joined)
                self.out = saved
        self.out.append(ir.If(cond, tuple(then), tuple(other)))
        self.env = joined

    def condition(self, test: ast.expr) -> ir.Expr:
        """Lower a condition; a refused one does not hide complaints about what it guards."""
        try:
            return self.truth(self.expression(test))
        except Abandon:
            return ir.Const(True, BOOL)

    # Loops.

    def enter(self, node: ast.stmt) -> LoopFrame:
        """Start a loop: bring locals to the types that its head has by what is known so far."""
        assert self.env is not None
        back = self.point("back", node)
        leaving = self.point("exit", node)
        back.found, leaving.found = [], []
        entry = self.env
        head = self.head_of_loop(entry, back)
        self.convert(entry, head)
        self.convert(head, leaving.types)
        return LoopFrame(entry, head, leaving, back)

    def head_of_loop(self, entry: Env, back: Assumed) -> Env:
        """Return the state at a loop's head, by what is known of the way back to it."""
        # What is broken at the end of the body is broken there by a statement that must be looked
        # at again, with the type that the name has before the loop.
        returning = {
            n: t for n, t in (back.types or {}).items() if n in entry and t is not Missing.BROKEN
        }
        head = join_envs([entry, {**entry, **returning}])
        assert head is not None
        return head

    def next_iteration(self, frame: LoopFrame) -> None:
        """Bring locals to the types of the head; the loop may end there, so also to the exit's."""
        assert self.env is not None
        frame.back.found.append(self.env)
        self.convert(self.env, frame.head)
        self.convert({**self.env, **frame.head}, frame.exit.types)

    def leave(self, target: Env | None, point: Assumed, jump: ir.Stmt) -> None:
        """Jump to a point, with the locals as it wants them."""
        assert self.env is not None
        point.found.append(self.env)
        self.convert(self.env, target)
        self.out.append(jump)
        self.env = None

    def loop_body(
        self, frame: LoopFrame, prefix: list[ir.Stmt], nodes: list[ast.stmt], env: Env
    ) -> tuple[ir.Stmt, ...]:
        """Lower what a loop repeats, up to the jump back."""
        self.loops.append(frame)
        saved, self.out = self.out, list(prefix)
        self.env = dict(env)
        self.statements(nodes)
        if self.env is not None:
            self.next_iteration(frame)
        self.loops.pop()
        result, self.out = self.out, saved
        frame.back.types = self.joined(frame.back)
        if spelt_out(self.head_of_loop(frame.entry, frame.back)) != spelt_out(frame.head):
            self.changed = True
        return tuple(result)

    def for_loop(self, node: ast.For) -> None:
        """Lower ``for name in range(...)`` to a hidden counter and a number of trips."""
        assert isinstance(node.iter, ast.Call)
        assert isinstance(node.target, ast.Name)
        start, step, trips = self.range_of(node.iter)
        frame = self.enter(node)
        counter = self.temporary(UINT64)
        number: ir.Expr = ir.Cast(counter, INT64)
        if step != ir.Const(1, INT64):
            number = self.apply("*", step, number)
        if start != ir.Const(0, INT64):
            number = self.apply("+", start, number)
        variable = self.var(node.target.id, INT64)
        env = {**frame.head, node.target.id: int}
        body = self.loop_body(frame, [ir.Assign(variable, number)], node.body, env)
        self.out.append(ir.For(counter, trips, body))
        if isinstance(trips, ir.Const):
            frame.exit.found += [{**env, **frame.head} for env in frame.back.found]
        else:
            frame.exit.found.append(self.passed_by(node, frame))
        self.env = self.settle(frame.exit)

    def passed_by(self, node: ast.stmt, frame: LoopFrame) -> Env:
        """Return the state of the head, where what only the loop assigns may be unassigned."""
        state: Env = dict.fromkeys(self.names_set_in(node), Missing.MAYBE)
        for env in frame.back.found:
            state |= {n: t for n, t in env.items() if t is Missing.BROKEN}
        return {**state, **frame.head}

    def range_of(self, call: ast.Call) -> tuple[ir.Expr, ir.Expr, ir.Expr]:
        """Lower the bounds of a range, taken once: its start, its step and its number of trips."""
        values = self.each(*(partial(self.range_bound, argument) for argument in call.args))
        zero, one = ir.Const(0, INT64), ir.Const(1, INT64)
        start = values[0] if len(values) > 1 else zero
        stop = values[1] if len(values) > 1 else values[0]
        step = values[2] if len(values) == 3 else one
        if isinstance(step, ir.Const):
            if step.value == 0:
                self.fail("zero-step", "the step of range() is 0", span_of(call.args[2]),
                          "leave the step out to count by 1")  # fmt: skip
        else:
            self.check(self.apply("==", step, zero), "zero-step", span_of(call.args[2]))
        bounds = (start, stop, step)
        literals = [int(b.value.real) for b in bounds if isinstance(b, ir.Const)]
        if len(literals) == len(bounds):
            first, last, by = literals
            # Compilers warn of a counter that is to be below a 0 they can see.
            if (known := -((first - last) // by)) > 0:
                return start, step, ir.Const(known, UINT64)
        trips = self.apply("range_trips", *bounds)
        return start, step, self.kept(Value(trips, UINT64), names_change=True).expr

    def range_bound(self, node: ast.expr) -> ir.Expr:
        """Lower one argument of ``range``: an integer, held as int64 for the whole loop."""
        value = self.expression(node)
        if value.type is not bool and (held(value.type).kind not in "iu"):
            self.fail("range-of-float", f"range() takes integers, not {type_name(value.type)}",
                      span_of(node), "write int(...) around it")  # fmt: skip
        if held(value.type) == UINT64 and value.literal is None:
            largest = ir.Const(2**63 - 1, UINT64)
            value = Value(self.apply("minimum", value.expr, largest), UINT64)
        bound = Value(self.coerced(value, INT64, span_of(node)), INT64)
        return self.kept(bound, names_change=True).expr

    def while_loop(self, node: ast.While) -> None:
        """Lower ``while``, with the counter that bounds its iterations."""
        rounds = self.temporary(INT64)
        self.out.append(ir.Assign(rounds, ir.Const(0, INT64)))
        frame = self.enter(node)
        endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
        saved, self.out = self.out, []
        self.env = dict(frame.head)
        cond = self.condition(node.test)
        head, self.out = self.out, []
        self.out.append(ir.Assign(rounds, self.apply("+", rounds, ir.Const(1, INT64))))
        self.check(self.apply(">", rounds, ir.IterationLimit()), "iteration-limit", keyword(node))
        prefix, self.out = self.out, saved
        body = self.loop_body(frame, prefix, node.body, self.env)
        self.out.append(ir.While(tuple(head), cond, body))
        if endless:
            self.endless = keyword(node)
        else:
            frame.exit.found.append(self.passed_by(node, frame))
        self.env = self.settle(frame.exit)

    def read(self, name: str, span: Span) -> Value:
        """Return the value of a local, which must have one on every path to here."""
        assert self.env is not None
        state = self.env.get(name)
        if state is None:
            self.fail("unassigned", f"{name!r} is read before it is assigned", span,
                      f"assign {name!r} first")  # fmt: skip
        if not isinstance(state, Missing):
            return Value(self.var(name, held(state)), state)
        if state is Missing.BROKEN:
            raise Abandon
        self.fail("maybe-unassigned", f"{name!r} may be unassigned here", span,
                  f"assign {name!r} before the if or the loop that sets it")  # fmt: skip


def numbered(values: list[Value]) -> Env:
    """Return the types of the results of one ``return``, by number."""
    return {f"return {n}": value.type for n, value in enumerate(values)}


def keyword(node: ast.stmt) -> Span:
    """Return the place of the word that starts a statement."""
    return Span(node.lineno, node.col_offset, node.col_offset + len("while"))


def conversions(source: Env, target: Env) -> Iterator[tuple[str, Type, Type]]:
    """Yield the names that one state holds in another dtype than the other, with both types."""
    for name, t in target.items():
        now = source.get(name, Missing.MAYBE)
        if now is t or isinstance(t, Missing) or isinstance(now, Missing) or held(t) == held(now):
            continue
        yield name, now, t


def spelt_out(env: Env | None) -> dict[str, object] | None:
    """Return a state that compares right: ``np.dtype("int64") == int`` holds, and must not."""
    if env is None:
        return None
    return {n: t if isinstance(t, Missing) else type_name(t) for n, t in env.items()}


def join_envs(envs: list[Env]) -> Env | None:
    """Return the state where paths with these states meet; None where no path arrives."""
    if not envs:
        return None
    first, *others = envs
    joined = dict(first)
    for name in dict.fromkeys(name for env in envs for name in env):
        state = first.get(name, Missing.MAYBE)
        for env in others:
            if env.get(name, Missing.MAYBE) is not state:
                state = join_states([env.get(name, Missing.MAYBE) for env in envs])
                break
        joined[name] = state
    return joined


def join_states(states: list[State]) -> State:
    """Return the state of one name where paths meet."""
    first = states[0]
    if all(s is first for s in states):
        return first
    for missing in (Missing.BROKEN, Missing.MAYBE):
        if any(s is missing for s in states):  # comparing dtypes with other things is slow
            return missing
    return join(*(s for s in states if not isinstance(s, Missing)))
