"""Kernels brought to workers before there is a graph: warm, MexPlugin, what is sent to whom."""

from __future__ import annotations

import asyncio
import warnings

import dask
import dask.array as da
import numpy as np
import pytest
from cluster_kit import ESCAPE, by_name, interpreted, machines, names, plane, total, until
from runtime.runtime_kit import compiles, recording_cc

import mexdask

distributed = pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(60),
    # Workers without a compiler say so, as they should; the tests ask for the engine themselves.
    pytest.mark.filterwarnings("default::mexdask.FallbackWarning"),
]

TYPES = ("float64", "float64", int)
V3 = {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_SKX"}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Workers of every kind, and the logs of their compilers."""
    directory = tmp_path_factory.mktemp("mixed")
    cc, log = recording_cc(directory)
    none = {"CC": str(directory / "no such cc")}
    with machines(directory) as group:
        group.worker("wide", CC=str(cc))
        group.worker("narrow", CC=str(cc), **V3)
        group.worker("other-flags", **none, ME_DSL_JIT_CFLAGS="-O1")
        group.worker("bare", **none)
        group.worker("bare-narrow", **none, **V3)
        group.worker("off", ME_DSL_JIT="0")
        client = group.client()
        client.wait_for_workers(6, timeout=40)
        client.compile_log = log
        client.group = group
        yield client


@pytest.mark.compiler
def test_everyone_is_served_who_wants_to_be(mixed):
    report = by_name(mixed, mexdask.warm(mixed, ESCAPE, *TYPES))
    outcomes = {name: ready.outcome for name, ready in report.items()}
    assert outcomes == {
        "wide": "compiled",
        "narrow": "compiled",
        "other-flags": "shipped",
        "bare": "shipped",
        "bare-narrow": "shipped",
        "off": "disabled",
    }
    assert {ready.engine for name, ready in report.items() if name != "off"} == {"native"}
    assert report["off"].engine == "interpreter"
    assert all(ready.seconds >= 0 for ready in report.values())
    assert compiles(mixed.compile_log) == 2


@pytest.mark.parametrize("simd", ["auto", "off"])
def test_all_of_them_give_the_same_bits(mixed, simd):
    with dask.config.set({"mexdask.simd": simd}):
        mexdask.warm(mixed, ESCAPE, *TYPES)
        re, im = plane(tiles=3, size=48)
        expected = interpreted(ESCAPE, re, im, 200).tobytes()
        different = set()
        for address, name in names(mixed).items():
            jit = "auto" if name == "off" else "require"
            with dask.annotate(workers=[address], allow_other_workers=False):
                image = mexdask.apply(ESCAPE, *plane(tiles=3, size=48), 200, jit=jit)
                result = mixed.compute(image, optimize_graph=False).result()
            if result.tobytes() != expected:
                different.add(name)
    assert different == set()


def test_chunks_add_up(mixed):
    mixed.run(mexdask.reset_stats)
    re, im = plane(tiles=9, size=90)
    image = mexdask.apply(ESCAPE, re, im, 50)
    assert mixed.compute(image).result().tobytes() == interpreted(ESCAPE, re, im, 50).tobytes()
    stats = mexdask.stats(mixed)
    assert total(stats, "native", "interpreted") == image.npartitions == 81
    named = by_name(mixed, stats)
    assert named["off"]["native"] == 0
    assert (
        sum(counters["interpreted"] for counters in stats.values()) == named["off"]["interpreted"]
    )

    def on_the_scheduler():
        told = mixed.scheduler_info(n_workers=-1)["workers"].values()
        metrics = [worker["metrics"].get("mexdask", {}) for worker in told]
        return sum(m.get("native", 0) + m.get("interpreted", 0) for m in metrics) == 81

    until(on_the_scheduler)


def test_report_says_who_falls_back_and_what_to_do(mixed):
    x = np.arange(5.0)
    for address in names(mixed):
        mixed.submit(mexdask.apply, "x + 0.625", x, workers=[address], pure=False).result()
    with pytest.warns(mexdask.FallbackWarning, match="3 of 6 workers .*no such cc.*warm") as caught:
        report = mexdask.report(mixed)
    assert sum("of 6 workers" in str(warning.message) for warning in caught) == 1
    lines = {names(mixed)[line.worker]: line for line in report if line.kernel == "expression"}
    assert {name: line.engine for name, line in lines.items()} == {
        "wide": "native",
        "narrow": "native",
        "other-flags": "interpreter",
        "bare": "interpreter",
        "bare-narrow": "interpreter",
        "off": "interpreter",
    }
    assert all(line.chunks == line.native + line.interpreted == 1 for line in lines.values())
    text = str(report)
    assert text.count("\n") == len(report)
    assert "ME_DSL_JIT=0 is set in this process [disabled]" in text

    mexdask.warm(mixed, "x + 0.625", "float64")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "of 6 workers")
        after = mexdask.report(mixed)
    assert sum(line.engine == "native" for line in after if line.kernel == "expression") == 5


