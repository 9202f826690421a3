"""Memory for large results, used again once nobody holds the result that was in it.

The system gives large arrays fresh pages and takes them back with the array. To make a page takes
longer than to fill it, so that a chain of chunks spends half its time there.
"""

from __future__ import annotations

import math
import mmap
from collections import deque
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SMALLEST = 1 << 25
"""Bytes below which the C library itself keeps memory."""
MOST_KEPT = 1 << 28
"""Bytes of memory without a result that one process keeps at most."""

_free: deque[mmap.mmap] = deque()


class Lease:
    """What an array in borrowed memory, and every view of it, holds on to."""

    __slots__ = ("__array_interface__", "block")

    def __init__(self, block: mmap.mmap, shape: tuple[int, ...], dtype: np.dtype):
        self.block = block
        plain = np.frombuffer(block, dtype, math.prod(shape)).reshape(shape)
        self.__array_interface__ = plain.__array_interface__

    def __del__(self) -> None:
        # No locks here: the collector may run this in any thread, in the midst of anything.
        if len(self.block) > MOST_KEPT:
            return
        if hasattr(mmap, "MADV_FREE"):
            self.block.madvise(mmap.MADV_FREE)  # the system's own, should it run short
        _free.append(self.block)
        while sum(map(len, list(_free))) > MOST_KEPT:
            _free.popleft()


def empty(shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Return an array whose elements are not set, as ``numpy.empty`` does.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    dtype : numpy.dtype
        Of its elements.
    """
    size = math.prod(shape) * dtype.itemsize
    if size < SMALLEST or not hasattr(mmap, "MAP_PRIVATE"):
        return np.empty(shape, dtype)
    return np.asarray(Lease(borrowed(size), shape, dtype))


def borrowed(size: int) -> mmap.mmap:
    """Return memory of at least ``size`` bytes and not much more: kept, or new from the system."""
    for _ in range(len(_free)):
        try:
            block = _free.popleft()
        except IndexError:  # another thread was quicker
            break
        if size <= len(block) <= size + size // 4:
            return block
        _free.append(block)
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    return block
