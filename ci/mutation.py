"""Show that every guard of the cache is watched: without it, a test fails.

Each row of ``GUARDS`` disables one check in a copy of the repository and runs the tests that should
notice. A guard whose absence nobody notices is an error, and so is a row that fits the code no
more. Run it as ``python ci/mutation.py``, or with words to choose guards by name.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
RUNTIME = "mexdask/runtime"


@dataclass(frozen=True)
class Guard:
    """One check, how to disable it, and the tests that must then fail.

    Parameters
    ----------
    name : str
        What it guards against, in a few words.
    file : str
        The module of ``mexdask/runtime``.
    code : str
        A piece of it that stands there once.
    without : str
        What stands there instead when the check is disabled.
    tests : str
        Which tests to run: files of ``tests/runtime``, then an expression for ``-k``.
    """

    name: str
    file: str
    code: str
    without: str
    tests: str


GUARDS = [
    # Directories
    Guard("owner of a directory", "root", "if info.st_uid != os.geteuid():", "if False:",
          "test_disk.py another_user or foreign"),
    Guard("mode of a directory", "root", "    if info.st_mode & 0o022:\n", "    if False:\n",
          "test_disk.py set_aside"),
    Guard("links instead of directories", "root",
          "flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC",
          "flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC", "test_disk.py link"),
    Guard("directories tightened", "root", "os.fchmod(fd, 0o700)", "pass",
          "test_disk.py tightened"),
    Guard("work by descriptor, not by name", "root",
          "    return path if os.path.isdir(path) else otherwise", "    return otherwise",
          "test_disk.py elsewhere"),
    Guard("a shelf that others can write", "disk", "            if not check_own(fd):",
          "            if check_own(fd) is None:", "test_disk.py shelf"),
    Guard("a root that was exchanged", "disk",
          "            return os.path.samestat(os.lstat(self.root.path), os.fstat(self.root.fd))",
          "            return True", "test_disk.py exchanged"),
    Guard("a root that was deleted", "disk",
          "            if not all(os.fstat(fd).st_nlink for fd in self._fds):",
          "            if False:", "test_disk.py part_is_made"),
    # Files
    Guard("owner of an entry", "entry", "info.st_uid not in owners or ", "",
          "test_disk.py plain_file"),
    Guard("mode of an entry", "entry", "or info.st_mode & 0o022 or", "or",
          "test_disk.py plain_file"),
    Guard("other links to an entry", "entry", "linked = info.st_nlink != 1", "linked = False",
          "test_disk.py plain_file"),
    Guard("kind of file", "entry", "if not stat.S_ISREG(info.st_mode):", "if False:",
          "test_inventory.py reason"),
    Guard("links instead of entries", "entry",
          "os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK", "os.O_RDONLY | os.O_NONBLOCK",
          "test_disk.py plain_file"),
    Guard("entries that block", "entry", "os.O_NOFOLLOW | os.O_NONBLOCK", "os.O_NOFOLLOW",
          "test_disk.py plain_file"),
    Guard("size of an entry", "entry", "if not smallest <= info.st_size <= LARGEST:", "if False:",
          "test_disk.py plain_file"),
    Guard("private files whatever the umask", "disk",
          "fd = os.open(temporary, NEW_FILE, 0o600,", "fd = os.open(temporary, NEW_FILE, 0o666,",
          "test_disk.py umask"),
    # What is believed
    Guard("digest", "entry", "if hashlib.sha256(memoryview(data)[:body]).digest() != digest:",
          "if False:", "test_disk.py damaged"),
    Guard("lengths and magic", "entry",
          "if magic != MAGIC or record_size > LARGEST_RECORD or image_size + record_size != body:",
          "if False:", "test_disk.py damaged or no_record"),
    Guard("record", "entry", "    check_record(artifact.record, key, compiler)\n", "",
          "test_disk.py differs"),
    Guard("fields that a record must have", "entry",
          "if record.keys() != expected.keys() | FREE_FIELDS.keys():", "if False:",
          "test_disk.py lacks"),
    Guard("types in a record", "entry", "if canonical(record[name]) != canonical(value):",
          "if record[name] != value:", "test_disk.py true_is_not_one"),
    Guard("compiler of an entry", "entry", '        expected["compiler"] = compiler\n',
          "        pass\n", "test_disk.py own_compilers or differs or another_name"),
    Guard("name of an entry", "entry",
          'if name != entry_name(key, str(artifact.record["compiler"])):', "if False:",
          "test_disk.py another_name"),
    Guard("headers of an image", "entry", "        check_segments(image, own)\n",
          "        pass\n", "test_disk.py crash"),
    Guard("set aside what is bad", "disk",
          "            os.rename(name, aside, src_dir_fd=shelf, dst_dir_fd=self.bad)",
          "            pass", "test_disk.py damaged"),
    # Loading
    Guard("symbol", "load", "if inside != key.digest.encode():", "if False:",
          "test_load.py not_this_kernel"),
    Guard("seals", "load", "        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)\n", "",
          "test_load.py nobody_can_change"),
    Guard("paths never used before", "load", '"/." if count >> bit & 1 else "//"', '"//"',
          "test_load.py their_own or spelt"),
    Guard("load before publishing", "build",
          "if isinstance(kernel, LoadedKernel) and store.publish(",
          "if store.publish(", "test_build.py not_published"),
    # Locks and processes
    Guard("lock", "lock", "        fcntl.flock(fd, fcntl.LOCK_EX)\n", "",
          "test_build.py test_disk.py eight_processes or one_holder"),
    Guard("disk again under the lock", "build",
          "        if (kernel := from_disk(store, key, identity)) is not None:\n"
          "            return kernel\n        entry = make(",
          "        entry = make(", "test_build.py eight_processes or published_while"),
    Guard("bounded wait", "lock", "answer.result(max(wait, LEAST_WAIT))", "answer.result()",
          "test_disk.py test_build.py one_holder or never_free"),
    Guard("lock of a child", "lock", "fcntl.flock(fd, fcntl.LOCK_UN)", "pass",
          "test_disk.py does_not_keep_it"),
    Guard("locks of a parent", "lock", "os.register_at_fork(after_in_child=_after_fork)", "pass",
          "test_disk.py keep_a_lock"),
    Guard("mutex of a parent", "memory", "os.register_at_fork(after_in_child=_after_fork)", "pass",
          "test_memory.py fork"),
    Guard("one build in a process", "memory", "if theirs is not mine:", "if False:",
          "test_memory.py twenty"),
    # The compiler
    Guard("time limit", "process", "remaining = max(deadline - time.monotonic(), 0.0)",
          "remaining = 60.0", "test_toolchain.py hanging"),
    Guard("no survivors", "process", "            os.killpg(process.pid, signal.SIGKILL)",
          "            pass", "test_toolchain.py leaves_running"),
    Guard("size of files", "process", '"fsize": LARGEST_FILE, ', "",
          "test_process.py size"),
    Guard("length of what it says", "process", "output.read(most)", "output.read()",
          "test_toolchain.py words"),
    Guard("environment", "process", '{**environ, "LC_ALL"', '{**os.environ, **environ, "LC_ALL"',
          "test_toolchain.py our_environment"),
    Guard("no shell", "process", "                bounded(argv, seconds),\n",
          '                ["/bin/sh", "-c", " ".join(argv)],\n',
          "test_build.py shell_text"),
    Guard("exit code", "compile", "if ended.code != 0:", "if False:",
          "test_toolchain.py right_class"),
    Guard("what the compiler made", "compile", "        check_image(image)\n", "",
          "test_toolchain.py right_class"),
    Guard("identity of the compiler", "toolchain",
          "return all(m is None or mark(m[0]) == m for m in self.answer.marks)", "return True",
          "test_toolchain.py behind"),
    Guard("age of a note", "disk", "if 0.0 <= time.time() - info.st_mtime < lasts:", "if True:",
          "test_toolchain.py note"),
    Guard("files of a note", "toolchain",
          "if same and all(m is None or mark(m[0]) == m for m in marks):",
          "if same:", "test_toolchain.py behind"),
    Guard("refused flags", "target", "            if re.fullmatch(pattern, flag, re.DOTALL):",
          "            if False:", "test_toolchain.py refused"),
    Guard("level of the instruction set", "target",
          "return features[row] if row in features else all(features.get(f) for f in older)",
          "return True", "test_toolchain.py level"),
    Guard("length of C", "build", "if len(text) > LARGEST_TEXT:", "if False:",
          "test_build.py crash_on"),
    Guard("depth of C", "build", "if depth > DEEPEST else None", "if False else None",
          "test_build.py crash_on"),
    # What failed, what grows
    Guard("negative cache", "memory", "if old is not None and old.scope == scope and",
          "if old is None and", "test_build.py test_memory.py each_call or cooldown"),
    Guard("pause after a full disk", "build", "return self.failure if now < self.until else None",
          "return None", "test_build.py full_disk or two_keys"),
    Guard("number of failures", "memory", "while len(self._failed) > MOST_FAILURES:",
          "while False:", "test_memory.py bounded"),
    Guard("size of the cache", "disk", "self._unswept >= most_bytes / SWEEP_ONE_IN", "False",
          "test_disk.py small_cache"),
    Guard("number of bad entries", "sweep",
          "if count >= MOST_FILES or size > MOST_FILES_BYTES:", "if False:",
          "test_disk.py damaged"),
    Guard("staging of the living", "sweep", "age > STALE_STAGING or is_abandoned(name)", "True",
          "test_disk.py staging_of"),
]  # fmt: skip


def run_tests(copy: Path, files: list[str], chosen: str) -> tuple[int, str]:
    """Run tests of the copy until one fails; return pytest's code and which failed."""
    options = ["-q", "-x", "-p", "no:cacheprovider", "--timeout", "20", "--no-header"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *options,
        *files,
        *(["-k", chosen] if chosen else []),
    ]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, lines[0] if lines else done.stdout.strip().splitlines()[-1]


