"""The single entry signature of native kernels: its version and its ctypes types."""

from __future__ import annotations

import ctypes

ABI_VERSION = 1
ENTRY_ARGTYPES = [ctypes.c_char_p]
ENTRY_RESTYPE = ctypes.c_int32
