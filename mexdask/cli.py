"""``dask mex``: look at kernels, at this machine and at the cache from a terminal."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from mexdask.api import explain
from mexdask.api import kernel as kernel_of
from mexdask.call import Kernel
from mexdask.doctor import examine
from mexdask.errors import ArgumentError, KernelError, MexError
from mexdask.explanation import Explanation
from mexdask.frontend.source import source_of_text
from mexdask.kernelspec import WEAK_CLASSES, stand_in
from mexdask.ops import ALIASES, FUNCTIONS, OPERATORS, SPELT_AS_OPERATOR
from mexdask.prebuilt import build as build_kernels
from mexdask.runtime import inventory
from mexdask.runtime.disk import Store, open_store
from mexdask.settings import process_settings
from mexdask.tabular import table

VERDICTS = {
    True: "native code runs here",
    False: "the NumPy interpreter runs what is not prebuilt, sent or cached here",
}
PYTHON_SCALARS = {kind.__name__: kind for kind in WEAK_CLASSES}
KERNEL_HELP = """KERNEL is a file with the text of a kernel, "-" for standard input, or
module:name for a kernel or function of a Python module."""
TYPES_HELP = """Types of the parameters, separated by commas: a dtype such as float32 for an array,
int, float, complex or bool for a Python scalar, bool_ for an array of bools. Without it every
parameter that has no default is an array of float64."""


class Group(click.Group):
    """Commands whose expected errors are one message and exit code 1, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except MexError as error:
            raise click.ClickException(str(error).strip()) from None


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
types_option = click.option("--dtypes", "types", metavar="TYPE,...", help=TYPES_HELP)


@click.group(cls=Group, name="mex")
@click.version_option(package_name="mexdask")
def mex() -> None:
    """Compiled kernels on Dask arrays: diagnose, inspect, build, look into the cache."""


@mex.command()
@as_json
def doctor(as_json: bool) -> None:
    """Find out whether native code runs here, and what to do if not.

    Compiles and runs a kernel. The exit code is 0 only where native code runs.
    """
    checks = []
    for check in examine():
        checks.append(check)
        if not as_json:
            click.echo(f"{'ok  ' if check.ok else 'FAIL'} {check.name:9s} {check.found}")
            if check.advice:
                click.echo(f"     {'':9s} -> {check.advice}")
    native = checks[-1].ok
    if as_json:
        print_json({"native": native, "checks": [asdict(check) for check in checks]})
    else:
        click.echo(VERDICTS[native])
    sys.exit(0 if native else 1)


@mex.command(help=f"Say whether kernels are in the language.\n\n{KERNEL_HELP}")
@click.argument("kernels", nargs=-1, required=True, metavar="KERNEL...")
@types_option
@as_json
def check(kernels: tuple[str, ...], types: str | None, as_json: bool) -> None:
    """Parse, validate and type kernels; the exit code is 1 if one is outside the language."""
    found = []
    for spec in kernels:
        try:
            kernel = load_kernel(spec)
            signature = explained(kernel, types).signature
            found.append({"kernel": spec, "ok": True, "signature": signature, "complaints": []})
        except KernelError as error:
            found.append({"kernel": spec, "ok": False, "complaints": complaints(error)})
            if not as_json:
                click.echo(str(error).strip(), err=True)
        else:
            if not as_json:
                click.echo(f"{spec}: ok: {signature}")
    if as_json:
        print_json(found)
    sys.exit(0 if all(one["ok"] for one in found) else 1)


@mex.command(help=f"Show how a kernel would run, or what it becomes.\n\n{KERNEL_HELP}")
@click.argument("kernel")
@types_option
@click.option("--ir", "sections", flag_value="ir", multiple=True, help="Only the typed IR.")
@click.option("--c", "sections", flag_value="c", multiple=True, help="Only the C text.")
@as_json
def show(kernel: str, types: str | None, sections: tuple[str, ...], as_json: bool) -> None:
    """Print an explanation, or parts of it."""
    how = explained(load_kernel(kernel), types)
    if as_json:
        print_json({name: getattr(how, name) for name in sections} if sections else asdict(how))
        return
    if not sections:
        click.echo(how)
    for name in sections:
        text = getattr(how, name)
        if not text:
            raise click.ClickException(f"there is no C: {how.reason}")
        click.echo(text.rstrip())


@mex.command(help=f"Compile kernels into a directory for mexdask.prebuilt.\n\n{KERNEL_HELP}")
@click.argument("kernels", nargs=-1, required=True, metavar="KERNEL...")
@types_option
@click.option("--out", required=True, type=click.Path(file_okay=False), help="The directory.")
@click.option(
    "--isa", multiple=True, metavar="LEVEL",
    help="An instruction set level, such as x86-64-v3; may be repeated. All of them if not given.",
)  # fmt: skip
@as_json
def build(
    kernels: tuple[str, ...], types: str | None, out: str, isa: tuple[str, ...], as_json: bool
) -> None:
    """Compile and write; everything or nothing."""
    loaded = [load_kernel(spec) for spec in kernels]
    wanted = [(kernel, *arguments(kernel, types)) for kernel in loaded]
    built = build_kernels(wanted, out, isa or None)
    if as_json:
        print_json([asdict(one) for one in built])
        return
    rows = [(one.kernel, one.isa or "baseline", one.size, one.path) for one in built]
    click.echo(table(("kernel", "isa", "bytes", "path"), rows))


