"""What goes wrong, as data first and as text once: places, diagnostics and the exception family."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import NamedTuple

LONGEST_WORD = 80
LONGEST_LINE = 120
MOST_SHOWN = 20


class Span(NamedTuple):
    """A piece of one source line; ``col`` and ``end`` count UTF-8 bytes from 0, as ``ast`` does."""

    line: int
    col: int
    end: int


NOWHERE = Span(0, 0, 0)


@dataclass(frozen=True, slots=True)
class SourceText:
    """What the user wrote, dedented once; every caret points into this text.

    ``origin``, ``first_line`` and ``margin`` (the width of the indentation that was taken off) say
    where the text stands in the user's own file. They never change what a kernel is, so they do not
    take part in equality.
    """

    text: str
    name: str = "kernel"
    origin: str = field(default="", compare=False)
    first_line: int = field(default=1, compare=False)
    margin: int = field(default=0, compare=False)
    pieces: tuple[tuple[int, str, int, int], ...] = field(default=(), compare=False)

    @property
    def where(self) -> tuple[object, ...]:
        """Return what equality leaves out."""
        return self.origin, self.first_line, self.margin, self.pieces

    def line(self, number: int) -> str:
        """Return line ``number`` (from 1) of the text, or an empty line past its end."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r\f") if 0 < number <= len(lines) else ""

    def place(self, span: Span) -> str:
        """Return ``name:line:column`` of a span, as an editor would jump to it."""
        piece = (1, self.origin, self.first_line, self.margin)
        for other in self.pieces:
            if other[0] <= span.line:
                piece = other
        start, origin, first_line, margin = piece
        column = characters(self.line(span.line), span.col) + margin + 1
        return f"{origin or shortened(self.name)}:{span.line - start + first_line}:{column}"


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
        start, stop = characters(line, self.span.col), characters(line, self.span.end)
        quoted, carets = excerpt(line, start, stop)
        place = source.place(self.span)
        text = f"{place}: {self.code}: {shortened(self.message)}\n    {quoted}\n    {carets}"
        return f"{text}\nhint: {shortened(self.hint)}" if self.hint else text


def characters(line: str, column: int) -> int:
    """Return how many characters the first ``column`` UTF-8 bytes of a line are."""
    return len(line.encode(errors="replace")[:column].decode(errors="replace"))


def excerpt(line: str, start: int, stop: int) -> tuple[str, str]:
    """Return a line, cut down around the wrong piece if it is long, and the carets below it."""
    first = max(0, start - LONGEST_LINE // 2) if len(line) > LONGEST_LINE else 0
    last = min(len(line), first + LONGEST_LINE)
    lead, trail = "…" if first else "", "…" if last < len(line) else ""
    shown = "".join(map(visible, line[first:last]))
    pad = "".join(c if c == "\t" else " " * width(c) for c in lead + line[first:start])
    carets = "^" * max(1, sum(map(width, line[start : min(stop, last)])))
    return f"{lead}{shown}{trail}", f"{pad}{carets}"


def visible(character: str) -> str:
    """Return a character as it may be sent to a terminal: nothing that moves the cursor."""
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "\ufffd" if hidden and character != "\t" else character


def width(character: str) -> int:
    """Return the number of terminal columns that a character takes, as ``visible`` shows it."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shortened(text: str) -> str:
    """Return a text for people, in which no single word goes on for ever."""
    return re.sub(rf"\S{{{LONGEST_WORD},}}", lambda m: f"{m[0][: LONGEST_WORD // 2]}…", text)


def described(kind: type) -> str:
    """Return how a type is called in messages, article included."""
    module = kind.__module__.split(".")[0]
    name = kind.__name__ if module == "builtins" else f"{module}.{kind.__name__}"
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


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
        shown = [d.render(self.source) for d in self.diagnostics[:MOST_SHOWN]]
        more = len(self.diagnostics) - len(shown)
        return "\n".join(["", *shown, *([f"... and {more} more"] if more else [])])


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
