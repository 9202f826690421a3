"""From a kernel's text to a parsed kernel: one ``def``, or one expression."""

from __future__ import annotations

import ast
import functools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from mexdask.dtypes import BOOL, Type, held
from mexdask.errors import Diagnostic, KernelSyntaxError, SourceText, Span
from mexdask.frontend.hints import PLAIN_PYTHON, SYNTAX_HINTS
from mexdask.frontend.nodes import all_nodes, children, head_of, is_reduction, names_set, span_of
from mexdask.frontend.pragmas import pragmas
from mexdask.ir import Number
from mexdask.ops import CASTS, CONSTANTS, FUNCTION_NAMES
from mexdask.stack import roomy

MAX_SOURCE_BYTES = 64 * 1024
MAX_DEPTH = 200
MAX_NODES = 5_000
SPLIT_UP = "use temporaries for parts of the expression, or split the kernel"
MODULES = ("np", "numpy", "math")
INDEX_SYMBOL = re.compile(r"_[in][0-7]|_ndim|_flat_idx")
DIMENSION_SYMBOL = re.compile(r"_([in])_(\w+)")
LONG_INTEGER = re.compile(r"\d[\d_]{4300,}")


@dataclass(frozen=True, slots=True)
class Constant:
    """A number that stands beside the functions of a source, with its type."""

    value: Number
    type: Type


@dataclass(frozen=True)
class Parsed:
    """A kernel as Python's parser sees it, not yet known to be in the language.

    ``helpers`` are the functions that stand before it, ``constants`` the numbers; a helper has none
    of its own.
    """

    source: SourceText
    parameters: tuple[str, ...]
    defaults: dict[str, Number]
    body: list[ast.stmt]
    is_expression: bool
    fp: str = "strict"
    compiler: str = ""
    definition: ast.FunctionDef | None = field(default=None, repr=False)
    helpers: dict[str, Parsed] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    depth: int = 0

    @functools.cached_property
    def uses_indices(self) -> bool:
        """Tell whether the kernel or a helper reads an index symbol, whose meaning needs shapes."""
        return any(
            isinstance(n, ast.Name) and INDEX_SYMBOL.fullmatch(n.id) for n in self.every_node()
        )

    @functools.cached_property
    def by_dimension(self) -> tuple[ast.Name, ...]:
        """Return the index symbols that name a dimension; what the kernel itself names is none."""
        return tuple(
            n
            for function in (self, *self.helpers.values())
            for n in function.nodes
            if isinstance(n, ast.Name)
            and DIMENSION_SYMBOL.fullmatch(n.id)
            and n.id not in function.variables
            and n.id not in self.constants
        )

    @functools.cached_property
    def reduces(self) -> bool:
        """Tell whether the kernel or a helper calls a reduction."""
        return any(isinstance(n, ast.Call) and is_reduction(n) for n in self.every_node())

    def every_node(self) -> Iterator[ast.AST]:
        """Yield every node of the kernel and its helpers."""
        for function in (self, *self.helpers.values()):
            yield from function.nodes

    @functools.cached_property
    def lines(self) -> list[bytes]:
        """Return the lines of the text as ``ast`` counts their columns."""
        return self.source.text.encode(errors="replace").split(b"\n")

    @functools.cached_property
    def nodes(self) -> list[ast.AST]:
        """Return every node of the body, parents before children."""
        return all_nodes(self.body)

    @functools.cached_property
    def variables(self) -> frozenset[str]:
        """Return the names of the parameters and of everything that is assigned."""
        return frozenset(self.parameters) | names_set(self.nodes)


def reserved(name: str, span: Span) -> Diagnostic | None:
    """Return the complaint about a name that nothing of the user's can have, if it is one."""
    what = "an index symbol of the language" if INDEX_SYMBOL.fullmatch(name) else ""
    if name == "__debug__":
        what = "a constant of Python's"
    hint = "choose another name"
    return Diagnostic("reserved-name", f"{name!r} is {what}", span, hint) if what else None


def refuse(
    source: SourceText, code: str, message: str, span: Span, hint: str = ""
) -> KernelSyntaxError:
    """Return the exception of a single complaint."""
    return KernelSyntaxError(source, (Diagnostic(code, message, span, hint),))


