"""The kernels of ``kernels.py``: one text for everybody, and what peers need to be told apart.

A text serves mexdask, numba and blosc2; its float literals take the arrays' dtype everywhere. C,
NumPy, numexpr and jax say the same in their own words: ``R`` is the real type in C, ``M(f)`` the
function of libm for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from divergent import (
    BISECTION,
    BISECTION_C,
    BURNING_SHIP,
    BURNING_SHIP_C,
    COLLATZ,
    COLLATZ_C,
    DRIFTER,
    DRIFTER_C,
    KEPLER,
    KEPLER_C,
    MANDELBROT,
    MANDELBROT_C,
    MARCH,
    MARCH_C,
    MEAN,
    MEAN_C,
    NEWTON,
    NEWTON_C,
    collatz_jax,
    mandelbrot_jax,
    mandelbrot_numpy,
    newton_jax,
)

Array = np.ndarray
REALS = ("float32", "float64")


@dataclass(frozen=True)
class Suited:
    """A kernel and its contenders.

    Parameters
    ----------
    name : str
        For the report.
    text : str
        One ``def`` in Python.
    make : callable
        Takes a generator, a number of elements and a dtype, returns the arrays.
    c : str
        Body of a C function of ``R`` parameters of the same names; returns ``OUT``.
    scalars : dict
        Further arguments, integers.
    result : str
        Dtype of the result; empty for that of the arrays.
    dtypes : tuple of str
        What it is run with.
    goals : dict
        Dtype to (peer, ratio): how many times longer the peer is to take; peer "best" for the
        best of all, "vectorize" for numba's.
    numpy, jax : callable
        The same on whole arrays.
    numexpr : str
        The same as an expression.
    divergent : bool
        Whether elements leave loops at different times; blosc2's and jax's rounding may then move
        a few elements by an iteration.
    """

    name: str
    text: str
    make: Callable[[np.random.Generator, int, str], tuple[Array, ...]]
    c: str
    scalars: dict[str, int] = field(default_factory=dict)
    result: str = ""
    dtypes: tuple[str, ...] = REALS
    goals: dict[str, tuple[str, float]] = field(default_factory=dict)
    numpy: Callable[..., Any] | None = None
    numexpr: str = ""
    jax: Callable[..., Callable[..., Any]] | None = None
    divergent: bool = False


def goals(peer: str, *ratios: float) -> dict[str, tuple[str, float]]:
    """Return goals for float32 and float64."""
    return {dtype: (peer, ratio) for dtype, ratio in zip(REALS, ratios, strict=True)}


def window(left: float, right: float, low: float, high: float) -> Callable[..., tuple[Array, ...]]:
    """Return a maker of the points of a window of the plane, row by row."""

    def make(rng: np.random.Generator, size: int, dtype: str) -> tuple[Array, ...]:
        side = max(2, int(size**0.5))
        x, y = np.meshgrid(np.linspace(left, right, side), np.linspace(low, high, side))
        return x.astype(dtype), y.astype(dtype)

    return make


def uniform(*ranges: tuple[float, float]) -> Callable[..., tuple[Array, ...]]:
    """Return a maker of random arrays, one for each range."""

    def make(rng: np.random.Generator, size: int, dtype: str) -> tuple[Array, ...]:
        return tuple(rng.uniform(low, high, size).astype(dtype) for low, high in ranges)

    return make


def integers(low: int, high: int) -> Callable[..., tuple[Array, ...]]:
    """Return a maker of one array of random integers."""

    def make(rng: np.random.Generator, size: int, dtype: str) -> tuple[Array, ...]:
        return (rng.integers(low, high, size, dtype=dtype),)

    return make


# Without loops.

TRIGONOMETRY = "def trigonometry(x):\n    return sin(x) ** 2 + cos(x) ** 2\n"

# ECMWF, IFS documentation CY47R3, part IV, section 7.4.2 (Teten's formula, mixed phase).
VAPOUR = """\
def vapour(t):
    if t > 273.16:
        return 611.21 * exp(17.502 * (t - 273.16) / (t - 32.19))
    elif t < 250.16:
        return 611.21 * exp(22.587 * (t - 273.16) / (t + 0.7))
    else:
        water = 611.21 * exp(17.502 * (t - 273.16) / (t - 32.19))
        ice = 611.21 * exp(22.587 * (t - 273.16) / (t + 0.7))
        part = (t - 250.16) / (273.16 - 250.16)
        return part * part * water + (1.0 - part * part) * ice
