"""Functions that a kernel calls and numbers that it takes from outside travel with it."""

from __future__ import annotations

import enum
import math
import pickle
import subprocess
import sys

import dask.array as da
import numpy as np
import pytest

import mexdask

G = 9.81
FACTOR = np.float32(2.5)
ENDLESS = math.inf
TABLE = [1.0, 2.0]


def scaled(t):
    return t * G / FACTOR


@mexdask.kernel
def halvings(x, tolerance=1e-3):
    n = 0
    while x > tolerance:
        x = x / 2
        n += 1
    return n


def early(x, y):
    for i in range(5):
        if x > i:
            for j in range(3):
                if y * j > x:
                    return x - j
                if y < -1:
                    break
            x -= 0.25
        if x < -2:
            return -x
    return x * y


def through_others(x):
    return scaled(early(x, 1.5)) + early(early(x, -2), x)


def closed_over(c):
    @mexdask.kernel
    def kernel(x, y):
        if x > ENDLESS:
            return 0.0
        return through_others(x) + halvings(y) * c

    return kernel


X = np.linspace(-4, 4, 257)
Y = np.linspace(3, 0, 257)


@pytest.mark.parametrize("jit", ["off", pytest.param("require", marks=pytest.mark.compiler)])
@pytest.mark.parametrize("simd", ["auto", "off"])
def test_helpers_and_constants_mean_what_they_mean_in_python(jit: str, simd: str):
    import dask

    kernel = closed_over(3)
    want = np.array([float(kernel.py_func(x, y)) for x, y in zip(X, Y, strict=True)])
    with dask.config.set({"mexdask.simd": simd}):
        np.testing.assert_array_equal(kernel(X, Y, jit=jit), want)
        lazy = kernel(da.from_array(X, chunks=50), Y, jit=jit)
    np.testing.assert_array_equal(lazy.compute(), want)


TEXT = """
# me:fp=strict
LIMIT = np.int16(7)
SCALE = -2.5e-1
BIG = 0x9E3779B97F4A7C15
NOTHING = nan

def clamp(v, top=1.0):
    if v > top:
        return top
    return v

def both(a, b):
    return clamp(a, b) * SCALE + clamp(b)

def kernel(a, n):
    total = 0.0
    for i in range(3):
        if both(a, i) > -1 or clamp(a) < NOTHING:
            total += both(a, i) if a < 1 else n % LIMIT
    return total + (BIG % np.uint64(97)) * 0
"""


@pytest.mark.parametrize("jit", ["off", pytest.param("require", marks=pytest.mark.compiler)])
def test_several_functions_in_one_text(jit: str):
    kernel = mexdask.kernel(TEXT)
    n = np.arange(257, dtype=np.int16)
    want = [kernel.py_func(x, m) for x, m in zip(X, n, strict=True)]
    np.testing.assert_array_equal(kernel(X, n, jit=jit), np.array(want, dtype=float))


@pytest.mark.parametrize(
    ("source", "dtypes", "result"),
    [
        ("C = 2\ndef k(x):\n    return x * C", "f4", "f4"),
        ("C = np.float64(2)\ndef k(x):\n    return x * C", "f4", "f8"),
        ("C = np.bool(True)\ndef k(x):\n    return x + C", "i2", "i2"),
        ("def h(a):\n    return a\ndef k(x):\n    return h(2) * x", "f4", "f4"),
        ("def h(a):\n    return 1 if a > 1 else a\ndef k(x):\n    return h(x)", "u1", "u1"),
        ("def h(a, b=3):\n    return a + b\ndef k(x):\n    return h(x) + h(x, 1.5)", "i4", "f8"),
    ],
)  # fmt: skip
def test_weak_and_strong_pass_through(source: str, dtypes: str, result: str):
    assert mexdask.apply(source, np.ones(3, dtypes)).dtype == np.dtype(result)


