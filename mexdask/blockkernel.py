"""What travels to the workers: a kernel's text, the types it was promised, its settings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any

import numpy as np

from mexdask import chunk, ir, reductions
from mexdask.chunk import Array, Place, Shape
from mexdask.errors import BlockError, SourceText
from mexdask.settings import KernelSettings
from mexdask.specialise import Specialisation, Stage, specialise


@dataclass(frozen=True)
class BlockKernel:
    """A stage of a kernel for the blocks of one call; one object per process once unpickled.

    Parameters
    ----------
    text, name, origin, first_line, margin, pieces
        The fields of its ``SourceText``.
    given : tuple of str
        Names that the call bound in an expression.
    signature : tuple of str
        Types of the parameters, by ``specialise.type_text``.
    patterns : tuple of str
        For each parameter one letter per dimension: ``"1"`` where the whole array has length 1,
        else ``"n"``; scalars have none.
    result : str
        Name of the dtype that the results are cast to; empty for the kernel's own.
    ndim : int or None
        Dimensions of the whole array, for kernels with index symbols.
    number : int
        Which of the kernel's stages.
    settings : KernelSettings
        As they were when the call was made.
    """

    text: str
    name: str
    origin: str
    first_line: int
    margin: int
    pieces: tuple[tuple[int, str, int, int], ...]
    given: tuple[str, ...]
    signature: tuple[str, ...]
    patterns: tuple[str, ...]
    result: str
    ndim: int | None
    number: int
    settings: KernelSettings

    def __reduce__(self) -> tuple[Callable[..., BlockKernel], tuple[Any, ...]]:
        *own, settings = (getattr(self, field.name) for field in fields(self))
        return interned, (*own, *astuple(settings))

    def __dask_tokenize__(self) -> tuple[object, ...]:
        # Neither jit nor the place in the user's file changes the answer.
        return (
            "mexdask.BlockKernel", self.text, self.name, self.given, self.signature, self.patterns,
            self.result, self.ndim, self.number, self.settings.while_max_iters,
            self.settings.on_error,
        )  # fmt: skip

    @property
    def __name__(self) -> str:
        return self.name

    def specialisation(self) -> Specialisation:
        """Return the kernel lowered for its signature, from memory if it is there."""
        source = SourceText(
            self.text, self.name, self.origin, self.first_line, self.margin, self.pieces
        )
        return specialise(source, frozenset(self.given), self.signature, self.result, self.ndim)

    def stage(self, number: int) -> BlockKernel:
        """Return the same for another stage of the kernel."""
        return replace(self, number=number)

    def __call__(self, place: Place | None, *blocks: Any) -> Any:
        """Compute one block.

        Parameters
        ----------
        place : Place or None
            Of the block; None where Dask does not know sizes.
        *blocks
            One for each of the stage's own parameters (NumPy arrays, scalars as they were given),
            then the results of each reducing stage that it needs, as `Merge` finished them.

        Returns
        -------
        numpy.ndarray or tuple of numpy.ndarray
            The result or the results; of a reducing stage its record of partial results, with one
            element.

        Raises
        ------
        BlockError
            If a block is not what was promised when the graph was built.
        """
        made = self.prepared
        if made.is_plain and place is not None:
            small = made.stage.run_small(place.shape, blocks, self.settings, False)
            if small is not None:
                return small
        shape = self.shape_of(blocks) if place is None else place.shape
        arguments = [
            block if one.is_promised(block, shape) else self.checked(one, block, shape, place)
            for one, block in zip(made.own, blocks, strict=False)
        ]
        if made.reduced:
            arguments += made.reduced_values(blocks[len(made.own) :])
        if made.is_once:
            outs = chunk.run_once(made.stage, arguments, self.settings)
        else:
            outs = chunk.run(made.stage, arguments, shape, place, self.settings)
        if made.stage.function.reductions:
            return outs[0].reshape((1,) * len(shape))
        return outs[0] if len(outs) == 1 else outs

    @functools.cached_property
    def prepared(self) -> Prepared:
        """Return what every block needs to know; it stays in this process."""
        kernel = self.specialisation()
        stage = kernel.stages[self.number]
        patterns = dict(zip(kernel.parsed.parameters, self.patterns, strict=True))
        own = [
            Expected(p.var.name, p.var.dtype, p.is_array, patterns[p.var.name])
            for p in own_params(stage.function)
        ]
        alike = len({one.pattern for one in own}) == 1 and "1" not in own[0].pattern
        return Prepared(
            stage,
            own,
            [p.var.name for p in stage.function.params[len(own) :]],
            [kernel.stages[k].function for k in needed_stages(kernel, self.number)],
            kernel.is_scalar and stage is kernel.result,
            stage.is_simple and alike,
        )

    def shape_of(self, blocks: Sequence[Any]) -> Shape:
        """Return the shape that blocks of unknown place ask for."""
        arrays = [(e, b) for e, b in zip(self.prepared.own, blocks, strict=False) if e.is_array]
        for one, block in arrays:
            if complaint := one.wrong_kind(block):
                raise self.block_error(one.name, None, complaint)
        return common_shape([block.shape for _, block in arrays]) if arrays else ()

    def checked(self, one: Expected, block: Any, shape: Shape, place: Place | None) -> Array:
        """Return a block as an array once it is found to be what was promised."""
        complaint = one.wrong_kind(block) or one.wrong_shape(block, shape)
        if complaint:
            raise self.block_error(one.name, place, complaint)
        return np.asarray(block) if one.is_array else np.asarray(block, one.dtype)

    def block_error(self, name: str, place: Place | None, complaint: str) -> BlockError:
        """Return the exception for one wrong block."""
        where = "of unknown place" if place is None else f"at {place.offset}"
        return BlockError(f"kernel {self.name!r}: the block of {name!r} {where} {complaint}")


def own_params(function: ir.Function) -> list[ir.Param]:
    """Return the parameters of a stage that are the kernel's own, not results of reductions."""
    return [p for p in function.params if not p.var.name.startswith("%")]


