"""What ``ds.mex.eval`` costs beside its kernel, and against ``xarray.apply_ufunc`` around numba.

Building a lazy result of many chunks, computing one, and an eager call on few elements.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
import xarray as xr

import mexdask
import mexdask.xarray
from harness import (
    Comparison,
    compare,
    option_parser,
    print_figure,
    print_header,
    write_json,
)


@mexdask.kernel
def escape_time(re, im):
    """Return the number of steps after which a point is known to escape."""
    zr = 0.0
    zi = 0.0
    for step in range(200):
        if zr * zr + zi * zi > 4.0:
            return step
        zr, zi = zr * zr - zi * zi + re, 2.0 * zr * zi + im
    return 200


def plane(size: int, chunks: int) -> xr.Dataset:
    """Return two variables of ``size`` x ``size`` in ``chunks`` x ``chunks`` chunks."""
    re, im = np.meshgrid(np.linspace(-2.0, 0.5, size), np.linspace(-1.25, 1.25, size))
    coords = {"y": np.arange(size), "x": np.arange(size)}
    ds = xr.Dataset({"re": (("y", "x"), re), "im": (("y", "x"), im)}, coords)
    return ds.chunk(y=-(-size // chunks), x=-(-size // chunks))


def numba_ufunc() -> Callable[..., np.ndarray] | None:
    """Return the same function compiled by numba, None where it is not installed."""
    try:
        import numba
    except ImportError:
        print("numba is not installed: nothing to compare with")
        return None
    return numba.vectorize(["int64(float64, float64)"])(escape_time.py_func)


def by_ufunc(ufunc: Callable[..., np.ndarray], ds: xr.Dataset) -> xr.DataArray:
    """Return what a function gives through xarray."""
    return xr.apply_ufunc(ufunc, ds.re, ds.im, dask="parallelized", output_dtypes=[np.int64])


def building(peer: Callable[..., np.ndarray] | None, chunks: int, rounds: int) -> Comparison:
    """Measure how long it takes to build a lazy result."""
    ds = plane(2 * chunks, chunks)
    contenders = {"eval": lambda: ds.mex.eval(escape_time)}
    if peer:
        contenders["apply_ufunc(numba)"] = lambda: by_ufunc(peer, ds)
    name = f"building a lazy result of {chunks**2} chunks"
    found = compare(name, contenders, rounds, number=5, rtol=None)
    if peer:
        ratio = found.ratios["eval"]["apply_ufunc(numba)"]
        print_figure("eval over apply_ufunc(numba)", ratio, "x", "at most 0.5")
    return found


def computing(
    peer: Callable[..., np.ndarray] | None, size: int, rounds: int
) -> Iterator[Comparison]:
    """Measure a result of four chunks, and the kernel alone on the same chunks."""
    ds = plane(size, 2)
    blocks = [(b.re.values, b.im.values) for b in quarters(ds)]
    alone = {"kernel": lambda: [escape_time(*block) for block in blocks]}
    # Persisted, for putting four chunks into one array costs both the same and says nothing.
    whole = {"eval": lambda: ds.mex.eval(escape_time).persist(scheduler="synchronous")}
    if peer:
        alone["numba"] = lambda: [peer(*block) for block in blocks]
        whole["apply_ufunc(numba)"] = lambda: by_ufunc(peer, ds).persist(scheduler="synchronous")
    kernels = compare(f"the kernel alone on 4 blocks of {size // 2}²", alone, rounds)
    yield kernels
    results = compare(f"computing 4 chunks of {size // 2}², one thread", whole, rounds)
    yield results
    if peer:
        ours, theirs = (
            kernels.ratios["numba"]["kernel"],
            results.ratios["apply_ufunc(numba)"]["eval"],
        )
        print_figure("speed against numba, kernel alone", ours, "x", "the reference")
        print_figure("of that through xarray and Dask", theirs / ours, "x", "at least 0.9")


def quarters(ds: xr.Dataset) -> Iterator[xr.Dataset]:
    """Yield the chunks of a plane."""
    half = ds.sizes["x"] // 2
    for y in (slice(half), slice(half, None)):
        for x in (slice(half), slice(half, None)):
            yield ds.isel(y=y, x=x).compute()


def eager(rounds: int, number: int) -> Comparison:
    """Measure what an eager call costs beside its kernel on 1000 elements."""
    array = xr.DataArray(
        np.linspace(0.0, 1.0, 1000), {"x": np.arange(1000)}, name="t", attrs={"units": "K"}
    )
    kernel = mexdask.kernel("t * 1.8 - 459.67")
    found = compare(
        "an eager call on a DataArray of 1000 elements",
        {
            "kernel on NumPy": lambda: kernel(array.values),
            "eval": lambda: array.mex.eval("t * 1.8 - 459.67"),
            "xarray's operators": lambda: array * 1.8 - 459.67,
        },
        rounds,
        number=number,
    )
    overhead = found.seconds["eval"] - found.seconds["kernel on NumPy"]
    print_figure("overhead of eval over its kernel", overhead * 1e6, " µs", "at most 300")
    return found


def main(argv: list[str] | None = None) -> int:
    """Measure building, computing and the overhead of an eager call."""
    parser = option_parser(__doc__.splitlines()[0], rounds=9)
    parser.add_argument("--chunks", type=int, default=100, help="a side, of the graph to build")
    parser.add_argument("--size", type=int, default=2048, help="a side, of the plane to compute")
    parser.add_argument("--number", type=int, default=300, help="eager calls per timing")
    options = parser.parse_args(argv)
    print_header("xarray: eval against apply_ufunc")
    peer = numba_ufunc()
    results = [
        building(peer, options.chunks, options.rounds),
        *computing(peer, options.size, options.rounds),
        eager(options.rounds, options.number),
    ]
    write_json(options.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
