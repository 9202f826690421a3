"""apply, kernel, explain, stats on NumPy: what goes in, what comes out, what is refused."""

from __future__ import annotations

import decimal
import fractions
import inspect
import os
import pickle
import subprocess
import sys
import warnings

import dask
import dask.array as da
import numpy as np
import pytest

import mexdask
from mexdask import ArgumentError, FallbackWarning, KernelRuntimeError, KernelSyntaxError

MANDELBROT = """
def mandelbrot(cr, ci, max_iter):
    zr = 0.0
    zi = 0.0
    for i in range(max_iter):
        zr2 = zr*zr
        zi2 = zi*zi
        if zr2 + zi2 > 4: return i
        zi = 2*zr*zi + ci
        zr = zr2 - zi2 + cr
    return max_iter
"""

ENGINES = ["off", pytest.param("require", marks=pytest.mark.compiler)]


@pytest.fixture(params=ENGINES)
def jit(request):
    return request.param


def test_mandelbrot(jit):
    re, im = np.linspace(-2, 0.5, 40), np.linspace(-1.25, 1.25, 30)[:, None]
    counts = mexdask.apply(MANDELBROT, re, im, max_iter=50, jit=jit)
    assert (counts.shape, counts.dtype) == ((30, 40), np.int64)
    z, expected = np.zeros((30, 40), complex), np.full((30, 40), 50)
    for i in range(50):
        expected = np.where((abs(z) > 2) & (expected == 50), i, expected)
        z = np.where(abs(z) > 2, z, z * z + re + 1j * im)
    assert np.count_nonzero(counts != expected) <= 2, "abs() and a sum of squares may round apart"


# Binding.

KERNEL = "def k(a, b, c=10): return a + 2 * b + 3 * c"


@pytest.mark.parametrize(
    ("arrays", "named", "expected"),
    [
        ((1, 2), {}, 35),
        ((1, 2, 3), {}, 14),
        ((1,), {"b": 2}, 35),
        ((), {"c": 3, "b": 2, "a": 1}, 14),
        ((1,), {"b": 2, "params": {"c": 3}}, 14),
        ((), {"params": {"a": 1, "b": 2}}, 35),
        ((1, 2), {"params": {}}, 35),
    ],
)
def test_arguments_by_position_and_name(arrays, named, expected):
    assert mexdask.apply(KERNEL, *arrays, jit="off", **named) == expected
    assert mexdask.kernel(KERNEL)(*arrays, jit="off", **named) == expected


def test_parameters_may_bear_the_names_of_options_and_of_our_own():
    source = (
        "def k(dtype, jit, align, params, on_error): return dtype + jit + align + params + on_error"
    )
    given = {"dtype": 1, "jit": 2, "align": 3, "params": 4, "on_error": 5}
    assert mexdask.apply(source, params=given, jit="off") == 15
    assert mexdask.apply("src + self + source + k", src=1, self=2, source=3, k=4, jit="off") == 10
    assert mexdask.kernel("src + self")(src=1, self=2, jit="off") == 3


def test_names_of_constants_and_functions_given_by_keyword_are_variables():
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(mexdask.apply("e * x", x=x, e=2.0, jit="off"), 2 * x)
    np.testing.assert_array_equal(mexdask.apply("e * x", x, jit="off"), np.e * x)
    result = mexdask.apply("sin * sin(x)", x=x, sin=3.0, jit="off")
    np.testing.assert_allclose(result, 3 * np.sin(x), rtol=1e-15)
    with pytest.raises(KernelSyntaxError, match="function-as-value"):
        mexdask.apply("sin * sin(x)", x)


def test_names_are_normalised_as_python_does():
    assert mexdask.apply("µ * 2", params={"µ": 3}, jit="off") == 6
    assert mexdask.apply("ﬁ + 1", ﬁ=3, jit="off") == 4


