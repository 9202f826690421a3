"""The engine that tests ask for: native code wherever a compiler is, so that no fallback hides."""

from __future__ import annotations

import importlib.util

from mexdask.runtime.toolchain import Compiler, find_compiler
from mexdask.settings import process_settings

HAS_COMPILER = isinstance(find_compiler(process_settings()), Compiler)
HAS_EXPRESSIONS = importlib.util.find_spec("dask.array._array_expr") is not None
"""Whether this Dask has array expressions; those that have not also pickle larger tasks."""
NATIVE = "require" if HAS_COMPILER else "auto"
