"""Every mistake that the front end explains: code, the exact piece that is marked, remedy."""

from __future__ import annotations

import ast
import builtins
import functools
import math
import math as maths
import textwrap
from math import remainder
from math import sin as sine
from pathlib import Path

import numpy as np
import pytest
from front_kit import complaints, under_carets

import mexdask
from mexdask import frontend
from mexdask.errors import ArgumentError, KernelError, KernelSyntaxError


def body(*lines: str) -> str:
    """A kernel of these lines with a parameter x."""
    return "def f(x):\n" + "\n".join(f"    {line}" for line in lines)


# source, code, what stands under the carets, a word of the hint
SYNTAX = [
    ("", "empty-source", "", "expression"),
    ("  \n\t\n", "empty-source", "", "expression"),
    ("# nothing\n# but words", "empty-source", "#", "expression"),
    ("x +", "syntax", "", "expression"),
    ("x = y = 3 +", "syntax", "", "expression"),
    ("x && y", "syntax", "&&", "'and'"),
    ("x || y", "syntax", "||", "'or'"),
    ("!x", "syntax", "!", "'not'"),
    ("x ? 1 : 2", "syntax", "?", "if condition else"),
    ("x − 1", "syntax", "−", "'-'"),
    ("é × x", "syntax", "×", "'*'"),
    ("x²", "syntax", "²", "**2"),
    (body("x++", "return x"), "syntax", "++", "+="),
    ("x =< 2", "syntax", "=<", "'<='"),
    ("x => 2", "syntax", "=>", "'>='"),
    ("x -> x + 1", "syntax", "->", "def name"),
    ("y + 2x", "syntax", "2x", "product"),
    ("2.5 x", "syntax", "2.5 x", "product"),
    ("1 if x", "syntax", "1 if x", "def"),
    ("if x > 0 then 1 else 0", "syntax", "then", "if condition else"),
    (body("if x: return 1", "elseif x > 2: return 2"), "syntax", "elseif x", "elif"),
    ("if x:\n" + "".join(" " * n + "if x:\n" for n in range(1, 120)), "too-large", None, "split"),
    (body("if x: return 1", "else if x: return 2"), "syntax", "else if", "elif"),
    (body("if x = 1: return 2", "return 3"), "syntax", "x = 1", "'=='"),
    ("def f(x):\nreturn x", "syntax", "return x", "def"),
    ("def f(x):\n  return x\n    return 1", "syntax", "return 1", "def"),
    ("(x + [1", "syntax", "[", "def"),
    ("x +\0 1", "syntax", "�", "remove"),
    ("日本 + $", "syntax", "$", "def"),
    ("x + " + "1" * 5000, "too-large", "1" * 116, "float"),
    ("(" * 250 + "x" + ")" * 250, "too-large", "(", "temporaries"),
    ("-" * 250 + "x", "too-large", "-" * 52 + "x", "temporaries"),
    ("~" * 9000 + "x", "too-large", "~", "temporaries"),
    ("+".join(["x"] * 210), "too-large", None, "temporaries"),
    ("min(" + ",".join(["x"] * 5001) + ")", "too-large", None, "split"),
    ("x" * 70_000, "too-large", "x", "arrays"),
    (body(*(f"v{i} = x" for i in range(257)), "return x"), "too-large", "d", "split"),
    ("x = 3", "not-a-kernel", "x = 3", "stands alone"),
    ("return x", "not-a-kernel", "return x", "stands alone"),
    ("x; y", "not-a-kernel", "y", "def"),
    ("if x: y", "not-a-kernel", "if", "def"),
    ("class A: pass", "not-a-kernel", "A", "def"),
    ("import math", "not-a-kernel", "import math", "no import"),
    ("async def f(x): return x", "not-a-kernel", "async", "async"),
    ("N = 2 * 3\ndef f(x): return x * N", "not-a-kernel", "N = 2 * 3", "numbers"),
    ("N = M = 3\ndef f(x): return x * N", "not-a-kernel", "N = M = 3", "numbers"),
    ("x + 1\ndef f(x): return x", "not-a-kernel", "x + 1", "into the function"),
    ("def f(x): return x\nf(1)", "not-a-kernel", "f(1)", "into the function"),
    ("def g(y): return y\ndef g(y): return 1\ndef f(x): return g(x)", "repeated-name", "g", "own"),
    ("f = 1\ndef f(x): return x", "repeated-name", "f = 1", "own"),
    ("# me:fp=quick\nx", "bad-pragma", "fp=quick", "strict"),
    ("# me:compiler=\nx", "bad-pragma", "compiler=", "NAME"),
    ("# me:fp=fast\n# me:fp=fast\nx", "repeated-pragma", "fp=fast", "one"),
    ("# me:simd=8\nx", "unknown-pragma", "simd=8", "compiler"),
    ("def g(x):\n  return x\n# me:fp=fast\ndef f(x):\n  return g(x)", "misplaced-pragma",
     "fp=fast", "above"),
    ("c = 1.5\n# me:compiler=cc\ndef f(x):\n  return c * x", "misplaced-pragma",
     "compiler=cc", "above"),
    (body("# me:fp=quick", "return x"), "misplaced-pragma", "fp=quick", "above"),
    ("x\n# me : fp = fast", "misplaced-pragma", "fp = fast", "above"),
    ("x * x + 1  # me:fp=fast", "misplaced-pragma", "fp=fast", "above"),
    ("# me:fp=fast\nx * x + 1  # me:fp=quick", "misplaced-pragma", "fp=quick", "above"),
    ("def f(x):  # me: compiler = cc\n  return x", "misplaced-pragma", "compiler = cc", "above"),
    (body("y = (x +  # é", " 1)  # me:fp", "return y"), "misplaced-pragma", "fp", "above"),
    ("def f(*xs): return 1", "bad-parameter", "xs", "each"),
    ("def f(**xs): return 1", "bad-parameter", "xs", "each"),
    ("def f(x, *, y): return x", "bad-parameter", "y", "'*'"),
    ("def f(x, x): return x", "bad-parameter", "x", "own name"),
    ("def f(x=n): return x", "bad-default", "n", "literal"),
    ("def f(x='a'): return x", "bad-default", "'a'", "literal"),
    ("@njit\ndef f(x): return x", "bad-decorator", "njit", "kernel"),
    ("def f(x, _i0): return x", "reserved-name", "_i0", "another"),
    (body("_n1 = x", "return x"), "reserved-name", "_n1", "another"),
    (body("for _ndim in range(3): pass", "return x"), "reserved-name", "_ndim", "another"),
    ("__debug__", "reserved-name", "__debug__", "another"),
    ("__debug__ = 1\ndef f(x): return x", "reserved-name", "__debug__", "another"),
    ("_i0 = 1\ndef f(x): return x", "reserved-name", "_i0", "another"),
    ("def __debug__(y): return y\ndef f(x): return x", "reserved-name", "__debug__", "another"),
    ("def __debug__(x): return x", "reserved-name", "__debug__", "another"),
    (body("return y"), "unknown-name", "y", "parameter"),
    (body("value = 1", "return vlaue"), "unknown-name", "vlaue", "'value'"),
    (body("return true"), "unknown-name", "true", "'True'"),
    ("np.PI * x", "unknown-name", "np.PI", "'pi'"),
    ("math.tau * x", "unknown-name", "math.tau", "2 * pi"),
    ("sqr(x)", "unknown-function", "sqr", "'sqrt'"),
    ("sni(x)", "unknown-function", "sni", "'sin'"),
    ("np.Sin(x)", "unknown-function", "np.Sin", "'sin'"),
    ("print(x)", "unknown-function", "print", "py_func"),
    ("np.max(x, 0)", "wrong-arity", "0", "maximum(a, b)"),
    (body("return x.mean()"), "unsupported-syntax", "x.mean", "mean(x)"),
    ("x.astype(y)", "unsupported-syntax", "x.astype", "np.float32(x)"),
    ("float('nan')", "bad-literal", "'nan'", "write nan"),
    ("np.std(x)", "unknown-function", "np.std", "sqrt(mean((x - mean(x)) ** 2))"),
    ("np.median(x)", "unknown-function", "np.median", "outside"),
    ("np.iinfo(x)", "unknown-function", "np.iinfo", "above the kernel"),
    ("np.logical_and(x, y)", "unknown-function", "np.logical_and", "'a and b'"),
    ("float16(x)", "unknown-function", "float16", "float32"),
    ("range(3)", "unknown-function", "range", "for i in"),
    ("math.remainder(x, y)", "unknown-function", "math.remainder", "rint"),
    ("scipy.special.erf(x)", "unknown-function", "scipy.special.erf", "'erf(...)'"),
    ("np.random.rand()", "unknown-function", "np.random.rand", "random numbers"),
    (body("return f(x - 1)"), "recursion", "f", "loop"),
    ("def g(y): return y\ndef f(x): return g(x, 2)", "wrong-arity", "2", "g(y)"),
    ("def g(y): return y\ndef f(x): return g", "function-as-value", "g", "g(...)"),
    ("def g(y): return y[0]\ndef f(x): return g(x)", "unsupported-syntax", "y[0]", "one element"),
    ("def np(y): return y\ndef f(x): return np.sin(x)", "unknown-function", "np.sin", "'sin(...)'"),
    (body("return x(2)"), "not-a-function", "x", "'*'"),
    ("pi(x)", "not-a-function", "pi", "'*'"),
    ("np.pi(x + 1)", "not-a-function", "np.pi", "'*'"),
    ("(x + 1)(x - 1)", "unsupported-syntax", "x + 1", "'*'"),
    (body("sin = x", "return sin(x)"), "not-a-function", "sin", "rename"),
    ("sin + x", "function-as-value", "sin", "sin(...)"),
    ("np.exp + x", "function-as-value", "np.exp", "np.exp(...)"),
    ("hypot(x)", "wrong-arity", "hypot", "hypot(a, b)"),
    ("log(x, 2)", "wrong-arity", "2", "log(base)"),
    ("round(x, 3)", "wrong-arity", "3", "scaling"),
    ("min()", "wrong-arity", "min", "min(a, b)"),
    (body("for i in range(): pass", "return x"), "wrong-arity", "range", "stop"),
    (body("for i in range(1, 2, 3, 4): pass", "return x"), "wrong-arity", "4", "stop"),
    ("sqrt(x=y)", "keyword-argument", "x=y", "position"),
    ("sqrt(**y)", "keyword-argument", "**y", "position"),
    (body("for i in x: pass", "return x"), "bad-iterable", "x", "range"),
    (body("for i, j in range(3): pass", "return x"), "bad-target", "i, j", "range"),
    (body("x.real = 1", "return x"), "bad-target", "x.real", "name"),
    (body("a, b = x", "return a"), "bad-target", "a, b", "a, b = x, y"),
    (body("a, (b, c) = 1, 2", "return a"), "bad-target", "(b, c)", "two statements"),
    (body("break", "return x"), "outside-loop", "break", "remove"),
    (body("if x: continue", "return x"), "outside-loop", "continue", "remove"),
    (body("return"), "empty-return", "return", "number"),
    (body("if x: return 1", "return x, 1"), "several-results", "x, 1", "same number"),
    (body("if x: return x, 1", "return 2"), "several-results", "2", "same number"),
    (body("return x,"), "several-results", "x,", "two and more"),
    (body("return ()"), "several-results", "()", "two and more"),
    ("def g(y): return y, 1\ndef f(x): return 1 + g(x)", "several-results", "g", "a, b = g"),
    ("def g(y): return y, 1\ndef f(x):\n    a, b, c = g(x)\n    return a", "bad-target",
     "a, b, c", "a, b"),
    ("mean(x, axis=0)", "keyword-argument", "axis=0", "outside"),
    ("sum(x, y)", "wrong-arity", "y", "sum(a)"),
    ("mean + x", "function-as-value", "mean", "mean(...)"),
    (body("x + 1", "return x"), "unused-value", "x + 1", "assign"),
    ("'text'", "bad-literal", "'text'", "numbers"),
    ("b'text'", "bad-literal", "b'text'", "numbers"),
    ("x + 2j", "bad-literal", "2j", "arguments"),
    ("None", "bad-literal", "None", "nan"),
    (body("..."), "bad-literal", "...", "gives"),
    ("x @ y", "unsupported-operator", "@", "'*'"),
    ("(x) is (y)", "unsupported-operator", "is", "'=='"),
    ("x is  not y", "unsupported-operator", "is  not", "'!='"),
    ("x in y", "unsupported-operator", "in", "'or'"),
    ("0 < x not in y", "unsupported-operator", "not in", "'and'"),
    (body("x @= 2", "return x"), "unsupported-operator", "@=", "'*'"),
    ("x.real", "unsupported-syntax", "x.real", "numbers only"),
    ("x.sum()", "unknown-function", "x.sum", "sum(...)"),
    ("x[0]", "unsupported-syntax", "x[0]", "one element"),
    ("[x]", "unsupported-syntax", "[x]", "temporaries"),
    ("sin(x)(2)", "unsupported-syntax", "sin(x)", "by its name"),
    ("sqrt(*x)", "unsupported-syntax", "*x", "each"),
    ("lambda x: x", "unsupported-syntax", "lambda x: x", "expression"),
    ("f'{x}'", "unsupported-syntax", "f'{x}'", "numbers"),
    ("{x}", "unsupported-syntax", "{x}", "'or'"),
    ("{x: 1}", "unsupported-syntax", "{x: 1}", "if/elif"),
    ("[y for y in x]", "unsupported-syntax", "[y for y in x]", "loop"),
    ("(y for y in x)", "unsupported-syntax", "(y for y in x)", "loop"),
    ("(y := x)", "unsupported-syntax", "y := x", "own"),
    ("yield x", "unsupported-syntax", "yield x", "return"),
    (body("a = (x, 1)", "return x"), "unsupported-syntax", "(x, 1)", "after return"),
    (body("del x", "return 1"), "unsupported-syntax", "del", "nothing"),
    (body("global x", "return 1"), "unsupported-syntax", "global", "parameter"),
    (body("assert x", "return 1"), "unsupported-syntax", "assert", "nan"),
    (body("raise x", "return 1"), "unsupported-syntax", "raise", "nan"),
    (body("import math", "return 1"), "unsupported-syntax", "import math", "no import"),
    (body("with x: pass", "return 1"), "unsupported-syntax", "with", "resources"),
    (body("try: pass", "finally: pass", "return 1"), "unsupported-syntax", "try", "'if'"),
    (body("match x:", "    case 1: pass", "return 1"), "unsupported-syntax", "match", "elif"),
    (body("y: float = x", "return y"), "unsupported-syntax", "float", "x = ..."),
    (body("def g(y): return y", "return x"), "unsupported-syntax", "g", "above"),
    (body("class A: pass", "return x"), "unsupported-syntax", "A", "numbers"),
    (body("while x: pass", "else: pass", "return 1"), "unsupported-syntax", "else", "flag"),
    (body("while x: x -= 1", "else:", "  x = 2", "return x"), "unsupported-syntax", "else", "flag"),
]  # fmt: skip