@pytest.mark.parametrize(
    ("source", "arrays", "named", "words"),
    [
        (KERNEL, (1,), {}, "missing 'b'"),
        (KERNEL, (), {}, "missing 'a', 'b'"),
        (KERNEL, (1, 2, 3, 4), {}, "takes 3 arguments, 4 were given"),
        ("1 + 1", (1,), {}, "takes no arguments"),
        (KERNEL, (1, 2), {"a": 1}, "'a' is given twice"),
        ("a * x", (1,), {"a": 1}, "by position and by name"),
        (KERNEL, (1, 2), {"d": 1}, "no parameter 'd'"),
        ("def k(value): return value", (), {"vlaue": 1}, "did you mean 'value'"),
        (KERNEL, (1, 2), {"jti": "off"}, "did you mean 'jit'"),
        (KERNEL, (1, 2), {"c": 1, "params": {"c": 1}}, "both in params and by keyword"),
        (KERNEL, (1, 2), {"params": 3}, "params is an int"),
        (KERNEL, (1, 2), {"params": {3: 3}}, "no parameter '3'"),
        ("def k(dtype): return dtype", (), {"dtype": "f8"}, "params={'dtype': ...}"),
        ("x + NaN", (1,), {}, "write 'nan'"),
        ("x + Flase", (1,), {}, "did you mean 'False'"),
        ("x", (1,), {"align": "maybe"}, "align='maybe'"),
        ("x", (1,), {"jit": "maybe"}, "jit='maybe' is not one of auto, off, require"),
        ("x", (1,), {"jit": ["off"]}, "is not one of auto, off, require"),
        ("x", (1,), {"on_error": "maybe"}, "on_error='maybe'"),
        ("x", (1,), {"on_error": ["nan"]}, "is not one of raise, nan"),
        ("x", (1,), {"dtype": "maybe"}, "dtype='maybe' is not a dtype"),
        ("x", (1,), {"dtype": "float16"}, "float16"),
        ("x", (1,), {"dtype": object}, "object"),
        ("x + y", (np.zeros(3), np.zeros(4)), {}, "do not broadcast"),
        ("x + y", (np.zeros((2, 3)), np.zeros((3, 3))), {}, "x (2, 3), y (3, 3)"),
    ],
)
def test_wrong_calls(source, arrays, named, words):
    with pytest.raises(ArgumentError) as caught:
        mexdask.apply(source, *arrays, **named)
    assert words in str(caught.value)


class Frame:
    """Something of Dask's that is no array."""


Frame.__module__ = "dask.dataframe.dask_expr"


