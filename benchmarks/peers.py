"""How each peer runs a kernel of ``suite.py``, on one thread; None where it cannot, or is missing.

Every contender takes NumPy arrays and gives a new array, jax on its own arrays.
"""

from __future__ import annotations

import ast
import ctypes
import functools
import importlib
import math
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from mexdask.runtime.target import host_target
from suite import Array, Suited

Call = Callable[[], Any]
PEERS = ("numba", "blosc2", "numexpr", "jax")
FUNCTIONS = ("sin", "cos", "asin", "exp", "log", "sqrt")
STRICT = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno")


def one_thread() -> None:
    """Hold this process, and every peer in it, to one processor."""
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def installed() -> dict[str, ModuleType | None]:
    """Return the peers, None for those that are missing, each told to use one thread."""
    found: dict[str, ModuleType | None] = {}
    for name in PEERS:
        try:
            found[name] = importlib.import_module(name)
        except ImportError:
            found[name] = None
    if (numexpr := found["numexpr"]) is not None:
        numexpr.set_num_threads(1)
    if (blosc2 := found["blosc2"]) is not None:
        blosc2.set_nthreads(1)
    if (jax := found["jax"]) is not None:
        jax.config.update("jax_enable_x64", True)
    return found


class Literals(ast.NodeTransformer):
    """Gives literals a dtype, for compilers that hold them to be float64 and int64."""

    def __init__(self, dtype: str):
        self.kinds = int if dtype == "uint64" else float

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        """Return ``typed(literal)`` for a literal of the kind that the kernel computes in."""
        if isinstance(node.value, self.kinds):
            return ast.Call(ast.Name("typed", ast.Load()), [node], [])
        return node


def python_function(suited: Suited, dtype: str) -> Callable[..., Any]:
    """Return a kernel's text as a Python function whose literals are of the arrays' dtype."""
    tree = ast.fix_missing_locations(Literals(dtype).visit(ast.parse(suited.text)))
    names: dict[str, Any] = {name: getattr(math, name) for name in FUNCTIONS}
    names["typed"] = np.dtype(dtype).type
    exec(compile(tree, suited.name, "exec"), names)
    return names[ast.unparse(tree).split("(")[0].removeprefix("def ")]  # type: ignore[no-any-return]


def numba_calls(
    numba: ModuleType, suited: Suited, dtype: str, arrays: tuple[Array, ...]
) -> Iterator[tuple[str, Call]]:
    """Yield numba's ufunc, and a loop of its own around the same function."""
    function = python_function(suited, dtype)
    result, scalars = suited.result or dtype, tuple(suited.scalars.values())
    types = ", ".join([dtype] * len(arrays) + ["int64"] * len(scalars))
    ufunc = numba.vectorize([f"{result}({types})"])(function)
    yield "numba @vectorize", lambda: ufunc(*arrays, *scalars)
    element = numba.njit(function)
    names = [f"a{k}" for k in range(len(arrays))]
    given = ", ".join([*names, *(f"s{k}" for k in range(len(scalars)))])
    loop = f"def loop({given}, out):\n    for i in range(out.size):\n        out[i] = element("
    loop += ", ".join([*(f"{name}[i]" for name in names), *(f"s{k}" for k in range(len(scalars)))])
    space = {"element": element}
    exec(loop + ")\n", space)
    compiled = numba.njit(space["loop"])
    flat = [a.ravel() for a in arrays]

    def call() -> Array:
        out = np.empty(flat[0].shape, result)
        compiled(*flat, *scalars, out)
        return out.reshape(arrays[0].shape)

    yield "numba njit", call


