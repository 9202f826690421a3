"""Small chunks of simple kernels: what a task costs beside its kernel shows there."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mexdask import buffers
from mexdask.backend.cabi import flat_packer
from mexdask.runtime import stats
from mexdask.runtime.dispatch import ENVIRON, JIT_CFLAGS, JIT_SWITCH, Unit
from mexdask.runtime.load import LoadedKernel
from mexdask.runtime.memory import KERNELS
from mexdask.runtime.ufunc import ufunc_of
from mexdask.settings import KernelSettings
from mexdask.slabs import STRAIGHT_SLAB

SMALL = 1 << 14
"""Elements up to which what a call costs beside its kernel shows."""

SmallRunner = Callable[[tuple[int, ...], Sequence[Any], KernelSettings, bool], Any]
"""Takes a chunk's shape, its blocks, the call's settings, and whether somebody has looked already
that the blocks are arrays of that shape and of the kernel's dtypes; gives what the kernel gives,
None where the chunk is not small, its blocks are something else, or its kernel is not at hand."""


def nothing_at_hand(
    shape: tuple[int, ...], blocks: Sequence[Any], settings: KernelSettings, are_checked: bool
) -> None:
    """Run nothing, for a kernel that no chunk has asked for yet."""


def small_runner(unit: Unit) -> SmallRunner:
    """Return what runs small chunks of a simple function as the last lookup in memory found it.

    Between a scheduler's steps nothing of ours is in the processor's caches, so that each Python
    function and each object that a chunk touches costs more than what it does. Hence one function
    with all it needs in reach: half of the time of the same in functions of their own.
    """
    known, under, digest = unit.at_hand
    loaded, environ, switch, cflags = KERNELS.by_digest, ENVIRON, JIT_SWITCH, JIT_CFLAGS
    if (kernel := KERNELS.loaded(digest)) is None:
        return nothing_at_hand
    ufunc = as_ufunc(unit, kernel)
    compute = ufunc or as_flat_call(unit, kernel)
    # A ufunc takes as many as one native call would, unless memory that is kept is better for them.
    largest = max([dtype.itemsize for dtype in unit.function.results])
    most = min(STRAIGHT_SLAB, buffers.SMALLEST // largest) if ufunc else SMALL
    dtypes = [p.var.dtype for p in unit.function.params]
    times, keep = stats.small_chunks(unit.name), stats.SMALL_CHUNKS_KEPT
    clock, ndarray = time.perf_counter, np.ndarray

    def run(
        shape: tuple[int, ...], blocks: Sequence[Any], settings: KernelSettings, are_checked: bool
    ) -> Any:
        if not (shape and settings is known and digest in loaded):
            return None
        if (environ.get(switch), environ.get(cflags)) != under:
            return None
        if not are_checked:
            for block, dtype in zip(blocks, dtypes, strict=True):
                if type(block) is not ndarray or block.shape != shape:
                    return None
                if block.dtype is not dtype and block.dtype != dtype:
                    return None
        # NumPy calls a ufunc's loop for each short row of other arrays, which `walk` joins.
        size = blocks[0].size
        if size >= most or (size >= SMALL and not are_contiguous(blocks)):
            return None
        start = clock()
        if (out := compute(*blocks)) is None:
            return None
        times.append(clock() - start)
        if len(times) > keep:
            stats.settle_small_chunks()
        return out

    return run


def are_contiguous(blocks: Sequence[Any]) -> bool:
    """Tell whether arrays are contiguous in C order."""
    return all(block.flags.c_contiguous for block in blocks)


def as_ufunc(unit: Unit, kernel: LoadedKernel) -> Callable[..., Any] | None:
    """Return a kernel as a ufunc, if it has a loop for one."""
    if kernel.ufunc_loop is None:
        return None
    function = unit.function
    inputs = tuple([p.var.dtype for p in function.params])
    return ufunc_of(kernel.ufunc_loop, inputs, tuple(function.results))


def as_flat_call(unit: Unit, kernel: LoadedKernel) -> Callable[..., Any]:
    """Return what runs a kernel on contiguous arrays and gives None for others."""
    strides = [p.var.dtype.itemsize for p in unit.function.params]
    results = [(dtype, dtype.itemsize) for dtype in unit.function.results]
    call, pack = kernel.call, flat_packer(len(strides) + len(results))
    addressof, buffer_of = ctypes.addressof, ctypes.c_char.from_buffer

    def compute(*blocks: Any) -> Any:
        size = blocks[0].size
        words = [1, 0, 0, 0, size, 0, size, 0]
        try:
            for block, stride in zip(blocks, strides, strict=True):
                if (address := addressof(buffer_of(block))) % stride:
                    return None
                words += address, stride
        except (TypeError, ValueError, BufferError):  # read-only, empty or not contiguous
            return None
        outs = tuple([np.empty(blocks[0].shape, dtype) for dtype, _ in results])
        for out, (_, stride) in zip(outs, results, strict=True):
            words += addressof(buffer_of(out)), stride  # type: ignore[arg-type]
        call(pack(*words))
        return outs[0] if len(outs) == 1 else outs

    return compute
