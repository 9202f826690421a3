"""One key's way to a loaded kernel: disk, lock, disk again, compiler, loader, publication."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from mexdask.runtime.compile import compile_image
from mexdask.runtime.disk import Store, open_store
from mexdask.runtime.entry import Artifact, make_record
from mexdask.runtime.failure import Failure, FailureClass, cooldown, io_failure
from mexdask.runtime.key import CacheKey
from mexdask.runtime.load import LoadedKernel, load
from mexdask.runtime.lock import LockState
from mexdask.runtime.prebuilt import find_prebuilt
from mexdask.runtime.target import user_flags
from mexdask.runtime.toolchain import Compiler, find_compiler
from mexdask.settings import ProcessSettings

LARGEST_TEXT, DEEPEST = 4 << 20, 1000
LOCK_MERCY = 5.0
WIDE_TIMEOUT = 120.0


def build(
    key: CacheKey,
    emit: Callable[[], str],
    settings: ProcessSettings,
    clock: Callable[[], float] = time.monotonic,
) -> LoadedKernel | Failure:
    """Return a key's kernel from the disk cache or from the compiler; no expected fault raises.

    Parameters
    ----------
    key : CacheKey
        What is wanted.
    emit : callable
        Returns the C text; called only if the compiler is really to run.
    settings : ProcessSettings
        Of this process.
    clock : callable
        Returns monotonic seconds.
    """
    if os.name != "posix":
        return Failure(FailureClass.UNSUPPORTED_PLATFORM, f"no native kernels on {os.name!r}")
    try:
        return find_or_make(key, emit, settings, clock)
    except OSError as error:
        return io_failure(error, f"building {key.symbol}")


def find_or_make(
    key: CacheKey, emit: Callable[[], str], settings: ProcessSettings, clock: Callable[[], float]
) -> LoadedKernel | Failure:
    """Look on disk, and compile under the key's lock what is not there."""
    if isinstance(flags := user_flags(settings.cflags), Failure):
        return flags
    if (kernel := find_prebuilt(key, settings.prebuilt)) is not None:
        return kernel
    store = open_store(settings.tmpdir)
    if store is None:
        return Failure(FailureClass.CACHE_DIR, f"no directory to work in ({settings.tmpdir!r})")
    compiler = find_compiler(settings, clock, store)
    identity = compiler.identity if isinstance(compiler, Compiler) else None
    if (kernel := from_disk(store, key, identity)) is not None:
        return kernel
    if isinstance(compiler, Failure):
        return compiler
    pause = _pauses.setdefault(compiler.identity, Pause())
    if (failure := pause.holds(clock())) is not None:
        return failure
    with store.lock(key, settings.compile_timeout + LOCK_MERCY) as state:
        if state is LockState.BUSY:
            return Failure(FailureClass.LOCK_WAIT, f"another process has not built {key.symbol}")
        if (kernel := from_disk(store, key, identity)) is not None:
            return kernel
        entry = make(key, emit, compiler, store, settings)
    pause.note(key, entry, clock())
    return entry


def from_disk(store: Store, key: CacheKey, identity: str | None) -> LoadedKernel | None:
    """Return a key's kernel from its entry; one that does not load is set aside."""
    artifact = store.read(key, identity)
    if artifact is None:
        return None
    compiler = str(artifact.record["compiler"])
    kernel = load(artifact, key, "disk", store.path(key, compiler))
    if isinstance(kernel, LoadedKernel):
        return kernel
    if kernel.kind in (FailureClass.BAD_OBJECT, FailureClass.BAD_SYMBOL):
        store.reject(key, compiler, kernel.message)
    return None


def make(
    key: CacheKey,
    emit: Callable[[], str],
    compiler: Compiler,
    store: Store,
    settings: ProcessSettings,
) -> LoadedKernel | Failure:
    """Compile a key, load it, and only then let others have it."""
    text = emit()
    if (why := too_big(text)) is not None:
        return Failure(FailureClass.TOO_BIG, f"{key.symbol} is not compiled: {why}")
    with store.staging() as directory:
        start = time.monotonic()
        image = compile_image(compiler, text, key.target, directory, settings.compile_timeout)
        seconds = time.monotonic() - start
    if isinstance(image, Failure):
        return image
    record = make_record(key, compiler.identity, compiler.version, text.encode())
    artifact = Artifact(image, record)
    kernel = load(artifact, key, "compiled", compile_seconds=seconds)
    if isinstance(kernel, LoadedKernel) and store.publish(key, artifact, settings.cache_size):
        return replace(kernel, path=store.path(key, compiler.identity))
    return kernel


def too_big(text: str) -> str | None:
    """Return why C text is not given to a compiler: some crash on what is large or deep."""
    if len(text) > LARGEST_TEXT:
        return f"{len(text)} characters of C, more than {LARGEST_TEXT}"
    if sum(text.count(c) for c in "([{") <= DEEPEST:
        return None
    brackets = re.sub(r"[^][(){}]", "", text)
    depth = max(itertools.accumulate(1 if c in "([{" else -1 for c in brackets))
    return f"{depth} levels of brackets, more than {DEEPEST}" if depth > DEEPEST else None


@dataclass(slots=True)
class Pause:
    """Trouble that is not one key's: a full disk, or a compiler that hangs on all it is given."""

    failure: Failure | None = None
    until: float = 0.0
    consecutive_io: int = 0
    hung_on: str = ""

    def holds(self, now: float) -> Failure | None:
        """Return why no key is compiled at the moment, if so."""
        return self.failure if now < self.until else None

    def note(self, key: CacheKey, entry: LoadedKernel | Failure, now: float) -> None:
        """Learn from the end of one compile."""
        kind = entry.kind if isinstance(entry, Failure) else None
        self.consecutive_io = self.consecutive_io + 1 if kind is FailureClass.IO else 0
        hung_before, self.hung_on = self.hung_on, ""
        if isinstance(entry, Failure) and kind is FailureClass.IO:
            self.failure = entry
            self.until = now + cooldown(FailureClass.IO, self.consecutive_io)
        elif isinstance(entry, Failure) and kind is FailureClass.CC_TIMEOUT:
            self.hung_on = key.digest
            if hung_before not in ("", key.digest):
                self.failure, self.until = entry, now + WIDE_TIMEOUT


_pauses: dict[str, Pause] = {}
