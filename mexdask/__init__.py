"""Python-like kernels of scalars, compiled to C, run on every chunk of Dask and NumPy arrays.

>>> import dask.array as da, mexdask
>>> x = da.arange(4, chunks=2)
>>> mexdask.apply("x + 1 if x > 1 else 0", x).compute()
array([0, 0, 3, 4])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mexdask.api import apply as apply
    from mexdask.api import explain as explain
    from mexdask.api import fromkernel as fromkernel
    from mexdask.api import kernel as kernel
    from mexdask.call import Kernel as Kernel
    from mexdask.cluster import MexPlugin as MexPlugin
    from mexdask.cluster import WarmReport as WarmReport
    from mexdask.cluster import warm as warm
    from mexdask.errors import ArgumentError as ArgumentError
    from mexdask.errors import BlockError as BlockError
    from mexdask.errors import FallbackWarning as FallbackWarning
    from mexdask.errors import JITUnavailableError as JITUnavailableError
    from mexdask.errors import KernelError as KernelError
    from mexdask.errors import KernelRuntimeError as KernelRuntimeError
    from mexdask.errors import KernelSyntaxError as KernelSyntaxError
    from mexdask.errors import KernelTypeError as KernelTypeError
    from mexdask.errors import MexError as MexError
    from mexdask.explanation import Explanation as Explanation
    from mexdask.monitor import Report as Report
    from mexdask.monitor import report as report
    from mexdask.monitor import reset_stats as reset_stats
    from mexdask.monitor import stats as stats
    from mexdask.prebuilt import Built as Built
    from mexdask.prebuilt import build as build

# Loaded at first use, so that a worker that unpickles a kernel imports no more than it needs.
PUBLIC = {
    "Kernel": "call",
    "apply": "api",
    "explain": "api",
    "fromkernel": "api",
    "kernel": "api",
    "MexPlugin": "cluster",
    "WarmReport": "cluster",
    "warm": "cluster",
    "Explanation": "explanation",
    "Report": "monitor",
    "report": "monitor",
    "reset_stats": "monitor",
    "Built": "prebuilt",
    "build": "prebuilt",
    "stats": "monitor",
    "ArgumentError": "errors",
    "BlockError": "errors",
    "FallbackWarning": "errors",
    "JITUnavailableError": "errors",
    "KernelError": "errors",
    "KernelRuntimeError": "errors",
    "KernelSyntaxError": "errors",
    "KernelTypeError": "errors",
    "MexError": "errors",
}
__all__ = [*sorted(PUBLIC)]


if not TYPE_CHECKING:  # a type checker knows the names, and so also which there are not

    def __getattr__(name: str) -> Any:
        if name not in PUBLIC:
            raise AttributeError(f"module 'mexdask' has no attribute {name!r}")
        value = getattr(importlib.import_module(f"mexdask.{PUBLIC[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})
