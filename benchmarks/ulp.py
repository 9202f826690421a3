"""How far vector math is from the exact value, and how fast it is beside NumPy.

float64 is compared with mpmath, on numbers of all sizes and on those that are hard for a function.
float32 is compared with our float64: all numbers there are for one argument, samples for two. The
unit is that of the last place of the exact value.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import mexdask
from harness import print_header
from mexdask.ops import FUNCTIONS, TABLE, VECTOR_MATH_ULP, Op

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from exact import largest_error, mean_error

Array = np.ndarray[Any, Any]
OPS = [op for op in (TABLE["**"], *FUNCTIONS) if op.ulp == VECTOR_MATH_ULP]
PIECE = 1 << 22
QUICK = (200, 400009)
"""Number of float64 arguments, and every how many of float32, that take seconds."""

# How far apart the results for float32 are, by the float64 function; inf where one is special.
ERROR = """
def error({params}):
    y = float64({call})
    r = {wide}
    c = abs(float32(r))
    if isnan(r) or isnan(y):
        return 0.0 if isnan(r) and isnan(y) else inf
    if c == float32(inf):
        return 0.0 if y == r or (isinf(y) and signbit(y) == signbit(r)) else inf
    unit = float64(nextafter(c, float32(inf))) - float64(c)
    return abs(y - r) / (unit if c < float32(3.4e38) else 2.028240960365167e31)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """The errors of one function.

    Parameters
    ----------
    name, dtype : str
        Which function.
    count : int
        Numbers that were looked at.
    most, mean : float
        Errors in units in the last place.
    where : str
        The argument of the largest.
    """

    name: str
    dtype: str
    count: int
    most: float
    mean: float
    where: str


def call(op: Op, *operands: str) -> str:
    """Return a call in the language."""
    return " ** ".join(operands) if op.name == "**" else f"{op.name}({', '.join(operands)})"


def apply(op: Op, *arrays: Array) -> Array:
    """Return a function's values from native code."""
    return mexdask.apply(call(op, *"ab"[: op.arity]), *arrays, jit="require")


# Samples of float64.


@np.errstate(all="ignore")
def samples(op: Op, count: int) -> list[Array]:
    """Return arguments: of all sizes, near what is special, and where results are in range."""
    columns = [np.concatenate(list(column(seed, count))) for seed in range(op.arity)]
    if op.arity == 1:
        return [np.concatenate([columns[0], *hard(op.name, count)])]
    a, b = (np.random.default_rng(k + 9).permutation(c) for k, c in enumerate(columns))
    rng = np.random.default_rng(5)
    alike = a * rng.uniform(0.2, 4, a.size)
    pairs = [(a, b), (a, alike), (alike, a)]
    if op.name == "**":
        base = np.abs(a)
        reach = rng.uniform(-1080, 1025, a.size) / np.log2(base)
        pairs += [(base, reach), (1 + rng.uniform(-0.4, 0.5, a.size), 700 * b / (1 + abs(b)))]
    return [np.concatenate(column) for column in zip(*pairs, strict=True)]


def column(seed: int, count: int) -> Iterator[Array]:
    """Yield numbers for any function."""
    rng = np.random.default_rng(seed)
    n = max(8, count // 8)
    yield rng.choice([-1.0, 1.0], n) * np.exp2(rng.uniform(-1074, 1024, n))
    yield rng.integers(-(2**63), 2**63 - 1, n).view(np.float64)
    yield rng.uniform(-12, 12, 2 * n)
    yield rng.uniform(-1, 1, n)
    yield rng.choice([-1, 1], n) * np.exp2(rng.uniform(-30, 6, n))
    yield 1 + rng.choice([-1, 1], n) * np.exp2(rng.uniform(-53, -1, n))
    yield np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 2.2250738585072014e-308, 1e308])


