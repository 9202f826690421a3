"""The table of reductions: dtypes as NumPy has them, and partial results that merge in any order.

A partial result is three words for each reduction: ``value``, ``rest`` (what a float sum has lost
to rounding; of extremes the number of elements seen) and ``count`` (the elements that took part).
Native code fills the same words. One record holds those of all reductions of a pass, in fields
``r0, r1, ...``, and room for their results once everything is merged, in ``result0, result1, ...``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mexdask.dtypes import FLOAT64, INT64, UINT64
from mexdask.errors import ArgumentError

Array = np.ndarray[Any, Any]
COMPLEX128 = np.dtype("complex128")


@dataclass(frozen=True, slots=True)
class Reduction:
    """One reduction of the language.

    Parameters
    ----------
    name : str
        How the language and NumPy spell it.
    merge : {"sum", "prod", "min", "max", "any", "all"}
        How partial results come together.
    doc : str
        One line for people.
    skips_nan : bool
        Whether nan elements take no part.
    is_mean : bool
        Whether the sum is divided by the count.
    """

    name: str
    merge: str
    doc: str
    skips_nan: bool = False
    is_mean: bool = False

    def result(self, operand: np.dtype) -> np.dtype:
        """Return the dtype of the result, which NumPy decides.

        Raises
        ------
        TypeError
            For the extremes of complex numbers, which have no order.
        """
        if self.merge in ("min", "max") and operand.kind == "c":
            raise TypeError("complex numbers have no order")
        return result_dtype(self.name, operand)

    def accumulator(self, operand: np.dtype) -> np.dtype:
        """Return the dtype of the partial value; float32 sums up in float64."""
        if self.merge in ("any", "all"):
            return INT64
        if operand.kind == "c":
            return COMPLEX128
        if operand.kind == "f" or self.is_mean:
            return FLOAT64
        return UINT64 if operand.kind == "u" else INT64

    def record(self, operand: np.dtype) -> np.dtype:
        """Return the dtype of a partial result."""
        value = self.accumulator(operand)
        rest = COMPLEX128 if value == COMPLEX128 else FLOAT64
        return np.dtype([("value", value), ("rest", rest), ("count", INT64)])


ROW = 1024
"""Elements that the interpreter sums in one go, pairwise as NumPy does it."""


@functools.cache
def result_dtype(name: str, operand: np.dtype) -> np.dtype:
    """Return the dtype of NumPy's result."""
    found: np.dtype = np.asarray(getattr(np, name)(np.ones(1, operand))).dtype
    return found


REDUCTIONS = {
    row.name: row
    for row in (
        Reduction("sum", "sum", "Sum."),
        Reduction("prod", "prod", "Product."),
        Reduction("mean", "sum", "Mean; nan if an element is nan.", is_mean=True),
        Reduction("min", "min", "The smallest; nan if an element is nan."),
        Reduction("max", "max", "The largest; nan if an element is nan."),
        Reduction("any", "any", "Is an element true?"),
        Reduction("all", "all", "Is every element true?"),
        Reduction("nansum", "sum", "Sum of what is not nan.", skips_nan=True),
        Reduction("nanmean", "sum", "Mean of what is not nan.", skips_nan=True, is_mean=True),
        Reduction("nanmin", "min", "The smallest that is not nan.", skips_nan=True),
        Reduction("nanmax", "max", "The largest that is not nan.", skips_nan=True),
    )
}


def record_dtype(names: Sequence[str], operands: Sequence[np.dtype]) -> np.dtype:
    """Return the dtype of the record of one pass over the data."""
    return known_record_dtype(tuple(names), tuple(operands))


@functools.cache
def known_record_dtype(names: tuple[str, ...], operands: tuple[np.dtype, ...]) -> np.dtype:
    """Return what ``record_dtype`` does, made once."""
    rows = [(REDUCTIONS[name], dtype) for name, dtype in zip(names, operands, strict=True)]
    partials = [(f"r{k}", row.record(dtype)) for k, (row, dtype) in enumerate(rows)]
    results = [(f"result{k}", row.result(dtype)) for k, (row, dtype) in enumerate(rows)]
    return np.dtype([*partials, *results])


def nothing_yet(names: Sequence[str], operands: Sequence[np.dtype]) -> Array:
    """Return the partial results of no element, shape ``()``."""
    record: Array = np.zeros((), record_dtype(names, operands))
    for k, name in enumerate(names):
        if REDUCTIONS[name].merge in ("prod", "all"):
            record[f"r{k}"]["value"] = 1
    return record


