"""The demo runs from its command line, at a tiny size, and says that the pixels agree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from engines import HAS_COMPILER

DEMO = Path(__file__).resolve().parent.parent / "examples" / "mandelbrot.py"


@pytest.fixture
def run_demo(tmp_path):
    def run(*options):
        command = [sys.executable, DEMO, "--output", tmp_path / "picture.png", *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110)

    return run


def columns(output):
    """Return the counters of each table of workers that the demo printed, as lists of dicts."""
    tables = []
    for line in output.splitlines():
        words = line.split()
        if words[:1] == ["worker"]:
            names = words[1:]
            tables.append([])
        elif words[:1] and words[0].startswith("tcp://"):
            tables[-1].append(dict(zip(names, map(int, words[1:]), strict=True)))
    return tables


@pytest.mark.cluster
@pytest.mark.slow
def test_demo(run_demo, tmp_path):
    image = pytest.importorskip("PIL.Image")
    done = run_demo("--size", "64", "--max-iter", "30", "--workers", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pixels identical" in done.stdout
    assert "100% Completed" in done.stdout
    with image.open(tmp_path / "picture.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (64, 64, 3)
    assert (pixels[32, 51] == 0).all(), "the origin is inside the set"
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 5

    cold, warm, interpreted = columns(done.stdout)
    assert len(cold) == len(warm) == 3
    total = {name: sum(worker[name] for worker in interpreted) for name in interpreted[0]}
    assert total["interpreted"] == 64
    assert total["native"] == total["compiled"] == 0
    for table, runs in ((cold, 1), (warm, 2)):
        assert sum(worker["native"] + worker["interpreted"] for worker in table) == 64 * runs
    if HAS_COMPILER:
        assert sum(worker["compiled"] for worker in warm) == 1
        for worker in warm:
            assert worker["compiled"] + worker["disk_hits"] <= 1, "one load per process"
            assert worker["interpreted"] == 0
