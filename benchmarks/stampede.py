"""Many processes ask for one kernel at one instant, with an empty cache directory.

What it shows: how often the compiler runs, how long processes wait, what the directory holds then.
Each process is a worker's beginning: it imports, waits for the instant, makes one call. The same is
done again with what the first round left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from harness import Comparison, option_parser, print_figure, print_header, summary, write_json

CHILD = """
import json, sys, time
import numpy as np
import mexdask

x = np.linspace(-2.0, 2.0, 1000)
kernel = mexdask.kernel(sys.argv[1])
expected = kernel(x, 40, jit="off")
print("ready", flush=True)
sys.stdin.readline()
start = time.perf_counter()
result = kernel(x, 40)
seconds = time.perf_counter() - start
stats = mexdask.stats()
right = result.tobytes() == expected.tobytes()
counts = {name: stats[name] for name in ("compiled", "disk_hits", "native", "interpreted")}
print(json.dumps(counts | {"seconds": seconds, "right": right}))
"""
KERNEL = """
def stampede(x, limit):
    y = x
    for step in range(limit):
        if y > 1e3:
            return y + step
        y = y * y + x
    return y
"""


def stampede(processes: int, tmpdir: str) -> list[dict[str, float]]:
    """Return what each process says, all of them let go at one instant."""
    environ = {**os.environ, "TMPDIR": tmpdir}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, KERNEL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        for _ in range(processes)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    return [json.loads(child.communicate()[0]) for child in children]


def said(label: str, answers: list[dict[str, float]]) -> list[float]:
    """Print what came out of one round, and return how long each process waited."""
    waits = sorted(answer["seconds"] for answer in answers)
    sums = {
        name: sum(int(answer[name]) for answer in answers)
        for name in ("compiled", "disk_hits", "native", "interpreted")
    }
    assert all(answer["right"] for answer in answers), "a process got a wrong result"
    middle, late = np.percentile(waits, (50, 99))
    print(f"   {label:12s} {sums}")
    print(
        f"   {'':12s} waited {middle:.3f} s (median), {late:.3f} s (99 %), {waits[-1]:.3f} s (most)"
    )
    return waits


def main(argv: list[str] | None = None) -> int:
    """Let processes go twice, with an empty directory and with what the first round left."""
    parser = option_parser(__doc__.splitlines()[0], rounds=1)
    parser.add_argument("--processes", type=int, default=200)
    options = parser.parse_args(argv)
    print_header(f"{options.processes} processes, one kernel, one instant")
    times: dict[str, list[float]] = {"empty": [], "filled": []}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="mexdask-stampede-") as tmpdir:
            first = stampede(options.processes, tmpdir)
            times["empty"].append(float(np.median(said("empty", first))))
            compiled = sum(answer["compiled"] for answer in first)
            print_figure("compiles", compiled, "", "exactly 1")
            again = stampede(options.processes, tmpdir)
            times["filled"].append(float(np.median(said("filled", again))))
            assert sum(answer["compiled"] for answer in again) == 0
    results: list[Comparison] = [summary("median wait of a process", times)]
    write_json(options.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