def blosc2_calls(
    blosc2: ModuleType, suited: Suited, dtype: str, arrays: tuple[Array, ...]
) -> Iterator[tuple[str, Call]]:
    """Yield blosc2's kernel language on arrays that are not compressed, for either compiler."""
    source = importlib.import_module("blosc2.dsl_kernel").kernel_from_source(suited.text)
    plain = {"cparams": {"clevel": 0}}
    held = [blosc2.asarray(a, **plain) for a in arrays]
    inputs = (*held, *suited.scalars.values())
    result = np.dtype(suited.result or dtype)

    def call(backend: str) -> Array:
        lazy = blosc2.lazyudf(
            source, inputs, dtype=result, jit=True, jit_backend=backend, shape=arrays[0].shape
        )
        return lazy.compute(**plain)[...]  # type: ignore[no-any-return]

    for backend in ("cc", "tcc"):
        yield f"blosc2 {backend}", functools.partial(call, backend)


def numexpr_calls(
    numexpr: ModuleType, suited: Suited, dtype: str, arrays: tuple[Array, ...]
) -> Iterator[tuple[str, Call]]:
    """Yield numexpr's evaluation, where there is an expression."""
    if suited.numexpr:
        names = dict(zip(parameters(suited), arrays, strict=False))
        yield "numexpr", lambda: numexpr.evaluate(suited.numexpr, names, truediv=True)


def jax_calls(
    jax: ModuleType, suited: Suited, dtype: str, arrays: tuple[Array, ...]
) -> Iterator[tuple[str, Call]]:
    """Yield jax's compiled function of arrays that it holds."""
    if suited.jax is not None:
        jnp = importlib.import_module("jax.numpy")
        compiled = jax.jit(suited.jax(jax, jnp))
        held = [jnp.asarray(a) for a in arrays]
        scalars = tuple(suited.scalars.values())
        yield "jax", lambda: compiled(*held, *scalars).block_until_ready()


MAKERS = {
    "numba": numba_calls,
    "blosc2": blosc2_calls,
    "numexpr": numexpr_calls,
    "jax": jax_calls,
}


def parameters(suited: Suited) -> list[str]:
    """Return the names of a kernel's parameters."""
    function = ast.parse(suited.text).body[0]
    assert isinstance(function, ast.FunctionDef)
    return [a.arg for a in function.args.args]


C_FILE = """\
#include <math.h>
#include <stdint.h>
typedef int64_t i64;
typedef uint64_t u64;
typedef {real} R;
typedef {out} OUT;
#define M(name) {function}
static inline OUT element({parameters})
{{
{body}}}
void run(i64 size, {arrays}, {scalars}OUT *restrict out)
{{
    for (i64 i = 0; i < size; ++i) out[i] = element({arguments});
}}
"""
C_TYPES = {"float32": "float", "float64": "double", "int64": "i64", "uint64": "u64"}


def c_call(suited: Suited, dtype: str, arrays: tuple[Array, ...]) -> Call:
    """Return strict scalar C, written by hand, compiled for this machine."""
    names = parameters(suited)
    inputs, scalars = names[: len(arrays)], names[len(arrays) :]
    result = suited.result or dtype
    text = C_FILE.format(
        real=C_TYPES[dtype],
        out=C_TYPES[result],
        function="name##f" if dtype == "float32" else "name",
        parameters=", ".join([*(f"R {n}" for n in inputs), *(f"i64 {n}" for n in scalars)]),
        body="".join(f"    {line}\n" for line in suited.c.splitlines()),
        arrays=", ".join(f"const R *restrict a{k}" for k in range(len(inputs))),
        scalars="".join(f"i64 {n}, " for n in scalars),
        arguments=", ".join([*(f"a{k}[i]" for k in range(len(inputs))), *scalars]),
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "kernel.c")
        path.write_text(text)
        isa = host_target().isa
        flags = [*STRICT, *([f"-march={isa}"] if isa else []), "-o", f"{path}.so", str(path), "-lm"]
        compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
        subprocess.run([*compiler, *flags], check=True, timeout=60)
        run = ctypes.CDLL(f"{path}.so").run
    numbers = [ctypes.c_int64(n) for n in suited.scalars.values()]

    def call() -> Array:
        out = np.empty(arrays[0].shape, result)
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in arrays]
        run(ctypes.c_int64(out.size), *pointers, *numbers, ctypes.c_void_p(out.ctypes.data))
        return out

    return call
