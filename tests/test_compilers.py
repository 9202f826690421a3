"""The generated C means the same to every compiler at every level, and sanitizers are silent.

Both forms are looked at: one element at a time, and lanes for the kernels that choose them.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch import run, unit_text
from corpus import Case, load
from edges import assert_same

from mexdask.backend.cabi import ENTRY_ARGTYPES, ENTRY_RESTYPE
from mexdask.backend.csimd import simd_c
from mexdask.backend.form import choose, vector_width
from mexdask.chunk import run_native
from mexdask.runtime.load import LoadedKernel
from mexdask.runtime.target import GCC_ONLY, host_target
from mexdask.settings import KernelSettings

pytestmark = pytest.mark.compiler

FORMS = ("scalar", "simd")
NAMES = ("gcc", "clang")
OTHERS = tuple(
    f"{name}-{version}"
    for name, versions in {"gcc": range(9, 20), "clang": range(10, 25)}.items()
    for version in versions
)
LEVELS = ("-O0", "-O2", "-O3")
SANITIZERS = (
    "-O0",
    "-fsanitize=undefined,float-cast-overflow,address",
    "-fno-sanitize-recover=all",
)
BUGS = {
    "one element too many": ("scalar", "k < n", "k <= n", "heap-buffer-overflow"),
    "the last gang read whole": ("simd", "&& lanes ==", "&& lanes <=", "overflow"),
    "a division by zero": (
        "scalar",
        "int last = 0;",
        "int last = 0; last /= last;",
        "division by zero",
    ),
}
"""A form, what is right in its text, what is wrong, and what a sanitizer calls it."""

LIMIT = 50
SHARE = 20
"""Kernels in one file of the scalar form; a gang has a file of its own."""
WIDTH = vector_width(host_target().isa, "auto")

Pair = tuple[Case, LoadedKernel]


def spread(form: str, count: int) -> list[Case]:
    """Return about ``count`` kernels that have a form, from one end of the corpus to the other."""
    cases = list({(c.topic, c.name): c for c in having(form)}.values())
    tables = [c for c in cases if c.name == "sines"]  # its lanes read a table
    return [*tables, *cases[:: max(1, len(cases) // count)]]


@functools.cache
def having(form: str) -> tuple[Case, ...]:
    """Return the cases that have a form."""
    if form == "scalar":
        return load()
    return tuple(c for c in load() if choose(c.specialisation.result.unit.masked, WIDTH).width)


def files(cases: Sequence[Case], form: str) -> Iterator[tuple[str, str, dict[str, Case]]]:
    """Yield each file's text, its mode of floating-point arithmetic, and the cases by symbol."""
    if form == "simd":
        for n, case in enumerate(cases):
            unit = case.specialisation.result.unit
            yield simd_c(unit.masked, f"k{n}", "", WIDTH), unit.function.fp, {f"k{n}": case}
        return
    by_mode: dict[str, list[Case]] = {}
    for case in cases:
        by_mode.setdefault(case.specialisation.result.function.fp, []).append(case)
    for mode, members in by_mode.items():
        for start in range(0, len(members), SHARE):
            named = {f"k{n}": c for n, c in enumerate(members[start : start + SHARE])}
            functions = [(symbol, c.specialisation.result.function) for symbol, c in named.items()]
            yield unit_text(functions), mode, named


def compiled(
    cases: Sequence[Case],
    form: str,
    compiler: str,
    extra: Sequence[str],
    change: Callable[[str], str] = str,
) -> list[Pair]:
    """Compile cases in a form and return them loaded."""

    def build(number: int, text: str, mode: str, named: dict[str, Case]) -> list[Pair]:
        source, image = Path(directory, f"{number}.c"), Path(directory, f"{number}.so")
        source.write_text(change(text))
        flags = [*host_target(mode, lanes=form == "simd").flags, *extra]
        if "clang" in compiler:
            flags = [flag for flag in flags if flag not in GCC_ONLY]
        command = [compiler, "-o", str(image), str(source), *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, (compiler, extra, done.stderr)
        library = ctypes.CDLL(str(image))
        pairs = []
        for symbol, case in named.items():
            call: Any = library[symbol]
            call.argtypes, call.restype = ENTRY_ARGTYPES, ENTRY_RESTYPE
            pairs.append((case, LoadedKernel(call, None, None, "compiled", None)))
        return pairs

    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(build, n, *file) for n, file in enumerate(files(cases, form))]
        return [pair for job in jobs for pair in job.result()]


# The same bits from every compiler at every level.


def present() -> list[str]:
    return [name for name in NAMES if shutil.which(name)]