# source, argument types in order, code, what stands under the carets, a word of the hint
TYPES = [
    ("-x", "bool[]", "dtype-mismatch", "-", "'~'"),
    ("x - y", "bool[] bool[]", "dtype-mismatch", "-", "'^'"),
    ("(x  # minus\n - y)", "bool[] bool[]", "dtype-mismatch", "-", "'^'"),
    (body("x -= x > 2", "return x"), "bool[]", "dtype-mismatch", "-=", "'^'"),
    ("x << y", "uint64[] int64[]", "dtype-mismatch", "<<", "one sign"),
    ("x >> 1.5", "int64[]", "dtype-mismatch", ">>", "integers"),
    ("~x", "float64[]", "dtype-mismatch", "~", "'not'"),
    ("(x) & y", "float64[] bool[]", "dtype-mismatch", "&", "'and'"),
    ("x ^ 2", "float64[]", "dtype-mismatch", "^", "'**'"),
    ("1 if x < y else 2", "complex128[] float64[]", "dtype-mismatch", "<", "abs(z)"),
    ("0 < 1 <= x", "complex64[]", "dtype-mismatch", "<=", "abs(z)"),
    ("max(x, 1)", "complex64[]", "dtype-mismatch", "max(x, 1)", "abs(z)"),
    ("x // 2", "complex64[]", "dtype-mismatch", "//", "real numbers"),
    ("floor(x)", "complex64[]", "dtype-mismatch", "floor(x)", "real numbers"),
    ("erf(x)", "complex64[]", "dtype-mismatch", "erf(x)", "real numbers"),
    ("ldexp(x, y)", "float64[] float64[]", "dtype-mismatch", "ldexp(x, y)", "convert"),
    ("1 + sqrt(x)", "uint8[]", "float16-result", "sqrt(x)", "sqrt(np.float32(...))"),
    ("sin(x)", "int8[]", "float16-result", "sin(x)", "float32"),
    ("exp(x > 1)", "int8[]", "float16-result", "exp(x > 1)", "float32"),
    ("int(x)", "complex128[]", "complex-to-real", "int(x)", "abs(z)"),
    ("x + 300", "uint8[]", "literal-out-of-range", "300", "np.int64(300)"),
    ("x * -1", "uint8[]", "literal-out-of-range", "-1", "np.int64(-1)"),
    ("clip(x, 0, 256)", "uint8[]", "literal-out-of-range", "256", "convert"),
    ("where(x, 300, x)", "uint8[]", "literal-out-of-range", "300", "convert"),
    ("x + 9223372036854775808", "int64[]", "literal-out-of-range", "9223372036854775808", "uint64"),
    ("x + 18446744073709551616", "uint64[]", "literal-out-of-range", "18446744073709551616",
     "float64"),
    ("np.int8(300)", "", "literal-out-of-range", "300", "cast"),
    ("x + 0x" + "f" * 5000, "float64[]", "literal-out-of-range", None, "1e300"),
    ("float(0x" + "f" * 5000 + ")", "", "literal-out-of-range", None, "1e300"),
    ("x ** -2", "int32[]", "negative-power", "-2", "float(x)"),
    ("2 ** -1", "", "negative-power", "-1", "float(x)"),
    (body("for i in range(x): pass", "return 1"), "float64[]", "range-of-float", "x", "int(...)"),
    (body("for i in range(9, 1, 0): pass", "return 1"), "float64[]", "zero-step", "0", "by 1"),
    (body("y += 1", "return y"), "float64[]", "unassigned", "y", "first"),
    (body("return y", "y = 1"), "float64[]", "unassigned", "y", "first"),
    (body("if x: y = 1", "return y"), "float64[]", "maybe-unassigned", "y", "before"),
    (body("for i in range(0): y = i", "return y"), "float64[]", "maybe-unassigned", "y", "before"),
    (body("for i in range(int(x)): pass", "return i"), "float64[]", "maybe-unassigned", "i",
     "before"),
    (body("while x > 0:", "    y = 1", "    x -= 1", "return y"), "float64[]", "maybe-unassigned",
     "y", "before"),
    (body('"""Nothing else."""'), "float64[]", "missing-return", "f", "return"),
    ("x + _flat_idx", "float64[]", "index-symbol", "_flat_idx", "fromkernel"),
    (body("if x: return mean(x)", "return 0"), "float64[]", "reduction", "mean", "at the top"),
    (body("for i in range(3): x = sum(x)", "return x"), "float64[]", "reduction", "sum", "top"),
    (body("if x: return 0", "return np.max(x)"), "float64[]", "reduction", "np.max", "top"),
    ("0 if x else mean(x)", "float64[]", "reduction", "mean", "top"),
    ("x and any(x)", "float64[]", "reduction", "any", "top"),
    ("sum(2.0)", "", "reduction", "sum(2.0)", "array"),
    ("x + mean(k)", "float64[] weak:int", "reduction", "mean(k)", "array"),
    ("max(x)", "complex128[]", "dtype-mismatch", "max", "abs(z)"),
    ("def g(y):\n    if y: return 0\n    return sum(y)\ndef f(x): return g(x)", "float64[]",
     "reduction", "g", "before the first"),
    (body("if x: return 1"), "float64[]", "missing-return", "if", "return"),
    (body("while x > 0: x -= 1"), "float64[]", "missing-return", "while", "return"),
    (body("while True: x += 1", "return x"), "float64[]", "missing-return", "while", "break"),
]  # fmt: skip


