"""The expressions' half of lowering: promotion by NEP 50, weak literals, lazily chosen operands."""

from __future__ import annotations

import ast
import operator as py_operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import numpy as np

from mexdask import ir
from mexdask.dtypes import (
    BOOL,
    INT64,
    Type,
    held,
    is_weak,
    join,
    type_name,
    weakened,
)
from mexdask.errors import NOWHERE, Span
from mexdask.frontend.nodes import Between, Location, children
from mexdask.frontend.parse import INDEX_SYMBOL, Constant, Parsed
from mexdask.frontend.values import Abandon, Value, ValueLowering
from mexdask.ops import (
    BY_FUNCTION_NAME,
    CASTS,
    CONSTANTS,
    SPELT_AS_OPERATOR,
    TABLE,
    HalfPrecisionError,
    Op,
)
from mexdask.reductions import REDUCTIONS, Reduction

BINARY = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%",
    ast.Pow: "**", ast.LShift: "<<", ast.RShift: ">>", ast.BitAnd: "&", ast.BitOr: "|",
    ast.BitXor: "^",
}  # fmt: skip
COMPARISON = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "<": py_operator.lt, "<=": py_operator.le, ">": py_operator.gt, ">=": py_operator.ge,
    "==": py_operator.eq, "!=": py_operator.ne,
}  # fmt: skip
FOLDED: dict[str, Callable[[Any], Any]] = {
    "u-": py_operator.neg, "u+": py_operator.pos, "~": lambda v: ~int(v),
}  # fmt: skip
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
TRUE_ABOVE = {"<": True, "<=": True, "!=": True, ">": False, ">=": False, "==": False}
BUILTINS = {"abs", "pow", "min", "max"}
"""Python's own functions: bare, they keep weak values weak."""

TYPE_HINTS = {
    "-": "use '^' for bools that differ, or np.int8(...) to count",
    "u-": "use 'not' or '~' for the opposite of a bool",
    "u+": "leave the '+' out",
    "<<": "both sides must be integers of one sign: write np.uint64(...) or np.int64(...)",
    ">>": "both sides must be integers of one sign: write np.uint64(...) or np.int64(...)",
    "&": "'&', '|' and '^' work on bools and integers; use 'and' for conditions",
    "|": "'&', '|' and '^' work on bools and integers; use 'or' for conditions",
    "^": "'&', '|' and '^' work on bools and integers; use '**' for powers",
    "~": "'~' works on bools and integers; use 'not' for conditions",
}


NO_ORDER = {"<", "<=", ">", ">=", "minimum", "maximum", "fmin", "fmax", "clip"}

MILESTONE = 25
"""Levels of an expression in one statement of the IR."""

T = TypeVar("T")


