"""What happened, in this process or on a cluster's workers."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mexdask.errors import ArgumentError, FallbackWarning, described
from mexdask.runtime.stats import reset, snapshot
from mexdask.tabular import table

NOT_FALLEN = ("jit-off", "disabled")
ADVICE = {
    "no-cc": "mexdask.warm(client, kernel, ...) compiles it here and sends it to them",
    "complex-dtype": "compute real and imaginary parts apart",
    "io": "see that TMPDIR has room and can be written there",
    "cache-dir": "see that TMPDIR has room and can be written there",
    "bad-flags": "mend ME_DSL_JIT_CFLAGS there",
    "unsupported-platform": "native code needs Linux or macOS",
}
OTHER_ADVICE = (
    "`dask mex doctor` on such a machine says more, and mexdask.warm(client, kernel, ...) sends "
    "them what is compiled elsewhere"
)


def stats(client: Any = None) -> dict[str, Any]:
    """Return the counters of this process, or of every worker of a cluster.

    The sums, without kernels, cache and last error, travel with each worker's heartbeat too:
    ``client.scheduler_info()["workers"][address]["metrics"]["mexdask"]``.

    Parameters
    ----------
    client : distributed.Client, optional
        Whose workers to ask; if it is asynchronous, await what comes back.

    Returns
    -------
    dict
        ``native`` and ``interpreted`` (chunks), ``compiled``, ``disk_hits``, ``prebuilt_hits``,
        ``shipped`` (kernels, by how they came here), ``memory_hits``, ``negative_hits``
        (lookups), ``nan_elements`` (made nan by ``on_error="nan"``), ``failures`` (by class),
        ``compile_seconds``, ``native_seconds``, ``interpreted_seconds``, ``kernels`` (by name, the
        counters with ``engine``, ``outcome`` and ``reason``), ``cache`` (root, entries, bytes,
        quarantined, and ``set_aside``: which entries were bad, and why) and ``last_error``. With a
        client, such a dict for each worker, by address.

    Examples
    --------
    >>> import mexdask, numpy as np
    >>> mexdask.reset_stats()
    >>> _ = mexdask.apply("x + 1", np.arange(3), jit="off")
    >>> mexdask.stats()["interpreted"]
    1
    """
    if client is None:
        return snapshot()
    by_worker: dict[str, Any] = checked_client(client).run(snapshot_there)
    return by_worker


def checked_client(client: Any) -> Any:
    """Return a client of a cluster, or say that it is none."""
    if not all(callable(getattr(client, name, None)) for name in ("run", "sync")):
        raise ArgumentError(
            f"client is {described(type(client))}; give a distributed.Client, such as "
            "Client(cluster) or Client('tcp://host:8786')"
        )
    return client


async def snapshot_there() -> dict[str, object]:
    """Return a worker's counters; it looks at the cache's directory outside of the event loop."""
    return await asyncio.to_thread(snapshot)


def reset_stats() -> None:
    """Set every counter of this process to nothing; what is loaded stays loaded.

    Examples
    --------
    >>> import mexdask
    >>> mexdask.reset_stats()
    >>> mexdask.stats()["native"]
    0
    """
    reset()


@dataclass(frozen=True, slots=True)
class Line:
    """One kernel on one worker.

    Parameters
    ----------
    worker, kernel : str
        The worker's address, the kernel's name.
    engine, outcome, reason : str
        What would run its next chunk, and why, as a stable word and as a sentence.
    native, interpreted : int
        How many chunks each engine has run there.
    seconds : float
        How long they took together.
    """

    worker: str
    kernel: str
    engine: str
    outcome: str
    reason: str
    native: int
    interpreted: int
    seconds: float

    @property
    def chunks(self) -> int:
        """Return how many chunks the worker has run."""
        return self.native + self.interpreted

    @property
    def because(self) -> str:
        """Return the reason with its stable word."""
        return f"{first_line(self.reason)} [{self.outcome}]"

    @property
    def is_fallback(self) -> bool:
        """Tell whether native code was hoped for and could not be had."""
        return self.engine == "interpreter" and self.outcome not in NOT_FALLEN


class Report(tuple[Line, ...]):
    """What every worker did with every kernel: a `Line` for each pair; print it to read it."""

    def __str__(self) -> str:
        header = ("worker", "kernel", "engine", "native", "interpreted", "seconds", "because")
        rows = [
            (x.worker, x.kernel, x.engine, x.native, x.interpreted, x.seconds, x.because)
            for x in self
        ]
        return table(header, rows) if rows else "no worker has run a kernel yet"


def report(client: Any) -> Report:
    """Return, as a table to print, what every worker of a cluster did with every kernel.

    Parameters
    ----------
    client : distributed.Client
        If it is asynchronous, await what comes back.

    Returns
    -------
    Report
        A tuple of lines with worker, kernel, engine, outcome, reason, chunks and seconds; kernels
        of one name share a line.

    Warns
    -----
    FallbackWarning
        For each kernel that some workers run through the interpreter against the wish of the call:
        how many, why, and what to do.

    Examples
    --------
    >>> import distributed, mexdask, numpy as np
    >>> cluster = distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=":0")
    >>> client = distributed.Client(cluster)
    >>> _ = client.submit(mexdask.apply, "x + 1", np.arange(3)).result()
    >>> lines = mexdask.report(client)
    >>> print(lines)  # doctest: +SKIP
    worker        kernel      engine  native  interpreted   seconds  because
    inproc://...  expression  native       1            0  1.08e-05  compiled here [compiled]
    >>> client.close(); cluster.close()
    """
    found: Report = checked_client(client).sync(reported, client)
    return found


async def reported(client: Any) -> Report:
    """Ask the workers, and warn."""
    by_worker = await client.run(snapshot_there, on_error="ignore")
    lines = Report(lines_of(by_worker))
    for message in complaints(lines, len(by_worker)):
        warnings.warn(message, FallbackWarning, stacklevel=1)
    return lines


def lines_of(by_worker: Mapping[str, Mapping[str, Any]]) -> Iterator[Line]:
    """Yield a line for each worker and kernel."""
    for address, counters in sorted(by_worker.items()):
        for name, row in counters["kernels"].items():
            yield Line(
                address,
                name,
                row["engine"],
                row["outcome"],
                row["reason"],
                row["native"],
                row["interpreted"],
                row["native_seconds"] + row["interpreted_seconds"],
            )


def complaints(lines: Report, workers: int) -> Iterator[str]:
    """Yield a sentence for each kernel and reason for which workers fall back."""
    fallen: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        if line.is_fallback:
            fallen.setdefault((line.kernel, line.outcome), []).append(line)
    for (kernel, outcome), those in fallen.items():
        reason = first_line(those[0].reason)
        yield (
            f"{len(those)} of {workers} workers run kernel {kernel!r} through the NumPy "
            f"interpreter ({outcome}): {reason}; {ADVICE.get(outcome, OTHER_ADVICE)}"
        )


def first_line(text: str) -> str:
    """Return the first line of what a compiler said, say."""
    return text.strip().split("\n")[0]
