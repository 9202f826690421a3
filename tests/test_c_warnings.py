"""Compilers and sanitizers have nothing to say about the generated C."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import batch
import corpus
import pytest
import test_ops
from batch import Library, run
from edges import DTYPES

from mexdask.runtime.toolchain import Compiler, find_compiler
from mexdask.settings import process_settings

SANITIZERS = (
    "-O0",
    "-fsanitize=undefined,float-cast-overflow,address",
    "-fno-sanitize-recover=all",
)

BUGS = {
    "division by zero": ("element", " + ", " / "),
    "heap-buffer-overflow": ("line", "k < n", "k <= n"),
}
"""What a sanitizer calls a bug; which part of the C has it, what is right and what is wrong."""

pytestmark = pytest.mark.compiler


def test_the_corpus_compiles_without_warnings():
    assert corpus.library().log == ""


def test_every_row_compiles_without_warnings_for_every_dtype():
    assert test_ops.library().log == ""
    tested = {dtype for row in test_ops.ROWS for dtype in row.operands}
    assert tested == set(DTYPES.values())


@pytest.mark.parametrize("bug", ["long a = 1 / 0;", "int unused;", "int a = 1; return a < 2u;"])
def test_warnings_are_seen(bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("batch.TYPES", f"int bad(void) {{ {bug} return 0; }}\n")
    with pytest.raises(AssertionError):
        assert Library([corpus.load()[0].specialisation.function], tmp_path).log == ""


def sanitized(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this file as a program under the sanitizers' run-time."""
    compiler = find_compiler(process_settings())
    assert isinstance(compiler, Compiler)
    ask = [*compiler.argv, "-print-file-name=libasan.so"]
    runtime = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    if not os.path.isabs(runtime):
        pytest.skip("the compiler has no address sanitizer")
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "ME_DSL_JIT": "0",
    }
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=110)


def test_sanitizers_find_nothing():
    done = sanitized()
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 300


@pytest.mark.parametrize("bug", BUGS)
def test_sanitizers_find_bugs(bug: str):
    done = sanitized(bug)
    assert done.returncode != 0
    assert bug in done.stderr


def main(bug: str = "") -> None:
    """Run one signature of each kernel on edge values, or a bug of our own."""
    os.environ.pop("LD_PRELOAD", None)  # the compiler needs no watching
    cases = list({(c.topic, c.name): c for c in corpus.load()}.values())
    if bug:
        cases = [c for c in cases if c.name == "add"]
        part, right, wrong = BUGS[bug]
        emit = getattr(batch, part)
        setattr(batch, part, lambda function: emit(function).replace(right, wrong))
    with tempfile.TemporaryDirectory() as directory:
        functions = [case.specialisation.function for case in cases]
        library = Library(functions, Path(directory), SANITIZERS)
    for case in cases:
        for arguments in case.values(200):
            run(case.specialisation, library.kernel(case.specialisation), arguments, 50)
    print(len(cases))


if __name__ == "__main__":
    main(*sys.argv[1:])
