"""Memory of large results is used again, and never while somebody may look at it."""

from __future__ import annotations

import gc
import pickle

import numpy as np
import pytest
from engines import NATIVE

import mexdask
from mexdask import buffers, chunk

F8 = np.dtype("f8")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(buffers, "SMALLEST", 1 << 16)
    monkeypatch.setattr(buffers, "MOST_KEPT", 1 << 20)
    monkeypatch.setattr(buffers, "_free", type(buffers._free)())


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_once_its_array_is_gone():
    first = buffers.empty((100, 100), F8)
    place = address(first)
    del first
    gc.collect()
    again = buffers.empty((10000,), F8)
    assert address(again) == place
    assert address(buffers.empty((10000,), F8)) != place


def test_a_view_keeps_memory_from_being_used_again():
    whole = buffers.empty((10000,), F8)
    whole[:] = 7
    view = whole[5:9:2]
    del whole
    gc.collect()
    other = buffers.empty((10000,), F8)
    other[:] = 1
    assert view.tolist() == [7, 7]


def test_an_array_is_one_like_any_other():
    array = buffers.empty((100, 100), F8)
    array[:] = np.arange(10000).reshape(100, 100)
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.flags.aligned
    assert (pickle.loads(pickle.dumps(array)) == array).all()
    assert array.dtype == F8


def test_small_arrays_are_numpys_own():
    assert buffers.empty((10,), F8).base is None
    assert buffers.empty((0, 5), F8).shape == (0, 5)
    assert buffers.empty((), F8).shape == ()


def test_no_more_is_kept_than_agreed_and_the_newest_stays():
    arrays = [buffers.empty((1 << 15,), F8) for _ in range(9)]  # 256 KiB each
    last = address(arrays[-1])
    for _ in range(9):
        arrays.pop(0)
    gc.collect()
    assert sum(map(len, buffers._free)) <= 1 << 20
    assert last in [address(np.frombuffer(block, "u1")) for block in buffers._free]
    del arrays
    huge = buffers.empty((1 << 18,), F8)
    del huge
    gc.collect()
    assert all(len(block) <= 1 << 20 for block in buffers._free)


def test_a_result_never_shows_through_in_the_next(monkeypatch: pytest.MonkeyPatch):
    import mexdask

    x = np.arange(20000.0)
    kept = [mexdask.apply("x + k", x, k=float(k), jit=NATIVE) for k in range(5)]
    assert all(isinstance(a.base, buffers.Lease) for a in kept)
    for k, array in enumerate(kept):
        np.testing.assert_array_equal(array, x + k)
    assert chunk.buffers is buffers


def test_a_kernel_that_is_known_takes_memory_for_large_results_too():
    kernel, a = mexdask.kernel("a * 5 + 3"), np.ones(buffers.SMALLEST // 8)
    for _ in range(3):
        place = address(kernel(a, jit=NATIVE))
        gc.collect()
        assert address(kernel(a, jit=NATIVE)) == place
    held = kernel(a, jit=NATIVE)
    assert address(kernel(a, jit=NATIVE)) != address(held)
    assert isinstance(held.base, buffers.Lease)
