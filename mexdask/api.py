"""The public calls: apply, kernel, explain, fromkernel; what they do depends on what is given."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mexdask.call import (
    Call,
    Kernel,
    Source,
    as_kernel,
    called_kernel,
    checked,
    run,
    with_params,
)
from mexdask.errors import ArgumentError
from mexdask.explanation import Explanation


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
    return as_kernel(source)


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
    return checked(k, arrays, given, jit, dtype, align, on_error)[0].explain()


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
    if not all(0 <= n < 2**63 for n in lengths):
        raise ArgumentError(f"shape={shape!r} is not a shape, such as (1000, 1000)")
    return lengths
