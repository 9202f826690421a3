"""Structured IR to masked IR: control flow becomes lane masks.

``break`` takes its lanes out of every mask from the loop's inward, ``continue`` out of the
iteration's, ``return`` out of all. A local is blended under its mask only where a lane that waits
could still read the old value: see ``waiting`` below.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, assert_never

from mexdask import ir
from mexdask.backend.liveness import Liveness, Vars
from mexdask.dtypes import BOOL, UINT64
from mexdask.ops import TABLE


@dataclass(frozen=True)
class MaskedFunction:
    """A function's masked form: ``body`` gives each result variable a value in every lane.

    ``lanes`` is the mask of all lanes at the start.
    """

    function: ir.Function
    body: tuple[ir.Masked, ...]
    lanes: ir.Var
    results: tuple[ir.Var, ...]

    @functools.cached_property
    def statements(self) -> list[ir.Masked]:
        """Return every statement in order of appearance."""
        return list(ir.walk_masked(self.body))

    @functools.cached_property
    def looped(self) -> list[ir.Masked]:
        """Return the statements inside loops, each once."""
        return [node for loop in outer_loops(self.body) for node in ir.walk_masked(loop.body)]


def outer_loops(body: tuple[ir.Masked, ...]) -> Iterator[ir.Loop]:
    """Yield the loops that stand in no other."""
    for node in body:
        if isinstance(node, ir.Loop):
            yield node
        elif isinstance(node, ir.Guard):
            yield from outer_loops(node.body)


class Scope(NamedTuple):
    """Where a statement stands: the masks around it, and what waiting lanes will read."""

    masks: tuple[ir.Var, ...]
    waiting: Vars = frozenset()
    live: int = 0
    run: int = 0
    at_break: Vars = frozenset()
    at_continue: Vars = frozenset()

    @property
    def mask(self) -> ir.Var:
        """Return the mask of the lanes that run here."""
        return self.masks[-1]


def predicate(function: ir.Function) -> MaskedFunction:
    """Return the masked form of a function."""
    lanes = ir.Var("%m0", BOOL)
    results = tuple(ir.Var(f"%r{n}", dtype) for n, dtype in enumerate(function.results))
    rewriting = Rewriting(results)
    rewriting.body(function.body, Scope((lanes,)), frozenset())
    return MaskedFunction(function, tuple(rewriting.out), lanes, results)


class Rewriting:
    """The state of one rewriting: the statements so far and the number of masks."""

    def __init__(self, results: tuple[ir.Var, ...]):
        self.results = results
        self.may_have_returned = False
        self.out: list[ir.Masked] = []
        self.masks = 0
        self.conditions = 0
        self.blocks: dict[str, int] = {}
        self.liveness = Liveness()

    def new_mask(self) -> ir.Var:
        """Return a mask that has no other use."""
        self.masks += 1
        return ir.Var(f"%m{self.masks}", BOOL)

    def under(self, parent: ir.Var, cond: ir.Expr | None) -> ir.Var:
        """Emit a new mask: the parent's lanes where ``cond`` holds."""
        mask = self.new_mask()
        self.out.append(ir.Mask(mask, parent, cond))
        return mask

    def nested(self, body: tuple[ir.Stmt, ...], scope: Scope, after: Vars) -> tuple[ir.Masked, ...]:
        """Return the masked form of a nested body."""
        saved, self.out = self.out, []
        self.body(body, scope, after)
        result, self.out = self.out, saved
        return tuple(result)

    def body(self, body: tuple[ir.Stmt, ...], scope: Scope, after: Vars) -> None:
        """Emit the masked form of statements; ``after`` is what is read after them."""
        lives = self.liveness.suffixes(body, after, scope.at_break, scope.at_continue)
        for node, live_after in zip(body, lives[1:], strict=True):
            self.statement(node, scope, live_after)
            if may_continue(node):
                # Lanes that went to the next iteration wait there while the rest of this one runs.
                scope = scope._replace(waiting=scope.waiting | scope.at_continue)

    def statement(self, node: ir.Stmt, scope: Scope, after: Vars) -> None:
        """Emit the masked form of one statement."""
        match node:
            case ir.Assign(target, value):
                self.set(target, value, scope)
            case ir.If(cond, then, orelse):
                self.branch(cond, then, orelse, scope, after)
            case ir.For():
                self.for_loop(node, scope, after)
            case ir.While():
                self.while_loop(node, scope, after)
            case ir.Break():
                self.kill(scope.masks[scope.live :], scope.mask)
            case ir.Continue():
                self.kill(scope.masks[scope.run :], scope.mask)
            case ir.Return(values):
                mask = scope.mask if self.may_have_returned else None
                self.may_have_returned = True
                for target, value in zip(self.results, values, strict=True):
                    self.out.append(ir.Set(target, value, mask))
                self.kill(scope.masks, scope.mask)
            case ir.Block():
                self.block(node, scope, after)
            case ir.Leave(label):
                self.kill(scope.masks[self.blocks[label] :], scope.mask)
            case ir.Check(failed, site):
                self.out.append(ir.Test(failed, site, scope.mask))
            case _:
                assert_never(node)

    def set(self, target: ir.Var, value: ir.Expr, scope: Scope) -> None:
        """Emit an assignment, blended only if a waiting lane may read the old value."""
        mask = scope.mask if target in scope.waiting else None
        self.out.append(ir.Set(target, value, mask))

    def kill(self, masks: tuple[ir.Var, ...], by: ir.Var) -> None:
        """Emit the end of the lanes of ``by`` in each mask."""
        self.out.append(ir.Kill(masks, by))

    def branch(
        self,
        cond: ir.Expr,
        then: tuple[ir.Stmt, ...],
        orelse: tuple[ir.Stmt, ...],
        scope: Scope,
        after: Vars,
    ) -> None:
        """Emit an ``if``: the condition is frozen, then each arm runs under its own mask."""
        self.conditions += 1
        frozen = ir.Var(f"%c{self.conditions}", BOOL)
        self.out.append(ir.Set(frozen, cond, None))
        arms: list[tuple[tuple[ir.Stmt, ...], ir.Expr]] = [(then, frozen)]
        if orelse:
            arms.append((orelse, ir.Apply(TABLE["~"], (frozen,), BOOL)))
        before_else = self.liveness.before(orelse, after, scope.at_break, scope.at_continue)
        waiting = scope.waiting | after
        # Lanes of the first arm that went to the next iteration wait there during the second.
        gone = scope.at_continue if any(map(may_continue, then)) else frozenset()
        for (arm, holds), others in zip(arms, (before_else, gone), strict=False):
            mask = self.under(scope.mask, holds)
            inner = scope._replace(masks=(*scope.masks, mask), waiting=waiting | others)
            self.out.append(ir.Guard(mask, self.nested(arm, inner, after)))

    def block(self, node: ir.Block, scope: Scope, after: Vars) -> None:
        """Emit a block under a mask of its own; lanes that leave early wait at its end."""
        mask = self.under(scope.mask, None)
        self.blocks[node.label] = len(scope.masks)
        self.liveness.at_leave[node.label] = after
        masks = (*scope.masks, mask)
        self.body(node.body, scope._replace(masks=masks, waiting=scope.waiting | after), after)

    def for_loop(self, node: ir.For, scope: Scope, after: Vars) -> None:
        """Emit a counted loop; the counter steps for all lanes alike."""
        counter = node.counter
        below = ir.Apply(TABLE["<"], (counter, node.trips), BOOL)
        onward = ir.Apply(TABLE["+"], (counter, ir.Const(1, UINT64)), UINT64)
        self.out.append(ir.Set(counter, ir.Const(0, UINT64), None))
        live = self.under(scope.mask, below)
        head = self.liveness.loop_head(node, after)
        body = self.iteration(node.body, live, scope, after, head)
        end = (ir.Set(counter, onward, None), ir.Mask(live, live, below))
        self.out.append(ir.Loop(live, (*body, *end)))

    def while_loop(self, node: ir.While, scope: Scope, after: Vars) -> None:
        """Emit a conditional loop: the condition takes lanes out of the loop's mask."""
        live = self.under(scope.mask, None)
        head = self.liveness.loop_head(node, after)
        inner = scope._replace(
            masks=(*scope.masks, live), waiting=scope.waiting | after,
            live=len(scope.masks), run=len(scope.masks), at_break=after, at_continue=head,
        )  # fmt: skip
        wanted = self.liveness.after_head(node, after, head)
        test = (*self.nested(node.head, inner, wanted), ir.Mask(live, live, node.cond))
        body = self.iteration(node.body, live, scope, after, head)
        self.out.append(ir.Loop(live, (*test, ir.Guard(live, body))))

    def iteration(
        self, body: tuple[ir.Stmt, ...], live: ir.Var, scope: Scope, after: Vars, head: Vars
    ) -> tuple[ir.Masked, ...]:
        """Return the masked form of a loop's body, under its own mask if lanes skip its rest."""
        if not self.may_have_returned:  # some lanes may have, an iteration earlier
            self.may_have_returned = any(isinstance(node, ir.Return) for node in ir.walk(body))
        masks = (*scope.masks, live)
        skips = any(may_continue(node) for node in body)
        run = self.new_mask() if skips else live
        inner = Scope(
            (*masks, run) if skips else masks,
            scope.waiting | after,
            len(scope.masks),
            len(scope.masks) + skips,
            after,
            head,
        )
        start = (ir.Mask(run, live, None),) if skips else ()
        return (*start, *self.nested(body, inner, head))


def may_continue(node: ir.Stmt) -> bool:
    """Tell whether a statement may send lanes to the next iteration of the loop around it."""
    match node:
        case ir.Continue():
            return True
        case ir.If(_, then, orelse):
            return any(map(may_continue, (*then, *orelse)))
        case ir.Block(_, inner):
            return any(map(may_continue, inner))
        case _:
            return False
