"""Find files that changed since ``prepare`` read them: by size and times, then by content.

``index.csv`` contains the digest of every file. Reading all of them before each stage would take
minutes, so only files are read whose size or times differ from their stamps. Without stamps, after
a copy or a ``touch``, that is done once, and only other content is an error.

The stamps, ``X.stamps.json``, lie beside the prepared folder. They are not an output of DVC's,
since times differ between machines.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.files import HeldError, file_sha256, only_writer, read_json, write_text
from sgcp.core.machine import usable_cores
from sgcp.core.parallel import map_threads
from sgcp.core.snapshot import Change
from sgcp.core.terminal import track
from sgcp.datasets.index import digest_file, digest_pixels
from sgcp.media.images import UInt8, read_image, read_label

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Dataset, Item

SHOWN = 5  # files that a message names
RAW, PREPARED = "raw", "prepared"
ENDINGS = (".png", ".jpg", ".jpeg", ".json")  # images and annotations; other files are no data
# Nanoseconds; a file changed so lately may change again without getting another time.
RECENT = 2 * 10**9

Status = list[int]  # size, and times of the last change of content and of status, nanoseconds
# Size and times of files when they were last compared, by `raw` or `prepared` and the path below
# that folder. None: not compared since its last change.
Stamps = dict[str, Status | None]


class Known(NamedTuple):
    """A file that ``index.csv`` describes."""

    key: str
    path: Path
    digest: str
    read: Callable[[Path], UInt8] | None
    """Returns the pixels that are digested; None: the file itself is."""

    @property
    def is_source(self) -> bool:
        """Whether ``prepare`` alone reads it: it may be missing where it was never seen."""
        return self.read is None and self.key.startswith(f"{RAW}/")


def status_of(path: Path | str) -> Status | None:
    """Return the size and times of a file, of its target if it is a link; None if it is missing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _settled(status: Status | None) -> Status | None:
    """Return the status if a later change of the file is sure to change its times."""
    return status if status and max(status[1:]) < time.time_ns() - RECENT else None


def _list_raw(layout: Layout) -> dict[str, str]:
    """Return every file of the raw folder by its key; as text, a tenth of the time of paths."""
    start = os.fspath(layout.raw)
    walk = os.walk(start, followlinks=True)  # as the globs of `prepare`
    paths = (os.path.join(place, name) for place, _, names in walk for name in names)
    return {f"{RAW}{path[len(start) :]}": path for path in paths}


def stamp_raw(layout: Layout) -> Stamps:
    """Return size and times of every raw file as it is now."""
    return {key: _settled(status_of(path)) for key, path in _list_raw(layout).items()}


def stamp_prepared(layout: Layout, dataset: Dataset, before: Stamps) -> None:
    """Write the stamps of a dataset that was just prepared; ``before``: its raw files' stamps."""
    files = _known_files(layout, dataset, dataset.items, images=False, labels=True)
    labels = {file.key: _settled(status_of(file.path)) for file in files if not file.is_source}
    _write_stamps(layout, before | labels)


def _index_digest(layout: Layout) -> str:
    names = ("index.csv", "dataset.json")
    return "".join(file_sha256(layout.prepared / name)[:32] for name in names)


def _read_stamps(layout: Layout) -> Stamps | None:
    """Return the stamps; None where there are none for this very index."""
    try:
        content = read_json(layout.stamps, made_by="")
        return dict(content["files"]) if content["index"] == _index_digest(layout) else None
    except (SgcpError, OSError, KeyError, TypeError, ValueError):
        return None


def _write_stamps(layout: Layout, stamps: Stamps) -> None:
    """Write the stamps, if the folder can be written and no other process does so now."""
    with suppress(OSError, HeldError), only_writer(layout.stamps, patience=0):
        content = {"index": _index_digest(layout), "files": stamps}
        write_text(layout.stamps, json.dumps(content))


def _known_files(
    layout: Layout, dataset: Dataset, items: Iterable[Item], images: bool, labels: bool
) -> list[Known]:
    """List the files of some items, each with its digest in the index."""
    files: list[tuple[str, Path | None, str, Callable[[Path], UInt8] | None]] = []
    for item in items:
        if images:
            files.append((RAW, item.image, item.image_digest, read_image))
        if labels:
            files.append((PREPARED, item.label, item.label_digest, read_label))
            files.append((PREPARED, item.segments, item.segments_digest, None))
            files.append((RAW, item.source, item.source_digest, None))
    if labels:
        files += [(RAW, Path(name), digest, None) for name, digest in dataset.sources.items()]
    folders = {RAW: layout.raw, PREPARED: layout.prepared}
    return [
        Known(f"{folder}/{name.as_posix()}", folders[folder] / name, digest, read)
        for folder, name, digest, read in files
        if name is not None
    ]


