"""Vector math: the same bits in every width, form, place and compiler, near the exact value."""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edges import Array, bits, columns

from mexdask.backend import vmath
from mexdask.backend.cscalar import TYPES
from mexdask.backend.version import GENERATOR_SOURCES
from mexdask.backend.vmath import abreast, instance
from mexdask.backend.vmath.coefficients import COEFFICIENTS
from mexdask.ops import FUNCTIONS, OPERATORS, TABLE, VECTOR_MATH_ULP, Op
from mexdask.runtime.target import LEVELS, host_target, target_flags
from mexdask.runtime.toolchain import Compiler, find_compiler
from mexdask.settings import process_settings

pytestmark = pytest.mark.compiler

FLOATS = {"f32": np.dtype(np.float32), "f64": np.dtype(np.float64)}
LEVEL = {64: "x86-64-v4", 32: "x86-64-v3", 16: "x86-64-v2", 0: "x86-64-v2"}
HOST = host_target().isa


@pytest.fixture
def ulp(monkeypatch):
    """The benchmark that measures errors."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "benchmarks"))
    import ulp

    return ulp


@dataclass(frozen=True)
class Function:
    """A function of vector math on one dtype."""

    op: Op
    c: str

    def __str__(self) -> str:
        return f"{self.op.name}-{self.c}"

    @property
    def symbol(self) -> str:
        return self.template.removeprefix("vm_").partition("_")[0] + f"_{self.c}"

    @property
    def template(self) -> str:
        return self.op.template((FLOATS[self.c],) * self.op.arity)


# clang misses calls of inline functions that stand under an #if.
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-psabi", "-Wno-unused-function")
ROWS = [
    Function(op, c)
    for op in (*OPERATORS, *FUNCTIONS)
    for c, dtype in FLOATS.items()
    if any(map(vmath.has_vectors, op.c.values()))
]


def widths() -> list[int]:
    """Return the widths that this machine runs; 0 is the scalar form."""
    if HOST not in LEVELS:
        return [16, 0]
    return [w for w, level in LEVEL.items() if LEVELS.index(level) <= LEVELS.index(HOST)]


def loop(row: Function, width: int) -> tuple[str, str]:
    """Return the C of a function over arrays, and the expression that calls vector math."""
    size = FLOATS[row.c].itemsize
    lanes = max(1, width // size)
    template = vmath.call(row.template, row.c, lanes) if width else row.template
    vector = f"vector_size({lanes * size}), " if width else ""
    params = [f"const {row.c} *a{n}" for n in range(row.op.arity)]
    call = template.format(*(f"*(const V *)(a{n} + k)" for n in range(row.op.arity)), n=row.c)
    return call, (
        f"#define V V_{row.symbol}\n"
        f"typedef {row.c} V __attribute__(({vector}aligned({size}), may_alias));\n"
        f"void {row.symbol}(i64 n, {row.c} *r, {', '.join(params)})\n"
        f"{{ for (i64 k = 0; k < n; k += {lanes}) *(V *)(r + k) = {call}; }}\n"
        "#undef V\n"
    )


@functools.cache
def library(width: int, compiler: str, mode: str = "strict") -> ctypes.CDLL:
    """Return the native code of every function for vectors of a width."""
    level = LEVEL[width] if HOST in LEVELS else HOST
    calls, loops = zip(*(loop(row, width) for row in ROWS), strict=True)
    text = TYPES + vmath.definitions("".join(calls), width) + "".join(loops)
    with tempfile.TemporaryDirectory() as directory:
        source, image = Path(directory) / "k.c", Path(directory) / "k.so"
        source.write_text(text)
        flags = [f for f in target_flags(mode, level) if f != "-fvisibility=hidden"]
        command = [compiler, *WARNINGS, "-o", str(image), str(source), *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return ctypes.CDLL(str(image))


@functools.cache
def default_compiler() -> str:
    compiler = find_compiler(process_settings())
    assert isinstance(compiler, Compiler), compiler
    return compiler.argv[0]


def run(
    row: Function, arguments: list[Array], width: int, compiler: str = "", mode: str = "strict"
) -> Array:
    """Return a function's values on arrays, which are filled up with ones."""
    size = arguments[0].size
    padded = [np.concatenate([a, np.ones(-size % 64, a.dtype)]) for a in arguments]
    out = np.empty_like(padded[0])
    call = library(width, compiler or default_compiler(), mode)[row.symbol]
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (out, *padded)]
    call(ctypes.c_int64(out.size), *pointers)
    return out[:size]


@functools.cache
def arguments(row: Function) -> list[Array]:
    """Return edge values, numbers near zero and one, of all sizes, and any bits at all."""
    dtype, count = FLOATS[row.c], row.op.arity
    rng = np.random.default_rng(11)
    info = np.finfo(dtype)
    found: list[list[Any]] = [list(column) for column in columns((dtype,) * count, 1500)]
    for column in found:
        column += list(rng.uniform(-12, 12, 1000))
        column += list(1 + rng.uniform(-0.5, 0.5, 500))
        exponents = rng.uniform(info.minexp - info.nmant, info.maxexp, 1000)
        column += list(rng.choice([-1.0, 1.0], 1000) * np.exp2(exponents))
        column += list(rng.integers(0, 256, (500, dtype.itemsize), np.uint8).view(dtype)[:, 0])
    with np.errstate(over="ignore", invalid="ignore"):
        return [np.array(column, dtype) for column in found]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_width_and_form_gives_the_same_bits(row: Function):
    values = arguments(row)
    scalar = bits(run(row, values, 0))
    for width in widths():
        different = np.flatnonzero(bits(run(row, values, width)) != scalar)
        assert different.size == 0, (width, [a[different[:3]] for a in values])


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_element_does_not_depend_on_its_neighbours(row: Function):
    values = arguments(row)
    width = widths()[0]
    want = bits(run(row, values, width))
    order = np.random.default_rng(3).permutation(want.size)
    np.testing.assert_array_equal(bits(run(row, [a[order] for a in values], width)), want[order])
    alike = np.repeat(order[:200], 64)
    np.testing.assert_array_equal(bits(run(row, [a[alike] for a in values], width)), want[alike])


