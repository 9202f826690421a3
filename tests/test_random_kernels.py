"""Random kernels: interpreter, scalar C, vector lanes and plain Python agree to the bit.

Plain Python is compared with the interpreter kernel by kernel, where Hypothesis can shrink; native
code is compiled for many kernels at once, and a failure is made small by ``reduce``.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from batch import Library, lanes, result, run
from edges import assert_same, columns, wrong
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kernelgen import Kernel, flows, kernels
from oracle import oracle
from reduce import reduced

from mexdask import ir
from mexdask.api import kernel
from mexdask.backend.cscalar import element
from mexdask.backend.form import vector_width
from mexdask.errors import KernelError
from mexdask.runtime.target import host_target
from mexdask.specialise import Specialisation, specialise

BATCH = 10
"""Kernels that are compiled at once."""
LANES = 600
"""Enough for the interpreter to go on with the lanes that are left alone."""
CHECKED_BY_PYTHON = 40
LIMIT = 1000
"""Iterations of a loop, of which kernels have far fewer and what is left of one may have more."""
WIDTH = vector_width(host_target().isa, "auto")

batches = given(st.lists(kernels(), min_size=BATCH, max_size=BATCH))
settled = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
unshrunk = {**settled, "phases": (Phase.generate,)}
varied = {"derandomize": False}


def specialised(source: str, parameters: Sequence[np.dtype]) -> Specialisation:
    signature = tuple(f"{d.name}[]" for d in parameters)
    return specialise(kernel(source)._source, frozenset(), signature, "")


# Plain Python.


def check_python(k: Kernel) -> None:
    """Compare the interpreter with the plain function, called once per element."""
    special = specialised(k.source, k.parameters)
    assert special.dtypes[0] == k.result
    arguments = columns(k.parameters, LANES)
    got = result(special, None, arguments)
    step = max(1, got.size // CHECKED_BY_PYTHON)
    some = [a[::step] for a in arguments]
    python = oracle(kernel(k.source).py_func, some, k.result)
    assert_same(got[::step], python, some, f"interpreter and Python\n{k.source}\n")


@given(kernels())
@settings(max_examples=200, **settled)
def test_the_interpreter_is_plain_python(k: Kernel):
    check_python(k)


@pytest.mark.stress
@pytest.mark.timeout(3600)
@given(kernels())
@settings(max_examples=2000, **{**settled, **varied})
def test_the_interpreter_is_plain_python_for_very_many(k: Kernel):
    check_python(k)


PAIRS = [a.ravel() for a in np.meshgrid(np.arange(-3, 5), np.arange(-2, 3))]
"""Arguments that take many ways through a kernel."""


def check_flow(k: Kernel) -> None:
    """Compare interpreter and plain Python; enough lanes for it to go on with some alone."""
    arguments = [np.tile(a, LANES // a.size) for a in PAIRS]
    got = result(specialised(k.source, k.parameters), None, arguments)
    python = np.tile(oracle(kernel(k.source).py_func, PAIRS, k.result), LANES // PAIRS[0].size)
    assert_same(got, python, arguments, f"interpreter and Python\n{k.source}\n")


@given(flows())
@settings(max_examples=400, **settled)
def test_control_flow_is_plain_python(k: Kernel):
    check_flow(k)


@pytest.mark.stress
@pytest.mark.timeout(3600)
@given(flows())
@settings(max_examples=10_000, **{**settled, **varied})
def test_control_flow_is_plain_python_for_very_many(k: Kernel):
    check_flow(k)


# Native code.


def differing(
    specials: Sequence[Specialisation], form: str, extra: Sequence[str] = ()
) -> list[bool]:
    """Tell for each kernel whether native code differs from the interpreter somewhere."""
    with tempfile.TemporaryDirectory() as directory:
        if form == "simd":
            natives = list(lanes(specials, WIDTH, Path(directory)))
        else:
            library = Library([s.result.function for s in specials], Path(directory), extra)
            natives = [library.kernel(s) for s in specials]
    found = []
    for special, native in zip(specials, natives, strict=True):
        arguments = columns([p.var.dtype for p in special.result.function.params], LANES)
        (got, fails), (want, should) = (
            run(special, engine, arguments, LIMIT) for engine in (native, None)
        )
        # What is in the arrays after a failure means nothing.
        found.append(fails != should or (should is None and wrong(got, want).size > 0))
    return found


def failing(
    sources: Sequence[str], parameters: Sequence[np.dtype], form: str, extra: Sequence[str] = ()
) -> list[bool]:
    """Tell for each text whether it is a kernel on which native code differs."""
    specials: dict[str, Specialisation] = {}
    for source in sources:
        with contextlib.suppress(KernelError):
            specials[source] = specialised(source, parameters)
    found = dict(zip(specials, differing(list(specials.values()), form, extra), strict=True))
    return [found.get(source, False) for source in sources]


def check_native(several: Sequence[Kernel], form: str, extra: Sequence[str] = ()) -> None:
    """Compile kernels together; the first that differs is made small for the message."""
    specials = [specialised(k.source, k.parameters) for k in several]
    found = differing(specials, form, extra)
    if any(found):
        k = several[found.index(True)]
        small = reduced(k.source, lambda texts: failing(texts, k.parameters, form, extra))
        names = ", ".join(d.name for d in k.parameters)
        pytest.fail(f"{form} C is not the interpreter, on arrays of {names}\n{small}\n")


def with_loops(several: Sequence[Kernel]) -> list[Kernel]:
    """Return the kernels with loops, which are the ones that lanes are made for."""
    functions = [specialised(k.source, k.parameters).result.function for k in several]
    loops = [any(isinstance(n, (ir.For, ir.While)) for n in ir.walk(f.body)) for f in functions]
    return [k for k, has_loops in zip(several, loops, strict=True) if has_loops]


@pytest.mark.compiler
@batches
@settings(max_examples=20, **unshrunk)
def test_scalar_c_is_the_interpreter(several: list[Kernel]):
    check_native(several, "scalar", ["-O1"])  # the level of production takes thrice as long


@pytest.mark.compiler
@batches
@settings(max_examples=4, **unshrunk)
def test_lanes_are_the_interpreter(several: list[Kernel]):
    check_native(with_loops(several)[:2], "simd")


@pytest.mark.stress
@pytest.mark.timeout(3600)
@pytest.mark.compiler
@batches
@settings(max_examples=200, **{**unshrunk, **varied})
def test_native_code_is_the_interpreter_for_very_many(several: list[Kernel]):
    check_native(several, "scalar")
    check_native(with_loops(several)[:2], "simd")


@pytest.mark.stress
@pytest.mark.timeout(3600)
@pytest.mark.compiler
@given(st.lists(flows(), min_size=BATCH, max_size=BATCH))
@settings(max_examples=100, **{**unshrunk, **varied})
def test_native_control_flow_is_the_interpreter_for_very_many(several: list[Kernel]):
    check_native(several, "scalar")
    check_native(with_loops(several), "simd")


@pytest.mark.compiler
@pytest.mark.parametrize("head", ["for i in range(4):", "i = p\n    while i < q and i < p + 4:"])
def test_a_failure_is_made_small(head: str, monkeypatch: pytest.MonkeyPatch):
    source = (
        f"def k(p, q):\n    a = p * 3\n    {head}\n        if a > q:\n"
        "            a += q % 7 + i\n        i += 1\n    return a - q"
    )
    bug = ("me_mod_i64(", "(-1) * me_mod_i64(")
    monkeypatch.setattr("batch.element", lambda function: element(function).replace(*bug))
    parameters = [np.dtype("int64")] * 2
    assert failing([source], parameters, "scalar") == [True]
    small = reduced(source, lambda texts: failing(texts, parameters, "scalar"))
    assert "%" in small
    assert len(small) < len(source) / 2
