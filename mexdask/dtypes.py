"""The dtypes of the language: what C calls them, and NEP 50's weak Python scalars beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Type = np.dtype | type
"""A strong NumPy dtype, or one of Python's ``bool``, ``int``, ``float``, ``complex`` for weak."""


@dataclass(frozen=True, slots=True)
class DTypeRow:
    """One supported dtype: its NumPy name, its short name in C and the C type it is made from."""

    name: str
    c: str
    c_base: str
    struct: str


ROWS = (
    DTypeRow("bool", "b8", "__UINT8_TYPE__", "?"),
    DTypeRow("int8", "i8", "__INT8_TYPE__", "b"),
    DTypeRow("int16", "i16", "__INT16_TYPE__", "h"),
    DTypeRow("int32", "i32", "__INT32_TYPE__", "i"),
    DTypeRow("int64", "i64", "__INT64_TYPE__", "q"),
    DTypeRow("uint8", "u8", "__UINT8_TYPE__", "B"),
    DTypeRow("uint16", "u16", "__UINT16_TYPE__", "H"),
    DTypeRow("uint32", "u32", "__UINT32_TYPE__", "I"),
    DTypeRow("uint64", "u64", "__UINT64_TYPE__", "Q"),
    DTypeRow("float32", "f32", "float", "f"),
    DTypeRow("float64", "f64", "double", "d"),
)
NATIVE = {np.dtype(row.name): row for row in ROWS}
COMPLEX = (np.dtype("complex64"), np.dtype("complex128"))
BOOL, INT64, UINT64 = np.dtype("bool"), np.dtype("int64"), np.dtype("uint64")
FLOAT32, FLOAT64 = np.dtype("float32"), np.dtype("float64")

WEAK = (bool, int, float, complex)
HELD = {bool: BOOL, int: INT64, float: FLOAT64, complex: np.dtype("complex128")}
SAMPLE = {bool: BOOL, int: 0, float: 0.0, complex: 0j}

NAMES: dict[Type, str] = {
    **{dtype: dtype.name for dtype in (*NATIVE, *COMPLEX)},
    **{t: f"weak {t.__name__}" for t in WEAK},
}

CONVERSIONS = {
    "f": "convert it with .astype('float32') or .astype('float64')",
    "M": "convert it to a number first, such as x.astype('int64') or the hour or day you need",
    "m": "convert it to a number first, such as x / np.timedelta64(1, 's')",
    "O": "convert it with .astype('float64') if it holds numbers",
    "S": "text cannot enter a kernel; turn it into integer codes first",
    "U": "text cannot enter a kernel; turn it into integer codes first",
    "T": "text cannot enter a kernel; turn it into integer codes first",
    "V": "pass the fields of a structured array one by one, such as x['field']",
    "c": "convert it with .astype('complex128')",
}


def supported(dtype: np.dtype) -> bool:
    """Tell whether values of a dtype may enter a kernel (byte order aside)."""
    native = dtype.newbyteorder("=")
    return native in NATIVE or native in COMPLEX


def conversion_hint(dtype: np.dtype) -> str:
    """Return what to do with an argument whose dtype no kernel takes."""
    return CONVERSIONS.get(dtype.kind, "convert it to a supported dtype with .astype(...)")


def is_weak(t: Type) -> bool:
    """Tell whether a type is one of Python's weak scalars."""
    return isinstance(t, type)


def held(t: Type) -> np.dtype:
    """Return the dtype in which values of a type are held while the kernel runs."""
    return HELD[t] if isinstance(t, type) else t


def weakened(dtype: np.dtype) -> type:
    """Return the Python scalar type that a result held in ``dtype`` would have."""
    return {"b": bool, "i": int, "u": int, "f": float, "c": complex}[dtype.kind]


def join(*types: Type) -> Type:
    """Return the type of a value that may have any of the types: NEP 50, weak rules included."""
    weak = [t for t in types if is_weak(t)]
    strong = [t for t in types if isinstance(t, np.dtype)]
    if not strong:
        return max(weak, key=WEAK.index)
    samples: list[Any] = [SAMPLE[t] for t in weak if isinstance(t, type)]
    return np.result_type(*strong, *samples)


def type_name(t: Type) -> str:
    """Return how a type is called in messages and in IR text."""
    return NAMES.get(t) or str(t)


def kind(t: Type) -> str:
    """Return NumPy's kind letter of the dtype that holds a type."""
    return held(t).kind
