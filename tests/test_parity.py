"""Interpreter, scalar C and plain Python give the same answer for every kernel of the corpus."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch import Library, result, run
from corpus import Case, failing, library, load, running
from edges import DTYPES, assert_same, columns, edges
from oracle import SIZE, oracle

from mexdask import chunk, smallchunk
from mexdask.api import kernel
from mexdask.backend import interp
from mexdask.runtime.load import LoadedKernel

LIMIT = 1000
"""Iterations of a ``while`` in the kernels that exceed it."""

Engine = Callable[[Case], LoadedKernel | None]
ENGINES = [pytest.param("native", marks=pytest.mark.compiler), "interpreter"]


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Engine:
    """What gives a case's native kernel, or nothing where the interpreter is to run."""
    if request.param == "interpreter":
        return lambda case: None
    return lambda case: library().kernel(case.specialisation)


def each(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=str)


on_each_engine = pytest.mark.parametrize("engine", ENGINES, indirect=True)


def test_the_corpus_covers_what_it_should():
    names = {(case.topic, case.name) for case in load()}
    assert len(names) >= 120
    assert len({(c.topic, c.name, c.arguments) for c in load()}) == len(load())


@pytest.mark.compiler
def test_the_corpus_compiles_without_warnings():
    assert library().log == ""


