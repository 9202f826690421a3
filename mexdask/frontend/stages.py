"""A kernel with reductions as a program of stages: what each needs of the kernel, and no more.

A statement at the kernel's top level is a piece. What a piece depends on, through all that came
before it, says which stage can run it: a reduction's operand may need results of earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mexdask import ir
from mexdask.dtypes import Type
from mexdask.errors import Diagnostic, KernelTypeError, SourceText, Span

Vars = frozenset[ir.Var]
NONE: Vars = frozenset()


@dataclass(frozen=True, slots=True)
class ParamType:
    """The type of an argument, and whether it is read per element.

    Arrays of one ``shape_class`` have the same shape, so that one pass can reduce them together.
    """

    type: Type
    is_array: bool
    shape_class: int = 0


@dataclass(frozen=True, slots=True)
class ReducedHere:
    """A reduction as ``lower`` finds it: its operand's and its result's variable, its place."""

    name: str
    operand: ir.Var
    result: ir.Var
    span: Span


@dataclass(frozen=True)
class Piece:
    """A statement at the kernel's top level; ``sources`` are the given variables behind it."""

    statement: ir.Stmt
    reads: Vars
    writes: Vars
    sources: Vars

    @property
    def replaces(self) -> Vars:
        """Return the variables whose old values are gone after it."""
        return self.writes if isinstance(self.statement, ir.Assign) else NONE

    @property
    def can_fail(self) -> bool:
        """Tell whether a check stands in it."""
        return any(isinstance(s, ir.Check) for s in ir.walk((self.statement,)))

    @property
    def returns(self) -> bool:
        """Tell whether it may end the kernel."""
        return any(isinstance(s, ir.Return) for s in ir.walk((self.statement,)))


@dataclass
class SharedPass:
    """Reductions that one pass over the same elements can compute."""

    level: int
    reduced: list[ReducedHere] = field(default_factory=list)


def split(
    function: ir.Function,
    reduced: Sequence[ReducedHere],
    types: Mapping[str, ParamType],
    source: SourceText,
) -> ir.Program:
    """Return the stages of a kernel, the last of which gives its results.

    Parameters
    ----------
    function : ir.Function
        The whole kernel; it reads the results of its reductions without setting them.
    reduced : sequence of ReducedHere
        Its reductions, in order of appearance.
    types : mapping of str to ParamType
        Of the parameters: which are arrays, and of one shape.
    source : SourceText
        What spans point into.

    Raises
    ------
    KernelTypeError
        If a reduction's operand depends on no array.
    """
    pieces = list(dissected(function, reduced))
    arrays = frozenset(p.var for p in function.params if p.is_array)
    strong = {p.var for p in function.params if isinstance(types[p.var.name].type, np.dtype)}
    indices = frozenset(function.indices)
    behind = {v: piece.sources for piece in pieces for v in piece.writes if piece.replaces}
    passes: dict[object, SharedPass] = {}
    levels: dict[ir.Var, int] = {}
    complaints = []
    for r in reduced:
        sources = behind[r.operand]
        if not sources & (strong | indices):  # a strong scalar is an array without dimensions
            complaints.append(Diagnostic(
                "reduction", f"{r.name}() of what is the same for every element", r.span,
                "reduce something that depends on an array",
            ))  # fmt: skip
        level = 1 + max((levels[v] for v in sources if v in levels), default=-1)
        levels[r.result] = level
        whole = bool(sources & indices)
        classes = {types[v.name].shape_class for v in (arrays if whole else sources & arrays)}
        same = (level, whole, frozenset(classes))
        passes.setdefault(same, SharedPass(level)).reduced.append(r)
    if complaints:
        raise KernelTypeError(source, tuple(complaints))
    ordered = sorted(passes.values(), key=lambda one: one.level)
    varying = arrays | indices | frozenset(levels)
    functions, done = [], set[int]()
    for one in ordered:
        needs = NONE.union(*(behind[r.operand] for r in one.reduced))
        checks = {
            id(p) for p in pieces
            if p.can_fail and id(p) not in done and p.sources & varying <= needs
        }  # fmt: skip
        chosen = sliced(pieces, frozenset(r.operand for r in one.reduced), checks)
        done.update(map(id, chosen))
        functions.append(reducing(function, chosen, one.reduced))
    last, is_scalar = final(function, pieces, done, arrays | indices)
    return ir.Program((*functions, last), is_scalar)


