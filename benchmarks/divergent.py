"""Kernels with divergent loops, for ``suite.py``: their texts, their C, peers' own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray

MANDELBROT = """\
def mandelbrot(re, im, max_iter):
    zr = re
    zi = im
    for step in range(max_iter):
        zr2 = zr * zr
        zi2 = zi * zi
        if zr2 + zi2 > 4.0:
            return step
        zi = (zr + zr) * zi + im
        zr = zr2 - zi2 + re
    return max_iter
"""

MANDELBROT_C = """\
R zr = re, zi = im;
for (i64 step = 0; step < max_iter; ++step) {
    R zr2 = zr * zr, zi2 = zi * zi;
    if (zr2 + zi2 > 4) return step;
    zi = (zr + zr) * zi + im;
    zr = zr2 - zi2 + re;
}
return max_iter;
"""


def mandelbrot_numpy(re: Array, im: Array, max_iter: int) -> Array:
    """Go on with the points that have not escaped."""
    result = np.full(re.size, max_iter)
    cr, ci = re.ravel(), im.ravel()
    zr, zi, at = cr, ci, np.arange(re.size)
    for step in range(max_iter):
        zr2, zi2 = zr * zr, zi * zi
        inside = ~(zr2 + zi2 > 4)
        if not inside.all():
            result[at[~inside]] = step
            zr, zi, zr2, zi2 = zr[inside], zi[inside], zr2[inside], zi2[inside]
            cr, ci, at = cr[inside], ci[inside], at[inside]
        zr, zi = zr2 - zi2 + cr, (zr + zr) * zi + ci
    return result.reshape(re.shape)


def mandelbrot_jax(jax: Any, jnp: Any) -> Callable[..., Any]:
    """Return the loop over whole arrays, until every point has escaped."""

    def run(re: Any, im: Any, max_iter: Any) -> Any:
        def wanted(state: Any) -> Any:
            step, _, _, active, _ = state
            return (step < max_iter) & active.any()

        def advance(state: Any) -> Any:
            step, zr, zi, active, result = state
            zr2, zi2 = zr * zr, zi * zi
            out = active & (zr2 + zi2 > 4)
            result = jnp.where(out, step, result)
            zi = (zr + zr) * zi + im
            return step + 1, zr2 - zi2 + re, zi, active & ~out, result

        start = (0, re, im, jnp.ones(re.shape, bool), jnp.full(re.shape, max_iter))
        return jax.lax.while_loop(wanted, advance, start)[-1]

    return run


# Newton's fractal.

NEWTON = """\
def newton(re, im, max_iter):
    x = re
    y = im
    it = 0
    while it < max_iter:
        x2 = x * x
        y2 = y * y
        fr = x * (x2 - 3.0 * y2) - 1.0
        fi = y * (3.0 * x2 - y2)
        if fr * fr + fi * fi < 1e-6:
            break
        dr = 3.0 * (x2 - y2)
        di = 6.0 * x * y
        d = dr * dr + di * di
        x = x - (fr * dr + fi * di) / d
        y = y - (fi * dr - fr * di) / d
        it = it + 1
    return it
"""

NEWTON_C = """\
R x = re, y = im;
i64 it = 0;
for (; it < max_iter; ++it) {
    R x2 = x * x, y2 = y * y;
    R fr = x * (x2 - 3 * y2) - 1, fi = y * (3 * x2 - y2);
    if (fr * fr + fi * fi < (R)1e-6) break;
    R dr = 3 * (x2 - y2), di = 6 * x * y, d = dr * dr + di * di;
    x = x - (fr * dr + fi * di) / d;
    y = y - (fi * dr - fr * di) / d;
}
return it;
"""


def newton_jax(jax: Any, jnp: Any) -> Callable[..., Any]:
    """Return the loop over whole arrays, until every point is at a root."""

    def run(re: Any, im: Any, max_iter: Any) -> Any:
        def wanted(state: Any) -> Any:
            step, _, _, active, _ = state
            return (step < max_iter) & active.any()

        def advance(state: Any) -> Any:
            step, x, y, active, it = state
            x2, y2 = x * x, y * y
            fr, fi = x * (x2 - 3 * y2) - 1, y * (3 * x2 - y2)
            active = active & ~(fr * fr + fi * fi < 1e-6)
            dr, di = 3 * (x2 - y2), 6 * x * y
            d = dr * dr + di * di
            x, y = x - (fr * dr + fi * di) / d, y - (fi * dr - fr * di) / d
            return step + 1, x, y, active, it + active

        start = (0, re, im, jnp.ones(re.shape, bool), jnp.zeros(re.shape, jnp.int64))
        return jax.lax.while_loop(wanted, advance, start)[-1]

    return run


# Collatz.

COLLATZ = """\
def collatz(start):
    n = start
    steps = 0
    while n != 1:
        if n % 2 == 0:
            n = n // 2
        else:
            n = 3 * n + 1
        steps = steps + 1
    return steps