"""

VAPOUR_C = """\
const R warm = (R)273.16, cold = (R)250.16;
if (t > warm) return (R)611.21 * M(exp)((R)17.502 * (t - warm) / (t - (R)32.19));
if (t < cold) return (R)611.21 * M(exp)((R)22.587 * (t - warm) / (t + (R)0.7));
R water = (R)611.21 * M(exp)((R)17.502 * (t - warm) / (t - (R)32.19));
R ice = (R)611.21 * M(exp)((R)22.587 * (t - warm) / (t + (R)0.7));
R part = (t - cold) / (R)(273.16 - 250.16);
return part * part * water + (1 - part * part) * ice;
"""


def vapour_array(xp: Any) -> Callable[..., Any]:
    """Return the formula with ``where``."""

    def run(t: Any) -> Any:
        water = 611.21 * xp.exp(17.502 * (t - 273.16) / (t - 32.19))
        ice = 611.21 * xp.exp(22.587 * (t - 273.16) / (t + 0.7))
        part = (t - 250.16) / (273.16 - 250.16)
        mixed = part * part * water + (1.0 - part * part) * ice
        return xp.where(t > 273.16, water, xp.where(t < 250.16, ice, mixed))

    return run


VAPOUR_NUMEXPR = (
    "where(t > 273.16, 611.21 * exp(17.502 * (t - 273.16) / (t - 32.19)), where(t < 250.16, "
    "611.21 * exp(22.587 * (t - 273.16) / (t + 0.7)), "
    "((t - 250.16) / 23.0)**2 * 611.21 * exp(17.502 * (t - 273.16) / (t - 32.19)) + "
    "(1.0 - ((t - 250.16) / 23.0)**2) * 611.21 * exp(22.587 * (t - 273.16) / (t + 0.7))))"
)

# A European call; the normal distribution by Abramowitz and Stegun, 26.2.17.
BLACK_SCHOLES = """\
def black_scholes(s, x, t):
    root = sqrt(t)
    d1 = (log(s / x) + (0.02 + 0.5 * 0.3 * 0.3) * t) / (0.3 * root)
    d2 = d1 - 0.3 * root
    k = 1.0 / (1.0 + 0.2316419 * abs(d1))
    w = k * (0.31938153 + k * (-0.356563782 + k * (1.781477937 + k * (
        -1.821255978 + k * 1.330274429))))
    n1 = 0.39894228040143267 * exp(-0.5 * d1 * d1) * w
    if d1 > 0.0:
        n1 = 1.0 - n1
    k = 1.0 / (1.0 + 0.2316419 * abs(d2))
    w = k * (0.31938153 + k * (-0.356563782 + k * (1.781477937 + k * (
        -1.821255978 + k * 1.330274429))))
    n2 = 0.39894228040143267 * exp(-0.5 * d2 * d2) * w
    if d2 > 0.0:
        n2 = 1.0 - n2
    return s * n1 - x * exp(-0.02 * t) * n2
