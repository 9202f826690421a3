"""Pieces of one computation over a pool of threads: results and errors as one thread's.

Native code runs without Python's lock. The caller works too, so that a pool of n threads has n - 1
of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from mexdask.errors import ArgumentError
from mexdask.settings import configured

T = TypeVar("T")

_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def forget_pools() -> None:
    """Drop the pools of the parent process, whose threads a fork has not."""
    global _lock
    _pools.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_pools)


def allowed() -> int:
    """Return how many threads a call may use, this one included.

    What ``mexdask.threads`` says: a number, or ``auto`` for the processors that this process may
    run on. Under ``auto`` a thread that is not the main one has one, and so has a process that
    another Python process started: there, somebody else (Dask, as a rule) fills the processors.

    Raises
    ------
    ArgumentError
        If the setting is neither.
    """
    setting = configured("threads", "auto")
    if setting == "auto":
        if multiprocessing.parent_process() is not None:
            return 1
        return processors() if threading.current_thread() is threading.main_thread() else 1
    if isinstance(setting, bool) or not isinstance(setting, int) or setting < 1:
        raise ArgumentError(f"threads: {setting!r} is neither auto nor a positive integer")
    return setting


def processors() -> int:
    """Return the number of processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pool(size: int) -> ThreadPoolExecutor:
    """Return the pool of ``size`` threads, made when it is first wanted."""
    with _lock:
        if size not in _pools:
            _pools[size] = ThreadPoolExecutor(size, "mexdask")
        return _pools[size]


class Pieces(Generic[T]):
    """Pieces of work that are taken in order, until they are all done or one has failed.

    Parameters
    ----------
    run : callable
        Does the piece of a number; returns None, or what made it fail.
    count : int
        Number of pieces.
    """

    def __init__(self, run: Callable[[int], T | None], count: int):
        self.run = run
        self.next = 0
        self.end = count
        self.failure: T | None = None
        self.lock = threading.Lock()

    def work(self) -> None:
        """Take pieces while there are any; those before one that failed are finished."""
        while True:
            with self.lock:
                number, self.next = self.next, self.next + 1
                if number >= self.end:
                    return
            failure = self.run(number)
            if failure is not None:
                with self.lock:
                    if number < self.end:
                        self.end, self.failure = number, failure

    def stop(self) -> None:
        """Let nobody take another piece."""
        with self.lock:
            self.end = 0


def first_failure(run: Callable[[int], T | None], count: int, threads: int) -> T | None:
    """Do pieces of work side by side and return what the lowest that failed returned, or None.

    An exception, Ctrl-C included, comes out once no thread works any more.

    Parameters
    ----------
    run : callable
        Does the piece of a number; returns None, or what made it fail.
    count : int
        Number of pieces.
    threads : int
        Threads to use, this one included.
    """
    helpers = min(threads, count) - 1
    if helpers < 1:
        return next((found for n in range(count) if (found := run(n)) is not None), None)
    pieces = Pieces(run, count)
    others = [pool(threads - 1).submit(pieces.work) for _ in range(helpers)]
    try:
        pieces.work()
        for other in others:
            other.result()
    finally:
        pieces.stop()
        wait(others)
    return pieces.failure
