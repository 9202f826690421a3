"""Kernels on NumPy arrays: every stage at once, over the whole array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mexdask import chunk, reductions
from mexdask.blockkernel import reduced_values
from mexdask.chunk import WHOLE, Array, Shape
from mexdask.settings import KernelSettings
from mexdask.specialise import Specialisation, Stage


def run(
    kernel: Specialisation, arguments: Mapping[str, Array], shape: Shape, settings: KernelSettings
) -> tuple[Any, ...]:
    """Compute a kernel's results.

    Parameters
    ----------
    kernel : Specialisation
        For the arguments' types.
    arguments : mapping of str to numpy.ndarray
        By parameter, in the parameter's dtype; scalars have shape ``()``.
    shape : tuple of int
        Of the whole array.
    settings : KernelSettings
        Of the call.

    Returns
    -------
    tuple of numpy.ndarray or numpy.generic
        The results; scalars where they have no dimension.
    """
    values = dict(arguments)
    for stage in kernel.stages[:-1]:
        own = [values[p.var.name] for p in stage.function.params]
        (record,) = chunk.run(stage, own, domain(stage, own, shape), WHOLE, settings)
        reductions.finish([r.name for r in stage.function.reductions], record)
        values |= reduced_values(stage.function, record)
    own = [values[p.var.name] for p in kernel.result.function.params]
    if kernel.is_scalar:
        return chunk.run_once(kernel.result, own, settings)
    outs = chunk.run(kernel.result, own, shape, WHOLE, settings, may_share=True)
    return outs if shape else tuple(out[()] for out in outs)


def run_simple(stage: Stage, arrays: Sequence[Array], settings: KernelSettings) -> Any:
    """Compute what a simple stage gives for arrays of its dtypes, all of one shape."""
    shape = arrays[0].shape
    if (small := stage.run_small(shape, arrays, settings, True)) is not None:
        return small
    outs = chunk.run(stage, arrays, shape, WHOLE, settings, may_share=True)
    return outs[0] if len(outs) == 1 else outs


def domain(stage: Stage, arguments: list[Array], shape: Shape) -> Shape:
    """Return the shape that a reducing stage runs over: of what its operands depend on."""
    if stage.function.indices:
        return shape
    pairs = zip(stage.function.params, arguments, strict=True)
    return np.broadcast_shapes(*(a.shape for p, a in pairs if p.is_array))
