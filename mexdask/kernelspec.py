"""Kernels named by types instead of data: what is to be compiled before there are arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mexdask.blockkernel import BlockKernel
from mexdask.call import Call, Source, called_kernel, with_params
from mexdask.errors import ArgumentError, described

WEAK_CLASSES = (bool, int, float, complex)
EACH = "give a list in which each is (src, dtype, ...), such as ('x + y', 'float64', 'float64')"
# Of an array that stands for a dtype: it broadcasts with every other.
STAND_IN = (1,)


def block_kernel(
    src: Source,
    arguments: Iterable[Any],
    named: Mapping[str, Any],
    params: Mapping[str, Any] | None = None,
    dtype: Any = None,
) -> BlockKernel:
    """Return what would travel to the workers if `apply` were called with arguments of such types.

    Parameters
    ----------
    src : str or function or Kernel
        As for `apply`.
    arguments, named, params
        As for `apply`, with types in place of data where wanted: see `stand_in`.
    dtype : dtype_like, optional
        What the result is cast to.
    """
    given = {name: stand_in(value) for name, value in with_params(named, params).items()}
    arrays = [stand_in(value) for value in arguments]
    call = Call.of(called_kernel(src, given), arrays, given, None, dtype, "rechunk", None)
    if call.ndim is not None and call.shape == STAND_IN:
        raise ArgumentError(
            f"kernel {call.parsed.source.name!r} has index symbols, so that it depends on the "
            "number of dimensions, which a dtype does not say; give an array of the right number, "
            "such as np.empty((2, 2), 'float32')"
        )
    return call.block_kernel()


def block_kernels(kernels: Iterable[Any]) -> tuple[BlockKernel, ...]:
    """Return what would travel for each ``(src, dtype, ...)``.

    Raises
    ------
    ArgumentError
        If one is not such a sequence, beside what `apply` raises.
    """
    if isinstance(kernels, str) or not isinstance(kernels, Iterable):
        raise ArgumentError(f"kernels is {described(type(kernels))}; {EACH}")
    found = []
    for kernel in kernels:
        if not isinstance(kernel, (tuple, list)) or not kernel:
            raise ArgumentError(f"kernels holds {described(type(kernel))}; {EACH}")
        src, *arguments = kernel
        found.append(block_kernel(src, arguments, {}))
    return tuple(found)


def stand_in(argument: Any) -> Any:
    """Return an argument of the same type: what stands for itself, or one made for a dtype.

    A dtype, its name or a NumPy scalar class stands for an array; Python's own ``bool``, ``int``,
    ``float`` and ``complex`` stand for a scalar of theirs.
    """
    if isinstance(argument, type) and argument in WEAK_CLASSES:
        return argument()
    is_class = isinstance(argument, type) and issubclass(argument, np.generic)
    if is_class or isinstance(argument, (np.dtype, str)):
        try:
            return np.empty(STAND_IN, np.dtype(argument))
        except TypeError:
            raise ArgumentError(
                f"{argument!r} is not a dtype; give one such as 'float64', or int, float or bool "
                "for a Python scalar"
            ) from None
    return argument