def is_right(source, types, code, wrong, hint):
    found = complaints(source, types)
    assert found, "nothing was complained about"
    first = found[0]
    assert first.code == code, [d.render(mexdask.errors.SourceText(source)) for d in found]
    if wrong is not None:
        assert under_carets(first, source) == wrong
    assert (hint or "") in first.hint
    assert first.hint, "a complaint says what to write instead"
    assert len(found) == 1, found


def named(row):
    return f"{row[-3]}-{row[0][-24:]}".encode("unicode_escape").decode()


@pytest.mark.parametrize("row", SYNTAX, ids=named)
def test_text_outside_the_language(row):
    source, *rest = row
    is_right(source, "", *rest)


@pytest.mark.parametrize("row", TYPES, ids=named)
def test_types_that_do_not_fit(row):
    is_right(*row)


# Functions that take names from around them.

RATE = 2.5
WAVE = 1j
TABLE = {1: 2}


def doubled(y):
    return 2 * y


doubled_too = doubled
part_of_doubled = functools.partial(doubled, 1)


def uses_rate(x):
    return x * RATE


def uses_wave(x):
    return x * WAVE


def uses_other_name_of_its_own(x):
    return doubled_too(x)


def uses_partial(x):
    return part_of_doubled()


def outer_level():
    level = 3

    def helper(y):
        return y > level

    return helper


