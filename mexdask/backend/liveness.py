"""Which variables are read after a point of structured IR, whatever path is taken from there."""

from __future__ import annotations

from typing import assert_never

from mexdask import ir

Vars = frozenset[ir.Var]
EXACT_DEPTH = 5
"""Loops in one another up to which the analysis is exact; its cost triples with each."""


def inside(node: ir.For | ir.While) -> tuple[ir.Stmt, ...]:
    """Return the statements that a loop repeats."""
    return node.body if isinstance(node, ir.For) else (*node.head, *node.body)


class Liveness:
    """Backward analysis of one function, with a memory, so that nested loops stay cheap."""

    def __init__(self) -> None:
        self.known: dict[tuple[object, ...], list[Vars]] = {}
        self.at_leave: dict[str, Vars] = {}
        self.depths: dict[int, int] = {}

    def before(
        self, body: tuple[ir.Stmt, ...], after: Vars, at_break: Vars, at_continue: Vars
    ) -> Vars:
        """Return what is read from the start of the statements on."""
        return self.suffixes(body, after, at_break, at_continue)[0]

    def suffixes(
        self, body: tuple[ir.Stmt, ...], after: Vars, at_break: Vars, at_continue: Vars
    ) -> list[Vars]:
        """Return what is read from before each statement on, and from after the last."""
        key = (id(body), after, at_break, at_continue, *self.at_leave.items())
        if key not in self.known:
            lives = [after]
            for node in reversed(body):
                lives.append(self.before_statement(node, lives[-1], at_break, at_continue))
            self.known[key] = lives[::-1]
        return self.known[key]

    def before_statement(
        self, node: ir.Stmt, after: Vars, at_break: Vars, at_continue: Vars
    ) -> Vars:
        """Return what is read from before one statement on."""
        match node:
            case ir.Assign(target, value):
                return (after - {target}).union(ir.reads(value))
            case ir.If(cond, then, orelse):
                arms = (self.before(arm, after, at_break, at_continue) for arm in (then, orelse))
                return ir.reads(cond).union(*arms)
            case ir.For(counter, _, _):
                return self.loop_head(node, after) - {counter}
            case ir.While():
                return self.loop_head(node, after)
            case ir.Break():
                return at_break
            case ir.Continue():
                return at_continue
            case ir.Block(label, inner):
                self.at_leave[label] = after
                return self.before(inner, after, at_break, at_continue)
            case ir.Leave(label):
                return self.at_leave[label]
            case ir.Return(values):
                return ir.NOTHING.union(*map(ir.reads, values))
            case ir.Check(failed, _):
                return after.union(ir.reads(failed))
            case _:
                assert_never(node)

    def loop_head(self, node: ir.For | ir.While, after: Vars) -> Vars:
        """Return what is read from the head of a loop on, its own later iterations included."""
        if self.depth(node) > EXACT_DEPTH:
            return after | self.all_reads(node)
        head = after
        while (wider := head | self.once_around(node, after, head)) != head:
            head = wider
        return head

    def depth(self, node: ir.For | ir.While) -> int:
        """Return how many loops stand in one another, this one included."""
        if id(node) not in self.depths:
            inner = [n for n in ir.walk(inside(node)) if isinstance(n, (ir.For, ir.While))]
            self.depths[id(node)] = 1 + max(map(self.depth, inner), default=0)
        return self.depths[id(node)]

    def all_reads(self, node: ir.For | ir.While) -> Vars:
        """Return every variable that a loop reads: more than is live, never less."""
        found = {node.counter} if isinstance(node, ir.For) else set[ir.Var]()
        for inner in ir.walk((node,)):
            found.update(v for e in ir.expressions(inner) for v in ir.reads(e))
            if isinstance(inner, ir.For):
                found.add(inner.counter)
        return frozenset(found).union(*self.at_leave.values())

    def once_around(self, node: ir.For | ir.While, after: Vars, head: Vars) -> Vars:
        """Return what one iteration reads, if ``head`` is read from the next one on."""
        if isinstance(node, ir.For):
            body = self.before(node.body, head, after, head)
            return body.union(ir.reads(node.trips), (node.counter,))
        return self.before(node.head, self.after_head(node, after, head), after, head)

    def after_head(self, node: ir.While, after: Vars, head: Vars) -> Vars:
        """Return what is read once the head's statements have run."""
        body = self.before(node.body, head, after, head)
        return body.union(ir.reads(node.cond), after)
