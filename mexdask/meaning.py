"""What operations mean on NumPy arrays where NumPy has no function, or one that leaves a case open.

Each takes and returns arrays (or NumPy scalars) of the dtypes that the op table resolved. They run
under ``np.errstate(all="ignore")``.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mexdask.dtypes import BOOL, UINT64

Array = np.ndarray[Any, Any]  # or a NumPy scalar, which has all that is used here
INT64_MIN = np.int64(-(2**63))


def cast(value: Array, dtype: np.dtype) -> Array:
    """Convert as ``astype`` does, with one answer on every machine where C leaves it undefined.

    A float that int64 cannot hold becomes INT64_MIN (uint64: kept exactly from 2**63 up to 2**64);
    narrower integers take the low bits of that.
    """
    if value.dtype.kind not in "fc" or dtype.kind not in "iu":
        return value.astype(dtype)
    fits = (value >= -(2.0**63)) & (value < 2.0**63)
    whole = np.where(fits, value, 0).astype(np.int64)
    result = np.where(fits, whole, INT64_MIN).astype(dtype)
    if dtype != UINT64:
        return result
    upper = (value >= 2.0**63) & (value < 2.0**64)
    return np.where(upper, np.where(upper, value, 0).astype(np.uint64), result)


def maximum(a: Array, b: Array, out: np.ndarray | None = None) -> Array:
    """Return the larger, nan if either is nan, ``b`` on a tie."""
    if ties_alike(b, signed=False):
        return np.maximum(a, b, out=out)
    return np.where((a > b) | (a != a), a, b)


def minimum(a: Array, b: Array, out: np.ndarray | None = None) -> Array:
    """Return the smaller, nan if either is nan, ``b`` on a tie."""
    if ties_alike(b, signed=True):
        return np.minimum(a, b, out=out)
    return np.where((a < b) | (a != a), a, b)


def ties_alike(b: Array, *, signed: bool) -> bool:
    """Tell whether NumPy has no choice on a tie, which it makes by machine and lane.

    Only zeros of two signs differ on a tie; against one zero for all lanes, NumPy's larger is the
    unsigned one and its smaller the signed one everywhere.
    """
    if b.dtype.kind != "f":
        return True
    if is_off_zero(b):
        return True
    return b.ndim == 0 and float(b) == 0 and (math.copysign(1, float(b)) < 0) == signed


def fmax(a: Array, b: Array) -> Array:
    """Return the larger, ignoring a single nan, ``b`` on a tie."""
    return np.where((a > b) | (b != b), a, b)


def fmin(a: Array, b: Array) -> Array:
    """Return the smaller, ignoring a single nan, ``b`` on a tie."""
    return np.where((a < b) | (b != b), a, b)


def clip(x: Array, low: Array, high: Array, out: np.ndarray | None = None) -> Array:
    """Return ``minimum(maximum(x, low), high)``, as ``np.clip`` but for signs of zeros."""
    if x.dtype.kind != "f" or (is_off_zero(low) and is_off_zero(high)):
        return x.clip(low, high, out=out)  # a third of the time of both
    if ties_alike(low, signed=False) and high.ndim == 0 and high > 0:
        inside: Array = x.clip(low, high, out=out)
        inside += x.dtype.type(0)  # -0, which is not less than 0, becomes 0
        return inside
    return minimum(maximum(x, low), high, out)


WITH_OUT = frozenset((minimum, maximum, clip))
"""The functions here that may write their result to ``out``, an operand's memory too."""


def is_off_zero(b: Array) -> bool:
    """Tell whether one number for all lanes is less or greater than 0."""
    return b.ndim == 0 and (float(b) < 0 or float(b) > 0)


def power(a: Array, b: Array) -> Array:
    """Return ``a ** b``; a negative integer exponent counts as 0 (a Check refuses live ones)."""
    if b.dtype.kind == "i":
        b = np.maximum(b, b.dtype.type(0))
    if b.dtype.kind != "f":
        return np.asarray(np.power(a, b))[()]
    # NumPy computes otherwise where one exponent is for all, so that the last bit (and infinities
    # to the power 0.5) would depend on the neighbours: never give it one alone.
    one_for_all = b.ndim == 0
    if one_for_all and b == 2:
        return a * a
    shape = np.broadcast_shapes(a.shape, b.shape)
    if math.prod(shape) < 2:
        pair = [np.resize(v, 2) for v in (a, b)]
        raised = np.power(*pair)[:1].reshape(shape)
    else:
        raised = np.power(*(np.full(shape, v) if v.ndim == 0 else v for v in (a, b)))
    return raised[()] if one_for_all else np.where(b == 2, a * a, raised)[()]


