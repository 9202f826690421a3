"""What to write instead: tables of what people write that no kernel has."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable

REJECTED: dict[type[ast.AST], tuple[str, str]] = {
    ast.AsyncFor: ("an 'async for' loop", "use a plain 'for' over range()"),
    ast.AsyncFunctionDef: ("an async function", "write its statements into the kernel"),
    ast.AsyncWith: ("an 'async with' block", "a kernel has no resources to manage"),
    ast.AnnAssign: ("an annotated assignment", "write 'x = ...'; np.float32(...) sets a dtype"),
    ast.Assert: ("an 'assert'", "kernels cannot raise; return nan where something is wrong"),
    ast.Await: ("'await'", "a kernel is plain arithmetic"),
    ast.ClassDef: ("a class", "a kernel sees numbers only"),
    ast.Delete: ("a 'del'", "leave the name alone; it costs nothing"),
    ast.Dict: ("a dictionary", "a kernel sees numbers only; use if/elif"),
    ast.DictComp: ("a dict comprehension", "a kernel sees one element; use a 'for' loop"),
    ast.FunctionDef: ("a nested function", "move it above the kernel"),
    ast.GeneratorExp: ("a generator expression", "a kernel sees one element; use a 'for' loop"),
    ast.Global: ("a 'global' statement", "make the name a parameter"),
    ast.Import: ("an import", "np., numpy. and math. functions need no import here"),
    ast.ImportFrom: ("an import", "np., numpy. and math. functions need no import here"),
    ast.JoinedStr: ("an f-string", "a kernel sees numbers only"),
    ast.Lambda: ("a lambda", "write the expression where it is used"),
    ast.List: ("a list", "a kernel sees one element; use temporaries"),
    ast.ListComp: ("a list comprehension", "a kernel sees one element; use a 'for' loop"),
    ast.Match: ("a 'match' statement", "use if/elif/else"),
    ast.NamedExpr: ("':='", "assign on a line of its own"),
    ast.Nonlocal: ("a 'nonlocal' statement", "make the name a parameter"),
    ast.Raise: ("a 'raise'", "kernels cannot raise; return nan where something is wrong"),
    ast.Set: ("a set", "a kernel sees numbers only; use comparisons joined by 'or'"),
    ast.SetComp: ("a set comprehension", "a kernel sees one element; use a 'for' loop"),
    ast.Slice: ("a slice", "a kernel sees one element; slice the array before the call"),
    ast.Starred: ("a starred expression", "name each value"),
    ast.Subscript: ("a subscript", "a kernel sees one element; pass what it needs as parameters"),
    ast.Try: ("a 'try' statement", "kernels cannot raise; test the condition with 'if'"),
    ast.Tuple: ("a tuple", "tuples stand only in assignments and after return"),
    ast.With: ("a 'with' block", "a kernel has no resources to manage"),
    ast.Yield: ("'yield'", "return one value for each element"),
    ast.YieldFrom: ("'yield from'", "return one value for each element"),
}
if hasattr(ast, "TryStar"):
    REJECTED[ast.TryStar] = REJECTED[ast.Try]

OPERATOR_REJECTED = {
    ast.MatMult: ("'@'", "a kernel sees one element; multiply with '*'"),
    ast.Is: ("'is'", "compare numbers with '=='"),
    ast.IsNot: ("'is not'", "compare numbers with '!='"),
    ast.In: ("'in'", "write comparisons joined by 'or'"),
    ast.NotIn: ("'not in'", "write comparisons joined by 'and'"),
}

CALL_HINTS = {
    "print": "decorate the function with @mexdask.kernel and call k.py_func(1.0) in a debugger",
    "len": "a kernel sees one element; pass the length as a parameter",
    "divmod": "write 'a // b' and 'a % b'",
    "range": "range() stands only in 'for i in range(...)'",
    "complex": "pass complex numbers as arguments",
    "float16": "use np.float32: the language has no float16",
    "half": "use np.float32: the language has no float16",
    "single": "use np.float32",
    "double": "use np.float64",
    "vectorize": "a kernel already runs for each element",
    "isclose": "write abs(a - b) <= tolerance",
    "add": "write 'a + b'",
    "subtract": "write 'a - b'",
    "multiply": "write 'a * b'",
    "divide": "write 'a / b'",
    "true_divide": "write 'a / b'",
    "floor_divide": "write 'a // b'",
    "mod": "write 'a % b'",
    "negative": "write '-a'",
    "logical_and": "write 'a and b'",
    "logical_or": "write 'a or b'",
    "logical_not": "write 'not a'",
    "logical_xor": "write '(not a) != (not b)'",
    "bitwise_and": "write 'a & b'",
    "bitwise_or": "write 'a | b'",
    "bitwise_xor": "write 'a ^ b'",
    "invert": "write '~a'",
    "left_shift": "write 'a << b'",
    "right_shift": "write 'a >> b'",
    "select": "write if/elif/else",
    "piecewise": "write if/elif/else",
    "fabs": "write 'abs(a)'",
    "sgn": "write 'sign(a)'",
    "fix": "write 'trunc(a)'",
    "gamma": "write 'tgamma(a)'",
    "gammaln": "write 'lgamma(a)'",
}

OUTSIDE = "compute it outside, and pass it as a parameter"
ONE_ELEMENT = "a kernel sees one element; compute it outside"
CALL_HINTS |= {
    "std": "write sqrt(mean((x - mean(x)) ** 2))",
    "var": "write mean((x - mean(x)) ** 2)",
    "nanstd": "write sqrt(nanmean((x - nanmean(x)) ** 2))",
    "nanvar": "write nanmean((x - nanmean(x)) ** 2)",
    "ptp": "write max(x) - min(x)",
    "average": "write sum(weight * x) / sum(weight)",
    "count_nonzero": "write sum(x != 0)",
    "dot": "write sum(a * b)",
    "nan_to_num": "write 'x if isfinite(x) else 0.0'",
    "isin": "write comparisons joined by 'or'",
    "iinfo": "give the number a name above the kernel, such as MOST = np.iinfo(np.int16).max",
    "finfo": "give the number a name above the kernel, such as EPS = np.finfo(np.float32).eps",
    "arange": "index symbols such as _i0 count elements",
    **dict.fromkeys("median nanmedian percentile nanpercentile quantile nanquantile".split(),
                    OUTSIDE),
    **dict.fromkeys("rand randn random normal uniform randint integers".split(),
                    "pass an array of random numbers"),
    **dict.fromkeys("zeros ones empty full zeros_like ones_like empty_like full_like".split(),
                    "write the number: a kernel sees one element"),
    **dict.fromkeys("argmax argmin argsort sort cumsum cumprod diff gradient interp roll unique "
                    "convolve histogram digitize searchsorted matmul einsum concatenate".split(),
                    ONE_ELEMENT),
}  # fmt: skip
"""What NumPy has for arrays."""

METHOD_HINTS = {
    "astype": "write np.float32(x), or another dtype's name",
    "item": "leave it out: a kernel sees numbers",
    "copy": "leave it out: a kernel sees numbers",
    "std": CALL_HINTS["std"],
    "var": CALL_HINTS["var"],
    "fillna": "write 'b if isnan(x) else x'",
    "where": "write 'x if condition else other'",
    "isnull": "write isnan(x)",
    "notnull": "write 'not isnan(x)'",
}

NAME_HINTS = {
    "true": "write 'True'",
    "false": "write 'False'",
    "TRUE": "write 'True'",
    "FALSE": "write 'False'",
    "null": "kernels compute with numbers only; nan may stand for 'missing'",
    "NULL": "kernels compute with numbers only; nan may stand for 'missing'",
    "NaN": "write 'nan'",
    "NAN": "write 'nan'",
    "Inf": "write 'inf'",
    "Infinity": "write 'inf'",
    "PI": "write 'pi'",
    "tau": "write '2 * pi'",
    "newaxis": "a kernel sees one element",
    **{f"_{kind}{n}": f"they go from _{kind}0 to _{kind}7" for kind in "in" for n in (8, 9)},
}

KEYWORD = r"(?:if|else|and|or|in|is|not|for)\b"
PLAIN_PYTHON = "a kernel is plain Python: one def, or one expression"
SYNTAX_HINTS = (
    (re.compile(r"&&"), "write 'and'"),
    (re.compile(r"\|\|"), "write 'or'"),
    (re.compile(r"!(?!=)"), "write 'not'"),
    (re.compile(r"\?"), "write 'a if condition else b'"),
    (re.compile(r"\+\+|--"), "write 'x += 1' or 'x -= 1'"),
    (re.compile(r"\belse\s+if\b"), "write 'elif'"),
    (re.compile(r"\b(?:elseif|elsif) +\w*"), "write 'elif'"),
    (re.compile(r"\bthen\b"), "write 'a if condition else b'"),
    (re.compile(r"=<"), "write '<='"),
    (re.compile(r"=>"), "write '>='"),
    (re.compile(r"->"), "write 'def name(x):' with a return"),
    (
        re.compile(rf"\b(?!0[xob])\d[\d.]* *(?!{KEYWORD}|[ej])[a-z_]\w*", re.IGNORECASE),
        "write '*' for a product",
    ),
    (re.compile(r"<>"), "write '!='"),
    (re.compile(r"[\u2010-\u2015\u2212]"), "write '-'"),
    (re.compile(r"[×·⋅∙]"), "write '*'"),
    (re.compile(r"÷"), "write '/'"),
    (re.compile(r"[²³]"), "write '**2' or '**3'"),
    (re.compile(r"≤"), "write '<='"),
    (re.compile(r"≥"), "write '>='"),
    (re.compile(r"≠"), "write '!='"),
    (re.compile(r"√"), "write 'sqrt(...)'"),
    (re.compile(r"∞"), "write 'inf'"),
)
"""What other languages and word processors write, and what Python wants there instead."""


def near(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return a did-you-mean hint; letters in another order or case are close too."""
    names = sorted(known)
    alike = [n for n in names if sorted(n.lower()) == sorted(name.lower())]
    close = alike or difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    return f"did you mean {close[0]!r}? Otherwise {otherwise}" if close else otherwise
