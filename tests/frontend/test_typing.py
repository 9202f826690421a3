"""Which dtype everything has: NEP 50 with weak scalars, casts, joins where paths meet, loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from front_kit import lowered

import mexdask
from mexdask.dtypes import NATIVE
from mexdask.errors import KernelTypeError
from mexdask.irtext import function_text

DTYPES = [*sorted(d.name for d in NATIVE), "complex64", "complex128"]


def body(*lines: str) -> str:
    return "def f(x, y=0):\n" + "\n".join(f"    {line}" for line in lines)


# source, types in order, result dtype, IR lines that must be there
CASES = [
    # Literals and Python scalars are weak.
    ("x + 1", "uint8[]", "uint8", "return (x.u8 + 1:uint8)"),
    ("x + 1.5", "int8[]", "float64", "float64(x.i8) + 0x1.8"),
    ("x + 1.5", "float32[]", "float32", ""),
    ("x + y", "float32[] weak:float", "float32", "float32(y.f64)"),
    ("x + y", "uint8[] weak:int", "uint8", "uint8(y.i64)"),
    ("x + y", "float32[] weak:int", "float32", "float32(float64(y.i64))"),
    ("x + y", "float32[] int64", "float64", ""),
    ("x + y", "int16[] weak:bool", "int16", ""),
    ("x + y", "bool[] weak:int", "int64", ""),
    ("x * 0x9E3779B97F4A7C15", "uint64[]", "uint64", "11400714819323198485:uint64"),
    ("-9223372036854775808 + x", "int64[]", "int64", "-9223372036854775808:int64"),
    ("e * x", "float32[]", "float32", "0x1.5bf0a80000000p+1:float32"),
    ("(1 if x else 2) + y", "bool[] int8[]", "int8", ""),
    ("where(x, 1, 2) + y", "bool[] int8[]", "int64", ""),
    # What is weak to the end.
    ("5", "", "int64", ""),
    ("5.0", "", "float64", ""),
    ("True", "", "bool", ""),
    ("1 < 2", "", "bool", ""),
    ("True + True", "", "int64", ""),
    ("-x", "weak:bool", "int64", ""),
    ("~x", "weak:bool", "int64", ""),
    ("x & True", "weak:bool", "bool", ""),
    ("x / 2", "weak:int", "float64", ""),
    ("sqrt(2.0)", "", "float64", ""),
    ("sqrt(2.0) + x", "float32[]", "float64", ""),
    ("abs(x) + y", "weak:int int8[]", "int8", ""),
    ("np.abs(x) + y", "weak:int int8[]", "int64", ""),
    ("pow(x, 2) + y", "weak:int int8[]", "int8", ""),
    ("np.power(x, 2) + y", "weak:int int8[]", "int64", ""),
    ("min(x, 1) + y", "weak:int int8[]", "int8", ""),
    # Promotion.
    ("x + y", "int8[] uint8[]", "int16", "(int16(x.i8) + int16(y.u8))"),
    ("x + y", "uint64[] int64[]", "float64", ""),
    ("x < y", "uint64[] int64[]", "bool", "(x.u64 < y.i64)"),
    ("x == 300", "uint8[]", "bool", "False"),
    ("x > -1", "uint8[]", "bool", "True"),
    ("x / y", "uint8[] uint8[]", "float64", ""),
    ("x ** 2", "float32[]", "float32", "(x.f32 * x.f32)"),
    ("2 ** x", "int8[]", "int8", "fail at site 0 if (x.i8 < 0:int8)"),
    ("x ** 3", "int8[]", "int8", "(x.i8 ** 3:int8)"),
    ("sqrt(x)", "int16[]", "float32", ""),
    ("sqrt(x)", "int32[]", "float64", ""),
    ("abs(x)", "complex64[]", "float32", ""),
    ("round(x)", "int8[]", "int8", ""),
    ("ldexp(x, y)", "float32[] int32[]", "float32", ""),
    ("not x", "float64[]", "bool", "(~bool(x.f64))"),
    ("x and y", "int8[] float32[]", "float32", "select(bool(x.i8), y.f32, float32(x.i8))"),
    ("x < y < 3", "int8[] weak:int", "bool", "(y.i64 < 3:int64)"),
    # Casts: Python's are weak, NumPy's strong.
    ("int(x) + y", "float64[] int8[]", "int8", "int8(int64(x.f64))"),
    ("np.int64(x) + y", "float64[] int8[]", "int64", ""),
    ("float(x) + y", "int64[] float32[]", "float32", ""),
    ("bool(x) + y", "int64[] weak:bool", "int64", ""),
    ("np.bool(x) + y", "int64[] weak:bool", "bool", ""),
    ("np.int16(3)", "", "int16", "3:int16"),
    ("float32(1) + x", "float64[]", "float64", ""),
    ("complex64(x)", "float64[]", "complex64", ""),
    # Straight-line code retypes freely.
    (body("a = x", "a = a / 2", "a = a > 1", "return a"), "int32[] int8", "bool", "a.i32 = x.i32"),
    (body("x = x / 2", "return x"), "int8[] int8", "float64", ""),
    (body("a = b = 1", "a += x", "return b"), "float32[] int8", "int64", ""),
    (body("a, b = x, y", "a, b = b, a", "return a"), "float32[] int8[]", "int8", ""),
    # Paths join: weak rules included.
    (body("a = x", "if x > 1: a = 2.5", "return a"), "int32[] int8", "float64", "a.f64 = float64"),
    (body("a = x", "if x > 1: a = 2.5", "return a"), "float32[] int8", "float32", ""),
    (body("if x > 1: return x", "return 0"), "uint8[] int8", "uint8", "return 0:uint8"),
    (body("if x > 1: return x", "return 0.5"), "uint8[] int8", "float64", "return float64(x.u8)"),
    (body("if x > 1: return 1", "return 0.5"), "uint8[] int8", "float64", ""),
    (body("if x: return x", "return y"), "int8[] uint8[]", "int16", ""),
    # A loop's head takes the types that its end brings back.
    (body("a = 0.0", "for i in range(3): a += x", "return a"), "float32[] int8", "float32",
     "a.f32 = float32(a.f64)"),
    (body("a = 0", "for i in range(3): a += x", "return a"), "uint8[] int8", "uint8", ""),
    (body("a = 0", "for i in range(3): a += i * x", "return a"), "float32[] int8", "float32", ""),
    (body("a = 1", "while a < x: a *= 2", "return a"), "int16[] int8", "int64", "loop:"),
    (body("a = b = 0", "for i in range(3): a, b = b, a + x", "return b"), "float32[] int8",
     "float32", ""),
    (body("a = 0", "for i in range(3):", "    for j in range(3): a = a + x", "    x = x / 2",
          "return a"), "int8[] int8", "float64", "a.f64 = (a.f64 + x.f64)"),
    (body("a = 0", "while True:", "    a += x", "    if a > 5: break", "    a = a * 1.5",
          "return a"), "int32[] int8", "float64", "break"),
    (body("i = x", "for i in range(3): pass", "return i"), "int8[] int8", "int8", ""),
    (body("a = b = c = d = x", "for i in range(9):", "    a, b, c, d = b, c, d, d * 1.5",
          "return a"), "int8[] int8", "float64", ""),
    # A condition does not change what is returned.
    (body("while True:", "    if x: return 1", "    x = 1"), "int8[] int8", "int64", ""),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0].splitlines()[-1].strip()}|{c[1]}")
def test_result_dtype_and_ir(case):
    source, types, expected, line = case
    kernel = lowered(source, types)
    text = function_text(kernel.result.function)
    assert kernel.dtypes[0].name == expected, text
    assert line in text
    assert text.splitlines()[0].endswith(f"-> {expected}  # fp=strict")


@pytest.mark.parametrize("result", ["bool", "int8", "float32", "complex64"])
def test_dtype_option_casts_every_return(result):
    kernel = lowered(body("if x: return x", "return 2.5"), "float64[] int8", result)
    assert kernel.dtypes[0].name == result
    assert kernel.result.function.results == (np.dtype(result),)


def of(t: str):
    """A NumPy array of one element, or a Python scalar for a weak type."""
    weak = {"weak:bool": True, "weak:int": 1, "weak:float": 1.0}
    return weak[t] if t in weak else np.ones(1, t)


BINARY = "+ - * / // % ** << >> & | ^ < <= > >= == !=".split()


@pytest.mark.parametrize("operator", BINARY)
def test_binary_operators_promote_as_numpy_does(operator):
    weak = ["weak:bool", "weak:int", "weak:float"]
    wrong = []
    pairs = [p for p in itertools.product(DTYPES + weak, repeat=2) if not set(p) <= set(weak)]
    for pair in pairs:
        x, y = map(of, pair)
        try:
            # Comparing complex numbers is an order that NumPy has and the language has not.
            if operator in ("<", "<=", ">", ">=") and {"complex64", "complex128"} & set(pair):
                raise TypeError
            expected = eval(f"x {operator} y", {"x": x, "y": y}).dtype.name
        except TypeError:
            expected = "refused"
        if expected == "float16":
            expected = "refused"
        types = " ".join(t if t in weak else f"{t}[]" for t in pair)
        try:
            found = lowered(f"x {operator} y", types).dtypes[0].name
        except KernelTypeError:
            found = "refused"
        if found != expected:
            wrong.append((pair, found, expected))
    assert not wrong


@pytest.mark.parametrize("name", ["sqrt", "sin", "abs", "floor", "sign", "isnan", "square", "rint"])
def test_functions_promote_as_numpy_does(name):
    for t in DTYPES:
        try:
            expected = getattr(np, name)(np.ones(1, t)).dtype.name
        except TypeError:
            expected = "refused"
        if expected == "float16" or (name == "sign" and t.startswith("complex")):
            expected = "refused"
        try:
            found = lowered(f"{name}(x)", f"{t}[]").dtypes[0].name
        except KernelTypeError:
            found = "refused"
        assert found == expected, t


@pytest.mark.parametrize("first", ["weak:bool", "weak:int", "weak:float", *DTYPES])
def test_joins_are_those_of_result_type(first):
    for second in DTYPES:
        x, y = of(first), of(second)
        expected = np.result_type(x, y).name
        types = f"{first if first.startswith('weak') else first + '[]'} {second}[]"
        for source in ("x if y else y", "where(y, x, y)", "x or y"):
            source = source.replace("x if y else y", "x if y == y else y")
            assert lowered(source, types).dtypes[0].name == expected, (source, second)
        source = body("a = x", "if y == 1: a = y", "return a")
        assert lowered(source, types).dtypes[0].name == expected, second


def test_what_a_type_error_hides_is_not_guessed():
    x = np.zeros(3, bool)
    with pytest.raises(KernelTypeError) as caught:
        mexdask.apply(body("a = x - x", "b = a + 1", "return b * a"), x)
    assert len(caught.value.diagnostics) == 1


def test_lowering_settles_for_long_chains_of_types():
    lines = ["v0 = x"] + [f"v{i} = 0" for i in range(1, 40)] + ["for i in range(3):"]
    lines += [f"    v{i} = v{i - 1} + v{i}" for i in range(39, 0, -1)] + ["return v39"]
    assert lowered(body(*lines), "float32[] int8").dtypes[0].name == "float32"
