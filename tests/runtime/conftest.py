"""Fixtures of the runtime's tests; helpers are in ``runtime_kit``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from runtime_kit import recording_cc

from mexdask.runtime import build, disk, stats, toolchain
from mexdask.settings import ProcessSettings


@pytest.fixture(autouse=True)
def fresh_process():
    """Forget what the process has learnt about compilers and directories."""
    for memo in (toolchain._known, build._pauses, disk._stores):
        memo.clear()
    stats.reset()


@pytest.fixture
def tmpdir_(tmp_path: Path) -> Path:
    path = tmp_path / "tmp"
    path.mkdir()
    return path


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[str, Path]:
    """The recording compiler's path and its log."""
    cc, log = recording_cc(tmp_path)
    return str(cc), log


@pytest.fixture
def settings(tmpdir_: Path, recorded: tuple[str, Path]) -> ProcessSettings:
    """A process with the recording compiler and a directory of its own."""
    return ProcessSettings(compiler=recorded[0], path=os.environ["PATH"], tmpdir=str(tmpdir_))
