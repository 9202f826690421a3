"""A key's whole way: who compiles, who reads, and what happens when something is wrong."""

from __future__ import annotations

import os
import shutil
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest
from runtime_kit import (
    REAL_CC,
    answers,
    c_text,
    compiles,
    exit_code,
    fake_cc,
    in_threads,
    make_key,
    only_entry,
    quarantined,
    recording_cc,
    start_child,
    start_worker,
    works,
)

from mexdask.runtime import build as build_module
from mexdask.runtime import disk, toolchain
from mexdask.runtime.build import build
from mexdask.runtime.disk import Store, open_store
from mexdask.runtime.failure import Failure, FailureClass
from mexdask.runtime.key import CacheKey
from mexdask.runtime.load import LoadedKernel
from mexdask.runtime.memory import KernelCache
from mexdask.settings import ProcessSettings

KEY = make_key()
Recorded = tuple[str, Path]


def emit(key: CacheKey = KEY, value: int = 7):
    return lambda: c_text(key, value)


def never() -> str:
    raise AssertionError("no C text is needed here")


def failing(entry: object) -> FailureClass:
    assert isinstance(entry, Failure), entry
    return entry.kind


def test_the_first_build_compiles_and_the_next_reads(
    settings: ProcessSettings, recorded: Recorded
) -> None:
    first = build(KEY, emit(), settings)
    assert works(first)
    assert isinstance(first, LoadedKernel)
    assert first.origin == "compiled"
    assert first.compile_seconds > 0
    assert first.path is not None
    assert os.path.exists(first.path)
    second = build(KEY, never, settings)
    assert works(second)
    assert isinstance(second, LoadedKernel)
    assert (second.origin, second.path, second.compile_seconds) == ("disk", first.path, 0.0)
    assert compiles(recorded[1]) == 1


def test_another_process_reuses_what_one_has_compiled(tmpdir_: Path, recorded: Recorded) -> None:
    cc, log = recorded
    for origin in ("compiled", "disk"):
        (answer,) = answers(start_worker(tmpdir_, cc, "k"))
        assert answer == {"origin": origin, "right": True}
        assert compiles(log) == 1


def test_eight_processes_at_one_instant_compile_once(tmpdir_: Path, tmp_path: Path) -> None:
    cc, log = recording_cc(tmp_path, "sleep 0.3")
    at = time.time() + 1.5
    workers = [start_worker(tmpdir_, str(cc), "k", at=at) for _ in range(8)]
    found = [answers(worker)[0] for worker in workers]
    assert all(answer["right"] for answer in found)
    assert sorted(str(a["origin"]) for a in found) == ["compiled"] + ["disk"] * 7
    assert compiles(log) == 1


def test_a_thousand_calls_of_twenty_threads_compile_once(
    settings: ProcessSettings, recorded: Recorded
) -> None:
    cache = KernelCache()

    def work(i: int) -> bool:
        return all(
            works(cache.get_or_build(KEY.digest, lambda: build(KEY, emit(), settings))[0])
            for _ in range(50)
        )

    assert all(in_threads(20, work))
    assert compiles(recorded[1]) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path, 5000),
        lambda path: path.write_bytes(b"junk" * 5000),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"),
    ],
    ids=["cut", "junk", "flip"],
)
def test_a_bad_entry_is_replaced_once(
    settings: ProcessSettings, recorded: Recorded, tmpdir_: Path, damage
) -> None:
    kernel = build(KEY, emit(), settings)
    damage(only_entry(tmpdir_))
    assert works(kernel)  # nobody maps the file
    for _ in range(2):
        assert works(build(KEY, emit(), settings))
    assert compiles(recorded[1]) == 2
    assert quarantined(tmpdir_) == 1


