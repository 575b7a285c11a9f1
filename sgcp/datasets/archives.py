"""Unpack zip archives safely: nothing outside the folder, nothing that grows without end."""

import io
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sgcp.core.errors import SgcpError
from sgcp.core.files import write_bytes
from sgcp.core.terminal import track
from sgcp.datasets.links import Placement

# What reading a damaged archive raises; RuntimeError: a member wants a password.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,
)

# Files that grow more than this are no photographs and no annotations.
MAX_RATIO = 200
SUSPICIOUS_BYTES = 50 * 2**20

MAX_MEMBER = 2**28  # bytes; members are unpacked in memory
MAX_READ = MAX_MEMBER + 1  # bytes at once; an honest list of members is a few megabytes
MAX_MEMBERS = 200_000
LOCAL_HEADER = 30  # bytes before each member's name

# Python unpacks these two piece by piece; bzip2 and LZMA give all at once, whatever is declared.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class Member:
    """One file of an archive and where it goes."""

    info: zipfile.ZipInfo
    target: Path


def extract(archive: Path, folder: Path, place: Placement) -> int:
    """Unpack the members that ``place`` has a use for; files already whole are skipped.

    Args:
        place: maps a member's name to a path below ``folder``, or None.

    Returns:
        How many members were wanted.

    Raises:
        SgcpError: no zip, truncated or damaged; a name that leads out of the folder, a link, a
            duplicate, a password or a bomb; or too little space on the disk.
    """
    with open_zip(archive) as content:
        members = list_members(content, archive, place)
        _require_space(members, folder, archive)
        for member in track(members, archive.name, len(members)):
            _extract_one(content, member, folder, archive)
    return len(members)


def is_whole_zip(path: Path) -> bool:
    """Tell a zip whose every member has its checksum from anything else."""
    try:
        with open_zip(path) as content:
            refuse_bombs(content.infolist(), path)
            return content.testzip() is None
    except SgcpError:
        return False


class _BoundedReader(io.BufferedReader):
    """A file that hands out no more at once than an honest archive needs."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_READ:
            raise zipfile.BadZipFile(f"a part of {size:,} bytes")
        return super().read(size)


@contextmanager
def open_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; what goes wrong while it is read names it.

    Raises:
        SgcpError: missing, a folder, truncated, damaged, no zip, or members that overlap.
    """
    if archive.is_dir():
        raise SgcpError(f"{archive}: is a folder, not a zip; --root takes an unpacked folder")
    if not archive.is_file():
        raise SgcpError(f"{archive}: no such archive")
    try:
        with (
            _BoundedReader(io.FileIO(archive)) as file,
            zipfile.ZipFile(file) as content,
        ):
            _refuse_overlap(content, archive)
            yield content
    except DAMAGED as error:
        raise SgcpError(
            f"{archive}: truncated, damaged or no zip archive ({error}); get it again"
        ) from None


def _refuse_overlap(content: zipfile.ZipFile, archive: Path) -> None:
    """Refuse members that share their bytes, which is how a small archive holds petabytes."""
    infos = content.infolist()
    if len(infos) > MAX_MEMBERS:
        raise SgcpError(f"{archive}: {len(infos):,} members; not unpacked")
    end = content.start_dir
    for info in sorted(infos, key=lambda info: info.header_offset, reverse=True):
        if not 0 <= info.header_offset <= end - LOCAL_HEADER - info.compress_size:
            raise SgcpError(f"{archive}: member {info.filename!r} overlaps another; not unpacked")
        end = info.header_offset


def list_members(content: zipfile.ZipFile, archive: Path, place: Placement) -> list[Member]:
    """Return the wanted members, after refusing whatever could harm."""
    members: dict[Path, Member] = {}
    for info in content.infolist():
        name = info.filename
        if name.endswith("/"):  # info.is_dir() stumbles over an empty name
            continue
        _refuse_escape(info, archive)
        target = None if name.startswith("__MACOSX/") else place(name)
        if target is None:
            continue
        if info.flag_bits & 1:
            raise SgcpError(f"{archive}: member {name!r} is encrypted; get the public archive")
        if target in members:
            raise SgcpError(
                f"{archive}: {members[target].info.filename!r} and {name!r} are the same file "
                f"{target}; not unpacked"
            )
        members[target] = Member(info, target)
    refuse_bombs([member.info for member in members.values()], archive)
    return list(members.values())


def _refuse_escape(info: zipfile.ZipInfo, archive: Path) -> None:
    name = info.filename
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
        raise SgcpError(f"{archive}: member {name!r} leads out of the folder; not unpacked")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise SgcpError(f"{archive}: member {name!r} is a link or device; not unpacked")


def refuse_bombs(infos: Sequence[zipfile.ZipInfo], archive: Path) -> None:
    """Refuse members that grow out of all proportion, singly or together.

    Raises:
        SgcpError: naming the member and by how much it grows.
    """
    for info in infos:
        if info.compress_type not in METHODS:
            raise SgcpError(
                f"{archive}: member {info.filename!r} is packed by method {info.compress_type}, "
                "expected deflate; pack it again with any usual program"
            )
        if info.file_size > MAX_MEMBER:
            raise SgcpError(
                f"{archive}: member {info.filename!r} holds {info.file_size:,} bytes, more than "
                "any image or annotation; not unpacked"
            )
        _refuse_growth(f"member {info.filename!r}", info.compress_size, info.file_size, archive)
    before = sum(info.compress_size for info in infos)
    _refuse_growth("all together", before, sum(info.file_size for info in infos), archive)


def _refuse_growth(what: str, before: int, after: int, archive: Path) -> None:
    ratio = after / max(1, before)
    if ratio > MAX_RATIO and after > SUSPICIOUS_BYTES:
        raise SgcpError(f"{archive}: {what} grows {ratio:.0f}-fold; not unpacked")


def _require_space(members: list[Member], folder: Path, archive: Path) -> None:
    needed = sum(member.info.file_size for member in members)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SgcpError(
            f"{archive}: needs {needed / 1e9:.1f} GB unpacked, {free / 1e9:.1f} GB are free "
            f"at {folder}; free some space or point the project at another disk"
        )


def _extract_one(content: zipfile.ZipFile, member: Member, folder: Path, archive: Path) -> None:
    target = folder / member.target
    if target.is_file() and target.stat().st_size == member.info.file_size:
        return
    with content.open(member.info) as source:
        # One byte more than declared is enough to catch a member that lies about its size.
        data = source.read(member.info.file_size + 1)
    if len(data) != member.info.file_size:
        raise SgcpError(f"{archive}: member {member.info.filename!r} is not as long as declared")
    write_bytes(target, data, flush=False)