class ExpressionLowering(ValueLowering):
    """Lowers expressions; statements that an operand needs first go to ``out``."""

    parsed: Parsed
    local_names: frozenset[str]
    ndim: int | None
    indices: dict[ir.Var, None]
    constants: dict[str, Constant]
    helpers: dict[str, Parsed]
    milestones: set[ast.expr]

    def read(self, name: str, place: Location) -> Value:
        """Return the value of a local."""
        raise AssertionError("the statements' half knows the locals")

    def inline(self, helper: Parsed, values: list[Value], node: ast.Call) -> list[Value]:
        """Return the results of a helper function, whose body is lowered here."""
        raise AssertionError("the statements' half lowers bodies")

    def aside(self, node: ast.expr) -> tuple[Value, list[ir.Stmt]]:
        """Lower an operand that may not be wanted; return also what it needs first."""
        saved, self.out = self.out, []
        try:
            value = self.expression(node)
        finally:
            statements, self.out = self.out, saved
        return value, statements

    # Expressions.

    def expression(self, node: ast.expr) -> Value:
        """Lower one expression."""
        if node in self.milestones:
            self.milestones.remove(node)
            try:
                return self.kept(self.expression(node))
            finally:
                self.milestones.add(node)
        match node:
            case ast.Constant(bool() | int() | float() as literal):
                return self.literal(literal, node)
            case ast.Name(name):
                return self.name(name, node)
            case ast.Attribute(_, name):
                return self.literal(CONSTANTS[name], node)
            case ast.BinOp(left, operator, right):
                one, other = self.operands([left, right])
                return self.binary(operator, one, other, Between(left, right, node))
            case ast.UnaryOp(operator, operand):
                return self.unary(operator, self.expression(operand), node)
            case ast.BoolOp(operator, values):
                return self.chosen(isinstance(operator, ast.And), values)
            case ast.Compare(left, operators, comparators):
                with self.surveying(comparators):
                    first = self.expression(left)
                return self.chain(first, left, operators, comparators)
            case ast.IfExp(test, body, orelse):
                return self.ternary(test, body, orelse)
            case ast.Call(func, args):
                return self.call(node, func, args)
            case _:
                raise AssertionError(f"validate let {type(node).__name__} pass")

    def operands(self, nodes: list[ast.expr]) -> list[Value]:
        """Lower operands; a refused one does not hide complaints about the others."""
        values = []
        for node in nodes:
            try:
                values.append(self.expression(node))
            except Abandon:
                continue
        if len(values) < len(nodes):
            raise Abandon
        return values

    def each(self, *works: Callable[[], T]) -> list[T]:
        """Do several works, all of them even if one gives up."""
        results = []
        for work in works:
            try:
                results.append(work())
            except Abandon:
                continue
        if len(results) < len(works):
            raise Abandon
        return results

    @contextmanager
    def surveying(self, nodes: list[ast.expr]) -> Iterator[None]:
        """Complain about these nodes too if the work at hand gives up before it comes to them."""
        try:
            yield
        except Abandon:
            for node in nodes:
                with suppress(Abandon):
                    self.expression(node)
            raise

    def name(self, name: str, place: Location) -> Value:
        """Lower a name: a local, an index symbol, else a constant."""
        if name in self.local_names:
            return self.read(name, place)
        if INDEX_SYMBOL.fullmatch(name):
            return self.index_symbol(name, place)
        if (constant := self.constants.get(name)) is None:
            return self.literal(CONSTANTS[name], place)
        if isinstance(constant.type, np.dtype):
            return Value(ir.Const(constant.value, constant.type), constant.type)
        assert not isinstance(constant.value, complex)
        return self.literal(constant.value, place)

    def index_symbol(self, name: str, place: Location) -> Value:
        """Lower an index symbol, an int64 of the whole array."""
        if self.ndim is None:
            self.fail("index-symbol", f"{name!r} has no array to count in", place,
                      "pass an array, or call mexdask.fromkernel(kernel, shape)")  # fmt: skip
        if name == "_ndim":
            return Value(ir.Const(self.ndim, INT64), INT64)
        if name != "_flat_idx" and int(name[2]) >= self.ndim:
            known = [f"{name[:2]}{axis}" for axis in range(self.ndim)]
            self.fail("index-symbol", f"{name!r} is of a dimension that the array does not have, "
                      f"it has {self.ndim}", place,
                      f"use {' or '.join(known)}" if known else "leave it out")  # fmt: skip
        variable = ir.Var(name, INT64)
        self.indices[variable] = None
        return Value(variable, INT64)

    def unary(self, operator: ast.unaryop, value: Value, node: ast.UnaryOp) -> Value:
        """Lower ``not``, ``-``, ``+`` and ``~``."""
        if isinstance(operator, ast.Not):
            if value.literal is not None:
                return self.literal(not value.literal, node)
            return Value(self.apply("~", self.truth(value)), bool)
        name = {ast.USub: "u-", ast.UAdd: "u+", ast.Invert: "~"}[type(operator)]
        if value.literal is not None and (name != "~" or isinstance(value.literal, int)):
            return self.literal(FOLDED[name](value.literal), node)
        sign = Span(node.lineno, node.col_offset, node.col_offset + 1)
        return self.operation(TABLE[name], [value], sign, weak_stays_weak=True)

    def binary(self, operator: ast.operator, left: Value, right: Value, place: Location) -> Value:
        """Lower a binary operator, which stands at ``place``."""
        return self.binary_named(BINARY[type(operator)], left, right, place)

    def binary_named(self, name: str, left: Value, right: Value, place: Location) -> Value:
        """Lower a binary operator by its name; powers have rules of their own."""
        if name == "**":
            return self.power(left, right, place)
        return self.operation(TABLE[name], [left, right], place, weak_stays_weak=True)

    def operation(
        self, op: Op, values: list[Value], place: Location, *, weak_stays_weak: bool
    ) -> Value:
        """Lower a row of the table on values: resolve dtypes, convert the operands."""
        types = [v.type for v in values]
        all_weak = all(map(is_weak, types))
        if all_weak and weak_stays_weak:
            logical = op.name in ("&", "|", "^") and all(t is bool for t in types)
            types = [held(int if t is bool and not logical else t) for t in types]
        dtypes, result = self.resolved(op, types, values, place)
        args: list[ir.Expr] = []
        for value, dtype in zip(values, dtypes, strict=True):
            try:
                args.append(self.coerced(value, dtype, place))
            except Abandon:
                continue
        if len(args) < len(values):
            raise Abandon
        weak = all_weak and weak_stays_weak
        return Value(ir.Apply(op, tuple(args), result), weakened(result) if weak else result)

    def resolved(
        self, op: Op, types: list[Type], values: list[Value], place: Location
    ) -> tuple[tuple[np.dtype, ...], np.dtype]:
        """Return NumPy's operand and result dtypes, or complain where it has none."""
        try:
            return op.resolve(*types)
        except HalfPrecisionError:
            names = ", ".join(type_name(v.type) for v in values)
            self.fail(
                "float16-result",
                f"{op.name}({names}) would be float16, which the language does not have",
                place,
                f"convert first: {op.name}(np.float32(...))",
            )
        except TypeError:
            names = " and ".join(type_name(v.type) for v in values)
            spelt = (
                repr(op.name.removeprefix("u")) if not op.name.isidentifier() else f"{op.name}()"
            )
            hint = TYPE_HINTS.get(op.name, "convert the operand, such as np.float64(...)")
            is_free = op.ordered or op.name not in TYPE_HINTS
            if is_free and any(held(v.type).kind == "c" for v in values):
                hint = "it takes real numbers, such as abs(z)"
                if op.name in NO_ORDER:
                    hint = "complex numbers have no order: compare abs(z)"
            self.fail("dtype-mismatch", f"{spelt} is not defined for {names}", place, hint)

    def power(self, base: Value, exponent: Value, place: Location) -> Value:
        """Lower ``**``: squares are products, integers never take a negative exponent."""
        op, literal = TABLE["**"], exponent.literal
        below = isinstance(literal, int) and literal < 0
        if below and held(base.type).kind in "biu":
            at = place if exponent.place is NOWHERE else exponent.place
            self.fail("negative-power", "an integer to a negative integer power", at,
                      "make one of them a float: float(x) ** -1")  # fmt: skip
        power = self.operation(op, [base, exponent], place, weak_stays_weak=True)
        assert isinstance(power.expr, ir.Apply)
        raised, by = power.expr.args
        if literal is not None and literal == 2:
            twice = self.kept(Value(raised, power.type)).expr
            return Value(self.apply("*", twice, twice), power.type)
        if literal is None and power.expr.dtype.kind == "i":
            by = self.kept(Value(by, by.dtype)).expr
            self.check(self.apply("<", by, ir.Const(0, by.dtype)), "negative-power", place)
            return Value(ir.Apply(op, (raised, by), power.expr.dtype), power.type)
        return power

    # Comparisons and lazily chosen operands.

    def chain(
        self, left: Value, node: ast.expr, operators: list[ast.cmpop], rights: list[ast.expr]
    ) -> Value:
        """Lower ``a < b <= c``: each operand is evaluated once, later ones only if still needed."""
        name = COMPARISON[type(operators[0])]
        place = Between(node, rights[0], node)
        with self.surveying(rights[1:]):
            right = self.expression(rights[0])
            if len(operators) > 1:
                right = self.kept(right)
            first = self.compare(name, left, right, place)
        if len(operators) == 1:
            return first
        saved, self.out = self.out, []
        try:
            rest = self.chain(right, rights[0], operators[1:], rights[1:])
        finally:
            statements, self.out = self.out, saved
        return self.choose(True, first, rest, statements, place)

    def compare(self, name: str, left: Value, right: Value, place: Location) -> Value:
        """Lower one comparison; integers compare exactly whatever their dtypes."""
        weak = is_weak(left.type) and is_weak(right.type)
        if left.literal is not None and right.literal is not None:
            return self.literal(COMPARED[name](left.literal, right.literal), place)
        if isinstance(left.expr, ir.Const) and not isinstance(right.expr, ir.Const):
            return self.compare(MIRRORED[name], right, left, place)
        integral = held(left.type).kind in "biu" and held(right.type).kind in "biu"
        if integral and isinstance(right.expr, ir.Const):
            number = right.expr.value if right.literal is None else right.literal
            if held(left.type) != BOOL or not isinstance(number, bool):
                return self.compare_with_literal(name, left, int(number.real), place, weak=weak)
        types = [held(t) if integral and t is int else t for t in (left.type, right.type)]
        op = TABLE[name]
        dtypes, result = self.resolved(op, types, [left, right], place)
        args = (self.coerced(left, dtypes[0], place), self.coerced(right, dtypes[1], place))
        return Value(ir.Apply(op, args, result), bool if weak else BOOL)

    def compare_with_literal(
        self, name: str, left: Value, literal: int, place: Location, *, weak: bool
    ) -> Value:
        """Compare an integer with a literal that its dtype may be too narrow to hold."""
        dtype = INT64 if held(left.type) == BOOL else held(left.type)
        operand = self.coerced(left, dtype, place)
        info = np.iinfo(dtype)
        low, high = (0, 1) if held(left.type) == BOOL else (int(info.min), int(info.max))
        expr: ir.Expr
        if literal > high or (literal == high and name in ("<=", ">")):
            expr = ir.Const(TRUE_ABOVE[name], BOOL)
        elif literal < low or (literal == low and name in (">=", "<")):
            expr = ir.Const(TRUE_ABOVE[MIRRORED[name]], BOOL)
        else:
            expr = self.apply(name, operand, ir.Const(literal, dtype))
        return Value(expr, bool if weak else BOOL)

    def chosen(self, is_and: bool, nodes: list[ast.expr]) -> Value:
        """Lower ``a and b and c`` or ``a or b or c``, whose value is one of the operands."""
        with self.surveying(nodes[1:]):
            left = self.expression(nodes[0])
        if len(nodes) == 1:
            return left
        saved, self.out = self.out, []
        try:
            right = self.chosen(is_and, nodes[1:])
        finally:
            statements, self.out = self.out, saved
        return self.choose(is_and, left, right, statements, nodes[0])

    def choose(
        self, is_and: bool, left: Value, right: Value, needed: list[ir.Stmt], place: Location
    ) -> Value:
        """Return ``left and right`` or ``left or right``; ``needed`` runs only if right does."""
        t = join(left.type, right.type)
        if held(t) == BOOL and not needed:
            pair = (self.truth(left), self.truth(right))
            return Value(self.apply("&" if is_and else "|", *pair), t)
        left = self.kept(left)
        cond = self.truth(left)
        if not is_and:
            cond = self.apply("~", cond)
        return self.either(cond, (right, needed, place), (left, [], place), t)

    def ternary(self, test: ast.expr, body: ast.expr, orelse: ast.expr) -> Value:
        """Lower ``a if test else b``."""
        with self.surveying([body, orelse]):
            cond = self.truth(self.expression(test))
        (yes, yes_needs), (no, no_needs) = self.each(
            partial(self.aside, body), partial(self.aside, orelse)
        )
        return self.either(
            cond, (yes, yes_needs, body), (no, no_needs, orelse),
            join(yes.type, no.type),
        )  # fmt: skip

    def either(
        self,
        cond: ir.Expr,
        yes: tuple[Value, list[ir.Stmt], Location],
        no: tuple[Value, list[ir.Stmt], Location],
        t: Type,
    ) -> Value:
        """Return one of two values: a selection, or an ``if`` where an operand can fail."""
        dtype = held(t)
        if not yes[1] and not no[1]:
            one, other = (self.coerced(v, dtype, place) for v, _, place in (yes, no))
            return Value(ir.Select(cond, one, other, dtype), t)
        variable = self.temporary(dtype)
        arms = [
            (*needs, ir.Assign(variable, self.coerced(v, dtype, place)))
            for v, needs, place in (yes, no)
        ]
        self.out.append(ir.If(cond, arms[0], arms[1]))
        return Value(variable, t)

    # Calls.

    def call(self, node: ast.Call, func: ast.expr, nodes: list[ast.expr]) -> Value:
        """Lower a call of a function of the table, a cast or a choice."""
        name = func.attr if isinstance(func, ast.Attribute) else func.id  # type: ignore[attr-defined]
        bare = isinstance(func, ast.Name)
        values = self.operands(nodes)
        if bare and name in self.helpers:
            return self.inline(self.helpers[name], values, node)[0]
        if name in CASTS:
            return self.cast(CASTS[name] if bare or name != "bool" else BOOL, values[0], node)
        if name == "where":
            return self.where(values, nodes, node)
        if name in REDUCTIONS and len(values) == 1:
            return self.reduction(REDUCTIONS[name], values[0], node)
        if name in ("min", "max"):
            return self.extremum("<" if name == "min" else ">", values, node)
        weak_stays_weak = bare and name in BUILTINS
        if operator := SPELT_AS_OPERATOR.get(name):
            value = self.binary_named(operator, values[0], values[1], node)
            return value if weak_stays_weak else self.strong(value, node)
        return self.operation(BY_FUNCTION_NAME[name], values, node, weak_stays_weak=weak_stays_weak)

    def reduction(self, row: Reduction, value: Value, node: ast.Call) -> Value:
        """Return the result of a reduction, which a stage of its own will compute."""
        raise AssertionError("the statements' half knows where it stands")

    def strong(self, value: Value, place: Location) -> Value:
        """Return a value with the dtype that holds it for good."""
        return Value(self.materialised(value, place), held(value.type))

    def cast(self, t: Type, value: Value, place: Location) -> Value:
        """Lower a cast; Python's own give weak values."""
        if value.literal is not None and t is not int:
            constant = self.coerced(value, held(t), place, cast=True)
            if is_weak(t) and isinstance(constant, ir.Const):
                assert not isinstance(constant.value, complex)
                return self.literal(constant.value, place)
            return Value(constant, t)
        if t is int and isinstance(value.literal, int):
            return self.literal(int(value.literal), place)
        if held(t) == BOOL:
            return Value(self.truth(value), t)
        return Value(self.coerced(value, held(t), place, cast=True), t)

    def where(self, values: list[Value], nodes: list[ast.expr], place: Location) -> Value:
        """Lower ``where``: both arms are evaluated, the result is strong."""
        cond, yes, no = values
        t = held(join(yes.type, no.type))
        works = [partial(self.coerced, v, t, n) for v, n in ((yes, nodes[1]), (no, nodes[2]))]
        one, other = self.each(*works)
        return Value(ir.Select(self.truth(cond), one, other, t), t)

    def extremum(self, comparison: str, values: list[Value], place: Location) -> Value:
        """Lower builtin ``min`` and ``max``: a later operand wins only if it compares so."""
        best = values[0]
        for value in values[1:]:
            best, value = self.kept(best), self.kept(value)
            better = self.truth(self.compare(comparison, value, best, place))
            best = self.either(
                better, (value, [], place), (best, [], place), join(value.type, best.type)
            )
        return best


def milestones(function: Parsed) -> set[ast.expr]:
    """Return the nodes whose values go into temporaries, so that no expression gets very deep."""
    height: dict[ast.AST, int] = {}
    for node in reversed(function.nodes):  # parents come before children
        below = max((height.get(child, 0) for child in children(node)), default=0)
        height[node] = below + 1 if isinstance(node, ast.expr) else 0
    return {n for n, h in height.items() if isinstance(n, ast.expr) and h % MILESTONE == 0}
