"""Masked IR to C: a gang of lanes in vector registers, divergence as masks, early exit per gang.

Written for GCC's and Clang's vector extensions. Every vector has the same number of lanes whatever
its dtype, so that masks carry over between widths; each lane variable is ``ways`` such vectors,
which hides the latency of one behind the others. What has no vector form goes lane by lane
through the scalar text of its row, and so gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from mexdask import ir
from mexdask.backend.cabi import CALL_STRUCT
from mexdask.backend.cexpr import c_expr, c_type
from mexdask.backend.cprelude import helpers
from mexdask.backend.cscalar import INDENT, TYPES, entry, key_symbol, operands
from mexdask.backend.lanes import Gang, Writer, gang_of, vector, vector_types
from mexdask.backend.predicate import MaskedFunction
from mexdask.dtypes import BOOL


def simd_c(masked: MaskedFunction, symbol: str, key: str, width: int) -> str:
    """Return the C text of a masked function for vectors of ``width`` bytes.

    Parameters
    ----------
    masked : MaskedFunction
        In native dtypes only.
    symbol : str
        The name of the entry point.
    key : str
        What the exported ``me_key`` holds.
    width : int
        Bytes of one vector of the main dtype: 16, 32 or 64.
    """
    plan = gang_of(masked, width)
    writer = Writer(plan)
    body = gang_function(masked, plan, writer)
    lanewise = "".join(writer.lanewise.values())
    # Vectors wider than a register are passed between our own inline functions only.
    quiet = '#pragma GCC diagnostic ignored "-Wpsabi"\n'
    head = (
        quiet
        + TYPES
        + CALL_STRUCT
        + vector_types(plan)
        + helpers(lanewise + body, width)
        + lanewise
    )
    function = masked.function
    return "\n".join(
        [head, body, line(function, plan), entry(function, symbol), key_symbol(key)]
    )  # fmt: skip


# Statements.


def gang_function(masked: MaskedFunction, plan: Gang, writer: Writer) -> str:
    """Return the C function that computes one gang from contiguous inputs."""
    function, names = masked.function, plan.names
    arrays = [p.var for p in function.params if p.is_array]
    params = [f"const {c_type(v.dtype)} *a{k}" for k, v in enumerate(arrays)]
    params += [f"{c_type(d)} *r{k}" for k, d in enumerate(function.results)]
    params += [f"{c_type(p.var.dtype)} {names[p.var]}" for p in function.params if not p.is_array]
    scalars = {p.var for p in function.params if not p.is_array}
    head = ", ".join(["i64 lanes", "i64 limit", "i64 *tolerated", "i64 *place", *params])
    lines = ["static __attribute__((noinline)) int", f"gang({head})", "{"]
    lines.append(f"{INDENT}(void)limit, (void)tolerated, (void)place;")
    lines += [f"{INDENT}(void){names[v]};" for v in scalars if v in plan.uniform]
    for variable, name in names.items():
        if variable in plan.uniform and variable not in scalars:
            lines.append(f"{INDENT}{c_type(variable.dtype)} {name} = 0; (void){name};")
        elif variable not in plan.uniform:
            lines += declarations(variable, name, plan, scalars, arrays)
    if function.sites:
        lines.append(f"{INDENT}int failed[{plan.size}] = {{0}}, any_failed = 0;")
    lines += statements(masked.body, plan, writer, INDENT)
    lines += stores(masked, plan)
    if function.sites:
        lines += failed_lanes(function)
    return "\n".join([*lines, f"{INDENT}return 0;", "}", ""])


def failed_lanes(function: ir.Function) -> Iterator[str]:
    """Yield what follows once lanes have failed: nan if they may be, else the lowest ends it."""
    yield f"{INDENT}for (i64 k = 0; any_failed && k < lanes; ++k) {{"
    yield f"{INDENT * 2}if (!failed[k]) continue;"
    if all(d.kind == "f" for d in function.results):
        nans = " ".join(f'r{n}[k] = __builtin_nan("");' for n in range(len(function.results)))
        yield f"{INDENT * 2}if (tolerated) {{ {nans} ++tolerated[1]; continue; }}"
    yield f"{INDENT * 2}*place = k;"
    yield f"{INDENT * 2}return failed[k];"
    yield f"{INDENT}}}"


def declarations(
    variable: ir.Var, name: str, plan: Gang, scalars: set[ir.Var], arrays: list[ir.Var]
) -> Iterator[str]:
    """Yield the declarations of a lane variable: loaded, spread or empty."""
    kind = vector(variable.dtype)
    for way in range(plan.ways):
        first = way * plan.lanes
        if variable.name == "%m0":
            steps = ", ".join(str(first + lane) for lane in range(plan.lanes))
            limit = f"(({c_type(plan.mask)})lanes - (vm){{0}})"
            start = f"(vm)((vm){{{steps}}} < {limit})"
        elif variable in arrays:
            source = f"a{arrays.index(variable)} + {first}"
            if variable.dtype == BOOL:
                start = f"__builtin_convertvector(*(const wu8 *)({source}) != 0, vm)"
            else:
                start = f"*(const w{c_type(variable.dtype)} *)({source})"
        elif variable in scalars:
            start = f"{name} - ({kind}){{0}}"
            if variable.dtype == BOOL:
                start = f"(vm){{0}} - ({c_type(plan.mask)}){name}"
        else:
            start = "{0}"
        yield f"{INDENT}{kind} {name}_{way} = {start}; (void){name}_{way};"


def stores(masked: MaskedFunction, plan: Gang) -> Iterator[str]:
    """Yield the stores of the results."""
    for k, variable in enumerate(masked.results):
        for way in range(plan.ways):
            value = f"{plan.names[variable]}_{way}"
            kind = "wu8" if variable.dtype == BOOL else f"w{c_type(variable.dtype)}"
            if variable.dtype == BOOL:
                value = f"(vu8)(-__builtin_convertvector({value}, vi8))"
            yield f"{INDENT}*({kind} *)(r{k} + {way * plan.lanes}) = {value};"


def statements(
    body: tuple[ir.Masked, ...], plan: Gang, writer: Writer, indent: str
) -> Iterator[str]:
    """Yield the C lines of masked statements, each for every way."""
    names, ways = plan.names, range(plan.ways)
    for node in body:
        match node:
            case ir.Set(target, value, mask):
                yield from assignment(target, value, mask, plan, writer, indent)
            case ir.Mask(target, parent, cond):
                for w in ways:
                    lanes = narrowed(names[parent], cond, plan, writer, w)
                    yield f"{indent}{names[target]}_{w} = {lanes};"
            case ir.Kill(masks, by):
                for w in ways:
                    yield f"{indent}{{ vm dead = ~{names[by]}_{w};"
                    kills = " ".join(f"{names[m]}_{w} &= dead;" for m in masks)
                    yield f"{indent}  {kills} }}"
            case ir.Guard(mask, inner):
                yield f"{indent}if (any_lane({alive(names[mask], plan)})) {{"
                yield from statements(inner, plan, writer, indent + INDENT)
                yield f"{indent}}}"
            case ir.Loop(live, inner):
                yield f"{indent}while (any_lane({alive(names[live], plan)})) {{"
                yield from statements(inner, plan, writer, indent + INDENT)
                yield f"{indent}}}"
            case ir.Test():
                yield from failure(node, plan, writer, indent)
            case _:
                assert_never(node)


def alive(mask: str, plan: Gang) -> str:
    """Return the union of a mask's ways."""
    return " | ".join(f"{mask}_{w}" for w in range(plan.ways))


