"""Settings: those that travel with a kernel, and those of one process."""

from __future__ import annotations

import difflib
import functools
import os
import pkgutil
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mexdask.errors import ArgumentError

JIT_MODES = ("auto", "off", "require")
ON_ERROR_MODES = ("raise", "nan")
SIMD_MODES = ("auto", "off", "16", "32", "64")
ISA_MODES = ("auto", "x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")
WHILE_MAX_ITERS = 10_000_000
LONGEST_COMPILE = 3600.0


@dataclass(frozen=True, slots=True)
class KernelSettings:
    """What changes how a kernel runs wherever it runs: read when ``apply`` is called.

    Parameters
    ----------
    jit : {"auto", "off", "require"}
        Native code if it can be had, never, or an error where it cannot.
    while_max_iters : int
        The largest number of iterations of one ``while`` loop for one element.
    simd : {"auto", "off", "16", "32", "64"}
        Bytes of the vectors that native code may use, lowered to what the machine has.
    on_error : {"raise", "nan"}
        What an element becomes that makes the kernel fail: an exception, or nan where the result
        is floating.
    isa : {"auto", "x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"}
        Level of the instruction set that native code may use, lowered to what the machine has;
        without effect on other processors than x86-64.
    """

    jit: str = "auto"
    while_max_iters: int = WHILE_MAX_ITERS
    simd: str = "auto"
    on_error: str = "raise"
    isa: str = "auto"

    def __post_init__(self) -> None:
        if self.jit not in JIT_MODES:
            raise ArgumentError(f"jit={self.jit!r} is not one of {', '.join(JIT_MODES)}")
        if self.on_error not in ON_ERROR_MODES:
            raise ArgumentError(
                f"on_error={self.on_error!r} is not one of {', '.join(ON_ERROR_MODES)}"
            )
        if self.simd not in SIMD_MODES:
            raise ArgumentError(f"simd: {self.simd!r} is not one of {', '.join(SIMD_MODES)}")
        if self.isa not in ISA_MODES:
            raise ArgumentError(f"isa: {self.isa!r} is not one of {', '.join(ISA_MODES)}")
        if not 0 < self.while_max_iters < 2**63:
            raise ArgumentError(
                f"while-max-iters: {self.while_max_iters!r} is not a positive 64-bit integer"
            )


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
    cache_size : int
        Bytes that the cache directory may hold.
    prebuilt : tuple of str
        Directories that `mexdask.build` has filled.
    """

    compiler: str = ""
    cflags: str = ""
    path: str = os.defpath
    tmpdir: str = "/tmp"
    compile_timeout: float = 30.0
    cache_size: int = 256 << 20
    prebuilt: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.compile_timeout <= LONGEST_COMPILE:
            raise ArgumentError(
                f"compile-timeout: {self.compile_timeout!r} is not a number of seconds "
                f"above 0 and up to {LONGEST_COMPILE:g}"
            )
        if self.cache_size < 0:
            raise ArgumentError(f"cache-size: {self.cache_size!r} is not a number of bytes")


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
        compile_timeout=seconds(configured("compile-timeout", 30.0)),
        cache_size=byte_count(configured("cache-size", 256 << 20)),
        prebuilt=directories(configured("prebuilt", ())),
    )


def seconds(value: object) -> float:
    """Return the number of seconds in a setting."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ArgumentError(f"compile-timeout: {value!r} is not a number of seconds") from None


def directories(value: object) -> tuple[str, ...]:
    """Return the absolute paths in a setting: a list, or one string."""
    listed = [value] if isinstance(value, str) else value or ()
    if not isinstance(listed, (list, tuple)) or not all(isinstance(d, str) for d in listed):
        raise ArgumentError(f"prebuilt: {value!r} is not a list of directories")
    return tuple(os.path.abspath(os.path.expanduser(d)) for d in listed)


