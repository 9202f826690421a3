"""Pragmas: what ``# me:`` comments above a kernel ask for, and where else they may not stand."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from mexdask.errors import Diagnostic, KernelSyntaxError, SourceText, Span
from mexdask.frontend.source import PRAGMA

PRAGMAS = ("fp", "compiler")
FP_MODES = ("strict", "contract", "fast")
ANYWHERE = re.compile(r"#\s*me\s*:")


def pragma_comments(source: SourceText) -> dict[int, re.Match[str]]:
    """Return the pragmas of a text that is Python, by line; in a string there are none."""
    return {n: m for n, m in comments(source) if not is_behind_code(m)}


def comments(source: SourceText) -> Iterator[tuple[int, re.Match[str]]]:
    """Yield line and content of every comment that looks like a pragma."""
    if ANYWHERE.search(source.text):
        for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
            number, col = token.start
            if token.type == tokenize.COMMENT and (m := PRAGMA.match(source.line(number), col)):
                yield number, m


def is_behind_code(comment: re.Match[str]) -> bool:
    """Tell whether a comment does not have its line for itself."""
    return bool(comment.string[: comment.start()].strip())


def parted(pragma: re.Match[str]) -> tuple[str, str]:
    """Return a pragma's key and value."""
    key, _, value = (part.strip() for part in pragma[1].partition("="))
    return key, value


def place_of(number: int, pragma: re.Match[str]) -> Span:
    """Return where key and value of a pragma stand on their line."""
    before, until = (pragma.string[:n].encode() for n in pragma.span(1))
    return Span(number, len(before), len(until))


def pragmas(source: SourceText, tree: ast.Module) -> tuple[str, str]:
    """Return the floating-point mode and the compiler's name that ``# me:`` lines ask for."""
    found: dict[str, str] = {}
    complaints = []
    start = tree.body[0].lineno if tree.body else 1
    for number, m in comments(source):
        (key, value), span = parted(m), place_of(number, m)
        if is_behind_code(m) or number > start:
            where = "behind code" if is_behind_code(m) else "too low"
            if key in PRAGMAS:
                complaints.append(Diagnostic("misplaced-pragma", f"pragma {key!r} stands {where}",
                                             span, "move it above everything else"))  # fmt: skip
            continue
        if key not in PRAGMAS:
            complaints.append(Diagnostic("unknown-pragma", f"unknown pragma {key!r}", span,
                                         "the pragmas are fp and compiler"))  # fmt: skip
        elif key in found:
            complaints.append(Diagnostic("repeated-pragma", f"pragma {key!r} given twice", span,
                                         "keep one of the two"))  # fmt: skip
        elif not value or (key == "fp" and value not in FP_MODES):
            complaints.append(
                Diagnostic(
                    "bad-pragma",
                    f"{value!r} is no value of pragma {key!r}",
                    span,
                    f"fp is one of {', '.join(FP_MODES)}"
                    if key == "fp"
                    else "write '# me:compiler=NAME'",
                )
            )
        found.setdefault(key, value)
    if complaints:
        raise KernelSyntaxError(source, tuple(complaints))
    return found.get("fp", "strict"), found.get("compiler", "")
