"""The shared directory: whose it must be, what is believed of what is read there, who waits."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runtime_kit import (
    NOT_ROOT,
    REAL_CC,
    c_text,
    exit_code,
    make_key,
    quarantined,
    start_child,
)

from mexdask.runtime import disk, lock, sweep
from mexdask.runtime.compile import compile_image
from mexdask.runtime.disk import Store, open_store
from mexdask.runtime.entry import TRAILER, Artifact, make_record, pack
from mexdask.runtime.key import CacheKey
from mexdask.runtime.lock import LockState
from mexdask.runtime.toolchain import Compiler

KEY, OTHER = make_key("k"), make_key("other")
CC, OTHER_CC = "a" * 64, "b" * 64


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real shared object."""
    compiler = Compiler((REAL_CC,), CC, "", os.environ["PATH"])
    staging = str(tmp_path_factory.mktemp("staging"))
    made = compile_image(compiler, c_text(KEY), KEY.target, staging, 20)
    assert isinstance(made, bytes)
    return made


@pytest.fixture
def store(tmpdir_: Path) -> Store:
    return opened(tmpdir_)


def opened(tmpdir: Path) -> Store:
    store = open_store(str(tmpdir))
    assert store is not None
    return store


def artifact_of(key: CacheKey, image: bytes, cc: str = CC) -> Artifact:
    return Artifact(image, make_record(key, cc, "cc version 1", b"text"))


def plant(tmpdir: Path, store: Store, data: bytes, key: CacheKey = KEY) -> Path:
    """Put bytes where the entry of a key is looked for."""
    path = Path(store.path(key, CC))
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def test_what_was_published_is_read(store: Store, image: bytes) -> None:
    artifact = artifact_of(KEY, image)
    assert store.read(KEY, CC) is None
    assert store.publish(KEY, artifact)
    assert store.read(KEY, CC) == artifact
    assert store.read(OTHER, CC) is None


def test_a_process_reads_only_its_own_compilers_entry_or_any_if_it_has_none(
    store: Store, image: bytes
) -> None:
    store.publish(KEY, artifact_of(KEY, image, OTHER_CC))
    assert store.read(KEY, CC) is None
    assert store.read(KEY, OTHER_CC) is not None
    assert store.read(KEY, None) is not None


def test_without_a_compiler_a_bad_entry_does_not_hide_a_good_one(
    store: Store, image: bytes, tmpdir_: Path
) -> None:
    store.publish(KEY, artifact_of(KEY, image, OTHER_CC))
    plant(tmpdir_, store, b"junk" * 1000)
    assert store.read(KEY, None) == artifact_of(KEY, image, OTHER_CC)
    assert quarantined(tmpdir_) == 1


# Fields -------------------------------------------------------------------------------------------

RECORD = make_record(KEY, CC, "cc version 1", b"text")
FOR_DIAGNOSIS = {"c_sha256", "compiler_version"}


def other_values(value: object) -> Iterator[object]:
    """Yield values that differ from one, if only by type."""
    yield from (None, [], {}, "", "x", 10**30, [value], {"a": value})
    if isinstance(value, int):
        yield from (value + 1, float(value), str(value))
        if value == 1:
            yield True
    elif isinstance(value, str):
        yield from (f"{value} ", value[:-1] or "y", value.upper() + "Z")
    elif isinstance(value, list):
        yield from (value[:-1], [*value, "x"], value[::-1], tuple(value[1:]), str(value))


def test_the_record_holds_every_field_of_the_key_and_the_compiler() -> None:
    target = set(KEY.target.__dataclass_fields__)
    assert RECORD.keys() == target | {"dsl_hash", "dtypes", "ndim", "format", "compiler"} | (
        FOR_DIAGNOSIS
    )


