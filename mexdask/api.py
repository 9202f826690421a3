"""The public calls: apply, kernel, explain; what they do depends on the kind of array given."""

from __future__ import annotations

import functools
import operator
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
from mexdask.frontend.scalar import scalar_function
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
        return self._function or scalar_function(self._parsed)

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


def kernel(source: Source, /) -> Kernel:
    """Make a kernel of source text, an expression or a Python function; also a decorator.

    Parameters
    ----------
    source : str or function or Kernel
        One ``def`` in the kernel language, one expression, or a Python function whose source can
        be read.

    Returns
    -------
    Kernel
        Callable like `apply`; ``py_func`` is the plain function.

    Raises
    ------
    KernelSyntaxError
        With every complaint, if the text is outside the language.
    ArgumentError
        If the object is no function, or its source cannot be read.

    Examples
    --------
    >>> import mexdask, numpy as np
    >>> k = mexdask.kernel('''
    ... def steps(n):
    ...     count = 0
    ...     while n > 1:
    ...         n = n // 2 if n % 2 == 0 else 3 * n + 1
    ...         count += 1
    ...     return count
    ... ''')
    >>> k(np.array([1, 6, 27]))
    array([  0,   8, 111])
    """
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
    return kernel(source)


def kernel_of_function(function: Any) -> Kernel:
    """Return the kernel of a Python function, which must mean the same here as it does there."""
    return Kernel(gather(function), function)


def apply(
    src: Source,
    /,
    *arrays: Any,
    jit: str | None = None,
    dtype: Any = None,
    align: str = "rechunk",
    on_error: str | None = None,
    params: Mapping[str, Any] | None = None,
    **named: Any,
) -> Any:
    """Run a kernel for each element of its array arguments.

    Parameters
    ----------
    src : str or function or Kernel
        The kernel: source text, an expression, a Python function or a `Kernel`.
    *arrays : array_like
        Dask arrays, NumPy arrays and scalars, by position; they broadcast as NumPy's do. Python
        scalars are weak, NumPy scalars strong; a Delayed counts as a Python float. With xarray's
        DataArrays and Variables, broadcasting goes by dimension, and the result is labelled as
        xarray's arithmetic would label it.
    jit : {"auto", "off", "require"}, optional
        Native code if it can be had, never, or an error where it cannot; by default what
        ``mexdask.jit`` says in Dask's configuration.
    dtype : dtype_like, optional
        What every result is cast to.
    align : {"rechunk", "error"}, optional
        What happens to Dask arrays whose chunks do not fit together.
    on_error : {"raise", "nan"}, optional
        What an element becomes that makes the kernel fail: `KernelRuntimeError`, or nan where the
        result is floating; by default what ``mexdask.on-error`` says.
    params : mapping, optional
        Further arguments by name, for parameters that are called like an option.
    **named : array_like
        Arguments by name.

    Returns
    -------
    dask.array.Array or numpy.ndarray or numpy.generic, or a tuple of such
        Lazy if an argument is a Dask array or Delayed, else computed at once; a NumPy scalar where
        every argument is 0-d. Without dimensions if the kernel's reductions leave none; a tuple
        if the kernel returns several values. A DataArray around these if an argument is one, else
        a Variable if an argument is one.

    Raises
    ------
    KernelSyntaxError, KernelTypeError
        If the kernel is outside the language, or does not fit the arguments' dtypes.
    ArgumentError
        If the arguments do not fit the parameters or each other.
    KernelRuntimeError
        At computation, if an element makes the kernel fail.
    JITUnavailableError
        At computation, under ``jit="require"``, where there is no native code.

    Examples
    --------
    >>> import dask.array as da, mexdask
    >>> x = da.arange(6, chunks=3)
    >>> mexdask.apply("x * x if x % 2 else -x", x).compute()
    array([ 0,  1, -2,  9, -4, 25])
    >>> mexdask.apply("(x - mean(x)) / max(x)", x).compute()
    array([-0.5, -0.3, -0.1,  0.1,  0.3,  0.5])
    """
    given = with_params(named, params)
    return run(called_kernel(src, given), arrays, given, jit, dtype, align, on_error)


