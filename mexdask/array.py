"""Kernels on Dask arrays: one blockwise layer, with dtype, meta and the place of every block."""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import dask.array as da
import numpy as np
from dask.array.core import normalize_chunks
from dask.layers import ArrayBlockwiseDep

from mexdask.arguments import Argument
from mexdask.blockkernel import BlockKernel, merge_of, needed_stages, own_params
from mexdask.chunk import Place
from mexdask.errors import ArgumentError
from mexdask.reductions import record_dtype
from mexdask.specialise import Stage

LONGEST_IN_TASKS = 1000
"""Characters of a kernel that each task carries; a longer one is a task of its own."""

Sizes = tuple[int, ...]
Chunks = tuple[Sizes, ...]


class Places(ArrayBlockwiseDep):
    """Gives each block its place in the whole array when its task is made, not before.

    Parameters
    ----------
    chunks : tuple of tuple of int
        Of the whole array; nan where Dask does not know a size.
    """

    def __reduce__(self) -> tuple[Callable[[Chunks], Places], tuple[Chunks]]:
        return Places, (self.chunks,)

    def __dask_tokenize__(self) -> tuple[str, Chunks]:
        return "mexdask.Places", self.chunks

    def __getitem__(self, index: tuple[int, ...]) -> Place | None:
        """Return a block's place; None if some size is unknown."""
        if (where := self._where) is None:
            return None
        # Comprehensions: half of what generators take, once a task.
        offset = tuple([starts[i] for i, starts in zip(index, where[0], strict=True)])
        shape = tuple([sizes[i] for i, sizes in zip(index, self.chunks, strict=True)])
        return Place(offset, shape, where[1])

    @functools.cached_property
    def _where(self) -> tuple[list[Sizes], Sizes] | None:
        """Where the blocks begin in each dimension, and the shape of the array."""
        if any(map(has_unknown, self.chunks)):
            return None
        starts = [tuple(accumulate(sizes, initial=0)) for sizes in self.chunks]
        return starts, tuple([ends[-1] for ends in starts])


@dataclass(frozen=True)
class Alignment:
    """How arrays fit together: known from their chunks, before any array is touched.

    Parameters
    ----------
    chunks : tuple of tuple of int
        Of the result.
    wanted : dict
        Parameter name to the chunks that the argument must have, for every array.
    rechunked : dict
        Parameter name to (chunks before, chunks after), for the Dask arrays that have others.
    """

    chunks: Chunks
    wanted: dict[str, Chunks]
    rechunked: dict[str, tuple[Chunks, Chunks]]


def align(arguments: Sequence[Argument], mode: str) -> Alignment:
    """Return how the arguments of a call fit together; Dask itself aligns operands alike.

    Parameters
    ----------
    arguments : sequence of Argument
        Of a call; their shapes broadcast.
    mode : {"rechunk", "error"}
        What happens to Dask arrays whose chunks do not fit.

    Raises
    ------
    ArgumentError
        If ``mode`` is ``"error"`` and a Dask array would have to be rechunked, or if chunks of
        unknown sizes cannot be aligned.
    """
    arrays = {a.name: a.value for a in arguments if a.is_array}
    given = {name: own_chunks(x) for name, x in arrays.items()}
    ndim = max(map(len, given.values()), default=0)
    chunks = tuple(common_sizes(axis, given) for axis in range(-ndim, 0))
    wanted, rechunked = {}, {}
    for name, x in arrays.items():
        sizes = zip(x.shape, chunks[ndim - x.ndim :], strict=True)
        wanted[name] = tuple((1,) if n == 1 else common for n, common in sizes)
        if isinstance(x, da.Array) and given[name] != wanted[name]:
            rechunked[name] = given[name], wanted[name]
            if mode == "error":
                raise ArgumentError(
                    f"argument {name!r} would be rechunked from {reprlib.repr(given[name])} to "
                    f'{reprlib.repr(wanted[name])}; rechunk it yourself, or pass align="rechunk"'
                )
    return Alignment(chunks, wanted, rechunked)


def checked_chunks(chunks: Any, shape: Sizes, dtype: np.dtype) -> Chunks:
    """Return chunks as Dask normalises them.

    Raises
    ------
    ArgumentError
        If they do not fit the shape.
    """
    try:
        sizes: Chunks = normalize_chunks(chunks, shape=shape, dtype=dtype)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ArgumentError(f"chunks={chunks!r} do not fit shape {shape}: {error}") from None
    if any(size < 0 for axis in sizes for size in axis):
        raise ArgumentError(f"chunks={chunks!r} do not fit shape {shape}: no size is negative")
    return sizes


