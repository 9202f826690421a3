"""Use an installed mexdask as a stranger would: ``python ci/smoke.py [xarray] [distributed]``."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path

import dask.array as da
import numpy as np

import mexdask


def main(extras: list[str]) -> int:
    """Run one kernel on NumPy and Dask, and on whatever else is said to be there."""
    tree = Path(__file__).resolve().parent.parent
    assert Path(mexdask.__file__).resolve().parent != tree / "mexdask", "not the installed one"
    assert importlib.metadata.version("mexdask") == mexdask.__version__
    x = np.linspace(-1.0, 1.0, 1000)
    source = "x * x if x > 0 else -x"
    want = np.where(x > 0, x * x, -x)
    assert (mexdask.apply(source, x) == want).all()
    assert (mexdask.apply(source, da.from_array(x, chunks=100)).compute() == want).all()
    assert (mexdask.apply(source, x, jit="off") == want).all()
    if "xarray" in extras:
        import xarray

        importlib.import_module("mexdask.xarray")

        ds = xarray.Dataset({"x": ("n", x)})
        assert (ds.mex.eval(f"y = {source}").y == want).all()
    if "distributed" in extras:
        from distributed import Client, LocalCluster

        with LocalCluster(n_workers=1, dashboard_address=":0") as cluster, Client(cluster):
            assert (mexdask.apply(source, da.from_array(x, chunks=100)).compute() == want).all()
    print("smoke test passed:", mexdask.explain(source, x).reason)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
