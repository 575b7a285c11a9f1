"""What is remembered of a dataset's files on this machine: when each was last found unchanged.

``X.stamps.json`` lies beside the prepared folder. It is no output of DVC's, since times differ
between machines.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgcp.core.errors import SgcpError
from sgcp.core.files import HeldError, only_writer, read_json, write_text

if TYPE_CHECKING:
    from sgcp.core.layout import Layout

RAW, PREPARED = "raw", "prepared"
ENDINGS = (".png", ".jpg", ".jpeg", ".json")  # images and annotations; other files are no data
# Nanoseconds; a file changed so lately may change again without getting another time.
RECENT = 2 * 10**9

Status = list[int]  # size, and times of the last change of content and of status, nanoseconds
Times = dict[str, Status]  # by the file's key: `raw` or `prepared`, and its path below that folder


@dataclass(frozen=True)
class Stamps:
    """What is remembered of a dataset's files."""

    times: Times
    names: frozenset[str]
    """Keys of the images and annotations in the raw folder."""


def status_of(path: str) -> Status | None:
    """Return the size and times of a file, of its target if it is a link; None if it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def is_settled(status: Status) -> bool:
    """Tell whether a later change of the file is sure to change its times."""
    return max(status[1:]) < time.time_ns() - RECENT


def raw_names(layout: Layout) -> frozenset[str]:
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
            if status is not None and is_settled(status):
                times[f"{RAW}{path[len(start) :]}"] = status
    return Stamps(times, raw_names(layout))


def index_digest(layout: Layout) -> str:
    """Digest the description that stamps belong to."""
    digest = hashlib.sha256()
    for name in ("index.csv", "dataset.json"):
        digest.update((layout.prepared / name).read_bytes())
    return digest.hexdigest()


def read_stamps(layout: Layout) -> Stamps | None:
    """Return the stamps; None where there are none for this very index."""
    try:
        content = read_json(layout.stamps, made_by="")
        if content["index"] != index_digest(layout):
            return None
        return Stamps(dict(content["times"]), frozenset(content["names"]))
    except (SgcpError, OSError, KeyError, TypeError, ValueError):
        return None


def write_stamps(layout: Layout, stamps: Stamps) -> None:
    """Write the stamps, if the folder can be written and no other process does so now."""
    with suppress(OSError, HeldError), only_writer(layout.stamps, patience=0):
        content = {
            "index": index_digest(layout),
            "names": sorted(stamps.names),
            "times": stamps.times,
        }
        write_text(layout.stamps, json.dumps(content))
