"""What the front end's tests share: lowering by dtype names, reading what carets mark."""

from __future__ import annotations

from mexdask.errors import Diagnostic, KernelError, SourceText, width
from mexdask.frontend.source import source_of_text
from mexdask.specialise import Specialisation, parsed_kernel


def lowered(
    source: str, types: str = "", result: str = "", ndim: int | None = None
) -> Specialisation:
    """Lower a text for argument types such as ``"float64[] uint8 weak:int"``."""
    signature = tuple(t.replace(":", " ") for t in types.split())
    return Specialisation(parsed_kernel(source_of_text(source)), signature, result, ndim)


def complaints(source: str, types: str = "", result: str = "") -> list[Diagnostic]:
    """Return what the front end says against a text; nothing if it takes it."""
    try:
        lowered(source, types, result)
    except KernelError as error:
        return list(error.diagnostics)
    return []


def under_carets(diagnostic: Diagnostic, source: str | SourceText) -> str:
    """Return the piece of the quoted line that the rendered carets stand under."""
    text = source_of_text(source) if isinstance(source, str) else source
    _, quoted, carets = diagnostic.render(text).split("\n")[:3]
    first, last = carets.index("^"), len(carets)
    found, cell = "", 0
    for character in quoted:
        if first <= cell < last:
            found += character
        cell += 1 if character == "\t" else width(character)
    return found
