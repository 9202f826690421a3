"""Disks, limits, compilers and clocks that misbehave: a kernel or a failure, never an exception."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from runtime_kit import (
    NO_MOUNTS,
    NOT_ROOT,
    REAL_CC,
    answers,
    c_text,
    compiles,
    exit_code,
    fake_cc,
    make_key,
    mount,
    recording_cc,
    start_child,
    start_worker,
    with_own_mounts,
    works,
)

from mexdask.runtime import build as build_module
from mexdask.runtime import disk, toolchain
from mexdask.runtime.build import build
from mexdask.runtime.failure import Failure, FailureClass
from mexdask.runtime.load import LoadedKernel
from mexdask.runtime.memory import KernelCache, Outcome
from mexdask.settings import ProcessSettings

KEY = make_key()
Recorded = tuple[str, Path]


def built(settings: ProcessSettings, name: str = "k") -> LoadedKernel | Failure:
    """Build a key as a process does that has just begun."""
    disk._stores.clear()
    key = make_key(name)
    return build(key, lambda: c_text(key), settings)


def usable(entry: LoadedKernel | Failure) -> bool:
    """Tell whether an entry is right, or a reason for the interpreter that will be tried again."""
    lasting = (FailureClass.UNSUPPORTED, FailureClass.TOO_BIG, FailureClass.BAD_FLAGS)
    return works(entry) or (isinstance(entry, Failure) and entry.kind not in lasting)


def mounted(work: Callable[[], object]) -> None:
    """Run in a child with mounts of its own; skip where that is not allowed."""
    code = exit_code(with_own_mounts(work))
    if code == NO_MOUNTS:
        pytest.skip("no mount namespaces here")
    assert code == 0


# Disks --------------------------------------------------------------------------------------------


@NOT_ROOT
def test_a_disk_that_runs_no_programs_is_good_enough(
    settings: ProcessSettings, recorded: Recorded
) -> None:
    def work() -> bool:
        mount("-t", "tmpfs", "-o", "noexec,nosuid,nodev", "none", settings.tmpdir)
        return works(built(settings)) and works(built(settings)) and compiles(recorded[1]) == 1

    mounted(work)


@NOT_ROOT
def test_an_empty_disk_that_cannot_be_written(
    settings: ProcessSettings, recorded: Recorded
) -> None:
    def work() -> bool:
        mount("-t", "tmpfs", "-o", "ro", "none", settings.tmpdir)
        return works(built(settings))

    mounted(work)


@NOT_ROOT
def test_a_full_cache_that_cannot_be_written_is_read(
    settings: ProcessSettings, recorded: Recorded
) -> None:
    def work() -> bool:
        mount("-t", "tmpfs", "none", settings.tmpdir)
        assert works(built(settings))
        mount("-o", "remount,ro", settings.tmpdir)
        assert works(built(settings))
        assert compiles(recorded[1]) == 1
        return works(built(settings, "another")) and compiles(recorded[1]) == 2

    mounted(work)


@NOT_ROOT
@pytest.mark.parametrize(
    "options",
    [*(f"size={n}k" for n in (4, 16, 24, 40, 64)), *(f"nr_inodes={n}" for n in (1, 2, 8, 12, 14))],
)
def test_a_disk_without_room(settings: ProcessSettings, options: str) -> None:
    def work() -> bool:
        mount("-t", "tmpfs", "-o", options, "none", settings.tmpdir)
        entries = [built(settings, f"k{i}") for i in range(3)]
        assert all(map(usable, entries)), entries
        mount("-t", "tmpfs", "none", settings.tmpdir)
        build_module._pauses.clear()
        return works(built(settings))

    mounted(work)


@pytest.mark.parametrize(
    ("what", "most"),
    [
        *((resource.RLIMIT_FSIZE, n) for n in (0, 8, 8192)),
        *((resource.RLIMIT_NOFILE, n) for n in (3, 8, 12, 16)),
        (resource.RLIMIT_NPROC, 0),
    ],
)
def test_limits_of_the_process(settings: ProcessSettings, what: int, most: int) -> None:
    def work() -> bool:
        os.closerange(3, 256)
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most, hard))
        strict = built(settings)
        resource.setrlimit(what, (hard, hard))
        build_module._pauses.clear()
        toolchain._known.clear()
        return usable(strict) and works(built(settings))

    assert exit_code(start_child(work)) == 0


# Compilers ----------------------------------------------------------------------------------------

MISCHIEF = {
    "sparse": "truncate -s 8G k.so",
    "large": "head -c 99000000 /dev/zero > k.so",
    "talkative": "yes | head -c 64000000 >&2; exit 1",
    "bad text": "head -c 100000 /dev/urandom >&2; exit 1",
}


def test_output_of_compilers_takes_little_memory(settings: ProcessSettings, tmp_path: Path) -> None:
    def work() -> bool:
        assert works(built(settings))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for name, body in MISCHIEF.items():
            bad = replace(settings, compiler=str(fake_cc(tmp_path, body, name)))
            entry = built(bad, name)
            assert isinstance(entry, Failure), name
            assert len(entry.message) < 17_000
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10

    assert exit_code(start_child(work)) == 0


def test_a_compiler_that_stops_itself_is_killed(settings: ProcessSettings, tmp_path: Path) -> None:
    cc = fake_cc(tmp_path, "kill -STOP $$")
    entry = built(replace(settings, compiler=str(cc), compile_timeout=0.5))
    assert isinstance(entry, Failure)
    assert entry.kind is FailureClass.CC_TIMEOUT


def test_a_compiler_that_was_broken_for_a_moment_is_tried_by_the_next_process(
    tmpdir_: Path, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    cc, _ = recording_cc(tmp_path, f"[ -e {flag} ] || {{ touch {flag}; exit 1; }}")
    said = [answers(start_worker(tmpdir_, str(cc), "k"))[0] for _ in range(2)]
    assert [answer["origin"] for answer in said] == ["cc-error", "compiled"]


def test_other_flags_compile_anew_and_the_old_ones_are_found_again(
    settings: ProcessSettings, recorded: Recorded
) -> None:
    runs = []
    for flags in ((), ("-DX",), (), ("-DX",)):
        key = make_key("k", flags)
        flagged = replace(settings, cflags=" ".join(flags))
        assert works(build(key, lambda key=key: c_text(key), flagged))
        runs.append(compiles(recorded[1]))
    assert runs == [1, 2, 2, 2]


def test_others_answer_while_the_owner_of_a_lock_is_stopped(
    settings: ProcessSettings,
    tmpdir_: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = tmp_path / "began"
    slow = fake_cc(tmp_path, f'touch {began}; sleep 0.5; exec {REAL_CC} "$@"', "slow")
    owner = start_worker(tmpdir_, str(slow), "k")
    try:
        while not began.exists():
            time.sleep(0.01)
        os.kill(owner.pid, signal.SIGSTOP)
        monkeypatch.setattr(build_module, "LOCK_MERCY", 0.0)
        entry = built(replace(settings, compile_timeout=0.2))
        assert isinstance(entry, Failure)
        assert entry.kind is FailureClass.LOCK_WAIT
    finally:
        os.kill(owner.pid, signal.SIGCONT)
    assert answers(owner) == [{"origin": "compiled", "right": True}]


# Locks and clocks ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broken_flock(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library for LD_PRELOAD whose flock fails as the environment says."""
    text = """
        #include <errno.h>
        #include <stdlib.h>
        #include <unistd.h>
        int flock(int fd, int operation) {
            int code = atoi(getenv("FLOCK_ERROR"));
            if (code < 0) for (;;) pause();
            errno = code;
            return -1;
        }
    """
    path = tmp_path_factory.mktemp("preload") / "flock.so"
    command = [REAL_CC, "-shared", "-fPIC", "-o", str(path), "-x", "c", "-"]
    subprocess.run(command, input=text.encode(), check=True)
    return str(path)


