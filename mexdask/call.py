"""Kernels and calls of them: bound, checked, typed, then run at once, lazily or explained."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import Any, NamedTuple

import numpy as np

from mexdask import eager, notebook
from mexdask.arguments import (
    Argument,
    any_labelled,
    bind,
    bound,
    broadcast_shape,
    call_text,
    native_dtype,
    pattern,
    refuse_empty_extremes,
    unknown_sizes,
    with_shape_classes,
)
from mexdask.blockkernel import BlockKernel, interned
from mexdask.dtypes import held
from mexdask.errors import ArgumentError, SourceText, described
from mexdask.explanation import Explanation, explain_native
from mexdask.frontend.dimensions import numbered
from mexdask.frontend.freenames import gather
from mexdask.frontend.parse import Parsed
from mexdask.frontend.scalar import scalar_function, with_language
from mexdask.frontend.source import source_of_text
from mexdask.ops import CONSTANTS, FUNCTION_NAMES
from mexdask.settings import KernelSettings, kernel_settings
from mexdask.specialise import Specialisation, parsed_kernel, specialise

ALIGN_MODES = ("rechunk", "error")
SHADOWABLE = {*CONSTANTS, *FUNCTION_NAMES}


class Kernel:
    """A kernel that has been parsed and found to be in the language.

    Call it like `apply`, without the source. Two kernels of the same text are equal; pickling takes
    the text along, never compiled code.

    Parameters
    ----------
    source : SourceText
        The kernel's text.
    function : function, optional
        The Python function that it was made from.
    given : frozenset of str, optional
        Names that are parameters in an expression though they spell a constant or function.

    Raises
    ------
    KernelSyntaxError
        If the text is not in the kernel language.

    Examples
    --------
    >>> import mexdask, numpy as np
    >>> k = mexdask.kernel("sqrt(u**2 + v**2)")
    >>> k.parameters
    ('u', 'v')
    >>> k(np.array([3.0, 5.0]), np.array([4.0, 12.0]))
    array([ 5., 13.])
    """

    def __init__(
        self,
        source: SourceText,
        function: Callable[..., Any] | None = None,
        given: frozenset[str] = frozenset(),
    ):
        self._source = source
        self._parsed = parsed_kernel(source, given)
        self._function = function
        self._given = given
        self._specialised: dict[tuple[object, ...], Specialisation] = {}
        self._plain: dict[tuple[np.dtype, ...], Specialisation] = {}
        if function is not None:
            functools.update_wrapper(self, function)

    @property
    def source(self) -> str:
        """The kernel's text."""
        return self._source.text

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters, in order."""
        return self._parsed.parameters

    @functools.cached_property
    def py_func(self) -> Callable[..., Any]:
        """The kernel as a plain Python function of scalars, for a debugger.

        The function that was decorated, else the validated source run over NumPy scalars.
        """
        if self._function is None:
            return scalar_function(self._parsed)
        return with_language(self._function, self._parsed.helpers)

    def __call__(
        self,
        /,
        *arrays: Any,
        jit: str | None = None,
        dtype: Any = None,
        align: str = "rechunk",
        on_error: str | None = None,
        params: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> Any:
        """Run the kernel as `apply` does."""
        given = with_params(named, params)
        return run(self, arrays, given, jit, dtype, align, on_error)

    def specialised(
        self, given: tuple[str, ...], signature: tuple[str, ...], result: str, ndim: int | None
    ) -> Specialisation:
        """Return the kernel lowered for argument types; at hand without hashing its text again."""
        key = (given, signature, result, ndim)
        if (found := self._specialised.get(key)) is None:
            found = specialise(self._source, frozenset(given), signature, result, ndim)
            self._specialised[key] = found
        return found

    def along(self, dimensions: Sequence[Hashable]) -> Kernel:
        """Return the kernel for a result of named dimensions, which index symbols may name."""
        if not self._parsed.by_dimension:
            return self
        return Kernel(numbered(self._parsed, dimensions), given=self._given)

    def __reduce__(self) -> tuple[Callable[..., Kernel], tuple[Any, ...]]:
        s = self._source
        return restored, astuple(s)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kernel) and self._source == other._source

    def __hash__(self) -> int:
        return hash(self._source)

    def __repr__(self) -> str:
        return f"<mexdask kernel {self._parsed.source.name}({', '.join(self.parameters)})>"

    def _repr_html_(self) -> str:
        title = f"mexdask kernel {self._parsed.source.name}({', '.join(self.parameters)})"
        return notebook.titled(title, notebook.folded("source", self.source, is_open=True))

    def __dask_tokenize__(self) -> tuple[str, str, str]:
        return "mexdask.Kernel", self._source.text, self._source.name


def restored(*source: Any) -> Kernel:
    """Return a kernel from what its pickle holds."""
    return Kernel(SourceText(*source))


Source = str | Kernel | Callable[..., Any]


def as_kernel(source: Source) -> Kernel:
    """Return the kernel that a source is, or that is made of it."""
    if isinstance(source, Kernel):
        return source
    if isinstance(source, str):
        return kernel_of_text(source)
    return kernel_of_function(source)


@functools.lru_cache(maxsize=1024)
def kernel_of_text(text: str) -> Kernel:
    """Return the kernel of a text, parsed once."""
    return Kernel(source_of_text(text))


def called_kernel(source: Source, named: Mapping[str, Any]) -> Kernel:
    """Return the kernel of a call, which may bind names that are functions elsewhere."""
    if isinstance(source, str) and (given := shadowing(named)):
        return Kernel(source_of_text(source), given=given)
    return as_kernel(source)


def kernel_of_function(function: Any) -> Kernel:
    """Return the kernel of a Python function, which must mean the same here as it does there."""
    return Kernel(gather(function), function)


def run(
    k: Kernel,
    arrays: Sequence[Any],
    named: Mapping[str, Any],
    jit: str | None,
    dtype: Any,
    align: str,
    on_error: str | None,
) -> Any:
    """Run a call; labels of xarray's are taken off its arguments and put on its results."""
    if not named and dtype is None and align == "rechunk" and (special := plain(k, arrays)):
        settings = kernel_settings(jit, on_error, can_fail=False)
        return eager.run_simple(special.result, arrays, settings)
    call, labels = checked(k, arrays, named, jit, dtype, align, on_error)
    if labels is not None:
        return labels.attached(call.run())
    if call.is_plain:
        k._plain[tuple([a.value.dtype for a in call.arguments])] = call.specialisation
    return call.run()


