"""Native code against every peer that is installed, kernel by kernel, on one thread.

Results are checked before anything is timed. A figure is the median, over rounds in which the
contenders take turns, of how many times longer a peer takes than mexdask in the same round.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dask
import numpy as np

import mexdask
import peers
from harness import (
    Comparison,
    clock,
    machine,
    option_parser,
    print_comparison,
    print_header,
    summary,
    write_json,
)
from suite import SUITE, Array, Suited

Call = Callable[[], Any]
OURS, SCALAR, NARROW = "mexdask", "mexdask scalar", "mexdask 32 bytes"
C, COPY = "C by hand", "np.copyto"
OWN = (OURS, SCALAR, NARROW, COPY)
BANDWIDTH = ("polynomial", "hash")
SECONDS = 0.02
"""Calls are repeated within a round until a contender has taken about this long."""


def under(configuration: Mapping[str, Any], call: Call) -> Call:
    """Return a call under a configuration of Dask's."""

    def configured() -> Any:
        with dask.config.set(configuration):
            return call()

    return configured


def contenders(
    suited: Suited, dtype: str, arrays: tuple[Array, ...], found: Mapping[str, Any]
) -> dict[str, Call]:
    """Return a call for mexdask in its forms and for every peer that takes the kernel."""
    kernel = mexdask.kernel(suited.text)
    scalars = tuple(suited.scalars.values())

    def ours() -> Any:
        return kernel(*arrays, *scalars, jit="require")

    calls: dict[str, Call] = {OURS: ours, SCALAR: under({"mexdask.simd": "off"}, ours)}
    if suited.name == "mandelbrot":
        calls[NARROW] = under({"mexdask.simd": "32"}, ours)
    calls[C] = peers.c_call(suited, dtype, arrays)
    for name, module in found.items():
        if module is not None:
            for label, call in peers.MAKERS[name](module, suited, dtype, arrays):
                calls[label] = call
    if suited.numpy is not None:
        calls["NumPy"] = lambda: suited.numpy(*arrays, *scalars)
    if suited.name in BANDWIDTH:
        out = np.empty_like(arrays[0])
        calls[COPY] = lambda: np.copyto(out, arrays[0])
    return calls


def checked(calls: dict[str, Call], suited: Suited, dtype: str) -> dict[str, Call]:
    """Return the contenders whose results are right, after saying what is wrong with the others.

    C by hand is what the others are held to.
    """
    right = {}
    want = np.asarray(calls[C]())
    rtol = {"float32": 2e-4, "float64": 1e-8}.get(dtype, 0.0)
    for label, call in calls.items():
        try:
            got = want if call() is None else np.asarray(call())
        except Exception as error:  # a peer's own error, of whatever class, is what is reported
            if label in OWN:
                raise
            print(f"   {label} cannot: {type(error).__name__}: {str(error).splitlines()[0][:90]}")
            continue
        wrong = ~np.isclose(got, want, rtol=rtol, atol=rtol, equal_nan=True)
        share = float(wrong.mean()) if got.shape == want.shape else 1.0
        if share > (0.01 if suited.divergent else 0):
            message = f"{label} is wrong at {share:.2%} of the elements of {suited.name} {dtype}"
            if label in OWN:
                raise AssertionError(message)
            print(f"   {message}: left out")
            continue
        right[label] = call
    return right


def timed(name: str, calls: dict[str, Call], rounds: int) -> Comparison:
    """Time contenders in turns, each for about as long as the others."""
    labels = list(calls)
    numbers = {k: max(1, min(100, int(SECONDS / clock(call, 1)))) for k, call in calls.items()}
    times: dict[str, list[float]] = {label: [] for label in labels}
    for turn in range(rounds):
        shift = turn % len(labels)
        for label in labels[shift:] + labels[:shift]:
            calls[label]()  # what the one before left in the caches is not this one's
            times[label].append(clock(calls[label], numbers[label]))
    return summary(name, times)


