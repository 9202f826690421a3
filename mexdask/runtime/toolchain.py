"""Find the C compiler and know which one it is."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mexdask.runtime.disk import Store
from mexdask.runtime.entry import Artifact, Rejected, pack, unpack
from mexdask.runtime.failure import Failure, FailureClass, cooldown, io_failure
from mexdask.runtime.key import canonical
from mexdask.runtime.process import Ended, run
from mexdask.runtime.root import private_directory
from mexdask.runtime.target import GCC_ONLY, user_flags
from mexdask.settings import ProcessSettings

NAMES = ("cc", "gcc", "clang")
PROBE_SECONDS = 10.0
LONGEST_ANSWER = 64 << 10
LONGEST_LOG = 16 << 10
SMALL_PROGRAM = 1 << 20
NOTES_LAST = 86400.0
TEMPORARY = re.compile(r"\S*/cc\w{6}\.\w+")
NOT_RUNNABLE = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.ELOOP)

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
        known = asked_by_one(asked, argv0, store, min(PROBE_SECONDS, settings.compile_timeout))
        if len(_known) >= 64:
            _known.clear()
        _known[asked] = Known(known, argv0, clock() + cooldown(FailureClass.NO_CC, 1))
        return known
    except OSError as error:  # no more files or processes: it says nothing about the compiler
        return io_failure(error, f"asking {argv[0]}")
    finally:
        if locked:
            _probing.release()


def asked_by_one(
    asked: Asked, argv0: Mark | None, store: Store | None, seconds: float
) -> Compiler | Failure:
    """Return what a compiler is; of many processes that wonder at once, one asks it."""
    if store is None or is_script(asked[0][0]):  # of scripts nothing is remembered
        return probe(*asked, seconds)
    if (known := remembered(store, asked, argv0)) is not None:
        return known
    with store.lock_of_notes(seconds):
        if (known := remembered(store, asked, argv0)) is not None:
            return known
        found = probe(*asked, seconds)
        if isinstance(found, Compiler):
            remember(store, asked, found)
    return found


def recall(asked: Asked, argv0: Mark | None, now: float) -> Compiler | Failure | None:
    """Return what is known about a compiler if it still holds."""
    known = _known.get(asked)
    return known.answer if known and known.argv0 == argv0 and known.holds(now) else None


def locate(text: str, path: str) -> tuple[str, ...] | Failure:
    """Return the words of ``CC``, or of the first usual name on ``PATH``, or of zig's package."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        return Failure(FailureClass.NO_CC, f"CC={text!r}: {error}")
    for name, *rest in [words] if words else [[name] for name in NAMES]:
        if program := shutil.which(name, path=path):
            return (os.path.abspath(program), *rest)
    if words:
        return Failure(FailureClass.NO_CC, f"no C compiler: CC={text!r} is not on PATH={path!r}")
    if zig := packaged_zig():
        return (zig, "cc")
    wanted = f"none of {', '.join(NAMES)} is on PATH={path!r}"
    return Failure(FailureClass.NO_CC, f"no C compiler: {wanted}; pip install mexdask[zig] has one")


def packaged_zig() -> str | None:
    """Return the compiler that the extra ``mexdask[zig]`` installs, if it is there."""
    try:
        found = importlib.util.find_spec("ziglang")
    except (ImportError, ValueError):
        return None
    if found is None or found.origin is None:
        return None
    return shutil.which("zig", path=os.path.dirname(found.origin))


def is_zig(argv: tuple[str, ...]) -> bool:
    """Tell whether a compiler is ``zig cc``, or ``python -m ziglang cc``."""
    return any(re.fullmatch(r"zig(lang)?", os.path.basename(word)) for word in argv)


def environment(argv: tuple[str, ...], path: str, zig_cache: str) -> dict[str, str]:
    """Return what a compiler needs to see; zig keeps parts of the C library that it has built."""
    zig = {"ZIG_GLOBAL_CACHE_DIR": zig_cache, "ZIG_LOCAL_CACHE_DIR": "."} if is_zig(argv) else {}
    return {"PATH": path} | zig


def spelt(compiler: Compiler, flags: tuple[str, ...]) -> list[str]:
    """Return a target's flags as a compiler spells them."""
    is_gcc = compiler.version.startswith("gcc ")
    own = [flag for flag in flags if is_gcc or flag not in GCC_ONLY]
    if not is_zig(compiler.argv):
        return own
    own = [f.replace("x86-64", "x86_64").replace("_64-v", "_64_v") for f in own]
    # Without a word about the CPU it would take all that this very machine has.
    return own if any(f.startswith("-march=") for f in own) else ["-mcpu=baseline", *own]


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
        words = [*argv, *question]
        return run(words, environment(argv, path, "."), directory, left, LONGEST_ANSWER)

    try:
        with private_directory(tempfile.gettempdir()) as directory:
            plan = ask(*flags, "-###", "-E", "-x", "c", "/dev/null")
            if plan.code != 0:
                how = "no answer in time" if plan.code is None else f"exit code {plan.code}"
                asked = " ".join(argv) + (f" with {' '.join(flags)}" if flags else "")
                first = next((line for line in plan.text.splitlines() if "error" in line), how)
                text = f"{asked} does not say what it would run: {first}\n{plan.text}"
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
    """Spare other processes the questions."""
    argv0 = compiler.marks[0]
    if argv0 is None:
        return
    found = {"identity": compiler.identity, "version": compiler.version, "marks": compiler.marks}
    record = found | {"asked": asked}
    store.keep_note(note_name(asked, argv0), pack(Artifact(b"", record)))


def note_name(asked: Asked, argv0: Mark | None) -> str:
    """Return the name of what is noted about a compiler."""
    return hashlib.sha256(canonical([asked, argv0])).hexdigest()


def is_script(path: str) -> bool:
    """Tell whether a program is a text for some other program, which may be another tomorrow."""
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


def _after_fork() -> None:
    """Give a forked child its own mutex: its parent's may be held by a thread it lacks."""
    global _probing
    _probing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