def test_an_entry_that_does_not_load_is_set_aside_and_replaced(
    settings: ProcessSettings, recorded: Recorded, tmpdir_: Path
) -> None:
    from mexdask.runtime.entry import Artifact, pack, unpack

    build(KEY, emit(), settings)
    entry = only_entry(tmpdir_)
    good = unpack(entry.read_bytes())
    wrong = good.image.replace(KEY.digest.encode(), b"f" * 64)
    entry.write_bytes(pack(Artifact(wrong, good.record)))
    assert works(build(KEY, emit(), settings))
    assert compiles(recorded[1]) == 2
    assert quarantined(tmpdir_) == 1


def test_an_object_without_its_symbol_is_not_published(
    settings: ProcessSettings, tmpdir_: Path
) -> None:
    assert failing(build(KEY, emit(make_key("other")), settings)) is FailureClass.BAD_SYMBOL
    assert not list((tmpdir_ / "miniexpr-jit/v1/e").glob("*/*"))


@pytest.mark.parametrize(
    ("cc", "kind"),
    [
        ("no-such-compiler", FailureClass.NO_CC),
        ("'unbalanced", FailureClass.NO_CC),
        ("{bad}", FailureClass.CC_ERROR),
        ("{crash}", FailureClass.CC_ICE),
        ("{oom}", FailureClass.KILLED),
        ("{junk}", FailureClass.BAD_OBJECT),
        ("{full}", FailureClass.IO),
    ],
)
def test_a_compiler_that_fails_is_a_failure_and_leaves_nothing(
    settings: ProcessSettings, tmp_path: Path, tmpdir_: Path, cc: str, kind: FailureClass
) -> None:
    bodies = {
        "bad": "echo 'error: bad' >&2; exit 1",
        "crash": "kill -SEGV $$",
        "oom": "kill -KILL $$",
        "junk": "head -c 9999 /dev/zero > k.so",
        "full": "echo 'No space left on device' >&2; exit 1",
    }
    paths = {name: fake_cc(tmp_path, body, name) for name, body in bodies.items()}
    broken = replace(settings, compiler=cc.format(**paths))
    assert failing(build(KEY, emit(), broken)) is kind
    assert not list(tmpdir_.glob("*/v1/e/*/*"))
    assert not list(tmpdir_.glob("*/v1/t/*"))
    assert works(build(KEY, emit(), settings))


def test_a_hanging_compiler_is_stopped_and_two_keys_in_a_row_stop_them_all(
    settings: ProcessSettings, tmp_path: Path
) -> None:
    log, now = tmp_path / "log", [0.0]
    cc = fake_cc(tmp_path, f"echo x >> {log}; sleep 300", "hang")
    slow = replace(settings, compiler=str(cc), compile_timeout=0.4)
    for name, runs in (("a", 1), ("b", 2), ("c", 2)):
        key = make_key(name)
        assert failing(build(key, emit(key), slow, lambda: now[0])) is FailureClass.CC_TIMEOUT
        assert compiles(log) == runs
    now[0] += 121
    build(make_key("d"), emit(make_key("d")), slow, lambda: now[0])
    assert compiles(log) == 3


def test_a_full_disk_stops_the_compiling_of_every_key_for_a_while(
    settings: ProcessSettings, tmp_path: Path
) -> None:
    log, now = tmp_path / "log", [0.0]
    cc = fake_cc(tmp_path, f"echo x >> {log}; echo 'No space left on device'; exit 1", "full")
    full = replace(settings, compiler=str(cc))
    for seconds, runs in ((0, 1), (1, 1), (5, 2), (9, 2), (6, 3)):
        now[0] += seconds
        key = make_key(f"k{now[0]}")
        assert failing(build(key, emit(key), full, lambda: now[0])) is FailureClass.IO
        assert compiles(log) == runs


def test_a_failing_key_is_not_compiled_at_each_call(
    settings: ProcessSettings, tmp_path: Path
) -> None:
    log, now = tmp_path / "log", [0.0]
    cc = fake_cc(tmp_path, f"echo x >> {log}; exit 1", "bad")
    bad = replace(settings, compiler=str(cc))
    cache = KernelCache(lambda: now[0])
    for _ in range(1000):
        now[0] += 0.06
        cache.get_or_build(KEY.digest, lambda: build(KEY, emit(), bad))
    assert compiles(log) == 2


