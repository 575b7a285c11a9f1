"""Stage ``download``: archives, an existing folder, an account or the generator -> raw data."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from sgcp.core.archives import extract, is_whole_zip
from sgcp.core.errors import SgcpError
from sgcp.core.files import building_folder, write_json
from sgcp.core.terminal import say
from sgcp.datasets.account import fetch_packages
from sgcp.datasets.fetch import MAX_ARCHIVE, fetch
from sgcp.datasets.foreign_layouts import explain_layout
from sgcp.datasets.raw import (
    MANIFEST,
    OnlyOnce,
    count_files,
    describe_archives,
    describe_change,
    describe_folder,
    find_files,
    is_complete,
    link_files,
    list_files,
    read_manifest,
    recall_sources,
    resolve_source,
)
from sgcp.datasets.source import Archive, DatasetSource, find_source, read_edition

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.settings import MachineSettings
    from sgcp.settings.base import Section


def download(
    layout: Layout,
    settings: Section,
    machine: MachineSettings,
    archives: Sequence[Path] = (),
    root: Path | None = None,
) -> None:
    """Fill ``layout.raw``: generate a dataset, or get it from disk or the web.

    A complete raw folder is kept, unless its source has changed, or another one is given.

    Args:
        archives: files already on disk, used before those in ``settings``.
        root: an unpacked folder, whose files are linked; used before anything else.

    Raises:
        SgcpError: a source is missing, damaged or not this dataset.
    """
    source = find_source(layout.dataset)
    if source.generate is None:
        _get(source, layout, settings, archives, root)
    elif archives or root:
        name = layout.dataset
        raise SgcpError(f"{name}: is generated; --archive and --root are for other datasets")
    else:
        _generate(source, layout, settings, machine.prepare_workers)


def _get(
    source: DatasetSource,
    layout: Layout,
    settings: Any,
    archives: Sequence[Path],
    root: Path | None,
) -> None:
    """Fill ``layout.raw`` from the first of ``root``, ``archives`` and the web."""
    identity = {"dataset": layout.dataset, "edition": settings.edition}
    archives = archives or [layout.named(name) for name in settings.archives]
    if root is None and not archives:
        if name := getattr(settings, "root", None):
            root = layout.named(name)
        elif name := os.environ.get(source.root_variable):
            root = Path(name)
    if root is None and not archives and read_manifest(layout, identity):
        root, archives = recall_sources(layout)
    place = OnlyOnce(source.place)
    files: dict[Path, Path] = {}
    fetched: list[Path] = []
    if root is None:
        origin = describe_archives(archives)
    else:
        files = find_files(resolve_source(root, layout.raw), place)
        origin = describe_folder(root, files)
    if is_complete(layout, identity, origin, source.place):
        say(f"{layout.raw}: complete, nothing to do")
        return
    before = list_files(layout.raw)
    with building_folder(layout.raw, json.dumps([identity, origin])) as folder:
        link_files(files, folder)
        if root is not None:
            source.check_part(root, place.taken)
        else:
            fetched = [] if archives else fetch_archives(source, layout, settings.edition)
            for archive in archives or fetched:
                _unpack(archive, folder, place, source)
        source.check(folder, place, settings.edition)
        write_json(folder / MANIFEST, identity | {"files": len(place.taken)})
        layout.snapshot.check()
    write_json(layout.origin, origin)
    for path in fetched:  # and nothing else there: it may be the user's
        path.unlink(missing_ok=True)
    with suppress(OSError):
        layout.downloads.rmdir()
    say(f"{layout.raw}: {len(place.taken)} files{describe_change(before, list_files(layout.raw))}")


def _generate(source: DatasetSource, layout: Layout, settings: Any, workers: int | str) -> None:
    # The raw folder outlives a rerun, so the generator's code is part of what it must match.
    code = b"".join(path.read_bytes() for path in source.generator)
    generator = {"generator": hashlib.sha256(code).hexdigest()}
    identity = settings.model_dump(mode="json") | generator
    if is_complete(layout, identity, {}, source.place):
        say(f"{layout.raw}: complete, nothing to do")
        return
    assert source.generate is not None
    with building_folder(layout.raw, json.dumps(identity)) as folder:
        source.generate(folder, settings, workers)
        (folder / MANIFEST).unlink(missing_ok=True)  # of a run killed just before its end
        count = count_files(folder, source.place)
        write_json(folder / MANIFEST, identity | {"files": count})
        layout.snapshot.check()
    say(f"{layout.raw}: {count} files")


def fetch_archives(source: DatasetSource, layout: Layout, edition: str) -> list[Path]:
    """Download an edition's archives into ``layout.downloads``; refuse one not on the web."""
    name, published = layout.dataset, read_edition(layout.source, edition)
    if published.site is not None:
        return fetch_packages(published.site, published.packages, layout.downloads)
    if not published.archives:
        raise SgcpError(
            f"{name}: edition '{edition}' is not downloaded. Name your copy: `sgcp download {name} "
            f"--root DIR`, `--archive FILE`, or {name}.download in params.yaml (docs/datasets.md)"
        )
    paths = []
    with requests.Session() as session:
        for archive in published.archives:
            paths.append(layout.downloads / archive.file)
            fetch(session, archive.url, paths[-1], archive.md5, limit=archive.size or MAX_ARCHIVE)
            _refuse_useless(paths[-1], archive, source)
    return paths


def _refuse_useless(path: Path, archive: Archive, source: DatasetSource) -> None:
    """Remove a fetched file that is damaged, or the next run would use it."""
    size = path.stat().st_size
    if archive.size not in (None, size):
        problem = f"{size} bytes, expected {archive.size}"
    elif archive.md5 is None and path.suffix == ".zip" and not is_whole_zip(path):
        problem = "damaged or no zip archive"
    elif not (problem := source.check_file(path)):
        return
    path.unlink()
    raise SgcpError(f"{archive.url}: {problem}; it was removed: run the command again")


def _unpack(archive: Path, folder: Path, place: OnlyOnce, source: DatasetSource) -> None:
    """Put an archive's wanted files into ``folder``; a plain text file is copied."""
    if archive.suffix == ".txt" and archive.is_file():
        if (target := place(archive.name)) is None:
            raise SgcpError(f"{archive}: not part of this dataset")
        shutil.copyfile(archive, folder / target)
        return
    others, before = len(place.skipped), {*place.taken}
    if extract(archive, folder, place) == 0:
        found = explain_layout(source.layouts, place.skipped[others:])
        raise SgcpError(f"{archive}: has no file of this dataset: {found}")
    source.check_part(archive, {to: n for to, n in place.taken.items() if to not in before})
