"""Kernels on Dask arrays: one blockwise layer, with dtype, meta and the place of every block."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.base import normalize_token
from dask.layers import ArrayBlockwiseDep

from mexdask.arguments import Argument
from mexdask.blockkernel import BlockKernel
from mexdask.errors import ArgumentError

Chunks = tuple[tuple[int, ...], ...]


class Places(ArrayBlockwiseDep):
    """Gives each block its place in the whole array when its task is made, not before."""

    def __init__(self, chunks: Chunks):
        super().__init__(chunks)
        self.known = not any(math.isnan(n) for sizes in chunks for n in sizes)
        self.starts = [(0, *itertools.accumulate(sizes)) for sizes in chunks] if self.known else []

    def __reduce__(self) -> tuple[Callable[[Chunks], Places], tuple[Chunks]]:
        return Places, (self.chunks,)

    def __getitem__(self, index: tuple[int, ...]) -> tuple[tuple[int, ...], ...] | None:
        if not self.known:
            return None
        offset = tuple(starts[i] for i, starts in zip(index, self.starts, strict=True))
        shape = tuple(sizes[i] for i, sizes in zip(index, self.chunks, strict=True))
        return offset, shape, tuple(starts[-1] for starts in self.starts)


normalize_token.register(Places, lambda places: ("mexdask.Places", places.chunks))


@dataclass(frozen=True)
class Aligned:
    """Arguments whose chunks fit together.

    Parameters
    ----------
    values : list
        The arguments in order, arrays rechunked where that was needed.
    chunks : tuple of tuple of int
        Of the result.
    rechunked : dict
        What alignment changed: parameter name to (chunks before, chunks after).
    """

    values: list[Any]
    chunks: Chunks
    rechunked: dict[str, tuple[Chunks, Chunks]]


def align(arguments: Sequence[Argument], mode: str) -> Aligned:
    """Return the arguments with chunks that fit together, as Dask itself aligns them.

    Raises
    ------
    ArgumentError
        If ``mode`` is ``"error"`` and something would have to be rechunked.
    """
    arrays = [a for a in arguments if a.is_array]
    before = [a.value if isinstance(a.value, da.Array) else da.asarray(a.value) for a in arrays]
    pairs = [part for x in before for part in (x, tuple(range(x.ndim))[::-1])]
    sizes, after = da.unify_chunks(*pairs)
    rechunked = {
        a.name: (x.chunks, y.chunks)
        for a, x, y in zip(arrays, before, after, strict=True)
        if isinstance(a.value, da.Array) and x.chunks != y.chunks
    }
    if mode == "error" and rechunked:
        name, (old, new) = next(iter(rechunked.items()))
        raise ArgumentError(
            f"argument {name!r} would be rechunked from {old} to {new}; rechunk it yourself, or "
            'pass align="rechunk"'
        )
    replaced = iter(after)
    values = [next(replaced) if a.is_array else a.value for a in arguments]
    ndim = max(x.ndim for x in before)
    return Aligned(values, tuple(sizes[i] for i in reversed(range(ndim))), rechunked)


def apply_blockwise(kernel: BlockKernel, arguments: Sequence[Argument], aligned: Aligned) -> da.Array:
    """Return the lazy result of a kernel on aligned arguments.

    Parameters
    ----------
    kernel : BlockKernel
        What runs on each block.
    arguments : sequence of Argument
        In the order of the parameters.
    aligned : Aligned
        The same with chunks that fit together.
    """
    indices = tuple(range(len(aligned.chunks)))[::-1]
    operands: list[Any] = [Places(aligned.chunks), indices]
    for argument, value in zip(arguments, aligned.values, strict=True):
        operands += [value, indices[len(indices) - value.ndim :] if argument.is_array else None]
    dtype = kernel.specialisation().dtype
    meta = np.empty((0,) * len(indices), dtype)
    token = f"mex-{kernel.name}"
    return da.blockwise(
        kernel, indices, *operands, dtype=dtype, meta=meta, token=token, align_arrays=False
    )
