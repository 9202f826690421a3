"""Kernels on real Dask arrays: one lazy layer of the right dtype, chunks, name, blocks and errors.

The tests marked ``both`` are run a second time on Dask's other array back end, see
``test_expression_back_end``.
"""

from __future__ import annotations

import functools
import json
import math
import operator
import os
import pickle
import pickletools
import re
import subprocess
import sys
from pathlib import Path

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
from dask.base import tokenize
from dask.blockwise import Blockwise
from engines import HAS_COMPILER, HAS_EXPRESSIONS, NATIVE
from runtime.runtime_kit import compiles, recording_cc

import mexdask
from mexdask.runtime.memory import KERNELS

REPOSITORY = Path(mexdask.__file__).parents[1]
EXPRESSIONS = getattr(da, "array_expr_enabled", lambda: False)()
SCHEDULERS = ("synchronous", "threads")

LIMITED = """
def limited(x, y):
    total = 0 * x * y
    for i in range(5):
        if total > 40:
            break
        total = total + x - 2 * y + i
    return total
"""


def limited(x, y):
    """What LIMITED means, in NumPy; elements that have left the loop stay as they are."""
    total = np.asarray(0 * x * y)
    live = np.ones(total.shape, bool)
    for i in range(5):
        live &= ~(total > 40)
        total = np.where(live, total + x - 2 * y + i, total)
    return total


STEPS = """
def steps(x, y=1):
    n = 0
    for i in range(0, 6, x * y):
        n += 1
    return n
"""


@pytest.fixture(scope="module", autouse=True)
def cache_directory(tmp_path_factory):
    """All tests here share one directory of compiled kernels, which is nobody else's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("ME_DSL_JIT", raising=False)
        yield


@pytest.fixture(autouse=True)
def counted_anew():
    mexdask.reset_stats()


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A compiler that keeps a log, a cache that is empty, a process that knows no kernel."""
    cc, log = recording_cc(tmp_path)
    monkeypatch.setenv("CC", str(cc))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    KERNELS.clear()
    yield log
    KERNELS.clear()


def grid(*shape, dtype="float64"):
    return (np.arange(np.prod(shape, dtype=int)) % 23).reshape(shape).astype(dtype)


def lazy(x, chunks):
    return da.from_array(x, chunks=chunks)


def swapped(x):
    return x.astype(x.dtype.newbyteorder())


