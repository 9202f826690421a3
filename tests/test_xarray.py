"""The ``mex`` accessor: in all but the computation, what xarray's own arithmetic gives.

The test marked ``both`` is run a second time on Dask's other array back end.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mexdask

pd = pytest.importorskip("pandas")
xr = pytest.importorskip("xarray")

from engines import HAS_EXPRESSIONS  # noqa: E402

import mexdask.xarray  # noqa: E402
from mexdask import ArgumentError, KernelSyntaxError, KernelTypeError, MexError  # noqa: E402

REPOSITORY = Path(mexdask.__file__).parents[1]
EXPRESSIONS = getattr(da, "array_expr_enabled", lambda: False)()


def values(*shape, start=0, dtype="float64"):
    """Numbers of both signs, some of them nan, exact in every dtype."""
    found = (np.arange(start, start + np.prod(shape, dtype=int)) * 7 % 19 - 6).reshape(shape)
    found = found.astype(dtype)
    if found.dtype.kind == "f":
        found.flat[::11] = np.nan
    return found


def climate():
    """Variables with all that arithmetic has to carry along."""
    ds = xr.Dataset(
        {
            "u": (("time", "lat", "lon"), values(4, 3, 5), {"units": "m/s", "name": "eastward"}),
            "v": (("time", "lat", "lon"), values(4, 3, 5, start=5), {"units": "m/s", "who": "v"}),
            "flipped": (("lon", "time"), values(5, 4, dtype="float32"), {"units": "K"}),
            "count": (("lat", "lon"), values(3, 5, dtype="int16")),
            "flag": (("lat", "lon"), values(3, 5) > 0, {"units": "1"}),
            "profile": ("lat", values(3), {"long_name": "one dimension"}),
            "single": ((), 2.5, {"units": "m"}),
        },
        coords={
            "time": ("time", pd.date_range("2020-01-01", periods=4), {"axis": "T"}),
            "lat": ("lat", [10.0, 20.0, 30.0], {"units": "degrees_north"}),
            "lon": np.arange(5),
            "height": 2.0,
            "station": ("lat", ["a", "b", "c"]),
            "area": (("lat", "lon"), values(3, 5), {"units": "m2"}),
            "moment": (("time", "lat"), values(4, 3)),
        },
        attrs={"title": "all of it"},
    )
    ds["u"].encoding = {"dtype": "int16", "scale_factor": 0.1}
    ds["area"].encoding = {"zlib": True}
    return ds


KINDS = {"eager": lambda ds: ds, "chunked": lambda ds: ds.chunk(time=2, lat=2, lon=3)}


@pytest.fixture(params=KINDS)
def ds(request):
    return KINDS[request.param](climate())


# Which engine computes makes no difference to labels, so that each kind of array has one of them.
JIT = {"eager": "require", "chunked": "off"}


def as_operators(result, *operands):
    """Name and attributes as of operators, where NumPy's functions take the first operand's."""
    like = operands[0]
    for other in operands[1:]:
        like = like + other
    return result.rename(like.name).assign_attrs(like.attrs).pipe(only_attrs, like.attrs)


def only_attrs(result, attrs):
    result.attrs = dict(attrs)
    return result


# The statement, and the same in xarray.
EXPRESSIONS_AND_XARRAY = [
    ("u + v", lambda d: d.u + d.v),
    ("u - v * 2", lambda d: d.u - d.v * 2),
    ("v * u", lambda d: d.v * d.u),
    ("u", lambda d: d.u + 0),
    ("-u", lambda d: -d.u),
    ("abs(u)", lambda d: abs(d.u)),
    ("u + 5", lambda d: d.u + 5),
    ("5 - u", lambda d: 5 - d.u),
    ("u ** 2 / 3.5", lambda d: d.u**2 / 3.5),
    ("u // 2 + u % 3", lambda d: d.u // 2 + d.u % 3),
    ("sqrt(abs(u))", lambda d: np.sqrt(abs(d.u))),
    ("np.sqrt(abs(u))", lambda d: np.sqrt(abs(d.u))),
    ("floor(u / 2)", lambda d: np.floor(d.u / 2)),
    ("hypot(u, v)", lambda d: as_operators(np.hypot(d.u, d.v), d.u, d.v)),
    ("maximum(u, v)", lambda d: as_operators(np.maximum(d.u, d.v), d.u, d.v)),
    ("fmin(u, 1)", lambda d: np.fmin(d.u, 1)),
    ("where(u > v, u, v)", lambda d: as_operators(xr.where(d.u > d.v, d.u, d.v), d.u, d.v)),
    ("isnan(u)", lambda d: np.isnan(d.u)),
    ("u > v", lambda d: d.u > d.v),
    ("u >= 2", lambda d: d.u >= 2),
    ("(u > 2) & (v < 3)", lambda d: (d.u > 2) & (d.v < 3)),
    ("u > 2 and v < 3", lambda d: (d.u > 2) & (d.v < 3)),
    ("u > 2 or v < 3", lambda d: (d.u > 2) | (d.v < 3)),
    ("not (u > 2)", lambda d: ~(d.u > 2)),
    ("-2 < u <= 4", lambda d: (d.u > -2) & (d.u <= 4)),
    ("~flag", lambda d: ~d.flag),
    ("flag & (count > 2)", lambda d: d.flag & (d["count"] > 2)),
    ("count << 2", lambda d: d["count"] << 2),
    ("count + 1", lambda d: d["count"] + 1),
    ("count / 2", lambda d: d["count"] / 2),
    ("count + lon", lambda d: d["count"] + d.lon),
    # Dimensions: of the first operand, then those that others add.
    ("flipped * u", lambda d: d.flipped * d.u),
    ("u * flipped", lambda d: d.u * d.flipped),
    ("flipped + profile", lambda d: d.flipped + d.profile),
    ("profile + flipped", lambda d: d.profile + d.flipped),
    ("profile * lon", lambda d: d.profile * d.lon),
    ("lon * profile + u", lambda d: d.lon * d.profile + d.u),
    ("count * u", lambda d: d["count"] * d.u),
    ("u * single", lambda d: d.u * d.single),
    ("single * u", lambda d: d.single * d.u),
    ("single + 1", lambda d: d.single + 1),
    # Coordinates as operands.
    ("u * lat", lambda d: d.u * d.lat),
    ("lat * 2", lambda d: d.lat * 2),
    ("lat + lon", lambda d: d.lat + d.lon),
    ("u + height", lambda d: d.u + d.height),
    ("height * 2", lambda d: d.height * 2),
    ("u * area", lambda d: d.u * d.area),
    ("moment - area", lambda d: d.moment - d.area),
    ("1.5 * flipped", lambda d: 1.5 * d.flipped),
]
IDS = [case[0] for case in EXPRESSIONS_AND_XARRAY]


@pytest.mark.compiler
@pytest.mark.parametrize(("text", "expected"), EXPRESSIONS_AND_XARRAY, ids=IDS)
@pytest.mark.parametrize("kind", KINDS)
def test_expressions_on_a_dataset(kind, text, expected):
    ds = KINDS[kind](climate())
    result = ds.mex.eval(text, jit=JIT[kind])
    same_in_all(result, expected(ds))


def same_in_all(result, expected):
    """What assert_identical compares, and what it does not."""
    xr.testing.assert_identical(result, expected)
    assert type(result) is type(expected)
    for name, found in variables(result).items():
        wanted = variables(expected)[name]
        assert (found.dtype, found.dims) == (wanted.dtype, wanted.dims)
        assert (found.chunks is None) == (wanted.chunks is None)
        assert found.encoding == wanted.encoding
    assert set(result.xindexes) == set(expected.xindexes)


def variables(labelled):
    if isinstance(labelled, xr.Dataset):
        return dict(labelled.variables)
    return {"itself": labelled.variable, **labelled.coords.variables}


@pytest.mark.parametrize(("text", "expected"), EXPRESSIONS_AND_XARRAY[::3], ids=IDS[::3])
def test_assignments_on_a_dataset_and_a_tree(ds, text, expected):
    assigned = ds.assign(new=expected(ds))
    same_in_all(ds.mex.eval(f"new = {text}", jit="off"), assigned)
    late = ds.isel(time=slice(1, None))
    other = xr.Dataset({"else": ("time", [1.0])})
    tree = xr.DataTree.from_dict({"/all": ds, "/part/late": late, "/other": other})
    wanted = {"/all": assigned, "/part/late": late.assign(new=expected(late)), "/other": other}
    result = tree.mex.eval(f"new = {text}", jit="off")
    xr.testing.assert_identical(result, xr.DataTree.from_dict(wanted))


# DataArrays: the accessor, apply and kernels on them.

POWER = """
def power(x, y, z=1):
    result = 1.0
    for i in range(3):
        result = result * x + y / z
    return result
