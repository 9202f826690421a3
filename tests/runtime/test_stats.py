"""The counters: by kernel and in all, cheap to add to, plain to read."""

from __future__ import annotations

import json

import pytest
from runtime_kit import exit_code, in_threads, make_key, start_child

from mexdask.runtime import stats
from mexdask.runtime.disk import open_store
from mexdask.runtime.failure import Failure, FailureClass

KEY = make_key()


@pytest.mark.parametrize("counter", stats.COUNTERS)
def test_a_counter_counts_by_kernel_and_in_all(counter: stats.Counter) -> None:
    stats.count("a", counter)
    stats.count("a", counter, 2)
    stats.count("b", counter)
    seen = stats.snapshot()
    assert seen[counter] == 4
    assert {name: row[counter] for name, row in seen["kernels"].items()} == {"a": 3, "b": 1}
    assert sum(seen[other] for other in stats.COUNTERS) == 4


@pytest.mark.parametrize(("counter", "seconds"), stats.SECONDS.items())
def test_time_is_added_beside_the_count(counter: stats.Counter, seconds: str) -> None:
    stats.count("a", counter, 2, 0.5)
    stats.count("a", counter, 0, 0.25)
    seen = stats.snapshot()
    assert (seen[counter], seen[seconds]) == (2, 0.75)
    assert seen["kernels"]["a"][seconds] == 0.75


def test_failures_are_counted_by_class_and_the_last_is_kept() -> None:
    first = stats.count_failure(Failure(FailureClass.NO_CC, "none"))
    again = stats.count_failure(Failure(FailureClass.NO_CC, "none"))
    other = stats.count_failure(Failure(FailureClass.IO, "x" * 100_000))
    assert (first, again, other) == (True, False, True)
    seen = stats.snapshot()
    assert seen["failures"] == {"no-cc": 2, "io": 1}
    assert seen["last_error"].startswith("io: xxx")
    assert len(seen["last_error"]) == 16 << 10


def test_a_snapshot_is_plain_and_its_own() -> None:
    stats.count("a", "native", 1, 0.5)
    seen = stats.snapshot()
    assert json.loads(json.dumps(seen)) == seen
    stats.count("a", "native")
    assert seen["native"] == 1
    assert seen["kernels"]["a"]["native"] == 1


def test_reset_forgets_everything() -> None:
    empty = stats.snapshot()
    stats.count("a", "native")
    stats.count_failure(Failure(FailureClass.IO, "x"))
    stats.reset()
    assert stats.snapshot() == empty
    assert empty["last_error"] is None
    assert empty["cache"] == dict.fromkeys(("entries", "bytes", "quarantined"), 0) | {
        "root": None,
        "set_aside": [],
    }


def test_the_cache_is_shown_once_it_is_open(tmp_path) -> None:
    open_store(str(tmp_path))
    assert stats.snapshot()["cache"]["root"] == str(tmp_path / "miniexpr-jit")


def test_no_count_is_lost_between_threads() -> None:
    def work(i: int) -> None:
        for _ in range(2000):
            stats.count("a", "native", 1, 0.25)

    in_threads(8, work)
    seen = stats.snapshot()
    assert (seen["native"], seen["native_seconds"]) == (16_000, 4000.0)


def test_names_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "MOST_KERNELS", 5)
    for i in range(50):
        stats.count(f"k{i}", "native")
    seen = stats.snapshot()
    assert len(seen["kernels"]) == 6
    assert seen["kernels"][stats.OTHERS]["native"] == 45
    assert seen["native"] == 50


def test_small_chunks_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "MOST_KERNELS", 5)
    monkeypatch.setattr(stats, "_small_chunks", {})
    for i in (*range(50), 0):
        stats.small_chunks(f"k{i}").append(0.5)
    seen = stats.snapshot()
    assert len(seen["kernels"]) == len(stats._small_chunks) == 6
    assert seen["kernels"][stats.OTHERS]["native"] == 45
    assert seen["kernels"]["k0"]["native"] == 2
    assert (seen["native"], seen["memory_hits"], seen["native_seconds"]) == (51, 51, 25.5)


def test_a_forked_child_counts_for_itself() -> None:
    stats.count("a", "native")
    with stats._lock:  # as if another thread were counting at this moment
        child = start_child(lambda: stats.snapshot()["native"] == 0)
    assert exit_code(child) == 0
    assert stats.snapshot()["native"] == 1
