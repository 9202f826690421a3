"""What names of a kernel mean beside an xarray object: its variables, coordinates, itself."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from mexdask import labelled
from mexdask.arguments import call_text, quoted
from mexdask.call import Kernel, Source, called_kernel
from mexdask.errors import ArgumentError, described


class UnboundError(ArgumentError):
    """Parameters of a kernel are no variables, no coordinates, and were not given.

    Parameters
    ----------
    message : str
        Which, and what there is.
    missing : sequence of str
        The parameters.
    """

    def __init__(self, message: str, missing: Sequence[str]):
        super().__init__(message, missing)
        self.missing = missing

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Scope:
    """What names mean to a kernel.

    Parameters
    ----------
    variables : mapping of name to xarray.DataArray
        A Dataset, or the coordinates of a DataArray.
    array : xarray.DataArray, optional
        Is a parameter by being there.
    """

    variables: Any
    array: xr.DataArray | None = None

    @property
    def spelling(self) -> str:
        """How the object is called in messages."""
        return "ds" if self.array is None else "da"

    @property
    def names(self) -> list[str]:
        """The names that can be spelt in a kernel or nearly so."""
        found = getattr(self.variables, "variables", self.variables)
        own = [] if self.array is None else [self.array.name]
        return [name for name in (*found, *own) if isinstance(name, str)]

    def find(self, name: str) -> Any:
        """Return the variable of a name, None if there is none."""
        if name in self.variables:
            return self.variables[name]
        # Python has changed the spelling of the identifiers in a text, not that of the variables.
        same = (n for n in self.names if not n.isascii() and normalised(n) == name)
        return next((self.variables[n] for n in same if n in self.variables), None)

    def kernel(self, source: Source, named: Mapping[str, Any]) -> Kernel:
        """Return the kernel of a source, in which variables hide constants and functions."""
        if not isinstance(source, str):
            return called_kernel(source, {})
        return called_kernel(source, dict.fromkeys((*self.names, *named)))

    def bound(self, kernel: Kernel, named: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by parameter: given, the array itself, or a variable.

        Raises
        ------
        UnboundError
            If a parameter without a default is none of these.
        ArgumentError
            If something given is no parameter, or if no parameter is left for the array.
        """
        own = self.array_parameter(kernel, named)
        values, missing = {}, []
        for name in kernel.parameters:
            if name in named:
                values[name] = named[name]
            elif name == own:
                labelled.refuse_dtype(name, self.array, self.spelling)
                values[name] = self.array
            elif (variable := self.find(name)) is not None:
                labelled.refuse_dtype(name, variable, f"{self.spelling}[{variable.name!r}]")
                values[name] = variable
            elif name not in kernel._parsed.defaults:
                missing.append(name)
        if missing:
            raise UnboundError(self.unbound_text(kernel, missing), missing)
        unknown = {name: value for name, value in named.items() if name not in values}
        return {**values, **unknown}

    def array_parameter(self, kernel: Kernel, named: Mapping[str, Any]) -> str | None:
        """Return the parameter that is the array: the one of its name, else the first free one."""
        if self.array is None:
            return None
        free = [name for name in kernel.parameters if name not in named]
        if self.array.name in free:
            return str(self.array.name)
        for name in free:
            if self.find(name) is None:
                return name
        own = f", or call one {self.array.name!r} like it" if self.array.name else ""
        raise ArgumentError(
            f"{call_text(kernel._parsed)}: no parameter is left for the array itself, all are its "
            f"coordinates or were given; rename one{own}"
        )

    def unbound_text(self, kernel: Kernel, missing: Sequence[str]) -> str:
        """Return the message for parameters without an argument."""
        names = self.names
        text = f"{call_text(kernel._parsed)}: {', '.join(map(quoted, missing))} "
        text += "is neither a variable nor a coordinate, and was not given"
        close = {n: near for m in missing for n, near in [(m, near_names(m, names))] if near}
        for name, near in close.items():
            text += f"; for {quoted(name)}, did you mean {' or '.join(map(quoted, near))}?"
        if not close and names:
            shown = ", ".join(map(quoted, names[:20]))
            text += f"; there are {shown}{', ...' if len(names) > 20 else ''}"
        return text

    def origin(self, name: str, value: Any, named: Mapping[str, Any]) -> str:
        """Return in words what a parameter was bound to."""
        where = "given"
        if name not in named:
            is_coordinate = value is not self.array and value.name in value.coords
            where = f"{'coordinate' if is_coordinate else 'variable'} {value.name!r}"
        if not labelled.is_labelled(value):
            return f"{where}: {described(type(value))}"
        lazy = ", lazy" if value.chunks is not None else ""
        return f"{where}: {labelled.described_sizes(value.sizes)} {value.dtype}{lazy}"


def normalised(name: str) -> str:
    """Return a name as Python spells it in a text."""
    return unicodedata.normalize("NFKC", name)


def near_names(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that look most like one, whatever their case."""
    by_lower = {n.lower(): n for n in names}
    return [by_lower[n] for n in difflib.get_close_matches(name.lower(), list(by_lower), n=3)]
