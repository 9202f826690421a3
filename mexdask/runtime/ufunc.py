"""Native loops as NumPy ufuncs, through NumPy's C API."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

HOMES = ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath")
"""Modules that hold the tables of the C API, NumPy 2's first."""

# Places in the tables of NumPy's C API, which are part of its ABI: they hold as long as it does.
KNOWN_ABIS = (0x01000009, 0x02000000)
GET_ABI_VERSION, FROM_FUNC_AND_DATA = 0, 1
ARGUMENTS = [*[ctypes.c_void_p] * 3, *[ctypes.c_int] * 4, *[ctypes.c_char_p] * 2, ctypes.c_int]
NO_IDENTITY = -1
MOST_OPERANDS = 32
"""What a ufunc may have in the oldest NumPy that mexdask runs on."""

# A ufunc owns none of the memory that it is made from. A kernel's library is not unloaded either.
_pointed_to: list[object] = []


def c_function(table: Any, place: int, result: Any, *arguments: Any) -> Callable[..., Any]:
    """Return a function of a table of NumPy's C API."""
    prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    pointer = prototype(("PyCapsule_GetPointer", ctypes.pythonapi))(table, None)
    address = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_void_p))[place]
    return ctypes.PYFUNCTYPE(result, *arguments)(address)


def ufunc_maker() -> Callable[..., Any] | None:
    """Return ``PyUFunc_FromFuncAndData``, None if this NumPy is not known."""
    for home in HOMES:
        try:
            module: Any = import_module(home)
            version = c_function(module._ARRAY_API, GET_ABI_VERSION, ctypes.c_uint)()
            if version not in KNOWN_ABIS:
                return None
            return c_function(module._UFUNC_API, FROM_FUNC_AND_DATA, ctypes.py_object, *ARGUMENTS)
        except (ImportError, AttributeError, ValueError):  # no such module, table or capsule
            continue
    return None


@functools.cache
def ufunc_of(
    loop: int, inputs: tuple[np.dtype, ...], results: tuple[np.dtype, ...]
) -> Callable[..., Any] | None:
    """Return a native loop as a ufunc for one set of dtypes.

    Parameters
    ----------
    loop : int
        Address of a loop as ``PyUFunc_FromFuncAndData`` takes it.
    inputs, results : tuple of numpy.dtype
        Of its operands.

    Returns
    -------
    callable or None
        A function that gives one array, or a tuple of several; None if this NumPy is not known.

    References
    ----------
    NumPy Reference, "UFunc API".
    """
    operands = [*inputs, *results]
    if len(operands) > MOST_OPERANDS or (make := ufunc_maker()) is None:
        return None
    loops, data = (ctypes.c_void_p * 1)(loop), (ctypes.c_void_p * 1)(None)
    types = ctypes.create_string_buffer(bytes([d.num for d in operands]))
    name = ctypes.create_string_buffer(b"kernel")
    ufunc: Callable[..., Any] = make(
        ctypes.addressof(loops), ctypes.addressof(data), ctypes.addressof(types), 1,
        len(inputs), len(results), NO_IDENTITY, name, name, 0,
    )  # fmt: skip
    _pointed_to.append((loops, data, types, name))
    return ufunc
