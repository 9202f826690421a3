"""How a call runs, and why: what ``explain`` returns."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from textwrap import indent
from typing import Any

import numpy as np

from mexdask import notebook
from mexdask.dtypes import weakened
from mexdask.errors import KernelTypeError
from mexdask.frontend.lower import lower
from mexdask.irtext import function_text
from mexdask.runtime.dispatch import Decision, Route, extra_flags, find, predict
from mexdask.runtime.failure import Failure
from mexdask.settings import KernelSettings
from mexdask.specialise import Specialisation, Stage, type_text
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
    stages : tuple of str
        Of a kernel with reductions: what each pass over the data does.
    key : str
        The digest of the cache key; empty where there is none. Where there are several stages, of
        the first that is not native, else of the last that runs over elements.
    path : str or None
        The entry of that key in the disk cache, if it has one.
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
    stages: tuple[str, ...]
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
        for number, stage in enumerate(self.stages):
            yield f"stage {number}", stage
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
    over_elements = kernel.stages[: -1 if kernel.is_scalar else None]
    found = [decided(stage, settings, predicted) for stage in over_elements]
    fallback = next((n for n, (d, _) in enumerate(found) if d.route is not Route.NATIVE), -1)
    unit, (decision, path) = over_elements[fallback].unit, found[fallback]
    form = unit.form(settings) if decision.route is Route.NATIVE else None
    c_texts = [text for _, text in map(partial(compiled_text, settings=settings), over_elements)]
    return Explanation(
        engine=decision.route.value,
        form=form.name if form else "",
        form_reason=form.reason if form else "",
        outcome=decision.outcome,
        reason=decision.reason,
        signature=signature_text(kernel),
        ir="".join(function_text(stage.function) for stage in kernel.stages),
        c="\n".join(c_texts),
        stages=tuple(stage_texts(kernel)) if len(kernel.stages) > 1 else (),
        key=compiled_text(over_elements[fallback], settings)[0],
        path=path,
        predicted=predicted,
        rechunked=rechunked,
        widened=tuple(widened(kernel)),
        pragmas=pragma_text(kernel),
    )


def decided(stage: Stage, settings: KernelSettings, predicted: bool) -> tuple[Decision, str | None]:
    """Return the decision about one stage, and the path of its entry in the disk cache."""
    if predicted:
        return predict(stage.unit, settings), None
    native, decision = find(stage.unit, settings)
    return decision, native.path if native else None


def compiled_text(stage: Stage, settings: KernelSettings) -> tuple[str, str]:
    """Return the digest of a stage's key and its C text; empty where it cannot become C."""
    flags = extra_flags()
    if stage.unit.foreign is not None or isinstance(flags, Failure):
        return "", ""
    key = stage.unit.key(flags, settings)
    return key.digest, stage.unit.c_text(key, settings)


def stage_texts(kernel: Specialisation) -> Iterator[str]:
    """Yield what each stage does, in words."""
    for stage in kernel.stages:
        own = [p.var.name for p in stage.function.params if not p.var.name.startswith("%")]
        over = f" over {', '.join(own)}" if own else ""
        if stage.function.reductions:
            names = ", ".join(r.name for r in stage.function.reductions)
            yield f"one pass{over}: {names}"
        elif kernel.is_scalar:
            yield "the result, from reductions and scalars"
        else:
            yield f"one value per element{over}"


def signature_text(kernel: Specialisation) -> str:
    """Return parameters with types, and the results' dtypes."""
    params = ", ".join(
        f"{name}: {type_text(t.type, t.is_array)}"
        for name, t in zip(kernel.parsed.parameters, kernel.types, strict=True)
    )
    return f"({params}) -> {', '.join(d.name for d in kernel.dtypes)}"


def widened(kernel: Specialisation) -> Iterator[str]:
    """Yield the arguments without whose dtypes the result would be narrower.

    Each strong argument is thought weak in turn: what is narrower then was widened by it.
    """
    ndim = kernel.ndim
    for name, t in zip(kernel.parsed.parameters, kernel.types, strict=True):
        if not isinstance(t.type, np.dtype) or all(d.kind not in "iufc" for d in kernel.dtypes):
            continue
        types = dict(zip(kernel.parsed.parameters, kernel.types, strict=True))
        types[name] = replace(t, type=weakened(t.type))
        try:
            others = lower(kernel.parsed, types, None, ndim).result.results
        except KernelTypeError:
            continue
        for dtype, other in dict.fromkeys(zip(kernel.dtypes, others, strict=True)):
            if other.itemsize < dtype.itemsize and dtype.kind in "iufc":
                yield f"{dtype.name} because `{name}` is {t.type.name}, else {other.name}"


def pragma_text(kernel: Specialisation) -> str:
    """Return the pragmas of a kernel in words."""
    parsed = kernel.parsed
    words = [f"fp={parsed.fp}"] if parsed.fp != "strict" else []
    if parsed.compiler:
        words.append(f"compiler={parsed.compiler} (accepted, without effect)")
    return ", ".join(words)