def check_levels(
    cases: Sequence[Case], form: str, size: int, pairs: Iterable[tuple[str, str]] = ()
) -> None:
    """Compare what each compiler makes of cases at each level: results, or where they fail."""
    reference: dict[Case, list[Any]] = {}
    cases = [c for c in cases if c.specialisation.result.function.fp == "strict"]
    for compiler, level in pairs or itertools.product(present(), LEVELS):
        for case, native in compiled(cases, form, compiler, [level]):
            given = list(case.values(size))
            got = [run(case.specialisation, native, a, LIMIT) for a in given]
            wanted = reference.setdefault(case, got)
            for arguments, (out, failed), (want, want_failed) in zip(
                given, got, wanted, strict=True
            ):
                what = f"{case}, {form} form, {compiler} {level}"
                assert failed == want_failed, what
                if failed is None:
                    assert_same(out, want, arguments, what)


@pytest.mark.stress
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("form", FORMS)
def test_other_versions_of_compilers_give_the_same_bits(form: str):
    others = [name for name in OTHERS if shutil.which(name)]
    if not (others and present()):
        pytest.skip("no other version of gcc or clang here")
    pairs = [(name, "-O3") for name in (present()[0], *others)]
    check_levels(spread(form, 40), form, 200, pairs)


@pytest.mark.parametrize(("form", "count"), [("scalar", 24), ("simd", 3)])
def test_compilers_and_levels_agree(form: str, count: int):
    if not present():
        pytest.skip("neither gcc nor clang")
    check_levels(spread(form, count), form, 500)


@pytest.mark.stress
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("form", FORMS)
def test_compilers_and_levels_agree_on_the_whole_corpus(form: str):
    if not present():
        pytest.skip("neither gcc nor clang")
    check_levels(having(form), form, 200)


# Sanitizers.


def sanitized(*arguments: str, seconds: float = 110) -> subprocess.CompletedProcess[str]:
    """Run this file as a program under the run-time of gcc's sanitizers."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc")
    ask = ["gcc", "-print-file-name=libasan.so"]
    runtime = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    if not os.path.isabs(runtime):
        pytest.skip("gcc has no address sanitizer here")
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=seconds)


@pytest.mark.parametrize(("form", "count"), [("scalar", 120), ("simd", 5)])
def test_sanitizers_find_nothing(form: str, count: int):
    done = sanitized(form, str(count))
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) >= count


@pytest.mark.stress
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("form", FORMS)
def test_sanitizers_find_nothing_in_the_whole_corpus(form: str):
    done = sanitized(form, "0", seconds=3600)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) == len(having(form))


@pytest.mark.parametrize("bug", BUGS)
def test_sanitizers_find_bugs(bug: str):
    form, _, _, called = BUGS[bug]
    done = sanitized(form, "1", bug)
    assert done.returncode != 0
    assert called in done.stderr


def arrangements(arguments: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield arguments in memory of exactly their size, in every way that the C walks it."""
    yield list(arguments)
    size = max(map(np.size, arguments), default=0)
    if size < 2:
        return
    ways: list[Callable[[Any], Any]] = [
        lambda a: a[:1].copy(),
        lambda a: a[: size // 64 * 64].copy(),  # whole gangs only
        lambda a: a[-min(size, 37) :].copy()[1:],  # less than a gang, from an odd place to the end
        lambda a: np.repeat(a, 2)[1::2],  # the last element is the last of its memory
        lambda a: a.copy()[::-1],
        lambda a: np.repeat(a[:66], 3).reshape(-1, 3)[:, 2],
        lambda a: np.asfortranarray(np.resize(a, (5, 13))),
    ]
    for way in ways:
        yield [way(a) if np.ndim(a) else a for a in arguments]
    column = itertools.cycle([lambda a: a[:5].copy().reshape(-1, 1), lambda a: a[:13].copy()])
    yield [next(column)(a) if np.ndim(a) else a for a in arguments]


def feed(case: Case, native: LoadedKernel, arguments: Sequence[Any]) -> None:
    """Run a kernel on arguments; where elements may fail also so that the others go on."""
    special = case.specialisation
    params = special.result.function.params
    values = [np.asarray(a, p.var.dtype) for a, p in zip(arguments, params, strict=True)]
    shape = np.broadcast_shapes(*(v.shape for v in values))
    for on_error in ("raise", "nan") if special.result.function.sites else ("raise",):
        settings = KernelSettings(while_max_iters=LIMIT, on_error=on_error)
        outs = [np.empty(shape, special.dtypes[0])]
        run_native(special.result, native, values, outs, shape, None, settings)


def main(form: str, count: str, bug: str = "") -> None:
    """Run ``count`` kernels in a form, 0 for all, on edge values; with one of BUGS if asked."""
    os.environ.pop("LD_PRELOAD")  # the compiler needs no watching
    cases = spread(form, int(count)) if int(count) else having(form)
    _, right, wrong, _ = BUGS[bug] if bug else ("", "", "", "")
    pairs = compiled(cases, form, "gcc", SANITIZERS, lambda text: text.replace(right, wrong))
    for case, native in pairs:
        for arguments in case.values(200):
            for arranged in arrangements(arguments):
                feed(case, native, arranged)
    print(len(pairs))


if __name__ == "__main__":
    main(*sys.argv[1:])
