"""Zip archives from others: nothing leaves the folder, nothing grows without end.

Downloads are refused at the first fault (``extract``); submissions list every fault (``fault_of``).
"""

import io
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from sgcp.core.errors import SgcpError
from sgcp.core.files import write_bytes
from sgcp.core.terminal import track

Placement = Callable[[str], Path | None]  # a file's name -> where it belongs, None: not needed

# What zipfile raises on damaged archives and members; RuntimeError: a member needs a password.
DAMAGED = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, IndexError,
    RuntimeError, NotImplementedError,
)  # fmt: skip
# Python unpacks these two piece by piece; bzip2 and LZMA all at once, up to gigabytes.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MAX_RATIO = 200  # photographs and annotations do not grow more
SUSPICIOUS_BYTES = 50 * 2**20
MAX_MEMBER = 2**28  # bytes; members are unpacked in memory
MAX_READ = MAX_MEMBER + 1  # bytes at once; an honest list of members is a few megabytes
MAX_MEMBERS = 200_000
LOCAL_HEADER = 30  # bytes before each member's name

SPECIAL, ENCRYPTED, METHOD, TOO_LARGE = FAULTS = ("special", "encrypted", "method", "too large")
ADVICE = {
    SPECIAL: "is a link or device; not unpacked",
    ENCRYPTED: "is encrypted; get the public archive",
    METHOD: "is packed by {}, expected deflate; pack it again with any usual program",
    TOO_LARGE: "has {}, more than any image or annotation; not unpacked",
}


def is_unsafe(name: str) -> bool:
    """Return whether a name leads out of a folder, or is a path on some systems only."""
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or name[1:2] == ":"


def fault_of(info: zipfile.ZipInfo, limit: int = MAX_MEMBER) -> tuple[str, str] | None:
    """Return why a member must not be opened, by its header alone: one of ``FAULTS`` and details.

    ``limit``: bytes that a member has at most.
    """
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return SPECIAL, ""
    if info.flag_bits & 1:
        return ENCRYPTED, ""
    if info.compress_type not in METHODS:
        return METHOD, f"method {info.compress_type}"
    if info.file_size > limit:
        return TOO_LARGE, f"{info.file_size:,} bytes"
    return None


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return a member's content, verified; raise one of ``DAMAGED`` for a wrong sum or length."""
    with archive.open(info) as file:
        # One byte more than declared is enough to catch a wrong declared size.
        content = file.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename!r} is not as long as declared")
    return content


def extract(archive: Path, folder: Path, place: Placement) -> int:
    """Unpack the members that ``place`` has a use for into ``folder``, and return their number.

    Files of the right size from an earlier try are kept.

    Raises:
        SgcpError: not a zip, truncated or damaged; a name that leads out of the folder, a link, a
            duplicate, a password or a bomb; or too little space on the disk.
    """
    with open_zip(archive) as content:
        members = _list_members(content, archive, place)
        needed = sum(info.file_size for info in members.values())
        if needed > (free := shutil.disk_usage(folder).free):
            raise SgcpError(
                f"{archive}: needs {needed / 1e9:.1f} GB unpacked, {free / 1e9:.1f} GB are free "
                f"at {folder}; free some space or point the project at another disk"
            )
        for name, info in track(members.items(), archive.name, len(members)):
            target = folder / name
            if not (target.is_file() and target.stat().st_size == info.file_size):
                write_bytes(target, read_member(content, info), flush=False)
    return len(members)


def is_whole_zip(path: Path) -> bool:
    """Return whether a file is a zip whose every member has its checksum."""
    try:
        with open_zip(path) as content:
            _refuse_harmful(content.infolist(), path)
            return content.testzip() is None
    except SgcpError:
        return False


class _BoundedReader(io.BufferedReader):
    """A file that returns no more at once than an honest archive needs."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_READ:
            raise zipfile.BadZipFile(f"a part of {size:,} bytes")
        return super().read(size)


@contextmanager
def open_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; errors while it is read name it.

    Raises:
        SgcpError: missing, a folder, truncated, damaged, not a zip, or members that overlap.
    """
    if archive.is_dir():
        raise SgcpError(f"{archive}: is a folder, not a zip; --root takes an unpacked folder")
    if not archive.is_file():
        raise SgcpError(f"{archive}: no such archive")
    try:
        with _BoundedReader(io.FileIO(archive)) as file, zipfile.ZipFile(file) as content:
            _refuse_overlap(content, archive)
            yield content
    except DAMAGED as error:
        raise SgcpError(
            f"{archive}: truncated, damaged or no zip archive ({error}); get it again"
        ) from None


def _refuse_overlap(content: zipfile.ZipFile, archive: Path) -> None:
    """Refuse members that share their bytes, which is how a small archive unpacks to petabytes."""
    infos = content.infolist()
    if len(infos) > MAX_MEMBERS:
        raise SgcpError(f"{archive}: {len(infos):,} members; not unpacked")
    end = content.start_dir
    for info in sorted(infos, key=lambda info: info.header_offset, reverse=True):
        if not 0 <= info.header_offset <= end - LOCAL_HEADER - info.compress_size:
            raise SgcpError(f"{archive}: member {info.filename!r} overlaps another; not unpacked")
        end = info.header_offset


def _list_members(
    content: zipfile.ZipFile, archive: Path, place: Placement
) -> dict[Path, zipfile.ZipInfo]:
    """Return the members to unpack by their places."""
    members: dict[Path, zipfile.ZipInfo] = {}
    for info in content.infolist():
        name = info.filename
        if name.endswith("/") or name.startswith("__MACOSX/"):  # is_dir() fails on an empty name
            continue
        if "\\" in name:
            raise SgcpError(
                f"{archive}: has backslashes in its names ({name!r}), which mean no folders. "
                "Unpack it and pass the folder (--root), or pack it with / between folders"
            )
        if is_unsafe(name):
            raise SgcpError(f"{archive}: member {name!r} leads out of the folder; not unpacked")
        if (target := place(name)) is None:
            continue
        if target in members:
            raise SgcpError(
                f"{archive}: {members[target].filename!r} and {name!r} are the same file "
                f"{target}; not unpacked"
            )
        members[target] = info
    _refuse_harmful(list(members.values()), archive)
    return members


def _refuse_harmful(infos: Sequence[zipfile.ZipInfo], archive: Path) -> None:
    """Refuse members with a fault, and those that grow out of all proportion."""
    for info in infos:
        if fault := fault_of(info):
            advice = ADVICE[fault[0]].format(fault[1])
            raise SgcpError(f"{archive}: member {info.filename!r} {advice}")
    sizes = {f"member {info.filename!r}": (info.compress_size, info.file_size) for info in infos}
    sizes["all together"] = (sum(i.compress_size for i in infos), sum(i.file_size for i in infos))
    for what, (before, after) in sizes.items():
        ratio = after / max(1, before)
        if ratio > MAX_RATIO and after > SUSPICIOUS_BYTES:
            raise SgcpError(f"{archive}: {what} grows {ratio:.0f}-fold; not unpacked")