def needed_stages(kernel: Specialisation, number: int) -> list[int]:
    """Return the numbers of the reducing stages whose results a stage takes."""
    wanted = {p.var for p in kernel.stages[number].function.params}
    return [
        k
        for k, stage in enumerate(kernel.stages[:number])
        if any(r.result in wanted for r in stage.function.reductions)
    ]


def reduced_values(function: ir.Function, record: Array) -> dict[str, Array]:
    """Return the results of a reducing stage, shape ``()`` each, by the name of their variable."""
    return {r.result.name: record[f"result{k}"] for k, r in enumerate(function.reductions)}


@dataclass(frozen=True, slots=True)
class Expected:
    """What a parameter's block must be: its dtype, and its shape by the letters of `pattern`."""

    name: str
    dtype: np.dtype
    is_array: bool
    pattern: str

    def is_promised(self, block: Any, shape: Shape) -> bool:
        """Tell at a glance that a block is right as it is; if not, a closer look is needed."""
        return (
            type(block) is np.ndarray
            and block.dtype == self.dtype
            and block.shape == shape
            and "1" not in self.pattern
            and len(self.pattern) == len(shape)
            and self.is_array
        )

    def wrong_kind(self, block: Any) -> str:
        """Return in words why a block cannot be read at all; nothing if it can."""
        if not self.is_array:
            if np.ndim(block) == 0 and np.asarray(block).dtype.kind in "biufc":
                return ""
            return f"is a {type(block).__name__}, not a number"
        if not isinstance(block, (np.ndarray, np.generic)) or isinstance(block, np.ma.MaskedArray):
            return f"is a {type(block).__name__}, not a NumPy array"
        if block.dtype.newbyteorder("=") != self.dtype:
            return f"has dtype {block.dtype}, {self.dtype} was promised"
        if block.ndim != len(self.pattern):
            return f"has {block.ndim} dimensions, {len(self.pattern)} were promised"
        return ""

    def wrong_shape(self, block: Any, shape: Shape) -> str:
        """Return in words why a block of the right kind does not fit into the result."""
        sizes = shape[len(shape) - len(self.pattern) :] if self.is_array else ()
        promised = tuple([1 if c == "1" else n for c, n in zip(self.pattern, sizes, strict=True)])
        if not self.is_array or block.shape == promised:
            return ""
        return f"has shape {block.shape}, {promised} was promised"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a `BlockKernel` needs for every block.

    ``reduced`` names the parameters that are results of ``reducing`` functions; ``is_once`` tells
    that the stage depends on no element, ``is_plain`` that it is simple and no block is broadcast.
    """

    stage: Stage
    own: list[Expected]
    reduced: list[str]
    reducing: list[ir.Function]
    is_once: bool
    is_plain: bool

    def reduced_values(self, records: Sequence[Array]) -> list[Array]:
        """Return the arguments that are results of reductions, from records of them."""
        values: dict[str, Array] = {}
        for function, record in zip(self.reducing, records, strict=True):
            values |= reduced_values(function, record)
        return [np.asarray(values[name]) for name in self.reduced]


def common_shape(shapes: Sequence[Shape]) -> Shape:
    """Return the shape that blocks of unknown place ask for: the first size that is not 1."""
    sizes: dict[int, int] = {}
    for shape in shapes:
        for axis, n in enumerate(shape, -len(shape)):
            if n != 1:
                sizes.setdefault(axis, n)
    return tuple(sizes.get(axis, 1) for axis in range(-max(map(len, shapes)), 0))


@functools.lru_cache(maxsize=4096)
def interned(
    text: str,
    name: str,
    origin: str,
    first_line: int,
    margin: int,
    pieces: tuple[tuple[int, str, int, int], ...],
    given: tuple[str, ...],
    signature: tuple[str, ...],
    patterns: tuple[str, ...],
    result: str,
    ndim: int | None,
    number: int,
    *settings: Any,
) -> BlockKernel:
    """Return the one object of this process that has these fields, those of its settings last."""
    source = (text, name, origin, first_line, margin, pieces)
    own = (given, signature, patterns, result, ndim, number)
    return BlockKernel(*source, *own, KernelSettings(*settings))


@dataclass(frozen=True, slots=True)
class Merge:
    """Merges partial results of blocks; the last merger finishes them.

    Parameters
    ----------
    names : tuple of str
        The reductions, in the order of the record's fields.
    finishes : bool
        Whether the results are wanted.
    """

    names: tuple[str, ...]
    finishes: bool = False

    @property
    def __name__(self) -> str:
        return "-".join(self.names)

    def __call__(
        self,
        records: Array,
        axis: Any = None,
        keepdims: bool = True,
        computing_meta: bool = False,
    ) -> Array:
        """Return one record, with as many dimensions as before unless it has the results.

        The other parameters are Dask's, which calls it at graph time too, without any record.
        """
        if not records.size:
            return np.zeros(() if self.finishes else (0,) * records.ndim, records.dtype)
        whole = reductions.merged(self.names, records)
        if not self.finishes:
            return whole.reshape((1,) * records.ndim)
        reductions.finish(self.names, whole)
        return whole


def merge_of(function: ir.Function, *, finishes: bool = False) -> Merge:
    """Return what merges the partial results of a reducing stage."""
    return Merge(tuple(r.name for r in function.reductions), finishes)
