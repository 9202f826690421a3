"""The table of kernels in ``corpus/*.mex``: what they are called with and what dtype comes out.

A case is::

    == name
    f32 i64 int -> f32
    T T -> T : ints
    ! oracle: why plain Python may differ
    --
    def k(a, b, c):
        ...

Argument types are short names: ``f32`` is an array, ``=f32`` a NumPy scalar, ``int`` a weak Python
scalar. ``T`` stands for each dtype of the list behind the colon. Options: ``! oracle: reason``
(no comparison with plain Python), ``! ulp: n`` (distance allowed between engines), ``! small``
(tame arguments), ``! dtype: f32`` (of the call), ``! fails: reason`` (a run-time error).
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from batch import QUICK, Library
from edges import DTYPES, columns, edges

from mexdask.api import kernel
from mexdask.specialise import Specialisation, specialise

DIRECTORY = Path(__file__).parent / "corpus"
GROUPS = {
    "ints": "i8 i16 i32 i64 u8 u16 u32 u64",
    "signed": "i8 i16 i32 i64",
    "unsigned": "u8 u16 u32 u64",
    "floats": "f32 f64",
    "numbers": "i8 i16 i32 i64 u8 u16 u32 u64 f32 f64",
    "all": "b8 i8 i16 i32 i64 u8 u16 u32 u64 f32 f64",
}
WEAK_VALUES = {"int": (0, 3, -2, 2**40 + 1), "float": (0.1, -2.5, 1e300), "bool": (True, False)}


@dataclass(frozen=True)
class Case:
    """One kernel with one signature."""

    topic: str
    name: str
    source: str
    arguments: tuple[str, ...]
    result: np.dtype
    options: dict[str, str] = field(hash=False)

    def __str__(self) -> str:
        return f"{self.topic}/{self.name}({','.join(self.arguments)})"

    @property
    def ulp(self) -> int:
        return int(self.options.get("ulp", 0))

    @functools.cached_property
    def specialisation(self) -> Specialisation:
        signature = tuple(map(type_text, self.arguments))
        cast = self.options.get("dtype")
        source = kernel(self.source)._source
        return specialise(source, frozenset(), signature, DTYPES[cast].name if cast else "")

    def values(self, size: int) -> Iterator[list[Any]]:
        """Yield lists of arguments: arrays of up to about ``size`` elements, and scalars."""
        small = "small" in self.options
        arrays = [DTYPES[a] for a in self.arguments if a in DTYPES]
        scalars = [scalar_values(a, small) for a in self.arguments if a not in DTYPES]
        for chosen in zip(*scalars, strict=True) if scalars else [()]:
            column, scalar = iter(columns(arrays, size, small=small)), iter(chosen)
            yield [next(column if a in DTYPES else scalar) for a in self.arguments]


def type_text(argument: str) -> str:
    """Return a type as ``specialise`` spells it."""
    if argument in DTYPES:
        return f"{DTYPES[argument].name}[]"
    return DTYPES[argument[1:]].name if argument[0] == "=" else f"weak {argument}"


def scalar_values(argument: str, small: bool) -> list[Any]:
    """Return four values of a scalar argument."""
    if argument[0] == "=":
        values = list(edges(DTYPES[argument[1:]], small=small))[::-1]
        return [values[i * (len(values) - 1) // 3] for i in range(4)]
    values = [v for v in WEAK_VALUES[argument] if not small or abs(v) < 100]
    return [values[i % len(values)] for i in range(4)]


def cases_of(path: Path) -> Iterator[Case]:
    """Yield the cases of one file."""
    for block in path.read_text(encoding="utf-8").split("\n== ")[1:]:
        head, _, source = block.partition("\n--\n")
        name, *lines = head.split("\n")
        options = dict(parse_option(line) for line in lines if line.startswith("!"))
        for line in lines:
            if line.startswith("!"):
                continue
            signature, _, types = line.partition(" : ")
            given, _, result = signature.partition("->")
            for t in GROUPS.get(types, types).split() or [""]:
                arguments = tuple(t if a == "T" else a for a in given.split())
                dtype = DTYPES[t if result.strip() == "T" else result.strip()]
                yield Case(path.stem, name, source.rstrip("\n"), arguments, dtype, options)


def parse_option(line: str) -> tuple[str, str]:
    key, _, value = line[1:].partition(":")
    return key.strip(), value.strip()


@functools.cache
def load() -> tuple[Case, ...]:
    """Return every case."""
    return tuple(case for path in sorted(DIRECTORY.glob("*.mex")) for case in cases_of(path))


def running() -> list[Case]:
    """Return the cases that give a result."""
    return [case for case in load() if "fails" not in case.options]


def failing() -> list[Case]:
    """Return the cases that end in a run-time error."""
    return [case for case in load() if "fails" in case.options]


@functools.cache
def library() -> Library:
    """Return the native code of every case."""
    with tempfile.TemporaryDirectory() as directory:
        functions = [case.specialisation.result.function for case in load()]
        return Library(functions, Path(directory), QUICK)
