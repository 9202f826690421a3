"""The interpreter: runs masked IR on whole NumPy arrays. The living definition of the language."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, assert_never

import numpy as np

from mexdask import ir, meaning
from mexdask.backend.predicate import MaskedFunction

Array = np.ndarray[Any, Any]
Env = dict[ir.Var, Any]

COMPRESS_BELOW = 0.5
COMPRESS_FROM = 256
LANE = ir.Var("%lane", np.dtype("int64"))


@dataclass
class Run:
    """One run over one batch of lanes."""

    limit: int
    footprints: dict[int, Footprint]
    failed: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Footprint:
    """The variables that a loop reads or writes, and those whose lanes outlive it."""

    touched: frozenset[ir.Var]
    kept: frozenset[ir.Var]


@dataclass(frozen=True)
class Interpreter:
    """A masked function made ready to run."""

    masked: MaskedFunction
    footprints: dict[int, Footprint]

    def run(
        self, arguments: list[Array], lanes: int, limit: int
    ) -> tuple[list[Array], dict[int, int]]:
        """Run on one batch of lanes.

        Parameters
        ----------
        arguments : list of numpy.ndarray
            One for each parameter and index symbol: shape ``(lanes,)`` or ``()``, in its dtype.
        lanes : int
            Number of lanes, at least 1.
        limit : int
            The largest number of iterations of one ``while``.

        Returns
        -------
        tuple
            The results, each of shape ``(lanes,)``, and the lanes that failed with their sites.
        """
        function = self.masked.function
        given = [*(p.var for p in function.params), *function.indices]
        env: Env = dict(zip(given, arguments, strict=True))
        env[self.masked.lanes] = np.ones(lanes, bool)
        if function.sites:
            env[LANE] = np.arange(lanes)
        state = Run(limit, self.footprints)
        with np.errstate(all="ignore"):
            run_body(self.masked.body, env, lanes, state)
        results = [np.broadcast_to(env[v], lanes) if v in env else np.zeros(lanes, v.dtype)
                   for v in self.masked.results]  # fmt: skip
        return results, state.failed


def prepare(masked: MaskedFunction) -> Interpreter:
    """Return an interpreter of a masked function."""
    footprints: dict[int, Footprint] = {}
    for node in ir.walk_masked(masked.body):
        if isinstance(node, ir.Loop):
            footprints[id(node)] = footprint(node)
    return Interpreter(masked, footprints)


def footprint(loop: ir.Loop) -> Footprint:
    """Return what a loop touches."""
    touched: set[ir.Var] = {loop.live, LANE}
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


def run_body(body: tuple[ir.Masked, ...], env: Env, lanes: int, state: Run) -> None:
    """Run statements on ``lanes`` lanes, whose variables are in ``env``."""
    for node in body:
        match node:
            case ir.Set(target, value, mask):
                env[target] = blended(evaluate(value, env, state), target, mask, env, lanes)
            case ir.Mask(target, parent, cond):
                env[target] = narrowed(env[parent], cond, env, state)
            case ir.Kill(masks, by):
                dead = ~env[by]
                for mask in masks:
                    env[mask] = env[mask] & dead
            case ir.Guard(mask, inner):
                if env[mask].any():
                    run_body(inner, env, lanes, state)
            case ir.Loop():
                run_loop(node, env, lanes, state)
            case ir.Test(failed, site, mask):
                run_test(failed, site, mask, env, state)
            case _:
                assert_never(node)


def blended(value: Any, target: ir.Var, mask: ir.Var | None, env: Env, lanes: int) -> Any:
    """Return a variable's new content: the value where the mask holds, the old one elsewhere."""
    if mask is None or target not in env:
        return value
    under = env[mask]
    if under.ndim and under.all():
        return value if np.ndim(value) else np.broadcast_to(value, lanes)
    return np.where(under, value, env[target])


def narrowed(parent: Array, cond: ir.Expr | None, env: Env, state: Run) -> Any:
    """Return the lanes of a mask where a condition holds too."""
    if cond is None:
        return parent
    holds = evaluate(cond, env, state)
    if np.ndim(holds) == 0:
        return parent if holds else np.zeros_like(parent)
    return parent & holds


