"""The inputs of ``sgcp segment``: files, folders, patterns and standard input."""

import glob
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.files import PARTIAL
from sgcp.datasets.raw import walk_files
from sgcp.media.formats import VIDEOS
from sgcp.media.images import SUFFIXES as IMAGES

STDIN = Path("-")
SPOOLED = f"stdin{PARTIAL}"


@contextmanager
def with_stdin(paths: Sequence[Path], out: Path) -> Iterator[list[Path]]:
    """Yield the paths, with a temporary file in ``out`` of standard input in place of ``-``.

    SgcpError is raised if standard input is empty or a terminal.
    """
    if STDIN not in paths:
        yield list(paths)
        return
    if sys.stdin.isatty():
        raise SgcpError("-: standard input is a terminal. Pipe an image: `< street.jpg`")
    spooled = out / SPOOLED
    out.mkdir(parents=True, exist_ok=True)
    try:
        with spooled.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        if not spooled.stat().st_size:
            raise SgcpError("-: standard input is empty")
        yield [spooled if path == STDIN else path for path in paths]
    finally:
        spooled.unlink(missing_ok=True)


def display_name(text: object) -> str:
    """Return a message with ``standard input`` in place of the temporary file."""
    before, name, after = str(text).rpartition(SPOOLED)
    return f"standard input{after}" if name else after or before


def find_media(paths: Iterable[Path], out: Path) -> dict[Path, Path]:
    """Return given files, and images and videos below folders, links followed, each once.

    A path that does not exist may be a pattern (``holiday/**/*.jpg``). Files below ``out`` are
    skipped in folders that contain ``out`` and in patterns: they are results of an earlier run.

    Returns:
        For each file, the folder of its outputs relative to ``out``: its sub-folder below the
        given folder, or, for several folders and patterns, below their common parent.

    Raises:
        SgcpError: a path does not exist, a pattern matches nothing, or a folder contains neither
            images nor videos.
    """
    found: dict[Path, Path] = {}
    roots: dict[Path, str | None] = {}
    for path in paths:
        root: Path | None = path
        if path.is_dir():
            inside = sorted(filter(_is_media, walk_files(path)))
            inside = _without_results(inside, path, out)
        elif path.is_file():
            inside, root = [path], None
        elif glob.has_magic(str(path)):
            matches = sorted(map(Path, glob.glob(str(path), recursive=True)))
            root = next(folder for folder in path.parents if not glob.has_magic(str(folder)))
            inside = _without_results(filter(_is_media, matches), root, out)
        else:
            raise SgcpError(f"{path}: no such file or folder")
        if not inside:
            raise SgcpError(f"{path}: no image or video found")
        for item in inside:
            if found.setdefault(item.resolve(), item) is item:
                roots[item] = os.path.abspath(root) if root else None
    folders = {root for root in roots.values() if root is not None}
    common = os.path.commonpath(folders) if folders else ""
    return {
        item: Path(os.path.relpath(os.path.abspath(item.parent), common)) if root else Path()
        for item, root in roots.items()
    }


def _is_media(path: Path) -> bool:
    return path.suffix.lower() in IMAGES + VIDEOS and path.is_file()


def _without_results(paths: Iterable[Path], root: Path, out: Path) -> list[Path]:
    """Return files below ``root`` but those below ``out``, if that is a folder in it."""
    folder = out.resolve()
    if root.resolve() not in folder.parents:
        return [*paths]
    return [path for path in paths if not path.resolve().is_relative_to(folder)]


def name_outputs(media: Mapping[Path, Path], out: Path) -> dict[Path, Path]:
    """Return the path without suffix of each file's outputs; equal names get longer ones.

    ``a/1.png`` and ``b/1.jpg``, both given by name, become ``1`` and ``b_1.jpg``. Names that differ
    only in letter case or Unicode form (NFC, NFD) are equal: on some disks they are.

    Args:
        media: the folder of each file's outputs, below ``out``.
    """
    named: dict[Path, Path] = {}
    taken: set[str] = set()
    for path, folder in media.items():
        longer = f"{path.parent.name}_{path.name}".lstrip("_")
        candidates = chain([path.stem, longer], (f"{longer}_{number}" for number in count(2)))
        for name in candidates:
            key = unicodedata.normalize("NFC", str(folder / name)).casefold()
            if key not in taken:
                break
        taken.add(key)
        named[path] = out / folder / name
    return named