def labelled_values():
    """Values of libraries that may not be installed."""
    try:
        import pandas as pd
        import xarray as xr
    except ImportError:
        return []
    return [
        (pd.Series([1]), "pandas.Series: pass x.to_numpy()"),
        (pd.DataFrame({"a": [1]}), "pandas.DataFrame: pass x.to_numpy()"),
        (pd.array([1, None]), "pass x.to_numpy()"),
        (pd.Timestamp(0), "pass a number"),
        (xr.Dataset({"a": 1}), "xarray.Dataset: pass its variables, such as ds['name']"),
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1, 2], "a list: pass a NumPy or Dask array"),
        ((1, 2), "a tuple"),
        (range(3), "a range"),
        ("text", "a str"),
        (b"text", "a bytes"),
        (None, "a NoneType"),
        ({1: 2}, "a dict"),
        (decimal.Decimal(1), "a decimal.Decimal"),
        (fractions.Fraction(1, 2), "a fractions.Fraction"),
        (type("F", (float,), {})(1.0), "plain Python number"),
        (float, "a type"),
        (object(), "an object"),
        (2**63, "np.uint64(9223372036854775808)"),
        (2**64, "pass a float"),
        (-(2**63) - 1, "pass a float"),
        (10**5000, "an integer of 16610 bits"),
        (np.float16(1), "dtype float16; convert it with .astype('float32')"),
        (np.zeros(2, "f2"), "dtype float16"),
        (np.zeros(2, "M8[s]"), "dtype datetime64[s]; convert it to a number first"),
        (np.zeros(2, "m8[s]"), "np.timedelta64(1, 's')"),
        (np.datetime64("2020"), "dtype datetime64[Y]"),
        (np.array(["a"]), "text cannot enter a kernel"),
        (np.array([b"a"]), "text cannot enter a kernel"),
        (np.array(["a"], np.dtypes.StringDType()), "text cannot enter a kernel"),
        (np.array([None, 1]), "dtype object"),
        (np.zeros(2, "i4,f4"), "x['field']"),
        (np.longdouble(1), "dtype float128" if np.longdouble(1).itemsize == 16 else ""),
        (np.ma.array([1, 2], mask=[0, 1]), "a masked array; pass x.astype(float).filled(np.nan)"),
        *labelled_values(),
        (Frame(), "df['column'].to_dask_array(lengths=True)"),
        (da.from_array(np.ma.array([1, 2])), "numpy.MaskedArray"),
        (da.zeros(3, dtype="f2"), "dtype float16"),
        (da.zeros(3, dtype=object, chunks=3), "dtype object"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_values_that_no_kernel_takes(value, words):
    with pytest.raises(ArgumentError) as caught:
        mexdask.apply("x + 0", value)
    assert str(caught.value).startswith("argument 'x'")
    assert words in str(caught.value)


# Results.


@pytest.mark.parametrize(
    ("source", "value", "expected"),
    [
        ("x", True, np.bool_(True)),
        ("x", 3, np.int64(3)),
        ("x", 3.5, np.float64(3.5)),
        ("x", 3j, np.complex128(3j)),
        ("x", np.float32(3.5), np.float32(3.5)),
        ("x", np.uint8(200), np.uint8(200)),
        ("x", np.array(7, "i2"), np.int16(7)),
        ("x + 100", np.uint8(200), np.uint8(44)),
        ("x + 1.0", np.float32(1), np.float32(2)),
        ("x + np.int64(100)", np.uint8(200), np.int64(300)),
        ("x > 1", 3, np.bool_(True)),
        ("2 + 3 * x", 0, np.int64(2)),
    ],
)
def test_results_without_dimensions_are_numpy_scalars(source, value, expected):
    result = mexdask.apply(source, value, jit="off")
    assert type(result) is type(expected)
    assert result == expected


def test_scalars_are_weak_and_numpy_scalars_strong():
    x = np.ones(2, "float32")
    assert mexdask.apply("x * y", x, 2.5, jit="off").dtype == np.float32
    assert mexdask.apply("x * y", x, np.float64(2.5), jit="off").dtype == np.float64
    assert mexdask.apply("x * y", x, np.array(2.5), jit="off").dtype == np.float64


@pytest.mark.parametrize("dtype", ["float32", np.float32, "f4", ">f4", np.dtype("f4")])
def test_dtype_option(dtype, jit):
    result = mexdask.apply("x + 1", np.array([1.7, np.nan]), dtype=dtype, jit=jit)
    assert result.dtype == np.dtype("float32")
    np.testing.assert_array_equal(result, np.array([2.7, np.nan], "float32"))
    integers = mexdask.apply("x + 1", np.array([1.7, -1.7]), dtype=int, jit=jit)
    assert integers.tolist() == [2, 0]


def test_a_constant_fills_the_broadcast_shape(jit):
    result = mexdask.apply("def k(x, y): return 7", np.zeros((3, 1)), np.zeros(2), jit=jit)
    assert result.tolist() == [[7, 7]] * 3
    assert mexdask.apply("7", jit=jit) == 7


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)])
def test_empty_arrays(shape, jit):
    result = mexdask.apply("sqrt(x) + y", np.zeros(shape), np.zeros(shape[-1:]), jit=jit)
    assert (result.shape, result.dtype) == (shape, np.float64)


BASE = np.arange(1, 241, dtype="float64").reshape(4, 5, 12) % 17 - 8


def read_only():
    array = BASE.copy()
    array.flags.writeable = False
    return array


def misaligned():
    record = np.zeros(BASE.shape, np.dtype([("pad", "u1"), ("x", "f8")]))
    record["x"] = BASE
    assert not record["x"].flags.aligned
    return record["x"]


LAYOUTS = {
    "contiguous": BASE,
    "fortran": np.asfortranarray(BASE),
    "strided": np.repeat(BASE, 3, axis=1)[:, ::3],
    "reversed": np.ascontiguousarray(BASE[::-1, :, ::-1])[::-1, :, ::-1],
    "transposed": np.ascontiguousarray(BASE.T).T,
    "broadcast": np.broadcast_to(BASE[:1, :, :1], BASE.shape),
    "read-only": read_only(),
    "byte-swapped": BASE.astype(BASE.dtype.newbyteorder()),
    "misaligned": misaligned(),
    "subclass": BASE.view(np.recarray),
    "one element": BASE[:1, :1, :1],
    "0-d": BASE[0, 0, 0, ...],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, jit):
    array = LAYOUTS[layout]
    kept = array.copy()
    result = mexdask.apply("x * 2 - y if x > 0 else y", array, BASE[0], jit=jit)
    expected = np.where(array > 0, array * 2 - BASE[0], np.broadcast_to(BASE[0], result.shape))
    np.testing.assert_array_equal(result, expected)
    assert result.dtype == np.dtype("float64")
    assert result.dtype.isnative
    np.testing.assert_array_equal(array, kept)


