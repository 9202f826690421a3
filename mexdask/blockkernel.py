"""What travels to the workers: a kernel's text, the types it was promised, its settings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np

from mexdask import chunk
from mexdask.chunk import Array, Place, Shape
from mexdask.errors import BlockError, SourceText
from mexdask.settings import KernelSettings
from mexdask.specialise import Specialisation, specialise


@dataclass(frozen=True, slots=True)
class BlockKernel:
    """A kernel for the blocks of one call; small, and one object per process once unpickled.

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
        Name of the dtype that the result is cast to; empty for the kernel's own.
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
    settings: KernelSettings

    def __reduce__(self) -> tuple[Callable[..., BlockKernel], tuple[Any, ...]]:
        *own, settings = (getattr(self, field.name) for field in fields(self))
        return interned, (*own, *astuple(settings))

    def __dask_tokenize__(self) -> tuple[object, ...]:
        # Neither jit nor the place in the user's file changes the answer.
        return (
            "mexdask.BlockKernel", self.text, self.name, self.given, self.signature, self.patterns,
            self.result, self.settings.while_max_iters, self.settings.on_error,
        )  # fmt: skip

    @property
    def __name__(self) -> str:
        return self.name

    def specialisation(self) -> Specialisation:
        """Return the kernel lowered for its signature, from memory if it is there."""
        source = SourceText(
            self.text, self.name, self.origin, self.first_line, self.margin, self.pieces
        )
        return specialise(source, frozenset(self.given), self.signature, self.result)

    def __call__(self, place: tuple[Shape, ...] | None, *blocks: Any) -> Array:
        """Compute one block.

        Parameters
        ----------
        place : tuple or None
            The fields of the block's ``chunk.Place``; None where Dask does not know sizes.
        *blocks
            One for each parameter: NumPy arrays, scalars as they were given.

        Raises
        ------
        BlockError
            If a block is not what was promised when the graph was built.
        """
        kernel = self.specialisation()
        known = None if place is None else Place(*place)
        shape = self.checked_shape(kernel, known, blocks)
        arguments = [
            np.asarray(block) if t.is_array else np.asarray(block, parameter.var.dtype)
            for parameter, t, block in zip(
                kernel.function.params, kernel.types, blocks, strict=True
            )
        ]
        return chunk.run(kernel, arguments, shape, known, self.settings)

    def checked_shape(
        self, kernel: Specialisation, place: Place | None, blocks: Sequence[Any]
    ) -> Shape:
        """Return the shape of the result once every block is of the promised dtype and shape."""
        arrays = [
            (parameter.var, block, pattern)
            for parameter, t, block, pattern in zip(
                kernel.function.params, kernel.types, blocks, self.patterns, strict=True
            )
            if t.is_array
        ]
        for var, block, pattern in arrays:
            if complaint := wrong_kind(block, var.dtype, len(pattern)):
                raise self.block_error(var.name, place, complaint)
        if place is None:
            shape = common_shape([block.shape for _, block, _ in arrays])
        else:
            shape = place.shape
        for var, block, pattern in arrays:
            sizes = shape[len(shape) - len(pattern) :]
            promised = tuple([1 if c == "1" else n for c, n in zip(pattern, sizes, strict=True)])
            if block.shape != promised:
                complaint = f"has shape {block.shape}, {promised} was promised"
                raise self.block_error(var.name, place, complaint)
        return shape

    def block_error(self, name: str, place: Place | None, complaint: str) -> BlockError:
        """Return the exception for one wrong block."""
        where = "of unknown place" if place is None else f"at {place.offset}"
        return BlockError(f"kernel {self.name!r}: the block of {name!r} {where} {complaint}")


def wrong_kind(block: Any, dtype: np.dtype, ndim: int) -> str:
    """Return in words why a block cannot be read at all; nothing if it can."""
    if not isinstance(block, (np.ndarray, np.generic)) or isinstance(block, np.ma.MaskedArray):
        return f"is a {type(block).__name__}, not a NumPy array"
    if block.dtype.newbyteorder("=") != dtype:
        return f"has dtype {block.dtype}, {dtype} was promised"
    if block.ndim != ndim:
        return f"has {block.ndim} dimensions, {ndim} were promised"
    return ""


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
    *settings: Any,
) -> BlockKernel:
    """Return the one object of this process that has these fields, those of its settings last."""
    source = (text, name, origin, first_line, margin, pieces)
    return BlockKernel(*source, given, signature, patterns, result, KernelSettings(*settings))
