"""What people are told of the disk cache: its entries, its size, what was bad and why."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from runtime_kit import c_text, make_key, works

from mexdask.runtime import stats
from mexdask.runtime.build import build
from mexdask.runtime.disk import Store, open_store
from mexdask.runtime.inventory import CacheInfo, clear, entries, info, verify
from mexdask.settings import ProcessSettings

KEYS = [make_key("a"), make_key("b"), make_key("c")]


@pytest.fixture
def filled(settings: ProcessSettings) -> Store:
    """A cache with three kernels."""
    for key in KEYS:
        assert works(build(key, lambda key=key: c_text(key), settings))
    store = open_store(settings.tmpdir)
    assert store is not None
    return store


def spoil(store: Store) -> str:
    """Cut an entry off and return its name."""
    path = next(e.path for e in entries(store) if e.key == KEYS[1])
    os.truncate(path, 5000)
    return os.path.basename(path)


def test_every_entry_is_listed_with_what_it_is(filled: Store) -> None:
    found = {entry.key: entry for entry in entries(filled)}
    assert found.keys() == set(KEYS)
    for entry in found.values():
        assert entry.size == os.path.getsize(entry.path)
        assert abs(entry.used - time.time()) < 3600
        assert (entry.fault, "version" in entry.compiler) == ("", True)


def test_a_bad_entry_is_listed_with_its_fault_and_stays(filled: Store) -> None:
    spoil(filled)
    for _ in range(2):
        (fault,) = [entry.fault for entry in entries(filled) if entry.key is None]
        assert "trailer" in fault
    assert info(filled).entries == 3


def make_fifo(path: str) -> None:
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    ("replace", "reason"),
    [
        (os.mkdir, "not a regular file"),
        (make_fifo, "not a regular file"),
        (lambda path: os.close(os.open(path, os.O_CREAT, 0o600)), "0 bytes is no size"),
        (lambda path: os.close(os.open(path, os.O_CREAT, 0o622)), "others could"),
    ],
    ids=["directory", "fifo", "empty", "writable"],
)
def test_the_reason_is_what_is_wrong_first(filled: Store, replace, reason: str) -> None:
    before = os.umask(0)
    try:
        path = next(e.path for e in entries(filled) if e.key == KEYS[1])
        os.unlink(path)
        replace(path)
    finally:
        os.umask(before)
    (bad,) = verify(filled)
    assert reason in bad.fault
    (aside,) = info(filled).set_aside
    assert reason in aside.why


def test_what_is_verified_is_set_aside_with_the_reason(filled: Store, tmpdir_: Path) -> None:
    assert verify(filled) == []
    name = spoil(filled)
    (bad,) = verify(filled)
    assert os.path.basename(bad.path) == name
    seen = info(filled)
    assert (seen.root, seen.entries) == (str(tmpdir_ / "miniexpr-jit"), 2)
    assert seen.bytes == sum(entry.size for entry in entries(filled))
    (aside,) = seen.set_aside
    assert (aside.entry, aside.size, aside.why) == (name, 5000, bad.fault)
    assert abs(aside.when - time.time()) < 3600
    assert verify(filled) == []


def test_an_entry_in_another_keys_directory_is_bad(filled: Store) -> None:
    good = next(entries(filled)).path
    place = os.path.join(os.path.dirname(os.path.dirname(good)), "zz")
    os.mkdir(place, 0o700)
    os.rename(good, os.path.join(place, os.path.basename(good)))
    (bad,) = verify(filled)
    assert "directory" in bad.fault


def test_clear_removes_entries_and_what_was_set_aside(
    filled: Store, settings: ProcessSettings
) -> None:
    spoil(filled)
    verify(filled)
    assert clear(filled) == 2
    assert info(filled) == CacheInfo(filled.root.path)
    assert works(build(KEYS[0], lambda: c_text(KEYS[0]), settings))


def test_stats_say_what_the_cache_holds_and_what_was_bad(filled: Store) -> None:
    spoil(filled)
    verify(filled)
    cache = json.loads(json.dumps(stats.snapshot()))["cache"]
    assert (cache["root"], cache["entries"], cache["quarantined"]) == (filled.root.path, 2, 1)
    (aside,) = cache["set_aside"]
    assert "trailer" in aside["why"]
