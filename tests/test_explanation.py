"""What ``explain`` says beside engine and reason: forms, and what widened a result."""

from __future__ import annotations

import numpy as np
import pytest

import mexdask

F4, F8, I4, I1, U1 = (np.ones(3, t) for t in ("f4", "f8", "i4", "i1", "u1"))


@pytest.mark.parametrize(
    ("source", "arguments", "widened"),
    [
        ("t + level * 2", (F4, I4), ["float64 because `level` is int32, else float32"]),
        ("x + y", (F4, F8), ["float64 because `y` is float64, else float32"]),
        ("x + y", (F4, np.float64(2)), ["float64 because `y` is float64, else float32"]),
        ("x + y", (F4, 2.0), []),
        ("x * 2", (F8,), []),
        ("x > y", (F4, F8), []),
        (
            "a + b",
            (I1, U1),
            [
                "int16 because `a` is int8, else uint8",
                "int16 because `b` is uint8, else int8",
            ],
        ),
    ],
)
def test_what_widened_the_result(source: str, arguments: tuple, widened: list[str]):
    explanation = mexdask.explain(source, *arguments)
    assert list(explanation.widened) == widened
    assert all(line in str(explanation) for line in widened)
