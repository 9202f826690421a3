"""What happened in this process: counters by kernel, failures by class, the cache, the last error.

A chunk may take 5 µs, so that a recorder is one lock and two additions.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Literal, get_args

from mexdask.runtime.disk import current_store
from mexdask.runtime.failure import Failure
from mexdask.runtime.inventory import CacheInfo, info

Counter = Literal[
    "native",
    "interpreted",
    "compiled",
    "memory_hits",
    "disk_hits",
    "prebuilt_hits",
    "shipped",
    "negative_hits",
    "nan_elements",
]
COUNTERS: tuple[Counter, ...] = get_args(Counter)
SECONDS = {
    "native": "native_seconds",
    "interpreted": "interpreted_seconds",
    "compiled": "compile_seconds",
}
ROUTE = ("engine", "outcome", "reason")
LONGEST_ERROR = 16 << 10
MOST_KERNELS = 4096
OTHERS = "(other kernels)"
SMALL_CHUNKS_KEPT = 1000

_lock = threading.Lock()
_kernels: dict[str, dict[str, float]] = {}
_small_chunks: dict[str, list[float]] = {}
_routes: dict[str, tuple[str, str, str]] = {}
_failures: dict[str, int] = {}
_last_error: str | None = None


def count(kernel: str, counter: Counter, n: int = 1, seconds: float = 0.0) -> None:
    """Add to one counter of a kernel, and to the time that goes with it.

    Parameters
    ----------
    kernel : str
        The kernel's name.
    counter : str
        One of ``COUNTERS``.
    n : int
        How many.
    seconds : float
        For native, interpreted and compiled: how long they took together.
    """
    with _lock:
        row = _kernels.get(kernel) or new_row(kernel)
        row[counter] += n
        if seconds:
            row[SECONDS[counter]] += seconds


def count_chunk(
    kernel: str, engine: Literal["native", "interpreted"], seconds: float, *, from_memory: bool
) -> None:
    """Count one chunk, and the memory hit that found its kernel, if one did."""
    with _lock:
        row = _kernels.get(kernel) or new_row(kernel)
        row[engine] += 1
        row[SECONDS[engine]] += seconds
        if from_memory:
            row["memory_hits"] += 1


def small_chunks(kernel: str) -> list[float]:
    """Return where a kernel's small native chunks leave their seconds, one after the other.

    They are counted when somebody asks, or when `SMALL_CHUNKS_KEPT` have come together: appending
    is what no lock is needed for.
    """
    with _lock:
        is_known = kernel in _small_chunks or len(_small_chunks) < MOST_KERNELS
        return _small_chunks.setdefault(kernel if is_known else OTHERS, [])


def settle_small_chunks() -> None:
    """Count the small chunks that have come together."""
    with _lock:
        _settle_small_chunks()


def _settle_small_chunks() -> None:
    """Count the small chunks; the lock is held."""
    for kernel, times in _small_chunks.items():
        if n := len(times):
            row = _kernels.get(kernel) or new_row(kernel)
            row["native"] += n
            row["memory_hits"] += n
            row["native_seconds"] += sum(times[:n])
            del times[:n]


def count_failure(failure: Failure) -> bool:
    """Count a failure by class and keep its text; tell whether it is the first of its class."""
    global _last_error
    with _lock:
        before = _failures.get(failure.kind.value, 0)
        _failures[failure.kind.value] = before + 1
        _last_error = f"{failure.kind.value}: {failure.message}"[:LONGEST_ERROR]
    return before == 0


def note_route(kernel: str, engine: str, outcome: str, reason: str) -> None:
    """Remember which engine a kernel has here and why; not for hits in memory."""
    route = engine, outcome, reason
    if _routes.get(kernel) == route and kernel in _kernels:
        return
    with _lock:
        if kernel not in _kernels:
            new_row(kernel)
        if kernel in _kernels:  # not past the bound, where it is one of the others
            _routes[kernel] = route


def totals() -> dict[str, object]:
    """Return the sums of the counters over all kernels, and the failures; costs next to nothing."""
    with _lock:
        _settle_small_chunks()
        return summed(_kernels)


def summed(kernels: Mapping[str, Mapping[str, float]]) -> dict[str, object]:
    """Return the sums of rows, and the failures."""
    rows, fields = kernels.values(), (*COUNTERS, *SECONDS.values())
    return {f: sum(row[f] for row in rows) for f in fields} | {"failures": dict(_failures)}


def snapshot() -> dict[str, object]:
    """Return all counters as a plain dict, fit for JSON."""
    with _lock:
        _settle_small_chunks()
        sums, last_error = summed(_kernels), _last_error
        kernels = {
            name: {**row, **dict(zip(ROUTE, _routes.get(name, ("", "", "")), strict=True))}
            for name, row in _kernels.items()
        }
    return sums | {"kernels": kernels, "cache": cache(), "last_error": last_error}


def cache() -> dict[str, object]:
    """Return what the cache directory holds that this process uses, fit for JSON."""
    store = current_store()
    found = asdict(CacheInfo() if store is None else info(store))
    bad = list(found.pop("set_aside"))
    return found | {"quarantined": len(bad), "set_aside": bad}


def reset() -> None:
    """Set every counter to nothing; which engine a kernel has is no counter."""
    global _last_error
    with _lock:
        for times in _small_chunks.values():
            times.clear()
        _kernels.clear()
        _failures.clear()
        _last_error = None


def new_row(kernel: str) -> dict[str, float]:
    """Return the counters of a kernel not seen yet; past a bound, those of all others."""
    name = kernel if len(_kernels) < MOST_KERNELS else OTHERS
    return _kernels.setdefault(
        name, dict.fromkeys(COUNTERS, 0) | dict.fromkeys(SECONDS.values(), 0.0)
    )


def _after_fork() -> None:
    """Let a forked child count for itself: its parent reports what was before."""
    global _lock
    _lock = threading.Lock()
    reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
