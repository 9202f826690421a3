"""Run a foreign program within bounds: no shell, clean environment, time limit, no survivors."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

try:
    import resource
except ImportError:  # Windows, where nothing is compiled
    resource = None  # type: ignore[assignment]

LARGEST_FILE = 64 << 20
MERCY = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said; ``code`` is None if it had to be stopped."""

    code: int | None
    text: str


def spawn(
    argv: Sequence[str], path: str, cwd: str, output: int | IO[bytes], tmpdir: str = "/tmp"
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own; of our environment it sees ``PATH`` alone."""
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env={"PATH": path, "LC_ALL": "C", "TMPDIR": tmpdir},
        start_new_session=True,
        umask=0o077,
    )


def limit(pid: int, seconds: float) -> None:
    """Bound what a program started just now, and its children to come, may use."""
    if not hasattr(resource, "prlimit"):
        return
    bounds = (
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_CPU, int(seconds) + 5),
        (resource.RLIMIT_CORE, 0),
    )
    for what, most in bounds:
        with suppress(OSError, ValueError):
            _, hard = resource.prlimit(pid, what)
            if hard != resource.RLIM_INFINITY:
                most = min(most, hard)
            resource.prlimit(pid, what, (most, most))


def finish(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    """Wait until a program ends or its time is over, then kill all that is left of its group."""
    if process.returncode is not None:
        return process.returncode
    ended = wait_for_end(process, deadline)
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
        try:
            process.wait(remaining)
        except subprocess.TimeoutExpired:
            return False
        return True
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(remaining * 1000))
    finally:
        os.close(pidfd)


def ask(argvs: Sequence[Sequence[str]], path: str, seconds: float, most: int) -> list[Answer]:
    """Run short programs side by side and return what each said, in bounded time and memory."""
    deadline = time.monotonic() + seconds
    started: list[subprocess.Popen[bytes]] = []
    answers: list[Answer] = []
    try:
        for argv in argvs:
            started.append(spawn(argv, path, "/", subprocess.PIPE))
        for process in started:
            text = read_until(process, deadline, most)
            code = None if text is None else finish(process, deadline)
            answers.append(Answer(code, text or ""))
    finally:
        for process in started:
            finish(process, deadline=0.0)
            if process.stdout is not None:
                process.stdout.close()
    return answers


def read_until(process: subprocess.Popen[bytes], deadline: float, most: int) -> str | None:
    """Return all a program writes, or None if it is too much or takes too long."""
    assert process.stdout is not None
    fd = process.stdout.fileno()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    data = b""
    while len(data) <= most:
        if not poll.poll(max(deadline - time.monotonic(), 0.0) * 1000):
            return None
        more = os.read(fd, 65536)
        if not more:
            return data.decode(errors="replace")
        data += more
    return None
