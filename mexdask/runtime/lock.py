"""A lock between processes that spares work and never decides what is right: every wait ends."""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

try:
    import fcntl
except ImportError:  # Windows, where nothing is compiled
    fcntl = None  # type: ignore[assignment]

_held: set[int] = set()


class LockState(StrEnum):
    """How an attempt at a lock ended."""

    HELD = "held"
    BUSY = "busy"
    UNSUPPORTED = "unsupported"


@contextmanager
def file_lock(name: str, dir_fd: int, wait: float) -> Iterator[LockState]:
    """Hold the lock of a file in a directory of ours for a while, if it can be had in time."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, 0o600, dir_fd=dir_fd)
    except OSError:
        yield LockState.UNSUPPORTED
        return
    _held.add(fd)
    try:
        yield acquire(fd, wait)
    finally:
        if fd in _held:  # not in a child forked meanwhile, where the number may mean another file
            _held.discard(fd)
            os.close(fd)


def acquire(fd: int, wait: float) -> LockState:
    """Try for a lock until the wait is over; polling, as a blocking flock cannot be bounded."""
    deadline = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return LockState.HELD
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR):
                return LockState.UNSUPPORTED
        if time.monotonic() >= deadline:
            return LockState.BUSY
        time.sleep(random.uniform(0.01, 0.05))


def _after_fork() -> None:
    """Close a child's copies: a flock lasts as long as any copy of its descriptor."""
    for fd in _held:
        try:
            os.close(fd)
        except OSError:
            continue
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
