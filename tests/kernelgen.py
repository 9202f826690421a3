"""Random kernels that are in the language, well typed, and mean the same in plain Python.

Every expression is made for a dtype and has it exactly, so that where paths join there is nothing
to convert; casts in between mix all dtypes. Loops are bounded, and nothing in a kernel can fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from mexdask.dtypes import NATIVE
from mexdask.ops import TABLE

DTYPES = tuple(NATIVE)
BOOL = np.dtype(bool)
INT64 = np.dtype("int64")
SMALL = (-2, -1, 0, 1, 2, 3)
INTEGERS = tuple(d for d in DTYPES if d.kind in "iu")
NUMBERS = tuple(d for d in DTYPES if d != BOOL)
ARITHMETIC = ("+", "-", "*", "//", "%", "/", "&", "|", "^", "<<", ">>")
WIDE = tuple(np.dtype(name) for name in ("int64", "int64", "uint64", "float64", "float64"))
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
COMMON_FUNCTIONS = ("minimum", "maximum", "fmin", "fmax")
FLOAT_FUNCTIONS = ("fmod", "copysign", "nextafter", "fdim", "heaviside")
FLOAT_ROUNDINGS = ("floor", "ceil", "trunc", "rint", "round", "sqrt", "square", "sign", "abs")
LITERALS = ("0.0", "-0.0", "0.5", "1.0", "-2.5", "3.0", "1e10", "0.1", "1e-40", "inf", "nan")
LOOP_VALUES = (0, 1, 2, 5)
EXTREME = 2**64


@dataclass(frozen=True)
class Kernel:
    """A random kernel: its text, the dtypes of its parameters and of its result."""

    source: str
    parameters: tuple[np.dtype, ...]
    result: np.dtype


@dataclass
class Scope:
    """What may be read and assigned at a point."""

    names: dict[str, np.dtype]
    counters: tuple[str, ...] = ()
    in_loop: bool = False
    depth: int = 0


class Writer:
    """Draws one kernel."""

    def __init__(self, draw: DrawFn):
        self.draw = draw
        self.fresh = 0
        self.result = BOOL

    def pick(self, options):
        return self.draw(st.sampled_from(options))

    def chance(self, one_in: int) -> bool:
        return self.draw(st.integers(0, one_in - 1)) == 0

    def name(self, stem: str) -> str:
        self.fresh += 1
        return f"{stem}{self.fresh}"

    # Expressions.

    def expression(self, dtype: np.dtype, scope: Scope, depth: int) -> str:
        """Return an expression of exactly this dtype."""
        if depth <= 0 or self.chance(5):
            return self.leaf(dtype, scope)
        forms: list[Callable[[np.dtype, Scope, int], str]] = [
            self.arithmetic, self.mixed, self.choice, self.function, self.cast,
        ]  # fmt: skip
        forms += [self.truth] * 3 if dtype == BOOL else [self.arithmetic, self.with_literal]
        if dtype.kind == "f":
            forms += [self.rounding, self.with_literal]
        return self.pick(forms)(dtype, scope, depth - 1)

    def leaf(self, dtype: np.dtype, scope: Scope) -> str:
        known = [name for name, t in scope.names.items() if t == dtype]
        if known and not self.chance(4):
            return self.pick(known)
        others = [name for name, t in scope.names.items() if t != dtype]
        if others and self.chance(2):
            return f"np.{dtype.name}({self.pick(others)})"
        return f"np.{dtype.name}({self.literal(dtype)})"

    def literal(self, dtype: np.dtype) -> str:
        if dtype == BOOL:
            return self.pick(("True", "False"))
        if dtype.kind == "f":
            return self.pick(LITERALS)
        info = np.iinfo(dtype)
        return str(self.pick((0, 1, 2, 3, 7, 8, int(info.max), int(info.min), int(info.max) // 3)))

    def arithmetic(self, dtype: np.dtype, scope: Scope, depth: int) -> str:
        symbols = {
            "b": ("+", "*", "&", "|", "^"),
            "f": ("+", "-", "*", "/", "//", "%"),
        }.get(dtype.kind, [s for s in ARITHMETIC if s != "/"])
        left, right = (self.expression(dtype, scope, depth) for _ in range(2))
        if dtype.kind in "iu" and self.chance(6):
            return f"({left} ** ({right} & 7))"
        if self.chance(8):
            sign = self.pick("~" if dtype == BOOL else "-+" if dtype.kind == "f" else "-+~")
            return f"({sign}{left})"
        return f"({left} {self.pick(symbols)} {right})"

    def mixed(self, dtype: np.dtype, scope: Scope, depth: int) -> str:
        """Return a cast of an operation on operands of any dtypes that it takes."""
        symbol, left, right = self.pick(ARITHMETIC), self.pick(DTYPES), self.pick(DTYPES)
        try:
            TABLE[symbol].resolve(left, right)
        except TypeError:
            symbol, right = "*", left
        a, b = self.expression(left, scope, depth), self.expression(right, scope, depth)
        return f"np.{dtype.name}({a} {symbol} {b})"

    def with_literal(self, dtype: np.dtype, scope: Scope, depth: int) -> str:
        """Return an operation with a literal or a loop variable, which are weak."""
        operand = self.expression(dtype, scope, depth)
        symbols = ("+", "-", "*", "//", "%")
        if dtype.kind != "f":
            symbols = (*symbols, "&", "|", "^", "<<", ">>")
        weak = self.literal(dtype)
        if scope.counters and dtype.kind != "b" and self.chance(2):
            weak = self.pick(scope.counters)
        pair = (operand, weak) if self.chance(2) else (weak, operand)
        return f"({pair[0]} {self.pick(symbols)} {pair[1]})"

    def choice(self, dtype: np.dtype, scope: Scope, depth: int) -> str:
        a, b = (self.expression(dtype, scope, depth) for _ in range(2))
        form = self.pick(("if", "where", "min", "max", "and", "or"))
        if form in ("and", "or"):
            return f"({a} {form} {b})"
        if form in ("min", "max"):
            return f"{form}({a}, {b})"
        cond = self.condition(scope, depth)
        return f"({a} if {cond} else {b})" if form == "if" else f"where({cond}, {a}, {b})"

    def function(self, dtype: np.dtype, scope: Scope, depth: int) -> str:
        names = COMMON_FUNCTIONS + (FLOAT_FUNCTIONS if dtype.kind == "f" else ())
        a, b = (self.expression(dtype, scope, depth) for _ in range(2))
        if self.chance(5):
            return f"clip({a}, {b}, {self.leaf(dtype, scope)})"
        return f"{self.pick(names)}({a}, {b})"

    def rounding(self, dtype: np.dtype, scope: Scope, depth: int) -> str:
        return f"{self.pick(FLOAT_ROUNDINGS)}({self.expression(dtype, scope, depth)})"

    def cast(self, dtype: np.dtype, scope: Scope, depth: int) -> str:
        return f"np.{dtype.name}({self.expression(self.pick(DTYPES), scope, depth)})"

    def truth(self, dtype: np.dtype, scope: Scope, depth: int) -> str:
        """Return a strong bool."""
        form = self.pick(("compare", "compare", "literal", "chain", "not", "isnan"))
        t = self.pick(DTYPES)
        a = self.expression(t, scope, depth)
        if form == "not":
            return f"np.bool_(not {a})"
        if form == "isnan":
            return f"{self.pick(('isnan', 'isinf', 'isfinite'))}({a})"
        if form == "literal":
            numbers = (0, 1, -1, 127, 128, 255, 256, -128, 2**53, -EXTREME, EXTREME)
            number = self.pick(numbers[:-2] if t == BOOL else numbers)  # NumPy's bools overflow
            return f"({a} {self.pick(COMPARISONS)} {number})"
        b = self.expression(self.pick((t, self.pick(DTYPES))), scope, depth)
        if form == "compare":
            return f"({a} {self.pick(COMPARISONS)} {b})"
        c = self.expression(t, scope, 0)
        return f"({a} {self.pick(COMPARISONS)} {b} {self.pick(COMPARISONS)} {c})"

    def condition(self, scope: Scope, depth: int) -> str:
        """Return something whose truth is asked for."""
        form = self.pick(("bool", "bool", "number", "counter", "not"))
        if form == "counter" and scope.counters:
            return f"{self.pick(scope.counters)} {self.pick(COMPARISONS)} {self.pick(LOOP_VALUES)}"
        if form == "not":
            return f"not {self.expression(self.pick(DTYPES), scope, depth)}"
        if form == "number":
            return self.expression(self.pick(NUMBERS), scope, depth)
        return self.expression(BOOL, scope, depth)

    # Statements.

    def block(self, scope: Scope, indent: str, count: int) -> list[str]:
        """Return the lines of a block; a jump ends it."""
        lines: list[str] = []
        for _ in range(count):
            kind = self.pick(self.kinds(scope))
            lines += getattr(self, f"{kind}_lines")(scope, indent)
            if kind == "jump":
                break
        return lines or [f"{indent}pass"]

    def kinds(self, scope: Scope) -> list[str]:
        kinds = ["assign", "assign", "augmented"]
        if scope.depth < 3:
            kinds += ["branch", "branch", "counted", "conditional"]
        if scope.depth > 0:
            kinds.append("jump")
        if scope.depth == 0:
            kinds += ["swap", "search"]
        return kinds

    def assign_lines(self, scope: Scope, indent: str) -> list[str]:
        """Assign; at the top level a name may change its dtype."""
        if scope.depth == 0 and self.chance(3):
            name = self.name("v") if self.chance(2) else self.pick(list(scope.names))
            dtype = self.pick(DTYPES)
            text = self.expression(dtype, scope, 3)
            scope.names[name] = dtype
            return [f"{indent}{name} = {text}"]
        name = self.pick(list(scope.names))
        return [f"{indent}{name} = {self.expression(scope.names[name], scope, 2)}"]

    def augmented_lines(self, scope: Scope, indent: str) -> list[str]:
        name = self.pick(list(scope.names))
        dtype = scope.names[name]
        symbols = {"b": ("&", "|", "^"), "f": ("+", "-", "*", "/", "%")}
        symbol = self.pick(symbols.get(dtype.kind, ("+", "-", "*", "//", "%", "<<", ">>", "^")))
        return [f"{indent}{name} {symbol}= {self.expression(dtype, scope, 2)}"]

    def swap_lines(self, scope: Scope, indent: str) -> list[str]:
        a, b = self.pick(list(scope.names)), self.pick(list(scope.names))
        if a == b:
            return [f"{indent}pass"]
        scope.names[a], scope.names[b] = scope.names[b], scope.names[a]
        return [f"{indent}{a}, {b} = {b}, {a}"]

    def inner(self, scope: Scope, **changes: object) -> Scope:
        """Return the scope of a nested block, in which names keep their dtypes."""
        fields = {"counters": scope.counters, "in_loop": scope.in_loop, **changes}
        return Scope(dict(scope.names), depth=scope.depth + 1, **fields)

    def branch_lines(self, scope: Scope, indent: str) -> list[str]:
        lines = [f"{indent}if {self.condition(scope, 2)}:"]
        lines += self.block(self.inner(scope), indent + " ", self.pick((1, 2)))
        if self.chance(3):
            lines.append(f"{indent}elif {self.condition(scope, 1)}:")
            lines += self.block(self.inner(scope), indent + " ", 1)
        if self.chance(2):
            lines.append(f"{indent}else:")
            lines += self.block(self.inner(scope), indent + " ", self.pick((1, 2)))
        return lines

    def counted_lines(self, scope: Scope, indent: str) -> list[str]:
        """Write a ``for``; its variable is assigned before, so that it may be read later."""
        counter = self.name("i")
        bounds = self.pick(("3", "1, 4", "0, 9, 4", "5, 0, -2", "4, 4", "data", "data, 6"))
        if bounds.startswith("data"):
            dtype = self.pick(INTEGERS)
            start = f"{self.expression(dtype, scope, 1)} % 5"
            bounds = bounds.replace("data", start)
        lines = [f"{indent}{counter} = 1", f"{indent}for {counter} in range({bounds}):"]
        body = self.inner(scope, counters=(*scope.counters, counter), in_loop=True)
        lines += self.block(body, indent + " ", self.pick((1, 2, 3)))
        scope.counters = (*scope.counters, counter)
        return lines

    def search_lines(self, scope: Scope, indent: str) -> list[str]:
        """Write a loop that may replace a constant, which compilers make vectors of."""
        name, at, counter = self.name("v"), self.name("v"), self.name("i")
        dtype, integer = self.pick(DTYPES), self.pick(("int32", "int64"))
        by = self.expression(np.dtype(integer), scope, 1)
        lines = [
            f"{indent}{name} = np.{dtype.name}({self.literal(dtype)})",
            f"{indent}{at} = np.{integer}({by})",
            f"{indent}{counter} = 1",
            f"{indent}for {counter} in range({self.pick((8, 37))}):",
            f"{indent} if {at} & 7 {self.pick(('==', '>', '!='))} {self.pick((0, 3, 6))}:",
            f"{indent}  {name} = np.{dtype.name}({self.literal(dtype)})",
            f"{indent} {at} += np.{integer}(3)",
        ]
        scope.names |= {name: dtype, at: np.dtype(integer)}
        scope.counters = (*scope.counters, counter)
        return lines

    def conditional_lines(self, scope: Scope, indent: str) -> list[str]:
        """Write a ``while`` of a few iterations."""
        counter = self.name("w")
        form = self.pick(("both", "endless", "bounded"))
        known = (*scope.counters, counter)
        body = self.inner(scope, counters=known, in_loop=True)
        guard = [f"{indent} {counter} += 1"]
        if form == "both":
            head = f"while {counter} < 4 and ({self.condition(scope, 2)}):"
        elif form == "bounded":
            head = f"while {counter} < {self.pick((1, 3))}:"
        else:
            head = "while True:"
            guard = [f"{indent} if {counter} >= 3:", f"{indent}  break", *guard]
        lines = [f"{indent}{counter} = 0", f"{indent}{head}", *guard]
        lines += self.block(body, indent + " ", self.pick((1, 2, 3)))
        scope.counters = known
        return lines

    def jump_lines(self, scope: Scope, indent: str) -> list[str]:
        kinds = ("break", "continue", "break", "continue", "return")
        kind = self.pick(kinds if scope.in_loop else ("return",))
        if kind == "return":
            return [f"{indent}return {self.expression(self.result, scope, 2)}"]
        return [f"{indent}{kind}"]

    def summary(self, scope: Scope) -> str:
        """Return a result that most differences in a few of the locals change."""
        if self.result == BOOL or self.chance(3):
            return self.expression(self.result, scope, 2)
        chosen = self.draw(st.lists(st.sampled_from(list(scope.names)), min_size=1, max_size=3))
        terms = [f"np.{self.result.name}({name})" for name in dict.fromkeys(chosen)]
        return " + 3 * ".join(terms)

    def kernel(self) -> Kernel:
        parameters = tuple(self.pick(DTYPES) for _ in range(self.pick((1, 2, 3))))
        self.result = self.pick((*DTYPES, *WIDE))
        names = {f"p{n}": dtype for n, dtype in enumerate(parameters)}
        scope = Scope(dict(names))
        lines = [f"def k({', '.join(names)}):"]
        for _ in range(self.pick((1, 2))):
            name, dtype = self.name("v"), self.pick(DTYPES)
            lines.append(f" {name} = {self.expression(dtype, scope, 3)}")
            scope.names[name] = dtype
        lines += self.block(scope, " ", self.pick((1, 2, 3, 4, 5, 6, 7)))
        lines.append(f" return {self.summary(scope)}")
        return Kernel("\n".join(lines), parameters, self.result)


class FlowWriter(Writer):
    """Draws one kernel that is nearly all control flow: int64, few locals, helpers."""

    def __init__(self, draw: DrawFn):
        super().__init__(draw)
        self.result = INT64
        self.helpers: list[str] = []

    def expression(self, dtype: np.dtype, scope: Scope, depth: int) -> str:
        if depth <= 1 or self.chance(2):
            if self.chance(4):
                return f"np.int64({self.pick(SMALL)})"
            return self.pick(list(scope.names))
        left, right = (self.expression(dtype, scope, depth - 1) for _ in range(2))
        if self.helpers and self.chance(6):
            return f"{self.pick(self.helpers)}({left}, {right})"
        return f"({left} {self.pick('+-*&^|')} {right})"

    def condition(self, scope: Scope, depth: int) -> str:
        left, right = (self.expression(INT64, scope, 1) for _ in range(2))
        return f"{left} {self.pick(COMPARISONS)} {right}"

    def kinds(self, scope: Scope) -> list[str]:
        kinds = ["assign"] * 4
        kinds += ["branch"] * 4 if scope.depth < 5 else []
        kinds += ["counted", "conditional"] if scope.depth < 4 else []
        kinds += ["skip"] * 4 if scope.in_loop else []
        return [*kinds, "jump"] if scope.depth > 0 else kinds

    def skip_lines(self, scope: Scope, indent: str) -> list[str]:
        """Write an ``if`` one of whose arms jumps while lanes of the other assign."""
        arms = [self.assign_lines(scope, indent + " ") for _ in range(2)]
        arms[self.pick((0, 0, 1))] += self.jump_lines(scope, indent + " ")
        lines = [f"{indent}if {self.condition(scope, 1)}:", *arms[0]]
        lines += [f"{indent}{self.pick(('else', f'elif {self.condition(scope, 1)}'))}:", *arms[1]]
        return lines + (self.assign_lines(scope, indent) if self.chance(2) else [])

    def assign_lines(self, scope: Scope, indent: str) -> list[str]:
        return [f"{indent}{self.pick(list(scope.names))} = {self.expression(INT64, scope, 2)}"]

    def definition(self, name: str) -> list[str]:
        scope = Scope(dict.fromkeys("xy", INT64))
        lines = [f"def {name}(x, y):"]
        for local in "abc"[: self.pick((1, 2, 2, 3))]:
            lines.append(f" {local} = {self.pick('xy')} * {self.pick(SMALL)}")
            scope.names[local] = INT64
        lines += self.block(scope, " ", self.pick((2, 3, 4)))
        return [*lines, f" return {self.pick(list(scope.names))}"]  # the others are not alive

    def kernel(self) -> Kernel:
        lines: list[str] = []
        for name in ("g", "h")[: self.pick((0, 0, 1, 2))]:
            lines += self.definition(name)
            self.helpers.append(name)
        lines += self.definition("k")
        return Kernel("\n".join(lines), (INT64, INT64), INT64)


@st.composite
def flows(draw: DrawFn) -> Kernel:
    """Draw a kernel of control flow, of which thousands can be tried."""
    return FlowWriter(draw).kernel()


@st.composite
def kernels(draw: DrawFn) -> Kernel:
    """Draw a kernel."""
    return Writer(draw).kernel()
