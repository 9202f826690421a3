"""Masked IR: what all live lanes of a loop agree on stays one scalar while they are in it.

A counter that starts alike and steps alike in every lane differs only between lanes that left the
loop at different times. So the loop keeps one scalar, and lanes take its value with them as they
leave, which each lane does once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mexdask import ir
from mexdask.backend.liveness import Vars
from mexdask.backend.predicate import MaskedFunction
from mexdask.backend.rewrite import renamed
from mexdask.dtypes import BOOL
from mexdask.ops import TABLE

Body = tuple[ir.Masked, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """A value that a variable has in all lanes of a mask, in terms of uniform variables."""

    value: ir.Expr
    mask: ir.Var | None


def in_lockstep(masked: MaskedFunction, uniform: Vars, main: int) -> MaskedFunction:
    """Return the function with such variables held in scalars while lanes are in their loop.

    Parameters
    ----------
    masked : MaskedFunction
        As ``predicate`` made it.
    uniform : frozenset of Var
        What is one value for all lanes everywhere.
    main : int
        Item size that lanes are counted by. A variable as narrow stays in lanes where following it
        would cost a test in each iteration.
    """
    rewriting = Rewriting(masked, uniform, main)
    return replace(masked, body=rewriting.body(masked.body, {}))


def uniform_variables(masked: MaskedFunction) -> Vars:
    """Return the variables that hold one value for all lanes at every point."""
    statements = masked.statements
    sets = [n for n in statements if isinstance(n, ir.Set)]
    masks = {n.target for n in statements if isinstance(n, ir.Mask)}
    lengths = {v for v in masked.function.indices if v.name.startswith("_n")}
    varying = {p.var for p in masked.function.params if p.is_array} | {*masked.results}
    varying |= {*masked.function.indices} - lengths
    varying |= {masked.lanes} | masks | {n.target for n in sets if n.mask is not None}
    waiting = [(n.target, ir.reads(n.value)) for n in sets if n.target not in varying]
    left = len(waiting) + 1
    while len(waiting) < left:  # a pass follows what stands in order; loops go round
        left = len(waiting)
        for target, read in waiting:
            if not varying.isdisjoint(read):
                varying.add(target)
        waiting = [(t, r) for t, r in waiting if t not in varying]
    scalars = {p.var for p in masked.function.params if not p.is_array} | lengths
    return frozenset((scalars | {n.target for n in sets}) - varying)


class Rewriting:
    """The state of one rewriting: what is uniform so far, and where masks come from."""

    def __init__(self, masked: MaskedFunction, uniform: Vars, main: int):
        self.masked = masked
        self.uniform = set(uniform)
        self.main = main
        self.parents = {
            n.target: n.parent
            for n in masked.statements
            if isinstance(n, ir.Mask) and n.target != n.parent
        }
        self.reads = read_counts(masked.body)
        self.reads.update(masked.results)
        self.made = 0

    def body(self, body: Body, known: dict[ir.Var, Known]) -> Body:
        """Return statements with their loops rewritten, outer ones first."""
        out: list[ir.Masked] = []
        for node in body:
            match node:
                case ir.Guard(mask, inner):
                    out.append(ir.Guard(mask, self.body(inner, dict(known))))
                    forget(known, targets(inner))
                case ir.Loop():
                    start, loop = self.loop(node, known)
                    forget(known, targets(loop.body))
                    inner = self.body(loop.body, dict(known))
                    out += [*start, ir.Loop(loop.live, inner)]
                case ir.Set(target, value, mask):
                    out.append(node)
                    forget(known, {target})
                    if self.is_uniform(value) and target not in ir.reads(value):
                        known[target] = Known(value, mask)
                case _:
                    out.append(node)
        return tuple(out)

    def is_uniform(self, value: ir.Expr) -> bool:
        """Tell whether an expression is one value for all lanes."""
        return ir.reads(value) <= self.uniform

    def loop(self, loop: ir.Loop, known: dict[ir.Var, Known]) -> tuple[list[ir.Set], ir.Loop]:
        """Return the scalars' first values and the loop that keeps them."""
        covering = {loop.live, *self.ancestors(loop.live)}
        whole = whole_sets(loop)
        sets: dict[ir.Var, list[ir.Set]] = {}
        for node in ir.walk_masked(loop.body):
            if isinstance(node, ir.Set):
                sets.setdefault(node.target, []).append(node)
        found = {
            v
            for v, nodes in sets.items()
            if v not in self.uniform and v in known
            and (known[v].mask is None or known[v].mask in covering)
            and all(id(n) in whole for n in nodes)
        }  # fmt: skip
        while wrong := {v for v in found for n in sets[v] if not self.agreed(n.value, found)}:
            found -= wrong
        inside = read_counts(loop.body)
        kept = {v for v in found if self.reads[v] > inside[v]}
        if any(not self.agreed(exit, found) for exit in conditions(loop)):
            costly = {v for v in kept if v.dtype.itemsize <= self.main}
            found, kept = found - costly, kept - costly
            while wrong := {v for v in found for n in sets[v] if not self.agreed(n.value, found)}:
                found, kept = found - wrong, kept - wrong
        scalars = {v: self.scalar(v) for v in sorted(found, key=lambda v: v.name)}
        start = [ir.Set(s, known[v].value, None) for v, s in scalars.items()]
        body = renamed(loop.body, scalars)
        leaving = {v: s for v, s in scalars.items() if v in kept}
        if leaving:
            body = self.taking_along(body, loop.live, leaving)
        return start, ir.Loop(loop.live, body)

    def ancestors(self, mask: ir.Var) -> Iterator[ir.Var]:
        """Yield the masks that hold every lane of a mask."""
        while mask in self.parents:
            mask = self.parents[mask]
            yield mask

    def agreed(self, value: ir.Expr, found: set[ir.Var]) -> bool:
        """Tell whether live lanes agree on a value if they do on the variables found."""
        return all(v in self.uniform or v in found for v in ir.reads(value))

    def scalar(self, variable: ir.Var) -> ir.Var:
        """Return a new uniform variable."""
        self.made += 1
        scalar = ir.Var(f"%s{self.made}", variable.dtype)
        self.uniform.add(scalar)
        return scalar

    def taking_along(self, body: Body, live: ir.Var, leaving: dict[ir.Var, ir.Var]) -> Body:
        """Return a loop's body where lanes that leave for good take the scalars' values along."""
        out: list[ir.Masked] = []
        for node in body:
            match node:
                case ir.Guard(mask, inner):
                    node = ir.Guard(mask, self.taking_along(inner, live, leaving))
                case ir.Loop(inner_live, inner):
                    node = ir.Loop(inner_live, self.taking_along(inner, live, leaving))
                # Lanes that have returned read no variable again.
                case ir.Kill(masks, by) if live in masks and self.masked.lanes not in masks:
                    out += [ir.Set(v, s, by) for v, s in leaving.items()]
                case ir.Mask(target, parent, cond) if target == parent == live and cond is not None:
                    self.made += 1
                    done = ir.Var(f"%ml{self.made}", BOOL)
                    taken = tuple(ir.Set(v, s, done) for v, s in leaving.items())
                    ends = ir.Apply(TABLE["~"], (cond,), BOOL)
                    out += [ir.Mask(done, live, ends), ir.Guard(done, taken)]
            out.append(node)
        return tuple(out)