def parse(source: SourceText, given: frozenset[str] = frozenset()) -> Parsed:
    """Parse a kernel's source.

    Parameters
    ----------
    source : SourceText
        One ``def``, or one expression.
    given : frozenset of str, optional
        Names that the call binds: in an expression they are parameters even where they spell a
        constant.

    Raises
    ------
    KernelSyntaxError
        If the text is not Python, too large, or neither of the two forms.
    """
    start = Span(1, 0, 1)
    if not source.text.strip():
        raise refuse(source, "empty-source", "the kernel's source is empty", start,
                     "write a def, or an expression such as 'a + b'")  # fmt: skip
    if len(source.text.encode(errors="replace")) > MAX_SOURCE_BYTES:
        raise refuse(source, "too-large", "the kernel's source is over 64 KiB", start,
                     "split the kernel, or pass tables of numbers as arrays")  # fmt: skip
    tree = python_tree(source)
    depth = check_size(source, tree)
    return replace(parse_tree(source, tree, given), depth=depth)


def parse_tree(source: SourceText, tree: ast.Module, given: frozenset[str]) -> Parsed:
    """Parse what Python has parsed."""
    fp, compiler = pragmas(source, tree)
    match tree.body:
        case [ast.Expr(value)]:
            return parse_expression(source, value, given, fp, compiler)
        case []:
            message = "the kernel's source holds only comments"
            hint = "write a def, or an expression such as 'a + b'"
            raise refuse(source, "empty-source", message, Span(1, 0, 1), hint)
        case [*_, ast.FunctionDef()]:
            return parse_functions(source, tree.body, fp, compiler)
    raise KernelSyntaxError(source, tuple(misplaced(source, tree.body)))


def parse_functions(source: SourceText, body: list[ast.stmt], fp: str, compiler: str) -> Parsed:
    """Parse constants, helper functions and the kernel, which is the last."""
    constants: dict[str, Constant] = {}
    helpers: dict[str, Parsed] = {}
    complaints: list[Diagnostic] = []
    *before, last = body
    assert isinstance(last, ast.FunctionDef)
    for node in before:
        match node:
            case ast.Assign([ast.Name(name)], value) if constant := constant_of(value):
                taken, constants[name] = name in constants, constant
            case ast.FunctionDef(name):
                taken = name in helpers
                try:
                    helpers[name] = parse_definition(source, node, fp, compiler)
                except KernelSyntaxError as error:
                    complaints += error.diagnostics
            case _:
                complaints += misplaced(source, [node, last])
                continue
        lines = source.text.encode(errors="replace").split(b"\n")
        if isinstance(node, ast.Assign):
            complaints += filter(None, [reserved(name, span_of(node.targets[0]))])
        if taken or name == last.name or (name in constants and name in helpers):
            place, hint = head_of(node, lines), "give each its own name"
            complaints.append(
                Diagnostic("repeated-name", f"{name!r} is defined twice", place, hint)
            )
    if complaints:
        raise KernelSyntaxError(source, tuple(complaints))
    kernel = parse_definition(source, last, fp, compiler)
    return replace(kernel, helpers=helpers, constants=constants)


def constant_of(node: ast.expr) -> Constant | None:
    """Return the constant that an expression spells: a literal, inf or nan, or a cast of one."""
    match node:
        case ast.Call(ast.Attribute(ast.Name("np" | "numpy"), name), [argument], []):
            dtype = BOOL if name == "bool" else CASTS.get(name)
            inner = constant_of(argument)
            if inner is None or dtype is None or not fits(inner.value, held(dtype)):
                return None
            with np.errstate(all="ignore"):
                try:
                    value = np.asarray(inner.value).astype(held(dtype))[()].item()
                except (OverflowError, TypeError):
                    return None
            return Constant(value, dtype)
        case ast.Name("inf" | "nan" | "pi" | "e" as name):
            return Constant(CONSTANTS[name], float)
        case ast.UnaryOp(ast.USub(), ast.Name("inf")):
            return Constant(-math.inf, float)
    value = literal_number(node)
    return None if value is None else Constant(value, type(value))