"""


def power(x, y, z=1):
    result = 1.0
    for _ in range(3):
        result = result * x + y / z
    return result


@pytest.mark.parametrize("x", ["u", "count", "flipped", "single"])
@pytest.mark.parametrize("y", ["v", "lat"])
def test_apply_on_data_arrays(ds, x, y):
    expected = power(ds[x], ds[y], 4)
    same_in_all(mexdask.apply(POWER, ds[x], ds[y], 4, jit="off"), expected)
    same_in_all(mexdask.kernel(POWER)(ds[x], z=4, y=ds[y], jit="off"), expected)
    same_in_all(ds[x].mex.eval(POWER, y=ds[y], z=4, jit="off"), expected)
    result = mexdask.apply(POWER, ds[x].variable, ds[y].variable, 4, jit="off")
    same_variables(result, power(ds[x].variable, ds[y].variable, 4))
    mixed = mexdask.apply(POWER, ds[x].variable, ds[y], 4, jit="off")
    assert isinstance(mixed, xr.DataArray)
    xr.testing.assert_equal(mixed.variable, expected.variable)


def same_variables(result, expected):
    assert type(result) is type(expected) is xr.Variable
    xr.testing.assert_identical(result, expected)
    assert result.dtype == expected.dtype


def test_unlabelled_arrays_take_their_place_by_position(ds):
    row = values(5, start=3)
    table = values(3, 5, start=3)
    for plain in (row, table, row.astype("float32"), np.float32(2), np.array(3.0), table[:, :1]):
        expected = ds.u * plain
        same_in_all(mexdask.apply("a * b", ds.u, plain, jit="off"), expected)
        same_in_all(ds.mex.eval("u * b", b=plain, jit="off"), expected)
    lazy = mexdask.apply("a * b", ds.u, da.from_array(table, chunks=2), jit="off")
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(), (ds.u * table).compute())


def test_an_array_is_the_parameter_of_its_name_or_the_first_free_one(ds):
    lat = ds.lat
    same_in_all(ds.u.mex.eval("x * lat", jit="off"), ds.u * lat)
    same_in_all(ds.u.mex.eval("lat * x", jit="off"), lat * ds.u)
    same_in_all(ds.u.mex.eval("lat * u - k", k=2, jit="off"), lat * ds.u - 2)
    same_in_all(ds.u.mex.eval("x - y", x=ds.v, jit="off"), ds.v - ds.u)
    same_in_all(ds.u.mex.eval("v - u", v=ds.v, jit="off"), ds.v - ds.u)
    same_in_all(lat.mex.eval("lat * 2", jit="off"), lat * 2)
    nameless = ds.u.rename(None)
    same_in_all(nameless.mex.eval("x * x", jit="off"), nameless * nameless)
    with pytest.raises(ArgumentError, match=r"no parameter is left for the array.*'u'"):
        ds.u.mex.eval("lat * 2")
    with pytest.raises(KernelSyntaxError, match="an expression stands alone"):
        ds.u.mex.eval("y = u * 2")


def test_functions_and_kernels(ds):
    @mexdask.kernel
    def steep(u, lat, limit=3.0):
        return u if abs(u) > limit else lat

    expected = xr.where(abs(ds.u) > 3.0, ds.u, ds.lat)
    for source in (steep, steep.py_func, steep.source):
        result = ds.mex.eval(source, jit="off")
        xr.testing.assert_equal(result, expected)
        assert result.attrs == (ds.u + ds.lat).attrs
    above = ds.mex.eval(steep, limit=-1, jit="off")
    xr.testing.assert_equal(above, (ds.u + 0 * ds.lat).where(ds.u.notnull(), ds.lat))


def test_names_make_a_dataset(ds):
    for names in ("total", ["total"], ("total",)):
        result = ds.mex.eval("u + v", names=names, jit="off")
        same_in_all(result, (ds.u + ds.v).to_dataset(name="total"))
    with pytest.raises(ArgumentError, match="1 result, 2 names"):
        ds.mex.eval("u + v", names=["a", "b"])
    with pytest.raises(ArgumentError, match="an assignment names its result itself"):
        ds.mex.eval("a = u + v", names=["a"])


# What names mean.


def test_assignments_in_order(ds):
    text = """
        total = u + v   # a comment
        total = total * 2; mean = total / \\
            2
        scaled = (
            total
            + profile
        )
        lat = lat + 1
        g = 9.81
    """
    total = (ds.u + ds.v) * 2
    expected = ds.assign(total=total).assign(mean=total / 2)
    expected = expected.assign(scaled=total + expected.profile).assign(lat=ds.lat + 1, g=9.81)
    result = ds.mex.eval(text, jit="off")
    xr.testing.assert_identical(result, expected)
    assert "total" not in ds


def test_below_its_line_a_target_goes_before_a_keyword():
    ds = xr.Dataset({"a": ("x", [1.0, 2.0])})
    result = ds.mex.eval("a = a + k\nk = a * k\nb = k", a=10, k=5, jit="off")
    assert (float(result.a), float(result.k), float(result.b)) == (15, 75, 75)


CLASHES = ["sin", "max", "sum", "range", "kernel", "e", "np", "int", "names", "jit", "self", "def_"]


@pytest.mark.parametrize("name", CLASHES)
@pytest.mark.parametrize("place", ["variable", "coordinate"])
def test_variables_go_before_functions_and_constants(name, place):
    data, other = xr.Variable("x", [1.0, 2.0]), xr.Variable("x", [-3.0, 4.0])
    where = {"data_vars": {name: data, "other": other}}
    if place == "coordinate":
        where = {"data_vars": {"other": other}, "coords": {name: data}}
    ds = xr.Dataset(**where)
    same_in_all(ds.mex.eval(f"{name} * 2", jit="off"), ds[name] * 2)
    same_in_all(ds.mex.eval(f"{name} + other", jit="off"), ds[name] + ds.other)
    same_in_all(ds.other.mex.eval(f"{name} + other", params={name: ds[name]}, jit="off"),
                ds[name] + ds.other)  # fmt: skip
    result = ds.mex.eval(f"{name} + abs(other) + max({name}, other)", jit="off")
    xr.testing.assert_equal(result, ds[name] + abs(ds.other) + np.maximum(ds[name], ds.other))
    np.testing.assert_array_equal(ds.mex.eval(f"{name} + 1", params={name: 5}, jit="off"), 6)


def test_names_that_no_kernel_can_spell_come_by_keyword():
    ds = xr.Dataset({"2m temperature": ("x", [1.0, 2.0]), 7: ("x", [3.0, 4.0]), "lambda": 2.0})
    result = ds.mex.eval("t + b + l", t=ds["2m temperature"], b=ds[7], l=ds["lambda"], jit="off")
    same_in_all(result, ds["2m temperature"] + ds[7] + ds["lambda"])


def test_names_are_found_however_unicode_spells_them():
    ds = xr.Dataset({"α": ("x", [1.0]), "µ": ("x", [3.0]), "ﬁ": ("x", [4.0])})
    same_in_all(ds.mex.eval("α + µ * ﬁ", jit="off"), ds["α"] + ds["µ"] * ds["ﬁ"])
    assert ds.mex.eval("µ + 1", µ=1, jit="off") == 2
    assert ds.mex.eval("µ + 1", params={"µ": 1}, jit="off") == 2


def test_a_keyword_goes_before_a_variable(ds):
    same_in_all(ds.mex.eval("u + v", v=ds.u, jit="off"), ds.u + ds.u)
    same_in_all(ds.mex.eval("u + v", v=2, jit="off"), ds.u + 2)
    assert ds.mex.eval("pi * r ** 2", r=2, jit="off").identical(xr.DataArray(np.pi * 4))
    source = "def f(u, dtype, names): return u * dtype + names"
    result = ds.mex.eval(source, params={"dtype": 2, "names": 3}, jit="off")
    same_in_all(result, ds.u * 2 + 3)


def test_options_reach_the_kernel(ds):
    result = ds.mex.eval("u + 1", dtype="float32", jit="off")
    same_in_all(result, (ds.u + 1).astype("float32"))
    forever = "def f(x):\n    while x > 0: x += 0\n    return x"
    with dask.config.set({"mexdask.while-max-iters": 10}):
        found = ds.u.mex.eval(forever, on_error="nan", jit="off")
    xr.testing.assert_equal(found, ds.u.where(~(ds.u > 0)))


# Index symbols, several results, reductions.


PLACES = """
# me:fp=strict
def shift(i):
    return i + 1

