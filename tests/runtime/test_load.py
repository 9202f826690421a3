"""From bytes to a live function: what was checked is what is mapped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from runtime_kit import REAL_CC, c_text, exit_code, make_key, start_child, works

from mexdask.runtime import load as load_module
from mexdask.runtime.compile import compile_image
from mexdask.runtime.entry import Artifact
from mexdask.runtime.failure import Failure, FailureClass
from mexdask.runtime.load import LoadedKernel, load
from mexdask.runtime.toolchain import Compiler

COMPILER = Compiler((REAL_CC,), "a" * 64, "", os.environ["PATH"])


@pytest.fixture
def compiled(tmp_path: Path):
    def compile_text(text: str, name: str = "staging") -> Artifact:
        staging = tmp_path / name
        staging.mkdir()
        image = compile_image(COMPILER, text, make_key().target, str(staging), 20)
        assert isinstance(image, bytes), image
        return Artifact(image, {})

    return compile_text


def test_a_kernel_is_loaded_with_its_types(compiled) -> None:
    key = make_key()
    kernel = load(compiled(c_text(key)), key, "compiled", "/where", 0.25)
    assert works(kernel)
    assert isinstance(kernel, LoadedKernel)
    assert (kernel.origin, kernel.path, kernel.compile_seconds) == ("compiled", "/where", 0.25)


@pytest.fixture(params=["memfd", "copy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With a sealed copy in memory, and without as on macOS."""
    if request.param == "copy":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("no memfd here")
    return str(request.param)


def test_many_kernels_are_each_their_own(compiled, way: str) -> None:
    key = make_key()
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    artifacts = [compiled(c_text(key, value), str(value)) for value in range(4)]
    kernels = [load(artifact, key, "disk") for artifact in artifacts]
    assert [works(k, v) for v, k in enumerate(kernels)] == [True] * 4
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_no_path_is_spelt_twice() -> None:
    spellings = {load_module.unrepeated(7) for _ in range(1000)}
    assert len(spellings) == 1000
    assert {os.path.normpath(s) for s in spellings} == {"/proc/self/fd/7"}


def test_nobody_can_change_what_is_mapped(compiled) -> None:
    with load_module.sealed_copy(compiled(c_text(make_key())).image, "k") as path:
        fd = os.open(path, os.O_RDWR)
        for change in (lambda: os.write(fd, b"x"), lambda: os.truncate(fd, 0)):
            with pytest.raises(PermissionError):
                change()
        os.close(fd)


OTHER = make_key("other")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (c_text(OTHER), FailureClass.BAD_SYMBOL),
        (c_text(make_key()).replace(make_key().symbol, "me_k_0"), FailureClass.BAD_SYMBOL),
        (c_text(make_key()).replace("me_key", "me_kez"), FailureClass.BAD_SYMBOL),
        (c_text(make_key()).replace(make_key().digest, OTHER.digest), FailureClass.BAD_SYMBOL),
        (c_text(make_key(), extra="int no_such(void);") + "int f(void) { return no_such(); }"
         .replace("int f", '__attribute__((visibility("default"))) int f'),
         FailureClass.BAD_OBJECT),
    ],
    ids=["other kernel", "no entry", "no key", "other key", "unresolved"],
)  # fmt: skip
def test_an_object_that_is_not_this_kernel_is_a_failure(
    compiled, text: str, kind: FailureClass
) -> None:
    failure = load(compiled(text), make_key(), "disk")
    assert isinstance(failure, Failure)
    assert failure.kind is kind


@pytest.mark.parametrize("image", [b"", b"junk", b"\x7fELF" + bytes(5000)])
def test_what_is_no_object_never_reaches_the_loader(
    monkeypatch: pytest.MonkeyPatch, image: bytes
) -> None:
    monkeypatch.setattr(load_module, "dlopen", None)
    failure = load(Artifact(image, {}), make_key(), "disk")
    assert isinstance(failure, Failure)
    assert failure.kind is FailureClass.BAD_OBJECT


def test_trouble_of_the_process_is_not_the_objects(
    compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(path: str) -> None:
        raise OSError(f"{path}: cannot open shared object file: Too many open files")

    artifact = compiled(c_text(make_key()))
    monkeypatch.setattr(load_module, "dlopen", exhausted)
    failure = load(artifact, make_key(), "disk")
    assert isinstance(failure, Failure)
    assert failure.kind is FailureClass.IO


def test_a_forked_child_calls_and_loads_kernels(compiled) -> None:
    key, other = make_key(), make_key("other")
    kernel = load(compiled(c_text(key)), key, "compiled")
    artifact = compiled(c_text(other, 9), "other")
    child = start_child(lambda: works(kernel) and works(load(artifact, other, "disk"), 9))
    assert exit_code(child) == 0
    assert works(kernel)
    assert works(load(artifact, other, "disk"), 9)
