"""C text of the helpers that rows of the op table name, one template for each dtype kind.

Integers never meet C's own ``/ % << >>`` or unary minus where those trap or are undefined.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from mexdask import ir
from mexdask.backend import vmath
from mexdask.backend.cexpr import Names
from mexdask.dtypes import NATIVE

ROW_BY_C = {row.c: dtype for dtype, row in NATIVE.items()}
# Begins with a literal, by which ``re`` skips what cannot match.
HELPER = re.compile(r"me_([a-z0-9]+(?:_[iu]{2})?)(?:_([biuf]\d+))?\(")
LIBM = {
    "tgamma": "{0} {1}({0});",
    "nextafter": "{0} {1}({0}, {0});",
    "ldexp": "{0} {1}({0}, int);",
    "lgamma_r": "{0} {1}({0}, int *);",
}
LIBM_CALL = re.compile(rf"\b({'|'.join(LIBM)})(f?)\(")

GENERIC: dict[tuple[str, str], str] = {
    ("square", "iuf"): "{n} me_square_{n}({n} a) {{ return ({n})(a * a); }}",
    ("abs", "i"): "{n} me_abs_{n}({n} a) {{ return a < 0 ? ({n})(0 - ({u})a) : a; }}",
    ("floordiv", "i"): """\
{n} me_floordiv_{n}({n} a, {n} b) {{
    if (b == 0) return 0;
    if (b == -1) return ({n})(0 - ({u})a);
    {n} q = ({n})(a / b);
    return ({n})(q - ((a % b != 0) & ((a < 0) != (b < 0))));
}}""",
    ("floordiv", "u"): "{n} me_floordiv_{n}({n} a, {n} b) {{ return b == 0 ? 0 : ({n})(a / b); }}",
    ("mod", "i"): """\
{n} me_mod_{n}({n} a, {n} b) {{
    if (b == 0 || b == -1) return 0;
    {n} r = ({n})(a % b);
    return r != 0 && (r < 0) != (b < 0) ? ({n})(r + b) : r;
}}""",
    ("mod", "u"): "{n} me_mod_{n}({n} a, {n} b) {{ return b == 0 ? 0 : ({n})(a % b); }}",
    ("fmod", "i"): """\
{n} me_fmod_{n}({n} a, {n} b) {{ return b == 0 || b == -1 ? 0 : ({n})(a % b); }}""",
    ("fmod", "u"): "{n} me_fmod_{n}({n} a, {n} b) {{ return b == 0 ? 0 : ({n})(a % b); }}",
    ("ipow", "iu"): """\
{n} me_ipow_{n}({n} a, {n} b) {{
    u64 r = 1, x = (u64)a;
    for ({u} left = b > 0 ? ({u})b : 0; left; left = ({u})(left >> 1)) {{
        if (left & 1) r *= x;
        x *= x;
    }}
    return ({n})r;
}}""",
    ("shl", "iu"): """\
{n} me_shl_{n}({n} a, {n} b) {{ return ({u})b < {bits} ? ({n})((u64)a << b) : 0; }}""",
    ("shr", "i"): """\
{n} me_shr_{n}({n} a, {n} b) {{ return ({n})(a >> (({u})b < {bits} ? b : {bits} - 1)); }}""",
    ("shr", "u"): "{n} me_shr_{n}({n} a, {n} b) {{ return b < {bits} ? ({n})(a >> b) : 0; }}",
    ("sign", "i"): "{n} me_sign_{n}({n} a) {{ return ({n})((a > 0) - (a < 0)); }}",
    ("sign", "u"): "{n} me_sign_{n}({n} a) {{ return a > 0; }}",
    ("sign", "f"): """\
{n} me_sign_{n}({n} a) {{ return a > 0 ? 1 : a < 0 ? -1 : a == 0 ? 0 : a; }}""",
    ("maximum", "biu"): "{n} me_maximum_{n}({n} a, {n} b) {{ return a > b ? a : b; }}",
    ("minimum", "biu"): "{n} me_minimum_{n}({n} a, {n} b) {{ return a < b ? a : b; }}",
    ("maximum", "f"): "{n} me_maximum_{n}({n} a, {n} b) {{ return (a > b) | (a != a) ? a : b; }}",
    ("minimum", "f"): "{n} me_minimum_{n}({n} a, {n} b) {{ return (a < b) | (a != a) ? a : b; }}",
    ("fmax", "f"): "{n} me_fmax_{n}({n} a, {n} b) {{ return (a > b) | (b != b) ? a : b; }}",
    ("fmin", "f"): "{n} me_fmin_{n}({n} a, {n} b) {{ return (a < b) | (b != b) ? a : b; }}",
    ("fdim", "f"): "{n} me_fdim_{n}({n} a, {n} b) {{ return a <= b ? 0 : a - b; }}",
    ("heaviside", "f"): """\
{n} me_heaviside_{n}({n} a, {n} b) {{ return a == 0 ? b : a != a ? a : a > 0; }}""",
    ("toi64", "f"): """\
i64 me_toi64_{n}({n} a) {{
    return a >= ({n})-0x1p63 && a < ({n})0x1p63 ? (i64)a : -0x7fffffffffffffffLL - 1;
}}""",
    ("tou64", "f"): """\