def test_bools_of_other_bytes_are_true(jit):
    odd = np.array([0, 1, 2, 128, 255], np.uint8).view(bool)
    truth = [False, True, True, True, True]
    assert mexdask.apply("x", odd, jit=jit).tobytes() == bytes([0, 1, 1, 1, 1])
    assert mexdask.apply("x + 0", odd, jit=jit).tolist() == [0, 1, 1, 1, 1]
    assert mexdask.apply("x & True", odd, jit=jit).tolist() == truth
    assert mexdask.apply("1 if x else 0", odd, jit=jit).tolist() == [0, 1, 1, 1, 1]
    assert mexdask.apply("x == True", odd, jit=jit).tolist() == truth


def test_scalars_and_arrays_mix(jit):
    x = np.arange(6, dtype="int16").reshape(2, 3)
    result = mexdask.apply("x * s + t", x, np.float32(0.5), 2, jit=jit)
    np.testing.assert_array_equal(result, x * np.float32(0.5) + 2)
    assert result.dtype == (x * np.float32(0.5) + 2).dtype


def test_dask_in_is_lazy_out():
    x = da.arange(10, chunks=4)
    result = mexdask.apply("x * 2", x, jit="off")
    assert isinstance(result, da.Array)
    assert (result.chunks, result.dtype) == (x.chunks, x.dtype)
    np.testing.assert_array_equal(result.compute(), np.arange(10) * 2)


# Kernels as objects.


@mexdask.kernel
def halves(x, y: float = 2.0):
    """Divide."""
    return x / y


def test_a_decorated_kernel_keeps_what_it_was():
    assert isinstance(halves, mexdask.Kernel)
    assert (halves.__name__, halves.__doc__, halves.__module__) == ("halves", "Divide.", __name__)
    assert list(inspect.signature(halves).parameters) == ["x", "y"]
    assert halves.parameters == ("x", "y")
    assert halves.source.startswith("def halves(x, y: float = 2.0):")
    assert halves(np.array([3.0]), jit="off") == [1.5]
    assert "halves(x, y)" in repr(halves)


def test_py_func_is_the_function_or_runs_the_text():
    assert halves.py_func(3.0) == 1.5
    assert inspect.isfunction(halves.py_func)
    text = mexdask.kernel("@mexdask.kernel\ndef sin(x: Angle, n=2) -> Length: return np.sin(x) * n")
    assert text.py_func(1.0) == 2 * np.sin(1.0)
    expression = mexdask.kernel("# me:fp=fast\nwhere(\n x > y, x, y) ** 2")
    assert expression.py_func(np.float32(2), 3) == 9
    assert mexdask.kernel(MANDELBROT).py_func(0.0, 0.0, 10) == 10


def test_py_func_knows_the_language_in_a_helper_of_an_enclosing_function():
    def rooted(x):
        return sqrt(x) + 1  # noqa: F821 (a bare name of the language)

    @mexdask.kernel
    def twice_rooted(x):
        return rooted(x) * 2

    assert twice_rooted.py_func(4.0) == twice_rooted(4.0, jit="off") == 6.0
    with pytest.raises(NameError):
        rooted(4.0)


def test_kernels_compare_hash_and_pickle_by_text():
    one, same = mexdask.kernel("x + 1"), mexdask.kernel("x + 1")
    other = mexdask.kernel("x + 2")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "x + 1"
    assert len({one, same, other}) == 2
    for original in (one, halves, mexdask.kernel(MANDELBROT)):
        again = pickle.loads(pickle.dumps(original))
        assert again == original
        assert again.parameters == original.parameters
        assert again.source == original.source
    assert pickle.loads(pickle.dumps(halves))(3.0, jit="off") == 1.5
    assert dask.base.tokenize(one) == dask.base.tokenize(same) != dask.base.tokenize(other)


