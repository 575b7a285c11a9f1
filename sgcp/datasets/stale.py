"""Find files that changed since ``prepare`` read them: by size and times, then by content.

``index.csv`` contains the digest of every file. Reading all of them before each stage would take
minutes, so only files are read whose size or times differ from their stamps. Without stamps, after
a copy or a ``touch``, that is done once, and only other content is an error.

The stamps, ``X.stamps.json``, lie beside the prepared folder. They are not an output of DVC's,
since times differ between machines.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from sgcp.core.errors import SgcpError
from sgcp.core.files import HeldError, only_writer, read_json, write_text
from sgcp.core.parallel import map_threads, usable_cores
from sgcp.core.snapshot import Change
from sgcp.core.terminal import track
from sgcp.datasets.index import digest_file, digest_pixels
from sgcp.media.images import read_image, read_label

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Dataset, Item

SHOWN = 5  # files that a message names
RAW, PREPARED = "raw", "prepared"
ENDINGS = (".png", ".jpg", ".jpeg", ".json")  # images and annotations; other files are no data
# Nanoseconds; a file changed so lately may change again without getting another time.
RECENT = 2 * 10**9

Status = list[int]  # size, and times of the last change of content and of status, nanoseconds
Times = dict[str, Status]  # by the file's key: `raw` or `prepared`, and its path below that folder


@dataclass(frozen=True)
class Stamps:
    """Size and times of a dataset's files when they were last compared."""

    times: Times
    names: frozenset[str]
    """Keys of the images and annotations in the raw folder."""


def status_of(path: str) -> Status | None:
    """Return the size and times of a file, of its target if it is a link; None if it is missing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _is_settled(status: Status) -> bool:
    """Return whether a later change of the file is sure to change its times."""
    return max(status[1:]) < time.time_ns() - RECENT


def _raw_names(layout: Layout) -> frozenset[str]:
    """Return the keys of all images and annotations in the raw folder."""
    start = os.fspath(layout.raw)
    return frozenset(
        f"{RAW}{os.path.join(folder, name)[len(start):]}"
        for folder, _, names in os.walk(start)
        for name in names
        if name.lower().endswith(ENDINGS) and not name.startswith(".")
    )  # fmt: skip


def stamp_raw(layout: Layout) -> Stamps:
    """Return size and times of every raw file as it is now."""
    start = os.fspath(layout.raw)
    times = {}
    for folder, _, names in os.walk(start):
        for path in (os.path.join(folder, name) for name in names):
            status = status_of(path)
            if status is not None and _is_settled(status):
                times[f"{RAW}{path[len(start) :]}"] = status
    return Stamps(times, _raw_names(layout))


def _index_digest(layout: Layout) -> str:
    """Digest the description that stamps belong to."""
    digest = hashlib.sha256()
    for name in ("index.csv", "dataset.json"):
        digest.update((layout.prepared / name).read_bytes())
    return digest.hexdigest()


def _read_stamps(layout: Layout) -> Stamps | None:
    """Return the stamps; None where there are none for this very index."""
    try:
        content = read_json(layout.stamps, made_by="")
        if content["index"] != _index_digest(layout):
            return None
        return Stamps(dict(content["times"]), frozenset(content["names"]))
    except (SgcpError, OSError, KeyError, TypeError, ValueError):
        return None


def _write_stamps(layout: Layout, stamps: Stamps) -> None:
    """Write the stamps, if the folder can be written and no other process does so now."""
    with suppress(OSError, HeldError), only_writer(layout.stamps, patience=0):
        content = {
            "index": _index_digest(layout),
            "names": sorted(stamps.names),
            "times": stamps.times,
        }
        write_text(layout.stamps, json.dumps(content))


class Known(NamedTuple):
    """A file that ``index.csv`` describes."""

    key: str
    path: str
    digest: str
    digest_now: Callable[[Path], str]
    optional: bool
    """Not read by the stage: it may be missing where it was never seen."""


def _image_now(path: Path) -> str:
    """Digest an image's pixels."""
    return digest_pixels(read_image(path))


def _label_now(path: Path) -> str:
    """Digest a label map's pixels."""
    return digest_pixels(read_label(path))


def _known_files(
    layout: Layout, dataset: Dataset, items: Iterable[Item], images: bool, labels: bool
) -> list[Known]:
    """List the files of some items, each with its digest in the index."""
    raw, prepared = os.fspath(layout.raw), os.fspath(layout.prepared)
    files = []

    def add(
        folder: str,
        name: Path | str | None,
        digest: str,
        now: Callable[[Path], str],
        optional: bool = False,
    ) -> None:
        if name is not None:
            place = raw if folder == RAW else prepared
            path = os.path.join(place, name)
            files.append(Known(f"{folder}/{name}", path, digest, now, optional))

    for item in items:
        if images:
            add(RAW, item.image, item.image_digest, _image_now)
        if labels:
            add(PREPARED, item.label, item.label_digest, _label_now)
            add(PREPARED, item.segments, item.segments_digest, digest_file)
            add(RAW, item.source, item.source_digest, digest_file, optional=True)
    if labels:
        for name, digest in dataset.sources.items():
            add(RAW, name, digest, digest_file, optional=True)
    return files


