"""Expressions as C vectors: lane layout, vector types, masks, and functions lane by lane."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from mexdask import ir
from mexdask.backend import vmath
from mexdask.backend.cexpr import c_cast, c_expr, c_literal, c_type
from mexdask.backend.liveness import reads
from mexdask.backend.lockstep import in_lockstep, uniform_variables
from mexdask.backend.predicate import MaskedFunction
from mexdask.dtypes import BOOL, INT64, NATIVE

INT32 = np.dtype("int32")

MOST_REGISTERS = {64: 32, 32: 16, 16: 16}
VECTORISED_BY_COMPILER = frozenset(
    "sqrt floor ceil trunc rint round copysign sign heaviside".split()
)
"""Operators whose loop over lanes every compiler turns back into vector instructions."""


@dataclass(frozen=True)
class Gang:
    """How lanes are laid out.

    Parameters
    ----------
    lanes : int
        Of one vector of any dtype.
    ways : int
        Vectors that make one lane variable.
    mask : numpy.dtype
        Signed integer of the width that most of the kernel computes in.
    uniform : frozenset of Var
        Variables that hold one value for all lanes, and stay scalars.
    cells : frozenset of Var
        int64 variables that stand in lanes of 32 bits, which halves their registers and saves the
        conversion of masks. Those of their values that do not fit, which no kernel meets before
        its two billionth iteration, stand in an array beside them; the lane then holds ``FAR``.
    names : dict
        The C name of each variable; a vector's has the way's number behind it.
    """

    lanes: int
    ways: int
    mask: np.dtype
    uniform: frozenset[ir.Var]
    cells: frozenset[ir.Var]
    names: dict[ir.Var, str]

    @property
    def size(self) -> int:
        """Return the number of elements that one gang computes."""
        return self.lanes * self.ways

    def is_uniform(self, node: ir.Expr) -> bool:
        """Tell whether an expression has one value for all lanes."""
        return all(v in self.uniform for v in reads(node))


# The plan.


def gang_of(masked: MaskedFunction, width: int) -> Gang:
    """Choose the number of lanes by the dtype that loops compute in, and the ways by registers."""
    size = main_size(masked)
    names: dict[ir.Var, str] = {}
    for variable in variables(masked):
        names.setdefault(variable, f"v{len(names)}")
    uniform = uniform_variables(masked)
    busy = sum(
        1 for v in loop_variables(masked) if v not in uniform and not v.name.startswith("%m")
    )
    ways = 4 if 4 * busy <= MOST_REGISTERS[width] else 2 if busy <= MOST_REGISTERS[width] else 1
    cells = near_variables(masked, uniform) if size == 4 else frozenset[ir.Var]()
    return Gang(width // size, ways, np.dtype(f"i{size}"), uniform, cells, names)


def in_lanes(masked: MaskedFunction) -> MaskedFunction:
    """Return a function as the simd form computes it: the passes over masked IR, in order."""
    return in_lockstep(masked, uniform_variables(masked), main_size(masked))


def near_variables(masked: MaskedFunction, uniform: frozenset[ir.Var]) -> frozenset[ir.Var]:
    """Return the int64 variables whose values are all uniform, chosen constants or such variables.

    Their values are nearly always small: numbers of iterations, classes, flags.
    """
    sets = [n for n in ir.walk_masked(masked.body) if isinstance(n, ir.Set)]
    given = {p.var for p in masked.function.params}
    found = {n.target for n in sets if n.target.dtype == INT64} - uniform - given

    def near(value: ir.Expr) -> bool:
        if isinstance(value, ir.Select):
            return is_near(value.yes) and is_near(value.no)
        return value in found or all(v in uniform for v in reads(value))

    while far := {n.target for n in sets if n.target in found and not near(n.value)}:
        found -= far
    return frozenset(found)


def is_near(value: ir.Expr) -> bool:
    """Tell whether an expression is a constant that a lane of 32 bits holds."""
    return isinstance(value, ir.Const) and -(2**31) < int(value.value.real) < 2**31


def has_vector_math(masked: MaskedFunction, plan: Gang) -> bool:
    """Tell whether a function calls vector math on lanes."""
    return any(
        isinstance(part, ir.Apply)
        and not plan.is_uniform(part)
        and vmath.has_vectors(part.op.template(tuple(a.dtype for a in part.args)))
        for node in ir.walk_masked(masked.body)
        for expression in ir.masked_expressions(node)
        for part in ir.parts(expression)
    )


def loop_statements(masked: MaskedFunction) -> list[ir.Masked]:
    """Return the statements inside loops, each once."""
    loops = outer_loops(masked.body)
    return [node for loop in loops for node in ir.walk_masked(loop.body)]


def outer_loops(body: tuple[ir.Masked, ...]) -> Iterator[ir.Loop]:
    """Yield the loops that stand in no other."""
    for node in body:
        if isinstance(node, ir.Loop):
            yield node
        elif isinstance(node, ir.Guard):
            yield from outer_loops(node.body)


def loop_float_size(masked: MaskedFunction) -> int:
    """Return the item size of the widest float that is computed in loops, 0 if there is none."""
    sizes = [
        part.dtype.itemsize
        for node in loop_statements(masked)
        for expression in ir.masked_expressions(node)
        for part in ir.parts(expression)
        if part.dtype.kind == "f" and isinstance(part, (ir.Apply, ir.Select))
    ]
    return max(sizes, default=0)


def main_size(masked: MaskedFunction) -> int:
    """Return the item size that lanes are counted by: of the floats in loops, else the widest.

    At least 4, so that a mask's lane can hold its own number.
    """
    return loop_float_size(masked) or max(4, *(d.itemsize for d in masked.function.dtypes))


def lanewise_in_loops(masked: MaskedFunction, plan: Gang) -> list[str]:
    """Return the operators in loops, on lane variables, that have no vector form."""
    writer = Writer(plan)
    for node in loop_statements(masked):
        for expression in ir.masked_expressions(node):
            writer.vector(expression, 0)
    return sorted(writer.slow)


def variables(masked: MaskedFunction) -> Iterator[ir.Var]:
    """Yield every variable, parameters first, in order of appearance."""
    yield from (p.var for p in masked.function.params)
    yield from masked.function.indices
    yield masked.lanes
    for node in ir.walk_masked(masked.body):
        match node:
            case ir.Set(target, _, _) | ir.Mask(target, _, _):
                yield target
    yield from masked.results


def loop_variables(masked: MaskedFunction) -> frozenset[ir.Var]:
    """Return the variables that loops read, or set for good."""
    inside = loop_statements(masked)
    found = {v for node in inside for e in ir.masked_expressions(node) for v in reads(e)}
    return frozenset(found | {n.target for n in inside if isinstance(n, ir.Set) and n.mask is None})


# Vector types and what is done with masks.


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
    support = any_lane(plan.lanes * plan.mask.itemsize)
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


def any_lane(size: int) -> str:
    """Return the test whether a mask of ``size`` bytes has a live lane."""
    gcc = {
        64: ("__AVX512F__", "v8", "__builtin_ia32_ptestmq512(q, q, -1)"),
        32: ("__AVX__", "v4", "!__builtin_ia32_ptestz256(q, q)"),
        16: ("__SSE4_1__", "v2", "!__builtin_ia32_ptestz128(q, q)"),
    }
    feature, name, test = gcc[size]
    return (
        f"typedef long long {name}q __attribute__((vector_size({size})));\n"
        "static inline int any_lane(vm m)\n{\n"
        f"#if defined({feature}) && !defined(__clang__)\n"
        f"    {name}q q = ({name}q)m;\n    return {test};\n"
        "#else\n"
        "    u64 q[sizeof m / 8], r = 0;\n"
        "    __builtin_memcpy(q, &m, sizeof m);\n"
        "    for (unsigned k = 0; k < sizeof m / 8; ++k) r |= q[k];\n"
        "    return r != 0;\n"
        "#endif\n}\n"
    )


# Expressions.


class Writer:
    """Writes expressions; collects the lane-by-lane functions that they call."""

    def __init__(self, plan: Gang):
        self.plan = plan
        self.lanewise: dict[str, str] = {}
        self.slow: set[str] = set()

    def vector(self, node: ir.Expr, way: int) -> str:
        """Return the C text of an expression as one vector."""
        if self.plan.is_uniform(node):
            return self.spread(node)
        match node:
            case ir.Var() if node in self.plan.cells:
                name, first = self.plan.names[node], way * self.plan.lanes
                return f"full({name}_{way}, {name}_far + {first}, far)"
            case ir.Var():
                return f"{self.plan.names[node]}_{way}"
            case ir.Cast(arg, dtype):
                return self.cast(arg, dtype, way)
            case ir.Select(cond, yes, no, dtype):
                arms = (self.vector(yes, way), self.vector(no, way))
                if self.plan.is_uniform(cond):
                    return f"({c_expr(cond, self.plan.names)} ? {arms[0]} : {arms[1]})"
                return f"sel_{c_type(dtype)}({self.vector(cond, way)}, {arms[0]}, {arms[1]})"
            case ir.Apply():
                return self.apply(node, way)
            case ir.Const() | ir.IterationLimit():
                raise AssertionError("constants are uniform")
            case _:
                assert_never(node)

    def near_choice(self, node: ir.Select, way: int) -> str:
        """Return one of two constants in lanes of 32 bits."""
        arms = [f"{c_literal(int(arm.value.real), INT32)} - (vi32){{0}}"
                for arm in (node.yes, node.no) if isinstance(arm, ir.Const)]  # fmt: skip
        return f"sel_i32({self.vector(node.cond, way)}, {', '.join(arms)})"

    def spread(self, node: ir.Expr) -> str:
        """Return one value in every lane; ``x - {}`` keeps a zero's sign, ``{} + x`` does not."""
        text = c_expr(node, self.plan.names)
        if node.dtype == BOOL:
            return f"((vm){{0}} - ({c_type(self.plan.mask)}){text})"
        return f"({text} - ({vector(node.dtype)}){{0}})"

    def mask_of(self, comparison: str, dtype: np.dtype) -> str:
        """Return a comparison of vectors of a dtype as a mask."""
        if dtype.itemsize == self.plan.mask.itemsize:
            return f"((vm)({comparison}))"
        return f"__builtin_convertvector({comparison}, vm)"

    def cast(self, arg: ir.Expr, dtype: np.dtype, way: int) -> str:
        """Return a conversion."""
        text, source = self.vector(arg, way), arg.dtype
        if dtype == BOOL:
            return self.mask_of(f"{text} != 0", source)
        if source == BOOL and dtype.kind == "f":
            one = c_literal(1, dtype)
            zeros = f"({vector(dtype)}){{0}}"
            return f"sel_{c_type(dtype)}({text}, {one} - {zeros}, {zeros})"
        if source == BOOL:
            return f"({vector(dtype)})(-__builtin_convertvector({text}, {signed(dtype)}))"
        if source.kind == "f" and dtype.kind in "iu":
            self.slow.add(f"{dtype.name}() of a float")
            name = f"to_{c_type(source)}_{c_type(dtype)}"
            return self.by_lane(name, c_cast("x0[l]", source, dtype), (source,), dtype, [text])
        return f"__builtin_convertvector({text}, {vector(dtype)})"

    def apply(self, node: ir.Apply, way: int) -> str:
        """Return an operator: its vector form if it has one, else lane by lane."""
        texts = [self.vector(a, way) for a in node.args]
        if (form := self.vector_form(node, texts)) is not None:
            return form
        dtypes = tuple(a.dtype for a in node.args)
        template = node.op.template(dtypes)
        if vmath.has_vectors(template):
            return vmath.call(template, c_type(dtypes[0]), self.plan.lanes).format(*texts)
        if node.op.name not in VECTORISED_BY_COMPILER:
            self.slow.add(node.op.name)
        suffix = "f" if dtypes[0] == np.float32 else ""
        lanes = [f"x{n}[l]" for n in range(len(dtypes))]
        scalar = template.format(*lanes, n=c_type(dtypes[0]), s=suffix)
        names = "_".join((function_name(node.op.name), *map(c_type, dtypes)))
        return self.by_lane(f"each_{names}", scalar, dtypes, node.dtype, texts)

    def vector_form(self, node: ir.Apply, texts: list[str]) -> str | None:
        """Return the vector form of an operator, None where it has none."""
        dtype, name = node.args[0].dtype, node.op.name
        same = all(a.dtype == dtype for a in node.args)
        a, b, *_ = (*texts, "", "")
        if dtype == BOOL:
            logic = {"+": "|", "*": "&", "&": "&", "|": "|", "^": "^"}
            if name in logic:
                return f"({a} {logic[name]} {b})"
            return f"(~{a})" if name == "~" else None
        if not same:
            return None
        if name in ("+", "-", "*") or (name == "/" and dtype.kind == "f"):
            return f"({a} {name} {b})"
        if name in ("&", "|", "^"):
            return f"({a} {name} {b})"
        if name in ("<", "<=", ">", ">=", "==", "!="):
            return self.mask_of(f"{a} {name} {b}", dtype)
        if name in ("<<", ">>", "//", "%"):
            return self.by_constant(name, node.args[1], a)
        return self.named_form(name, dtype, a, b)

    def named_form(self, name: str, dtype: np.dtype, a: str, b: str) -> str | None:
        """Return the vector form of unary operators and functions."""
        simple = {"u-": f"(-{a})", "u+": a, "~": f"(~{a})"}
        if name in simple:
            return simple[name]
        v, c = vector(dtype), c_type(dtype)
        nan = {"a": " | (a != a)", "b": " | (b != b)"} if dtype.kind == "f" else {"a": "", "b": ""}
        chosen = {"maximum": "(a > b)" + nan["a"], "minimum": "(a < b)" + nan["a"],
                  "fmax": "(a > b)" + nan["b"], "fmin": "(a < b)" + nan["b"]}  # fmt: skip
        bits = f"0x7fffffff{'ffffffffLL' if dtype.itemsize == 8 else ''}"
        bodies = {"square": f"{v} %s({v} a) {{ return a * a; }}"}
        if name in chosen:
            picked = f"sel_{c}({self.mask_of(chosen[name], dtype)}, a, b)"
            bodies[name] = f"{v} %s({v} a, {v} b) {{ return {picked}; }}"
        if dtype.kind == "f":
            bodies["isnan"] = f"vm %s({v} a) {{ return {self.mask_of('a != a', dtype)}; }}"
            bodies["abs"] = f"{v} %s({v} a) {{ return ({v})(({signed(dtype)})a & {bits}); }}"
        if name not in bodies:
            return None
        function = f"all_{name}_{c}"
        self.lanewise[function] = f"static inline {bodies[name] % function}\n"
        return f"{function}({', '.join(t for t in (a, b) if t)})"

    def by_constant(self, name: str, by: ir.Expr, a: str) -> str | None:
        """Return shifts by a constant, and floor division by a power of two, which is one."""
        if not isinstance(by, ir.Const) or by.dtype.kind not in "iu":
            return None
        n, bits = int(by.value.real), 8 * by.dtype.itemsize
        if name in ("<<", ">>"):
            return f"({a} {name} {n})" if 0 <= n < bits else None
        if n <= 0 or n & (n - 1):
            return None
        return (
            f"({a} >> {int(math.log2(n))})"
            if name == "//"
            else f"({a} & {c_literal(n - 1, by.dtype)})"
        )

    def by_lane(
        self,
        name: str,
        scalar: str,
        dtypes: tuple[np.dtype, ...],
        result: np.dtype,
        texts: list[str],
    ) -> str:
        """Return a call of a function that computes each lane by scalar text."""
        if name not in self.lanewise:
            count, lane = self.plan.lanes, c_type(self.plan.mask)
            params = ", ".join(f"{vector(d)} a{n}" for n, d in enumerate(dtypes))
            loads = [
                f"    {lane if d == BOOL else c_type(d)} x{n}[{count}];\n"
                f"    __builtin_memcpy(x{n}, &a{n}, sizeof x{n});\n"
                for n, d in enumerate(dtypes)
            ]
            for n, d in enumerate(dtypes):
                if d == BOOL:
                    scalar = scalar.replace(f"x{n}[l]", f"((b8)(x{n}[l] & 1))")
            kind = lane if result == BOOL else c_type(result)
            value = f"({lane})-({lane})({scalar})" if result == BOOL else scalar
            self.lanewise[name] = (
                f"static inline {vector(result)} {name}({params})\n{{\n{''.join(loads)}"
                f"    {kind} y[{count}]; {vector(result)} r;\n"
                f"    for (int l = 0; l < {count}; ++l) y[l] = {value};\n"
                f"    __builtin_memcpy(&r, y, sizeof r);\n    return r;\n}}\n"
            )
        return f"{name}({', '.join(texts)})"


def function_name(name: str) -> str:
    """Return a part of a C name for an operator."""
    return name if name.isidentifier() else "op" + "".join(f"{ord(c):x}" for c in name)
