"""From one source to definitions in C: for one lane, or for the lanes of a vector."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mexdask.backend.vmath import (
    exponential,
    inverse,
    logarithm,
    power,
    primitives,
    remainder,
    special,
    trigonometric,
)
from mexdask.backend.vmath.abreast import abreast
from mexdask.backend.vmath.coefficients import COEFFICIENTS

SOURCES: Mapping[tuple[str, str], str] = {
    **exponential.SOURCES,
    **inverse.SOURCES,
    **logarithm.SOURCES,
    **power.SOURCES,
    **remainder.SOURCES,
    **special.SOURCES,
    **trigonometric.SOURCES,
}
INLINED = frozenset("exp log sin cos".split())
"""Functions that callers take in, on vectors: short ones, and sine and cosine share their work."""
SHARED = frozenset("logsum halfexp farlane farreduce".split())
"""Functions that only others call."""
REMAINDERS = frozenset(name for name, _ in remainder.SOURCES)
"""Functions that callers take in, as most divisors are constants, whose inverse they then know."""
ONE_BY_ONE = frozenset({"hypot", "logaddexp", *SHARED, *REMAINDERS})
"""Functions that are not computed for several vectors at once: measured, or not called on them."""
WIDE = frozenset({"sinwide", "coswide"})
"""Functions of float32 that take over where another of float32 ends."""
NAMES = frozenset({*primitives.VECTOR, *primitives.COMMON, "any", *WIDE, *(n for n, _ in SOURCES)})

SHUFFLES = "#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector)\n"
OUTLINED = "__attribute__((noinline, const))"
CALL = re.compile(r"vm_([a-z0-9]+)_(f32|f64)(?:x(\d+))?(?:_(\d))?\(")
NUMBER = re.compile(r"0x[0-9a-f]+\.?[0-9a-f]*p[+-]?\d+|\d+\.\d*(?:e[+-]?\d+)?", re.IGNORECASE)
POLYNOMIAL = re.compile(r"POLY\((\w+), (\w+)\)")
IDENTIFIER = re.compile(r"\b(ONE_)?([A-Za-z_]\w*)\b(\()?")


@dataclass(frozen=True, slots=True)
class Lanes:
    """What one instance works on.

    Parameters
    ----------
    c : {"f32", "f64"}
        The type of a lane.
    count : int
        Lanes; 1 is the scalar form.
    """

    c: str
    count: int

    @property
    def tag(self) -> str:
        """Return what tells an instance's names from another's."""
        return self.c if self.count == 1 else f"{self.c}x{self.count}"

    @property
    def bits(self) -> int:
        """Return the bits of a lane."""
        return int(self.c[1:])

    @property
    def size(self) -> int:
        """Return the bytes of all lanes."""
        return self.bits // 8 * self.count

    @property
    def words(self) -> dict[str, str]:
        """Return what the words of a source stand for."""
        several, wide = "" if self.count == 1 else f"x{self.count}", self.c == "f64"
        integer = f"i{self.bits}{several}"
        return {
            "F": self.tag, "I": integer, "M": integer, "U": f"u{self.bits}{several}", "S": self.c,
            "LANES": str(self.count), "MANTISSA": "52" if wide else "23",
            "BIAS": "1023" if wide else "127", "NAN": f'__builtin_nan{"" if wide else "f"}("")',
            "POSITIVE": "0x7fffffffffffffffLL" if wide else "0x7fffffff",
            "TRUE": "1" if self.count == 1 else "-1",
            "ROOT": "__builtin_sqrt" if wide else "__builtin_sqrtf",
            "UPPER": "-0x8000000LL" if wide else "-0x1000",
            "FUSED": "__builtin_fma" if wide else "__builtin_fmaf",
            "WHOLE": "0x1p52" if wide else "0x1p23f",
            "MAGIC": "0x1.8p52" if wide else "0x1.8p23f",
            "LEAST": "-0x1p51" if wide else "-0x1p22f",
            "LARGEST": "0x1.fffffffffffffp1023" if wide else "0x1.fffffep127f",
        }  # fmt: skip


def call(template: str, c_type: str, lanes: int) -> str:
    """Return a C template that calls scalar vector math, as one that calls it on vectors."""
    return template.replace("{n}", f"{c_type}x{lanes}")


def has_vectors(template: str) -> bool:
    """Tell whether the C text of an operator is a call of vector math."""
    return template.startswith("vm_")


def has_abreast(name: str, c_type: str) -> bool:
    """Tell whether a function's own text is there for several vectors at once."""
    return (name, c_type) in SOURCES and name not in ONE_BY_ONE


