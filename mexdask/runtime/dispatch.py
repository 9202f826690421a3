"""Native or interpreter: which, and why. Every answer is a Decision."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mexdask import ir
from mexdask.backend.cscalar import scalar_c
from mexdask.backend.csimd import simd_c
from mexdask.backend.form import SIMD_IS_OFF, Form, choose, vector_width
from mexdask.backend.predicate import MaskedFunction, predicate
from mexdask.backend.version import GENERATOR_VERSION
from mexdask.dtypes import NATIVE
from mexdask.errors import FallbackWarning, JITUnavailableError
from mexdask.irtext import function_text
from mexdask.runtime import stats, worker
from mexdask.runtime.build import build
from mexdask.runtime.failure import Failure, FailureClass
from mexdask.runtime.key import CacheKey
from mexdask.runtime.load import LoadedKernel, Origin
from mexdask.runtime.memory import KERNELS, Outcome
from mexdask.runtime.prebuilt import is_prebuilt
from mexdask.runtime.target import Host, lowered, target_on, this_host, user_flags
from mexdask.runtime.toolchain import find_compiler
from mexdask.settings import KernelSettings, is_enabled, process_settings
from mexdask.stack import roomy

# Kernels without index symbols are the same code for any number of dimensions; the driver that
# walks them is version 1.
ANY_NDIM = "any/1"


class Route(StrEnum):
    """The engine that runs a chunk."""

    NATIVE = "native"
    INTERPRETER = "interpreter"


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a call runs where it does.

    Parameters
    ----------
    route : Route
        The engine.
    outcome : str
        How a native kernel was come by ("memory", "disk", "prebuilt", "shipped", "compiled"), or
        the class of what prevented it ("jit-off", "disabled", "complex-dtype", or a
        ``FailureClass``).
    reason : str
        The same for people.
    """

    route: Route
    outcome: str
    reason: str

    @property
    def is_fallback(self) -> bool:
        """Tell whether native code was hoped for and could not be had."""
        return self.route is Route.INTERPRETER and self.outcome not in ("jit-off", "disabled")


JIT_OFF = Decision(Route.INTERPRETER, "jit-off", 'jit="off" asks for the interpreter')
DISABLED = Decision(Route.INTERPRETER, "disabled", "ME_DSL_JIT=0 is set in this process")
NO_PLATFORM = Decision(
    Route.INTERPRETER,
    FailureClass.UNSUPPORTED_PLATFORM.value,
    f"native code runs on Linux and macOS, not on {os.name!r}",
)
FOUND = {
    outcome: Decision(Route.NATIVE, outcome, reason)
    for outcome, reason in (
        ("memory", "this process has loaded the kernel before"),
        ("disk", "loaded from the disk cache"),
        ("prebuilt", "loaded from a directory of mexdask.prebuilt"),
        ("shipped", "compiled elsewhere and sent here"),
        ("compiled", "compiled here"),
    )
}
IN_MEMORY = FOUND["memory"]

# What os.environ keeps its values in, where it has it: its own way to a value takes ten times as
# long, and every chunk asks for two.
ENVIRON: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
_encoded = getattr(os.environ, "encodekey", str)
JIT_SWITCH, JIT_CFLAGS = _encoded("ME_DSL_JIT"), _encoded("ME_DSL_JIT_CFLAGS")

ARRIVALS: dict[Origin, stats.Counter] = {
    "compiled": "compiled",
    "disk": "disk_hits",
    "prebuilt": "prebuilt_hits",
    "shipped": "shipped",
}


