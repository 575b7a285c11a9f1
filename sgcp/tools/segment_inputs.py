"""What ``sgcp segment`` is to look at: files, folders, patterns and standard input."""

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
from sgcp.media.images import SUFFIXES as IMAGES
from sgcp.media.video import SUFFIXES as VIDEOS

STDIN = Path("-")
SPOOLED = f"stdin{PARTIAL}"


@contextmanager
def with_stdin(paths: Sequence[Path], out: Path) -> Iterator[list[Path]]:
    """Return the paths with a file in the place of ``-``: what stands on standard input.

    Videos are not read from front to back, so it is kept on the disk, in ``out``, until the end.

    Raises:
        SgcpError: nothing is on it.
    """
    if STDIN not in paths:
        yield list(paths)
        return
    if sys.stdin.isatty():
        raise SgcpError("-: standard input is this terminal; `sgcp segment - < street.jpg`")
    spooled = out / SPOOLED
    out.mkdir(parents=True, exist_ok=True)
    try:
        with spooled.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        if not spooled.stat().st_size:
            raise SgcpError("-: nothing came on standard input")
        yield [spooled if path == STDIN else path for path in paths]
    finally:
        spooled.unlink(missing_ok=True)


def shown(text: object) -> str:
    """Return a message with standard input under the name that a person knows."""
    before, name, after = str(text).rpartition(SPOOLED)
    return f"standard input{after}" if name else after or before


def find_media(paths: Iterable[Path], out: Path) -> dict[Path, Path]:
    """Return files given by name, and images and videos below folders, linked ones too, each once.

    A path that does not exist may be a pattern (``holiday/**/*.jpg``). What lies below ``out`` is
    left out of a folder that ``out`` is in, and of a pattern: results of an earlier run.

    Returns:
        Of each file, the folder that its outputs go to, below ``out``: the sub-folder that it has
        in its folder, or, of several folders and patterns, below the nearest folder above all.

    Raises:
        SgcpError: a path does not exist, a pattern matches nothing, or a folder holds neither
            images nor videos.
    """
    found: dict[Path, Path] = {}
    roots: dict[Path, str | None] = {}  # of each file: the folder it was found below
    for path in paths:
        root: Path | None = path
        if path.is_dir():
            inside = _below(path, out)
            if not inside:
                raise SgcpError(f"{path}: no image below it, and no video")
        elif path.is_file():
            inside, root = [path], None
        elif glob.has_magic(str(path)):
            fitting = sorted(map(Path, glob.glob(str(path), recursive=True)))
            root = next(folder for folder in path.parents if not glob.has_magic(str(folder)))
            inside = [item for item in fitting if _looks_right(item) and not _is_below(item, out)]
            if not inside:
                raise SgcpError(f"{path}: no image fits this pattern, and no video")
        else:
            raise SgcpError(f"{path}: no such file or folder")
        for item in inside:
            if found.setdefault(item.resolve(), item) is item:
                roots[item] = os.path.abspath(root) if root else None
    folders = {root for root in roots.values() if root is not None}
    common = os.path.commonpath(folders) if folders else ""
    return {
        item: Path(os.path.relpath(os.path.abspath(item.parent), common)) if root else Path()
        for item, root in roots.items()
    }


def _below(folder: Path, out: Path) -> list[Path]:
    inside = sorted(filter(_looks_right, walk_files(folder)))
    if folder.resolve() == out.resolve():
        return inside
    return [path for path in inside if not _is_below(path, out)]


def _looks_right(path: Path) -> bool:
    return path.suffix.lower() in IMAGES + VIDEOS and path.is_file()


def _is_below(path: Path, out: Path) -> bool:
    return path.resolve().is_relative_to(out.resolve())


def name_outputs(media: Mapping[Path, Path], out: Path) -> dict[Path, Path]:
    """Return what each file's outputs are named after; of equal names all but one keep more.

    The files ``a/1.png`` and ``b/1.jpg``, both given by name, become ``1`` and ``b_1.jpg``. Names
    that differ only in letter case or Unicode form (NFC, NFD) are equal: on some disks they are.

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