def vectors_abreast(call: str, ways: int, width: int) -> int:
    """Return how many vectors of ``ways`` one call of vector math takes at once.

    Four chains of steps are enough: float32 that is computed in float64 has two for each vector.

    Parameters
    ----------
    call : str
        On one vector, such as ``vm_exp_f64x8(...)``.
    ways : int
        Vectors that there are: 1, 2 or 4.
    width : int
        Bytes of the machine's vectors.
    """
    match = CALL.match(call)
    assert match is not None
    name, lanes = match[1], Lanes(match[2], int(match[3]))
    if has_abreast(name, lanes.c):
        return ways if lanes.size <= width else 1
    return min(ways, 2) if lanes.size == width and has_abreast(name + "short", "f64") else 1


def definitions(text: str, width: int = 0) -> str:
    """Return the definitions of all vector math that a C text calls, callees first.

    Parameters
    ----------
    text : str
        C with calls such as ``vm_exp_f64(x)`` or, on vectors of 8 lanes, ``vm_exp_f64x8(x)``.
    width : int
        Bytes of the machine's vectors: longer ones are computed piece by piece.
    """
    order: dict[str, str] = {}
    collect(text, width, order)
    if not order:
        return ""
    counts = sorted({int(m[3]) for m in map(CALL.match, order) if m and m[3]})
    types = "".join(map(vector_types, counts))
    return primitives.FENCE + types + "".join(f"{body}\n" for body in order.values())


def vector_types(count: int) -> str:
    """Return the vector types of a number of lanes."""
    return "".join(
        f"typedef {k}{bits} {k}{bits}x{count} __attribute__((vector_size({count * bits // 8})));\n"
        for bits in (32, 64)
        for k in "fiu"
    )


def collect(text: str, width: int, order: dict[str, str]) -> None:
    """Add the functions that a text calls, after those that they call themselves."""
    for match in CALL.finditer(text):
        if match[0] not in order:
            lanes = Lanes(match[2], int(match[3] or 1))
            order.update(needed(match[0], match[1], lanes, int(match[4] or 1), width))


@functools.cache
def needed(call: str, name: str, lanes: Lanes, count: int, width: int) -> dict[str, str]:
    """Return the definition of one function behind those that it calls itself, by their calls."""
    if count > 1 and (name, lanes.c) not in SOURCES:
        body = in_halves(name, lanes, count, width)
    else:
        body = definition(name, lanes, width)
        body = abreast(body, count) if count > 1 else body
    order: dict[str, str] = {}
    collect(body.replace(call, "(", 1), width, order)  # its own head is no call
    return order | {call: body}


def definition(name: str, lanes: Lanes, width: int) -> str:
    """Return the definition of one function for some lanes."""
    if name in primitives.COMMON:
        return instantiate(primitives.COMMON[name], lanes)
    if name == "any" and lanes.count > 1:
        return any_lane(lanes)
    if name == "widen":
        return primitives.widen(lanes.count)
    table = primitives.SCALAR if lanes.count == 1 else primitives.VECTOR
    if name in table:
        return instantiate(table[name], lanes)
    if (name, lanes.c) in SOURCES:
        return (
            in_halves(name, lanes, 1, width)
            if lanes.count > 1 and width < lanes.size
            else instantiate(outlined(name, SOURCES[name, lanes.c], lanes), lanes)
        )
    if lanes.count > 1 and width < 2 * lanes.size:
        return in_halves(name, lanes, 1, width)
    return by_float64(name, lanes)


def outlined(name: str, source: str, lanes: Lanes) -> str:
    """Return a source as one that is compiled once, not into each caller, unless that pays."""
    if name in SHARED | REMAINDERS or (name in INLINED and lanes.count > 1):
        return source
    return source.replace("inline", OUTLINED, 1)


def kind_of(name: str) -> str:
    """Return how a function is declared that only converts or splits for another."""
    return OUTLINED if name in WIDE else "inline"


def parameters(name: str, c_type: str) -> int:
    """Return how many numbers a function takes."""
    source = SOURCES.get((name, c_type)) or SOURCES[name + "short", "f64"]
    return source.partition(")")[0].count("F ") - 1


