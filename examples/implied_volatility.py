"""Implied volatility of option prices: Newton's method for every option, until it converges.

Black-Scholes has no inverse in closed form, so each price takes its own number of steps. SciPy's
vectorised Newton, beside it, goes on for all until the slowest option has converged.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from math import erfc, exp, log, nan, pi, sqrt

import numpy as np
from scipy.optimize import newton
from scipy.special import ndtr

import mexdask

RATE = 0.02


def cdf(x):
    """Return the normal distribution's; a helper comes along with the kernel that calls it."""
    return 0.5 * erfc(-x / sqrt(2.0))


def price(spot, strike, years, sigma):
    """Return the worth of a call option."""
    spread = sigma * sqrt(years)
    d1 = (log(spot / strike) + (RATE + 0.5 * sigma * sigma) * years) / spread
    return spot * cdf(d1) - strike * exp(-RATE * years) * cdf(d1 - spread)


@mexdask.kernel
def implied_volatility(paid, spot, strike, years):
    """Return the volatility at which an option is worth what was paid; nan if there is none."""
    if paid <= max(spot - strike * exp(-RATE * years), 0.0) or paid >= spot:
        return nan
    sigma = sqrt(2.0 * abs(log(spot / strike) + RATE * years) / years) + 0.1
    for _ in range(50):
        d1 = (log(spot / strike) + (RATE + 0.5 * sigma**2) * years) / (sigma * sqrt(years))
        vega = spot * sqrt(years) * exp(-0.5 * d1 * d1) / sqrt(2.0 * pi)
        change = (price(spot, strike, years, sigma) - paid) / vega
        sigma = max(sigma - change, 0.1 * sigma)
        if abs(change) < 1e-9:
            break
    return sigma


def by_scipy(paid, spot, strike, years):
    """Return the same by SciPy's Newton on whole arrays."""
    forward, root = strike * np.exp(-RATE * years), np.sqrt(years)

    def d1(sigma):
        return (np.log(spot / strike) + (RATE + 0.5 * sigma**2) * years) / (sigma * root)

    def excess(sigma):
        return spot * ndtr(d1(sigma)) - forward * ndtr(d1(sigma) - sigma * root) - paid

    def vega(sigma):
        return spot * root * np.exp(-0.5 * d1(sigma) ** 2) / np.sqrt(2 * np.pi)

    start = np.sqrt(2 * np.abs(np.log(spot / strike) + RATE * years) / years) + 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says of some that they did not converge
        return newton(excess, start, vega, tol=1e-9, maxiter=50)


def main(argv: list[str] | None = None) -> int:
    """Compare and time the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--options", type=int, default=200_000)
    rng, size = np.random.default_rng(3), parser.parse_args(argv).options
    spot, strike = rng.uniform(80, 120, size), rng.uniform(80, 120, size)
    years, sigma = rng.uniform(0.1, 2.0, size), rng.uniform(0.1, 0.6, size)
    paid = mexdask.apply(price, spot, strike, years, sigma)
    seconds = {}
    for name, solve in (("mexdask", implied_volatility), ("scipy", by_scipy)):
        solve(*(a[:8] for a in (paid, spot, strike, years)))  # warm
        start = time.perf_counter()
        found = solve(paid, spot, strike, years)
        seconds[name] = time.perf_counter() - start
        off = np.abs(mexdask.apply(price, spot, strike, years, found) - paid)
        print(
            f"{name:8} {seconds[name]:.3f} s for {size} options, prices off by {np.nanmax(off):.0e}"
        )
    print(f"scipy takes {seconds['scipy'] / seconds['mexdask']:.1f} times as long")
    return 0


if __name__ == "__main__":
    sys.exit(main())
