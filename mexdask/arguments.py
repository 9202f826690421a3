"""A call's arguments: bound to parameters, classified, refused by name before anything runs."""

from __future__ import annotations

import difflib
import functools
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mexdask.dtypes import Type, conversion_hint, supported
from mexdask.errors import ArgumentError, described, shortened
from mexdask.frontend.hints import NAME_HINTS, near
from mexdask.frontend.parse import Parsed
from mexdask.ops import CONSTANTS
from mexdask.reductions import REDUCTIONS
from mexdask.specialise import Specialisation, type_text

OPTIONS = ("jit", "dtype", "align", "on_error", "params", "shape", "chunks")
"""Keywords of ``apply`` or ``fromkernel``, which parameters of that name cannot be given by."""


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
        True for Dask arrays and Delayed.
    shape_class : int
        The same for arrays of the same shape, in kernels with reductions.
    """

    name: str
    value: Any
    type: Type
    is_array: bool
    is_dask: bool = False
    shape_class: int = 0

    @property
    def type_text(self) -> str:
        """Return the argument's type as it stands in signatures."""
        return type_text(self.type, self.is_array, self.shape_class)


def bind(parsed: Parsed, arrays: Sequence[Any], named: Mapping[str, Any]) -> list[Argument]:
    """Return the arguments in the order of the parameters.

    Raises
    ------
    ArgumentError
        If one is missing, doubled, unknown, or not something that a kernel takes.
    """
    return [classify(name, value) for name, value in bound(parsed, arrays, named).items()]