def plain(k: Kernel, arrays: Sequence[Any]) -> Specialisation | None:
    """Return what a call comes to that was made before on arrays of these dtypes, if it is plain.

    Nothing is left to check then. A small array's call is mostly such checks.
    """
    if not k._plain or not arrays or not (shape := getattr(arrays[0], "shape", ())):
        return None
    for array in arrays:
        if type(array) is not np.ndarray or array.shape != shape:
            return None
    return k._plain.get(tuple([array.dtype for array in arrays]))


def checked(
    k: Kernel, arrays: Sequence[Any], named: Mapping[str, Any], *options: Any
) -> tuple[Call, Any]:
    """Return a checked call on plain arrays, and the labels of its results if they have any."""
    if not any_labelled((*arrays, *named.values())):
        return Call.of(k, arrays, named, *options), None
    return labelled_call(k, bound(parsed_for(k, named)[0], arrays, named), *options)


def labelled_call(
    k: Kernel,
    values: Mapping[str, Any],
    *options: Any,
    join: str | None = None,
    keep_attrs: Any = None,
) -> tuple[Call, Any]:
    """Return a checked call on plain arrays, and the ``labelled.Labels`` of its results."""
    from mexdask import labelled

    plain, labels = labelled.taken_apart(values, join, keep_attrs)
    return Call.of(k.along(tuple(labels.sizes)), (), plain, *options), labels


def parsed_for(k: Kernel, named: Mapping[str, Any]) -> tuple[Parsed, tuple[str, ...]]:
    """Return a kernel as a call parses it, and the names that the call makes parameters of."""
    if k._parsed.is_expression and (given := shadowing(named)):
        return parsed_kernel(k._source, given), tuple(sorted(given))
    return k._parsed, ()


def shadowing(names: Iterable[str]) -> frozenset[str]:
    """Return those of the names that would be none of a call's in an expression."""
    symbols = [n for n in names if n in SHADOWABLE or str(n).startswith(("_i_", "_n_"))]
    return frozenset(symbols)


