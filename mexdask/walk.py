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


def walk_of(arrays: Sequence[Array], shape: Shape) -> Walk | None:
    """Return the order for some arrays that broadcast to a shape, None where C order is as good.

    Results lie in memory as their inputs do, as NumPy's ``order="K"`` has it.
    """
    if len(shape) < 2 or all(a.flags.c_contiguous and a.shape == shape for a in arrays):
        return None
    strides = [broadcast_strides(a, shape) for a in arrays]
    steps = [sum(abs(s[axis]) for s in strides) for axis in range(len(shape))]
    layout = sorted(range(len(shape)), key=lambda axis: -steps[axis] if shape[axis] > 1 else -1e99)
    inner, length = len(layout) - 1, shape[layout[-1]]
    while inner and all(s[layout[inner - 1]] == s[layout[-1]] * length for s in strides):
        inner -= 1
        length *= shape[layout[inner]]
    axes = layout
    longest = max(layout[:inner], key=lambda axis: shape[axis], default=layout[-1])
    if length < SHORTEST_LINE and shape[longest] > length:
        axes = [axis for axis in layout if axis != longest] + [longest]
    if axes == sorted(axes):
        return None
    return Walk(tuple(layout), tuple(axes))


def laid_out(shape: Shape, dtype: np.dtype, layout: Shape) -> Array:
    """Return an array whose elements are not set, and whose axes lie in memory as wanted."""
    plain = buffers.empty(tuple(shape[axis] for axis in layout), dtype)
    return plain.transpose(np.argsort(layout))


def broadcast_strides(array: Array, shape: Shape) -> Shape:
    """Return the byte strides with which an array is read as if it had ``shape``."""
    if array.shape == shape:
        return array.strides
    missing = len(shape) - array.ndim
    own = zip(array.shape, array.strides, shape[missing:], strict=True)
    return (0,) * missing + tuple(0 if n == 1 and m != 1 else s for n, s, m in own)