"""

BLACK_SCHOLES_C = """\
R root = M(sqrt)(t);
R d1 = (M(log)(s / x) + (R)(0.02 + 0.5 * 0.3 * 0.3) * t) / ((R)0.3 * root);
R d2 = d1 - (R)0.3 * root, n[2];
for (int i = 0; i < 2; ++i) {
    R d = i ? d2 : d1;
    R k = 1 / (1 + (R)0.2316419 * M(fabs)(d));
    R w = k * ((R)0.31938153 + k * ((R)-0.356563782 + k * ((R)1.781477937 + k * (
        (R)-1.821255978 + k * (R)1.330274429))));
    n[i] = (R)0.39894228040143267 * M(exp)((R)-0.5 * d * d) * w;
    if (d > 0) n[i] = 1 - n[i];
}
return s * n[0] - x * M(exp)((R)-0.02 * t) * n[1];
"""


def black_scholes_array(xp: Any) -> Callable[..., Any]:
    """Return the formula with ``where``."""

    def normal(d: Any) -> Any:
        k = 1.0 / (1.0 + 0.2316419 * abs(d))
        w = k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))
        w = k * (0.31938153 + k * (-0.356563782 + w))
        n = 0.39894228040143267 * xp.exp(-0.5 * d * d) * w
        return xp.where(d > 0.0, 1.0 - n, n)

    def run(s: Any, x: Any, t: Any) -> Any:
        root = xp.sqrt(t)
        d1 = (xp.log(s / x) + (0.02 + 0.5 * 0.3 * 0.3) * t) / (0.3 * root)
        d2 = d1 - 0.3 * root
        return s * normal(d1) - x * xp.exp(-0.02 * t) * normal(d2)

    return run


def black_scholes_numexpr() -> str:
    """Return the formula as one expression."""
    d1 = "((log(s / x) + 0.065 * t) / (0.3 * sqrt(t)))"
    d2 = f"({d1} - 0.3 * sqrt(t))"

    def normal(d: str) -> str:
        k = f"(1.0 / (1.0 + 0.2316419 * abs({d})))"
        w = f"{k} * (0.31938153 + {k} * (-0.356563782 + {k} * (1.781477937 + {k} * "
        w += f"(-1.821255978 + {k} * 1.330274429))))"
        n = f"(0.39894228040143267 * exp(-0.5 * {d} * {d}) * {w})"
        return f"where({d} > 0.0, 1.0 - {n}, {n})"

    return f"s * {normal(d1)} - x * exp(-0.02 * t) * {normal(d2)}"


POLYNOMIAL = "def polynomial(x):\n    return ((0.5 * x - 1.25) * x + 2.5) * x - 0.75\n"

# The finaliser of MurmurHash3 (Austin Appleby, public domain).
HASH = """\
def mix(x):
    h = x ^ (x >> 33)
    h = h * 0xFF51AFD7ED558CCD
    h = h ^ (h >> 33)
    h = h * 0xC4CEB9FE1A85EC53
    return h ^ (h >> 33)
"""

HASH_C = """\
R h = x ^ (x >> 33);
h *= 0xFF51AFD7ED558CCDULL;
h ^= h >> 33;
h *= 0xC4CEB9FE1A85EC53ULL;
return h ^ (h >> 33);
"""


def hash_array(xp: Any) -> Callable[..., Any]:
    """Return the hash of whole arrays."""

    def run(h: Any) -> Any:
        h = (h ^ (h >> xp.uint64(33))) * xp.uint64(0xFF51AFD7ED558CCD)
        h = (h ^ (h >> xp.uint64(33))) * xp.uint64(0xC4CEB9FE1A85EC53)
        return h ^ (h >> xp.uint64(33))

    return run


HAVERSINE = """\
def haversine(lat1, lon1, lat2, lon2):
    a = sin((lat2 - lat1) * 0.5)
    b = sin((lon2 - lon1) * 0.5)
    return 12742.0176 * asin(sqrt(a * a + cos(lat1) * cos(lat2) * b * b))
