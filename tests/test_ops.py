"""Each row of the op table on each dtype, in each engine, against the exact value or NumPy's."""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from batch import QUICK, Library
from edges import DTYPES, Array, assert_same, columns
from exact import EXACT, largest_error

from mexdask import ir
from mexdask.backend.interp import prepare
from mexdask.backend.predicate import predicate
from mexdask.chunk import run_native
from mexdask.ops import FUNCTIONS, INTERPRETER_ULP, OPERATORS, TABLE, Op
from mexdask.runtime.dispatch import Unit
from mexdask.settings import KernelSettings

SIZE = 1500


@dataclass(frozen=True)
class Row:
    """An operator on operands of given dtypes, as a function of one element."""

    op: Op
    operands: tuple[np.dtype, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{self.op.name}({','.join(d.name for d in self.operands)})"

    @functools.cached_property
    def function(self) -> ir.Function:
        params = tuple(ir.Param(ir.Var(f"p{n}", d), True) for n, d in enumerate(self.operands))
        value = ir.Apply(self.op, tuple(p.var for p in params), self.dtype)
        return ir.Function("row", params, (self.dtype,), (ir.Return((value,)),), (), "strict")

    @functools.cached_property
    def arguments(self) -> list[Array]:
        """Edge values and ordinary ones; negative powers of integers never get here."""
        if self.is_transcendental:
            pairs = zip(columns(self.operands, 400), ordinary(self.operands), strict=True)
            return [np.concatenate(pair) for pair in pairs]
        values = columns(self.operands, SIZE)
        if self.op.name == "**" and self.operands[1].kind == "i":
            values[1] = np.maximum(values[1], 0)
        return values

    @property
    def is_transcendental(self) -> bool:
        return self.op.ulp > 0 and self.dtype.kind == "f"


def ordinary(dtypes: tuple[np.dtype, ...]) -> list[Array]:
    """Return floats near zero, and floats of all sizes."""
    rng = np.random.default_rng(7)
    near = [rng.uniform(-12, 12, 200) for _ in dtypes]
    sized = [rng.choice([-1.0, 1.0], 200) * np.exp2(rng.uniform(-60, 60, 200)) for _ in dtypes]
    return [np.concatenate(p).astype(d) for *p, d in zip(near, sized, dtypes, strict=True)]


def rows() -> list[Row]:
    """Return every row with every combination of operand dtypes that it resolves to."""
    found: dict[Row, None] = {}
    for op in (*OPERATORS, *FUNCTIONS):
        for given in signatures(op):
            try:
                operands, result = op.resolve(*given)
            except TypeError:
                continue
            found[Row(op, operands, result)] = None
    return list(found)


def signatures(op: Op) -> Iterator[tuple[np.dtype, ...]]:
    """Yield operand dtypes: all alike, and the mixtures that have C text of their own."""
    if op.name == "range_trips":
        yield (DTYPES["i64"],) * 3
        return
    for dtype in DTYPES.values():
        yield (dtype,) * op.arity
    if op.arity == 2:
        yield from itertools.permutations((DTYPES["i64"], DTYPES["u64"]))
        yield from itertools.product((DTYPES["f32"], DTYPES["f64"]), (DTYPES["i32"], DTYPES["i64"]))


ROWS = rows()


@functools.cache
def library() -> Library:
    """Return the native code of every row."""
    with tempfile.TemporaryDirectory() as directory:
        return Library([row.function for row in ROWS], Path(directory), QUICK)


@pytest.fixture(params=[pytest.param("native", marks=pytest.mark.compiler), "interpreter"])
def run(request: pytest.FixtureRequest) -> Callable[[Row], Array]:
    """What computes a row on its arguments."""
    return interpreted if request.param == "interpreter" else compiled


def interpreted(row: Row) -> Array:
    arguments = row.arguments
    with np.errstate(all="ignore"):
        results, _ = prepare(predicate(row.function)).run(arguments, arguments[0].size, 1)
    return results[0]


def compiled(row: Row) -> Array:
    out = np.empty(row.arguments[0].shape, row.dtype)
    unit = Unit(row.function, "row", "")
    stage = SimpleNamespace(function=row.function, unit=unit, is_simple=False)
    native = library().entry(row.function)
    end = run_native(stage, native, row.arguments, [out], out.shape, None, KernelSettings())
    assert end.failed is None
    return out


@pytest.mark.compiler
def test_every_row_compiles_without_warnings_for_every_dtype():
    assert library().log == ""
    assert {dtype for row in ROWS for dtype in row.operands} == set(DTYPES.values())


def test_every_row_is_tested():
    assert {row.op.name for row in ROWS} == set(TABLE)


@pytest.mark.parametrize("row", [r for r in ROWS if not r.is_transcendental], ids=str)
def test_exact_rows(row: Row, run: Callable[[Row], Array]):
    with np.errstate(all="ignore"):
        want = np.asarray(reference(row)(*row.arguments)).astype(row.dtype)
    assert_same(run(row), want, row.arguments, str(row))


# What NumPy does not have, or not for one element as for many, written once more by other means.
PLAIN: dict[str, Callable[..., Any]] = {
    "**": lambda a, b: wrapped_power(a, b),
    "minimum": lambda a, b: choose(a, b, lambda x, y: x if x < y or x != x else y),
    "maximum": lambda a, b: choose(a, b, lambda x, y: x if x > y or x != x else y),
    "fmin": lambda a, b: choose(a, b, lambda x, y: x if x < y or y != y else y),
    "fmax": lambda a, b: choose(a, b, lambda x, y: x if x > y or y != y else y),
    "clip": lambda x, low, high: PLAIN["minimum"](PLAIN["maximum"](x, low), high),
    "fdim": lambda a, b: choose(a, b, lambda x, y: type(x)(0) if x <= y else x - y),
    "ldexp": lambda a, b: np.ldexp(a, np.clip(b, -9999, 9999).astype(np.int32)),
    "range_trips": lambda a, b, c: np.array(
        [trips(*map(int, row)) for row in zip(a, b, c, strict=True)], np.uint64
    ),
}


def reference(row: Row) -> Callable[..., Any]:
    """Return what says what a row means, without the row's own function where that is ours."""
    return PLAIN.get(row.op.name, row.op.typing if row.op.name != "round" else np.round)


def choose(a: Array, b: Array, pick: Callable[[Any, Any], Any]) -> Array:
    return np.array([pick(x, y) for x, y in zip(a, b, strict=True)], a.dtype)


def trips(start: int, stop: int, step: int) -> int:
    """Return the length of a range: ``len(range())`` does not go so far."""
    if step == 0:
        return 0
    return max(0, -((start - stop) // step))


def wrapped_power(a: Array, b: Array) -> Array:
    bits = 8 * a.dtype.itemsize
    powers = [pow(int(x), int(y), 2**bits) for x, y in zip(a, b, strict=True)]
    return np.array(powers, f"u{a.dtype.itemsize}").view(a.dtype)


TRANSCENDENTAL = [row for row in ROWS if row.is_transcendental]


def test_every_transcendental_row_has_an_exact_value():
    assert {row.op.name for row in TRANSCENDENTAL} == set(EXACT)


@pytest.mark.parametrize("row", TRANSCENDENTAL, ids=str)
def test_transcendental_rows(row: Row, run: Callable[[Row], Array]):
    error, where = largest_error(run(row), row.op, row.arguments)
    bound = row.op.ulp if run is compiled else INTERPRETER_ULP
    assert error <= bound, f"{error} ulp at {where}"
