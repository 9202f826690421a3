"""Kernels speak of the whole array: indices, reductions and several results on any chunking."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_dask import EXPRESSIONS, grid, lazy

import mexdask
from mexdask.reductions import REDUCTIONS

ENGINES = [pytest.param("require", marks=pytest.mark.compiler), "off"]


@pytest.fixture(scope="module", autouse=True)
def cache_directory(tmp_path_factory):
    """The kernels of this file are compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("ME_DSL_JIT", raising=False)
        yield


def indexed(x):
    i, j = np.indices(x.shape)
    return x + 10 * i + 1000 * j / x.shape[1]


def flat(x):
    return x * np.arange(x.size).reshape(x.shape) + x.ndim + x.shape[0]


NEIGHBOURS = """
def neighbours(x):
    n = 0
    while n * n < _i0 + 3 * _i1 + x:
        n += 1
    return n
"""


def neighbours(x):
    i, j = np.indices(x.shape)
    return np.ceil(np.sqrt(i + 3 * j + x)).astype(int)


NORMALISED = """
def normalised(x):
    m = mean(x)
    s = sqrt(mean((x - m) ** 2))
    return (x - m) / s
"""

SCORES = """
def scores(x, y):
    low, high = min(x), max(x)
    share = (x - low) / (high - low)
    return share, x > mean(x), share * y
"""


def scores(x, y):
    share = (x - x.min()) / (x.max() - x.min())
    return share, x > x.mean(), share * y


CORRELATION = """
def covariance(x, y):
    dx = x - mean(x)
    dy = y - mean(y)
    return mean(dx * dy)

def correlation(x, y):
    return covariance(x, y) / sqrt(covariance(x, x) * covariance(y, y)), max(x)
"""

CENTRE = """
def centre(x):
    weight = sum(x)
    return sum(_i0 * x) / weight, sum(_i1 * x) / weight
"""


def centre(x):
    i, j = np.indices(x.shape)
    return (i * x).sum() / x.sum(), (j * x).sum() / x.sum()


DIVIDED = """
def divided(a, b):
    return a // b, a % b

def both(x, y):
    q, r = divided(x, 4.0)
    return r, q + y
"""


class Case(NamedTuple):
    """A kernel, what NumPy says it means, and how many of the two arguments it takes."""

    kernel: str
    meaning: Callable[..., Any]
    arguments: int = 1


