"""The target, the flags, the compiler that is found, and what becomes of its output."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from runtime_kit import REAL_CC, c_text, fake_cc, make_key, script, works

from mexdask.runtime import process, toolchain
from mexdask.runtime import target as target_module
from mexdask.runtime.build import build
from mexdask.runtime.compile import compile_image
from mexdask.runtime.disk import Store, open_store
from mexdask.runtime.entry import Artifact, pack
from mexdask.runtime.failure import Failure, FailureClass
from mexdask.runtime.target import (
    host_target,
    isa_level,
    target_flags,
    target_on,
    this_host,
    user_flags,
)
from mexdask.runtime.toolchain import Compiler, find_compiler
from mexdask.settings import ProcessSettings

V2 = {"X86_V2": True, "X86_V3": False, "X86_V4": False}
OLD_V3 = dict.fromkeys(["SSE3", "SSSE3", "SSE41", "SSE42", "POPCNT", "AVX2", "FMA3", "F16C"], True)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("-o x", "-o"),
        ("-ox", "-ox"),
        ("--output=x", "--output=x"),
        ("-O2 -c", "-c"),
        ("-E", "-E"),
        ("-S", "-S"),
        ("-x c++", "-x"),
        ("@flags", "@flags"),
        ("-shared", "-shared"),
        *(
            (flag, flag)
            for flag in (
                "-Mx -MF/tmp/x -### -v --version -print-prog-name=cc1 -dumpspecs evil.o /tmp/x.c "
                "--config=/tmp/x -I/tmp -include -isystem -imacros -lm2 -L/tmp -Tscript -static -r "
                "-fuse-ld=/tmp/x --ld-path=/tmp/x -Wl,-init,x -Wa,--help -Wp,-MD,x -Xclang "
                "-Xlinker -save-temps -fdump-tree-all=/tmp/x -pg -p --coverage -fprofile-generate "
                "-ffp-contract=fast -ffinite-math-only -fassociative-math -fno-signed-zeros "
                "-mfpmath=387 -fno-wrapv -ftrapv -fstrict-aliasing -m32 -mmmx"
            ).split()
        ),
        ("-B/tmp", "-B/tmp"),
        ("-specs=/tmp/s", "-specs=/tmp/s"),
        ("--specs=/tmp/s", "--specs=/tmp/s"),
        ("-fplugin=/tmp/p.so", "-fplugin=/tmp/p.so"),
        ("-wrapper sh,-c", "-wrapper"),
        ("-ffast-math", "-ffast-math"),
        ("-Ofast", "-Ofast"),
        ("-funsafe-math-optimizations", "-funsafe-math-optimizations"),
        ("-mdaz-ftz", "-mdaz-ftz"),
        ("-march=native", "-march=native"),
        ("-mcpu=native", "-mcpu=native"),
        ("-mtune=native", "-mtune=native"),
        ("-fsanitize=undefined,address", "-fsanitize=undefined,address"),
        ("'-Wall", "No closing quotation"),
    ],
)
def test_a_refused_flag_is_a_failure_that_names_it(text: str, word: str) -> None:
    failure = user_flags(text)
    assert isinstance(failure, Failure)
    assert failure.kind is FailureClass.BAD_FLAGS
    assert word in failure.message


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("", ()),
        ("-O2 -DX='a b'", ("-O2", "-DX=a b")),
        ("-Wall -march=x86-64-v3 -mtune=skylake", ("-Wall", "-march=x86-64-v3", "-mtune=skylake")),
        ("-D X -U Y --param l1-cache-size=1", ("-D", "X", "-U", "Y", "--param", "l1-cache-size=1")),
        ("-DX=$(touch -D'`y`'", ("-DX=$(touch", "-D`y`")),
        (
            "-g -O1 -fsanitize=undefined -Werror -Wno-x",
            ("-g", "-O1", "-fsanitize=undefined", "-Werror", "-Wno-x"),
        ),
        (
            "-mno-avx512f -mprefer-vector-width=256 -flto",
            ("-mno-avx512f", "-mprefer-vector-width=256", "-flto"),
        ),
    ],
)
def test_other_flags_pass_as_words(text: str, flags: tuple[str, ...]) -> None:
    assert user_flags(text) == flags


@pytest.mark.parametrize("fp", ["strict", "contract", "fast"])
@pytest.mark.parametrize("system", ["Linux", "Darwin"])
def test_no_mode_has_the_flags_that_change_the_process(fp: str, system: str) -> None:
    flags = target_flags(fp, "x86-64-v3", ("-g",), system)
    assert not {"-ffast-math", "-Ofast", "-funsafe-math-optimizations"} & set(flags)
    assert "-march=x86-64-v3" in flags
    assert "-march=native" not in flags
    assert ("-ffp-contract=off" in flags) == (fp == "strict")
    assert ("-fassociative-math" in flags) == (fp == "fast")
    assert ("-fno-plt" in flags) == (system == "Linux")
    assert flags[-2:] == ("-g", "-lm")


@pytest.mark.parametrize(
    ("wanted", "machine", "features", "level"),
    [
        ("auto", "x86_64", V2, "x86-64-v2"),
        ("auto", "x86_64", {**V2, "X86_V3": True}, "x86-64-v3"),
        ("auto", "x86_64", {**V2, "X86_V3": True, "X86_V4": True}, "x86-64-v4"),
        ("x86-64-v4", "x86_64", V2, "x86-64-v2"),
        ("x86-64-v2", "x86_64", {**V2, "X86_V3": True}, "x86-64-v2"),
        ("auto", "x86_64", OLD_V3, "x86-64-v3"),
        ("auto", "x86_64", {**OLD_V3, "FMA3": False}, "x86-64-v2"),
        ("auto", "x86_64", {}, "x86-64"),
        ("auto", "aarch64", V2, ""),
    ],
)
def test_the_level_is_the_best_that_the_machine_has(
    wanted: str, machine: str, features: dict[str, bool], level: str
) -> None:
    assert isa_level(wanted, machine, features) == level


def test_the_target_needs_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    target_module.this_host.cache_clear()
    target_module.target_on.cache_clear()
    target = host_target()
    assert target.flags[-1] == "-lm"
    assert target.pointer_bits in (32, 64)


@pytest.mark.parametrize(
    ("host", "wanted", "level"),
    [
        ("x86-64-v3", "auto", "x86-64-v3"),
        ("x86-64-v3", "x86-64-v4", "x86-64-v3"),
        ("x86-64-v4", "x86-64-v2", "x86-64-v2"),
        ("", "x86-64-v2", ""),
    ],
)
def test_the_target_of_another_host(host: str, wanted: str, level: str) -> None:
    own = host_target()
    target = target_on(replace(this_host(), isa=host), isa=wanted)
    assert target.isa == level
    assert [flag for flag in target.flags if flag.startswith("-march=")] == (
        [f"-march={level}"] if level else []
    )
    assert replace(target, isa=own.isa, flags=own.flags) == own


def settings_for(cc: object, **changes: object) -> ProcessSettings:
    base = ProcessSettings(compiler=str(cc), path=os.environ["PATH"])
    return replace(base, **changes)  # type: ignore[arg-type]


def found(settings: ProcessSettings, store: Store | None = None) -> Compiler:
    compiler = find_compiler(settings, store=store)
    assert isinstance(compiler, Compiler), compiler
    return compiler


@pytest.mark.parametrize("names", [("clang",), ("gcc", "clang"), ("cc", "gcc", "clang")])
def test_without_CC_the_usual_names_are_tried_in_order(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        fake_cc(tmp_path, f'exec {REAL_CC} "$@"', name)
    assert found(ProcessSettings(path=str(tmp_path))).argv == (str(tmp_path / names[0]),)


@pytest.fixture
def without_zig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "packaged_zig", lambda: None)


def test_zig_of_the_package_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmpdir_: Path
) -> None:
    package, log = tmp_path / "ziglang", tmp_path / "log"
    package.mkdir()
    (package / "__init__.py").touch()
    body = f'PATH=/usr/bin:/bin\nshift\nenv > {log}; echo "$@" >> {log}\n'
    script(package / "zig", body + f'exec {REAL_CC} $(echo "$@" | sed s/x86_64_v/x86-64-v/)')
    monkeypatch.syspath_prepend(tmp_path)
    fake_cc(tmp_path, "", "gcc")
    assert found(ProcessSettings(path=str(tmp_path))).argv == (str(tmp_path / "gcc"),)
    settings = ProcessSettings(path=str(tmpdir_), tmpdir=str(tmpdir_))
    assert found(settings).argv == (str(package / "zig"), "cc")
    key = make_key()
    assert works(build(key, lambda: c_text(key), settings))
    assert "ZIG_GLOBAL_CACHE_DIR=../../z\n" in log.read_text()
    assert "x86-64" not in log.read_text()


def compiler(argv: tuple[str, ...], version: str) -> Compiler:
    return Compiler(argv, "", version, "/usr/bin", ())


@pytest.mark.parametrize("argv", [("/x/zig", "cc"), ("/usr/bin/python3", "-m", "ziglang", "cc")])
def test_zig_never_takes_more_of_the_CPU_than_the_target_says(argv: tuple[str, ...]) -> None:
    zig = compiler(argv, "clang version 20.1.2")
    assert toolchain.spelt(zig, ("-O3", "-march=x86-64-v3")) == ["-O3", "-march=x86_64_v3"]
    assert toolchain.spelt(zig, ("-march=x86-64",)) == ["-march=x86_64"]
    assert toolchain.spelt(zig, ("-O3",)) == ["-mcpu=baseline", "-O3"]


@pytest.mark.parametrize(
    ("version", "is_gcc"),
    [("gcc version 12.2.0 (Debian 12.2.0-14)", True), ("clang version 22.1.8", False),
     ("Apple clang version 15.0.0", False), ("unknown", False)],
)  # fmt: skip
def test_only_gcc_is_given_what_others_take_for_errors(version: str, is_gcc: bool) -> None:
    flags = target_flags("strict", "x86-64-v3", lanes=True)
    spelt = toolchain.spelt(compiler(("/usr/bin/cc",), version), flags)
    kept = [f for f in flags if f not in target_module.GCC_ONLY]
    assert spelt == (list(flags) if is_gcc else kept)
    assert len(kept) == len(flags) - len(target_module.GCC_ONLY)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("cc", ["", f"{sys.executable} -m ziglang cc"])
def test_zig_compiles_kernels(tmpdir_: Path, cc: str) -> None:
    """The first compile takes about 10 s: zig builds its part of the C library."""
    pytest.importorskip("ziglang")
    settings = ProcessSettings(
        compiler=cc, path="/nowhere", tmpdir=str(tmpdir_), compile_timeout=120
    )
    for name in ("a", "b"):
        key = make_key(name)
        kernel = build(key, lambda key=key: c_text(key, extra="double sqrt(double);"), settings)
        assert works(kernel), kernel
    assert (tmpdir_ / "miniexpr-jit" / "v1" / "z").is_dir()
    assert not list((tmpdir_ / "miniexpr-jit" / "v1" / "t").iterdir())


@pytest.mark.parametrize(
    ("cc", "path"),
    [
        ("", "/nowhere"),
        ("", ""),
        ("no-such-cc", "/usr/bin"),
        ("'gcc", "/usr/bin"),
        ("/dev/null", "/usr/bin"),
        ("false", "/usr/bin"),
        ("gcc\0", "/usr/bin"),
    ],
)
def test_no_compiler_is_a_failure(without_zig: None, cc: str, path: str) -> None:
    failure = find_compiler(ProcessSettings(compiler=cc, path=path))
    assert isinstance(failure, Failure)
    assert failure.kind is FailureClass.NO_CC


@pytest.mark.parametrize(
    "text", ["gcc; touch {}", "$(touch {})", "gcc `touch {}`", "gcc\ntouch {}"]
)
def test_shell_text_in_CC_is_never_run(tmp_path: Path, text: str) -> None:
    marker = tmp_path / "marker"
    assert isinstance(find_compiler(settings_for(text.format(marker))), Failure)
    assert not marker.exists()


def test_a_compiler_in_the_current_directory_is_not_found_by_PATH(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_zig: None
) -> None:
    marker = tmp_path / "marker"
    script(tmp_path / "cc", f": > {marker}")
    monkeypatch.chdir(tmp_path)
    for path in ("", ".", ":.:"):
        assert isinstance(find_compiler(ProcessSettings(path=path)), Failure)
    assert not marker.exists()


def test_CC_may_have_arguments(tmp_path: Path) -> None:
    assert found(settings_for(f"{REAL_CC} -g")).argv == (REAL_CC, "-g")


def test_a_compiler_is_asked_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    cc = script(tmp_path / "cc", f'echo x >> {log}\nexec {REAL_CC} "$@"')
    first = found(settings_for(cc))
    asked = log.read_text()
    assert found(settings_for(cc)) is first
    assert log.read_text() == asked


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What compilers were asked."""
    asked: list[object] = []

    def run(argv: object, *arguments: object) -> object:
        asked.append(argv)
        return process.run(argv, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(toolchain, "run", run)
    return asked


def asked_anew(settings: ProcessSettings, questions: list[object], expected: Compiler) -> bool:
    """Find a compiler as a new process does; tell whether it was asked."""
    toolchain._known.clear()
    questions.clear()
    assert found(settings, open_store(settings.tmpdir)) == expected
    return bool(questions)


def note_of(tmpdir: Path) -> Path:
    (note,) = (tmpdir / "miniexpr-jit" / "v1" / "c").iterdir()
    return note


def test_processes_share_what_a_compiler_answered(
    tmpdir_: Path, tmp_path: Path, questions: list[object]
) -> None:
    settings = settings_for(REAL_CC, tmpdir=str(tmpdir_))
    first = found(settings, open_store(str(tmpdir_)))
    assert len(questions) == 3
    assert not asked_anew(settings, questions, first)
    flagged = found(replace(settings, cflags="-DX"), open_store(str(tmpdir_)))
    assert len(questions) == 3
    assert flagged.identity != first.identity


@pytest.mark.parametrize(
    "damage",
    [
        lambda note: note.write_bytes(note.read_bytes()[:-1]),
        lambda note: note.write_bytes(pack(Artifact(b"", {"identity": "x"}))),
        lambda note: note.write_bytes(note.read_bytes().replace(b"-g", b"-h")),
        lambda note: note.chmod(0o620),
        lambda note: os.utime(note, (0, 0)),
        lambda note: os.utime(note, (2**33, 2**33)),
        lambda note: os.utime(note.parents[4] / "cc", (1e9, 1e9)),
    ],
    ids=["cut", "fields", "flip", "mode", "old", "future", "compiler touched"],
)
def test_a_note_that_may_be_wrong_is_not_believed(
    tmpdir_: Path, tmp_path: Path, questions: list[object], damage
) -> None:
    cc = tmp_path / "cc"
    shutil.copy(os.path.realpath(REAL_CC), cc)
    settings = settings_for(f"{cc} -g", tmpdir=str(tmpdir_))
    first = found(settings, open_store(str(tmpdir_)))
    assert not asked_anew(settings, questions, first)
    damage(note_of(tmpdir_))
    toolchain._known.clear()
    questions.clear()
    found(settings, open_store(str(tmpdir_)))
    assert questions


def test_a_script_is_asked_by_every_process(tmpdir_: Path, tmp_path: Path) -> None:
    settings = settings_for(fake_cc(tmp_path, ""), tmpdir=str(tmpdir_))
    found(settings, open_store(str(tmpdir_)))
    assert not list((tmpdir_ / "miniexpr-jit" / "v1" / "c").iterdir())


def test_identity_does_not_depend_on_PATH_or_spelling(tmp_path: Path) -> None:
    cc = fake_cc(tmp_path, "")
    (tmp_path / "link").symlink_to(cc)
    usual = os.environ["PATH"]
    one = found(settings_for(cc))
    two = found(settings_for(tmp_path / "link", path=f"{tmp_path}{os.pathsep}{usual}"))
    assert one.identity == two.identity


@pytest.mark.parametrize("same_mtime", [False, True])
def test_a_replaced_compiler_is_noticed(tmp_path: Path, same_mtime: bool) -> None:
    cc = fake_cc(tmp_path, "exit 1")
    before, info = found(settings_for(cc)), cc.stat()
    cc.unlink()
    fake_cc(tmp_path, "exit 2")
    if same_mtime:
        os.utime(cc, ns=(info.st_atime_ns, info.st_mtime_ns))
    after = found(settings_for(cc))
    assert after.identity != before.identity


def test_a_retargeted_link_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        fake_cc(tmp_path, f"# {name}", name)
    link = tmp_path / "cc"
    link.symlink_to("one")
    before = found(settings_for(link))
    link.unlink()
    link.symlink_to("two")
    assert found(settings_for(link)).identity != before.identity


@pytest.mark.parametrize("by", ["this process", "a note"])
def test_a_change_behind_the_compilers_back_is_noticed(
    tmp_path: Path, tmpdir_: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """The program stays the same, but not the one that it says it would run."""
    monkeypatch.setattr(toolchain, "is_script", lambda path: False)
    behind = tmp_path / "cc1"
    behind.write_text("one")
    cc = script(tmp_path / "cc", f'echo "cc version 1"; echo " {behind} -quiet"')
    store = open_store(str(tmpdir_))
    before = found(settings_for(cc), store)
    behind.write_text("another")
    if by == "a note":
        toolchain._known.clear()
    assert found(settings_for(cc), store).identity != before.identity


def test_a_failed_probe_is_believed_for_its_cooldown(tmp_path: Path) -> None:
    log, now = tmp_path / "log", [0.0]
    cc = script(tmp_path / "cc", f"echo x >> {log}; exit 1")
    sizes = []
    for seconds in (0, 59, 61):
        now[0] = seconds
        assert isinstance(find_compiler(settings_for(cc), lambda: now[0]), Failure)
        sizes.append(len(log.read_text()))
    assert sizes[0] == sizes[1] < sizes[2]


def test_flags_that_no_compiler_takes_are_named(tmp_path: Path) -> None:
    cc = script(tmp_path / "cc", f'exec {REAL_CC} "$@"')
    failure = find_compiler(settings_for(cc, cflags="--bogus"))
    assert isinstance(failure, Failure)
    assert "--bogus" in failure.message.splitlines()[0]
    assert "error" in failure.message.splitlines()[0]


@pytest.mark.parametrize("body", ["trap '' TERM; sleep 300", "exec yes", "kill -STOP $$"])
def test_a_probe_is_bounded_in_time_and_memory(tmp_path: Path, body: str) -> None:
    cc = script(tmp_path / "cc", f"echo $$ >> {tmp_path}/pids\n{body}")
    failure = find_compiler(settings_for(cc, compile_timeout=0.5))
    assert isinstance(failure, Failure)
    assert failure.kind is FailureClass.NO_CC
    assert not survivors(tmp_path / "pids")


def survivors(pids: Path) -> list[str]:
    """Return the processes of a list that live; an unreaped one does not."""

    def lives(pid: str) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    for _ in range(100):
        if not (left := [pid for pid in pids.read_text().split() if lives(pid)]):
            return []
        time.sleep(0.02)
    return left


def compile_with(tmp_path: Path, body: str, timeout: float = 20.0) -> bytes | Failure:
    compiler = found(settings_for(fake_cc(tmp_path, body)))
    staging = tmp_path / "staging"
    staging.mkdir()
    key = make_key()
    return compile_image(compiler, c_text(key), key.target, str(staging), timeout)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("echo 'k.c:1: error: no' >&2; exit 1", FailureClass.CC_ERROR),
        ("printf '\\377\\376' >&2; exit 1", FailureClass.CC_ERROR),
        ("exit 4", FailureClass.CC_ICE),
        ("echo 'internal compiler error: x'; exit 1", FailureClass.CC_ICE),
        ("kill -SEGV $$", FailureClass.CC_ICE),
        ("kill -KILL $$", FailureClass.KILLED),
        ("echo 'Killed signal terminated program cc1'; exit 1", FailureClass.KILLED),
        ("echo 'k.s: No space left on device'; exit 1", FailureClass.IO),
        ("rm k.c; exit 1", FailureClass.IO),
        ("exit 127", FailureClass.NO_CC),
        ("exit 125", FailureClass.IO),
        ("exit 0", FailureClass.BAD_OBJECT),
        (": > k.so", FailureClass.BAD_OBJECT),
        ("head -c 9000 /dev/zero > k.so", FailureClass.BAD_OBJECT),
        ("mkdir k.so", FailureClass.BAD_OBJECT),
        ("mkfifo k.so", FailureClass.BAD_OBJECT),
        (f'{REAL_CC} "$@"; mv k.so o; ln -s o k.so', FailureClass.IO),
        (f'{REAL_CC} "$@"; ln k.so o', FailureClass.BAD_OBJECT),
        (f'{REAL_CC} "$@"; truncate -s 9000 k.so', FailureClass.BAD_OBJECT),
        (
            f"{REAL_CC} \"$@\"; printf '\\363' | dd of=k.so bs=1 seek=18 conv=notrunc",
            FailureClass.BAD_OBJECT,
        ),
    ],
)
def test_a_bad_compiler_is_a_failure_of_the_right_class(
    tmp_path: Path, body: str, kind: FailureClass
) -> None:
    result = compile_with(tmp_path, body)
    assert isinstance(result, Failure)
    assert result.kind is kind, result.message


