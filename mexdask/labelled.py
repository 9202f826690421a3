"""Kernels on xarray's labelled arrays: aligned, broadcast by name, and labelled again after."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from mexdask.arguments import native_dtype
from mexdask.errors import ArgumentError

JOINS = ("inner", "outer", "left", "right", "exact", "override")
ATTRS_RULES = ("drop", "identical", "no_conflicts", "drop_conflicts", "override")
Sizes = dict[Hashable, int]


class AlignmentError(ArgumentError, xr.AlignmentError):
    """Labelled arguments do not fit together: their indexes, their sizes or their attributes."""


@dataclass(frozen=True)
class Labels:
    """What a call's results get, as xarray's operators would give it.

    Parameters
    ----------
    sizes : dict
        The dimensions, in order.
    attrs : dict
        Attributes.
    name : hashable
        Of a DataArray.
    coords : xarray.Coordinates or None
        None where no argument is a DataArray, and neither is the result then.
    model : xarray.DataArray or None
        An argument that has these dimensions and coordinates, if there is one.
    """

    sizes: Sizes
    attrs: dict[Any, Any]
    name: Hashable
    coords: Any
    model: Any

    def attached(self, result: Any) -> Any:
        """Return a result, or a tuple of them, with its labels; without dimensions if it is 0-d."""
        if isinstance(result, tuple):
            return tuple(map(self.attached, result))
        dims = tuple(self.sizes) if result.ndim else ()
        if self.coords is None:
            return xr.Variable(dims, result, self.attrs)
        if self.model is not None and self.model.dims == dims:
            # As xarray's own operators of one operand do; the constructor takes thirty times as
            # long, for it checks and copies every coordinate.
            out = self.model.__array_wrap__(result)
            out.name, out.attrs = self.name, self.attrs
            return out
        coords = self.coords
        if not dims:
            coords = coords.to_dataset().drop_dims(self.sizes, errors="ignore").coords
        # A variable, for a Dask array would give the result its own name.
        return xr.DataArray(xr.Variable(dims, result, self.attrs), coords, name=self.name)


def taken_apart(
    values: Mapping[str, Any], join: str | None = None, keep_attrs: Any = None
) -> tuple[dict[str, Any], Labels]:
    """Return the arguments as plain arrays that broadcast by position, and the results' labels.

    Parameters
    ----------
    values : mapping of str to object
        By parameter and in the order of the parameters; anything that is not labelled stays as it
        is.
    join : {"inner", "outer", "left", "right", "exact", "override"}, optional
        How indexes are aligned; by default what ``arithmetic_join`` says among xarray's options.
    keep_attrs : bool, str or callable, optional
        As for `xarray.apply_ufunc`, but True merges what does not conflict; by default xarray's
        option of that name.

    Raises
    ------
    ArgumentError
        If a variable is of a dtype that no kernel takes, or an option is wrong.
    AlignmentError
        If indexes, sizes or what else is merged do not fit together.
    """
    for name, value in values.items():
        if is_labelled(value):
            refuse_dtype(name, value, name)
    values = {**values, **aligned({n: v for n, v in values.items() if is_array(v)}, join)}
    labelled = {name: v for name, v in values.items() if is_labelled(v)}
    sizes = common_sizes({name: v.sizes for name, v in labelled.items()})
    plain = {
        name: broadcastable(v, sizes) if is_labelled(v) else fitting(name, v, sizes)
        for name, v in values.items()
    }
    return plain, merged_labels(list(labelled.values()), sizes, keep_attrs)


def merged_labels(labelled: Sequence[Any], sizes: Sizes, keep_attrs: Any) -> Labels:
    """Return what aligned arguments give to the results."""
    attrs = merged_attrs([a.attrs for a in labelled], keep_attrs)
    arrays = [a for a in labelled if is_array(a)]
    if not arrays:
        return Labels(sizes, attrs, None, None, None)
    names = {a.name for a in arrays}
    name = names.pop() if len(names) == 1 else None
    model = model_of(arrays)
    coords = merged_coords([a.coords for a in arrays]) if model is None else model.coords
    return Labels(sizes, attrs, name, coords, model)


def is_array(value: Any) -> bool:
    """Tell whether a value has coordinates."""
    return isinstance(value, xr.DataArray)


def is_labelled(value: Any) -> bool:
    """Tell whether a value has names for its dimensions."""
    return isinstance(value, (xr.DataArray, xr.Variable))


def aligned(arrays: dict[str, Any], join: Any) -> dict[str, Any]:
    """Return the arrays with their indexes aligned."""
    join = xr.get_options()["arithmetic_join"] if join is None else join
    if join not in JOINS:
        raise ArgumentError(f"join={join!r} is not one of {', '.join(JOINS)}")
    if have_same_labels(list(arrays.values())):
        return arrays
    try:
        found = xr.align(*arrays.values(), join=join, copy=False)
    except ValueError as error:
        listed = ", ".join(f"{name!r} {described_sizes(a.sizes)}" for name, a in arrays.items())
        raise AlignmentError(f"arguments {listed}: {error}") from error
    return dict(zip(arrays, found, strict=True))


def have_same_labels(arrays: Sequence[Any]) -> bool:
    """Tell whether coordinates of one name are one object, as in variables of one Dataset."""
    seen: dict[Hashable, Any] = {}
    for array in arrays:
        for name, coordinate in array.coords.variables.items():
            if seen.setdefault(name, coordinate) is not coordinate:
                return False
    return True


def described_sizes(sizes: Mapping[Any, int]) -> str:
    """Return dimensions with their sizes, as xarray writes them."""
    return f"({', '.join(f'{dim}: {n}' for dim, n in sizes.items())})"


def common_sizes(given: Mapping[str, Mapping[Hashable, int]]) -> Sizes:
    """Return the dimensions of the result: those of the first argument, then what others add."""
    sizes: Sizes = {}
    for name, own in given.items():
        for dim, n in own.items():
            if sizes.setdefault(dim, n) != n:
                listed = ", ".join(f"{n!r} {described_sizes(s)}" for n, s in given.items())
                raise AlignmentError(
                    f"argument {name!r} has another length along {dim!r} than the others: {listed}"
                )
    if not xr.get_options().get("arithmetic_broadcast", True) and any(
        tuple(own) != tuple(sizes) for own in given.values()
    ):
        listed = ", ".join(f"{n!r} {described_sizes(s)}" for n, s in given.items())
        raise AlignmentError(
            f"the arguments must be broadcast, which xarray's option arithmetic_broadcast forbids: "
            f"{listed}"
        )
    return sizes


def broadcastable(labelled: Any, sizes: Sizes) -> Any:
    """Return the data of a labelled array so that it broadcasts to ``sizes`` by position."""
    variable = getattr(labelled, "variable", labelled)
    if variable.dims == tuple(sizes):
        return variable.data
    own = [dim for dim in sizes if dim in variable.dims]
    if len(own) != len(variable.dims):
        raise AlignmentError(f"a variable has a dimension twice: {variable.dims}")
    data = variable.transpose(*own).data
    first = list(sizes).index(own[0]) if own else len(sizes)
    index = tuple(slice(None) if dim in own else None for dim in list(sizes)[first:])
    return data if None not in index else data[index]


def fitting(name: str, value: Any, sizes: Sizes) -> Any:
    """Return an unlabelled argument, which takes its place by position as in xarray."""
    shape = getattr(value, "shape", ())
    whole = tuple(sizes.values())
    ends = zip(shape[::-1], whole[::-1], strict=False)
    if len(shape) > len(whole) or any(n not in (1, most) for n, most in ends):
        raise AlignmentError(
            f"argument {name!r} is an array of shape {shape} without names, which does not fit "
            f"{described_sizes(sizes)}; name its dimensions: xr.DataArray({name}, dims=...)"
        )
    return value


def model_of(arrays: Sequence[Any]) -> Any:
    """Return the array that has the coordinates of all, if one has the very same objects."""
    model = max(arrays, key=lambda a: len(a.coords))
    own = model.coords.variables
    same = all(own.get(n) is v for a in arrays for n, v in a.coords.variables.items())
    return model if same else None


def merged_coords(given: Sequence[Any]) -> Any:
    """Return the coordinates of the result as arithmetic merges them, all of them at once.

    Of coordinates that conflict none is kept, whatever stands between them.
    """
    option = xr.get_options().get("arithmetic_compat", "minimal")
    compat = {} if option == "minimal" else {"compat": option}
    merged, *others = given
    conflicting: set[Hashable] = set()
    for other in others:
        try:
            both = merged.merge(other, **compat).coords
        except ValueError as error:
            raise AlignmentError(f"the coordinates of the arguments conflict: {error}") from error
        conflicting |= {*merged, *other} - {*both}
        merged = both
    return merged.drop_vars(conflicting & {*merged}) if conflicting else merged


def merged_attrs(given: Sequence[Mapping[Any, Any]], keep_attrs: Any) -> dict[Any, Any]:
    """Return the attributes of the result."""
    if keep_attrs is None:
        option = xr.get_options()["keep_attrs"]
        keep_attrs = True if option == "default" else option
    if isinstance(keep_attrs, bool):
        keep_attrs = "drop_conflicts" if keep_attrs else "drop"
    if not callable(keep_attrs) and keep_attrs not in ATTRS_RULES:
        rules = ", ".join(ATTRS_RULES)
        raise ArgumentError(f"keep_attrs={keep_attrs!r} is not True, False or one of {rules}")
    if keep_attrs == "drop" or not any(given):
        return {}
    if len(given) == 1 and isinstance(keep_attrs, str):
        return dict(given[0])
    carriers = [xr.Variable((), 0, attrs) for attrs in given]
    try:
        merged = xr.apply_ufunc(lambda *_: 0, *carriers, keep_attrs=keep_attrs).attrs
    except ValueError as error:
        raise AlignmentError(f"keep_attrs={keep_attrs!r}: {error}") from error
    return dict(merged)


def refuse_dtype(name: str, labelled: Any, spelling: str) -> None:
    """Raise if no kernel takes the dtype of a labelled array, with a conversion that fits it.

    Parameters
    ----------
    name : str
        The parameter.
    labelled : xarray.DataArray or xarray.Variable
        Its argument.
    spelling : str
        How the user gets at it, such as ``ds['time']``.
    """
    dtype = labelled.dtype
    if isinstance(dtype, np.dtype) and native_dtype(dtype) is not None:
        return
    kind = dtype.kind if isinstance(dtype, np.dtype) else "O"
    if levels := level_names(labelled):
        raise ArgumentError(
            f"argument {name!r} is a MultiIndex; give one of its levels: {', '.join(levels)}"
        )
    converted = {
        "M": f"{spelling}.dt.hour, or ({spelling} - {spelling}[0]) / np.timedelta64(1, 'h')",
        "m": f"{spelling} / np.timedelta64(1, 'h')",
        "f": f"{spelling}.astype('float{32 if dtype.itemsize < 4 else 64}')",
        "c": f"{spelling}.astype('complex128')",
        "U": f"({spelling} == 'text')",
        "S": f"({spelling} == b'text')",
        "T": f"({spelling} == 'text')",
    }.get(
        kind,
        f"({spelling} == 'text'), or {spelling}.dt.hour for dates, or {spelling}.astype(float) for "
        "numbers",
    )
    raise ArgumentError(
        f"argument {name!r} has dtype {dtype}, which no kernel takes; give a number made of it, "
        f"such as {name}={converted}"
    )


def level_names(labelled: Any) -> list[str]:
    """Return the quoted names of the levels of a MultiIndex; none for anything else."""
    if not isinstance(labelled, xr.DataArray) or labelled.name not in labelled.xindexes:
        return []
    together = labelled.xindexes.get_all_coords(labelled.name)
    return [repr(name) for name in together if name != labelled.name]