def refuse_stale(
    layout: Layout,
    dataset: Dataset,
    items: Sequence[Item],
    images: bool = True,
    labels: bool = True,
) -> None:
    """Refuse images and labels that the caller reads and that changed since ``prepare``."""
    files = _known_files(layout, dataset, items, images, labels)
    stamps = _read_stamps(layout)
    before: Stamps = dict.fromkeys(_list_raw(layout)) if stamps is None else stamps
    changes, seen = _find_changes(layout, dataset, files, before)
    name, advice = layout.dataset, ""
    if any(change.what == "missing" for change in changes):
        advice = (
            f"Restore what is missing, or run `sgcp download {name}` and `sgcp prepare {name}`."
        )
    _refuse(changes, name, f"files differ from what `sgcp prepare {name}` read or wrote", advice)

    def compare_again() -> list[Change]:
        found, now = compare(files, seen)
        seen.update(now)
        return found

    layout.snapshot.use(compare_again)
    if any(before.get(key) != status for key, status in seen.items()):
        _write_stamps(layout, before | seen)


def refuse_changed_raw(layout: Layout, dataset: Dataset, before: Stamps) -> None:
    """Refuse raw files that changed while ``prepare`` read them."""
    files = _known_files(layout, dataset, dataset.items, images=True, labels=True)
    raw = [file for file in files if file.key.startswith(f"{RAW}/")]
    changes, _ = _find_changes(layout, dataset, raw, before)
    _refuse(changes, layout.dataset, "raw files changed while this ran")


def _refuse(changes: Sequence[Change], name: str, problem: str, advice: str = "") -> None:
    if changes:
        found = f"({len(changes)}: {shorten(changes, SHOWN)})"
        advice = advice or f"Run `sgcp prepare {name}` again."
        raise SgcpError(f"{name}: {problem} {found}. {advice}")


def _find_changes(
    layout: Layout, dataset: Dataset, files: Sequence[Known], before: Stamps
) -> tuple[list[Change], Stamps]:
    """Return what ``compare`` does, and images and annotations that came or went as changes too.

    Of each folder below the raw one, those of the kinds that the dataset reads: the official tools
    write results and label maps of their own beside them.
    """
    changes, seen = compare(files, before)
    known = {change.path for change in changes}
    read = {_kind_of(path) for i in dataset.items for path in (i.image, i.source) if path}
    now = _list_raw(layout)
    gone, new = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
    for key in (*gone, *new):
        folder, _, name = key.partition("/")
        path = str(layout.raw / name)
        if folder == RAW and _kind_of(PurePath(name)) in read and path not in known:
            changes.append(Change(path, "new" if key in now else "missing"))
    return changes, seen


def _kind_of(path: PurePath) -> tuple[str, bool] | None:
    """Return the top folder of a raw file, and whether it is an annotation; None: no data."""
    ending = path.suffix.lower()
    if ending not in ENDINGS or path.name.startswith("."):
        return None
    return path.parts[0], ending == ".json"


def compare(
    files: Sequence[Known], before: Mapping[str, Status | None]
) -> tuple[list[Change], Stamps]:
    """Compare files with their descriptions: read those whose size or times are not as stamped.

    Return those that differ, and size and times of the others, except of files changed lately.
    """
    changes: list[Change] = []
    seen: Stamps = {}
    doubtful = []
    for file in files:
        status = status_of(file.path)
        if status is None:
            if not file.is_source or file.key in before:
                changes.append(Change(str(file.path), "missing"))
        elif before.get(file.key) == status:
            seen[file.key] = status
        else:
            doubtful.append((file, status))
    with_digests = map_threads(is_as_described, (file for file, _ in doubtful), usable_cores())
    results = track(with_digests, "comparing files", len(doubtful))
    for (file, status), equal in zip(doubtful, results, strict=True):
        if not equal:
            changes.append(Change(str(file.path), "changed"))
        elif _settled(status):
            seen[file.key] = status
    return changes, seen


def is_as_described(file: Known) -> bool:
    """Return whether a file has the digest of the index."""
    try:
        now = digest_pixels(file.read(file.path)) if file.read else digest_file(file.path)
        return now == file.digest
    except SgcpError:  # it can no longer be read as what it was
        return False