inner_helper = outer_level()
helper = inner_helper


def uses_clashing_names():
    level = 4

    def kernel(x):
        return helper(x) + level

    return kernel


def uses_table(x):
    return x + TABLE


def uses_other_name(x):
    return maths.sin(x)


def uses_renamed(x):
    return sine(x)


def uses_other_remainder(x):
    return remainder(x, 2)


def uses_unknown(x):
    return x + nowhere  # noqa: F821


FUNCTIONS = [
    (uses_wave, "foreign-name", "WAVE", "parameter"),
    (uses_other_name_of_its_own, "foreign-name", "doubled_too", "doubled"),
    (uses_partial, "helper-function", "part_of_doubled", "def"),
    (uses_clashing_names(), "name-clash", "level", "own names"),
    (uses_table, "foreign-name", "TABLE", "parameters"),
    (uses_other_name, "foreign-name", "maths", "np."),
    (uses_renamed, "foreign-name", "sine", "'sin'"),
    (uses_other_remainder, "foreign-name", "remainder", "rint"),
    (uses_unknown, "unknown-name", "nowhere", "parameter"),
]


@pytest.mark.parametrize("row", FUNCTIONS, ids=lambda row: f"{row[1]}-{row[2]}")
def test_functions_that_read_other_names(row):
    function, code, wrong, hint = row
    with pytest.raises(KernelSyntaxError) as caught:
        mexdask.kernel(function)
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert under_carets(found, caught.value.source) == wrong
    assert hint in found.hint


