"""One chunk through one engine: slabs, addresses and strides in, arrays or a placed error out."""

from __future__ import annotations

import ctypes
import functools
import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Literal, NamedTuple

import numpy as np

from mexdask import buffers, ir, meaning, reductions, threads
from mexdask.backend.cabi import ErrorPlace, pack_call
from mexdask.errors import Diagnostic, KernelRuntimeError
from mexdask.runtime import stats
from mexdask.runtime.dispatch import obtain
from mexdask.runtime.load import LoadedKernel
from mexdask.settings import KernelSettings
from mexdask.slabs import STRAIGHT_SLAB, paced, slabs
from mexdask.specialise import Stage
from mexdask.stack import roomy
from mexdask.walk import Walk, broadcast_strides, in_long_lines, laid_out, turned, walk_of

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Index = tuple[slice | EllipsisType, ...]
addressof, buffer_of = ctypes.addressof, ctypes.c_char.from_buffer

NATIVE_SLAB = 1 << 18  # large enough to hide the call
# Threads share slabs evenly enough if there are some for each; fewer elements are not worth it.
SHARED_SLAB = 1 << 14
SHARED_STRAIGHT_SLAB = STRAIGHT_SLAB // 4
# Temporaries of this many lanes stay in the second-level cache.
INTERPRETED_SLAB = 1 << 16


@dataclass(slots=True)
class Place:
    """Where a chunk lies: offset of its first element, its shape, the shape of the whole array.

    Every task has one, hence neither frozen, which takes longer to make, nor a tuple, whose items
    Dask searches for tasks.
    """

    offset: Shape
    shape: Shape
    whole: Shape


WHOLE = Place((), (), ())
"""The place of a chunk that is the whole array, whatever its shape."""


def run(
    stage: Stage,
    arguments: Sequence[Array],
    shape: Shape,
    place: Place | None,
    settings: KernelSettings,
    *,
    may_share: bool = False,
) -> tuple[Array, ...]:
    """Compute one chunk.

    Parameters
    ----------
    stage : Stage
        Lowered for the arguments' types.
    arguments : sequence of numpy.ndarray
        One for each parameter, of the parameter's dtype (byte order aside); arrays broadcast to
        ``shape``, scalars have shape ``()``.
    shape : tuple of int
        Of the results.
    place : Place or None
        Where the chunk lies, for index symbols and messages; None where that is unknown.
    settings : KernelSettings
        What travelled with the kernel.
    may_share : bool
        Whether threads may share the work: not where Dask runs chunks side by side.

    Returns
    -------
    tuple of numpy.ndarray
        The results, each of ``shape``; of a reducing stage one record of partial results, shape
        ``()``, as ``reductions`` has it.

    Raises
    ------
    KernelRuntimeError
        Naming the lowest element, in C order, that failed.
    JITUnavailableError
        Under ``jit="require"``.
    """
    native, decision = obtain(stage.unit, settings)
    walk = walk_for(stage.function, arguments, shape)
    outs = outputs(stage.function, shape, walk)
    start = time.perf_counter()
    if native is not None:
        walked = functools.partial(
            run_native, stage, native, arguments, outs, shape, place, settings, may_share=may_share
        )
        end = walked(walk)
        if end.failed is not None and walk is not None:
            end = walked(None)  # C order has the lowest element that fails
    else:
        end = run_interpreted(stage, arguments, outs, shape, place, settings)
    seconds = time.perf_counter() - start
    engine: Literal["native", "interpreted"] = "interpreted" if native is None else "native"
    from_memory = decision.outcome == "memory"
    stats.count_chunk(stage.unit.name, engine, seconds, from_memory=from_memory)
    settle(end, stage, arguments, shape, place, settings)
    if from_memory and stage.is_simple:
        stage.remember()
    return outs


def run_once(stage: Stage, arguments: Sequence[Array], settings: KernelSettings) -> tuple[Any, ...]:
    """Compute a stage that depends on no element; compiling it would take longer than running it.

    Returns
    -------
    tuple of numpy.generic
        The results.
    """
    params = stage.function.params
    given: dict[ir.Expr, Array] = {p.var: a for p, a in zip(params, arguments, strict=True)}
    match stage.function.body:
        # What reduced blocks are joined by mostly returns what it got; the interpreter's way to
        # that is ten times as long.
        case (ir.Return(values),) if all(v in given for v in values):
            return tuple(given[v].astype(v.dtype)[()] for v in values)
    outs = outputs(stage.function, (), None)
    end = run_interpreted(stage, arguments, outs, (), WHOLE, settings)
    settle(end, stage, arguments, (), WHOLE, settings)
    return tuple(out[()] for out in outs)


def walk_for(function: ir.Function, arguments: Sequence[Array], shape: Shape) -> Walk | None:
    """Return the order of a chunk's elements, None for C order, in which every engine sums."""
    if len(shape) < 2 or function.reductions:
        return None
    given = zip(function.params, arguments, strict=True)
    arrays = [a for p, a in given if p.is_array]
    return walk_of(arrays, shape, may_join=not function.indices)


