"""Settings: those that travel with a kernel, and those of one process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from mexdask.errors import ArgumentError

JIT_MODES = ("auto", "off", "require")
WHILE_MAX_ITERS = 10_000_000


@dataclass(frozen=True, slots=True)
class KernelSettings:
    """What changes how a kernel runs wherever it runs: read when ``apply`` is called.

    Parameters
    ----------
    jit : {"auto", "off", "require"}
        Native code if it can be had, never, or an error where it cannot.
    while_max_iters : int
        The largest number of iterations of one ``while`` loop for one element.
    """

    jit: str = "auto"
    while_max_iters: int = WHILE_MAX_ITERS

    def __post_init__(self) -> None:
        if self.jit not in JIT_MODES:
            raise ArgumentError(f"jit={self.jit!r} is not one of {', '.join(JIT_MODES)}")
        limit = self.while_max_iters
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit < 2**63:
            raise ArgumentError(f"while_max_iters={limit!r} is not a positive 64-bit integer")


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What belongs to one process and never travels.

    Parameters
    ----------
    compiler : str
        The text of ``CC``; empty to look for cc, gcc and clang.
    cflags : str
        The text of ``ME_DSL_JIT_CFLAGS``.
    path : str
        ``PATH``, where compilers are looked for.
    tmpdir : str
        The directory that holds ``miniexpr-jit``.
    compile_timeout : float
        Seconds that one run of the compiler may take.
    """

    compiler: str = ""
    cflags: str = ""
    path: str = os.defpath
    tmpdir: str = "/tmp"
    compile_timeout: float = 30.0


def is_enabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether this process may run native code at all (``ME_DSL_JIT=0`` says no)."""
    return environ.get("ME_DSL_JIT", "1").strip().lower() not in ("0", "off", "false", "no")


def process_settings(environ: Mapping[str, str] = os.environ) -> ProcessSettings:
    """Return this process's own settings as its environment says now."""
    return ProcessSettings(
        compiler=environ.get("CC", "").strip(),
        cflags=environ.get("ME_DSL_JIT_CFLAGS", "").strip(),
        path=environ.get("PATH", os.defpath),
        tmpdir=environ.get("TMPDIR") or "/tmp",
        compile_timeout=float(configured("compile-timeout", 30.0)),
    )


def configured(key: str, default: object) -> object:
    """Return ``mexdask.<key>`` of Dask's configuration, or the default where Dask is missing."""
    try:
        from dask import config
    except ImportError:
        return default
    return config.get(f"mexdask.{key}", default)


def spelled_out(mode: object) -> str:
    """Return a mode as a string: YAML reads a bare ``off`` as false and ``on`` as true."""
    if isinstance(mode, bool):
        return "auto" if mode else "off"
    return str(mode)


def kernel_settings(
    jit: str | None = None, environ: Mapping[str, str] = os.environ
) -> KernelSettings:
    """Return the settings that travel, as configuration and environment say now.

    Parameters
    ----------
    jit : str, optional
        The call's own word, which wins over the configuration.
    environ : mapping, optional
        Where ``ME_DSL_WHILE_MAX_ITERS`` is looked up.
    """
    limit = environ.get("ME_DSL_WHILE_MAX_ITERS", "").strip()
    if limit and not limit.isdecimal():
        raise ArgumentError(f"ME_DSL_WHILE_MAX_ITERS={limit!r} is not a positive integer")
    return KernelSettings(
        jit=spelled_out(configured("jit", "auto")) if jit is None else jit,
        while_max_iters=int(limit) if limit else configured("while-max-iters", WHILE_MAX_ITERS),
    )