def test_names_that_mean_the_same_outside_are_taken():
    from numpy import arctan2, pi, sqrt

    def kernel(x):
        return sqrt(x) + arctan2(x, pi) + abs(x) + math.floor(x) + np.sin(x) + float(x)

    x = np.array([0.25, 2.0])
    expected = np.sqrt(x) + np.arctan2(x, np.pi) + abs(x) + np.floor(x) + np.sin(x) + x
    np.testing.assert_allclose(mexdask.apply(kernel, x, jit="off"), expected, rtol=1e-15)


# Places.


def first_place(source) -> tuple[str, int, int]:
    """The file, line and column of the first complaint about a function or text."""
    with pytest.raises(KernelError) as caught:
        mexdask.kernel(source)
    line = str(caught.value).split("\n")[1]
    name, number, column = line.split(": ")[0].rsplit(":", 2)
    return name, int(number), int(column)


def here(function, marker: str) -> tuple[str, int, int]:
    """Where a marker stands in this file, after the line at which a function starts."""
    lines = Path(__file__).read_text(encoding="utf-8").split("\n")
    first = function.__code__.co_firstlineno - 1
    number = next(i for i in range(first, len(lines)) if marker in lines[i])
    return __file__, number + 1, lines[number].index(marker) + 1


@pytest.mark.parametrize(
    ("source", "line", "column"),
    [
        ("\n\n  x + y.z", 3, 5),
        ("\tx + y.z", 1, 5),
        ("日本 = 1", 1, 1),
        ("'é' + y.z", 1, 1),
        ("é + y.z", 1, 5),
        ("(x +\n   y.z)", 2, 4),
        ("def f(x):\n\treturn  x.y", 2, 10),
        ("def f(x):\r\n    return x.y\r\n", 2, 12),
        ("\ufeffx + y.z", 1, 5),
    ],
)
def test_columns_count_characters(source, line, column):
    assert first_place(source) == ("f" if "def f" in source else "kernel", line, column)


