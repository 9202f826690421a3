"""What the disk cache holds, for people: its size, its entries, what is wrong with some."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from mexdask.runtime.disk import LONGEST_WHY, SAFELY, Store
from mexdask.runtime.entry import Rejected, read_entry
from mexdask.runtime.key import CacheKey
from mexdask.runtime.sweep import WHY, entry_stats, listing, remove


@dataclass(frozen=True, slots=True)
class SetAside:
    """A bad entry that was moved out of the way.

    Parameters
    ----------
    entry : str
        The file name that it had.
    size : int
        In bytes.
    when : float
        Seconds since the epoch.
    why : str
        What was wrong with it.
    """

    entry: str
    size: int
    when: float
    why: str


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache directory holds.

    Parameters
    ----------
    root : str or None
        Where it is; None if this process has not opened one.
    entries, bytes : int
        How many kernels it holds, and their size together.
    set_aside : tuple of SetAside
        The bad entries that are kept, newest first.
    """

    root: str | None = None
    entries: int = 0
    bytes: int = 0
    set_aside: tuple[SetAside, ...] = ()


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One entry of the cache.

    Parameters
    ----------
    path : str
        The file.
    size : int
        In bytes.
    used : float
        Seconds since the epoch when it was last used, give or take a day.
    key : CacheKey or None
        Its key (dtypes, target and so on); None if the entry is bad.
    compiler : str
        What the compiler that made it calls itself.
    fault : str
        What is wrong with a bad entry; empty for a good one.
    """

    path: str
    size: int
    used: float
    key: CacheKey | None = None
    compiler: str = ""
    fault: str = ""


def info(store: Store) -> CacheInfo:
    """Return where a cache is and how much it holds."""
    sizes = [size for _, size, _ in entry_stats(store.entries)]
    return CacheInfo(store.root.path, len(sizes), sum(sizes), tuple(set_aside(store)))


def entries(store: Store) -> Iterator[CacheEntry]:
    """Yield every entry with what its record says, or with what is wrong with it."""
    for name, size, used in sorted(entry_stats(store.entries)):
        path = os.path.join(store.root.path, "v1", "e", name)
        shelf, _, file = name.partition("/")
        try:
            with store.shelf(shelf) as fd:
                key, artifact, _ = read_entry(file, fd)
            if key.digest[: len(shelf)] != shelf:
                raise Rejected("it is in another key's directory")
        except FileNotFoundError:  # it has gone meanwhile
            continue
        except (Rejected, OSError) as error:
            yield CacheEntry(path, size, used, fault=str(error))
        else:
            compiler = str(artifact.record["compiler_version"])
            yield CacheEntry(path, size, used, key, compiler)


def verify(store: Store) -> list[CacheEntry]:
    """Set all bad entries aside and return what they were."""
    bad = [entry for entry in entries(store) if entry.fault]
    for entry in bad:
        shelf, name = entry.path.split(os.sep)[-2:]
        with suppress(OSError), store.shelf(shelf) as fd:
            store.quarantine(name, fd, entry.fault)
    return bad


def clear(store: Store) -> int:
    """Remove every entry and all that was set aside; return how many entries have gone."""
    names = {name for name, _, _ in entry_stats(store.entries)}
    for name in names:
        remove(name, store.entries)
    for name in listing(store.bad):
        remove(name, store.bad)
    return len(names - {name for name, _, _ in entry_stats(store.entries)})


def set_aside(store: Store) -> Iterator[SetAside]:
    """Yield the bad entries that are kept for people to look at, newest first."""
    for name in sorted(listing(store.bad), reverse=True):
        if name.endswith(WHY):
            continue
        with suppress(OSError, ValueError):
            when, _, entry = name.split(".", 2)
            size = os.lstat(name, dir_fd=store.bad).st_size
            yield SetAside(entry, size, int(when) / 1e9, read_why(name, store.bad))


def read_why(name: str, bad_fd: int) -> str:
    """Return the words that were left with a bad entry, if they can be read."""
    with suppress(OSError):
        fd = os.open(name + WHY, os.O_RDONLY | os.O_NONBLOCK | SAFELY, dir_fd=bad_fd)
        with open(fd, "rb") as file:
            return file.read(LONGEST_WHY).decode(errors="replace")
    return ""
