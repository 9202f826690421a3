"""Kernels on the workers of a cluster before a graph runs: compiled there, or sent there."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distributed import Client, WorkerPlugin

from mexdask.blockkernel import BlockKernel
from mexdask.call import Source
from mexdask.kernelspec import block_kernel, block_kernels
from mexdask.monitor import checked_client
from mexdask.runtime.dispatch import Decision, Route, Unit, find, note
from mexdask.runtime.failure import Failure
from mexdask.runtime.ship import (
    accept,
    build_for,
    build_for_levels,
    compiler_here,
    serves,
    wanted_key,
)
from mexdask.runtime.target import Host, this_host
from mexdask.runtime.toolchain import Compiler
from mexdask.runtime.worker import working_for
from mexdask.settings import is_enabled, process_settings
from mexdask.tabular import table

log = logging.getLogger("mexdask")

Kernels = Sequence[BlockKernel]
# The outcomes against which another machine's compiler does not help.
BEYOND_HELP = frozenset(
    ("jit-off", "disabled", "complex-dtype", "unsupported-platform", "bad-flags", "too-big")
)
# A worker starts its work after so long even if a compiler hangs; the compile goes on meanwhile.
SETUP_SECONDS = 10.0
# "compiled" before "memory": a kernel of several units is reported by what took longest.
SLOWEST_FIRST = ("shipped", "compiled", "prebuilt", "disk", "memory")


@dataclass(frozen=True, slots=True)
class Readiness:
    """How a kernel stands on one worker.

    Parameters
    ----------
    engine : {"native", "interpreter", "unknown"}
        What will run its chunks; "unknown" if the worker did not answer.
    outcome : str
        How native code was come by ("memory", "disk", "prebuilt", "compiled", "shipped"), or the
        class of what prevents it.
    reason : str
        The same for people.
    seconds : float
        How long it took there.
    """

    engine: str
    outcome: str
    reason: str
    seconds: float


class WarmReport(dict[str, Readiness]):
    """What `warm` did: a `Readiness` for each worker's address; print it to read it."""

    def __str__(self) -> str:
        rows = [
            (address, ready.engine, ready.outcome, ready.seconds, ready.reason)
            for address, ready in sorted(self.items())
        ]
        return table(("worker", "engine", "outcome", "seconds", "reason"), rows)


def warm(
    client: Any,
    src: Source,
    /,
    *arguments: Any,
    dtype: Any = None,
    params: Mapping[str, Any] | None = None,
    workers: Iterable[str] | None = None,
    **named: Any,
) -> WarmReport:
    """Bring a kernel to every worker before the graph runs.

    Each worker takes the kernel from its memory, its disk cache or its own compiler. Those that
    cannot are sent it by a process that can compile for their target, this one or else another
    worker, so that no worker needs a compiler. Nothing of it runs in an event loop.

    Parameters
    ----------
    client : distributed.Client
        If it is asynchronous, await what comes back.
    src : str or function or Kernel
        As for `apply`.
    *arguments : dtype_like or array_like
        One for each parameter. What `apply` takes stands for itself: arrays for their dtype, NumPy
        scalars, Python scalars. A dtype, its name or a NumPy scalar class stands for an array of
        that dtype; ``bool``, ``int``, ``float`` and ``complex`` stand for a Python scalar. A kernel
        with index symbols needs an array, for it depends on the number of dimensions.
    dtype : dtype_like, optional
        As it will be given to `apply`.
    params : mapping, optional
        Further arguments by name.
    workers : iterable of str, optional
        Addresses; all workers if not given.
    **named : dtype_like or array_like
        Arguments by name.

    Returns
    -------
    WarmReport
        By worker's address; a worker that was lost meanwhile has engine "unknown".

    Raises
    ------
    KernelSyntaxError, KernelTypeError, ArgumentError
        As `apply` raises them for such arguments.

    Examples
    --------
    >>> import distributed, mexdask
    >>> cluster = distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0")
    >>> client = distributed.Client(cluster)
    >>> report = mexdask.warm(client, "x * x + c", "float64", c=float)
    >>> [ready.engine for ready in report.values()]
    ['native']
    >>> client.close(); cluster.close()
    """
    kernel = block_kernel(src, arguments, named, params, dtype)
    chosen = None if workers is None else list(workers)
    report: WarmReport = checked_client(client).sync(warm_one, client, kernel, chosen)
    return report


