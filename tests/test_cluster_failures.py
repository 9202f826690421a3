"""What clusters do: workers die, compilers hang, disks fill. The graph ends, with right results."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager

import dask
import dask.array as da
import numpy as np
import psutil
import pytest
from cluster_kit import ESCAPE, by_name, interpreted, machines, names, plane, total, until, workers
from runtime.runtime_kit import REAL_CC, compiles, fake_cc, recording_cc

import mexdask

distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("default::mexdask.FallbackWarning"),
]

# A chunk of it takes seconds; its length cannot be foreseen by whoever waits for it.
SLOW = "def slow(x, limit):\n    while x < limit:\n        x += 1\n    return x"


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A scheduler; tests start the workers that they end."""
    with machines(tmp_path_factory.mktemp("group")) as group:
        group.connection = group.client()
        yield group


@pytest.fixture
def cluster(group):
    """The same with nobody there yet."""
    yield group
    for name in names(group.connection).values():
        group.kill(name)
    until(lambda: not names(group.connection))


def gated_cc(directory):
    """A compiler that hangs, deaf to signals, while the file ``gate`` is there; it logs its pid."""
    log = directory / "started"
    log.touch()
    gate = directory / "gate"
    body = f'echo $$ >> "{log}"\ntrap "" TERM INT HUP\nif [ -e "{gate}" ]; then sleep 600; fi\n'
    return fake_cc(directory, f'{body}exec {REAL_CC} "$@"', "gated"), log, gate


def alive(log):
    """The compilers of a log that still run."""
    return [pid for pid in map(int, log.read_text().split()) if psutil.pid_exists(pid)]


def worker_of(group, pid):
    """The name of the worker that has started a compiler."""
    above = {process.pid for process in psutil.Process(pid).parents()}
    (name,) = [name for name, process in group.processes.items() if process.pid in above]
    return name


def test_a_worker_is_killed_while_it_compiles(cluster, tmp_path):
    client = cluster.connection
    cc, log, gate = gated_cc(tmp_path)
    gate.touch()
    shared = {"CC": str(cc), "TMPDIR": str(tmp_path), "DASK_MEXDASK__COMPILE_TIMEOUT": "1.5"}
    for name in ("a1", "a2"):
        cluster.worker(name, **shared)
    client.wait_for_workers(2, timeout=30)
    re, im = plane(tiles=4)
    future = client.compute(mexdask.apply(ESCAPE, re, im, 60))
    (hung,) = until(lambda: alive(log))
    gate.unlink()
    cluster.kill(worker_of(cluster, hung))
    assert future.result(timeout=30).tobytes() == interpreted(ESCAPE, re, im, 60).tobytes()

    (counters,) = mexdask.stats(client).values()
    assert (counters["compiled"], counters["interpreted"]) == (1, 0)
    until(lambda: not alive(log))  # though nobody was left who could have ended it
    cluster.worker("a3", **shared)
    client.wait_for_workers(2, timeout=30)
    ready = by_name(client, mexdask.warm(client, ESCAPE, "float64", "float64", int))
    assert ready["a3"].outcome == "disk"
    assert len(log.read_text().split()) == 2


@pytest.mark.compiler
def test_a_worker_is_killed_in_the_middle_of_a_chunk(cluster, tmp_path):
    client = cluster.connection
    cluster.worker("b1", TMPDIR=str(tmp_path))
    client.wait_for_workers(1, timeout=30)
    mexdask.warm(client, SLOW, "float64", int)
    x = da.zeros(300, chunks=100)
    future = client.compute(mexdask.apply(SLOW, x, 9_000_000, jit="require"))
    until(lambda: any(mine for mine in client.processing().values()))
    cluster.worker("b2", TMPDIR=str(tmp_path))
    cluster.kill("b1")
    client.wait_for_workers(1, timeout=30)
    assert (future.result(timeout=40) == 9_000_000).all()
    (counters,) = mexdask.stats(client).values()
    assert (counters["native"], counters["compiled"], counters["disk_hits"]) == (3, 0, 1)


@pytest.mark.compiler
def test_a_compiler_hangs_on_one_worker(cluster, tmp_path):
    client = cluster.connection
    cc, log, gate = gated_cc(tmp_path)
    gate.touch()
    cluster.worker("c1", CC=str(cc), DASK_MEXDASK__COMPILE_TIMEOUT="1")
    cluster.worker("c2")
    client.wait_for_workers(2, timeout=30)
    re, im = plane(tiles=6)
    image = mexdask.apply(ESCAPE, re, im, 70)
    future = client.compute(image)
    until(lambda: alive(log))
    # The worker's event loop goes on meanwhile.
    address = next(a for a, name in names(client).items() if name == "c1")
    assert client.run(os.getpid, workers=[address])
    assert alive(log)
    expected = interpreted(ESCAPE, re, im, 70).tobytes()
    assert future.result(timeout=30).tobytes() == expected
    until(lambda: not alive(log))

    stats = by_name(client, mexdask.stats(client))
    assert stats["c1"]["failures"] == {"cc-timeout": 1}
    assert stats["c2"]["interpreted"] == 0
    assert client.compute(image + 1).result(timeout=30).shape == image.shape
    assert len(log.read_text().split()) == 1  # it is not asked again so soon
    ready = by_name(client, mexdask.warm(client, ESCAPE, "float64", "float64", int))
    assert ready["c1"].outcome == "shipped"


