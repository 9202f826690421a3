"""The native entry point: its C text, and the same layout as Python packs it.

``int32_t me_k_<key>(const me_call *)`` returns 0, or 1 + the ordinal of the site that failed. A
call is one block of 8-byte words: a header, then for ``ndim`` dimensions the block's shape, its
offset in the whole array, the whole array's shape and which axis of the array each dimension of the
block is, then for each array (inputs, then outputs) its address and byte strides, then the scalars,
each in the low bytes of a word.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from array import array
from collections.abc import Callable, Sequence

ABI_VERSION = 1
MAX_NDIM = 64
ENTRY_ARGTYPES = [ctypes.c_char_p]
ENTRY_RESTYPE = ctypes.c_int32

CALL_STRUCT = """\
typedef struct {
    i64 ndim;
    i64 limit;
    i64 tolerant;
    i64 *error;
    i64 words[];
} me_call;
"""


class ErrorPlace(ctypes.Structure):
    """Where native code writes the flat index of the element that failed, or how many did.

    A tolerant call gives nan for elements that fail, counts them and goes on.
    """

    _fields_ = [("index", ctypes.c_int64), ("count", ctypes.c_int64)]


def pack_call(
    shape: tuple[int, ...],
    offset: tuple[int, ...],
    whole: tuple[int, ...],
    axes: Sequence[int],
    limit: int,
    tolerant: bool,
    error: ErrorPlace | None,
    operands: Sequence[tuple[int, tuple[int, ...]]],
    scalars: bytes,
) -> bytes:
    """Return the words of one call.

    Parameters
    ----------
    shape : tuple of int
        Of the block, outermost dimension first.
    offset, whole : tuple of int
        Of the block's first element in the whole array, and of that, by its axes.
    axes : sequence of int
        The axis of the whole array that each dimension of the block is.
    limit : int
        The largest number of iterations of one ``while``.
    tolerant : bool
        Whether elements that fail become nan.
    error : ErrorPlace or None
        Kept alive by the caller until the call has returned; None for code that cannot fail.
    operands : sequence of (address, strides)
        Input arrays, then outputs; strides in bytes, one for each dimension of the block.
    scalars : bytes
        8 bytes for each scalar parameter.
    """
    address = 0 if error is None else ctypes.addressof(error)
    words = [len(shape), limit, tolerant, address, *shape, *offset, *whole, *axes]
    for address, strides in operands:
        words.append(address)
        words.extend(strides)
    return array("q", words).tobytes() + scalars


@functools.cache
def flat_packer(operands: int) -> Callable[..., bytes]:
    """Return what packs a call on contiguous arrays that cannot fail, seen as one dimension.

    It takes ``1, limit, 0, 0, size, 0, size, 0``, then address and stride of each operand.
    """
    return struct.Struct(f"={8 + 2 * operands}q").pack
