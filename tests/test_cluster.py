"""Kernels on real worker processes: compiled once per machine, loaded once per process."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
import warnings
from contextlib import contextmanager

import dask
import dask.array as da
import numpy as np
import pytest
from cluster_kit import ESCAPE, interpreted, plane, total, until, workers
from runtime.runtime_kit import compiles, recording_cc, script
from test_whole_array import CASES, DATA, SECOND, results_of

import mexdask

distributed = pytest.importorskip("distributed")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(60)]

STEPS = "def steps(x):\n    n = 0\n    for i in range(0, 6, x):\n        n += 1\n    return n"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """Two worker processes with an empty cache, and the log of their compiler."""
    directory = tmp_path_factory.mktemp("machine")
    cc, log = recording_cc(directory)
    with workers(directory, CC=str(cc)) as client:
        client.compile_log = log
        yield client


@pytest.fixture
def client(machine):
    """The same, counting from nothing; what is computed is computed there."""
    until(lambda: not any(machine.run(tasks_left).values()))  # by a graph that failed
    machine.run(mexdask.reset_stats)
    with machine.as_current():
        yield machine


@pytest.fixture(scope="module")
def machine_without_jit(tmp_path_factory):
    """Two workers that may not compile, and the log of every call of their compiler."""
    directory = tmp_path_factory.mktemp("off")
    log = directory / "calls"
    cc = script(directory / "cc", f'echo "$@" >> "{log}"\nexec /usr/bin/cc "$@"')
    with workers(directory, CC=str(cc), ME_DSL_JIT="0") as client:
        client.compile_log = log
        yield client


@pytest.fixture
def without_jit(machine_without_jit):
    with machine_without_jit.as_current():
        yield machine_without_jit


# Lambdas, for they travel by value: workers need not import this module.
tasks_left = lambda dask_worker: len({*dask_worker.state.executing, *dask_worker.state.ready})  # noqa: E731
say_address = lambda dask_worker: dask_worker.log_event("mexdask-test", dask_worker.address)  # noqa: E731


def test_compiled_once_per_machine_loaded_once_per_worker(client):
    before = compiles(client.compile_log)
    re, im = plane()
    result = mexdask.apply(ESCAPE, re, im, 150, jit="require")
    pixels = result.compute()
    assert pixels.tobytes() == interpreted(ESCAPE, re, im, 150).tobytes()

    stats = mexdask.stats(client)
    assert set(stats) == set(client.scheduler_info()["workers"])
    assert compiles(client.compile_log) - before == total(stats, "compiled") == 1
    for worker in stats.values():
        assert worker["compiled"] + worker["disk_hits"] == 1
        assert (
            worker["native"] == worker["memory_hits"] + 1 == worker["kernels"]["escape"]["native"]
        )
    assert total(stats, "native") == result.npartitions == 64
    assert total(stats, "interpreted", "negative_hits") == 0

    again = mexdask.apply(ESCAPE, re, im + 0.001, 150, jit="require")
    again.compute()
    grown = mexdask.stats(client)
    assert total(grown, "native") == 128
    assert total(grown, "memory_hits") - total(stats, "memory_hits") == 64
    assert total(grown, "compiled", "disk_hits") == 2
    assert compiles(client.compile_log) - before == 1


def test_the_second_dtype_is_a_second_kernel(client):
    before = compiles(client.compile_log)
    for dtype in ("float32", "float64", "float32"):
        x = da.arange(40, chunks=5, dtype=dtype)
        result = mexdask.apply("x * 3 - 1", x, jit="require").compute()
        np.testing.assert_array_equal(result, np.arange(40, dtype=dtype) * 3 - 1)
    assert compiles(client.compile_log) - before == 2


def test_configuration_of_the_client_travels(client):
    before = compiles(client.compile_log)
    x = da.arange(40, chunks=5)
    with dask.config.set({"mexdask.jit": "off", "mexdask.while-max-iters": 30}):
        result = mexdask.apply("def k(x):\n    while x > 0:\n        x -= 1\n    return x", x)
    with pytest.raises(mexdask.KernelRuntimeError, match="more than 30 times") as caught:
        result.compute()
    assert caught.value.index >= (31,)
    assert not result[:30].compute().any()
    stats = mexdask.stats(client)
    assert total(stats, "interpreted") >= 7
    assert total(stats, "native", "compiled", "disk_hits") == 0
    assert compiles(client.compile_log) == before


@pytest.mark.parametrize("jit", ["require", "off"])
def test_errors_of_elements_arrive(client, jit):
    x = np.ones((12, 10), "int64")
    x[9, 7] = 0
    result = mexdask.apply(STEPS, da.from_array(x, chunks=(4, 3)), jit=jit)
    with pytest.raises(mexdask.KernelRuntimeError, match="x = 0") as caught:
        result.compute()
    assert type(caught.value) is mexdask.KernelRuntimeError
    assert caught.value.index == (9, 7)
    assert "steps:3:" in str(caught.value)


def test_errors_of_blocks_arrive(client):
    x = da.ones((4, 6), chunks=(2, 3))
    liar = x.map_blocks(np.transpose, dtype=x.dtype, meta=x._meta)
    with pytest.raises(mexdask.BlockError, match=r"kernel 'escape': the block of 'im' at \(\d, \d"):
        mexdask.apply(ESCAPE, x, liar, 3, jit="require").compute()
    assert total(mexdask.stats(client), "native", "interpreted") == 0


def test_arrays_may_stay_on_the_workers(client):
    x = da.arange(60, chunks=6).persist()
    result = mexdask.apply("x % 7 + y", x, x[::-1], jit="require").persist()
    distributed.wait(result)
    assert (result.sum() + 1).compute() == (np.arange(60) % 7 + np.arange(60)).sum() + 1


def test_kernels_travel_by_their_source(client, tmp_path):
    """From a script's ``__main__``, which no worker can import."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
        import sys
        import dask.array as da, numpy as np
        from distributed import Client
        import mexdask

        @mexdask.kernel
        def doubled(x, by=2):
            "Return twice the argument."
            return x * by + 0.125

        def halved(x):
            return x / 2

        if __name__ == "__main__":
            x = np.arange(6.0)
            with Client(sys.argv[1]) as client:
                assert (client.submit(doubled, x, jit="require").result() == x * 2 + 0.125).all()
                assert client.gather(client.map(doubled, [1, 2], by=3)) == [3.125, 6.125]
                back = client.submit(lambda kernel: kernel, doubled).result()
                assert back == doubled and hash(back) == hash(doubled)
                lazy = da.arange(6.0, chunks=2)
                for kernel in (doubled, back):
                    result = mexdask.apply(kernel, lazy, jit="require")
                    assert (result.compute() == x * 2 + 0.125).all()
                result = mexdask.apply(halved, lazy, jit="require")
                assert (result.compute() == x / 2).all()
                apply = client.submit(mexdask.apply, mexdask.kernel(halved), x, jit="require")
                assert (apply.result() == x / 2).all()
            print("done")
        """)
    )
    done = subprocess.run(
        [sys.executable, program, client.scheduler.address],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert total(mexdask.stats(client), "native") >= 10


def test_workers_without_jit_touch_no_compiler(without_jit):
    re, im = plane(tiles=4)
    result = mexdask.apply(ESCAPE, re, im, 50)
    assert result.compute().tobytes() == interpreted(ESCAPE, re, im, 50).tobytes()
    stats = mexdask.stats(without_jit)
    assert total(stats, "interpreted") == 16
    assert total(stats, "native", "compiled", "disk_hits") == 0
    assert not any(worker["failures"] for worker in stats.values())
    assert not without_jit.compile_log.exists()


def test_what_was_required_and_cannot_be_had(without_jit):
    x = da.arange(6, chunks=3)
    with pytest.raises(mexdask.JITUnavailableError, match=r"kernel 'steps': .*ME_DSL_JIT=0"):
        mexdask.apply(STEPS, x + 1, jit="require").compute()
    with dask.config.set({"mexdask.jit": "require"}):
        result = mexdask.apply(STEPS, x + 1)
    with pytest.raises(mexdask.JITUnavailableError):
        result.compute()
    assert not without_jit.compile_log.exists()


@contextmanager
def warnings_of(client):
    """The warnings that the user of a client sees, workers' included, by Python's own filters."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        yield caught
        # What a worker said before this has been handled once its own event has come back.
        heard = set()
        client.subscribe_topic("mexdask-test", lambda event: heard.add(event[1]))
        everyone = set(client.scheduler_info()["workers"])
        until(lambda: client.run(say_address) and heard == everyone)
        client.unsubscribe_topic("mexdask-test")