@contextmanager
def small_disk(path, size="256k"):
    """A file system of its own for a directory."""
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted: {made.stderr}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.compiler
@pytest.mark.skipif(not shutil.which("mount"), reason="needs mount")
def test_a_full_disk(cluster, tmp_path):
    client = cluster.connection
    with small_disk(tmp_path / "full") as full:
        with pytest.raises(OSError, match="No space"):
            (full / "ballast").write_bytes(bytes(1 << 20))
        cluster.worker("d1", TMPDIR=str(full))
        client.wait_for_workers(1, timeout=30)
        re, im = plane(tiles=3)
        image = mexdask.apply(ESCAPE, re, im, 80)
        expected = interpreted(ESCAPE, re, im, 80).tobytes()
        assert client.compute(image).result(timeout=30).tobytes() == expected
        (ready,) = mexdask.warm(client, ESCAPE, "float64", "float64", int).values()
        assert ready.engine == "native", ready
        assert client.compute(image).result(timeout=30).tobytes() == expected
        (counters,) = mexdask.stats(client).values()
        assert counters["native"] + counters["interpreted"] == 2 * image.npartitions
        assert counters["native"] >= image.npartitions
        cluster.kill("d1")


def test_errors_arrive_once_from_native_code_and_from_the_interpreter(cluster, tmp_path):
    client = cluster.connection
    cluster.worker("e1", TMPDIR=str(tmp_path))
    cluster.worker("e2", ME_DSL_JIT="0")
    client.wait_for_workers(2, timeout=30)
    x = np.arange(1, 401).reshape(20, 20)
    x[17, 13] = 0
    steps = "def steps(x):\n    n = 0\n    for i in range(0, 9, x):\n        n += 1\n    return n"
    for address in names(client):
        with dask.annotate(workers=[address], allow_other_workers=False):
            result = mexdask.apply(steps, da.from_array(x, chunks=(5, 5)))
            future = client.compute(result)
        error = future.exception()
        assert type(error) is mexdask.KernelRuntimeError
        assert error.index == (17, 13)
        assert error.__cause__ is None
        assert "steps:3:" in str(error)
        assert str(error).count("at index") == 1


@pytest.mark.stress
def test_the_plugin_does_no_harm_where_nothing_can_be_had(cluster, tmp_path):
    client = cluster.connection
    cc, log, gate = gated_cc(tmp_path)
    gate.touch()
    cluster.worker("f1", CC=str(cc), DASK_MEXDASK__COMPILE_TIMEOUT="1", ME_DSL_JIT_CFLAGS="-O1")
    client.wait_for_workers(1, timeout=30)
    client.register_plugin(mexdask.MexPlugin([("x * 3.5", "float64"), ("x * 2", "complex128")]))
    x = da.arange(6.0, chunks=2)
    assert (
        client.compute(mexdask.apply("x * 3.5", x)).result().tolist()
        == (np.arange(6) * 3.5).tolist()
    )
    until(lambda: not alive(log))
    cluster.worker("f2", ME_DSL_JIT="0")
    client.wait_for_workers(2, timeout=30)
    ready = by_name(client, mexdask.warm(client, "x * 3.5", "float64"))
    assert (ready["f1"].engine, ready["f2"].outcome) == ("native", "disabled")


@pytest.mark.stress
def test_restarted_workers_load_what_was_compiled(tmp_path):
    cc, log = recording_cc(tmp_path)
    re, im = plane(tiles=4)
    image = mexdask.apply(ESCAPE, re, im, 90, jit="require")
    expected = interpreted(ESCAPE, re, im, 90).tobytes()
    with workers(tmp_path, CC=str(cc)) as client:
        client.register_plugin(mexdask.MexPlugin([(ESCAPE, "float64", "float64", int)]))
        assert image.compute().tobytes() == expected
        before = set(client.run(os.getpid).values())
        client.restart()
        assert not before & set(client.run(os.getpid).values())
        # The plugin has come back with the workers.
        assert total(mexdask.stats(client), "disk_hits") == 2
        assert image.compute().tobytes() == expected
        assert total(mexdask.stats(client), "compiled") == 0
    assert compiles(log) == 1


@pytest.mark.stress
def test_a_scheduler_comes_back(tmp_path):
    cc, log = recording_cc(tmp_path)
    re, im = plane(tiles=4)
    image = mexdask.apply(ESCAPE, re, im, 100, jit="require")
    expected = interpreted(ESCAPE, re, im, 100).tobytes()
    with machines(tmp_path) as group:
        group.worker("s1", TMPDIR=str(tmp_path), CC=str(cc))
        client = group.client()
        assert client.compute(image).result(timeout=40).tobytes() == expected
        group.kill("scheduler")
        client.close()
        group.kill("s1")
        group.file.unlink()
        group.scheduler = group.start_scheduler("0")
        group.worker("s2", TMPDIR=str(tmp_path), CC=str(cc))
        client = group.client()
        assert client.compute(image).result(timeout=40).tobytes() == expected
    assert compiles(log) == 1


@pytest.mark.stress
def test_a_worker_is_paused_by_its_memory(cluster, tmp_path):
    client = cluster.connection
    paused = {"DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "0.0001"}
    cluster.worker("p1", TMPDIR=str(tmp_path), **paused)
    cluster.worker("p2", TMPDIR=str(tmp_path))

    def status():
        known = client.scheduler_info(n_workers=-1)["workers"].values()
        return {worker["name"]: worker["status"] for worker in known}

    until(lambda: status() == {"p1": "paused", "p2": "running"})
    ready = by_name(client, mexdask.warm(client, ESCAPE, "float64", "float64", int))
    assert {r.engine for r in ready.values()} == {"native"}
    re, im = plane(tiles=4)
    image = mexdask.apply(ESCAPE, re, im, 110, jit="require")
    expected = interpreted(ESCAPE, re, im, 110).tobytes()
    assert client.compute(image).result(timeout=40).tobytes() == expected
    stats = by_name(client, mexdask.stats(client))
    assert (stats["p1"]["native"], stats["p2"]["native"]) == (0, image.npartitions)