"""

HAVERSINE_C = """\
R a = M(sin)((lat2 - lat1) * (R)0.5), b = M(sin)((lon2 - lon1) * (R)0.5);
return (R)12742.0176 * M(asin)(M(sqrt)(a * a + M(cos)(lat1) * M(cos)(lat2) * b * b));
"""


def haversine_array(xp: Any) -> Callable[..., Any]:
    """Return the distance of whole arrays."""

    def run(lat1: Any, lon1: Any, lat2: Any, lon2: Any) -> Any:
        a, b = xp.sin((lat2 - lat1) * 0.5), xp.sin((lon2 - lon1) * 0.5)
        return 12742.0176 * xp.arcsin(xp.sqrt(a * a + xp.cos(lat1) * xp.cos(lat2) * b * b))

    return run


def trigonometry_array(xp: Any) -> Callable[..., Any]:
    """Return the sum of whole arrays."""
    return lambda x: xp.sin(x) ** 2 + xp.cos(x) ** 2


def polynomial_array(xp: Any) -> Callable[..., Any]:
    """Return the polynomial of whole arrays."""
    return lambda x: ((0.5 * x - 1.25) * x + 2.5) * x - 0.75


def on_jax(make: Callable[[Any], Callable[..., Any]]) -> Callable[..., Callable[..., Any]]:
    """Return what `Suited.jax` asks for from a function of an array library."""
    return lambda jax, jnp: make(jnp)


LOOPS = goals("vectorize", 4.0, 2.5)
POINTS: Mapping[str, Any] = {"scalars": {"max_iter": 200}, "result": "int64", "divergent": True}

SUITE = (
    Suited("mandelbrot", MANDELBROT, window(-2.0, 0.5, 1.25, -1.25), MANDELBROT_C, **POINTS,
           goals=goals("vectorize", 11, 6.5), numpy=mandelbrot_numpy, jax=mandelbrot_jax),
    Suited("newton", NEWTON, window(-1.5, 1.5, 1.5, -1.5), NEWTON_C, **POINTS,
           goals=goals("vectorize", 7, 4), jax=newton_jax),
    Suited("collatz", COLLATZ, integers(1, 10_000), COLLATZ_C, result="int64",
           dtypes=("int64",), goals={"int64": ("vectorize", 1.9)}, jax=collatz_jax),
    Suited("sin²+cos²", TRIGONOMETRY, uniform((-10, 10)),
           "return M(sin)(x) * M(sin)(x) + M(cos)(x) * M(cos)(x);", goals=goals("best", 3, 3.5),
           numpy=trigonometry_array(np), numexpr="sin(x)**2 + cos(x)**2",
           jax=on_jax(trigonometry_array)),
    Suited("vapour pressure", VAPOUR, uniform((220, 310)), VAPOUR_C, goals=goals("best", 1.5, 1.8),
           numpy=vapour_array(np), numexpr=VAPOUR_NUMEXPR, jax=on_jax(vapour_array)),
    Suited("Black-Scholes", BLACK_SCHOLES, uniform((5, 30), (1, 100), (0.25, 10)),
           BLACK_SCHOLES_C, goals=goals("best", 1, 1.7), numpy=black_scholes_array(np),
           numexpr=black_scholes_numexpr(), jax=on_jax(black_scholes_array)),
    Suited("polynomial", POLYNOMIAL, uniform((-3, 3)),
           "return (((R)0.5 * x - (R)1.25) * x + (R)2.5) * x - (R)0.75;",
           goals=goals("best", 0.95, 0.95), numpy=polynomial_array(np),
           numexpr="((0.5 * x - 1.25) * x + 2.5) * x - 0.75", jax=on_jax(polynomial_array)),
    Suited("hash", HASH, integers(0, 2**63), HASH_C, dtypes=("uint64",),
           goals={"uint64": ("best", 0.95)}, numpy=hash_array(np), jax=on_jax(hash_array)),
    Suited("haversine", HAVERSINE, uniform((-1.5, 1.5), (-3.1, 3.1), (-1.5, 1.5), (-3.1, 3.1)),
           HAVERSINE_C, numpy=haversine_array(np), jax=on_jax(haversine_array),
           numexpr="12742.0176 * arcsin(sqrt(sin((lat2 - lat1) * 0.5)**2 + cos(lat1) * cos(lat2)"
                   " * sin((lon2 - lon1) * 0.5)**2))"),
    Suited("burning ship", BURNING_SHIP, window(-2.0, 1.0, -2.0, 1.0), BURNING_SHIP_C, **POINTS,
           goals=LOOPS),
    Suited("bisection", BISECTION, uniform((0.1, 9), (-40, 40)), BISECTION_C, goals=LOOPS,
           divergent=True),
    Suited("mean of means", MEAN, uniform((0.1, 100), (0.1, 100)), MEAN_C, goals=LOOPS,
           divergent=True),
    Suited("ray march", MARCH, window(-0.6, 0.6, -0.6, 0.6), MARCH_C, goals=LOOPS,
           divergent=True),
    Suited("Kepler", KEPLER, uniform((0.1, 3.0), (0.0, 0.95)), KEPLER_C, goals=LOOPS,
           divergent=True),
    Suited("drifter", DRIFTER, uniform((0, 1), (0, 1)), DRIFTER_C, goals=LOOPS, divergent=True),
)  # fmt: skip
