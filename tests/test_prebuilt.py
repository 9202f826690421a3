"""Kernels compiled for elsewhere: what is written, what is sent, and what a receiver refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest

import mexdask
from mexdask.kernelspec import block_kernel
from mexdask.runtime.dispatch import Route
from mexdask.runtime.failure import Failure
from mexdask.runtime.memory import KERNELS
from mexdask.runtime.prebuilt import find_prebuilt
from mexdask.runtime.ship import accept, build_for, known_levels, serves, wanted_key
from mexdask.runtime.target import this_host

pytestmark = pytest.mark.compiler

KERNELS_BUILT = [("x * c - 0.375", "float32", float), ("x // 3", "int64")]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    KERNELS.clear()


@pytest.fixture
def unit_and_settings():
    kernel = block_kernel(*["x * c - 0.375", ("float32", float)], {})
    return kernel.specialisation().result.unit, kernel.settings


@pytest.fixture
def parcel(unit_and_settings):
    unit, settings = unit_and_settings
    digest, data = build_for(unit, this_host(), "", settings)
    assert digest == wanted_key(unit, settings)
    KERNELS.clear()
    return data


def elsewhere(directory, **environ):
    """Run a kernel, natively or not at all, in a process without a compiler; its counters."""
    program = (
        "import mexdask, numpy as np\n"
        "r = mexdask.apply('x * c - 0.375', np.arange(4, dtype='float32'), c=2.0, jit='require')\n"
        "assert r.tolist() == [-0.375, 1.625, 3.625, 5.625]\n"
        "print(mexdask.stats()['prebuilt_hits'])"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "CC": "/no", "DASK_MEXDASK__PREBUILT": str(directory), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_every_level_is_built_and_each_finds_its_own(tmp_path):
    built = mexdask.build(KERNELS_BUILT, out=tmp_path / "kernels")
    assert [one.isa for one in built] == [*known_levels()] * 2
    assert all(Path(one.path).stat().st_size == one.size for one in built)
    assert len({Path(one.path).read_bytes() for one in built}) == len(built)
    for environ in ({}, {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_SKX"}):
        done = elsewhere(tmp_path / "kernels", **environ)
        assert done.stdout == "1\n", done.stderr


def test_other_flags_want_other_kernels(tmp_path):
    mexdask.build(KERNELS_BUILT, out=tmp_path / "kernels")
    done = elsewhere(tmp_path / "kernels", ME_DSL_JIT_CFLAGS="-O1")
    assert "JITUnavailableError" in done.stderr


def test_prebuilt_kernels_come_before_the_compiler(tmp_path, monkeypatch):
    mexdask.build(KERNELS_BUILT, tmp_path / "kernels", known_levels())
    KERNELS.clear()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nothing here"))
    mexdask.reset_stats()
    with dask.config.set({"mexdask.prebuilt": [str(tmp_path / "none"), str(tmp_path / "kernels")]}):
        mexdask.apply("x // 3", np.arange(9), jit="require")
        assert mexdask.explain("x // 3", np.arange(9)).outcome == "memory"
    stats = mexdask.stats()
    assert (stats["prebuilt_hits"], stats["compiled"]) == (1, 0)
    assert stats["kernels"]["expression"]["outcome"] == "prebuilt"


def test_explain_foretells_prebuilt_kernels(tmp_path, monkeypatch):
    mexdask.build(KERNELS_BUILT, tmp_path / "kernels", known_levels())
    monkeypatch.setenv("CC", "/no such cc")
    x = da.arange(9, chunks=3)
    KERNELS.clear()
    with dask.config.set({"mexdask.prebuilt": [str(tmp_path / "none"), str(tmp_path / "kernels")]}):
        assert mexdask.explain("x // 3", x).outcome == "prebuilt"
        assert mexdask.explain("x // 3 + 1", x).outcome == "no-cc"
        for path in (tmp_path / "kernels").iterdir():
            cut(path)
        assert mexdask.explain("x // 3", x).outcome == "no-cc"


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def exchange(path):
    other = next(p for p in path.parent.glob("*.so") if p != path)
    path.write_bytes(other.read_bytes())


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (cut, "trailer|too short"),
        (flip, "digest does not match"),
        (exchange, "dsl_hash is|dtypes is|isa is"),
        (lambda path: path.chmod(0o666), "others could have written it"),
        (lambda path: path.parent.chmod(0o777), "others can write into it"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "not a regular file"),
        (
            lambda path: (path.rename("/tmp/x" + path.name), path.symlink_to("/etc/passwd")),
            "symbol",
        ),
    ],
)
def test_what_is_not_as_built_is_passed_by(
    tmp_path, monkeypatch, unit_and_settings, caplog, spoil, complaint
):
    unit, settings = unit_and_settings
    mexdask.build(KERNELS_BUILT, out=tmp_path / "kernels")
    key = unit.key((), settings)
    path = tmp_path / "kernels" / f"{key.digest}.so"
    assert find_prebuilt(key, [str(path.parent)]) is not None
    spoil(path)
    for _ in range(2):
        assert find_prebuilt(key, [str(path.parent)]) is None
    (said,) = [record.getMessage() for record in caplog.records]
    assert re.search(complaint, said), said


def test_installers_may_link_files(tmp_path, unit_and_settings):
    unit, settings = unit_and_settings
    mexdask.build(KERNELS_BUILT, out=tmp_path / "kernels")
    key = unit.key((), settings)
    path = tmp_path / "kernels" / f"{key.digest}.so"
    os.link(path, tmp_path / "another name")
    (tmp_path / "way").symlink_to(tmp_path / "kernels")
    assert find_prebuilt(key, [str(tmp_path / "way")]).origin == "prebuilt"


def test_nothing_is_written_unless_everything_was_compiled(tmp_path, monkeypatch):
    with pytest.raises(mexdask.JITUnavailableError, match="complex128"):
        mexdask.build([*KERNELS_BUILT, ("x * 2", complex)], out=tmp_path / "kernels")
    monkeypatch.setenv("CC", "/no such cc")
    with pytest.raises(mexdask.JITUnavailableError, match=r"kernel 'expression' .* \(no-cc\)"):
        mexdask.build([("x + 17", "int8")], out=tmp_path / "kernels")
    assert not (tmp_path / "kernels").exists()


@pytest.mark.parametrize(
    ("kernels", "isa", "complaint"),
    [
        ([("x + 1", "float32")], "x86-64-v9", "'x86-64-v9' is not a level"),
        ([("x + 1", "float32")], [], "names no level"),
        (["x + 1"], None, "kernels holds a str; give a list in which each is"),
        ([()], None, "kernels holds a tuple; give a list"),
        ("x + 1", None, "kernels is a str; give a list"),
        (7, None, "kernels is an int; give a list"),
        ([("x + 1", "flaot")], None, "not a dtype"),
        ([("x + 1",)], None, "missing"),
    ],
)
def test_wrong_requests(tmp_path, kernels, isa, complaint):
    with pytest.raises(mexdask.ArgumentError, match=complaint):
        mexdask.build(kernels, tmp_path / "kernels", isa)
    assert not (tmp_path / "kernels").exists()


def test_what_is_sent_is_kept_for_others(unit_and_settings, parcel, tmp_path, monkeypatch):
    unit, settings = unit_and_settings
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("CC", "/no such cc")
    mexdask.reset_stats()
    decision = accept(unit, settings, parcel)
    assert (decision.route, decision.outcome) == (Route.NATIVE, "shipped")
    x = np.arange(3, dtype="float32")
    assert mexdask.apply("x * c - 0.375", x, c=2.0, jit="require")[1] == 1.625
    KERNELS.clear()
    mexdask.apply("x * c - 0.375", x, c=2.0, jit="require")
    stats = mexdask.stats()
    assert (stats["shipped"], stats["disk_hits"], stats["compiled"]) == (1, 1, 0)


@pytest.mark.parametrize("place", [0, 3000, -100, -30])
def test_what_was_changed_on_the_way_is_refused(unit_and_settings, parcel, place):
    data = bytearray(parcel)
    data[place] ^= 1
    mexdask.reset_stats()
    decision = accept(*unit_and_settings, bytes(data))
    assert (decision.route, decision.outcome) == (Route.INTERPRETER, "bad-object")
    assert mexdask.stats()["failures"] == {"bad-object": 1}


def test_another_kernel_is_refused(parcel):
    other = block_kernel("x * c - 0.5", ("float32", float), {})
    decision = accept(other.specialisation().result.unit, other.settings, parcel)
    assert "dsl_hash" in decision.reason


def test_nothing_is_taken_where_native_code_is_forbidden(unit_and_settings, parcel, monkeypatch):
    monkeypatch.setenv("ME_DSL_JIT", "0")
    assert accept(*unit_and_settings, parcel).outcome == "disabled"
    assert wanted_key(*unit_and_settings) == ""


@pytest.mark.parametrize(
    ("own", "other", "fit"),
    [
        ({}, {}, True),
        ({}, {"isa": "x86-64-v2"}, True),
        ({"libc": "glibc-2.31"}, {"libc": "glibc-2.36"}, True),
        ({"libc": "glibc-2.36"}, {"libc": "glibc-2.31"}, False),
        ({"libc": "glibc-2.9"}, {"libc": "glibc-2.10"}, True),
        ({"libc": "glibc-2.36"}, {"libc": "musl-1.2.5"}, False),
        ({"libc": "unknown"}, {"libc": "unknown"}, True),
        ({}, {"machine": "aarch64", "isa": ""}, False),
        ({}, {"system": "Darwin"}, False),
    ],
)
def test_who_can_compile_for_whom(own, other, fit):
    host = this_host()
    assert serves(replace(host, **own), replace(host, **other)) is fit


def test_flags_from_elsewhere_are_checked_here(unit_and_settings):
    unit, settings = unit_and_settings
    refused = build_for(unit, this_host(), "-fplugin=evil.so", settings)
    assert isinstance(refused, Failure)
    assert "-fplugin=evil.so" in refused.message
