"""Mandelbrot tiles on a cluster: mexdask cold, warm and interpreted against numba and blosc2.

Every contender makes the same pixels, which is checked first. Peers run through ``map_blocks``, as
their users write it. Tiles stay on the workers, so that what is timed is graph, scheduler and
kernels. With ``--address`` an existing scheduler is used instead of clusters of this machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, wait
from PIL import Image

import mexdask
from harness import (
    Comparison,
    compare,
    option_parser,
    print_figure,
    print_header,
    usable_cpus,
    write_json,
)

try:
    import numba
except ImportError:
    numba = None
try:
    import blosc2
except ImportError:
    blosc2 = None
try:
    from matplotlib.figure import Figure
except ImportError:
    Figure = None

WHOLE_SET = (-2.0, 0.5, -1.25, 1.25)
# Deep in the seahorse valley: some tiles are inside and take every step, some leave at once.
DEEP = (-0.74364990, -0.74363790, 0.13182400, 0.13183000)
TYPES = ("float64", "float64", int)

KERNEL = """
def escape_time(re, im, max_iter):
    zr = 0.0
    zi = 0.0
    for step in range(max_iter):
        zr2 = zr * zr
        zi2 = zi * zi
        if zr2 + zi2 > 4.0:
            return step
        zi = (zr + zr) * zi + im
        zr = zr2 - zi2 + re
    return max_iter
