"""Arrays that lie otherwise than C has it: the same answers, and results that lie like them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
from engines import NATIVE
from hypothesis import given, settings
from hypothesis import strategies as st

import mexdask
from mexdask.walk import walk_of

Array = np.ndarray[Any, Any]

LOOP = """
def f(a, b):
    n = 0
    while a < 5 and n < 40:
        a = a * 1.25 + b
        n += 1
    return a, n
"""
KERNELS = {
    "straight": "def f(a, b):\n    return a * 2 + b, a > b\n",
    "loop": LOOP,
    "places": "def f(a, b):\n    return a + b * _i0 - _i2, _flat_idx - _i1\n",
    "sums": "def f(a, b):\n    return sum(exp(a / 99) * b), any(a > b)\n",
    "may fail": "def f(a, b):\n    c = 0\n    for i in range(0, 3, int(b)):\n        c += i\n"
    "    return a + c, c\n",
}
BASE = np.arange(3.0 * 20 * 18).reshape(3, 20, 18)
WHOLE_LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "moved axis": lambda a: np.ascontiguousarray(np.moveaxis(a, 0, -1)).transpose(2, 0, 1),
    "swapped rows": lambda a: np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2),
}
LAYOUTS = WHOLE_LAYOUTS | {
    "short rows": lambda a: np.repeat(a, 2, -1)[:, :, :6:2],
    "short rows of Fortran's": lambda a: np.asfortranarray(np.repeat(a, 2, 0))[:6:2],
    "reversed": lambda a: a[::-1, :, ::-1],
    "reversed and transposed": lambda a: a.T[::-1],
    "one long axis": lambda a: np.broadcast_to(a[:1], (3, 20, 18)),
    "axes of length 1": lambda a: a[:1].transpose(2, 0, 1),
    "nothing in it": lambda a: np.asfortranarray(a)[:, :0],
}


@pytest.mark.parametrize("jit", [NATIVE, "off"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_of_arrays_does_not_show_in_values(layout: str, kernel: str, jit: str):
    a = LAYOUTS[layout](BASE)
    partners = {
        "of the same layout": LAYOUTS[layout](BASE % 7 + 1),
        "in C order": np.ascontiguousarray(a) % 5 + 1,
        "float32": (a % 3 + 1).astype("float32"),
        "along one axis": np.linspace(1, 2, a.shape[1])[:, None],
        "0-d": np.array(2),
    }
    for name, b in partners.items():
        got = mexdask.apply(KERNELS[kernel], a, b, jit=jit)
        plain = np.ascontiguousarray(a), np.ascontiguousarray(np.broadcast_to(b, a.shape))
        want = mexdask.apply(KERNELS[kernel], *plain, jit="off")
        for result, expected in zip(got, want, strict=True):
            rtol = 1e-13 if kernel == "sums" else 0
            np.testing.assert_allclose(result, expected, rtol=rtol, err_msg=name)
            assert (result.shape, result.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize("jit", [NATIVE, "off"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_places_are_those_of_the_whole_array(layout: str, jit: str):
    a = LAYOUTS[layout](BASE)
    lazy = da.from_array(a, chunks=[max(1, n // 2) for n in a.shape])
    want = mexdask.apply(KERNELS["places"], *[np.ascontiguousarray(a)] * 2, jit="off")
    for got, expected in zip(
        mexdask.apply(KERNELS["places"], lazy, lazy, jit=jit), want, strict=True
    ):
        np.testing.assert_array_equal(got.compute(scheduler="threads"), expected)


@pytest.mark.parametrize("jit", [NATIVE, "off"])
@pytest.mark.parametrize("layout", WHOLE_LAYOUTS)
def test_results_lie_as_their_inputs(layout: str, jit: str):
    a = WHOLE_LAYOUTS[layout](BASE)
    assert mexdask.apply("a * 2 + 1", a, jit=jit).strides == (a * 2 + 1).strides == a.strides


@pytest.mark.parametrize("jit", [NATIVE, "off"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_failure_in_c_order_is_named(layout: str, jit: str):
    steps = np.ones(BASE.shape, "int64")
    steps[1:, 2:, 4:] = 0
    steps[2, 0, :] = steps[:, 5, 0] = steps[0, 15, 2] = 0
    steps = LAYOUTS[layout](steps)
    text = (
        "def f(step):\n    c = 0.0\n    for i in range(0, 3, step):\n        c += i\n    return c\n"
    )
    failing = np.argwhere(steps == 0)
    if failing.size == 0:
        assert mexdask.apply(text, steps, jit=jit).shape == steps.shape
        return
    with pytest.raises(mexdask.KernelRuntimeError) as caught:
        mexdask.apply(text, steps, jit=jit)
    assert caught.value.index == tuple(failing[0])
    mended = mexdask.apply(text, steps, jit=jit, on_error="nan")
    np.testing.assert_array_equal(np.isnan(mended), steps == 0)


@st.composite
def strided(draw: st.DrawFn) -> Array:
    """Any view of an array of up to four axes."""
    shape = draw(st.lists(st.integers(1, 20), min_size=1, max_size=4))
    steps = draw(st.lists(st.sampled_from([1, 1, 2, -1]), min_size=len(shape), max_size=len(shape)))
    axes = draw(st.permutations(range(len(shape))))
    whole = np.arange(np.prod([2 * n for n in shape]), dtype="int64").reshape(
        [2 * n for n in shape]
    )
    return whole[tuple(slice(None, None, s) for s in steps)].transpose(axes)


@given(strided(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_view(a: Array, with_broadcast: bool):
    b = np.arange(a.shape[-1]) if with_broadcast else a
    got = mexdask.apply("a * 3 - b", a, b, jit=NATIVE)
    np.testing.assert_array_equal(got, a * 3 - b)


def test_lines_are_long_where_an_axis_is():
    def innermost(*arrays: Array, may_join: bool = True) -> int:
        shape = np.broadcast_shapes(*(a.shape for a in arrays))
        walk = walk_of(arrays, shape, may_join=may_join)
        return shape[walk.axes[-1]] if walk else shape[-1]

    wide = np.zeros((5000, 4))
    assert innermost(wide[:, :3]) == innermost(wide, wide[:, :1]) == 5000
    assert innermost(np.zeros((40, 50, 60)).transpose(2, 0, 1)) == 60
    assert innermost(wide[:, :3].copy(), may_join=False) == 5000
    assert walk_of([wide], wide.shape, may_join=True) is None
