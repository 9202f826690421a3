"""What happened, in this process or on a cluster's workers."""

from __future__ import annotations

from typing import Any

from mexdask.runtime.stats import reset, snapshot


def stats(client: Any = None) -> dict[str, Any]:
    """Return the counters of this process, or of every worker of a cluster.

    Parameters
    ----------
    client : distributed.Client, optional
        Whose workers to ask; if it is asynchronous, await what comes back.

    Returns
    -------
    dict
        ``native`` and ``interpreted`` (chunks), ``compiled``, ``memory_hits``, ``disk_hits``,
        ``negative_hits`` (lookups), ``nan_elements`` (made nan by ``on_error="nan"``),
        ``failures`` (by class), ``compile_seconds``, ``native_seconds``, ``interpreted_seconds``,
        ``kernels`` (the counters by kernel name), ``cache`` (root, entries, bytes, quarantined, and
        ``set_aside``: which entries were bad, and why)
        and ``last_error``. With a client, such a
        dict for each worker, by address.

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
    by_worker: dict[str, Any] = client.run(snapshot)
    return by_worker


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
