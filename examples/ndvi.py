"""Vegetation from a satellite's bands in a Zarr cube, its quality bits taken apart pixel by pixel.

Red and near infrared are digital numbers of Landsat's collection 2, with the quality band's bits:
0 fill, 1 dilated cloud, 3 cloud, 4 cloud shadow, 5 snow, 7 water, 8 and 9 how sure a cloud is. The
scenes are drawn at random here; with a real cube, only the path changes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from math import nan

import dask.array as da
import numpy as np
import zarr

import mexdask

SCALE, OFFSET = 2.75e-5, -0.2  # from digital numbers to reflectance
CLOUDY, SNOW, WATER = 1 << 1 | 1 << 3 | 1 << 4, 1 << 5, 1 << 7


def reflectance(number):
    """Return what a digital number stands for; a helper comes along with its kernel."""
    return min(max(SCALE * number + OFFSET, 0.0), 1.0)


@mexdask.kernel
def ndvi(red, nir, quality):
    """Return the vegetation index as float32; nan where a pixel cannot be told."""
    if quality & 1 or quality & CLOUDY:
        return np.float32(nan)
    if quality >> 8 & 3 == 3:  # a cloud, with high confidence
        return np.float32(nan)
    if quality & SNOW:
        return np.float32(0.0)
    if quality & WATER:
        return np.float32(-1.0)
    r = reflectance(red)
    n = reflectance(nir)
    if r + n <= 0.0:
        return np.float32(nan)
    return np.float32((n - r) / (n + r))


def write_scenes(path: str, times: int, size: int) -> None:
    """Write a cube of time, row and column for each band."""
    rng = np.random.default_rng(7)
    shape, chunks = (times, size, size), (1, max(size // 2, 1), size)
    green = rng.beta(2, 2, shape)
    bits = np.array([64, 64, 64, 64, 1, 1 << 3, 1 << 4, 1 << 5, 1 << 7, 3 << 8], "uint16")
    bands = {
        "red": (12_000 - 3_500 * green).astype("uint16"),
        "nir": (12_000 + 12_000 * green).astype("uint16"),
        "quality": rng.choice(bits, shape),
    }
    for name, values in bands.items():
        zarr.create_array(f"{path}/{name}.zarr", data=values, chunks=chunks)


def main(argv: list[str] | None = None) -> int:
    """Write a cube, read it lazily, and take the greenest of each pixel."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=6)
    parser.add_argument("--size", type=int, default=1000)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as path:
        write_scenes(path, options.times, options.size)
        red, nir, quality = (da.from_zarr(f"{path}/{n}.zarr") for n in ("red", "nir", "quality"))
        index = ndvi(red, nir, quality)
        best, seen = da.compute(da.nanmax(index, axis=0), da.isfinite(index).mean())
    print(f"{index.shape}, {index.dtype}, {index.npartitions} chunks, {seen:.0%} of pixels seen")
    print(f"greenest of all times: {np.nanmedian(best):.2f} in the median")
    return 0


if __name__ == "__main__":
    sys.exit(main())
