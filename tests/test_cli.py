"""The command line: what it prints, what programs read, how it ends."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import dask
import numpy as np
import pytest
from click.testing import CliRunner
from runtime.runtime_kit import script

import mexdask
from mexdask.cli import mex
from mexdask.ops import FUNCTIONS, OPERATORS

# Before version 8.2 of click standard error was mixed into the output unless told otherwise.
OLD_CLICK = "mix_stderr" in inspect.signature(CliRunner).parameters
RUNNER = CliRunner(mix_stderr=False) if OLD_CLICK else CliRunner()
GOOD = "LIMIT = 3\n\ndef halved(x, y=2):\n    while x > y:\n        x = x / LIMIT\n    return x\n"
BAD = "def k(x):\n    try:\n        return y\n    except:\n        pass\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty directory, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    Path("good.mex").write_text(GOOD)
    Path("bad.mex").write_text(BAD)

    def run(*words, stdin=None):
        return RUNNER.invoke(mex, words, input=stdin, catch_exceptions=False)

    return run


@pytest.fixture
def fresh_config():
    """Let Dask's configuration follow the environment of this test, and of none after it."""
    before = dask.config.config.copy()
    yield
    dask.config.config.clear()
    dask.config.config.update(before)


def parsed(result):
    return json.loads(result.stdout)


def test_it_is_a_command_of_dask():
    done = subprocess.run(
        [sys.executable, "-m", "dask", "mex", "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for command in mex.commands:
        assert command in done.stdout


@pytest.mark.compiler
def test_doctor_is_content_where_native_code_runs(run):
    result = run("doctor")
    assert result.exit_code == 0
    assert "FAIL" not in result.stdout
    assert result.stdout.endswith("native code runs here\n")
    told = parsed(run("doctor", "--json"))
    assert told["native"] is True
    assert [c["name"] for c in told["checks"]][-2:] == ["compile", "run"]


@pytest.mark.parametrize(
    ("environ", "check", "advice"),
    [
        ({"CC": "/no such cc"}, "compiler", "install gcc"),
        pytest.param({"CC": "{tmp}/failing"}, "compile", "libc6-dev", marks=pytest.mark.compiler),
        ({"ME_DSL_JIT": "0"}, "enabled", "unset ME_DSL_JIT"),
        ({"ME_DSL_JIT_CFLAGS": "-ffast-math"}, "settings", "ME_DSL_JIT_CFLAGS"),
        pytest.param({"TMPDIR": "/proc/nowhere"}, "cache", "TMPDIR", marks=pytest.mark.compiler),
        ({"DASK_MEXDASK__COMPILE_TIMEOUT": "soon"}, "settings", "mend"),
        pytest.param(
            {"DASK_MEXDASK__PREBUILT": "/no/such/kernels"},
            "prebuilt",
            "dask mex build",
            marks=pytest.mark.compiler,
        ),
    ],
)
def test_doctor_says_what_to_do(run, fresh_config, tmp_path, monkeypatch, environ, check, advice):
    probes = 'case "$*" in *-print-prog-name*|*"-###"*) exec cc "$@";; esac'
    script(tmp_path / "failing", f"{probes}\necho no such header >&2; exit 1")
    for name, value in environ.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    dask.config.refresh()
    told = parsed(run("doctor", "--json"))
    (found,) = [c for c in told["checks"] if c["name"] == check]
    assert found["ok"] is (check == "cache")  # another directory will do
    assert advice in found["advice"]
    assert told["native"] is (check in ("cache", "prebuilt"))


def test_check_names_every_complaint(run):
    result = run("check", "good.mex", "bad.mex")
    assert result.exit_code == 1
    assert result.stdout == "good.mex: ok: (x: float64[], y: weak int) -> float64\n"
    assert "bad.mex:2:5: unsupported-syntax" in result.stderr
    good, bad = parsed(run("check", "--json", "good.mex", "bad.mex"))
    assert good["ok"]
    assert bad["complaints"][0]["place"] == "bad.mex:2:5"
    assert run("check", "good.mex").exit_code == 0


@pytest.mark.parametrize(
    ("dtypes", "signature"),
    [
        ("float32", "(x: float32[], y: weak int) -> float32"),
        ("float32,int32", "(x: float32[], y: int32[]) -> float32"),
        ("int8, float", "(x: int8[], y: weak float) -> float64"),
    ],
)
def test_types_of_the_command_line(run, dtypes, signature):
    assert run("check", "good.mex", "--dtypes", dtypes).stdout == f"good.mex: ok: {signature}\n"


def test_show(run):
    how = mexdask.explain(GOOD, np.empty(1, "float32"))
    assert run("show", "good.mex", "--dtypes", "float32").stdout.startswith(
        "signature  (x: float32"
    )
    ir = run("show", "good.mex", "--dtypes", "float32", "--ir").stdout
    assert ir == how.ir.rstrip() + "\n"
    text = run("show", "good.mex", "--ir", "--c").stdout
    assert text.startswith("kernel halved(")
    assert "me_call" in text
    told = parsed(run("show", "good.mex", "--json", "--c"))
    assert list(told) == ["c"]
    assert run("show", "-", stdin="x * 2").stdout.startswith("signature  (x: float64[])")
    assert run("show", "-", "--dtypes", "complex64", "--c", stdin="x * 2").exit_code == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("show", "none.mex"), "none.mex cannot be read"),
        (("show", "bad.mex"), "bad.mex:2:5: unsupported-syntax"),
        (("show", "no_such_module:kernel"), "No module named 'no_such_module'"),
        (("show", "numpy:no_such_name"), "no_such_name"),
        (("show", "numpy:pi"), "float"),
        (("show", "good.mex", "--dtypes", "flaot"), "'flaot' is not a dtype"),
        (("show", "good.mex", "--dtypes", "int,int,int"), "the parameters are: x, y"),
        (("build", "good.mex", "--out", "k", "--isa", "x86-64-v9"), "'x86-64-v9' is not a level"),
    ],
)
def test_mistakes_are_one_message(run, words, complaint):
    result = run(*words)
    assert result.exit_code == 1
    assert complaint in result.stderr
    assert "Traceback" not in result.output