def places(u, lat, flipped):
    total = 100 * _i_time + 10 * _i_lat + shift(_i_lon)
    return total + 0 * u, _n_time * _n_lat * _n_lon, _ndim + 0 * lat, _i0 + 0 * flipped
"""


@pytest.mark.compiler
@pytest.mark.parametrize("kind", KINDS)
def test_index_symbols_by_dimension(kind):
    ds = KINDS[kind](climate().drop_vars("moment"))
    found = ds.mex.eval("flipped * 0 + 1000 * _i_time + 100 * _i_lon + _i_lat + 0 * lat")
    assert found.dims == ("lon", "time", "lat")
    time, lat, lon = (
        xr.DataArray(np.arange(n), {dim: ds[dim]}, dim) for dim, n in ds.sizes.items()
    )
    expected = (1000 * time + 100 * lon + lat).transpose("lon", "time", "lat")
    np.testing.assert_array_equal(found, (expected + 0 * ds.flipped).transpose(*found.dims))

    results = ds.mex.eval(PLACES, jit="require")
    assert [r.dims for r in results] == [("time", "lat", "lon")] * 4
    np.testing.assert_array_equal(
        results[0], (100 * time + 10 * lat + lon + 1 + 0 * ds.u).transpose("time", "lat", "lon")
    )
    assert (results[1] == 60).all()
    assert (results[2] == 3).all()

    @mexdask.kernel
    def edge(u):
        return u if 0 < _i_lat < _n_lat - 1 else 0.0  # noqa: F821

    inner = ds.mex.eval(edge)
    same_in_all(inner, xr.where((lat > 0) & (lat < 2), ds.u, 0.0).transpose(*ds.u.dims)
                .assign_attrs(ds.u.attrs).rename("u"))  # fmt: skip
    same_in_all(edge(ds.u), inner)
    assigned = ds.mex.eval("a = u * _i_lon\nb = a + _n_lon")
    xr.testing.assert_equal(assigned.b, ds.u * lon + 5)
    # Of two results in different orders each has its own numbers.
    swapped = ds.u.transpose("lat", "lon", "time")
    xr.testing.assert_equal(edge(swapped).transpose(*ds.u.dims), inner)


def test_dimensions_are_named_in_labelled_calls_only():
    with pytest.raises(ArgumentError, match="'_i_time' names a dimension, which only xarray's"):
        mexdask.apply("u * _i_time", np.arange(3))
    ds = xr.Dataset({"_n_obs": ("x", [5.0, 6.0])})
    xr.testing.assert_equal(ds.mex.eval("_n_obs * 2 + _n_x", jit="off"), ds["_n_obs"] * 2 + 2)
    assert mexdask.apply("_n_obs * 2", _n_obs=4, jit="off") == 8
    assert mexdask.apply("def f(_n_obs): return _n_obs", 4, jit="off") == 4


BOTH = """
def both(u, v, lat):
    speed = sqrt(u * u + v * v)
    return speed, speed > lat / 4
