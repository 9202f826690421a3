"""The entry points in C, the same for both forms: unpack a call, join dimensions, walk lines.

A line is one dimension of the block. Where a kernel reads index symbols, dimensions stay apart and
the driver knows each line's place in the whole array. In a reducing stage the lines' results go to
a buffer of a few kilobytes, which is reduced into the caller's record whenever it is full.
"""

from __future__ import annotations

from mexdask import ir
from mexdask.backend.cabi import MAX_NDIM
from mexdask.backend.cexpr import c_type
from mexdask.backend.creduce import BUFFER, reducer, reducer_name

INDENT = "    "
LINE_PARAMS = (
    "i64 n", "i64 at", "i64 limit", "i64 tolerant", "i64 *error", "char *const *p", "const i64 *s",
)  # fmt: skip


def key_symbol(key: str) -> str:
    """Return the definition of the symbol that tells which kernel an object holds."""
    return (
        '__attribute__((visibility("default"), used)) const char me_key[] = '
        f'"{key}";\n'
    )  # fmt: skip


def operands(function: ir.Function) -> tuple[list[str], list[str]]:
    """Return the C types of the array operands, inputs then outputs, and of the scalars."""
    arrays = [c_type(p.var.dtype) for p in function.params if p.is_array]
    arrays += [c_type(d) for d in function.results]
    return arrays, [c_type(p.var.dtype) for p in function.params if not p.is_array]


def line_params(function: ir.Function) -> list[str]:
    """Return the parameters of ``line``, in both forms of C.

    For each index symbol ``atK`` is its value at the line's first element, ``byK`` what one element
    more adds to it.
    """
    _, scalars = operands(function)
    places = [f"i64 at{k}, i64 by{k}" for k in range(len(function.indices))]
    return [*LINE_PARAMS, *places, *(f"{t} q{k}" for k, t in enumerate(scalars))]


ENTRY = """\
{reducers}__attribute__((visibility("default"))) int {symbol}(const me_call *c)
{{
    enum {{ ARRAYS = {walked}, DIMS = {ndim_max} + 1 }};
    const i64 ndim = c->ndim;
    const i64 *shape = c->words, *operand = shape + 4 * ndim;
    i64 dim[DIMS] = {{1}}, step[DIMS][ARRAYS] = {{{{0}}}}, count[DIMS] = {{0}};
    char *p[ARRAYS];
    int last = 0;
    for (int a = 0; a < ARRAYS; ++a) p[a] = (char *)operand[a * (ndim + 1)];
{start}    for (i64 d = 0; d < ndim; ++d) {{
        int joins = {may_join};
        if (shape[d] == 0) return 0;
        if (shape[d] == 1) continue;
        for (int a = 0; a < ARRAYS; ++a)
            joins &= step[last][a] == shape[d] * operand[a * (ndim + 1) + 1 + d];
        if (dim[last] == 1) joins = 1;
        if (!joins) ++last;
        dim[last] = joins ? dim[last] * shape[d] : shape[d];
        for (int a = 0; a < ARRAYS; ++a) step[last][a] = operand[a * (ndim + 1) + 1 + d];
{note_axis}    }}
    for (i64 at = 0;; at += dim[last]) {{
{visit}
        int d = last - 1;
        for (; d >= 0; --d) {{
            for (int a = 0; a < ARRAYS; ++a) p[a] += step[d][a];
            if (++count[d] < dim[d]) break;
            for (int a = 0; a < ARRAYS; ++a) p[a] -= dim[d] * step[d][a];
            count[d] = 0;
        }}
        if (d < 0) break;
    }}
{finish}    return 0;
}}
"""

# NumPy warns about floating-point exceptions that a loop leaves behind; 0x3f has all of any CPU's.
UFUNC_LOOP = """\
int feclearexcept(int);
__attribute__((visibility("default"))) void me_ufunc(char **, const i64 *, const i64 *, void *);
void me_ufunc(char **p, const i64 *n, const i64 *s, void *d)
{
    (void)d;
    line(*n, 0, 0, 0, 0, p, s);
    feclearexcept(0x3f);
}
"""

VISIT = """\
        int failed = line(dim[last], at, {rest}, p, step[last]{more});
        if (failed) return failed;"""

AHEAD = 16384
"""Most bytes of the inputs that are fetched while the buffer is reduced, as the machine's own
prefetching stops where the reading does. More would push the buffer out of the nearest cache."""

REDUCING_VISIT = """\
        for (i64 from = 0; from < dim[last];) {{
            i64 room = {buffer} - filled, n = dim[last] - from < room ? dim[last] - from : room;
            char *from_p[{arrays}];
            i64 from_s[{arrays}];
            for (int a = 0; a < {inputs}; ++a) {{
                from_p[a] = p[a] + from * step[last][a];
                from_s[a] = step[last][a];
            }}
{buffers}
            int failed = line(n, at + from, {rest}, from_p, from_s{more});
            if (failed) return failed;
            from += n;
            filled += n;
            if (filled < {buffer}) continue;
{fetches}
{reduce}
            filled = 0;
        }}"""