def refuse_stale(
    layout: Layout,
    dataset: Dataset,
    items: Sequence[Item],
    images: bool = True,
    labels: bool = True,
) -> None:
    """Refuse files that are no longer what ``prepare`` read or wrote.

    Args:
        images: whether the caller reads the items' images.
        labels: whether it reads their labels.

    Raises:
        SgcpError: naming the files, how many they are, and what to do.
    """
    files = _known_files(layout, dataset, items, images, labels)
    stamps = _read_stamps(layout)
    names = _raw_names(layout)
    changes, seen = compare(files, stamps.times if stamps else {})
    if stamps:
        missing = {change.path for change in changes}
        changes += compare_names(layout, dataset, stamps.names, names, missing)
    if changes:
        raise SgcpError(explain(layout, changes))
    layout.snapshot.use(partial(_compare_again, files, seen))
    kept = stamps or Stamps({}, names)
    if any(kept.times.get(key) != status for key, status in seen.items()):
        _write_stamps(layout, Stamps(kept.times | seen, kept.names))


def compare(files: Sequence[Known], times: Times) -> tuple[list[Change], Times]:
    """Compare files with their descriptions: read those whose size or times are not as stamped.

    Returns:
        The files that differ, and size and times of the others, except of files changed lately.
    """
    changes, seen, doubtful = [], {}, []
    for file in files:
        status = status_of(file.path)
        if status is None:
            if not file.optional or file.key in times:
                changes.append(Change(file.path, "missing"))
        elif times.get(file.key) == status:
            seen[file.key] = status
        else:
            doubtful.append((file, status))
    with_digests = map_threads(is_as_described, (file for file, _ in doubtful), usable_cores())
    results = track(with_digests, "comparing files", len(doubtful))
    for (file, status), equal in zip(doubtful, results, strict=True):
        if not equal:
            changes.append(Change(file.path, "changed"))
        elif _is_settled(status):
            seen[file.key] = status
    return changes, seen


def _compare_again(files: Sequence[Known], seen: Times) -> list[Change]:
    """Return the files that differ now; ``seen`` keeps size and times of the others."""
    changes, now = compare(files, seen)
    seen.update(now)
    return changes


def is_as_described(file: Known) -> bool:
    """Return whether a file has the digest of the index."""
    try:
        return file.digest_now(Path(file.path)) == file.digest
    except SgcpError:  # it can no longer be read as what it was
        return False


def compare_names(
    layout: Layout, dataset: Dataset, before: frozenset[str], now: frozenset[str], missing: set[str]
) -> list[Change]:
    """Return the images and annotations that were added to the raw folder or removed.

    Of each folder in it, those of the kinds that the dataset reads: the official tools write
    results and label maps of their own beside them.

    Args:
        missing: paths that are reported already.
    """
    read = {_kind_of(path) for i in dataset.items for path in (i.image, i.source) if path}
    both = [(before - now, "missing"), (now - before, "new")]
    found = (
        Change(os.fspath(layout.raw) + key.removeprefix(RAW), what)
        for keys, what in both
        for key in sorted(keys)
        if _kind_of(PurePosixPath(key).relative_to(RAW)) in read
    )
    return [change for change in found if change.path not in missing]


def _kind_of(path: PurePath) -> tuple[str, bool]:
    """Return the top folder of a raw file, and whether it is an annotation rather than an image."""
    return path.parts[0], path.suffix.lower() == ".json"


def refuse_changed_raw(layout: Layout, dataset: Dataset, before: Stamps) -> None:
    """Refuse raw files that changed while ``prepare`` read them.

    Args:
        dataset: as prepared from them.
        before: how they were before it began.

    Raises:
        SgcpError: naming the files.
    """
    files = _known_files(layout, dataset, dataset.items, images=True, labels=True)
    raw = [file._replace(optional=False) for file in files if file.key.startswith(f"{RAW}/")]
    changes, _ = compare(raw, before.times)
    missing = {change.path for change in changes}
    changes += compare_names(layout, dataset, before.names, _raw_names(layout), missing)
    if changes:
        raise SgcpError(
            f"{layout.dataset}: raw files changed while this ran ({list_files(changes)}). "
            f"Run `sgcp prepare {layout.dataset}` again."
        )


def stamp_prepared(layout: Layout, dataset: Dataset, before: Stamps) -> None:
    """Remember the files of a dataset that was just prepared.

    Args:
        before: how the raw files were before it began.
    """
    files = _known_files(layout, dataset, dataset.items, images=False, labels=True)
    status = {file.key: status_of(file.path) for file in files if not file.optional}
    times = {key: found for key, found in status.items() if found and _is_settled(found)}
    _write_stamps(layout, Stamps(before.times | times, before.names))


def explain(layout: Layout, changes: Sequence[Change]) -> str:
    """Return which files differ, and what to do."""
    name = layout.dataset
    advice = f"Run `sgcp prepare {name}` again."
    if any(change.what == "missing" for change in changes):
        advice = (
            f"Restore what is missing, or run `sgcp download {name}` and `sgcp prepare {name}`."
        )
    return (
        f"{name}: files differ from what `sgcp prepare {name}` read or wrote "
        f"({list_files(changes)}). {advice}"
    )


def list_files(changes: Sequence[Change]) -> str:
    """Return the number of files and the first names."""
    more = ", ..." if len(changes) > SHOWN else ""
    return f"{len(changes)}: {', '.join(map(str, changes[:SHOWN]))}{more}"
