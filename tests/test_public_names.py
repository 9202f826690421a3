"""Every public name is documented, by an example that runs."""

from __future__ import annotations

import doctest
import inspect
import re
import warnings

import numpy as np
import pytest

import mexdask

pytest.importorskip("distributed")
pytest.importorskip("mexdask.xarray", exc_type=ImportError)

CLASSES = {n for n in mexdask.__all__ if inspect.isclass(getattr(mexdask, n))}
FUNCTIONS = sorted(set(mexdask.__all__) - CLASSES)
ERRORS = {n for n in CLASSES if issubclass(getattr(mexdask, n), Exception)}
NATIVE_ONLY = {"MexPlugin", "build", "warm"}
"""Names whose examples show native code."""
SECTION = r"^\s*{}\n\s*-+\n(.*?)(?=\n\n\s*\w+\n\s*-+\n|\Z)"


def doc(name: str) -> str:
    return inspect.getdoc(getattr(mexdask, name)) or ""


def section(text: str, title: str) -> str:
    found = re.search(SECTION.format(title), text, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def test_every_public_name_has_an_example():
    """A class is shown by its own, or by that of the function that returns it."""
    with_example = [name for name in mexdask.__all__ if ">>> " in doc(name)]
    returned = " ".join(section(doc(name), "Returns") for name in with_example)
    shown = {name for name in CLASSES if re.search(rf"\b{name}\b", returned)}
    assert not set(mexdask.__all__) - {*with_example, *shown, *ERRORS}


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_classes_and_their_public_members_have_docstrings(name: str):
    value = getattr(mexdask, name)
    members = {k: v for k, v in vars(value).items() if not k.startswith("_")}
    documented = (property, type(lambda: 0), classmethod, staticmethod)
    bare = [k for k, v in members.items() if isinstance(v, documented) and not v.__doc__]
    assert vars(value).get("__doc__")
    assert not bare


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_describe_their_parameters_and_what_they_raise(name: str):
    text = doc(name)
    described = section(text, "Parameters")
    given = inspect.signature(getattr(mexdask, name)).parameters
    assert not [p for p in given if not re.search(rf"\b{p}\b", described)]
    assert section(text, "Returns") or name == "reset_stats"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.compiler if name in NATIVE_ONLY else ())
        for name in sorted({*mexdask.__all__, "xarray"} - ERRORS)
    ],
)
def test_examples_run(name: str):
    """The examples of a name and of its methods."""
    value = getattr(mexdask, name)
    finder = doctest.DocTestFinder(recurse=inspect.isclass(value))
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    with warnings.catch_warnings(), np.printoptions():
        warnings.simplefilter("ignore", DeprecationWarning)
        for test in finder.find(value, name, globs={}):
            runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)