# Pairs of arguments, lazy and eager alike; built when the test runs, as a back end may refuse.
ARGUMENTS = {
    "same chunks": lambda: (lazy(grid(6, 8), (3, 4)), lazy(grid(6, 8), (3, 4))),
    "uneven chunks": lambda: (lazy(grid(7, 9), (3, 4)), lazy(grid(7, 9), ((5, 2), (2, 7)))),
    "one chunk and many": lambda: (lazy(grid(7, 9), (7, 9)), lazy(grid(7, 9), (2, 3))),
    "fewer dimensions": lambda: (lazy(grid(4, 6, 5), (2, 3, 5)), lazy(grid(5), 2)),
    "more dimensions": lambda: (lazy(grid(6), 4), lazy(grid(3, 2, 6), (2, 1, 6))),
    "length 1": lambda: (lazy(grid(4, 1, 6), (3, 1, 2)), lazy(grid(5, 6), (2, 4))),
    "length 1 on both sides": lambda: (lazy(grid(4, 1), (3, 1)), lazy(grid(1, 5), (1, 2))),
    "length 1 everywhere": lambda: (lazy(grid(1, 1), (1, 1)), lazy(grid(1), 1)),
    "length 1 in blocks of 1 and 0": lambda: (lazy(grid(1), ((1, 0),)), lazy(grid(5), 2)),
    "0-d beside n-d": lambda: (lazy(grid(5, 4), (2, 3)), lazy(grid(4), 2).sum()),
    "0-d": lambda: (da.asarray(np.float64(3.0)), lazy(grid(4), 2).max()),
    "NumPy second": lambda: (lazy(grid(6, 8), (4, 3)), grid(6, 8)),
    "NumPy first": lambda: (grid(8), lazy(grid(6, 8), (4, 3))),
    "NumPy of more dimensions": lambda: (lazy(grid(8), 3), grid(4, 6, 8)),
    "NumPy where Dask has length 1": lambda: (lazy(grid(6, 1), (4, 1)), grid(1, 7)),
    "NumPy 0-d": lambda: (lazy(grid(6), 4), np.array(2.5)),
    "NumPy read-only, stride 0": lambda: (lazy(grid(6, 3), 2), np.broadcast_to(grid(3), (6, 3))),
    "NumPy byte-swapped": lambda: (lazy(grid(6), 4), swapped(grid(6))),
    "Python scalar": lambda: (lazy(grid(6), 4), 2),
    "NumPy scalar": lambda: (np.float64(1.5), lazy(grid(6), 4)),
    "empty": lambda: (lazy(grid(0, 3), (1, 2)), lazy(grid(3), 2)),
    "empty beside length 1": lambda: (lazy(grid(0, 3), (1, 2)), lazy(grid(1, 3), 2)),
    "empty blocks": lambda: (lazy(grid(5), ((0, 3, 0, 2),)), lazy(grid(5), ((4, 1),))),
    "transposed": lambda: (lazy(grid(4, 6), (3, 4)).T, lazy(grid(6, 4), (2, 2))),
    "sliced": lambda: (lazy(grid(20, 9), (6, 4))[1:-1:3, ::-2], lazy(grid(6, 9), 3)[::-1, 2:7]),
    "new axes": lambda: (lazy(grid(6), 4)[None, :, None], lazy(grid(3), 2)),
    "broadcast_to": lambda: (da.broadcast_to(lazy(grid(4), 2), (3, 4)), lazy(grid(3, 1), 2)),
    "byte-swapped": lambda: (lazy(swapped(grid(6)), 4), lazy(grid(6), 3)),
    "ints": lambda: (lazy(grid(6, dtype="int16"), 4), lazy(grid(6, dtype="int32"), 3)),
    "float32 and a weak scalar": lambda: (lazy(grid(6, dtype="float32"), 4), 0.25),
}


def built(make):
    """Return what a function builds; some of Dask's functions are missing on one back end."""
    try:
        return make()
    except NotImplementedError:
        if not EXPRESSIONS:
            raise
        pytest.skip("Dask has no such function on this back end")