def test_kernels_of_modules(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("kernels_of_mine.py").write_text(
        "import mexdask\n\n@mexdask.kernel\ndef twice(x):\n    return x * 2\n"
    )
    result = run("check", "kernels_of_mine:twice")
    assert result.stdout == "kernels_of_mine:twice: ok: (x: float64[]) -> float64\n"


@pytest.mark.compiler
def test_build_writes_what_a_process_without_compiler_runs(run, tmp_path):
    built = parsed(run("build", "good.mex", "--dtypes", "float32", "--out", "kernels", "--json"))
    assert {Path(one["path"]).parent.name for one in built} == {"kernels"}
    program = (
        "import mexdask, numpy as np\n"
        f"mexdask.apply({GOOD!r}, np.ones(3, 'float32'), jit='require')\n"
        "print(mexdask.stats()['prebuilt_hits'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "CC": "/no", "DASK_MEXDASK__PREBUILT": str(tmp_path / "kernels")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "1\n", done.stderr


@pytest.mark.compiler
def test_the_cache_from_outside(run, tmp_path):
    assert parsed(run("cache", "info", "--json"))["entries"] == 0
    assert run("cache", "list").stdout == "the cache is empty\n"
    mexdask.apply("x * 4 - 0.0625", np.ones(2), jit="require")
    info = parsed(run("cache", "info", "--json"))
    assert info["directory"] == str(tmp_path / "miniexpr-jit")
    assert info["entries"] == 1
    assert info["bytes"] > 10_000
    assert "entries    1\n" in run("cache", "info").stdout
    (entry,) = parsed(run("cache", "list", "--json"))
    assert entry["key"]["dtypes"] == ["float64[]", "->", "float64"]
    assert "float64[] -> float64" in run("cache", "list").stdout

    assert run("cache", "verify").exit_code == 0
    path = Path(entry["path"])
    path.write_bytes(path.read_bytes()[:-40])
    assert "bad:" in run("cache", "list").stdout
    result = run("cache", "verify")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"set aside: {path}: ")
    assert "set aside  1\n" in run("cache", "info").stdout
    mexdask.build([("x + 1", int)], "elsewhere")
    assert parsed(run("cache", "clear", "--json"))["removed"] > 0
    assert run("cache", "clear").stdout == "0 entries removed\n"


def test_ops_lists_the_table(run):
    told = parsed(run("ops", "--json"))
    assert [one["name"] for one in told] == [op.name for op in (*OPERATORS, *FUNCTIONS)]
    lines = run("ops").stdout.splitlines()
    assert len(lines) == len(told) + 1
