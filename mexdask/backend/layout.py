"""How a kernel is laid out in lanes: how many, in how many vectors, what stays scalar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mexdask import ir
from mexdask.backend import vmath
from mexdask.backend.lockstep import in_lockstep, uniform_variables
from mexdask.backend.predicate import MaskedFunction
from mexdask.backend.sharing import shared, unguarded
from mexdask.dtypes import BOOL, INT64

MOST_REGISTERS = {64: 32, 32: 16, 16: 16}


@dataclass(frozen=True)
class Gang:
    """How lanes are laid out.

    Parameters
    ----------
    lanes : int
        Of one vector of any dtype.
    ways : int
        Vectors that make one lane variable.
    mask : numpy.dtype
        Signed integer of the width that most of the kernel computes in.
    uniform : frozenset of Var
        Variables that hold one value for all lanes, and stay scalars.
    cells : frozenset of Var
        int64 variables that stand in lanes of 32 bits, which halves their registers and saves the
        conversion of masks. Those of their values that do not fit, which no kernel meets before
        its two billionth iteration, stand in an array beside them; the lane then holds ``FAR``.
    names : dict
        The C name of each variable; a vector's has the way's number behind it.
    streams : bool
        Whether large results are written past the caches: there is one, of the main width, and no
        loop or failure.
    """

    lanes: int
    ways: int
    mask: np.dtype
    uniform: frozenset[ir.Var]
    cells: frozenset[ir.Var]
    names: dict[ir.Var, str]
    streams: bool

    @property
    def size(self) -> int:
        """Return the number of elements that one gang computes."""
        return self.lanes * self.ways

    @property
    def width(self) -> int:
        """Return the bytes of one of the machine's vectors."""
        return self.lanes * self.mask.itemsize

    def is_uniform(self, node: ir.Expr) -> bool:
        """Tell whether an expression has one value for all lanes."""
        return ir.reads(node) <= self.uniform


def gang_of(masked: MaskedFunction, width: int) -> Gang:
    """Choose the number of lanes by the dtype that loops compute in, and the ways by registers."""
    size = main_size(masked)
    names: dict[ir.Var, str] = {}
    for variable in variables(masked):
        names.setdefault(variable, f"v{len(names)}")
    uniform = uniform_variables(masked)
    busy = sum(
        1 for v in loop_variables(masked) if v not in uniform and not v.name.startswith("%m")
    )
    ways = 4 if 4 * busy <= MOST_REGISTERS[width] else 2 if busy <= MOST_REGISTERS[width] else 1
    cells = near_variables(masked, uniform) if size == 4 else frozenset[ir.Var]()
    results = masked.function.results
    streams = (
        len(results) == 1 and results[0] != BOOL and results[0].itemsize == size
        and not has_loops(masked) and not masked.function.sites
    )  # fmt: skip
    return Gang(width // size, ways, np.dtype(f"i{size}"), uniform, cells, names, streams)


def has_loops(masked: MaskedFunction) -> bool:
    """Tell whether a function has loops."""
    return any(isinstance(node, ir.Loop) for node in masked.statements)


def in_lanes(masked: MaskedFunction) -> MaskedFunction:
    """Return a function as the simd form computes it: the passes over masked IR, in order."""
    masked = unguarded(shared(masked))
    return in_lockstep(masked, uniform_variables(masked), main_size(masked))


def near_variables(masked: MaskedFunction, uniform: frozenset[ir.Var]) -> frozenset[ir.Var]:
    """Return the int64 variables whose values are all uniform, chosen constants or such variables.

    Their values are nearly always small: numbers of iterations, classes, flags.
    """
    sets = [n for n in masked.statements if isinstance(n, ir.Set)]
    given = {p.var for p in masked.function.params}
    found = {n.target for n in sets if n.target.dtype == INT64} - uniform - given

    def near(value: ir.Expr) -> bool:
        if isinstance(value, ir.Select):
            return is_near(value.yes) and is_near(value.no)
        return value in found or ir.reads(value) <= uniform

    while far := {n.target for n in sets if n.target in found and not near(n.value)}:
        found -= far
    return frozenset(found)


def is_near(value: ir.Expr) -> bool:
    """Tell whether an expression is a constant that a lane of 32 bits holds."""
    return isinstance(value, ir.Const) and -(2**31) < int(value.value.real) < 2**31


def has_vector_math(masked: MaskedFunction, plan: Gang) -> bool:
    """Tell whether a function calls vector math on lanes."""
    return any(
        isinstance(part, ir.Apply)
        and not plan.is_uniform(part)
        and vmath.has_vectors(part.op.template(tuple(a.dtype for a in part.args)))
        for node in masked.statements
        for expression in ir.masked_expressions(node)
        for part in ir.parts(expression)
    )


def loop_float_size(masked: MaskedFunction) -> int:
    """Return the item size of the widest float that is computed in loops, 0 if there is none."""
    sizes = [
        part.dtype.itemsize
        for node in masked.looped
        for expression in ir.masked_expressions(node)
        for part in ir.parts(expression)
        if part.dtype.kind == "f" and isinstance(part, (ir.Apply, ir.Select))
    ]
    return max(sizes, default=0)


def main_size(masked: MaskedFunction) -> int:
    """Return the item size that lanes are counted by: of the floats in loops, else the widest.

    At least 4, so that a mask's lane can hold its own number.
    """
    return loop_float_size(masked) or max(4, *(d.itemsize for d in masked.function.dtypes))


def variables(masked: MaskedFunction) -> Iterator[ir.Var]:
    """Yield every variable, parameters first, in order of appearance."""
    yield from (p.var for p in masked.function.params)
    yield from masked.function.indices
    yield masked.lanes
    for node in masked.statements:
        match node:
            case ir.Set(target, _, _) | ir.Mask(target, _, _):
                yield target
    yield from masked.results


def loop_variables(masked: MaskedFunction) -> frozenset[ir.Var]:
    """Return the variables that loops read, or set for good."""
    inside = masked.looped
    found = {v for node in inside for e in ir.masked_expressions(node) for v in ir.reads(e)}
    return frozenset(found | {n.target for n in inside if isinstance(n, ir.Set) and n.mask is None})