def test_files(guard: Guard) -> list[str]:
    """Return the files of a guard's tests."""
    return [f"tests/runtime/{word}" for word in guard.tests.split() if word.endswith(".py")]


def missed(guard: Guard, copy: Path) -> tuple[bool, str]:
    """Disable a guard; tell whether a test noticed, and which."""
    path = copy / RUNTIME / f"{guard.file}.py"
    good = path.read_text()
    if good.count(guard.code) != 1:
        return False, f"{guard.file}.py has the code {good.count(guard.code)} times"
    chosen = " ".join(word for word in guard.tests.split() if not word.endswith(".py"))
    path.write_text(good.replace(guard.code, guard.without))
    try:
        code, words = run_tests(copy, test_files(guard), chosen)
    finally:
        path.write_text(good)
    return code == 1, words


def main(words: list[str]) -> int:
    """Disable one guard after the other; return how many nobody missed."""
    chosen = [g for g in GUARDS if not words or any(word in g.name for word in words)]
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="mexdask-mutation-") as directory:
        copy = Path(directory, "repository")
        shutil.copytree(REPOSITORY / "mexdask", copy / "mexdask")
        shutil.copytree(REPOSITORY / "tests", copy / "tests")
        shutil.copy(REPOSITORY / "pyproject.toml", copy)
        code, said = run_tests(copy, sorted({f for g in chosen for f in test_files(g)}), "")
        if code != 0:
            print(f"the tests fail as it is: {said}")
            return 1
        for guard in chosen:
            start = time.monotonic()
            noticed, said = missed(guard, copy)
            unnoticed += not noticed
            seconds = time.monotonic() - start
            state = "noticed" if noticed else "NOT NOTICED"
            print(f"{guard.name:36} {state}  {seconds:4.1f} s  {said}", flush=True)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} guards are watched by tests")
    return unnoticed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