def assignment(
    target: ir.Var, value: ir.Expr, mask: ir.Var | None, plan: Gang, writer: Writer, indent: str
) -> Iterator[str]:
    """Yield an assignment to a scalar or to each way of a lane variable."""
    name = plan.names[target]
    if target in plan.uniform:
        yield f"{indent}{name} = {c_expr(value, plan.names)};"
        return
    for way in range(plan.ways):
        text = writer.vector(value, way)
        if mask is not None:
            text = f"sel_{c_type(target.dtype)}({plan.names[mask]}_{way}, {text}, {name}_{way})"
        yield f"{indent}{name}_{way} = {text};"


def narrowed(parent: str, cond: ir.Expr | None, plan: Gang, writer: Writer, way: int) -> str:
    """Return a mask's lanes where a condition holds too."""
    if cond is None:
        return f"{parent}_{way}"
    if plan.is_uniform(cond):
        return f"{c_expr(cond, plan.names)} ? {parent}_{way} : (vm){{0}}"
    return f"{parent}_{way} & {writer.vector(cond, way)}"


def failure(node: ir.Test, plan: Gang, writer: Writer, indent: str) -> Iterator[str]:
    """Yield the end of the lanes that fail: noted where they stand, taken out of every mask."""
    masks = [v for v in plan.names if v.name.startswith("%m")]
    for way in range(plan.ways):
        hit = narrowed(plan.names[node.mask], node.failed, plan, writer, way)
        yield f"{indent}{{ vm hit = {hit};"
        yield f"{indent}  if (any_lane(hit)) {{"
        yield f"{indent}    any_failed = 1;"
        yield f"{indent}    for (int l = 0; l < {plan.lanes}; ++l)"
        note = f"failed[{way * plan.lanes} + l]"
        yield f"{indent}      if (hit[l] && !{note}) {note} = {node.site + 1};"
        kills = " ".join(f"{plan.names[m]}_{way} &= ~hit;" for m in masks)
        yield f"{indent}    {kills}"
        yield f"{indent}  }} }}"


