"""Many threads, processes and forks ask for one kernel: it is compiled once, and nobody hangs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from runtime.runtime_kit import compiles, in_threads, recording_cc, script

import mexdask
from mexdask.runtime.memory import KERNELS

pytestmark = pytest.mark.skipif(os.name != "posix", reason="nothing is compiled on Windows")

SOURCE = "def k(x, n):\n    y = 0.0\n    for i in range(n):\n        y = y * 0.5 + x\n    return y"
X = np.linspace(-3.0, 3.0, 1001)


@pytest.fixture
def environ(tmp_path):
    """A fresh directory and the real compiler, which keeps a log."""
    cc, _ = recording_cc(tmp_path)
    return {"CC": str(cc), "TMPDIR": str(tmp_path), "ME_DSL_JIT": "1"}


@pytest.fixture
def log(tmp_path, environ):
    return tmp_path / "compiles"


@pytest.fixture
def this_process(environ, monkeypatch):
    """The same for this process, which then knows no kernel."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    KERNELS.clear()
    mexdask.reset_stats()
    yield
    KERNELS.clear()


def started(code, environ, *arguments):
    """Another Python process that runs some code after common imports."""
    prelude = (
        f"import json, os, sys, threading, time\nimport numpy as np\nimport mexdask\n{HELPERS}"
    )
    return subprocess.Popen(
        [sys.executable, "-W", "error::UserWarning", "-c", prelude + code, *map(str, arguments)],
        env=os.environ | environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process, line=""):
    """What a process printed, as JSON; it is sent a line first."""
    out, err = process.communicate(line, timeout=60)
    assert process.returncode == 0, err
    return json.loads(out)


HELPERS = f"""
SOURCE = {SOURCE!r}
X = np.linspace(-3.0, 3.0, 1001)

def run(jit="require"):
    return mexdask.apply(SOURCE, X, 30, jit=jit).tobytes().hex()

def report(**more):
    counters = {{k: v for k, v in mexdask.stats().items() if k != "cache"}}
    print(json.dumps(counters | more))
"""


def test_threads_compile_once(this_process, log):
    expected = mexdask.apply(SOURCE, X, 30, jit="off")
    mexdask.reset_stats()
    results = in_threads(20, lambda i: mexdask.apply(SOURCE, X, 30, jit="require"))
    assert all(result.tobytes() == expected.tobytes() for result in results)
    stats = mexdask.stats()
    assert compiles(log) == stats["compiled"] == 1
    assert (stats["native"], stats["memory_hits"], stats["disk_hits"]) == (20, 19, 0)


def test_threads_compile_each_kernel_once(this_process, log):
    results = in_threads(20, lambda i: mexdask.apply(f"x * {i % 4} + 1", X, jit="require"))
    for i, result in enumerate(results):
        np.testing.assert_array_equal(result, X * (i % 4) + 1)
    assert compiles(log) == mexdask.stats()["compiled"] == 4


def test_native_code_runs_without_the_interpreter_lock(this_process):
    few = X[:16]
    mexdask.apply(SOURCE, few, 2, jit="require")
    thread = threading.Thread(target=lambda: mexdask.apply(SOURCE, few, 50_000_000, jit="require"))
    thread.start()
    naps = 0
    while thread.is_alive():
        time.sleep(0.005)
        naps += 1
    stats = mexdask.stats()
    assert stats["native"] == 2
    assert stats["native_seconds"] > 0.1, "long enough to tell"
    assert naps > 5


def test_processes_compile_once(environ, log):
    code = "print('ready', flush=True); sys.stdin.readline(); report(result=run())"
    crowd = [started(code, environ) for _ in range(8)]
    for process in crowd:  # all have imported, none has begun
        assert process.stdout.readline() == "ready\n"
    for process in crowd:
        process.stdin.write("go\n")
        process.stdin.flush()
    reports = [said(process) for process in crowd]
    assert compiles(log) == sum(r["compiled"] for r in reports) == 1
    assert sum(r["disk_hits"] for r in reports) == 7
    assert all(r["native"] == 1 for r in reports)
    expected = mexdask.apply(SOURCE, X, 30, jit="off").tobytes().hex()
    assert {r["result"] for r in reports} == {expected}


ASKED = """
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "-###")) { FILE *f = fopen(LOG, "a"); fputs("x\\n", f); fclose(f); }
    argv[0] = "/usr/bin/cc";
    execv(argv[0], argv);
    return 127;
}
"""