@pytest.mark.parametrize("field", sorted(RECORD.keys() - FOR_DIAGNOSIS))
def test_an_entry_whose_record_differs_in_a_field_is_rejected(
    store: Store, image: bytes, tmpdir_: Path, field: str
) -> None:
    for count, value in enumerate(v for v in other_values(RECORD[field]) if v != RECORD[field]):
        plant(tmpdir_, store, pack(Artifact(image, RECORD | {field: value})))
        assert store.read(KEY, CC if count % 2 else None) is None, value
    assert 0 < quarantined(tmpdir_) <= 16


def test_true_is_not_one(store: Store, image: bytes, tmpdir_: Path) -> None:
    plant(tmpdir_, store, pack(Artifact(image, RECORD | {"abi": True, "format": True})))
    assert store.read(KEY, CC) is None


@pytest.mark.parametrize("field", sorted(RECORD))
def test_an_entry_whose_record_lacks_a_field_or_has_one_more_is_rejected(
    store: Store, image: bytes, tmpdir_: Path, field: str
) -> None:
    without = {name: value for name, value in RECORD.items() if name != field}
    for record in (without, RECORD | {f"{field}2": 1}):
        plant(tmpdir_, store, pack(Artifact(image, record)))
        assert store.read(KEY, CC) is None
    assert quarantined(tmpdir_) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"dsl_hash": "y"},
        {"dtypes": ("float64",)},
        {"dtypes": ("float64,float64",)},
        {"ndim": "2"},
        *(
            {"target": replace(KEY.target, **{name: new})}
            for name, new in {
                "machine": "vax",
                "system": "VMS",
                "libc": "glibc-9",
                "pointer_bits": 32,
                "byteorder": "big",
                "isa": "x86-64-v9",
                "abi": 99,
                "flags": (*KEY.target.flags, "-g"),
            }.items()
        ),
        {"target": replace(KEY.target, flags=KEY.target.flags[::-1])},
    ],
)
def test_every_field_of_the_key_changes_its_digest(change: dict[str, Any]) -> None:
    assert replace(KEY, **change).digest != KEY.digest
    assert KEY.symbol == f"me_k_{KEY.digest[:16]}"


# Bytes --------------------------------------------------------------------------------------------


def damaged(good: bytes) -> Iterator[bytes]:
    """Yield bytes that differ from an entry's: cut off, flipped, zeroed, doubled."""
    size = len(good)
    yield from (good[:n] for n in (0, 1, 1023, size // 2, size - TRAILER.size, size - 1))
    for place in [*range(0, size, 1009), *range(size - TRAILER.size, size, 5)]:
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        yield bytes(flipped)
    yield good[:4096] + bytes(512) + good[4608:]
    yield good + good
    yield good + b"\0"
    yield good[1:]


def test_damaged_entries_are_rejected_and_set_aside(
    store: Store, image: bytes, tmpdir_: Path
) -> None:
    good = pack(artifact_of(KEY, image))
    for data in damaged(good):
        if data != good:
            path = plant(tmpdir_, store, data)
            assert store.read(KEY, CC) is None
            assert not path.exists()
    assert quarantined(tmpdir_) == 16
    plant(tmpdir_, store, good)
    assert store.read(KEY, CC) is not None


@pytest.mark.parametrize("name", [KEY, OTHER], ids=["key", "other"])
def test_an_entry_under_another_name_is_rejected(
    store: Store, image: bytes, tmpdir_: Path, name: CacheKey
) -> None:
    plant(tmpdir_, store, pack(artifact_of(OTHER if name is KEY else KEY, image)), name)
    assert store.read(name, CC) is None
    plant(tmpdir_, store, pack(artifact_of(name, image, OTHER_CC)), name)
    assert store.read(name, None) is None


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"9" * 60_000,
        b"\xff\xfe" * 10,
        b"\0" * 70_000,
        pickle.dumps(RECORD),
        json.dumps(RECORD).encode()[:-1],
    ],
)
def test_a_record_that_is_no_record_is_rejected_although_its_digest_is_right(
    store: Store, image: bytes, tmpdir_: Path, record: bytes
) -> None:
    digest = hashlib.sha256(image + record).digest()
    data = image + record + TRAILER.pack(digest, len(image), len(record), b"mexdask1")
    plant(tmpdir_, store, data)
    assert store.read(KEY, CC) is None
    assert quarantined(tmpdir_) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda image: b"#!/bin/sh\n" + image,
        lambda image: image[:5000],
        lambda image: image[:4] + b"\1" + image[5:],
        lambda image: image[:16] + b"\2" + image[17:],
        lambda image: image[:18] + b"\xf3" + image[19:],
        lambda image: image[:54] + b"\0\0\0\0" + image[58:],
        lambda image: image[:32] + b"\xff" * 8 + image[40:],
    ],
    ids=["script", "cut", "class", "type", "machine", "no segments", "headers"],
)
def test_an_image_that_the_loader_might_crash_on_is_rejected(
    store: Store, image: bytes, tmpdir_: Path, change: Callable[[bytes], bytes]
) -> None:
    plant(tmpdir_, store, pack(artifact_of(KEY, change(image))))
    assert store.read(KEY, CC) is None
    assert quarantined(tmpdir_) == 1