def explain(
    src: Source,
    /,
    *arrays: Any,
    jit: str | None = None,
    dtype: Any = None,
    align: str = "rechunk",
    on_error: str | None = None,
    params: Mapping[str, Any] | None = None,
    **named: Any,
) -> Explanation:
    """Say how `apply` would run the same call: engine, reason, dtypes, IR, C, cache key.

    For NumPy arguments it compiles what `apply` would compile, and no more. For Dask arguments it
    compiles nothing: the engine is a prediction from what this process knows.

    Parameters
    ----------
    src, *arrays, jit, dtype, align, on_error, params, **named
        As for `apply`.

    Returns
    -------
    Explanation
        Print it to read it.

    Examples
    --------
    >>> import mexdask, numpy as np
    >>> mexdask.explain("x / 2", np.arange(3, dtype="int32")).signature
    '(x: int32[]) -> float64'
    """
    given = with_params(named, params)
    k = called_kernel(src, given)
    options = jit, dtype, align, on_error
    if any_labelled((*arrays, *given.values())):
        return labelled_call(k, bound(parsed_for(k, given)[0], arrays, given), *options)[
            0
        ].explain()
    return Call.of(k, arrays, given, *options).explain()


def run(k: Kernel, arrays: Sequence[Any], named: Mapping[str, Any], *options: Any) -> Any:
    """Run a call; labels of xarray's are taken off its arguments and put on its results."""
    if not any_labelled((*arrays, *named.values())):
        return Call.of(k, arrays, named, *options).run()
    call, labels = labelled_call(k, bound(parsed_for(k, named)[0], arrays, named), *options)
    return labels.attached(call.run())


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
    symbols = [n for n in names if n in SHADOWABLE or n[:3] in ("_i_", "_n_")]
    return frozenset(symbols)


def fromkernel(
    src: Source,
    /,
    shape: int | Sequence[int],
    chunks: Any = "auto",
    *,
    jit: str | None = None,
    dtype: Any = None,
    on_error: str | None = None,
    params: Mapping[str, Any] | None = None,
    **named: Any,
) -> Any:
    """Make a Dask array of a kernel that needs no array, only the place of each element.

    Parameters
    ----------
    src : str or function or Kernel
        The kernel; ``_i0``, ``_n0``, ``_flat_idx`` and so on say where an element stands.
    shape : int or sequence of int
        Of the array.
    chunks : optional
        As for `dask.array.fromfunction`.
    jit, dtype, on_error
        As for `apply`.
    params : mapping, optional
        Further arguments by name, for parameters that are called like an option.
    **named : scalar
        The kernel's arguments.

    Returns
    -------
    dask.array.Array or tuple of dask.array.Array
        Lazy; a tuple if the kernel returns several values.

    Raises
    ------
    KernelSyntaxError, KernelTypeError
        If the kernel is outside the language, or does not fit the arguments' dtypes.
    ArgumentError
        If an argument is an array, or the shape or the chunks are none.

    Examples
    --------
    >>> import mexdask
    >>> mexdask.fromkernel("10 * _i0 + _i1", (2, 3)).compute()
    array([[ 0,  1,  2],
           [10, 11, 12]])
    """
    from mexdask import array

    given = with_params(named, params)
    lengths = checked_lengths(shape)
    call = Call.of(
        called_kernel(src, given), (), given, jit, dtype, "rechunk", on_error, shape=lengths
    )
    if arrays := [a.name for a in call.arguments if a.is_array]:
        raise ArgumentError(f"argument {arrays[0]!r} is an array; call apply with arrays")
    sizes = array.checked_chunks(chunks, lengths, call.specialisation.dtypes[0])
    layers = array.apply_blockwise(call.block_kernel(), call.arguments, "rechunk", sizes)
    return layers.results[0] if len(layers.results) == 1 else layers.results


def checked_lengths(shape: Any) -> tuple[int, ...]:
    """Return a shape as a tuple of lengths."""
    try:
        lengths = tuple(map(operator.index, shape if np.iterable(shape) else (shape,)))
    except TypeError:
        lengths = (-1,)
    if any(n < 0 for n in lengths):
        raise ArgumentError(f"shape={shape!r} is not a shape, such as (1000, 1000)")
    return lengths


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
