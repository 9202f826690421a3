"""Turn checked bytes into a live function; what was checked is what is mapped."""

from __future__ import annotations

import ctypes
import itertools
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from mexdask.backend.cabi import ENTRY_ARGTYPES, ENTRY_RESTYPE
from mexdask.runtime.entry import Artifact, Rejected, check_image
from mexdask.runtime.failure import Failure, FailureClass, io_failure
from mexdask.runtime.key import CacheKey
from mexdask.runtime.root import private_directory

try:
    import fcntl
except ImportError:  # Windows, where nothing is loaded
    fcntl = None  # type: ignore[assignment]

Origin = Literal["compiled", "disk", "prebuilt", "shipped"]
SPELLINGS = 40
# The loader's words for what is wrong with this process, not with the object.
EXHAUSTED = ("Too many open files", "Cannot allocate memory")
_spelling = itertools.count()


@dataclass(frozen=True, slots=True)
class LoadedKernel:
    """A live native kernel; stays in the process, never travels.

    Parameters
    ----------
    call : callable
        The entry, with the types of ``backend.cabi``; it runs without the GIL.
    ufunc_loop : int or None
        Address of its loop for a NumPy ufunc, if it has one.
    key : CacheKey
        What it is.
    origin : {"compiled", "disk", "prebuilt", "shipped"}
        Where its bytes came from.
    path : str or None
        Its entry in the disk cache, if it has one.
    compile_seconds : float
        How long the compiler took, 0 if none ran here.
    """

    call: Callable[..., int]
    ufunc_loop: int | None
    key: CacheKey
    origin: Origin
    path: str | None
    compile_seconds: float = 0.0


def load(
    artifact: Artifact,
    key: CacheKey,
    origin: Origin,
    path: str | None = None,
    compile_seconds: float = 0.0,
) -> LoadedKernel | Failure:
    """Map an artifact and return its entry, or why that is not to be.

    Parameters
    ----------
    artifact : Artifact
        Bytes and record, already checked against the key.
    key : CacheKey
        Its digest must be in the object, its symbol is the entry's name.
    origin, path, compile_seconds
        Kept in the result.
    """
    try:
        check_image(artifact.image)
        library = open_library(artifact.image, key.symbol)
    except Rejected as error:
        return Failure(FailureClass.BAD_OBJECT, f"{key.symbol} is not loaded: {error}")
    except OSError as error:
        if error.errno is not None or any(words in str(error) for words in EXHAUSTED):
            return io_failure(error, f"loading {key.symbol}")
        return Failure(FailureClass.BAD_OBJECT, f"{key.symbol} cannot be loaded: {error}")
    try:
        inside = (ctypes.c_char * 65).in_dll(library, "me_key").value
        call: Any = library[key.symbol]
    except (AttributeError, ValueError) as error:
        return Failure(FailureClass.BAD_SYMBOL, f"{key.symbol}: {error}")
    if inside != key.digest.encode():
        return Failure(FailureClass.BAD_SYMBOL, f"{key.symbol} holds another key: {inside!r}")
    call.argtypes, call.restype = ENTRY_ARGTYPES, ENTRY_RESTYPE
    loop = getattr(library, "me_ufunc", None)
    address = ctypes.cast(loop, ctypes.c_void_p).value if loop is not None else None
    return LoadedKernel(call, address, key, origin, path, compile_seconds)


def open_library(image: bytes, name: str) -> ctypes.CDLL:
    """Load a shared object from memory, or from a private copy where that is not possible."""
    try:
        with sealed_copy(image, name) as path:
            return dlopen(path)
    except (AttributeError, OSError):  # no memfd, no /proc, or a policy against mapping it
        with private_directory(tempfile.gettempdir()) as directory:
            path = os.path.join(directory, f"{secrets.token_hex(16)}.so")
            with open(path, "xb") as file:
                file.write(image)
            return dlopen(path)


def dlopen(path: str) -> ctypes.CDLL:
    """Load a library with all symbols resolved now and none offered to others; for ever."""
    return ctypes.CDLL(path, mode=os.RTLD_NOW | os.RTLD_LOCAL)


@contextmanager
def sealed_copy(image: bytes, name: str) -> Iterator[str]:
    """Give a path to the bytes that nobody can change any more, under a name never used before."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(fd, "wb", buffering=0, closefd=False) as file:
            if file.write(image) != len(image):
                raise OSError(f"the copy of {name} was cut off")
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        yield unrepeated(fd)
    finally:
        os.close(fd)


def unrepeated(fd: int) -> str:
    """Return a spelling of a descriptor's path that this process has never given to the loader.

    The loader hands back the old library for a path that it has seen, and descriptors are reused.
    """
    count = next(_spelling)
    parts = ("/." if count >> bit & 1 else "//" for bit in range(SPELLINGS))
    return f"/proc/self/fd{''.join(parts)}/{fd}"