def hard(name: str, count: int) -> Iterator[Array]:
    """Yield numbers at which functions of a family go wrong first."""
    rng, n = np.random.default_rng(3), max(8, count // 4)
    if name in ("sin", "cos", "tan"):
        k = np.unique(np.rint(np.exp2(rng.uniform(0, 60, n))))
        yield k * (np.pi / 2)
        yield rng.uniform(-4e7, 4e7, n)
        yield np.array([1e22, 6381956970095103 * 2.0**797, 5.319372648326541e255, 2.0**24])
    if name in ("exp", "exp2", "exp10", "expm1", "sinh", "cosh"):
        scale = {"exp2": np.log2(np.e), "exp10": np.log10(np.e)}.get(name, 1.0)
        yield rng.uniform(-746, 711, n) * scale
        yield (rng.integers(-1070, 1020, n) + 0.5) * np.log(2) * scale
    if name in ("log", "log2", "log10", "log1p", "acosh"):
        yield np.exp2(rng.integers(-1070, 1020, n)) * rng.choice([np.sqrt(0.5), np.sqrt(2)], n)
        yield 1 + np.abs(rng.standard_cauchy(n)) * 1e-3
    if name in ("asin", "acos", "atanh", "atan", "erf", "erfc", "asinh", "tanh"):
        steps = np.repeat([0.25, 0.5, 1.0, 2.0, 1e-8], n // 5 + 1)
        yield steps * (1 + rng.normal(0, 1e-3, steps.size))
    if name in ("erfc", "erf"):
        yield rng.uniform(-6, 28, n)
    if name in ("sinpi", "cospi"):
        yield rng.integers(-(2**20), 2**20, n) / 4 + rng.normal(0, 1e-9, n)


# The two comparisons.


def by_mpmath(op: Op, count: int) -> Row:
    """Return the errors of a float64 function."""
    arguments = samples(op, count)
    got = apply(op, *arguments)
    most, where = largest_error(got, op, arguments)
    return Row(op.name, "float64", got.size, most, mean_error(got, op, arguments), where)


def by_float64(op: Op, stride: int) -> Row:
    """Return the errors of a float32 function: of every ``stride``-th number, or of samples."""
    params = "ab"[: op.arity]
    wide = [f"float64({p})" for p in params]
    text = ERROR.format(params=", ".join(params), call=call(op, *params), wide=call(op, *wide))
    worst, total, count, where = -1.0, 0.0, 0, ""
    for arguments in bit_patterns(stride) if op.arity == 1 else pairs(2**32 // stride // 64):
        errors = mexdask.apply(text, *arguments, jit="require")
        if op.name == "logaddexp":  # as precise as its terms: half the numbers near 0 have no unit
            errors = np.where(np.abs(apply(op, *arguments)) < 0.5, 0, errors)
        at = int(np.argmax(errors))
        if errors[at] > worst:
            worst, where = float(errors[at]), ", ".join(repr(a[at]) for a in arguments)
        total, count = total + float(errors.sum()), count + errors.size
    return Row(op.name, "float32", count, worst, total / count, where)


def bit_patterns(stride: int) -> Iterator[list[Array]]:
    """Yield float32 numbers by their bits."""
    for start in range(0, 2**32, PIECE * stride):
        stop = min(2**32, start + PIECE * stride)
        yield [np.arange(start, stop, stride, np.uint64).astype(np.uint32).view(np.float32)]


def pairs(count: int) -> Iterator[list[Array]]:
    """Yield pairs of float32 numbers."""
    rng = np.random.default_rng(2)
    for start in range(0, count, PIECE):
        n = min(PIECE, count - start)
        bits = rng.integers(0, 2**32, (2, n), np.uint32).view(np.float32)
        near = rng.uniform(-20, 20, (2, n)).astype(np.float32)
        chosen = np.where(rng.integers(0, 2, (2, n)) == 0, bits, near)
        yield [chosen[0], chosen[1]]


def nanoseconds(op: Op, dtype: str, size: int = 1 << 17, rounds: int = 15) -> tuple[float, float]:
    """Return the time per element of native code and of NumPy's own, in cache."""
    rng = np.random.default_rng(1)
    low, high = {"acosh": (1.1, 9.0)}.get(op.name, (0.1, 0.95))
    arguments = [rng.uniform(low, high, size).astype(dtype) for _ in range(op.arity)]
    calls = (lambda: apply(op, *arguments), lambda: op.numpy(*arguments))
    best = [1e9, 1e9]
    for _ in range(rounds):
        for which, run in enumerate(calls):
            start = time.perf_counter()
            run()
            best[which] = min(best[which], time.perf_counter() - start)
    return best[0] / size * 1e9, best[1] / size * 1e9


def measure(ops: list[Op], count: int, stride: int) -> Iterator[Row]:
    """Yield the errors of functions in both dtypes."""
    for op in ops:
        yield by_float64(op, stride)
        yield by_mpmath(op, count)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="names of functions, comma-separated")
    parser.add_argument("--quick", action="store_true", help="few numbers, in seconds")
    parser.add_argument("--count", type=int, default=40000, help="float64 numbers per function")
    parser.add_argument("--stride", type=int, default=1, help="every how many float32 numbers")
    parser.add_argument("--time", action="store_true", help="measure the speed as well")
    return parser.parse_args(arguments)


def main() -> None:
    """Print a table; fail if a function misses its bound."""
    options = parse()
    if options.quick:
        options.count, options.stride = QUICK
    names = options.only.split(",") if options.only else [op.name for op in OPS]
    print_header("Vector math against exact values, in units in the last place")
    print(f"\n{'function':10s} {'dtype':8s} {'numbers':>11s} {'max':>6s} {'mean':>6s}  at")
    failed = []
    for row in measure([TABLE[name] for name in names], options.count, options.stride):
        speed = ""
        if options.time:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ours, numpys = nanoseconds(TABLE[row.name], row.dtype)
            speed = f"  {ours:.2f} ns, NumPy {numpys:.2f} ns"
        print(
            f"{row.name:10s} {row.dtype:8s} {row.count:11d} {row.most:6.3f} {row.mean:6.3f}  "
            f"{row.where}{speed}",
            flush=True,
        )
        failed += [row.name] if row.most > VECTOR_MATH_ULP else []
    if failed:
        raise SystemExit(f"more than {VECTOR_MATH_ULP} ulp: {', '.join(failed)}")


if __name__ == "__main__":
    main()
