"""What is thrown away: remains of dead processes, the oldest entries, old bad entries.

Others sweep, read and publish at the same time: a missing file is normal, and nobody maps a file
of the cache, so that unlinking is always safe.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress

MOST_BYTES, MOST_ENTRIES = 256 << 20, 10_000
SWEEP_TO = 0.8
UNUSED = 90 * 86400.0
MOST_FILES, MOST_FILES_BYTES = 32, 16 << 20
WHY = ".why"
STALE_STAGING = 3600.0


def sweep_entries(entries_fd: int, most_bytes: int) -> None:
    """Drop the entries that nobody uses and, if all are too many, those unused for longest."""
    now = time.time()
    oldest_first = sorted(entry_stats(entries_fd), key=lambda entry: entry[2])
    for name, _, used in oldest_first:
        if used > now:  # the clock was set back; else such an entry would outlive all others
            with suppress(OSError):
                os.utime(name, (now, now), dir_fd=entries_fd, follow_symlinks=False)
    size, count = sum(length for _, length, _ in oldest_first), len(oldest_first)
    part = SWEEP_TO if size > most_bytes or count > MOST_ENTRIES else 1.0
    for name, length, used in oldest_first:
        fits = size <= part * most_bytes and count <= part * MOST_ENTRIES
        if fits and now - used < UNUSED:
            break
        remove(name, entries_fd)
        size, count = size - length, count - 1


def sweep_staging(staging_fd: int) -> None:
    """Drop what processes that are gone have left, and all that is old."""
    for name in listing(staging_fd):
        with suppress(OSError):
            age = time.time() - os.lstat(name, dir_fd=staging_fd).st_mtime
            if age > STALE_STAGING or is_abandoned(name):
                remove(name, staging_fd)


def keep_newest(dir_fd: int) -> None:
    """Keep only the files of a directory that were put there last."""
    found = []
    for name in listing(dir_fd):
        with suppress(OSError):
            info = os.lstat(name, dir_fd=dir_fd)
            found.append((info.st_ctime_ns, name, info.st_size))
    size = 0
    for count, (_, name, length) in enumerate(sorted(found, reverse=True)):
        size += length
        if count >= MOST_FILES or size > MOST_FILES_BYTES:
            remove(name, dir_fd)


def entry_stats(entries_fd: int) -> Iterator[tuple[str, int, float]]:
    """Yield name, size and time of last use of each entry."""
    for shelf in listing(entries_fd):
        with suppress(OSError):
            fd = os.open(shelf, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=entries_fd)
            try:
                for name in os.listdir(fd):
                    info = os.lstat(name, dir_fd=fd)
                    yield f"{shelf}/{name}", info.st_size, info.st_mtime
            finally:
                os.close(fd)


def listing(dir_fd: int) -> list[str]:
    """Return the names in a directory, none if it cannot be read."""
    with suppress(OSError):
        return os.listdir(dir_fd)
    return []


def remove(name: str, dir_fd: int) -> None:
    """Remove a file or a directory; what cannot be removed stays."""
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except OSError:
        shutil.rmtree(name, ignore_errors=True, dir_fd=dir_fd)


def staging_name() -> str:
    """Return a new name in the staging directory; it says which process of which host has it."""
    return f"{os.getpid()}.{node()}.{secrets.token_hex(8)}"


def is_abandoned(name: str) -> bool:
    """Tell whether a name of the staging directory is of a process of this host that is gone."""
    pid, _, rest = name.partition(".")
    if not pid.isdecimal() or not rest.startswith(f"{node()}."):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


@functools.cache
def node() -> str:
    """Return a short name of the place in which our process numbers mean something."""
    parts = [platform.node()]
    with suppress(OSError):
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            parts.append(file.read().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
