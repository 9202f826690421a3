"""Masked IR to C: a gang of lanes in vector registers, divergence as masks, early exit per gang.

Written for GCC's and Clang's vector extensions. Every vector has the same number of lanes whatever
its dtype, so that masks carry over between widths; each lane variable is ``ways`` such vectors,
which hides the latency of one behind the others. What has no vector form goes lane by lane
through the scalar text of its row, and so gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from mexdask import ir
from mexdask.backend.cabi import CALL_STRUCT
from mexdask.backend.cdriver import INDENT, entry, key_symbol
from mexdask.backend.cexpr import c_expr, c_type
from mexdask.backend.cprelude import before_loop, helpers
from mexdask.backend.cscalar import TYPES
from mexdask.backend.gangs import line, prefetches, staging, streaming
from mexdask.backend.lanes import WAY, Writer, of_way
from mexdask.backend.layout import Gang, gang_of, has_vector_math, in_lanes, is_near
from mexdask.backend.lockstep import targets
from mexdask.backend.predicate import MaskedFunction
from mexdask.backend.vectors import vector, vector_types
from mexdask.dtypes import BOOL
from mexdask.ops import TABLE


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
    masked = in_lanes(masked)
    plan = gang_of(masked, width)
    writer = Writer(plan)
    is_light = plan.streams and not has_vector_math(masked, plan)
    body = gang_function(masked, plan, writer, is_light=is_light)
    lanewise = "".join(writer.lanewise.values())
    # Vectors wider than a register are passed between our own inline functions only.
    quiet = '#pragma GCC diagnostic ignored "-Wpsabi"\n'
    code = lanewise + body
    vectors = vector_types(plan, masked, code)
    head = quiet + TYPES + CALL_STRUCT + vectors + helpers(code, width) + lanewise
    head += streaming(width) if plan.streams else ""
    function = masked.function
    loop = staging(function) + line(function, plan.size, streams=plan.streams, is_light=is_light)
    return "\n".join([head, body, loop, entry(function, symbol), key_symbol(key)])


# Statements.


def gang_function(masked: MaskedFunction, plan: Gang, writer: Writer, *, is_light: bool) -> str:
    """Return the C function that computes one gang from contiguous inputs."""
    function, names = masked.function, plan.names
    arrays = [p.var for p in function.params if p.is_array]
    params = [f"const {c_type(v.dtype)} *a{k}" for k, v in enumerate(arrays)]
    params += [f"{c_type(d)} *r{k}" for k, d in enumerate(function.results)]
    params += [f"{c_type(p.var.dtype)} {names[p.var]}" for p in function.params if not p.is_array]
    params += [f"i64 at{k}, i64 by{k}" for k in range(len(function.indices))]
    scalars = {p.var for p in function.params if not p.is_array}
    params = ["int stream", *params] if plan.streams else params
    head = ", ".join(["i64 lanes", "i64 limit", "i64 *tolerated", "i64 *place", *params])
    how = "inline __attribute__((always_inline))" if is_light else "__attribute__((noinline))"
    lines = [f"static {how} int", f"gang({head})", "{"]
    lines.append(f"{INDENT}(void)limit, (void)tolerated, (void)place;")
    unused = [p.var for p in function.params if p.var in scalars and p.var in plan.uniform]
    lines += [f"{INDENT}(void){names[v]};" for v in unused]
    for variable, name in names.items():
        if variable in function.indices:
            lines += index_declarations(function.indices.index(variable), variable, name, plan)
        elif variable in plan.uniform and variable not in scalars:
            lines.append(f"{INDENT}{c_type(variable.dtype)} {name} = 0; (void){name};")
        elif variable not in plan.uniform:
            lines += declarations(variable, name, plan, scalars, arrays)
    if plan.streams:
        lines += prefetches(function, plan.size)
    if function.sites:
        lines.append(f"{INDENT}int failed[{plan.size}] = {{0}}, any_failed = 0;")
    if plan.cells:
        lines.append(f"{INDENT}int far = 0;")
    lines += Statements(plan, writer).lines(masked.body, INDENT, None)
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
    if variable in plan.cells:
        kind = "vi32"
        yield f"{INDENT}i64 {name}_far[{plan.size}];"
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


def index_declarations(number: int, variable: ir.Var, name: str, plan: Gang) -> Iterator[str]:
    """Yield the declarations of an index symbol from its value in the gang's first lane."""
    if variable in plan.uniform:
        yield f"{INDENT}i64 {name} = at{number}; (void){name}, (void)by{number};"
        return
    for way in range(plan.ways):
        steps = ", ".join(str(way * plan.lanes + lane) for lane in range(plan.lanes))
        value = f"(at{number} - (vi64){{0}}) + (vi64){{{steps}}} * by{number}"
        yield f"{INDENT}vi64 {name}_{way} = {value}; (void){name}_{way};"


