"""What machine code is made for: the machine, its instruction set level and every compiler flag.

Nothing here needs a compiler, so that a process without one can still read the shared cache.
"""

from __future__ import annotations

import functools
import platform
import re
import shlex
import struct
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from mexdask.backend.cabi import ABI_VERSION
from mexdask.runtime.failure import Failure, FailureClass

try:
    # From CPUID, so right under emulation too, where /proc/cpuinfo shows the host's CPU.
    from numpy._core._multiarray_umath import (  # type: ignore[import-not-found]
        __cpu_features__ as CPU_FEATURES,
    )
except ImportError:
    CPU_FEATURES = {}

LEVELS = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")
# NumPy < 2.4 has no row per level; on real CPUs these features imply the rest of the level.
LEVEL_FEATURES = {
    "x86-64-v4": ("X86_V4", ("AVX512_SKX", "AVX2", "FMA3", "F16C")),
    "x86-64-v3": ("X86_V3", ("AVX2", "FMA3", "F16C")),
    "x86-64-v2": ("X86_V2", ("SSE3", "SSSE3", "SSE41", "SSE42", "POPCNT")),
}

COMMON_FLAGS = (
    "-std=gnu11",
    "-fPIC",
    "-shared",
    "-fno-plt",
    "-fvisibility=hidden",
    "-fwrapv",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-builtin",
    "-fno-strict-aliasing",
)
LEVEL = ("-O3",)
GCC_ONLY = (
    "-fcaller-saves",
    "-fschedule-insns2",
    "-fexpensive-optimizations",
    "-fipa-ra",
    "--param=max-inline-insns-single=200",
)
"""Flags that other compilers warn of, or take for errors."""
# What -O3 does for text that is vectors already, in two thirds of its time: the rest of it looks
# for loops. Sine and cosine of one angle share their work only once both are inlined.
LANES_LEVEL = ("-O1", "-ftree-vectorize", "-finline-functions", *GCC_ONLY)
NOT_ON_DARWIN = ("-fno-plt",)
# Never -ffast-math: it links start-up code that changes the rounding of the whole process.
FP_FLAGS = {
    "strict": ("-ffp-contract=off",),
    "contract": ("-ffp-contract=fast",),
    "fast": (
        "-ffp-contract=fast",
        "-fassociative-math",
        "-fno-signed-zeros",
        "-fno-trapping-math",
        "-ffinite-math-only",
    ),
}
LIBRARIES = ("-lm",)

STOPS = "it stops before a shared object is made"
FILES = "what is in other files is not part of the cache key, and kernels need none"
LOADABLE = "what is made must be a shared object that a process can load"
WRITES = "it makes the compiler or the kernel write other files"
RESULTS = "it changes results; a kernel asks for that itself, by the pragma `# me:fp=`"
PROGRAMS = "it makes the compiler run other programs or plugins"
ROUNDING = "it changes the floating-point state of the whole process when the kernel is loaded"
NATIVE = "the cache is shared between CPUs; the level is the setting mexdask.isa"
REFUSED = (
    (r"-o.*|--output.*", "the output's name is not the user's to choose"),
    (r"-c|-E|-S|-M.*|-fsyntax-only|--compile|--preprocess|--assemble", STOPS),
    (r"-###|-v|--help.*|--version|--?print-.*|-dump(machine|specs|version|fullversion)", STOPS),
    (r"-|-x.*|--language.*|[^-].*", "the input is always one file of C"),
    (r"@.*|--config.*", "flags must be in the text itself, which is part of the cache key"),
    (r"-I.*|--?include.*|-imacros.*|-i(system|quote|dirafter|prefix).*", FILES),
    (r"-[lLT].*|--library.*|-u.*|-z.*", FILES),
    (r"--?shared|-r|-pie|-no-pie|--?static.*|-nostd.*|-nostart.*|-nodefault.*", LOADABLE),
    (r"-B.*|--prefix.*|--?specs.*|-fplugin.*|--?wrapper.*|-fuse-ld.*|--ld-path.*", PROGRAMS),
    (r"-X.+|-W[alp],.*|-mllvm.*", PROGRAMS),
    (r"-save-temps.*|-fdump-.*|-dump.*|-pg?|--coverage|-fprofile-.*|-ftest-coverage", WRITES),
    (r"-ffast-math|-Ofast|-funsafe-math-optimizations|--fast-math|--unsafe-.*", ROUNDING),
    (r"-ffp-model=.*|-mdaz-ftz|-mpc(32|64|80)", ROUNDING),
    (r"-ffp-contract=.*|-ffinite-math-only|-fassociative-math|-freciprocal-math", RESULTS),
    (r"-fno-signed-zeros|-fsingle-precision-constant|-mfpmath=.*|-fno-wrapv|-ftrapv", RESULTS),
    (r"-fstrict-(aliasing|overflow)|-m(16|32|x32|mmx)|-fbuiltin.*", RESULTS),
    (r"-m(arch|cpu|tune)=native.*", NATIVE),
    (r"-fsanitize=.*(address|thread|memory|leak).*", "its run-time ends a process that loads it"),
)
TAKE_A_WORD = ("-D", "-U", "--param")


@dataclass(frozen=True, slots=True)
class Host:
    """What a process runs on, as far as machine code cares; it travels, to be compiled for.

    Parameters
    ----------
    machine, system, libc : str
        As ``platform`` names them; ``libc`` has its version.
    pointer_bits : int
        32 or 64.
    byteorder : str
        "little" or "big".
    isa : str
        The best level of its CPU on x86-64, empty for the baseline elsewhere.
    """

    machine: str
    system: str
    libc: str
    pointer_bits: int
    byteorder: str
    isa: str


