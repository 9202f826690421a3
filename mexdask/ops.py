"""The table of operators and functions: the only place where their facts are written."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mexdask import meaning
from mexdask.dtypes import BOOL, INT64, UINT64, Type
from mexdask.reductions import REDUCTIONS

INTERPRETER_ULP = 4
"""How far NumPy's transcendental functions may be from the exact value, in units in the last place.

``Op.ulp`` is the bound of native code."""

VECTOR_MATH_ULP = 1.6
"""How far our own functions in C may be from the exact value."""


class HalfPrecisionError(TypeError):
    """NumPy's result would be float16, which the language does not have."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operator or function of the language.

    Parameters
    ----------
    name : str
        How the language spells it.
    numpy : callable
        Its meaning on arrays of the resolved dtypes.
    typing : numpy.ufunc
        Whose dtype rules it follows (mostly ``numpy`` itself).
    c : dict
        C text by operand kind. A key is some of the letters ``b i u f``; ``"f4"`` wins over ``"f"``
        for float32; ``"i,u"`` is for operands of two kinds. ``{n}`` is the operands' short C
        type, ``{s}`` the suffix of libm's functions.
    doc : str
        One line for people.
    ulp : float
        The largest distance from the exact value that native code may have, in units in the last
        place; 0 means bit for bit the same on every engine.
    ordered : bool
        True where complex operands make no sense.
    operands : int
        Number of operands where that is not the typing ufunc's.
    """

    name: str
    numpy: Callable[..., Any]
    typing: np.ufunc
    c: dict[str, str] = field(repr=False)
    doc: str = field(repr=False)
    ulp: float = 0
    ordered: bool = False
    operands: int = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Op) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> tuple[Callable[[str], Op], tuple[str]]:
        return by_name, (self.name,)

    @property
    def arity(self) -> int:
        """Return the number of operands."""
        return self.operands or self.typing.nin

    def resolve(self, *args: Type) -> tuple[tuple[np.dtype, ...], np.dtype]:
        """Return the operand dtypes and the result dtype, as NumPy promotes.

        Raises
        ------
        TypeError
            Where NumPy has no loop for the operands, or the operands have no order.
        HalfPrecisionError
            Where the result would be float16.
        """
        return resolved(self, args)

    def resolve_anew(self, args: tuple[Type, ...]) -> tuple[tuple[np.dtype, ...], np.dtype]:
        """Ask NumPy what `resolve` returns."""
        given = tuple(BOOL if a is bool else a for a in args)
        if self.ordered and any(a is complex or getattr(a, "kind", "") == "c" for a in given):
            raise TypeError("complex numbers have no order")
        if self.arity > self.typing.nin:
            joined = np.result_type(*map(sample, given))
            common = self.typing.resolve_dtypes((joined, joined, None))[-1]
            return (common,) * self.arity, common
        *operands, result = self.typing.resolve_dtypes((*given, *(None,) * self.typing.nout))
        if any(d == np.float16 for d in (*operands, result)):
            raise HalfPrecisionError(self.name)
        return tuple(operands), result

    def template(self, operands: tuple[np.dtype, ...]) -> str:
        """Return the C text for operands of these dtypes."""
        kinds = [d.kind for d in operands]
        first = operands[0]
        if len(set(kinds)) > 1 and (mixed := self.c.get(",".join(kinds))):
            return mixed
        if sized := self.c.get(f"{first.kind}{first.itemsize}"):
            return sized
        return next(text for letters, text in self.c.items() if first.kind in plain_kinds(letters))


@functools.lru_cache(maxsize=4096)
def resolved(op: Op, args: tuple[Type, ...]) -> tuple[tuple[np.dtype, ...], np.dtype]:
    """Return what `Op.resolve` does; NumPy is asked once for each operator and operand types."""
    return op.resolve_anew(args)


def plain_kinds(letters: str) -> str:
    """Return the operand kinds of a key of ``Op.c``; none where it is for one size, such as f4."""
    return "" if letters[-1].isdigit() else letters.split(",")[0]


def sample(t: Type) -> Any:
    """Return what stands for a type in ``np.result_type``."""
    return t if isinstance(t, np.dtype) else t(0)


def row(
    name: str,
    numpy: Callable[..., Any],
    c: dict[str, str] | str,
    doc: str,
    *,
    typing: np.ufunc | None = None,
    ulp: float = 0,
    ordered: bool = False,
    operands: int = 0,
) -> Op:
    """Return a row; a plain string of C is for floats, and typing defaults to ``numpy`` itself."""
    texts = {"f": c} if isinstance(c, str) else c
    follow = typing if typing is not None else numpy
    if not isinstance(follow, np.ufunc):
        raise TypeError(f"row {name!r} needs a ufunc to take its dtypes from")
    return Op(name, numpy, follow, texts, doc, ulp, ordered, operands)


def vector_math(
    name: str,
    numpy: Callable[..., Any],
    doc: str,
    *,
    typing: np.ufunc | None = None,
    ordered: bool = False,
) -> Op:
    """Return the row of a function that ``backend/vmath`` has under the language's own name."""
    follow = typing if typing is not None else numpy
    operands = ", ".join(f"{{{i}}}" for i in range(getattr(follow, "nin", 1)))
    text = f"vm_{name}_{{n}}({operands})"
    return row(name, numpy, text, doc, typing=typing, ulp=VECTOR_MATH_ULP, ordered=ordered)


