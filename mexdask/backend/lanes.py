"""Expressions as C vectors; what has no vector form goes lane by lane."""

from __future__ import annotations

import itertools
import re
from typing import assert_never

import numpy as np

from mexdask import ir
from mexdask.backend import integers, vmath
from mexdask.backend.cexpr import c_expr, c_literal, c_type
from mexdask.backend.layout import Gang
from mexdask.backend.vectors import signed, vector
from mexdask.backend.vmath.primitives import any_test
from mexdask.dtypes import BOOL, INT64
from mexdask.ops import TABLE

INT32 = np.dtype("int32")
LOGIC = {"+": "|", "*": "&", "&": "&", "|": "|", "^": "^", "maximum": "|", "minimum": "&"}
"""Operators on masks."""
DIRECT = frozenset({"deg2rad", "rad2deg"})
"""Functions whose text for one number is right for vectors too."""
PREDICATES = frozenset("isnan isinf isfinite signbit".split())
FORMS = {
    "iuf": {"u-": "-a", "u+": "a", "square": "a * a"},
    "iu": {
        "~": "~a",
        "maximum": "SEL([a > b], a, b)",
        "minimum": "SEL([a < b], a, b)",
        "fmax": "SEL([a > b], a, b)",
        "fmin": "SEL([a < b], a, b)",
        "isnan": "[a - a != 0]",
        "isinf": "[a - a != 0]",
        "isfinite": "[a - a == 0]",
        "**": """{
    V r = 1 - (V){0};
    for (V left = SEL([b > 0], b, (V){0}); any_lane([left != 0]); left >>= 1) {
        r = SEL([(left & 1) != 0], r * a, r);
        a *= a;
    }
    return r;
}""",
    },
    "i": {"abs": "SEL([a < 0], -a, a)", "fmod": "SEL([(a != 0) & ((b < 0) != (c < 0))], a - c, a)"},
    "u": {"abs": "a"},
    "f": {
        "maximum": "SEL([(a > b) | (a != a)], a, b)",
        "minimum": "SEL([(a < b) | (a != a)], a, b)",
        "fmax": "SEL([(a > b) | (b != b)], a, b)",
        "fmin": "SEL([(a < b) | (b != b)], a, b)",
        "fdim": "SEL([a <= b], (V){0}, a - b)",
        "abs": "(V)((I)a & MAGNITUDE)",
        "isnan": "[a != a]",
        "isinf": "[((I)a & MAGNITUDE) == INFINITE]",
        "isfinite": "[((I)a & MAGNITUDE) < INFINITE]",
        "signbit": "[(I)a < 0]",
        "nextafter": """{
    V r = SEL([(a < b) == (a > 0)], (V)((I)a + 1), (V)((I)a - 1));
    r = SEL([a == 0], (V)(((I)b & ~MAGNITUDE) | 1), r);
    return SEL([(a != a) | (b != b)], a + b, SEL([a == b], b, r));
}""",
    },
}
"""C of operators on vectors ``a, b, c`` by dtype kind: ``V`` is their type, ``I`` the integers as
wide, ``[...]`` a comparison as a mask, ``SEL`` a choice under one. The ``fmod`` of integers takes
their ``%``, which has the divisor's sign, and both."""
MIXED = {
    "<": ("lt", "(a < 0) | ((vu64)a < b)"),
    "<=": ("le", "(a < 0) | ((vu64)a <= b)"),
    ">": ("gt", "(a > 0) & ((vu64)a > b)"),
    ">=": ("ge", "(a >= 0) & ((vu64)a >= b)"),
    "==": ("eq", "(a >= 0) & ((vu64)a == b)"),
    "!=": ("ne", "(a < 0) | ((vu64)a != b)"),
}
"""C names of comparisons between int64 ``a`` and uint64 ``b``, and what they are."""
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
BITS = {
    4: {"MAGNITUDE": "0x7fffffff", "INFINITE": "0x7f800000"},
    8: {"MAGNITUDE": "0x7fffffffffffffffLL", "INFINITE": "0x7ff0000000000000LL"},
}
COMPARED = re.compile(r"\[([^\]]*)\]")
WORD = re.compile(r"\b[A-Z]+\b")
VECTORISED_BY_COMPILER = frozenset(
    "sqrt floor ceil trunc rint round copysign sign heaviside".split()
)
"""Operators whose loop over lanes every compiler turns back into vector instructions."""