"""

COLLATZ_C = """\
i64 n = start, steps = 0;
for (; n != 1; ++steps) n = n % 2 == 0 ? n >> 1 : 3 * n + 1;
return steps;
"""


def collatz_jax(jax: Any, jnp: Any) -> Callable[..., Any]:
    """Return the loop over whole arrays, until every number is 1."""

    def run(n: Any) -> Any:
        def advance(state: Any) -> Any:
            n, steps = state
            active = n != 1
            after = jnp.where(n % 2 == 0, n >> 1, 3 * n + 1)
            return jnp.where(active, after, n), steps + active

        start = (n, jnp.zeros(n.shape, jnp.int64))
        return jax.lax.while_loop(lambda state: (state[0] != 1).any(), advance, start)[-1]

    return run


# Further divergent loops.

BURNING_SHIP = """\
def burning_ship(re, im, max_iter):
    x = re
    y = im
    count = 0
    for step in range(max_iter):
        count = step
        if x * x + y * y > 4.0:
            break
        t = x * x - y * y + re
        y = abs(2.0 * x * y) + im
        x = t
    return count
"""

BURNING_SHIP_C = """\
R x = re, y = im;
i64 count = 0;
for (i64 step = 0; step < max_iter; ++step) {
    count = step;
    if (x * x + y * y > 4) break;
    R t = x * x - y * y + re;
    y = M(fabs)(2 * x * y) + im;
    x = t;
}
return count;
"""

BISECTION = """\
def bisection(p, q):
    low = -8.0 * (1.0 + abs(q))
    high = -low
    middle = low
    while high - low > 1e-4:
        middle = 0.5 * (low + high)
        if middle == low or middle == high:
            break
        f = (middle * middle + p) * middle + q
        if f == 0.0:
            break
        if f > 0.0:
            high = middle
        else:
            low = middle
    return middle
"""

BISECTION_C = """\
R low = -8 * (1 + M(fabs)(q)), high = -low, middle = low;
while (high - low > (R)1e-4) {
    middle = (R)0.5 * (low + high);
    if (middle == low || middle == high) break;
    R f = (middle * middle + p) * middle + q;
    if (f == 0) break;
    if (f > 0) high = middle; else low = middle;
}
return middle;
"""

MEAN = """\
def mean_of_means(x, y):
    a = x
    b = y
    for k in range(60):
        if abs(a - b) <= 1e-6 * a:
            break
        m = 0.5 * (a + b)
        b = sqrt(a * b)
        a = m
    return a
"""

MEAN_C = """\
R a = x, b = y;
for (int k = 0; k < 60; ++k) {
    if (M(fabs)(a - b) <= (R)1e-6 * a) break;
    R m = (R)0.5 * (a + b);
    b = M(sqrt)(a * b);
    a = m;
}
return a;
"""

MARCH = """\
def march(u, v):
    depth = 0.0
    for k in range(96):
        x = u * depth
        y = v * depth
        z = depth - 3.0
        ball = sqrt(x * x + y * y + z * z) - 1.0
        floor_distance = y + 1.2
        distance = ball
        if floor_distance < ball:
            distance = floor_distance
        if distance < 1e-3:
            return depth
        depth = depth + distance
        if depth > 30.0:
            return -1.0
    return depth
"""

MARCH_C = """\
R depth = 0;
for (int k = 0; k < 96; ++k) {
    R x = u * depth, y = v * depth, z = depth - 3;
    R ball = M(sqrt)(x * x + y * y + z * z) - 1, ground = y + (R)1.2;
    R distance = ground < ball ? ground : ball;
    if (distance < (R)1e-3) return depth;
    depth = depth + distance;
    if (depth > 30) return -1;
}
return depth;
"""

KEPLER = """\
def kepler(m, e):
    x = m
    for k in range(50):
        change = (x - e * sin(x) - m) / (1.0 - e * cos(x))
        x = x - change
        if abs(change) < 1e-5:
            break
    return x
"""

KEPLER_C = """\
R x = m;
for (int k = 0; k < 50; ++k) {
    R change = (x - e * M(sin)(x) - m) / (1 - e * M(cos)(x));
    x = x - change;
    if (M(fabs)(change) < (R)1e-5) break;
}
return x;
"""

DRIFTER = """\
def drifter(x, y):
    steps = 0
    while steps < 400:
        speed = min(max(4.0 * y * (1.0 - y), 0.05), 0.9)
        x = (x + 0.1 * speed) % 1.0
        y = (y + 0.03 * (x - 0.45)) % 1.0
        if (x - 0.5) * (x - 0.5) + (y - 0.5) * (y - 0.5) < 0.001:
            break
        steps += 1
    return x
"""

DRIFTER_C = """\
for (int steps = 0; steps < 400; ++steps) {
    R speed = 4 * y * (1 - y);
    speed = speed > (R)0.05 ? speed : (R)0.05;
    speed = speed < (R)0.9 ? speed : (R)0.9;
    x = M(fmod)(x + (R)0.1 * speed, 1);
    y = M(fmod)(y + (R)0.03 * (x - (R)0.45), 1);
    if (y < 0) y += 1;
    if ((x - (R)0.5) * (x - (R)0.5) + (y - (R)0.5) * (y - (R)0.5) < (R)0.001) break;
}
return x;
"""
