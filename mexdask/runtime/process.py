"""Run a foreign program within bounds: no shell, clean environment, time limit, no survivors."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

try:
    import resource
except ImportError:  # Windows, where nothing is compiled
    resource = None  # type: ignore[assignment]

LARGEST_FILE = 64 << 20
MERCY = 5.0
LONGEST_START = 2.0
LIMITS_PROGRAM, TIMEOUT_PROGRAM = "/usr/bin/prlimit", "/usr/bin/timeout"


# Whoever starts a program reads a pipe until it has begun. A child that another thread forks
# meanwhile keeps the pipe open, and would be waited for: hence a fork waits for the start, and
# a start for the fork. Either lasts milliseconds, so that a wait of LONGEST_START tells of
# somebody who will not come back: Ctrl-C between two lines, a disk that does not answer.
_starting = threading.Lock()
_fork = threading.local()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Parameters
    ----------
    code : int or None
        Its exit code, negative for a signal; None if it had to be stopped.
    text : str
        The beginning of what it said.
    """

    code: int | None
    text: str


def run(
    argv: Sequence[str], environ: Mapping[str, str], directory: str, seconds: float, most: int
) -> Ended:
    """Run a program and everything it starts to their end, by force if need be.

    Parameters
    ----------
    argv : sequence of str
        The program and its arguments; there is no shell.
    environ : mapping of str to str
        What the program sees as its environment, beside a locale and ``TMPDIR``.
    directory : str
        Where it works and has its temporary files.
    seconds : float
        How long it may take.
    most : int
        How many bytes of what it says are kept.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    with unnamed_file() as output:
        with turn_to_start():
            process = subprocess.Popen(
                bounded(argv, seconds),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**environ, "LC_ALL": "C", "TMPDIR": "."},
                start_new_session=True,
                umask=0o077,
            )
        code = finish(process, time.monotonic() + seconds)
        output.seek(0)
        return Ended(code, output.read(most).decode(errors="replace"))


@contextmanager
def turn_to_start() -> Iterator[None]:
    """Keep other threads from forking for a while, and from starting programs."""
    global _starting
    mutex = _starting
    held = mutex.acquire(timeout=LONGEST_START)
    if not held:
        _starting = threading.Lock()  # so that only one waits in vain
    try:
        yield
    finally:
        if held:
            mutex.release()


def unnamed_file() -> IO[bytes]:
    """Return a file for a program's words: in memory if possible, as a full disk would eat them."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("mexdask-log", os.MFD_CLOEXEC), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def bounded(argv: Sequence[str], seconds: float) -> list[str]:
    """Return a command whose bounds hold from its first instant, and without this process too."""
    front: list[str] = []
    if os.path.exists(LIMITS_PROGRAM):
        bounds = {"fsize": LARGEST_FILE, "cpu": int(seconds + MERCY), "core": 0}
        for name, most in bounds.items():
            _, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))
            if hard != resource.RLIM_INFINITY:
                most = min(most, hard)
            front.append(f"--{name}={most}:{most}")
        front.insert(0, LIMITS_PROGRAM)
    if os.path.exists(TIMEOUT_PROGRAM):
        # So that a compiler that hangs ends even when this process has been killed meanwhile.
        front += [TIMEOUT_PROGRAM, "-s", "KILL", f"{seconds + MERCY:.0f}"]
    return [*front, *argv]


def finish(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    """Wait until a program ends or its time is over, then kill all that is left of its group."""
    try:
        ended = wait_for_end(process, deadline)
    finally:
        # Not yet reaped where pidfd works, so that the group's number cannot be another's by now.
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    try:
        code = process.wait(MERCY)
    except subprocess.TimeoutExpired:
        return None
    return code if ended else None


def wait_for_end(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Wait without reaping if possible; tell whether the program ended in time."""
    remaining = max(deadline - time.monotonic(), 0.0)
    try:
        pidfd = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # macOS, old kernels, or reaped by somebody else
        with suppress(subprocess.TimeoutExpired):
            process.wait(remaining)
        return process.returncode is not None
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(remaining * 1000))
    finally:
        os.close(pidfd)


def _before_fork() -> None:
    """Wait, but not for ever, until no program is being started."""
    _fork.turn = None  # if Ctrl-C ends the wait
    turn = turn_to_start()
    turn.__enter__()
    _fork.turn = turn


def _after_fork_in_parent() -> None:
    """Let programs be started again."""
    if _fork.turn:
        _fork.turn.__exit__(None, None, None)


def _after_fork_in_child() -> None:
    """Give a forked child its own mutex: its parent's may be held by a thread it lacks."""
    global _starting
    _starting = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