class MexPlugin(WorkerPlugin):
    """Bring kernels to every worker, those that join later too: ``client.register_plugin(...)``.

    Made where there is a C compiler, it carries the kernels compiled for every instruction set
    level of this machine's kind, so that workers need none. Registering the same kernels again does
    nothing. A worker without the kernel, for whatever reason, runs it through the interpreter.

    Parameters
    ----------
    kernels : iterable of tuple
        Each ``(src, *arguments)``, with kernel and types as `warm` takes them.

    Raises
    ------
    KernelSyntaxError, KernelTypeError, ArgumentError
        As `apply` raises them for such arguments.

    Examples
    --------
    >>> import distributed, mexdask
    >>> plugin = mexdask.MexPlugin(kernels=[("x * x + c", "float64", float)])
    >>> cluster = distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0")
    >>> client = distributed.Client(cluster)
    >>> _ = client.register_plugin(plugin)
    >>> [found["kernels"]["expression"]["engine"] for found in mexdask.stats(client).values()]
    ['native']
    >>> client.close(); cluster.close()
    """

    idempotent = True

    def __init__(self, kernels: Iterable[Sequence[Any]]):
        self.kernels = block_kernels(kernels)
        identity = repr([kernel.__dask_tokenize__() for kernel in self.kernels])
        self.name = f"mexdask-{hashlib.sha256(identity.encode(errors='replace')).hexdigest()[:16]}"
        self.parcels: dict[str, bytes] = {}
        for unit, kernel in units_of(self.kernels):
            for _, built in build_for_levels(unit, kernel.settings):
                if isinstance(built, tuple):
                    self.parcels.update([built])

    async def setup(self, worker: Any) -> None:
        """Bring the kernels to a worker, outside of its event loop; never fails."""
        task = asyncio.ensure_future(self.bring(worker))
        task.add_done_callback(said_why)
        await asyncio.wait((task,), timeout=SETUP_SECONDS)

    async def bring(self, worker: Any) -> None:
        """Let the worker prepare, take what came along, and ask the cluster for what is missing."""
        answer = await prepare(self.kernels, worker)
        missing = []
        for position, unit in enumerate(answer.units):
            if unit.wanted in self.parcels:
                data = self.parcels[unit.wanted]
                after = await receive(self.kernels, position, data, worker)
                missing += [position] if after.decision.route is Route.INTERPRETER else []
            elif unit.wanted:
                missing.append(position)
        if missing:
            address = worker.scheduler.address
            async with Client(address, security=worker.security, asynchronous=True) as client:
                await warm_all(client, self.kernels, [worker.address], here=False)


def said_why(task: asyncio.Task[None]) -> None:
    """Log what kept a plugin from its work: on the worker it may cost time, never the worker."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a worker was not warmed up", exc_info=error)


async def warm_one(client: Any, kernel: BlockKernel, workers: list[str] | None) -> WarmReport:
    """Return the report on one kernel."""
    standings, lost = await warm_all(client, (kernel,), workers)
    ready = {address: readiness(units) for address, units in standings.items()}
    gone = {address: Readiness("unknown", "lost", said, 0.0) for address, said in lost.items()}
    return WarmReport(ready | gone)


@dataclass(frozen=True, slots=True)
class Standing:
    """One unit on one worker, as the worker tells it.

    Parameters
    ----------
    decision : Decision
        What would run a chunk now.
    seconds : float
        How long it took to find out.
    wanted : str
        Digest of the key that it lacks and could use, or empty.
    """

    decision: Decision
    seconds: float
    wanted: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one worker says of itself, and of every unit of the kernels that it was asked about."""

    host: Host
    cflags: str
    can_compile: bool
    units: tuple[Standing, ...] = ()


@dataclass(frozen=True, slots=True)
class Parcel:
    """One unit that workers of one target lack."""

    position: int
    digest: str
    host: Host
    cflags: str
    to: tuple[str, ...]


async def warm_all(
    client: Any, kernels: Kernels, workers: list[str] | None, *, here: bool = True
) -> tuple[dict[str, tuple[Standing, ...]], dict[str, str]]:
    """Let workers prepare kernels, then send them what they lack.

    Without ``here`` this process is not asked to compile. Returns the units' standings by address,
    and what is known of workers that did not answer.
    """
    said = await client.run(prepare, tuple(kernels), workers=workers, on_error="return")
    answers = {a: answer for a, answer in said.items() if isinstance(answer, Answer)}
    lost = {a: str(error) or repr(error) for a, error in said.items() if a not in answers}
    parcels = parcels_of(answers)
    if parcels and workers is not None:
        others = await client.run(describe, on_error="return")
        helpers = {a: other for a, other in others.items() if isinstance(other, Answer)} | answers
    else:
        helpers = answers
    standings = {address: list(answer.units) for address, answer in answers.items()}
    done = await asyncio.gather(*(serve(client, kernels, p, helpers, here=here) for p in parcels))
    for parcel, received in zip(parcels, done, strict=True):
        for address, after in received.items():
            before = standings[address][parcel.position]
            seconds = before.seconds + after.seconds
            standings[address][parcel.position] = replace(after, seconds=seconds)
    return {address: tuple(units) for address, units in standings.items()}, lost


