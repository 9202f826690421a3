"""Which form of C a kernel gets on a machine: one element at a time, or gangs of vector lanes."""

from __future__ import annotations

from dataclasses import dataclass

from mexdask import ir
from mexdask.backend.lanes import lanewise
from mexdask.backend.layout import (
    Gang,
    gang_of,
    has_loops,
    has_vector_math,
    loop_float_size,
)
from mexdask.backend.predicate import MaskedFunction

WIDTHS = {"x86-64-v4": 64, "x86-64-v3": 32}
NARROWEST = 16


@dataclass(frozen=True, slots=True)
class Form:
    """A form of C, and why.

    Parameters
    ----------
    width : int
        Bytes of a vector; 0 for the scalar form.
    reason : str
        For people.
    """

    width: int
    reason: str

    @property
    def name(self) -> str:
        """Return "simd" or "scalar"."""
        return "simd" if self.width else "scalar"


SIMD_IS_OFF = Form(0, "simd is off")


def vector_width(isa: str, simd: str) -> int:
    """Return the bytes of a vector: the machine's, or ``simd`` where that is less; 0 for none."""
    if simd == "off":
        return 0
    best = WIDTHS.get(isa, NARROWEST)
    return best if simd == "auto" else min(best, int(simd))


def choose(masked: MaskedFunction, width: int) -> Form:
    """Return the form for vectors of ``width`` bytes."""
    plan = gang_of(masked, width)
    if not has_loops(masked):
        return straight(masked, plan, width)
    if max(d.itemsize for d in masked.function.dtypes) < 4:
        return Form(0, "narrow integers gain nothing from lanes")
    if plan.lanes < 4 and not loop_float_size(masked):
        return Form(0, "two lanes of 64-bit integers gain nothing")
    if slow := lanewise(masked.looped, plan):
        return Form(0, f"{', '.join(slow)} in a loop has no vector form yet")
    return Form(width, f"{plan.size} lanes in vectors of {width} bytes")


def straight(masked: MaskedFunction, plan: Gang, width: int) -> Form:
    """Return the form of a function without loops, where the compiler finds the lanes itself.

    It knows no vector math and no division of integers, and writes through the caches. Where widths
    are mixed it converts better than lanes of one number do.
    """
    lanes = f"{plan.size} lanes in vectors of {width} bytes"
    if has_vector_math(masked, plan):
        return Form(width, f"{lanes} for its functions")
    if slow := lanewise(masked.statements, plan):
        return Form(0, f"{', '.join(slow)} has no vector form yet")
    if width > NARROWEST and divides_integers(masked):
        return Form(width, f"{lanes} divide integers")
    sizes = {d.itemsize for d in masked.function.dtypes}
    # What is reduced goes to a small buffer, and reducing it takes every pass of the compiler.
    large = plan.streams and not masked.function.reductions
    if width > NARROWEST and large and sizes == {plan.mask.itemsize}:
        return Form(width, f"{lanes}, which write large results past the caches")
    return Form(0, "without loops the compiler vectorises the plain form itself")


def divides_integers(masked: MaskedFunction) -> bool:
    """Tell whether a function has a division of integers that compilers make no vectors of.

    Divisors of at most four bytes that are constants they turn into products.
    """
    return any(
        isinstance(part, ir.Apply)
        and part.op.name in ("//", "%", "fmod")
        and part.dtype.kind in "iu"
        and (
            part.dtype.itemsize == 8
            or (part.dtype.itemsize == 4 and not isinstance(part.args[1], ir.Const))
        )
        for node in masked.statements
        for expression in ir.masked_expressions(node)
        for part in ir.parts(expression)
    )
