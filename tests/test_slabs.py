"""Pieces of chunks: each element once, in C order, and no piece that keeps Ctrl-C waiting."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mexdask
from mexdask import chunk, slabs

SHAPES = st.lists(st.integers(0, 17), max_size=4).map(tuple)


@given(SHAPES, st.integers(1, 300))
def test_slabs_are_a_chunk_in_c_order(shape: tuple[int, ...], most: int):
    numbers = np.arange(math.prod(shape)).reshape(shape)
    found: list[int] = []
    for start, part in slabs.slabs(shape, most):
        assert 0 < math.prod(part) <= most
        where = tuple(slice(s, s + n) for s, n in zip(start, part, strict=True))
        found.extend(numbers[where].ravel())
    assert found == list(range(numbers.size))


@pytest.mark.parametrize(
    ("seconds", "steady", "longest"),
    [(1e-9, False, 1 << 18), (1e-3, False, slabs.FIRST), (1e-3, True, 1 << 18)],
)
def test_the_time_of_slabs_decides_their_size(
    seconds: float, steady: bool, longest: int, monkeypatch: pytest.MonkeyPatch
):
    now, sizes = [0.0], []

    def compute(_start: tuple[int, ...], part: tuple[int, ...]) -> None:
        sizes.append(math.prod(part))
        now[0] += seconds * sizes[-1]

    monkeypatch.setattr(slabs.time, "perf_counter", lambda: now[0])
    assert slabs.paced(compute, (3000, 1000), 1 << 18, steady=steady) is None
    assert sum(sizes) == 3_000_000
    assert longest / 2 < max(sizes) <= longest
    if seconds > 1e-6 and not steady:
        assert seconds * max(sizes[3:]) <= slabs.LONGEST


@pytest.mark.compiler
def test_sums_do_not_depend_on_a_clock(monkeypatch: pytest.MonkeyPatch):
    text = "def f(x):\n    for i in range(2):\n        x = x * 1.1\n    return sum(x)\n"
    rng = np.random.default_rng(0)
    x = rng.standard_normal((70, 1001)) * 10 ** rng.uniform(-8, 8, (70, 1001))
    found = set()
    for tick in (0.0, 0.05, 1.0):
        clock = itertools.count(0.0, tick)
        monkeypatch.setattr(slabs.time, "perf_counter", lambda clock=clock: next(clock))
        found.add(float(mexdask.apply(text, x, jit="require")))
    assert len(found) == 1


def test_the_first_failure_ends_it():
    seen: list[tuple[int, ...]] = []

    def compute(start: tuple[int, ...], _part: tuple[int, ...]) -> str | None:
        seen.append(start)
        return "failed" if len(seen) == 2 else None

    assert slabs.paced(compute, (100_000,), 1 << 18, steady=False) == "failed"
    assert len(seen) == 2


SEVERAL = """
def f(x, y):
    t = x + y
    u = maximum(t * 2, 0) - 1
    if y > 3:
        return u, 2 * t, x, t
    return t - u, 7.0, t, t
"""


@pytest.mark.parametrize("shape", [(), (1,), (11,), (3, 4), (2, 3, 5), (0, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_interpreted_results_lie_where_they_belong(
    shape: tuple[int, ...], order: Literal["C", "F"], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(chunk, "INTERPRETED_SLAB", 5)
    x = np.asarray(np.arange(math.prod(shape), dtype=float).reshape(shape), order=order)
    y = x % 7
    t, before = x + y, x.copy()
    u = np.maximum(t * 2, 0) - 1
    wanted = [np.where(y > 3, a, b) for a, b in ((u, t - u), (2 * t, 7.0), (x, t), (t, t))]
    for got, right in zip(mexdask.apply(SEVERAL, x, y, jit="off"), wanted, strict=True):
        assert np.shape(got) == shape
        assert np.array_equal(got, right)
    assert np.array_equal(x, before)