def test_events_are_logged_and_chunks_are_not(mixed):
    x = da.arange(64, chunks=1)
    mixed.compute(mexdask.apply("def told(x):\n    return x - 7", x)).result()
    everyone = set(names(mixed))

    def events():
        return [event for _, event in mixed.get_events("mexdask") if event.get("kernel") == "told"]

    until(lambda: {e["event"] for e in events()} == {"compile", "fallback"})
    assert len(events()) <= len(everyone)
    assert all(e["outcome"] == "no-cc" for e in events() if e["event"] == "fallback")


@pytest.mark.compiler
def test_late_workers_come_warm(mixed):
    plugin = mexdask.MexPlugin(kernels=[(ESCAPE, "float32", "float32", int), ("x * 5 - 2", int)])
    for _ in range(2):
        mixed.register_plugin(plugin)
    group = mixed.group
    group.worker("late", CC="/no such cc")
    group.worker("late-narrow", CC="/no such cc", **V3)
    mixed.wait_for_workers(8, timeout=30)
    named = by_name(mixed, mexdask.stats(mixed))
    for name in ("late", "late-narrow"):
        assert named[name]["shipped"] == 2
        assert {row["engine"] for row in named[name]["kernels"].values()} == {"native"}
    late = [address for address, name in names(mixed).items() if name.startswith("late")]
    x = np.arange(4, dtype="float32")
    for address in late:
        future = mixed.submit(
            mexdask.apply, ESCAPE, x, x, 30, jit="require", workers=[address], pure=False
        )
        assert future.result().tobytes() == interpreted(ESCAPE, x, x, 30).tobytes()
    for name in ("late", "late-narrow"):
        group.kill(name)
    until(lambda: len(names(mixed)) == 6)


@pytest.mark.compiler
def test_a_plugin_without_compiled_kernels_asks_the_cluster(mixed, monkeypatch):
    monkeypatch.setenv("CC", "/no such cc")
    source = "def from_a_peer(x): return x * 7 - 3"
    plugin = mexdask.MexPlugin(kernels=[(source, "float64")])
    assert plugin.parcels == {}
    mixed.register_plugin(plugin)
    engines = {
        name: stats["kernels"]["from_a_peer"]["outcome"]
        for name, stats in by_name(mixed, mexdask.stats(mixed)).items()
    }
    served = dict.fromkeys(["other-flags", "bare", "bare-narrow"], "shipped")
    made = dict.fromkeys(["wide", "narrow"], "compiled")
    assert engines == served | made | {"off": "disabled"}


@pytest.mark.compiler
def test_without_a_compiler_a_shared_directory_serves(mixed):
    source, x = "def left_on_disk(x): return x * 11 - 3", np.arange(4.0)
    (wide,) = (address for address, name in names(mixed).items() if name == "wide")
    group = mixed.group
    group.worker("beside", CC="/no such cc", TMPDIR=str(group.directory / "wide"))
    mixed.wait_for_workers(7, timeout=30)
    (beside,) = (address for address, name in names(mixed).items() if name == "beside")
    for address in (wide, beside):
        future = mixed.submit(
            mexdask.apply, source, x, jit="require", workers=[address], pure=False
        )
        assert future.result().tolist() == [-3.0, 8.0, 19.0, 30.0]
    stats = by_name(mixed, mexdask.stats(mixed))
    outcomes = {
        name: stats[name]["kernels"]["left_on_disk"]["outcome"] for name in ("wide", "beside")
    }
    assert outcomes == {"wide": "compiled", "beside": "disk"}
    group.kill("beside")
    until(lambda: len(names(mixed)) == 6)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("flaot64",), "'flaot64' is not a dtype"),
        (("datetime64[s]",), "dtype datetime64"),
        ((), "missing"),
        (([1, 2],), "a list"),
    ],
)
def test_bad_types_raise_before_any_worker_is_asked(arguments, complaint):
    with pytest.raises(mexdask.ArgumentError, match=complaint):
        mexdask.warm(None, "x + 1", *arguments)


@pytest.mark.parametrize("client", ["tcp://127.0.0.1:8786", None])
def test_a_client_is_asked_for(client):
    for ask in (lambda c: mexdask.warm(c, "x + 1", int), mexdask.report):
        with pytest.raises(mexdask.ArgumentError, match=r"client is .* give a distributed"):
            ask(client)


def test_dimensions_matter_to_index_symbols():
    with pytest.raises(mexdask.ArgumentError, match=r"has index symbols.*np\.empty\(\(2, 2\)"):
        mexdask.warm(None, "x + _i0", "float64")


def test_asynchronous_clients_await(mixed):
    async def ask(address):
        async with distributed.Client(address, asynchronous=True) as client:
            ready = await mexdask.warm(client, "x - 0.0625", "float64")
            return ready, await mexdask.report(client), await mexdask.stats(client)

    ready, report, stats = asyncio.run(ask(mixed.scheduler.address))
    assert set(ready) == set(stats) == set(names(mixed))
    assert {line.worker for line in report} == set(ready)
    assert str(ready).count("\n") == len(ready)
