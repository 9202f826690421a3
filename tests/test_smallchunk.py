"""Small chunks take a shorter way; nothing but the time may tell."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest

import mexdask
from mexdask.dtypes import NATIVE
from mexdask.runtime import stats, ufunc
from mexdask.runtime.memory import KERNELS

Array = np.ndarray[Any, Any]
pytestmark = pytest.mark.compiler

TWO = "def two(a, b):\n    return a * 2 + b, a > b\n"
LOOP = "def loop(a, b):\n    for i in range(3):\n        a += b\n    return a\n"
BASE = np.arange(120.0).reshape(6, 20)


def misaligned(a: Array) -> Array:
    """Return the same in a record that is packed."""
    record = np.zeros(a.shape, [("byte", "u1"), ("value", a.dtype)])
    record["value"] = a
    return record["value"]


def read_only(a: Array) -> Array:
    a = a.copy()
    a.flags.writeable = False
    return a


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": np.copy,
    "Fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, 1)[:, ::2],
    "reversed": lambda a: a[::-1, ::-1],
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "read-only": read_only,
    "misaligned": misaligned,
    "big-endian": lambda a: a.astype(">f8"),
    "empty": lambda a: a[:, :0],
    "one element": lambda a: a[:1, :1],
    "no dimension": lambda a: a[2, 3].reshape(()),
}


def results(text: str, *arrays: Array, jit: str) -> list[Array]:
    """Return what a kernel gives, each time that it is called: the first finds it, others know."""
    calls = [mexdask.apply(text, *arrays, jit=jit) for _ in range(4)]
    return [np.asarray(r) for call in calls for r in (call if type(call) is tuple else (call,))]


@pytest.mark.parametrize("text", ["-a + b", TWO, LOOP])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_call_gives_the_same(text: str, layout: str):
    a, b = LAYOUTS[layout](BASE), LAYOUTS[layout](BASE % 7)
    want = results(text, np.array(a, float, order="C"), np.array(b, float, order="C"), jit="off")
    for pair in ((a, b), (a, b.astype(float, order="C")), (a.astype(float, order="C"), b)):
        for got, expected in zip(results(text, *pair, jit="require"), want, strict=True):
            np.testing.assert_array_equal(got, expected, strict=True)
            assert got.flags.writeable
            assert not any(np.shares_memory(got, x) for x in pair)


@pytest.mark.parametrize("dtype", sorted(NATIVE, key=str), ids=str)
def test_every_dtype_is_its_own(dtype: np.dtype):
    a = np.array([0, 1, 3, 100]).astype(dtype)
    same = np.dtype("longlong") if dtype == np.int64 else dtype
    for given in (a, a.astype(same), np.frombuffer(a.tobytes(), a.dtype.newbyteorder("="))):
        for got in results("def f(a):\n    return a, a > 2\n", given, jit="require")[::2]:
            np.testing.assert_array_equal(got, a, strict=True)


def test_bools_of_any_byte_are_true():
    a = np.array([0, 1, 2, 255], np.uint8).view(bool)
    for got in results("1 if not a else 2", a, jit="require"):
        np.testing.assert_array_equal(got, [1, 2, 2, 2])


def test_no_warning_comes_of_what_floats_do():
    a = np.array([0.0, -1.0, 1e308, 5e-324, np.inf, np.nan])
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        got = results("sqrt(a) / 0.0 + exp(a) * a + log(a) + int64(1) // 1", a, jit="require")
    for one in got[1:]:
        np.testing.assert_array_equal(one, got[0])
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        np.sqrt(a)  # NumPy's own still does


def test_subclasses_and_other_shapes_take_the_long_way():
    a = np.arange(4.0).reshape(2, 2)
    kernel = mexdask.kernel("a + b")
    for _ in range(3):
        kernel(a, a, jit="require")
    assert type(kernel(a, a)) is np.ndarray
    got = kernel(a.view(np.matrix), a)
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got, a + a)
    np.testing.assert_array_equal(kernel(a, a[:1]), a + a[:1])
    np.testing.assert_array_equal(kernel(a, a.astype("f4")), a + a)
    with pytest.raises(mexdask.MexError):
        kernel(a, a[:, :1].repeat(3, 1))


def test_each_call_is_counted_once():
    text = "def counted_small(a):\n    return a + 1\n"
    kernel, a = mexdask.kernel(text), np.ones(3)

    def row() -> Any:
        return mexdask.stats()["kernels"]["counted_small"]

    kernel(a, jit="require")
    before = row()
    kept = 2 * stats.SMALL_CHUNKS_KEPT + 7
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: kernel(a, jit="require"), range(kept)))
    after = row()
    assert after["native"] - before["native"] == kept
    assert after["memory_hits"] - before["memory_hits"] == kept
    assert after["native_seconds"] > before["native_seconds"]
    kernel(a, jit="require")
    mexdask.reset_stats()
    assert "counted_small" not in mexdask.stats()["kernels"]
    kernel(a, jit="require")
    assert row()["native"] == 1


def test_a_switch_or_a_forgotten_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch):
    kernel, a = mexdask.kernel("a * 3 + 1"), np.ones(3)
    for _ in range(3):
        kernel(a)

    def engines() -> Any:
        counts = mexdask.stats()
        return counts["native"], counts["interpreted"]

    native, interpreted = engines()
    monkeypatch.setenv("ME_DSL_JIT", "0")
    kernel(a)
    assert engines() == (native, interpreted + 1)
    monkeypatch.delenv("ME_DSL_JIT")
    kernel(a)
    assert engines() == (native + 1, interpreted + 1)
    with dask.config.set({"mexdask.jit": "off"}):
        kernel(a)
    assert engines() == (native + 1, interpreted + 2)
    KERNELS.clear()
    kernel(a)
    assert engines() == (native + 2, interpreted + 2)


def test_results_of_dask_are_those_of_numpy():
    a = np.arange(60.0).reshape(6, 10)
    lazy = da.from_array(a, chunks=(2, 3))
    for text in ("-a + b", TWO, LOOP):
        want = mexdask.apply(text, a, a[::-1], jit="off")
        for _ in range(3):
            got = da.compute(mexdask.apply(text, lazy, lazy[::-1], jit="require"))[0]
            for one, expected in zip(np.atleast_1d(got), np.atleast_1d(want), strict=True):
                np.testing.assert_array_equal(one, expected, strict=True)


@pytest.mark.parametrize("count", [ufunc.MOST_OPERANDS - 1, ufunc.MOST_OPERANDS])
def test_any_number_of_arrays(count: int):
    names = [f"a{k}" for k in range(count)]
    arrays = [np.arange(4.0) + k for k in range(count)]
    text = f"def f({', '.join(names)}):\n    return {' + '.join(names)}\n"
    for got in results(text, *arrays, jit="require"):
        np.testing.assert_array_equal(got, np.sum(arrays, 0))


@pytest.mark.parametrize(
    ("name", "value"), [("KNOWN_ABIS", ()), ("HOMES", ("numpy.nowhere", "numpy.linalg"))]
)
def test_a_numpy_that_is_not_known_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
):
    monkeypatch.setattr(ufunc, name, value)
    ufunc.ufunc_of.cache_clear()
    for got in results("a * 5 - b", BASE, BASE, jit="require"):
        np.testing.assert_array_equal(got, BASE * 4)
    ufunc.ufunc_of.cache_clear()