def test_the_text_holds_all_and_travels():
    kernel = closed_over(3)
    for piece in ("G = 9.81", "FACTOR = np.float32(2.5)", "c = 3", "def scaled", "def halvings"):
        assert piece in kernel.source
    assert pickle.loads(pickle.dumps(kernel)) == kernel
    assert closed_over(4) != kernel
    assert closed_over(3) == kernel
    lazy = {c: closed_over(c)(da.ones(3), 1.0).name for c in (3, 4)}
    assert lazy[3] != lazy[4]
    script = (
        "import pickle, sys, numpy as np\n"
        "k = pickle.loads(sys.stdin.buffer.read())\n"
        "print(k(np.array([2.0]), np.array([1.0]), jit='off')[0])\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, input=pickle.dumps(kernel), capture_output=True, check=True)
    want = kernel(np.array([2.0]), np.array([1.0]), jit="off")[0]
    assert float(done.stdout) == want


def negated(x):
    return -(x > 1)


def of_a_list(x):
    return x + TABLE


def same_name_other_value():
    G = 1.5

    @mexdask.kernel
    def k(x):
        return scaled(x) + G

    return k


def another_name():
    other = scaled

    def k(x):
        return other(x)

    return mexdask.kernel(k)


def calls_a_list_reader(x):
    return of_a_list(x)


def calls_negated(x):
    return negated(x)


RECURSIVE = """
def f(x):
    return g(x)
def g(x):
    return f(x)
"""
TOO_MANY = """
def f(x):
    return 1
def k(x):
    return f(x, 2)
"""
UNKNOWN = """
def f(x):
    return y
def k(x):
    return f(x)
"""
NO_END = """
def f(x):
    while x > 0:
        x -= 1
def k(x):
    return f(x)
"""


@pytest.mark.parametrize(
    ("make", "code", "word"),
    [
        (same_name_other_value, "name-clash", "'G' means something else"),
        (another_name, "foreign-name", "call it scaled"),
        (calls_a_list_reader, "foreign-name", "'TABLE' is a list"),
        (calls_negated, "dtype-mismatch", "called at"),
        (RECURSIVE, "recursion", "'f' calls itself through 'g'"),
        (TOO_MANY, "wrong-arity", "f() takes 1 argument, not 2"),
        (UNKNOWN, "unknown-name", "'y'"),
        ("A = [1]\ndef k(x):\n    return A", "not-a-kernel", "beside functions stand only numbers"),
        ("A = 1\nA = 2\ndef k(x):\n    return A", "repeated-name", "'A' is defined twice"),
        (NO_END, "missing-return", "called at k:6:12"),
    ],
)
def test_mistakes_are_named(make, code: str, word: str):
    building = make in (same_name_other_value, another_name)
    with pytest.raises(mexdask.KernelError) as caught:
        make() if building else mexdask.apply(make, X)
    assert code in {d.code for d in caught.value.diagnostics}
    assert word in str(caught.value)


def test_an_error_in_a_helper_points_at_its_line_in_its_file():
    with pytest.raises(mexdask.KernelTypeError) as caught:
        mexdask.apply(calls_negated, X)
    line = negated.__code__.co_firstlineno + 1
    called = calls_negated.__code__.co_firstlineno + 1
    assert f"{__file__}:{line}:12: dtype-mismatch" in str(caught.value)
    assert f"(called at {__file__}:{called}:12)" in str(caught.value)


@pytest.mark.parametrize("jit", ["off", pytest.param("require", marks=pytest.mark.compiler)])
def test_a_run_time_error_in_a_helper_names_the_call(jit: str):
    source = (
        "def f(n, s):\n    t = 0\n    for i in range(0, n, s):\n        t += i\n    return t\n"
        "def k(n):\n    return f(n, n - 3)"
    )
    with pytest.raises(mexdask.KernelRuntimeError) as caught:
        mexdask.apply(source, np.arange(1, 6), jit=jit)
    assert caught.value.index == (2,)
    assert "k:3:26: zero-step" in str(caught.value)
    assert "called at k:7:12\n" in str(caught.value)


def test_equal_texts_of_two_files_keep_their_own_places(tmp_path):
    namespace: dict[str, dict] = {}
    for name in ("one", "other"):
        path = tmp_path / f"{name}.py"
        path.write_text("\n" * len(name) + "def k(x):\n    return -(x > 1)\n")
        namespace[name] = {}
        exec(compile(path.read_text(), path, "exec"), namespace[name])
        with pytest.raises(mexdask.KernelTypeError) as caught:
            mexdask.apply(namespace[name]["k"], X)
        assert f"{path}:{len(name) + 2}:12" in str(caught.value)


class Flags(enum.IntFlag):
    CLOUD = 8


CLOUD_BIT = Flags.CLOUD


def halved(x):
    return sqrt(x) / 2 if x < inf else nan  # noqa: F821


def in_bare_words(x, flags):
    average = mean(flags)  # noqa: F821
    if flags & CLOUD_BIT:
        return nan  # noqa: F821
    return hypot(halved(x), average) - max(x, 1)  # noqa: F821


@pytest.mark.parametrize("jit", ["off", pytest.param("require", marks=pytest.mark.compiler)])
def test_bare_names_and_members_of_enums_mean_the_same_to_a_debugger(jit: str):
    kernel = mexdask.kernel(in_bare_words)
    sent = pickle.loads(pickle.dumps(kernel))
    for x, flags in ((4.0, 3), (9.0, 8), (np.inf, 1)):
        want = kernel(np.array([x]), np.array([flags]), jit=jit)
        for scalar in (kernel.py_func, sent.py_func):
            np.testing.assert_array_equal(scalar(np.float64(x), np.int64(flags)), want[0])
    plain = mexdask.kernel(clipped_sum)
    assert plain.py_func is clipped_sum


def clipped_sum(x):
    return np.clip(x, 0, 1) + np.max(x)
