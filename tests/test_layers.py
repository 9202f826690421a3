"""Imports only go downward: the floor of every module, in one dict."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mexdask

TOP = Path(mexdask.__file__).parent

# A package's modules share its floor. Modules of one floor may import each other, without cycles.
FLOORS = {
    "errors": 0,
    "dtypes": 0,
    "meaning": 0,
    "settings": 0,
    "buffers": 0,
    "walk": 1,
    "slabs": 0,
    "threads": 1,
    "stack": 0,
    "notebook": 0,
    "tabular": 0,
    "reductions": 1,
    "ops": 1,
    "ir": 2,
    "irtext": 2,
    "frontend": 3,
    "backend": 4,
    "runtime": 5,
    "smallchunk": 6,
    "specialise": 6,
    "chunk": 6,
    "blockkernel": 6,
    "eager": 7,
    "arguments": 7,
    "array": 7,
    "labelled": 7,
    "explanation": 8,
    "monitor": 8,
    "call": 8,
    "api": 9,
    "kernelspec": 9,
    "prebuilt": 9,
    "cluster": 9,
    "doctor": 9,
    "scope": 9,
    "xarray": 9,
    "cli": 10,
    "": 11,
}

# Below the floor of Dask there is only the standard library and NumPy, but for these.
THIRD_PARTY = {
    "settings": {"dask", "yaml"},
    "array": {"dask"},
    "labelled": {"xarray"},
    "scope": {"xarray"},
    "cluster": {"distributed"},
    "cli": {"click"},
}


def modules() -> dict[str, Path]:
    """Every module of the package by its name below ``mexdask``; the package itself is ""."""
    found = {}
    for path in sorted(TOP.rglob("*.py")):
        parts = path.relative_to(TOP).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """Dotted names that a module imports anywhere, those inside functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            # What is imported may be a module itself.
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(name: str) -> set[str]:
    """The modules of the package that a module imports."""
    found = set()
    for dotted in imports(name):
        parts = dotted.split(".")
        if parts[0] != "mexdask":
            continue
        below = [".".join(parts[1:n]) for n in range(len(parts), 0, -1)]
        found.add(next(m for m in below if m in MODULES))
    return found - {name}


def floor(name: str) -> int:
    return FLOORS[name.split(".")[0]]


def test_every_module_has_a_floor():
    missing = {name.split(".")[0] for name in MODULES} - set(FLOORS)
    assert not missing, f"say in FLOORS where they stand: {missing}"
    gone = set(FLOORS) - {name.split(".")[0] for name in MODULES}
    assert not gone, f"no such modules: {gone}"


@pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "mexdask")
def test_imports_go_downward(name):
    upward = {other for other in own_imports(name) if floor(other) > floor(name)}
    assert not upward, f"{name} may not import {upward}"


def test_the_scan_sees_imports():
    assert "array" in own_imports("call"), "inside functions too"
    assert {"frontend.parse", "ops"} <= own_imports("frontend.validate")
    assert own_imports("") >= {"api", "errors"}


def test_imports_have_no_cycles():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for other in own_imports(name):
                visit(other, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


LOW = [name for name in MODULES if floor(name) <= FLOORS["array"]]


@pytest.mark.parametrize("name", LOW)
def test_only_numpy_besides_the_standard_library(name):
    foreign = {dotted.split(".")[0] for dotted in imports(name)}
    foreign -= {*sys.stdlib_module_names, "mexdask", "numpy"}
    assert foreign <= THIRD_PARTY.get(name, set())


def loaded_after(code: str) -> set[str]:
    """Top-level packages that are imported in a fresh process after some code."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.split())


HEAVY = {"dask", "distributed", "xarray", "pandas", "numba"}


def test_the_part_that_travels_imports_no_dask():
    found = loaded_after("import mexdask.blockkernel")
    assert {"mexdask", "numpy"} <= found
    assert not found & HEAVY


def test_plain_import_is_light():
    assert not loaded_after("import mexdask") & {*HEAVY, "numpy"}


def test_defaults_are_in_the_configuration_from_the_import_on():
    code = "import dask, mexdask; mexdask.apply; print(dask.config.get('mexdask.jit'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "auto\n", done.stderr


def test_public_names_import_no_dask():
    names = "apply kernel explain stats Kernel Explanation MexError".split()
    code = "import mexdask\n" + "\n".join(f"mexdask.{name}" for name in names)
    assert not loaded_after(code) & {"distributed", "xarray"}


def test_public_names_are_all_there():
    pytest.importorskip("xarray")
    assert set(mexdask.__all__) <= set(dir(mexdask))
    for name in mexdask.__all__:
        assert getattr(mexdask, name).__name__ == name
    with pytest.raises(AttributeError, match="no_such_name"):
        mexdask.no_such_name  # noqa: B018


def test_no_submodule_bears_the_name_of_a_public_object():
    assert not set(mexdask.__all__) & {name.split(".")[0] for name in MODULES}