def compare(name: str, numpy: np.ufunc, helper: str, doc: str, ordered: bool = True) -> Op:
    """Return the row of a comparison: exact also between int64 and uint64."""
    texts = {
        "biuf": f"((b8)({{0}} {name} {{1}}))",
        "i,u": f"me_{helper}_iu({{0}}, {{1}})",
        "u,i": f"me_{helper}_ui({{0}}, {{1}})",
    }
    return row(name, numpy, texts, doc, ordered=ordered)


WRAP = "(({n})({0} %s {1}))"
SAME = "{0}"

OPERATORS = (
    row("+", np.add, {"iuf": WRAP % "+", "b": "((b8)({0} | {1}))"}, "Sum; or of bools."),
    row("-", np.subtract, {"iuf": WRAP % "-"}, "Difference."),
    row("*", np.multiply, {"iuf": WRAP % "*", "b": "((b8)({0} & {1}))"}, "Product; and of bools."),
    row("/", np.true_divide, "({0} / {1})", "Quotient, a float also of integers."),
    row(
        "//",
        np.floor_divide,
        {"f": "vm_floordiv_{n}({0}, {1})", "iu": "me_floordiv_{n}({0}, {1})"},
        "Quotient rounded toward minus infinity; an integer divided by zero gives 0.",
        ordered=True,
    ),
    row(
        "%",
        np.remainder,
        {"f": "vm_mod_{n}({0}, {1})", "iu": "me_mod_{n}({0}, {1})"},
        "Remainder with the sign of the divisor; an integer modulo zero gives 0.",
        ordered=True,
    ),
    row(
        "**",
        meaning.power,
        {"f": "vm_pow_{n}({0}, {1})", "iu": "me_ipow_{n}({0}, {1})"},
        "Power; an integer to a negative integer power is an error.",
        typing=np.power,
        ulp=VECTOR_MATH_ULP,
    ),
    row("<<", np.left_shift, {"iu": "me_shl_{n}({0}, {1})"}, "Shift left; 0 past the width."),
    row(">>", np.right_shift, {"iu": "me_shr_{n}({0}, {1})"}, "Shift right, keeping the sign."),
    row("&", np.bitwise_and, {"biu": WRAP % "&"}, "Bitwise and."),
    row("|", np.bitwise_or, {"biu": WRAP % "|"}, "Bitwise or."),
    row("^", np.bitwise_xor, {"biu": WRAP % "^"}, "Bitwise exclusive or."),
    compare("<", np.less, "lt", "Less than."),
    compare("<=", np.less_equal, "le", "Less than or equal."),
    compare(">", np.greater, "gt", "Greater than."),
    compare(">=", np.greater_equal, "ge", "Greater than or equal."),
    compare("==", np.equal, "eq", "Equal.", ordered=False),
    compare("!=", np.not_equal, "ne", "Not equal.", ordered=False),
    row("u-", np.negative, {"iuf": "(({n})-({0}))"}, "Negation."),
    row("u+", np.positive, {"iuf": SAME}, "The operand itself."),
    row("~", np.invert, {"iu": "(({n})~({0}))", "b": "((b8)!({0}))"}, "Bitwise not."),
    row(
        "range_trips",
        meaning.range_trips,
        {"i": "me_trips({0}, {1}, {2})"},
        "Number of iterations of a range.",
        typing=np.add,
        operands=3,
    ),
)