@pytest.mark.both
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("make", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_result(make, scheduler):
    x, y = built(make)
    result = mexdask.apply(LIMITED, x, y, jit=NATIVE)
    assert isinstance(result, da.Array)
    assert mexdask.stats()["native"] == 0

    x, y = dask.compute(x, y, scheduler="synchronous")
    expected = limited(x, y)
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    assert type(result._meta) is np.ndarray
    assert (result._meta.ndim, result._meta.dtype) == (expected.ndim, expected.dtype)

    computed = result.compute(scheduler=scheduler)
    assert computed.dtype == expected.dtype
    np.testing.assert_array_equal(computed, expected)
    stats = mexdask.stats()
    blocks = math.prod(result.numblocks)
    assert stats["native" if HAS_COMPILER else "interpreted"] == blocks
    assert stats["interpreted" if HAS_COMPILER else "native"] == 0


@pytest.mark.parametrize("make", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_each_block_has_the_promised_shape(make):
    result = mexdask.apply(LIMITED, *built(make), jit=NATIVE)
    for index in np.ndindex(result.numblocks):
        promised = tuple(sizes[i] for i, sizes in zip(index, result.chunks, strict=True))
        (block,) = dask.get(result.__dask_graph__(), [(result.name, *index)])
        assert block.shape == promised


# The graph ----------------------------------------------------------------------------------------


def layer_of(result):
    return result.__dask_graph__().layers[result.name]


def task_of(result, *index):
    return dict(layer_of(result))[(result.name, *index)]


def test_one_layer_of_ours():
    x, y = lazy(grid(6, 8), (3, 4)), lazy(grid(8), 4)
    result = mexdask.apply(LIMITED, x, y)
    assert re.fullmatch(r"mex-limited-[0-9a-f]{32}", result.name)
    assert set(result.dask.layers) - {result.name} == {*x.dask.layers, *y.dask.layers}
    assert isinstance(layer_of(result), Blockwise)
    assert not layer_of(result).is_materialized()
    assert result.chunks == ((3, 3), (4, 4))


@pytest.mark.both
def test_the_kernel_is_not_called_before_compute(recorded):
    x = lazy(grid(6, 8), (3, 4))
    result = mexdask.apply("x * 4 + y", x, y=x.sum(axis=0), jit=NATIVE)
    chained = da.exp(mexdask.apply("x - 0.5", result, jit=NATIVE))[1:]
    mexdask.explain("x * 4 + y", x, y=x)
    result.name, result._meta, chained.dtype, repr(result)
    dask.optimize(chained)
    stats = mexdask.stats()
    assert compiles(recorded) == 0
    assert not stats["kernels"]

    result.compute()
    assert compiles(recorded) == 1
    assert mexdask.stats()["native"] == 4


def test_a_chain_is_one_task_per_chunk():
    x = da.ones((40, 40), chunks=10)
    chain = x
    for text in ("x - 1", "x * 2 + 3", "sqrt(x + 1)"):
        chain = mexdask.apply(text, chain, jit=NATIVE)
    (optimized,) = dask.optimize(chain)
    assert len(dict(optimized.__dask_graph__())) == 16
    assert (chain.compute() == 2).all()


FOLLOW_UPS = {
    "sum": (lambda r: r.sum(), lambda r: r.sum()),
    "mean over an axis": (lambda r: r.mean(axis=0), lambda r: r.mean(axis=0)),
    "slicing": (lambda r: r[1:, ::2], lambda r: r[1:, ::2]),
    "arithmetic": (lambda r: 1 + r * r, lambda r: 1 + r * r),
    "transpose": (lambda r: r.T, lambda r: r.T),
    "rechunk": (lambda r: r.rechunk(5), lambda r: r),
    "astype": (lambda r: r.astype("float32"), lambda r: r.astype("float32")),
    "where": (lambda r: da.where(r > 3, r, -1), lambda r: np.where(r > 3, r, -1)),
    "concatenate": (lambda r: da.concatenate([r, r]), lambda r: np.concatenate([r, r])),
    "map_blocks": (lambda r: r.map_blocks(np.negative), np.negative),
    "persist": (lambda r: r.persist(), lambda r: r),
    "optimize": (lambda r: dask.optimize(r)[0], lambda r: r),
    "another kernel": (
        lambda r: mexdask.apply("a + b / 2", r, r[:, :1], jit=NATIVE),
        lambda r: r + r[:, :1] / 2,
    ),
}


@pytest.mark.both
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize(("then", "same"), FOLLOW_UPS.values(), ids=FOLLOW_UPS.keys())
def test_results_are_ordinary_arrays(then, same, scheduler):
    x = grid(6, 8)
    result = built(lambda: then(mexdask.apply(LIMITED, lazy(x, (4, 3)), 2.0, jit=NATIVE)))
    expected = same(limited(x, 2.0))
    assert result.dtype == expected.dtype
    with dask.config.set(scheduler=scheduler):
        np.testing.assert_allclose(result.compute(), expected, rtol=1e-15)


def test_every_scheduler_gives_the_same_bits():
    x = lazy(np.linspace(0.0, 9.0, 400).reshape(20, 20), (7, 6))
    result = mexdask.apply("sqrt(x) * (x - y / 3) if x > 1 else -x", x, x.T, jit=NATIVE)
    expected = result.compute(scheduler="synchronous")
    for scheduler in ("threads", "processes"):
        computed = result.compute(scheduler=scheduler, num_workers=2)
        assert computed.tobytes() == expected.tobytes()


# Alignment ----------------------------------------------------------------------------------------

CHUNKS = {
    "equal": [((3, 3),), ((3, 3),)],
    "crossing": [((4, 2),), ((1, 5),)],
    "one chunk": [((6,),), ((2, 2, 2),)],
    "three": [((5, 1),), ((3, 3),), ((1, 1, 4),)],
    "empty blocks kept": [((0, 2, 4),), ((6,),)],
    "two dimensions": [((4, 2), (3, 3)), ((6,), (2, 4))],
    "broadcast": [((4, 2), (1,)), ((1, 1, 1),)],
    "outer": [((2, 2), (1,)), ((1,), (3, 3))],
}


@pytest.mark.both
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS.keys())
def test_chunks_are_those_that_dask_itself_chooses(chunks):
    eager = [grid(*map(sum, c)) for c in chunks]
    arrays = [lazy(x, c) for x, c in zip(eager, chunks, strict=True)]
    result = mexdask.apply("a + b + c", *arrays, *[0.0] * (3 - len(arrays)), jit=NATIVE)
    assert result.chunks == functools.reduce(operator.add, arrays).chunks
    np.testing.assert_array_equal(result.compute(), functools.reduce(operator.add, eager))


@pytest.mark.both
def test_alignment_is_reported():
    x, y, z = lazy(grid(6), 4), lazy(grid(2, 6), ((2,), (4, 2))), lazy(grid(6), 3)
    fits = {"a": x, "b": y, "c": grid(6), "d": 1.0}
    explained = mexdask.explain("a + b + c + d", **fits)
    assert explained.predicted
    assert explained.path is None
    assert explained.rechunked == {}
    assert mexdask.apply("a + b + c + d", **fits, align="error").chunks == ((2,), (4, 2))

    explained = mexdask.explain("a + b + c + d", **fits | {"c": z})
    assert explained.rechunked == {
        "a": (((4, 2),), ((3, 1, 2),)),
        "b": (((2,), (4, 2)), ((2,), (3, 1, 2))),
        "c": (((3, 3),), ((3, 1, 2),)),
    }
    assert "rechunked  a: ((4, 2),) -> ((3, 1, 2),)" in str(explained)


@pytest.mark.both
@pytest.mark.parametrize("call", [mexdask.apply, mexdask.explain])
def test_align_error_refuses_by_name(call):
    one_chunk, cut = lazy(grid(6), 6), lazy(grid(6), 3)
    with pytest.raises(mexdask.ArgumentError, match=r"'whole' would be rechunked .*\(6,\).*3, 3"):
        call("cut + whole", cut, one_chunk, align="error")


def test_alignment_of_many_chunks_is_reported_briefly():
    many, few = da.ones(3000, chunks=1), da.ones(3000, chunks=3000)
    assert len(str(mexdask.explain("a + b", many, few))) < 2000
    with pytest.raises(mexdask.ArgumentError) as caught:
        mexdask.apply("a + b", many, few, align="error")
    assert len(str(caught.value)) < 300


@pytest.mark.both
def test_outer_products_give_no_warning(recwarn):
    row, column = da.ones((1, 64), chunks=4), da.ones((64, 1), chunks=4)
    assert mexdask.apply("a * b", row, column).numblocks == (16, 16)
    assert not recwarn.list


# Chunks of unknown sizes --------------------------------------------------------------------------


def filtered(dtype="float64", rows=4):
    """Rows of which Dask cannot know how many there are; by default 3 of 4, then 1 of 3."""
    x = grid(7, 3, dtype=dtype)
    return lazy(x, (rows, 2))[lazy(np.array([1, 1, 0, 1, 0, 0, 1], bool), rows)]


def test_unknown_sizes_of_one_origin():
    x = filtered()
    result = mexdask.apply("x * y + r + s", x, x + 1, lazy(grid(1, 3), 3), 2.0, jit=NATIVE)
    assert np.isnan(result.shape[0])
    assert result.chunks[1] == (2, 1)
    eager = x.compute()
    np.testing.assert_array_equal(result.compute(), eager * (eager + 1) + grid(1, 3) + 2.0)


def test_unknown_sizes_survive_pickling():
    x = filtered()
    again = pickle.loads(pickle.dumps(x))
    result = mexdask.apply("x + y", x, again, jit=NATIVE).compute()
    np.testing.assert_array_equal(result, 2 * x.compute())


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(lambda: lazy(grid(4, 3), (3, 2)), id="Dask"),
        pytest.param(lambda: lazy(grid(4, 3), (4, 3)), id="one chunk"),
        pytest.param(lambda: grid(4, 3), id="NumPy"),
        pytest.param(lambda: filtered(rows=3), id="other blocks of unknown sizes"),
    ],
)
def test_unknown_sizes_align_with_nothing_else(other):
    with pytest.raises(mexdask.ArgumentError, match=r"unknown sizes.*compute_chunk_sizes\(\)"):
        mexdask.apply("known + unknown", other(), filtered())