def in_halves(name: str, lanes: Lanes, vectors: int, width: int) -> str:
    """Return the function of some vectors that are longer than the machine's, all in two halves."""
    half, tag = Lanes(lanes.c, lanes.count // 2), lanes.tag
    given = [f"{n}_{v}" for n in range(parameters(name, lanes.c)) for v in range(vectors)]
    low = ", ".join(map(str, range(half.count)))
    high = ", ".join(map(str, range(half.count, lanes.count)))
    takes = [f"{tag} a{g}" for g in given]
    how, start, end = f"inline void vm_{name}_{tag}_{vectors}", "", ""
    if vectors == 1:
        how = f"{kind_of(name)} {tag} vm_{name}_{tag}"
        start, end = f"    {tag} r, *to0 = &r;\n", "    return r;\n"
    else:
        takes = [*(f"{tag} *to{v}" for v in range(vectors)), *takes]
    lines = [
        SHUFFLES,
        *(f"    {half.tag} l{g} = __builtin_shufflevector(a{g}, a{g}, {low});\n"
          f"    {half.tag} h{g} = __builtin_shufflevector(a{g}, a{g}, {high});\n" for g in given),
        "#else\n",
        *(f"    {half.tag} l{g}, h{g};\n"
          f"    __builtin_memcpy(&l{g}, &a{g}, sizeof l{g});\n"
          f"    __builtin_memcpy(&h{g}, (char *)&a{g} + sizeof l{g}, sizeof h{g});\n"
          for g in given),
        "#endif\n",
        halves(name, half, vectors, width),
        SHUFFLES,
        *(f"    *to{v} = __builtin_shufflevector(y{v}l, y{v}h, {low}, {high});\n"
          for v in range(vectors)),
        "#else\n",
        *(f"    __builtin_memcpy(to{v}, &y{v}l, sizeof y{v}l);\n"
          f"    __builtin_memcpy((char *)to{v} + sizeof y{v}l, &y{v}h, sizeof y{v}h);\n"
          for v in range(vectors)),
        "#endif\n",
    ]  # fmt: skip
    return f"static {how}({', '.join(takes)})\n{{\n{start}{''.join(lines)}{end}}}"


def halves(name: str, half: Lanes, vectors: int, width: int) -> str:
    """Return the computation of halves such as ``y0l`` from arguments such as ``l0_0``."""
    count, kind = parameters(name, half.c), half.tag
    given = [f"{part}{n}_{v}" for n in range(count) for v in range(vectors) for part in "lh"]
    results = [f"y{v}{part}" for v in range(vectors) for part in "lh"]
    if half.size <= width and has_abreast(name, half.c):
        takes = ", ".join([*(f"&{y}" for y in results), *given])
        return f"    {kind} {', '.join(results)};\n    vm_{name}_{kind}_{2 * vectors}({takes});\n"
    wide = Lanes("f64", half.count)
    if half.c == "f32" and wide.size <= width and has_abreast(name + "short", "f64"):
        takes = ", ".join([*(f"&w{y}" for y in results), *(f"vm_widen_{kind}({g})" for g in given)])
        return (
            f"    {wide.tag} {', '.join(f'w{y}' for y in results)};\n"
            f"    vm_{name}short_{wide.tag}_{2 * vectors}({takes});\n"
        ) + "".join(f"    {kind} {y} = __builtin_convertvector(w{y}, {kind});\n" for y in results)
    return "".join(
        f"    {kind} y{v}{part} = vm_{name}_{kind}("
        f"{', '.join(f'{part}{n}_{v}' for n in range(count))});\n"
        for v in range(vectors)
        for part in "lh"
    )


def by_float64(name: str, lanes: Lanes) -> str:
    """Return a float32 function that computes in float64, where short polynomials are enough."""
    wide, count = Lanes("f64", lanes.count), parameters(name, lanes.c)
    convert = "(f32){0}" if lanes.count == 1 else "__builtin_convertvector({0}, {1})"
    arguments = ", ".join(f"vm_widen_{lanes.tag}(a{n})" for n in range(count))
    value = convert.format(f"vm_{name}short_{wide.tag}({arguments})", lanes.tag)
    declared = ", ".join(f"{lanes.tag} a{n}" for n in range(count))
    head = f"static {kind_of(name)} {lanes.tag} vm_{name}_{lanes.tag}({declared})"
    return f"{head} {{ return {value}; }}"


def any_lane(lanes: Lanes) -> str:
    """Return the test whether a mask has a lane that is set."""
    integer = lanes.words["I"]
    return primitives.any_test(f"static inline int vm_any_{lanes.tag}({integer} m)", lanes.size)


def instantiate(source: str, lanes: Lanes) -> str:
    """Return a source with its words replaced."""
    text = POLYNOMIAL.sub(lambda m: polynomial(m[1], COEFFICIENTS[m[2]].split()), source)
    if lanes.c == "f32":
        text = NUMBER.sub(r"\g<0>f", text)
    words = lanes.words

    def replaced(match: re.Match[str]) -> str:
        one, word, call = match.groups()
        if word in NAMES and call:
            return f"vm_{word}_{lanes.c if one else lanes.tag}("
        return words.get(word, match[0].removesuffix("(")) + (call or "")

    return IDENTIFIER.sub(replaced, text)


def polynomial(x: str, coefficients: list[str]) -> str:
    """Return a polynomial as C: even and odd powers apart, two chains that run side by side."""
    if len(coefficients) < 4:
        return horner(x, coefficients)
    square = f"({x} * {x})"
    return f"({horner(square, coefficients[::2])} + {x} * {horner(square, coefficients[1::2])})"


def horner(x: str, coefficients: list[str]) -> str:
    """Return a polynomial by Horner's rule."""
    *rest, last = coefficients
    text = f"({last})"
    for c in reversed(rest):
        text = f"({c} + {x} * {text})"
    return text
