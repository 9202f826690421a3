"""Minimax polynomials of vector math by Remez' algorithm: ``python tools/minimax.py exp sin``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import mpmath
from mpmath import mp, mpf

Function = Callable[[mpf], mpf]


def remez(
    f: Function, degree: int, low: mpf, high: mpf, weight: Function, rounds: int = 12
) -> tuple[list[mpf], mpf]:
    """Return the coefficients, lowest first, that minimise ``max |weight * (f - p)|``, and that.

    E. Remez (1934): solve for an error that alternates on ``degree + 2`` points, move the points
    to the extrema of the error, repeat.
    """
    count = degree + 2
    middle, half = (low + high) / 2, (high - low) / 2
    points = [middle - half * mpmath.cos(mp.pi * i / (count - 1)) for i in range(count)]
    grid = [middle - half * mpmath.cos(mp.pi * i / (40 * count)) for i in range(40 * count + 1)]
    values = [(f(t), weight(t)) for t in grid]
    coefficients: list[mpf] = []
    worst = mpf(0)
    for _ in range(rounds):
        rows = [
            [*((t - middle) ** k for k in range(degree + 1)), (-1) ** i / weight(t)]
            for i, t in enumerate(points)
        ]
        *local, level = mpmath.lu_solve(mpmath.matrix(rows), mpmath.matrix([f(t) for t in points]))
        errors = [
            w * (v - value(local, t - middle)) for t, (v, w) in zip(grid, values, strict=True)
        ]
        coefficients, worst = shifted(local, middle), max(map(abs, errors))
        if worst < abs(level) * mpf("1.001"):
            break
        points = extrema(grid, errors, count)
    return coefficients, worst


def value(coefficients: list[mpf], t: mpf) -> mpf:
    """Return a polynomial's value."""
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * t + c
    return total


def shifted(local: list[mpf], middle: mpf) -> list[mpf]:
    """Return the coefficients in ``t`` of a polynomial in ``t - middle``."""
    result: list[mpf] = [mpf(0)]
    for c in reversed(local):
        longer = [mpf(0), *result]
        for i, r in enumerate(result):
            longer[i] -= middle * r
        longer[0] += c
        result = longer
    return result[: len(local)]


def extrema(grid: list[mpf], errors: list[mpf], count: int) -> list[mpf]:
    """Return ``count`` points at which the error is extremal with alternating signs."""
    runs: list[int] = []
    for i, e in enumerate(errors):
        if runs and (errors[runs[-1]] > 0) == (e > 0):
            if abs(e) > abs(errors[runs[-1]]):
                runs[-1] = i
        else:
            runs.append(i)
    while len(runs) > count:
        del runs[0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1]
    return [grid[i] for i in runs]


# What is approximated: smooth parts of functions, whose leading terms stand in the C text. Near
# zero, where a formula loses all digits, the first terms of its series take its place.

TINY = mpf(10) ** -20
mp.prec = 300
LOG2E = 1 / mpmath.log(2)
RATIO = ((mpmath.sqrt(2) - 1) / (mpmath.sqrt(2) + 1) * mpf("1.0001")) ** 2  # of s * s in logarithms
EIGHTH = (mp.pi / 4 * mpf("1.0001")) ** 2
LN2_HALF = mpmath.log(2) / 2 * mpf("1.0001")


def power_of(base: mpf) -> Function:
    """Return ``(base**r - 1 - r * ln(base)) / r**2``."""
    log = mpmath.log(base)

    def f(r: mpf) -> mpf:
        y = r * log
        if abs(y) < mpf(10) ** -12:
            return log * log * (mpf(1) / 2 + y / 6 + y * y / 24)
        return (mpmath.expm1(y) - y) / (r * r)

    return f


def odd(f: Function, second: Any, third: Any) -> Function:
    """Return ``(f(x) - x) / x**3`` of z = x * x."""
    return lambda z: (
        (f(mpmath.sqrt(z)) - mpmath.sqrt(z)) / (mpmath.sqrt(z) * z)
        if z > TINY
        else mpf(second) + mpf(third) * z
    )


