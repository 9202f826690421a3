"""A kernel for one set of argument types: parsed, validated, lowered, ready for every engine."""

from __future__ import annotations

import functools

import numpy as np

from mexdask import ir
from mexdask.backend.interp import Interpreter, prepare
from mexdask.dtypes import WEAK, Type, type_name
from mexdask.errors import SourceText
from mexdask.frontend.lower import lower
from mexdask.frontend.parse import Parsed, parse, too_deep
from mexdask.frontend.stages import ParamType
from mexdask.frontend.validate import validate
from mexdask.runtime.dispatch import Unit
from mexdask.smallchunk import SmallRunner, nothing_at_hand, small_runner
from mexdask.stack import roomy

WEAK_BY_NAME = {type_name(t): t for t in WEAK}


@functools.lru_cache(maxsize=256)
def type_text(t: Type, is_array: bool, shape_class: int = 0) -> str:
    """Return a parameter's type as it stands in signatures and travels."""
    return f"{type_name(t)}{f'[{shape_class or str()}]' if is_array else ''}"


def param_type(text: str) -> ParamType:
    """Return the type that ``type_text`` wrote."""
    name, is_array, rest = text.partition("[")
    weak = WEAK_BY_NAME.get(name)
    t = np.dtype(name) if weak is None else weak
    return ParamType(t, bool(is_array), int(rest.removesuffix("]") or 0))


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


class Stage:
    """One stage of a kernel as the engines see it.

    Parameters
    ----------
    function : ir.Function
        What it computes for one element.
    parsed : Parsed
        The kernel that it is of.

    Attributes
    ----------
    unit : Unit
        The function as the runtime sees it.
    is_simple : bool
        Whether it reads arrays only, cannot fail, and need not know where a chunk lies.
    run_small : callable
        Runs small chunks as the last chunk found its kernel, if it is simple.
    """

    def __init__(self, function: ir.Function, parsed: Parsed):
        self.function = function
        self.is_simple = function.is_simple
        self.source = parsed.source
        self.unit = Unit(function, function.name, parsed.source.text)
        self.run_small: SmallRunner = nothing_at_hand
        self._remembered: object = None

    def remember(self) -> None:
        """Let small chunks run as the last lookup found the kernel in memory."""
        if self._remembered is not (found := self.unit.at_hand):
            self.run_small = small_runner(self.unit)
            self._remembered = found

    @functools.cached_property
    def interpreter(self) -> Interpreter:
        """Return the stage ready for the interpreter."""
        return prepare(self.unit.masked)


class Specialisation:
    """A kernel lowered for one signature; every engine starts from its stages.

    Parameters
    ----------
    parsed : Parsed
        A validated kernel.
    signature : tuple of str
        The parameters' types, by ``type_text``.
    result : str
        Name of the dtype that every result is cast to; empty for the kernel's own.
    ndim : int or None
        Dimensions of the whole array, for kernels with index symbols.

    Attributes
    ----------
    stages : tuple of Stage
        Reducing stages, if any, then the one that gives the results.
    is_scalar : bool
        Whether the results depend on no element but through reductions.
    dtypes : tuple of numpy.dtype
        Of the results.
    takes_arrays_only : bool
        Whether no parameter is a scalar.
    can_fail : bool
        Whether an element may make the kernel fail.
    """

    def __init__(self, parsed: Parsed, signature: tuple[str, ...], result: str, ndim: int | None):
        self.parsed, self.ndim = parsed, ndim
        self.types = tuple(map(param_type, signature))
        types = dict(zip(parsed.parameters, self.types, strict=True))
        dtype = np.dtype(result) if result else None
        try:
            program = lower_with_room(parsed, types, dtype, ndim)
        except RecursionError:
            raise too_deep(parsed.source) from None
        self.stages = tuple(Stage(function, parsed) for function in program.stages)
        self.is_scalar = program.is_scalar
        self.dtypes = program.result.results
        self.takes_arrays_only = all(t.is_array for t in self.types)
        self.can_fail = any(stage.function.sites for stage in self.stages)

    @property
    def result(self) -> Stage:
        """Return the stage that gives the results."""
        return self.stages[-1]

    @property
    def units(self) -> tuple[Unit, ...]:
        """Return all that is compiled for the kernel."""
        over_elements = self.stages[: -1 if self.is_scalar else None]
        return tuple(stage.unit for stage in over_elements)


def specialise(
    source: SourceText,
    given: frozenset[str],
    signature: tuple[str, ...],
    result: str,
    ndim: int | None = None,
) -> Specialisation:
    """Return a kernel for one signature, lowered once per process and place."""
    return specialised_there(source, source.where, given, signature, result, ndim)


@functools.lru_cache(maxsize=1024)
@roomy
def specialised_there(
    source: SourceText,
    where: object,
    given: frozenset[str],
    signature: tuple[str, ...],
    result: str,
    ndim: int | None,
) -> Specialisation:
    """Lower; equal texts of different files are told apart by ``where``, for their messages."""
    return Specialisation(parsed_kernel(source, given), signature, result, ndim)