FUNCTIONS = (
    row(
        "abs",
        np.absolute,
        {"f": "__builtin_fabs{s}({0})", "i": "me_abs_{n}({0})", "bu": SAME},
        "Absolute value.",
    ),
    row("sqrt", np.sqrt, "__builtin_sqrt{s}({0})", "Square root."),
    vector_math("cbrt", np.cbrt, "Cube root."),
    row(
        "square", np.square, {"iuf": "me_square_{n}({0})", "b": SAME}, "The operand times itself."
    ),
    vector_math("exp", np.exp, "e to the power x."),
    vector_math("exp2", np.exp2, "2 to the power x."),
    vector_math("exp10", meaning.exp10, "10 to the power x.", typing=np.exp2),
    vector_math("expm1", np.expm1, "exp(x) - 1 without cancellation near 0."),
    vector_math("log", np.log, "Natural logarithm."),
    vector_math("log2", np.log2, "Logarithm to base 2."),
    vector_math("log10", np.log10, "Logarithm to base 10."),
    vector_math("log1p", np.log1p, "log(1 + x) without cancellation near 0."),
    vector_math(
        "logaddexp", np.logaddexp, "log(exp(a) + exp(b)); close to 0 as precise as its terms."
    ),
    vector_math("sin", np.sin, "Sine of x, in radians."),
    vector_math("cos", np.cos, "Cosine of x, in radians."),
    vector_math("tan", np.tan, "Tangent of x, in radians."),
    vector_math("asin", np.arcsin, "Inverse sine, in radians."),
    vector_math("acos", np.arccos, "Inverse cosine, in radians."),
    vector_math("atan", np.arctan, "Inverse tangent, in radians."),
    vector_math("atan2", np.arctan2, "Angle of the point (x=b, y=a), in radians."),
    vector_math("sinh", np.sinh, "Hyperbolic sine."),
    vector_math("cosh", np.cosh, "Hyperbolic cosine."),
    vector_math("tanh", np.tanh, "Hyperbolic tangent."),
    vector_math("asinh", np.arcsinh, "Inverse hyperbolic sine."),
    vector_math("acosh", np.arccosh, "Inverse hyperbolic cosine."),
    vector_math("atanh", np.arctanh, "Inverse hyperbolic tangent."),
    vector_math("hypot", np.hypot, "sqrt(a**2 + b**2) without overflow."),
    row("floor", np.floor, {"f": "__builtin_floor{s}({0})", "biu": SAME}, "Round down."),
    row("ceil", np.ceil, {"f": "__builtin_ceil{s}({0})", "biu": SAME}, "Round up."),
    row("trunc", np.trunc, {"f": "__builtin_trunc{s}({0})", "biu": SAME}, "Round toward 0."),
    row("rint", np.rint, "__builtin_rint{s}({0})", "Round to the nearest, half to even."),
    row(
        "round",
        np.round,
        {"f": "__builtin_rint{s}({0})", "iu": SAME},
        "Round to the nearest, half to even; integers as they are.",
        typing=np.positive,
        ordered=True,
    ),
    row(
        "sign",
        np.sign,
        {"iu": "me_sign_{n}({0})", "f": "me_sign_{n}({0})"},
        "-1, 0 or 1; nan for nan.",
        ordered=True,
    ),
    row("copysign", np.copysign, "__builtin_copysign{s}({0}, {1})", "a with the sign of b."),
    row(
        "fmod",
        np.fmod,
        {"f": "vm_fmod_{n}({0}, {1})", "iu": "me_fmod_{n}({0}, {1})"},
        "Remainder with the sign of the dividend; an integer by zero gives 0.",
    ),
    row(
        "fmin",
        meaning.fmin,
        {"f": "me_fmin_{n}({0}, {1})", "biu": "me_minimum_{n}({0}, {1})"},
        "The smaller; a single nan is ignored.",
        typing=np.fmin,
        ordered=True,
    ),
    row(
        "fmax",
        meaning.fmax,
        {"f": "me_fmax_{n}({0}, {1})", "biu": "me_maximum_{n}({0}, {1})"},
        "The larger; a single nan is ignored.",
        typing=np.fmax,
        ordered=True,
    ),
    row(
        "minimum",
        meaning.minimum,
        {"biuf": "me_minimum_{n}({0}, {1})"},
        "The smaller; nan if either is nan.",
        typing=np.minimum,
        ordered=True,
    ),
    row(
        "maximum",
        meaning.maximum,
        {"biuf": "me_maximum_{n}({0}, {1})"},
        "The larger; nan if either is nan.",
        typing=np.maximum,
        ordered=True,
    ),
    row(
        "clip",
        meaning.clip,
        {"biuf": "me_minimum_{n}(me_maximum_{n}({0}, {1}), {2})"},
        "x held between low and high: minimum(maximum(x, low), high).",
        typing=np.maximum,
        ordered=True,
        operands=3,
    ),
    row(
        "isnan",
        np.isnan,
        {"f": "((b8)!!__builtin_isnan({0}))", "biu": "((b8)(0 & {0}))"},
        "Is it nan?",
    ),
    row(
        "isinf",
        np.isinf,
        {"f": "((b8)!!__builtin_isinf({0}))", "biu": "((b8)(0 & {0}))"},
        "Is it infinite?",
    ),
    row(
        "isfinite",
        np.isfinite,
        {"f": "((b8)!!__builtin_isfinite({0}))", "biu": "((b8)(1 | (0 & {0})))"},
        "Is it neither infinite nor nan?",
    ),
    row("signbit", np.signbit, "((b8)!!__builtin_signbit({0}))", "Is the sign bit set?"),
    row(
        "deg2rad",
        np.deg2rad,
        {"f4": "({0} * 0x1.1df46ap-6f)", "f": "({0} * 0x1.1df46a2529d39p-6)"},
        "Degrees to radians.",
    ),
    row(
        "rad2deg",
        np.rad2deg,
        {"f4": "({0} * 0x1.ca5dcp+5f)", "f": "({0} * 0x1.ca5dc1a63c1f8p+5)"},
        "Radians to degrees.",
    ),
    row("nextafter", np.nextafter, "nextafter{s}({0}, {1})", "The next float after a toward b."),
    row("ldexp", meaning.ldexp, "me_ldexp_{n}({0}, {1})", "a * 2**b.", typing=np.ldexp),
    vector_math("erf", meaning.erf, "Error function.", typing=np.exp, ordered=True),
    vector_math("erfc", meaning.erfc, "Complementary error function.", typing=np.exp,
                ordered=True),
    row("lgamma", meaning.lgamma, {"f4": "((f32)me_lgamma({0}))", "f": "me_lgamma({0})"},
        "Logarithm of the absolute value of the gamma function.", typing=np.exp, ulp=4,
        ordered=True),
    row("tgamma", meaning.tgamma, {"f4": "((f32)tgamma({0}))", "f": "tgamma({0})"},
        "Gamma function.", typing=np.exp, ulp=4, ordered=True),
    vector_math("sinpi", meaning.sinpi, "sin(pi * x), exact at whole numbers.", typing=np.exp,
                ordered=True),
    vector_math("cospi", meaning.cospi, "cos(pi * x), exact at half numbers.", typing=np.exp,
                ordered=True),
    row("fdim", meaning.fdim, "me_fdim_{n}({0}, {1})", "a - b where that is positive, else 0.",
        typing=np.hypot),
    row("heaviside", meaning.heaviside, "me_heaviside_{n}({0}, {1})",
        "0, b or 1 for negative, zero or positive a.", typing=np.heaviside),
)  # fmt: skip