class Unit:
    """One typed function as the runtime sees it: its key for each set of flags, its C text.

    ``at_hand`` is the settings and switches of the last lookup that found it in memory, and where.
    """

    def __init__(self, function: ir.Function, name: str, source: str):
        self.function = function
        self.name = name
        self.source = source
        self.foreign = next((d for d in ir.computed_dtypes(function) if d not in NATIVE), None)
        self.at_hand: tuple[object, object, str] = None, None, ""
        self._forms: dict[int, Form] = {}
        self._keys: dict[tuple[tuple[str, ...], str, str], CacheKey] = {}

    @functools.cached_property
    @roomy
    def dsl_hash(self) -> str:
        """Return the digest of the normalised source (its IR) and the generator's version."""
        text = function_text(self.function) + GENERATOR_VERSION
        return hashlib.sha256(text.encode(errors="replace")).hexdigest()

    @functools.cached_property
    def has_loops(self) -> bool:
        """Tell whether an element may take long."""
        return self.function.has_loops

    @functools.cached_property
    @roomy
    def masked(self) -> MaskedFunction:
        """Return the masked form, for the interpreter and for vector lanes."""
        return predicate(self.function)

    def form(self, settings: KernelSettings, host: Host | None = None) -> Form:
        """Return the form of C that the function gets, on another host too."""
        level = lowered((host or this_host()).isa, settings.isa)
        return self._form(vector_width(level, settings.simd))

    def _form(self, width: int) -> Form:
        """Return the form for vectors of a width."""
        if width not in self._forms:
            self._forms[width] = roomy(choose)(self.masked, width) if width else SIMD_IS_OFF
        return self._forms[width]

    def key(self, flags: tuple[str, ...], settings: KernelSettings) -> CacheKey:
        """Return the cache key on this machine, under the user's extra flags and choice of form."""
        at = (flags, settings.simd, settings.isa)
        key = self._keys.get(at)
        if key is None:
            key = self._keys[at] = self.key_on(this_host(), flags, settings)
        return key

    def key_on(self, host: Host, flags: tuple[str, ...], settings: KernelSettings) -> CacheKey:
        """Return the cache key in a process on a host, this one or another."""
        names = tuple(
            f"{p.var.dtype.name}{'[]' if p.is_array else ''}" for p in self.function.params
        )
        results = tuple(d.name for d in self.function.results)
        form = self.form(settings, host)
        target = target_on(host, self.function.fp, flags, settings.isa, lanes=form.width > 0)
        order = f"{ANY_NDIM}/{form.name}{form.width or ''}"
        return CacheKey(self.dsl_hash, (*names, "->", *results), order, target)

    @roomy
    def c_text(self, key: CacheKey, settings: KernelSettings) -> str:
        """Return the C text that goes to the compiler for a key."""
        if width := self._form(vector_width(key.target.isa, settings.simd)).width:
            return simd_c(self.masked, key.symbol, key.digest, width)
        return scalar_c(self.function, key.symbol, key.digest)


def obtain(unit: Unit, settings: KernelSettings) -> tuple[LoadedKernel | None, Decision]:
    """Return the native kernel, if it can be had, and the decision; count and warn.

    Raises
    ------
    JITUnavailableError
        Under ``jit="require"``, where there is no native kernel.
    """
    kernel, decision = find(unit, settings)
    if kernel is None:
        note(unit, decision)
        if settings.jit == "require":
            raise JITUnavailableError(
                f"kernel {unit.name!r}: no native code here ({decision.outcome}): {decision.reason}"
            )
        if decision.is_fallback:
            warn_once(unit, decision)
    return kernel, decision


def switches() -> tuple[object, object]:
    """Return the environment's say on native code."""
    return ENVIRON.get(JIT_SWITCH), ENVIRON.get(JIT_CFLAGS)


def at_hand(unit: Unit, settings: KernelSettings) -> LoadedKernel | None:
    """Return the native kernel that the last lookup found, if nothing has changed since."""
    before, under, digest = unit.at_hand
    return KERNELS.loaded(digest) if before is settings and under == switches() else None


def find(unit: Unit, settings: KernelSettings) -> tuple[LoadedKernel | None, Decision]:
    """Look for a unit's native kernel in memory, on disk, at the compiler's; count what was built.

    Memory hits are counted with the chunks that they serve.
    """
    if (loaded := at_hand(unit, settings)) is not None:
        return loaded, IN_MEMORY
    flags = extra_flags()
    if (decision := prevented(unit, settings, flags)) is not None:
        return None, decision
    assert not isinstance(flags, Failure)
    key = unit.key(flags, settings)
    if (loaded := KERNELS.loaded(key.digest)) is not None:
        unit.at_hand = settings, switches(), key.digest
        return loaded, IN_MEMORY
    entry, outcome = KERNELS.get_or_build(
        key.digest,
        lambda: build(key, lambda: unit.c_text(key, settings), process_settings()),
        (os.environ.get("CC", ""), os.environ.get("PATH", ""), os.environ.get("TMPDIR", "")),
    )
    return record(unit, entry, outcome)


