"""Limits have words of their own, and up to them everything works on every engine."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from front_kit import complaints, lowered, under_carets

import mexdask
from mexdask.backend.cscalar import scalar_c
from mexdask.errors import KernelSyntaxError
from mexdask.frontend.inlining import MAX_CALL_DEPTH
from mexdask.frontend.parse import MAX_DEPTH, MAX_NODES, MAX_SOURCE_BYTES
from mexdask.frontend.validate import MAX_LOCALS, MAX_LOOPS

X = np.array([0.5, 1.0, 2.0])

# The Module, the Return and the operand itself are levels too.
LEVELS = MAX_DEPTH - 3

NESTED = {
    "unary": lambda s: f"-{s}",
    "not": lambda s: f"not {s}",
    "left": lambda s: f"{s}+x",
    "right": lambda s: f"x-({s})",
    "call": lambda s: f"sin({s})",
    "min": lambda s: f"min(x, {s})",
    "chain": lambda s: f"({s}) < 3 < x",
    "ternary": lambda s: f"({s}) if x else x",
    "otherwise": lambda s: f"x if x else ({s})",
    "and": lambda s: f"x and ({s})",
    "or": lambda s: f"({s}) or x",
    "where": lambda s: f"where(x, {s}, x)",
    "cast": lambda s: f"float32({s})",
    "square": lambda s: f"({s})**2",
}


def nested(name: str, levels: int) -> str:
    text = "x"
    for _ in range(levels):
        text = NESTED[name](text)
    return text


@pytest.mark.parametrize("name", NESTED)
def test_depth(name):
    assert complaints(nested(name, LEVELS), "float64[]") == []
    (found,) = complaints(nested(name, LEVELS + 1), "float64[]")
    assert found.code == "too-large"
    assert str(MAX_DEPTH) in found.message


@pytest.mark.parametrize("name", NESTED)
def test_deepest_kernels_run(name):
    function = mexdask.kernel(nested(name, LEVELS))
    expected = [function.py_func(x) for x in X] if name != "square" else [0.0, 1.0, np.inf]
    np.testing.assert_allclose(function(X, jit="off"), expected, rtol=1e-6)


@pytest.mark.parametrize("name", NESTED)
def test_c_stays_within_the_brackets_that_compilers_take(name):
    function = lowered(nested(name, LEVELS), "float64[]").result.function
    depth = deepest = 0
    for character in scalar_c(function, "k", "0"):
        depth += (character in "({[") - (character in ")}]")
        deepest = max(deepest, depth)
    assert deepest < 256, "clang's limit"


@pytest.mark.compiler
@pytest.mark.parametrize("name", ["right", "chain", "otherwise", "call"])
def test_deepest_kernels_compile(name):
    source = nested(name, LEVELS)
    native = mexdask.apply(source, X, jit="require")
    np.testing.assert_allclose(native, mexdask.apply(source, X, jit="off"), rtol=1e-12)


def test_a_deep_stack_of_the_caller_leaves_room():
    def deep(frames, call):
        return call() if frames == 0 else deep(frames - 1, call)

    frames = sys.getrecursionlimit() - stack_depth() - 120
    for number, name in enumerate(NESTED):
        source = nested(name, LEVELS - 1)
        result = deep(frames, lambda source=source: mexdask.apply(source, X, jit="off"))
        np.testing.assert_array_equal(result, mexdask.apply(f"{source} ", X, jit="off"))
        wrong = f"{source} + x.y{number}"
        with pytest.raises(KernelSyntaxError):
            deep(frames, lambda wrong=wrong: mexdask.apply(wrong, X, jit="off"))


def stack_depth() -> int:
    frame, count = sys._getframe(), 0
    while frame is not None:
        frame, count = frame.f_back, count + 1
    return count


def ifs(levels: int) -> str:
    lines = [f"{' ' * (i + 1)}if x > {i}:" for i in range(levels)]
    return "\n".join(["def f(x):", *lines, f"{' ' * (levels + 1)}return x", " return -1"])


def test_statements_in_statements():
    assert mexdask.apply(ifs(98), X * 60, jit="off").tolist() == [-1, -1, 120]
    (found,) = complaints(ifs(120), "float64[]")
    assert found.code == "too-large"


def loops(levels: int) -> str:
    lines = [f"{' ' * (i + 1)}for i{i} in range(1):" for i in range(levels)]
    return "\n".join(["def f(x):", *lines, f"{' ' * (levels + 1)}x += 1", " return x"])


def test_loops_in_loops():
    assert complaints(loops(MAX_LOOPS), "float64[]") == []
    # Python itself takes no more.
    compile(loops(MAX_LOOPS), "f", "exec")
    with pytest.raises(SyntaxError):
        compile(loops(MAX_LOOPS + 1), "f", "exec")
    (found,) = complaints(loops(MAX_LOOPS + 1), "float64[]")
    assert (found.code, under_carets(found, loops(MAX_LOOPS + 1))) == ("too-large", "for")


def helpers(count: int, call: str) -> str:
    lines = ["def g0(x): return x"]
    lines += [f"def g{i + 1}(x): return {call.format(f'g{i}(x)')}" for i in range(count)]
    return "\n".join([*lines, f"def f(x): return g{count}(x)"])


def test_helpers_that_call_helpers():
    deepest = helpers(MAX_CALL_DEPTH - 1, "{0} + 1")
    expected = X + MAX_CALL_DEPTH - 1
    np.testing.assert_array_equal(mexdask.apply(deepest, X, jit="off"), expected)
    for source in (
        helpers(MAX_CALL_DEPTH, "{0} + 1"),
        helpers(400, "{0}"),
        helpers(9, "{0} + {0}"),
    ):
        assert {d.code for d in complaints(source, "float64[]")} == {"too-large"}
    # Each is within its limit, but both together are not; no stack is deep enough.
    both = helpers(20, "-" * 180 + "{0}")
    assert {d.code for d in complaints(both, "float64[]")} <= {"too-large"}


def test_source_size():
    def padded(size: int) -> str:
        return "x + 1  #" + "é" * ((size - 8) // 2)

    assert complaints(padded(MAX_SOURCE_BYTES), "float64[]") == []
    (found,) = complaints(padded(MAX_SOURCE_BYTES + 2), "float64[]")
    assert (found.code, "64 KiB" in found.message) == ("too-large", True)


def test_number_of_nodes():
    def sums(lines: int) -> str:
        return "def f(x):\n" + "    x = x + 1\n" * lines + "    return x"

    # Five nodes a line: the statement, its target, the sum, its operands.
    fits = (MAX_NODES - 10) // 5
    assert complaints(sums(fits - 10), "float64[]") == []
    (found,) = complaints(sums(fits + 10), "float64[]")
    assert found.code == "too-large"


def test_number_of_variables():
    def many(count: int) -> str:
        lines = [f"    v{i} = x + {i}" for i in range(count - 1)]
        return "\n".join(["def f(x):", *lines, f"    return v{count - 2}"])

    assert complaints(many(MAX_LOCALS), "float64[]") == []
    assert mexdask.apply(many(MAX_LOCALS), 1.0, jit="off") == 255.0
    (found,) = complaints(many(MAX_LOCALS + 1), "float64[]")
    assert found.code == "too-large"


LONG = "n" * 9_999 + "é"


@pytest.mark.compiler
def test_long_names_run():
    source = f"def {LONG}(a{LONG}):\n    b{LONG} = a{LONG} + 1\n    return b{LONG}"
    for jit in ("require", "off"):
        result = mexdask.apply(source, params={f"a{LONG}": X}, jit=jit)
        np.testing.assert_array_equal(result, X + 1)


@pytest.mark.parametrize(
    "source",
    [
        f"{LONG}.attribute",
        f"def {LONG}(x):\n    return {LONG[1:]}",
        f"def f({LONG}, {LONG}): return 1",
        f"x + {'1' * 5000}",
        f"# me:{LONG}=1\nx",
        "'" + "\x1b[31m" * 5000 + "'",
        "def f(x):\n" + "    y.z\n" * 900 + "    return x",
    ],
)
def test_messages_stay_short_and_harmless(source):
    with pytest.raises(KernelSyntaxError) as caught:
        mexdask.kernel(source)
    text = str(caught.value)
    assert len(text) < 8_000
    assert max(map(len, text.split("\n"))) < 300
    assert "\x1b" not in text


def test_long_arguments_stay_short_in_messages():
    with pytest.raises(mexdask.ArgumentError) as caught:
        mexdask.apply(f"{LONG} + 1", params={LONG[1:]: 1})
    assert len(str(caught.value)) < 500