def strange(path: Path, kind: str, good: bytes) -> None:
    """Put something that is not a plain file of ours in an entry's place."""
    target = path.parent.parent.parent / "target"
    target.write_bytes(good)
    os.chmod(target, 0o600)
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
            (path / "file").touch()
        case "symlink":
            path.symlink_to(target)
        case "device":
            path.symlink_to("/dev/zero")
        case "hard link":
            os.link(target, path)
        case "sparse":
            path.touch(mode=0o600)
            os.truncate(path, 8 << 30)
        case "writable":
            path.write_bytes(good)
            os.chmod(path, 0o620)
        case "foreign":
            path.write_bytes(good)
            os.chown(path, 12345, 0)


@pytest.mark.parametrize(
    "kind",
    [
        "fifo",
        "directory",
        "symlink",
        "device",
        "hard link",
        "sparse",
        "writable",
        pytest.param("foreign", marks=NOT_ROOT),
    ],
)
def test_only_a_plain_file_of_ours_is_read(
    store: Store, image: bytes, tmpdir_: Path, kind: str
) -> None:
    path = plant(tmpdir_, store, b"")
    path.unlink()
    strange(path, kind, pack(artifact_of(KEY, image)))
    assert store.read(KEY, CC) is None
    assert not os.path.lexists(path)
    assert store.publish(KEY, artifact_of(KEY, image))
    assert store.read(KEY, CC) is not None


# Roots --------------------------------------------------------------------------------------------


@NOT_ROOT
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777])
def test_a_root_of_another_user_is_not_used(tmpdir_: Path, image: bytes, mode: int) -> None:
    foreign = tmpdir_ / "miniexpr-jit"
    foreign.mkdir()
    foreign.chmod(mode)
    os.chown(foreign, 12345, 12345)
    store = opened(tmpdir_)
    assert store.root.path == str(tmpdir_ / f"miniexpr-jit-{os.geteuid()}")
    assert store.publish(KEY, artifact_of(KEY, image))
    assert not list(foreign.iterdir())


@NOT_ROOT
def test_if_all_roots_are_foreign_the_process_has_one_of_its_own(
    tmpdir_: Path, image: bytes
) -> None:
    for name in ("miniexpr-jit", f"miniexpr-jit-{os.geteuid()}"):
        (tmpdir_ / name).mkdir()
        os.chown(tmpdir_ / name, 12345, 12345)
    store = opened(tmpdir_)
    assert stat.S_IMODE(os.stat(store.root.path).st_mode) == 0o700
    assert store.publish(KEY, artifact_of(KEY, image))


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_root_of_ours_that_others_could_write_is_set_aside_unread(
    tmpdir_: Path, image: bytes, mode: int
) -> None:
    store = opened(tmpdir_)
    store.publish(KEY, artifact_of(KEY, image))
    os.chmod(tmpdir_ / "miniexpr-jit", mode)
    disk._stores.clear()
    store = opened(tmpdir_)
    assert store.root.path == str(tmpdir_ / "miniexpr-jit")
    assert stat.S_IMODE(os.stat(store.root.path).st_mode) == 0o700
    assert store.read(KEY, CC) is None
    (aside,) = tmpdir_.glob("*.aside-*")
    assert list(aside.glob("v1/e/*/*"))