@pytest.mark.parametrize("rows", [1, 2])
def test_unknown_sizes_that_turn_out_different(rows):
    """Not even a block of one row is broadcast: the arrays do not belong together."""
    x = filtered()
    y = x.map_blocks(lambda block: block[:rows], chunks=x.chunks, meta=x._meta)
    result = mexdask.apply("def k(a, b):\n    return a + b", x, y, jit=NATIVE)
    with pytest.raises(mexdask.BlockError, match=r"'k': the block of 'b' of unknown place .*shape"):
        result.blocks[0, 0].compute()
    assert mexdask.stats()["native"] == 0


def test_runtime_error_at_an_unknown_place():
    result = mexdask.apply(STEPS, filtered(dtype="int64") * 0)
    with pytest.raises(mexdask.KernelRuntimeError, match="place is unknown") as caught:
        result.compute()
    assert caught.value.index is None


# What goes wrong on a worker ----------------------------------------------------------------------

LIES = {
    "dtype": (lambda b: b.astype("float32"), "has dtype float32, float64 was promised"),
    "integers": (lambda b: b.astype("int64"), "has dtype int64, float64 was promised"),
    "objects": (lambda b: b.astype(object), "has dtype object, float64 was promised"),
    "shape": (lambda b: b[:-1], r"has shape \(2, 4\), \(3, 4\) was promised"),
    "length 1": (lambda b: b[:1], r"has shape \(1, 4\), \(3, 4\) was promised"),
    "transposed": (lambda b: b.T, r"has shape \(4, 3\), \(3, 4\) was promised"),
    "fewer dimensions": (lambda b: b[0], "has 1 dimensions, 2 were promised"),
    "0-d": (lambda b: b[0, 0], "has 0 dimensions, 2 were promised"),
    "more dimensions": (lambda b: b[None], "has 3 dimensions, 2 were promised"),
    "list": (lambda b: b.tolist(), "is a list, not a NumPy array"),
    "Python number": (lambda b: 1.0, "is a float, not a NumPy array"),
    "None": (lambda b: None, "is a NoneType, not a NumPy array"),
    "masked": (lambda b: np.ma.masked_array(b, b > 1), "is a MaskedArray, not a NumPy array"),
}