@pytest.mark.compiler
@pytest.mark.parametrize("bug", ["long a = 1 / 0;", "int unused;", "int a = 1; return a < 2u;"])
def test_warnings_are_seen(bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("batch.TYPES", f"int bad(void) {{ {bug} return 0; }}\n")
    with pytest.raises(AssertionError):
        assert Library([load()[0].specialisation.result.function], tmp_path).log == ""


@each(load())
def test_result_dtype(case: Case):
    assert case.specialisation.dtypes[0] == case.result


@pytest.mark.compiler
@each(running())
def test_native_code_equals_the_interpreter(case: Case):
    native = library().kernel(case.specialisation)
    for arguments in case.values(3000):
        want = result(case.specialisation, None, arguments)
        got = result(case.specialisation, native, arguments)
        assert_same(got, want, arguments, str(case), 2 * case.ulp)


@each([case for case in running() if "oracle" not in case.options])
def test_the_interpreter_equals_plain_python(case: Case):
    function = kernel(case.source).py_func
    for arguments in case.values(SIZE):
        got = result(case.specialisation, None, arguments)
        if got.ndim == 0:
            got, arguments = got.reshape(1), [np.asarray(a).reshape(1) for a in arguments]
        want = oracle(function, arguments, got.dtype)
        assert_same(got, want, arguments, str(case), 2 * case.ulp)


@on_each_engine
@each(running())
def test_an_element_does_not_depend_on_its_neighbours(case: Case, engine: Engine):
    special, native = case.specialisation, engine(case)
    arguments = next(case.values(700))
    if all(np.ndim(a) == 0 for a in arguments):
        pytest.skip("no arrays")
    want = result(special, native, arguments)
    size = want.shape[0]
    for order in orders(size):
        moved = [a[order] if np.ndim(a) else a for a in arguments]
        assert_same(result(special, native, moved), want[order], moved, f"{case}, other order")
    for start, stop in chunks(size):
        part = [a[start:stop] if np.ndim(a) else a for a in arguments]
        assert_same(
            result(special, native, part), want[start:stop], part, f"{case}, {start}:{stop}"
        )


def orders(size: int) -> list[np.ndarray[Any, Any]]:
    """Return a shuffled order, a reversed one, and one in which neighbours are alike."""
    shuffled = np.random.default_rng(3).permutation(size)
    return [shuffled, np.arange(size)[::-1], np.repeat(shuffled[:20], 9)]


def chunks(size: int) -> list[tuple[int, int]]:
    """Return uneven pieces, each at another alignment, and elements alone."""
    cuts = [0, *(c for c in (1, 2, 5, 12, 45, 46, 303) if c < size), size]
    alone = [(i, i + 1) for i in range(3, size, 1 + size // 8)]
    return [*itertools.pairwise(cuts), *alone]


@on_each_engine
@each(failing())
def test_the_same_element_fails_everywhere(case: Case, engine: Engine):
    special, native = case.specialisation, engine(case)
    for arguments in case.values(400):
        failed = run(special, None, arguments, LIMIT)[1]
        assert failed is not None
        assert run(special, native, arguments, LIMIT)[1] == failed
        site, (index,) = failed
        assert (
            special.result.function.sites[site].reason == case.options["fails"]
            or "places" in (case.options["fails"])
        )
        # It is the first: those before it succeed, and it fails alone.
        before = [a[:index] if np.ndim(a) else a for a in arguments]
        assert run(special, native, before, LIMIT)[1] is None
        alone = [a[index : index + 1] if np.ndim(a) else a for a in arguments]
        assert run(special, native, alone, LIMIT)[1] == (site, (0,))


@each([case for case in failing() if "oracle" not in case.options])
def test_what_fails_fails_in_plain_python(case: Case):
    function = kernel(case.source).py_func
    for arguments in case.values(SIZE):
        for row in zip(*arguments, strict=True):
            one = [np.asarray([a]) for a in row]
            got, failed = run(case.specialisation, None, one)
            if failed is None:
                assert_same(got, oracle(function, one, got.dtype), one, str(case))
            else:
                with pytest.raises(ValueError):
                    oracle(function, one, got.dtype)


@on_each_engine
@each([c for c in running() if c.topic in ("operators", "functions", "casts", "loops", "choices")])
def test_no_floating_point_warnings(case: Case, engine: Engine):
    native = engine(case)
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        for arguments in case.values(300):
            result(case.specialisation, native, arguments)


def test_lanes_that_failed_run_no_further(monkeypatch: pytest.MonkeyPatch):
    (case,) = [c for c in failing() if c.name == "endless_inner_while_of_few_lanes"]
    rounds = []
    run_test = interp.run_test
    monkeypatch.setattr(interp, "run_test", lambda *a: rounds.append(1) or run_test(*a))
    assert run(case.specialisation, None, [np.arange(2000)], LIMIT)[1] == (1, (3,))
    assert len(rounds) < 5 * LIMIT


LAYOUTS = {
    "every second": lambda a: np.repeat(a, 2)[::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "unaligned": lambda a: unaligned(a),
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "a column": lambda a: np.repeat(a, 3).reshape(-1, 3)[:, 1],
}


def unaligned(a: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a copy that starts at an odd address."""
    raw = np.empty(a.nbytes + 1, np.uint8)[1:]
    raw[:] = a.view(np.uint8)
    return raw.view(a.dtype)


@on_each_engine
@each([c for c in running() if c.name in ("or_as_value", "where", "not_of_everything", "add")])
def test_every_byte_but_zero_is_true(case: Case, engine: Engine):
    special, native = case.specialisation, engine(case)
    (arguments,) = case.values(100)
    raw = [(a.view(np.uint8) * 130).view(bool) if a.dtype == bool else a for a in arguments]
    want = result(special, native, arguments)
    assert_same(result(special, native, raw), want, arguments, str(case))


@each([c for c in running() if sum(a in DTYPES for a in c.arguments) > 1])
def test_a_scalar_is_like_an_array_of_it(case: Case):
    *others, last = next(case.values(20))
    if case.arguments[-1] not in DTYPES:
        pytest.skip("its last argument is a scalar already")
    scalar = replace(case, arguments=(*case.arguments[:-1], f"={case.arguments[-1]}"))
    values = edges(last.dtype, small="small" in case.options)
    for value in [*values[:5], *values[5::9]]:
        arguments = [*others, np.full_like(last, value)]
        want = result(case.specialisation, None, arguments)
        got = result(scalar.specialisation, None, [*others, value])
        assert_same(got, want, arguments, str(scalar))


@on_each_engine
@pytest.mark.parametrize("layout", LAYOUTS)
@each([c for c in running() if c.name in ("add", "ternary", "floor_divide", "sines")])
def test_memory_layout_changes_nothing(case: Case, engine: Engine, layout: str):
    special, native = case.specialisation, engine(case)
    (arguments,) = case.values(500)
    want = result(special, native, arguments)
    moved = [LAYOUTS[layout](a) for a in arguments]
    assert_same(result(special, native, moved), want, arguments, f"{case}, {layout}")


@on_each_engine
@each([c for c in running() if c.name in ("add", "where") and len(set(c.arguments)) == 1])
def test_broadcasting(case: Case, engine: Engine):
    special, native = case.specialisation, engine(case)
    a, b = columns([p.var.dtype for p in special.result.function.params], 60)
    whole = [x.ravel() for x in np.broadcast_arrays(a[:, None], b)]
    want = result(special, native, whole)
    shapes = {
        "outer": (a[:, None], b[None, :]),
        "missing axis": (a[:, None], b),
        "three axes": (a.reshape(-1, 1, 1), b.reshape(1, -1, 1)),
        "one copy": (np.repeat(a[:, None], b.size, 1), b),
        "Fortran order": (np.asfortranarray(np.repeat(a[:, None], b.size, 1)), b),
    }
    for what, (x, y) in shapes.items():
        assert_same(result(special, native, [x, y]).ravel(), want, whole, f"{case}, {what}")
    # A value repeated over all elements, and nothing at all.
    assert_same(
        result(special, native, [a, np.broadcast_to(b[:1], a.shape)]),
        result(special, native, [a, np.repeat(b[:1], a.size)]),
        [a, b[:1]],
        f"{case}, stride 0",
    )
    assert result(special, native, [a[:0], b[:1]]).shape == (0,)
    assert result(special, native, [a.reshape(-1, 1)[:0], b]).shape == (0, b.size)


@on_each_engine
@each([c for c in failing() if c.name in ("negative_power", "zero_step")])
def test_slabs_change_neither_results_nor_failures(
    case: Case, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    special, native = case.specialisation, engine(case)
    arguments = [a[:360] for a in next(case.values(400))]
    shaped = [a.reshape(6, 5, 12).transpose(0, 2, 1) for a in arguments]
    want = [run(special, native, given, LIMIT) for given in (arguments, shaped)]
    calm = [a[: want[0][1][1][0]] for a in arguments]  # all that comes before the failure
    result(special, native, calm)
    for size in (1, 7, 60, 100):
        monkeypatch.setattr(chunk, "NATIVE_SLAB", size)
        monkeypatch.setattr(smallchunk, "SMALL", 0)
        monkeypatch.setattr(chunk, "INTERPRETED_SLAB", size)
        for given, (_, failed) in zip((arguments, shaped), want, strict=True):
            assert run(special, native, given, LIMIT)[1] == failed


@on_each_engine
@each([c for c in running() if c.name == "lanes_leave_one_by_one"])
def test_slabs_change_no_results(case: Case, engine: Engine, monkeypatch: pytest.MonkeyPatch):
    special, native = case.specialisation, engine(case)
    arguments = [a[:60].reshape(6, 1, 10) for a in next(case.values(400))]
    arguments[1] = arguments[1].swapaxes(1, 2)
    want = result(special, native, arguments)
    assert want.shape == (6, 10, 10)
    for size in (1, 7, 10, 25, 100, 350):
        monkeypatch.setattr(chunk, "NATIVE_SLAB", size)
        monkeypatch.setattr(smallchunk, "SMALL", 0)
        monkeypatch.setattr(chunk, "INTERPRETED_SLAB", size)
        got = result(special, native, arguments)
        assert_same(got.ravel(), want.ravel(), [got.ravel()], f"slabs of {size}")
