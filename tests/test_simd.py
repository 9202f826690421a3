"""Vector lanes of every width give the bits that the interpreter gives, dead lanes and all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from batch import HOST, LEVEL, lanes, run
from corpus import Case, load
from edges import assert_same

import mexdask
from mexdask.backend.form import choose, vector_width
from mexdask.runtime.load import LoadedKernel
from mexdask.runtime.target import LEVELS

pytestmark = pytest.mark.compiler

LIMIT = 1000


def widths() -> list[int]:
    """Return the widths that this machine runs."""
    if HOST not in LEVELS:
        return [16]
    return [w for w, level in LEVEL.items() if LEVELS.index(level) <= LEVELS.index(HOST)]


def with_lanes(cases: Sequence[Case], width: int) -> list[Case]:
    return [c for c in cases if choose(c.specialisation.result.unit.masked, width).width]


def compiled(
    cases: Sequence[Case], width: int, directory: Path
) -> Iterator[tuple[Case, LoadedKernel]]:
    """Compile each case's vector form and yield it loaded."""
    natives = lanes([case.specialisation for case in cases], width, directory)
    yield from zip(cases, natives, strict=True)


def check(case: Case, native: LoadedKernel) -> None:
    """Compare lanes with the interpreter: results, or the element that fails and its site."""
    for arguments in case.values(1500):
        want, wanted_failure = run(case.specialisation, None, arguments, LIMIT)
        got, failure = run(case.specialisation, native, arguments, LIMIT)
        # Code that leaves MMX registers in use takes long doubles, and libm's fmod, from everybody.
        assert np.longdouble(1.5) * np.longdouble(3) == 4.5, str(case)
        assert failure == wanted_failure, (str(case), arguments)
        if failure is None:
            assert_same(got, want, arguments, str(case), 2 * case.ulp)


@pytest.mark.parametrize("width", widths())
def test_lanes_equal_the_interpreter(width: int, tmp_path: Path):
    # Every other one at each width; what remains is a long test.
    laned = with_lanes(load(), width)
    if len(widths()) > 1:
        laned = laned[widths().index(width) % 2 :: 2]
    assert len(laned) > 10
    for case, native in compiled(laned + list(load())[width % 61 :: 29], width, tmp_path):
        check(case, native)


@pytest.mark.stress
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("width", widths())
def test_lanes_equal_the_interpreter_on_the_whole_corpus(width: int, tmp_path: Path):
    for case, native in compiled(load(), width, tmp_path):
        check(case, native)


COLLATZ = """
def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps
"""


def test_an_element_does_not_depend_on_its_neighbours_or_its_place():
    rng = np.random.default_rng(5)
    n = rng.integers(1, 3000, 700)
    want = mexdask.apply(COLLATZ, n, jit="off")
    order = rng.permutation(n.size)
    np.testing.assert_array_equal(mexdask.apply(COLLATZ, n[order], jit="require"), want[order])
    for size in (1, 7, 31, 32, 33, 63, 64, 65, 129):
        np.testing.assert_array_equal(mexdask.apply(COLLATZ, n[:size], jit="require"), want[:size])
    for view in (n[::-1], n[::3], np.broadcast_to(n[4], (5, 40)), n.reshape(70, 10).T):
        got = mexdask.apply(COLLATZ, view, jit="require")
        np.testing.assert_array_equal(got, mexdask.apply(COLLATZ, view, jit="off"))


@pytest.mark.parametrize("bad", [(0,), (399, 17, 255), (31, 32), (64, 63)])
def test_the_lowest_failing_element_is_named(bad: tuple[int, ...]):
    n = np.arange(1, 401)
    n[list(bad)] = 0  # collatz(0) never ends
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ME_DSL_WHILE_MAX_ITERS", "500")
        errors = []
        for jit in ("require", "off"):
            with pytest.raises(mexdask.KernelRuntimeError) as caught:
                mexdask.apply(COLLATZ, n, jit=jit)
            errors.append(str(caught.value))
            assert caught.value.index == (min(bad),)
    assert errors[0] == errors[1]


@pytest.mark.parametrize(
    ("isa", "simd", "width"),
    [
        ("x86-64-v4", "auto", 64),
        ("x86-64-v3", "auto", 32),
        ("x86-64-v2", "auto", 16),
        ("", "auto", 16),
        ("x86-64-v4", "32", 32),
        ("x86-64-v3", "64", 32),
        ("x86-64-v4", "off", 0),
    ],
)
def test_width_is_the_setting_lowered_to_the_machine(isa: str, simd: str, width: int):
    assert vector_width(isa, simd) == width


def test_isa_is_part_of_the_key_and_not_of_the_token_or_the_answer():
    import dask
    import dask.array as da

    n = np.arange(1, 200)
    seen: dict[str, list[object]] = {"key": [], "token": [], "answer": []}
    for isa in ("x86-64", "x86-64-v2", "x86-64-v3", "auto"):
        with dask.config.set({"mexdask.isa": isa}):
            seen["key"].append(mexdask.explain(COLLATZ, n).key)
            seen["token"].append(mexdask.apply(COLLATZ, da.from_array(n)).name)
            seen["answer"].append(mexdask.apply(COLLATZ, n, jit="require").tolist())
    assert seen["answer"].count(seen["answer"][0]) == 4
    assert len(set(seen["token"])) == 1
    if HOST in LEVELS:
        assert len(set(seen["key"])) == 1 + LEVELS.index(HOST)


def test_another_level_is_an_error_that_lists_them():
    import dask

    with dask.config.set({"mexdask.isa": "avx2"}), pytest.raises(ValueError, match="x86-64-v3"):
        mexdask.apply(COLLATZ, np.arange(1, 4))


def test_configuration_chooses_the_form_and_not_the_answer():
    import dask

    n = np.arange(1, 200)
    results = []
    for simd, form in (("off", "scalar"), ("32", "simd"), ("auto", "simd")):
        with dask.config.set({"mexdask.simd": simd}):
            explanation = mexdask.explain(COLLATZ, n)
            assert (explanation.engine, explanation.form) == ("native", form), simd
            results.append(mexdask.apply(COLLATZ, n, jit="require").tolist())
    assert results[0] == results[1] == results[2]


def test_explain_says_why_a_kernel_stays_scalar():
    assert "loop" in mexdask.explain("x + 1", np.ones(3, "u1")).form_reason