@pytest.mark.both
@pytest.mark.parametrize("jit", [NATIVE, "off"])
@pytest.mark.parametrize(("lie", "complaint"), LIES.values(), ids=LIES.keys())
def test_wrong_blocks_never_reach_an_engine(lie, complaint, jit):
    honest = lazy(grid(6, 8), (3, 4))
    liar = honest.map_blocks(lie, dtype="float64", meta=np.empty((0, 0)))
    # A name of its own, for threads of an earlier test's failed graph may still be computing.
    result = mexdask.apply(LIMITED.replace("limited", "lied_to"), honest, liar, jit=jit)
    where = rf"kernel 'lied_to': the block of 'y' at \(3, 4\) {complaint}"
    with pytest.raises(mexdask.BlockError, match=where):
        dask.get(result.__dask_graph__(), [(result.name, 1, 1)])
    assert "lied_to" not in mexdask.stats()["kernels"]


def test_a_wrong_0_d_block():
    liar = lazy(grid(3), 3).sum().map_blocks(lambda b: np.ones(1), meta=np.empty(()))
    result = mexdask.apply("x * y", lazy(grid(4), 2), liar, jit=NATIVE)
    with pytest.raises(mexdask.BlockError, match=r"'y' .* has 1 dimensions, 0 were promised"):
        result.compute()