def test_place_of_an_indented_decorated_function_is_in_its_file():
    if True:

        def plain(function):
            return function

        # A comment that has nothing to do with it.
        @plain
        @plain
        def indented(x):
            """A text that is
            less indented than its function."""
            é = x
            return é + x.attribute

    assert first_place(indented) == here(indented, "x.attribute")
    with pytest.raises(KernelError) as caught:
        mexdask.kernel(indented)
    (found,) = caught.value.diagnostics
    assert under_carets(found, caught.value.source) == "x.attribute"


def test_place_in_a_header_pragma_is_in_the_file():
    # Above it all.
    # me:fp=sloppy
    def kernel(x):
        return x

    name, line, column = first_place(kernel)
    assert (name, line) == (__file__, kernel.__code__.co_firstlineno - 1)
    assert column == len("    # me:") + 1


def test_place_of_a_run_time_error_is_in_the_file():
    @mexdask.kernel
    def kernel(x):
        return 1 + x**x  # the place

    with pytest.raises(mexdask.KernelRuntimeError) as caught:
        kernel(np.array([2, -1]), jit="off")
    name, line, column = here(kernel.py_func, "**x  # the place")
    assert str(caught.value).startswith(f"{name}:{line}:{column}: negative-power")


async def coroutine(x):
    return x