# The loop over gangs.


def line(function: ir.Function, plan: Gang) -> str:
    """Return the C function that runs over one dimension, gang by gang.

    The last gang, and gangs of strided arrays, go through buffers on the stack: the same code
    computes every element, wherever it stands.
    """
    arrays, scalars = operands(function)
    inputs, size = len(arrays) - len(function.results), plan.size
    params = ["i64 n", "i64 at", "i64 limit", "i64 tolerant", "i64 *error"]
    params += ["char *const *p", "const i64 *s"]
    params += [f"{t} q{k}" for k, t in enumerate(scalars)]
    unit = " && ".join(f"s[{k}] == (i64)sizeof({t})" for k, t in enumerate(arrays))
    rest = "".join(f", q{k}" for k in range(len(scalars)))
    direct = ", ".join(f"({t} *)p[{k}] + k" for k, t in enumerate(arrays))
    buffers = ", ".join(f"b{k}" for k in range(len(arrays)))
    deep = INDENT * 3
    each = f"{deep}for (i64 l = 0; l < lanes; ++l)"
    lines = [
        f"static int line({', '.join(params)})",
        "{",
        f"{INDENT}const int direct = {unit};",
        *(f"{INDENT}{t} b{k}[{size}] = {{0}};" for k, t in enumerate(arrays)),
        f"{INDENT}for (i64 k = 0; k < n; k += {size}) {{",
        f"{INDENT * 2}i64 lanes = n - k < {size} ? n - k : {size}, place = 0;",
        f"{INDENT * 2}int failed;",
        f"{INDENT * 2}if (direct && lanes == {size}) {{",
        f"{deep}failed = gang(lanes, limit, tolerant ? error : 0, &place, {direct}{rest});",
        f"{INDENT * 2}}} else {{",
        *(f"{each} b{k}[l] = *({arrays[k]} *)(p[{k}] + (k + l) * s[{k}]);"
          for k in range(inputs)),
        f"{deep}failed = gang(lanes, limit, tolerant ? error : 0, &place, {buffers}{rest});",
        *(f"{each} *({arrays[k]} *)(p[{k}] + (k + l) * s[{k}]) = b{k}[l];"
          for k in range(inputs, len(arrays))),
        f"{INDENT * 2}}}",
        f"{INDENT * 2}if (failed) {{ *error = at + k + place; return failed; }}",
        f"{INDENT}}}",
        f"{INDENT}(void)error;",
        f"{INDENT}return 0;",
        "}",
        "",
    ]  # fmt: skip
    return "\n".join(lines)
