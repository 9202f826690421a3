"""The loop over gangs: whole gangs straight from the arrays, all else through buffers.

The last gang, and gangs of strided arrays, are copied to the stack and back: the same code computes
every element, wherever it stands. An input that does not move is copied once for a line.
"""

from __future__ import annotations

from collections.abc import Iterator

from mexdask import ir
from mexdask.backend.cdriver import INDENT, line_params, operands

STAGING = """\
static __attribute__((noinline)) void take{size}(void *to, const char *from, i64 step, i64 count)
{{
    for (i64 k = 0; k < count; ++k) {{
        __builtin_memcpy((char *)to + k * {size}, from + k * step, {size});
        __asm__ volatile("" ::: "memory");
    }}
}}
static __attribute__((noinline)) void put{size}(char *to, i64 step, const void *from, i64 count)
{{
    for (i64 k = 0; k < count; ++k) {{
        __builtin_memcpy(to + k * step, (const char *)from + k * {size}, {size});
        __asm__ volatile("" ::: "memory");
    }}
}}
"""
"""The empty statement keeps the compiler from making hundreds of instructions of so rare a loop."""


STREAM_FROM = 12 << 20
"""Bytes of one call's result from which it is written past the caches: measured."""

CACHE_LINE, FETCHED_AHEAD = 64, 1024
"""Bytes, and how many of them lie between what a gang computes and what it has the caches fetch."""

STREAM = """\
static inline void stream_store(void *to, vm v)
{{
#if defined(__clang__)
    __builtin_nontemporal_store(v, (vm *)to);
#elif defined({feature})
    typedef long long q __attribute__((vector_size({width})));
    {store}((q *)to, (q)v);
#else
    __builtin_memcpy(to, &v, sizeof v);
#endif
}}
static inline void stream_end(void)
{{
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
}}
"""
STREAM_STORES = {
    64: ("__AVX512F__", "__builtin_ia32_movntdq512"),
    32: ("__AVX__", "__builtin_ia32_movntdq256"),
    16: ("__SSE2__", "__builtin_ia32_movntdq"),
}


def streaming(width: int) -> str:
    """Return the C functions that write vectors of a width past the caches."""
    feature, store = STREAM_STORES[width]
    return STREAM.format(width=width, feature=feature, store=store)


def sizes(function: ir.Function) -> tuple[list[int], list[int]]:
    """Return the item sizes of array inputs and of results."""
    inputs = [p.var.dtype.itemsize for p in function.params if p.is_array]
    return inputs, [d.itemsize for d in function.results]


def prefetches(function: ir.Function, size: int) -> Iterator[str]:
    """Yield what has the caches fetch the operands of a later gang, but not what goes past them."""
    inputs, outputs = sizes(function)
    for condition, letter, items in (("", "a", inputs), ("if (!stream) ", "r", outputs)):
        for k, item in enumerate(items):
            for at in range(FETCHED_AHEAD, FETCHED_AHEAD + size * item, CACHE_LINE):
                yield f"{INDENT}{condition}__builtin_prefetch((const char *){letter}{k} + {at});"


def staging(function: ir.Function) -> str:
    """Return the C functions that copy elements to buffers and back."""
    inputs, outputs = sizes(function)
    texts = []
    for size in sorted({*inputs, *outputs}):
        take, put = STAGING.format(size=size).split("static __attribute__((noinline)) void put")
        texts += [take] if size in inputs else []
        texts += ["static __attribute__((noinline)) void put" + put] if size in outputs else []
    return "".join(texts)


