"""The shared directory of compiled kernels: read, publish, lock and stage.

It is only an accelerator: deleting, cutting or filling it at any instant costs a compile at most.
All work is relative to descriptors of checked directories (see ``root``)::

    v1/e/<k0k1>/<key>-<compiler>.so   entries      v1/l/<k0k1>   locks, never deleted
    v1/t/<pid>.<host>.<random>        staging      v1/q/         bad entries set aside
    v1/c/<digest>                     what compilers answered to questions
"""

from __future__ import annotations

import errno
import os
import random
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from mexdask.runtime.entry import Artifact, Rejected, entry_name, pack, read_entry, read_regular
from mexdask.runtime.key import CacheKey
from mexdask.runtime.lock import LockState, file_lock
from mexdask.runtime.root import (
    Root,
    check_own,
    fd_path,
    log,
    open_own,
    open_roots,
    private_directory,
)
from mexdask.runtime.sweep import (
    MOST_BYTES,
    WHY,
    keep_newest,
    staging_name,
    sweep_entries,
    sweep_staging,
)
from mexdask.runtime.worker import tell

SWEEP_ONE_IN = 64
LONGEST_WHY = 500
TOUCH_AFTER = 86400.0
# Windows lacks these; nothing is opened there, but the module must import.
SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
READ_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | SAFELY
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY
# These say that the entry is bad; any other error is trouble of this process or of the disk.
THE_ENTRY = (errno.ELOOP, errno.EMLINK, errno.EACCES, errno.EPERM, errno.ENXIO)


