"""The raw folder: files linked from an existing folder, and what is remembered of their source."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgcp.core.archives import Placement
from sgcp.core.errors import SgcpError, printable
from sgcp.core.files import json_digest, read_json

if TYPE_CHECKING:
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
        """Return where a file belongs, None if it is not needed.

        Raises:
            SgcpError: a second file for one place, or a name that the index cannot contain.
        """
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


def resolve_folder(path: Path) -> Path:
    """Return an existing folder's own address, ``~`` expanded and links followed.

    Raises:
        SgcpError: no such folder, user or name.
    """
    try:
        resolved = path.expanduser().resolve()
    except (RuntimeError, ValueError) as error:  # no such user; links in a circle; a NUL
        raise SgcpError(f"{str(path)!r}: no such folder ({error})") from None
    if not resolved.is_dir():
        raise SgcpError(f"{resolved}: no such folder")
    return resolved


def link_folder(source: Path, folder: Path, place: Placement) -> int:
    """Link every wanted file below ``source`` into ``folder``, a symbolic link each.

    Links to files, not to folders: DVC reads through the former.

    Returns:
        The number of links.

    Raises:
        SgcpError: ``source`` is not a folder, or contains two files for one place.
    """
    wanted = _wanted_files(source, place)
    for target, path in wanted.items():
        link = folder / target
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    return len(wanted)


def _wanted_files(source: Path, place: Placement) -> dict[Path, Path]:
    """Return every wanted file below ``source``, by where it belongs."""
    source = resolve_folder(source)
    wanted: dict[Path, Path] = {}
    for path in sorted(walk_files(source)):
        target = place(path.relative_to(source).as_posix())
        if target is None:
            continue
        if target in wanted:
            raise SgcpError(
                f"{path} and {wanted[target]} are the same file {target}; name the folder of one"
            )
        wanted[target] = path
    return wanted


def walk_files(source: Path) -> Iterator[Path]:
    """Yield every regular file below a folder, following links but entering no folder in itself.

    Datasets are often assembled from links to other disks. Folders without permission are skipped.

    Raises:
        SgcpError: more than ``MAX_FOLDERS`` folders.
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


def describe_sources(
    archives: Sequence[Path], root: Path | None, place: Placement
) -> dict[str, Any]:
    """Return where raw data comes from: a folder, archives, or, empty, the web.

    A user's own folder grows, so its files count too: each with its place in the raw data. An
    archive counts by size and time.
    """
    if root is not None:
        files = {str(to): str(path) for to, path in _wanted_files(root, place).items()}
        return {"root": printable(root.expanduser().absolute()), "files": json_digest(files)}
    states = {path.resolve(): path.stat() for path in archives if path.is_file()}
    known = {printable(path): [s.st_size, s.st_mtime_ns] for path, s in states.items()}
    return {"archives": known} if archives else {}


def recall_sources(layout: Layout) -> tuple[Path | None, list[Path]]:
    """Return the folder or archives of an earlier download, if they still exist."""
    origin = _read(layout, layout.origin)
    try:
        root = Path(origin["root"]) if "root" in origin else None
        archives = [Path(name) for name in origin.get("archives", {})]
    except TypeError:
        return None, []
    if root is not None:
        return (root, []) if root.is_dir() else (None, [])
    return None, archives if all(path.is_file() for path in archives) else []


def read_manifest(layout: Layout, identity: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of the raw folder; empty, unless it contains all of ``identity``."""
    manifest = _read(layout, layout.raw / MANIFEST)
    return manifest if manifest.items() >= identity.items() else {}


def is_complete(layout: Layout, identity: dict[str, Any], origin: dict[str, Any]) -> bool:
    """Return whether the raw folder has every file of an earlier download of the same data.

    Args:
        identity: what the raw folder must contain.
        origin: where it must have come from; empty: anywhere.
    """
    manifest = read_manifest(layout, identity)
    if not manifest or (origin and _read(layout, layout.origin) != origin):
        return False
    present = sum(path.is_file() for path in layout.raw.rglob("*")) - 1
    return bool(present == manifest.get("files"))


def _read(layout: Layout, path: Path) -> dict[str, Any]:
    try:
        return read_json(path, made_by=f"sgcp download {layout.dataset}")
    except SgcpError:  # missing or damaged: download again
        return {}


def list_files(raw: Path) -> dict[str, str | int]:
    """Return the files of a raw folder, each with its link's target, or its size."""
    paths = (Path(place, name) for place, _, names in os.walk(raw) for name in names)
    return {
        str(path.relative_to(raw)): os.readlink(path) if path.is_symlink() else path.stat().st_size
        for path in paths
        if path.name != MANIFEST
    }


def describe_change(before: dict[str, str | int], after: dict[str, str | int]) -> str:
    """Count the new, missing and changed files between two lists of a raw folder."""
    shared = before.keys() & after.keys()
    counts = {
        "new": len(after.keys() - shared),
        "gone": len(before.keys() - shared),
        "changed": sum(before[name] != after[name] for name in shared),
    }
    words = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f" ({words})" if before and words else ""