def logarithm(z: mpf) -> mpf:
    """Return ``(log((1 + s) / (1 - s)) - 2 * s) / s**3`` of z = s * s."""
    s = mpmath.sqrt(z)
    series = mpf(2) / 3 + z * 2 / 5
    return (mpmath.log((1 + s) / (1 - s)) - 2 * s) / (s * z) if z > TINY else series


def logarithm_rest(z: mpf) -> mpf:
    """Return what `logarithm` has behind its first term, over z, to base 2."""
    return LOG2E * ((logarithm(z) - mpf(2) / 3) / z if z > TINY else mpf(2) / 5 + 2 * z / 7)


def log1p_rest(f: mpf) -> mpf:
    """Return ``(log(1 + f) - f + f**2 / 2) / f**3``."""
    if abs(f) < mpf(10) ** -15:
        return mpf(1) / 3 - f / 4 + f * f / 5
    return (mpmath.log1p(f) - f + f * f / 2) / f**3


def cosine(z: mpf) -> mpf:
    """Return ``(cos(x) - 1) / z`` of z = x * x."""
    return (mpmath.cos(mpmath.sqrt(z)) - 1) / z if z > TINY else -mpf(1) / 2 + z / 24


def cosine_rest(z: mpf) -> mpf:
    """Return ``(cos(x) - 1 + z / 2) / z**2`` of z = x * x."""
    return (cosine(z) + mpf(1) / 2) / z if z > TINY else mpf(1) / 24 - z / 720


def cosh_rest(z: mpf) -> mpf:
    """Return ``(cosh(x) - 1) / z`` of z = x * x."""
    return (mpmath.cosh(mpmath.sqrt(z)) - 1) / z if z > TINY else mpf(1) / 2 + z / 24


def error_function(z: mpf) -> mpf:
    """Return ``erf(x) / x`` of z = x * x."""
    x = mpmath.sqrt(z)
    return mpmath.erf(x) / x if z > TINY else 2 / mpmath.sqrt(mp.pi) * (1 - z / 3)


def complement(t: mpf) -> mpf:
    """Return ``exp(x * x) * erfc(x) * (1 + 2 * x)`` of t = (x - 3) / (x + 3)."""
    x = 3 * (1 + t) / (1 - t)
    return mpmath.exp(x * x) * mpmath.erfc(x) * (1 + 2 * x)


def third(x: float) -> mpf:
    """Return ``(x - 3) / (x + 3)``."""
    return (mpf(x) - 3) / (mpf(x) + 3)


def relative(f: Function) -> Function:
    """Return the weight that makes errors relative."""
    return lambda t: 1 / f(t)


def about(high: Any, power: int = 1) -> Function:
    """Return a weight like z**power, not quite zero at zero, where others round as well."""
    return lambda z: z**power + mpf(high) ** power / 1000


def exponential(base: Any, half: mpf) -> Function:
    """Return the weight of a polynomial that is multiplied by r * r."""
    return lambda r: (r * r + half * half / 1000) / mpmath.power(base, r)


def asin_weight(z: mpf) -> mpf:
    """Return the weight of a polynomial that is multiplied by x cubed."""
    x = mpmath.sqrt(z)
    return (z + mpf("0.25") / 1000) * x / mpmath.asin(x) if z > 0 else mpf("0.25") / 1000


def log_weight(f: mpf) -> mpf:
    """Return the weight of a polynomial that is multiplied by f cubed."""
    return abs(f**3 / mpmath.log1p(f)) if abs(f) > mpf("0.01") else mpf("1e-4")