@pytest.mark.both
@pytest.mark.parametrize("jit", [NATIVE, "off"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_runtime_errors_name_the_global_index(jit, scheduler):
    x = np.ones((7, 9), "int64")
    x[5, 7] = 0
    result = mexdask.apply(STEPS, lazy(x, (3, 4)), lazy(np.ones(9, "int64"), 2), jit=jit)
    with pytest.raises(mexdask.KernelRuntimeError, match=r"steps:4:\d+: ") as caught:
        result.compute(scheduler=scheduler)
    assert caught.value.index == (5, 7)
    assert "at index (5, 7), with x = 0, y = 1" in str(caught.value)


def test_only_numpy_chunks_are_taken():
    masked = da.ma.masked_array(lazy(grid(4), 2), lazy(grid(4), 2) > 1)
    with pytest.raises(mexdask.ArgumentError, match=r"'x' .*numpy\.MaskedArray"):
        mexdask.apply("x + 1", masked)


# Tokens -------------------------------------------------------------------------------------------

NAMES = """
import dask.array as da, json, mexdask, numpy as np
x = da.arange(6, chunks=2)
source = "def k(x, n, e):\\n    for i in range(n):\\n        x = x * 2 + e\\n    return x"
calls = [
    mexdask.apply("x + 1", x),
    mexdask.apply("x + y", x.sum(), y=x.max()),
    mexdask.apply("x + y", x, np.float32([1, 2, 3, 4, 5, 6])),
    mexdask.apply(source, x, 3, e=np.float32(0.5)),
    mexdask.apply("x + e", x, e=x[::-1]),
]
print(json.dumps([call.name for call in calls]))
"""


def test_names_are_the_same_in_every_process():
    def names(seed):
        done = subprocess.run(
            [sys.executable, "-c", NAMES],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return json.loads(done.stdout)

    first = names("1")
    assert len(set(first)) == 5
    assert names("2") == first


TEXT = "def k(x, n=2):\n    while x < n:\n        x += 1\n    return x"
VARIANTS = {
    "text": lambda x: mexdask.apply(TEXT.replace("+= 1", "+= 2"), x),
    "comment": lambda x: mexdask.apply(TEXT.replace("return x", "return x  # so"), x),
    "name": lambda x: mexdask.apply(TEXT.replace("def k", "def m"), x),
    "parameter": lambda x: mexdask.apply(TEXT, x, 3),
    "type of a parameter": lambda x: mexdask.apply(TEXT, x, np.int64(2)),
    "0-d NumPy parameter": lambda x: mexdask.apply(TEXT, x, np.array(2, "int8")),
    "array": lambda x: mexdask.apply(TEXT, x + 1),
    "dtype of the result": lambda x: mexdask.apply(TEXT, x, dtype="float32"),
}


@pytest.mark.both
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS.keys())
def test_names_tell_different_calls_apart(variant):
    x = da.arange(6, chunks=2)
    assert variant(x).name != mexdask.apply(TEXT, x).name


@pytest.mark.both
def test_names_depend_on_the_iteration_cap_but_not_on_the_engine():
    x = da.arange(6, chunks=2)
    name = mexdask.apply(TEXT, x).name
    same = [mexdask.apply(TEXT, x, jit=jit).name for jit in ("auto", "off", "require")]
    same += [mexdask.kernel(TEXT)(x, n=2).name, mexdask.apply(TEXT, x=x, n=2).name]
    with dask.config.set({"mexdask.simd": "off"}):
        same.append(mexdask.apply(TEXT, x).name)
    assert set(same) == {name}
    with dask.config.set({"mexdask.while-max-iters": 99}):
        assert mexdask.apply(TEXT, x).name != name


@pytest.mark.both
def test_0_d_results_have_stable_names():
    zero_d = da.asarray(np.float64(1.0))
    held = []
    for i in range(20):
        held.append(np.full((), i / 7))  # so that fresh memory differs
        held.append(mexdask.apply("x * 3", zero_d).name)
    assert len(set(held[1::2])) == 1


def test_kernels_have_tokens():
    kernel, other = mexdask.kernel("x + 1"), mexdask.kernel("x + 2")
    again = pickle.loads(pickle.dumps(kernel))
    assert tokenize(kernel) == tokenize(again) != tokenize(other)


# What travels -------------------------------------------------------------------------------------

LONG = """
def steps(x, y, limit):
    total = 0.0
    for i in range(limit):
        if total > 100.0:
            break
        total = total * 0.5 + x * y + i
    if total < 0.0:
        return -total
    # A remark that brings the text to the length that the promise is about, three hundred bytes.
    return total
"""


def long_result(side=4):
    return mexdask.apply(LONG, *[da.ones((side, side), chunks=1)] * 2, limit=3, jit=NATIVE)


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_kernels_are_interned_on_unpickling(pickler):
    with dask.config.set({"mexdask.simd": "16", "mexdask.while-max-iters": 77}):
        kernel = task_of(mexdask.apply(TEXT, da.arange(6, chunks=2), jit=NATIVE), 1).func
    settings = kernel.settings
    assert (settings.jit, settings.simd, settings.while_max_iters) == (NATIVE, "16", 77)
    text = pickler.dumps(kernel)
    first, second = pickler.loads(text), pickler.loads(text)
    assert first is second
    assert first == kernel
    assert hash(first) == hash(kernel)


@pytest.mark.skipif(not HAS_EXPRESSIONS, reason="this Dask's own part is larger")
def test_a_task_is_small():
    assert 290 <= len(LONG) <= 340
    assert len(pickle.dumps(task_of(long_result(), 1, 2))) <= 900


@pytest.mark.parametrize("text", [LONG, LONG.replace("+ i", "+ _i0 - _i1")], ids=["", "indices"])
def test_a_graph_of_100_000_chunks_is_small(text):
    result = mexdask.apply(text, *[da.ones((317, 317), chunks=1)] * 2, limit=3)
    assert result.npartitions > 100_000
    assert len(cloudpickle.dumps(result.__dask_graph__())) <= 12_000
    assert not layer_of(result).is_materialized()


VERY_LONG = LONG.replace(
    "    return total\n", "    total += x * 1e-9\n" * 200 + "    return total\n"
)


@pytest.mark.both
def test_a_long_text_is_once_in_a_graph():
    assert len(VERY_LONG) > 4000
    ones = [da.ones((6, 6), chunks=2)] * 2
    result = mexdask.apply(VERY_LONG, *ones, limit=3, jit=NATIVE)
    graph = dict(result.__dask_graph__())
    assert pickle.dumps(graph).count(b"total += x") == 200
    assert (result.compute() == mexdask.apply(VERY_LONG, *[np.ones((6, 6))] * 2, limit=3)).all()
    again = mexdask.apply(VERY_LONG, *ones, limit=3, jit="off")
    assert again.name == result.name


def test_a_chain_of_long_texts_is_one_task_per_chunk():
    x = da.ones((6, 6), chunks=2)
    chain = x
    for _ in range(3):
        chain = mexdask.apply(VERY_LONG, chain, x, limit=3, jit=NATIVE)
    (optimized,) = dask.optimize(chain)
    tasks = dict(optimized.__dask_graph__())
    assert len(tasks) == 9 + 1, "a task a chunk, and the text"
    assert max(len(pickle.dumps(t)) for k, t in tasks.items() if len(k) == 3) < len(VERY_LONG)


def test_compiled_state_never_travels():
    before = pickle.dumps(task_of(long_result(), 1, 2))
    result = long_result()
    result.compute()
    assert mexdask.stats()["native" if HAS_COMPILER else "interpreted"] == 16
    after = pickle.dumps(task_of(result, 1, 2))
    assert len(after) == len(before)
    names = [argument for opcode, argument, _ in pickletools.genops(after) if opcode.name != "GET"]
    modules = {text for text in names if isinstance(text, str) and text.startswith("mexdask")}
    assert modules == {"mexdask.blockkernel", "mexdask.chunk"}


# The other back end -------------------------------------------------------------------------------


@pytest.mark.skipif(EXPRESSIONS or not HAS_EXPRESSIONS, reason="no other back end")
def test_expression_back_end():
    """The tests marked ``both``, in a process whose arrays are expressions."""
    marked = "both" if HAS_COMPILER else "both and not compiler"
    quiet = () if HAS_COMPILER else ("-W", "ignore::mexdask.errors.FallbackWarning")
    pytest_command = [sys.executable, "-m", "pytest", "-m", marked, "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(
        [*pytest_command, *quiet, __file__],
        env=os.environ | {"DASK_ARRAY__QUERY_PLANNING": "True"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|skipped)", done.stdout)}
    assert counts["passed"] > 100
    assert counts.get("skipped", 0) < 12, done.stdout


@pytest.mark.both
def test_the_variable_chooses_the_back_end():
    assert EXPRESSIONS == (os.environ.get("DASK_ARRAY__QUERY_PLANNING") == "True")
