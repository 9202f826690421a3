"""What a kernel costs before and beside its work: the first call, a warm start, each call.

First calls are timed in fresh processes, after everything has been imported: once with an empty
cache directory, once more with what the first process left there, once on the interpreter.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

import numpy as np

import mexdask
from divergent import MANDELBROT
from harness import (
    compare,
    option_parser,
    print_comparison,
    print_figure,
    print_header,
    summary,
    write_json,
)
from mexdask.frontend.source import source_of_text
from mexdask.runtime.compile import compile_image
from mexdask.runtime.dispatch import Unit, find
from mexdask.runtime.toolchain import Compiler, find_compiler
from mexdask.settings import kernel_settings, process_settings
from mexdask.specialise import specialise

FIRST_CALL = """
import time
import dask.array
import numpy as np
import mexdask

mexdask.apply, mexdask.kernel
a = np.linspace(0.0, 1.0, 1000)
start = time.perf_counter()
result = mexdask.apply("sqrt(a * a + b * b)", a, a)
seconds = time.perf_counter() - start
assert np.array_equal(result, np.sqrt(a * a + a * a))
print(seconds)
"""


def first_call(tmpdir: str, jit: str = "1") -> float:
    """Return the seconds of a small kernel's first call in a fresh process."""
    environ = os.environ | {"TMPDIR": tmpdir, "ME_DSL_JIT": jit}
    command = [sys.executable, "-W", "ignore", "-c", FIRST_CALL]
    done = subprocess.run(
        command, env=environ, stdout=subprocess.PIPE, text=True, check=True, timeout=300
    )
    return float(done.stdout)


def first_calls(rounds: int) -> dict[str, list[float]]:
    """Return the seconds of first calls; each round has a new and empty cache directory."""
    times: dict[str, list[float]] = {"empty cache": [], "from disk": [], "interpreter": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="mexdask-bench-") as tmpdir:
            times["empty cache"].append(first_call(tmpdir))
            times["from disk"].append(first_call(tmpdir))
            times["interpreter"].append(first_call(tmpdir, jit="0"))
    return times


SMALL = {"mandelbrot": MANDELBROT, "exp(x)": "exp(x)", "sin(x)": "sin(x)"}


def unit_of(source: str, dtypes: tuple[str, ...]) -> Unit:
    """Return what is compiled of a kernel of one stage."""
    return specialise(source_of_text(source), frozenset(), dtypes, "").result.unit


def compilation(unit: Unit, simd: str) -> Callable[[], None]:
    """Return the compiler's run on a kernel in one form of C, without any cache."""
    settings = dataclasses.replace(kernel_settings(), simd=simd)
    key = unit.key((), settings)
    text = unit.c_text(key, settings)
    compiler = find_compiler(process_settings())
    assert isinstance(compiler, Compiler), compiler

    def run() -> None:
        with tempfile.TemporaryDirectory() as directory:
            staging = os.path.join(directory, "jobs", "job")
            os.makedirs(staging)
            image = compile_image(compiler, text, key.target, staging, 60.0)
            assert isinstance(image, bytes), image

    return run


def main(argv: list[str] | None = None) -> int:
    """Measure first calls and the overhead of a call on one element."""
    parser = option_parser(__doc__.splitlines()[0], rounds=9)
    parser.add_argument("--number", type=int, default=2000, help="calls per timing of the overhead")
    options = parser.parse_args(argv)
    print_header("Latency")

    starts = summary("first call of a small kernel, imports done", first_calls(options.rounds))
    print_comparison(starts)
    for name, goal in (("empty cache", "at most 100"), ("from disk", "at most 3")):
        print_figure(name, starts.seconds[name] * 1e3, " ms", goal)

    one = np.ones(1)
    add = mexdask.kernel("a + b")
    engine = mexdask.explain(add, one, one).engine
    calls = compare(
        "a call on a 1-element array",
        {"np.add": lambda: np.add(one, one), engine: lambda: add(one, one)},
        options.rounds,
        number=options.number,
    )
    overhead = calls.seconds[engine] - calls.seconds["np.add"]
    print_figure(f"overhead of the {engine} call over np.add", overhead * 1e6, " µs", "at most 15")
    unit, settings = unit_of("a + b", ("float64[]",) * 2), kernel_settings()
    find(unit, settings)
    hits = compare(
        "finding a kernel that this process has loaded",
        {"memory hit": lambda: find(unit, settings)},
        options.rounds,
        number=options.number,
        rtol=None,
    )
    print_figure("memory hit", hits.seconds["memory hit"] * 1e6, " µs", "at most 5")
    compilations = []
    for name, text in SMALL.items():
        for dtype in ("float32", "float64"):
            arrays, numbers = (2, 1) if text is MANDELBROT else (1, 0)
            unit = unit_of(text, (f"{dtype}[]",) * arrays + ("weak int",) * numbers)
            forms = {"lanes": compilation(unit, "auto"), "scalar": compilation(unit, "off")}
            taken = compare(f"compiling {name}, {dtype}", forms, options.rounds, rtol=None)
            ratio = taken.seconds["lanes"] / taken.seconds["scalar"]
            print_figure(f"{name}, {dtype}: lanes over scalar", ratio, "x", "at most 1.5")
            compilations.append(taken)
    write_json(options.json, [starts, calls, hits, *compilations])
    return 0


if __name__ == "__main__":
    sys.exit(main())