@pytest.mark.parametrize("name", ["v1", "v1/e", "v1/l", "v1/t", "v1/q", "v1/c"])
def test_a_part_that_others_could_write_is_set_aside(
    tmpdir_: Path, image: bytes, name: str
) -> None:
    opened(tmpdir_).publish(KEY, artifact_of(KEY, image))
    part = tmpdir_ / "miniexpr-jit" / name
    part.chmod(0o777)
    disk._stores.clear()
    opened(tmpdir_)
    assert stat.S_IMODE(part.stat().st_mode) == 0o700
    assert list(part.parent.glob("*.aside-*"))


def test_a_shelf_that_others_could_write_is_not_read(
    tmpdir_: Path, store: Store, image: bytes
) -> None:
    assert store.publish(KEY, artifact_of(KEY, image))
    shelf = tmpdir_ / "miniexpr-jit" / "v1" / "e" / KEY.digest[:2]
    shelf.chmod(0o770)
    assert store.read(KEY, CC) is None
    assert store.publish(KEY, artifact_of(KEY, image))
    assert store.read(KEY, CC) is not None
    assert len(list(shelf.parent.glob("*.aside-*"))) == 1


def test_a_root_that_others_may_read_is_tightened(tmpdir_: Path) -> None:
    (tmpdir_ / "miniexpr-jit").mkdir(mode=0o755)
    opened(tmpdir_)
    assert stat.S_IMODE((tmpdir_ / "miniexpr-jit").stat().st_mode) == 0o700


