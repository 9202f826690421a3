"""Vector math: our own functions in C, from one source at any number of lanes, one included.

A function's text (`exponential`, `trigonometric`, ...) is C in which ``F`` is a vector of floats,
or one float; `instance` turns it into definitions for the lanes that a kernel calls. The functions
use plain IEEE operations only: no table, no library, no fused multiply-add. So scalar C and vectors
of every width give the same bits on every machine.
"""

from mexdask.backend.vmath.instance import call, definitions, has_vectors

__all__ = ["call", "definitions", "has_vectors"]
