"""A call's arguments: bound to parameters, classified, refused by name before anything runs."""

from __future__ import annotations

import difflib
import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mexdask.dtypes import Type, conversion_hint, supported
from mexdask.errors import ArgumentError
from mexdask.frontend.parse import Parsed
from mexdask.specialise import type_text


class Argument(NamedTuple):
    """One bound argument.

    Parameters
    ----------
    name : str
        The parameter.
    value : object
        A NumPy array, a Dask array or a scalar.
    type : dtype or Python type
        Strong or weak.
    is_array : bool
        False for scalars and 0-d NumPy arrays, which travel by value.
    is_dask : bool
        True for Dask arrays.
    """

    name: str
    value: Any
    type: Type
    is_array: bool
    is_dask: bool = False

    @property
    def type_text(self) -> str:
        """Return the argument's type as it stands in signatures."""
        return type_text(self.type, self.is_array)


def bind(parsed: Parsed, arrays: Sequence[Any], named: Mapping[str, Any]) -> list[Argument]:
    """Return the arguments in the order of the parameters.

    Raises
    ------
    ArgumentError
        If one is missing, doubled, unknown, or not something that a kernel takes.
    """
    names = parsed.parameters
    if len(arrays) > len(names):
        raise ArgumentError(
            f"{call_text(parsed)} takes {len(names)} arguments, {len(arrays)} were given"
        )
    values = dict(zip(names, arrays, strict=False))
    for name, value in named.items():
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ArgumentError(f"{call_text(parsed)} has no parameter {name!r}{hint}")
        if name in values:
            raise ArgumentError(f"{call_text(parsed)}: parameter {name!r} is given twice")
        values[name] = value
    if len(values) < len(names):
        values = {**parsed.defaults, **values}
        if missing := [name for name in names if name not in values]:
            raise ArgumentError(f"{call_text(parsed)}: missing {', '.join(map(repr, missing))}")
    return [classify(name, values[name]) for name in names]


def call_text(parsed: Parsed) -> str:
    """Return a kernel's name and parameters as a call of it looks."""
    return f"{parsed.source.name}({', '.join(parsed.parameters)})"


def classify(name: str, value: Any) -> Argument:
    """Return an argument with its type, or raise with its name and what to do."""
    kind = type(value)
    if kind in (bool, int, float, complex):
        if kind is int and not -(2**63) <= value < 2**63:
            raise ArgumentError(
                f"argument {name!r}: {value} does not fit int64; pass np.uint64({value})"
                if 0 <= value < 2**64
                else f"argument {name!r}: {value} does not fit int64; pass a float"
            )
        return Argument(name, value, kind, False)
    if is_dask_array(value):
        return dask_argument(name, value)
    if isinstance(value, np.ma.MaskedArray):
        raise ArgumentError(
            f"argument {name!r} is a masked array; pass x.filled(np.nan), or data and mask apart"
        )
    if not isinstance(value, (np.ndarray, np.generic)):
        raise ArgumentError(f"argument {name!r} is a {described(kind)}: {remedy(value)}")
    return Argument(name, value, checked_dtype(name, value.dtype), value.ndim > 0)


def is_dask_array(value: Any) -> bool:
    """Tell whether a value is a Dask array, without importing Dask for one that is not."""
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(value, module.Array)


def dask_argument(name: str, value: Any) -> Argument:
    """Return a Dask array as argument; its chunks must be NumPy arrays."""
    meta = value._meta
    if type(meta) is not np.ndarray:
        raise ArgumentError(
            f"argument {name!r} is a Dask array of {described(type(meta))} chunks; "
            "convert them first, such as x.map_blocks(np.asarray)"
        )
    return Argument(name, value, checked_dtype(name, value.dtype), True, True)


def checked_dtype(name: str, dtype: np.dtype) -> np.dtype:
    """Return the native form of an argument's dtype, or raise."""
    if (native := native_dtype(dtype)) is None:
        raise ArgumentError(f"argument {name!r} has dtype {dtype}; {conversion_hint(dtype)}")
    return native


@functools.lru_cache(maxsize=256)
def native_dtype(dtype: np.dtype) -> np.dtype | None:
    """Return the one object that stands for a dtype in native byte order, None if no kernel takes it."""
    return np.dtype(f"{dtype.kind}{dtype.itemsize}") if supported(dtype) else None


def described(kind: type) -> str:
    """Return how a type is called in messages."""
    module = kind.__module__.split(".")[0]
    return kind.__name__ if module == "builtins" else f"{module}.{kind.__name__}"


def remedy(value: Any) -> str:
    """Return how to make an array of something that is none."""
    module = type(value).__module__.split(".")[0]
    if module == "xarray":
        return "pass its .data"
    if module in ("pandas", "polars"):
        return "pass x.to_numpy()"
    if module == "dask":
        return "pass a Dask array, such as df['column'].to_dask_array(lengths=True)"
    return "pass a NumPy or Dask array, such as np.asarray(x), or a number"