def parcels_of(answers: Mapping[str, Answer]) -> list[Parcel]:
    """Return what has to be sent, each thing once for all who want it."""
    to: dict[tuple[int, str, Host, str], list[str]] = {}
    for address, answer in answers.items():
        for position, unit in enumerate(answer.units):
            if unit.wanted:
                what = position, unit.wanted, answer.host, answer.cflags
                to.setdefault(what, []).append(address)
    return [Parcel(*what, tuple(addresses)) for what, addresses in to.items()]


async def serve(
    client: Any, kernels: Kernels, parcel: Parcel, helpers: Mapping[str, Answer], *, here: bool
) -> dict[str, Standing]:
    """Have a parcel compiled where that can be done and sent to those who want it."""
    job = (tuple(kernels), parcel.position, parcel.host, parcel.cflags)
    data = None
    if here and serves(this_host(), parcel.host):
        data = await asyncio.to_thread(compile_there, *job)
    if not fits(data, parcel):
        able = [
            a
            for a, h in helpers.items()
            if h.can_compile and a not in parcel.to and serves(h.host, parcel.host)
        ]
        for helper in able[:1]:
            answered = await client.run(compile_for_peer, *job, workers=[helper], on_error="return")
            data = answered.get(helper)
    if not fits(data, parcel):
        return {}
    assert isinstance(data, tuple)
    received = await client.run(
        receive,
        tuple(kernels),
        parcel.position,
        data[1],
        workers=list(parcel.to),
        on_error="return",
    )
    return {a: standing for a, standing in received.items() if isinstance(standing, Standing)}


def fits(data: object, parcel: Parcel) -> bool:
    """Tell whether something was compiled, by the same version of mexdask as the receivers'."""
    return isinstance(data, tuple) and data[0] == parcel.digest


def units_of(kernels: Kernels) -> list[tuple[Unit, BlockKernel]]:
    """Return all units of kernels, each with its kernel; the same order in every process."""
    return [(unit, kernel) for kernel in kernels for unit in kernel.specialisation().units]


def readiness(standings: Sequence[Standing]) -> Readiness:
    """Return how a kernel stands whose units stand so."""
    seconds = sum(standing.seconds for standing in standings)
    decisions = [standing.decision for standing in standings]
    fallen = [d for d in decisions if d.route is Route.INTERPRETER]
    worst = fallen[0] if fallen else min(decisions, key=lambda d: SLOWEST_FIRST.index(d.outcome))
    return Readiness(worst.route.value, worst.outcome, worst.reason, seconds)


async def prepare(kernels: Kernels, dask_worker: Any) -> Answer:
    """Return, on a worker, what it is and has, compiling what it can."""
    return await asyncio.to_thread(prepared, kernels, dask_worker)


async def describe() -> Answer:
    """Return, on a worker, what it is."""
    return await asyncio.to_thread(described_here)


async def compile_for_peer(
    kernels: Kernels, position: int, host: Host, cflags: str
) -> tuple[str, bytes] | Failure:
    """Compile one unit, on a worker, for another worker."""
    return await asyncio.to_thread(compile_there, kernels, position, host, cflags)


async def receive(kernels: Kernels, position: int, data: bytes, dask_worker: Any) -> Standing:
    """Load, on a worker, one unit that was compiled elsewhere."""
    return await asyncio.to_thread(received, kernels, position, data, dask_worker)


def prepared(kernels: Kernels, worker: Any) -> Answer:
    """Look for every unit as its first chunk would."""
    with working_for(worker):
        units = tuple(standing(unit, kernel) for unit, kernel in units_of(kernels))
    return replace(described_here(), units=units)


def standing(unit: Unit, kernel: BlockKernel) -> Standing:
    """Look for one unit as its first chunk would."""
    start = time.perf_counter()
    native, decision = find(unit, kernel.settings)
    wanted = ""
    if native is None:
        note(unit, decision)
        if decision.outcome not in BEYOND_HELP:
            wanted = wanted_key(unit, kernel.settings)
    return Standing(decision, time.perf_counter() - start, wanted)


def described_here() -> Answer:
    """Return what this process is."""
    able = is_enabled() and isinstance(compiler_here(), Compiler)
    return Answer(this_host(), process_settings().cflags, able)


def compile_there(
    kernels: Kernels, position: int, host: Host, cflags: str
) -> tuple[str, bytes] | Failure:
    """Compile one unit for a process on another host."""
    unit, kernel = units_of(kernels)[position]
    return build_for(unit, host, cflags, kernel.settings)


def received(kernels: Kernels, position: int, data: bytes, worker: Any) -> Standing:
    """Load one unit that was compiled elsewhere, if it stands every check."""
    start = time.perf_counter()
    unit, kernel = units_of(kernels)[position]
    with working_for(worker):
        decision = accept(unit, kernel.settings, data)
    return Standing(decision, time.perf_counter() - start)
