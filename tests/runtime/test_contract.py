"""The page about the cache names tests that exist; the check of guards fits the code."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PAGE = TOP / "docs" / "cache.md"
ROW = re.compile(r"^\| (\d+) \|[^|]*\|(.*)\|$", re.MULTILINE)


def test_each_of_the_35_has_tests_and_they_exist() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert [int(number) for number, _ in rows] == list(range(1, 36))
    for number, tests in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
        assert named or number == "8"
        for file, name in named:
            text = (TOP / "tests" / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {name}\(", text, re.MULTILINE), (file, name)


@pytest.mark.skipif(not (TOP / "ci").is_dir(), reason="not in an installed copy")
def test_every_guard_is_where_the_check_of_guards_looks_for_it() -> None:
    spec = importlib.util.spec_from_file_location("mutation", TOP / "ci" / "mutation.py")
    assert spec is not None
    assert spec.loader is not None
    mutation = importlib.util.module_from_spec(spec)
    sys.modules["mutation"] = mutation
    spec.loader.exec_module(mutation)
    assert len(mutation.GUARDS) >= 50
    for guard in mutation.GUARDS:
        text = (TOP / mutation.RUNTIME / f"{guard.file}.py").read_text(encoding="utf-8")
        assert text.count(guard.code) == 1, guard.name
        assert guard.code != guard.without