def test_a_good_compiler_gives_an_image(tmp_path: Path) -> None:
    image = compile_with(tmp_path, f'exec {REAL_CC} "$@"')
    assert isinstance(image, bytes)
    assert image[:4] in (b"\x7fELF", b"\xcf\xfa\xed\xfe")


@pytest.mark.compiler
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EMFILE, FailureClass.IO),
        (errno.EAGAIN, FailureClass.IO),
        (errno.ENOEXEC, FailureClass.NO_CC),
        (errno.EACCES, FailureClass.NO_CC),
    ],
)
def test_trouble_of_this_process_is_not_the_compilers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: FailureClass
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    compiler, key = found(settings_for("")), make_key()
    with monkeypatch.context() as patch:
        patch.setattr(process.subprocess, "Popen", broken)
        unasked = find_compiler(settings_for(fake_cc(tmp_path, "")))
        uncompiled = compile_image(compiler, c_text(key), key.target, str(tmp_path), 20)
    assert isinstance(unasked, Failure)
    assert isinstance(uncompiled, Failure)
    assert (unasked.kind, uncompiled.kind) == (kind, kind)
    again = find_compiler(settings_for(tmp_path / "fakecc"))
    assert isinstance(again, Failure) == (kind is FailureClass.NO_CC)


def test_the_compilers_words_are_kept_but_bounded(tmp_path: Path) -> None:
    result = compile_with(tmp_path, "echo 'k.c: error: nope'; yes | head -c 99000000; exit 1")
    assert isinstance(result, Failure)
    assert "k.c: error: nope" in result.message
    assert len(result.message) < 17_000


