"""What plain Python says: a kernel's function called on NumPy scalars, once per element."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

SIZE = 150
"""Elements that the oracle looks at, unless a test says otherwise; it is slow."""


def oracle(
    function: Callable[..., Any], arguments: Sequence[Any], result: np.dtype
) -> np.ndarray[Any, Any]:
    """Return what a function of scalars gives for each element, converted to the kernel's dtype."""
    shape = np.broadcast_shapes(*map(np.shape, arguments))
    # Python's own scalars stay as they are: they are weak.
    columns = [a if isinstance(a, np.ndarray) else [a] * shape[0] for a in arguments]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        values = [np.asarray(function(*row)) for row in zip(*columns, strict=True)]
        return np.array([v.astype(result) for v in values], result)
