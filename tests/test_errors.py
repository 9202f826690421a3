"""Errors are data that survives pickling, and text that points at the smallest wrong piece."""

from __future__ import annotations

import copy
import inspect
import pickle

import cloudpickle
import numpy as np
import pytest

import mexdask
from mexdask import errors
from mexdask.errors import Diagnostic, SourceText, Span

SOURCE = SourceText("def f(é):\n    return é.real", "f", "/home/me/file.py", 12, 4)
COMPLAINT = Diagnostic("some-code", "what is wrong", Span(2, 11, 18), "what to write")

INSTANCES = [
    errors.MexError("words"),
    errors.KernelError(SOURCE, (COMPLAINT,)),
    errors.KernelSyntaxError(SOURCE, (COMPLAINT, COMPLAINT)),
    errors.KernelTypeError(SOURCE, (COMPLAINT,)),
    errors.ArgumentError("argument 'x' is a list"),
    errors.BlockError("the block of 'x' at (0, 4)"),
    errors.JITUnavailableError("no compiler"),
    errors.KernelRuntimeError("the step is 0", (3, 4)),
    errors.KernelRuntimeError("the step is 0"),
]

FAMILY = {
    errors.MexError: (Exception,),
    errors.KernelError: (errors.MexError,),
    errors.KernelSyntaxError: (errors.KernelError, ValueError),
    errors.KernelTypeError: (errors.KernelError, TypeError),
    errors.ArgumentError: (errors.MexError, ValueError),
    errors.BlockError: (errors.MexError, RuntimeError),
    errors.JITUnavailableError: (errors.MexError, RuntimeError),
    errors.KernelRuntimeError: (errors.MexError, ArithmeticError),
}


def test_family():
    classes = {c for _, c in inspect.getmembers(errors, inspect.isclass)}
    raised = {c for c in classes if issubclass(c, Exception) and not issubclass(c, Warning)}
    assert raised == set(FAMILY)
    for kind, bases in FAMILY.items():
        assert kind.__bases__ == bases
        assert getattr(mexdask, kind.__name__) is kind
    assert errors.FallbackWarning.__bases__ == (UserWarning,)


def test_every_class_has_an_instance_here():
    assert {type(error) for error in INSTANCES} == set(FAMILY)


@pytest.mark.parametrize("error", INSTANCES, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(
    "through",
    [
        *(lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in range(2, 6)),
        lambda e: pickle.loads(cloudpickle.dumps(e)),
        copy.copy,
    ],
)
def test_errors_survive_pickling(error, through):
    again = through(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__
    assert again.args == error.args


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        ("x.real", [1.0]),
        ("x - x", [True]),
        ("x + y", [1.0]),
        ("x ** y", [np.int64(2), np.int64(-1)]),
    ],
)
def test_errors_that_are_really_raised_survive_pickling(source, arguments):
    with pytest.raises(mexdask.MexError) as caught:
        mexdask.apply(source, *map(np.asarray, arguments), jit="off")
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value)
    assert str(again) == str(caught.value)
    assert again.__dict__ == caught.value.__dict__


def test_rendering():
    error = errors.KernelSyntaxError(SOURCE, (COMPLAINT, COMPLAINT))
    one = (
        "/home/me/file.py:13:16: some-code: what is wrong\n"
        "        return é.real\n"
        "               ^^^^^^\n"
        "hint: what to write"
    )
    assert str(error) == f"\n{one}\n{one}"


RENDERED = [
    # text, span, place, quoted line, carets
    ("x + y", Span(1, 4, 5), "k:1:5", "x + y", "    ^"),
    ("x +", Span(1, 3, 4), "k:1:4", "x +", "   ^"),
    ("", Span(1, 0, 1), "k:1:1", "", "^"),
    ("x\ny", Span(3, 0, 1), "k:3:1", "", "^"),
    ("\tx + y", Span(1, 5, 6), "k:1:6", "\tx + y", "\t    ^"),
    ("日本 + y", Span(1, 9, 10), "k:1:6", "日本 + y", "       ^"),
    ("日本 + y", Span(1, 0, 6), "k:1:1", "日本 + y", "^^^^"),
    ("é + y", Span(1, 0, 2), "k:1:1", "é + y", "^"),
    ("x\0y\x1b", Span(1, 1, 2), "k:1:2", "x�y�", " ^"),
    ("f(x,\n  y)", Span(1, 0, 1 << 20), "k:1:1", "f(x,", "^^^^"),
    ("x\ud800", Span(1, 1, 2), "k:1:2", "x�", " ^"),
    ("a" * 300 + " y " + "b" * 300, Span(1, 301, 302), "k:1:302",
     "…" + "a" * 59 + " y " + "b" * 58 + "…", " " * 61 + "^"),
    ("y" * 300, Span(1, 0, 300), "k:1:1", "y" * 120 + "…", "^" * 120),
]  # fmt: skip


@pytest.mark.parametrize("case", RENDERED, ids=lambda case: ascii(case[0][:20]))
def test_place_line_and_carets(case):
    text, span, place, quoted, carets = case
    shown = Diagnostic("c", "m", span).render(SourceText(text, "k"))
    assert shown == f"{place}: c: m\n    {quoted}\n    {carets}"


def test_long_words_and_many_complaints_are_cut():
    long = Diagnostic("c", f"unknown name '{'n' * 5000}'", Span(1, 0, 1), f"write {'m' * 5000}")
    error = errors.KernelSyntaxError(SourceText("x", "k" * 5000), (long,) * 500)
    assert len(str(error)) < 10_000
    assert "... and 480 more" in str(error)
    assert len(error.diagnostics) == 500


def test_the_place_in_the_file_does_not_change_what_a_source_is():
    here = SourceText("x", "k", "/a.py", 3, 4)
    there = SourceText("x", "k", "/b.py", 7, 0)
    assert here == there
    assert hash(here) == hash(there)
    assert here != SourceText("x ", "k", "/a.py", 3, 4)
    assert here != SourceText("x", "other", "/a.py", 3, 4)
