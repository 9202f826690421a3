"""Structured IR to C: one element an iteration, early exit as plain jumps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from mexdask import ir
from mexdask.backend.cabi import CALL_STRUCT
from mexdask.backend.cdriver import INDENT, entry, key_symbol, line_params, operands
from mexdask.backend.cexpr import Names, c_expr, c_type
from mexdask.backend.cprelude import before_loop, helpers
from mexdask.dtypes import BOOL, ROWS

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


# The kernel itself, for one element.


def element(function: ir.Function) -> str:
    """Return the C function that computes one element."""
    names = variable_names(function)
    given = [*(p.var for p in function.params), *function.indices]
    params = [f"{c_type(v.dtype)} {names[v]}" for v in given]
    results = [f"{c_type(d)} *r{n}" for n, d in enumerate(function.results)]
    declared = [
        f"{INDENT}{c_type(v.dtype)} {name} = 0; (void){name};"
        for v, name in names.items()
        if v not in given
    ]
    unused = [f"{INDENT}(void){names[v]};" for v in given]
    lines = [
        "static inline __attribute__((always_inline)) int",
        f"element({', '.join([*params, 'i64 limit', *results])})",
        "{",
        f"{INDENT}(void)limit;",
        *unused,
        *declared,
        *statements(function.body, names, INDENT),
        # A compiler need not see that the last loop always returns.
        *([] if isinstance(function.body[-1], ir.Return) else [f"{INDENT}return 0;"]),
        "}",
        "",
    ]
    return "\n".join(lines)


def variable_names(function: ir.Function) -> dict[ir.Var, str]:
    """Return a C name for each parameter and local, numbered in order of appearance."""
    found = dict.fromkeys([*(p.var for p in function.params), *function.indices])
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
                yield from before_loop(sometimes_assigned(node), names, indent)
                i = names[counter]
                yield f"{indent}for ({i} = 0; {i} < {c_expr(trips, names)}; ++{i}) {{"
                yield from statements(inner, names, deeper)
                yield f"{indent}}}"
            case ir.While(head, cond, inner):
                yield from before_loop(sometimes_assigned(node), names, indent)
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


def sometimes_assigned(loop: ir.For | ir.While) -> Iterator[ir.Var]:
    """Yield what a loop may leave as it was, or set to a value that is not made of it."""
    inside = tuple(ir.walk((loop,)))[1:]
    skips = any(isinstance(n, ir.Continue | ir.Leave) for n in inside)
    branching = tuple(n for n in inside if isinstance(n, ir.If | ir.For | ir.While))
    for node in inside if skips else ir.walk(branching):
        if isinstance(node, ir.Assign) and node.target not in ir.reads(node.value):
            yield node.target
    for node in inside:
        if isinstance(node, ir.Assign) and any(
            isinstance(part, ir.Select) for part in ir.parts(node.value)
        ):
            yield node.target


# The loops around it.


def line(function: ir.Function) -> str:
    """Return the C function that runs over one dimension; unit strides have a loop of their own."""
    arrays, _ = operands(function)
    inputs = len(arrays) - len(function.results)
    params = line_params(function)
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
    arguments += [f"at{n} + k * by{n}" for n in range(len(function.indices))]
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
