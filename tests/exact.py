"""Exact values of the functions that are not computed to the bit, and the distance from them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
from edges import Array

from mexdask.ops import Op

NAN, INF = math.nan, math.inf

EXACT: dict[str, Callable[..., Any]] = {
    "**": lambda a, b: a**b,
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "exp": mpmath.exp,
    "exp2": lambda x: mpmath.power(2, x),
    "exp10": lambda x: mpmath.power(10, x),
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log2": lambda x: mpmath.log(x, 2),
    "log10": mpmath.log10,
    "log1p": mpmath.log1p,
    "logaddexp": lambda a, b: max(a, b) + mpmath.log1p(mpmath.exp(-abs(a - b))),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "asin": mpmath.asin,
    "acos": mpmath.acos,
    "atan": mpmath.atan,
    "atan2": mpmath.atan2,
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "tanh": mpmath.tanh,
    "asinh": mpmath.asinh,
    "acosh": mpmath.acosh,
    "atanh": mpmath.atanh,
    "hypot": lambda a, b: mpmath.sqrt(a * a + b * b),
    "erf": mpmath.erf,
    "erfc": lambda x: mpmath.erfc(min(x, 9999)),
    "lgamma": lambda x: mpmath.re(mpmath.loggamma(x)),
    "tgamma": mpmath.gamma,
    "sinpi": mpmath.sinpi,
    "cospi": mpmath.cospi,
}

# Of functions that NumPy lacks: where they have no finite value, and the sign of their zeros.
SPECIAL: dict[str, dict[float, float]] = {
    "exp10": {INF: INF, -INF: 0.0, NAN: NAN},
    "erf": {INF: 1.0, -INF: -1.0, NAN: NAN},
    "erfc": {INF: 0.0, -INF: 2.0, NAN: NAN},
    "lgamma": {INF: INF, -INF: INF, NAN: NAN},
    "tgamma": {INF: INF, -INF: NAN, NAN: NAN},
    "sinpi": {INF: NAN, -INF: NAN, NAN: NAN},
    "cospi": {INF: NAN, -INF: NAN, NAN: NAN},
}
POLES: dict[str, Callable[[float], float]] = {
    "lgamma": lambda x: INF,
    "tgamma": lambda x: NAN if x else math.copysign(INF, x),
}
SIGNS: dict[str, Callable[[float], float]] = {"erf": lambda x: x, "sinpi": lambda x: x}


def largest_error(got: Array, op: Op, arguments: Sequence[Array]) -> tuple[float, str]:
    """Return the largest distance from the exact values, in ulp, and the place where it is."""
    errors = distances(got, op, arguments)
    worst = int(np.argmax(errors))
    place = ", ".join(repr(a[worst]) for a in arguments)
    return errors[worst], f"({place}): {got[worst]!r}"


def mean_error(got: Array, op: Op, arguments: Sequence[Array]) -> float:
    """Return the mean distance from the exact values, in ulp."""
    return float(np.mean(distances(got, op, arguments)))


def distances(got: Array, op: Op, arguments: Sequence[Array]) -> list[float]:
    """Return the distance of each result from the exact value, in ulp."""
    known = known_values(op, tuple(map(Key, arguments)))
    return [distance(g, k, got.dtype, op.name) for g, k in zip(got, known, strict=True)]


class Key:
    """An array that can be remembered."""

    def __init__(self, array: Array):
        self.array = array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.array.tobytes() == other.array.tobytes()

    def __hash__(self) -> int:
        return hash(self.array.tobytes())


@functools.cache
def known_values(op: Op, keys: tuple[Key, ...]) -> list[Any]:
    """Return for each element the exact number, or a float where that is what must come out."""
    arguments = [key.array for key in keys]
    with np.errstate(all="ignore"):
        numpys = None if op.name in SPECIAL else op.typing(*arguments)
    known = []
    for i, row in enumerate(zip(*arguments, strict=True)):
        numbers = [float(a) for a in row]
        value = exact(op.name, numbers)
        if value is None:
            value = special(op.name, numbers[0]) if numpys is None else float(numpys[i])
        elif value == 0:
            sign = SIGNS.get(op.name, abs)(numbers[0]) if numpys is None else float(numpys[i])
            value = math.copysign(0.0, sign)
        known.append(value)
    return known


def exact(name: str, numbers: list[float]) -> Any:
    """Return the exact value; None where it is not a finite real number."""
    if not all(map(math.isfinite, numbers)) or (name == "atan2" and numbers[0] == 0):
        return None
    if name in ("tgamma", "lgamma") and numbers[0] <= 0 and numbers[0] == math.floor(numbers[0]):
        return None
    with mpmath.workprec(400):
        try:
            value = EXACT[name](*map(mpmath.mpf, numbers))
        except (ValueError, ZeroDivisionError):
            return None
    return value if isinstance(value, mpmath.mpf) and mpmath.isfinite(value) else None


def special(name: str, x: float) -> float:
    """Return what one of our own functions gives where it has no finite value."""
    if math.isfinite(x):
        return POLES[name](x)
    return next(v for k, v in SPECIAL[name].items() if k == x or (k != k and x != x))


def distance(got: Any, known: Any, dtype: np.dtype, name: str) -> float:
    """Return how far a result is from what is known, in units of the last place of the latter.

    ``logaddexp`` is as precise as its terms only: near zero the unit is that of one half.
    """
    info = np.finfo(dtype)
    if isinstance(known, float):
        same = got == known and math.copysign(1, got) == math.copysign(1, known)
        return 0.0 if same or (got != got and known != known) else INF
    if np.isnan(got) or (got == 0 and np.signbit(got) != (known < 0)):
        return INF
    with mpmath.workprec(400):
        # Infinity is the number after the largest.
        beyond = mpmath.ldexp(mpmath.sign(got), info.maxexp)
        value = beyond if np.isinf(got) else mpmath.mpf(float(got))
        if np.isinf(got) and abs(known) >= abs(beyond) and (known > 0) == (got > 0):
            return 0.0
        size = max(abs(known), mpmath.mpf(1) / 2) if name == "logaddexp" else abs(known)
        exponent = min(max(int(mpmath.frexp(size)[1]), info.minexp + 1), info.maxexp)
        return float(abs(value - known) / mpmath.ldexp(1, exponent - info.nmant - 1))
