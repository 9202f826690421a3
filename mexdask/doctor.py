"""Can this machine run native code, and if not, what to do: what ``dask mex doctor`` prints."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np

from mexdask.api import apply, explain
from mexdask.errors import MexError
from mexdask.kernelspec import block_kernel
from mexdask.runtime.build import build
from mexdask.runtime.disk import Store, open_store
from mexdask.runtime.dispatch import extra_flags
from mexdask.runtime.failure import Failure, FailureClass
from mexdask.runtime.inventory import info
from mexdask.runtime.root import NAME
from mexdask.runtime.ship import compiler_here
from mexdask.runtime.target import host_target
from mexdask.runtime.toolchain import find_compiler
from mexdask.settings import ProcessSettings, is_enabled, process_settings

SAMPLE = """
def doctor(x, limit):
    steps = 0
    while x > 1.0 and steps < limit:
        x = x / 2.0 if steps % 3 else sqrt(x) + 0.5
        steps += 1
    return x + steps
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    name : str
        What.
    ok : bool
        Whether native code can do with it as it is.
    found : str
        What was found.
    advice : str
        What to do if it is not right, or might be better.
    """

    name: str
    ok: bool
    found: str
    advice: str = ""


def examine() -> Iterator[Check]:
    """Yield the checks one after the other, each as soon as it is done.

    Native code runs here if and only if the last one, "run", is right.
    """
    yield versions()
    yield enabled()
    for check in (settings, compiler, target, prebuilt, cache):
        yield guarded(check)
    compiled = guarded(compiles)
    yield compiled
    # A kernel that an earlier process compiled would run all the same, and say nothing of others.
    yield guarded(runs) if compiled.ok else Check("run", False, "not tried: nothing to run")


def guarded(check: Callable[[], Check]) -> Check:
    """Return a check's answer, or that a setting is wrong."""
    try:
        return check()
    except MexError as error:
        return Check(check.__name__, False, str(error), "mend the setting that it names")


def versions() -> Check:
    """Return what is installed."""
    return Check("mexdask", True, f"{version('mexdask')}, numpy {np.__version__}")


def enabled() -> Check:
    """Return whether this process may run native code at all."""
    if is_enabled():
        return Check("enabled", True, "ME_DSL_JIT does not forbid native code")
    found = f"ME_DSL_JIT={os.environ['ME_DSL_JIT']} forbids native code"
    return Check("enabled", False, found, "unset ME_DSL_JIT, or set it to 1")


def settings() -> Check:
    """Return whether the settings of the process can be read and its flags be used."""
    own, flags = process_settings(), extra_flags()
    if isinstance(flags, Failure):
        return Check("settings", False, flags.message, "change or unset ME_DSL_JIT_CFLAGS")
    extra = f", ME_DSL_JIT_CFLAGS={own.cflags!r}" if own.cflags else ""
    return Check("settings", True, f"compile-timeout {own.compile_timeout:g} s{extra}")


def compiler() -> Check:
    """Return which compiler there is."""
    found = compiler_here()
    if isinstance(found, Failure) and found.kind is FailureClass.BAD_FLAGS:
        return Check("compiler", False, "not asked: its flags are refused")
    if isinstance(found, Failure):
        advice = (
            "install gcc or clang (Debian: apt-get install gcc libc6-dev; conda: gcc_linux-64) or "
            "name one in CC; on a cluster mexdask.warm() and MexPlugin bring kernels to workers "
            "without one, and `dask mex build` puts them into an image"
        )
        return Check("compiler", False, found.message, advice)
    return Check("compiler", True, f"{' '.join(found.argv)}: {found.version}")


def target() -> Check:
    """Return what is compiled for."""
    found = host_target()
    level = found.isa or "baseline"
    return Check("target", True, f"{found.system} {found.machine} {level}, {found.libc}")


def prebuilt() -> Check:
    """Return which directories of prebuilt kernels are set, and whether they are there."""
    directories = process_settings().prebuilt
    if missing := [d for d in directories if not os.path.isdir(d)]:
        advice = "fill it with `dask mex build`, or take it out of mexdask.prebuilt"
        return Check("prebuilt", False, f"no such directory: {', '.join(missing)}", advice)
    return Check("prebuilt", True, ", ".join(directories) or "none set")


def cache() -> Check:
    """Return where compiled kernels are kept, and whether that is where they should be."""
    own = process_settings()
    store = open_store(own.tmpdir)
    wanted = os.path.join(own.tmpdir, NAME)
    if store is None:
        advice = "let TMPDIR name a directory that you can write into"
        return Check("cache", False, f"no directory can be had below {own.tmpdir}", advice)
    held = info(store)
    found = f"{store.root.path}, {rights(store)}, {held.entries} entries, {held.bytes} bytes"
    if held.set_aside:
        found += f", {len(held.set_aside)} set aside"
    if store.root.path == os.path.abspath(wanted):
        return Check("cache", True, found)
    advice = f"others own {wanted}, or it cannot be written; let TMPDIR name a directory of yours"
    return Check("cache", True, found, advice)


def rights(store: Store) -> str:
    """Return owner and mode of a cache directory as ``ls`` shows them."""
    status = os.fstat(store.root.fd)
    return f"{stat.filemode(status.st_mode)} of user {status.st_uid}"


def compiles() -> Check:
    """Compile a kernel, really, whatever the cache holds."""
    own = process_settings()
    found, flags = find_compiler(own), extra_flags()
    if isinstance(found, Failure) or isinstance(flags, Failure):
        return Check("compile", False, "not tried: there is no compiler to try")
    kernel = block_kernel(SAMPLE, ("float64", int), {})
    unit = kernel.specialisation().units[0]
    key = unit.key(flags, kernel.settings)
    with tempfile.TemporaryDirectory(prefix="mexdask-doctor-") as directory:
        alone: ProcessSettings = replace(own, tmpdir=directory, prebuilt=())
        built = build(key, lambda: unit.c_text(key, kernel.settings), alone)
    if isinstance(built, Failure):
        advice = "read what the compiler said; an image may lack libc6-dev or binutils, a disk room"
        return Check("compile", False, f"{built.kind.value}: {built.message}", advice)
    return Check("compile", True, f"a kernel in {1000 * built.compile_seconds:.0f} ms")


def runs() -> Check:
    """Run a kernel natively, as `apply` would, and compare it with the interpreter."""
    x = np.linspace(0.5, 1e6, 1001)
    expected = apply(SAMPLE, x, limit=40, jit="off")
    try:
        result = apply(SAMPLE, x, limit=40, jit="require")
    except MexError as error:
        return Check("run", False, str(error), "see above; until then the interpreter runs kernels")
    if result.tobytes() != expected.tobytes():
        advice = "take another compiler, set ME_DSL_JIT=0 meanwhile, and report this"
        return Check("run", False, "native code and interpreter differ", advice)
    how = explain(SAMPLE, x, limit=40)
    return Check("run", True, f"native, {how.form} form, same bits as the interpreter")
