"""Vectors of integers where no machine has an instruction: division, shifts, conversion.

From floats to integers, and from integers to the exponents of floats.
"""

from __future__ import annotations

import re

import numpy as np

from mexdask.backend.cexpr import c_literal, c_type

MAGIC = "0x1.8p52"
MAGIC_BITS = "0x4338000000000000LL"
"""Its bits plus a whole number of less than 52 bits are those of the float that is both's sum."""

# A float64 holds both operands exactly, and a quotient that is not whole is further from the next
# whole number than rounding can move it. So the whole number next to x / y, or the one below, is
# the answer; which it is, the remainder tells, and that is exact too. Sums with MAGIC go through
# the bits, where no mode of floating-point arithmetic can cancel them.
DIVISION = """\
static inline {v} {name}({v} a, {v} b)
{{
{narrow}    const xi64 magic = {bits} - (xi64){{0}};
    xf64 x = {x}, y = {y};
    const xi64 none = (xi64)(y == 0);
    y = (xf64)((xi64)y | (none & (xi64)(1.0 - (xf64){{0}})));
    xi64 whole = (xi64)({quotient} + {magic}) - magic;
    const xf64 r = x - ((xf64)(whole + magic) - {magic}) * y;
    const xi64 below = (xi64)(r != 0) & ((xi64)(r < 0) ^ (xi64)(y < 0));
    {result}
    return {back};
}}
"""
QUOTIENT = "whole = (whole + below) & ~none;"
REMAINDER = """\
whole = ((xi64)(r + (xf64)(below & (xi64)y) + 0x1.8p52) - magic) & ~none;"""
WIDE = """\
    const xi64 far = (xi64)((xu64)(a + {half}) >> 51 | (xu64)(b + {half}) >> 51) != 0;
    if (__builtin_expect(any_wide(far), 0)) return {each}(a, b);
"""


HALVES = """\
static inline {v} {name}({v} a, {v} b)
{{
    {x} p[2], q[2];
    __builtin_memcpy(p, &a, sizeof p);
    __builtin_memcpy(q, &b, sizeof q);
    p[0] = {name}_half(p[0], q[0]);
    p[1] = {name}_half(p[1], q[1]);
    __builtin_memcpy(&a, p, sizeof p);
    return a;
}}
"""


def division(
    name: str, symbol: str, dtype: np.dtype, each: str, lanes: int, mask: int, *, constant: bool
) -> str:
    """Return the C function of floor division, or of its remainder, for vectors of 4 or 8 bytes.

    Parameters
    ----------
    name : str
        Of the function.
    symbol : {"//", "%"}
        The operator.
    dtype : numpy.dtype
        Of both operands.
    each : str
        The function that goes lane by lane, for operands of more than 51 bits.
    lanes : int
        Of a vector.
    mask : int
        Bytes of a mask's lane; where it is 4, vectors of float64 do not fit a register, and halves
        of 32-bit operands are divided one after the other.
    constant : bool
        Whether the divisor is a constant, whose reciprocal is close enough: no quotient is so large
        that it would be wrong by one.
    """
    c = c_type(dtype)
    halves = mask == dtype.itemsize == 4
    own, x_lanes = f"v{c}", lanes // 2 if halves else lanes
    v = f"x{c}"
    types = "".join(
        f"typedef {k}64 x{k}64 __attribute__((vector_size({8 * x_lanes})));\n" for k in "iuf"
    )
    if dtype.itemsize == 4:
        types += f"typedef {c} {v} __attribute__((vector_size({4 * x_lanes})));\n"
        x, y = (f"__builtin_convertvector({side}, xf64)" for side in "ab")
        back, narrow = f"__builtin_convertvector(whole, {v})", ""
    else:
        x, y = (f"(xf64)((xi64){side} + magic) - {MAGIC}" for side in "ab")
        back = f"({v})whole"
        half = "0x4000000000000LL" if dtype.kind == "i" else "0"
        narrow = WIDE.format(half=half, each=each)
    text = DIVISION.format(
        v=v, name=f"{name}_half" if halves else name, narrow=narrow,
        quotient="x * (1.0 / y)" if constant else "x / y",
        bits=MAGIC_BITS, magic=MAGIC, x=x, y=y, back=back,
        result=QUOTIENT if symbol == "//" else REMAINDER,
    )  # fmt: skip
    text = types + text + (HALVES.format(v=own, x=v, name=name) if halves else "")
    return re.sub(r"\bx([iuf]\d+)\b", rf"x{x_lanes}\1", text)


