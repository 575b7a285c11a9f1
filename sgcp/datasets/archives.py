"""Unpack zip archives safely; link folders instead of copying them."""

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sgcp.errors import SgcpError
from sgcp.files import write_bytes
from sgcp.progress import track

Placement = Callable[[str], Path | None]  # a member's name -> where it belongs, None: not needed

# A member that grows more than this is no photograph and no annotation.
# What reading a damaged member raises, by its compression.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)

MAX_RATIO = 200
SUSPICIOUS_BYTES = 50 * 2**20


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
    try:
        with zipfile.ZipFile(archive) as content:
            members = list_members(content, archive, place)
            _require_space(members, folder, archive)
            for member in track(members, archive.name, len(members)):
                _extract_one(content, member, folder, archive)
    except FileNotFoundError:
        raise SgcpError(f"{archive}: no such archive") from None
    except DAMAGED as error:
        raise SgcpError(
            f"{archive}: truncated, damaged or no zip archive ({error}); get it again"
        ) from None
    return len(members)


def is_whole_zip(path: Path) -> bool:
    """Tell a zip whose every member has its checksum from anything else."""
    try:
        with zipfile.ZipFile(path) as content:
            return content.testzip() is None
    except (*DAMAGED, RuntimeError):  # RuntimeError: a member wants a password
        return False


def list_members(content: zipfile.ZipFile, archive: Path, place: Placement) -> list[Member]:
    """Return the wanted members, after refusing whatever could harm."""
    members: dict[Path, Member] = {}
    for info in content.infolist():
        name = info.filename
        if info.is_dir():
            continue
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
            raise SgcpError(f"{archive}: member {name!r} leads out of the folder; not unpacked")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise SgcpError(f"{archive}: member {name!r} is a link or device; not unpacked")
        target = place(name)
        if target is None or name.startswith("__MACOSX/"):
            continue
        if info.flag_bits & 1:
            raise SgcpError(f"{archive}: member {name!r} is encrypted; get the public archive")
        if target in members:
            raise SgcpError(
                f"{archive}: {members[target].info.filename!r} and {name!r} are the same file "
                f"{target}; not unpacked"
            )
        ratio = info.file_size / max(1, info.compress_size)
        if ratio > MAX_RATIO and info.file_size > SUSPICIOUS_BYTES:
            raise SgcpError(f"{archive}: member {name!r} grows {ratio:.0f}-fold; not unpacked")
        members[target] = Member(info, target)
    return list(members.values())


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


def link_folder(source: Path, folder: Path, place: Placement) -> int:
    """Link every wanted file below ``source`` into ``folder``, a symbolic link each.

    Links to files, not to folders: DVC reads through the former.

    Returns:
        How many files were linked.

    Raises:
        SgcpError: ``source`` is no folder.
    """
    source = source.expanduser().resolve()
    if not source.is_dir():
        raise SgcpError(f"{source}: no such folder")
    count = 0
    # Datasets are often assembled from links to other disks, which rglob would not enter.
    walk = os.walk(source, followlinks=True)
    for path in sorted(Path(parent, name) for parent, _, names in walk for name in names):
        target = place(path.relative_to(source).as_posix())
        if target is not None:
            link = folder / target
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(path)
            count += 1
    return count
