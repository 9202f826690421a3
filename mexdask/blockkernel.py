"""What travels to the workers: a kernel's text, the types it was promised, its settings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from mexdask import chunk
from mexdask.chunk import Place
from mexdask.errors import BlockError, SourceText
from mexdask.settings import KernelSettings
from mexdask.specialise import Specialisation, specialise

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class BlockKernel:
    """A kernel for the blocks of one call; small, and one object per process once unpickled.

    Parameters
    ----------
    text, name, origin, first_line
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
    given: tuple[str, ...]
    signature: tuple[str, ...]
    patterns: tuple[str, ...]
    result: str
    settings: KernelSettings

    def __reduce__(self) -> tuple[Callable[..., BlockKernel], tuple[Any, ...]]:
        fields = (getattr(self, name) for name in self.__slots__[:-1])
        return interned, (*fields, *astuple(self.settings))

    def __dask_tokenize__(self) -> tuple[object, ...]:
        # Neither jit nor the place in the user's file changes the answer.
        return (
            "mexdask.BlockKernel", self.text, self.name, self.given, self.signature, self.patterns,
            self.result, self.settings.while_max_iters,
        )  # fmt: skip

    @property
    def __name__(self) -> str:
        return self.name

    def specialisation(self) -> Specialisation:
        """Return the kernel lowered for its signature, from this process's memory if it is there."""
        source = SourceText(self.text, self.name, self.origin, self.first_line)
        return specialise(source, frozenset(self.given), self.signature, self.result)

    def __call__(self, place: Place | None, *blocks: Any) -> Array:
        """Compute one block.

        Raises
        ------
        BlockError
            If a block is not what was promised when the graph was built.
        """
        kernel = self.specialisation()
        arguments = self.checked(kernel, place, blocks)
        shape = np.broadcast_shapes(*(a.shape for a in arguments)) if place is None else place[1]
        known = None if place is None else Place(*place)
        return chunk.run(kernel, arguments, shape, known, self.settings)

    def checked(
        self, kernel: Specialisation, place: Place | None, blocks: Sequence[Any]
    ) -> list[Array]:
        """Return the blocks as arrays, each of the promised dtype and shape."""
        arguments = []
        parameters = zip(kernel.function.params, kernel.types, blocks, self.patterns, strict=True)
        for parameter, t, block, pattern in parameters:
            if not t.is_array:
                arguments.append(np.asarray(block, parameter.var.dtype))
                continue
            complaint = wrong(block, parameter.var.dtype, pattern, place)
            if complaint:
                where = "of unknown place" if place is None else f"at {tuple(place[0])}"
                raise BlockError(
                    f"kernel {self.name!r}: the block of {parameter.var.name!r} {where} {complaint}"
                )
            arguments.append(np.asarray(block))
        return arguments


def wrong(block: Any, dtype: np.dtype, pattern: str, place: Place | None) -> str:
    """Return what is wrong with a block, in words; nothing if it is what was promised."""
    if not isinstance(block, (np.ndarray, np.generic)) or isinstance(block, np.ma.MaskedArray):
        return f"is a {type(block).__name__}, not a NumPy array"
    if block.dtype.newbyteorder("=") != dtype:
        return f"has dtype {block.dtype}, {dtype} was promised"
    if block.ndim != len(pattern):
        return f"has {block.ndim} dimensions, {len(pattern)} were promised"
    if place is None:
        return ""
    promised = tuple(
        1 if letter == "1" else n
        for letter, n in zip(pattern, place[1][len(place[1]) - len(pattern) :], strict=True)
    )
    return "" if block.shape == promised else f"has shape {block.shape}, {promised} was promised"


@functools.lru_cache(maxsize=4096)
def interned(*fields: Any) -> BlockKernel:
    """Return the one object of this process that has these fields."""
    own = len(BlockKernel.__slots__) - 1
    return BlockKernel(*fields[:own], KernelSettings(*fields[own:]))
