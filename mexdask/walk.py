"""The order in which a chunk's elements are computed: as they lie in memory, in long lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mexdask import buffers

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

SHORTEST_LINE = 16
"""Elements that native code computes at once; shorter lines leave lanes idle."""


class Walk(NamedTuple):
    """An order of a chunk's axes, outermost first: of the results in memory, and on the way."""

    layout: Shape
    axes: Shape


def walk_of(arrays: Sequence[Array], shape: Shape, *, may_join: bool) -> Walk | None:
    """Return an order for some arrays that broadcast to a shape, None where C order is as good.

    Results lie in memory as their inputs do, as NumPy's ``order="K"`` has it.

    Parameters
    ----------
    arrays : sequence of numpy.ndarray
        The inputs.
    shape : tuple of int
        At least two axes.
    may_join : bool
        Whether axes that lie one after the other may be one line.
    """
    if (may_join or shape[-1] >= SHORTEST_LINE) and all(
        a.flags.c_contiguous and a.shape == shape for a in arrays
    ):
        return None
    strides = [broadcast_strides(a, shape) for a in arrays]
    steps = [sum(abs(s[axis]) for s in strides) for axis in range(len(shape))]
    layout = sorted(range(len(shape)), key=lambda axis: -steps[axis] if shape[axis] > 1 else -1e99)
    joined, length = line(strides, shape, layout) if may_join else (1, shape[layout[-1]])
    axes = layout
    longest = max(layout[:-joined], key=lambda axis: shape[axis], default=layout[-1])
    if length < SHORTEST_LINE and shape[longest] > length:
        axes = [axis for axis in layout if axis != longest] + [longest]
    if axes == sorted(axes):
        return None
    return Walk(tuple(layout), tuple(axes))


def in_long_lines(array: Array, shape: Shape) -> Array:
    """Return an array of a shape as it is, or a copy where its lines in C order are too short."""
    if array.shape != shape or array.flags.c_contiguous:
        return array
    _, length = line([array.strides], shape, range(len(shape)))
    return np.ascontiguousarray(array) if length < SHORTEST_LINE else array


def line(strides: Sequence[Shape], shape: Shape, axes: Sequence[int]) -> tuple[int, int]:
    """Return how many of the innermost axes are one line of all arrays, and how long that is."""
    joined, length = 1, shape[axes[-1]]
    for axis in reversed(axes[:-1]):
        if any(s[axis] != s[axes[-1]] * length for s in strides):
            break
        joined += 1
        length *= shape[axis]
    return joined, length


def turned(values: Shape, axes: Shape) -> Shape:
    """Return what belongs to each axis in the order of ``axes``."""
    return tuple([values[axis] for axis in axes])


def laid_out(shape: Shape, dtype: np.dtype, layout: Shape) -> Array:
    """Return an array whose elements are not set, and whose axes lie in memory as wanted."""
    plain = buffers.empty(turned(shape, layout), dtype)
    return plain.transpose(np.argsort(layout))


def broadcast_strides(array: Array, shape: Shape) -> Shape:
    """Return the byte strides with which an array is read as if it had ``shape``."""
    if array.shape == shape:
        return array.strides
    missing = len(shape) - array.ndim
    own = zip(array.shape, array.strides, shape[missing:], strict=True)
    return (0,) * missing + tuple(0 if n == 1 and m != 1 else s for n, s, m in own)
