"""The Mandelbrot set on a cluster of worker processes.

One kernel, written as plain Python for one pixel, runs on every tile of a Dask array: compiled
once on this machine, loaded once by each worker process. The same picture is then made by the
NumPy interpreter (``ME_DSL_JIT=0``), and the pixels are compared.

Run it with ``make demo`` or ``python examples/mandelbrot.py --size 1024 --workers 4``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster, progress, wait
from PIL import Image

import mexdask

COLUMNS = ("compiled", "disk_hits", "memory_hits", "native", "interpreted")


@mexdask.kernel
def escape_time(re, im, max_iter):
    """Return the number of steps after which a point is known to escape."""
    zr = 0.0
    zi = 0.0
    for step in range(max_iter):
        zr2 = zr * zr
        zi2 = zi * zi
        if zr2 + zi2 > 4.0:
            return step
        zi = 2.0 * zr * zi + im
        zr = zr2 - zi2 + re
    return max_iter


def coordinates(size: int, tiles: int, window: tuple[float, ...]) -> tuple[da.Array, da.Array]:
    """Return a row of real and a column of imaginary parts that give ``tiles`` x ``tiles`` chunks.

    A side that ``tiles`` does not divide gets one tile more, a smaller one.
    """
    left, right, bottom, top = window
    chunks = max(1, size // tiles)
    re = da.linspace(left, right, size, chunks=chunks)[None, :]
    im = da.linspace(top, bottom, size, chunks=chunks)[:, None]
    return re, im


@contextmanager
def cluster(workers: int, environ: Mapping[str, str]) -> Iterator[Client]:
    """Start worker processes of one thread each with additional environment variables."""
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            env=dict(environ),
        ) as processes,
        Client(processes) as client,
    ):
        yield client


def timed(label: str, image: da.Array) -> tuple[float, np.ndarray]:
    """Compute every tile on the workers under a progress bar; return seconds and pixels."""
    print(f"\n{label}", flush=True)
    start = time.perf_counter()
    tiles = image.persist()
    progress(tiles, interval="50ms", notebook=False)
    wait(tiles)
    seconds = time.perf_counter() - start
    print(f"{seconds:.2f} s for {image.npartitions} tiles", flush=True)
    return seconds, tiles.compute()


def print_stats(client: Client) -> None:
    """Print what each worker process has compiled, loaded and run so far."""
    print(f"{'worker':28s}" + "".join(f"{name:>13s}" for name in COLUMNS))
    for address, stats in sorted(mexdask.stats(client).items()):
        print(f"{address:28s}" + "".join(f"{stats[name]:13d}" for name in COLUMNS))


def coloured(steps: np.ndarray, max_iter: int) -> Image.Image:
    """Return a picture: black inside the set, bands of colour by the logarithm of steps outside."""
    phase = 0.9 * np.log2(steps + 1.0)[..., None] + np.array([3.4, 4.0, 4.6])
    rgb = 127.5 * (1.0 + np.sin(phase))
    rgb[steps == max_iter] = 0.0
    return Image.fromarray(rgb.astype(np.uint8))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--size", type=int, default=2048, help="pixels on each side")
    parser.add_argument("--tiles", type=int, default=8, help="tiles on each side, at least")
    parser.add_argument("--max-iter", type=int, default=200, help="steps before a point is inside")
    parser.add_argument("--output", type=Path, default=Path("mandelbrot.png"), help="PNG to write")
    parser.add_argument(
        "--window",
        type=float,
        nargs=4,
        default=(-2.0, 0.5, -1.25, 1.25),
        metavar=("LEFT", "RIGHT", "BOTTOM", "TOP"),
        help="part of the complex plane",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Make the picture cold, warm and interpreted; return 0 if all pixels are identical."""
    options = arguments(argv)
    re, im = coordinates(options.size, options.tiles, options.window)
    image = mexdask.apply(escape_time, re, im, max_iter=options.max_iter)

    with (
        tempfile.TemporaryDirectory(prefix="mexdask-demo-") as empty,
        cluster(options.workers, {"TMPDIR": empty}) as client,
    ):
        cold, pixels = timed("JIT, cold: nothing compiled yet", image)
        print_stats(client)
        warm, again = timed("JIT, warm: every worker has loaded the kernel", image)
        print_stats(client)
    with cluster(options.workers, {"ME_DSL_JIT": "0"}) as client:
        interpreted, reference = timed("ME_DSL_JIT=0: the NumPy interpreter", image)
        print_stats(client)

    coloured(pixels, options.max_iter).save(options.output)
    different = np.count_nonzero((pixels != reference) | (again != reference))
    print(f"\ncold {cold:.2f} s, warm {warm:.2f} s, ME_DSL_JIT=0 {interpreted:.2f} s", end="")
    print(f" ({interpreted / warm:.1f}x warm); {options.output} written")
    print(f"{different} of {reference.size} pixels differ" if different else "pixels identical")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