def partial(name: str, elements: Array) -> Array:
    """Return the partial result of one reduction over elements, shape ``(n,)``, as a record."""
    row = REDUCTIONS[name]
    record = np.zeros((), row.record(elements.dtype))
    taking_part = elements[elements == elements] if row.skips_nan else elements
    record["count"] = taking_part.size
    if row.merge in ("min", "max"):
        record["rest"] = elements.size
        if taking_part.size:
            record["value"] = extreme(row.merge, taking_part)
    elif row.merge in ("any", "all"):
        record["value"] = getattr(np, row.merge)(taking_part)
    else:
        dtype = row.accumulator(elements.dtype)
        if row.merge == "sum" and dtype.kind in "fc":
            record["value"], record["rest"] = sum_of_rows(taking_part, dtype)
        else:
            ufunc = np.add if row.merge == "sum" else np.multiply
            record["value"] = ufunc.reduce(taking_part, dtype=dtype)
    return record


def sum_of_rows(elements: Array, dtype: np.dtype) -> tuple[Any, Any]:
    """Return the sum of elements, shape ``(n,)``, exact but for what rounding does within rows."""
    whole = elements.size // ROW * ROW
    rows = np.add.reduce(elements[:whole].reshape(-1, ROW), axis=1, dtype=dtype)
    return exact_sum(np.append(rows, np.add.reduce(elements[whole:], dtype=dtype)))


def merged(names: Sequence[str], records: Array) -> Array:
    """Return the partial results of several parts as one.

    Parameters
    ----------
    names : sequence of str
        The reductions, in the order of the record's fields.
    records : numpy.ndarray
        Partial results, any shape.
    """
    records = records.reshape(-1)
    whole: Array = np.zeros((), records.dtype)
    with np.errstate(all="ignore"):
        for k, name in enumerate(names):
            merge_field(REDUCTIONS[name].merge, records[f"r{k}"], whole[f"r{k}"])
    return whole


def merge_field(merge: str, parts: Array, whole: Array) -> None:
    """Write the merger of one reduction's parts, shape ``(n,)``."""
    whole["count"] = parts["count"].sum()
    values = parts["value"]
    if merge in ("min", "max"):
        whole["rest"] = parts["rest"].sum()
        if (taking_part := values[parts["count"] > 0]).size:
            whole["value"] = extreme(merge, taking_part)
    elif merge in ("any", "all"):
        whole["value"] = getattr(np, merge)(values)
    elif merge == "prod":
        whole["value"] = np.multiply.reduce(values)
    elif values.dtype.kind in "iu":
        whole["value"] = np.add.reduce(values)
    else:
        whole["value"], whole["rest"] = exact_sum(np.concatenate([values, parts["rest"]]))


def extreme(merge: str, elements: Array) -> Any:
    """Return the smallest or largest element; -0.0 is smaller than 0.0, whatever their places."""
    found = elements.min() if merge == "min" else elements.max()
    if elements.dtype.kind != "f" or found != 0:
        return found
    signs = np.signbit(elements[elements == 0])
    negative = signs.any() if merge == "min" else signs.all()
    return np.copysign(found, -1.0 if negative else 1.0)


def exact_sum(terms: Array) -> tuple[Any, Any]:
    """Return the correctly rounded sum of floats and what it lacks to the exact one.

    By ``math.fsum`` (Shewchuk, Adaptive precision floating-point arithmetic, 1997).
    """
    if terms.dtype.kind == "c":
        real, imag = exact_sum(terms.real), exact_sum(terms.imag)
        return complex(real[0], imag[0]), complex(real[1], imag[1])
    if not np.isfinite(terms).all():
        return terms[~np.isfinite(terms)].sum(), 0.0
    try:
        total = math.fsum(terms)
    except OverflowError:
        return terms.sum(), 0.0
    return total, math.fsum([*terms, -total])


def finish(names: Sequence[str], record: Array) -> None:
    """Write the results beside the partial results of everything.

    Raises
    ------
    ArgumentError
        For the extreme of no element.
    """
    for k, name in enumerate(names):
        record[f"result{k}"] = finished(name, record.dtype[f"result{k}"], record[f"r{k}"])


def finished(name: str, result: np.dtype, record: Array) -> Array:
    """Return the result of one reduction, shape ``()``."""
    row = REDUCTIONS[name]
    value, rest, count = record["value"], record["rest"], record["count"]
    with np.errstate(all="ignore"):
        if row.merge in ("min", "max"):
            if rest == 0:
                raise ArgumentError(f"{name}() of an empty array has no value")
            value = value if count else result.type(np.nan)
        elif row.merge == "sum" and value.dtype.kind in "fc":
            value = value + rest if np.isfinite(value) else value
            value = value / count if row.is_mean else value
        return np.asarray(value).astype(result)