def test_each_fallback_is_said_once(tmp_path):
    re, im = plane(tiles=4)
    # One of the same name may still be on the cluster.
    expected = {limit: interpreted(ESCAPE, re, im, limit) for limit in (50, 49)}
    with workers(tmp_path, CC=str(tmp_path / "no such cc")) as client:
        with warnings_of(client) as caught:
            for limit, wanted in expected.items():
                result = mexdask.apply(ESCAPE, re, im, limit).compute()
                assert result.tobytes() == wanted.tobytes()
        (warning,) = caught
        assert warning.category is mexdask.FallbackWarning
        assert "kernel 'escape' runs through the NumPy interpreter" in str(warning.message)
        assert "no such cc" in str(warning.message)

        with warnings_of(client) as caught:
            mexdask.apply(ESCAPE, re, im, 51).compute()
            mexdask.apply("def other(x):\n    return x - 1", re).compute()
        assert not caught, "once for each reason and process"

        stats = mexdask.stats(client)
        assert total(stats, "interpreted") == 3 * 16 + 4
        assert total(stats, "native") == 0
        assert all(worker["failures"] and worker["last_error"] for worker in stats.values())
        with pytest.raises(mexdask.JITUnavailableError, match="no such cc"):
            mexdask.apply(ESCAPE, re, im, 50, jit="require").compute()