def test_kernel_of_a_kernel_is_itself():
    assert mexdask.kernel(halves) is halves
    assert mexdask.apply(halves, 3.0, jit="off") == 1.5


def test_a_pickled_kernel_still_knows_its_file():
    @mexdask.kernel
    def broken(x):
        return x**x

    messages = set()
    for k in (broken, pickle.loads(pickle.dumps(broken))):
        with pytest.raises(KernelRuntimeError) as caught:
            k(np.int64(-1), jit="off")
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert __file__ in messages.pop()


# Engines, settings, what is said about them.


def test_a_misspelt_setting_is_named_once():
    with dask.config.set({"mexdask.while_max_iter": 5}):
        with pytest.warns(UserWarning, match="while_max_iter .*mean mexdask.while-max-iters"):
            mexdask.apply("x + 1", np.ones(2))
        mexdask.apply("x + 1", np.ones(2))
    with dask.config.set({"mexdask.while_max_iters": 5}):
        mexdask.apply("x + 1", np.ones(2))


@pytest.mark.compiler
def test_explain_native():
    x = np.arange(4, dtype="float32")
    found = mexdask.explain("sqrt(x) * level", x, level=2.5, jit="require")
    assert (found.engine, found.outcome in ("compiled", "memory", "disk")) == ("native", True)
    assert found.form in ("scalar", "simd")
    assert found.signature == "(x: float32[], level: weak float) -> float32"
    assert "kernel expression(x: float32[], level: float64) -> float32" in found.ir
    assert found.key in found.c
    assert len(found.key) == 64
    assert os.path.exists(found.path)
    assert (found.predicted, found.rechunked, found.pragmas) == (False, {}, "")
    again = mexdask.explain("sqrt(x) * level", x, level=2.5)
    assert (again.outcome, again.key) == ("memory", found.key)
    for piece in (found.signature, found.reason, found.key, found.path, "native"):
        assert piece in str(found)


def test_explain_interpreter():
    found = mexdask.explain("# me:fp=fast\n# me:compiler=tcc\nx + 1", np.arange(3), jit="off")
    assert (found.engine, found.form, found.outcome) == ("interpreter", "", "jit-off")
    assert found.path is None
    assert found.pragmas == "fp=fast, compiler=tcc (accepted, without effect)"
    found = mexdask.explain("x + 1", np.array([1j]))
    assert (found.engine, found.outcome, found.c, found.key) == (
        "interpreter", "complex-dtype", "", "")  # fmt: skip
    with pytest.warns(FallbackWarning, match="complex-dtype"):
        mexdask.apply("def complex_kernel(x): return x + 1", np.array([1j]))


def test_explain_predicts_for_dask():
    x, y = da.zeros(10, chunks=5), da.zeros(10, chunks=4)
    mexdask.reset_stats()
    found = mexdask.explain("def predicted_kernel(x, y): return x + y + 12345", x, y)
    assert found.predicted
    assert found.path is None
    assert set(found.rechunked) == {"x", "y"}
    assert found.rechunked["x"][0] == ((5, 5),)
    assert mexdask.stats()["compiled"] == 0
    assert "predicted" in str(found)


@pytest.mark.compiler
def test_stats():
    mexdask.reset_stats()
    source = "def counted(x): return x * 3 + 987"
    for jit in ("require", "require", "off"):
        mexdask.apply(source, np.arange(3), jit=jit)
    found = mexdask.stats()
    assert set(found) >= {
        "native", "interpreted", "compiled", "memory_hits", "disk_hits", "negative_hits",
        "failures", "compile_seconds", "native_seconds", "interpreted_seconds", "kernels",
        "cache", "last_error",
    }  # fmt: skip
    assert (found["native"], found["interpreted"]) == (2, 1)
    assert found["compiled"] + found["disk_hits"] == 1
    assert found["memory_hits"] == 1
    assert found["kernels"]["counted"]["native"] == 2
    assert set(found["cache"]) >= {"root", "entries", "bytes", "quarantined"}
    assert found["failures"] == {}
    assert found["last_error"] is None
    mexdask.reset_stats()
    assert mexdask.stats()["kernels"] == {}