def misplaced(source: SourceText, body: list[ast.stmt]) -> Iterator[Diagnostic]:
    """Yield a complaint for each statement that stands where only a kernel may."""
    lines = source.text.encode(errors="replace").split(b"\n")
    functions = [n for n in body if isinstance(n, ast.FunctionDef)]
    for node in body:
        span, hint = head_of(node, lines), "write 'def name(...):' with a return"
        match node:
            case ast.FunctionDef():
                continue
            case ast.Import() | ast.ImportFrom():
                hint = "leave it out: np., numpy. and math. functions need no import here"
            case ast.AsyncFunctionDef():
                hint = "leave out 'async'"
            case ast.Assign() if functions:
                hint = "beside functions stand only numbers: NAME = 1.5, or NAME = np.float32(1.5)"
            case ast.Assign() | ast.Return() if len(body) == 1:
                hint = "an expression stands alone: leave out what is in front of it"
            case ast.Expr() if node is body[0] and not functions:
                continue
            case _ if functions:
                hint = "move the statement into the function"
        yield Diagnostic("not-a-kernel", "a kernel is one def, or one expression", span, hint)


def too_deep(source: SourceText) -> KernelSyntaxError:
    """Return the exception for what is nested beyond an empty stack."""
    return refuse(source, "too-large", "functions and expressions are nested too deeply",
                  Span(1, 0, 1), "use temporaries for parts of expressions")  # fmt: skip


def python_tree(source: SourceText) -> ast.Module:
    """Parse as Python; whatever Python's parser raises becomes one complaint with a place."""
    if "\0" in source.text:
        before = source.text[: source.text.index("\0")]
        col = len(before.rpartition("\n")[2].encode(errors="replace"))
        raise refuse(source, "syntax", "a NUL character in the source",
                     Span(before.count("\n") + 1, col, col + 1), "remove it")  # fmt: skip
    try:
        return roomy(ast.parse)(source.text)
    except SyntaxError as error:
        raise syntax_complaint(source, error) from None
    except (ValueError, RecursionError, MemoryError):
        raise refuse(
            source,
            "too-large",
            "Python's own parser gives up: nested too deeply",
            Span(1, 0, 1),
            "use temporaries for parts of the expression",
        ) from None


def syntax_complaint(source: SourceText, error: SyntaxError) -> KernelSyntaxError:
    """Return the exception for a text that is not Python: its place is inside the text."""
    if "digits" in str(error.msg) and (m := LONG_INTEGER.search(source.text)):
        before = source.text[: m.start()]
        col = len(before.rpartition("\n")[2].encode(errors="replace"))
        return refuse(source, "too-large", f"an integer of {len(m[0])} digits",
                      Span(before.count("\n") + 1, col, col + len(m[0])),
                      "write it as a float, such as 1e300")  # fmt: skip
    number = min(max(error.lineno or 1, 1), source.text.count("\n") + 1)
    line = source.line(number)
    if isinstance(error, IndentationError):
        start, stop = len(line) - len(line.lstrip()), len(line)
    else:
        start = min(max((error.offset or 1) - 1, 0), len(line))
        one_line = error.end_lineno == error.lineno and (error.end_offset or 0) - 1 > start
        stop = min((error.end_offset or 0) - 1, len(line)) if one_line else start + 1
    message = str(error.msg).replace(" or ':='", "")
    hint = "compare with '=='" if "'=='" in message else PLAIN_PYTHON
    for pattern, advice in SYNTAX_HINTS:
        if found := next(
            (m for m in pattern.finditer(line) if m.start() <= start <= m.end()), None
        ):
            (start, stop), hint = found.span(), advice
            break
    to_bytes = [len(line[:n].encode(errors="replace")) for n in (start, stop)]
    span = Span(number, to_bytes[0], max(to_bytes[1], to_bytes[0] + 1))
    if message.startswith("too many"):
        return refuse(source, "too-large", f"not valid Python: {message}", span, SPLIT_UP)
    return refuse(source, "syntax", f"not valid Python: {message}", span, hint)


def check_size(source: SourceText, tree: ast.Module) -> int:
    """Return a tree's depth; refuse one deeper or larger than every engine is known to bear."""
    level: list[ast.AST] = [tree]
    nodes, depth = 0, 0
    while level:
        nodes, depth = nodes + len(level), depth + 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            what = f"nested more than {MAX_DEPTH} deep" if depth > MAX_DEPTH else "too large"
            where = next((span_of(n) for n in level if hasattr(n, "lineno")), Span(1, 0, 1))
            raise refuse(
                source,
                "too-large",
                f"the kernel is {what}",
                where,
                SPLIT_UP,
            )
        level = [child for node in level for child in children(node)]
    return depth


