"""The process's own cache: one build per key, failures believed for a time, forks."""

from __future__ import annotations

import math
import threading

import pytest
from runtime_kit import exit_code, in_threads, make_key, start_child

from mexdask.runtime import memory
from mexdask.runtime.failure import COOLDOWNS, Failure, FailureClass, cooldown
from mexdask.runtime.load import LoadedKernel
from mexdask.runtime.memory import KernelCache, Outcome

KEY = make_key()


def kernel() -> LoadedKernel:
    return LoadedKernel(lambda call: 0, None, KEY, "compiled", None)


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Builder:
    """Counts builds and returns what it was told."""

    def __init__(self, *entries: LoadedKernel | Failure):
        self.entries, self.builds = list(entries), 0

    def __call__(self) -> LoadedKernel | Failure:
        self.builds += 1
        return self.entries.pop(0) if len(self.entries) > 1 else self.entries[0]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> KernelCache:
    return KernelCache(clock, jitter=lambda: 0.0)


def test_a_kernel_is_built_once_and_then_found(cache: KernelCache) -> None:
    build = Builder(kernel())
    entry, outcome = cache.get_or_build("k", build)
    assert outcome is Outcome.BUILT
    assert cache.get_or_build("k", build) == (entry, Outcome.MEMORY)
    assert build.builds == 1
    cache.clear()
    assert cache.get_or_build("k", build)[1] is Outcome.BUILT


def test_twenty_threads_make_one_build(cache: KernelCache) -> None:
    go, build = threading.Event(), Builder(kernel())

    def slow() -> LoadedKernel | Failure:
        go.wait(10)
        return build()

    threading.Timer(0.1, go.set).start()
    found = in_threads(20, lambda i: cache.get_or_build("k", slow))
    assert build.builds == 1
    assert len({id(entry) for entry, _ in found}) == 1  # type: ignore[misc]
    assert sorted(o for _, o in found) == ["built"] + ["memory"] * 19  # type: ignore[misc]


def test_twenty_threads_make_one_failing_build(cache: KernelCache) -> None:
    build = Builder(Failure(FailureClass.CC_ERROR, "no"))
    found = in_threads(20, lambda i: cache.get_or_build("k", build))
    assert build.builds == 1
    assert {o for _, o in found} == {"built", "negative"}  # type: ignore[misc]


def test_another_key_is_not_delayed(cache: KernelCache) -> None:
    go, started = threading.Event(), threading.Event()

    def slow() -> LoadedKernel:
        started.set()
        assert go.wait(30)
        return kernel()

    thread = threading.Thread(target=cache.get_or_build, args=("slow", slow))
    thread.start()
    started.wait(10)
    # Would never return if a lock were held across the build of the other key.
    assert cache.get_or_build("quick", Builder(kernel()))[1] is Outcome.BUILT
    go.set()
    thread.join()


@pytest.mark.parametrize(
    ("kind", "times"),
    [
        (FailureClass.CC_ERROR, [10, 60, 600, 600]),
        (FailureClass.CC_ICE, [10, 60, 600]),
        (FailureClass.BAD_OBJECT, [10, 60, 600]),
        (FailureClass.BAD_SYMBOL, [10, 60, 600]),
        (FailureClass.NO_CC, [60, 60]),
        (FailureClass.CC_TIMEOUT, [120, 3600, 3600]),
        (FailureClass.IO, [5, 10, 20, 40, 60, 60]),
        (FailureClass.LOCK_WAIT, [5, 10, 20]),
        (FailureClass.CACHE_DIR, [5, 10, 20]),
        (FailureClass.KILLED, [30, 30]),
    ],
)
def test_a_failure_is_believed_for_its_cooldown(
    cache: KernelCache, clock: Clock, kind: FailureClass, times: list[int]
) -> None:
    build = Builder(Failure(kind, "no"))
    for count, seconds in enumerate(times, start=1):
        assert cache.get_or_build("k", build)[1] is Outcome.BUILT
        clock.now += seconds - 0.5
        assert cache.get_or_build("k", build)[1] is Outcome.NEGATIVE
        assert build.builds == count
        clock.now += 1


@pytest.mark.parametrize(
    "kind",
    ["UNSUPPORTED", "TOO_BIG", "BAD_FLAGS", "UNSUPPORTED_PLATFORM"],
)
def test_some_failures_are_believed_for_ever(cache: KernelCache, clock: Clock, kind: str) -> None:
    build = Builder(Failure(FailureClass[kind], "no"))
    for _ in range(3):
        cache.get_or_build("k", build)
        clock.now += 1e9
    assert build.builds == 1


def test_every_class_has_a_cooldown() -> None:
    assert set(COOLDOWNS) == set(FailureClass)
    assert all(cooldown(kind, 10**6) > 0 for kind in FailureClass)
    assert cooldown(FailureClass.IO, 1, 0.5) == 7.5
    assert cooldown(FailureClass.TOO_BIG, 1, 0.5) == math.inf


def test_a_success_clears_what_failed_before(cache: KernelCache, clock: Clock) -> None:
    failure = Failure(FailureClass.CC_ERROR, "no")
    cache.get_or_build("k", Builder(failure))
    assert cache.failures() == {"k": failure}
    clock.now += 11
    entry, outcome = cache.get_or_build("k", Builder(kernel()))
    assert (type(entry), outcome) == (LoadedKernel, Outcome.BUILT)
    assert cache.failures() == {}


def test_another_class_of_failure_starts_from_its_first_cooldown(
    cache: KernelCache, clock: Clock
) -> None:
    build = Builder(
        Failure(FailureClass.CC_ERROR, ""),
        Failure(FailureClass.IO, ""),
        Failure(FailureClass.CC_ERROR, ""),
    )
    for seconds in (11, 6, 11, 0):
        assert cache.get_or_build("k", build)[1] is Outcome.BUILT
        clock.now += seconds


def test_a_failure_is_believed_only_in_its_scope(cache: KernelCache) -> None:
    build = Builder(Failure(FailureClass.NO_CC, "no"))
    outcomes = [cache.get_or_build("k", build, scope)[1] for scope in ("gcc", "gcc", "clang")]
    assert outcomes == ["built", "negative", "built"]


def test_failures_are_bounded_and_the_oldest_goes(cache: KernelCache) -> None:
    build = Builder(Failure(FailureClass.TOO_BIG, "no"))
    for i in range(memory.MOST_FAILURES + 10):
        cache.get_or_build(str(i), build)
    left = cache.failures()
    assert len(left) == memory.MOST_FAILURES
    assert "9" not in left
    assert "10" in left


def test_an_interrupted_build_blocks_nobody(cache: KernelCache) -> None:
    def interrupted() -> LoadedKernel:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get_or_build("k", interrupted)
    assert cache.get_or_build("k", Builder(kernel()))[1] is Outcome.BUILT


def test_a_fork_during_a_build_leaves_the_child_free(cache: KernelCache) -> None:
    go, started = threading.Event(), threading.Event()

    def slow() -> LoadedKernel:
        started.set()
        go.wait(30)
        return kernel()

    thread = threading.Thread(target=cache.get_or_build, args=("k", slow))
    thread.start()
    started.wait(10)
    child = start_child(lambda: cache.get_or_build("k", Builder(kernel()))[1] == "built")
    assert exit_code(child) == 0
    go.set()
    thread.join()
    assert cache.get_or_build("k", slow)[1] is Outcome.MEMORY


def test_a_fork_while_the_mutex_is_held_leaves_the_child_free(cache: KernelCache) -> None:
    with cache._mutex:
        child = start_child(lambda: cache.clear() is None)
    assert exit_code(child) == 0
