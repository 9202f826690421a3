"""What the tests on clusters share: schedulers and workers as processes of their own, a kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import dask
import dask.array as da
import pytest

import mexdask

distributed = pytest.importorskip("distributed")

ESCAPE = """
def escape(re, im, limit):
    zr = re
    zi = im
    for step in range(limit):
        if zr * zr + zi * zi > 4.0:
            return step + 0.25
        zr, zi = zr * zr - zi * zi + re, 2.0 * zr * zi + im
    return sqrt(zr * zr + zi * zi)
"""


@contextmanager
def workers(directory, processes=True, n_workers=2, threads=1, **environ):
    """A client of a cluster whose worker processes have a cache directory of their own."""
    own = {"env": {"TMPDIR": str(directory), "ME_DSL_JIT": "1", **environ}} if processes else {}
    with (
        distributed.LocalCluster(
            processes=processes,
            n_workers=n_workers,
            threads_per_worker=threads,
            dashboard_address=":0",
            **own,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


class Machines:
    """A scheduler and workers as processes started by Dask's command lines."""

    def __init__(self, directory):
        self.directory = directory
        self.processes = {}
        self.stack = ExitStack()
        self.file = directory / "scheduler.json"
        self.scheduler = self.start_scheduler("0")

    def start(self, name, *words, **environ):
        """Start ``dask`` with words of its command line; what it says goes to a file."""
        with open(self.directory / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *map(str, words)],
                env={**os.environ, **environ},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def start_scheduler(self, port):
        words = ("--host", "127.0.0.1", "--port", port, "--no-dashboard")
        return self.start("scheduler", "scheduler", *words, "--scheduler-file", self.file)

    def client(self):
        """Connect once the scheduler has said where it is."""
        until(lambda: self.file.exists() and self.file.stat().st_size)
        client = distributed.Client(scheduler_file=str(self.file), set_as_default=False)
        return self.stack.enter_context(client)

    def worker(self, name, *, nanny=False, threads=1, **environ):
        """Start a worker; its own directory for Dask, and TMPDIR unless that is given."""
        own = self.directory / name
        own.mkdir(exist_ok=True)
        environ = {"TMPDIR": str(own), "ME_DSL_JIT": "1", **environ}
        words = ("--name", name, "--nthreads", threads, "--no-dashboard", "--local-directory", own)
        nannies = "--nanny" if nanny else "--no-nanny"
        where = ("--scheduler-file", self.file, "--host", "127.0.0.1")
        return self.start(name, "worker", *words, nannies, *where, **environ)

    def kill(self, name):
        """End a process as the kernel's out-of-memory killer would."""
        self.processes[name].kill()
        self.processes[name].wait()

    def close(self):
        self.stack.close()
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def machines(directory):
    """Machines that are gone afterwards."""
    found = Machines(directory)
    try:
        yield found
    finally:
        found.close()


def until(condition, seconds=20):
    """Wait for a condition, and return what it was."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def plane(tiles=8, size=160):
    re = da.linspace(-2.0, 0.5, size, chunks=size // tiles)[None, :]
    im = da.linspace(1.25, -1.25, size, chunks=size // tiles)[:, None]
    return re, im


def interpreted(source, *arrays, **params):
    """What the interpreter gives for the same arguments in this process."""
    arrays = dask.compute(*arrays, scheduler="synchronous")
    return mexdask.apply(source, *arrays, jit="off", **params)


def total(stats, *counters):
    return sum(worker[counter] for worker in stats.values() for counter in counters)


def names(client):
    """The name of each worker by its address."""
    return {a: w["name"] for a, w in client.scheduler_info(n_workers=-1)["workers"].items()}


def by_name(client, by_address):
    """The same mapping by the names of workers."""
    known = names(client)
    return {known[address]: value for address, value in by_address.items()}
