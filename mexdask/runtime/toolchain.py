"""Find the C compiler, know which one it is, and turn C text into the bytes of a shared object."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from mexdask.runtime.entry import Rejected, check_image, read_regular
from mexdask.runtime.failure import Failure, FailureClass, cooldown, io_failure
from mexdask.runtime.key import canonical
from mexdask.runtime.process import ask, finish, limit, spawn
from mexdask.runtime.target import Target, user_flags
from mexdask.settings import ProcessSettings

NAMES = ("cc", "gcc", "clang")
PROBE_SECONDS = 10.0
LONGEST_ANSWER = 64 << 10
LONGEST_LOG = 16 << 10
SMALL_PROGRAM = 1 << 20
LEAST_ROOM = 1 << 20
TIMEOUT_PROGRAM = "/usr/bin/timeout"
TEMPORARY = re.compile(r"\S*/cc\w{6}\.\w+")
NO_SPACE = re.compile(
    "No space left on device|Disk quota exceeded|Read-only file system|File too large"
    "|Input/output error|Too many open files|Stale file handle|Permission denied"
)
NO_MEMORY = re.compile(r"\bKilled\b|[Oo]ut of memory|memory exhausted|Cannot allocate memory")
NOT_RUNNABLE = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.ELOOP)
BROKEN = re.compile("internal compiler error|PLEASE submit a bug report")

Mark = tuple[str, int, int, int, int]
"""A file's real path, size, times of modification and of change, inode; cheap to look at."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """A compiler that answers.

    Parameters
    ----------
    argv : tuple of str
        Absolute path of the program, and the arguments that ``CC`` gives it.
    identity : str
        Digest of all that tells this compiler from another; part of an entry's name.
    version : str
        What it calls itself.
    path : str
        The ``PATH`` it runs with.
    marks : tuple of Mark
        The files that it is made of, as they were when it was asked.
    """

    argv: tuple[str, ...]
    identity: str
    version: str
    path: str
    marks: tuple[Mark | None, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Known:
    """What was found out about a compiler, and until when a failure is believed."""

    answer: Compiler | Failure
    argv0: Mark | None
    until: float

    def holds(self, now: float) -> bool:
        """Tell whether the files are still those that were asked."""
        if isinstance(self.answer, Failure):
            return now < self.until
        return all(m is None or mark(m[0]) == m for m in self.answer.marks)


_known: dict[tuple[tuple[str, ...], tuple[str, ...], str], Known] = {}
_probing = threading.Lock()


def find_compiler(
    settings: ProcessSettings, clock: Callable[[], float] = time.monotonic
) -> Compiler | Failure:
    """Return the compiler of this process's settings, or why there is none.

    It is asked once per process, and again when one of its files changes; what could not be asked
    is believed for the cooldown of ``NO_CC``.

    Parameters
    ----------
    settings : ProcessSettings
        Says ``CC``, ``PATH``, the user's flags and the time limit.
    clock : callable
        Returns monotonic seconds.
    """
    flags = user_flags(settings.cflags)
    if isinstance(flags, Failure):
        return flags
    path = os.pathsep.join(p for p in settings.path.split(os.pathsep) if os.path.isabs(p))
    argv = locate(settings.compiler, path)
    if isinstance(argv, Failure):
        return argv
    asked, argv0 = (argv, flags, path), mark(argv[0])
    if (known := recall(asked, argv0, clock())) is not None:
        return known
    # Bounded: a probe ends in time. Without the lock each thread of a worker would probe.
    locked = _probing.acquire(timeout=2 * PROBE_SECONDS)
    try:
        if (known := recall(asked, argv0, clock())) is None:
            known = probe(argv, flags, path, min(PROBE_SECONDS, settings.compile_timeout))
            if len(_known) >= 64:
                _known.clear()
            _known[asked] = Known(known, argv0, clock() + cooldown(FailureClass.NO_CC, 1))
        return known
    except OSError as error:  # no more files or processes: it says nothing about the compiler
        return io_failure(error, f"asking {argv[0]}")
    finally:
        if locked:
            _probing.release()


def recall(
    asked: tuple[tuple[str, ...], tuple[str, ...], str], argv0: Mark | None, now: float
) -> Compiler | Failure | None:
    """Return what is known about a compiler if it still holds."""
    known = _known.get(asked)
    return known.answer if known and known.argv0 == argv0 and known.holds(now) else None


def locate(text: str, path: str) -> tuple[str, ...] | Failure:
    """Return the words of ``CC``, or of the first usual name on ``PATH``, made absolute."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        return Failure(FailureClass.NO_CC, f"CC={text!r}: {error}")
    for name, *rest in [words] if words else [[name] for name in NAMES]:
        if program := shutil.which(name, path=path):
            return (os.path.abspath(program), *rest)
    wanted = f"CC={text!r}" if words else f"none of {', '.join(NAMES)}"
    return Failure(FailureClass.NO_CC, f"no C compiler: {wanted} is on PATH={path!r}")


def mark(path: str) -> Mark | None:
    """Return what is seen of a file without reading it; None if there is no such file."""
    try:
        real = os.path.realpath(path)
        info = os.stat(real)
    except (OSError, ValueError):
        return None
    return real, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino


