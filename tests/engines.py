"""The engine that tests ask for: native code wherever a compiler is, so that no fallback hides."""

from __future__ import annotations

from mexdask.runtime.toolchain import Compiler, find_compiler
from mexdask.settings import process_settings

HAS_COMPILER = isinstance(find_compiler(process_settings()), Compiler)
NATIVE = "require" if HAS_COMPILER else "auto"
