"""Crowds of processes, every way to damage an entry, death at any moment: the long tests."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runtime_kit import (
    REAL_CC,
    c_text,
    compiles,
    crowd,
    exit_code,
    make_key,
    only_entry,
    quarantined,
    recording_cc,
    start_child,
    works,
)

from mexdask.runtime.build import build, from_disk
from mexdask.runtime.disk import Store, open_store
from mexdask.runtime.entry import TRAILER, Artifact, unpack
from mexdask.runtime.inventory import info
from mexdask.runtime.key import CacheKey
from mexdask.runtime.load import LoadedKernel
from mexdask.settings import ProcessSettings

pytestmark = pytest.mark.stress
KEY = make_key()
Recorded = tuple[str, Path]


def built(key: CacheKey, settings: ProcessSettings) -> dict[str, Any]:
    """Build a key in this process; say how it went."""
    start = time.monotonic()
    entry = build(key, lambda: c_text(key), settings)
    origin = entry.origin if isinstance(entry, LoadedKernel) else entry.kind.value
    return {"origin": origin, "right": works(entry), "seconds": time.monotonic() - start}


def opened(settings: ProcessSettings) -> Store:
    store = open_store(settings.tmpdir)
    assert store is not None
    return store


# Crowds -------------------------------------------------------------------------------------------


def test_200_processes_compile_one_key_once(
    settings: ProcessSettings, tmp_path: Path, recorded: Recorded
) -> None:
    recording_cc(tmp_path, "sleep 1")
    said: list[Any] = crowd(200, lambda i: built(KEY, settings))
    assert compiles(recorded[1]) == 1
    assert all(answer["right"] for answer in said)
    assert sorted(answer["origin"] for answer in said) == ["compiled"] + ["disk"] * 199
    seconds = [answer["seconds"] for answer in said]
    print(f"median {statistics.median(seconds):.2f} s, slowest {max(seconds):.2f} s")
    assert max(seconds) < 10


def test_40_processes_compile_8_keys_once_each(
    settings: ProcessSettings, tmp_path: Path, recorded: Recorded
) -> None:
    keys = [make_key(str(i)) for i in range(8)]
    said: list[Any] = crowd(40, lambda i: [built(keys[(i + j) % 8], settings) for j in range(8)])
    assert compiles(recorded[1]) == 8
    assert all(answer["right"] for answers in said for answer in answers)


def test_300_kernels_and_300_more_from_disk(settings: ProcessSettings, recorded: Recorded) -> None:
    keys = [make_key(str(i)) for i in range(300)]
    for origin in ("compiled", "disk"):
        said: list[Any] = crowd(2, lambda i: [built(k, settings) for k in keys[i::2]], 600)
        assert {a["origin"] for answers in said for a in answers} == {origin}
        assert all(a["right"] for answers in said for a in answers)
    assert compiles(recorded[1]) == 300


# Damage -------------------------------------------------------------------------------------------


def truncations(good: bytes) -> Iterator[bytes]:
    for size in range(len(good)):
        yield good[:size]


def flips(good: bytes) -> Iterator[bytes]:
    for bit in range(0, 8 * len(good), 7):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


def other_blocks(good: bytes) -> Iterator[bytes]:
    for start in range(0, len(good), 512):
        block = good[start : start + 512]
        if block.strip(b"\0"):
            yield good[:start] + bytes(len(block)) + good[start + 512 :]
        yield good[:start] + block + good[start:]
        yield good[:start] + good[start + 512 :]
    yield good + good
    yield good + b"\0"


@pytest.mark.parametrize("damage", [truncations, flips, other_blocks])
def test_no_damage_is_believed(
    settings: ProcessSettings, damage: Callable[[bytes], Iterator[bytes]], tmpdir_: Path
) -> None:
    """All of it in a child, so that a signal would be seen."""
    assert built(KEY, settings)["right"]
    store, path = opened(settings), only_entry(tmpdir_)
    good = path.read_bytes()
    identity = str(unpack(good).record["compiler"])
    count = sum(1 for _ in damage(good))

    def work() -> bool:
        signal.alarm(0)
        for number, data in enumerate(damage(good)):
            path.touch(mode=0o600)
            path.write_bytes(data)
            assert from_disk(store, KEY, identity) is None, number
            assert not path.exists(), number
        path.touch(mode=0o600)
        path.write_bytes(good)
        return works(from_disk(store, KEY, identity))

    assert exit_code(start_child(work)) == 0
    assert quarantined(tmpdir_) == 16
    print(f"{damage.__name__}: {count}")


def test_damaged_entries_are_rebuilt_once(
    settings: ProcessSettings, recorded: Recorded, tmpdir_: Path
) -> None:
    good = built(KEY, settings) and only_entry(tmpdir_).read_bytes()
    sample = [*list(truncations(good))[::800], *list(flips(good))[::800]]
    for count, data in enumerate(sample, start=2):
        only_entry(tmpdir_).write_bytes(data)
        assert built(KEY, settings)["right"]
        assert built(KEY, settings)["origin"] == "disk"
        assert compiles(recorded[1]) == count


def mutated(record: dict[str, Any], rng: random.Random) -> bytes:
    """Return the JSON of a record after a few changes, sometimes not JSON any more."""
    record = dict(record)
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(list(record) or ["x"])
        value = record.get(name)
        match rng.randrange(7):
            case 0:
                record.pop(name, None)
            case 1:
                record[f"{name}_"] = value
            case 2:
                record[name] = rng.choice([None, True, 0, 1, 1.0, "", [], {}, "x" * 300, 2**70])
            case 3:
                record[name] = [value]
            case 4:
                record[name] = str(value)[::-1]
            case 5 if isinstance(value, list):
                record[name] = value[::-1]
            case _:
                record[name] = f"{value} "
    text = json.dumps(record, sort_keys=rng.random() < 0.9, separators=(",", ":")).encode()
    if rng.random() < 0.3:
        place = rng.randrange(len(text))
        text = text[:place] + bytes([rng.randrange(256)]) + text[place + rng.randrange(2) :]
    return text


def seconds_to_read(store: Store, good: Mapping[str, object]) -> tuple[float, Artifact | None]:
    """Return how long a read took this process, and what it found."""
    start = time.process_time()
    artifact = store.read(KEY, str(good["compiler"]))
    return time.process_time() - start, artifact


def test_10000_records_with_right_digests_are_refused_or_equal(
    settings: ProcessSettings, tmpdir_: Path
) -> None:
    assert built(KEY, settings)["right"]
    store, path = opened(settings), only_entry(tmpdir_)
    good = unpack(path.read_bytes())
    free = {"c_sha256", "compiler_version"}
    rng, taken, seconds = random.Random(0), 0, []
    usual = statistics.median(seconds_to_read(store, good.record)[0] for _ in range(200))
    for _ in range(10_000):
        record = mutated(dict(good.record), rng)
        digest = hashlib.sha256(good.image + record).digest()
        trailer = TRAILER.pack(digest, len(good.image), len(record), b"mexdask1")
        path.touch(mode=0o600)
        path.write_bytes(good.image + record + trailer)
        took, artifact = seconds_to_read(store, good.record)
        seconds.append(took)
        if artifact is not None:
            taken += 1
            assert artifact.image == good.image
            same = {k: v for k, v in artifact.record.items() if k not in free}
            assert same == {k: v for k, v in good.record.items() if k not in free}
    slow = sum(one > 10 * usual for one in seconds)
    print(f"{taken} differ only in what is for diagnosis; {slow} took 10 times a good one's time")
    assert slow < 100


def test_entries_exchanged_between_keys_are_refused(settings: ProcessSettings) -> None:
    keys = [make_key(str(i)) for i in range(6)]
    assert all(built(key, settings)["right"] for key in keys)
    store = opened(settings)
    (identity,) = {str(a.record["compiler"]) for k in keys if (a := store.read(k, None))}
    data = {key: Path(store.path(key, identity)).read_bytes() for key in keys}
    for key in keys:
        for other in keys:
            path = Path(store.path(key, identity))
            path.touch(mode=0o600)
            path.write_bytes(data[other])
            assert (store.read(key, identity) is not None) == (key is other)


# Death and size -----------------------------------------------------------------------------------


def test_a_storm_of_kills_leaves_a_clean_directory(
    settings: ProcessSettings, recorded: Recorded, tmpdir_: Path
) -> None:
    rng, keys = random.Random(1), []
    for round_ in range(40):
        keys = [make_key(f"{round_}-{i}") for i in range(6)]

        def work(keys: list[CacheKey] = keys) -> bool:
            return all(built(key, settings)["right"] for key in keys)

        children = [start_child(work) for _ in range(4)]
        for child in children:
            time.sleep(rng.uniform(0.0, 0.2))
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)
    before = compiles(recorded[1])
    said: list[Any] = crowd(4, lambda i: [built(key, settings) for key in keys])
    assert all(a["right"] for answers in said for a in answers)
    after = compiles(recorded[1]) - before
    print(f"{before} compiles in the storm, {after} after it")
    assert 0 < before
    assert after <= 6
    opened(settings).sweep()
    assert not list((tmpdir_ / "miniexpr-jit" / "v1" / "t").iterdir())
    assert quarantined(tmpdir_) == 0
    for path in tmpdir_.glob("miniexpr-jit/v1/e/*/*"):
        assert unpack(path.read_bytes())


def test_a_small_cache_stays_small_while_others_read(
    settings: ProcessSettings, tmpdir_: Path
) -> None:
    most = 1 << 20
    small = replace(settings, compiler=REAL_CC, cache_size=most)
    keys = [make_key(str(i)) for i in range(500)]
    done = tmpdir_ / "done"
    largest = []

    def work(i: int) -> dict[str, int]:
        if i < 2:
            right = 0
            for key in keys[i::2]:
                right += built(key, small)["right"]
                largest.append(info(opened(small)).bytes)
            (tmpdir_ / f"done{i}").touch()
            return {"right": right, "largest": max(largest)}
        read = wrong = 0
        rng = random.Random(i)
        while len(list(tmpdir_.glob("done*"))) < 2:
            artifact = opened(small).read(rng.choice(keys), None)
            read += artifact is not None
            wrong += artifact is not None and len(artifact.image) < 1024
            time.sleep(0.002)
        return {"read": read, "wrong": wrong}

    said: list[Any] = crowd(10, work, 600)
    assert not done.exists()
    assert sum(answer.get("right", 0) for answer in said) == 500
    assert sum(answer.get("wrong", 0) for answer in said) == 0
    assert sum(answer.get("read", 0) for answer in said) > 0
    size = max(answer.get("largest", 0) for answer in said)
    print(f"at most {size / most:.2f} of the limit")
    assert size <= 1.2 * most
    assert quarantined(tmpdir_) == 0


# All at once --------------------------------------------------------------------------------------

SOAK_SECONDS = float(os.environ.get("MEXDASK_SOAK_SECONDS", "600"))


def vandalise(tmpdir: Path, rng: random.Random) -> None:
    """Do something bad to a cache directory."""
    root = tmpdir / "miniexpr-jit"
    entries = [path for path in root.glob("v1/e/*/*") if path.is_file()]
    path = rng.choice([*root.glob("v1/*/*"), *entries, *entries, root])
    match rng.randrange(40):
        case 0:
            shutil.rmtree(root, ignore_errors=True)
        case 1:
            root.rename(tmpdir / f"aside-{rng.random()}")
        case 2:
            os.chmod(root, 0o777)
        case 3:
            parts = [*root.glob("v1/*")] or [root]  # another process may have been here
            shutil.rmtree(rng.choice(parts), ignore_errors=True)
        case n if not path.is_file():
            os.utime(path, (n, n))
        case n if n < 8:
            os.chmod(path, 0o666)
        case n if n < 16:
            os.truncate(path, rng.randrange(path.stat().st_size + 1))
        case n if n < 24:
            data = bytearray(path.read_bytes() or b"x")
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            path.write_bytes(data)
        case n if n < 28:
            path.unlink()
            os.mkfifo(path)
        case n if n < 32 and entries:
            path.write_bytes(rng.choice(entries).read_bytes())
        case n if n < 36:
            os.utime(path, (2**33, 2**33))
        case _:
            path.unlink()


def soak(i: int, settings: ProcessSettings, compilers: list[str], seconds: float) -> dict[str, Any]:
    """Build, use and damage kernels at random; count what went right, and what is left open."""
    rng = random.Random(i)
    keys = [make_key(str(n)) for n in range(30)]
    tally = {"right": 0, "interpreter": 0, "wrong": 0, "loads": 0}
    first = None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with_cc = replace(settings, compiler=rng.choice(compilers), compile_timeout=2.0)
        key = rng.choice(keys)
        entry = build(key, lambda key=key: c_text(key), with_cc)
        if isinstance(entry, LoadedKernel):
            tally["loads"] += 1
            tally["right" if works(entry) else "wrong"] += 1
        else:
            tally["interpreter"] += 1
        if rng.random() < 0.2:
            try:
                vandalise(Path(settings.tmpdir), rng)
            except OSError:
                continue
        if rng.random() < 0.02:
            opened(settings).sweep(1 << 20)
        time.sleep(rng.uniform(0.0, 0.05))
        if first is None and tally["loads"] >= 50:
            first = open_files(), resident(), tally["loads"]
    assert first is not None
    later = open_files(), resident(), tally["loads"]
    return tally | {"first": first, "later": later}


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_soak(settings: ProcessSettings, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    fifth = "$(($(date +%N | sed 's/^0*//') % 5))"
    bad.write_text(f'#!/bin/sh\n[ {fifth} = 0 ] || exec {REAL_CC} "$@"\nexit 1\n')
    bad.chmod(0o755)
    compilers = [REAL_CC, REAL_CC, f"{REAL_CC} -g", str(bad)]
    seconds = int(SOAK_SECONDS) + 120
    said: list[Any] = crowd(8, lambda i: soak(i, settings, compilers, SOAK_SECONDS), seconds)
    assert None not in said, "a process died or hung"
    for answer in said:
        print(answer)
        assert answer["wrong"] == 0
        assert answer["right"] > 0.2 * answer["interpreter"], "it is not all of it in vain"
        (files, memory, loads), (files2, memory2, loads2) = answer["first"], answer["later"]
        assert files2 <= files + 8
        # A loaded kernel stays: about 20 KiB each, which is no leak.
        assert memory2 <= 1.05 * memory + (loads2 - loads) * (32 << 10)
