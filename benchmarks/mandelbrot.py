"""Warm Mandelbrot tiles on one thread: native code, the interpreter, and numba if installed.

All contenders run one and the same function, and their results are compared before they are timed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import dask
import numpy as np

import mexdask
from harness import (
    Comparison,
    compare,
    option_parser,
    print_figure,
    print_header,
    write_json,
)

try:
    import numba
except ImportError:
    numba = None

GOALS = (
    ("native simd", "interpreter", "at least 20"),
    ("native scalar", "numba", "at least 0.95"),
    ("native simd", "numba", "what the lanes gain"),
)


def escape_time(re, im, max_iter):
    """Return the number of steps after which a point is known to escape.

    Without float literals in its arithmetic, so that numba too computes in the dtype of the input.
    """
    zr = re
    zi = im
    for step in range(max_iter):
        zr2 = zr * zr
        zi2 = zi * zi
        if zr2 + zi2 > 4:
            return step
        zi = (zr + zr) * zi + im
        zr = zr2 - zi2 + re
    return max_iter


def tile(size: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the real and imaginary parts of the classic window."""
    re, im = np.meshgrid(np.linspace(-2.0, 0.5, size), np.linspace(1.25, -1.25, size))
    return re.astype(dtype), im.astype(dtype)


def contenders(size: int, dtype: str, max_iter: int) -> dict[str, Callable[[], object]]:
    """Return one call for each engine, and each form of native code."""
    re, im = tile(size, dtype)
    kernel = mexdask.kernel(escape_time)
    calls: dict[str, Callable[[], object]] = {}
    for simd in ("auto", "off"):
        with dask.config.set({"mexdask.simd": simd}):
            explanation = mexdask.explain(kernel, re, im, max_iter)
        if explanation.engine == "native":
            calls[f"native {explanation.form}"] = configured(simd, kernel, re, im, max_iter)
        else:
            print(f"no native code here: {explanation.reason}")
    calls["interpreter"] = lambda: kernel(re, im, max_iter, jit="off")
    if numba is not None:
        compiled = numba.vectorize([f"int64({dtype}, {dtype}, int64)"])(escape_time)
        calls["numba"] = lambda: compiled(re, im, max_iter)
    return calls


def configured(simd: str, kernel: mexdask.Kernel, *arguments: object) -> Callable[[], object]:
    """Return a call of a kernel under a value of ``mexdask.simd``."""

    def call() -> object:
        with dask.config.set({"mexdask.simd": simd}):
            return kernel(*arguments, jit="require")

    return call


def print_figures(result: Comparison) -> None:
    """Print what was promised: the speed of native code relative to the others."""
    for form, other, goal in GOALS:
        if form in result.ratios.get(other, {}):
            print_figure(f"{form} against {other}", result.ratios[other][form], "x", goal)


def main(argv: list[str] | None = None) -> int:
    """Compare the contenders for float32 and float64."""
    parser = option_parser(__doc__.splitlines()[0], rounds=7)
    parser.add_argument("--size", type=int, default=512, help="pixels on each side of the tile")
    parser.add_argument("--max-iter", type=int, default=200, help="steps before a point is inside")
    options = parser.parse_args(argv)
    print_header("Mandelbrot tiles, warm, one thread")
    results = []
    for dtype in ("float32", "float64"):
        calls = contenders(options.size, dtype, options.max_iter)
        name = f"mandelbrot {dtype} {options.size}x{options.size}, max_iter {options.max_iter}"
        results.append(compare(name, calls, options.rounds))
        print_figures(results[-1])
    write_json(options.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