def outputs(function: ir.Function, shape: Shape, walk: Walk | None) -> tuple[Array, ...]:
    """Return the arrays that a stage fills."""
    if function.reductions:
        names = [r.name for r in function.reductions]
        return (reductions.nothing_yet(names, function.results),)
    if walk is not None:
        return tuple([laid_out(shape, dtype, walk.layout) for dtype in function.results])
    return tuple([buffers.empty(shape, dtype) for dtype in function.results])


class End(NamedTuple):
    """How a chunk ended: site and index of the element that stopped it, elements made nan."""

    failed: tuple[int, Shape] | None = None
    made_nan: int = 0


def settle(
    end: End,
    stage: Stage,
    arguments: Sequence[Array],
    shape: Shape,
    place: Place | None,
    settings: KernelSettings,
) -> None:
    """Raise what an element failed with, count what became nan."""
    if end.failed is not None:
        raise runtime_error(stage, arguments, shape, place, settings, *end.failed)
    if end.made_nan:
        stats.count(stage.unit.name, "nan_elements", end.made_nan)


def run_native(
    stage: Stage,
    native: LoadedKernel,
    arguments: Sequence[Array],
    outs: Sequence[Array],
    shape: Shape,
    place: Place | None,
    settings: KernelSettings,
    walk: Walk | None = None,
    *,
    may_share: bool = False,
) -> End:
    """Fill ``outs`` through native code."""
    alone, together = slab_sizes(stage)
    axes = tuple(range(len(shape))) if walk is None else walk.axes
    sizes, size = turned(shape, axes), math.prod(shape)
    # Partial results of a reduction have one place for all slabs.
    reduces = bool(stage.function.reductions)
    may_share = may_share and size >= 4 * together and not reduces
    arrays, scalars, read = [], b"", []  # alive until the calls below have read them
    reduces_lanes = reduces and stage.unit.form(settings).width > 0
    for parameter, value in zip(stage.function.params, arguments, strict=True):
        if not parameter.is_array:
            scalars += value.astype(parameter.var.dtype, copy=False).tobytes().ljust(8, b"\0")
            continue
        if not (value.flags.aligned and value.dtype.isnative):
            value = value.astype(parameter.var.dtype)
        if reduces_lanes:
            value = in_long_lines(value, shape)
        read.append(value)
        arrays.append((address_of(value), turned(broadcast_strides(value, shape), axes)))
    arrays += [(address_of(out), turned(broadcast_strides(out, shape), axes)) for out in outs]
    limit, tolerant = settings.while_max_iters, settings.on_error == "nan"
    offset, whole = bounds(place, shape)
    errors: list[ErrorPlace] = []

    def compute(start: Shape, part: Shape) -> End | None:
        error = ErrorPlace() if stage.function.sites else None
        operands, first = arrays, offset
        if part != sizes:
            operands = [(address + dot(start, strides), strides) for address, strides in arrays]
            first = shifted(tuple(start[axes.index(k)] for k in range(len(axes))), offset)
        call = pack_call(part, first, whole, axes, limit, tolerant, error, operands, scalars)
        if code := native.call(call):
            assert error is not None
            return End((code - 1, shifted(np.unravel_index(error.index, part), start)))
        if error is not None:
            errors.append(error)
        return None

    use = threads.allowed() if may_share else 1
    if use == 1:
        # The slabs decide how floats are summed, and must not be decided by a clock.
        failed = paced(compute, sizes, alone, steady=reduces or not stage.unit.has_loops)
    else:
        pieces = list(slabs(sizes, together))
        failed = threads.first_failure(lambda n: compute(*pieces[n]), len(pieces), use)
    return failed or End(None, sum(error.count for error in errors))


def slab_sizes(stage: Stage) -> tuple[int, int]:
    """Return the most elements of one native call, on one thread and where threads share."""
    if stage.unit.has_loops:
        return NATIVE_SLAB, SHARED_SLAB
    return STRAIGHT_SLAB, SHARED_STRAIGHT_SLAB


@roomy
def run_interpreted(
    stage: Stage,
    arguments: Sequence[Array],
    outs: Sequence[Array],
    shape: Shape,
    place: Place | None,
    settings: KernelSettings,
) -> End:
    """Fill ``outs`` through the interpreter."""
    function = stage.function
    wide = [spread(a, p.var.dtype, shape) for p, a in zip(function.params, arguments, strict=True)]
    tolerant = settings.on_error == "nan" and all(d.kind in "fc" for d in function.results)
    offset, whole = bounds(place, shape)
    made_nan, partials = 0, []
    with np.errstate(all="ignore"):
        for start, part in slabs(shape, INTERPRETED_SLAB):
            where: Index = (*(slice(s, s + n) for s, n in zip(start, part, strict=True)), ...)
            lanes = math.prod(part)
            batch = [w if w.ndim == 0 else in_line(w[where]) for w in wide]
            batch += [indices(v, shifted(start, offset), part, whole) for v in function.indices]
            lines = () if function.reductions else lines_of(outs, where)
            results, failed = stage.interpreter.run(batch, lanes, settings.while_max_iters, lines)
            if failed and not tolerant:
                lane = min(failed)
                return End((failed[lane], shifted(np.unravel_index(lane, part), start)))
            if failed:
                results = [with_nan(r, failed) for r in results]
                made_nan += len(failed)
            if function.reductions:
                partials.append(partial_record(function, results, outs[0].dtype))
                continue
            for n, r in enumerate(results):
                if not lines or r is not lines[n]:
                    outs[n][where] = r.reshape(part)
    if partials:
        outs[0][()] = reductions.merged([r.name for r in function.reductions], np.array(partials))
    return End(None, made_nan)


