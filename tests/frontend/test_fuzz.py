"""Random edits of valid texts: each gives a kernel, or an error with a place inside the text."""

from __future__ import annotations

import ast
import random
import re
import time
import warnings

import pytest

from mexdask.errors import KernelError, KernelTypeError
from mexdask.frontend.scalar import scalar_function
from mexdask.frontend.source import source_of_text
from mexdask.irtext import function_text
from mexdask.specialise import Specialisation, parsed_there

SEEDS = (
    """def mandelbrot(cr, ci, max_iter):
    zr = 0.0
    zi = 0.0
    for i in range(max_iter):
        zr2 = zr*zr
        zi2 = zi*zi
        if zr2 + zi2 > 4: return i
        zi = 2*zr*zi + ci
        zr = zr2 - zi2 + cr
    return max_iter
""",
    '''# me:fp=fast
# me:compiler=tcc
def k(a, b, n=3, s=-0.5):
    """doc"""
    x, y = a, b
    while x < n and not y == 0:
        x, y = y, x % (abs(y) + 1)
        if x > 10: break
        elif x < -10: continue
        else: pass
    z = w = x if a else y
    z //= 3; z **= 2; z <<= 1; z ^= n; z |= 1; z &= 0xff; z >>= 1
    for i in range(n, -n, -1):
        w += np.sqrt(abs(a)) * i / 2 - min(a, b, s) // 1
    return where(0 < x <= 1 or z, w, math.pi) if not (a < b) else int(x) & ~n
''',
    "sqrt(u**2 + v**2) * np.sin(pi * u) if u > 1e-3 else float32(v)",
    "clip(x, 0, 1)\n",
    """RATE = np.float32(2.5)
STEPS = 3
def smaller(a, b=1):
    if a < b: return a
    return b
def grown(x):
    for i in range(STEPS):
        x = smaller(x) * RATE
    return x
def k(x, n):
    return grown(x) + smaller(grown(n), x)
""",
)
TYPES = (
    "float64[] int32[] uint8[] bool[] complex128[] int8[] float32[] uint64[] uint64 "
    "weak:int weak:float weak:bool"
).replace(":", " ")
TYPES = tuple(re.findall(r"weak \w+|\S+", TYPES))
JUNK = (
    *"( ) [ ] { } : , ; = == := -> @ . * ** - + ~ // % << >> & | ^ < > != $ ? ! ` \\ ' \"".split(),
    *"lambda def class return yield await async for in is not and or if else elif while".split(),
    *"break continue pass import from global nonlocal del try except finally with".split(),
    *"raise assert".split(),
    *"match case type None True False ... 's' b'x' f'{x}' 1j 1e999 1e-999 .5 5. 0777 1__0".split(),
    *"_i0 _n1 _ndim _flat_idx nan inf e np.pi np math.sin int x.y x[0] range(3) where self".split(),
    *"sum(x) float16(x) uint64(-1) int8(300) 2**-1 complex64(1) pow(2,3) __debug__ é".split(),
    *"变量 🙂".split(),
    "0x" + "f" * 5000, "9" * 4400, "9" * 400, "x" * 9999, "(" * 120, "-" * 150, "not " * 180,
    "~" * 500, "\0", "\ufeff", "\u202e", "\t", "\n", "\\\n", "  ", "\r", "\f", "\x0b", "\u2028",
    "\ud800", "#x\n", "# me:fp=strict\n", '"""', "with x: pass", "while 1: pass", "else:",
    "while True: x += 1", "x for x in x", "@k\n", "x = x - x", "f(x)=1", "1if x else 2",
)  # fmt: skip


