"""Is it in the language? Every complaint about a parsed kernel, collected before any is raised."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass

from mexdask.errors import Diagnostic, KernelSyntaxError, Span
from mexdask.frontend.arity import (
    arity_fits,
    arity_hint,
    arity_text,
    counted,
    expected_arity,
    result_count,
    value_count,
)
from mexdask.frontend.hints import (
    CALL_HINTS,
    METHOD_HINTS,
    NAME_HINTS,
    OPERATOR_REJECTED,
    REJECTED,
    near,
)
from mexdask.frontend.nodes import head_of, is_reduction, operator_between, span_of
from mexdask.frontend.parse import (
    DIMENSION_SYMBOL,
    INDEX_SYMBOL,
    MODULES,
    Constant,
    Parsed,
    reserved,
)
from mexdask.frontend.recursion import recursion
from mexdask.ops import CONSTANTS, FUNCTION_NAMES

TIMES = "write '*' for a product"
MAX_LOCALS = 256
MAX_LOOPS = 20
"""Loops in loops that Python itself takes."""


def validate(parsed: Parsed) -> None:
    """Raise ``KernelSyntaxError`` with every complaint if the kernel is outside the language."""
    own = {parsed.definition.name: parsed} if parsed.definition else {}
    known = Known(parsed.constants, {**parsed.helpers, **own})
    complaints = [*recursion(known.functions)]
    for function in (*parsed.helpers.values(), parsed):
        checker = Checker(function, known)
        checker.run()
        complaints += checker.complaints
    if complaints:
        ordered = sorted(complaints, key=lambda d: (d.span.line, d.span.col))
        raise KernelSyntaxError(parsed.source, tuple(dict.fromkeys(ordered)))


@dataclass(frozen=True, slots=True)
class Known:
    """The names that stand beside the functions of a source."""

    constants: dict[str, Constant]
    functions: dict[str, Parsed]


class Checker:
    """One walk over a function's body; each method handles one group of nodes."""

    def __init__(self, parsed: Parsed, known: Known):
        self.parsed = parsed
        self.known = known
        self.complaints: list[Diagnostic] = []
        self.variables = set(parsed.variables)
        self.results = result_count(parsed, known.functions)
        self.loops = 0

    def run(self) -> None:
        """Collect the complaints."""
        for name in self.parsed.parameters:
            if not self.parsed.is_expression:
                self.reserved(name, self.place_of_parameter(name))
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
        match node:
            case ast.AnnAssign():
                span = span_of(node.annotation)
            case ast.stmt() if what.count("'") == 2:
                word = what.split("'")[1].split()[0]
                span = Span(node.lineno, node.col_offset, node.col_offset + len(word))
            case ast.stmt():
                span = head_of(node, self.parsed.lines)
            case _:
                span = span_of(node)
        self.unsupported(what, span, hint)

    def unsupported(self, what: str, at: ast.AST | Span, hint: str) -> None:
        """Complain about a construct that no kernel has."""
        message = f"{what} is not part of the kernel language"
        self.complain("unsupported-syntax", message, at, hint)

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
                self.operator(operator, target, value)
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
            return
        count = value_count(value, self.known.functions)
        if count != self.results:
            self.complain("several-results", f"a return of {counted(count)}, after one of "
                          f"{counted(self.results)}", value,
                          "give the same number of results at every return")  # fmt: skip
        elif isinstance(value, ast.Tuple) and count < 2:
            self.complain("several-results", f"a tuple of {counted(count)}", value,
                          "return a number, or two and more")  # fmt: skip
        self.several(value)

    def several(self, value: ast.expr) -> None:
        """Check what may be a tuple: several expressions, or a call that gives several results."""
        if isinstance(value, ast.Tuple):
            for element in value.elts:
                self.expression(element)
        elif isinstance(value, ast.Call):
            self.call(value)
        else:
            self.expression(value)

    def loop(self, node: ast.For | ast.While) -> None:
        """Check a loop."""
        if node.orelse:
            self.unsupported("an 'else' of a loop", self.place_of_else(node),
                             "set a flag before 'break' and test it after the loop")  # fmt: skip
        if isinstance(node, ast.While):
            self.expression(node.test)
        else:
            self.range_call(node.iter)
            if not isinstance(node.target, ast.Name):
                self.complain("bad-target", "a loop counts with one name", node.target,
                              "write 'for i in range(...)'")  # fmt: skip
            else:
                self.reserved(node.target.id, node.target)
        self.loops += 1
        if self.loops == MAX_LOOPS + 1:
            self.complain(
                "too-large",
                f"more than {MAX_LOOPS} loops in one another",
                head_of(node, self.parsed.lines),
                "join some of them into one range",
            )
        self.statements(node.body)
        self.loops -= 1

    def place_of_else(self, node: ast.For | ast.While) -> Span:
        """Return where the ``else`` of a loop is written."""
        for number in range(node.orelse[0].lineno, node.body[-1].lineno, -1):
            if m := re.match(rb"\s*(else)\b", self.parsed.lines[number - 1]):
                return Span(number, m.start(1), m.end(1))
        return span_of(node.orelse[0])

    def range_call(self, node: ast.expr) -> None:
        """Check what a ``for`` runs over."""
        match node:
            case ast.Call(ast.Name("range"), args, []) if "range" not in self.variables:
                if not 1 <= len(args) <= 3:
                    hint = "write range(stop), range(start, stop) or range(start, stop, step)"
                    self.wrong_arity("range", "1 to 3 arguments", node, 3, hint)
                for argument in args:
                    self.expression(argument)
            case _:
                self.complain("bad-iterable", "a kernel's 'for' runs over range() only", node,
                              "write 'for i in range(...)'")  # fmt: skip

    def target(self, node: ast.expr, value: ast.expr | None) -> None:
        """Check what is assigned to."""
        match node:
            case ast.Name(name):
                self.reserved(name, node)
            case ast.Tuple(elements) | ast.List(elements) if value is not None:
                if value_count(value, self.known.functions) != len(elements):
                    self.complain(
                        "bad-target",
                        f"{len(elements)} names need {len(elements)} values beside them",
                        node,
                        "write 'a, b = x, y'",
                    )
                for element in elements:
                    if isinstance(element, (ast.Tuple, ast.List)):
                        self.complain("bad-target", "nested targets are not part of the kernel "
                                      "language", element, "assign in two statements")  # fmt: skip
                    else:
                        self.target(element, None)
            case _ if type(node) in REJECTED:
                self.reject(node)
            case _:
                self.complain("bad-target", "only names can be assigned to", node,
                              "assign to a name of its own")  # fmt: skip

    def reserved(self, name: str, at: ast.AST | Span) -> None:
        """Complain about a name that no variable can have."""
        if found := reserved(name, at if isinstance(at, Span) else span_of(at)):
            self.complaints.append(found)

    def assigned_value(self, targets: list[ast.expr], value: ast.expr) -> None:
        """Check the right side of an assignment; a tuple belongs there beside tuple targets."""
        if any(isinstance(t, (ast.Tuple, ast.List)) for t in targets):
            self.several(value)
        else:
            self.expression(value)

    def operator(self, operator: ast.operator | ast.cmpop, left: ast.expr, right: ast.expr) -> None:
        """Check the operator between two operands."""
        if entry := OPERATOR_REJECTED.get(type(operator)):
            place = operator_between(left, right, self.parsed.lines) or span_of(right)
            message = f"{entry[0]} is not part of the kernel language"
            self.complain("unsupported-operator", message, place, entry[1])

    def expression(self, node: ast.expr) -> None:
        """Check one expression."""
        match node:
            case ast.Constant(value):
                self.literal(node, value)
            case ast.Name():
                self.name(node)
            case ast.BinOp(left, operator, right):
                self.operator(operator, left, right)
                self.expression(left)
                self.expression(right)
            case ast.UnaryOp(_, operand):
                self.expression(operand)
            case ast.BoolOp(_, values):
                for operand in values:
                    self.expression(operand)
            case ast.Compare(left, operators, comparators):
                chain = [left, *comparators]
                for comparison, *pair in zip(operators, chain, comparators, strict=False):
                    self.operator(comparison, *pair)
                for operand in chain:
                    self.expression(operand)
            case ast.IfExp(test, body, orelse):
                for part in (test, body, orelse):
                    self.expression(part)
            case ast.Call():
                count = value_count(node, self.known.functions)
                if count > 1:
                    name = ast.unparse(node.func)
                    self.complain("several-results", f"{name}() gives {counted(count)}", node.func,
                                  f"take them apart: a, b = {name}(...)")  # fmt: skip
                self.call(node)
            case ast.Attribute():
                self.attribute(node)
            case _:
                self.reject(node)

    def literal(self, node: ast.expr, value: object) -> None:
        """Check a literal."""
        if isinstance(value, (bool, int, float)):
            return
        what, hint = {
            str: ("a string", "kernels compute with numbers only"),
            bytes: ("a bytes literal", "kernels compute with numbers only"),
            complex: ("a complex literal", "pass complex numbers as arguments"),
            type(None): (
                "'None'",
                "kernels compute with numbers only; nan may stand for 'missing'",
            ),
            type(...): ("'...'", "write what the kernel gives"),
        }.get(type(value), ("this literal", "kernels compute with numbers only"))
        if isinstance(value, str) and value.strip().lower() in ("nan", "inf"):
            hint = f"write {value.strip().lower()}"
        self.complain("bad-literal", f"{what} is not part of the kernel language", node, hint)

    def name(self, node: ast.Name) -> None:
        """Check a name that is read."""
        name = node.id
        if name == "__debug__":
            self.reserved(name, node)
            return
        if name in self.variables or name in CONSTANTS or name in self.known.constants:
            return
        if INDEX_SYMBOL.fullmatch(name) or DIMENSION_SYMBOL.fullmatch(name):
            return
        if name in FUNCTION_NAMES or name in self.known.functions:
            self.complain("function-as-value", f"function {name!r} is used as a value", node,
                          f"call it: {name}(...)")  # fmt: skip
        else:
            known = [*self.variables, *self.known.constants, *CONSTANTS, "True", "False"]
            hint = NAME_HINTS.get(name) or near(
                name, known, "make it a parameter, or a number above the kernel"
            )
            self.complain("unknown-name", f"unknown name {name!r}", node, hint)

    def attribute(self, node: ast.Attribute) -> None:
        """Check ``np.pi`` and the like; other attributes are not numbers."""
        match node:
            case ast.Attribute(ast.Name(module), name) if self.is_module(module):
                if name in FUNCTION_NAMES:
                    self.complain(
                        "function-as-value",
                        f"function '{module}.{name}' is used as a value",
                        node,
                        f"call it: {module}.{name}(...)",
                    )
                elif name not in CONSTANTS:
                    hint = NAME_HINTS.get(name) or near(
                        name, CONSTANTS, "make it a parameter of the kernel"
                    )
                    message = f"unknown constant '{module}.{name}'"
                    self.complain("unknown-name", message, node, hint)
            case _:
                self.unsupported(
                    f"attribute '.{node.attr}'",
                    node,
                    "a kernel sees numbers only; make it a parameter, or give the number a name "
                    "above the kernel",
                )

    def is_module(self, name: str) -> bool:
        """Tell whether a name stands for NumPy or math here."""
        beside = name in self.known.constants or name in self.known.functions
        taken = beside or name in self.variables
        return name in MODULES and (self.parsed.is_expression or not taken)

    def call(self, node: ast.Call) -> None:
        """Check a call: a known function, the right number of plain arguments."""
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                self.reject(argument)
            else:
                self.expression(argument)
        for keyword in node.keywords:
            hint = "give the arguments by position"
            if is_reduction(node):
                hint = "a kernel reduces over the whole array; reduce along an axis outside it"
            self.complain("keyword-argument",
                          "keyword arguments are not part of the kernel language",
                          keyword, hint)  # fmt: skip
            self.expression(keyword.value)
        match node.func:
            case ast.Name(name):
                self.called_name(node, name)
            case ast.Attribute(ast.Name(module), name) if self.is_module(module):
                self.called(node, f"{module}.{name}", name)
            case ast.Attribute() as method:
                self.called_attribute(method)
            case _:
                self.unsupported("this call", node.func, f"call a function by its name; {TIMES}")

    def called_name(self, node: ast.Call, name: str) -> None:
        """Check a call by a bare name, which a variable may shadow."""
        if name in self.variables and not (self.parsed.is_expression and name in FUNCTION_NAMES):
            is_shadow = name in FUNCTION_NAMES
            self.called_number(node, name, f"rename the variable {name!r}" if is_shadow else TIMES)
        elif name in self.known.functions:
            self.called_helper(node, self.known.functions[name])
        elif name in self.known.constants:
            self.called_number(node, name)
        else:
            self.called(node, name, name)

    def called_number(self, node: ast.Call, spelt: str, hint: str = TIMES) -> None:
        """Complain about a call of a number."""
        message = f"{spelt!r} is a number here, not a function"
        self.complain("not-a-function", message, node.func, hint)

    def called_helper(self, node: ast.Call, helper: Parsed) -> None:
        """Check a call of a function of the source itself."""
        assert helper.definition is not None
        name, most = helper.definition.name, len(helper.parameters)
        least = most - len(helper.defaults)
        if not least <= len(node.args) <= most and not node.keywords:
            takes = f"{most} argument{'s' if most != 1 else ''}"
            takes = takes if least == most else f"{least} to {takes}"
            self.wrong_arity(
                name, takes, node, most, f"write {name}({', '.join(helper.parameters)})"
            )

    def called_attribute(self, func: ast.Attribute) -> None:
        """Complain about a call by a dotted name: of another module, or a method."""
        root: ast.expr = func
        while isinstance(root, ast.Attribute):
            root = root.value
        known = func.attr in FUNCTION_NAMES
        if isinstance(root, ast.Name) and (
            self.is_module(root.id)
            or root.id not in self.variables
            or (self.parsed.is_expression and (known or func.value is not root))
        ):
            hint = CALL_HINTS.get(func.attr) or near(
                func.attr, FUNCTION_NAMES, "compute it before the call"
            )
            hint = f"write '{func.attr}(...)'" if known else hint
            self.complain("unknown-function", f"unknown function '{ast.unparse(func)}'", func, hint)
            return
        hint = (
            f"write {func.attr}({ast.unparse(func.value)})"
            if known
            else METHOD_HINTS.get(func.attr, "use a function, such as abs(x) or clip(x, low, high)")
        )
        self.unsupported(f"method '.{func.attr}()'", func, hint)
        if not isinstance(root, ast.Name):
            self.expression(root)

    def called(self, node: ast.Call, spelt: str, name: str) -> None:
        """Check a call of a function by its name in the table."""
        count = len(node.args)
        if spelt == "math.remainder":
            self.complain(
                "unknown-function",
                "math.remainder rounds its quotient, unlike np.remainder",
                node.func,
                "write a - b * rint(a / b), or np.remainder(a, b)",
            )
        elif spelt != name and name in ("min", "max") and count > 1:
            # NumPy's second argument is an axis, Python's a second number.
            hint = f"write {name}imum(a, b); reduce along an axis outside the kernel"
            self.wrong_arity(spelt, "1 argument", node, 1, hint)
        elif name in CONSTANTS:
            self.called_number(node, spelt)
        elif name not in FUNCTION_NAMES:
            otherwise = "define it above the kernel" if spelt == name else "compute it outside"
            hint = CALL_HINTS.get(name) or near(
                name, [*FUNCTION_NAMES, *self.known.functions], otherwise
            )
            self.complain("unknown-function", f"unknown function '{spelt}'", node.func, hint)
        elif not arity_fits(name, count) and not node.keywords:
            most = count if name in ("min", "max") else expected_arity(name)
            self.wrong_arity(spelt, arity_text(name), node, most, arity_hint(name))

    def wrong_arity(self, spelt: str, takes: str, node: ast.Call, most: int, hint: str) -> None:
        """Complain about the arguments past the last, or about the name where some are missing."""
        span = span_of(node.args[most] if len(node.args) > most else node.func)
        message = f"{spelt}() takes {takes}, not {len(node.args)}"
        self.complain("wrong-arity", message, span, hint)
