"""Compilers have nothing to say about the generated C."""

from __future__ import annotations

from pathlib import Path

import corpus
import pytest
import test_ops
from batch import Library
from edges import DTYPES

pytestmark = pytest.mark.compiler


def test_the_corpus_compiles_without_warnings():
    assert corpus.library().log == ""


def test_every_row_compiles_without_warnings_for_every_dtype():
    assert test_ops.library().log == ""
    tested = {dtype for row in test_ops.ROWS for dtype in row.operands}
    assert tested == set(DTYPES.values())


@pytest.mark.parametrize("bug", ["long a = 1 / 0;", "int unused;", "int a = 1; return a < 2u;"])
def test_warnings_are_seen(bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("batch.TYPES", f"int bad(void) {{ {bug} return 0; }}\n")
    with pytest.raises(AssertionError):
        assert Library([corpus.load()[0].specialisation.result.function], tmp_path).log == ""