def parse_expression(
    source: SourceText, value: ast.expr, given: frozenset[str], fp: str, compiler: str
) -> Parsed:
    """Parse an expression: its parameters are its free names in order of first appearance."""
    called = {id(n.func) for n in ast.walk(value) if isinstance(n, ast.Call)}
    modules = {id(n.value) for n in ast.walk(value) if isinstance(n, ast.Attribute)}
    names = [n for n in ast.walk(value) if isinstance(n, ast.Name) and id(n) not in called]
    names.sort(key=lambda n: (n.lineno, n.col_offset))
    free = {
        n.id: None
        for n in names
        if n.id in given
        or not (
            n.id in CONSTANTS
            or n.id in FUNCTION_NAMES
            or (n.id in MODULES and id(n) in modules)
            or INDEX_SYMBOL.fullmatch(n.id)
            or DIMENSION_SYMBOL.fullmatch(n.id)
        )
    }
    result = ast.copy_location(ast.Return(value), value)
    return Parsed(source, tuple(free), {}, [result], True, fp, compiler)


def parse_definition(
    source: SourceText, definition: ast.FunctionDef, fp: str, compiler: str
) -> Parsed:
    """Parse a ``def``: its parameters, their defaults and its body without the docstring."""
    source = replace(source, name=definition.name)
    complaints = list(signature_complaints(definition))
    lines = source.text.encode(errors="replace").split(b"\n")
    complaints += filter(None, [reserved(definition.name, head_of(definition, lines))])
    arguments = definition.args
    defaults: dict[str, Number] = {}
    positional = [*arguments.posonlyargs, *arguments.args]
    for argument, default in zip(positional[::-1], arguments.defaults[::-1], strict=False):
        value = literal_number(default)
        if value is None:
            complaints.append(
                Diagnostic(
                    "bad-default",
                    f"the default of {argument.arg!r} is not a number",
                    span_of(default),
                    "write a literal such as 10 or -0.5",
                )
            )
        else:
            defaults[argument.arg] = value
    if complaints:
        raise KernelSyntaxError(source, tuple(complaints))
    body = definition.body
    match body[0]:
        case ast.Expr(ast.Constant(str())):
            body = body[1:]
    names = tuple(a.arg for a in positional)
    return Parsed(source, names, defaults, body, False, fp, compiler, definition)


def signature_complaints(definition: ast.FunctionDef) -> Iterator[Diagnostic]:
    """Yield what is wrong with the parameters and decorators of a ``def``."""
    arguments = definition.args
    starred = [a for a in (arguments.vararg, arguments.kwarg) if a]
    for argument in starred:
        yield Diagnostic("bad-parameter", f"parameter {argument.arg!r} gathers several arguments",
                         span_of(argument), "name each parameter")  # fmt: skip
    for argument in arguments.kwonlyargs:
        yield Diagnostic(
            "bad-parameter",
            f"parameter {argument.arg!r} is keyword-only",
            span_of(argument),
            "kernel parameters are positional: leave out the '*'",
        )
    for parameter in getattr(definition, "type_params", []):
        yield Diagnostic("bad-parameter", f"type parameter {parameter.name!r}", span_of(parameter),
                         "leave out the brackets: dtypes come from the arguments")  # fmt: skip
    seen: set[str] = set()
    for argument in [*arguments.posonlyargs, *arguments.args]:
        if argument.arg in seen:
            yield Diagnostic(
                "bad-parameter",
                f"parameter {argument.arg!r} appears twice",
                span_of(argument),
                "give each parameter its own name",
            )
        seen.add(argument.arg)
    for decorator in definition.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ast.unparse(target).rpartition(".")[2] != "kernel":
            yield Diagnostic(
                "bad-decorator",
                f"decorator '{ast.unparse(decorator)}' is not mexdask's",
                span_of(decorator),
                "only @mexdask.kernel may stand on a kernel",
            )


def fits(value: Number, dtype: np.dtype) -> bool:
    """Tell whether a dtype can hold a number that is cast to it."""
    if dtype.kind not in "iu" or not isinstance(value, int):
        return True
    info = np.iinfo(dtype)
    return int(info.min) <= value <= int(info.max)


def literal_number(node: ast.expr) -> Number | None:
    """Return the value of a literal number, sign included; None for anything else."""
    match node:
        case ast.Constant(bool() | int() | float() as value):
            return value
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as value)):
            return -value
        case ast.UnaryOp(ast.UAdd(), ast.Constant(int() | float() as value)):
            return +value
        case _:
            return None