def stores(masked: MaskedFunction, plan: Gang) -> Iterator[str]:
    """Yield the stores of the results."""
    if plan.streams:
        yield f"{INDENT}if (stream) {{"
        for k, variable in enumerate(masked.results):
            for way in range(plan.ways):
                value = f"(vm){plan.names[variable]}_{way}"
                yield f"{INDENT * 2}stream_store(r{k} + {way * plan.lanes}, {value});"
        yield f"{INDENT * 2}return 0;"
        yield f"{INDENT}}}"
    for k, variable in enumerate(masked.results):
        for way in range(plan.ways):
            value = f"{plan.names[variable]}_{way}"
            kind = "wu8" if variable.dtype == BOOL else f"w{c_type(variable.dtype)}"
            if variable in plan.cells:
                value = f"full({value}, {plan.names[variable]}_far + {way * plan.lanes}, far)"
            if variable.dtype == BOOL:
                value = f"(vu8)(-__builtin_convertvector({value}, vi8))"
            yield f"{INDENT}*({kind} *)(r{k} + {way * plan.lanes}) = {value};"


@dataclass
class Statements:
    """Writes masked statements, each for every way.

    Parameters
    ----------
    plan : Gang
        How lanes are laid out.
    writer : Writer
        Writes expressions.
    """

    plan: Gang
    writer: Writer

    def lines(
        self, body: tuple[ir.Masked, ...], indent: str, loop: ir.Loop | None
    ) -> Iterator[str]:
        """Yield the C lines of statements in a loop, the innermost around them."""
        names = self.plan.names
        decided: ir.Mask | None = None
        for node in body:
            match node:
                case ir.Set(target, value, mask):
                    yield from self.assignment(target, value, mask, indent)
                case ir.Mask():
                    yield from self.mask(node, indent, loop)
                case ir.Kill():
                    yield from self.kill(node, indent, loop)
                case ir.Guard(mask, inner) if loop is not None and mask == loop.live:
                    yield from self.lines(inner, indent, loop)  # a live lane is here already
                case ir.Guard(mask, inner):
                    if decided is not None and decided.target == mask:
                        assert decided.cond is not None
                        yield f"{indent}if ({c_expr(decided.cond, names)}) {{"
                    else:
                        yield f"{indent}if (any_lane({self.alive(mask)})) {{"
                    yield from self.lines(inner, indent + INDENT, loop)
                    yield f"{indent}}}"
                case ir.Loop():
                    yield from self.loop(node, indent)
                case ir.Test():
                    yield from self.failure(node, indent, loop)
                case _:
                    assert_never(node)
            uniform = isinstance(node, ir.Mask) and node.cond and self.plan.is_uniform(node.cond)
            decided = node if isinstance(node, ir.Mask) and uniform else None

    def alive(self, mask: ir.Var) -> str:
        """Return the union of a mask's ways."""
        return " | ".join(f"{self.plan.names[mask]}_{w}" for w in range(self.plan.ways))

    def assignment(
        self, target: ir.Var, value: ir.Expr, mask: ir.Var | None, indent: str
    ) -> Iterator[str]:
        """Yield an assignment to a scalar or to each way of a lane variable."""
        names = self.plan.names
        if target in self.plan.uniform:
            yield f"{indent}{names[target]} = {c_expr(value, names)};"
            return
        if target in self.plan.cells:
            yield from self.cell(target, value, mask, indent)
            return
        one_more = value == ir.Apply(TABLE["+"], (target, ir.Const(1, target.dtype)), target.dtype)
        counted = one_more and target.dtype.itemsize == self.plan.mask.itemsize
        own = f"{names[target]}_{WAY}"
        if mask is None:
            text = f"{own} = {self.writer.vector(value)};"
        elif counted:
            text = f"{own} -= ({vector(target.dtype)}){names[mask]}_{WAY};"
        else:
            chosen = f"{names[mask]}_{WAY}, {self.writer.vector(value)}, {own}"
            text = f"{own} = sel_{c_type(target.dtype)}({chosen});"
        yield from self.ways(indent, text)

    def mask(self, node: ir.Mask, indent: str, loop: ir.Loop | None) -> Iterator[str]:
        """Yield a new mask; if it is the loop's own, also the loop's end once it is empty."""
        names, own = self.plan.names, self.plan.names[node.target]
        if loop is not None and node.target == loop.live and node.cond is not None:
            if self.plan.is_uniform(node.cond):
                yield f"{indent}if (!{c_expr(node.cond, names)}) break;"
                return
            yield from self.ways(indent, f"{own}_{WAY} &= {self.writer.vector(node.cond)};")
            yield f"{indent}if (!any_lane({self.alive(node.target)})) break;"
            return
        yield from self.ways(indent, f"{own}_{WAY} = {self.narrowed(node.parent, node.cond)};")

    def kill(self, node: ir.Kill, indent: str, loop: ir.Loop | None) -> Iterator[str]:
        """Yield the end of lanes; if the loop around it has none left, its end."""
        names = self.plan.names
        kills = " ".join(f"{names[m]}_{WAY} &= dead;" for m in node.masks)
        text = f"{{ vm dead = ~{names[node.by]}_{WAY};\n{indent}  {kills} }}"
        yield from self.ways(indent, text)
        if loop is not None and loop.live in node.masks:
            yield f"{indent}if (!any_lane({self.alive(loop.live)})) break;"

    def loop(self, node: ir.Loop, indent: str) -> Iterator[str]:
        """Yield a loop, which its own statements leave once no lane is alive in it."""
        scalars = sorted(targets(node.body) & self.plan.uniform, key=lambda v: v.name)
        yield from before_loop(scalars, self.plan.names, indent)
        yield f"{indent}if (any_lane({self.alive(node.live)})) for (;;) {{"
        yield from self.lines(node.body, indent + INDENT, node)
        if loses_lanes_inside(node):
            yield f"{indent}{INDENT}if (!any_lane({self.alive(node.live)})) break;"
        yield f"{indent}}}"

    def ways(self, indent: str, text: str) -> Iterator[str]:
        """Yield a statement for every way, behind what belongs before it."""
        yield from self.before(indent)
        for way in range(self.plan.ways):
            yield indent + of_way(text, way)

    def before(self, indent: str) -> Iterator[str]:
        """Yield what belongs before the statement whose expressions have just been written."""
        before, self.writer.before = self.writer.before, []
        return (indent + line for line in before)

    def narrowed(self, parent: ir.Var, cond: ir.Expr | None) -> str:
        """Return a mask's lanes where a condition holds too, of the way ``WAY``."""
        lanes = f"{self.plan.names[parent]}_{WAY}"
        if cond is None:
            return lanes
        if self.plan.is_uniform(cond):
            return f"{c_expr(cond, self.plan.names)} ? {lanes} : (vm){{0}}"
        return f"{lanes} & {self.writer.vector(cond)}"

    def failure(self, node: ir.Test, indent: str, loop: ir.Loop | None) -> Iterator[str]:
        """Yield the end of the lanes that fail: noted, then taken out of every mask."""
        names, ways = self.plan.names, range(self.plan.ways)
        if self.plan.is_uniform(node.failed):
            yield f"{indent}if (__builtin_expect({c_expr(node.failed, names)}, 0)) {{"
            hits = [f"{names[node.mask]}_{w}" for w in ways]
        else:
            hits = [f"hit_{w}" for w in ways]
            yield f"{indent}{{"
            hit = f"vm hit_{WAY} = {self.narrowed(node.mask, node.failed)};"
            yield from self.ways(indent, hit)
            yield f"{indent}if (__builtin_expect(any_lane({' | '.join(hits)}), 0)) {{"
        for w, hit in enumerate(hits):
            yield f"{indent}    {{ vm out = {hit};"
            yield f"{indent}    note_failed(failed + {w * self.plan.lanes}, out, {node.site + 1});"
            masks = [v for v in names if v.name.startswith("%m")]
            yield f"{indent}    {' '.join(f'{names[m]}_{w} &= ~out;' for m in masks)} }}"
        yield f"{indent}    any_failed = 1;"
        if loop is not None:
            yield f"{indent}    if (!any_lane({self.alive(loop.live)})) break;"
        yield f"{indent}}}" if self.plan.is_uniform(node.failed) else f"{indent}}} }}"

    def cell(
        self, target: ir.Var, value: ir.Expr, mask: ir.Var | None, indent: str
    ) -> Iterator[str]:
        """Yield an assignment to 64-bit integers that stand in 32-bit lanes: see ``Gang.cells``."""
        names, ways, lanes = self.plan.names, range(self.plan.ways), self.plan.lanes
        own = names[target]
        masks = ["~(vm){0}" if mask is None else f"{names[mask]}_{w}" for w in ways]
        if isinstance(value, ir.Var) and value in self.plan.cells:
            for w in ways:
                yield f"{indent}{own}_{w} = sel_i32({masks[w]}, {names[value]}_{w}, {own}_{w});"
            yield f"{indent}if (__builtin_expect(far, 0)) {{"
            for w in ways:
                to, source = f"{own}_far + {w * lanes}", f"{names[value]}_far + {w * lanes}"
                yield f"{indent}    copy_far({to}, {source}, {masks[w]});"
            yield f"{indent}}}"
        elif isinstance(value, ir.Select):
            text = self.writer.near_choice(value)
            yield from self.before(indent)
            for w in ways:
                chosen = f"{masks[w]}, {of_way(text, w)}, {own}_{w}"
                yield f"{indent}{own}_{w} = sel_i32({chosen});"
        else:
            yield f"{indent}{{ const i64 wide = {c_expr(value, names)};"
            yield f"{indent}  const i32 near = NEAR(wide);"
            for w in ways:
                chosen = f"{masks[w]}, near - (vi32){{0}}, {own}_{w}"
                yield f"{indent}  {own}_{w} = sel_i32({chosen});"
            if not is_near(value):
                yield f"{indent}  if (__builtin_expect(near == FAR, 0)) {{ far = 1;"
                for w in ways:
                    at = f"{own}_far + {w * lanes}"
                    yield f"{indent}    keep_far({at}, wide, {masks[w]});"
                yield f"{indent}  }}"
            yield f"{indent}}}"


def loses_lanes_inside(loop: ir.Loop) -> bool:
    """Tell whether a loop inside a loop may take lanes out of the outer one."""
    inner = [n for n in ir.walk_masked(loop.body) if isinstance(n, ir.Loop)]
    return any(
        isinstance(n, ir.Test) or (isinstance(n, ir.Kill) and loop.live in n.masks)
        for deep in inner
        for n in ir.walk_masked(deep.body)
    )
