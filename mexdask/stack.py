"""Room for recursion: passes over nested kernels work however deep the caller already is."""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def roomy(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function again in a thread of its own, whose stack is empty, if there is no room here.

    Kernels are bounded in depth such that every pass fits into an empty stack.
    """

    @functools.wraps(function)
    def with_room(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except RecursionError:
            return in_fresh_thread(lambda: function(*args, **kwargs))

    return with_room


def in_fresh_thread(work: Callable[[], T]) -> T:
    """Return what the work returns, or raise what it raises."""
    results: list[T] = []
    errors: list[BaseException] = []
    context = contextvars.copy_context()

    def run() -> None:
        try:
            results.append(context.run(work))
        except BaseException as error:  # it is raised in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