def broken_locks(tmpdir: Path, cc: str, library: str, error: int, **environ: str) -> list[object]:
    """Build a key in three processes whose locks fail; return what they answered."""
    at = time.time() + 1.5
    environ = {"LD_PRELOAD": library, "FLOCK_ERROR": str(error)} | environ
    workers = [start_worker(tmpdir, cc, "k", at=at, **environ) for _ in range(3)]
    return [answers(worker)[0] for worker in workers]


@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is of Linux")
@pytest.mark.parametrize("error", [37, 5], ids=["ENOLCK", "EIO"])
def test_without_locks_every_process_compiles_at_most_once(
    tmpdir_: Path, recorded: Recorded, broken_flock: str, error: int
) -> None:
    said = broken_locks(tmpdir_, recorded[0], broken_flock, error)
    assert all(answer["right"] for answer in said)  # type: ignore[index]
    assert 1 <= compiles(recorded[1]) <= 3


@pytest.mark.stress
@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is of Linux")
@pytest.mark.parametrize("error", [4, -1], ids=["EINTR", "hangs"])
def test_locks_that_never_answer_end_in_the_interpreter(
    tmpdir_: Path, recorded: Recorded, broken_flock: str, error: int
) -> None:
    said = broken_locks(tmpdir_, recorded[0], broken_flock, error, COMPILE_TIMEOUT="1")
    assert [answer["origin"] for answer in said] == ["lock-wait"] * 3  # type: ignore[index]
    assert compiles(recorded[1]) == 0


@pytest.mark.parametrize("years", [-1, 1])
def test_the_calendar_does_not_touch_a_cooldown(
    monkeypatch: pytest.MonkeyPatch, settings: ProcessSettings, tmp_path: Path, years: int
) -> None:
    log, now = tmp_path / "log", time.time()
    bad = replace(settings, compiler=str(fake_cc(tmp_path, f"echo x >> {log}; exit 1", "bad")))
    cache = KernelCache()
    outcomes = []
    for offset in (0, years, 0):
        monkeypatch.setattr(time, "time", lambda offset=offset: now + offset * 31_536_000.0)
        found = cache.get_or_build(KEY.digest, lambda: build(KEY, lambda: c_text(KEY), bad))
        outcomes.append(found[1])
        assert works(built(settings, "good"))
    assert outcomes == [Outcome.BUILT, Outcome.NEGATIVE, Outcome.NEGATIVE]
    assert compiles(log) == 1


# Processors ---------------------------------------------------------------------------------------


@pytest.mark.stress
@pytest.mark.skipif(not shutil.which("qemu-x86_64-static"), reason="qemu-user is not installed")
def test_an_old_processor_gets_code_of_its_own(tmpdir_: Path, settings: ProcessSettings) -> None:
    """Under emulation /proc/cpuinfo shows the host's features, CPUID the emulated ones."""
    assert works(built(settings))
    kit = str(Path(__file__).with_name("runtime_kit.py"))
    command = ["qemu-x86_64-static", "-cpu", "Nehalem", sys.executable, kit, str(tmpdir_), REAL_CC]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*command, "0", "k"], capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    assert '"origin": "compiled", "right": true' in done.stdout
    entries = list((tmpdir_ / "miniexpr-jit" / "v1" / "e").glob("*/*"))
    assert len(entries) == 2
