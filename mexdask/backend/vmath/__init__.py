"""Vector math: our own functions in C, from one source at any number of lanes, one included.

The functions use plain IEEE operations only: no library, and a fused multiply-add only where its
result is exact, as it is without. So scalar C and vectors of every width give the same bits on
every machine. `instance` turns a source into definitions for the lanes that a kernel calls.
A source is C in which

- ``F`` is a vector of floats or one float, ``S`` one of its lanes, ``I`` and ``U`` whole numbers as
  wide, ``M`` a mask: 0 or -1 in each lane of a vector, 0 or 1 where there is but one;
- numbers get the suffix of the type, and ``POLY(x, name)`` is a polynomial of `coefficients`;
- other functions are called by name; ``ONE_name`` is the one for a single float64;
- ``if (any(mask))`` may skip what is rare, but each lane is chosen by its own mask, so that its
  value does not depend on its neighbours;
- what ``fp=fast`` must not reassociate stands in ``vm_fence``;
- statements stand in lines of their own and the one ``return`` is the last of them, so that
  `abreast` can write each for several vectors before the next.

A float32 function without a source of its own computes in float64, by the one called ``...short``.
"""

from mexdask.backend.vmath.instance import call, definitions, has_vectors, vectors_abreast

__all__ = ["call", "definitions", "has_vectors", "vectors_abreast"]