def forget(known: dict[ir.Var, Known], changed: set[ir.Var]) -> None:
    """Drop what is known about variables and what is known in terms of them."""
    stale = [v for v, k in known.items() if v in changed or changed & ir.reads(k.value)]
    for v in stale:
        del known[v]


def targets(body: Body) -> set[ir.Var]:
    """Return the variables that statements set."""
    return {n.target for n in ir.walk_masked(body) if isinstance(n, ir.Set)}


def read_counts(body: Body) -> Counter[ir.Var]:
    """Return how many expressions read each variable."""
    nodes = ir.walk_masked(body)
    return Counter(v for node in nodes for e in ir.masked_expressions(node) for v in ir.reads(e))


def conditions(loop: ir.Loop) -> Iterator[ir.Expr]:
    """Yield the conditions under which lanes stay in a loop."""
    for node in loop.body:
        if isinstance(node, ir.Mask) and node.target == loop.live and node.cond is not None:
            yield node.cond


def whole_sets(loop: ir.Loop) -> set[int]:
    """Return the identities of the assignments that every live lane of a loop makes together."""
    found: set[int] = set()
    whole = {loop.live}

    def scan(body: Body) -> None:
        for node in body:
            match node:
                case ir.Set(_, _, mask):
                    if mask is None or mask in whole:
                        found.add(id(node))
                case ir.Mask(target, parent, cond):
                    if target != loop.live:
                        whole.discard(target)
                        if cond is None and parent in whole:
                            whole.add(target)
                case ir.Guard(mask, inner) if mask in whole:
                    scan(inner)
                case ir.Guard() | ir.Loop() | ir.Kill():
                    for kill in ir.walk_masked((node,)):
                        if isinstance(kill, ir.Kill) and loop.live not in kill.masks:
                            whole.difference_update(kill.masks)

    scan(loop.body)
    return found
