"""The interpreter: runs masked IR on whole NumPy arrays. The living definition of the language.

Statements are made ready as expressions are, see ``evaluation``: each becomes one function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np

from mexdask import ir
from mexdask.backend.evaluation import LIMIT, Array, Env, Evaluator, evaluator
from mexdask.backend.predicate import MaskedFunction

COMPRESS_BELOW = 0.5
COMPRESS_FROM = 256
LANE = ir.Var("%lane", np.dtype("int64"))


@dataclass(slots=True)
class Run:
    """One run over one batch of lanes: memory for results, the lanes that failed and where."""

    outs: dict[ir.Var, Array]
    failed: dict[int, int]


@dataclass(frozen=True, slots=True)
class Footprint:
    """The variables that a loop reads or writes, and those whose lanes outlive it."""

    touched: frozenset[ir.Var]
    kept: frozenset[ir.Var]


Step = Callable[[Env, int, Run], None]
"""Runs one statement on so many lanes."""


@dataclass(frozen=True)
class Interpreter:
    """A masked function made ready to run."""

    masked: MaskedFunction
    given: tuple[ir.Var, ...]
    steps: tuple[Step, ...]
    is_straight: bool

    def run(
        self, arguments: list[Array], lanes: int, limit: int, outs: Sequence[Array] = ()
    ) -> tuple[list[Array], dict[int, int]]:
        """Run on one batch of lanes, under ``np.errstate(all="ignore")``.

        Parameters
        ----------
        arguments : list of numpy.ndarray
            One for each parameter and index symbol: shape ``(lanes,)`` or ``()``, in its dtype.
        lanes : int
            Number of lanes, at least 1.
        limit : int
            The largest number of iterations of one ``while``.
        outs : sequence of numpy.ndarray
            Memory that the results may be written to, one for each or none: shape ``(lanes,)``,
            in its dtype. It need not be used.

        Returns
        -------
        tuple
            The results, each of shape ``(lanes,)``, and the lanes that failed with their sites.
        """
        env: Env = dict(zip(self.given, arguments, strict=True))
        env[LIMIT] = LIMIT.dtype.type(limit)
        if not self.is_straight:
            env[self.masked.lanes] = np.ones(lanes, bool)
        if self.masked.function.sites:
            env[LANE] = np.arange(lanes)
        state = Run(dict(zip(self.masked.results, outs, strict=False)), {})
        run_steps(self.steps, env, lanes, state)
        results = [env[v] if v in env else v.dtype.type(0) for v in self.masked.results]
        return [r if r.ndim else np.broadcast_to(r, lanes) for r in results], state.failed


def prepare(masked: MaskedFunction) -> Interpreter:
    """Return an interpreter of a masked function."""
    body = masked.body
    if isinstance(body[-1], ir.Kill):  # nothing is left to run on fewer lanes
        body = body[:-1]
    is_straight = all(isinstance(node, ir.Set) and node.mask is None for node in body)
    given = (*(p.var for p in masked.function.params), *masked.function.indices)
    return Interpreter(masked, given, prepared(body), is_straight)


def prepared(body: tuple[ir.Masked, ...]) -> tuple[Step, ...]:
    """Return what runs statements."""
    return tuple(map(step, body))


def run_steps(steps: tuple[Step, ...], env: Env, lanes: int, state: Run) -> None:
    """Run statements on ``lanes`` lanes, whose variables are in ``env``."""
    for run in steps:
        run(env, lanes, state)


def step(node: ir.Masked) -> Step:
    """Return what runs a statement."""
    match node:
        case ir.Set(target, value, mask):
            return setting(target, evaluator(value), mask)
        case ir.Mask():
            return masking(node)
        case ir.Kill(masks, by):
            return killing(masks, by)
        case ir.Guard(mask, inner):
            return guarding(mask, prepared(inner))
        case ir.Loop():
            return looping(node, prepared(node.body), footprint(node))
        case ir.Test(failed, site, mask):
            return testing(evaluator(failed), site, mask)
        case _:
            assert_never(node)


def setting(target: ir.Var, evaluate: Evaluator, mask: ir.Var | None) -> Step:
    """Return what gives a variable a value, where the mask holds."""
    if mask is None:

        def run(env: Env, lanes: int, state: Run) -> None:
            env[target] = evaluate(env, state.outs.get(target))

    else:

        def run(env: Env, lanes: int, state: Run) -> None:
            env[target] = blended(evaluate(env), target, mask, env, lanes)

    return run


def masking(node: ir.Mask) -> Step:
    """Return what makes a mask: the lanes of another one where a condition holds too."""
    target, parent = node.target, node.parent
    holds = None if node.cond is None else evaluator(node.cond)

    def run(env: Env, lanes: int, state: Run) -> None:
        env[target] = env[parent] if holds is None else narrowed(env[parent], holds(env))

    return run


def killing(masks: tuple[ir.Var, ...], by: ir.Var) -> Step:
    """Return what takes lanes out of masks."""

    def run(env: Env, lanes: int, state: Run) -> None:
        alive = ~env[by]
        for mask in masks:
            env[mask] = env[mask] & alive

    return run


def guarding(mask: ir.Var, steps: tuple[Step, ...]) -> Step:
    """Return what runs statements if the mask has a lane."""

    def run(env: Env, lanes: int, state: Run) -> None:
        if env[mask].any():
            run_steps(steps, env, lanes, state)

    return run


def looping(loop: ir.Loop, steps: tuple[Step, ...], variables: Footprint) -> Step:
    """Return what runs a loop."""
    return lambda env, lanes, state: run_loop(loop.live, steps, variables, env, lanes, state)


def testing(holds: Evaluator, site: int, mask: ir.Var) -> Step:
    """Return what ends the lanes that fail."""
    return lambda env, lanes, state: run_test(holds(env), site, mask, env, state)


def footprint(loop: ir.Loop) -> Footprint:
    """Return what a loop touches."""
    touched: set[ir.Var] = {loop.live, LANE, LIMIT}
    kept: set[ir.Var] = {loop.live}
    for node in ir.walk_masked(loop.body):
        match node:
            case ir.Set(target, value, mask):
                touched.update(ir.reads(value), (target,), () if mask is None else (mask,))
                kept.update(() if mask is None else (target,))
            case ir.Mask(target, parent, cond):
                touched.update((target, parent), () if cond is None else ir.reads(cond))
                kept.add(target)
            case ir.Kill(masks, by):
                touched.update(masks, (by,))
                kept.update(masks)
            case ir.Guard(mask, _) | ir.Loop(mask, _):
                touched.add(mask)
            case ir.Test(failed, _, mask):
                touched.update(ir.reads(failed), (mask,))
                kept.add(mask)
            case _:
                assert_never(node)
    return Footprint(frozenset(touched), frozenset(kept))


def blended(value: Any, target: ir.Var, mask: ir.Var, env: Env, lanes: int) -> Any:
    """Return a variable's new content: the value where the mask holds, the old one elsewhere."""
    if target not in env:
        return value
    under = env[mask]
    if under.ndim and under.all():
        return value if value.ndim else np.broadcast_to(value, lanes)
    return np.where(under, value, env[target])


