"""Python-like kernels, compiled to C, run on every chunk of a Dask array."""

__version__ = "0.1.0"
