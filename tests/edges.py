"""Values at the edges of each dtype, and how results are compared."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from mexdask.dtypes import NATIVE

Array = np.ndarray[Any, Any]

DTYPES = {row.c: dtype for dtype, row in NATIVE.items()}
"""Every dtype that C has, by its short name."""

WHOLE = (0, 1, 2, 3, 5, 7, 8, 31, 63, 64, 100)
SMALL = (0, 1, 2, 3, 5, 7)
FRACTIONS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 0.1, 1 / 3, 7.0, 100.5, 1e10)
POWERS_OF_TWO = (2.0**24 + 1, 2.0**31, 2.0**32, 2.0**53, 2.0**63, 2.0**64, 1e19)


def edges(dtype: np.dtype, *, small: bool = False) -> Array:
    """Return the values at which operations on a dtype go wrong; ``small`` ones are tame."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind == "f":
        return np.array(small_floats() if small else float_edges(dtype), dtype)
    info = np.iinfo(dtype)
    values = dict.fromkeys(SMALL if small else WHOLE)
    if not small:
        values |= dict.fromkeys((info.max // 2, info.max // 2 + 1, info.max - 1, info.max))
    if dtype.kind == "i":
        values |= dict.fromkeys(-v for v in tuple(values))
        if not small:
            values |= dict.fromkeys((info.min,))
    return np.array([v for v in values if info.min <= v <= info.max], dtype)


def small_floats() -> list[float]:
    """Return floats whose products and powers stay ordinary numbers."""
    return [s * v for s in (1, -1) for v in (0.0, 0.25, 0.5, 1.0, 1.1, 2.0, 2.5, 3.75)]


def float_edges(dtype: np.dtype) -> list[float]:
    """Return both signs of zeros, halves, subnormals, limits, powers of two; and nan."""
    info = np.finfo(dtype)
    limits = (
        info.max, info.tiny, info.smallest_subnormal, 3 * info.smallest_subnormal, info.eps,
        1 + info.eps, 1 - info.epsneg, 0.5 - info.epsneg / 2, np.inf,
    )  # fmt: skip
    positive = [*FRACTIONS, *POWERS_OF_TWO, *map(float, limits)]
    with np.errstate(over="ignore"):
        return [*positive, *(-v for v in positive), np.nan]


def columns(
    dtypes: Sequence[np.dtype], size: int, *, small: bool = False, seed: int = 1
) -> list[Array]:
    """Return one array per dtype: together a sample of all combinations of edge values.

    Every edge value of every column is there; the order is shuffled, the same in every run.
    """
    values = [edges(d, small=small) for d in dtypes]
    rng = random.Random(seed)
    every = list(itertools.islice(itertools.product(*map(range, map(len, values))), 1_000_000))
    rows = every if len(every) <= size else rng.sample(every, size)
    rows += [
        tuple(rng.randrange(len(v)) if c != column else i for c, v in enumerate(values))
        for column, own in enumerate(values)
        for i in range(len(own))
    ]
    rng.shuffle(rows)
    indices = np.array(rows).reshape(len(rows), len(values)).T
    return [v[i] for v, i in zip(values, indices, strict=True)]


def bits(values: Array) -> Array:
    """Return what must be equal where values agree to the bit; every nan counts as the same."""
    if values.dtype.kind != "f":
        return values
    pattern = values.view(f"u{values.itemsize}").copy()
    pattern[np.isnan(values)] = np.array([np.nan], values.dtype).view(pattern.dtype)
    return pattern


def steps_apart(a: Array, b: Array) -> Array:
    """Return how many floats lie between floats; 0 for two nans, very many for one."""
    width = a.dtype.itemsize
    ordered = []
    for values in (a, b):
        pattern = values.view(f"i{width}").astype(object)
        ordered.append(np.where(pattern < 0, -(pattern + 2 ** (8 * width - 1)), pattern))
    apart = np.abs(ordered[0] - ordered[1])
    nans = np.isnan(a).astype(int) + np.isnan(b)
    exact = (a == 0) | (b == 0) | np.isinf(a) | np.isinf(b)
    different = exact & (bits(a) != bits(b))
    return np.where(nans == 2, 0, np.where((nans == 1) | different, 2**64, apart))


def wrong(got: Array, want: Array, ulp: int = 0) -> Array:
    """Return the indices at which results differ: to the bit, or by more than ``ulp`` steps."""
    assert got.dtype == want.dtype, f"{got.dtype} is not {want.dtype}"
    assert got.shape == want.shape, f"{got.shape} is not {want.shape}"
    if ulp and got.dtype.kind == "f":
        return np.flatnonzero(steps_apart(got, want) > ulp)
    return np.flatnonzero(bits(got) != bits(want))


def assert_same(
    got: Array, want: Array, arguments: Sequence[Array], what: str, ulp: int = 0
) -> None:
    """Fail with the first few elements that differ."""
    where = wrong(got, want, ulp)
    if where.size == 0:
        return
    lines = [f"{what}: {where.size} of {want.size} elements differ"]
    for i in where[:5]:
        given = ", ".join(repr(np.broadcast_to(a, want.shape)[i]) for a in arguments)
        lines.append(f"  at ({given}): {got[i]!r}, wanted {want[i]!r}")
    raise AssertionError("\n".join(lines))
