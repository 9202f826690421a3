"""Each benchmark runs at a tiny size, so that none rots; the harness does its sums right."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"

NEEDS = {"xarray_eval": "xarray", "mandelbrot_tiles": "PIL"}


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import harness

    return harness


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "compared"),
    [
        ("mandelbrot", ["--size", "16", "--max-iter", "20"], {"interpreter"}),
        pytest.param(
            "latency",
            ["--number", "10"],
            {"empty cache", "from disk", "np.add"},
            marks=pytest.mark.compiler,
        ),
        pytest.param(
            "kernels",
            ["--elements", "256", "--bytes", "1024", "--only", "mandel,bisec,poly,vapour"],
            {"mexdask", "mexdask scalar", "mexdask 32 bytes", "C by hand", "np.copyto", "NumPy"},
            marks=pytest.mark.compiler,
        ),
        ("frontend", [], {"lower", "C text", "all of it"}),
        pytest.param(
            "dask_overhead",
            ["--side", "3", "--tasks", "2", "--task-rounds", "1", "--bytes", "8000"],
            {"da.blockwise", "np.negative", "mexdask", "dask.array"},
            marks=pytest.mark.compiler,
        ),
        (
            "interpreter",
            ["--elements", "999", "--size", "32", "--max-iter", "30"],
            {"by hand", "interpreter"},
        ),
        (
            "xarray_eval",
            ["--chunks", "3", "--size", "16", "--number", "3"],
            {"eval", "kernel", "kernel on NumPy"},
        ),
        ("stampede", ["--processes", "3"], {"empty", "filled"}),
        pytest.param(
            "mandelbrot_tiles",
            "--grid 1 2 --tile 8 8 --workers 1 2 --sides 4 --deep 2 --no-peers".split(),
            {"mexdask", "interpreter", "warm", "cold", "1 workers", "2 workers"},
            marks=pytest.mark.compiler,
        ),
    ],
)
def test_benchmark_runs(name, options, compared, tmp_path):
    pytest.importorskip(NEEDS.get(name, "numpy"))
    report = tmp_path / "report.json"
    subprocess.run(
        [sys.executable, BENCHMARKS / f"{name}.py", *options, "--rounds", "1", "--json", report],
        check=True,
        cwd=tmp_path,
        timeout=100,
    )
    content = json.loads(report.read_text())
    assert content["machine"]["python"]
    assert all(result["rounds"] == 1 for result in content["results"])
    assert compared <= {label for result in content["results"] for label in result["seconds"]}


@pytest.mark.compiler
def test_errors_of_vector_math_are_measured():
    command = [sys.executable, BENCHMARKS / "ulp.py", "--quick", "--time", "--only", "exp,hypot"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    assert re.search(r"^exp +float32 +\d+ +0\.\d+ .* ns, NumPy", done.stdout, re.MULTILINE)
    assert len(re.findall(r"^\w+ +float64 ", done.stdout, re.MULTILINE)) == 2


def test_every_benchmark_is_run_here():
    helpers = {"divergent", "harness", "peers", "suite", "ulp"}
    names = {path.stem for path in BENCHMARKS.glob("*.py")} - helpers
    runs = next(mark for mark in test_benchmark_runs.pytestmark if mark.name == "parametrize")
    cases = [getattr(case, "values", case) for case in runs.args[1]]
    assert names == {case[0] for case in cases}


def test_results_are_checked_before_timing(harness):
    calls = []

    def wrong():
        calls.append("wrong")
        return np.array([1.0, np.nan, 4.0])

    with pytest.raises(AssertionError, match="other against first"):
        harness.compare("x", {"first": lambda: np.array([1.0, np.nan, 3.0]), "other": wrong}, 5)
    assert calls == ["wrong"]


def test_contenders_take_turns(harness, capsys):
    order = []
    contenders = {name: lambda name=name: order.append(name) or 1 for name in "abc"}
    harness.compare("turns", contenders, rounds=3)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"
    assert "turns (median [quartiles] of 3)" in capsys.readouterr().out


def test_ratios_are_taken_within_a_round(harness):
    result = harness.summary("x", {"a": [1.0, 10.0, 100.0], "b": [2.0, 20.0, 400.0]})
    assert result.seconds == {"a": 10.0, "b": 20.0}
    assert result.spread == {"a": (5.5, 55.0), "b": (11.0, 210.0)}
    assert result.ratios == {"a": {"b": 0.5}, "b": {"a": 2.0}}
