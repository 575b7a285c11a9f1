"""The files of a submission, from a folder or a zip, which is not unpacked."""

import os
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from sgcp.core.archives import DAMAGED, FAULTS, fault_of, is_unsafe, read_member
from sgcp.core.errors import SgcpError
from sgcp.core.findings import Finding
from sgcp.submission.rules import COMPRESSION, DUPLICATE, ENCRYPTED, SPECIAL, TOO_LARGE, UNSAFE

# A 16-bit RGBA image of noise, 1024 x 2048, needs 17 MB: larger files are no predictions.
MAX_BYTES = 32 * 2**20
RULES = dict(zip(FAULTS, (SPECIAL, ENCRYPTED, COMPRESSION, TOO_LARGE), strict=True))
FOREIGN_ARCHIVES = {b"Rar!": "a RAR", b"7z\xbc\xaf": "a 7z", b"\x1f\x8b": "a gzip"}


@dataclass(frozen=True)
class Entry:
    """One file of a submission."""

    name: str
    """Its path below the folder or in the zip."""
    index: int = 0
    """Its place in the zip's directory: names can occur twice."""
    closed: Finding | None = None
    """Why it is not opened."""

    @property
    def path(self) -> str:
        """Its path as it is after unpacking, folders divided by ``/``."""
        return self.name.replace("\\", "/")

    @property
    def base(self) -> str:
        """Its name without folders, as the evaluator finds it after unpacking."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Folder:
    """A folder of predictions."""

    path: Path

    def entries(self) -> tuple[list[Entry], list[Finding]]:
        """List the files below the folder; links to files count as files, as `zip -r` packs them.

        Linked folders are not entered: the evaluator's walk does not either.
        """
        entries = []
        for path in sorted(self.path.rglob("*")):
            if path.is_symlink() or not path.is_dir():
                name = path.relative_to(self.path).as_posix()
                entries.append(Entry(name, closed=self._why_closed(name, path)))
        return entries, []

    def _why_closed(self, name: str, path: Path) -> Finding | None:
        if path.is_dir():
            return Finding(SPECIAL, name, "link to a folder")
        if not path.exists():
            return Finding(SPECIAL, name, "link to nowhere")
        if not path.is_file():
            return Finding(SPECIAL, name, "neither file nor folder")
        size = path.stat().st_size
        return Finding(TOO_LARGE, name, f"{size:,} bytes") if size > MAX_BYTES else None

    def read(self, entry: Entry) -> bytes:
        """Return a file's content, ``MAX_BYTES`` at most."""
        with (self.path / entry.name).open("rb") as file:
            return file.read(MAX_BYTES)


@dataclass(frozen=True)
class Zip:
    """A zip of predictions."""

    path: Path

    def entries(self) -> tuple[list[Entry], list[Finding]]:
        """List the members; of several of one name the last, which is what unpacking leaves.

        Raises:
            SgcpError: no zip, truncated, or its directory is damaged.
        """
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = archive.infolist()
        except DAMAGED as error:
            raise SgcpError(f"{self.path}: {_why_no_zip(self.path)} ({error})") from None
        entries: dict[str, Entry] = {}
        findings = []
        for index, info in enumerate(members):
            name = info.filename
            if name.endswith("/"):  # a folder; ZipInfo.is_dir trips over an empty name
                continue
            if name in entries:
                findings.append(Finding(DUPLICATE, name))
            if is_unsafe(name):
                findings.append(Finding(UNSAFE, name))
            fault = fault_of(info, MAX_BYTES)
            closed = Finding(RULES[fault[0]], name, fault[1]) if fault else None
            entries[name] = Entry(name, index, closed)
        return list(entries.values()), findings

    def read(self, entry: Entry) -> bytes:
        """Return a member's content, checksum verified.

        Raises:
            OSError, or one of ``DAMAGED``: it cannot be read.
        """
        stamp = self.path.stat()
        archive = _opened(self.path, stamp.st_ino, stamp.st_size, stamp.st_mtime_ns, os.getpid())
        info = archive.infolist()[entry.index]
        return read_member(archive, info)


Container = Folder | Zip


@lru_cache(maxsize=1)
def _opened(path: Path, *identity: int) -> zipfile.ZipFile:
    """Open a zip once a process; one handed down by fork would share its position in the file."""
    return zipfile.ZipFile(path)


def _why_no_zip(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4)
    for magic, name in FOREIGN_ARCHIVES.items():
        if start.startswith(magic):
            return f"{name} archive, but the server expects a zip; pack it with `zip -r`"
    if start.startswith(b"PK"):
        return "a truncated or damaged zip; pack or copy it again"
    return "not a zip archive"


def open_container(path: Path) -> Container:
    """Return the files of a folder or a zip.

    Raises:
        SgcpError: there is neither.
    """
    if path.is_dir():
        return Folder(path)
    if path.is_file():
        return Zip(path)
    reason = "neither a file nor a folder" if path.exists() else "no such file or folder"
    raise SgcpError(f"{path}: {reason}")
