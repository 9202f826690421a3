"""From a valid kernel and the types of its arguments to typed IR: statements and control flow.

All meaning is decided here (``frontend.expressions`` has the expressions' half). Types flow
forward; a loop's head and exit, and a result, need types that are only known further down, so a
loop, or a body that returns, is lowered again until what it assumed and what it found agree.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import partial
from typing import TypeVar

import numpy as np

from mexdask import ir
from mexdask.dtypes import BOOL, INT64, UINT64, held, type_name
from mexdask.errors import NOWHERE, Diagnostic, KernelTypeError, Span
from mexdask.frontend.expressions import MILESTONE, milestones
from mexdask.frontend.inlining import CallLowering, Inlined
from mexdask.frontend.nodes import Between, Location, all_nodes, names_set
from mexdask.frontend.parse import Parsed
from mexdask.frontend.stages import ParamType, ReducedHere, split
from mexdask.frontend.states import Assumed, Env, LoopFrame, Missing, join_envs, spelt_out
from mexdask.frontend.values import Abandon, Value

T = TypeVar("T")


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


class Lowering(CallLowering):
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

    def names_set_in(self, node: ast.stmt) -> list[str]:
        """Return the names that a loop assigns, looked for once for all rounds."""
        if id(node) not in self.assigned:
            self.assigned[id(node)] = sorted(names_set(all_nodes([node])))
        return self.assigned[id(node)]

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
                result = self.binary(operator, left, right, Between(target, value, node))
                self.assign(name, result, node)
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

    def assign(self, name: str, value: Value, place: Location) -> None:
        """Assign a value to a local, whose dtype becomes the value's."""
        assert self.env is not None
        expr = self.materialised(value, place)
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
                self.assign(name.id, value, node)

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
                self.fail("zero-step", "the step of range() is 0", call.args[2],
                          "leave the step out to count by 1")  # fmt: skip
        else:
            self.check(self.apply("==", step, zero), "zero-step", call.args[2])
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
                      node, "write int(...) around it")  # fmt: skip
        if held(value.type) == UINT64 and value.literal is None:
            largest = ir.Const(2**63 - 1, UINT64)
            value = Value(self.apply("minimum", value.expr, largest), UINT64)
        bound = Value(self.coerced(value, INT64, node), INT64)
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

    def read(self, name: str, place: Location) -> Value:
        """Return the value of a local, which must have one on every path to here."""
        assert self.env is not None
        state = self.env.get(name)
        if state is None:
            self.fail("unassigned", f"{name!r} is read before it is assigned", place,
                      f"assign {name!r} first")  # fmt: skip
        if not isinstance(state, Missing):
            return Value(self.var(name, held(state)), state)
        if state is Missing.BROKEN:
            raise Abandon
        self.fail("maybe-unassigned", f"{name!r} may be unassigned here", place,
                  f"assign {name!r} before the if or the loop that sets it")  # fmt: skip


def keyword(node: ast.stmt) -> Span:
    """Return the place of the word that starts a statement."""
    return Span(node.lineno, node.col_offset, node.col_offset + len("while"))
