"""Random kernels: the interpreter, scalar C and plain Python agree to the bit."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from batch import Library, result
from edges import assert_same, columns
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kernelgen import Kernel, kernels
from oracle import oracle

from mexdask.api import kernel
from mexdask.specialise import Specialisation, specialise

BATCH = 10
"""Kernels that are compiled at once."""
LANES = 600
"""Enough for the interpreter to go on with the lanes that are left alone."""
CHECKED_BY_PYTHON = 40

batches = given(st.lists(kernels(), min_size=BATCH, max_size=BATCH))
settled = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.generate,),  # shrinking would compile for minutes; the message has the kernel
}


def specialised(k: Kernel) -> Specialisation:
    signature = tuple(f"{d.name}[]" for d in k.parameters)
    return specialise(kernel(k.source)._source, frozenset(), signature, "")


def check(several: list[Kernel]) -> None:
    """Compile kernels together and compare what each engine gives."""
    specials = [specialised(k) for k in several]
    with tempfile.TemporaryDirectory() as directory:
        library = Library([s.function for s in specials], Path(directory))
    for k, special in zip(several, specials, strict=True):
        assert special.dtype == k.result
        arguments = columns(k.parameters, LANES)
        got = result(special, None, arguments)
        native = result(special, library.kernel(special), arguments)
        assert_same(native, got, arguments, f"C and interpreter\n{k.source}\n")
        step = max(1, got.size // CHECKED_BY_PYTHON)
        some = [a[::step] for a in arguments]
        python = oracle(kernel(k.source).py_func, some, k.result)
        assert_same(got[::step], python, some, f"interpreter and Python\n{k.source}\n")


@pytest.mark.compiler
@batches
@settings(max_examples=20, **settled)
def test_random_kernels(several: list[Kernel]):
    check(several)


@pytest.mark.stress
@pytest.mark.compiler
@batches
@settings(max_examples=200, **{**settled, "derandomize": False})
def test_very_many_random_kernels(several: list[Kernel]):
    check(several)