CASES = {
    "indices": Case("x + 10 * _i0 + 1000 * _i1 / _n1", indexed),
    "flat index": Case("x * _flat_idx + _ndim + _n0", flat),
    "index in a loop": Case(NEIGHBOURS, neighbours),
    "normalised": Case(NORMALISED, lambda x: (x - x.mean()) / x.std()),
    "root mean square": Case("sqrt(mean(x * x))", lambda x: np.sqrt((x * x).mean())),
    "several results": Case(SCORES, scores, 2),
    "several scalars": Case(
        CORRELATION, lambda x, y: (np.corrcoef(x.ravel(), y.ravel())[0, 1], x.max()), 2
    ),
    "indices in a reduction": Case(CENTRE, centre),
    "helper of two results": Case(DIVIDED, lambda x, y: (x % 4, x // 4 + y), 2),
    "outer sum": Case("x - sum(y)", lambda x, y: x - y.sum(), 2),
}
DATA = grid(7, 9) ** 1.5 + 1
SECOND = DATA[::-1] * 3 - 2
CHUNKS = {
    "one chunk": lambda x: lazy(x, x.shape),
    "uneven": lambda x: lazy(x, ((3, 4), (2, 6, 1))),
    "single elements": lambda x: lazy(x, 1),
    "transposed": lambda x: lazy(np.ascontiguousarray(x.T), (4, 3)).T,
    "sliced": lambda x: lazy(np.repeat(x, 2, axis=0), (5, 4))[::2],
    "reversed": lambda x: lazy(x[:, ::-1], (2, 5))[:, ::-1],
    "NumPy": lambda x: x,
    "NumPy, strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "NumPy, column order": np.asfortranarray,
}


def as_tuple(found: Any) -> tuple[Any, ...]:
    return found if isinstance(found, tuple) else (found,)


def results_of(found: Any) -> tuple[Any, ...]:
    """Compute, and return the results as a tuple."""
    return dask.compute(*as_tuple(found))


@pytest.mark.both
@pytest.mark.parametrize("jit", ENGINES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_answer_does_not_depend_on_the_chunks(case: Case, jit: str):
    data = (DATA, SECOND)[: case.arguments]
    want = case.meaning(*data)
    want = want if isinstance(want, tuple) else (want,)
    with dask.config.set(scheduler="synchronous"):
        for label, cut in CHUNKS.items():
            if EXPRESSIONS and label == "single elements" and jit == "require":
                continue  # the same as on the other back end, and slow
            call = mexdask.apply(case.kernel, *map(cut, data), jit=jit)
            found = results_of(call)
            for got, right in zip(found, want, strict=True):
                assert np.shape(got) == np.shape(right), label
                assert got.dtype == np.asarray(right).dtype, label
                np.testing.assert_allclose(got, right, rtol=1e-12, err_msg=label)


@pytest.mark.compiler
@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_schedulers_agree(scheduler: str):
    def calls(case: Case) -> list[Any]:
        data = [lazy(x, (3, 4)) for x in (DATA, SECOND)[: case.arguments]]
        return [mexdask.apply(case.kernel, *data, jit=jit) for jit in ("require", "off")]

    # All at once, as processes take a second to start.
    with dask.config.set(scheduler=scheduler):
        (found,) = dask.compute({name: calls(case) for name, case in CASES.items()})
    assert found.keys() == CASES.keys()
    for name, (native, interpreted) in found.items():
        for a, b in zip(as_tuple(native), as_tuple(interpreted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, err_msg=name)


@pytest.mark.both
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_nothing_runs_at_graph_time(case: Case):
    mexdask.reset_stats()
    found = mexdask.apply(case.kernel, *(lazy(x, (3, 4)) for x in (DATA, SECOND)[: case.arguments]))
    for array in found if isinstance(found, tuple) else (found,):
        assert array.name.startswith("mex-")
        assert type(array._meta) is np.ndarray or np.isscalar(array._meta)
    counts = mexdask.stats()
    assert counts["native"] == counts["interpreted"] == counts["compiled"] == 0


# Index symbols.


@pytest.mark.parametrize("jit", ENGINES)
@pytest.mark.parametrize("shape", [(), (5,), (1, 4), (4, 1), (2, 3, 2), (1, 1, 1), (0, 3)])
def test_every_symbol_in_every_dimension(shape: tuple[int, ...], jit: str):
    symbols = [f"_{s}{d}" for s in "in" for d in range(len(shape))]
    kernel = f"def f(x):\n    return {', '.join(['_ndim', '_flat_idx', *symbols])}"
    found = mexdask.apply(kernel, lazy(np.zeros(shape), 2), jit=jit)
    ndim, place, *rest = results_of(found)
    assert (ndim == len(shape)).all()
    assert np.array_equal(place, np.arange(math.prod(shape)).reshape(shape))
    want = [*np.indices(shape), *(np.full(shape, n) for n in shape)]
    for got, right in zip(rest, want, strict=True):
        assert got.dtype == np.int64
        assert np.array_equal(got, right)


@pytest.mark.parametrize("jit", ENGINES)
def test_large_arrays_are_computed_in_slabs(jit: str):
    x = np.ones((3, 200_003), np.float32)
    found = mexdask.apply("x + _flat_idx + _i0 * _n1", x, jit=jit)
    assert np.array_equal(
        found, 1 + np.arange(x.size).reshape(x.shape) + 200_003 * np.indices(x.shape)[0]
    )


def test_broadcast_arguments_count_in_the_result():
    column, row = lazy(grid(4, 1), (2, 1)), lazy(grid(5), 2)
    found = mexdask.apply("column + row + 100 * _i0 + 10 * _i1", column, row).compute()
    i, j = np.indices((4, 5))
    assert np.array_equal(found, grid(4, 1) + grid(5) + 100 * i + 10 * j)


@pytest.mark.skipif(EXPRESSIONS, reason="this back end has no boolean masks")
def test_unknown_sizes_refuse_indices():
    x = lazy(grid(9), 4)
    with pytest.raises(mexdask.ArgumentError, match="compute_chunk_sizes"):
        mexdask.apply("x + _i0", x[x > 3])


@pytest.mark.both
@pytest.mark.parametrize("jit", ENGINES)
@pytest.mark.parametrize("chunks", ["auto", 3, ((2, 4), (7,)), -1])
def test_fromkernel(jit: str, chunks: Any):
    found = mexdask.fromkernel("scale * (_i0 - _i1) // 2", (6, 7), chunks, scale=3, jit=jit)
    like = da.zeros((6, 7), chunks=chunks)
    assert found.chunks == like.chunks
    i, j = np.indices((6, 7))
    assert np.array_equal(found.compute(), 3 * (i - j) // 2)
    assert found.dtype == np.int64


def test_fromkernel_of_several_and_of_reductions():
    kernel = "def f(step):\n    t = step * _i0\n    return t, max(t)"
    t, most = dask.compute(*mexdask.fromkernel(kernel, 5, chunks=2, step=0.5))
    assert t.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert most.tolist() == [2.0] * 5  # one result depends on the element, so all have its shape
    assert mexdask.fromkernel("sum(_i0)", (100, 2), chunks=7).compute() == 9900


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mexdask.fromkernel("_i0 + x", 3, x=np.ones(3)), "'x' is an array"),
        (lambda: mexdask.fromkernel("_i0", -1), "not a shape"),
        (lambda: mexdask.fromkernel("_i0", "ab"), "not a shape"),
        (lambda: mexdask.fromkernel("_i0", 2.5), "not a shape"),
        (lambda: mexdask.fromkernel("_i0", 2**70), "not a shape"),
        (lambda: mexdask.fromkernel("_i0", (2, 3), chunks=(1, 2, 3)), "do not fit"),
        (lambda: mexdask.fromkernel("_i0", 3, chunks=0), "do not fit"),
        (lambda: mexdask.fromkernel("_i0", 3, chunks=((-2, 5),)), "negative"),
        (lambda: mexdask.fromkernel("_i0 + x", 3), "missing 'x'"),
        (lambda: mexdask.fromkernel("_i1", 3), "_i1"),
        (lambda: mexdask.apply("x + _i9", np.ones(3)), "from _i0 to _i7"),
        (lambda: mexdask.apply("x + _i0", 1.0), "fromkernel"),
        (lambda: mexdask.apply("x + _i1", np.ones(3)), "use _i0"),
        (lambda: mexdask.apply("x + _i0", np.float64(1)), "fromkernel"),
    ],
)
def test_misuse_of_indices(call: Callable[[], Any], words: str):
    with pytest.raises(mexdask.MexError, match=words):
        call()


# Reductions.

DTYPES = "bool int8 uint8 int16 uint32 int64 uint64 float32 float64".split()
EDGES = {
    "b": st.booleans(),
    "i": st.integers(-(2**63), 2**63 - 1),
    "u": st.integers(0, 2**64 - 1),
    "f": st.sampled_from([0.0, -0.0, 1.0, -1.5, math.inf, -math.inf, math.nan, 1e30, 3e-39, 0.1]),
}
EXACT = {"min", "max", "any", "all", "nanmin", "nanmax"}


@st.composite
def reducible(draw: Any) -> np.ndarray[Any, Any]:
    """An array of one of the dtypes, with the values that matter to reductions."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    length = draw(st.integers(1, 90))
    values = EDGES[dtype.kind]
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        values = st.integers(int(info.min), int(info.max))
    return draw(arrays(dtype, length, elements=values.map(dtype.type)))


@functools.cache
def every_reduction() -> str:
    lines = [f"    r{n} = {name}(x)" for n, name in enumerate(REDUCTIONS)]
    results = ", ".join(f"r{n}" for n in range(len(lines)))
    return "\n".join(["def every(x):", *lines, f"    return {results}"])


def by_numpy(name: str, x: np.ndarray[Any, Any]) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return getattr(np, name)(x)


@pytest.mark.parametrize("jit", ENGINES)
@settings(max_examples=60, deadline=None)
@given(x=reducible(), chunk=st.integers(1, 40))
def test_reductions_are_numpys(jit: str, x: np.ndarray[Any, Any], chunk: int):
    with dask.config.set(scheduler="synchronous"):
        eager = mexdask.apply(every_reduction(), x, jit=jit)
        chunked = dask.compute(*mexdask.apply(every_reduction(), lazy(x, chunk), jit=jit))
    for name, got, cut in zip(REDUCTIONS, eager, chunked, strict=True):
        want = by_numpy(name, x)
        assert got.dtype == cut.dtype == want.dtype, name
        if name in EXACT or (x.dtype.kind in "biu" and "mean" not in name):
            assert repr(got) == repr(cut), name
            assert np.array_equal(got, want, equal_nan=True) or both_nan(got, want), (name, got)
        elif "prod" not in name or np.isfinite(want):
            # The largest term bounds what rounding can do to a sum in which others cancel.
            with np.errstate(all="ignore"):
                scale = float(np.nansum(np.abs(x.astype(float))))
            tolerance = 1e-6 if x.dtype == np.float32 else 1e-12
            np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale)
            np.testing.assert_allclose(cut, got, rtol=tolerance, atol=tolerance * scale)


def both_nan(a: Any, b: Any) -> bool:
    return bool(a != a and b != b)


@pytest.mark.parametrize("jit", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("others", [[], [math.nan], [1.5, math.inf], [-1.5, -math.inf, math.nan]])
def test_minus_zero_is_below_zero_wherever_they_stand(others: list[float], dtype: str, jit: str):
    rng = np.random.default_rng(6)
    call = "min(x), max(x), nanmin(x), nanmax(x)"
    for size in (2, 31, 32, 64, 65, 1024, 1500, 2100):
        for pool in ([0.0, -0.0], [0.0], [-0.0]):
            x = rng.choice(np.array([*pool, *others], dtype), size)
            got = mexdask.apply(f"def f(x):\n    return {call}", x, jit=jit)
            by_sign = sorted(x[x == x], key=lambda v: (v, not np.signbit(v))) or [np.nan]
            least, largest = by_sign[0], by_sign[-1]
            if np.isnan(x).any():
                assert np.isnan(got[:2]).all()
            else:
                assert repr(got[:2]) == repr((least, largest))
            assert repr(got[2:]) == repr((least, largest))


@pytest.mark.parametrize("jit", ENGINES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_are_as_accurate_as_numpys(jit: str, dtype: str):
    rng = np.random.default_rng(5)
    for x in (
        rng.random(300_001) ** 8,
        rng.standard_normal(300_001) * 10.0 ** rng.integers(-6, 7, 300_001),
        np.full(300_001, 0.1),
    ):
        x = x.astype(dtype)
        exact = math.fsum(x.tolist())
        allowed = abs(float(np.sum(x)) - exact) + np.spacing(np.abs(np.asarray(exact, dtype)))
        for got in (
            mexdask.apply("sum(x)", x, jit=jit),
            mexdask.apply("sum(x)", lazy(x, 70_000), jit=jit).compute(scheduler="synchronous"),
        ):
            assert abs(float(got) - exact) <= allowed


@pytest.mark.parametrize("jit", ENGINES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_no_element(name: str, jit: str):
    nothing = np.zeros((0, 3))
    for x in (nothing, lazy(nothing, 2)):
        if REDUCTIONS[name].merge in ("min", "max"):
            with pytest.raises(mexdask.ArgumentError, match=rf"{name}\(\) of an empty array"):
                mexdask.apply(f"{name}(x)", x, jit=jit)
        else:
            (got,) = dask.compute(mexdask.apply(f"{name}(x)", x, jit=jit))
            want = by_numpy(name, nothing)
            assert got.dtype == want.dtype
            assert repr(got) == repr(want)


@pytest.mark.skipif(EXPRESSIONS, reason="this back end has no boolean masks")
def test_no_element_that_is_only_known_when_computed():
    x = lazy(grid(6), 2)
    none = x[x < 0]
    assert mexdask.apply("sum(x)", none).compute() == 0
    with pytest.raises(mexdask.ArgumentError, match="empty"):
        mexdask.apply("min(x)", none).compute()
    assert mexdask.apply("max(x)", x[x > 2]).compute() == 5


@pytest.mark.parametrize("jit", ["auto", "off"])
def test_complex_numbers(jit: str):
    z = (grid(3, 4) + 1j * grid(3, 4)[::-1]).astype("complex64")
    for name in ("sum", "prod", "mean", "nansum", "any"):
        with pytest.warns(mexdask.FallbackWarning) if jit == "auto" else warnings.catch_warnings():
            got = mexdask.apply(f"{name}(z)  # {jit}", lazy(z, 2), jit=jit).compute(
                scheduler="synchronous"
            )
        want = getattr(np, name)(z)
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_a_reduction_is_over_what_its_operand_depends_on():
    x, y = lazy(grid(3), 2), lazy(grid(4, 3), 2)
    assert mexdask.apply("y - sum(x)", y, x).compute().tolist() == (grid(4, 3) - 3).tolist()
    assert mexdask.apply("def f(x, y):\n    return sum(x) + 0 * sum(y)", x, y).compute() == 3
    assert mexdask.apply("sum(x + 0 * y)", x, y).compute() == 12
    assert mexdask.apply("sum(x)", np.float64(4.0)) == 4.0
    assert mexdask.apply("sum(x)", da.asarray(np.float64(4.0))).compute() == 4.0


def test_reductions_of_one_stage_share_a_pass():
    x, y = lazy(grid(6, 8), (3, 4)), lazy(grid(6, 8), (2, 4))
    kernel = "def f(x, y):\n    return mean(x) + mean(y) + max(x * y) + min(x)"
    stages = mexdask.explain(kernel, x, y).stages
    assert len(stages) == 2
    assert "mean, mean, max, min" in stages[0]
    mexdask.reset_stats()
    mexdask.apply(kernel, x, x).compute(scheduler="synchronous")
    counts = mexdask.stats()
    assert counts["native"] + counts["interpreted"] == 4, "one pass over four blocks"
    different = mexdask.explain(kernel, x, lazy(grid(8), 4)).stages
    assert len(different) == 4, "arrays of other shapes are passed over separately"


def test_split_every_is_dasks():
    x = lazy(grid(64), 1)
    with dask.config.set(split_every=2):
        deep = mexdask.apply("sum(x)", x)
    wide = mexdask.apply("sum(x)", x)
    assert len(dict(deep.__dask_graph__())) > len(dict(wide.__dask_graph__()))
    assert deep.compute() == wide.compute() == grid(64).sum()


@pytest.mark.parametrize("jit", ENGINES)
def test_errors_in_a_reducing_stage_name_the_element(jit: str):
    x = np.array([[2, 3], [5, -1]])
    for given_ in (x, lazy(x, 1)):
        with pytest.raises(mexdask.KernelRuntimeError, match="negative") as caught:
            results_of(mexdask.apply("sum(2 ** x)", given_, jit=jit))
        assert caught.value.index == (1, 1)
        assert "x = -1" in str(caught.value)


@pytest.mark.parametrize("jit", ENGINES)
def test_failing_elements_that_become_nan(jit: str):
    kernel = """
def f(x):
    n = 0.0
    while x > 1.0:
        x = x / 2 if x < 100.0 else x
        n += 1.0
    return n, x, nansum(n)
"""
    kernel = kernel.replace("return n, x, nansum(n)", "return n, x")
    x = np.array([1.0, 4.0, 100.0, 7.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ME_DSL_WHILE_MAX_ITERS", "50")
        n, rest = mexdask.apply(kernel, x, jit=jit, on_error="nan")
        total = mexdask.apply(kernel.replace("return n, x", "return nansum(n)").replace(
            "def f(x):", "def f(x):"), x, jit=jit, on_error="nan")  # fmt: skip
    assert np.array_equal(n, [0, 2, math.nan, 3], equal_nan=True)
    assert np.isnan(rest[2])
    assert total == 5


# Streams.

STREAM = """
import resource, sys
import dask, dask.array as da, numpy as np
import mexdask

class Sink:
    shape = dtype = None
    written = 0
    def __setitem__(self, where, block):
        self.written += block.nbytes

size, jit = int(sys.argv[1]), sys.argv[2]
source = da.random.default_rng(1).random(size, chunks=1 << 21)  # 16 MiB each
parts = mexdask.apply('def f(x):\\n    return x + 1.0, x * _i0', source, jit=jit)
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sinks = [Sink(), Sink()]
with dask.config.set(scheduler="threads", num_workers=2):
    da.store(parts, sinks, lock=False)
    total = mexdask.apply("sum(x * x)", source, jit=jit).compute()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start
assert [sink.written for sink in sinks] == [8 * size] * 2, "everything has been written"
assert abs(total / size - 1 / 3) < 1e-3
print(grown >> 10)
"""


def grown_while_storing(nbytes: int, jit: str) -> int:
    """Return by how many MiB a process grows that streams an array of ``nbytes``."""
    command = [sys.executable, "-c", STREAM, str(nbytes // 8), jit]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
@pytest.mark.compiler
def test_memory_stays_bounded_while_an_array_streams_through():
    assert grown_while_storing(1 << 30, "require") < 400


@pytest.mark.stress
def test_memory_stays_bounded_for_ten_gigabytes():
    assert grown_while_storing(10 * 10**9, "require") < 400


def test_results_go_to_zarr(tmp_path):
    zarr = pytest.importorskip("zarr")
    x = grid(30, 20)
    mexdask.apply("x - mean(x) + _i1", lazy(x, (10, 7))).to_zarr(str(tmp_path / "a.zarr"))
    stored = zarr.open(str(tmp_path / "a.zarr"))[:]
    np.testing.assert_allclose(stored, x - x.mean() + np.arange(20))


# Several results.


@pytest.mark.both
@pytest.mark.compiler
def test_each_block_runs_once_for_all_results():
    found = mexdask.apply(SCORES, lazy(DATA, (4, 5)), lazy(SECOND, (4, 5)), jit="require")
    assert [r.dtype for r in found] == ["float64", "bool", "float64"]
    assert [r.chunks for r in found] == [((4, 3), (5, 4))] * 3
    mexdask.reset_stats()
    dask.compute(*found, scheduler="synchronous")
    assert mexdask.stats()["native"] == 8, "four blocks, two stages"


def test_a_dtype_is_every_results():
    found = mexdask.apply("def f(x):\n    return x + 1, x > 2", lazy(grid(5), 2), dtype="float32")
    assert [r.dtype for r in found] == ["float32"] * 2
    assert mexdask.explain("def f(x):\n    return x, x > 1", grid(3)).signature.endswith(
        "-> float64, bool"
    )


@pytest.mark.skipif(EXPRESSIONS, reason="this back end takes no Delayed")
def test_a_delayed_is_a_weak_float():
    half = dask.delayed(0.5)
    found = mexdask.apply("x * d", lazy(grid(5, dtype="float32"), 2), half)
    assert found.dtype == np.float32
    assert np.array_equal(found.compute(), grid(5) / 2)
    assert mexdask.apply("x * d", grid(5), dask.delayed(2)).compute().tolist() == [0, 2, 4, 6, 8]
    assert mexdask.apply("2 * d", half).compute() == 1.0
    with pytest.raises(mexdask.BlockError, match=r"'d'.*str"):
        mexdask.apply("x * d", lazy(grid(5), 2), dask.delayed("2")).compute()
