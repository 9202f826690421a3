"""Nothing that a kernel's author writes gets into the C but numbers: not a name, not a comment."""

from __future__ import annotations

import functools
import re

import pytest
from front_kit import lowered

from mexdask.backend.cscalar import scalar_c
from mexdask.backend.csimd import simd_c
from mexdask.errors import KernelError

WORDS = """
    auto register int volatile typedef asm static extern inline union struct sizeof goto switch
    restrict unsigned const void char double float _Bool _Atomic _Noreturn __asm__ __attribute__
    system exit abort printf malloc free puts main _start environ execve dlopen memcpy longjmp
    errno NULL EOF linux unix __FILE__ __LINE__ __VA_ARGS__ defined pragma include
    me_key me_call me_pow_f64 element line limit ndim shape operand words error tolerant ARRAYS DIMS
    p q q0 c k v0 a0 r0 s t L0 sel_f64 vm i64 f64 vf64 any_lane __builtin_trap __builtin_sqrt
    ο а ａ ﬁ ª ℓ 变量 ñ é ſ
""".split()

NAMED = "def {kernel}({name}, n):\n    {local} = {name} * 2\n    for {loop} in range(n):\n"
NAMED += "        {local} = {local} * 0.5 + {name} + {loop}\n    return {local}"
PLAIN = NAMED.format(kernel="kk", name="aa", local="bb", loop="cc")

COMMENTED = "def kk(aa, n):\n    bb = aa * 2{}\n    for cc in range(n):\n"
COMMENTED += "        bb = bb * 0.5 + aa + cc\n    return bb"
COMMENTS = [
    "  # ??/",
    "  # \\",
    "  # */ system(0); /*",
    "  # // 1 */",
    "  # */\n    # #include </dev/zero>",
    "  # ??=define bb 1",
    "  # %:define bb 1",
    '\n    "*/ system(0); /*"',
    '\n    """\n#include "x"\n??/\n\\\n"""',
    "\n    '\\n#define f64 f32'",
    "  # \x0c#define f64 f32",
    "  # \u2028#define f64 f32",
    "  # me:fp=strict\n",
    "  # _Pragma(\"GCC poison f64\")",
    "\n    # me: compiler=*/",
]  # fmt: skip


@functools.cache
def texts(source: str) -> tuple[str, str]:
    """Return both forms of C of a kernel."""
    (unit,) = lowered(source, "float64[] weak:int").units
    return scalar_c(unit.function, "SYMBOL", "KEY"), simd_c(unit.masked, "SYMBOL", "KEY", 32)


def test_the_kernel_to_compare_with_has_its_own_words():
    for text in texts(PLAIN):
        assert not re.search(r"\b(kk|aa|bb|cc)\b", text)
        assert "0x1.0000000000000p-1" in text


def taken(source: str) -> bool:
    """Tell whether a kernel is in the language; one that is must become the plain one's C."""
    try:
        given = texts(source)
    except KernelError:
        return False
    assert given == texts(PLAIN)
    return True


@pytest.mark.parametrize("word", WORDS)
def test_names_do_not_reach_the_c(word: str):
    places = {"kernel": "kk", "name": "aa", "local": "bb", "loop": "cc"}
    accepted = [taken(NAMED.format(**places | {place: word})) for place in places]
    assert all(accepted) or not word.isascii()


@pytest.mark.parametrize("comment", COMMENTS)
def test_comments_and_strings_do_not_reach_the_c(comment: str):
    taken(COMMENTED.format(comment))


def test_enough_is_tried():
    names = [taken(NAMED.format(kernel="kk", name=w, local="bb", loop="cc")) for w in WORDS]
    comments = [taken(COMMENTED.format(comment)) for comment in COMMENTS]
    assert sum(names) >= 60
    assert sum(comments) >= 8


@pytest.mark.parametrize("text", texts(PLAIN), ids=["scalar", "simd"])
def test_c_is_plain_ascii_without_comments_or_continued_lines(text: str):
    assert text.isascii()
    assert not re.search(r"//|/\*|\\|\?\?|%:|<:|`|@|\$", text)
    assert not re.findall(r"^\s*#(?!if |else|endif|pragma GCC diagnostic)", text, re.MULTILINE)
    assert all(re.fullmatch(r'"[\w+-]*"', quoted) for quoted in re.findall(r'"[^"]*"', text))
