"""The reference pages are true: functions as generated, each diagnostic by its examples."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml

import mexdask
from mexdask import ir
from mexdask.errors import Diagnostic, KernelError
from mexdask.ops import FUNCTIONS, OPERATORS

TOP = Path(__file__).resolve().parent.parent
DOCS = TOP / "docs"
FRONTEND = Path(mexdask.__file__).parent / "frontend"

# Functions that take a code, and at which place.
TAKE_A_CODE = {"Diagnostic": 0, "complain": 0, "fail": 0, "refuse": 1, "check": 1}
ENTRY = re.compile(r"^## (\S+)\n\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(
    r"^(Wrong|Right)(?:, for (.*?))?:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
DTYPE = re.compile(r"`(\w+)` of (\w+)")


class Example(NamedTuple):
    """A kernel of the page: its text, and the dtypes of parameters that are not float64."""

    label: str
    dtypes: dict[str, str]
    text: str


def entries() -> dict[str, list[Example]]:
    """Return the examples of each code on the page."""
    page = (DOCS / "diagnostics.md").read_text(encoding="utf-8")
    return {
        code: [Example(m[1], dict(DTYPE.findall(m[2] or "")), m[3]) for m in EXAMPLE.finditer(body)]
        for code, body in ENTRY.findall(page)
    }


ENTRIES = entries()


def emitted_codes() -> set[str]:
    """Return every code that stands in a complaint or a run-time check of the front end."""
    found = set()
    for path in FRONTEND.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(ast.Name(name) | ast.Attribute(attr=name), args):
                    where = TAKE_A_CODE.get(name, len(args))
                    spelt = args[where : where + 1]
                case ast.Assign([ast.Name("code")], value):
                    spelt = [value]
                case ast.Assign([ast.Tuple([ast.Name("code"), *_])], ast.Tuple([value, *_])):
                    spelt = [value]
                case _:
                    continue
            for value in spelt:
                arms = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
                found |= {a.value for a in arms if isinstance(a, ast.Constant)}
    return {code for code in found if isinstance(code, str)}


def run(example: Example, directory: Path) -> object:
    """Make the kernel of an example and run it on ones."""
    if "import mexdask" in example.text:
        # Its kernel is read back from the file.
        path = directory / f"{example.label}.py"
        path.write_text(example.text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        kernel = module.f
    else:
        kernel = mexdask.kernel(example.text)
    arrays = [np.ones(3, example.dtypes.get(p, "float64")) for p in kernel.parameters]
    return kernel(*arrays, jit="off")


def test_every_code_has_an_entry_and_no_entry_is_stale():
    codes = emitted_codes()
    assert len(codes) > 40, "the scan must find the codes"
    assert set(ENTRIES) == codes | set(ir.REASONS)
    assert list(ENTRIES) == sorted(ENTRIES)
    assert {tuple(e.label for e in examples) for examples in ENTRIES.values()} == {
        ("Wrong", "Right")
    }


@pytest.mark.parametrize("code", sorted(set(ENTRIES) - {"iteration-limit"}))
def test_the_wrong_example_gets_the_code_and_nothing_else(code: str, tmp_path: Path):
    wrong, _ = ENTRIES[code]
    with pytest.raises(KernelError) as caught:
        run(wrong, tmp_path)
    assert [d.code for d in caught.value.diagnostics] == [code]
    assert all(d.hint for d in caught.value.diagnostics)


def test_the_code_of_run_time_is_in_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ME_DSL_WHILE_MAX_ITERS", "100")
    wrong, _ = ENTRIES["iteration-limit"]
    with pytest.raises(mexdask.KernelRuntimeError, match=": iteration-limit: "):
        run(wrong, tmp_path)


@pytest.mark.parametrize("code", sorted(ENTRIES))
def test_the_right_example_runs(code: str, tmp_path: Path):
    _, right = ENTRIES[code]
    result = run(right, tmp_path)
    assert isinstance(result, np.ndarray)
    assert result.shape == (3,)


def test_the_page_quotes_a_diagnostic_as_it_is_printed():
    page = (DOCS / "diagnostics.md").read_text(encoding="utf-8")
    quoted = re.search(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    with pytest.raises(KernelError) as caught:
        mexdask.kernel("def f(length):\n    return lenght")
    (found,) = caught.value.diagnostics
    assert isinstance(found, Diagnostic)
    assert quoted[1].rstrip("\n") == found.render(caught.value.source)


@pytest.mark.parametrize("page", ["functions", "configuration"])
def test_generated_pages_are_current(page: str):
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    wanted = getattr(generate, f"{page}_page")()
    current = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    assert current == wanted, "run: python docs/generate.py"


def test_configuration_page_has_every_key():
    keys = yaml.safe_load((TOP / "mexdask" / "mexdask.yaml").read_text(encoding="utf-8"))
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert re.findall(r"^## mexdask\.(.*)$", page, re.MULTILINE) == list(keys["mexdask"])


def test_language_page_gives_the_bounds_of_the_table():
    page = (DOCS / "language.md").read_text(encoding="utf-8")
    listed = {
        float(n): names for n, names in re.findall(r"^\| ([\d.]+) ulp \| (.*) \|$", page, re.M)
    }
    names: dict[float, list[str]] = {}
    for op in (*OPERATORS, *FUNCTIONS):
        if op.ulp:
            names.setdefault(op.ulp, []).append(f"`{op.name}`")
    most = max(names, key=lambda ulp: len(names[ulp]))
    assert set(listed) == set(names)
    assert all(listed[ulp] == ", ".join(names[ulp]) for ulp in names if ulp != most)


PAGES = [TOP / "README.md", *sorted(DOCS.glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert anchor in {h.lower().replace(" ", "-") for h in headings}, anchor
