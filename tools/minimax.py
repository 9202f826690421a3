"""Minimax polynomials by Remez' exchange algorithm, as hexadecimal coefficients."""

from __future__ import annotations

from collections.abc import Callable

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
            w * (v - mpmath.polyval(local[::-1], t - middle))
            for t, (v, w) in zip(grid, values, strict=True)
        ]
        coefficients, worst = shifted(local, middle), max(map(abs, errors))
        if worst < abs(level) * mpf("1.001"):
            break
        points = extrema(grid, errors, count)
    return coefficients, worst


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


def show(name: str, f: Function, degree: int, low: float, high: float, weight: Function) -> None:
    """Print a polynomial's coefficients rounded to float64, and its error as a power of two."""
    coefficients, error = remez(f, degree, mpf(low), mpf(high), weight)
    print(f"# {name}: degree {degree}, error 2**{float(mpmath.log(error, 2)):.1f}")
    print(f'    "{name}": "{" ".join(float(c).hex() for c in coefficients)}",', flush=True)