@pytest.mark.parametrize("place", ["", "v1"])
def test_a_planted_link_is_not_followed(tmpdir_: Path, tmp_path: Path, place: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    link = tmpdir_ / "miniexpr-jit" / place
    if place:
        link.parent.mkdir(mode=0o700)
    os.symlink(victim, str(link).rstrip("/"))
    store = opened(tmpdir_)
    assert store.root.path == str(tmpdir_ / f"miniexpr-jit-{os.geteuid()}")
    assert not list(victim.iterdir())


@pytest.mark.parametrize("place", ["l/{}", "e/{}", "gc"])
def test_planted_links_inside_are_not_followed(
    tmpdir_: Path, tmp_path: Path, store: Store, image: bytes, place: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    planted = tmpdir_ / "miniexpr-jit" / "v1" / place.format(KEY.digest[:2])
    planted.symlink_to(victim if place.startswith("e") else victim / "file")
    with store.lock(KEY, 0.1):
        store.publish(KEY, artifact_of(KEY, image))
        store.read(KEY, CC)
        store.sweep()
    assert not list(victim.iterdir())


@pytest.mark.parametrize("what", ["missing", "file", "link", "/proc", "long", "shell"])
def test_any_TMPDIR_gives_a_place_to_work_in(tmp_path: Path, image: bytes, what: str) -> None:
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    place = {
        "/proc": "/proc",
        "long": f"/tmp/{'x' * 300}",
        "shell": str(tmp_path / "$(touch marker) 'x' \n"),
    }.get(what, str(tmp_path / what))
    store = open_store(place)
    assert store is not None
    assert store.publish(KEY, artifact_of(KEY, image))
    assert store.read(KEY, CC) is not None


def test_no_place_at_all_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    assert open_store("/nowhere") is None


def test_nothing_is_writable_for_others_whatever_the_umask(tmpdir_: Path, image: bytes) -> None:
    before = os.umask(0)
    try:
        store = opened(tmpdir_)
        with store.lock(KEY, 0.1), store.staging():
            store.publish(KEY, artifact_of(KEY, image))
        store.sweep()
    finally:
        os.umask(before)
    paths = [p for p in tmpdir_.rglob("*") if p.lstat().st_mode & 0o077]
    assert not paths


def test_a_root_that_was_deleted_or_exchanged_is_opened_again(tmpdir_: Path, image: bytes) -> None:
    first = opened(tmpdir_)
    assert opened(tmpdir_) is first
    shutil.rmtree(first.root.path)
    assert first.publish(KEY, artifact_of(KEY, image)) is False
    assert first.read(KEY, CC) is None
    second = opened(tmpdir_)
    assert second.publish(KEY, artifact_of(KEY, image))
    os.rename(second.root.path, tmpdir_ / "elsewhere")
    assert opened(tmpdir_).read(KEY, CC) is None


def test_a_cleaned_part_is_made_again(tmpdir_: Path, image: bytes) -> None:
    shutil.rmtree(Path(opened(tmpdir_).root.path) / "v1" / "t")
    assert opened(tmpdir_).publish(KEY, artifact_of(KEY, image))


# Locks, staging, sweeping -------------------------------------------------------------------------


def test_one_lock_has_one_holder(store: Store) -> None:
    with store.lock(KEY, 0.0) as first, store.lock(KEY, 0.05) as second:
        assert (first, second) == (LockState.HELD, LockState.BUSY)
    with store.lock(KEY, 0.0) as again:
        assert again is LockState.HELD


@pytest.mark.parametrize("code", [37, 95, 5])  # ENOLCK, EOPNOTSUPP, EIO
def test_where_locks_do_not_work_one_goes_on_without(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def broken(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(lock.fcntl, "flock", broken)
    with store.lock(KEY, 5.0) as state:
        assert state is LockState.UNSUPPORTED


def test_a_lock_call_that_never_returns_is_left_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()

    def stuck(*_: object) -> None:
        let_go.wait()
        raise OSError(errno.EINTR, "interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(lock.fcntl, "flock", stuck)
        with store.lock(KEY, 0.1) as state:
            assert state is LockState.BUSY
        let_go.set()
    with store.lock(KEY, 5.0) as state:
        assert state is LockState.HELD


def test_a_lock_that_came_too_late_is_let_go(store: Store) -> None:
    with store.lock(KEY, 0.0), store.lock(KEY, 0.0) as late:
        assert late is LockState.BUSY
    with store.lock(KEY, 5.0) as state:
        assert state is LockState.HELD


def test_a_forked_child_does_not_keep_a_lock(store: Store) -> None:
    reader, writer = os.pipe()
    ready, tell = os.pipe()
    with store.lock(KEY, 0.0):
        # It lives until the parent closes the other end.
        child = start_child(lambda: (os.close(writer), os.write(tell, b"x"), os.read(reader, 1)))
        os.read(ready, 1)
    try:
        with store.lock(KEY, 0.0) as state:
            assert state is LockState.HELD
    finally:
        for fd in (reader, writer, ready, tell):
            os.close(fd)
        exit_code(child)


def test_a_child_forked_before_the_lock_is_known_does_not_keep_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    children = []

    class ForkingSet(set[int]):
        def add(self, fd: int) -> None:
            if not children:
                children.append(start_child(lambda: (os.close(writer), os.read(reader, 1))))
            super().add(fd)

    monkeypatch.setattr(lock, "_held", ForkingSet())
    try:
        with store.lock(KEY, 5.0) as state:
            assert state is LockState.HELD
        with store.lock(KEY, 0.0) as state:
            assert state is LockState.HELD
    finally:
        os.close(reader)
        os.close(writer)
        assert exit_code(children[0]) == 0


def test_a_dead_process_does_not_keep_a_lock(store: Store) -> None:
    def work() -> None:
        with store.lock(KEY, 0.0):
            os.kill(os.getpid(), 9)

    assert exit_code(start_child(work)) == -9
    with store.lock(KEY, 0.0) as state:
        assert state is LockState.HELD


def test_staging_is_empty_ours_and_gone_afterwards(store: Store, tmpdir_: Path) -> None:
    with store.staging() as path:
        assert os.listdir(path) == []
        (Path(path) / "k.c").touch()
        assert len(list((tmpdir_ / "miniexpr-jit/v1/t").iterdir())) == 1
    assert not list((tmpdir_ / "miniexpr-jit/v1/t").iterdir())


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no paths of descriptors here")
def test_staging_is_elsewhere_if_the_cache_cannot_be_written(
    store: Store,
) -> None:
    shutil.rmtree(store.root.path)
    with store.staging() as path:
        (Path(path) / "k.c").touch()
        real = os.path.dirname(os.path.dirname(os.path.realpath(path)))
        assert os.stat(real).st_mode & 0o077 == 0
        os.rename(real, f"{real}.moved")  # as another user could, below a directory open to all
        (Path(path) / "k.so").touch()
        assert sorted(os.listdir(f"{real}.moved/t/k")) == ["k.c", "k.so"]
    shutil.rmtree(f"{real}.moved")
    assert not os.path.exists(real)


def test_the_oldest_entries_go_first(
    store: Store, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [make_key(f"k{i}") for i in range(10)]
    for age, key in enumerate(reversed(keys)):
        store.publish(key, artifact_of(key, image))
        when = time.time() - 60 * age
        os.utime(store.path(key, CC), (when, when))
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "MOST_ENTRIES", 9)
        store.sweep()
    assert [k for k in keys if store.read(k, CC) is None] == keys[:3]
    size = os.path.getsize(store.path(keys[9], CC))
    store.sweep(most_bytes=3 * size)
    assert [k for k in keys if store.read(k, CC) is not None] == keys[8:]


def test_what_nobody_uses_goes_even_if_there_is_room(store: Store, image: bytes) -> None:
    for key, days in ((KEY, 89), (OTHER, 91)):
        store.publish(key, artifact_of(key, image))
        when = time.time() - days * 86400
        os.utime(store.path(key, CC), (when, when))
    store.sweep()
    assert [os.path.exists(store.path(key, CC)) for key in (KEY, OTHER)] == [True, False]


def test_a_small_cache_stays_small(store: Store, image: bytes, tmpdir_: Path) -> None:
    most = 10 * len(image)
    for i in range(40):
        key = make_key(f"k{i}")
        assert store.publish(key, artifact_of(key, image), most)
        held = sum(p.stat().st_size for p in tmpdir_.glob("*/v1/e/*/*"))
        assert held <= 1.2 * most


def test_an_entry_from_the_future_counts_as_used_now(store: Store, image: bytes) -> None:
    store.publish(KEY, artifact_of(KEY, image))
    path = store.path(KEY, CC)
    os.utime(path, (2**33, 2**33))
    store.sweep()
    assert os.stat(path).st_mtime <= time.time()


def test_a_hit_makes_an_old_entry_young(store: Store, image: bytes) -> None:
    store.publish(KEY, artifact_of(KEY, image))
    path = store.path(KEY, CC)
    for age, touched in ((3600, False), (3 * 86400, True)):
        when = time.time() - age
        os.utime(path, (when, when))
        store.read(KEY, CC)
        assert (os.stat(path).st_mtime > when + 1) is touched


def test_staging_of_dead_processes_is_swept_and_that_of_live_ones_is_not(
    store: Store, tmpdir_: Path
) -> None:
    def work() -> None:
        with store.staging():
            os.kill(os.getpid(), 9)

    assert exit_code(start_child(work)) == -9
    staging = tmpdir_ / "miniexpr-jit" / "v1" / "t"
    (staging / "1.otherhost.abc").mkdir()
    old = staging / f"{os.getpid()}.{sweep.node()}.old"
    old.mkdir()
    os.utime(old, (0, 0))
    with store.staging() as mine:
        assert len(list(staging.iterdir())) == 4
        store.sweep()
        assert os.path.isdir(mine)
        assert len(list(staging.iterdir())) == 2
