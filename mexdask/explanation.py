"""How a call runs, and why: what ``explain`` returns."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import indent
from typing import Any

import numpy as np

from mexdask import notebook
from mexdask.dtypes import weakened
from mexdask.errors import KernelTypeError
from mexdask.frontend.lower import ParamType, lower
from mexdask.irtext import function_text
from mexdask.runtime.dispatch import Route, extra_flags, find, predict
from mexdask.runtime.failure import Failure
from mexdask.settings import KernelSettings
from mexdask.specialise import Specialisation, type_text
from mexdask.stack import roomy


@dataclass(frozen=True)
class Explanation:
    """How a kernel runs on given arguments.

    Attributes
    ----------
    engine : {"native", "interpreter"}
        What runs the chunks.
    form : str
        Of native code: "scalar", one element an iteration, or "simd", gangs of vector lanes; empty
        for the interpreter.
    form_reason : str
        Why the code has that form.
    outcome, reason : str
        Why: a stable word and a sentence.
    signature : str
        Parameters with their dtypes, and the result's.
    ir : str
        The typed IR.
    c : str
        The C text; empty where the kernel cannot become C.
    key : str
        The digest of the cache key; empty where there is none.
    path : str or None
        The kernel's entry in the disk cache, if it has one.
    predicted : bool
        True for Dask arguments: workers decide for themselves.
    rechunked : dict
        Parameter name to (chunks before, chunks after) for what alignment rechunks.
    widened : tuple of str
        Which arguments make the result wider than it would be without them, and how.
    pragmas : str
        The ``# me:`` pragmas that were found.
    bindings : dict
        Parameter name to what it was bound to, in words; where names were looked up.
    """

    engine: str
    form: str
    form_reason: str
    outcome: str
    reason: str
    signature: str
    ir: str
    c: str
    key: str
    path: str | None
    predicted: bool
    rechunked: dict[str, tuple[Any, Any]]
    widened: tuple[str, ...]
    pragmas: str
    bindings: dict[str, str] = field(default_factory=dict)

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what there is to say, but for the texts of several lines."""
        yield "signature", self.signature
        for name, what in self.bindings.items():
            yield "binding", f"{name} = {what}"
        form = f", {self.form} form ({self.form_reason})" if self.form else ""
        where = " (predicted; each worker decides for itself)" if self.predicted else ""
        yield "engine", f"{self.engine}{form}{where}"
        yield "because", f"{self.reason} [{self.outcome}]"
        for cause in self.widened:
            yield "widened", cause
        for name, (before, after) in self.rechunked.items():
            yield "rechunked", f"{name}: {reprlib.repr(before)} -> {reprlib.repr(after)}"
        others = {"pragmas": self.pragmas, "key": self.key, "path": self.path}
        yield from ((name, text) for name, text in others.items() if text)

    def __str__(self) -> str:
        lines = [f"{name:10s} {text}" for name, text in self.facts()]
        return "\n".join([*lines, "ir", indent(self.ir.rstrip(), "    ")])

    def _repr_html_(self) -> str:
        texts = {"typed IR": self.ir, "C": self.c}
        shown = [notebook.folded(title, text) for title, text in texts.items() if text]
        return notebook.titled("mexdask explanation", notebook.table(self.facts()), *shown)


class Explanations(dict[str, Explanation]):
    """Several explanations by name, such as those of assignments."""

    def __str__(self) -> str:
        return "\n".join(f"{name}\n{indent(str(one), '    ')}" for name, one in self.items())

    def _repr_html_(self) -> str:
        shown = (notebook.titled(name, one._repr_html_()) for name, one in self.items())
        return f"<div>{''.join(shown)}</div>"


@roomy
def explain_native(
    kernel: Specialisation, settings: KernelSettings, *, predicted: bool, rechunked: dict[str, Any]
) -> Explanation:
    """Return how a specialised kernel runs in this process."""
    path = None
    if predicted:
        decision = predict(kernel.unit, settings)
    else:
        native, decision = find(kernel.unit, settings)
        path = native.path if native else None
    form = kernel.unit.form(settings) if decision.route is Route.NATIVE else None
    key, c_text = "", ""
    flags = extra_flags()
    if kernel.unit.foreign is None and not isinstance(flags, Failure):
        cache_key = kernel.unit.key(flags, settings)
        key, c_text = cache_key.digest, kernel.unit.c_text(cache_key, settings)
    return Explanation(
        engine=decision.route.value,
        form=form.name if form else "",
        form_reason=form.reason if form else "",
        outcome=decision.outcome,
        reason=decision.reason,
        signature=signature_text(kernel),
        ir=function_text(kernel.function),
        c=c_text,
        key=key,
        path=path,
        predicted=predicted,
        rechunked=rechunked,
        widened=tuple(widened(kernel)),
        pragmas=pragma_text(kernel),
    )


def signature_text(kernel: Specialisation) -> str:
    """Return parameters with types, and the result's dtype."""
    params = ", ".join(
        f"{name}: {type_text(t.type, t.is_array)}"
        for name, t in zip(kernel.parsed.parameters, kernel.types, strict=True)
    )
    return f"({params}) -> {kernel.dtype.name}"


def widened(kernel: Specialisation) -> Iterator[str]:
    """Yield the arguments without whose dtypes the result would be narrower.

    Each strong argument is thought weak in turn: what is narrower then was widened by it.
    """
    for name, t in zip(kernel.parsed.parameters, kernel.types, strict=True):
        if not isinstance(t.type, np.dtype) or kernel.dtype.kind not in "iufc":
            continue
        types = dict(zip(kernel.parsed.parameters, kernel.types, strict=True))
        types[name] = ParamType(weakened(t.type), t.is_array)
        try:
            other = lower(kernel.parsed, types).result.results[0]
        except KernelTypeError:
            continue
        if other.itemsize < kernel.dtype.itemsize:
            yield f"{kernel.dtype.name} because `{name}` is {t.type.name}, else {other.name}"


def pragma_text(kernel: Specialisation) -> str:
    """Return the pragmas of a kernel in words."""
    parsed = kernel.parsed
    words = [f"fp={parsed.fp}"] if parsed.fp != "strict" else []
    if parsed.compiler:
        words.append(f"compiler={parsed.compiler} (accepted, without effect)")
    return ", ".join(words)