def lanewise(statements: list[ir.Masked], plan: Gang) -> list[str]:
    """Return the operators of statements, on lane variables, that have no vector form."""
    writer = Writer(plan)
    parts = (p for n in statements for e in ir.masked_expressions(n) for p in ir.parts(e))
    for part in parts:
        if isinstance(part, ir.Apply) and not plan.is_uniform(part):
            writer.apply(part, [""] * len(part.args))
    return sorted(writer.slow)


WAY = "@"
"""Stands for the way's number in the text of an expression, which is the same for all ways."""


def of_way(text: str, way: int) -> str:
    """Return the text of one way."""
    return text.replace(WAY, str(way))


class Writer:
    """Writes expressions; collects the lane-by-lane functions that they call.

    ``before`` has the lines that belong before the statement that an expression is written for.
    """

    def __init__(self, plan: Gang):
        self.plan = plan
        self.lanewise: dict[str, str] = {}
        self.slow: set[str] = set()
        self.before: list[str] = []
        self.names = (f"t{k}" for k in itertools.count())
        self.in_arm = False

    def vector(self, node: ir.Expr) -> str:
        """Return the C text of an expression as one vector, that of the way ``WAY``."""
        if self.plan.is_uniform(node):
            return self.spread(node)
        match node:
            case ir.Var() if node in self.plan.cells:
                name = self.plan.names[node]
                return f"full({name}_{WAY}, {name}_far + {WAY} * {self.plan.lanes}, far)"
            case ir.Var():
                return f"{self.plan.names[node]}_{WAY}"
            case ir.Cast(arg, dtype):
                return self.cast(self.vector(arg), arg.dtype, dtype)
            case ir.Select(cond, yes, no) if self.plan.is_uniform(cond):
                return f"({c_expr(cond, self.plan.names)} ? {self.arm(yes)} : {self.arm(no)})"
            case ir.Select(cond, yes, no, dtype):
                arms = f"{self.vector(yes)}, {self.vector(no)}"
                return f"sel_{c_type(dtype)}({self.vector(cond)}, {arms})"
            case ir.Apply(_, args, _):
                return self.apply(node, [self.vector(a) for a in args])
            case ir.Const() | ir.IterationLimit():
                raise AssertionError("constants are uniform")
            case _:
                assert_never(node)

    def arm(self, node: ir.Expr) -> str:
        """Return an expression that is computed only where it is chosen."""
        outer, self.in_arm = self.in_arm, True
        text = self.vector(node)
        self.in_arm = outer
        return text

    def near_choice(self, node: ir.Select) -> str:
        """Return one of two constants in lanes of 32 bits."""
        arms = [f"{c_literal(int(arm.value.real), INT32)} - (vi32){{0}}"
                for arm in (node.yes, node.no) if isinstance(arm, ir.Const)]  # fmt: skip
        return f"sel_i32({self.vector(node.cond)}, {', '.join(arms)})"

    def spread(self, node: ir.Expr) -> str:
        """Return one value in every lane; ``x - {}`` keeps a zero's sign, ``{} + x`` does not."""
        text = c_expr(node, self.plan.names)
        if node.dtype == BOOL:
            return f"((vm){{0}} - ({c_type(self.plan.mask)}){text})"
        if isinstance(node, ir.Select):  # of narrow integers, which C makes int, and vectors refuse
            text = f"({c_type(node.dtype)}){text}"
        return f"({text} - ({vector(node.dtype)}){{0}})"

    def mask_of(self, comparison: str, dtype: np.dtype) -> str:
        """Return a comparison of vectors of a dtype as a mask."""
        if dtype.itemsize == self.plan.mask.itemsize:
            return f"((vm)({comparison}))"
        return f"__builtin_convertvector({comparison}, vm)"

    def cast(self, text: str, source: np.dtype, dtype: np.dtype) -> str:
        """Return a conversion of the text of an operand."""
        if dtype == BOOL:
            return self.mask_of(f"{text} != 0", source)
        if source == BOOL and dtype.kind == "f":
            one = c_literal(1, dtype)
            zeros = f"({vector(dtype)}){{0}}"
            return f"sel_{c_type(dtype)}({text}, {one} - {zeros}, {zeros})"
        if source == BOOL:
            return f"({vector(dtype)})(-__builtin_convertvector({text}, {signed(dtype)}))"
        if source.kind == "f" and dtype.kind in "iu":
            name = f"all_to_{c_type(source)}_{c_type(dtype)}"
            self.lanewise.setdefault(name, integers.from_float(name, source, dtype))
            return f"{name}({text})"
        return f"__builtin_convertvector({text}, {vector(dtype)})"

    def apply(self, node: ir.Apply, texts: list[str]) -> str:
        """Return an operator on texts: its vector form if it has one, else lane by lane."""
        if (form := self.vector_form(node, texts)) is not None:
            return form
        dtypes = tuple(a.dtype for a in node.args)
        template = node.op.template(dtypes)
        if vmath.has_vectors(template):
            return self.vector_math(template, dtypes[0], texts)
        if node.op.name not in VECTORISED_BY_COMPILER:
            self.slow.add(node.op.name)
        return self.each(node, texts)

    def vector_math(self, template: str, dtype: np.dtype, texts: list[str]) -> str:
        """Return a call of vector math; calls for several ways come before the statement."""
        c, plan = c_type(dtype), self.plan
        call = vmath.call(template, c, plan.lanes)
        together = vmath.vectors_abreast(call, plan.ways, plan.width)
        if self.in_arm or together == 1:
            return call.format(*texts)
        name, function = next(self.names), call.partition("(")[0]
        results = [f"{name}_{way}" for way in range(plan.ways)]
        self.before.append(f"{c}x{plan.lanes} {', '.join(results)};")
        for first in range(0, plan.ways, together):
            ways = range(first, first + together)
            takes = [f"&{name}_{way}" for way in ways]
            takes += [of_way(text, way) for text in texts for way in ways]
            self.before.append(f"{function}_{together}({', '.join(takes)});")
        return f"{name}_{WAY}"

    def each(self, node: ir.Apply, texts: list[str]) -> str:
        """Return an operator as a call of its scalar text for each lane."""
        dtypes = tuple(a.dtype for a in node.args)
        template = node.op.template(dtypes)
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
            if name in LOGIC:
                return f"({a} {LOGIC[name]} {b})"
            return f"(~{a})" if name == "~" else None
        if name == "ldexp":
            return self.scaling_form(dtype, node.args[1].dtype, a, b)
        if not same:
            return self.mixed_form(name, dtype, a, b) if name in MIXED else None
        if name in ("+", "-", "*") or (name == "/" and dtype.kind == "f"):
            return f"({a} {name} {b})"
        if name in ("&", "|", "^"):
            return f"({a} {name} {b})"
        if name in ("<", "<=", ">", ">=", "==", "!="):
            return self.mask_of(f"{a} {name} {b}", dtype)
        if name in ("<<", ">>", "//", "%") and dtype.kind in "iu":
            return self.integer_form(node, a, b)
        if name == "fmod" and dtype.kind in "iu":
            rest = self.integer_form(ir.Apply(TABLE["%"], node.args, dtype), a, b)
            return self.named_form(name, dtype, [rest, a, b]) if dtype.kind == "i" else rest
        if name == "clip":
            texts = [self.named_form("maximum", dtype, texts[:2]) or "", texts[2]]
            return self.named_form("minimum", dtype, texts)
        if name in DIRECT:
            return node.op.template((dtype,)).format(*texts)
        return self.named_form(name, dtype, texts)

    def named_form(self, name: str, dtype: np.dtype, texts: list[str]) -> str | None:
        """Return a call of the vector form of a function, which it writes; None if it has none."""
        c, function = c_type(dtype), f"all_{function_name(name)}_{c_type(dtype)}"
        if function not in self.lanewise:
            kinds = (k for k in FORMS if dtype.kind in k and name in FORMS[k])
            if (kind := next(kinds, None)) is None:
                return None
            form, v = FORMS[kind][name], vector(dtype)
            if form in ("a", "-a", "~a"):
                return f"({form[:-1]}{texts[0]})"
            params = ", ".join(f"{v} {letter}" for letter in "abc"[: len(texts)])
            text = form if form.startswith("{") else f"{{ return {form}; }}"
            text = COMPARED.sub(lambda m: self.mask_of(m[1], dtype), text)
            words = {"V": v, "I": signed(dtype), "SEL": f"sel_{c}", **BITS.get(dtype.itemsize, {})}
            text = WORD.sub(lambda m: words.get(m[0], m[0]), text)
            result = "vm" if name in PREDICATES else v
            self.lanewise[function] = f"static inline {result} {function}({params}) {text}\n"
        return f"{function}({', '.join(texts)})"

    def by_constant(self, name: str, by: ir.Expr, a: str) -> str | None:
        """Return shifts by a constant, and floor division by one: a shift, or a product."""
        if not isinstance(by, ir.Const) or by.dtype.kind not in "iu":
            return None
        n, bits = int(by.value.real), 8 * by.dtype.itemsize
        if name in ("<<", ">>"):
            return f"({a} {name} {n})" if 0 <= n < bits else None
        if n > 0 and not n & (n - 1):
            if name == "//":
                return f"({a} >> {n.bit_length() - 1})"
            return f"({a} & {c_literal(n - 1, by.dtype)})"
        if by.dtype.itemsize != 4 or n in (0, -1):
            return None
        function = f"all_{function_name(name)}_{c_type(by.dtype)}_{f'm{-n}' if n < 0 else n}"
        text = integers.by_constant(function, name, n, by.dtype)
        self.lanewise.setdefault(function, text)
        return f"{function}({a})"

    def integer_form(self, node: ir.Apply, a: str, b: str) -> str:
        """Return shifts and floor division of integers."""
        dtype, symbol = node.args[0].dtype, node.op.name
        if (form := self.by_constant(symbol, node.args[1], a)) is not None:
            return form
        constant = isinstance(node.args[1], ir.Const)
        function = f"all_{function_name(symbol)}_{c_type(dtype)}{'_c' if constant else ''}"
        if symbol in ("<<", ">>"):
            self.lanewise.setdefault(function, integers.shift(function, symbol, dtype))
        elif dtype.itemsize < 4:
            wide = ir.Apply(node.op, tuple(widened(arg) for arg in node.args), INT32)
            a, b = (self.cast(text, dtype, INT32) for text in (a, b))
            return self.cast(self.integer_form(wide, a, b), INT32, dtype)
        elif function not in self.lanewise:
            each = self.each(node, [a, b]).partition("(")[0] if dtype.itemsize == 8 else ""
            head = "static inline __attribute__((unused)) int any_wide(vi64 m)"
            self.lanewise.setdefault("any_wide", any_test(head, 8 * self.plan.lanes) + "\n")
            self.lanewise[function] = integers.division(
                function, symbol, dtype, each, self.plan.lanes, self.plan.mask.itemsize,
                constant=constant,
            )  # fmt: skip
        return f"{function}({a}, {b})"

    def mixed_form(self, name: str, dtype: np.dtype, a: str, b: str) -> str:
        """Return a comparison of int64 with uint64, or of uint64 with int64."""
        if dtype.kind == "u":
            name, a, b = MIRRORED.get(name, name), b, a
        stem, text = MIXED[name]
        function = f"all_{stem}_iu"
        body = self.mask_of(text, INT64)
        text = f"static inline vm {function}(vi64 a, vu64 b) {{ return {body}; }}\n"
        self.lanewise.setdefault(function, text)
        return f"{function}({a}, {b})"

    def scaling_form(self, dtype: np.dtype, exponent: np.dtype, a: str, b: str) -> str:
        """Return a product with a power of two."""
        function = f"all_ldexp_{c_type(dtype)}_{c_type(exponent)}"
        self.lanewise.setdefault(function, integers.power_of_two(function, dtype, exponent))
        return f"{function}({a}, {b})"

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


def widened(node: ir.Expr) -> ir.Expr:
    """Return a narrow integer as int32, which holds them all."""
    return ir.Const(node.value, INT32) if isinstance(node, ir.Const) else ir.Cast(node, INT32)


def function_name(name: str) -> str:
    """Return a part of a C name for an operator."""
    return name if name.isidentifier() else "op" + "".join(f"{ord(c):x}" for c in name)
