"""Turn C text into the bytes of a shared object, by a compiler that may fail in any way."""

from __future__ import annotations

import os
import re
import signal

from mexdask.runtime.entry import Rejected, check_image, read_regular
from mexdask.runtime.failure import Failure, FailureClass, io_failure
from mexdask.runtime.process import Ended, run
from mexdask.runtime.target import Target
from mexdask.runtime.toolchain import LONGEST_LOG, NOT_RUNNABLE, Compiler, environment, spelt

NO_SPACE = re.compile(
    "No space left on device|Disk quota exceeded|Read-only file system|File too large"
    "|Input/output error|Too many open files|Stale file handle|Permission denied"
)
NO_MEMORY = re.compile(r"\bKilled\b|[Oo]ut of memory|memory exhausted|Cannot allocate memory")
BROKEN = re.compile("internal compiler error|PLEASE submit a bug report")


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
        An empty directory of our own, two levels below another of our own; the compiler works in
        it and puts its own files there.
    timeout : float
        Seconds until the compiler and all its children are killed.
    """
    source = os.path.join(staging_dir, "k.c")
    argv = [*compiler.argv, "-o", "k.so", "k.c", *spelt(compiler, target.flags)]
    # Beside the directories of staging, so that all builds share it.
    environ = environment(compiler.argv, compiler.path, "../../z")
    try:
        with open(source, "xb", opener=ours_alone) as file:
            file.write(c_text.encode())
        try:
            ended = run(argv, environ, staging_dir, timeout, LONGEST_LOG)
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
    if code == 125:  # of timeout and prlimit: they could not begin
        return FailureClass.IO
    if NO_SPACE.search(log):
        return FailureClass.IO
    if code < 0 or code == 4 or code >= 128 or BROKEN.search(log):
        return FailureClass.CC_ICE
    return FailureClass.CC_ERROR


def said(ended: Ended) -> str:
    """Return a compiler's words with how it ended."""
    stopped = "was stopped: its time was over"
    how = stopped if ended.code is None else f"ended with code {ended.code}"
    lines = [line.strip() for line in ended.text.splitlines() if line.strip()]
    first = next((line for line in lines if "error" in line), lines[0] if lines else "no word why")
    return f"the C compiler {how}: {first[:200]}\n{ended.text}".rstrip()