def test_configuration_chooses_the_engine():
    x = np.arange(3)
    with dask.config.set({"mexdask.jit": "off"}):
        assert mexdask.explain("x + 1", x).outcome == "jit-off"
    for yaml_word in (False, "off"):
        with dask.config.set({"mexdask.jit": yaml_word}):
            assert mexdask.explain("x + 1", x).outcome == "jit-off"
    with dask.config.set({"mexdask.jit": "sometimes"}), pytest.raises(ArgumentError):
        mexdask.apply("x + 1", x)
    with dask.config.set({"mexdask.jit": "require"}), pytest.raises(mexdask.JITUnavailableError):
        mexdask.apply("x + 1", x * 1j)


def test_the_environment_switches_native_code_off(monkeypatch):
    monkeypatch.setenv("ME_DSL_JIT", "0")
    assert mexdask.explain("x + 1", 1).outcome == "disabled"
    assert mexdask.apply("x + 1", 1) == 2
    with pytest.raises(mexdask.JITUnavailableError, match="ME_DSL_JIT=0"):
        mexdask.apply("x + 1", 1, jit="require")


def test_dask_reads_the_configuration_from_the_environment():
    code = "import mexdask; print(mexdask.explain('x + 1', 1).outcome)"
    environment = {**os.environ, "DASK_MEXDASK__JIT": "off"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "jit-off", done.stderr


FOREVER = "def forever(x):\n    while x > 0: x += 0\n    return x"


def test_cap_on_iterations(monkeypatch, jit):
    x = np.array([0, -1, 1, 2])
    monkeypatch.setenv("ME_DSL_WHILE_MAX_ITERS", "1000")
    with pytest.raises(KernelRuntimeError, match="more than 1000 times") as caught:
        mexdask.apply(FOREVER, x, jit=jit)
    assert caught.value.index == (2,)
    assert "x = 1" in str(caught.value)
    monkeypatch.delenv("ME_DSL_WHILE_MAX_ITERS")
    with dask.config.set({"mexdask.while-max-iters": 77}):
        with pytest.raises(KernelRuntimeError, match="more than 77 times"):
            mexdask.apply(FOREVER, x, jit=jit)
        monkeypatch.setenv("ME_DSL_WHILE_MAX_ITERS", "88")
        with pytest.raises(KernelRuntimeError, match="more than 88 times"):
            mexdask.apply(FOREVER, x, jit=jit)


@pytest.mark.parametrize("limit", ["0", "-1", "many", "1.5", str(2**63)])
def test_caps_that_are_none(monkeypatch, limit):
    monkeypatch.setenv("ME_DSL_WHILE_MAX_ITERS", limit)
    with pytest.raises(ArgumentError):
        mexdask.apply(FOREVER, 1, jit="off")


def test_one_warning_for_each_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "/nowhere/cc")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    first = "def without_compiler_1(x): return x + 1"
    second = "def without_compiler_2(x): return x + 1.5"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for source in (first, first, second, first):
            for dtype in ("float64", "int32"):
                x = np.arange(3, dtype=dtype)
                np.testing.assert_array_equal(
                    mexdask.apply(source, x), mexdask.apply(source, x, jit="off")
                )
        mexdask.apply(first, np.array([1j]))  # another reason
        mexdask.apply(first, np.array([1j]))
    messages = [str(w.message) for w in caught if w.category is FallbackWarning]
    assert len(messages) == 2, messages
    assert sum("without_compiler_1" in m for m in messages) == 2
    assert sum("/nowhere/cc" in m for m in messages) == 1
    assert sum("complex-dtype" in m for m in messages) == 1
    with pytest.raises(mexdask.JITUnavailableError, match="/nowhere/cc"):
        mexdask.apply(first, np.arange(3), jit="require")
    assert mexdask.explain(first, np.arange(3)).engine == "interpreter"


def test_no_floating_point_warnings(jit):
    x = np.array([0.0, -1.0, np.inf, np.nan, 1e308])
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        floats = mexdask.apply("sqrt(x) / (x - x) + log(x) + x * x + int(x)", x, jit=jit)
        whole = mexdask.apply("n // m + n % m + n * n", np.array([2**62]), np.array([0]), jit=jit)
    np.testing.assert_array_equal(floats, [np.nan, np.nan, np.nan, np.nan, np.inf])
    np.testing.assert_array_equal(whole, [0])