def own_chunks(array: Any) -> Chunks:
    """Return the chunks of an array; a NumPy array is one, which may be cut anywhere."""
    return array.chunks if isinstance(array, da.Array) else tuple((n,) for n in array.shape)


def common_sizes(axis: int, given: Mapping[str, Chunks]) -> Sizes:
    """Return the chunk sizes of one dimension of the result: cut wherever an argument is cut.

    Parameters
    ----------
    axis : int
        Counted from the end, from -1.
    given : mapping of str to tuple
        The chunks of every array argument by name.
    """
    here = {name: chunks[axis] for name, chunks in given.items() if len(chunks) >= -axis}
    long = {name: sizes for name, sizes in here.items() if sum(sizes) != 1}
    if not long:
        return (1,)
    # Dask has but one nan, so that unknown sizes of arrays of one origin are equal here.
    first, *others = long.values()
    if all(sizes == first for sizes in others):
        return first
    for name, sizes in long.items():
        if has_unknown(sizes):
            raise ArgumentError(
                f"argument {name!r} has chunks of unknown sizes, which cannot be aligned with the "
                "other arguments; call its compute_chunk_sizes() first"
            )
    cut = {sizes for sizes in long.values() if len(sizes) > 1}
    if len(cut) == 1:
        return cut.pop()
    ends = sorted({0}.union(*(accumulate(sizes) for sizes in cut)))
    return tuple(end - start for start, end in pairwise(ends)) or (0,)


def has_unknown(sizes: Sizes) -> bool:
    """Tell whether Dask does not know a size, which then is nan."""
    return any(n != n for n in sizes)


def fitted(array: Any, chunks: Chunks) -> da.Array:
    """Return a Dask or NumPy array as a Dask array of the given chunks."""
    fit: da.Array = array
    if not isinstance(array, da.Array):
        fit = da.from_array(np.asarray(array), chunks=chunks)
    # What fits is left alone, for Dask cannot rechunk what it does not know the sizes of.
    elif changed := {i: sizes for i, sizes in enumerate(chunks) if sizes != array.chunks[i]}:
        fit = array.rechunk(changed)
    return fit


@dataclass(frozen=True)
class Layers:
    """The lazy results of a kernel, and what alignment rechunked for them."""

    results: tuple[da.Array, ...]
    rechunked: dict[str, tuple[Chunks, Chunks]]


def apply_blockwise(
    kernel: BlockKernel, arguments: Sequence[Argument], mode: str, chunks: Chunks | None = None
) -> Layers:
    """Return the lazy results of a kernel: one blockwise layer, or one for each of its stages.

    Parameters
    ----------
    kernel : BlockKernel
        What runs on each block.
    arguments : sequence of Argument
        In the order of the parameters.
    mode : {"rechunk", "error"}
        As for `align`.
    chunks : tuple of tuple of int, optional
        Of the results, where no argument is an array.
    """
    special = kernel.specialisation()
    whole = Alignment(chunks, {}, {}) if chunks is not None else align(arguments, mode)
    rechunked, records = dict(whole.rechunked), dict[int, da.Array]()
    for number, stage in enumerate(special.stages):
        names = {p.var.name for p in own_params(stage.function)}
        own = [a for a in arguments if a.name in names]
        needed = [records[k] for k in needed_stages(special, number)]
        if stage.function.reductions:
            # A reduction is over what its operand depends on, which may be less than everything.
            part = whole if stage.function.indices else align(own, mode)
            rechunked |= part.rechunked
            records[number] = reduced(kernel.stage(number), stage, own, needed, part)
    if special.is_scalar:
        results = once(kernel.stage(number), special.dtypes, own, needed)
    else:
        results = elementwise(kernel.stage(number), special.dtypes, own, needed, whole)
    return Layers(results, rechunked)


def blocks(own: Sequence[Argument], needed: Sequence[da.Array], alignment: Alignment) -> list[Any]:
    """Return the operands of a blockwise layer, each with its index.

    The places come first and Dask is not asked to align: either way round, a result's shape comes
    out wrong on one of Dask's two array back ends.
    """
    ndim = len(alignment.chunks)
    operands: list[Any] = [Places(alignment.chunks), tuple(range(ndim))]
    for a in own:
        if a.is_array:
            index = tuple(range(ndim - a.value.ndim, ndim))
            operands += [fitted(a.value, alignment.wanted[a.name]), index]
        else:
            operands += [a.value, None]
    for record in needed:
        operands += [record, ()]
    return operands