@mex.command()
@as_json
def ops(as_json: bool) -> None:
    """List the operators and functions that kernels may use."""
    spelt: dict[str, list[str]] = {}
    for alias, name in (ALIASES | SPELT_AS_OPERATOR).items():
        spelt.setdefault(name, []).append(alias)
    header = ("name", "arguments", "ulp", "also", "meaning")
    rows = [
        (op.name, op.arity, op.ulp, " ".join(spelt.get(op.name, ())), op.doc)
        for op in (*OPERATORS, *FUNCTIONS)
    ]
    if as_json:
        print_json([dict(zip(header, row, strict=True)) for row in rows])
    else:
        click.echo(table(header, rows))


@mex.group(cls=Group)
def cache() -> None:
    """Look into the directory of compiled kernels that this user has below TMPDIR."""


@cache.command("list")
@as_json
def list_entries(as_json: bool) -> None:
    """List every entry: when it was used, its size, types, level and compiler, or its fault."""
    found = list(inventory.entries(opened_store()))
    if as_json:
        print_json([entry_facts(entry) for entry in found])
        return
    rows = [entry_row(entry) for entry in found]
    header = ("last used", "bytes", "isa", "types", "compiler", "file")
    click.echo(table(header, rows) if rows else "the cache is empty")


@cache.command("info")
@as_json
def cache_info(as_json: bool) -> None:
    """Say where the cache is, how much it holds and what was set aside in it."""
    held = inventory.info(opened_store())
    most = process_settings().cache_size
    if as_json:
        facts = asdict(held)
        facts["directory"] = facts.pop("root")
        print_json(facts | {"most_bytes": most})
        return
    click.echo(f"directory  {held.root}\nentries    {held.entries}")
    click.echo(f"bytes      {held.bytes} of at most {most}\nset aside  {len(held.set_aside)}")
    for bad in held.set_aside:
        click.echo(f"           {when(bad.when)} {bad.entry}: {bad.why}")


@cache.command("clear")
@as_json
def clear(as_json: bool) -> None:
    """Remove every entry; what is loaded stays loaded, what is wanted is compiled again."""
    gone = inventory.clear(opened_store())
    if as_json:
        print_json({"removed": gone})
    else:
        click.echo(f"{gone} entries removed")


@cache.command("verify")
@as_json
def verify(as_json: bool) -> None:
    """Read every entry and set the bad ones aside; the exit code is 1 if there were any."""
    bad = inventory.verify(opened_store())
    if as_json:
        print_json([entry_facts(entry) for entry in bad])
    else:
        for entry in bad:
            click.echo(f"set aside: {entry.path}: {entry.fault}")
        click.echo(f"{len(bad)} bad entries" if bad else "every entry is right")
    sys.exit(1 if bad else 0)


def opened_store() -> Store:
    """Return the cache directory, or say that there is none."""
    own = process_settings()
    if (store := open_store(own.tmpdir)) is None:
        raise click.ClickException(f"no cache directory can be had below {own.tmpdir}")
    return store


def entry_row(entry: inventory.CacheEntry) -> tuple[object, ...]:
    """Return one line of the list of entries."""
    name = Path(entry.path).name
    if entry.key is None:
        return when(entry.used), entry.size, "", "", f"bad: {entry.fault}", name
    types = " ".join(entry.key.dtypes)
    return when(entry.used), entry.size, entry.key.target.isa, types, entry.compiler, name


def entry_facts(entry: inventory.CacheEntry) -> dict[str, object]:
    """Return an entry for programs."""
    facts = asdict(entry)
    if entry.key is not None:
        facts["key"] = entry.key.record() | {"digest": entry.key.digest}
    return facts


def when(seconds: float) -> str:
    """Return a time of this machine's clock."""
    return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")


def load_kernel(spec: str) -> Kernel:
    """Return the kernel that a word of the command line names."""
    module, colon, name = spec.rpartition(":")
    if spec == "-":
        return Kernel(source_of_text(sys.stdin.read()))
    if colon and not Path(spec).exists():
        return imported(module, name)
    path = Path(spec)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{spec} cannot be read: {error}") from None
    return Kernel(replace(source_of_text(text, path.stem), origin=spec))


def imported(module: str, name: str) -> Kernel:
    """Return a kernel or function of a module, which may stand in the working directory."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.ClickException(f"{module}:{name}: {error}") from None
    return kernel_of(found)


def arguments(kernel: Kernel, types: str | None) -> list[Any]:
    """Return what stands for the arguments of a kernel."""
    if types is None:
        defaults = kernel._parsed.defaults
        return [np.dtype("float64") for name in kernel.parameters if name not in defaults]
    words = [word.strip() for word in types.split(",")] if types.strip() else []
    if len(words) > len(kernel.parameters):
        listed = ", ".join(kernel.parameters)
        raise ArgumentError(f"--dtypes names {len(words)} types; the parameters are: {listed}")
    return [PYTHON_SCALARS.get(word, word) for word in words]


def explained(kernel: Kernel, types: str | None) -> Explanation:
    """Return how a kernel would run."""
    return explain(kernel, *map(stand_in, arguments(kernel, types)))


def complaints(error: KernelError) -> Iterable[dict[str, object]]:
    """Return what is wrong with a kernel, for programs."""
    return [
        {
            "code": d.code,
            "message": d.message,
            "place": error.source.place(d.span),
            "hint": d.hint,
        }
        for d in error.diagnostics
    ]


def print_json(value: object) -> None:
    """Print a value for programs."""
    click.echo(json.dumps(value, indent=2, default=str))
