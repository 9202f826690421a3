"""Many kernels in one translation unit: native code for hundreds of them in a few seconds.

The C of each kernel, the flags and the way it is called are those of production; only the type
definitions and the prelude stand once at the top, and each kernel has names of its own.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mexdask import ir
from mexdask.backend.cabi import CALL_STRUCT, ENTRY_ARGTYPES, ENTRY_RESTYPE
from mexdask.backend.cdriver import entry, key_symbol
from mexdask.backend.cprelude import helpers
from mexdask.backend.cscalar import TYPES, element, line
from mexdask.backend.csimd import simd_c
from mexdask.chunk import run_interpreted, run_native
from mexdask.runtime.load import LoadedKernel
from mexdask.runtime.target import LEVELS, host_target, target_flags
from mexdask.runtime.toolchain import Compiler, find_compiler, spelt
from mexdask.settings import WHILE_MAX_ITERS, KernelSettings, process_settings
from mexdask.specialise import Specialisation

LEVEL = {64: "x86-64-v4", 32: "x86-64-v3", 16: "x86-64-v2"}
"""The least of the levels whose vectors have that many bytes."""
HOST = host_target().isa
# What clang alone complains of: a variable set to itself, precedence, calls under an #if.
QUIET = ("self-assign", "bitwise-conditional-parentheses", "unused-function")
WARNINGS = ("-Wall", "-Wextra", *(f"-Wno-{what}" for what in QUIET))
TOLERATED = ("tautological-compare", "type-limits", "overflow", "integer-overflow", "psabi")
QUICK = ("-O1", "-ftree-vectorize")
"""Half the time of -O3, which random kernels and comparisons of levels have."""
SHARE = 40
"""Kernels in one file; files are compiled side by side."""


LOCAL = ("element", "line", "me_ufunc")
"""Names that each kernel of a text has for itself."""


def unit_text(functions: Sequence[tuple[str, ir.Function]]) -> str:
    """Return one C text with an entry point of the given name for each function."""
    bodies = [element(function) for _, function in functions]
    parts = [TYPES + CALL_STRUCT + helpers("".join(bodies))]
    for (symbol, function), body in zip(functions, bodies, strict=True):
        own = "".join(f"#define {name} {name}_{symbol}\n" for name in LOCAL)
        parts += [own, body, line(function), entry(function, symbol)]
        parts += [f"#undef {name}\n" for name in LOCAL]
    return "\n".join(parts)


class Library:
    """The native code of many functions, and what the compiler said about them."""

    def __init__(
        self, functions: Sequence[ir.Function], directory: Path, extra: Sequence[str] = ()
    ):
        self.functions = {id(f): f for f in functions}
        self.symbols = {key: f"k{n}" for n, key in enumerate(self.functions)}
        self.entries: dict[str, Any] = {}
        self.log = ""
        by_mode: dict[str, list[ir.Function]] = {}
        for function in self.functions.values():
            by_mode.setdefault(function.fp, []).append(function)
        jobs = [
            (directory / f"{mode}{i}", mode, members[i : i + SHARE], extra)
            for mode, members in by_mode.items()
            for i in range(0, len(members), SHARE)
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for log in pool.map(self.build, *zip(*jobs, strict=True)):
                self.log += log

    def build(
        self, path: Path, mode: str, functions: Sequence[ir.Function], extra: Sequence[str]
    ) -> str:
        """Compile one file, load it and return what the compiler said."""
        compiler = find_compiler(process_settings())
        assert isinstance(compiler, Compiler), compiler
        symbols = [self.symbols[id(function)] for function in functions]
        source, image = path.with_suffix(".c"), path.with_suffix(".so")
        source.write_text(unit_text(list(zip(symbols, functions, strict=True))))
        flags = [*WARNINGS, *host_target(mode).flags, *extra]
        command = [*compiler.argv, "-o", str(image), str(source), *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        library = ctypes.CDLL(str(image))
        for symbol in symbols:
            call = library[symbol]
            call.argtypes, call.restype = ENTRY_ARGTYPES, ENTRY_RESTYPE
            self.entries[symbol] = call
        return done.stderr

    def kernel(self, specialisation: Specialisation) -> LoadedKernel:
        """Return a kernel as the runtime would have loaded it."""
        return self.entry(specialisation.result.function)

    def entry(self, function: ir.Function) -> LoadedKernel:
        """Return one function as the runtime would have loaded it."""
        call = self.entries[self.symbols[id(function)]]
        return LoadedKernel(call, None, None, "compiled", None)  # its identity is no matter here


def lanes(
    specialisations: Sequence[Specialisation], width: int, directory: Path
) -> Iterator[LoadedKernel]:
    """Compile the vector form of kernels, two at a time, and yield each loaded."""
    compiler = find_compiler(process_settings())
    assert isinstance(compiler, Compiler), compiler
    level = LEVEL[width] if HOST in LEVELS else HOST

    def start(number: int, special: Specialisation) -> tuple[Path, subprocess.Popen[str]]:
        path = directory / f"{number}.c"
        text = simd_c(special.result.unit.masked, f"k{number}", "", width)
        path.write_text(text.replace(key_symbol(""), ""))
        # A kernel may compare a number with itself, loop over nothing, or wrap constants.
        strict = ["-Werror", *(f"-Wno-{what}" for what in TOLERATED)]
        flags = spelt(compiler, target_flags(special.result.function.fp, level, lanes=True))
        command = [*compiler.argv, "-o", f"{path}.so", str(path), *WARNINGS, *strict, *flags]
        return path, subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    waiting, running = list(enumerate(specialisations)), []
    while waiting or running:
        while waiting and len(running) < 2:
            running.append(start(*waiting.pop(0)))
        path, process = running.pop(0)
        _, log = process.communicate(timeout=100)
        assert process.returncode == 0, (path.read_text(), log)
        call = ctypes.CDLL(f"{path}.so")[f"k{path.stem}"]
        call.argtypes, call.restype = ENTRY_ARGTYPES, ENTRY_RESTYPE
        yield LoadedKernel(call, None, None, "compiled", None)


Failed = tuple[int, tuple[int, ...]]


def run(
    specialisation: Specialisation,
    native: LoadedKernel | None,
    arguments: Sequence[Any],
    limit: int = WHILE_MAX_ITERS,
) -> tuple[np.ndarray[Any, Any], Failed | None]:
    """Run a kernel through native code or, where there is none, the interpreter.

    Returns the result and, if an element failed, its site and index.
    """
    stage = specialisation.result
    params = stage.function.params
    values = [np.asarray(a, p.var.dtype) for a, p in zip(arguments, params, strict=True)]
    shape = np.broadcast_shapes(*(v.shape for v in values))
    out = np.zeros(shape, specialisation.dtypes[0])
    settings = KernelSettings(while_max_iters=limit)
    if native is not None:
        end = run_native(stage, native, values, [out], shape, None, settings)
    else:
        end = run_interpreted(stage, values, [out], shape, None, settings)
    return out, end.failed


def result(
    specialisation: Specialisation, native: LoadedKernel | None, arguments: Sequence[Any]
) -> np.ndarray[Any, Any]:
    """Run a kernel of which no element may fail."""
    out, failed = run(specialisation, native, arguments)
    assert failed is None, failed
    return out