def bound(parsed: Parsed, arrays: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given for each parameter, in their order; whatever it is."""
    names = parsed.parameters
    if len(arrays) > len(names):
        raise ArgumentError(
            f"{call_text(parsed)} takes {counted(len(names))}, {len(arrays)} were given"
        )
    values = dict(zip(names, arrays, strict=False))
    for given, value in named.items():
        # Python spells identifiers so, in source text and in keywords, but not in dicts.
        name = unicodedata.normalize("NFKC", given) if isinstance(given, str) else str(given)
        if name not in names:
            close = difflib.get_close_matches(name, [*names, *OPTIONS], n=1)
            hint = f"; did you mean {quoted(close[0])}?" if close else ""
            raise ArgumentError(f"{call_text(parsed)} has no parameter {quoted(name)}{hint}")
        if name in values:
            raise ArgumentError(
                f"{call_text(parsed)}: parameter {quoted(name)} is given twice, by position and by "
                "name"
            )
        values[name] = value
    if len(values) < len(names):
        values = {**parsed.defaults, **values}
        if missing := [name for name in names if name not in values]:
            raise ArgumentError(missing_text(parsed, missing))
    return {name: values[name] for name in names}


def missing_text(parsed: Parsed, missing: list[str]) -> str:
    """Return the message for parameters that got no argument."""
    text = f"{call_text(parsed)}: missing {', '.join(map(quoted, missing))}"
    if options := [name for name in missing if name in OPTIONS]:
        return f"{text}; give it as params={{{options[0]!r}: ...}}, it is also an option's name"
    if parsed.is_expression:
        known = [*CONSTANTS, "True", "False", *(n for n in parsed.parameters if n not in missing)]
        hints = [NAME_HINTS.get(name) or near(name, known, "") for name in missing]
        if hint := next(filter(None, hints), ""):
            return f"{text}; {hint.removesuffix(' Otherwise ')}"
    return text


def counted(arguments: int) -> str:
    """Return a number of arguments in words."""
    return f"{arguments or 'no'} argument{'' if arguments == 1 else 's'}"


def quoted(name: str) -> str:
    """Return a name as it stands in messages."""
    return shortened(repr(name))


def call_text(parsed: Parsed) -> str:
    """Return a kernel's name and parameters as a call of it looks."""
    name = "the expression" if parsed.is_expression else shortened(parsed.source.name)
    return f"{name}({', '.join(map(shortened, parsed.parameters))})"


def classify(name: str, value: Any) -> Argument:
    """Return an argument with its type, or raise with its name and what to do."""
    kind = type(value)
    if kind is np.ndarray:
        return Argument(name, value, checked_dtype(name, value.dtype), value.ndim > 0)
    if kind in (bool, int, float, complex):
        if kind is int and not -(2**63) <= value < 2**63:
            bits = value.bit_length()
            spelt = f"an integer of {bits} bits" if bits > 128 else str(value)
            advice = f"np.uint64({value})" if 0 <= value < 2**64 else "a float"
            raise ArgumentError(
                f"argument {quoted(name)}: {spelt} does not fit int64; pass {advice}"
            )
        return Argument(name, value, kind, False)
    if is_dask_array(value):
        return dask_argument(name, value)
    if is_delayed(value):
        return Argument(name, value, float, False, True)
    if isinstance(value, np.ma.MaskedArray):
        raise ArgumentError(
            f"argument {quoted(name)} is a masked array; pass {name}.astype(float).filled(np.nan), "
            f"or {name}.data and {name}.mask as two arguments"
        )
    if not isinstance(value, (np.ndarray, np.generic)):
        raise ArgumentError(f"argument {quoted(name)} is {described(kind)}: {remedy(name, value)}")
    return Argument(name, value, checked_dtype(name, value.dtype), value.ndim > 0)


def any_labelled(values: Iterable[Any]) -> bool:
    """Tell whether there are xarray's arrays among values, without importing xarray."""
    module = sys.modules.get("xarray")
    if module is None:
        return False
    kinds = module.DataArray, module.Variable
    return any([isinstance(value, kinds) for value in values])  # noqa: C419 (quicker for so few)


def is_dask_array(value: Any) -> bool:
    """Tell whether a value is a Dask array, without importing Dask for one that is not."""
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(value, module.Array)


def is_delayed(value: Any) -> bool:
    """Tell whether a value is a Delayed, whose type nobody knows before it is computed."""
    module = sys.modules.get("dask.delayed")
    return module is not None and isinstance(value, module.Delayed)


def dask_argument(name: str, value: Any) -> Argument:
    """Return a Dask array as argument; its chunks must be NumPy arrays."""
    meta = value._meta
    # The meta of a 0-d array may be a NumPy scalar, on Dask's expression back end it mostly is.
    if type(meta) is not np.ndarray and not isinstance(meta, np.generic):
        raise ArgumentError(
            f"argument {quoted(name)} is a Dask array whose chunks are not NumPy arrays but each "
            f"{described(type(meta))}; "
            + (
                f"pass da.ma.filled({name}.astype(float), np.nan)"
                if isinstance(meta, np.ma.MaskedArray)
                else f"convert them first, such as {name}.map_blocks(np.asarray)"
            )
        )
    return Argument(name, value, checked_dtype(name, value.dtype), True, True)


def checked_dtype(name: str, dtype: np.dtype) -> np.dtype:
    """Return the native form of an argument's dtype, or raise."""
    if (native := native_dtype(dtype)) is None:
        raise ArgumentError(f"argument {quoted(name)} has dtype {dtype}; {conversion_hint(dtype)}")
    return native


@functools.lru_cache(maxsize=256)
def native_dtype(dtype: np.dtype) -> np.dtype | None:
    """Return the one object that stands for a dtype in native byte order; None if not taken."""
    if dtype.kind not in "biufc" or not supported(dtype):
        return None
    return np.dtype(f"{dtype.kind}{dtype.itemsize}")


def remedy(name: str, value: Any) -> str:
    """Return how to make an array of an argument that is none."""
    kind = type(value)
    module = kind.__module__.split(".")[0]
    if value is None or isinstance(value, (str, bytes, dict, set, type)):
        return "pass an array or a number"
    if isinstance(value, (int, float, complex)):
        return "pass a plain Python number"
    if module == "xarray":
        return "pass its variables, such as ds['name'], or call ds.mex.eval of mexdask.xarray"
    if module == "pandas" and kind.__name__ in ("Timestamp", "Timedelta", "NAType", "NaTType"):
        return "pass a number"
    if module in ("pandas", "polars", "cupy", "torch"):
        method = {"cupy": "get", "torch": "numpy"}.get(module, "to_numpy")
        return f"pass {name}.{method}()"
    if module.startswith("dask"):
        return "pass a Dask array, such as df['column'].to_dask_array(lengths=True)"
    return f"pass a NumPy or Dask array, such as np.asarray({name}), or a number"


def pattern(argument: Argument) -> str:
    """Return one letter per dimension: "1" where an array has length 1, else "n"."""
    if not argument.is_array:
        return ""
    return "".join("1" if n == 1 else "n" for n in argument.value.shape)


def with_shape_classes(arguments: Sequence[Argument]) -> list[Argument]:
    """Return the arguments with arrays of one shape marked alike, so that one pass reduces them."""
    classes: dict[tuple[int, ...], int] = {}
    return [
        a._replace(shape_class=classes.setdefault(a.value.shape, len(classes))) if a.is_array else a
        for a in arguments
    ]


def refuse_empty_extremes(
    special: Specialisation, arguments: Sequence[Argument], shape: tuple[int, ...]
) -> None:
    """Refuse the smallest and largest of no element where that is known before any chunk runs."""
    if len(special.stages) == 1 or 0 not in shape:
        return
    shapes = {a.name: a.value.shape for a in arguments if a.is_array}
    for stage in special.stages[:-1]:
        own = [shapes[p.var.name] for p in stage.function.params if p.var.name in shapes]
        no_element = 0 in shape if stage.function.indices else any(0 in s for s in own)
        for reduced in stage.function.reductions:
            if no_element and REDUCTIONS[reduced.name].merge in ("min", "max"):
                raise ArgumentError(f"{reduced.name}() of an empty array has no value")


def unknown_sizes(parsed: Parsed, arrays: Sequence[Argument]) -> str:
    """Return the message for index symbols over chunks of unknown sizes."""
    unknown = next(a.name for a in arrays if any(n != n for n in a.value.shape))
    return (
        f"argument {unknown!r} has chunks of unknown sizes, and {parsed.source.name} uses index "
        "symbols, which need them; call its compute_chunk_sizes() first"
    )


def broadcast_shape(arrays: Sequence[Argument]) -> tuple[Any, ...]:
    """Return the shape of the result; sizes that Dask does not know yet are nan.

    Raises
    ------
    ArgumentError
        If the arrays do not broadcast.
    """
    shapes = [a.value.shape for a in arrays]
    if not shapes or shapes.count(shapes[0]) == len(shapes):
        return shapes[0] if shapes else ()
    ndim = max(map(len, shapes))
    result = []
    for axis in range(-ndim, 0):
        sizes = {s[axis] for s in shapes if len(s) >= -axis and s[axis] != 1}
        known = {n for n in sizes if n == n}
        if len(known) > 1:
            listed = ", ".join(f"{a.name} {a.value.shape}" for a in arrays)
            raise ArgumentError(f"the arguments do not broadcast against each other: {listed}")
        result.append(next(iter(sizes), 1) if len(known) == len(sizes) else float("nan"))
    return tuple(result)
