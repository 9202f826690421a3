"""The Dask worker that this code runs on, if any, and what it is told; imports nothing of Dask."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

TOPIC = "mexdask"

_given: ContextVar[Any] = ContextVar("mexdask_worker", default=None)


@contextmanager
def working_for(worker: Any) -> Iterator[None]:
    """Let what runs inside, outside of any task, count as running on a worker."""
    token = _given.set(worker)
    try:
        yield
    finally:
        _given.reset(token)


def current_worker() -> Any:
    """Return the worker whose task runs in this thread, or None."""
    if (worker := _given.get()) is not None:
        return worker
    module = sys.modules.get("distributed.worker")
    if module is None:
        return None
    try:
        return module.get_worker()
    except ValueError:
        return None


def tell(event: str, **facts: str | int | float) -> None:
    """Log an event under the topic "mexdask" of the worker that this runs on; elsewhere nothing."""
    if (worker := current_worker()) is not None:
        worker.log_event(TOPIC, {"event": event, **facts})


def publish_metric(metric: Callable[[], object]) -> None:
    """Let the heartbeats of the worker that this runs on carry what ``metric`` returns."""
    worker = current_worker()
    if worker is not None and TOPIC not in worker.metrics:
        # A new dict: the event loop may be walking the old one at this moment.
        worker.metrics = {**worker.metrics, TOPIC: lambda worker: metric()}


def warn(message: str, category: type[Warning], stacklevel: int = 1) -> None:
    """Warn here, and from a task on its client too."""
    # On a worker, distributed's warn() also reaches the client; elsewhere it is warnings.warn().
    warner = sys.modules.get("distributed.worker", warnings)
    warner.warn(message, category, stacklevel=stacklevel + 1)