@pytest.mark.parametrize("text", ["{cc}; touch {m}", "{cc} $(touch {m})", "{cc} '`touch {m}`'"])
def test_shell_text_is_never_run(
    settings: ProcessSettings, tmp_path: Path, recorded: Recorded, text: str
) -> None:
    marker = tmp_path / "marker"
    hostile = text.format(cc=recorded[0], m=marker)
    assert isinstance(build(KEY, emit(), replace(settings, compiler=hostile)), Failure)
    flags = replace(settings, cflags=f"-DX=$(touch {marker}) ; touch {marker}")
    build(KEY, emit(), flags)
    assert not marker.exists()


def test_refused_flags_are_a_failure_that_needs_no_compiler(settings: ProcessSettings) -> None:
    for cc in (settings.compiler, "no-such-compiler"):
        refused = replace(settings, compiler=cc, cflags="-O2 -march=native")
        assert failing(build(KEY, never, refused)) is FailureClass.BAD_FLAGS


def test_flags_of_the_user_reach_the_compiler_and_the_key(settings: ProcessSettings) -> None:
    key = make_key("k", ("-DFORTY_TWO=42",))
    assert key.digest != KEY.digest
    flagged = replace(settings, cflags="-DFORTY_TWO=42")
    assert works(build(key, lambda: c_text(key).replace("+ 7", "+ FORTY_TWO"), flagged), 42)


def test_without_a_compiler_the_disk_still_serves(
    settings: ProcessSettings, recorded: Recorded
) -> None:
    build(KEY, emit(), settings)
    without = replace(settings, compiler="no-such-compiler")
    assert works(build(KEY, never, without))
    assert failing(build(make_key("new"), never, without)) is FailureClass.NO_CC


def test_a_replaced_compiler_compiles_anew(
    settings: ProcessSettings, tmp_path: Path, recorded: Recorded
) -> None:
    assert works(build(KEY, emit(), settings))
    recording_cc(tmp_path, "# another version")
    assert works(build(KEY, emit(value=8), settings), 8)
    assert compiles(recorded[1]) == 2


@pytest.mark.parametrize(
    ("text", "compiled"),
    [
        ("/" * (5 << 20), False),
        ("int x = " + "(" * 1001 + "0" + ")" * 1001 + ";", False),
        ("int f(int a) { return " + "-(a + " * 1000 + "1" + ")" * 1000 + "; }", False),
        ("int x[2000] = {" + "(0), " * 2000 + "};", True),
    ],
    ids=["long", "deep", "deep expression", "broad"],
)
def test_text_that_compilers_crash_on_is_not_compiled(
    settings: ProcessSettings, recorded: Recorded, text: str, compiled: bool
) -> None:
    entry = build(KEY, lambda: f"{text}\n{c_text(KEY)}", settings)
    assert works(entry) if compiled else failing(entry) is FailureClass.TOO_BIG
    assert compiles(recorded[1]) == compiled


def test_a_lock_that_is_never_free_ends_in_a_failure(
    settings: ProcessSettings, tmpdir_: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmpdir_))
    assert store is not None
    monkeypatch.setattr(build_module, "LOCK_MERCY", 0.0)
    with store.lock(KEY, 0.0):
        waiting = replace(settings, compile_timeout=0.2)
        assert failing(build(KEY, never, waiting)) is FailureClass.LOCK_WAIT
    assert works(build(KEY, emit(), settings))


def test_an_entry_published_while_waiting_is_read(
    settings: ProcessSettings, monkeypatch: pytest.MonkeyPatch, recorded: Recorded
) -> None:
    build(KEY, emit(), settings)
    read, misses = Store.read, [None]

    def late(self: Store, key: CacheKey, compiler: str | None):
        return misses.pop() if misses else read(self, key, compiler)

    monkeypatch.setattr(Store, "read", late)
    kernel = build(KEY, never, settings)
    assert works(kernel)
    assert compiles(recorded[1]) == 1