@functools.lru_cache(maxsize=16)
def byte_count(value: int | str) -> int:
    """Return the number of bytes in a setting, which may be spelled like ``256 MiB``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        from dask.utils import parse_bytes

        return int(parse_bytes(str(value)))
    except (ImportError, ValueError):
        raise ArgumentError(
            f"cache-size: {value!r} is not a number of bytes; write 256 MiB, say"
        ) from None


def configured(key: str, default: object) -> Any:
    """Return ``mexdask.<key>`` of Dask's configuration, or the default where Dask is missing."""
    config = dask_config()
    return default if config is None else config.get("mexdask." + key, default)


KNOWN: set[str] = set()
"""The settings that Dask's configuration may have, once it has been read."""


@functools.cache
def warn_of_unknown(name: str) -> None:
    """Say once that a setting of the configuration is none."""
    close = difflib.get_close_matches(name, KNOWN, n=1)
    hint = f"; did you mean mexdask.{close[0]}?" if close else ""
    warnings.warn(f"mexdask.{name} in Dask's configuration is no setting{hint}", stacklevel=2)


@functools.cache
def dask_config() -> Any:
    """Return Dask's configuration module with our defaults in it, or None where Dask is missing."""
    try:
        import yaml
        from dask import config
    except ImportError:
        return None
    # Neither importlib.resources nor the loader in Python: they take longer than a warm start.
    path = os.path.join(os.path.dirname(__file__), "mexdask.yaml")
    if os.path.exists(path):  # not in a zip file
        config.ensure_file(source=path)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    delivered = yaml.load(pkgutil.get_data("mexdask", "mexdask.yaml") or b"", loader)
    config.update_defaults(delivered)
    KNOWN.update(delivered["mexdask"])
    return config


def spelled_out(mode: object) -> str:
    """Return a mode as a string: YAML reads a bare ``off`` as false and ``on`` as true."""
    if isinstance(mode, bool):
        return "auto" if mode else "off"
    return str(mode)


def kernel_settings(
    jit: str | None = None, on_error: str | None = None, *, can_fail: bool = True
) -> KernelSettings:
    """Return the settings that travel, as configuration and environment say now.

    Parameters
    ----------
    jit, on_error : str, optional
        The call's own words, which win over the configuration.
    can_fail : bool
        False for a kernel without places that can fail, which no limit and mode of errors concerns.
    """
    config = dask_config()
    # Past ``config.get``, which takes as long as all of the rest.
    section = {} if config is None else config.config.get("mexdask", {})
    if len(section) > len(KNOWN):
        for name in set(section) - KNOWN:
            warn_of_unknown(name)
    limit: object = WHILE_MAX_ITERS
    if can_fail:
        limit = os.environ.get("ME_DSL_WHILE_MAX_ITERS") or configured("while-max-iters", limit)
        on_error = configured("on-error", "raise") if on_error is None else on_error
    mode = section.get("jit", "auto") if jit is None else jit
    simd, isa = section.get("simd", "auto"), section.get("isa", "auto")
    words = (mode, limit, simd, on_error or "raise", isa)
    try:
        return shared_settings(*words)
    except TypeError:  # a list, which has no hash, is no word either
        return shared_settings.__wrapped__(*words)


@functools.lru_cache(maxsize=64, typed=True)
def shared_settings(
    jit: object, limit: object, simd: object, on_error: object, isa: object
) -> KernelSettings:
    """Return the one object with these settings, or complain about them."""
    if isinstance(limit, str) and limit.strip().isdecimal():
        limit = int(limit)
    if isinstance(limit, bool) or not isinstance(limit, int):
        where = "mexdask.while-max-iters or ME_DSL_WHILE_MAX_ITERS"
        raise ArgumentError(f"{where}: {limit!r} is not a positive integer")
    return KernelSettings(spelled_out(jit), limit, spelled_out(simd), str(on_error), str(isa))


if "dask.config" in sys.modules:
    # As Dask's users expect: what is not set is seen in its configuration from the import on.
    dask_config()
