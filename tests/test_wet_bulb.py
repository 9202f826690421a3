"""The example of a Zarr store runs at a tiny size, with its map, and its ways agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "wet_bulb.py"


@pytest.mark.cluster
@pytest.mark.slow
def test_example(tmp_path):
    pytest.importorskip("zarr")
    pytest.importorskip("matplotlib")
    sizes = ["--times", "30", "--lats", "7", "--lons", "12"]
    picture = tmp_path / "map.png"
    done = subprocess.run(
        [sys.executable, EXAMPLE, *sizes, "--output", picture],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^mexdask +\d+\.\d\d +1\.00 +[\d.]+ MiB$", done.stdout, re.MULTILINE)
    assert re.search(r"^np\.where +\d+\.\d\d ", done.stdout, re.MULTILINE)
    assert "'nan': 0" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