ASIN = odd(mpmath.asin, mpf(1) / 6, mpf(3) / 40)
ATAN = odd(mpmath.atan, -mpf(1) / 3, mpf(1) / 5)
SINE = odd(mpmath.sin, -mpf(1) / 6, mpf(1) / 120)
SINH = odd(mpmath.sinh, mpf(1) / 6, mpf(1) / 120)
HALF, LOG10_HALF = mpf("0.5"), mpmath.log10(2) / 2 * mpf("1.0001")
HYPERBOLIC = (mpmath.log(2) / 2) ** 2 * mpf("1.001")
ROOTS = (mpmath.sqrt(HALF) - 1) * mpf("1.0001"), (mpmath.sqrt(2) - 1) * mpf("1.0001")

POLYNOMIALS: dict[str, tuple[Function, int, Any, Any, Function]] = {
    "exp": (power_of(mp.e), 9, -LN2_HALF, LN2_HALF, exponential(mp.e, LN2_HALF)),
    "exp_short": (power_of(mp.e), 4, -LN2_HALF, LN2_HALF, exponential(mp.e, LN2_HALF)),
    "exp2": (power_of(mpf(2)), 9, -HALF, HALF, exponential(2, HALF)),
    "exp2_short": (power_of(mpf(2)), 4, -HALF, HALF, exponential(2, HALF)),
    "exp10": (power_of(mpf(10)), 9, -LOG10_HALF, LOG10_HALF, exponential(10, LOG10_HALF)),
    "exp10_short": (power_of(mpf(10)), 4, -LOG10_HALF, LOG10_HALF, exponential(10, LOG10_HALF)),
    "sin": (SINE, 5, 0, EIGHTH, about(EIGHTH)),
    "sin_short": (SINE, 2, 0, EIGHTH, about(EIGHTH)),
    "cos": (cosine_rest, 5, 0, EIGHTH, about(EIGHTH, 2)),
    "cos_native": (cosine_rest, 2, 0, EIGHTH, about(EIGHTH, 2)),
    "cos_short": (cosine, 3, 0, EIGHTH, about(EIGHTH)),
    "log": (logarithm, 6, 0, RATIO, about(RATIO)),
    "log_short": (log1p_rest, 8, *ROOTS, log_weight),
    "pow": (logarithm_rest, 7, 0, RATIO, about(RATIO, 2)),
    "pow_short": (lambda z: LOG2E * logarithm(z), 4, 0, RATIO, about(RATIO)),
    "rcbrt": (lambda m: m ** (-mpf(1) / 3), 5, 1, 2, lambda m: m ** (mpf(1) / 3)),
    "asin": (ASIN, 12, 0, "0.2501", asin_weight),
    "asin_short": (ASIN, 5, 0, "0.2501", asin_weight),
    "atan": (ATAN, 11, 0, "0.2501", about("0.25")),
    "atan_short": (ATAN, 9, 0, "1.0001", about(1)),
    "sinh": (SINH, 6, 0, "1.0001", about(1)),
    "sinh_short": (SINH, 2, 0, HYPERBOLIC, about(HYPERBOLIC)),
    "cosh_short": (cosh_rest, 2, 0, HYPERBOLIC, about(HYPERBOLIC)),
    "erf": (lambda z: error_function(z) - 1, 12, 0, "1.001", relative(error_function)),
    "erf_short": (error_function, 6, 0, "1.001", relative(error_function)),
    "erfc": (complement, 22, third(0.24), third(27.5), relative(complement)),
    "erfc_short": (complement, 11, third(0.24), third(10.5), relative(complement)),
}
"""By name: what, degree, from, to, weight of the error. Of erfc the first stands in the text."""


def coefficients(name: str) -> tuple[list[str], float]:
    """Return a polynomial's coefficients as C spells them, and its error as a power of two."""
    f, degree, low, high, weight = POLYNOMIALS[name]
    exact, error = remez(f, degree, mpf(low), mpf(high), weight)
    return [float(c).hex() for c in exact], float(mpmath.log(error, 2))


if __name__ == "__main__":
    for name in sys.argv[1:] or POLYNOMIALS:
        found, error = coefficients(name)
        print(f"# {name}: degree {len(found) - 1}, error 2**{error:.1f}")
        print(" ".join(found), flush=True)
