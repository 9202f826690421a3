"""A kernel for one set of argument types: parsed, validated, lowered, ready for every engine."""

from __future__ import annotations

import functools

import numpy as np

from mexdask.backend.interp import Interpreter, prepare
from mexdask.dtypes import WEAK, Type, type_name
from mexdask.errors import SourceText
from mexdask.frontend.lower import ParamType, lower
from mexdask.frontend.parse import Parsed, parse, too_deep
from mexdask.frontend.validate import validate
from mexdask.runtime.dispatch import Unit
from mexdask.stack import roomy

WEAK_BY_NAME = {type_name(t): t for t in WEAK}


@functools.lru_cache(maxsize=64)
def type_text(t: Type, is_array: bool) -> str:
    """Return a parameter's type as it stands in signatures and travels."""
    return f"{type_name(t)}{'[]' if is_array else ''}"


def param_type(text: str) -> ParamType:
    """Return the type that ``type_text`` wrote."""
    name = text.removesuffix("[]")
    weak = WEAK_BY_NAME.get(name)
    return ParamType(np.dtype(name) if weak is None else weak, text.endswith("[]"))


def parsed_kernel(source: SourceText, given: frozenset[str] = frozenset()) -> Parsed:
    """Return a kernel that is in the language, parsed once per process and place."""
    return parsed_there(source, source.where, given)


@functools.lru_cache(maxsize=1024)
@roomy
def parsed_there(source: SourceText, where: object, given: frozenset[str]) -> Parsed:
    """Parse; equal texts of different files are told apart by ``where``, for their messages."""
    parsed = parse(source, given)
    validate(parsed)
    return parsed


lower_with_room = roomy(lower)


class Specialisation:
    """A kernel lowered for one signature; every engine starts from ``function``.

    Parameters
    ----------
    parsed : Parsed
        A validated kernel.
    signature : tuple of str
        The parameters' types, by ``type_text``.
    result : str
        Name of the dtype that the result is cast to; empty for the kernel's own.

    Attributes
    ----------
    program : ir.Program
        The stages.
    function : ir.Function
        The stage that gives the result.
    dtype : numpy.dtype
        Of the result.
    takes_arrays_only : bool
        Whether no parameter is a scalar.
    """

    def __init__(self, parsed: Parsed, signature: tuple[str, ...], result: str):
        self.parsed = parsed
        self.types = tuple(map(param_type, signature))
        types = dict(zip(parsed.parameters, self.types, strict=True))
        try:
            self.program = lower_with_room(parsed, types, np.dtype(result) if result else None)
        except RecursionError:
            raise too_deep(parsed.source) from None
        self.function = self.program.result
        self.dtype = self.function.results[0]
        self.takes_arrays_only = all(t.is_array for t in self.types)
        self.unit = Unit(self.function, self.function.name, parsed.source.text)

    @property
    def units(self) -> tuple[Unit, ...]:
        """Return all that is compiled for the kernel."""
        return (self.unit,)

    @property
    def source(self) -> SourceText:
        """Return the text that spans point into."""
        return self.parsed.source

    @functools.cached_property
    def interpreter(self) -> Interpreter:
        """Return the kernel ready for the interpreter."""
        return prepare(self.unit.masked)


def specialise(
    source: SourceText, given: frozenset[str], signature: tuple[str, ...], result: str
) -> Specialisation:
    """Return a kernel for one signature, lowered once per process and place."""
    return specialised_there(source, source.where, given, signature, result)


@functools.lru_cache(maxsize=1024)
@roomy
def specialised_there(
    source: SourceText,
    where: object,
    given: frozenset[str],
    signature: tuple[str, ...],
    result: str,
) -> Specialisation:
    """Lower; equal texts of different files are told apart by ``where``, for their messages."""
    return Specialisation(parsed_kernel(source, given), signature, result)
