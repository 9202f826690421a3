"""The interpreter against the same computation written for NumPy by hand, on one thread.

Straight-line kernels meet ``np.where``; Mandelbrot, whose points end at different steps, meets a
version that goes on with the points that are left.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

import mexdask
from harness import compare, option_parser, print_figure, print_header, write_json
from mandelbrot import escape_time, tile

Array = np.ndarray
INTERPRETER, BY_HAND = "interpreter", "by hand"


def vegetation(near, red):
    """Return the normalised difference of two bands, 0 where both are dark."""
    total = near + red
    return np.where(total > 0.1, (near - red) / total, 0.0)


def vegetation_by_hand(near: Array, red: Array) -> Array:
    """Return what `vegetation` returns."""
    total = near + red
    return np.where(total > 0.1, (near - red) / total, 0.0)


def linear_light(x):
    """Return the linear intensity of an sRGB value."""
    if x <= 0.04045:
        y = x / 12.92
    else:
        y = ((x + 0.055) / 1.055) ** 2.4
    return y


def linear_light_by_hand(x: Array) -> Array:
    """Return what `linear_light` returns."""
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def kind_of_pixel(near, red):
    """Return a class from 0 to 4."""
    index = (near - red) / (near + red + 1e-6)
    if index < 0.0:
        kind = 0
    elif index < 0.2:
        if red > 0.3:
            kind = 1
        else:
            kind = 2
    elif index < 0.5:
        kind = 3
    else:
        kind = 4
    return kind


def kind_of_pixel_by_hand(near: Array, red: Array) -> Array:
    """Return what `kind_of_pixel` returns."""
    index = (near - red) / (near + red + 1e-6)
    low = np.where(red > 0.3, 1, 2)
    return np.where(index < 0.0, 0, np.where(index < 0.2, low, np.where(index < 0.5, 3, 4)))


def smooth_step(x, edge):
    """Return 0 below a range, 1 above it and a smooth curve between."""
    t = np.clip((x - 0.25) / (edge + 0.5), 0.0, 1.0)
    return t * t * t * (t * (t * 6.0 - 15.0) + 10.0)


def smooth_step_by_hand(x: Array, edge: Array) -> Array:
    """Return what `smooth_step` returns."""
    t = np.clip((x - 0.25) / (edge + 0.5), 0.0, 1.0)
    return t * t * t * (t * (t * 6.0 - 15.0) + 10.0)


STRAIGHT = (
    (vegetation, vegetation_by_hand, 2),
    (linear_light, linear_light_by_hand, 1),
    (kind_of_pixel, kind_of_pixel_by_hand, 2),
    (smooth_step, smooth_step_by_hand, 2),
)
"""Kernel, the same by hand, number of parameters."""


def escape_time_by_hand(re: Array, im: Array, max_iter: int) -> Array:
    """Return what `escape_time` returns; points that have escaped are left behind."""
    steps = np.full(re.size, max_iter)
    cr, ci = re.ravel(), im.ravel()
    zr, zi, place = cr, ci, np.arange(re.size)
    for step in range(max_iter):
        zr2 = zr * zr
        zi2 = zi * zi
        out = zr2 + zi2 > 4
        if out.any():
            steps[place[out]] = step
            cr, ci, zr, zi, zr2, zi2, place = (a[~out] for a in (cr, ci, zr, zi, zr2, zi2, place))
            if place.size == 0:
                break
        zi = (zr + zr) * zi + ci
        zr = zr2 - zi2 + cr
    return steps.reshape(re.shape)


def contenders(
    function: Callable[..., object], by_hand: Callable[..., Array], *arguments: object
) -> dict[str, Callable[[], object]]:
    """Return one call of each."""
    kernel = mexdask.kernel(function)
    return {
        BY_HAND: lambda: by_hand(*arguments),
        INTERPRETER: lambda: kernel(*arguments, jit="off"),
    }


def main(argv: list[str] | None = None) -> int:
    """Compare the interpreter with what is written by hand."""
    parser = option_parser(__doc__.splitlines()[0], rounds=15)
    parser.add_argument("--elements", type=int, default=1_000_000, help="of straight-line kernels")
    parser.add_argument("--size", type=int, default=512, help="pixels on each side of the tile")
    parser.add_argument("--max-iter", type=int, default=200, help="steps before a point is inside")
    options = parser.parse_args(argv)
    print_header("The interpreter and NumPy by hand, one thread")
    rng = np.random.default_rng(1)
    results = []
    for function, by_hand, count in STRAIGHT:
        arrays = [rng.random(options.elements) for _ in range(count)]
        calls = contenders(function, by_hand, *arrays)
        name = f"{function.__name__}, {options.elements} elements"
        results.append(compare(name, calls, options.rounds))
        print_figure(name, results[-1].ratios[INTERPRETER][BY_HAND], "x", "at most 1")
    re, im = tile(options.size, "float64")
    calls = contenders(escape_time, escape_time_by_hand, re, im, options.max_iter)
    name = f"mandelbrot {options.size}x{options.size}, max_iter {options.max_iter}"
    results.append(compare(name, calls, max(1, options.rounds // 3)))
    print_figure(name, results[-1].ratios[INTERPRETER][BY_HAND], "x", "at most 1.3")
    write_json(options.json, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
