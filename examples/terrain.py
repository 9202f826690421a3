"""Light and water on a real elevation model: two kernels with decisions and a loop for each cell.

The elevation model is the fault near Jacksboro, Tennessee, which Matplotlib ships. One kernel gives
the light on each cell, the other how deep a stream of 5 m3/s runs down its slope: Manning's
formula, solved for the depth by Newton's method until that cell has converged.
"""

from __future__ import annotations

import argparse
import sys
from math import atan, atan2, cos, hypot, nan, sin, sqrt

import dask.array as da
import matplotlib.cbook as cbook
import matplotlib.image as mpimg
import numpy as np

import mexdask

METRES = 111_120.0  # of a degree of latitude


@mexdask.kernel
def shaded(west, east, north, south, dx, dy, azimuth=315.0, altitude=45.0):
    """Return the light on a cell, from 0 to 1, by the slope between its four neighbours."""
    p = (east - west) / (2.0 * dx)
    q = (north - south) / (2.0 * dy)
    if p == 0.0 and q == 0.0:
        return sin(np.deg2rad(altitude))
    slope = atan(hypot(p, q))
    facing = atan2(-q, -p)
    light = np.deg2rad(90.0 - azimuth)
    zenith = np.deg2rad(90.0 - altitude)
    shade = cos(zenith) * cos(slope) + sin(zenith) * sin(slope) * cos(light - facing)
    return max(shade, 0.0)


@mexdask.kernel
def flow_depth(slope, discharge, width, roughness=0.04):
    """Return the depth at which a channel carries a discharge: Manning's formula by Newton."""
    if slope <= 0.0:
        return nan
    k = sqrt(slope) * width / roughness
    depth = 1.0
    for _ in range(60):
        radius = width * depth / (width + 2.0 * depth)
        carried = k * depth * radius ** (2.0 / 3.0)
        change = (carried - discharge) / (carried * (5.0 / (3.0 * depth)))
        depth = max(depth - change, 0.1 * depth)
        if abs(change) < 1e-9 * depth:
            break
    return depth


def main(argv: list[str] | None = None) -> int:
    """Light the terrain, and let water run down it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step", type=int, default=1, help="take every such cell")
    parser.add_argument("--output", default="", help="write the shaded relief here")
    options = parser.parse_args(argv)
    with cbook.get_sample_data("jacksboro_fault_dem.npz") as model:
        z = model["elevation"][:: options.step, :: options.step].astype("float32")
        dy = float(model["dy"]) * METRES * options.step
        dx = float(model["dx"]) * METRES * options.step * np.cos(np.deg2rad(model["ymin"].item()))
    height = da.from_array(np.pad(z, 1, mode="edge"), chunks=128)
    west, east = height[1:-1, :-2], height[1:-1, 2:]
    north, south = height[:-2, 1:-1], height[2:, 1:-1]
    light = shaded(west, east, north, south, dx=dx, dy=dy)
    gradient = "hypot((east - west) / (2 * dx), (south - north) / (2 * dy))"
    slope = mexdask.apply(gradient, east, west, dx, south, north, dy)
    depth = flow_depth(slope, discharge=5.0, width=4.0)
    light, depth = da.compute(light, depth)
    print(f"{z.shape[0]} x {z.shape[1]} cells, light {light.min():.2f} to {light.max():.2f}")
    print(f"5 m3/s run {np.nanmedian(depth):.2f} m deep; no slope in {np.isnan(depth).sum()} cells")
    if options.output:
        mpimg.imsave(options.output, light, cmap="gray", vmin=0.0, vmax=1.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
