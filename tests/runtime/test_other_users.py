"""Other users of the machine who can write where the cache is to be: none of their code runs."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from runtime_kit import (
    NOT_ROOT,
    REAL_CC,
    as_user,
    c_text,
    exit_code,
    make_key,
    only_entry,
    quarantined,
    start_child,
    works,
)

from mexdask.runtime import disk
from mexdask.runtime.build import build
from mexdask.runtime.disk import open_store
from mexdask.runtime.failure import Failure, FailureClass
from mexdask.runtime.key import CacheKey
from mexdask.runtime.load import LoadedKernel
from mexdask.settings import ProcessSettings

pytestmark = [NOT_ROOT, pytest.mark.compiler]
ATTACKER, SOMEBODY = 12345, 54321


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that other users can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="mexdask-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def marker(public: Path) -> Path:
    return public / "marker"


@pytest.fixture
def hostile(public: Path, marker: Path) -> bytes:
    """A shared object that leaves a mark as soon as it is loaded."""
    text = f"""
        #include <fcntl.h>
        __attribute__((constructor)) static void mark(void) {{ creat("{marker}", 0666); }}
    """
    path = public / "hostile.so"
    command = [REAL_CC, "-shared", "-fPIC", "-o", str(path), "-x", "c", "-"]
    subprocess.run(command, input=text.encode(), check=True)
    assert exit_code(start_child(lambda: ctypes.CDLL(str(path)) and marker.exists())) == 0
    marker.unlink()
    image = path.read_bytes()
    path.unlink()
    return image


def shared(public: Path, mode: int) -> Path:
    """A temporary directory for all users."""
    path = public / "tmp"
    path.mkdir()
    path.chmod(mode)
    return path


@contextmanager
def attacked(work: Callable[[], object]) -> Iterator[None]:
    """Let another user do something over and over meanwhile."""

    def for_ever() -> object:
        signal.alarm(100)
        while True:
            with suppress(OSError):
                work()

    child = as_user(ATTACKER, for_ever)
    try:
        yield
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "the attacker is still there"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def victim(tmpdir: Path) -> ProcessSettings:
    return ProcessSettings(path=os.environ["PATH"], tmpdir=str(tmpdir))


def built(key: CacheKey, settings: ProcessSettings) -> LoadedKernel | Failure:
    """Build a key as a process does that has just begun."""
    disk._stores.clear()
    return build(key, lambda: c_text(key), settings)


def replace_all(tmpdir: Path, image: bytes) -> None:
    """Put foreign bytes in the place of every file below a directory, where that is allowed."""
    for directory, _, names in os.walk(tmpdir):
        for name in names:
            path = os.path.join(directory, name)
            with suppress(OSError):
                with open(f"{path}.x", "wb") as file:
                    file.write(image)
                os.rename(f"{path}.x", path)
            with suppress(OSError), open(path, "wb") as file:
                file.write(image)


@pytest.mark.parametrize("mode", [0o777, 0o755])
def test_a_directory_that_somebody_made_first_is_not_used(
    public: Path, marker: Path, hostile: bytes, mode: int
) -> None:
    tmpdir = shared(public, 0o1777)
    theirs = tmpdir / "miniexpr-jit"

    def plant() -> bool:
        for name in ("v1/e", "v1/l", "v1/t", "v1/q", "v1/c"):
            (theirs / name).mkdir(parents=True)
        for path in (theirs, *theirs.rglob("*")):
            path.chmod(mode)
        return True

    assert exit_code(as_user(ATTACKER, plant)) == 0
    before = sorted(theirs.rglob("*"))
    keys = [make_key(str(i)) for i in range(3)]
    with attacked(lambda: replace_all(tmpdir, hostile)):
        kernels = [built(key, victim(tmpdir)) for key in [*keys, *keys]]
    assert all(map(works, kernels))
    origins = [kernel.origin for kernel in kernels if isinstance(kernel, LoadedKernel)]
    assert origins == ["compiled"] * 3 + ["disk"] * 3
    assert not marker.exists()
    assert sorted(theirs.rglob("*")) == before


def exchange(tmpdir: Path, image: bytes) -> None:
    """Rename what is in a directory and put trees full of foreign bytes in its place."""
    for path in list(tmpdir.iterdir()):
        if path.name.startswith("miniexpr-jit") and path.stat().st_uid != ATTACKER:
            entries = [p.relative_to(path) for p in path.glob("v1/e/*/*")]
            path.rename(path.with_name(f"taken-{time.monotonic_ns()}"))
            for entry in entries or [Path("v1/e/00/x.so")]:
                (path / entry).parent.mkdir(parents=True, exist_ok=True)
                (path / entry).write_bytes(image)


def survive_exchanges(public: Path, hostile: bytes, marker: Path, seconds: float) -> int:
    """Build kernels while another user renames our directories; return how many it took away."""
    tmpdir = shared(public, 0o777)
    deadline, round_ = time.monotonic() + seconds, 0
    with attacked(lambda: exchange(tmpdir, hostile)):
        while time.monotonic() < deadline or round_ < 6:
            kernel = built(make_key(str(round_ // 2 % 50)), victim(tmpdir))
            round_ += 1
            assert works(kernel) or isinstance(kernel, Failure)
            assert not marker.exists()
    return len(list(tmpdir.glob("taken-*")))


def test_directories_that_somebody_renames_are_not_used_by_name(
    public: Path, hostile: bytes, marker: Path
) -> None:
    assert survive_exchanges(public, hostile, marker, 0.0) > 0


@pytest.mark.stress
def test_directories_that_somebody_renames_for_a_minute(
    public: Path, hostile: bytes, marker: Path
) -> None:
    assert survive_exchanges(public, hostile, marker, 60.0) > 20


def test_a_root_left_open_to_all_and_poisoned_is_set_aside(
    public: Path, hostile: bytes, marker: Path
) -> None:
    tmpdir = shared(public, 0o1777)
    key = make_key()
    assert works(built(key, victim(tmpdir)))
    for path in (tmpdir / "miniexpr-jit", *(tmpdir / "miniexpr-jit").rglob("*")):
        path.chmod(0o777)

    def poison() -> bool:
        replace_all(tmpdir, hostile)
        return only_entry(tmpdir).read_bytes() == hostile

    assert exit_code(as_user(ATTACKER, poison)) == 0
    assert works(built(key, victim(tmpdir)))
    assert not marker.exists()
    assert len(list(tmpdir.glob("miniexpr-jit.aside-*"))) == 1


def test_a_user_without_a_name_or_a_home_is_served(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmpdir = shared(public, 0o1777)
    for name in ("HOME", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)

    def work() -> bool:
        first, second = (built(make_key(), victim(tmpdir)) for _ in range(2))
        return works(first) and works(second) and second.origin == "disk"  # type: ignore[union-attr]

    assert exit_code(as_user(SOMEBODY, work)) == 0
    assert os.stat(tmpdir / "miniexpr-jit").st_uid == SOMEBODY
    assert works(built(make_key(), victim(tmpdir)))
    assert (tmpdir / "miniexpr-jit-0").is_dir(), "the second user has a directory of its own"


def test_an_entry_that_must_not_be_read_is_replaced(public: Path) -> None:
    tmpdir = shared(public, 0o1777)

    def work() -> bool:
        settings, key = victim(tmpdir), make_key()
        assert works(built(key, settings))
        only_entry(tmpdir).chmod(0)
        assert works(built(key, settings))
        assert works(built(key, settings))
        return quarantined(tmpdir) == 1 and stat.S_IMODE(only_entry(tmpdir).stat().st_mode) == 0o600

    assert exit_code(as_user(SOMEBODY, work)) == 0


def test_where_nothing_may_be_written_the_key_fails_for_a_while(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mexdask.runtime import root

    monkeypatch.setattr(root, "PLACES", ())

    def work() -> bool:
        assert open_store(str(public)) is None
        entry = built(make_key(), victim(public))
        return isinstance(entry, Failure) and entry.kind is FailureClass.CACHE_DIR

    assert exit_code(as_user(SOMEBODY, work)) == 0
