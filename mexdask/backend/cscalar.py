"""Structured IR to C: one element an iteration, early exit as plain jumps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from mexdask import ir
from mexdask.backend.cabi import CALL_STRUCT, MAX_NDIM
from mexdask.backend.cexpr import Names, c_expr, c_type
from mexdask.backend.cprelude import helpers
from mexdask.dtypes import BOOL, ROWS

INDENT = "    "
TYPES = "".join(f"typedef {row.c_base} {row.c};\n" for row in ROWS)


def scalar_c(function: ir.Function, symbol: str, key: str) -> str:
    """Return the C text of a function.

    Parameters
    ----------
    function : ir.Function
        In native dtypes only.
    symbol : str
        The name of the entry point.
    key : str
        What the exported ``me_key`` holds, for the loader to compare.
    """
    body = element(function)
    head = TYPES + CALL_STRUCT + helpers(body)
    return "\n".join([head, body, line(function), entry(function, symbol), key_symbol(key)])


def key_symbol(key: str) -> str:
    """Return the definition of the symbol that tells which kernel an object holds."""
    return (
        '__attribute__((visibility("default"), used)) const char me_key[] = '
        f'"{key}";\n'
    )  # fmt: skip


# The kernel itself, for one element.


def element(function: ir.Function) -> str:
    """Return the C function that computes one element."""
    names = variable_names(function)
    params = [f"{c_type(p.var.dtype)} {names[p.var]}" for p in function.params]
    results = [f"{c_type(d)} *r{n}" for n, d in enumerate(function.results)]
    given = {p.var for p in function.params}
    declared = [
        f"{INDENT}{c_type(v.dtype)} {name} = 0; (void){name};"
        for v, name in names.items()
        if v not in given
    ]
    unused = [f"{INDENT}(void){names[p.var]};" for p in function.params]
    lines = [
        "static inline __attribute__((always_inline)) int",
        f"element({', '.join([*params, 'i64 limit', *results])})",
        "{",
        f"{INDENT}(void)limit;",
        *unused,
        *declared,
        *statements(function.body, names, INDENT),
        "}",
        "",
    ]
    return "\n".join(lines)


def variable_names(function: ir.Function) -> dict[ir.Var, str]:
    """Return a C name for each parameter and local, numbered in order of appearance."""
    found = dict.fromkeys(p.var for p in function.params)
    for node in ir.walk(function.body):
        match node:
            case ir.Assign(target, _) | ir.For(target, _, _):
                found[target] = None
    return {variable: f"v{n}" for n, variable in enumerate(found)}


def statements(body: tuple[ir.Stmt, ...], names: Names, indent: str) -> Iterator[str]:
    """Yield the C lines of statements."""
    deeper = indent + INDENT
    for node in body:
        match node:
            case ir.Assign(target, value):
                yield f"{indent}{names[target]} = {c_expr(value, names)};"
            case ir.If(cond, then, orelse):
                yield f"{indent}if ({c_expr(cond, names)}) {{"
                yield from statements(then, names, deeper)
                if orelse:
                    yield f"{indent}}} else {{"
                    yield from statements(orelse, names, deeper)
                yield f"{indent}}}"
            case ir.For(counter, trips, inner):
                i = names[counter]
                yield f"{indent}for ({i} = 0; {i} < {c_expr(trips, names)}; ++{i}) {{"
                yield from statements(inner, names, deeper)
                yield f"{indent}}}"
            case ir.While(head, cond, inner):
                yield f"{indent}for (;;) {{"
                yield from statements(head, names, deeper)
                if cond != ir.Const(True, BOOL):
                    yield f"{deeper}if (!{c_expr(cond, names)}) break;"
                yield from statements(inner, names, deeper)
                yield f"{indent}}}"
            case ir.Break():
                yield f"{indent}break;"
            case ir.Continue():
                yield f"{indent}continue;"
            case ir.Block(label, inner):
                yield f"{indent}{{"
                yield from statements(inner, names, deeper)
                yield f"{indent}}}"
                if ir.Leave(label) in ir.walk(inner):
                    yield f"{indent}{label}: ;"
            case ir.Leave(label):
                yield f"{indent}goto {label};"
            case ir.Return(values):
                for n, value in enumerate(values):
                    yield f"{indent}*r{n} = {c_expr(value, names)};"
                yield f"{indent}return 0;"
            case ir.Check(failed, site):
                yield f"{indent}if ({c_expr(failed, names)}) return {site + 1};"
            case _:
                assert_never(node)


# The loops around it.


def operands(function: ir.Function) -> tuple[list[str], list[str]]:
    """Return the C types of the array operands, inputs then outputs, and of the scalars."""
    arrays = [c_type(p.var.dtype) for p in function.params if p.is_array]
    arrays += [c_type(d) for d in function.results]
    return arrays, [c_type(p.var.dtype) for p in function.params if not p.is_array]


def line(function: ir.Function) -> str:
    """Return the C function that runs over one dimension; unit strides have a loop of their own."""
    arrays, scalars = operands(function)
    inputs = len(arrays) - len(function.results)
    params = [
        "i64 n",
        "i64 at",
        "i64 limit",
        "i64 tolerant",
        "i64 *error",
        "char *const *p",
        "const i64 *s",
    ]
    params += [f"{t} q{k}" for k, t in enumerate(scalars)]
    unit = " && ".join(f"s[{k}] == (i64)sizeof({t})" for k, t in enumerate(arrays))
    pointers = [
        f"{INDENT * 2}{'const ' if k < inputs else ''}{t} *restrict a{k} = (void *)p[{k}];"
        for k, t in enumerate(arrays)
    ]
    steps = [f"{INDENT * 2}const char *restrict a{k} = p[{k}];" for k in range(inputs)]
    steps += [f"{INDENT * 2}char *restrict a{k} = p[{k}];" for k in range(inputs, len(arrays))]
    strided = [
        f"(*({'const ' if k < inputs else ''}{t} *)(a{k} + k * s[{k}]))"
        for k, t in enumerate(arrays)
    ]
    lines = [
        f"static int line({', '.join(params)})",
        "{",
        f"{INDENT}if ({unit}) {{",
        *pointers,
        *element_loop(function, [f"a{k}[k]" for k in range(len(arrays))]),
        f"{INDENT}}} else {{",
        *steps,
        *element_loop(function, strided),
        f"{INDENT}}}",
        f"{INDENT}(void)at, (void)tolerant, (void)error;",
        f"{INDENT}return 0;",
        "}",
        "",
    ]
    return "\n".join(lines)


def element_loop(function: ir.Function, places: list[str]) -> Iterator[str]:
    """Yield the loop over ``k`` that reads inputs at their places, computes, writes results."""
    inputs = iter(places[: len(places) - len(function.results)])
    outputs = places[len(places) - len(function.results) :]
    scalars = iter(range(len(function.params)))
    arguments = []
    for p in function.params:
        if not p.is_array:
            arguments.append(f"q{next(scalars)}")
        else:
            place = next(inputs)
            arguments.append(f"(b8)({place} != 0)" if p.var.dtype == BOOL else place)
    results = [f"r{n}" for n in range(len(function.results))]
    call = f"element({', '.join([*arguments, 'limit', *(f'&{r}' for r in results)])})"
    deeper = INDENT * 3
    yield f"{INDENT * 2}for (i64 k = 0; k < n; ++k) {{"
    for result, dtype in zip(results, function.results, strict=True):
        yield f"{deeper}{c_type(dtype)} {result} = 0;"
    if function.sites:
        yield f"{deeper}int failed = {call};"
        yield from failure_lines(function, results, deeper)
    else:
        yield f"{deeper}{call};"
    for place, result in zip(outputs, results, strict=True):
        yield f"{deeper}{place} = {result};"
    yield f"{INDENT * 2}}}"


def failure_lines(function: ir.Function, results: list[str], indent: str) -> Iterator[str]:
    """Yield what an element that failed leads to: nan where results can be, else the end."""
    if all(d.kind == "f" for d in function.results):
        nans = " ".join(f'{r} = __builtin_nan("");' for r in results)
        yield f"{indent}if (failed && tolerant) {{ {nans} ++error[1]; failed = 0; }}"
    yield f"{indent}if (failed) {{ *error = at + k; return failed; }}"


ENTRY = """\
__attribute__((visibility("default"))) int {symbol}(const me_call *c)
{{
    enum {{ ARRAYS = {arrays} }};
    const i64 ndim = c->ndim;
    const i64 *shape = c->words, *operand = shape + 3 * ndim;
    enum {{ DIMS = {ndim_max} + 1 }};
    i64 dim[DIMS] = {{1}}, step[DIMS][ARRAYS] = {{{{0}}}}, count[DIMS] = {{0}};
    char *p[ARRAYS];
    int last = 0;
    for (int a = 0; a < ARRAYS; ++a) p[a] = (char *)operand[a * (ndim + 1)];
{scalars}
    for (i64 d = 0; d < ndim; ++d) {{
        int joins = 1;
        if (shape[d] == 0) return 0;
        if (shape[d] == 1) continue;
        for (int a = 0; a < ARRAYS; ++a)
            joins &= step[last][a] == shape[d] * operand[a * (ndim + 1) + 1 + d];
        if (dim[last] == 1) joins = 1;
        if (!joins) ++last;
        dim[last] = joins ? dim[last] * shape[d] : shape[d];
        for (int a = 0; a < ARRAYS; ++a) step[last][a] = operand[a * (ndim + 1) + 1 + d];
    }}
    for (i64 at = 0;; at += dim[last]) {{
        int failed = line({arguments});
        if (failed) return failed;
        int d = last - 1;
        for (; d >= 0; --d) {{
            for (int a = 0; a < ARRAYS; ++a) p[a] += step[d][a];
            if (++count[d] < dim[d]) break;
            for (int a = 0; a < ARRAYS; ++a) p[a] -= dim[d] * step[d][a];
            count[d] = 0;
        }}
        if (d < 0) return 0;
    }}
}}
"""


def entry(function: ir.Function, symbol: str) -> str:
    """Return the exported C function: unpacks the call, joins dimensions, walks the lines."""
    arrays, scalars = operands(function)
    after = "operand[ARRAYS * (ndim + 1) + {}]"
    loads = [
        f"{INDENT}{t} q{k}; __builtin_memcpy(&q{k}, &{after.format(k)}, sizeof q{k});"
        for k, t in enumerate(scalars)
    ]
    arguments = ["dim[last]", "at", "c->limit", "c->tolerant", "c->error", "p", "step[last]"]
    arguments += [f"q{k}" for k in range(len(scalars))]
    return ENTRY.format(
        symbol=symbol, arrays=len(arrays), ndim_max=MAX_NDIM, scalars="\n".join(loads),
        arguments=", ".join(arguments),
    )  # fmt: skip