def generator(x):
    yield x


@functools.wraps(generator)
def wrapper(x):
    return x


class Methods:
    def method(self, x):
        return x

    def __call__(self, x):
        return x


stranger, moved = {}, {}
exec("def no_source(x): return x", stranger)
# Their file exists, but holds something else at that line.
exec(compile("def at_another(x): return x", __file__, "exec"), moved)
above = "\n" * (doubled.__code__.co_firstlineno - 1)
exec(compile(f"{above}def of_another_name(y): return y", __file__, "exec"), moved)
exec(compile(f"{above}def doubled(z): return z", __file__, "exec"), moved)


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (lambda x: x, "a lambda cannot be a kernel"),
        (functools.partial(uses_rate, 1), "bound values as arguments"),
        (np.sin, "'sin(x)'"),
        (math.floor, "'floor(x)'"),
        (builtins.len, "builtin"),
        (Methods().method, "outside the class"),
        (Methods(), "Methods"),
        (Methods, "Methods"),
        (wrapper, "__wrapped__"),
        (stranger["no_source"], "cannot be read"),
        (moved["at_another"], "does not hold the source of at_another()"),
        (moved["of_another_name"], "does not hold the source of of_another_name()"),
        (moved["doubled"], "does not hold the source of doubled()"),
        (np.arange(3), "the kernel comes first"),
        (b"x + 1", "decode"),
        (None, "None"),
        (7, "an int"),
    ],
)
def test_things_that_are_no_kernels(thing, words):
    with pytest.raises(ArgumentError) as caught:
        mexdask.kernel(thing)
    assert words in str(caught.value)


def test_async_functions_and_generators_are_shown_in_their_file():
    assert first_place(coroutine) == here(coroutine, "async def coroutine")
    assert first_place(generator) == here(generator, "yield x")


# All complaints of a pass at once.