def with_params(named: Mapping[str, Any], params: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return all arguments by name; ``params`` must not repeat a keyword."""
    if params is None:
        return named
    if not isinstance(params, Mapping):
        raise ArgumentError(f"params is {described(type(params))}; give a dict of name to argument")
    for name in params:
        if name in named:
            raise ArgumentError(f"{name!r} is given both in params and by keyword")
    return {**named, **params}


class Call(NamedTuple):
    """One call of `apply`, checked; nothing has run, no graph has been built."""

    parsed: Parsed
    given: tuple[str, ...]
    arguments: list[Argument]
    specialisation: Specialisation
    shape: tuple[int, ...]
    result: str
    align: str
    ndim: int | None
    settings: KernelSettings

    @classmethod
    def of(
        cls,
        k: Kernel,
        arrays: Sequence[Any],
        named: Mapping[str, Any],
        jit: str | None,
        dtype: Any,
        align: str,
        on_error: str | None,
        shape: tuple[int, ...] | None = None,
    ) -> Call:
        """Check everything that can be wrong with a call; its ``shape``, if no array has it."""
        if align not in ALIGN_MODES:
            raise ArgumentError(f"align={align!r} is not one of {', '.join(ALIGN_MODES)}")
        parsed, given = parsed_for(k, named)
        if parsed.by_dimension:
            raise ArgumentError(
                f"{call_text(parsed)}: {parsed.by_dimension[0].id!r} names a dimension, which only "
                "xarray's arrays have; write its number, such as _i0 or _n0"
            )
        arguments = bind(parsed, arrays, named)
        result = "" if dtype is None else result_name(dtype)
        arrays = [a for a in arguments if a.is_array]
        if shape is None:
            shape = broadcast_shape(arrays)
        ndim = None
        if parsed.uses_indices and (arrays or shape):
            ndim = len(shape)
            if any(n != n for n in shape):
                raise ArgumentError(unknown_sizes(parsed, arrays))
        if parsed.reduces:
            arguments = with_shape_classes(arguments)
        signature = tuple([a.type_text for a in arguments])
        special = k.specialised(given, signature, result, ndim)
        refuse_empty_extremes(special, arguments, shape)
        settings = kernel_settings(jit, on_error, can_fail=special.can_fail)
        return cls(parsed, given, arguments, special, shape, result, align, ndim, settings)

    @property
    def is_lazy(self) -> bool:
        """Tell whether an argument is a Dask array or a Delayed."""
        return any([a.is_dask for a in self.arguments])  # noqa: C419 (quicker for so few)

    @property
    def is_plain(self) -> bool:
        """Tell whether types are all that a call on NumPy arrays of one shape has to know."""
        return (
            not self.given
            and not self.result
            and self.align == "rechunk"
            and len(self.specialisation.stages) == 1
            and self.specialisation.result.is_simple
            and all(type(a.value) is np.ndarray and a.value.dtype.isnative for a in self.arguments)
        )

    def block_kernel(self) -> BlockKernel:
        """Return what travels to the workers."""
        source = self.parsed.source
        patterns = tuple(pattern(a) for a in self.arguments)
        signature = tuple(a.type_text for a in self.arguments)
        own = (self.given, signature, patterns, self.result, self.ndim, 0)
        return interned(*astuple(source), *own, *astuple(self.settings))

    def values(self) -> dict[str, Any]:
        """Return the arguments as arrays of their parameters' dtypes, scalars as 0-d arrays."""
        return {
            a.name: a.value if a.is_array else np.asarray(a.value, held(a.type))
            for a in self.arguments
        }

    def run(self) -> Any:
        """Compute at once, or return the lazy results."""
        if self.is_lazy:
            from mexdask import array

            results = array.apply_blockwise(self.block_kernel(), self.arguments, self.align).results
        else:
            results = eager.run(self.specialisation, self.values(), self.shape, self.settings)
        return results[0] if len(results) == 1 else results

    def stand_in(self) -> Any:
        """Return something of the result's shape and dtype without computing it."""
        if self.is_lazy:
            return self.run()
        special = self.specialisation
        shape = () if special.is_scalar else self.shape
        found = tuple(np.broadcast_to(np.zeros((), dtype), shape) for dtype in special.dtypes)
        return found[0] if len(found) == 1 else found

    def explain(self) -> Explanation:
        """Return how the call would run."""
        rechunked = {}
        if self.is_lazy:
            from mexdask import array

            layers = array.apply_blockwise(self.block_kernel(), self.arguments, self.align)
            rechunked = layers.rechunked
        return explain_native(
            self.specialisation, self.settings, predicted=self.is_lazy, rechunked=rechunked
        )


def result_name(dtype: Any) -> str:
    """Return the name of the dtype that a result is cast to."""
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError):
        raise ArgumentError(f"dtype={dtype!r} is not a dtype") from None
    if (native := native_dtype(found)) is None:
        raise ArgumentError(f"a result cannot have dtype {found}; take another, such as 'float32'")
    return native.name