"""

if numba is not None:

    @numba.njit(nogil=True)
    def numba_tile(re, im, max_iter):
        """Return the steps of one tile, as a user of numba writes it."""
        out = np.empty((im.shape[0], re.shape[1]), np.int64)
        for i in range(im.shape[0]):
            for j in range(re.shape[1]):
                zr = 0.0
                zi = 0.0
                steps = max_iter
                for step in range(max_iter):
                    zr2 = zr * zr
                    zi2 = zi * zi
                    if zr2 + zi2 > 4.0:
                        steps = step
                        break
                    zi = (zr + zr) * zi + im[i, 0]
                    zr = zr2 - zi2 + re[0, j]
                out[i, j] = steps
        return out


if blosc2 is not None:

    @blosc2.dsl_kernel
    def blosc2_escape(re, im, max_iter):  # noqa: D103 (blosc2 does not read docstrings)
        zr = 0.0
        zi = 0.0
        for step in range(max_iter):
            zr2 = zr * zr
            zi2 = zi * zi
            if zr2 + zi2 > 4.0:
                return float(step)
            zi = (zr + zr) * zi + im
            zr = zr2 - zi2 + re
        return float(max_iter)


def blosc2_tile(re, im, max_iter):
    """Return the steps of one tile through the kernel language of blosc2."""
    shape = np.broadcast_shapes(re.shape, im.shape)
    whole = [np.ascontiguousarray(np.broadcast_to(x, shape)) for x in (re, im)]
    lazy = blosc2.lazyudf(
        blosc2_escape, (*whole, max_iter), dtype=np.float64, shape=shape, jit_backend="cc"
    )
    return lazy.compute(cparams={"clevel": 0})[:].astype(np.int64)


class Plane:
    """A window of the complex plane, cut into tiles.

    Parameters
    ----------
    window : tuple of float
        Left, right, bottom, top.
    tile : tuple of int
        Rows and columns of a tile.
    grid : tuple of int
        Rows and columns of tiles.
    max_iter : int
        Steps before a point is inside.
    """

    def __init__(
        self, window: tuple[float, ...], tile: tuple[int, int], grid: tuple[int, int], max_iter: int
    ):
        self.tile, self.grid, self.max_iter = tile, grid, max_iter
        left, right, bottom, top = window
        self.re = np.linspace(left, right, tile[1] * grid[1])[None, :]
        self.im = np.linspace(top, bottom, tile[0] * grid[0])[:, None]
        self.tiles = grid[0] * grid[1]
        self.pixels = self.re.size * self.im.size

    def axes(self) -> tuple[da.Array, da.Array]:
        """Return the two axes as arrays that no scheduler has seen before."""
        run = uuid.uuid4().hex
        return (
            da.from_array(self.re, chunks=(1, self.tile[1]), name=f"re-{run}"),
            da.from_array(self.im, chunks=(self.tile[0], 1), name=f"im-{run}"),
        )

    def image(self, kernel: object, **options: object) -> da.Array:
        """Return the lazy image as mexdask makes it."""
        return mexdask.apply(kernel, *self.axes(), self.max_iter, **options)

    def mapped(self, function: object) -> da.Array:
        """Return the lazy image as ``map_blocks`` makes it."""
        meta = np.empty((0, 0), np.int64)
        return da.map_blocks(function, *self.axes(), self.max_iter, dtype=np.int64, meta=meta)


def images(plane: Plane, peers: bool = True) -> dict[str, Callable[[], da.Array]]:
    """Return for each contender what makes its lazy image anew."""
    found = {
        "mexdask": lambda: plane.image(KERNEL, jit="require"),
        "interpreter": lambda: plane.image(KERNEL, jit="off"),
    }
    if peers and numba is not None:
        found["numba"] = lambda: plane.mapped(numba_tile)
    if peers and blosc2 is not None:
        found["blosc2"] = lambda: plane.mapped(blosc2_tile)
    return found


@contextmanager
def cluster(workers: int) -> Iterator[Client]:
    """Start worker processes of one thread each with an empty cache."""
    with (
        tempfile.TemporaryDirectory(prefix="mexdask-tiles-") as empty,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            env={"TMPDIR": empty},
        ) as processes,
        Client(processes) as client,
    ):
        yield client


def computed(client: Client, image: da.Array) -> None:
    """Compute every tile and leave it on its worker."""
    wait(client.persist(image))


def seconds(client: Client, image: da.Array) -> float:
    """Return how long a graph takes from its submission to its last tile."""
    start = time.perf_counter()
    tiles = client.persist(image)
    wait(tiles)
    return time.perf_counter() - start


def check(client: Client, makers: dict[str, Callable[[], da.Array]]) -> None:
    """Raise AssertionError unless all contenders make the same pixels."""
    (first, reference), *others = makers.items()
    for label, other in others:
        different = client.compute((reference() != other()).sum()).result()
        assert different == 0, f"{label} and {first} differ in {different} pixels"
    print(f"   pixels identical: {', '.join(makers)}")


def throughput(result: Comparison, plane: Plane) -> None:
    """Print tiles and pixels per second of each contender."""
    for label, taken in result.seconds.items():
        rate = f"{plane.tiles / taken:9.1f} tiles/s {plane.pixels / taken / 1e6:9.2f} Mpx/s"
        print(f"   {label:12s} {rate}")


def cold_and_warm(client: Client, plane: Plane, rounds: int) -> Comparison:
    """Compare graphs whose kernel nobody has compiled with the same graphs of a known one."""
    unseen = iter(range(10**6))

    def cold() -> None:
        text = KERNEL.replace("4.0", f"{4.0 + (1 + next(unseen)) * 2.0**-40!r}")
        computed(client, plane.image(text, jit="require"))

    def warm() -> None:
        computed(client, plane.image(KERNEL, jit="require"))

    name = f"{plane.tiles} tiles of {plane.tile}, cold and warm"
    result = compare(name, {"warm": warm, "cold": cold}, rounds, rtol=None)
    later = 1000 * (result.seconds["cold"] - result.seconds["warm"])
    print_figure("the cold graph is later by", later, " ms", "at most 250")
    return result


def print_counts(client: Client) -> None:
    """Print what each worker has compiled, loaded and run."""
    columns = ("compiled", "disk_hits", "memory_hits", "native", "interpreted")
    print(f"   {'worker':28s}" + "".join(f"{name:>13s}" for name in columns))
    for address, stats in sorted(mexdask.stats(client).items()):
        print(f"   {address:28s}" + "".join(f"{stats[name]:13d}" for name in columns))


def on_cluster(client: Client, plane: Plane, rounds: int, peers: bool) -> list[Comparison]:
    """Run all that is timed on one cluster."""
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    first = seconds(client, plane.image(KERNEL, jit="require"))
    print(f"\n   first graph of {workers} new workers, imports and compile included: {first:.2f} s")
    results = [cold_and_warm(client, plane, rounds)]
    makers = images(plane, peers)
    check(client, makers)
    print_counts(client)
    calls = {label: (lambda make=make: computed(client, make())) for label, make in makers.items()}
    name = f"{workers} workers, {plane.tiles} tiles of {plane.tile}"
    results.append(compare(name, calls, rounds, rtol=None))
    throughput(results[-1], plane)
    if "numba" in makers:
        ratio = results[-1].ratios["numba"]["mexdask"]
        print_figure("throughput against numba", ratio, "x", "at least 4.5 for 512 x 1024")
    return results


def threaded(plane: Plane, rounds: int) -> Comparison:
    """Compare with numba on the threaded scheduler of this process."""
    calls = {
        label: (lambda make=make: make().sum().compute(scheduler="threads"))
        for label, make in images(plane).items()
        if label in ("mexdask", "numba")
    }
    result = compare(f"threaded scheduler, {plane.tiles} tiles of {plane.tile}", calls, rounds)
    if "numba" in calls:
        ratio = result.ratios["numba"]["mexdask"]
        print_figure("throughput against numba", ratio, "x", "at least 5 for 512 x 1024")
    return result


def scaling(plane: Plane, workers: list[int], rounds: int) -> list[Comparison]:
    """Compare clusters of several sizes with the first, two of them alive, one at work."""
    first, *others = workers
    results = []
    for count in others:
        clients: dict[str, Client] = {}
        with ExitStack() as alive:
            for size in (first, count):
                client = alive.enter_context(cluster(size))
                mexdask.warm(client, KERNEL, *TYPES)
                clients[f"{size} workers"] = client
            calls = {
                label: (lambda client=client: computed(client, plane.image(KERNEL)))
                for label, client in clients.items()
            }
            result = compare(f"scaling, {plane.tiles} tiles", calls, rounds, rtol=None)
        results.append(result)
        speedup = result.ratios[f"{first} workers"][f"{count} workers"]
        ideal = min(count, len(usable_cpus())) / min(first, len(usable_cpus()))
        print(f"   {count} workers: {speedup:.2f}x {first}, efficiency {speedup / ideal:.2f}")
        if (first, count) == (1, 2):
            print_figure("two workers against one", speedup, "x", "at least 1.8 on 2 cores")
    return results


def overhead(
    client: Client, sides: list[int], grid: tuple[int, int], max_iter: int, rounds: int
) -> list[tuple[float, ...]]:
    """Print what a tile costs beside its kernel, by the size of the tile."""
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    mexdask.warm(client, KERNEL, *TYPES)
    print(f"\n-- overhead per tile on {workers} workers (median of {rounds})")
    rows = []
    for side in sides:
        plane = Plane(WHOLE_SET, (side, side), grid, max_iter)
        taken, inside = [], []
        for _ in range(rounds):
            client.run(mexdask.reset_stats)
            taken.append(seconds(client, plane.image(KERNEL, jit="require")))
            counted = mexdask.stats(client).values()
            inside.append(sum(stats["native_seconds"] for stats in counted))
        wall, kernel = np.median(taken) / plane.tiles, np.median(inside) / plane.tiles
        beside = wall * workers - kernel
        print(
            f"   {side:5d} x {side:<5d} kernel {1e6 * kernel:9.0f} µs, beside it "
            f"{1e6 * beside:7.0f} µs a tile and worker, {kernel / (kernel + beside):.0%} in kernels"
        )
        rows.append((side, kernel, beside))
    return rows


def deep_zoom(client: Client, plane: Plane, rounds: int) -> Comparison:
    """Time tiles of very uneven cost, and print how uneven they are."""
    image = plane.image(KERNEL, jit="require")
    steps = image.map_blocks(lambda block: np.atleast_2d(block.sum()), chunks=(1, 1)).compute()
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    makers = images(plane)
    makers.pop("blosc2", None)
    makers.pop("interpreter")
    calls = {label: (lambda make=make: computed(client, make())) for label, make in makers.items()}
    result = compare(f"deep zoom, {plane.tiles} tiles", calls, rounds, rtol=None)
    client.run(mexdask.reset_stats)
    wall = seconds(client, plane.image(KERNEL, jit="require"))
    busy = sum(stats["native_seconds"] for stats in mexdask.stats(client).values())
    print(f"   costliest tile {steps.max() / steps.mean():.1f}x the mean, cheapest ", end="")
    print(f"{steps.min() / steps.mean():.2f}x; workers in kernels {busy / wall / workers:.0%}")
    return result


def picture(client: Client, path: Path, plane: Plane) -> None:
    """Write a picture of the set."""
    max_iter, steps = plane.max_iter, client.compute(plane.image(KERNEL)).result()
    phase = 0.9 * np.log2(steps + 1.0)[..., None] + np.array([3.4, 4.0, 4.6])
    rgb = 127.5 * (1.0 + np.sin(phase))
    rgb[steps == max_iter] = 0.0
    Image.fromarray(rgb.astype(np.uint8)).save(path)
    print(f"   {path} written")


def draw(path: Path, results: list[Comparison], plane: Plane, rows: list) -> None:
    """Write a picture of scaling and overhead."""
    if Figure is None:
        print("   no picture of the scaling: matplotlib is not installed")
        return
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    seconds = {label: taken for result in results[::-1] for label, taken in result.seconds.items()}
    workers = sorted(int(label.split()[0]) for label in seconds)
    rates = [plane.tiles / seconds[f"{count} workers"] for count in workers]
    left.plot(workers, rates, "o-", label="measured")
    cores = len(usable_cpus())
    ideal = [rates[0] * min(count, cores) / workers[0] for count in workers]
    left.plot(workers, ideal, "--", color="grey", label=f"ideal on {cores} cores")
    left.set(xlabel="workers", ylabel="tiles per second", title="scaling", ylim=0, xticks=workers)
    left.legend()
    for which, label in ((1, "kernel"), (2, "beside the kernel")):
        right.loglog(
            [row[0] for row in rows], [1e6 * row[which] for row in rows], "o-", label=label
        )
    right.set(xlabel="side of a tile", ylabel="µs per tile", title="where the time goes")
    right.legend()
    figure.savefig(path, dpi=120)
    print(f"   {path} written")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = option_parser(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--address", help="scheduler to use instead of clusters of our own")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--tile", type=int, nargs=2, default=(512, 1024), metavar=("ROWS", "COLS"))
    parser.add_argument("--grid", type=int, nargs=2, default=(8, 8), metavar=("ROWS", "COLS"))
    parser.add_argument("--max-iter", type=int, default=200, help="steps before a point is inside")
    parser.add_argument("--sides", type=int, nargs="+", default=[8, 32, 128, 256, 512, 1024])
    parser.add_argument("--deep", type=int, default=128, help="side of a tile of the deep zoom")
    parser.add_argument("--no-peers", action="store_true", help="leave numba and blosc2 out")
    parser.add_argument("--output", type=Path, default=Path("mandelbrot-tiles"), help="for PNGs")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run every comparison."""
    options = arguments(argv)
    print_header("Mandelbrot tiles on a cluster")
    plane = Plane(WHOLE_SET, tuple(options.tile), tuple(options.grid), options.max_iter)
    peers = not options.no_peers
    middle = 2 if 2 in options.workers else options.workers[0]
    where = Client(options.address) if options.address else cluster(middle)
    with where as client:
        results = on_cluster(client, plane, options.rounds, peers)
        rows = overhead(client, options.sides, plane.grid, options.max_iter, options.rounds)
        finer = (2 * options.grid[0], 2 * options.grid[1])
        zoomed = Plane(DEEP, (options.deep, options.deep), finer, 20 * options.max_iter)
        results.append(deep_zoom(client, zoomed, options.rounds))
        small = Plane(WHOLE_SET, (128, 128), plane.grid, options.max_iter)
        picture(client, options.output.with_suffix(".png"), small)
    if not options.address:
        results.append(threaded(plane, options.rounds))
        # Ten times the steps: what is asked is how kernels scale, not what a small task costs.
        # Twice the tiles: one that is left over at the end is a small part of the whole.
        wide = (options.grid[0], 2 * options.grid[1])
        heavy = Plane(WHOLE_SET, plane.tile, wide, 10 * options.max_iter)
        scaled = scaling(heavy, options.workers, options.rounds)
        results += scaled
        if scaled:
            scale = options.output.with_name(options.output.name + "-scaling.png")
            draw(scale, scaled, heavy, rows)
    write_json(options.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