def dissected(function: ir.Function, reduced: Sequence[ReducedHere]) -> Iterable[Piece]:
    """Yield the pieces of a kernel with the parameters, indices and reductions behind each."""
    given = {p.var for p in function.params} | {*function.indices} | {r.result for r in reduced}
    behind: dict[ir.Var, Vars] = {v: frozenset({v}) for v in given}
    for statement in function.body:
        reads, writes = touched(statement)
        if not isinstance(statement, ir.Assign):
            reads |= writes  # what it sets on some paths only keeps its old value on others
        sources = NONE.union(*(behind.get(v, NONE) for v in reads))
        piece = Piece(statement, reads, writes, sources)
        behind |= dict.fromkeys(writes, sources)
        yield piece


def touched(statement: ir.Stmt) -> tuple[Vars, Vars]:
    """Return the variables that a statement reads and those that it sets."""
    reads, writes = set[ir.Var](), set[ir.Var]()
    for inner in ir.walk((statement,)):
        for expression in ir.expressions(inner):
            reads |= ir.reads(expression)
        match inner:
            case ir.Assign(target, _) | ir.For(target, _, _):
                writes.add(target)
    return frozenset(reads), frozenset(writes)


def sliced(pieces: Sequence[Piece], wanted: Vars, kept: set[int]) -> list[Piece]:
    """Return the pieces that ``wanted`` variables need, and those whose ids are ``kept``."""
    chosen = []
    for piece in reversed(pieces):
        if id(piece) in kept or piece.writes & wanted:
            chosen.append(piece)
            wanted = (wanted - piece.replaces) | piece.reads
    return chosen[::-1]


def reducing(
    function: ir.Function, pieces: Sequence[Piece], reduced: Sequence[ReducedHere]
) -> ir.Function:
    """Return the stage that computes the operands of reductions which share one pass."""
    operands = tuple(r.operand for r in reduced)
    body = (*(piece.statement for piece in pieces), ir.Return(operands))
    stage = replace(
        function,
        results=tuple(v.dtype for v in operands),
        reductions=tuple(ir.Reduced(r.name, r.result) for r in reduced),
    )
    return with_body(stage, body, NONE)


def final(
    function: ir.Function, pieces: Sequence[Piece], done: set[int], elements: Vars
) -> tuple[ir.Function, bool]:
    """Return the stage that gives the results, and whether it depends on no element.

    ``done`` are the pieces of earlier stages: a check that is in none of them stays, even if
    nothing reads what it guards.
    """
    returning = {id(piece) for piece in pieces if piece.returns}
    is_scalar = not any(p.sources & elements for p in sliced(pieces, NONE, returning))
    checking = {
        id(p) for p in pieces
        if p.can_fail and id(p) not in done and not (is_scalar and p.sources & elements)
    }  # fmt: skip
    chosen = sliced(pieces, NONE, returning | checking)
    params = NONE if is_scalar else frozenset(p.var for p in function.params)
    return with_body(function, tuple(piece.statement for piece in chosen), params), is_scalar


def with_body(function: ir.Function, body: tuple[ir.Stmt, ...], params: Vars) -> ir.Function:
    """Return a function of other statements, with the parameters they read and ``params``."""
    reads = NONE.union(*(touched(statement)[0] for statement in body))
    own = tuple(p for p in function.params if p.var in reads | params)
    reduced = sorted((v for v in reads if v.name.startswith("%reduced")), key=lambda v: v.name)
    checked = any(isinstance(s, ir.Check) for s in ir.walk(body))
    return replace(
        function,
        params=(*own, *(ir.Param(v, False) for v in reduced)),
        body=body,
        sites=function.sites if checked else (),
        indices=tuple(v for v in function.indices if v in reads),
    )
