"""Kernels compiled here for processes elsewhere, and kernels that came from elsewhere.

What is sent is an entry of the disk cache, byte for byte: object, record and digest. The receiver
checks it as it checks a file, against a key that it has computed itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from mexdask.runtime import stats, worker
from mexdask.runtime.build import build
from mexdask.runtime.disk import open_store
from mexdask.runtime.dispatch import Decision, Unit, arrived, extra_flags, note, prevented, refused
from mexdask.runtime.entry import Rejected, checked, pack
from mexdask.runtime.failure import Failure, FailureClass
from mexdask.runtime.load import load
from mexdask.runtime.memory import KERNELS
from mexdask.runtime.target import LEVELS, Host, this_host, user_flags
from mexdask.runtime.toolchain import Compiler, find_compiler
from mexdask.settings import KernelSettings, ProcessSettings, process_settings


def compiler_here() -> Compiler | Failure:
    """Return the compiler of this process, or why there is none."""
    return find_compiler(process_settings())


def serves(own: Host, other: Host) -> bool:
    """Tell whether what a compiler makes on one host is fit for another, levels of the CPU aside.

    A C library runs what was linked against the same one or an older one of its family.
    """
    if replace(own, isa="", libc="") != replace(other, isa="", libc=""):
        return False
    if own.libc == other.libc:
        return True
    (family, version), (other_family, other_version) = map(libc_version, (own.libc, other.libc))
    return family == other_family == "glibc" and version <= other_version


def libc_version(libc: str) -> tuple[str, tuple[int, ...]]:
    """Return family and version of a C library as `Host` names it."""
    family, _, version = libc.partition("-")
    return family, tuple(map(int, re.findall(r"\d+", version)))


def build_for(
    unit: Unit, host: Host, cflags: str, settings: KernelSettings
) -> tuple[str, bytes] | Failure:
    """Compile a unit for another process, or find it in the cache, and return what is sent.

    Parameters
    ----------
    unit : Unit
        What to compile.
    host : Host
        Where it is to run.
    cflags : str
        The ``ME_DSL_JIT_CFLAGS`` of the process there.
    settings : KernelSettings
        What travels with the kernel.

    Returns
    -------
    tuple of (str, bytes) or Failure
        The digest of the key, and the entry.
    """
    flags = user_flags(cflags)
    if isinstance(flags, Failure):
        return flags
    if (decision := prevented(unit, settings, flags)) is not None:
        return Failure(FailureClass.UNSUPPORTED, decision.reason)
    key = unit.key_on(host, flags, settings)
    own: ProcessSettings = replace(process_settings(), cflags=cflags)
    kernel = build(key, lambda: unit.c_text(key, settings), own)
    if isinstance(kernel, Failure):
        return kernel
    store = open_store(own.tmpdir)
    artifact = None if store is None else store.read(key, None)
    if artifact is None:
        why = f"{key.symbol} was compiled but cannot be kept in {own.tmpdir!r}"
        return Failure(FailureClass.IO, why)
    return key.digest, pack(artifact)


def build_for_levels(
    unit: Unit, settings: KernelSettings, levels: Sequence[str] = ()
) -> list[tuple[str, tuple[str, bytes] | Failure]]:
    """Compile a unit for each level of this machine's kind; return it by level.

    Parameters
    ----------
    unit, settings
        As for `build_for`.
    levels : sequence of str
        Of ``known_levels()``; all of them if empty.
    """
    own, cflags = this_host(), process_settings().cflags
    chosen = levels or known_levels()
    with ThreadPoolExecutor(len(chosen)) as pool:
        hosts = [replace(own, isa=level) for level in chosen]
        built = pool.map(lambda host: build_for(unit, host, cflags, settings), hosts)
        return list(zip(chosen, built, strict=True))


def known_levels() -> tuple[str, ...]:
    """Return the instruction set levels for which this machine can compile."""
    own = this_host().isa
    return LEVELS[1:] if own in LEVELS else (own,)


def wanted_key(unit: Unit, settings: KernelSettings) -> str:
    """Return the digest of the key under which this process looks for a unit; empty for none."""
    flags = extra_flags()
    if isinstance(flags, Failure) or prevented(unit, settings, flags) is not None:
        return ""
    return unit.key(flags, settings).digest


def accept(unit: Unit, settings: KernelSettings, data: bytes) -> Decision:
    """Load what another process has compiled for this one, keep it for others of this machine.

    Parameters
    ----------
    unit : Unit
        What it must be.
    settings : KernelSettings
        What travels with the kernel.
    data : bytes
        An entry, from a peer of the cluster; checked as if it came from a file.
    """
    flags = extra_flags()
    if (decision := prevented(unit, settings, flags)) is not None:
        return decision
    assert not isinstance(flags, Failure)
    key = unit.key(flags, settings)
    try:
        artifact = checked(data, key)
    except Rejected as error:
        return rejected(
            unit, Failure(FailureClass.BAD_OBJECT, f"what was sent is refused: {error}")
        )
    kernel = load(artifact, key, "shipped")
    if isinstance(kernel, Failure):
        return rejected(unit, kernel)
    own = process_settings()
    store = open_store(own.tmpdir)
    if store is not None and store.publish(key, artifact, own.cache_size):
        kernel = replace(kernel, path=store.path(key, str(artifact.record["compiler"])))
    KERNELS.put(key.digest, kernel)
    return arrived(unit, kernel)


def rejected(unit: Unit, failure: Failure) -> Decision:
    """Count and tell that a kernel from elsewhere was not taken, and return the decision."""
    stats.count_failure(failure)
    worker.tell("rejection", kernel=unit.name, reason=failure.message)
    decision = refused(failure)
    note(unit, decision)
    return decision
