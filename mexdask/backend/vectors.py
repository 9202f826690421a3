"""C text around lanes: vector types, selection under a mask, the test for lanes, what is rare."""

from __future__ import annotations

import numpy as np

from mexdask.backend.cexpr import c_type
from mexdask.backend.layout import Gang
from mexdask.backend.predicate import MaskedFunction
from mexdask.backend.vmath.primitives import any_test
from mexdask.dtypes import BOOL, NATIVE


def vector(dtype: np.dtype) -> str:
    """Return the C type of one vector of a dtype; bools are masks."""
    return "vm" if dtype == BOOL else f"v{c_type(dtype)}"


def signed(dtype: np.dtype) -> str:
    """Return the C type of the vector of signed integers as wide as a dtype's."""
    return f"vi{8 * dtype.itemsize}"


NOTE_FAILED = """\
static __attribute__((noinline, cold)) void note_failed(int *failed, vm out, int site)
{
    for (int l = 0; l < LANES; ++l)
        if (out[l] && !failed[l]) failed[l] = site;
}
"""

FAR = """\
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" // what stands far is read where it was set
#endif
#define FAR (-0x7fffffff - 1)
#define NEAR(x) ((x) == (i32)(x) ? (i32)(x) : FAR)
static __attribute__((noinline, cold)) void keep_far(i64 *to, i64 value, vm m)
{
    for (int l = 0; l < LANES; ++l)
        if (m[l]) to[l] = value;
}
static __attribute__((noinline, cold, unused)) void copy_far(i64 *to, const i64 *from, vm m)
{
    for (int l = 0; l < LANES; ++l)
        if (m[l]) to[l] = from[l];
}
static __attribute__((noinline, cold)) void fill_far(i64 *all, const i64 *from)
{
    for (int l = 0; l < LANES; ++l)
        if (all[l] == FAR) all[l] = from[l];
}
static inline vi64 full(vi32 near, const i64 *from, int far)
{
    vi64 all = __builtin_convertvector(near, vi64);
    if (__builtin_expect(far, 0)) fill_far((i64 *)&all, from);
    return all;
}
"""


def vector_types(plan: Gang, masked: MaskedFunction, text: str) -> str:
    """Return the vector types that a text names, selection under a mask, the test for lanes."""
    mask = plan.lanes * plan.mask.itemsize
    support = any_test("static inline int any_lane(vm m)", mask) + "\n"
    if plan.cells:
        support += FAR
    if masked.function.sites:
        support += NOTE_FAILED
    selects = [select(d, plan) for d in NATIVE if f"sel_{c_type(d)}(" in text + support]
    text = "".join(selects) + support + text
    lines = []
    for d in NATIVE:
        size = f"vector_size({plan.lanes * d.itemsize})"
        if d != BOOL and (d == plan.mask or f"v{c_type(d)}" in text):
            lines.append(f"typedef {c_type(d)} v{c_type(d)} __attribute__(({size}));\n")
        if d != BOOL and f"w{c_type(d)} " in text:
            loose = f"{size}, aligned(1), may_alias"
            lines.append(f"typedef {c_type(d)} w{c_type(d)} __attribute__(({loose}));\n")
    lines.append(f"typedef v{c_type(plan.mask)} vm;\n")
    return "".join([*lines, *selects, support]).replace("LANES", str(plan.lanes))


def select(d: np.dtype, plan: Gang) -> str:
    """Return the selection between vectors of a dtype."""
    if d == BOOL:
        return "static inline vm sel_b8(vm m, vm a, vm b) { return (m & a) | (~m & b); }\n"
    v, i = vector(d), signed(d)
    mask = "m" if d.itemsize == plan.mask.itemsize else f"__builtin_convertvector(m, {i})"
    return (
        f"static inline {v} sel_{c_type(d)}(vm m, {v} a, {v} b)\n"
        f"{{ {i} k = ({i}){mask}; return ({v})((k & ({i})a) | (~k & ({i})b)); }}\n"
    )