def line(function: ir.Function, size: int, *, streams: bool, is_light: bool) -> str:
    """Return the C function that runs over one dimension in gangs of ``size`` elements.

    Parameters
    ----------
    function : ir.Function
        The kernel.
    size : int
        Elements of a gang.
    streams : bool
        Whether large results go past the caches: then the first gang ends where the first result
        is aligned.
    is_light : bool
        Whether a gang takes so little time that whole ones of contiguous arrays need a loop with
        nothing else in it.
    """
    arrays, scalars = operands(function)
    inputs = len(arrays) - len(function.results)
    params = line_params(function)
    rows = "".join(f", x{k}" for k in range(len(arrays)))
    values = "".join(f", q{k}" for k in range(len(scalars)))
    values += "".join(f", at{k} + k * by{k}, by{k}" for k in range(len(function.indices)))
    deep = INDENT * 2
    item = bytes_of(arrays[inputs])
    stream = [
        f"{INDENT}const int stream = n * {item} >= {STREAM_FROM} && s[{inputs}] == {item};",
        f"{INDENT}i64 lanes = (64 - ((i64)p[{inputs}] & 63)) / {item} % {size};",
        f"{INDENT}if (!lanes || n < 4 * {size}) lanes = {size};",
    ]
    plain = [f"{INDENT}i64 lanes = {size};"]
    lines = [
        f"static int line({', '.join(params)})",
        "{",
        *(f"{INDENT}{t} row{k}[{size}] = {{0}};" for k, t in enumerate(arrays)),
        *(f"{INDENT}if (s[{k}] == 0) take{bytes_of(arrays[k])}(row{k}, p[{k}], 0, {size});"
          for k in range(inputs)),
        *(stream if streams else plain),
        f"{INDENT}for (i64 k = 0; k < n; k += lanes, lanes = {size}) {{",
        *(whole_gangs(arrays, size, values) if is_light else []),
        f"{deep}if (n - k < lanes) lanes = n - k;",
        f"{deep}i64 place = 0;",
        *(f"{deep}const int d{k} = s[{k}] == {bytes_of(t)} && lanes == {size};"
          for k, t in enumerate(arrays)),
        *(f"{deep}{t} *x{k} = d{k} ? ({t} *)p[{k}] + k : row{k};" for k, t in enumerate(arrays)),
        *(f"{deep}if (!d{k} && s[{k}])"
          f" take{bytes_of(arrays[k])}(row{k}, p[{k}] + k * s[{k}], s[{k}], lanes);"
          for k in range(inputs)),
        f"{deep}int failed = gang(lanes, limit, tolerant ? error : 0, &place"
        f"{f', stream && d{inputs}' if streams else ''}{rows}{values});",
        f"{deep}if (failed) {{ *error = at + k + place; return failed; }}",
        *(f"{deep}if (!d{k})"
          f" put{bytes_of(arrays[k])}(p[{k}] + k * s[{k}], s[{k}], row{k}, lanes);"
          for k in range(inputs, len(arrays))),
        f"{INDENT}}}",
        *([f"{INDENT}if (stream) stream_end();"] if streams else []),
        f"{INDENT}(void)error;",
        f"{INDENT}return 0;",
        "}",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def whole_gangs(arrays: list[str], size: int, values: str) -> list[str]:
    """Return the loop over whole gangs of contiguous arrays, whose elements cannot fail.

    Parameters
    ----------
    arrays : list of str
        Short C types of the operands.
    size : int
        Elements of a gang.
    values : str
        The gang's arguments behind the arrays.
    """
    deep = INDENT * 2
    contiguous = [f"s[{k}] == {bytes_of(t)}" for k, t in enumerate(arrays)]
    places = "".join(f", x{k} + k" for k in range(len(arrays)))
    return [
        f"{deep}if (lanes == {size} && {' && '.join(contiguous)}) {{",
        *(f"{deep}{INDENT}{t} *x{k} = ({t} *)p[{k}];" for k, t in enumerate(arrays)),
        f"{deep}{INDENT}for (; k + {size} <= n; k += {size})",
        f"{deep}{INDENT * 2}gang({size}, limit, 0, 0, stream{places}{values});",
        f"{deep}{INDENT}if (k == n) break;",
        f"{deep}}}",
    ]


def bytes_of(c_type: str) -> int:
    """Return the item size of a short C type."""
    return int(c_type[1:]) // 8
