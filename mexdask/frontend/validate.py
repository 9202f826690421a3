"""Is it in the language? Every complaint about a parsed kernel, collected before any is raised."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterable

from mexdask.errors import Diagnostic, KernelSyntaxError, Span
from mexdask.frontend.parse import FUNCTION_NAMES, MODULES, Parsed, span_of
from mexdask.ops import BY_FUNCTION_NAME, CASTS, CONSTANTS

MAX_LOCALS = 256

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
    ast.FunctionDef: ("a nested function", "write its statements into the kernel"),
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
    ast.Tuple: ("a tuple", "tuples stand only in assignments: a, b = b, a"),
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
    "vectorize": "a kernel already runs for each element",
    "isclose": "write abs(a - b) <= tolerance",
}

REDUCTIONS = frozenset("sum prod mean any all nansum nanmean nanmin nanmax".split())
INDEX_SYMBOL = re.compile(r"_[in][0-7]|_ndim|_flat_idx")


def validate(parsed: Parsed) -> None:
    """Raise ``KernelSyntaxError`` with every complaint if the kernel is outside the language."""
    checker = Checker(parsed)
    checker.run()
    if checker.complaints:
        ordered = sorted(checker.complaints, key=lambda d: (d.span.line, d.span.col))
        raise KernelSyntaxError(parsed.source, tuple(dict.fromkeys(ordered)))


class Checker:
    """One walk over a kernel's body; each method handles one group of nodes."""

    def __init__(self, parsed: Parsed):
        self.parsed = parsed
        self.complaints: list[Diagnostic] = []
        self.variables = {*parsed.parameters, *assigned_names(parsed.body)}
        self.loops = 0

    def run(self) -> None:
        """Collect the complaints."""
        for name in self.parsed.parameters:
            if INDEX_SYMBOL.fullmatch(name):
                self.complain("reserved-name", f"{name!r} is an index symbol of the language",
                              self.place_of_parameter(name), "choose another name")  # fmt: skip
        if len(self.variables) > MAX_LOCALS:
            self.complain("too-large", f"the kernel has more than {MAX_LOCALS} variables",
                          Span(1, 0, 1), "reuse temporaries, or split the kernel")  # fmt: skip
        self.statements(self.parsed.body)

    def place_of_parameter(self, name: str) -> Span:
        """Return where a parameter is written."""
        definition = self.parsed.definition
        arguments = [*definition.args.posonlyargs, *definition.args.args] if definition else []
        return next((span_of(a) for a in arguments if a.arg == name), Span(1, 0, 1))

    def complain(self, code: str, message: str, at: ast.AST | Span, hint: str = "") -> None:
        """Note one complaint."""
        span = at if isinstance(at, Span) else span_of(at)
        self.complaints.append(Diagnostic(code, message, span, hint))

    def reject(self, node: ast.AST) -> None:
        """Complain about a construct by its entry in REJECTED, or in general terms."""
        what, hint = REJECTED.get(type(node), (f"'{type(node).__name__}'", "use simpler Python"))
        span = span_of(node)
        if isinstance(node, ast.stmt) and what.count("'") == 2:
            word = what.split("'")[1]
            span = Span(span.line, span.col, span.col + len(word.split()[0]))
        self.complain("unsupported-syntax", f"{what} is not part of the kernel language", span, hint)

    def statements(self, body: Iterable[ast.stmt]) -> None:
        """Check each statement."""
        for statement in body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        """Check one statement."""
        match node:
            case ast.Assign(targets, value):
                for target in targets:
                    self.target(target, value)
                self.assigned_value(targets, value)
            case ast.AugAssign(target, operator, value):
                self.target(target, None)
                self.operator(operator, node)
                self.expression(value)
            case ast.If(test, body, orelse):
                self.expression(test)
                self.statements(body)
                self.statements(orelse)
            case ast.For() | ast.While():
                self.loop(node)
            case ast.Break() | ast.Continue():
                if not self.loops:
                    word = type(node).__name__.lower()
                    self.complain("outside-loop", f"'{word}' outside a loop", node, "remove it")
            case ast.Return(value):
                self.result(node, value)
            case ast.Pass():
                pass
            case ast.Expr(value):
                self.bare_expression(value)
            case _:
                self.reject(node)

    def bare_expression(self, value: ast.expr) -> None:
        """Complain about an expression whose value goes nowhere."""
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return
        known = len(self.complaints)
        self.expression(value)
        if len(self.complaints) == known:
            self.complain("unused-value", "the value of this expression is not used", value,
                          "assign it to a name, or return it")  # fmt: skip

    def result(self, node: ast.Return, value: ast.expr | None) -> None:
        """Check a ``return``."""
        if value is None:
            self.complain("empty-return", "'return' without a value", node, "return a number")
        elif isinstance(value, ast.Tuple):
            self.complain("several-results", "several results are not supported yet", value,
                          "return one value; call one kernel for each result")  # fmt: skip
        else:
            self.expression(value)

    def loop(self, node: ast.For | ast.While) -> None:
        """Check a loop."""
        if node.orelse:
            self.complain("unsupported-syntax", "an 'else' of a loop is not part of the kernel language",
                          node.orelse[0], "set a flag before 'break' and test it after the loop")  # fmt: skip
        if isinstance(node, ast.While):
            self.expression(node.test)
        else:
            self.range_call(node.iter)
            if not isinstance(node.target, ast.Name):
                self.complain("bad-target", "a loop counts with one name", node.target,
                              "write 'for i in range(...)'")  # fmt: skip
            elif INDEX_SYMBOL.fullmatch(node.target.id):
                self.target(node.target, None)
        self.loops += 1
        self.statements(node.body)
        self.loops -= 1

    def range_call(self, node: ast.expr) -> None:
        """Check what a ``for`` runs over."""
        match node:
            case ast.Call(ast.Name("range"), args, []) if "range" not in self.variables:
                if not 1 <= len(args) <= 3:
                    self.complain("wrong-arity", f"range() takes 1 to 3 arguments, not {len(args)}",
                                  node, "write range(stop), range(start, stop) or "
                                  "range(start, stop, step)")  # fmt: skip
                for argument in args:
                    self.expression(argument)
            case _:
                self.complain("bad-iterable", "a kernel's 'for' runs over range() only", node,
                              "write 'for i in range(...)'")  # fmt: skip

    def target(self, node: ast.expr, value: ast.expr | None) -> None:
        """Check what is assigned to."""
        match node:
            case ast.Name(name):
                if INDEX_SYMBOL.fullmatch(name):
                    self.complain("reserved-name", f"{name!r} is an index symbol of the language", node,
                                  "choose another name")  # fmt: skip
            case ast.Tuple(elements) | ast.List(elements) if value is not None:
                if not isinstance(value, ast.Tuple) or len(value.elts) != len(elements):
                    self.complain("bad-target", f"{len(elements)} names need {len(elements)} values "
                                  "beside them", node, "write 'a, b = x, y'")  # fmt: skip
                for element in elements:
                    if isinstance(element, (ast.Tuple, ast.List)):
                        self.complain("bad-target", "nested targets are not part of the kernel "
                                      "language", element, "assign in two statements")  # fmt: skip
                    else:
                        self.target(element, None)
            case _ if type(node) in REJECTED:
                self.reject(node)
            case _:
                self.complain("bad-target", "only names can be assigned to", node, "use a temporary")

    def assigned_value(self, targets: list[ast.expr], value: ast.expr) -> None:
        """Check the right side of an assignment; a tuple belongs there beside tuple targets."""
        if isinstance(value, ast.Tuple) and any(isinstance(t, (ast.Tuple, ast.List)) for t in targets):
            for element in value.elts:
                self.expression(element)
        else:
            self.expression(value)

    def operator(self, operator: ast.AST, node: ast.AST) -> None:
        """Check an operator; its own place is unknown to Python, so the expression is marked."""
        if entry := OPERATOR_REJECTED.get(type(operator)):
            self.complain("unsupported-operator", f"{entry[0]} is not part of the kernel language",
                          node, entry[1])  # fmt: skip

    def expression(self, node: ast.expr) -> None:
        """Check one expression."""
        match node:
            case ast.Constant(value):
                self.literal(node, value)
            case ast.Name():
                self.name(node)
            case ast.BinOp(left, operator, right):
                self.operator(operator, node)
                self.expression(left)
                self.expression(right)
            case ast.UnaryOp(_, operand):
                self.expression(operand)
            case ast.BoolOp(_, values):
                for value in values:
                    self.expression(value)
            case ast.Compare(left, operators, comparators):
                for operator in operators:
                    self.operator(operator, node)
                for operand in (left, *comparators):
                    self.expression(operand)
            case ast.IfExp(test, body, orelse):
                for part in (test, body, orelse):
                    self.expression(part)
            case ast.Call():
                self.call(node)
            case ast.Attribute():
                self.attribute(node)
            case _:
                self.reject(node)

    def literal(self, node: ast.expr, value: object) -> None:
        """Check a literal."""
        if isinstance(value, (bool, int, float)):
            return
        what = {str: "a string", bytes: "a bytes literal", complex: "a complex literal"}.get(
            type(value), f"'{value}'"
        )
        hint = (
            "pass complex numbers as arguments"
            if isinstance(value, complex)
            else "kernels compute with numbers only"
        )
        self.complain("bad-literal", f"{what} is not part of the kernel language", node, hint)

    def name(self, node: ast.Name) -> None:
        """Check a name that is read."""
        name = node.id
        if name in self.variables or name in CONSTANTS:
            return
        if INDEX_SYMBOL.fullmatch(name):
            self.complain("index-symbol", f"the index symbol {name!r} is not supported yet", node,
                          "pass an array of indices, such as da.arange(n)")  # fmt: skip
        elif name in FUNCTION_NAMES or name in REDUCTIONS:
            self.complain("function-as-value", f"function {name!r} is used as a value", node,
                          f"call it: {name}(...)")  # fmt: skip
        else:
            known = [*self.variables, *CONSTANTS]
            self.complain("unknown-name", f"unknown name {name!r}", node,
                          self.near(name, known, "make it a parameter of the kernel"))  # fmt: skip

    def near(self, name: str, known: Iterable[str], otherwise: str) -> str:
        """Return a did-you-mean hint."""
        close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
        return f"did you mean {close[0]!r}? Otherwise {otherwise}" if close else otherwise

    def attribute(self, node: ast.Attribute) -> None:
        """Check ``np.pi`` and the like; other attributes are not numbers."""
        match node:
            case ast.Attribute(ast.Name(module), name) if self.is_module(module):
                if name in FUNCTION_NAMES:
                    self.complain("function-as-value", f"function '{module}.{name}' is used as a value",
                                  node, f"call it: {module}.{name}(...)")  # fmt: skip
                elif name not in CONSTANTS:
                    self.complain("unknown-name", f"unknown constant '{module}.{name}'", node,
                                  self.near(name, CONSTANTS, "make it a parameter of the kernel"))  # fmt: skip
            case _:
                self.complain("unsupported-syntax",
                              f"attribute '.{node.attr}' is not part of the kernel language", node,
                              "a kernel sees numbers only; pass what it needs as parameters")  # fmt: skip

    def is_module(self, name: str) -> bool:
        """Tell whether a name stands for NumPy or math here."""
        return name in MODULES and (self.parsed.is_expression or name not in self.variables)

    def call(self, node: ast.Call) -> None:
        """Check a call: a known function, the right number of plain arguments."""
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                self.reject(argument)
            else:
                self.expression(argument)
        for keyword in node.keywords:
            self.complain("keyword-argument", "keyword arguments are not part of the kernel language",
                          keyword.value, "give the arguments by position")  # fmt: skip
            self.expression(keyword.value)
        match node.func:
            case ast.Name(name):
                self.called_name(node, name)
            case ast.Attribute(ast.Name(module), name) if self.is_module(module):
                self.called(node, f"{module}.{name}", name)
            case ast.Attribute(value, attribute):
                self.complain("unsupported-syntax",
                              f"method '.{attribute}()' is not part of the kernel language", node.func,
                              "use a function, such as abs(x) or clip(x, low, high)")  # fmt: skip
                self.expression(value) if not isinstance(value, ast.Name) else None
            case _:
                self.complain("unsupported-syntax", "this call is not part of the kernel language",
                              node.func, "call a function by its name")  # fmt: skip

    def called_name(self, node: ast.Call, name: str) -> None:
        """Check a call by a bare name, which a variable may shadow."""
        if name in self.variables and not self.parsed.is_expression:
            self.complain("not-a-function", f"{name!r} is a number here, not a function", node.func,
                          f"rename the variable {name!r}" if name in FUNCTION_NAMES
                          else "write '*' for a product")  # fmt: skip
        else:
            self.called(node, name, name)

    def called(self, node: ast.Call, spelt: str, name: str) -> None:
        """Check a call of a function by its name in the table."""
        count = len(node.args)
        if name in REDUCTIONS or (name in ("min", "max") and count == 1):
            self.complain("reduction", f"the reduction {spelt}() is not supported yet", node.func,
                          "reduce the array before or after the call, such as da.mean(x)")  # fmt: skip
        elif spelt == "math.remainder":
            self.complain("unknown-function", "math.remainder rounds its quotient, unlike np.remainder",
                          node.func, "write a - b * rint(a / b), or np.remainder(a, b)")  # fmt: skip
        elif name not in FUNCTION_NAMES:
            hint = CALL_HINTS.get(name) or self.near(
                name, FUNCTION_NAMES, "write its statements into the kernel"
            )
            self.complain("unknown-function", f"unknown function '{spelt}'", node.func, hint)
        elif not self.arity_fits(name, count) and not node.keywords:
            self.complain("wrong-arity", f"{spelt}() takes {arity_text(name)}, not {count}", node,
                          arity_hint(name))  # fmt: skip

    def arity_fits(self, name: str, count: int) -> bool:
        """Tell whether a function takes that many arguments."""
        if name in ("min", "max"):
            return count >= 2
        return count == expected_arity(name)


def expected_arity(name: str) -> int:
    """Return how many arguments a function of fixed arity takes."""
    if name in CASTS:
        return 1
    return 3 if name == "where" else BY_FUNCTION_NAME[name].arity


def arity_text(name: str) -> str:
    """Return how many arguments a function takes, in words."""
    if name in ("min", "max"):
        return "2 or more arguments"
    count = expected_arity(name)
    return f"{count} argument{'s' if count > 1 else ''}"


def arity_hint(name: str) -> str:
    """Return how a call of the function looks."""
    if name == "round":
        return "round to other places by scaling: round(x * 100) / 100"
    if name == "log":
        return "divide for another base: log(x) / log(base)"
    if name in ("min", "max"):
        return f"write {name}(a, b)"
    return f"write {name}({', '.join('abc'[: expected_arity(name)])})"


def assigned_names(body: Iterable[ast.stmt]) -> set[str]:
    """Return the names that the statements assign."""
    return {
        n.id
        for statement in body
        for n in ast.walk(statement)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
