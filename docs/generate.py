"""Write the reference pages that follow from the code: ``python docs/generate.py``.

``functions.md`` comes from the op table, ``configuration.md`` from the packaged configuration. A
test compares the pages with what this would write.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from mexdask.ops import ALIASES, CASTS, CONSTANTS, FUNCTIONS, OPERATORS, SPELT_AS_OPERATOR, Op

HERE = Path(__file__).parent
CONFIGURATION = HERE.parent / "mexdask" / "mexdask.yaml"
HIDDEN = {"range_trips"}
CHOICES = {
    "where(c, a, b)": "a where c is true, else b; both are evaluated, the result is strong.",
    "min(a, b, ...)": "The smallest by Python's rule: a later operand wins only if it is less.",
    "max(a, b, ...)": "The largest by Python's rule: a later operand wins only if it is greater.",
}

HEAD = """\
# Functions and operators

This page is written by `docs/generate.py` from the table in `mexdask/ops.py`; change the table.

Functions may be spelt bare or as `np.`, `numpy.` or `math.`. The dtype of a result is NumPy's for
the same operands. "Exact" means the same bits on every engine, worker and compiler; otherwise the
column says how far, in units in the last place, a float of native code may be from the exact value
(the interpreter, which is NumPy: 4 ulp); integers are exact always. These bounds are tested, not
proven, and hold for real numbers in `strict` mode: see "What must agree" in
[language.md](language.md).
"""


def functions_page() -> str:
    """Return the text of the page on functions and operators."""
    other = {}
    for alias, name in (ALIASES | SPELT_AS_OPERATOR).items():
        other.setdefault(name, []).append(alias)
    operators = [row(op, operator_text(op), other) for op in OPERATORS if op.name not in HIDDEN]
    functions = [row(op, call_text(op), other) for op in FUNCTIONS]
    choices = [f"| `{name}` | | exact | {doc} |" for name, doc in CHOICES.items()]
    casts = ", ".join(f"`{name}`" for name in CASTS)
    constants = ", ".join(f"`{name}`" for name in CONSTANTS)
    return "\n".join(
        [
            HEAD,
            "## Operators\n",
            *table(operators),
            "\n## Functions\n",
            *table([*functions, *choices]),
            "\n## Casts and constants\n",
            f"Casts: {casts}. `int`, `float` and `bool` are Python's and give weak values; the "
            "others give the dtype that they name.\n",
            f"Constants: {constants}, also as `np.pi`, `math.e` and so on.\n",
        ]
    )


CONFIGURATION_HEAD = """\
# Configuration

This page is written by `docs/generate.py` from `mexdask/mexdask.yaml`; change that file.

The keys below are part of [Dask's configuration](https://docs.dask.org/en/stable/configuration.html):
in a YAML file, with `dask.config.set({"mexdask.jit": "off"})`, or in the environment, as
`DASK_MEXDASK__JIT=off`. A dash in a key becomes an underscore there.
"""

ENVIRONMENT = """\
## Environment variables

| variable | effect in the process that has it |
|---|---|
| `ME_DSL_JIT=0` | never native code: `jit="auto"` interprets, `jit="require"` fails |
| `ME_DSL_JIT_CFLAGS` | further flags for the compiler; they are part of the cache key |
| `ME_DSL_WHILE_MAX_ITERS` | wins over `mexdask.while-max-iters` |
| `CC` | the compiler, in place of the first of those that are found |
| `TMPDIR` | where the disk cache is: `$TMPDIR/miniexpr-jit` |

Whoever can set `CC` or the flags can run programs as you.
"""


def configuration_page() -> str:
    """Return the text of the page on configuration: each key with its comment and default."""
    sections, comment = [], []
    for line in CONFIGURATION.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("#"):
            comment.append(text.removeprefix("#").strip())
        elif comment and ":" in text:
            key, _, default = text.partition(":")
            body = textwrap.fill(" ".join(comment), 100, break_long_words=False)
            default = f"Default: `{default.strip() or 'nothing'}`."
            sections.append(f"## mexdask.{key}\n\n{body}\n\n{default}\n")
            comment = []
    return "\n".join([CONFIGURATION_HEAD, *sections, ENVIRONMENT])


def table(rows: list[str]) -> list[str]:
    """Return the lines of a table."""
    return ["| spelling | also | precision | meaning |", "|---|---|---|---|", *rows]


def row(op: Op, spelling: str, other: dict[str, list[str]]) -> str:
    """Return one line of a table."""
    names = ", ".join(f"`{name}`" for name in other.get(op.name, []))
    precision = f"{op.ulp} ulp" if op.ulp else "exact"
    return f"| `{spelling}` | {names} | {precision} | {op.doc} |"


def operator_text(op: Op) -> str:
    """Return how an operator stands between its operands."""
    symbol = op.name.removeprefix("u").replace("|", "\\|")
    return f"{symbol}a" if op.arity == 1 else f"a {symbol} b"


def call_text(op: Op) -> str:
    """Return how a function is called."""
    return f"{op.name}({', '.join('abc'[: op.arity])})"


if __name__ == "__main__":
    (HERE / "functions.md").write_text(functions_page(), encoding="utf-8")
    (HERE / "configuration.md").write_text(configuration_page(), encoding="utf-8")
