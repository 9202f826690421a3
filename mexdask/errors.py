"""What goes wrong, as data first and as text once: places, diagnostics and the exception family."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of one source line; ``col`` and ``end`` count UTF-8 bytes from 0, as ``ast`` does."""

    line: int
    col: int
    end: int


NOWHERE = Span(0, 0, 0)


@dataclass(frozen=True, slots=True)
class SourceText:
    """What the user wrote, dedented once; every caret points into this text.

    ``origin`` and ``first_line`` say where the text stands in the user's own file. They never
    change what a kernel is, so they do not take part in equality.
    """

    text: str
    name: str = "kernel"
    origin: str = field(default="", compare=False)
    first_line: int = field(default=1, compare=False)

    def line(self, number: int) -> str:
        """Return line ``number`` (from 1) of the text, or an empty line past its end."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r\f") if 0 < number <= len(lines) else ""

    def place(self, span: Span) -> str:
        """Return ``name:line:column`` of a span, as an editor would jump to it."""
        column = len(self.line(span.line).encode()[: span.col].decode(errors="replace")) + 1
        return f"{self.origin or self.name}:{span.line + self.first_line - 1}:{column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One complaint about a kernel.

    Parameters
    ----------
    code : str
        Stable slug, such as ``"unknown-name"``.
    message : str
        What is wrong, naming the construct as the user spelt it.
    span : Span
        The smallest piece of the text that is wrong.
    hint : str, optional
        What to write instead.
    """

    code: str
    message: str
    span: Span
    hint: str = ""

    def render(self, source: SourceText) -> str:
        """Return the place, the message, the source line with carets under the span, the hint."""
        line = source.line(self.span.line)
        head = line.encode()[: self.span.col].decode(errors="replace")
        wrong = line.encode()[self.span.col : self.span.end].decode(errors="replace")
        pad = "".join(c if c == "\t" else " " * width(c) for c in head)
        carets = "^" * max(1, sum(map(width, wrong)))
        text = f"{source.place(self.span)}: {self.code}: {self.message}\n    {line}\n    {pad}{carets}"
        return f"{text}\nhint: {self.hint}" if self.hint else text


def width(character: str) -> int:
    """Return the number of terminal columns that a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class MexError(Exception):
    """Base class of every error that mexdask raises on purpose."""


class KernelError(MexError):
    """A kernel is outside the language; carries every complaint of the pass that found it.

    Parameters
    ----------
    source : SourceText
        The text that the diagnostics point into.
    diagnostics : tuple of Diagnostic
        At least one complaint, in order of appearance.
    """

    def __init__(self, source: SourceText, diagnostics: tuple[Diagnostic, ...]):
        super().__init__(source, diagnostics)
        self.source = source
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        return "\n" + "\n".join(d.render(self.source) for d in self.diagnostics)


class KernelSyntaxError(KernelError, ValueError):
    """The text of a kernel is not in the kernel language."""


class KernelTypeError(KernelError, TypeError):
    """The dtypes of a call do not fit what the kernel does with them."""


class ArgumentError(MexError, ValueError):
    """The arguments of a call do not fit the kernel, each other, or mexdask."""


class BlockError(MexError, RuntimeError):
    """A block that reached a worker is not the one that was promised at graph time."""


class JITUnavailableError(MexError, RuntimeError):
    """Native code was required (``jit="require"``) and cannot be had here."""


class KernelRuntimeError(MexError, ArithmeticError):
    """An element made the kernel fail: a zero step, too many iterations, a negative integer power.

    Parameters
    ----------
    message : str
        What happened, where in the source, at which element, with which arguments.
    index : tuple of int or None
        The element's place in the whole array; None where the block's place is unknown.
    """

    def __init__(self, message: str, index: tuple[int, ...] | None = None):
        super().__init__(message, index)
        self.message = message
        self.index = index

    def __str__(self) -> str:
        return self.message


class FallbackWarning(UserWarning):
    """A kernel runs through the NumPy interpreter where native code was hoped for."""