def test_a_kernel_that_cannot_be_kept_works_all_the_same(
    settings: ProcessSettings, tmpdir_: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    build(make_key("first"), emit(make_key("first")), settings)
    monkeypatch.setattr(disk.os, "rename", full)
    kernel = build(KEY, emit(), settings)
    assert works(kernel)
    assert isinstance(kernel, LoadedKernel)
    assert kernel.path is None
    assert not list(tmpdir_.glob("*/v1/t/*"))


@pytest.mark.parametrize("place", ["compile_image", "open_store", "find_compiler", "load"])
def test_an_error_of_the_system_anywhere_is_a_failure(
    settings: ProcessSettings, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(build_module, place, broken)
    assert failing(build(KEY, emit(), settings)) is FailureClass.IO


def test_windows_has_no_native_kernels(
    settings: ProcessSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module.os, "name", "nt")
    failure = build(KEY, never, settings)
    monkeypatch.undo()
    assert failing(failure) is FailureClass.UNSUPPORTED_PLATFORM


def test_no_directory_is_a_failure(
    settings: ProcessSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "open_store", lambda tmpdir: None)
    assert failing(build(KEY, never, settings)) is FailureClass.CACHE_DIR


def test_the_cache_may_vanish_at_any_time(
    settings: ProcessSettings, tmpdir_: Path, recorded: Recorded
) -> None:
    kernels = []
    for _ in range(3):
        kernels.append(build(KEY, emit(), settings))
        shutil.rmtree(tmpdir_ / "miniexpr-jit")
    assert all(works(kernel) for kernel in kernels)
    assert compiles(recorded[1]) == 3


def test_a_cache_that_vanishes_while_the_compiler_runs_does_no_harm(
    settings: ProcessSettings, tmp_path: Path, tmpdir_: Path
) -> None:
    cc = fake_cc(tmp_path, f'rm -rf {tmpdir_}/miniexpr-jit; exec {REAL_CC} "$@"', "rm")
    rude = replace(settings, compiler=str(cc))
    assert works(build(KEY, emit(), rude)) or failing(build(KEY, emit(), rude))
    assert works(build(KEY, emit(), settings))


def test_a_forked_child_builds_and_its_parent_still_works(
    settings: ProcessSettings, recorded: Recorded
) -> None:
    kernel, other = build(KEY, emit(), settings), make_key("other")
    child = start_child(lambda: works(kernel) and works(build(other, emit(other), settings)))
    assert exit_code(child) == 0
    assert works(kernel)
    assert works(build(other, never, settings))
    assert compiles(recorded[1]) == 2


def test_a_fork_while_other_threads_hold_every_lock_leaves_the_child_free(
    settings: ProcessSettings,
) -> None:
    with toolchain._probing, disk._opening:
        child = start_child(lambda: works(build(KEY, emit(), settings)))
    assert exit_code(child) == 0


def test_a_worker_killed_by_its_compiler_delays_nobody(tmpdir_: Path, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    body = f"[ -e {flag} ] || {{ touch {flag}; kill -9 $(ps -o ppid= $PPID); exit 1; }}"
    cc, _ = recording_cc(tmp_path, body)
    first = start_worker(tmpdir_, str(cc), "k")
    first.communicate(timeout=30)
    assert first.returncode == -9
    assert answers(start_worker(tmpdir_, str(cc), "k")) == [{"origin": "compiled", "right": True}]


def test_under_umask_0_nothing_is_writable_for_others(
    settings: ProcessSettings, tmpdir_: Path
) -> None:
    before = os.umask(0)
    try:
        assert works(build(KEY, emit(), settings))
    finally:
        os.umask(before)
    assert not [p for p in tmpdir_.rglob("*") if stat.S_IMODE(p.stat().st_mode) & 0o077]
