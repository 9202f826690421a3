"""Threads share large NumPy arrays: the same results, the same failing element, Ctrl-C works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import dask
import dask.array as da
import numpy as np
import pytest
from engines import NATIVE

import mexdask
from mexdask import chunk, smallchunk, threads

COLLATZ = """
def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps
"""
KERNELS = {
    "loops": (COLLATZ, np.arange(1, 5000)),
    "no loops": ("sqrt(x) + 1 / x", np.linspace(0.5, 9.0, 5000)),
    "two results": ("def f(x):\n    return x * 2, x > 3", np.linspace(0.5, 9.0, 5000)),
    "an index": ("x + _flat_idx", np.ones((50, 100))),
    "a reduction": ("x - mean(x)", np.linspace(0.5, 9.0, 5000)),
}


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chunk, "SHARED_SLAB", 100)
    monkeypatch.setattr(chunk, "SHARED_STRAIGHT_SLAB", 100)
    monkeypatch.setattr(smallchunk, "SMALL", 100)
    monkeypatch.setattr(smallchunk, "STRAIGHT_SLAB", 100)


@pytest.mark.parametrize("name", KERNELS)
def test_results_do_not_depend_on_threads(name: str):
    text, x = KERNELS[name]
    results = []
    for number in (1, 2, 7):
        with dask.config.set({"mexdask.threads": number}):
            got = mexdask.apply(text, x, jit=NATIVE)
        results.append([r.tobytes() for r in (got if isinstance(got, tuple) else (got,))])
    assert results[0] == results[1] == results[2]


def test_several_threads_do_the_work(monkeypatch: pytest.MonkeyPatch):
    meeting = threading.Barrier(3, timeout=30)
    seen = set()

    def piece(number: int) -> None:
        if number < 3:  # three threads must be here at once
            meeting.wait()
        seen.add(threading.get_ident())

    assert threads.first_failure(piece, 20, 3) is None
    assert len(seen) == 3


@pytest.mark.parametrize("bad", [(0,), (4998, 17, 2500), (101, 100), (99, 3000)])
@pytest.mark.parametrize("number", [1, 2, 5])
def test_the_lowest_failing_element_is_named(
    bad: tuple[int, ...], number: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ME_DSL_WHILE_MAX_ITERS", "400")
    n = np.arange(1, 5000)
    n[list(bad)] = 0  # never ends
    with (
        dask.config.set({"mexdask.threads": number}),
        pytest.raises(mexdask.KernelRuntimeError) as caught,
    ):
        mexdask.apply(COLLATZ, n, jit=NATIVE)
    assert caught.value.index == (min(bad),)


def test_elements_made_nan_are_counted_over_all_threads():
    text = "def f(x):\n    for i in range(0, 3, int(x)):\n        pass\n    return x\n"
    x = np.arange(5000.0) % 5
    before = mexdask.stats()["nan_elements"]
    with dask.config.set({"mexdask.threads": 3}):
        got = mexdask.apply(text, x, jit=NATIVE, on_error="nan")
    assert np.isnan(got).sum() == 1000
    assert mexdask.stats()["nan_elements"] - before == 1000


def test_an_exception_in_a_thread_comes_out():
    def piece(number: int) -> None:
        if number == 5:
            raise RuntimeError("piece 5")

    with pytest.raises(RuntimeError, match="piece 5"):
        threads.first_failure(piece, 50, 3)


def test_chunks_of_dask_arrays_have_one_thread(monkeypatch: pytest.MonkeyPatch):
    def never() -> int:
        raise AssertionError("a chunk asked for threads")

    monkeypatch.setattr(threads, "allowed", never)
    x = da.ones(8000, chunks=4000)
    for scheduler in ("threads", "sync"):
        got = mexdask.apply("x + 1", x, jit=NATIVE).compute(scheduler=scheduler)
        assert (got == 2).all()


def test_auto_is_the_processors_in_the_main_thread_and_one_elsewhere():
    assert threads.allowed() == len(os.sched_getaffinity(0))
    found = []
    other = threading.Thread(target=lambda: found.append(threads.allowed()))
    other.start()
    other.join()
    assert found == [1]
    with dask.config.set({"mexdask.threads": 3}):
        assert threads.allowed() == 3


@pytest.mark.compiler
@pytest.mark.parametrize("wrong", [0, -1, True, "two", 1.5])
def test_another_setting_is_an_error(wrong: object):
    with (
        dask.config.set({"mexdask.threads": wrong}),
        pytest.raises(mexdask.ArgumentError, match="threads"),
    ):
        mexdask.apply("x + 1", np.ones(5000), jit=NATIVE)


INTERRUPTED = """
import os, signal, threading, dask, numpy as np, mexdask
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
n = np.full(1 << 20, 3.0)
text = "def f(x):\\n    for i in range(20000):\\n        x = sqrt(x + 1)\\n    return x\\n"
k = mexdask.kernel(text)
k(n[:8], jit="require")
with dask.config.set({"mexdask.threads": 2}):
    try:
        print("ready", flush=True)
        k(n, jit="require")
    except KeyboardInterrupt:
        print("interrupted", k(n[:8], jit="require").shape)
"""


@pytest.mark.slow
@pytest.mark.compiler
def test_ctrl_c_ends_a_shared_computation():
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    output = ""
    for _ in range(100):  # the signal may come before the call or in the midst of it
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        try:
            output, _ = process.communicate(timeout=30)
            break
        except subprocess.TimeoutExpired:
            continue
    assert output == "interrupted (8,)\n"
    assert process.returncode == 0
