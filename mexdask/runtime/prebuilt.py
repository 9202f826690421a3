"""Directories of kernels that were compiled beforehand, for a container image say.

The settings name them, so they may be the administrator's: what root owns is as good as the
interpreter that runs us. A file is ``<digest of the key>.so``, in bytes an entry of the cache.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mexdask.runtime.entry import (
    Artifact,
    Rejected,
    checked,
    installed_safely,
    read_regular,
)
from mexdask.runtime.key import CacheKey
from mexdask.runtime.load import LoadedKernel, load
from mexdask.runtime.root import log
from mexdask.runtime.worker import tell

ABSENT = (errno.ENOENT, errno.ENOTDIR)
_refused: set[str] = set()


def find_prebuilt(key: CacheKey, directories: Sequence[str]) -> LoadedKernel | None:
    """Return a key's kernel from the first directory that has it; a bad one is passed by."""
    for directory in directories:
        path = os.path.join(directory, file_name(key))
        try:
            kernel = load(read(directory, key), key, "prebuilt", path)
        except Rejected as error:
            refuse(path, str(error))
            continue
        except OSError as error:
            if error.errno not in ABSENT:
                refuse(path, str(error))
            continue
        if isinstance(kernel, LoadedKernel):
            return kernel
        refuse(path, kernel.message)
    return None


def is_prebuilt(key: CacheKey, directories: Sequence[str]) -> bool:
    """Tell whether a directory has a key's kernel, as far as can be told without loading it."""
    for directory in directories:
        try:
            read(directory, key)
        except (Rejected, OSError):
            continue  # whoever wants to load it says why not
        return True
    return False


def file_name(key: CacheKey) -> str:
    """Return the name of a key's file."""
    return f"{key.digest}.so"


def read(directory: str, key: CacheKey) -> Artifact:
    """Return what a directory has for a key, or raise `Rejected` or `OSError`."""
    with opened(directory) as fd:
        if not installed_safely(os.fstat(fd)):
            raise Rejected("the directory is another user's, or others can write into it")
        data, _ = read_regular(file_name(key), fd, installed=True)
    return checked(data, key)


@contextmanager
def opened(directory: str) -> Iterator[int]:
    """Open a directory, which may be reached through links."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def write(directory: str, digest: str, data: bytes) -> str:
    """Put an entry into a directory, whole or not at all, and return its path."""
    path = os.path.join(directory, f"{digest}.so")
    temporary = f"{path}.{secrets.token_hex(8)}"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            os.fchmod(file.fileno(), 0o644)  # whoever runs the image reads it, whatever the umask
        os.rename(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    return path


def refuse(path: str, why: str) -> None:
    """Say once why a file is not taken."""
    tell("rejection", entry=path, reason=why)
    if path not in _refused:
        _refused.add(path)
        log.warning("mexdask does not take the prebuilt kernel %s: %s", path, why)
