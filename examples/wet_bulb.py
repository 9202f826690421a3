"""Wet-bulb temperature of a Zarr store that is larger than the memory of the worker.

What has no formula is found by iteration, for each cell until it has converged: a kernel with a
helper, constants of the module and a pressure level, a coordinate that is bound by its name. It
reads Zarr, writes Zarr and draws a map. Then the same is done by ``xarray.apply_ufunc`` around a
numba function, and by ``np.where`` on whole blocks; each way has a worker process of its own, whose
time and peak of memory are compared. Run it with ``python examples/wet_bulb.py --times 192``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any

import dask
import matplotlib
import numpy as np
import xarray as xr
from dask.distributed import Client, LocalCluster
from dask.utils import format_bytes, parse_bytes

import mexdask
import mexdask.xarray

EPSILON = 0.622  # mass of water vapour over that of dry air
PSYCHROMETER = 6.6e-4  # 1/K
TOLERANCE = 1e-3  # K
MAX_STEPS = 50
AGREEMENT = 0.01  # K, between single and double precision


def saturation(t):
    """Return the saturation vapour pressure in hPa at t in K (Alduchov and Eskridge 1996)."""
    c = t - 273.15
    if c < 0.0:
        return 6.1121 * np.exp(22.587 * c / (273.86 + c))
    return 6.1094 * np.exp(17.625 * c / (243.04 + c))


@mexdask.kernel
def wet_bulb(t, q, level):
    """Return what a wet thermometer shows, in K: where evaporation balances the heat of the air."""
    vapour = q * level / (EPSILON + (1.0 - EPSILON) * q)
    heat = PSYCHROMETER * level
    wet = t
    for _ in range(MAX_STEPS):
        excess = saturation(wet) - vapour - heat * (t - wet)
        change = excess / (saturation(wet + 0.5) - saturation(wet - 0.5) + heat)
        wet = wet - change
        if abs(change) < TOLERANCE:
            return wet
    return np.nan


def by_mexdask(ds: xr.Dataset) -> xr.DataArray:
    """One line: t and q are variables, level is a coordinate."""
    return ds.mex.eval(wet_bulb)


def by_numba(ds: xr.Dataset) -> xr.DataArray:
    """Compile the same functions by numba; arguments and dtypes are to be spelt out."""
    import numba

    names = globals() | {"saturation": numba.njit(saturation)}
    function = FunctionType(wet_bulb.py_func.__code__, names)
    compiled = numba.vectorize(["float32(float32, float32, float32)"])(function)
    return xr.apply_ufunc(
        compiled, ds.t, ds.q, ds.level.astype("float32"),
        dask="parallelized", output_dtypes=[np.float32],
    )  # fmt: skip


def by_where(ds: xr.Dataset) -> xr.DataArray:
    """Do with NumPy what it can: all cells of a block take as many steps as the slowest."""

    def pressure(t):
        c = t - np.float32(273.15)
        with np.errstate(over="ignore"):
            ice = 6.1121 * np.exp(22.587 * c / (273.86 + c))
            return np.where(c < 0.0, ice, 6.1094 * np.exp(17.625 * c / (243.04 + c)))

    def block(t, q, level):
        vapour = q * level / (EPSILON + (1.0 - EPSILON) * q)
        heat = np.float32(PSYCHROMETER) * level
        wet, live = t, np.ones(t.shape, bool)
        for _ in range(MAX_STEPS):
            excess = pressure(wet) - vapour - heat * (t - wet)
            change = excess / (pressure(wet + 0.5) - pressure(wet - 0.5) + heat)
            wet = np.where(live, wet - change, wet)
            live &= np.abs(change) >= TOLERANCE
            if not live.any():
                return wet
        return np.where(live, np.float32(np.nan), wet)

    return xr.apply_ufunc(
        block, ds.t, ds.q, ds.level.astype("float32"),
        dask="parallelized", output_dtypes=[np.float32],
    )  # fmt: skip


WAYS = {"mexdask": by_mexdask, "numba": by_numba, "np.where": by_where}


def write_weather(path: Path, times: int, lats: int, lons: int) -> None:
    """Write temperature and humidity of a made-up world, one day of hours after the other."""
    level = xr.DataArray(np.array([1000, 925, 850, 700, 500, 300], "float32"), dims="level")
    lat = xr.DataArray(np.linspace(90, -90, lats, dtype="float32"), dims="lat")
    lon = xr.DataArray(np.linspace(0, 360, lons, endpoint=False, dtype="float32"), dims="lon")
    for start in range(0, times, 24):
        hours = np.arange(start, min(start + 24, times), dtype="float32")
        hour = xr.DataArray(hours, dims="time")
        wave = np.sin(np.deg2rad(3 * lon + 15 * hour)) * np.cos(np.deg2rad(lat))
        t = 302 * (level / 1000) ** 0.19 - 45 * np.sin(np.deg2rad(lat)) ** 2 + 6 * wave
        humidity = 0.55 + 0.4 * np.cos(np.deg2rad(5 * lat)) * np.cos(np.deg2rad(2 * lon - hour))
        vapour = humidity * 6.1094 * np.exp(17.625 * (t - 273.15) / (t - 30.11))
        q = EPSILON * vapour / (level - (1 - EPSILON) * vapour)
        dims = ("time", "level", "lat", "lon")
        day = {"t": t.transpose(*dims), "q": q.clip(1e-6).transpose(*dims)}
        coords = {"time": hours, "level": level, "lat": lat, "lon": lon}
        ds = xr.Dataset(day, coords).astype("float32").chunk(time=6)
        ds.t.attrs = {"units": "K", "standard_name": "air_temperature"}
        ds.time.attrs = {"units": "hours since 2020-07-01"}
        append = {"append_dim": "time"} if start else {}
        ds.to_zarr(path, consolidated=False, **append)


def measured(
    way: Callable[[xr.Dataset], xr.DataArray], source: Path, target: Path, limit: str
) -> tuple[float, int]:
    """Return seconds and the worker's peak of memory in bytes for reading, computing, writing."""
    with (
        dask.config.set({"distributed.admin.system-monitor.interval": "20ms"}),
        LocalCluster(
            n_workers=1, threads_per_worker=2, memory_limit=limit, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        ds = xr.open_zarr(source, consolidated=False)
        way(ds.isel(time=slice(1))).compute()  # compiles
        start = time.perf_counter()
        way(ds).to_dataset(name="wet_bulb").to_zarr(target, mode="w", consolidated=False)
        seconds = time.perf_counter() - start
        (peak,) = client.run(peak_of_memory).values()
    return seconds, peak


def peak_of_memory(dask_worker: Any) -> int:
    """Return the most bytes that a worker has seen itself use."""
    return max(dask_worker.monitor.quantities["memory"])


def draw(result: xr.DataArray, path: Path) -> None:
    """Draw a map."""
    matplotlib.use("Agg")
    figure = result.assign_attrs(long_name="wet-bulb temperature", units="K").plot(size=5, aspect=2)
    figure.figure.savefig(path, dpi=100)


def main(argv: list[str] | None = None) -> int:
    """Compute, draw, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=192, help="hours of weather")
    parser.add_argument("--lats", type=int, default=181)
    parser.add_argument("--lons", type=int, default=360)
    parser.add_argument("--memory-limit", default="512MiB", help="of the worker")
    parser.add_argument("--output", type=Path, default=Path("wet_bulb.png"))
    options = parser.parse_args(argv)

    with tempfile.TemporaryDirectory(prefix="wet-bulb-") as directory:
        source = Path(directory) / "weather.zarr"
        write_weather(source, options.times, options.lats, options.lons)
        size = xr.open_zarr(source, consolidated=False).nbytes
        limit = parse_bytes(options.memory_limit)
        print(f"the store holds {format_bytes(size)}, the worker has {format_bytes(limit)}")
        print(f"\n{'way':10s} {'seconds':>8s} {'ratio':>6s} {'peak':>12s}")
        first, results = 0.0, {}
        for name, way in WAYS.items():
            if name == "numba" and find_spec("numba") is None:
                print("numba is not installed")
                continue
            target = Path(directory) / f"{name}.zarr"
            seconds, peak = measured(way, source, target, options.memory_limit)
            first = first or seconds
            ratio = f"{seconds / first:.2f}"
            print(f"{name:10s} {seconds:8.2f} {ratio:>6s} {format_bytes(peak):>12s}", flush=True)
            results[name] = xr.open_zarr(target, consolidated=False).wet_bulb
        ours = results.pop("mexdask")
        draw(ours.isel(time=0).sel(level=850), options.output)
        apart = {name: float(abs(other - ours).max()) for name, other in results.items()}
        apart["nan"] = int(ours.isnull().sum())
        print(f"\nlargest differences in K: {apart}; the map is in {options.output}")
        return int(apart.pop("nan") > 0 or max(apart.values()) > AGREEMENT)


if __name__ == "__main__":
    sys.exit(main())