def run_test(failed: ir.Expr, site: int, mask: ir.Var, env: Env, state: Run) -> None:
    """Note the lanes that fail here, and end them."""
    hit = env[mask] & evaluate(failed, env, state)
    if hit.any():
        for lane in env[LANE][hit]:
            state.failed.setdefault(int(lane), site)
        end_lanes(hit, env)


def end_lanes(hit: Array, env: Env) -> None:
    """Take lanes out of every mask."""
    for variable, value in env.items():
        if variable.name.startswith("%m"):
            env[variable] = value & ~hit


def run_loop(loop: ir.Loop, outer: Env, lanes: int, state: Run) -> None:
    """Repeat a loop's body; once few lanes are left, go on with those alone."""
    where, env, count, failures = None, outer, lanes, len(state.failed)
    while alive := int(np.count_nonzero(env[loop.live])):
        if alive < COMPRESS_BELOW * count and count >= COMPRESS_FROM:
            keep = np.flatnonzero(env[loop.live])
            if where is not None:
                scatter(loop, env, outer, where, lanes, state)
            where = keep if where is None else where[keep]
            env, count = gathered(loop, env, keep, state), alive
        run_body(loop.body, env, count, state)
    if where is not None:
        scatter(loop, env, outer, where, lanes, state)
        if len(state.failed) > failures:  # in masks that this loop does not touch, too
            end_lanes(np.isin(outer[LANE], list(state.failed)), outer)


def gathered(loop: ir.Loop, env: Env, keep: Array, state: Run) -> Env:
    """Return the variables that a loop touches, for some lanes only."""
    touched = state.footprints[id(loop)].touched
    return {v: env[v][keep] if np.ndim(env[v]) else env[v] for v in touched if v in env}


def scatter(loop: ir.Loop, env: Env, outer: Env, where: Array, lanes: int, state: Run) -> None:
    """Write what the lanes at ``where`` computed back among all lanes."""
    for variable in state.footprints[id(loop)].kept:
        if variable not in env:
            continue
        old = outer.get(variable)
        start = variable.dtype.type(0) if old is None else old
        full = np.broadcast_to(start, lanes).copy()
        full[where] = env[variable]
        outer[variable] = full


def evaluate(node: ir.Expr, env: Env, state: Run) -> Any:
    """Return the value of an expression in every lane, or one value where all lanes share it."""
    match node:
        case ir.Var():
            # Lanes that have ended may read what a body without live lanes would have set.
            return env[node] if node in env else node.dtype.type(0)
        case ir.Const(value, dtype):
            return dtype.type(value)
        case ir.Apply(op, args, dtype):
            values = [evaluate(a, env, state) for a in args]
            if isinstance(op.numpy, np.ufunc):
                result = op.numpy(*values, out=temporary(args, values, dtype))
            else:
                result = op.numpy(*values)
            return result if result.dtype == dtype else result.astype(dtype)
        case ir.Cast(arg, dtype):
            return meaning.cast(evaluate(arg, env, state), dtype)
        case ir.Select(cond, yes, no, _):
            holds, *arms = (evaluate(e, env, state) for e in (cond, yes, no))
            if np.ndim(holds) == 0 and np.ndim(arms[0]) == np.ndim(arms[1]):
                return arms[0] if holds else arms[1]
            return np.where(holds, *arms)
        case ir.IterationLimit(dtype):
            return dtype.type(state.limit)
        case _:
            assert_never(node)


def temporary(args: tuple[ir.Expr, ...], values: list[Any], dtype: np.dtype) -> Array | None:
    """Return an operand that nobody else reads, to be overwritten: memory that is in the caches."""
    for arg, value in zip(args, values, strict=True):
        is_new = isinstance(arg, ir.Apply) and isinstance(arg.op.numpy, np.ufunc)
        if is_new and np.ndim(value) and value.dtype == dtype:
            array: Array = value
            return array
    return None
