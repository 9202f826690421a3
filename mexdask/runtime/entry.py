"""What an entry of the disk cache is, byte by byte, and what is checked before bytes are loaded.

An entry is the image of a shared object, a JSON record and a trailer; the dynamic loader ignores
what follows the image, so object and record cannot come apart. The digest catches rot; it is the
owner and mode of file and directory that keep other users out.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from mexdask.runtime.key import CacheKey, canonical

FORMAT = 1
MAGIC = b"mexdask1"
TRAILER = struct.Struct("<32sQI8s")  # SHA-256 of image and record, their lengths, magic
SMALLEST, LARGEST = 1024, 64 << 20
LARGEST_RECORD = 64 << 10
FREE_FIELDS = {"compiler": 64, "c_sha256": 64, "compiler_version": 200}
MACH_O = (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
ET_DYN, PT_LOAD, PT_DYNAMIC = 3, 1, 2


class Rejected(Exception):
    """These bytes must not be loaded; never leaves the package."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """Checked bytes of a shared object and its record; the same from disk, compiler or peer."""

    image: bytes
    record: Mapping[str, object]


def make_record(
    key: CacheKey, compiler: str, compiler_version: str, c_text: bytes
) -> dict[str, object]:
    """Return the record of an object just compiled."""
    return key.record() | {
        "format": FORMAT,
        "compiler": compiler,
        "compiler_version": compiler_version[: FREE_FIELDS["compiler_version"]],
        "c_sha256": hashlib.sha256(c_text).hexdigest(),
    }


def entry_name(key: CacheKey, compiler: str) -> str:
    """Return the file name of a key's entry as made by one compiler."""
    return f"{key.digest}-{compiler[:16]}.so"


def pack(artifact: Artifact) -> bytes:
    """Return the bytes of an entry."""
    record = canonical(artifact.record)
    digest = hashlib.sha256(artifact.image + record).digest()
    trailer = TRAILER.pack(digest, len(artifact.image), len(record), MAGIC)
    return artifact.image + record + trailer


def unpack(data: bytes) -> Artifact:
    """Return the artifact in an entry's bytes, or raise `Rejected`."""
    body = len(data) - TRAILER.size
    if body < 0:
        raise Rejected("too short")
    digest, image_size, record_size, magic = TRAILER.unpack_from(data, body)
    if magic != MAGIC or record_size > LARGEST_RECORD or image_size + record_size != body:
        raise Rejected("no trailer, or one that does not fit")
    if hashlib.sha256(memoryview(data)[:body]).digest() != digest:
        raise Rejected("the digest does not match")
    try:
        record = json.loads(data[image_size:body])
    except (ValueError, RecursionError) as error:
        raise Rejected(f"the record is not JSON: {type(error).__name__}") from None
    if not isinstance(record, dict):
        raise Rejected("the record is not an object")
    return Artifact(data[:image_size], record)


def check_record(record: Mapping[str, object], key: CacheKey, compiler: str | None) -> None:
    """Raise `Rejected` unless a record is this key's in every field (and this compiler's)."""
    expected = key.record() | {"format": FORMAT}
    if compiler is not None:
        expected["compiler"] = compiler
    if record.keys() != expected.keys() | FREE_FIELDS.keys():
        raise Rejected("the record has other fields")
    for name, value in expected.items():
        if canonical(record[name]) != canonical(value):
            raise Rejected(f"{name} is {str(record[name])[:80]!r}, not {str(value)[:80]!r}")
    for name, longest in FREE_FIELDS.items():
        value = record[name]
        if not isinstance(value, str) or len(value) > longest:
            raise Rejected(f"{name} is not a short string")


def read_entry(
    name: str, dir_fd: int, key: CacheKey | None = None, compiler: str | None = None
) -> tuple[CacheKey, Artifact, os.stat_result]:
    """Return an entry that is right in every respect, or raise `Rejected`.

    Parameters
    ----------
    name, dir_fd : str, int
        The file, in an open directory that nobody else can write.
    key : CacheKey or None
        What the entry must be; None takes its own record's word, if its name says the same.
    compiler : str or None
        Identity of the compiler that must have made it; None takes any.
    """
    data, info = read_regular(name, dir_fd)
    if key is None:
        try:
            key = CacheKey.from_record(unpack(data).record)
        except (KeyError, TypeError) as error:
            raise Rejected(f"the record is no key's: {error!r}"[:200]) from None
    artifact = checked(data, key, compiler)
    if name != entry_name(key, str(artifact.record["compiler"])):
        raise Rejected("it has another entry's name")
    return key, artifact, info