def narrowed(parent: Array, holds: Any) -> Any:
    """Return the lanes of a mask where a condition holds too."""
    if holds.ndim == 0:
        return parent if holds else np.zeros_like(parent)
    return parent & holds


def run_test(failed: Any, site: int, mask: ir.Var, env: Env, state: Run) -> None:
    """Note the lanes that fail here, and end them."""
    hit = env[mask] & failed
    if hit.any():
        for lane in env[LANE][hit]:
            state.failed.setdefault(int(lane), site)
        end_lanes(hit, env)


def end_lanes(hit: Array, env: Env) -> None:
    """Take lanes out of every mask."""
    for variable, value in env.items():
        if variable.name.startswith("%m"):
            env[variable] = value & ~hit


def run_loop(
    live: ir.Var, steps: tuple[Step, ...], variables: Footprint, outer: Env, lanes: int, state: Run
) -> None:
    """Repeat a loop's body; once few lanes are left, go on with those alone."""
    where, env, count, failures = None, outer, lanes, len(state.failed)
    while alive := int(np.count_nonzero(env[live])):
        if alive < COMPRESS_BELOW * count and count >= COMPRESS_FROM:
            keep = np.flatnonzero(env[live])
            if where is not None:
                scatter(variables, env, outer, where, lanes)
            where = keep if where is None else where[keep]
            env, count = gathered(variables, env, keep), alive
        run_steps(steps, env, count, state)
    if where is not None:
        scatter(variables, env, outer, where, lanes)
        if len(state.failed) > failures:  # in masks that this loop does not touch, too
            end_lanes(np.isin(outer[LANE], list(state.failed)), outer)


def gathered(variables: Footprint, env: Env, keep: Array) -> Env:
    """Return the variables that a loop touches, for some lanes only."""
    return {v: env[v][keep] if env[v].ndim else env[v] for v in variables.touched if v in env}


def scatter(variables: Footprint, env: Env, outer: Env, where: Array, lanes: int) -> None:
    """Write what the lanes at ``where`` computed back among all lanes."""
    for variable in variables.kept:
        if variable not in env:
            continue
        old = outer.get(variable)
        start = variable.dtype.type(0) if old is None else old
        full = np.broadcast_to(start, lanes).copy()
        full[where] = env[variable]
        outer[variable] = full