@pytest.mark.skipif(not shutil.which("clang") or not shutil.which("gcc"), reason="one compiler")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_gcc_and_clang_give_the_same_bits(row: Function):
    values = arguments(row)
    width = widths()[0]
    one, other = (bits(run(row, values, width, name)) for name in ("gcc", "clang"))
    np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(not shutil.which("clang"), reason="clang has every target in one")
@pytest.mark.parametrize("target", ["aarch64-linux-gnu", "arm64-apple-macos12"])
@pytest.mark.parametrize("width", [16, 0])
def test_compiles_for_other_machines(target: str, width: int, tmp_path: Path):
    calls, loops = zip(*(loop(row, width) for row in ROWS), strict=True)
    source = tmp_path / "k.c"
    source.write_text(TYPES + vmath.definitions("".join(calls), width) + "".join(loops))
    command = ["clang", f"--target={target}", "-fsyntax-only", "-std=gnu11", *WARNINGS]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_fast_does_not_reassociate_what_must_not_be(row: Function):
    rng = np.random.default_rng(2)
    values = [rng.uniform(1.01, 9, 2000).astype(FLOATS[row.c]) for _ in range(row.op.arity)]
    if row.op.name in ("asin", "acos", "atanh"):
        values = [1 / v for v in values]
    for width in (widths()[0], 0):
        strict = run(row, values, width)
        loose = [run(row, values, width, mode=mode) for mode in ("contract", "fast")]
        for got in loose:
            np.testing.assert_allclose(got, strict, 8 * np.finfo(got.dtype).eps)


# Where functions were wrong once, and what is right.
REGRESSIONS = [
    ("sinh", 710.96, np.inf),
    ("cosh", -710.96, np.inf),
    ("expm1", 5e-324, 5e-324),
    ("log1p", 1.7976931348623157e308, 709.782712893384),
    ("acosh", 1.7976931348623157e308, 710.475860073944),
    ("erfc", 0.2501362215741765, 0.7235292179566812),
    ("erfc", 26.320687441234824, 2.8899962273381247e-303),
    ("sin", 1e22, -0.8522008497671888),
    ("sin", -0.0, -0.0),
    ("exp10", 22.0, 1e22),
]


@pytest.mark.parametrize(("name", "x", "want"), REGRESSIONS)
def test_what_was_wrong_once(name: str, x: float, want: float):
    row = Function(TABLE[name], "f64")
    for width in widths():
        (got,) = run(row, [np.array([x])], width)
        assert got == pytest.approx(want, rel=4e-16, abs=0)
        assert np.signbit(got) == np.signbit(want)


@pytest.mark.parametrize("row", [row for row in ROWS if not row.op.ulp], ids=str)
def test_exact_functions_equal_numpy(row: Function):
    values = arguments(row)
    with np.errstate(all="ignore"):
        want = row.op.numpy(*values)
    different = np.flatnonzero(bits(run(row, values, 0)) != bits(want))
    assert different.size == 0, [a[different[:3]] for a in (*values, want)]


@pytest.mark.parametrize("op", {row.op: 0 for row in ROWS if row.op.ulp}, ids=lambda op: op.name)
def test_nowhere_further_from_the_exact_value_than_the_bound(op: Op, ulp):
    for row in (ulp.by_mpmath(op, ulp.QUICK[0]), ulp.by_float64(op, ulp.QUICK[1])):
        assert row.most <= VECTOR_MATH_ULP, row
        assert row.mean < 0.5, row


def test_coefficients_are_what_the_tool_makes(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "tools"))
    import minimax

    assert {name.removesuffix("_rest") for name in COEFFICIENTS} == set(minimax.POLYNOMIALS)
    for name, text in COEFFICIENTS.items():
        made, _ = minimax.coefficients(name.removesuffix("_rest"))
        made = made[1:] if name.endswith("_rest") else made
        assert list(map(float.fromhex, made)) == list(map(float.fromhex, text.split())), name


@pytest.mark.parametrize(("name", "c"), [k for k in instance.SOURCES if instance.has_abreast(*k)])
def test_functions_of_several_vectors_have_all_statements_for_each(name: str, c: str):
    one = instance.definition(name, instance.Lanes(c, 8), 64)
    body = one[one.index("{\n") + 2 : one.rindex("}")]
    statements = abreast.STATEMENT.findall(one)
    assert "".join(f"{s}\n" for s in statements) == body
    assert [s.count("return ") for s in statements] == [0] * (len(statements) - 1) + [1]
    three = abreast.abreast(one, 3)
    words = re.compile(r"[A-Za-z_]\w*")
    known = {*words.findall(one), "void", f"vm_{name}_{c}x8_3"}
    for way in range(3):
        own = [w.removesuffix(f"_{way}") for w in words.findall(three) if w.endswith(f"_{way}")]
        assert known.issuperset(own)
        assert {"to" + str(way)} <= set(words.findall(three))
    assert three.count("\n") == one.count("\n") + 2 * body.count("\n")


def test_every_source_is_part_of_the_generators_version():
    package = Path(vmath.__file__).parent
    sources = {f"backend/vmath/{p.name}" for p in package.glob("*.py")} - {
        "backend/vmath/__init__.py"
    }
    assert sources <= set(GENERATOR_SOURCES)