def layer(
    kernel: Callable[..., Any], ndim: int, operands: Sequence[Any], dtype: np.dtype, **more: Any
) -> da.Array:
    """Return one blockwise layer, of which Dask knows all without calling the kernel."""
    function = kernel
    if isinstance(kernel, BlockKernel) and len(kernel.text) > LONGEST_IN_TASKS:
        function, operands = Given(kernel.name), [shared(kernel), (), *operands]
    result: da.Array = da.blockwise(
        function,
        tuple(range(ndim)),
        *operands,
        token=f"mex-{kernel.__name__}",
        dtype=dtype,
        # Zeros, for a 0-d meta has an element, which is part of the token.
        meta=np.zeros((0,) * ndim, dtype),
        align_arrays=False,
        **more,
    )
    return result


@dataclass(frozen=True, slots=True)
class Given:
    """Runs the kernel that it is given as its first block."""

    name: str

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, kernel: Any, *blocks: Any) -> Any:
        """Return what the kernel gives."""
        run: BlockKernel = np.asarray(kernel, object).item()
        return run(*blocks)


@dataclass(frozen=True)
class Holder:
    """A kernel as an array without dimensions, with the kernel's own token."""

    kernel: BlockKernel
    shape: tuple[int, ...] = ()
    ndim: int = 0
    dtype: np.dtype = np.dtype(object)

    def __getitem__(self, index: tuple[()]) -> Any:
        """Return the array's one element in an array of its own."""
        element = np.empty((), object)
        element[()] = self.kernel
        return element

    def __dask_tokenize__(self) -> tuple[object, ...]:
        return "mexdask.Holder", *self.kernel.__dask_tokenize__()


def shared(kernel: BlockKernel) -> da.Array:
    """Return a kernel as a Dask array, so that a worker gets its text once."""
    meta = np.zeros((), object)
    array: da.Array = da.from_array(Holder(kernel), chunks=(), asarray=False, meta=meta)
    return array


def elementwise(
    kernel: BlockKernel,
    dtypes: Sequence[np.dtype],
    own: Sequence[Argument],
    needed: Sequence[da.Array],
    alignment: Alignment,
) -> tuple[da.Array, ...]:
    """Return the layers of a stage that gives one value per element."""
    ndim, operands = len(alignment.chunks), blocks(own, needed, alignment)
    return taken_apart(kernel, ndim, operands, dtypes)


def taken_apart(
    kernel: BlockKernel, ndim: int, operands: Sequence[Any], dtypes: Sequence[np.dtype]
) -> tuple[da.Array, ...]:
    """Return the results of one layer; several are taken out of a layer of tuples."""
    if len(dtypes) == 1:
        return (layer(kernel, ndim, operands, dtypes[0]),)
    together = layer(kernel, ndim, operands, np.dtype(object))
    index = tuple(range(ndim))
    return tuple(
        layer(Item(kernel.name, n), ndim, [together, index], dtype)
        for n, dtype in enumerate(dtypes)
    )


@dataclass(frozen=True, slots=True)
class Item:
    """Takes one result out of a block of several."""

    name: str
    number: int

    @property
    def __name__(self) -> str:
        return f"{self.name}-{self.number}"

    def __call__(self, block: tuple[Any, ...]) -> Any:
        """Return the result."""
        return block[self.number]


def reduced(
    kernel: BlockKernel,
    stage: Stage,
    own: Sequence[Argument],
    needed: Sequence[da.Array],
    alignment: Alignment,
) -> da.Array:
    """Return the results of a reducing stage as one record, shape ``()``."""
    ndim, operands = len(alignment.chunks), blocks(own, needed, alignment)
    merge, finish = merge_of(stage.function), merge_of(stage.function, finishes=True)
    names = [r.name for r in stage.function.reductions]
    dtype = record_dtype(names, stage.function.results)
    single = dict.fromkeys(range(ndim), 1)
    partials = layer(kernel, ndim, operands, dtype, adjust_chunks=single)
    if not ndim:
        return layer(finish, 0, [partials, ()], dtype)
    record: da.Array = da.reduction(
        partials,
        chunk=unchanged,
        combine=merge,
        aggregate=finish,
        name=f"mex-{kernel.name}-reduce",
        dtype=dtype,
        concatenate=True,
    )
    return record


def unchanged(
    records: Any, axis: Any = None, keepdims: bool = True, computing_meta: bool = False
) -> Any:
    """Return a block's partial results as they are; the other parameters are Dask's."""
    return records


def once(
    kernel: BlockKernel,
    dtypes: Sequence[np.dtype],
    own: Sequence[Argument],
    needed: Sequence[da.Array],
) -> tuple[da.Array, ...]:
    """Return the layers of a stage that depends on no element."""
    operands: list[Any] = [None, None]
    for a in own:
        operands += [a.value, None]
    for record in needed:
        operands += [record, ()]
    return taken_apart(kernel, 0, operands, dtypes)