@dataclass(frozen=True, slots=True)
class Target(Host):
    """What a shared object was or will be made for; every field is part of the cache key.

    Parameters
    ----------
    machine, system, libc, pointer_bits, byteorder
        Of the host.
    isa : str
        Level of the instruction set that the code may use, at most the host's.
    abi : int
        Version of the entry's signature.
    flags : tuple of str
        Every flag in order, the user's included, libraries last.
    """

    abi: int
    flags: tuple[str, ...]


def isa_level(
    wanted: str = "auto",
    machine: str = platform.machine(),
    features: Mapping[str, bool] | None = None,
) -> str:
    """Return the level to compile for: the machine's best, or ``wanted`` where that is less.

    Parameters
    ----------
    wanted : str
        "auto" or one of ``LEVELS``.
    machine : str
        As ``platform.machine()`` names it.
    features : mapping, optional
        CPU features by NumPy's names; this machine's if not given.
    """
    if machine not in ("x86_64", "AMD64") or struct.calcsize("P") != 8:
        return ""
    known = CPU_FEATURES if features is None else features
    best = next((level for level in reversed(LEVELS[1:]) if has_level(level, known)), LEVELS[0])
    return lowered(best, wanted)


def lowered(best: str, wanted: str) -> str:
    """Return the wanted level where a CPU whose best is ``best`` has it, else ``best``."""
    if best not in LEVELS or wanted not in LEVELS:
        return best
    return min(best, wanted, key=LEVELS.index)


def has_level(level: str, features: Mapping[str, bool]) -> bool:
    """Tell whether a CPU with these features runs code of a level."""
    row, older = LEVEL_FEATURES[level]
    return features[row] if row in features else all(features.get(f) for f in older)


def target_flags(
    fp: str,
    isa: str,
    user_flags: tuple[str, ...] = (),
    system: str = platform.system(),
    *,
    lanes: bool = False,
) -> tuple[str, ...]:
    """Return every flag of a compile, in order; they go after the input file.

    Parameters
    ----------
    fp : {"strict", "contract", "fast"}
        How far floating-point arithmetic may depart from what is written.
    isa : str
        A level of ``LEVELS``, or empty.
    user_flags : tuple of str
        What ``user_flags`` let through.
    system : str
        As ``platform.system()`` names it.
    lanes : bool
        Whether the text is vectors already.
    """
    left_out = NOT_ON_DARWIN if system == "Darwin" else ()
    level = LANES_LEVEL if lanes else LEVEL
    common = tuple(flag for flag in (*COMMON_FLAGS, *level) if flag not in left_out)
    # GCC moves 8 bytes through MMX registers, which leaves the process's long doubles broken.
    march = (f"-march={isa}", "-mno-mmx") if isa else ()
    return common + FP_FLAGS[fp] + march + user_flags + LIBRARIES


@functools.cache
def this_host() -> Host:
    """Return what this process runs on."""
    return Host(
        machine=platform.machine(),
        system=platform.system(),
        libc="-".join(part for part in platform.libc_ver() if part) or "unknown",
        pointer_bits=8 * struct.calcsize("P"),
        byteorder=sys.byteorder,
        isa=isa_level(),
    )


@functools.lru_cache(maxsize=256)
def target_on(
    host: Host,
    fp: str = "strict",
    user_flags: tuple[str, ...] = (),
    isa: str = "auto",
    *,
    lanes: bool = False,
) -> Target:
    """Return the target of a process on a host, this one or another.

    Parameters
    ----------
    host : Host
        Where the code is to run.
    fp : {"strict", "contract", "fast"}
        The kernel's own wish.
    user_flags : tuple of str
        What ``user_flags`` let through there.
    isa : str
        "auto" or a level that must not be passed.
    lanes : bool
        Whether the text is vectors already.
    """
    level = lowered(host.isa, isa)
    flags = target_flags(fp, level, user_flags, host.system, lanes=lanes)
    return Target(**asdict(replace(host, isa=level)), abi=ABI_VERSION, flags=flags)


def host_target(
    fp: str = "strict", user_flags: tuple[str, ...] = (), isa: str = "auto", *, lanes: bool = False
) -> Target:
    """Return the target of this process; parameters as for ``target_on``."""
    return target_on(this_host(), fp, user_flags, isa, lanes=lanes)


@functools.lru_cache(maxsize=16)
def user_flags(text: str) -> tuple[str, ...] | Failure:
    """Return the flags in the text of ``ME_DSL_JIT_CFLAGS``, or why they are refused.

    Parameters
    ----------
    text : str
        Split as a shell would split it, but never given to a shell.
    """
    try:
        flags = tuple(shlex.split(text))
    except ValueError as error:
        return Failure(FailureClass.BAD_FLAGS, f"ME_DSL_JIT_CFLAGS={text!r}: {error}")
    for before, flag in zip(("", *flags), flags, strict=False):
        if before in TAKE_A_WORD:
            continue
        for pattern, why in REFUSED:
            if re.fullmatch(pattern, flag, re.DOTALL):
                return Failure(
                    FailureClass.BAD_FLAGS, f"ME_DSL_JIT_CFLAGS: {flag!r} is refused: {why}"
                )
    return flags
