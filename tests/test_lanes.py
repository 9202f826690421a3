"""What lanes do by themselves: counters, integers, large results, strides; other machines."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from edges import bits, columns, edges

import mexdask
from mexdask import chunk, smallchunk
from mexdask.backend.cscalar import scalar_c
from mexdask.backend.csimd import simd_c
from mexdask.backend.gangs import STREAM_FROM
from mexdask.runtime.target import GCC_ONLY, host_target, target_flags

pytestmark = pytest.mark.compiler

WIDE_LEVELS = ("x86-64-v3", "x86-64-v4")
WIDTHS = ("off", "16", "32", "64")


def at_every_width(text: str, *arrays: object, form: str = "simd") -> Iterator[Any]:
    """Yield a kernel's result in the scalar form and in lanes of every width."""
    for simd in WIDTHS:
        with dask.config.set({"mexdask.simd": simd}):
            if simd == "64":
                assert mexdask.explain(text, *arrays).form in (form, "scalar")
            yield mexdask.apply(text, *arrays, jit="require")


def assert_all_equal(text: str, *arrays: object) -> None:
    want = mexdask.apply(text, *arrays, jit="off")
    for simd, got in zip(WIDTHS, at_every_width(text, *arrays), strict=True):
        np.testing.assert_array_equal(got, want, err_msg=f"{simd}: {text}")
        assert got.dtype == want.dtype


COUNTERS = {
    "past 32 bits": (
        """
def f(x, start):
    last = 0
    for i in range(start, start + 9):
        x = x - 1.0
        last = i
        if x < 0.0:
            return i
    return last if x > 3.0 else -last
""",
        (2**31 - 4, -(2**31) - 4, 2**33, 0, 2**31 - 1),
    ),
    "copied between variables": (
        """
def f(x, start):
    n = start
    seen = 0
    while x > 0.0:
        x = x - 1.0
        if x < 2.0:
            seen = n
        n += 1
        if n > start + 7:
            break
    return n + seen
""",
        (2**31 - 4, 0),
    ),
    "inner loops and continue": (
        """
def f(x, start):
    total = 0
    for i in range(6):
        n = start
        while n < start + i:
            n += 1
            if x < 1.0:
                break
            x = x - 0.25
        if x > 4.0:
            continue
        total += n - start
    return total * 10 + i
""",
        (0, 2**31 - 2),
    ),
    "floats in step": (
        """
def f(x, start):
    t = 0.5
    k = 0
    while x * t < 3.0:
        t = t * 1.5
        k += 1
        if k > 20 + start:
            break
    return t + k
""",
        (0, 3),
    ),
}