def edited(chance: random.Random, text: str) -> str:
    """Return a text with a few random edits of tokens, lines, characters or expressions."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        parts = re.findall(r"\s+|\w+|[^\w\s]", text) or [""]
        i, j = chance.randrange(len(parts)), chance.randrange(len(parts))
        kind = chance.randrange(9)
        if kind == 0:
            del parts[i]
        elif kind == 1:
            parts.insert(i, parts[j])
        elif kind == 2:
            parts[i], parts[j] = parts[j], parts[i]
        elif kind == 3:
            parts[i] = chance.choice(JUNK)
        elif kind == 4:
            parts.insert(i, f" {chance.choice(JUNK)} ")
        elif kind == 5:
            code = chance.choice((0x80, 0x3000, 0x110000))
            parts.insert(i, chr(chance.randrange(code)))
        elif kind == 6:
            parts = text.splitlines(keepends=True) or [""]
            i, j = chance.randrange(len(parts)), chance.randrange(len(parts))
            parts[i], parts[j] = parts[j], parts[i]
        else:
            parts = [with_swapped_expressions(chance, text)]
        text = "".join(parts)
    return text


def with_swapped_expressions(chance: random.Random, text: str) -> str:
    """Return a text in which one expression stands where another stood; mostly valid Python."""
    text = source_of_text(text).text
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text
    found = [n for n in ast.walk(tree) if isinstance(n, ast.expr) and n.lineno == n.end_lineno]
    if not found:
        return text
    target, other = chance.choice(found), chance.choice(found)
    lines = text.encode(errors="replace").split(b"\n")
    new = lines[other.lineno - 1][other.col_offset : other.end_col_offset]
    line = lines[target.lineno - 1]
    new = line[: target.col_offset] + b"(" + new + b")" + line[target.end_col_offset :]
    lines[target.lineno - 1] = new
    return b"\n".join(lines).decode(errors="replace")


def check_places(error: KernelError) -> None:
    """Every complaint has a place in the text, a message and a hint, and can be rendered."""
    lines = error.source.text.split("\n")
    assert error.diagnostics
    for complaint in error.diagnostics:
        assert 1 <= complaint.span.line <= len(lines)
        line = lines[complaint.span.line - 1].encode(errors="replace")
        assert 0 <= complaint.span.col <= len(line)
        assert complaint.span.end > complaint.span.col
        assert complaint.code
        assert complaint.message
        assert complaint.hint
    assert len(str(error)) < 20_000


def tried(chance: random.Random, text: str) -> str:
    """Take a text all the way to IR for two signatures; return what came of it."""
    source = source_of_text(text)
    outcome = "kernel"
    try:
        parsed = parsed_there.__wrapped__(source, (), frozenset())
    except KernelError as error:
        check_places(error)
        return "syntax"
    for _ in range(2):
        signature = tuple(chance.choice(TYPES) for _ in parsed.parameters)
        result = chance.choice(("", "", "float32", "int8", "bool"))
        try:
            kernel = Specialisation(parsed, signature, result, chance.choice((None, 0, 2)))
        except KernelTypeError as error:
            check_places(error)
            outcome = "types"
        else:
            assert function_text(kernel.result.function).startswith("kernel ")
    assert callable(scalar_function(parsed))
    return outcome


def fuzz(count: int, seed: int) -> None:
    outcomes = {"kernel": 0, "types": 0, "syntax": 0}
    slow = []
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        text = edited(chance, chance.choice(SEEDS))
        start = time.process_time()
        try:
            with warnings.catch_warnings(action="ignore"):
                outcomes[tried(chance, text)] += 1
        except Exception as error:
            error.add_note(f"seed {seed}/{number}: {text[:5000]!r}")
            raise
        if (seconds := time.process_time() - start) > 0.1:
            slow.append((seconds, number))
    # All three outcomes must be met, or the edits test nothing.
    assert min(outcomes.values()) > count // 50, outcomes
    assert len(slow) <= count // 500, f"more than 100 ms each: {slow}"


@pytest.mark.parametrize("seed", [1, 2])
def test_random_edits(seed):
    fuzz(500, seed)


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(10, 20))
def test_many_random_edits(seed):
    fuzz(2000, seed)
