"""A lock between processes that spares work and never decides what is right: every wait ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from enum import StrEnum

try:
    import fcntl
except ImportError:  # Windows, where nothing is compiled
    fcntl = None  # type: ignore[assignment]

LEAST_WAIT = 0.25  # for the thread to begin

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
    answer: Future[LockState] = Future()
    try:
        # A thread of its own: on a network disk any call of flock may hang, even one that should
        # not wait, and only a thread can be left behind.
        threading.Thread(target=acquire, args=(fd, answer), daemon=True).start()
    except RuntimeError:  # no more threads
        answer.set_result(LockState.UNSUPPORTED)
    with suppress(TimeoutError):
        answer.result(max(wait, LEAST_WAIT))
    if answer.cancel():
        yield LockState.BUSY
        return
    try:
        yield answer.result()
    finally:
        release(fd)


def acquire(fd: int, answer: Future[LockState]) -> None:
    """Wait for a lock; let it go at once if nobody wants it any more."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        state = LockState.HELD
    except OSError:
        state = LockState.UNSUPPORTED
    if answer.set_running_or_notify_cancel():
        answer.set_result(state)
    else:
        release(fd)


def release(fd: int) -> None:
    """Unlock and close a lock's file.

    Closing alone would leave the lock to a child that was forked before it could know the file.
    """
    if fd in _held:  # not in a child forked meanwhile, where the number may mean another file
        _held.discard(fd)
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)


def _after_fork() -> None:
    """Close a child's copies: a flock lasts as long as any copy of its descriptor."""
    for fd in _held:
        with suppress(OSError):
            os.close(fd)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