@pytest.mark.parametrize("name", COUNTERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_counters_that_lanes_take_along(name: str, dtype: str):
    text, starts = COUNTERS[name]
    x = np.linspace(-1, 11, 333).astype(dtype)
    for start in starts:
        assert_all_equal(text, x, start)


INTEGERS = "int32 int64 uint32 uint64"


@pytest.mark.parametrize("symbol", ["//", "%", "<<", ">>"])
@pytest.mark.parametrize("dtype", [*INTEGERS.split(), "int8", "uint16"])
def test_integers_at_their_edges_in_live_and_dead_lanes(symbol: str, dtype: str):
    rng = np.random.default_rng(3)
    values = edges(np.dtype(dtype))
    info = np.iinfo(dtype)
    close = np.array([2**k + d for k in (50, 51, 52) for d in (-1, 0, 1)]).astype(dtype)
    random = rng.integers(info.min, info.max, 40, dtype=dtype, endpoint=True)
    values = np.concatenate([values, close, random])
    a, b = (side.ravel() for side in np.meshgrid(values, values))
    assert_all_equal(f"a {symbol} b", a, b)
    loop = f"""
def f(a, b):
    n = 0
    while a != b and n < 3:
        if b > a:
            b = a {symbol} b
        else:
            a = a {symbol} 7
        n += 1
    return a ^ b
"""
    assert_all_equal(loop, a, b)


ON_FLOATS = (
    "a % b", "a // b", "fmod(a, b)", "clip(a, b, c)", "isnan(a)", "isinf(a)", "isfinite(a)",
    "signbit(a)", "deg2rad(a)", "rad2deg(a)", "fdim(a, b)", "abs(a)", "fmin(a, b)", "fmax(a, b)",
    "minimum(a, b)", "maximum(a, b)", "square(a)", "nextafter(a, b)", "ldexp(a, n - 1)",
    "ldexp(a, np.int32(n) * 700)", "ldexp(b, int(c))",
)  # fmt: skip
ON_INTEGERS = ("abs(a)", "clip(a, b, c)", "a ** 5", "a ** (abs(b) % 41)", "isfinite(a)", "isnan(a)",
               "fmin(a, b)", "minimum(a, b)", "maximum(a, b)", "square(a)", "fmod(a, b)",
               "fmod(a, 10)", "fmod(a, 16)", "a // b", "a % b", "a // 10", "a % 10",
               "100 // b")  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64", *INTEGERS.split()])
def test_functions_in_loops_are_computed_in_lanes(dtype: str):
    calls = ON_FLOATS if dtype.startswith("f") else ON_INTEGERS
    values = "".join(f"        r{k} = {call}\n" for k, call in enumerate(calls))
    results = ", ".join(f"r{k}" for k in range(len(calls)))
    text = (
        f"def f(a, b, c):\n    n = 0\n    while True:\n{values}"
        "        a, b, c = b, c, a\n        n += 1\n        if a > b or n > 3:\n"
        f"            return {results}\n"
    )
    a, b, c = columns((np.dtype(dtype),) * 3, 500)
    b[::3] = np.roll(a, 1)[::3]
    if dtype.endswith("32") and host_target().isa in WIDE_LEVELS:
        assert mexdask.explain(text, a, b, c).form == "simd"
    want = mexdask.apply(text, a, b, c, jit="off")
    for simd, got in zip(WIDTHS, at_every_width(text, a, b, c), strict=True):
        for call, result, expected in zip(calls, got, want, strict=True):
            message = f"{simd}: {call}"
            np.testing.assert_array_equal(bits(result), bits(expected), err_msg=message)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_narrow_integers_are_divided_in_lanes(dtype: str):
    calls = ("a // b", "a % b", "fmod(a, b)", "a // 10", "a % 10", "fmod(a, 10)", "100 // b")
    values = "".join(f"        r{k} = r{k} + {call}\n" for k, call in enumerate(calls))
    starts = "".join(f"    r{k} = np.{dtype}(0)\n" for k in range(len(calls)))
    results = ", ".join(f"r{k}" for k in range(len(calls)))
    text = (
        f"def f(a, b, n):\n{starts}    while n > 0:\n{values}        n -= 1\n    return {results}\n"
    )
    values = np.unique(np.append(edges(np.dtype(dtype)), np.arange(-9, 10).astype(dtype)))
    a, b = (side.ravel() for side in np.meshgrid(values, values))
    trips = np.arange(a.size, dtype="int32") % 3
    if host_target().isa in WIDE_LEVELS:
        assert mexdask.explain(text, a, b, trips).form == "simd"
    want = mexdask.apply(text, a, b, trips, jit="off")
    for simd, got in zip(WIDTHS, at_every_width(text, a, b, trips), strict=True):
        for call, result, expected in zip(calls, got, want, strict=True):
            np.testing.assert_array_equal(result, expected, err_msg=f"{simd}: {call}")


@pytest.mark.parametrize("symbol", ["<", "<=", ">", ">=", "==", "!="])
def test_integers_of_either_sign_compare_exactly_in_loops(symbol: str):
    signed, unsigned = (edges(np.dtype(name)) for name in ("int64", "uint64"))
    a, b = (side.ravel() for side in np.meshgrid(signed, unsigned))
    loop = f"""
def f(a, b):
    met = np.float32(0.5)
    for i in range(3):
        if a {symbol} b:
            met *= 2
        if b {symbol} a:
            met *= 3
        a = a + 1
        b = b - np.uint64(1)
    return met
"""
    if host_target().isa in WIDE_LEVELS:
        assert mexdask.explain(loop, a, b).form == "simd"
    assert_all_equal(loop, a, b)


@pytest.mark.parametrize("dtype", [*INTEGERS.split(), "int8", "uint16"])
def test_division_by_constants(dtype: str):
    info = np.iinfo(dtype)
    rng = np.random.default_rng(5)
    random = rng.integers(info.min, info.max, 300, dtype=dtype, endpoint=True)
    values = np.concatenate([edges(np.dtype(dtype)), random])
    divisors = {0, 1, 2, 3, 7, 10, 64, 100, 360, 641, -1, -2, -3, -100, info.max, info.min}
    allowed = sorted(n for n in divisors if info.min <= n <= info.max)
    terms = [
        f"{word.format(f'np.{dtype}({n})')}"
        for n in allowed
        for word in ("x // {}", "x % {}", "fmod(x, {})")
    ]
    sums = "".join(f"        r{k} = r{k} * 3 + {term}\n" for k, term in enumerate(terms))
    names = [f"r{k}" for k in range(len(terms))]
    text = (
        f"def f(x, n):\n    {' = '.join(names)} = np.{dtype}(0)\n    while n > 0:\n{sums}"
        f"        x += 1\n        n -= 1\n    return {', '.join(names)}\n"
    )
    trips = np.arange(values.size, dtype="int32") % 3
    want = mexdask.apply(text, values, trips, jit="off")
    for simd, got in zip(WIDTHS, at_every_width(text, values, trips), strict=True):
        for term, result, expected in zip(terms, got, want, strict=True):
            np.testing.assert_array_equal(result, expected, err_msg=f"{simd}: {term}")


def test_division_of_random_integers():
    rng = np.random.default_rng(4)
    bits = rng.integers(1, 63, 4000)
    a = rng.integers(-(2**62), 2**62, 4000) >> bits
    b = rng.integers(-(2**62), 2**62, 4000) >> bits[::-1]
    b[:50] = rng.integers(-3, 4, 50)
    assert_all_equal("a // b", a, b)
    assert_all_equal("a % b", a, b)
    multiples = b * rng.integers(-1000, 1000, 4000)
    for near in (-1, 0, 1):
        assert_all_equal("a // b", multiples + near, b)


@pytest.mark.parametrize("source", ["float32", "float64"])
@pytest.mark.parametrize("target", [*INTEGERS.split(), "int8", "uint16"])
def test_floats_to_integers(source: str, target: str):
    x = edges(np.dtype(source))
    assert_all_equal(f"np.{target}(x)", np.concatenate([x, -x]))
    loop = f"""
def f(x):
    n = np.{target}(0)
    for i in range(3):
        n = n + np.{target}(x)
        x = x * 2.5
    return n
"""
    assert_all_equal(loop, np.concatenate([x, -x]))


SHARED = """
def f(x, y):
    if x > 0.5:
        return exp(x / y) + 1.0
    elif x < -0.5:
        z = sqrt(y) / x
    else:
        z = exp(x / y) - sqrt(y)
    for i in range(3):
        if z > 1.0:
            z = z - exp(x / y)
        z = z + sqrt(y) / 3.0
    return z
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shared_expressions_have_the_bits_of_the_scalar_form(dtype: str):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 1001)).astype(dtype)
    scalar, *others = at_every_width(SHARED, x, y)
    for got in others:
        np.testing.assert_array_equal(got, scalar)


@pytest.mark.parametrize("text", [SHARED, "sin(x) * y", "x / y - 1", COUNTERS["floats in step"][0]])
def test_an_element_does_not_depend_on_place_neighbours_or_length(text: str):
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(2, 700)).astype("f4")
    second = 2 if "start" in text else y
    want = mexdask.apply(text, x, second, jit="require")
    order = rng.permutation(700)
    moved = second if second is not y else y[order]
    np.testing.assert_array_equal(mexdask.apply(text, x[order], moved, jit="require"), want[order])
    for size in (1, 3, 15, 16, 17, 63, 64, 65, 128, 129, 500):
        part = second if second is not y else y[:size]
        np.testing.assert_array_equal(
            mexdask.apply(text, x[:size], part, jit="require"), want[:size]
        )
    import dask.array as da

    for chunks in (7, 64, 333):
        lazy = da.from_array(x, chunks=chunks)
        other = second if second is not y else da.from_array(y, chunks=chunks)
        got = mexdask.apply(text, lazy, other, jit="require").compute()
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_large_results_and_odd_strides(dtype: str):
    x = (np.arange(STREAM_FROM // np.dtype(dtype).itemsize + 37) % 1000).astype(dtype)
    want = x * 3 + 1
    np.testing.assert_array_equal(mexdask.apply("x * 3 + 1", x, jit="require"), want)
    np.testing.assert_array_equal(mexdask.apply("x * 3 + 1", x[5:], jit="require"), want[5:])
    np.testing.assert_array_equal(mexdask.apply("x * 3 + 1", x[::-1], jit="require"), want[::-1])
    two = mexdask.apply("x + y", x[:1000, None], x[None, :777], jit="require")
    np.testing.assert_array_equal(two, x[:1000, None] + x[None, :777])
    row = mexdask.apply("x + y", x[:999].reshape(333, 3), x[:3], jit="require")
    np.testing.assert_array_equal(row, x[:999].reshape(333, 3) + x[:3])


def test_slabs_of_kernels_without_loops_are_joined_without_a_seam(monkeypatch: pytest.MonkeyPatch):
    x = np.arange(1000.0)
    for size in (1, 63, 64, 100, 999):
        monkeypatch.setattr(chunk, "STRAIGHT_SLAB", size)
        monkeypatch.setattr(smallchunk, "STRAIGHT_SLAB", 0)
        np.testing.assert_array_equal(mexdask.apply("x / 3 + 1", x, jit="require"), x / 3 + 1)


TARGETS = {
    "aarch64-linux-gnu": ("Linux", 16),
    "arm64-apple-macos11": ("Darwin", 16),
    "x86_64-apple-macos11": ("Darwin", 16),
    "x86_64-linux-gnu": ("Linux", 32),
}


@pytest.mark.parametrize("triple", TARGETS)
@pytest.mark.parametrize("form", ["scalar", "simd"])
def test_other_machines_take_the_text(triple: str, form: str, tmp_path: Path):
    if not shutil.which("clang"):
        pytest.skip("no clang, which knows other machines")
    system, width = TARGETS[triple]
    kernels = [
        (COUNTERS["past 32 bits"][0], ("float32[]", "weak int")),
        (SHARED, ("float64[]", "float64[]")),
        ("a // b + (a << b)", ("int64[]", "int64[]")),
        ("x * 3.0 + 1.0", ("float32[]",)),
    ]
    from mexdask.frontend.source import source_of_text
    from mexdask.specialise import Specialisation, parsed_kernel

    for number, (text, signature) in enumerate(kernels):
        special = Specialisation(parsed_kernel(source_of_text(text)), signature, "", 1)
        unit = special.result.unit
        path = tmp_path / f"{number}.c"
        path.write_text(
            simd_c(unit.masked, "k", "", width)
            if form == "simd" else scalar_c(unit.function, "k", "")
        )  # fmt: skip
        isa = "x86-64-v3" if width == 32 else ""
        flags = target_flags("strict", isa, (), system, lanes=form == "simd")
        quiet = ["-Wno-ignored-optimization-argument", "-Wno-unused-command-line-argument"]
        command = ["clang", f"--target={triple}", "-S", "-o", "/dev/null", str(path), *quiet]
        command += [f for f in flags if f not in ("-shared", "-lm", *GCC_ONLY)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