def fdim(a: Array, b: Array) -> Array:
    """Return ``a - b`` where that is positive, else 0; nan if either is nan (C's ``fdim``)."""
    return np.where(a <= b, a.dtype.type(0), a - b)


def exp10(x: Array) -> Array:
    """Return ``10 ** x``."""
    return power(x.dtype.type(10), x)


def sinpi(x: Array) -> Array:
    """Return ``sin(pi * x)`` with IEEE 754's exact zeros at whole numbers."""
    r = x - 2 * np.rint(x / 2)
    r = np.where(np.abs(r) > 0.5, np.copysign(1, r) - r, r)
    return np.where(r == 0, np.copysign(x.dtype.type(0), x), np.sin(half_turns(r))).astype(x.dtype)


def cospi(x: Array) -> Array:
    """Return ``cos(pi * x)`` with IEEE 754's exact zeros half-way between whole numbers."""
    r = np.abs(x - 2 * np.rint(x / 2))
    near = np.where(r > 0.25, np.sin(half_turns(0.5 - r)), np.cos(half_turns(r)))
    return np.where(r > 0.75, np.where(r <= 1, -np.cos(half_turns(1 - r)), r), near).astype(x.dtype)


def half_turns(r: Array) -> Array:
    """Return ``pi * r`` in float64, so that float32 results are rounded once."""
    return np.asarray(r, np.float64) * math.pi


def heaviside(x: Array, h: Array) -> Array:
    """Return 0, ``h`` or 1 for negative, zero or positive ``x``; nan for nan."""
    return np.where(x == 0, h, np.where(x != x, x, (x > 0).astype(x.dtype)))


def ldexp(x: Array, n: Array) -> Array:
    """Return ``x * 2**n``, rounded once."""
    return np.ldexp(x, np.clip(n, -5000, 5000).astype(np.int32))


def range_trips(start: Array, stop: Array, step: Array) -> Array:
    """Return how many numbers ``range(start, stop, step)`` has, as uint64; 0 for a step of 0."""
    start, stop, step = (np.asarray(v) for v in (start, stop, step))
    first, last = start.astype(np.uint64), stop.astype(np.uint64)
    up = np.where(step > 0, last - first, first - last)
    stride = np.where(step > 0, step, -step).astype(np.uint64)
    runs = np.where(step > 0, start < stop, (start > stop) & (step < 0))
    stride = np.where(stride == 0, np.uint64(1), stride)
    return np.where(runs, (up - runs.astype(np.uint64)) // stride + np.uint64(1), np.uint64(0))


def per_element(function: Callable[[float], float]) -> Callable[[Array], Array]:
    """Return a function on arrays that calls ``function`` of a Python float for each element."""
    elements = np.frompyfunc(function, 1, 1)

    def on_array(x: Array) -> Array:
        return np.asarray(elements(x.astype(np.float64)), np.float64).astype(x.dtype)

    return on_array


def gamma_of(x: float) -> float:
    """Return C's ``tgamma(x)``: infinities at the poles' sides, nan at negative whole numbers."""
    if x == 0:
        return math.copysign(math.inf, x)
    if x == -math.inf or (x < 0 and x == math.floor(x)):
        return math.nan
    try:
        return math.gamma(x)
    except OverflowError:
        return math.copysign(math.inf, x)


def lgamma_of(x: float) -> float:
    """Return C's ``lgamma(x)``: infinity at the poles."""
    if x in (math.inf, -math.inf) or (x <= 0 and x == math.floor(x)):
        return math.inf
    try:
        return math.lgamma(x)
    except OverflowError:
        return math.inf


def libm(name: str, otherwise: Callable[[float], float]) -> Callable[[float], float]:
    """Return a function of C's library, which native code calls too; else Python's own.

    Python's gamma functions lose digits where the result is near zero.
    """
    try:
        function = ctypes.PyDLL(None)[name]
    except (AttributeError, OSError, TypeError):
        return otherwise
    function.argtypes, function.restype = [ctypes.c_double], ctypes.c_double
    return function


erf = per_element(math.erf)
erfc = per_element(math.erfc)
lgamma = per_element(libm("lgamma", lgamma_of))
tgamma = per_element(libm("tgamma", gamma_of))


def as_bool(raw: np.ndarray) -> np.ndarray:
    """Return a bool array whose bytes are 0 and 1 whatever non-zero bytes the input holds."""
    return raw.view(np.uint8) != 0 if raw.dtype == BOOL else raw
