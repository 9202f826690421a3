"""C text that reduces a buffer of results into a record of partial results.

The record's words are those of ``reductions``: value, rest, count. A float sum runs in float64: 32
columns of at most 4 terms, which every vector width holds, added up pairwise (Higham, The accuracy
of floating point summation, 1993); the buffers' sums are added with Neumaier's compensation
(Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen, 1974).
Extremes are taken in 32 columns too; -0.0 is smaller than 0.0 wherever the two stand.
"""

from __future__ import annotations

import numpy as np

from mexdask import ir
from mexdask.backend.cexpr import c_type
from mexdask.reductions import REDUCTIONS, Reduction

BUFFER = 1024
"""Elements that are computed before they are reduced: a few kilobytes of each result."""

WORD = "typedef union { f64 f; i64 i; u64 u; } me_word;\n"

OF_FLOATS = """\
    f64 part[256];
    i64 k = 0, taken = 0;
    for (; k + 128 <= n; k += 128) {{
        f64 *column = part + k / 4;
        for (int l = 0; l < 32; ++l) {{
            const f64 w = b[k + l], x = b[k + 32 + l], y = b[k + 64 + l], z = b[k + 96 + l];
            column[l] = ({w} {op} {x}) {op} ({y} {op} {z});
            {count4}
        }}
    }}
    for (i64 l = k / 4; l < 256; ++l) part[l] = {start};
    for (; k + 32 <= n; k += 32) {{
        f64 *column = part + k / 128 * 32;
        for (int l = 0; l < 32; ++l) {{ const f64 x = b[k + l]; column[l] {step}; {count} }}
    }}
    for (f64 *column = part + k / 128 * 32; k < n; ++k) {{
        const f64 x = b[k]; column[k % 32] {step}; {count}
    }}
    for (int w = 128; w; w /= 2)
        for (int l = 0; l < w; ++l) part[l] {join} part[l + w];
"""
COMPENSATED = """\
    const f64 old = r[0].f, sum = old + part[0];
    const f64 lost = __builtin_fabs(old) >= __builtin_fabs(part[0])
        ? (old - sum) + part[0] : (part[0] - sum) + old;
    r[0].f = sum;
    if (__builtin_isfinite(sum)) r[1].f += lost;
"""
INTEGERS = """\
    u64 value = r[0].u;
    const i64 taken = n;
    for (i64 k = 0; k < n; ++k) value {step} (u64)b[k];
    r[0].u = value;
"""
TRUTH = """\
    u{bits} value = (u{bits})r[0].i;
    const i64 taken = n;
    for (i64 k = 0; k < n; ++k) value {step} b[k] != 0;
    r[0].i = (i64)value;
"""
EXTREME = """\
    {t} best[32];{nans}
    i64 k = 0, taken = n;
    for (int l = 0; l < 32; ++l) best[l] = {worst};
    for (; k + 32 <= n; k += 32)
        for (int l = 0; l < 32; ++l) {{
            const {t} x = b[k + l];
            best[l] = x {better} best[l] ? x : best[l];{count}
        }}
    for (int l = 0; k < n; ++k) {{
        const {t} x = b[k];
        best[l] = x {better} best[l] ? x : best[l];{count}
    }}
    for (int l = 1; l < 32; ++l) {{
        best[0] = best[l] {better} best[0] ? best[l] : best[0];{join}
    }}
{unload}
    r[1].f += (f64)n;
"""
# A comparison knows no order of zeros. Where they are what is found, another look tells.
EXTREME_OF_FLOATS = """\
    {t} found = best[0];
    if (found == 0) {{
        int has = 0;
        for (k = 0; k < n; ++k) has |= (b[k] == 0) & {is_wanted}__builtin_signbit(b[k]);
        found = has ? {zero} : {other_zero};
    }}
    const i64 mine = found {better} r[0].f
        || (found == r[0].f && __builtin_signbit({negative}));
{left_out}    if (taken && (!r[2].i || mine)) r[0].f = found;"""