def by_constant(name: str, symbol: str, divisor: int, dtype: np.dtype) -> str:
    """Return the C function of division of 4-byte integers by a constant other than 0 and -1.

    Compilers multiply by its reciprocal, if the text holds it as a number.
    """
    v, n = f"v{c_type(dtype)}", c_literal(divisor, dtype)
    head = f"static inline {v} {name}({v} a)\n{{\n"
    if dtype.kind == "u":
        return f"{head}    return a {symbol[0]} {n};\n}}\n"
    below = f"rest {'<' if divisor > 0 else '>'} 0"
    result = f"whole + ({below})" if symbol == "//" else f"rest + ({n} & ({below}))"
    return (
        f"{head}    const {v} whole = a / {n}, rest = a - whole * {n};\n    return {result};\n}}\n"
    )


def shift(name: str, symbol: str, dtype: np.dtype) -> str:
    """Return the C function of a shift by as many bits as each lane of ``b`` says."""
    v, bits = f"v{c_type(dtype)}", 8 * dtype.itemsize
    unsigned = f"vu{bits}"
    head = f"static inline {v} {name}({v} a, {v} b)\n{{\n"
    within = f"    const {unsigned} k = ({unsigned})(({unsigned})b < {bits});\n"
    if symbol == ">>" and dtype.kind == "i":
        return (
            f"{head}{within}    const {unsigned} n = (({unsigned})b & k) | (~k & {bits - 1});\n"
            f"    return a >> ({v})n;\n}}\n"
        )
    return (
        f"{head}{within}"
        f"    return ({v})((({unsigned})a {symbol} (({unsigned})b & {bits - 1})) & k);\n}}\n"
    )


def from_float(name: str, source: np.dtype, dtype: np.dtype) -> str:
    """Return the C function of a float as int64, INT64_MIN where it does not fit, then as dtype.

    What fits uint64 alone is brought down by 2**63 first, which only flips the highest bit.
    """
    f, v = c_type(source), f"v{c_type(dtype)}"
    mask = "vi64" if source.itemsize == 8 else "vi32"
    s = "" if source.itemsize == 8 else "f"
    wide = "__builtin_convertvector({0}, vi64)" if s else "{0}"
    back = f"({v})whole" if dtype.itemsize == 8 else f"__builtin_convertvector(whole, {v})"
    down = up = ""
    if dtype == np.uint64:
        down = (
            f"    const {mask} high = ({mask})(a >= 0x1p63{s}) & ({mask})(a < 0x1p64{s});\n"
            f"    a -= (v{f})(high & ({mask})(0x1p63{s} - (v{f}){{0}}));\n"
        )
        up = f"    whole ^= {wide.format('high')} & (-0x7fffffffffffffffLL - 1);\n"
    return (
        f"static inline {v} {name}(v{f} a)\n{{\n{down}"
        f"    const {mask} fits = ({mask})(a >= -0x1p63{s}) & ({mask})(a < 0x1p63{s});\n"
        f"    vi64 whole = __builtin_convertvector((v{f})(({mask})a & fits), vi64);\n"
        f"    const vi64 all = {wide.format('fits')};\n"
        "    whole = (whole & all) | (~all & (-0x7fffffffffffffffLL - 1));\n"
        f"{up}    return {back};\n}}\n"
    )


# Each step brings the exponent nearer to what a normal number can have. One that goes down leaves
# room for all digits, so that only the last product rounds, or all is lost anyway.
LDEXP = """\
static inline {v} {name}({v} a, {w} by)
{{
    const {w} low = ({w})(by < -5000), high = ({w})(by > 5000);
    {i} n = __builtin_convertvector((by & ~(low | high)) | (low & -5000) | (high & 5000), {i});
    for (int step = 0; step < 2; ++step) {{
        const {i} up = ({i})(n > {most}), down = ({i})(n < {least});
        a *= ({v})((((up & {most}) + (down & {lower})) + {most}) << {digits});
        n -= (up & {most}) + (down & {lower});
    }}
    const {i} up = ({i})(n > {most}), down = ({i})(n < {least});
    n = (n & ~(up | down)) | (up & {most}) | (down & {least});
    return a * ({v})((n + {most}) << {digits});
}}
"""


def power_of_two(name: str, dtype: np.dtype, exponent: np.dtype) -> str:
    """Return the C function of floats times powers of two, rounded once as libm's ``ldexp``."""
    info = np.finfo(dtype)
    least = int(info.minexp)
    return LDEXP.format(
        name=name, v=f"v{c_type(dtype)}", w=f"v{c_type(exponent)}", i=f"vi{8 * dtype.itemsize}",
        most=1 - least, least=least, lower=least + info.nmant + 1, digits=info.nmant,
    )  # fmt: skip
