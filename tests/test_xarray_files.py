"""Kernels on variables that lie in files: netCDF and Zarr, masked, scaled, larger than memory."""

from __future__ import annotations

import numpy as np
import pytest

import mexdask

xr = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")
pytest.importorskip("zarr")

import mexdask.xarray  # noqa: E402

SHAPE = {"time": 12, "lat": 8, "lon": 10}
PACKED = {"dtype": "int16", "scale_factor": 0.1, "add_offset": 280.0, "_FillValue": -32768}


def weather():
    """A Dataset whose values survive packing into int16."""
    steps = np.arange(np.prod(list(SHAPE.values())), dtype="float64").reshape(*SHAPE.values())
    t = np.where(steps % 7 == 0, np.nan, 280.0 + steps % 50 / 10)
    ds = xr.Dataset(
        {"t": (tuple(SHAPE), t, {"units": "K"}), "q": (tuple(SHAPE), steps % 11 / 1000)},
        {"time": np.arange(12) * 6, "lat": np.linspace(60, 40, 8), "lon": np.arange(10) * 2.5},
    )
    ds.time.attrs = {"units": "hours since 2020-01-01"}
    return ds


def netcdf(directory):
    path = directory / "weather.nc"
    encoding = {"t": {**PACKED, "chunksizes": (4, 4, 10)}, "q": {"dtype": "float32"}}
    weather().to_netcdf(path, engine="h5netcdf", encoding=encoding)
    return lambda **how: xr.open_dataset(path, engine="h5netcdf", **how)


def zarr(directory):
    path = directory / "weather.zarr"
    encoding = {"t": {**PACKED, "chunks": (4, 4, 10)}, "q": {"dtype": "float32"}}
    weather().to_zarr(path, encoding=encoding, consolidated=False)
    return lambda **how: xr.open_dataset(path, engine="zarr", consolidated=False, **how)


CELSIUS = """
def drier(t, q, lat):
    c = t - 273.15
    while q > 0.004 and lat > 45.0:
        q = q / 2
        c = c + 0.5
    return c
"""


def drier(t, q, lat):
    c = t - 273.15
    q = q + 0 * t.fillna(0)
    for _ in range(3):
        wet = (q > np.float32(0.004)) & (lat > 45)
        c, q = xr.where(wet, c + 0.5, c), xr.where(wet, q / 2, q)
    return c


@pytest.mark.compiler
@pytest.mark.parametrize("store", [netcdf, zarr])
@pytest.mark.parametrize("chunks", [None, {}, {"time": 12}])
def test_masked_and_scaled_files(tmp_path, store, chunks):
    with store(tmp_path)(chunks=chunks) as ds:
        assert ds.t.encoding["scale_factor"] == 0.1
        result = ds.mex.eval(CELSIUS, jit="require")
        assert (result.chunks is None) == (chunks is None)
        assert result.encoding == {}
        xr.testing.assert_allclose(result, drier(ds.t, ds.q, ds.lat).transpose(*SHAPE), rtol=1e-6)
        np.testing.assert_array_equal(result.isnull(), ds.t.isnull())
        same = ds.t * ds.q + ds.lat
        xr.testing.assert_identical(ds.mex.eval("t * q + lat"), same)
        with pytest.raises(mexdask.ArgumentError, match=r"time=ds\['time'\]\.dt\.hour"):
            ds.mex.eval("t + time")
        hours = ds.mex.eval("t + hour", hour=ds.time.dt.hour)
        xr.testing.assert_equal(hours, ds.t + ds.time.dt.hour)

        out = tmp_path / "out"
        new = ds.mex.eval("celsius = t - 273.15\nwarm = celsius > 8")
        new.to_netcdf(out, engine="h5netcdf")
        with xr.open_dataset(out, engine="h5netcdf") as again:
            xr.testing.assert_identical(again.celsius.load(), new.celsius.compute())
            xr.testing.assert_identical(again.warm.load(), new.warm.compute())


LIMIT = 384 << 20


def write_large(path):
    """Write more than the worker may have in memory, without having it in memory here."""
    one = np.arange(1 << 22, dtype="float32").reshape(4, 1024, 1024) % 1000
    for part in range(28):
        ds = xr.Dataset({"u": (("time", "y", "x"), one + part)}, {"time": np.arange(4) + part * 4})
        append = {"append_dim": "time"} if part else {"encoding": {"u": {"compressors": None}}}
        ds.chunk(time=4).to_zarr(path, consolidated=False, **append)


HALVINGS = """
def halvings(u, time):
    n = 0
    while u > 1:
        u = u / 2
        n += 1
    return np.int16(n + time)
"""


@pytest.mark.cluster
@pytest.mark.compiler
@pytest.mark.slow
def test_a_store_larger_than_the_memory_of_the_worker(tmp_path):
    distributed = pytest.importorskip("distributed")
    write_large(tmp_path / "in.zarr")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, memory_limit=LIMIT, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        (before,) = client.scheduler_info()["workers"]
        ds = xr.open_zarr(tmp_path / "in.zarr", consolidated=False)
        assert ds.nbytes > LIMIT
        out = ds.mex.eval(HALVINGS, jit="require", names="n")
        out.to_zarr(tmp_path / "out.zarr", consolidated=False)
        (after,) = client.scheduler_info()["workers"]
        (stats,) = mexdask.stats(client).values()
    assert before == after, "the worker was killed"
    assert (stats["native"], stats["compiled"] + stats["disk_hits"]) == (28, 1)
    found = xr.open_zarr(tmp_path / "out.zarr", consolidated=False).n
    assert found.dtype == np.int16
    for time in (0, 50, 111):
        u = ds.u.isel(time=time).values
        expected = np.ceil(np.log2(np.maximum(u, 1))).astype("int16") + time
        np.testing.assert_array_equal(found.isel(time=time), expected)
