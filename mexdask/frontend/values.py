"""Values while a kernel is lowered: weak literals, conversions, temporaries, complaints."""

from __future__ import annotations

import ctypes
from typing import NamedTuple, NoReturn

import numpy as np

from mexdask import ir, meaning
from mexdask.dtypes import BOOL, FLOAT32, FLOAT64, UINT64, Type, held
from mexdask.errors import NOWHERE, Diagnostic, Span
from mexdask.frontend.nodes import Location, span_at
from mexdask.frontend.parse import Parsed
from mexdask.ops import RANGE_TRIPS_DTYPES, TABLE

ROUNDED = {FLOAT32: ctypes.c_float, FLOAT64: ctypes.c_double}
"""What rounds a Python float to a dtype."""


class Abandon(Exception):
    """The statement in hand has been complained about; its expression has no value."""


class Value(NamedTuple):
    """An expression with its type; ``literal`` is the exact number where the user wrote one."""

    expr: ir.Expr
    type: Type
    literal: bool | int | float | None = None
    place: Location = NOWHERE


class ValueLowering:
    """Makes values; statements that one needs first go to ``out``."""

    parsed: Parsed
    out: list[ir.Stmt]
    complaints: list[Diagnostic]
    sites: list[ir.Site]
    temporaries: int

    # Complaints, checks, temporaries.

    def span(self, place: Location) -> Span:
        """Return a place of the function in hand as lines and columns."""
        return span_at(place, self.parsed.lines)

    def complain(self, code: str, message: str, place: Location, hint: str = "") -> None:
        """Note a complaint and go on."""
        self.complaints.append(Diagnostic(code, message, self.span(place), hint))

    def fail(self, code: str, message: str, place: Location, hint: str = "") -> NoReturn:
        """Note a complaint and give up the statement."""
        self.complain(code, message, place, hint)
        raise Abandon

    def check(self, failed: ir.Expr, reason: str, place: Location) -> None:
        """Emit a test that fails at run time."""
        self.sites.append(ir.Site(reason, self.span(place)))
        self.out.append(ir.Check(failed, len(self.sites) - 1))

    def temporary(self, dtype: np.dtype) -> ir.Var:
        """Return a hidden local."""
        self.temporaries += 1
        return ir.Var(f"%{self.temporaries}", dtype)

    def kept(self, value: Value, *, names_change: bool = False) -> Value:
        """Return a value that may be read twice, and also after its names have changed."""
        if value.literal is not None or isinstance(value.expr, ir.Const):
            return value
        if isinstance(value.expr, ir.Var) and not (names_change and value.expr.name[0] != "%"):
            return value
        variable = self.temporary(value.expr.dtype)
        self.out.append(ir.Assign(variable, value.expr))
        return Value(variable, value.type)

    # Conversion.

    def coerced(
        self, value: Value, dtype: np.dtype, place: Location, *, cast: bool = False
    ) -> ir.Expr:
        """Return the value in a dtype; ``cast`` is True where the user asked for the conversion."""
        if value.literal is not None:
            at = place if value.place is NOWHERE else value.place
            return self.literal_in(value.literal, dtype, at, cast=cast)
        if value.expr.dtype == dtype:
            return value.expr
        if value.expr.dtype.kind == "c" and dtype.kind in "iuf":
            self.fail("complex-to-real", f"a complex number cannot become {dtype.name}", place,
                      "use abs(z) for its magnitude")  # fmt: skip
        if value.type is int and dtype.name in ("float32", "complex64"):
            # NumPy takes a Python integer to float32 by way of a double, with two roundings.
            return ir.Cast(ir.Cast(value.expr, FLOAT64), dtype)
        return ir.Cast(value.expr, dtype)

    def literal_in(
        self, literal: bool | int | float, dtype: np.dtype, place: Location, *, cast: bool = False
    ) -> ir.Const:
        """Return a literal in a dtype, which must be able to hold it if it is an integer."""
        if dtype.kind in "iu" and isinstance(literal, int):
            info = np.iinfo(dtype)
            if not info.min <= literal <= info.max:
                self.out_of_range(literal, dtype, place, cast=cast)
            return ir.Const(int(literal), dtype)
        try:
            if dtype in ROUNDED:
                return ir.Const(ROUNDED[dtype](literal).value, dtype)
            number = np.asarray(complex(literal) if dtype.kind == "c" else float(literal))
        except OverflowError:
            self.out_of_range(literal, dtype, place, cast=cast)
        with np.errstate(all="ignore"):
            return ir.Const(meaning.cast(number, dtype)[()].item(), dtype)

    def out_of_range(
        self, literal: bool | int | float, dtype: np.dtype, place: Location, *, cast: bool
    ) -> NoReturn:
        """Complain about an integer that a dtype cannot hold."""
        bits = int(literal).bit_length()
        spelt = f"an integer of {bits} bits" if bits > 128 else str(literal)
        hint = f"write np.float64({spelt}), or convert the other operand first"
        if bits > 1023:
            hint = "no dtype holds it: write a float, such as 1e300"
        elif cast:
            hint = "cast to a dtype that can hold it"
        elif dtype != UINT64 and 0 <= literal < 2**64:
            hint = f"convert the other operand first, or write np.uint64({spelt})"
            if literal < 2**63:
                hint = f"convert the other operand first, or write np.int64({spelt})"
        elif -(2**63) <= literal < 0:
            hint = f"convert the other operand first, or write np.int64({spelt})"
        self.fail("literal-out-of-range", f"{spelt} does not fit {dtype.name}", place, hint)

    def materialised(self, value: Value, place: Location) -> ir.Expr:
        """Return the value in the dtype that holds its own type."""
        return self.coerced(value, held(value.type), place)

    def truth(self, value: Value) -> ir.Expr:
        """Return whether a value is true: not zero; nan is true."""
        if value.literal is not None:
            return ir.Const(bool(value.literal), BOOL)
        return value.expr if value.expr.dtype == BOOL else ir.Cast(value.expr, BOOL)

    def apply(self, name: str, *args: ir.Expr) -> ir.Apply:
        """Return an operator on operands whose dtypes are right already."""
        op = TABLE[name]
        if name == "range_trips":
            return ir.Apply(op, args, RANGE_TRIPS_DTYPES[1])
        return ir.Apply(op, args, op.resolve(*(a.dtype for a in args))[1])

    def literal(self, literal: bool | int | float, place: Location) -> Value:
        """Lower a literal, which keeps its exact value until it meets a dtype."""
        weak = type(literal)
        outside = weak is int and not -(2**63) <= literal < 2**63
        placeholder = ir.Const(0 if outside else literal, held(weak))
        return Value(placeholder, weak, literal, place)