"""


def test_several_results(ds):
    speed = np.sqrt(ds.u * ds.u + ds.v * ds.v)
    expected = speed, speed > ds.lat / 4
    mexdask.reset_stats()
    results = ds.mex.eval(BOTH, jit="off")
    assert type(results) is tuple
    named = ds.mex.eval(BOTH, names=["speed", "gale"], jit="off")
    by_apply = mexdask.apply(BOTH, ds.u, ds.v, ds.lat, jit="off")
    assert list(named.data_vars) == ["speed", "gale"]
    for found, wanted, name, other in zip(results, expected, named, by_apply, strict=True):
        xr.testing.assert_equal(found, wanted)
        assert found.attrs == (ds.u + ds.v + ds.lat).attrs
        xr.testing.assert_identical(named[name].rename(None), found.rename(None))
        xr.testing.assert_identical(other, found)
        assert found.dtype == wanted.dtype
    with pytest.raises(ArgumentError, match="2 results, 1 names"):
        ds.mex.eval(BOTH, names="speed")
    tree = xr.DataTree.from_dict({"/a": ds, "/b": xr.Dataset()})
    xr.testing.assert_identical(
        tree.mex.eval(BOTH, names=["speed", "gale"], jit="off")["a"].to_dataset(), named
    )
    with pytest.raises(ArgumentError, match="have no names"):
        tree.mex.eval(BOTH, jit="off")


def test_several_results_compute_each_block_once():
    ds = KINDS["chunked"](climate())
    mexdask.reset_stats()
    ds.mex.eval(BOTH, names=["a", "b"], jit="off").compute(scheduler="synchronous")
    assert mexdask.stats()["interpreted"] == ds.u.data.npartitions


REDUCED = [
    ("mean(count)", lambda d: d["count"].mean()),
    ("nanmean(u)", lambda d: d.u.mean()),
    ("nansum(u) + nanmax(v)", lambda d: d.u.sum() + d.v.max()),
    ("min(flipped)", lambda d: d.flipped.min(skipna=False)),
    ("max(count) - min(count)", lambda d: d["count"].max() - d["count"].min()),
    ("any(flag)", lambda d: d.flag.any()),
    ("sum(lat)", lambda d: d.lat.sum()),
]


@pytest.mark.parametrize(("text", "expected"), REDUCED)
def test_reductions_leave_no_dimension(ds, text, expected):
    result, wanted = ds.mex.eval(text, jit="off"), expected(ds)
    assert (result.dims, set(result.coords)) == ((), {"height"})
    xr.testing.assert_allclose(
        result.drop_vars("height"), wanted.drop_vars("height", errors="ignore")
    )
    assert (result.chunks is None) == (wanted.chunks is None)
    assert result.dtype == wanted.dtype


def test_reductions_within_a_kernel(ds):
    result = ds.mex.eval("(u - nanmean(u)) / nanmax(abs(u))", jit="off")
    xr.testing.assert_allclose(result, (ds.u - ds.u.mean()) / abs(ds.u).max())
    assert result.dims == ds.u.dims
    assert np.isnan(ds.mex.eval("mean(u)", jit="off"))
    assigned = ds.mex.eval("m = nanmean(u)\nanomaly = u - m", jit="off")
    xr.testing.assert_allclose(assigned.anomaly, ds.u - ds.u.mean())
    # Over what the operand has, not over what it is broadcast to.
    total = ds.mex.eval("u * 0 + sum(lat)", jit="off")
    assert float(total.max()) == float(ds.lat.sum())


# Alignment.

JOINS = ["inner", "outer", "left", "right", "exact"]


def shifted_pair(kind):
    ds = KINDS[kind](climate())[["u", "v", "profile"]].drop_vars("moment")
    other = ds.isel(time=slice(1, None), lat=slice(2)).assign_coords(lat=[20.0, 40.0], height=3.0)
    return ds, other.drop_vars(["area", "station"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("by_option", [False, True])
def test_misaligned_operands(kind, join, by_option):
    ds, other = shifted_pair(kind)
    options = {} if by_option else {"join": join}
    calls = [
        lambda: ds.mex.eval("u - w", w=other.v, jit="off", **options),
        lambda: ds.u.mex.eval("u - w", w=other.v, jit="off", **options),
    ]
    if by_option:
        calls.append(lambda: mexdask.apply("a - b", ds.u, other.v, jit="off"))
    with xr.set_options(arithmetic_join=join):
        try:
            expected = ds.u - other.v
        except ValueError as error:
            expected = error
    with xr.set_options(arithmetic_join=join if by_option else "inner"):
        for call in calls:
            if isinstance(expected, Exception):
                with pytest.raises(
                    mexdask.xarray.AlignmentError, match=r"'u' .*'w' |'a'"
                ) as caught:
                    call()
                assert isinstance(caught.value, (MexError, xr.AlignmentError))
                assert str(expected)[:60] in str(caught.value)
            else:
                same_in_all(call(), expected)


def test_indexes_can_be_overridden(ds):
    other = ds.v.assign_coords(time=ds.time + np.timedelta64(1, "h"))
    same_in_all(ds.mex.eval("u + w", w=other, join="override", jit="off"), ds.u + ds.v)
    with pytest.raises(ArgumentError, match="join='middle' is not one of inner, outer"):
        ds.mex.eval("u + w", w=other, join="middle")


def test_three_operands_are_aligned_at_once():
    x = xr.DataArray(np.arange(6.0), {"x": np.arange(6)}, name="a")
    parts = {"a": x[:4], "b": x[1:5], "c": x[2:]}
    for join in ("inner", "outer", "left", "right"):
        with xr.set_options(arithmetic_join=join):
            expected = parts["a"] + parts["b"] + parts["c"]
            same_in_all(mexdask.apply("a + b + c", **parts, jit="off"), expected)


SIZES = {"x": 4, "y": 3, "z": 2}


@st.composite
def labelled_arrays(draw):
    """A DataArray of some dimensions in some order, whose indexes are parts of the same ones."""
    dims = draw(st.permutations(sorted(SIZES)))[: draw(st.integers(0, 3))]
    starts = {dim: draw(st.integers(0, 1)) for dim in dims}
    shape = [SIZES[dim] for dim in dims]
    data = values(*shape, start=draw(st.integers(0, 9)), dtype=draw(st.sampled_from(["f8", "i2"])))
    coords = {dim: np.arange(starts[dim], starts[dim] + SIZES[dim]) for dim in dims}
    coords["h"] = draw(st.integers(0, 1))
    if dims:
        coords["side"] = (dims[0], np.arange(SIZES[dims[0]]) + draw(st.integers(0, 1)))
    name = draw(st.sampled_from(["n", "m", None]))
    found = xr.DataArray(data, coords, dims, name, {"units": draw(st.sampled_from("ab")), "k": 1})
    return found.chunk(2) if draw(st.booleans()) else found


@settings(max_examples=80, deadline=None)
@given(labelled_arrays(), labelled_arrays(), st.sampled_from(["inner", "outer", "left", "right"]))
def test_any_two_arrays_go_together_as_in_arithmetic(a, b, join):
    with xr.set_options(arithmetic_join=join):
        expected = a * b
        found = mexdask.apply("a * b", a, b, jit="off")
        same_in_all(found.compute(), expected.compute())
        assert (found.chunks is None) == (expected.chunks is None)


def test_conflicting_coordinates_are_dropped():
    a, b, c = (xr.DataArray([1.0, 2.0], dims="x", name="n") for _ in range(3))
    a, b, c = a.assign_coords(h=1, s=5), b.assign_coords(h=2), c.assign_coords(h=1, t=("x", [1, 2]))
    same_in_all(mexdask.apply("a + b", a, b, jit="off"), a + b)
    same_in_all(mexdask.apply("a + c", a, c, jit="off"), a + c)
    # Two operators would let the last h come back.
    result = mexdask.apply("a + b + c", a, b, c, jit="off")
    same_in_all(result, (a + b + c).drop_vars("h"))


@pytest.mark.skipif("arithmetic_compat" not in xr.get_options(), reason="an older xarray")
@pytest.mark.parametrize("compat", ["minimal", "override", "no_conflicts", "equals"])
def test_the_option_for_conflicting_coordinates_is_followed(compat):
    a = xr.DataArray([1.0, 2.0], dims="x", coords={"h": 1.0})
    b = a.assign_coords(h=np.nan)
    with xr.set_options(arithmetic_compat=compat):
        try:
            expected = a + b
        except xr.MergeError:
            with pytest.raises(mexdask.xarray.AlignmentError, match="'h'"):
                mexdask.apply("a + b", a, b, jit="off")
        else:
            same_in_all(mexdask.apply("a + b", a, b, jit="off"), expected)


def test_broadcasting_can_be_forbidden(ds):
    with xr.set_options(arithmetic_broadcast=False):
        same_in_all(ds.mex.eval("u + v", jit="off"), ds.u + ds.v)
        same_in_all(ds.mex.eval("u + 1", jit="off"), ds.u + 1)
        with pytest.raises(mexdask.xarray.AlignmentError, match="arithmetic_broadcast"):
            ds.mex.eval("u + profile")


def test_multi_indexes(ds):
    stacked = ds.drop_vars("moment").stack(place=("lat", "lon"))
    same_in_all(stacked.mex.eval("u * v", jit="off"), stacked.u * stacked.v)
    same_in_all(stacked.mex.eval("u * lat", jit="off"), stacked.u * stacked.lat)
    part = stacked.isel(place=slice(3, 9))
    same_in_all(stacked.mex.eval("u * w", w=part.v, jit="off"), stacked.u * part.v)
    with pytest.raises(ArgumentError, match=r"'place'.*one of its levels.*'lat', 'lon'"):
        stacked.mex.eval("u * place")


def test_dimensions_without_coordinates():
    a = xr.DataArray(values(3, 4), dims=("x", "y"))
    b = xr.DataArray(values(4, 2), dims=("y", "z"))
    same_in_all(mexdask.apply("a * b", a, b, jit="off"), a * b)
    with pytest.raises(mexdask.xarray.AlignmentError, match=r"'a' \(x: 3, y: 4\)"):
        mexdask.apply("a * b", a, b[1:])
    with pytest.raises(mexdask.xarray.AlignmentError, match="another length along 'y'"):
        mexdask.apply("a * b", a.variable, b[1:].variable)
    empty = a[:, :0]
    same_in_all(mexdask.apply("a + 1", empty, jit="off"), empty + 1)
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = xr.Variable(("x", "x"), np.eye(3))
    with pytest.raises(mexdask.xarray.AlignmentError, match="dimension twice"):
        mexdask.apply("a * b", twice, a.variable)


# Attributes.

KEEP = [None, True, False, "drop", "override", "drop_conflicts", "identical", "no_conflicts"]


@pytest.mark.parametrize("option", ["default", True, False])
def test_attributes_follow_the_option(ds, option):
    with xr.set_options(keep_attrs=option):
        for text, expected in [
            ("u + v", ds.u + ds.v),
            ("u * 2", ds.u * 2),
            ("lat * u", ds.lat * ds.u),
        ]:
            same_in_all(ds.mex.eval(text, jit="off"), expected)


@pytest.mark.parametrize("keep", KEEP)
@pytest.mark.parametrize("text", ["u + v", "u * 2", "u + w", "flipped * lat"])
def test_attributes_follow_the_keyword(ds, keep, text):
    ds = ds.assign(w=ds.u)

    def function(*arrays):
        carriers = [xr.Variable((), 0, array.attrs) for array in arrays]
        merged = "drop_conflicts" if keep in (None, True) else keep
        return xr.apply_ufunc(lambda *_: 0, *carriers, keep_attrs=merged).attrs

    operands = [ds[name] for name in re.findall(r"[a-z]+", text)]
    try:
        expected = function(*operands)
    except xr.MergeError:
        with pytest.raises(ArgumentError, match=f"keep_attrs='{keep}'"):
            ds.mex.eval(text, keep_attrs=keep)
        return
    assert ds.mex.eval(text, keep_attrs=keep, jit="off").attrs == expected
    assert "units" in ds.mex.eval("a = u + w", keep_attrs=keep).lat.attrs


def test_attributes_of_all_operands_are_merged_at_once():
    a, b, c = (xr.DataArray([1.0], dims="x", attrs={"units": u, "n": 1}) for u in "mkm")
    # Two operators would let the last units come back.
    assert mexdask.apply("a + b + c", a, b, c, jit="off").attrs == {"n": 1}


def test_attributes_may_be_arrays_and_merged_by_a_function():
    a = xr.DataArray([1.0], dims="x", attrs={"range": np.array([0, 1]), "n": 1})
    b = xr.DataArray([2.0], dims="x", attrs={"range": np.array([0, 1]), "n": 2})
    result = mexdask.apply("a + b", a, b, jit="off")
    assert list(result.attrs) == ["range"]
    latest = a.mex.eval("a + b", b=b, keep_attrs=lambda attrs, context: attrs[-1], jit="off")
    assert latest.attrs["n"] == 2
    a.attrs["n"] = 5
    assert latest.attrs["n"] == 2


# Lazy and eager.


class Computed(Exception):
    pass


def no_scheduler(*args, **kwargs):
    raise Computed


def our_layers(labelled):
    return [name for name in labelled.__dask_graph__().layers if name.startswith("mex-")]


@pytest.mark.parametrize("statement", ["hypot(u, v) * lat", POWER.replace("x, y", "u, v")])
def test_chunked_variables_give_one_layer_and_compute_nothing(statement):
    ds = KINDS["chunked"](climate())
    statement = statement.replace("* x + y", "* u + v")
    mexdask.reset_stats()
    with dask.config.set(scheduler=no_scheduler):
        results = [
            ds.mex.eval(statement),
            ds.u.mex.eval(statement, v=ds.v),
            ds.mex.eval(statement, names="r").r,
        ]
        with pytest.raises(Computed):
            results[0].compute()
    for result in results:
        assert len(our_layers(result)) == 1
        assert result.chunks == ds.u.chunks
    assert (mexdask.stats()["native"], mexdask.stats()["interpreted"]) == (0, 0)


def test_each_assignment_is_one_layer():
    ds = KINDS["chunked"](climate())
    with dask.config.set(scheduler=no_scheduler):
        result = ds.mex.eval("a = u + v\nb = a * lat\nc = a + b")
    assert len(our_layers(result.c)) == 3
    expected = (ds.u + ds.v + (ds.u + ds.v) * ds.lat).rename("c")
    xr.testing.assert_identical(result.c.compute(), expected.compute())


def test_chunked_and_unchunked_variables_mix():
    eager = climate()
    ds = eager.assign(u=eager.u.chunk(time=3, lon=2), flipped=eager.flipped.chunk(time=2))
    for text, expected in [
        ("u * v", ds.u * ds.v),
        ("v - u", ds.v - ds.u),
        ("u * profile", ds.u * ds.profile),
        ("flipped * u", ds.flipped * ds.u),
    ]:
        result = ds.mex.eval(text, jit="off")
        same_in_all(result, expected)
        assert result.chunks == expected.chunks
    assert ds.mex.eval("v * profile", jit="off").chunks is None
    with pytest.raises(ArgumentError, match="'flipped' would be rechunked"):
        ds.mex.eval("flipped * u", align="error")


@pytest.mark.both
def test_each_back_end_of_dask_computes():
    # Much of what xarray itself asks for is missing in one of them: it gets the eager variables.
    ds, eager = KINDS["chunked"](climate()), climate()
    for text, expected in [
        ("u - v * 2", eager.u - eager.v * 2),
        ("count * u", eager["count"] * eager.u),
        ("flipped * u", eager.flipped * eager.u),
        ("u * lat", eager.u * eager.lat),
    ]:
        result = ds.mex.eval(text, jit="off")
        assert result.chunks is not None
        same_in_all(result.compute(), expected)


def test_tokens_of_equal_calls_are_equal():
    ds = KINDS["chunked"](climate())
    first, second = (ds.mex.eval("u * v").data.name for _ in range(2))
    assert first == second


# Trees.


def forest():
    ds = climate().drop_vars("moment")
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(coords={"lat": ds.lat, "height": 2.0}),
            "/model": ds[["u", "v"]],
            "/model/late": ds[["u"]],
            "/gauges": ds[["profile"]],
            "/empty": xr.Dataset(),
        },
        name="forest",
    )


def test_a_tree_is_worked_on_where_it_holds_the_variables():
    tree = forest()
    result = tree.mex.eval("speed = hypot(u, v)\nhalf = speed / 2", jit="off")
    ds = tree["model"].to_dataset()
    speed = as_operators(np.hypot(ds.u, ds.v), ds.u, ds.v)
    expected = tree.copy()
    expected["model"].dataset = (
        tree["model"].to_dataset(inherit=False).assign(speed=speed, half=speed / 2)
    )
    assert "speed" not in result["model/late"]
    xr.testing.assert_identical(result, expected)
    assert result.name == "forest"


def test_a_tree_of_results():
    tree = forest()
    result = tree.mex.eval("u * lat", names="product", jit="off")
    expected = tree.map_over_datasets(
        lambda ds: (ds.u * ds.lat).to_dataset(name="product") if "u" in ds else xr.Dataset()
    )
    assert list(result["model"].data_vars) == ["product"]
    for path in ("model", "model/late"):
        xr.testing.assert_identical(result[path].to_dataset(), expected[path].to_dataset())
    assert list(tree.mex.eval("u * 2", jit="off")["model"].data_vars) == ["u"]
    with pytest.raises(ArgumentError, match="the results have no names") as caught:
        tree.mex.eval("u * v", jit="off")
    assert "model" in "".join(caught.value.__notes__)


def test_a_tree_without_the_variables():
    tree = forest()
    for call in (tree.mex.eval, tree.mex.explain):
        with pytest.raises(ArgumentError, match=r"'speeed'.* neither a variable nor a coordinate"):
            call("a = u + v * speeed")


def test_lazy_trees_stay_lazy():
    with dask.config.set(scheduler=no_scheduler):
        result = forest().chunk(time=2).mex.eval("w = u * v")
    assert len(our_layers(result["model/w"])) == 1


# Errors.


def dated():
    return xr.Dataset(
        {
            "t": ("time", [1.0, 2.0]),
            "lead": ("time", np.array([1, 2], "m8[h]")),
            "kind": ("time", np.array(["rain", "snow"])),
            "tag": ("time", np.array([b"a", b"b"])),
            "half": ("time", np.array([1, 2], "f2")),
            "thing": ("time", np.array([None, 1], dtype=object)),
            "wide": ("time", np.array([1, 2], "longdouble")),
        },
        {"time": pd.date_range("2020", periods=2), "name": ("time", pd.Index(["a", "b"]))},
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("time", "time=ds['time'].dt.hour"),
        ("lead", "lead=ds['lead'] / np.timedelta64(1, 'h')"),
        ("kind", "kind=(ds['kind'] == 'text')"),
        ("name", "name=(ds['name'] == 'text'), or ds['name'].dt.hour for dates"),
        ("tag", "tag=(ds['tag'] == b'text')"),
        ("half", "half=ds['half'].astype('float32')"),
        ("wide", "wide=ds['wide'].astype('float64')"),
        ("thing", "or ds['thing'].astype(float) for numbers"),
    ],
)
def test_variables_that_no_kernel_takes(name, words):
    ds = dated()
    with pytest.raises(ArgumentError) as caught:
        ds.mex.eval(f"t * {name}")
    assert str(caught.value).startswith(f"argument {name!r}")
    assert words in str(caught.value)
    with pytest.raises(ArgumentError, match=r"argument 'x' has dtype .*x=\(?x"):
        mexdask.apply("x + 1", ds[name])


def test_the_conversions_that_errors_show_work():
    ds = dated()
    for text, arguments in [
        ("t * time", {"time": ds["time"].dt.hour}),
        ("t * time", {"time": (ds["time"] - ds["time"][0]) / np.timedelta64(1, "h")}),
        ("t * lead", {"lead": ds["lead"] / np.timedelta64(1, "h")}),
        ("t * kind", {"kind": (ds["kind"] == "rain")}),
        ("t * half", {"half": ds["half"].astype("float32")}),
    ]:
        (value,) = arguments.values()
        same_in_all(ds.mex.eval(text, jit="off", **arguments), ds.t * value)


@pytest.mark.parametrize(
    ("statement", "given", "words"),
    [
        ("u + V", {}, ["(u, V): 'V' is neither a variable nor", "for 'V', did you mean 'v'?"]),
        ("u + heigth", {}, ["did you mean 'height'?"]),
        ("xyz * 2", {}, ["'xyz' is neither", "there are 'u', 'v'"]),
        ("u + v", {"w": 3}, ["has no parameter 'w'"]),
        ("a = u\nb = a * k", {"kk": 3, "k": 2}, ["no assignment has a parameter 'kk'", "'k'?"]),
        ("a = u\nb = a * kk", {}, ["'kk' is neither"]),
        ("u * w", {"w": climate()}, ["'w' is a xarray.Dataset", "ds['name']"]),
        ("u * w", {"w": [1, 2]}, ["'w' is a list"]),
        ("u * w", {"w": pd.Series([1.0])}, ["pandas.Series: pass w.to_numpy()"]),
        ("u * w", {"w": np.zeros(4)}, ["array of shape (4,) without names", "(time: 4, lat: 3"]),
        ("u * w", {"w": np.zeros((1, 4, 3, 5))}, ["xr.DataArray(w, dims=...)"]),
        ("w + 1", {"w": np.zeros(4)}, ["array of shape (4,) without names"]),
        ("u * v", {"keep_attrs": "all"}, ["keep_attrs='all' is not True, False or one of drop"]),
        ("u * v", {"jit": "maybe"}, ["jit='maybe'"]),
        ("u * v", {"names": 3}, ["names=3 is not a name, or a list of different names"]),
        ("u * v", {"names": ["a", "a"]}, ["different names"]),
        ("u * v", {"names": [["a"]]}, ["different names"]),
        ("u * v", {"params": {"v": 1}, "v": 2}, ["both in params and by keyword"]),
        (lambda u: u, {}, ["a lambda cannot be a kernel"]),
        (3, {}, ["is not a kernel"]),
    ],
)
def test_wrong_calls(statement, given, words):
    for method in ("eval", "explain"):
        with pytest.raises(ArgumentError) as caught:
            getattr(climate().mex, method)(statement, **given)
        for word in words:
            assert word in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "place", "word"),
    [
        ("a = u\n\nb = hypt(u, v)", "statement:3:5", "hypot"),
        ("a = (\n  u +\n  u.sel()\n)", "statement:3:3", "method"),
        ("a = \\\n   u ** v[0]", "statement:2:9", "subscript"),
        ("    a = u\n    b = lambda: 3", "statement:2:5", "lambda"),
        ("é = 1; b = v @ v", "statement:1:14", "'*'"),
        ("# me:fp=quick\na = u", "statement:1:", "quick"),
        ("a = u\n# me:fp=fast\nb = a", "statement:2:6", "move it above"),
        ("a = u\na += 1", "statement:2:1", "a = a + 1"),
        ("a += 1", "statement:1:1", "write it out"),
        ("a, b = u, v", "statement:1:1", "one assignment for each"),
        ("ds.a = u", "statement:1:1", "not one name"),
        ("a = b = u", "statement:1:5", "two names"),
        ("a: float = u", "statement:1:1", "annotation"),
        ("a = u\nu + v", "statement:2:1", "name = ..."),
        ("a = u\nimport math", "statement:2:1", "nothing else"),
        ("a = u +", "statement:1:8", "not valid Python"),
        ("1 = u", "statement:1:1", "not valid Python"),
        ("_i0 = u", "statement:1:1", "index symbol"),
        ("a = u\n\nb = v * _i_tim", "statement:3:9", "_i_time"),
        ("u + _n_depth", "kernel:1:5", "its dimensions are time, lat, lon"),
        ("", "kernel:1:1", "empty"),
        ("   ", "kernel:1:1", "empty"),
        ("u +", "1:4", "not valid Python"),
        ("(lambda x: x + 1)(u)", "1:2", "lambda"),
        ("u.__class__", "1:1", "attribute"),
        ("__import__('os')", "1:", "import"),
        ("u + 'string'", "1:5", "string"),
        ("u.nonexistent_method()", "1:", "method"),
    ],
)
def test_errors_point_at_the_users_text(statement, place, word):
    statement = statement.replace("\\n", "\n")
    with pytest.raises(KernelSyntaxError) as caught:
        climate().mex.eval(statement)
    assert isinstance(caught.value, ValueError)
    assert place in str(caught.value)
    assert word in str(caught.value)


def test_errors_of_dtypes_and_elements_know_their_line():
    ds = climate()
    with pytest.raises(KernelTypeError, match=r"statement:2:7: "):
        ds.mex.eval("a = u\nb = a & 1")
    with pytest.raises(mexdask.KernelRuntimeError, match=r"statement:3:13") as caught:
        ds.mex.eval("a = u\n\nb =   count ** (count - 50)")
    assert caught.value.index == (0, 0)


@pytest.mark.parametrize(
    ("statement", "options"),
    [
        ("a = u\nb = a + missing", {}),
        ("a = u\nb = a & 1", {}),
        ("u * v", {"keep_attrs": "every"}),
        ("u * v", {"keep_attrs": "identical"}),
        ("u * v", {"names": ["a", "b"]}),
    ],
)
def test_what_is_wrong_comes_before_any_computation(statement, options):
    mexdask.reset_stats()
    for ds in (climate(), xr.DataTree.from_dict({"/a": climate()})):
        with pytest.raises(MexError):
            ds.mex.eval(statement, jit="off", **options)
    with pytest.raises(ArgumentError, match="no names"):
        ds.mex.eval("u * v", jit="off")
    assert mexdask.stats()["interpreted"] == 0


def test_objects_that_were_evaluated_can_be_pickled():
    ds = climate()
    result = ds.mex.eval("u * v", jit="off")
    again = pickle.loads(pickle.dumps(ds))
    xr.testing.assert_identical(again.mex.eval("u * v", jit="off"), result)


def test_errors_can_be_pickled():
    for statement, arguments in [("u + missing", {}), ("u + w", {"w": climate().v[:2, :2]})]:
        with xr.set_options(arithmetic_join="exact"), pytest.raises(MexError) as caught:
            climate().mex.eval(statement, **arguments)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), str(again)) == (type(caught.value), str(caught.value))


def test_fast_mode_is_asked_for_above_assignments():
    ds = climate()
    found = ds.mex.explain("# me:fp=fast\n\na = u + v\nb = a * 2", jit="off")
    assert [one.pragmas for one in found.values()] == ["fp=fast", "fp=fast"]


# What is said about a call.


@pytest.mark.compiler
def test_explain():
    ds = climate()
    found = ds.mex.explain("hypot(u, v) * k + lat", k=2.0, jit="require")
    assert found.engine == "native"
    assert found.bindings == {
        "u": "variable 'u': (time: 4, lat: 3, lon: 5) float64",
        "v": "variable 'v': (time: 4, lat: 3, lon: 5) float64",
        "k": "given: a float",
        "lat": "coordinate 'lat': (lat: 3) float64",
    }
    for line in found.bindings.values():
        assert line in str(found)
    by_array = ds.u.mex.explain("x * w", w=ds.v)
    assert by_array.bindings["x"].startswith("variable 'u'")
    assert by_array.bindings["w"].startswith("given: (time: 4")
    mexdask.reset_stats()
    lazy = KINDS["chunked"](ds).mex.explain("u + flipped")
    assert lazy.predicted
    assert lazy.bindings["u"].endswith("float64, lazy")
    assert mexdask.explain("a + b", ds.u, ds.lat, jit="off").signature.endswith("-> float64")
    assert (mexdask.stats()["native"], mexdask.stats()["interpreted"]) == (0, 0)


def test_explain_assignments_and_trees(ds):
    mexdask.reset_stats()
    text = "a = count * u\nb = a > lat"
    found = ds.mex.explain(text, jit="off")
    assert list(found) == ["a", "b"]
    assert found["b"].signature == "(a: float64[], lat: float64[]) -> bool"
    assert isinstance(ds.mex.explain("a = u * 2", jit="off"), mexdask.Explanation)
    tree = xr.DataTree.from_dict({"/x": ds, "/y/z": ds[["v"]]})
    assert list(tree.mex.explain("v * 2", jit="off")) == ["x", "y/z"]
    assert list(tree.mex.explain(text, jit="off")) == ["x a", "x b"]
    assert "x a\n    signature" in str(tree.mex.explain(text, jit="off"))
    assert (mexdask.stats()["native"], mexdask.stats()["interpreted"]) == (0, 0)


def test_notebooks_show_explanations_and_kernels():
    ds = climate()
    one = ds.mex.explain("u if u < v else v", jit="off")
    both = ds.mex.explain("a = u < v\nb = a & flag", jit="off")
    kernel = mexdask.kernel("def f(x):\n    return x if x < 1 else 2")
    for shown in (one, both, kernel):
        text = shown._repr_html_()
        tree = ElementTree.fromstring(text)
        assert tree.tag == "div"
        assert not [e for e in tree.iter("details") if e.find("summary") is None]
    assert "return x if x < 1 else 2" in "".join(ElementTree.fromstring(text).itertext())
    said = "".join(ElementTree.fromstring(one._repr_html_()).itertext())
    for piece in (one.signature, one.reason, *one.bindings.values(), *one.ir.strip().split("\n")):
        assert piece in said
    assert one.c.split("\n")[0] in said


# Importing.


def test_importing_registers_the_accessors_and_nothing_else_does():
    code = (
        "import sys, mexdask; from mexdask import apply, explain, kernel\n"
        "assert 'xarray' not in sys.modules\n"
        "import xarray as xr; assert not hasattr(xr.Dataset, 'mex')\n"
        "da = xr.DataArray([1.0], dims='x', name='t')\n"
        "print(apply('x + 1', da, jit='off').name, 'mexdask.xarray' in sys.modules)\n"
        "import mexdask.xarray\n"
        "print([hasattr(kind, 'mex') for kind in (xr.Dataset, xr.DataArray, xr.DataTree)])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", code],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "t False\n[True, True, True]\n", done.stderr


@pytest.mark.skipif(EXPRESSIONS or not HAS_EXPRESSIONS, reason="no other back end")
def test_expression_back_end():
    """The test marked ``both``, in a process whose arrays are expressions."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "both", "-p", "no:cacheprovider", "-q", __file__],
        env=os.environ | {"DASK_ARRAY__QUERY_PLANNING": "True"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
