"""What the tests of the runtime share: small keys, hand-written C, compilers that misbehave.

Run as a program it is another process of the same user: it builds keys and prints what came out.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

import mexdask.runtime.build as build_module
from mexdask.runtime.build import build
from mexdask.runtime.key import CacheKey
from mexdask.runtime.load import LoadedKernel
from mexdask.runtime.target import host_target
from mexdask.settings import ProcessSettings

REPOSITORY = Path(build_module.__file__).parents[2]
REAL_CC = "/usr/bin/cc"
NO_MOUNTS = 77
NOT_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def make_key(name: str = "k", user_flags: tuple[str, ...] = ()) -> CacheKey:
    return CacheKey(name, ("float64", "float64"), "1", host_target("strict", user_flags))


def c_text(key: CacheKey, value: int = 7, extra: str = "") -> str:
    """C whose entry returns the first byte it is given plus a value."""
    public = '__attribute__((visibility("default")))'
    return (
        f'{extra}\n{public} const char me_key[65] = "{key.digest}";\n'
        f"{public} int {key.symbol}(const char *call) {{ return call[0] + {value}; }}\n"
    )


def works(entry: object, value: int = 7) -> bool:
    """Tell whether an entry is a kernel that gives the right answer."""
    return isinstance(entry, LoadedKernel) and entry.call(b"\x03") == 3 + value


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def fake_cc(directory: Path, body: str, name: str = "fakecc") -> Path:
    """A compiler that answers probes as the real one does and compiles as ``body`` says."""
    probes = f'case "$*" in *-print-prog-name*|*"-###"*) exec {REAL_CC} "$@";; esac'
    return script(directory / name, f"{probes}\n{body}")


def recording_cc(directory: Path, body: str = "") -> tuple[Path, Path]:
    """The real compiler, with a line in a log for each compile."""
    log = directory / "compiles"
    log.touch()
    return fake_cc(directory, f'echo x >> "{log}"\n{body}\nexec {REAL_CC} "$@"', "cc"), log


def compiles(log: Path) -> int:
    return len(log.read_text().splitlines())


def worker_env(**extra: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **extra}


def start_worker(
    tmpdir: Path, cc: str, *names: str, at: float = 0.0, **environ: str
) -> subprocess.Popen[str]:
    """Another process that builds the named keys, from the same instant on if ``at`` is given."""
    return subprocess.Popen(
        [sys.executable, __file__, str(tmpdir), cc, str(at), *names],
        stdout=subprocess.PIPE,
        text=True,
        env=worker_env(**environ),
    )


def answers(worker: subprocess.Popen[str]) -> list[dict[str, object]]:
    text, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    found: list[dict[str, object]] = json.loads(text)
    return found


def only_entry(tmpdir: Path) -> Path:
    (path,) = (tmpdir / "miniexpr-jit" / "v1" / "e").glob("*/*")
    return path


def quarantined(tmpdir: Path) -> int:
    return len(list((tmpdir / "miniexpr-jit" / "v1" / "q").glob("*.so")))


def in_threads(count: int, work: object) -> list[object]:
    """Call ``work(i)`` in so many threads at once and return what they returned."""
    results: list[object] = [None] * count
    barrier = threading.Barrier(count)

    def one(i: int) -> None:
        barrier.wait()
        results[i] = work(i)  # type: ignore[operator]

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def start_child(work: Callable[[], object]) -> int:
    """Fork a child that ends with 0 if ``work()`` is true, and in any case soon."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        code = 2
        try:
            code = 0 if work() else 1
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def crowd(count: int, work: Callable[[int], object], seconds: int = 60) -> list[object]:
    """Call ``work(i)`` in so many forked processes at one instant; return what each returned.

    None stands for one that was killed or did not end in time.
    """
    wait, go = os.pipe()
    readers = []
    for i in range(count):
        reader, writer = os.pipe()
        if os.fork() == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(seconds)
            try:
                os.close(go)
                os.read(wait, 1)
                os.write(writer, json.dumps(work(i)).encode())
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(writer)
        readers.append(reader)
    os.close(wait)
    os.close(go)
    said = []
    for reader in readers:
        with open(reader, "rb") as file:
            said.append(file.read())
    for _ in readers:
        os.wait()
    return [json.loads(text) if text else None for text in said]


def as_user(uid: int, work: Callable[[], object]) -> int:
    """Fork a child of another user that ends with 0 if ``work()`` is true."""

    def other() -> object:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        return work()

    return start_child(other)


def with_own_mounts(work: Callable[[], object]) -> int:
    """Fork a child whose mounts nobody else sees; it ends with 0 if ``work()`` is true."""

    def apart() -> object:
        libc = ctypes.CDLL(None, use_errno=True)
        new_namespace, private_and_recursive = 0x00020000, 0x44000
        if libc.unshare(new_namespace) or libc.mount(
            b"none", b"/", None, private_and_recursive, None
        ):
            os._exit(NO_MOUNTS)
        return work()

    return start_child(apart)


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(tmpdir: str, cc: str, at: str, *names: str) -> None:
    settings = ProcessSettings(
        compiler=cc,
        path=os.environ["PATH"],
        tmpdir=tmpdir,
        compile_timeout=float(os.environ.get("COMPILE_TIMEOUT", "30")),
    )
    time.sleep(max(0.0, float(at) - time.time()))
    found = []
    for name in names:
        key = make_key(name)
        entry = build(key, lambda key=key: c_text(key), settings)
        origin = entry.origin if isinstance(entry, LoadedKernel) else entry.kind.value
        found.append({"origin": origin, "right": works(entry)})
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