@pytest.mark.parametrize(
    ("body", "first"),
    [
        ("echo 'In file k.c'; echo 'k.c:1: error: nope'; exit 1", "code 1: k.c:1: error: nope"),
        ("echo bye; exit 3", "code 3: bye"),
        ("exit 3", "code 3: no word why"),
    ],
)
def test_the_first_line_says_what_matters(tmp_path: Path, body: str, first: str) -> None:
    result = compile_with(tmp_path, body)
    assert isinstance(result, Failure)
    assert result.message.splitlines()[0] == f"the C compiler ended with {first}"


@pytest.mark.parametrize("deaf", ["", "trap '' TERM INT HUP"])
def test_a_hanging_compiler_is_stopped_with_its_children(tmp_path: Path, deaf: str) -> None:
    body = f"{deaf}\nsleep 300 & echo $! $$ >> {tmp_path}/pids; wait; sleep 300"
    result = compile_with(tmp_path, body, timeout=0.5)
    assert isinstance(result, Failure)
    assert result.kind is FailureClass.CC_TIMEOUT
    assert not survivors(tmp_path / "pids")


def test_what_a_compiler_leaves_running_is_stopped(tmp_path: Path) -> None:
    body = f'sleep 300 > /dev/null 2>&1 & echo $! >> {tmp_path}/pids\nexec {REAL_CC} "$@"'
    assert isinstance(compile_with(tmp_path, body), bytes)
    assert not survivors(tmp_path / "pids")


@pytest.mark.compiler
@pytest.mark.parametrize(
    "variable", ["CPATH", "C_INCLUDE_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX", "LIBRARY_PATH"]
)
def test_the_compiler_does_not_see_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "planted.h").write_text("")
    for name in ("cc1", "as", "ld"):
        script(planted / name, f"touch {tmp_path}/marker; exit 1")
    monkeypatch.setenv(variable, f"{planted}/")
    key = make_key()
    extra = "#if __has_include(<planted.h>)\n#error planted\n#endif"
    image = compile_image(
        found(settings_for("")), c_text(key, extra=extra), key.target, str(planted), 20
    )
    assert isinstance(image, bytes), image
    assert not (tmp_path / "marker").exists()
