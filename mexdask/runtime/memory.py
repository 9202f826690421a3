"""The process's own cache: loaded kernels, remembered failures, and one build per key."""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from enum import StrEnum

from mexdask.runtime.failure import Failure, FailureClass, cooldown
from mexdask.runtime.load import LoadedKernel

Entry = LoadedKernel | Failure
MOST_FAILURES = 1024
# Longer than a build can take: a probe, a wait for a lock, a compile.
PATIENCE = 180.0


class Outcome(StrEnum):
    """How a lookup was answered."""

    MEMORY = "memory"
    NEGATIVE = "negative"
    BUILT = "built"


@dataclass(frozen=True, slots=True)
class Remembered:
    """A failure with how often in a row it happened, and until when it is believed."""

    failure: Failure
    consecutive: int
    until: float
    scope: Hashable


class KernelCache:
    """Loaded kernels and failures by the digest of their key.

    Parameters
    ----------
    clock : callable
        Returns monotonic seconds.
    jitter : callable
        Returns a fraction of a cooldown to add to it.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: random.uniform(0.0, 0.5),
    ):
        self._clock, self._jitter = clock, jitter
        # The pairs are what `get_or_build` returns, so that a hit allocates nothing. Small chunks
        # look here without a call.
        self.by_digest: dict[str, tuple[LoadedKernel, Outcome]] = {}
        self._failed: dict[str, Remembered] = {}
        self._building: dict[str, Future[Entry]] = {}
        self._mutex = threading.Lock()
        _caches.add(self)

    def get_or_build(
        self, key_digest: str, build: Callable[[], Entry], scope: Hashable = None
    ) -> tuple[Entry, Outcome]:
        """Return a key's kernel or failure and how it was come by; build it once per process.

        Parameters
        ----------
        key_digest : str
            Which kernel.
        build : callable
            Returns the kernel or a failure; called without any lock held.
        scope : hashable
            What a failure depends on beside the key (``CC`` and ``PATH``, say); a failure is
            believed only in its own scope.
        """
        found = self.by_digest.get(key_digest)
        if found is not None:
            return found
        if (failure := self._recall_failure(key_digest, scope)) is not None:
            return failure, Outcome.NEGATIVE
        return self._build_once(key_digest, build, scope)

    def put(self, key_digest: str, kernel: LoadedKernel) -> None:
        """Keep a kernel that was not built here; it clears what failed before it."""
        self._remember(key_digest, kernel, None)

    def loaded(self, key_digest: str) -> LoadedKernel | None:
        """Return a key's kernel if this process has it; the hot path, without a lock."""
        found = self.by_digest.get(key_digest)
        return None if found is None else found[0]

    def known(self, key_digest: str) -> Entry | None:
        """Return what is remembered of a key, without building it."""
        if (found := self.by_digest.get(key_digest)) is not None:
            return found[0]
        old = self._failed.get(key_digest)
        return old.failure if old is not None and self._clock() < old.until else None

    def clear(self) -> None:
        """Forget everything; kernels in use stay loaded."""
        with self._mutex:
            self.by_digest.clear()
            self._failed.clear()

    def failures(self) -> dict[str, Failure]:
        """Return the failures that are remembered, by digest."""
        with self._mutex:
            return {digest: old.failure for digest, old in self._failed.items()}

    def _recall_failure(self, digest: str, scope: Hashable) -> Failure | None:
        """Return a failure that is still believed."""
        old = self._failed.get(digest)
        if old is not None and old.scope == scope and self._clock() < old.until:
            return old.failure
        return None

    def _build_once(
        self, digest: str, build: Callable[[], Entry], scope: Hashable
    ) -> tuple[Entry, Outcome]:
        """Build, or wait for the thread that does; never holding a lock meanwhile."""
        with self._mutex:
            if (found := self.by_digest.get(digest)) is not None:
                return found
            if (failure := self._recall_failure(digest, scope)) is not None:
                return failure, Outcome.NEGATIVE
            mine: Future[Entry] = Future()
            theirs = self._building.setdefault(digest, mine)
        if theirs is not mine:
            return self._wait(theirs, digest)
        try:
            entry = self._remember(digest, build(), scope)
            mine.set_result(entry)
            return entry, Outcome.BUILT
        finally:
            with self._mutex:
                if self._building.get(digest) is mine:
                    del self._building[digest]
            mine.cancel()  # for those who wait, if the build was interrupted

    def _wait(self, building: Future[Entry], digest: str) -> tuple[Entry, Outcome]:
        """Return what another thread is building."""
        try:
            entry = building.result(PATIENCE)
        except (TimeoutError, CancelledError):
            why = f"another thread did not build {digest[:16]}"
            return Failure(FailureClass.LOCK_WAIT, why), Outcome.NEGATIVE
        return entry, Outcome.MEMORY if isinstance(entry, LoadedKernel) else Outcome.NEGATIVE

    def _remember(self, digest: str, entry: Entry, scope: Hashable) -> Entry:
        """Keep a result; a success clears what failed before it."""
        with self._mutex:
            before = self._failed.pop(digest, None)
            if isinstance(entry, LoadedKernel):
                self.by_digest[digest] = entry, Outcome.MEMORY
                return entry
            again = before is not None and before.failure.kind is entry.kind
            count = before.consecutive + 1 if before is not None and again else 1
            until = self._clock() + cooldown(entry.kind, count, self._jitter())
            self._failed[digest] = Remembered(entry, count, until, scope)
            while len(self._failed) > MOST_FAILURES:
                del self._failed[next(iter(self._failed))]
        return entry

    def _after_fork(self) -> None:
        """In a forked child: new mutex, and no builds by threads that are not there."""
        self._mutex = threading.Lock()
        self._building = {}


_caches: weakref.WeakSet[KernelCache] = weakref.WeakSet()


def _after_fork() -> None:
    """Mend every cache of a forked child."""
    for cache in list(_caches):
        cache._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

KERNELS = KernelCache()
