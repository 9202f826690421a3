"""What a kernel costs before the compiler sees it: text to IR, IR to C, in a warm process.

Every run has a text of its own, which no cache has seen. The time is that of this process alone,
all of whose work is Python.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from harness import option_parser, print_comparison, print_figure, print_header, summary, write_json
from mexdask.frontend.source import source_of_text
from mexdask.settings import KernelSettings
from mexdask.specialise import Specialisation, parsed_kernel

T = TypeVar("T")
WHOLE = "all of it"
SIGNATURE = ("float32[]", "float32[]", "float32[]", "float64[]", "uint8[]", "weak int")

KERNEL = """\
def water_colour(red, green, blue, depth, flags, rounds, salinity=35.0):
    # The colour of water from three bands; -1 where there is no answer.
    offset = 1.25
    if flags & 1 or depth < 0:
        return -1.0
    if red != red or green != green or blue != blue:
        return -1.0
    brightest = max(red, green, blue)
    darkest = min(red, green, blue)
    span = brightest - darkest
    if span < 1e-6 * brightest:
        return -1.0
    if brightest == red:
        hue = (green - blue) / span % 6.0
    elif brightest == green:
        hue = (blue - red) / span + 2.0
    else:
        hue = (red - green) / span + 4.0
    hue = 60.0 * hue

    # Light that is left at the bottom, layer by layer.
    absorbed = 0.0
    light = 1.0
    layer = 0
    while light > 1e-4 and layer < 200:
        at = layer * depth / 200
        turbid = 0.1 + 0.05 * np.sin(at) ** 2
        if at > 0.7 * depth:
            turbid += 0.02 * (at - 0.7 * depth)
        fresh = light * np.exp(-turbid)
        absorbed += light - fresh
        light = fresh
        layer += 1

    # A few rounds of Newton for the concentration that explains it.
    x = max(absorbed, 1e-3)
    for i in range(rounds):
        f = x * x * x - 2.0 * x * salinity / 35.0 - absorbed
        slope = 3.0 * x * x - 2.0 * salinity / 35.0
        if abs(slope) < 1e-9:
            x = x + offset
            continue
        change = f / slope
        x -= np.clip(change, -1.0, 1.0)
        if abs(change) < 1e-7:
            break
    if not 0.0 <= x < 100.0:
        return -1.0

    # Where the flags say so, the answer is mended; the rest is the scale of the atlas.
    cloudy = flags >> 2 & 3
    glint = flags >> 4 & 1
    if cloudy == 1:
        x *= 0.97
    elif cloudy == 2:
        x *= 0.91 if hue > 180.0 else 0.93
    elif cloudy == 3:
        return -1.0
    scale = np.where(glint and depth > 10, np.log1p(x), np.sqrt(x))
    return 360.0 * scale + np.floor(hue)
"""


def stages(number: int, simd: str) -> dict[str, float]:
    """Return the seconds that each stage takes on a kernel never seen before."""
    text = KERNEL.replace("1.25", f"1.25{number}")
    times: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        result = work()
        times[stage] = time.process_time() - start
        return result

    parsed = timed("parse, validate", lambda: parsed_kernel(source_of_text(text)))
    signature = SIGNATURE + ("weak float",) * (len(parsed.parameters) - len(SIGNATURE))
    settings = KernelSettings(simd=simd)
    special = timed("lower", lambda: Specialisation(parsed, signature, "", None))
    key = timed("masks, form, key", lambda: special.result.unit.key((), settings))
    timed("C text", lambda: special.result.unit.c_text(key, settings))
    times[WHOLE] = sum(times.values())
    return times


def main(argv: list[str] | None = None) -> int:
    """Time the stages for either form of C."""
    parser = option_parser(__doc__.splitlines()[0], rounds=51)
    options = parser.parse_args(argv)
    print_header("From text to C")
    lines = len(KERNEL.splitlines())
    numbers = iter(range(10**9))
    forms = {"lanes": "auto", "scalar": "off"}
    runs: dict[str, list[dict[str, float]]] = {form: [] for form in forms}
    for turn in range(options.rounds + 3):
        for form, simd in forms.items():
            taken = stages(next(numbers), simd)
            if turn >= 3:  # the process is warm
                runs[form].append(taken)
    results = []
    for form, taken in runs.items():
        times = {stage: [run[stage] for run in taken] for stage in taken[0]}
        results.append(summary(f"a kernel of {lines} lines, {form}", times))
        print_comparison(results[-1])
        print_figure(form, results[-1].seconds[WHOLE] * 1e3, " ms", "at most 10")
    write_json(options.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