def judged(suited: Suited, dtype: str, result: Comparison) -> dict[str, Any]:
    """Return a row of the table: how far ahead of each peer, and what was promised."""
    peer, goal = suited.goals.get(dtype, ("best", 0.0))
    ahead = {k: r[OURS] for k, r in result.ratios.items() if k not in (*OWN, C)}
    asked = ahead.get("numba @vectorize") if peer == "vectorize" else min(ahead.values(), default=0)
    row = {
        "kernel": suited.name, "dtype": dtype, "seconds": result.seconds[OURS], "ahead": ahead,
        "c": result.ratios[C][OURS], "scalar": result.ratios[SCALAR][OURS], "peer": peer,
        "goal": goal, "reached": asked, "copy": result.ratios.get(COPY, {}).get(OURS),
        "narrow": 1 / result.ratios[NARROW]["numba @vectorize"]
        if NARROW in result.ratios and "numba @vectorize" in result.ratios[NARROW] else None,
    }  # fmt: skip
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as text: how many times longer each contender takes than mexdask."""
    labels = list(dict.fromkeys(label for row in rows for label in row["ahead"]))
    head = ["kernel", "dtype", "ms", *labels, "C", "scalar", "goal", "reached"]
    lines = [head]
    for row in rows:
        peer = "best" if row["peer"] == "best" else "@v"
        goal = f"{row['goal']:g}x {peer}" if row["goal"] else "-"
        reached = f"{row['reached']:.2f}" if row["reached"] else "-"
        mark = "" if not row["goal"] or not row["reached"] else (
            " ok" if row["reached"] >= row["goal"] else " MISSED")  # fmt: skip
        cells = [f"{row['ahead'][k]:.2f}" if k in row["ahead"] else "-" for k in labels]
        lines.append([row["kernel"], row["dtype"], f"{row['seconds'] * 1e3:.3g}", *cells,
                      f"{row['c']:.2f}", f"{row['scalar']:.2f}", goal, reached + mark])  # fmt: skip
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    text = "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    for row in rows:
        if row["copy"]:
            text += f"\n{row['kernel']} {row['dtype']}: {row['copy']:.2f} of np.copyto's speed"
        if row["narrow"]:
            text += f"\n{row['kernel']} {row['dtype']}, 32-byte vectors: {row['narrow']:.2f}x @v"
    return text


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw how many times longer each peer takes, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    labels = list(dict.fromkeys(label for row in rows for label in row["ahead"]))
    names = [f"{row['kernel']}\n{row['dtype']}" for row in rows]
    figure, axes = pyplot.subplots(figsize=(max(6, 0.75 * len(rows)), 5.5), layout="constrained")
    places = np.arange(len(rows))
    wide = 0.8 / max(1, len(labels))
    for k, label in enumerate(labels):
        heights = [row["ahead"].get(label, np.nan) for row in rows]
        axes.bar(places + (k - len(labels) / 2 + 0.5) * wide, heights, wide, label=label)
    axes.axhline(1.0, color="black", linewidth=1, label=OURS)
    axes.set(yscale="log", ylabel="time relative to mexdask (larger is slower)")
    axes.set_xticks(places, names, rotation=90, fontsize=8)
    axes.set_title(f"{machine()['cpu']}, one thread", fontsize=9)
    axes.legend(fontsize=8, ncols=4)
    figure.savefig(path, dpi=120)


def main(argv: list[str] | None = None) -> int:
    """Compare all contenders on all kernels, or those whose names hold ``--only``."""
    parser = option_parser(__doc__.splitlines()[0], rounds=9)
    parser.add_argument("--elements", type=int, default=1 << 18, help="of kernels with loops")
    parser.add_argument("--bytes", type=int, default=1 << 22, help="of results without loops")
    parser.add_argument("--only", default="", help="kernels, by parts of names, comma-separated")
    parser.add_argument("--plot", type=Path, help="draw the table into this PNG")
    options = parser.parse_args(argv)
    peers.one_thread()
    found = peers.installed()
    print_header("Kernels against peers, warm, one thread")
    for name, module in found.items():
        version = "missing" if module is None else module.__version__
        print(f"   {name:12s} {version}")
    print(f"   {C:12s} {' '.join(peers.STRICT)}")
    results, rows = [], []
    wanted = options.only.lower().split(",")
    start = time.perf_counter()
    for suited in SUITE:
        if not any(part in suited.name.lower() for part in wanted):
            continue
        for dtype in suited.dtypes:
            loops = "for " in suited.text or "while " in suited.text
            size = options.elements if loops else options.bytes // np.dtype(dtype).itemsize
            arrays = suited.make(np.random.default_rng(7), size, dtype)
            with dask.config.set({"mexdask.threads": 1}):
                calls = checked(contenders(suited, dtype, arrays, found), suited, dtype)
                results.append(timed(f"{suited.name} {dtype}", calls, options.rounds))
            print_comparison(results[-1])
            rows.append(judged(suited, dtype, results[-1]))
    print(f"\n{table(rows)}\n\n{time.perf_counter() - start:.0f} s in all")
    write_json(options.json, results)
    if options.plot is not None:
        plot(rows, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
