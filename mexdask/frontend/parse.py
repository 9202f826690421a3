"""From a kernel's text or a Python function to a parsed kernel: one ``def``, or one expression."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mexdask.errors import ArgumentError, Diagnostic, KernelSyntaxError, SourceText, Span
from mexdask.ir import Number
from mexdask.ops import BY_FUNCTION_NAME, CASTS, CONSTANTS, ENGINE_CHOICES

MAX_SOURCE_BYTES = 64 * 1024
MAX_DEPTH = 200
MAX_NODES = 5_000
MODULES = ("np", "numpy", "math")
FP_MODES = ("strict", "contract", "fast")
FUNCTION_NAMES = {*BY_FUNCTION_NAME, *ENGINE_CHOICES, *CASTS}
PRAGMA = re.compile(r"\s*#\s*me\s*:\s*(.*?)\s*$")


@dataclass(frozen=True)
class Parsed:
    """A kernel as Python's parser sees it, not yet known to be in the language."""

    source: SourceText
    parameters: tuple[str, ...]
    defaults: dict[str, Number]
    body: list[ast.stmt]
    is_expression: bool
    fp: str = "strict"
    compiler: str = ""
    definition: ast.FunctionDef | None = field(default=None, repr=False)


def span_of(node: Any) -> Span:
    """Return the part of a node that stands on its first line."""
    end = node.end_col_offset if node.end_lineno == node.lineno else 1 << 20
    return Span(node.lineno, node.col_offset, end)


def refuse(source: SourceText, code: str, message: str, span: Span, hint: str = "") -> KernelSyntaxError:
    """Return the exception of a single complaint."""
    return KernelSyntaxError(source, (Diagnostic(code, message, span, hint),))


def source_of_text(text: str, name: str = "kernel") -> SourceText:
    """Return the source of a kernel given as text."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").encode(errors="replace").decode()
    return SourceText(textwrap.dedent(lines).rstrip(), name)


def source_of_function(function: Any) -> SourceText:
    """Return the source of a Python function, with the comments (pragmas) right above it.

    Raises
    ------
    ArgumentError
        If the object is a lambda, or Python cannot find its source.
    """
    if not isinstance(function, types.FunctionType):
        raise ArgumentError(
            f"{function!r} is not a kernel: give source text, an expression or a function written "
            "with def"
        )
    if function.__name__ == "<lambda>":
        raise ArgumentError(
            "a lambda cannot be a kernel: write it with def, or pass the expression as text"
        )
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError) as error:
        raise ArgumentError(
            f"the source of {function.__name__}() cannot be read ({error}); pass the kernel's "
            "source as text"
        ) from None
    comments = inspect.getcomments(function) or ""
    text = textwrap.dedent("".join(lines)).rstrip()
    header = textwrap.dedent(comments)
    return SourceText(
        header + text,
        function.__name__,
        inspect.getsourcefile(function) or "",
        first - header.count("\n"),
    )


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
    if len(source.text.encode(errors="surrogatepass")) > MAX_SOURCE_BYTES:
        raise refuse(source, "too-large", "the kernel's source is over 64 KiB", start,
                     "split the kernel, or pass tables of numbers as arrays")  # fmt: skip
    tree = python_tree(source)
    check_size(source, tree)
    fp, compiler = pragmas(source, tree)
    match tree.body:
        case [ast.Expr(value)]:
            return parse_expression(source, value, given, fp, compiler)
        case [ast.FunctionDef() as definition]:
            return parse_definition(source, definition, fp, compiler)
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    if len(functions) > 1:
        raise refuse(source, "several-functions", "more than one function in a kernel's source",
                     span_of(functions[1]), "helper functions are not supported yet: write their "
                     "statements into the kernel")  # fmt: skip
    wrong = next((n for n in tree.body if not isinstance(n, ast.FunctionDef)), None)
    raise refuse(source, "not-a-kernel", "a kernel is one def, or one expression",
                 span_of(wrong) if wrong else start,
                 "move the statement into the function, or pass its value as a parameter"
                 if functions else "write 'def name(...):' with a return")  # fmt: skip


def python_tree(source: SourceText) -> ast.Module:
    """Parse as Python; whatever Python's parser raises becomes one complaint with a place."""
    try:
        return ast.parse(source.text)
    except SyntaxError as error:
        line = min(max(error.lineno or 1, 1), source.text.count("\n") + 1)
        text = source.line(line)
        col = len(text[: max((error.offset or 1) - 1, 0)].encode(errors="replace"))
        raise refuse(source, "syntax", f"not valid Python: {error.msg}", Span(line, col, col + 1)) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise refuse(source, "syntax", f"Python cannot parse this: {str(error) or 'nested too deeply'}",
                     Span(1, 0, 1), "use fewer nested parentheses and operators") from None  # fmt: skip


