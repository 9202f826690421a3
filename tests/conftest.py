"""What all tests share: a cache directory of the session's own, and the golden files' switch."""

from __future__ import annotations

import os

import pytest

from mexdask.runtime import dispatch


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/*.txt")


@pytest.fixture(scope="session", autouse=True)
def own_tmpdir(tmp_path_factory):
    """Compile into a cache that no other run has filled; processes that tests start see it too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", os.fspath(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def fallbacks_are_said_again():
    """Fallbacks warn once per process; each test shall hear of its own."""
    dispatch._warned.clear()
