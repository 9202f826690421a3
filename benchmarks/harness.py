"""What every benchmark here shares: a header of the machine, and a fair comparison.

A machine changes its speed while it is measured, so contenders take turns in every round, and two
of them are compared by the median of their ratios within one round, not by the ratio of medians.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

PACKAGES = ("mexdask", "numpy", "dask", "distributed", "xarray", "numba", "blosc2")
FLAGS = ("CC", "ME_DSL_JIT", "ME_DSL_JIT_CFLAGS")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Seconds per call of each contender, and each pair's median ratio within a round.

    Parameters
    ----------
    name : str
        What was compared.
    seconds : dict of str to float
        The median of each contender.
    spread : dict of str to tuple of float
        The first and third quartile of each contender.
    ratios : dict of str to dict of str to float
        ``ratios[a][b]`` is how many times longer ``a`` takes than ``b``.
    rounds : int
        How often each contender was timed.
    """

    name: str
    seconds: dict[str, float]
    spread: dict[str, tuple[float, float]]
    ratios: dict[str, dict[str, float]]
    rounds: int


def machine() -> dict[str, str]:
    """Return what a figure depends on: the machine, versions, compiler and flags."""
    facts = {
        "cpu": f"{cpu_name()}, {len(usable_cpus())} usable",
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            facts[name] = "not installed"
    facts["compiler"] = compiler_version()
    facts.update({name: os.environ[name] for name in FLAGS if name in os.environ})
    return facts


def cpu_name() -> str:
    """Return the processor's name, as well as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def usable_cpus() -> set[int]:
    """Return the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def compiler_version() -> str:
    """Return the first line that the C compiler says about itself."""
    chosen = shlex.split(os.environ.get("CC", ""))
    found = chosen or [name for name in ("cc", "gcc", "clang") if shutil.which(name)][:1]
    if not found:
        return "none"
    try:
        said = subprocess.run([*found, "--version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{found[0]}: {error}"
    return (said.stdout.splitlines() or [f"{found[0]}: no version"])[0]


def compare(
    name: str,
    contenders: Mapping[str, Callable[[], object]],
    rounds: int = 9,
    *,
    number: int = 1,
    rtol: float | None = 0.0,
) -> Comparison:
    """Time contenders against each other after checking that they agree.

    Parameters
    ----------
    name : str
        What is compared, for the report.
    contenders : mapping of str to callable
        Each returns the result that it computed; the first is the reference of the check. The
        check's call is the warm-up too.
    rounds : int
        How often each is timed; the order turns from round to round.
    number : int
        Calls per timing, for what is too short to be timed alone.
    rtol : float or None
        Largest relative difference of results; 0 demands equality, None skips the check.

    Returns
    -------
    Comparison
        Medians and pairwise ratios, printed as well.
    """
    if rtol is not None:
        check({label: call() for label, call in contenders.items()}, rtol)
    labels = list(contenders)
    times: dict[str, list[float]] = {label: [] for label in labels}
    for turn in range(rounds):
        shift = turn % len(labels)
        for label in labels[shift:] + labels[:shift]:
            times[label].append(clock(contenders[label], number))
    result = summary(name, times)
    print_comparison(result)
    return result


def check(results: Mapping[str, object], rtol: float) -> None:
    """Raise AssertionError unless all results equal the first one, nan included."""
    (label, expected), *others = results.items()
    for other, got in others:
        np.testing.assert_allclose(
            np.asarray(got), np.asarray(expected), rtol, err_msg=f"{other} against {label}"
        )


def clock(call: Callable[[], object], number: int) -> float:
    """Return the seconds that one call takes, as the mean of ``number`` calls in a row.

    The garbage collector waits meanwhile, as in `timeit`: a full collection takes as long as
    hundreds of a scheduler's tasks, and comes to whoever happens to run.
    """
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in range(number):
            call()
        return (time.perf_counter() - start) / number
    finally:
        gc.enable()


def summary(name: str, times: Mapping[str, list[float]]) -> Comparison:
    """Return medians and pairwise median ratios of times taken in the same rounds."""
    return Comparison(
        name,
        {label: statistics.median(taken) for label, taken in times.items()},
        {label: quartiles(taken) for label, taken in times.items()},
        {
            a: {
                b: statistics.median(x / y for x, y in zip(times[a], times[b], strict=True))
                for b in times
                if b != a
            }
            for a in times
        },
        rounds=len(next(iter(times.values()))),
    )


def quartiles(taken: list[float]) -> tuple[float, float]:
    """Return the values that a quarter lies below, and a quarter above."""
    low, high = np.percentile(taken, (25, 75))
    return float(low), float(high)


def print_header(title: str) -> None:
    """Print the title and the facts of the machine."""
    print(f"== {title}")
    for key, value in machine().items():
        print(f"   {key:12s} {value}")


def print_comparison(result: Comparison) -> None:
    """Print one line for each contender: median, quartiles, its time over that of each other."""
    print(f"\n-- {result.name} (median [quartiles] of {result.rounds})")
    wide = max(map(len, result.seconds))
    for label, seconds in result.seconds.items():
        ratios = "  ".join(f"{r:.3g}x {other}" for other, r in result.ratios[label].items())
        spread = " - ".join(map(readable, result.spread[label]))
        print(f"   {label:{wide}s}  {readable(seconds):>8s}  {f'[{spread}]':22s}  {ratios}")


def print_figure(what: str, value: float, unit: str, goal: str) -> None:
    """Print a figure beside what was promised for it."""
    print(f"   => {what}: {value:.2f}{unit} (goal: {goal})")


def readable(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def option_parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="timings of each contender")
    parser.add_argument("--json", type=Path, help="write machine and results to this file")
    return parser


def write_json(path: Path | None, results: list[Comparison]) -> None:
    """Write machine and results to a file, if one was asked for."""
    if path is not None:
        report = {"machine": machine(), "results": [asdict(result) for result in results]}
        path.write_text(json.dumps(report, indent=2) + "\n")
