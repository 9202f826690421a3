"""Pieces of a chunk for one native call each, so small that Python hears Ctrl-C between them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

Shape = tuple[int, ...]
T = TypeVar("T")

STRAIGHT_SLAB = 1 << 22
"""Elements of a kernel without loops for one call: some nanoseconds each at most."""
FIRST = 1 << 11
"""Elements of the first slab of a kernel with loops, of which nobody knows how long they take."""
SHORTEST, LONGEST = 0.01, 0.1
"""Seconds between which a slab's time should be."""


def slabs(shape: Shape, most: int) -> Iterator[tuple[Shape, Shape]]:
    """Yield start and shape of pieces of at most ``most`` elements, in C order."""
    size, done = math.prod(shape), 0
    while done < size:
        start, part = slab_after(done, shape, most)
        yield start, part
        done += math.prod(part)


def slab_after(done: int, shape: Shape, most: int) -> tuple[Shape, Shape]:
    """Return start and shape of the largest slab that follows so many elements in C order."""
    start, part, inner = [0] * len(shape), [1] * len(shape), 1
    for axis in reversed(range(len(shape))):
        done, start[axis] = divmod(done, shape[axis])
        if inner > 0:
            part[axis] = min(max(1, most // inner), shape[axis] - start[axis])
            # Axes outside one that is cut have one place each.
            inner = inner * part[axis] if part[axis] == shape[axis] else 0
    return tuple(start), tuple(part)


def paced(
    compute: Callable[[Shape, Shape], T | None], shape: Shape, most: int, *, steady: bool
) -> T | None:
    """Compute a shape slab by slab and return what the first that failed returned, or None.

    Parameters
    ----------
    compute : callable
        Takes start and shape of a slab; returns None, or what made it fail.
    shape : tuple of int
        Of the whole.
    most : int
        The most elements of a slab.
    steady : bool
        Whether no element takes long, so that slabs need not begin small.
    """
    size, done, whole = most if steady else min(FIRST, most), 0, math.prod(shape)
    while done < whole:
        start, part = slab_after(done, shape, size)
        begin = time.perf_counter()
        failed = compute(start, part)
        if failed is not None:
            return failed
        seconds, elements = time.perf_counter() - begin, math.prod(part)
        if not steady and seconds < SHORTEST and 2 * elements > size:  # no axis's short end
            size = min(4 * size, most)
        elif not steady and seconds > LONGEST:
            size = max(1, size // 4)
        done += elements
    return None
