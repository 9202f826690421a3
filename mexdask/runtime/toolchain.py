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
from typing import Any

from mexdask.runtime.disk import Store
from mexdask.runtime.entry import Artifact, Rejected, check_image, pack, read_regular, unpack
from mexdask.runtime.failure import Failure, FailureClass, cooldown, io_failure
from mexdask.runtime.key import canonical
from mexdask.runtime.process import Ended, run
from mexdask.runtime.target import Target, user_flags
from mexdask.settings import ProcessSettings

NAMES = ("cc", "gcc", "clang")
PROBE_SECONDS = 10.0
LONGEST_ANSWER = 64 << 10
LONGEST_LOG = 16 << 10
SMALL_PROGRAM = 1 << 20
NOTES_LAST = 86400.0
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

Asked = tuple[tuple[str, ...], tuple[str, ...], str]
"""A compiler's words, the user's flags, and ``PATH``."""


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


_known: dict[Asked, Known] = {}
_probing = threading.Lock()


def find_compiler(
    settings: ProcessSettings,
    clock: Callable[[], float] = time.monotonic,
    store: Store | None = None,
) -> Compiler | Failure:
    """Return the compiler of this process's settings, or why there is none.

    It is asked once a day, and again when one of its files changes; one that could not be asked
    is taken for missing, in this process alone, for the cooldown of ``NO_CC``.

    Parameters
    ----------
    settings : ProcessSettings
        Says ``CC``, ``PATH``, the user's flags and the time limit.
    clock : callable
        Returns monotonic seconds.
    store : Store, optional
        Where processes leave each other what they found out.
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
        if (known := recall(asked, argv0, clock())) is not None:
            return known
        if store is None or (known := remembered(store, asked, argv0)) is None:
            known = probe(argv, flags, path, min(PROBE_SECONDS, settings.compile_timeout))
            if store is not None and isinstance(known, Compiler):
                remember(store, asked, known)
        if len(_known) >= 64:
            _known.clear()
        _known[asked] = Known(known, argv0, clock() + cooldown(FailureClass.NO_CC, 1))
        return known
    except OSError as error:  # no more files or processes: it says nothing about the compiler
        return io_failure(error, f"asking {argv[0]}")
    finally:
        if locked:
            _probing.release()


def recall(asked: Asked, argv0: Mark | None, now: float) -> Compiler | Failure | None:
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
    deadline = time.monotonic() + seconds

    def ask(*question: str) -> Ended:
        left = max(deadline - time.monotonic(), 0.1)
        return run([*argv, *question], path, "/", left, LONGEST_ANSWER)

    try:
        plan = ask(*flags, "-###", "-E", "-x", "c", "/dev/null")
        if plan.code != 0:
            how = "no answer in time" if plan.code is None else f"exit code {plan.code}"
            text = f"{' '.join(argv)} does not say what it would run: {how}\n{plan.text}"
            return Failure(FailureClass.NO_CC, text[:LONGEST_LOG])
        programs = [ask(f"-print-prog-name={name}").text.strip() for name in ("as", "ld")]
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in NOT_RUNNABLE:
            raise
        return Failure(FailureClass.NO_CC, f"{argv[0]} cannot be run: {error}")
    lines = plan.text.splitlines()
    version = next((line.strip() for line in lines if " version " in line), "unknown")
    # The last line that names a program: cc1 of gcc, `clang -cc1` of clang.
    command = next((line for line in reversed(lines) if re.match(r' "?/', line)), "")
    cc1 = re.findall(r'^ "?(/[^"\s]+)', command)
    files = [argv[0], *cc1, *(shutil.which(name, path=path) or "" for name in programs)]
    marks = tuple(map(mark, files))
    stable = [m and m[:3] for m in marks]  # what containers of one image have in common
    command = TEMPORARY.sub("", command)
    # Neither PATH nor the spelling of the program: processes that differ in them share entries.
    seen = [argv[1:], flags, stable, small_digest(argv[0]), version, command]
    return Compiler(argv, hashlib.sha256(canonical(seen)).hexdigest(), version, path, marks)


def remembered(store: Store, asked: Asked, argv0: Mark | None) -> Compiler | None:
    """Return what a process found out about a compiler not long ago, if its files are the same."""
    data = store.note(note_name(asked, argv0), NOTES_LAST)
    try:
        record: Any = unpack(data).record
        marks = tuple(None if m is None else tuple(m) for m in record["marks"])
        same = canonical(record["asked"]) == canonical(asked) and marks[0] == argv0
        if same and all(m is None or mark(m[0]) == m for m in marks):
            return Compiler(
                asked[0], str(record["identity"]), str(record["version"]), asked[2], marks
            )
    except (Rejected, LookupError, TypeError, ValueError):
        pass
    return None


def remember(store: Store, asked: Asked, compiler: Compiler) -> None:
    """Spare other processes the questions, unless a script may do something else tomorrow."""
    argv0 = compiler.marks[0]
    if argv0 is None or is_script(argv0[0]):
        return
    found = {"identity": compiler.identity, "version": compiler.version, "marks": compiler.marks}
    record = found | {"asked": asked}
    store.keep_note(note_name(asked, argv0), pack(Artifact(b"", record)))


def note_name(asked: Asked, argv0: Mark | None) -> str:
    """Return the name of what is noted about a compiler."""
    return hashlib.sha256(canonical([asked, argv0])).hexdigest()


def is_script(path: str) -> bool:
    """Tell whether a program is a text for some other program."""
    with suppress(OSError), open(path, "rb") as file:
        return file.read(2) == b"#!"
    return True


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
    source = os.path.join(staging_dir, "k.c")
    argv = [*compiler.argv, "-o", "k.so", "k.c", *target.flags]
    try:
        with open(source, "xb", opener=ours_alone) as file:
            file.write(c_text.encode())
        try:
            ended = run(argv, compiler.path, staging_dir, timeout, LONGEST_LOG)
        except OSError as error:
            if error.errno not in NOT_RUNNABLE:
                raise
            return Failure(FailureClass.NO_CC, f"{argv[0]} cannot be run: {error}")
        if ended.code != 0:
            kind = classify(ended)
            if kind is FailureClass.CC_ERROR and not os.path.exists(source):
                kind = FailureClass.IO  # somebody has cleaned up meanwhile
            return Failure(kind, said(ended))
        image, _ = read_regular(os.path.join(staging_dir, "k.so"))
        check_image(image)
    except Rejected as error:
        return Failure(FailureClass.BAD_OBJECT, f"{compiler.argv[0]} made no kernel: {error}")
    except FileNotFoundError as error:
        return Failure(FailureClass.BAD_OBJECT, f"{compiler.argv[0]} made nothing: {error}")
    except OSError as error:
        return io_failure(error, "compiling")
    return image


def ours_alone(path: str, flags: int) -> int:
    """Open a new file for us alone, whatever the umask."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def classify(ended: Ended) -> FailureClass:
    """Return what kind of failure a compiler's exit code and words mean."""
    code, log = ended.code, ended.text
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


def said(ended: Ended) -> str:
    """Return a compiler's words with how it ended."""
    stopped = "was stopped: its time was over"
    how = stopped if ended.code is None else f"ended with code {ended.code}"
    return f"the C compiler {how}\n{ended.text}".rstrip()


def _after_fork() -> None:
    """Give a forked child its own mutex: its parent's may be held by a thread it lacks."""
    global _probing
    _probing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