def spread(argument: Array, dtype: np.dtype, shape: Shape) -> Array:
    """Return an argument in a parameter's dtype: of the chunk's shape, or ``()`` if it is one."""
    plain = meaning.as_bool(np.ascontiguousarray(argument)).reshape(argument.shape)
    value = plain.astype(dtype, copy=False)
    return value.reshape(()) if value.size == 1 else np.broadcast_to(value, shape)


def in_line(part: Array) -> Array:
    """Return a slab's part of an operand as one line of lanes."""
    return np.ascontiguousarray(part).reshape(-1)


def with_nan(result: Array, failed: Collection[int]) -> Array:
    """Return a result with nan in the lanes that failed."""
    result = result.copy()
    result[list(failed)] = np.nan
    return result


def lines_of(outs: Sequence[Array], where: Index) -> Sequence[Array]:
    """Return a slab's part of each result as one line of lanes, none if memory has it otherwise."""
    parts = [out[where] for out in outs]
    if all(p.flags.c_contiguous for p in parts):
        return [p.reshape(-1) for p in parts]
    return ()


def partial_record(function: ir.Function, results: Sequence[Array], dtype: np.dtype) -> Array:
    """Return the partial results of one batch of lanes."""
    record = np.zeros((), dtype)
    for k, (reduced, elements) in enumerate(zip(function.reductions, results, strict=True)):
        record[f"r{k}"] = reductions.partial(reduced.name, elements)
    return record


def bounds(place: Place | None, shape: Shape) -> tuple[Shape, Shape]:
    """Return where a chunk begins in the whole array, and the shape of that."""
    if place is None or place is WHOLE:
        return (0,) * len(shape), shape
    return place.offset, place.whole


def indices(symbol: ir.Var, first: Shape, part: Shape, whole: Shape) -> Array:
    """Return an index symbol for the lanes of a batch, shape ``(lanes,)``; ``_nK`` is ``()``."""
    if symbol.name.startswith("_n"):
        return np.asarray(whole[int(symbol.name[2])], symbol.dtype)
    axes = [f + np.arange(n) for f, n in zip(first, part, strict=True)]
    if symbol.name == "_flat_idx":
        strides = [math.prod(whole[axis + 1 :]) for axis in range(len(whole))]
        axes = [a * s for a, s in zip(axes, strides, strict=True)]
        total = sum(np.ix_(*axes), start=np.zeros((), symbol.dtype))
    else:
        total = np.ix_(*axes)[int(symbol.name[2])]
    return np.ascontiguousarray(np.broadcast_to(total, part)).reshape(-1)


def address_of(array: Array) -> int:
    """Return the address of an array's first element.

    The buffer's address costs a quarter of what NumPy's own description of the array does; arrays
    that are read-only or not contiguous have no such buffer.
    """
    try:
        return addressof(buffer_of(array))  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        address: int = array.__array_interface__["data"][0]
        return address


def dot(index: Shape, strides: Shape) -> int:
    """Return the distance in bytes of an element."""
    return sum(i * s for i, s in zip(index, strides, strict=True))


def shifted(index: Sequence[Any], by: Shape) -> Shape:
    """Return an index moved by an offset."""
    return tuple(int(i) + o for i, o in zip(index, by, strict=True))


def runtime_error(
    stage: Stage,
    arguments: Sequence[Array],
    shape: Shape,
    place: Place | None,
    settings: KernelSettings,
    site: int,
    index: Shape,
) -> KernelRuntimeError:
    """Return the exception for one element: what, which line, which element, which arguments."""
    what = stage.function.sites[site]
    message = ir.REASONS[what.reason].format(limit=settings.while_max_iters)
    text = Diagnostic(what.reason, message, what.span).render(stage.source)
    text += "".join(f"\ncalled at {stage.source.place(call)}" for call in what.calls)
    if settings.on_error == "nan":
        text += '\non_error="nan" is for kernels all of whose results are floats'
    values = ", ".join(
        f"{p.var.name} = {np.broadcast_to(a, shape)[index]}"
        for p, a in zip(stage.function.params, arguments, strict=True)
        if not p.var.name.startswith("%")
    )
    whole = None if place is None else index if place is WHOLE else shifted(index, place.offset)
    where = (
        f"index {index} of a block whose place is unknown" if whole is None else f"index {whole}"
    )
    return KernelRuntimeError(f"{text}\nat {where}, with {values}", whole)
