"""What an element does to a call that makes its kernel fail, on every engine."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest

import mexdask

HALLEY = """
def root(x, n):
    guess = x
    while abs(guess * guess - x) > 1e-12 * x:
        guess = 0.5 * (guess + x / guess)
    return guess + 0 * 2 ** n
"""
"""Ends for no nan and no negative x; an integer to a negative power fails at its own place."""


@pytest.fixture(autouse=True)
def few_iterations(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ME_DSL_WHILE_MAX_ITERS", "100")
    mexdask.reset_stats()


ENGINES = [
    pytest.param("require", "auto", marks=pytest.mark.compiler),
    pytest.param("require", "off", marks=pytest.mark.compiler),
    ("off", "auto"),
]
X = np.linspace(1, 9, 300)
X[[7, 250]] = -1.0
N = np.full(300, 2)
N[[20, 250]] = -1
BAD = [7, 20, 250]


@pytest.mark.parametrize(("jit", "simd"), ENGINES)
def test_nan_where_asked_for(jit: str, simd: str):
    with dask.config.set({"mexdask.simd": simd}):
        got = mexdask.apply(HALLEY, X, N, jit=jit, on_error="nan")
        lazy = mexdask.apply(
            HALLEY,
            da.from_array(X, chunks=33),
            da.from_array(N, chunks=33),
            jit=jit,
            on_error="nan",
        )
        with dask.config.set({"mexdask.on-error": "nan"}):
            configured = mexdask.apply(HALLEY, X, N, jit=jit)
    want = np.sqrt(np.abs(X))
    want[BAD] = np.nan
    np.testing.assert_allclose(got, want, rtol=1e-11)
    np.testing.assert_array_equal(lazy.compute(), got)
    np.testing.assert_array_equal(configured, got)
    assert mexdask.stats()["nan_elements"] == 3 * len(BAD)
    assert mexdask.stats()["kernels"]["root"]["nan_elements"] == 3 * len(BAD)


@pytest.mark.parametrize(("jit", "simd"), ENGINES)
def test_the_lowest_element_is_named_in_the_same_words(jit: str, simd: str):
    with (
        dask.config.set({"mexdask.simd": simd}),
        pytest.raises(mexdask.KernelRuntimeError) as caught,
    ):
        mexdask.apply(HALLEY, X[10:], N[10:], jit=jit)
    assert caught.value.index == (10,)
    assert str(caught.value).startswith("root:6:26: negative-power: an integer to a negative")
    assert str(caught.value).endswith(f"at index (10,), with x = {X[20]}, n = -1")


@pytest.mark.parametrize("jit", ["off", pytest.param("require", marks=pytest.mark.compiler)])
def test_integer_results_have_no_nan_and_raise(jit: str):
    with pytest.raises(mexdask.KernelRuntimeError):
        mexdask.apply("a ** b", np.array([2, 3]), np.array([1, -1]), jit=jit, on_error="nan")


def test_tokens_differ_because_answers_do():
    x = da.from_array(X, chunks=100)
    raising, nan = (mexdask.apply(HALLEY, x, 2, on_error=mode) for mode in ("raise", "nan"))
    assert raising.name != nan.name


def test_an_unknown_mode_is_refused():
    with pytest.raises(mexdask.ArgumentError, match="'ignore' is not one of raise, nan"):
        mexdask.apply("a ** b", np.array([2]), 1, on_error="ignore")