def test_one_process_asks_the_compiler_what_it_is(tmp_path, environ):
    asked, program = tmp_path / "asked", tmp_path / "binary-cc"
    (tmp_path / "asked.c").write_text(ASKED)
    words = ["/usr/bin/cc", f'-DLOG="{asked}"', "-o", program, tmp_path / "asked.c"]
    subprocess.run(words, check=True)
    environ["CC"] = str(program)
    code = "print('ready', flush=True); sys.stdin.readline(); report(result=run())"
    crowd = [started(code, environ) for _ in range(6)]
    for process in crowd:
        assert process.stdout.readline() == "ready\n"
    for process in crowd:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert sum(said(process)["compiled"] for process in crowd) == 1
    assert compiles(asked) == 1


@pytest.mark.parametrize("switch", ["0", "off", "FALSE", " no "])
def test_disabled_processes_touch_no_compiler(tmp_path, environ, switch):
    calls = tmp_path / "calls"
    environ["CC"] = str(script(tmp_path / "any", f'echo "$@" >> "{calls}"; exec /usr/bin/cc "$@"'))
    enabled = said(started("report(result=run())", environ))
    assert calls.exists(), "the log works"
    calls.unlink()

    environ |= {"ME_DSL_JIT": switch, "TMPDIR": str(tmp_path / "fresh")}
    (tmp_path / "fresh").mkdir()
    disabled = said(started("report(result=run('auto'))", environ))
    assert not calls.exists()
    assert not list((tmp_path / "fresh").iterdir())
    assert disabled["result"] == enabled["result"]
    assert (disabled["interpreted"], disabled["native"]) == (1, 0)
    assert (enabled["interpreted"], enabled["native"]) == (0, 1)


FORK = """
def forked(work):
    "Run in a forked child; return what it returned, None if it has not ended in time."
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    for _ in range(400):
        if os.waitpid(pid, os.WNOHANG)[0]:
            return json.loads(os.read(reader, 1 << 20))
        time.sleep(0.05)
    os.kill(pid, 9)

def child():
    result = run()
    counters = {k: v for k, v in mexdask.stats().items() if k != "cache"}
    return counters | {"result": result}

"""


def test_fork_after_load(environ, log):
    code = "expected = run(); theirs = forked(child); report(same=run() == expected, theirs=theirs)"
    ours = said(started(FORK + code, environ))
    theirs = ours.pop("theirs")
    assert theirs is not None, "the child hung"
    assert compiles(log) == 1
    assert (theirs["native"], theirs["memory_hits"], theirs["compiled"]) == (1, 1, 0)
    assert (ours["native"], ours["memory_hits"], ours["compiled"]) == (2, 1, 1)
    assert ours["same"]


def test_fork_during_compile(tmp_path, environ, log):
    """The child has no thread that builds, and must not wait for one, nor keep its lock."""
    recording_cc(tmp_path, body="sleep 1")
    code = """
results = []
builder = threading.Thread(target=lambda: results.append(run()))
builder.start()
log = sys.argv[1]
while not os.path.getsize(log):
    time.sleep(0.01)
theirs = forked(child)
builder.join()
report(theirs=theirs, result=results[0])
"""
    ours = said(started(FORK + code, environ, log))
    theirs = ours.pop("theirs")
    assert theirs is not None, "the child hung"
    assert theirs["native"] == ours["native"] == 1
    assert theirs["result"] == ours["result"]
    assert compiles(log) == ours["compiled"] + theirs["compiled"]
    assert ours["compiled"] == 1


def test_fork_while_the_compiler_is_started(environ):
    """The child has a copy of the pipe by which its parent hears that the compiler has begun."""
    code = """
import subprocess
begun, fork_exec = threading.Event(), subprocess._fork_exec
def slow_fork_exec(*args):
    pid = fork_exec(*args)
    begun.set()
    time.sleep(0.3)
    return pid
subprocess._fork_exec = slow_fork_exec
builder = threading.Thread(target=run)
builder.start()
begun.wait()
pid = os.fork()
if pid == 0:
    time.sleep(60)
    os._exit(0)
builder.join(30)
report(waited_for_the_child=builder.is_alive())
os.kill(pid, 9)
"""
    assert not said(started(FORK + code, environ))["waited_for_the_child"]


def test_fork_while_other_threads_run(environ):
    code = """
run()
stop = threading.Event()
def busy():
    while not stop.is_set():
        run()
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads:
    thread.start()
theirs = [forked(child) for _ in range(10)]
stop.set()
for thread in threads:
    thread.join()
report(theirs=theirs, result=run())
"""
    ours = said(started(FORK + code, environ))
    assert None not in ours["theirs"], "a child hung"
    assert {child["result"] for child in ours["theirs"]} == {ours["result"]}
    assert all(child["native"] == child["memory_hits"] == 1 for child in ours["theirs"])