ALIASES = {
    "absolute": "abs",
    "ln": "log",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "radians": "deg2rad",
    "degrees": "rad2deg",
}
"""Further spellings of functions. ``power``, ``pow`` and ``remainder`` are the operators."""

SPELT_AS_OPERATOR = {"power": "**", "pow": "**", "remainder": "%"}

TABLE = {op.name: op for op in (*OPERATORS, *FUNCTIONS)}
BY_FUNCTION_NAME = {
    **{op.name: op for op in FUNCTIONS},
    **{alias: TABLE[name] for alias, name in (ALIASES | SPELT_AS_OPERATOR).items()},
}
ENGINE_CHOICES = {"where", "min", "max"}
"""Functions that are IR nodes, not rows: they choose between operands."""

CASTS: dict[str, Type] = {
    "int": int,
    "float": float,
    "bool": bool,
    "bool_": BOOL,
    **{
        np.dtype(name).name: np.dtype(name)
        for name in "int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
        "float32 float64 complex64 complex128".split()
    },
}
"""Casts by name; under ``np.``, ``bool`` is the strong one."""

FUNCTION_NAMES = frozenset({*BY_FUNCTION_NAME, *ENGINE_CHOICES, *CASTS, *REDUCTIONS})
"""Every name that a kernel may call."""

CONSTANTS = {"pi": np.pi, "e": np.e, "inf": np.inf, "nan": np.nan}

RANGE_TRIPS_DTYPES = ((INT64,) * 3, UINT64)


def by_name(name: str) -> Op:
    """Return the row of that name."""
    return TABLE[name]