PLACE = """\
        i64 index[DIMS], flat = 0, flat_step = 0, stride = 1;
        for (i64 d = 0; d < ndim; ++d) index[d] = offset[d];
        for (int d = 0; d < last; ++d) index[axis[d]] += count[d];
        for (i64 d = ndim; d-- > 0; stride *= whole[d]) {
            flat += index[d] * stride;
            if (d == axis[last]) flat_step = stride;
        }
        (void)index, (void)flat, (void)flat_step;
"""


def entry(function: ir.Function, symbol: str) -> str:
    """Return the exported C function."""
    arrays, scalars = operands(function)
    inputs = len(arrays) - len(function.results)
    reduces = bool(function.reductions)
    # A reducing stage has one output, the record, which no dimension walks.
    given = inputs + 1 if reduces else len(arrays)
    start = [
        f"    {t} q{k}; __builtin_memcpy(&q{k}, &operand[{given} * (ndim + 1) + {k}], "
        f"sizeof q{k});\n"
        for k, t in enumerate(scalars)
    ]
    if function.indices:
        start.append("    const i64 *offset = shape + ndim, *whole = offset + ndim;\n")
        start.append("    const i64 *axes = whole + ndim;\n")
        start.append("    i64 axis[DIMS] = {0};\n")
    if reduces:
        start.append(f"    me_word *record = (me_word *)operand[{inputs} * (ndim + 1)];\n")
        start.append("    i64 filled = 0;\n")
        start += [f"    {c_type(d)} row{k}[{BUFFER}];\n" for k, d in enumerate(function.results)]
    visit = reducing_visit(function, inputs) if reduces else plain_visit(function)
    finish = f"    if (filled) {{\n{reduce_calls(function)}\n    }}\n" if reduces else ""
    text = ENTRY.format(
        reducers=reducer(function) if reduces else "", symbol=symbol,
        walked=max(1, inputs) if reduces else len(arrays), ndim_max=MAX_NDIM,
        may_join=int(not function.indices), start="".join(start),
        note_axis="        axis[last] = axes[d];\n" if function.indices else "",
        visit=(PLACE if function.indices else "") + visit, finish=finish,
    )  # fmt: skip
    # NumPy says no place and holds the GIL for few elements, which may take long in loops.
    is_like_ufunc = function.is_simple and not function.has_loops
    return text + (UFUNC_LOOP if is_like_ufunc else "")


def plain_visit(function: ir.Function) -> str:
    """Return the call of ``line`` for an elementwise stage."""
    return VISIT.format(rest=call_rest(), more="".join(places(function, "")) + scalars(function))


def reducing_visit(function: ir.Function, inputs: int) -> str:
    """Return the calls of ``line`` that fill the buffer, and what empties it."""
    pointers = [
        f"            from_p[{inputs + k}] = (char *)(row{k} + filled);\n"
        f"            from_s[{inputs + k}] = sizeof *row{k};"
        for k in range(len(function.results))
    ]
    sizes = [p.var.dtype.itemsize for p in function.params if p.is_array]
    fetched = [min(BUFFER * size, AHEAD // inputs) for size in sizes]
    fetches = [
        f"            for (int ahead = 0; ahead < {most}; ahead += 64)\n"
        f"                __builtin_prefetch(p[{a}] + from * step[last][{a}] + ahead);"
        for a, most in enumerate(fetched)
    ]
    return REDUCING_VISIT.format(
        buffer=BUFFER, fetches="\n".join(fetches), inputs=inputs,
        arrays=inputs + len(function.results),
        buffers="\n".join(pointers), rest=call_rest(),
        more="".join(places(function, "from")) + scalars(function), reduce=reduce_calls(function),
    )  # fmt: skip


def reduce_calls(function: ir.Function) -> str:
    """Return the calls that reduce what is in the buffer."""
    return "\n".join(
        f"            {reducer_name(function, k)}(row{k}, filled, record + {3 * k});"
        for k in range(len(function.reductions))
    )


def call_rest() -> str:
    """Return the arguments of ``line`` that come from the call as they are."""
    return "c->limit, c->tolerant, c->error"


def scalars(function: ir.Function) -> str:
    """Return the scalar arguments of ``line``."""
    return "".join(f", q{k}" for k in range(len(operands(function)[1])))


def places(function: ir.Function, skipped: str) -> list[str]:
    """Return the arguments for index symbols: value at the first element, what the next adds."""
    found = []
    for symbol in function.indices:
        if symbol.name == "_flat_idx":
            value, step = "flat", "flat_step"
        elif symbol.name.startswith("_n"):
            value, step = f"whole[{symbol.name[2]}]", "0"
        else:
            value, step = f"index[{symbol.name[2]}]", f"(axis[last] == {symbol.name[2]})"
        first = f"{value} + {skipped} * {step}" if skipped and step != "0" else value
        found.append(f", {first}, {step}")
    return found
