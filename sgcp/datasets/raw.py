"""The raw folder: files linked from an existing folder, and the records of where they came from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgcp.core.errors import SgcpError, printable
from sgcp.core.files import json_digest, read_json

if TYPE_CHECKING:
    from sgcp.core.archives import Placement
    from sgcp.core.layout import Layout

MANIFEST = "download.json"  # in the raw folder: its dataset, edition and number of files
MAX_FOLDERS = 100_000  # links can make a few folders look like more than there are atoms


class OnlyOnce:
    """A placement that refuses a second file for one place, from any source."""

    def __init__(self, place: Placement) -> None:
        self.place = place
        self.taken: dict[Path, str] = {}
        self.skipped: list[str] = []
        """Names without a place, to explain what is missing."""

    def __call__(self, name: str) -> Path | None:
        """Return where a file belongs, None if it is not needed."""
        target = self.place(name)
        if target is None:
            self.skipped.append(name)
            return None
        if "\n" in name or printable(name) != name:
            raise SgcpError(f"{name!r}: rename it, it contains control characters or is not UTF-8")
        if target in self.taken:
            raise SgcpError(
                f"{name!r} and {self.taken[target]!r} are the same file {target}; give each file "
                "once"
            )
        self.taken[target] = name
        return target


def resolve_source(root: Path, raw: Path) -> Path:
    """Return a folder's own address, ``~`` expanded and links followed."""
    try:
        folder = root.expanduser().resolve()
    except (RuntimeError, ValueError) as error:  # no such user; links in a circle; a NUL
        raise SgcpError(f"{str(root)!r}: no such folder ({error})") from None
    if not folder.is_dir():
        raise SgcpError(f"{folder}: no such folder")
    target = raw.resolve()
    if folder.is_relative_to(target) or target.is_relative_to(folder):
        raise SgcpError(
            f"{folder}: is or contains {raw}, where its files would go; name another folder"
        )
    return folder


def find_files(source: Path, place: Placement) -> dict[Path, Path]:
    """Return every wanted file below a folder by its place."""
    paths = sorted(walk_files(source))
    return {to: path for path in paths if (to := place(path.relative_to(source).as_posix()))}


def link_files(files: Mapping[Path, Path], folder: Path) -> None:
    """Put a symbolic link to each file at its place: DVC reads links to files, not to folders."""
    for place, path in files.items():
        link = folder / place
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(path)


def walk_files(source: Path) -> Iterator[Path]:
    """Yield every regular file below a folder, following links but entering no folder in itself.

    Datasets are often assembled from links to other disks. Folders without permission are skipped.
    """
    todo: list[tuple[Path, frozenset[tuple[int, int]]]] = [(source, frozenset())]
    entered = 0
    while todo:
        folder, above = todo.pop()
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            continue
        entered += 1
        if entered > MAX_FOLDERS:
            raise SgcpError(f"{source}: more than {MAX_FOLDERS:,} folders; name one of them")
        try:
            paths = [folder / entry.name for entry in os.scandir(folder)]
        except PermissionError:
            continue
        todo += [(path, above | {identity}) for path in paths if path.is_dir()]
        yield from (path for path in paths if path.is_file())


def describe_folder(root: Path, files: Mapping[Path, Path]) -> dict[str, Any]:
    """Return what to record of a folder: a user's own grows, so each of its files counts."""
    places = {str(place): str(path) for place, path in files.items()}
    return {"root": printable(root.expanduser().absolute()), "files": json_digest(places)}


def describe_archives(archives: Sequence[Path]) -> dict[str, Any]:
    """Return what to record of archives, each with its size and time; empty: of the web."""
    states = {path.resolve(): path.stat() for path in archives if path.is_file()}
    known = {printable(path): [s.st_size, s.st_mtime_ns] for path, s in states.items()}
    return {"archives": known} if archives else {}


def recall_sources(layout: Layout) -> tuple[Path | None, list[Path]]:
    """Return the folder or archives of an earlier download, if they still exist."""
    origin = _read(layout.origin)
    try:
        root = Path(origin["root"]) if "root" in origin else None
        archives = [Path(name) for name in origin.get("archives", {})]
    except TypeError:
        return None, []
    if root is not None:
        return (root, []) if root.is_dir() else (None, [])
    return None, archives if all(path.is_file() for path in archives) else []


def read_manifest(layout: Layout, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of the raw folder; empty, unless it contains all of ``identity``."""
    manifest = _read(layout.raw / MANIFEST)
    return manifest if manifest.items() >= identity.items() else {}


def is_complete(
    layout: Layout, identity: Mapping[str, Any], origin: Mapping[str, Any], place: Placement
) -> bool:
    """Return whether the raw folder has every file of an earlier download of the same data.

    It must contain ``identity``, and have come from ``origin``; empty: from anywhere. Files that
    have no ``place`` in the dataset do not count.
    """
    manifest = read_manifest(layout, identity)
    if not manifest or (origin and _read(layout.origin) != origin):
        return False
    return count_files(layout.raw, place) == manifest.get("files")


def count_files(raw: Path, place: Placement) -> int:
    """Return how many files of a raw folder are at their place."""
    names = {path.relative_to(raw) for path in raw.rglob("*.*") if path.is_file()}
    return sum(place(name.as_posix()) == name for name in names)


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_json(path, made_by="sgcp download")
    except SgcpError:  # missing or damaged: download again
        return {}


def list_files(raw: Path) -> dict[Path, str | int]:
    """Return the files of a raw folder, each with its link's target, or its size."""
    return {
        path.relative_to(raw): os.readlink(path) if path.is_symlink() else path.stat().st_size
        for path in raw.rglob("*")
        if (path.is_symlink() or path.is_file()) and path.name != MANIFEST
    }


def describe_change(before: Mapping[Path, str | int], after: Mapping[Path, str | int]) -> str:
    """Count the new, missing and changed files between two lists of a raw folder."""
    counts = {
        "new": len(after.keys() - before.keys()),
        "gone": len(before.keys() - after.keys()),
        "changed": sum(before[name] != after[name] for name in before.keys() & after.keys()),
    }
    words = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f" ({words})" if before and words else ""
