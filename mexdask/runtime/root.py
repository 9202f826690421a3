"""Directories that are ours alone: opened by descriptor and checked, never trusted by name.

The owner and the mode of these directories are the security boundary of the disk cache: whoever
can write into them can run code as us.
"""

from __future__ import annotations

import atexit
import errno
import logging
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

log = logging.getLogger("mexdask")

NAME = "miniexpr-jit"
PLACES = ("/tmp", "/var/tmp", "/dev/shm")
_warned: set[str] = set()


@dataclass(frozen=True, slots=True)
class Root:
    """An opened directory for the cache; ``fd`` is the truth, ``path`` is for people."""

    path: str
    fd: int


def open_roots(tmpdir: str) -> Iterator[Root]:
    """Yield usable roots, best first: the shared one, our own, one for this process alone."""
    base = os.path.abspath(tmpdir)
    for name in (NAME, f"{NAME}-{os.geteuid()}"):
        path = os.path.join(base, name)
        try:
            root = Root(path, open_own(path))
        except (OSError, ValueError) as error:
            warn_once(path, f"mexdask does not use {path} for its cache: {error}")
        else:
            yield root
    try:
        path = make_private(base)
        root = Root(path, open_own(path))
    except (OSError, ValueError) as error:
        warn_once(base, f"mexdask has no directory for its cache: {error}")
        return
    atexit.register(remove_private, path, os.getpid())
    yield root


def open_own(path: str, dir_fd: int | None = None) -> int:
    """Return a descriptor of a directory that nobody else can write, made if it is missing.

    One of ours that others could write is set aside with all it holds, unread.
    """
    for _ in range(3):
        with suppress(FileExistsError):
            os.mkdir(path, 0o700, dir_fd=dir_fd)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, dir_fd=dir_fd)
        try:
            if check_own(fd):
                return fd
        except OSError:
            os.close(fd)
            raise
        os.close(fd)
        set_aside(path, dir_fd)
    raise PermissionError(errno.EPERM, "others can write it")


def check_own(fd: int) -> bool:
    """Tell whether nobody else can write an open directory; raise if it is somebody else's."""
    info = os.fstat(fd)
    if info.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user")
    if info.st_mode & 0o022:
        return False
    if stat.S_IMODE(info.st_mode) != 0o700:
        with suppress(OSError):  # on a read-only disk; that others may read does no harm
            os.fchmod(fd, 0o700)
    return True


def set_aside(path: str, dir_fd: int | None) -> None:
    """Rename a directory that others could have filled."""
    aside = f"{path}.aside-{secrets.token_hex(8)}"
    os.rename(path, aside, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    warn_once(path, f"mexdask set {path} aside as {aside}: others could write into it")


def make_private(*bases: str) -> str:
    """Return a new directory of our own below the first place that takes one."""
    reason: OSError | ValueError = FileNotFoundError(errno.ENOENT, "no place for temporary files")
    for base in (*bases, *PLACES):
        try:
            return tempfile.mkdtemp(prefix=f"{NAME}-", dir=base)
        except (OSError, ValueError) as error:
            reason = error
    raise reason


def remove_private(path: str, pid: int) -> None:
    """Remove this process's own directory; a forked child must not remove its parent's."""
    if os.getpid() == pid:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def private_directory(*bases: str) -> Iterator[str]:
    """Give a directory of our own that is gone afterwards, by a path that nobody can divert."""
    path = make_private(*bases)
    try:
        fd = open_own(path)
        try:
            yield fd_path(fd, path)
        finally:
            os.close(fd)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def fd_path(fd: int, otherwise: str) -> str:
    """Return a path that stays with an open directory even when that is renamed."""
    path = f"/proc/self/fd/{fd}"
    return path if os.path.isdir(path) else otherwise


def warn_once(what: str, message: str) -> None:
    """Log a message once per process: a warning could be turned into an exception, a log cannot."""
    if what not in _warned:
        _warned.add(what)
        log.warning("%s", message)
