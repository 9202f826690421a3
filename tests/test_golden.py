"""Source to IR to C, written out in ``tests/golden``; ``pytest --update-golden`` rewrites them.

Each file begins with the sections ``# types`` and ``# source``, the input; what follows them is
compared. Run as a program, it prints a digest of all output.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mexdask.backend.cscalar import scalar_c
from mexdask.backend.csimd import simd_c
from mexdask.backend.form import choose
from mexdask.backend.predicate import predicate
from mexdask.errors import KernelError
from mexdask.frontend.source import source_of_text
from mexdask.irtext import function_text, masked_text
from mexdask.specialise import Specialisation, parsed_kernel

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*.txt"))
SECTION = re.compile(r"^# (types|source|ir|masked|c-scalar|c-simd|error)\n", re.MULTILINE)


def sections(text: str) -> dict[str, str]:
    """Return the sections of a golden file by name."""
    pieces = SECTION.split(text)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def written(types: str, source: str) -> str:
    """Return what the golden file of a kernel holds."""
    parts = {"types": types, "source": source}
    try:
        parsed = parsed_kernel(source_of_text(source))
        signature = tuple(t.replace(":", " ") for t in types.split())
        kernel = Specialisation(parsed, signature, "", None).result
    except KernelError as error:
        parts["error"] = f"{type(error).__name__}{error}\n"
    else:
        function = kernel.function
        parts["ir"] = function_text(function)
        parts["masked"] = masked_text(predicate(function).body)
        if kernel.unit.foreign is None:
            parts["c-scalar"] = scalar_c(function, "me_golden", "0" * 64)
            form = choose(kernel.unit.masked, 32)
            parts["c-simd"] = f"none: {form.reason}\n"
            if form.width:
                parts["c-simd"] = simd_c(kernel.unit.masked, "me_golden", "0" * 64, form.width)
        else:
            parts["c-scalar"] = f"none: {kernel.unit.foreign.name}\n"
    return "".join(f"# {name}\n{text}" for name, text in parts.items())


def regenerated(path: Path) -> tuple[str, str]:
    """Return what a golden file holds, and what it should hold."""
    text = path.read_text(encoding="utf-8")
    given = sections(text)
    return text, written(given["types"], given["source"])


def digest() -> str:
    """Return a digest of all that is generated for the golden files' kernels."""
    text = "".join(regenerated(path)[1] for path in FILES)
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path, request):
    old, new = regenerated(path)
    if request.config.getoption("update_golden"):
        path.write_text(new, encoding="utf-8")
    else:
        assert new == old, "run pytest --update-golden and review the difference"


def test_there_are_golden_files_of_every_kind():
    found = [set(sections(path.read_text(encoding="utf-8"))) for path in FILES]
    assert sum("c-scalar" in names for names in found) >= 10
    assert sum("error" in names for names in found) >= 2


def test_no_name_or_comment_of_the_source_reaches_the_c():
    for path in FILES:
        given = sections(path.read_text(encoding="utf-8"))
        if "c-scalar" in given and "unmistakable" in given["source"]:
            assert "unmistakable" not in given["c-scalar"] + given["c-simd"]
            return
    pytest.fail("no golden file has the word in its source")


def test_output_is_the_same_in_every_process():
    digests = {digest()}
    for seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, __file__],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout.strip())
    assert len(digests) == 1


if __name__ == "__main__":
    print(digest())
