"""Link the files of an existing folder instead of copying them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from sgcp.core.errors import SgcpError, printable

Placement = Callable[[str], Path | None]  # a file's name -> where it belongs, None: not needed
MAX_FOLDERS = 100_000  # links can make a few folders look like more than there are atoms


def resolve_folder(path: Path) -> Path:
    """Return an existing folder's own address, ``~`` expanded and links followed.

    Raises:
        SgcpError: there is no such folder, user or name.
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
        How many files were linked.

    Raises:
        SgcpError: ``source`` is no folder, or holds two files for one place.
    """
    wanted = wanted_files(source, place)
    for target, path in wanted.items():
        link = folder / target
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(path)
    return len(wanted)


def wanted_files(source: Path, place: Placement) -> dict[Path, Path]:
    """Return every wanted file below ``source``, by where it belongs.

    Raises:
        SgcpError: as ``link_folder``.
    """
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
    seen = 0
    while todo:
        folder, above = todo.pop()
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            continue
        seen += 1
        if seen > MAX_FOLDERS:
            raise SgcpError(f"{source}: more than {MAX_FOLDERS:,} folders; name one of them")
        try:
            paths = [folder / entry.name for entry in os.scandir(folder)]
        except PermissionError:
            continue
        todo += [(path, above | {identity}) for path in paths if path.is_dir()]
        yield from (path for path in paths if path.is_file())


class OnlyOnce:
    """A placement that refuses a second file for one place, from whichever source.

    Raises:
        SgcpError: when called with a second such name, or one that no index can hold.
    """

    def __init__(self, place: Placement) -> None:
        self.place = place
        self.taken: dict[Path, str] = {}
        self.skipped: list[str] = []
        """Names that have no place, to be looked at where something is missing."""

    def __call__(self, name: str) -> Path | None:
        """Return where a file belongs, None if it is not needed."""
        target = self.place(name)
        if target is None:
            self.skipped.append(name)
            return None
        if "\n" in name or printable(name) != name:
            raise SgcpError(f"{name!r}: rename it, it holds control characters or is no UTF-8")
        if target in self.taken:
            raise SgcpError(
                f"{name!r} and {self.taken[target]!r} are the same file {target}; give each file "
                "once"
            )
        self.taken[target] = name
        return target
