"""What is shipped: the contents of wheel and sdist, their metadata, and types as users see them."""

from __future__ import annotations

import email
import itertools
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import mexdask

TOP = Path(__file__).resolve().parent.parent
MOST_BYTES = 300_000


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """Return the wheel and the sdist, built from this tree."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    found = {path.suffix.removeprefix("."): path for path in out.iterdir()}
    assert set(found) == {"whl", "gz"}
    return found


def test_the_wheel_is_pure_and_small(built):
    version = mexdask.__version__
    assert built["whl"].name == f"mexdask-{version}-py3-none-any.whl"
    assert built["whl"].stat().st_size < MOST_BYTES


def test_the_wheel_holds_the_package_and_nothing_else(built):
    package = TOP / "mexdask"
    wanted = {
        path.relative_to(TOP).as_posix()
        for path in package.rglob("*")
        if path.suffix in (".py", ".yaml") or path.name == "py.typed"
    }
    info = f"mexdask-{mexdask.__version__}.dist-info"
    own = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    with zipfile.ZipFile(built["whl"]) as wheel:
        assert set(wheel.namelist()) == wanted | {f"{info}/{name}" for name in own}


def test_the_sdist_has_what_a_distribution_builds_and_tests_with(built):
    with tarfile.open(built["gz"]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = """
        pyproject.toml README.md LICENSE CHANGELOG.md CITATION.cff Makefile
        tests/test_packaging.py tests/golden/fast.txt tests/corpus/loops.mex docs/conf.py
        examples/mandelbrot.py benchmarks/harness.py mexdask/mexdask.yaml mexdask/py.typed
    """
    assert not set(wanted.split()) - names
    assert not [
        n for n in names if re.search(r"(^|/)(\.venv|__pycache__|\.ci|dist|_build)(/|$)", n)
    ]


def test_metadata_is_valid_and_says_what_is_needed(built):
    files = [str(path) for path in built.values()]
    command = [sys.executable, "-m", "twine", "check", "--strict", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    info = f"mexdask-{mexdask.__version__}.dist-info"
    with zipfile.ZipFile(built["whl"]) as wheel:
        metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    extras = {"xarray", "distributed", "zig", "complete", "examples", "test", "bench", "docs"}
    assert extras <= set(metadata.get_all("Provides-Extra"))
    assert metadata["License-Expression"] == "BSD-3-Clause"
    always = [r for r in metadata.get_all("Requires-Dist") if "extra ==" not in r]
    assert {re.split(r"[<>=\[ ]", r)[0] for r in always} == {"numpy", "dask", "cloudpickle"}


def test_every_lower_bound_is_said_once():
    """Each requirement has a bound, and an extra that repeats another's package its bound."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds: dict[str, set[str]] = {}
    extras = project["optional-dependencies"].values()
    for requirement in itertools.chain(project["dependencies"], *extras):
        name, _, bound = requirement.partition(">=")
        if not name.startswith("mexdask["):
            bounds.setdefault(name.partition("[")[0], set()).add(bound)
    assert all(len(found) == 1 and "" not in found for found in bounds.values()), bounds


def test_the_version_is_said_once():
    citation = (TOP / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == mexdask.__version__
    changelog = (TOP / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {mexdask.__version__}\n" in changelog


# What a type checker tells users. Lines that end in a comment "error: ..." are complained about.

USER_CODE = '''\
from typing import Any, assert_type

import numpy as np

import mexdask
from mexdask import Explanation, Kernel


@mexdask.kernel
def norm(u: float, v: float) -> Any:
    """Length of a vector."""
    return np.sqrt(u * u + v * v)


assert_type(norm, Kernel)
assert_type(norm.parameters, tuple[str, ...])
assert_type(norm(np.ones(3), np.ones(3), jit="off"), Any)
assert_type(mexdask.apply("x + 1", x=np.ones(3)), Any)
assert_type(mexdask.explain(norm, 1.0, 2.0), Explanation)
assert_type(mexdask.explain(norm, 1.0, 2.0).signature, str)
assert_type(mexdask.kernel("x + 1"), Kernel)
try:
    norm(np.ones(3), np.ones(2))
except mexdask.ArgumentError as error:
    assert_type(str(error), str)
except mexdask.KernelError as error:
    print(error.diagnostics[0].code)
mexdask.kernel(3)  # error: [arg-type]
mexdask.apply("x + 1", 1.0, align=3)  # error: [arg-type]
mexdask.aply("x + 1", 1.0)  # error: [attr-defined]
norm.compile()  # error: [attr-defined]
'''


def test_types_of_the_public_api_from_outside(tmp_path: Path):
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(USER_CODE, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "user.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110)
    complaints = [line for line in done.stdout.splitlines() if line.startswith("user.py")]
    got = {
        int(line.split(":")[1]): line[line.rindex("[") :]
        for line in complaints
        if ": error" in line
    }
    want = {
        number: line.partition("# error: ")[2]
        for number, line in enumerate(USER_CODE.splitlines(), 1)
        if "# error: " in line
    }
    assert got == want, done.stdout + done.stderr
