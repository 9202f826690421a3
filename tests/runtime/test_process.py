"""A foreign program within bounds."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from runtime_kit import exit_code, start_child

from mexdask.runtime import process
from mexdask.runtime.process import run


def shell(text: str, directory: Path, seconds: float = 10.0, most: int = 1000) -> process.Ended:
    return run(["/bin/sh", "-c", text], {"PATH": os.environ["PATH"]}, str(directory), seconds, most)


def test_it_says_how_a_program_ended(tmp_path: Path) -> None:
    assert shell("echo one; echo two >&2; exit 3", tmp_path) == process.Ended(3, "one\ntwo\n")
    assert shell("kill -9 $$", tmp_path).code == -9
    assert shell("sleep 60", tmp_path, seconds=0.2).code is None


def test_a_program_sees_only_what_it_is_given(tmp_path: Path) -> None:
    names = {line.partition("=")[0] for line in shell("env", tmp_path).text.split()}
    assert names <= {"PATH", "LC_ALL", "TMPDIR", "PWD", "SHLVL", "_"}
    assert shell("cat", tmp_path).text == ""


@pytest.mark.skipif(not os.path.exists(process.LIMITS_PROGRAM), reason="no prlimit here")
def test_the_size_of_its_files_is_bounded_from_the_first_instant(tmp_path: Path) -> None:
    said = shell("ulimit -f; ulimit -t; ulimit -c; truncate -s 99000000 file; echo x", tmp_path)
    assert said.text.split()[:3] == [str(process.LARGEST_FILE // 512), "15", "0"]
    assert (tmp_path / "file").stat().st_size == 0


def test_limits_of_our_own_that_are_lower_stay(tmp_path: Path) -> None:
    def work() -> bool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512 * 7, 512 * 7))
        return shell("ulimit -f", tmp_path).text == "7\n"

    assert exit_code(start_child(work)) == 0


@pytest.fixture
def nobody_comes_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The mutex of all starts and forks is held by somebody who will not let it go."""
    mutex = threading.Lock()
    monkeypatch.setattr(process, "_starting", mutex)
    with mutex:
        yield


@pytest.mark.usefixtures("nobody_comes_back")
def test_a_program_starts_all_the_same_and_with_all_its_time(tmp_path: Path) -> None:
    assert shell("sleep 0.5", tmp_path, seconds=process.LONGEST_START).code == 0
    assert process._starting.acquire(timeout=0), "the next start would wait as well"


@pytest.mark.usefixtures("nobody_comes_back")
def test_a_fork_happens_all_the_same(tmp_path: Path) -> None:
    assert exit_code(start_child(lambda: shell("exit 3", tmp_path).code == 3)) == 0
    assert shell("exit 3", tmp_path).code == 3