def test_all_complaints_of_a_pass_come_together():
    source = body("y = x.real + z[0]", "print(y)", "return sni(q)")
    found = [(d.code, under_carets(d, source)) for d in complaints(source)]
    assert found == [
        ("unsupported-syntax", "x.real"),
        ("unsupported-syntax", "z[0]"),
        ("unknown-function", "print"),
        ("unknown-function", "sni"),
        ("unknown-name", "q"),
    ]


def test_one_statement_may_have_several_type_errors():
    source = body(
        "a = (x - x) + sqrt(x) * (x << 1.5) if ~(x / 2) else x ^ 2.5",
        "b, c = x - x, -x",
        "d = 0 < -x < (x & 1.5)",
        "e = -x and ~1.5",
        "return a + b + missing",
        "missing = 1",
    )
    found = [(d.span.line, under_carets(d, source)) for d in complaints(source, "bool[]")]
    assert found == [
        (2, "-"), (2, "sqrt(x)"), (2, "<<"), (2, "~"), (2, "^"),
        (3, "-"), (3, "-"), (4, "-"), (4, "&"), (5, "-"), (5, "~"), (6, "missing"),
    ]  # fmt: skip


def test_a_mistake_in_a_loop_is_told_once_and_its_effects_are_not():
    for line in ("y = ~y", "y = x - (y > 1)", "y <<= 1"):
        source = body("y = 0.5", "while y < 3:", f"    {line}", "    y += 1", "return y * 2")
        (found,) = complaints(source, "bool[]")
        assert (found.code, found.span.line) == ("dtype-mismatch", 4)


def test_free_names_and_the_text_are_checked_together():
    def kernel(x):
        return x[0] + TABLE + part_of_doubled() + RATE + unheard_of  # noqa: F821

    with pytest.raises(KernelSyntaxError) as caught:
        mexdask.kernel(kernel)
    codes = [d.code for d in caught.value.diagnostics]
    assert codes == ["unsupported-syntax", "foreign-name", "helper-function", "unknown-name"]


def test_functions_are_read_without_decorators_and_indentation():
    def outer():
        @mexdask.kernel
        # me:fp=contract
        def inner(x, y=2):
            return x * y

        return inner

    @mexdask.kernel
    def inner(x, y=2):
        return x * y

    assert inner.source == "def inner(x, y=2):\n    return x * y"
    assert outer().source.endswith(inner.source)
    assert mexdask.explain(outer(), 1.0, jit="off").pragmas == "fp=contract"


def test_pragmas_of_a_helper_hold_where_it_is_the_kernel():
    # me:fp=fast
    @mexdask.kernel
    def half(x):
        """Halve, as in
        # me:fp=contract
        """
        return x / 2

    @mexdask.kernel
    def quarter(x):
        return half(half(x))

    assert mexdask.explain(half, 1.0, jit="off").pragmas == "fp=fast"
    assert mexdask.explain(quarter, 1.0, jit="off").pragmas == ""
    assert quarter(6.0) == 1.5


# The table above is complete.


def emitted_codes() -> set[str]:
    """Every code that stands in a complaint of the front end's own sources."""
    found = set()
    position = {"Diagnostic": 0, "complain": 0, "fail": 0, "refuse": 1}
    for path in Path(frontend.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            part: ast.AST | None = None
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in position and len(node.args) > position[name]:
                    part = node.args[position[name]]
            elif isinstance(node, ast.Assign):
                target, value = node.targets[0], node.value
                if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                    target, value = target.elts[0], value.elts[0]
                if isinstance(target, ast.Name) and target.id == "code":
                    part = value
            if part is not None and not isinstance(part, ast.Call):
                parts = [part.body, part.orelse] if isinstance(part, ast.IfExp) else [part]
                found |= {p.value for p in parts if isinstance(p, ast.Constant)}
    return {code for code in found if isinstance(code, str)}


def test_every_code_has_a_row():
    rows = {row[1] for row in SYNTAX} | {row[2] for row in TYPES} | {row[1] for row in FUNCTIONS}
    codes = emitted_codes()
    assert len(codes) > 35, "the scan must find the codes"
    assert codes == rows


def test_source_is_dedented_once():
    text = "\n    def f(x):\n        return x\n"
    assert mexdask.kernel(text).source == textwrap.dedent(text).rstrip()