def probe(
    argv: tuple[str, ...], flags: tuple[str, ...], path: str, seconds: float
) -> Compiler | Failure:
    """Ask a compiler what it would run, and return it with its identity."""
    questions = [[*argv, f"-print-prog-name={name}"] for name in ("as", "ld")]
    questions.append([*argv, *flags, "-###", "-E", "-x", "c", "/dev/null"])
    try:
        *programs, plan = ask(questions, path, seconds, LONGEST_ANSWER)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in NOT_RUNNABLE:
            raise
        return Failure(FailureClass.NO_CC, f"{argv[0]} cannot be run: {error}")
    if plan.code != 0:
        how = f"no answer within {seconds:g} s" if plan.code is None else f"exit code {plan.code}"
        text = f"{' '.join(argv)} does not say what it would run: {how}\n{plan.text}"
        return Failure(FailureClass.NO_CC, text[:LONGEST_LOG])
    lines = plan.text.splitlines()
    version = next((line.strip() for line in lines if " version " in line), "unknown")
    # The last line that names a program: cc1 of gcc, `clang -cc1` of clang.
    command = next((line for line in reversed(lines) if re.match(r' "?/', line)), "")
    cc1 = re.findall(r'^ "?(/[^"\s]+)', command)
    files = [argv[0], *cc1, *(shutil.which(p.text.strip(), path=path) or "" for p in programs)]
    marks = tuple(map(mark, files))
    stable = [m and m[:3] for m in marks]  # what containers of one image have in common
    command = TEMPORARY.sub("", command)
    # Neither PATH nor the spelling of the program: processes that differ in them share entries.
    seen = [argv[1:], flags, stable, small_digest(argv[0]), version, command]
    return Compiler(argv, hashlib.sha256(canonical(seen)).hexdigest(), version, path, marks)


def small_digest(path: str) -> str:
    """Return the digest of a small program (a wrapper script, say), nothing for a large one."""
    with suppress(OSError):
        if os.path.getsize(path) < SMALL_PROGRAM:
            with open(path, "rb") as file:
                return hashlib.sha256(file.read(SMALL_PROGRAM)).hexdigest()
    return ""


def compile_image(
    compiler: Compiler, c_text: str, target: Target, staging_dir: str, timeout: float
) -> bytes | Failure:
    """Compile C text and return the bytes of the shared object, checked but not yet loaded.

    Parameters
    ----------
    compiler : Compiler
        What ``find_compiler`` found.
    c_text : str
        A whole translation unit.
    target : Target
        Has the flags.
    staging_dir : str
        An empty directory of our own; the compiler works in it and puts its own files there.
    timeout : float
        Seconds until the compiler and all its children are killed.
    """
    source, log = os.path.join(staging_dir, "k.c"), os.path.join(staging_dir, "log")
    try:
        with open(source, "xb", opener=ours_alone) as file:
            file.write(c_text.encode())
        code = run(compiler, target, staging_dir, log, timeout)
        if isinstance(code, Failure):
            return code
        if code != 0:
            with open(log, "rb") as file:
                text = file.read(LONGEST_LOG).decode(errors="replace")
            kind = classify(code, text)
            if kind is FailureClass.CC_ERROR and not has_room(staging_dir, source):
                kind = FailureClass.IO
            return Failure(kind, said(code, text))
        image, _ = read_regular(os.path.join(staging_dir, "k.so"))
        check_image(image)
    except Rejected as error:
        return Failure(FailureClass.BAD_OBJECT, f"{compiler.argv[0]} made no kernel: {error}")
    except FileNotFoundError as error:
        return Failure(FailureClass.BAD_OBJECT, f"{compiler.argv[0]} made nothing: {error}")
    except OSError as error:
        return io_failure(error, "compiling")
    return image


def run(
    compiler: Compiler, target: Target, staging_dir: str, log: str, timeout: float
) -> int | Failure | None:
    """Run the compiler on ``k.c``; return its exit code, None when its time was over."""
    argv = [*compiler.argv, "-o", "k.so", "k.c", *target.flags]
    if os.path.exists(TIMEOUT_PROGRAM):
        # So that a compiler that hangs ends even when this process has been killed meanwhile.
        argv = [TIMEOUT_PROGRAM, "-s", "KILL", f"{timeout + 5:.0f}", *argv]
    deadline = time.monotonic() + timeout
    with open(log, "xb", opener=ours_alone) as output:
        try:
            process = spawn(argv, compiler.path, staging_dir, output, tmpdir=".")
        except OSError as error:
            if error.errno not in NOT_RUNNABLE:
                raise
            return Failure(FailureClass.NO_CC, f"{compiler.argv[0]} cannot be run: {error}")
    limit(process.pid, timeout)
    return finish(process, deadline)


def ours_alone(path: str, flags: int) -> int:
    """Open a new file for us alone, whatever the umask."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def classify(code: int | None, log: str) -> FailureClass:
    """Return what kind of failure a compiler's exit code and words mean."""
    if code is None or code == -signal.SIGXCPU or "CPU time limit exceeded" in log:
        return FailureClass.CC_TIMEOUT
    if code in (-signal.SIGKILL, 137) or NO_MEMORY.search(log):
        return FailureClass.KILLED
    if code in (126, 127):
        return FailureClass.NO_CC
    if NO_SPACE.search(log):
        return FailureClass.IO
    if code < 0 or code == 4 or code >= 128 or BROKEN.search(log):
        return FailureClass.CC_ICE
    return FailureClass.CC_ERROR


def has_room(staging_dir: str, source: str) -> bool:
    """Tell whether the text is still there and the disk is not full: a full one eats the log."""
    room = os.statvfs(staging_dir)
    enough = room.f_bavail * room.f_frsize >= LEAST_ROOM and (room.f_favail or not room.f_files)
    return os.path.exists(source) and bool(enough)


def said(code: int | None, log: str) -> str:
    """Return a compiler's last words with how it ended."""
    how = "was stopped: its time was over" if code is None else f"ended with code {code}"
    return f"the C compiler {how}\n{log}".rstrip()


def _after_fork() -> None:
    """Give a forked child its own mutex: its parent's may be held by a thread it lacks."""
    global _probing
    _probing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
