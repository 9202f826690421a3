"""The typed, structured IR: frozen nodes, every expression with the dtype that holds it.

The front end builds it, the back ends read it; nothing in it is text of the user's except names,
which serve the IR's own text alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from mexdask.errors import NOWHERE, Span
from mexdask.ops import Op

Number = bool | int | float | complex


@dataclass(frozen=True, slots=True)
class Const:
    """A literal, already exact in its dtype."""

    value: Number
    dtype: np.dtype

    def __eq__(self, other: object) -> bool:
        # repr tells -0.0 from 0.0, holds nan equal to nan, and True apart from 1.
        return (
            isinstance(other, Const)
            and self.dtype == other.dtype
            and repr(self.value) == repr(other.value)
        )

    def __hash__(self) -> int:
        return hash((repr(self.value), self.dtype))


class Var(NamedTuple):
    """A parameter or a local; one name has one dtype in a function.

    Passes look variables up all the time, and a tuple hashes and compares without Python's help.
    """

    name: str
    dtype: np.dtype


@dataclass(frozen=True, slots=True)
class Cast:
    """Conversion as NumPy's ``astype`` does it, but total: see ``language.md``, section 5."""

    arg: Expr
    dtype: np.dtype
    _reads: frozenset[Var] | None = field(default=None, init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Apply:
    """An operator of the table on operands already cast to the dtypes that it wants."""

    op: Op
    args: tuple[Expr, ...]
    dtype: np.dtype
    _reads: frozenset[Var] | None = field(default=None, init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Select:
    """``yes`` where ``cond`` (a bool) holds, else ``no``; both have been evaluated."""

    cond: Expr
    yes: Expr
    no: Expr
    dtype: np.dtype
    _reads: frozenset[Var] | None = field(default=None, init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class IterationLimit:
    """The largest number of iterations of one ``while``: a setting, the same for every lane."""

    dtype: np.dtype = np.dtype("int64")


Expr = Const | Var | Cast | Apply | Select | IterationLimit


@dataclass(frozen=True, slots=True)
class Assign:
    """Give a local the value of an expression of its own dtype."""

    target: Var
    value: Expr


@dataclass(frozen=True, slots=True)
class If:
    """Run one of two bodies."""

    cond: Expr
    then: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class For:
    """Run the body ``trips`` (uint64) times; ``counter`` (uint64) is 0, 1, ... and hidden."""

    counter: Var
    trips: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class While:
    """Run ``head``, stop unless ``cond`` holds, run ``body``, and again."""

    head: tuple[Stmt, ...]
    cond: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Break:
    """Leave the innermost loop."""


@dataclass(frozen=True, slots=True)
class Continue:
    """Go to the next iteration of the innermost loop."""


@dataclass(frozen=True, slots=True)
class Return:
    """End the element with these results."""

    values: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """Fail at ``site`` (a place in ``Function.sites``) when ``failed`` holds for an element."""

    failed: Expr
    site: int


@dataclass(frozen=True, slots=True)
class Block:
    """Run the body; ``Leave(label)`` ends it early. What a call of a helper function becomes."""

    label: str
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """Go to the end of the block of that label, out of every loop inside it."""

    label: str


Stmt = Assign | If | For | While | Break | Continue | Return | Check | Block | Leave


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter: an array that is read per element, or a scalar that is the same for all.

    Scalars are the caller's, or what an earlier stage has reduced.
    """

    var: Var
    is_array: bool


@dataclass(frozen=True, slots=True)
class Site:
    """A place that can fail at run time; ``reason`` is a key of ``REASONS``.

    ``calls`` are the places of the calls that lead into the helper it stands in, innermost first.
    """

    reason: str
    span: Span = field(default=NOWHERE, compare=False)
    calls: tuple[Span, ...] = field(default=(), compare=False)


REASONS = {
    "zero-step": "the step of range() is 0",
    "iteration-limit": "a while loop ran more than {limit} times for one element",
    "negative-power": "an integer to a negative integer power",
}


@dataclass(frozen=True, slots=True)
class Reduced:
    """A reduction over every element: a name of ``reductions``, and what holds its result."""

    name: str
    result: Var


@dataclass(frozen=True, slots=True)
class Function:
    """One stage's code for one element.

    ``indices`` are the index symbols that it reads: variables which the caller's loops set.
    ``reductions``, one for each result, make it a reducing stage: only what its results come to
    over every element leaves it.
    """

    name: str
    params: tuple[Param, ...]
    results: tuple[np.dtype, ...]
    body: tuple[Stmt, ...]
    sites: tuple[Site, ...]
    fp: str
    indices: tuple[Var, ...] = ()
    reductions: tuple[Reduced, ...] = ()

    @property
    def is_simple(self) -> bool:
        """Tell whether it reads arrays only, cannot fail, and need not know where a chunk lies."""
        return all(p.is_array for p in self.params) and not (
            self.sites or self.indices or self.reductions
        )

    @property
    def has_loops(self) -> bool:
        """Tell whether an element may take long."""
        return any(isinstance(node, (For, While)) for node in walk(self.body))

    @property
    def dtypes(self) -> tuple[np.dtype, ...]:
        """Return the dtypes of parameters and results, in order."""
        return (*(p.var.dtype for p in self.params), *self.results)


@dataclass(frozen=True, slots=True)
class Program:
    """What a kernel lowers to: stages in order, each with a tuple of results.

    The last gives the kernel's results; those before it are reducing stages. ``is_scalar`` tells
    that the last one depends on no element but through reductions.
    """

    stages: tuple[Function, ...]
    is_scalar: bool = False

    @property
    def result(self) -> Function:
        """Return the stage whose results are the kernel's."""
        return self.stages[-1]


def walk(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Yield every statement in order of appearance, nested ones after the one that holds them."""
    for node in body:
        yield node
        match node:
            case If(_, then, orelse):
                yield from walk(then)
                yield from walk(orelse)
            case For(_, _, inner) | Block(_, inner):
                yield from walk(inner)
            case While(head, _, inner):
                yield from walk(head)
                yield from walk(inner)


def expressions(node: Stmt) -> tuple[Expr, ...]:
    """Return the expressions of one statement, without those of the statements inside it."""
    match node:
        case Assign(_, value):
            return (value,)
        case If(cond, _, _) | While(_, cond, _):
            return (cond,)
        case For(_, trips, _):
            return (trips,)
        case Return(values):
            return values
        case Check(failed, _):
            return (failed,)
        case _:
            return ()


def parts(node: Expr) -> list[Expr]:
    """Return an expression and every expression inside it."""
    found, stack = [], [node]
    while stack:
        inner = stack.pop()
        found.append(inner)
        if isinstance(inner, (Apply, Cast, Select)):
            stack += operands(inner)
    return found


NOTHING: frozenset[Var] = frozenset()


def reads(node: Expr) -> frozenset[Var]:
    """Return the variables that an expression reads, found once for each node."""
    if isinstance(node, Var):
        return frozenset((node,))
    if isinstance(node, (Const, IterationLimit)):
        return NOTHING
    if node._reads is None:
        found = NOTHING.union(*map(reads, operands(node)))
        object.__setattr__(node, "_reads", found)
        return found
    return node._reads


def operands(node: Apply | Cast | Select) -> tuple[Expr, ...]:
    """Return the expressions that a node is made of."""
    if isinstance(node, Apply):
        return node.args
    return (node.arg,) if isinstance(node, Cast) else (node.cond, node.yes, node.no)


def computed_dtypes(function: Function) -> tuple[np.dtype, ...]:
    """Return every dtype that a function takes, gives or passes through."""
    found = dict.fromkeys(function.dtypes)
    for statement in walk(function.body):
        for expression in expressions(statement):
            found.update((part.dtype, None) for part in parts(expression))
    return tuple(found)


# The masked form, which ``backend.predicate`` makes: control flow as lane masks. Each node has a
# body, if an empty one, as a walk through them that asked for their types would take twice as long.


@dataclass(frozen=True, slots=True)
class Set:
    """Give the lanes of ``mask`` a value; without a mask, no other lane reads the old one again."""

    target: Var
    value: Expr
    mask: Var | None
    body: ClassVar[tuple[()]] = ()


@dataclass(frozen=True, slots=True)
class Mask:
    """``target = parent & cond``, or the parent itself where ``cond`` is None."""

    target: Var
    parent: Var
    cond: Expr | None
    body: ClassVar[tuple[()]] = ()


@dataclass(frozen=True, slots=True)
class Kill:
    """Take the lanes of ``by`` out of each mask."""

    masks: tuple[Var, ...]
    by: Var
    body: ClassVar[tuple[()]] = ()


@dataclass(frozen=True, slots=True)
class Guard:
    """Skip the body when no lane of ``mask`` is alive."""

    mask: Var
    body: tuple[Masked, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """Repeat the body while a lane of ``live`` is alive."""

    live: Var
    body: tuple[Masked, ...]


@dataclass(frozen=True, slots=True)
class Test:
    """Fail at ``site`` where ``failed`` holds for a lane of ``mask``."""

    failed: Expr
    site: int
    mask: Var
    body: ClassVar[tuple[()]] = ()


Masked = Set | Mask | Kill | Guard | Loop | Test


def walk_masked(body: tuple[Masked, ...]) -> Iterator[Masked]:
    """Yield every masked statement in order of appearance, nested ones after what holds them."""
    for node in body:
        yield node
        if node.body:
            yield from walk_masked(node.body)


def masked_expressions(node: Masked) -> tuple[Expr, ...]:
    """Return the expressions of one masked statement."""
    if isinstance(node, Set):
        return (node.value,)
    if isinstance(node, Mask):
        return () if node.cond is None else (node.cond,)
    return (node.failed,) if isinstance(node, Test) else ()
