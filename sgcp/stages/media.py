"""What ``sgcp segment`` is to look at: files, folders, patterns and standard input."""

import glob
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

from sgcp.datasets.photos import SUFFIXES as PICTURES
from sgcp.errors import SgcpError
from sgcp.files import PARTIAL
from sgcp.inference.video import SUFFIXES as VIDEOS

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


def find_media(paths: Iterable[Path], out: Path) -> list[Path]:
    """Return files given by name, and pictures and videos below folders, each once.

    A path that is not there may be a pattern (``holiday/**/*.jpg``). What lies below ``out`` is
    left out of a folder that ``out`` is in, and of a pattern: results of another time.

    Raises:
        SgcpError: a path is not there, a pattern fits nothing, or there is nothing to look at.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            inside = _below(path, out)
            if not inside:
                raise SgcpError(f"{path}: no picture below it, and no video")
        elif path.is_file():
            inside = [path]
        elif glob.has_magic(str(path)):
            fitting = sorted(map(Path, glob.glob(str(path), recursive=True)))
            inside = [item for item in fitting if _looks_right(item) and not _is_below(item, out)]
            if not inside:
                raise SgcpError(f"{path}: no picture fits this pattern, and no video")
        else:
            raise SgcpError(f"{path}: no such file or folder")
        for item in inside:
            found.setdefault(item.resolve(), item)
    return list(found.values())


def _below(folder: Path, out: Path) -> list[Path]:
    inside = sorted(filter(_looks_right, folder.rglob("*")))
    if folder.resolve() == out.resolve():
        return inside
    return [path for path in inside if not _is_below(path, out)]


def _looks_right(path: Path) -> bool:
    return path.suffix.lower() in PICTURES + VIDEOS and path.is_file()


def _is_below(path: Path, out: Path) -> bool:
    return path.resolve().is_relative_to(out.resolve())


def name_outputs(media: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Return what each one's files are named after; of equal names all but one keep more.

    ``a/1.png`` and ``b/1.jpg`` become ``1`` and ``b_1.jpg``. Case makes no difference: on some
    disks it makes none.
    """
    named: dict[Path, Path] = {}
    taken: set[str] = set()
    for path in media:
        longer = f"{path.parent.name}_{path.name}".lstrip("_")
        candidates = chain([path.stem, longer], (f"{longer}_{number}" for number in count(2)))
        name = next(name for name in candidates if name.casefold() not in taken)
        taken.add(name.casefold())
        named[path] = out / name
    return named