class Store:
    """One opened cache directory.

    Parameters
    ----------
    root : Root
        A checked directory; the store takes over its descriptor.

    Attributes
    ----------
    entries, bad : int
        Descriptors of the directories of entries and of what was set aside.
    """

    def __init__(self, root: Root):
        self.root = root
        self._fds = [root.fd]
        self._unswept = 0
        self._version = self._own("v1", root.fd)
        self.entries = self._own("e", self._version)
        self._locks = self._own("l", self._version)
        self._staging = self._own("t", self._version)
        self._notes = self._own("c", self._version)
        self.bad = self._own("q", self._version)
        with suppress(OSError):  # so that backups pass the cache by
            fd = os.open("CACHEDIR.TAG", NEW_FILE, 0o600, dir_fd=root.fd)
            with open(fd, "wb") as file:
                file.write(b"Signature: 8a477f597d28d172789f06886806bc55\n")

    def _own(self, name: str, dir_fd: int) -> int:
        """Open a directory of the layout and remember to close it."""
        self._fds.append(open_own(name, dir_fd))
        return self._fds[-1]

    def __del__(self) -> None:
        for fd in getattr(self, "_fds", ()):
            with suppress(OSError):
                os.close(fd)

    def is_current(self) -> bool:
        """Tell whether the root's path leads to what was checked, and nothing of it is deleted."""
        try:
            if not all(os.fstat(fd).st_nlink for fd in self._fds):
                return False
            return os.path.samestat(os.lstat(self.root.path), os.fstat(self.root.fd))
        except OSError:
            return False

    def path(self, key: CacheKey, compiler: str) -> str:
        """Return where an entry lies, for people to read."""
        name = entry_name(key, compiler)
        return os.path.join(self.root.path, "v1", "e", key.digest[:2], name)

    def read(self, key: CacheKey, compiler: str | None) -> Artifact | None:
        """Return a checked entry of a key, or None; a bad one is set aside.

        Parameters
        ----------
        key : CacheKey
            What is wanted.
        compiler : str or None
            Identity of the only compiler whose entry will do; None takes any compiler's.
        """
        try:
            with self._shelf(key) as shelf:
                if compiler is not None:
                    return self._read(entry_name(key, compiler), shelf, key, compiler)
                names = sorted(n for n in os.listdir(shelf) if n.startswith(f"{key.digest}-"))
                found = (self._read(name, shelf, key, None) for name in names)
                return next((artifact for artifact in found if artifact is not None), None)
        except OSError:
            return None

    def publish(self, key: CacheKey, artifact: Artifact, most_bytes: int = MOST_BYTES) -> bool:
        """Put an entry where others find it, whole or not at all; tell whether that worked.

        Parameters
        ----------
        key : CacheKey
            What the entry is.
        artifact : Artifact
            Its bytes and its record.
        most_bytes : int
            How large the cache may become; the least used entries go when it is larger.
        """
        data = pack(artifact)
        try:
            shelf = open_own(key.digest[:2], self.entries)
            try:
                self._put(data, entry_name(key, str(artifact.record["compiler"])), shelf)
            finally:
                os.close(shelf)
        except OSError as error:
            log.info("a kernel was not kept in %s: %s", self.root.path, error)
            return False
        self._unswept += len(data)
        if random.randrange(SWEEP_ONE_IN) == 0 or self._unswept >= most_bytes / SWEEP_ONE_IN:
            self._unswept = 0
            self.sweep(most_bytes)
        return True

    def note(self, name: str, lasts: float) -> bytes:
        """Return a note that was kept not longer ago than ``lasts`` seconds, or nothing."""
        with suppress(OSError, Rejected):
            data, info = read_regular(name, self._notes, smallest=1)
            if 0.0 <= time.time() - info.st_mtime < lasts:
                return data
        return b""

    def keep_note(self, name: str, data: bytes) -> None:
        """Keep a note for other processes, if that can be done."""
        with suppress(OSError):
            self._put(data, name, self._notes)

    def _put(self, data: bytes, name: str, dir_fd: int) -> None:
        """Write a file under another name first, so that it is seen whole or not at all."""
        temporary = staging_name()
        fd = os.open(temporary, NEW_FILE, 0o600, dir_fd=self._staging)
        try:
            with open(fd, "wb") as file:
                file.write(data)
            os.rename(temporary, name, src_dir_fd=self._staging, dst_dir_fd=dir_fd)
        except OSError:
            os.unlink(temporary, dir_fd=self._staging)
            raise

    def reject(self, key: CacheKey, compiler: str, why: str) -> None:
        """Set aside an entry that could not be loaded although its bytes were right."""
        with suppress(OSError), self._shelf(key) as shelf:
            self.quarantine(entry_name(key, compiler), shelf, why)

    def lock(self, key: CacheKey, wait: float) -> AbstractContextManager[LockState]:
        """Hold one of 256 locks, so that one process compiles a key; wait at most so long."""
        return file_lock(key.digest[:2], self._locks, wait)

    def lock_of_notes(self, wait: float) -> AbstractContextManager[LockState]:
        """Hold the lock for finding out what is noted; wait at most so long."""
        return file_lock("notes", self._locks, wait)

    @contextmanager
    def staging(self) -> Iterator[str]:
        """Give an empty directory to compile in, elsewhere if the cache cannot be written."""
        name = staging_name()
        try:
            fd = open_own(name, self._staging)
        except OSError:
            with private_directory(os.path.dirname(self.root.path)) as path:
                place = os.path.join(path, "t", "k")  # as deep as usual
                os.makedirs(place, 0o700)
                yield place
            return
        try:
            yield fd_path(fd, os.path.join(self.root.path, "v1", "t", name))
        finally:
            os.close(fd)
            shutil.rmtree(name, ignore_errors=True, dir_fd=self._staging)

    def sweep(self, most_bytes: int = MOST_BYTES) -> None:
        """Drop what dead processes left, what is never used, and the oldest if it is too much."""
        with file_lock("gc", self._version, wait=0.0) as state:
            if state is not LockState.BUSY:
                sweep_staging(self._staging)
                sweep_entries(self.entries, most_bytes)
                keep_newest(self._notes)

    def _shelf(self, key: CacheKey) -> AbstractContextManager[int]:
        """Open the directory that holds a key's entries."""
        return self.shelf(key.digest[:2])

    @contextmanager
    def shelf(self, name: str) -> Iterator[int]:
        """Open one of the directories that hold entries."""
        fd = os.open(name, READ_DIRECTORY, dir_fd=self.entries)
        try:
            if not check_own(fd):
                raise PermissionError(errno.EPERM, "others can write the directory")
            yield fd
        finally:
            os.close(fd)

    def _read(self, name: str, shelf: int, key: CacheKey, compiler: str | None) -> Artifact | None:
        """Return one entry if it is right in every respect; else set it aside."""
        try:
            _, artifact, info = read_entry(name, shelf, key, compiler)
        except Rejected as error:
            self.quarantine(name, shelf, str(error))
            return None
        except OSError as error:
            if error.errno in THE_ENTRY:
                self.quarantine(name, shelf, str(error))
            return None
        if time.time() - info.st_mtime > TOUCH_AFTER:
            with suppress(OSError):
                os.utime(name, dir_fd=shelf, follow_symlinks=False)
        return artifact

    def quarantine(self, name: str, shelf: int, why: str) -> None:
        """Move a bad entry out of the way, or remove it; keep only the newest such."""
        log.info("entry %s of %s is set aside: %s", name, self.root.path, why)
        tell("rejection", entry=name, reason=why)
        aside = f"{time.time_ns():020d}.{secrets.token_hex(4)}.{name}"
        try:
            os.rename(name, aside, src_dir_fd=shelf, dst_dir_fd=self.bad)
        except OSError:
            with suppress(OSError):
                os.unlink(name, dir_fd=shelf)
        else:
            with (
                suppress(OSError),
                open(os.open(aside + WHY, NEW_FILE, 0o600, dir_fd=self.bad), "wb") as file,
            ):
                file.write(why.encode(errors="replace")[:LONGEST_WHY])
        keep_newest(self.bad)


_stores: dict[tuple[str, int, int], Store] = {}
_opening = threading.Lock()


def current_store() -> Store | None:
    """Return the cache directory that this process opened last; opens none."""
    stores = (s for (_, _, pid), s in reversed(_stores.items()) if pid == os.getpid())
    return next(stores, None)


def open_store(tmpdir: str) -> Store | None:
    """Return the cache directory below ``tmpdir``, checked once per process; None if there is none.

    A root that has since been removed or exchanged is opened, and checked, again.
    """
    place = (tmpdir, os.geteuid(), os.getpid())
    store = _stores.get(place)
    if store is not None and store.is_current():
        return store
    with _opening:
        store = _stores.get(place)
        if store is None or not store.is_current():
            _stores.pop(place, None)
            store = next(filter(None, map(opened, open_roots(tmpdir))), None)
            if store is not None:
                _stores[place] = store
    return store


def opened(root: Root) -> Store | None:
    """Return the store in a root, or None if its directories cannot be had."""
    try:
        return Store(root)
    except OSError as error:
        log.warning("mexdask does not use %s for its cache: %s", root.path, error)
        return None


def _after_fork() -> None:
    """Give a forked child its own mutex and let it open the cache itself."""
    global _opening
    _opening = threading.Lock()
    _stores.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