def checked(data: bytes, key: CacheKey, compiler: str | None = None) -> Artifact:
    """Return the artifact in an entry's bytes if all of it is a key's, or raise `Rejected`."""
    artifact = unpack(data)
    check_record(artifact.record, key, compiler)
    check_image(artifact.image)
    return artifact


def installed_safely(info: os.stat_result) -> bool:
    """Tell whether nobody but root and us can have written something."""
    return info.st_uid in (0, os.geteuid()) and not info.st_mode & 0o022


def read_regular(
    name: str, dir_fd: int | None = None, smallest: int = SMALLEST, *, installed: bool = False
) -> tuple[bytes, os.stat_result]:
    """Return the bytes of a file that only we could have written, or raise `Rejected`.

    What is ``installed`` may be root's, and installers make several links to a file.
    A missing file and trouble of the system are an `OSError`, as ever.
    """
    # O_NONBLOCK: opening a FIFO must not wait for its writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=dir_fd)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise Rejected("not a regular file")
        owners = (0, os.geteuid()) if installed else (os.geteuid(),)
        linked = info.st_nlink != 1 and not installed
        if info.st_uid not in owners or info.st_mode & 0o022 or linked:
            raise Rejected("others could have written it")
        if not smallest <= info.st_size <= LARGEST:
            raise Rejected(f"{info.st_size} bytes is no size for a kernel")
        with open(fd, "rb", closefd=False) as file:
            data = file.read(info.st_size)
    finally:
        os.close(fd)
    if len(data) != info.st_size:
        raise Rejected("it became shorter while it was read")
    return data, info


def check_image(image: bytes) -> None:
    """Raise `Rejected` for bytes that the dynamic loader would fail, or even crash, on."""
    if sys.platform == "darwin":
        if image[:4] not in MACH_O:
            raise Rejected("not a Mach-O file")
        return
    if image[:4] != b"\x7fELF":
        raise Rejected("not an ELF file")
    own = own_elf_header()
    try:
        check_segments(image, own)
    except struct.error:
        raise Rejected("the ELF headers are cut off") from None


@functools.cache
def own_elf_header() -> bytes:
    """Return the first 20 bytes of this process's program (class, byte order, machine), if any."""
    try:
        with open("/proc/self/exe", "rb") as file:
            return file.read(20)
    except OSError:
        return b""


def check_segments(image: bytes, own: bytes) -> None:
    """Raise `Rejected` unless an ELF file is of our machine and all it maps is inside it."""
    order = "<" if sys.byteorder == "little" else ">"
    wide = struct.calcsize("P") == 8
    if image[4:6] != bytes([1 + wide, 1 if order == "<" else 2]):
        raise Rejected("an ELF file of another class or byte order")
    kind, machine = struct.unpack_from(order + "HH", image, 16)
    if kind != ET_DYN or (own and image[18:20] != own[18:20]):
        raise Rejected(f"not a shared object of this machine (type {kind}, machine {machine})")
    place, layout = (32, "Q") if wide else (28, "I")
    (start,) = struct.unpack_from(order + layout, image, place)
    size, count = struct.unpack_from(order + "HH", image, 54 if wide else 42)
    header = struct.Struct(order + ("I4xQ16xQQ" if wide else "II8xII"))
    if size < header.size or start + size * count > len(image):
        raise Rejected("the table of segments is not in the file")
    kinds = set()
    for place in range(start, start + size * count, size):
        kind, offset, held, mapped = header.unpack_from(image, place)
        kinds.add(kind)
        if kind in (PT_LOAD, PT_DYNAMIC) and (offset + held > len(image) or held > mapped):
            raise Rejected("a segment reaches past the end of the file")
    if not {PT_LOAD, PT_DYNAMIC} <= kinds:
        raise Rejected("nothing to load in it")