u64 me_tou64_{n}({n} a) {{
    if (a >= ({n})0x1p63 && a < ({n})0x1p64) return (u64)(i64)(a - ({n})0x1p63) + (1ULL << 63);
    return (u64)me_toi64_{n}(a);
}}""",
    ("opaque", "f"): """\
{n} me_opaque_{n}({n} a) {{
#if defined(__GNUC__) && !defined(__clang__)
#if defined(__SSE2__)
    __asm__("" : "+x"(a));
#else
#if defined(__aarch64__)
    __asm__("" : "+w"(a));
#else
    __asm__("" : "+m"(a));
#endif
#endif
#endif
    return a;
}}""",
    ("ldexp", "f"): """\
{n} me_ldexp_{n}({n} a, i64 b) {{
    return ldexp{s}(a, (int)(b < -5000 ? -5000 : b > 5000 ? 5000 : b));
}}""",
}

SINGLE: dict[str, str] = {
    "lt_iu": "b8 me_lt_iu(i64 a, u64 b) { return a < 0 || (u64)a < b; }",
    "le_iu": "b8 me_le_iu(i64 a, u64 b) { return a < 0 || (u64)a <= b; }",
    "gt_iu": "b8 me_gt_iu(i64 a, u64 b) { return a > 0 && (u64)a > b; }",
    "ge_iu": "b8 me_ge_iu(i64 a, u64 b) { return a >= 0 && (u64)a >= b; }",
    "eq_iu": "b8 me_eq_iu(i64 a, u64 b) { return a >= 0 && (u64)a == b; }",
    "ne_iu": "b8 me_ne_iu(i64 a, u64 b) { return a < 0 || (u64)a != b; }",
    "lt_ui": "b8 me_lt_ui(u64 a, i64 b) { return b > 0 && a < (u64)b; }",
    "le_ui": "b8 me_le_ui(u64 a, i64 b) { return b >= 0 && a <= (u64)b; }",
    "gt_ui": "b8 me_gt_ui(u64 a, i64 b) { return b < 0 || a > (u64)b; }",
    "ge_ui": "b8 me_ge_ui(u64 a, i64 b) { return b < 0 || a >= (u64)b; }",
    "eq_ui": "b8 me_eq_ui(u64 a, i64 b) { return b >= 0 && a == (u64)b; }",
    "ne_ui": "b8 me_ne_ui(u64 a, i64 b) { return b < 0 || a != (u64)b; }",
    "lgamma": "f64 me_lgamma(f64 a) { int sign; return lgamma_r(a, &sign); }",
    "trips": """\
u64 me_trips(i64 start, i64 stop, i64 step) {
    if (step > 0 && start < stop)
        return ((u64)stop - (u64)start - 1) / (u64)step + 1;
    if (step < 0 && start > stop)
        return ((u64)start - (u64)stop - 1) / (0 - (u64)step) + 1;
    return 0;
}""",
}


def helpers(text: str, width: int = 0) -> str:
    """Return the definitions of all that C text calls, callees first: helpers, vector math, libm.

    Parameters
    ----------
    text : str
        C without definitions of its own.
    width : int
        Bytes of a vector, for vector math.
    """
    order: dict[str, str] = {}
    collect(text, order)
    own = "".join(f"static inline {body}\n" for body in order.values())
    return prototypes(text + own) + vmath.definitions(text + own, width) + own


def before_loop(assigned: Iterable[ir.Var], names: Names, indent: str) -> list[str]:
    """Return the lines in front of a loop that keep from the compiler what its floats are.

    GCC 12 takes ``v = c ? A : v`` in a loop for the larger of A and the constant that v was before,
    and loses nans and the signs of zeros. What it does not know to be a constant it computes right.
    """
    floats = dict.fromkeys(v for v in assigned if v.dtype.kind == "f")
    return [f"{indent}{names[v]} = me_opaque_{NATIVE[v.dtype].c}({names[v]});" for v in floats]


def collect(text: str, order: dict[str, str]) -> None:
    """Add the helpers that a text calls, after those that they call themselves."""
    for match in HELPER.finditer(text):
        call = match[0]
        if call in order:
            continue
        definition = helper(match[1], match[2])
        body = definition.split("{", 1)[1]
        collect(body, order)
        order[call] = definition


def helper(stem: str, c_type: str | None) -> str:
    """Return the definition of one helper."""
    if c_type is None:
        return SINGLE[stem]
    dtype = ROW_BY_C[c_type]
    template = next(
        text for (name, kinds), text in GENERIC.items() if name == stem and dtype.kind in kinds
    )
    unsigned = "u" + c_type[1:]
    suffix = "f" if dtype == np.float32 else ""
    return template.format(n=c_type, u=unsigned, s=suffix, bits=8 * dtype.itemsize)


def prototypes(text: str) -> str:
    """Return declarations of the libm functions that C text calls: no header is ever included."""
    if not any(stem in text for stem in LIBM):
        return ""
    found = {
        stem + suffix: LIBM[stem].format("f32" if suffix else "f64", stem + suffix)
        for stem, suffix in LIBM_CALL.findall(text)
    }
    return "".join(f"{found[name]}\n" for name in sorted(found))