def check_size(source: SourceText, tree: ast.Module) -> None:
    """Refuse trees that are deeper or larger than every engine is known to bear."""
    level: list[ast.AST] = [tree]
    nodes, depth = 0, 0
    while level:
        nodes, depth = nodes + len(level), depth + 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            what = f"nested more than {MAX_DEPTH} deep" if depth > MAX_DEPTH else "too large"
            where = next((span_of(n) for n in level if hasattr(n, "lineno")), Span(1, 0, 1))
            raise refuse(source, "too-large", f"the kernel is {what}", where,
                         "use temporaries for parts of the expression, or split the kernel")  # fmt: skip
        level = [
            child
            for node in level
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop))
        ]


def header_lines(source: SourceText, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the lines above the first statement, with their numbers."""
    first = tree.body[0] if tree.body else None
    decorators = getattr(first, "decorator_list", [])
    end = min([getattr(first, "lineno", 1), *(d.lineno for d in decorators)])
    yield from enumerate(source.text.split("\n")[: end - 1], 1)


def pragmas(source: SourceText, tree: ast.Module) -> tuple[str, str]:
    """Return the floating-point mode and the compiler's name that ``# me:`` lines ask for."""
    found: dict[str, str] = {}
    complaints = []
    for number, line in header_lines(source, tree):
        if not (m := PRAGMA.match(line)):
            continue
        key, _, value = (part.strip() for part in m[1].partition("="))
        span = Span(number, len(line[: m.start(1)].encode()), len(line[: m.end(1)].encode()))
        if key not in ("fp", "compiler"):
            complaints.append(Diagnostic("unknown-pragma", f"unknown pragma {key!r}", span,
                                         "the pragmas are fp and compiler"))  # fmt: skip
        elif key in found:
            complaints.append(Diagnostic("repeated-pragma", f"pragma {key!r} given twice", span,
                                         "keep one of the two"))  # fmt: skip
        elif not value or (key == "fp" and value not in FP_MODES):
            complaints.append(Diagnostic("bad-pragma", f"{value!r} is no value of pragma {key!r}", span,
                                         f"fp is one of {', '.join(FP_MODES)}" if key == "fp"
                                         else "write '# me:compiler=NAME'"))  # fmt: skip
        found.setdefault(key, value)
    if complaints:
        raise KernelSyntaxError(source, tuple(complaints))
    return found.get("fp", "strict"), found.get("compiler", "")


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
        )
    }
    result = ast.copy_location(ast.Return(value), value)
    return Parsed(source, tuple(free), {}, [result], True, fp, compiler)


def parse_definition(
    source: SourceText, definition: ast.FunctionDef, fp: str, compiler: str
) -> Parsed:
    """Parse a ``def``: its parameters, their defaults and its body without the docstring."""
    complaints = list(signature_complaints(definition))
    arguments = definition.args
    defaults: dict[str, Number] = {}
    positional = [*arguments.posonlyargs, *arguments.args]
    for argument, default in zip(positional[::-1], arguments.defaults[::-1], strict=False):
        value = literal_number(default)
        if value is None:
            complaints.append(Diagnostic("bad-default", f"the default of {argument.arg!r} is not a number",
                                         span_of(default), "write a literal such as 10 or -0.5"))  # fmt: skip
        else:
            defaults[argument.arg] = value
    if complaints:
        raise KernelSyntaxError(source, tuple(complaints))
    body = definition.body
    match body[0]:
        case ast.Expr(ast.Constant(str())):
            body = body[1:]
    named = SourceText(source.text, definition.name, source.origin, source.first_line)
    return Parsed(named, tuple(a.arg for a in positional), defaults, body, False, fp, compiler, definition)


def signature_complaints(definition: ast.FunctionDef) -> Iterator[Diagnostic]:
    """Yield what is wrong with the parameters and decorators of a ``def``."""
    arguments = definition.args
    starred = [a for a in (arguments.vararg, arguments.kwarg) if a]
    for argument in starred:
        yield Diagnostic("bad-parameter", f"parameter {argument.arg!r} gathers several arguments",
                         span_of(argument), "name each parameter")  # fmt: skip
    for argument in arguments.kwonlyargs:
        yield Diagnostic("bad-parameter", f"parameter {argument.arg!r} is keyword-only",
                         span_of(argument), "kernel parameters are positional: leave out the '*'")  # fmt: skip
    seen: set[str] = set()
    for argument in [*arguments.posonlyargs, *arguments.args]:
        if argument.arg in seen:
            yield Diagnostic("bad-parameter", f"parameter {argument.arg!r} appears twice", span_of(argument),
                             "give each parameter its own name")  # fmt: skip
        seen.add(argument.arg)
    for decorator in definition.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ast.unparse(target).rpartition(".")[2] != "kernel":
            yield Diagnostic("bad-decorator", f"decorator '{ast.unparse(decorator)}' is not mexdask's",
                             span_of(decorator), "only @mexdask.kernel may stand on a kernel")  # fmt: skip


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
