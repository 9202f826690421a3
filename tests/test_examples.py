"""Each example runs at a small size, says what it should, and is short enough to be read."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
# Arguments that make an example small, what it needs, and what it must say.
CASES = {
    "terrain": (["--step", "8"], ["matplotlib"], r"43 x 51 cells, light 0\.\d\d to .*\n5 m3/s"),
    "ndvi": (["--size", "40"], ["zarr"], r"\(6, 40, 40\), float32, 12 chunks, 6\d% of"),
    "implied_volatility": (
        ["--options", "500"], ["scipy"], r"mexdask .* 500 options, prices off by \de-(0[7-9]|1\d)",
    ),
}  # fmt: skip
ELSEWHERE = {"mandelbrot", "wet_bulb"}
"""Examples that have tests of their own."""


def test_every_example_is_tested_and_short():
    files = {path.stem: path for path in EXAMPLES.glob("*.py")}
    assert set(files) - ELSEWHERE == set(CASES)
    for name in CASES:
        lines = files[name].read_text(encoding="utf-8").splitlines()
        assert len([line for line in lines if line.strip()]) < 80, name


@pytest.mark.parametrize("name", CASES)
def test_example(name: str, capsys: pytest.CaptureFixture[str]):
    arguments, needed, said = CASES[name]
    for module in needed:
        pytest.importorskip(module)
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(arguments) == 0
    output = capsys.readouterr().out
    assert re.search(said, output), output