def prevented(
    unit: Unit, settings: KernelSettings, flags: tuple[str, ...] | Failure
) -> Decision | None:
    """Return why a unit is not even looked for in this process, if so."""
    if settings.jit == "off":
        return JIT_OFF
    if not is_enabled():
        return DISABLED
    if os.name != "posix":
        return NO_PLATFORM
    if unit.foreign is not None:
        reason = f"the kernel computes in {unit.foreign.name}, which native code does not have"
        return Decision(Route.INTERPRETER, "complex-dtype", reason)
    return refused(flags) if isinstance(flags, Failure) else None


def extra_flags() -> tuple[str, ...] | Failure:
    """Return the user's own flags for the compiler, or why they are refused."""
    return user_flags(os.environ.get("ME_DSL_JIT_CFLAGS", ""))


def record(
    unit: Unit, entry: LoadedKernel | Failure, outcome: Outcome
) -> tuple[LoadedKernel | None, Decision]:
    """Count one lookup and return its decision."""
    if isinstance(entry, Failure):
        if outcome is Outcome.NEGATIVE:
            stats.count(unit.name, "negative_hits")
        else:
            stats.count_failure(entry)
        return None, refused(entry)
    if outcome is Outcome.MEMORY:
        return entry, FOUND["memory"]
    return entry, arrived(unit, entry)


def arrived(unit: Unit, kernel: LoadedKernel) -> Decision:
    """Count a kernel that this process did not have before, and return its decision."""
    stats.count(unit.name, ARRIVALS[kernel.origin], 1, kernel.compile_seconds)
    if kernel.origin == "compiled":
        seconds = round(kernel.compile_seconds, 4)
        worker.tell("compile", kernel=unit.name, key=kernel.key.digest, seconds=seconds)
    decision = FOUND[kernel.origin]
    note(unit, decision)
    return decision


def note(unit: Unit, decision: Decision) -> None:
    """Remember for the statistics, this process's and its worker's, which engine a unit has."""
    stats.note_route(unit.name, decision.route.value, decision.outcome, decision.reason)
    worker.publish_metric(stats.totals)


def refused(failure: Failure) -> Decision:
    """Return the decision that a failure leads to."""
    return Decision(Route.INTERPRETER, failure.kind.value, failure.message)


def predict(unit: Unit, settings: KernelSettings) -> Decision:
    """Return what `obtain` would decide in a process like this, without compiling or loading."""
    flags = extra_flags()
    if (decision := prevented(unit, settings, flags)) is not None:
        return decision
    assert not isinstance(flags, Failure)
    key, process = unit.key(flags, settings), process_settings()
    if (known := KERNELS.known(key.digest)) is not None:
        return FOUND["memory"] if isinstance(known, LoadedKernel) else refused(known)
    if is_prebuilt(key, process.prebuilt):
        return FOUND["prebuilt"]
    compiler = find_compiler(process)
    if isinstance(compiler, Failure):
        return refused(compiler)
    return Decision(Route.NATIVE, "compiler", f"a compiler is here: {compiler.version}")


OF_THE_KERNEL = ("complex-dtype", FailureClass.UNSUPPORTED, FailureClass.TOO_BIG)
_warned: set[tuple[str, str]] = set()
_warned_lock = threading.Lock()


def warn_once(unit: Unit, decision: Decision) -> None:
    """Warn about a fallback, once per process; once per kernel if the kernel is the reason."""
    outcome, first = decision.outcome, decision.reason.strip().split("\n")[0]
    kernels, classes = (unit.source, outcome), ("", outcome)
    with _warned_lock:
        told, warned = kernels in _warned, classes in _warned
        _warned.update((kernels, classes))
    if told:
        return
    message = f"kernel {unit.name!r} runs through the NumPy interpreter ({outcome}): {first}"
    worker.tell("fallback", kernel=unit.name, outcome=outcome, reason=first)
    if not warned or outcome in OF_THE_KERNEL:
        worker.warn(message, FallbackWarning, stacklevel=2)
