"""What the Dask layer costs beside Dask's own: building graphs, running tasks, whole-array kernels.

Graphs are built for one chunk an element, tasks run on chunks of one element, so that nothing but
overhead is timed. The kernels with reductions run over ``--bytes`` of float64 in memory, in chunks
of 16 MiB, on the threaded scheduler.
"""

from __future__ import annotations

from collections.abc import Callable

import dask
import dask.array as da
import numpy as np

import mexdask
from harness import (
    Comparison,
    compare,
    option_parser,
    print_figure,
    print_header,
    write_json,
)

NORMALISE = """
def normalise(x):
    m = mean(x)
    s = sqrt(mean((x - m) ** 2))
    return (x - m) / s
"""
CHUNK = 1 << 21
"""Elements of a chunk in the kernels with reductions: 16 MiB."""


def double_plus(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Do on a block what the kernel of the benchmark does."""
    return np.add(x, y)


def building(side: int, rounds: int) -> Comparison:
    """Time how long it takes to build a graph of ``side * side`` chunks."""
    x, y = (da.ones((side, side), chunks=1) for _ in range(2))
    index = (0, 1)

    def plain() -> object:
        return da.blockwise(
            double_plus, index, x, index, y, index, dtype=x.dtype, meta=np.empty((0, 0))
        ).chunks

    kernel = mexdask.kernel("x + y")
    contenders = {
        "da.blockwise": plain,
        "mexdask": lambda: kernel(x, y).chunks,
        "mexdask, index symbols": lambda: mexdask.apply("x + y * _i0", x, y).chunks,
    }
    name = f"building a graph of {side * side} chunks"
    result = compare(name, contenders, rounds, number=3, rtol=None)
    for label in list(contenders)[1:]:
        ratio = result.ratios[label]["da.blockwise"]
        print_figure(f"{label} against da.blockwise", ratio, "x", "1.2")
    return result


def per_task(scheduler: str, side: int, rounds: int) -> Comparison:
    """Time tasks on chunks of one element, in many short runs: they vary by far more than 10 µs."""
    x = da.from_array(np.arange(side * side, dtype=float).reshape(side, side), chunks=1).persist()
    index = (0, 1)
    plain = da.blockwise(np.negative, index, x, index, dtype=x.dtype, meta=np.empty((0, 0)))
    ours = mexdask.apply("-x", x, jit="require")

    def run(array: da.Array) -> Callable[[], object]:
        return lambda: dask.compute(array, scheduler=scheduler)[0]

    contenders = {"np.negative": run(plain), "mexdask": run(ours)}
    result = compare(f"{side * side} tasks, {scheduler}", contenders, rounds)
    ratio = result.ratios["mexdask"]["np.negative"]
    extra = (ratio - 1) * result.seconds["np.negative"] / side**2
    print_figure(f"per task over np.negative, {scheduler}", extra * 1e6, " µs", "10")
    return result


def whole_arrays(size: int, rounds: int) -> list[Comparison]:
    """Time kernels with reductions against the same in dask.array."""
    rng = np.random.default_rng(1)
    block = rng.random(min(size, CHUNK))
    blocks = max(1, size // CHUNK)
    whole = da.concatenate([da.from_array(block, chunks=-1)] * blocks).persist()

    def consumed(array: da.Array) -> object:
        # Each block is thrown away once it has been summed, as a store to disk would.
        return array.map_blocks(lambda b: b[:1] + b[-1:], chunks=(1,), dtype=float).compute()

    def dask_normalise() -> object:
        m = whole.mean()
        s = da.sqrt(((whole - m) ** 2).mean())
        return consumed((whole - m) / s)

    def our_normalise() -> object:
        return consumed(mexdask.apply(NORMALISE, whole, jit="require"))

    results = []
    with dask.config.set(scheduler="threads"):
        pairs = {
            f"normalise, {whole.nbytes >> 20} MiB": (dask_normalise, our_normalise, "0.6"),
            f"sum(x * x), {whole.nbytes >> 20} MiB": (
                lambda: (whole * whole).sum().compute(),
                lambda: mexdask.apply("sum(x * x)", whole, jit="require").compute(),
                "0.5",
            ),
        }
        for name, (dasks, ours, goal) in pairs.items():
            result = compare(name, {"dask.array": dasks, "mexdask": ours}, rounds, rtol=1e-9)
            ratio = result.ratios["mexdask"]["dask.array"]
            print_figure("mexdask's time over dask.array's", ratio, "x", goal)
            results.append(result)
    return results


def main() -> None:
    """Run the benchmark from the command line."""
    parser = option_parser(__doc__ or "", rounds=7)
    parser.add_argument("--side", type=int, default=317, help="blocks a side of the graphs")
    parser.add_argument("--tasks", type=int, default=20, help="blocks a side of what is run")
    parser.add_argument("--task-rounds", type=int, default=200, help="rounds of what is run")
    parser.add_argument("--bytes", type=int, default=1 << 30, help="of the arrays to reduce")
    options = parser.parse_args()
    print_header("the Dask layer")
    results = [building(options.side, options.rounds)]
    for scheduler in ("synchronous", "threads"):
        results.append(per_task(scheduler, options.tasks, options.task_rounds))
    results += whole_arrays(options.bytes // 8, options.rounds)
    write_json(options.json, results)


if __name__ == "__main__":
    main()
