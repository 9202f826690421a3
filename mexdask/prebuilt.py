"""Kernels compiled beforehand into a directory, for machines that have no compiler."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mexdask.errors import ArgumentError, JITUnavailableError
from mexdask.kernelspec import block_kernels
from mexdask.runtime.failure import Failure
from mexdask.runtime.prebuilt import write
from mexdask.runtime.ship import build_for_levels, known_levels


@dataclass(frozen=True, slots=True)
class Built:
    """One compiled kernel in a directory of prebuilt ones.

    Parameters
    ----------
    kernel : str
        Its name.
    isa : str
        The instruction set level that it needs; empty where there are no levels.
    path : str
        The file.
    size : int
        In bytes.
    """

    kernel: str
    isa: str
    path: str
    size: int


def build(
    kernels: Iterable[Sequence[Any]],
    out: str | os.PathLike[str],
    isa: str | Iterable[str] | None = None,
) -> tuple[Built, ...]:
    """Compile kernels into a directory that processes without a compiler can take them from.

    They look there if the configuration key ``mexdask.prebuilt`` names it: in a container image
    ``DASK_MEXDASK__PREBUILT=/opt/kernels``. The directory must belong to the user who runs or to
    root, and nobody else may be able to write into it. Build with the C library of the image, or an
    older one.

    Parameters
    ----------
    kernels : iterable of tuple
        Each ``(src, *arguments)``, with kernel and types as `warm` takes them.
    out : path
        The directory; made if it is missing.
    isa : str or iterable of str, optional
        Instruction set levels ("x86-64-v2", "x86-64-v3", "x86-64-v4"); all of them if not given.

    Returns
    -------
    tuple of Built
        What was written, kernel by kernel.

    Raises
    ------
    KernelSyntaxError, KernelTypeError, ArgumentError
        As `apply` raises them for such arguments; for a level that there is not.
    JITUnavailableError
        With the reason, if something cannot be compiled here; then nothing is written.

    Examples
    --------
    >>> import mexdask, tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     built = mexdask.build([("x * x + c", "float64", float)], out=directory)
    ...     len(built) == len({b.path for b in built})
    True
    """
    levels = chosen_levels(isa)
    found = block_kernels(kernels)
    compiled = []
    for kernel in found:
        for unit in kernel.specialisation().units:
            for level, built in build_for_levels(unit, kernel.settings, levels):
                if isinstance(built, Failure):
                    where = f" for {level}" if level else ""
                    raise JITUnavailableError(
                        f"kernel {unit.name!r} cannot be compiled{where} ({built.kind.value}): "
                        f"{built.message}"
                    )
                compiled.append((unit.name, level, *built))
    directory = os.fspath(out)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    return tuple(
        Built(name, level, write(directory, digest, data), len(data))
        for name, level, digest, data in compiled
    )


def chosen_levels(isa: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the levels that a caller names, in their order."""
    known = known_levels()
    chosen = known if isa is None else (isa,) if isinstance(isa, str) else tuple(isa)
    for level in chosen:
        if level not in known:
            listed = ", ".join(map(repr, known))
            raise ArgumentError(f"isa: {level!r} is not a level of this machine's kind: {listed}")
    if not chosen:
        raise ArgumentError("isa names no level; leave it out for all of them")
    return tuple(dict.fromkeys(chosen))