def test_workers_in_this_process(tmp_path, monkeypatch):
    cc, log = recording_cc(tmp_path)
    monkeypatch.setenv("CC", str(cc))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    source = ESCAPE.replace("0.25", "0.375")
    re, im = plane(tiles=4)
    with workers(tmp_path, processes=False, threads=2) as client:
        mexdask.reset_stats()
        result = mexdask.apply(source, re, im, 50, jit="require").compute()
        by_worker = mexdask.stats(client)
    assert result.tobytes() == interpreted(source, re, im, 50).tobytes()
    assert compiles(log) == 1
    assert len(by_worker) == 2
    for worker in by_worker.values():
        assert (worker["native"], worker["compiled"], worker["memory_hits"]) == (16, 1, 15)


def test_threads_of_a_worker_run_chunks_at_once(tmp_path):
    cc, log = recording_cc(tmp_path)
    re, im = plane(tiles=10, size=1000)
    with workers(tmp_path, n_workers=1, threads=2, CC=str(cc)) as client:
        result = mexdask.apply(ESCAPE, re, im, 300, jit="require")
        pixels = result.compute()
        stats = mexdask.stats(client)
    assert pixels.tobytes() == interpreted(ESCAPE, re, im, 300).tobytes()
    assert total(stats, "native") == 100
    assert total(stats, "compiled") == compiles(log) == 1
    assert total(stats, "memory_hits") == 99


def test_counters_are_plain_data(client):
    assert pickle.loads(pickle.dumps(mexdask.stats(client))).keys() == mexdask.stats(client).keys()
    for worker in mexdask.stats(client).values():
        assert worker.keys() == mexdask.stats().keys()
        assert os.path.realpath(worker["cache"]["root"]).startswith(
            os.path.realpath(client.compile_log.parent)
        )


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_schedulers(tmp_path, monkeypatch, method):
    """Children of a process that has run the kernel load it from disk, or still have it."""
    cc, log = recording_cc(tmp_path)
    monkeypatch.setenv("CC", str(cc))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    source = ESCAPE.replace("0.25", f"0.{len(method)}125")
    re, im = plane(tiles=3, size=30)
    image = mexdask.apply(source, re, im, 40, jit="require")
    expected = image.compute(scheduler="synchronous").tobytes()
    with dask.config.set(scheduler="processes", num_workers=2):
        with dask.config.set({"multiprocessing.context": method}):
            assert image.compute().tobytes() == expected
    assert compiles(log) == 1


def test_whole_array_kernels(client):
    for name, case in CASES.items():
        data = (DATA, SECOND)[: case.arguments]
        lazy = [da.from_array(x, chunks=(3, 4)) for x in data]
        want = results_of(mexdask.apply(case.kernel, *data, jit="off"))
        for jit in ("require", "off"):
            got = results_of(mexdask.apply(case.kernel, *lazy, jit=jit))
            for a, b in zip(got, want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-13, err_msg=f"{name}, jit={jit}")