def reducer_name(function: ir.Function, number: int) -> str:
    """Return the name of the C function of one reduction; equal ones share it."""
    row, dtype = REDUCTIONS[function.reductions[number].name], function.results[number]
    kind = "mean" if row.is_mean and dtype.kind != "f" else row.merge
    nan = "_nan" if row.skips_nan and dtype.kind == "f" else ""
    return f"me_reduce_{kind}{nan}_{c_type(dtype)}"


def reducer(function: ir.Function) -> str:
    """Return the C functions that a reducing stage calls."""
    found = {}
    for number, (reduced, dtype) in enumerate(
        zip(function.reductions, function.results, strict=True)
    ):
        name = reducer_name(function, number)
        body = reducer_body(REDUCTIONS[reduced.name], dtype)
        head = f"static void {name}(const {c_type(dtype)} *b, i64 n, me_word *r)"
        found[name] = f"{head}\n{{\n{body}    r[2].i += taken;\n}}\n"
    return WORD + "".join(found.values())


def reducer_body(row: Reduction, dtype: np.dtype) -> str:
    """Return the statements that reduce ``n`` elements at ``b`` into the record ``r``."""
    skips = row.skips_nan and dtype.kind == "f"
    if row.merge in ("any", "all"):
        return TRUTH.format(step="|=" if row.merge == "any" else "&=", bits=8 * dtype.itemsize)
    if row.merge in ("min", "max"):
        return extreme(row.merge, dtype, skips)
    in_floats = dtype.kind == "f" or row.is_mean
    if not in_floats:
        return INTEGERS.format(step="+=" if row.merge == "sum" else "*=")
    if row.merge == "sum":
        step = "+= x == x ? x : 0" if skips else "+= x"
        count = "taken += x == x;" if skips else ""
        body = of_floats("+", "0", step, count, skips)
        return body + COMPENSATED + ("" if skips else "    taken = n;\n")
    body = of_floats("*", "1", "*= x", "", False)
    return body + "    r[0].f *= part[0];\n    taken = n;\n"


def of_floats(op: str, start: str, step: str, count: str, skips: bool) -> str:
    """Return the statements that sum up or multiply the buffer into ``part[0]``."""
    each = {v: f"({v} == {v} ? {v} : 0)" if skips else v for v in "wxyz"}
    count4 = "taken += (w == w) + (x == x) + (y == y) + (z == z);" if skips else ""
    return OF_FLOATS.format(
        op=op, start=start, step=step, count=count, join=f"{op}=", count4=count4, **each
    )


def extreme(merge: str, dtype: np.dtype, skips: bool) -> str:
    """Return the statements for the smallest or largest element."""
    least = merge == "min"
    better = "<" if least else ">"
    if dtype.kind != "f":
        word = "u" if dtype.kind == "u" else "i"
        unload = f"    if (!r[2].i || best[0] {better} r[0].{word}) r[0].{word} = best[0];"
        t = c_type(dtype) if dtype.kind != "b" else "u8"
        return EXTREME.format(t=t, worst="b[0]", better=better, unload=unload,
                              nans="", count="", join="")  # fmt: skip
    zeros = ("-0.0", "0.0") if least else ("0.0", "-0.0")
    unload = EXTREME_OF_FLOATS.format(
        t=c_type(dtype), better=better, zero=zeros[0], other_zero=zeros[1],
        is_wanted="!!" if least else "!", negative="found" if least else "r[0].f",
        left_out="    taken -= nans[0];\n" if skips else "",
    )  # fmt: skip
    if not skips:
        unload += '\n    if (nans[0]) r[0].f = __builtin_nan("");'
    # Counted in integers as wide, which the same vectors hold.
    return EXTREME.format(
        t=c_type(dtype), worst=f"{'' if least else '-'}__builtin_inf()", better=better,
        nans=f"\n    i{8 * dtype.itemsize} nans[32] = {{0}};",
        count="\n            nans[l] += x != x;", join="\n        nans[0] += nans[l];",
        unload=unload,
    )  # fmt: skip
