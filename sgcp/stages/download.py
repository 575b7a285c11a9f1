"""Stage ``download``: archives, an existing folder, an account or the generator -> raw data."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from sgcp.core.errors import SgcpError
from sgcp.core.files import PARTIAL, building_folder, write_json
from sgcp.core.terminal import say
from sgcp.datasets import camvid, cityscapes, custom, sample, scenes, textures
from sgcp.datasets.account import fetch_packages
from sgcp.datasets.archives import extract, is_whole_zip
from sgcp.datasets.camvid_labels import read_colors
from sgcp.datasets.custom_source import check_source, refuse_several
from sgcp.datasets.fetch import MAX_BYTES, fetch
from sgcp.datasets.foreign_layouts import OWN, explain_layout
from sgcp.datasets.links import OnlyOnce, Placement, link_folder, resolve_folder
from sgcp.datasets.origin import (
    describe_change,
    describe_sources,
    is_complete,
    list_files,
    read_manifest,
    recall_sources,
)
from sgcp.datasets.published_source import CAMVID, CITYSCAPES, check_camvid, check_cityscapes
from sgcp.datasets.source import MANIFEST, Archive, Edition, read_edition

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.settings import (
        CamVidDownload,
        CityscapesDownload,
        CustomDownload,
        MachineSettings,
        SampleDownload,
    )

PLACEMENTS: dict[str, Placement] = {
    "camvid": camvid.raw_path,
    "cityscapes": cityscapes.raw_path,
    "custom": custom.raw_path,
}
LAYOUTS = {"camvid": CAMVID, "cityscapes": CITYSCAPES, "custom": OWN}
ROOT_VARIABLES = {"cityscapes": "CITYSCAPES_DATASET"}


def download(
    layout: Layout,
    settings: SampleDownload | CamVidDownload | CityscapesDownload | CustomDownload,
    machine: MachineSettings,
    archives: Sequence[Path] = (),
    root: Path | None = None,
) -> None:
    """Fill ``layout.raw``: generate the sample, or get a dataset as published or as it lies there.

    A complete raw folder is left alone, unless its source has changed, or another one is named.

    Args:
        archives: files already on disk, used before those in ``settings``.
        root: an unpacked folder, whose files are linked; used before anything else.

    Raises:
        SgcpError: a source is missing, damaged or not this dataset.
    """
    if layout.dataset == "sample":
        if archives or root:
            raise SgcpError("sample: is generated; --archive and --root are for other datasets")
        generate(layout, settings, machine)
    else:
        get_published(layout, settings, archives, root)


def get_published(
    layout: Layout, settings: Any, archives: Sequence[Path], root: Path | None
) -> None:
    """Fill ``layout.raw`` from the first source there is: ``root``, ``archives``, the web."""
    edition = read_edition(layout.source, settings.edition)
    identity: dict[str, Any] = {"dataset": layout.dataset, "edition": settings.edition}
    archives = archives or [Path(name) for name in settings.archives]
    root = root or _configured_root(layout.dataset, settings, archives)
    if root is None and not archives and read_manifest(layout, identity):
        root, archives = recall_sources(layout)
    if root is not None:
        refuse_own_folder(resolve_folder(root), layout.raw)
    origin = describe_sources(archives, root, PLACEMENTS[layout.dataset])
    if is_complete(layout, identity, origin):
        say(f"{layout.raw}: complete, nothing to do")
        return
    place = OnlyOnce(PLACEMENTS[layout.dataset])
    before = list_files(layout.raw)
    with building_folder(layout.raw, json.dumps([identity, origin])) as folder:
        if root is not None:
            link_folder(root, folder, place)
            if layout.dataset == "custom":
                refuse_several(root, place.taken)
        else:
            for archive in archives or fetch_archives(edition, layout):
                unpack(archive, folder, place, layout.dataset)
        check_content(layout.dataset, settings.edition, folder, place)
        write_json(folder / MANIFEST, identity | {"files": len(place.taken)})
        layout.snapshot.check()
    write_json(layout.origin, origin)
    shutil.rmtree(layout.downloads, ignore_errors=True)
    say(f"{layout.raw}: {len(place.taken)} files{describe_change(before, list_files(layout.raw))}")


def refuse_own_folder(root: Path, raw: Path) -> None:
    """Refuse to link a folder into itself, which would leave links without files.

    Raises:
        SgcpError: one of the two lies in the other.
    """
    target = raw.resolve()
    if root.is_relative_to(target) or target.is_relative_to(root):
        raise SgcpError(f"{root}: is or holds {raw}, where its files would go; name another folder")


def _configured_root(dataset: str, settings: Any, archives: Sequence[Path]) -> Path | None:
    """Return the existing folder that settings or environment name, unless archives are given."""
    if archives:
        return None
    variable = ROOT_VARIABLES.get(dataset, "")
    root = getattr(settings, "root", None) or os.environ.get(variable)
    return Path(root) if root else None


def generate(layout: Layout, settings: Any, machine: MachineSettings) -> None:
    """Make the embedded sample."""
    # The raw folder outlives a rerun, so the generator's code is part of what it must match.
    code = [Path(str(module.__file__)) for module in (sample, scenes, textures)]
    generator = hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()
    identity = settings.model_dump(mode="json") | {"generator": generator}
    if is_complete(layout, identity, {}):
        say(f"{layout.raw}: complete, nothing to do")
        return
    counts = {"train": settings.train, "val": settings.val, "test": settings.test}
    with building_folder(layout.raw, json.dumps(identity)) as folder:
        sample.generate_sample(
            folder, settings.seed, settings.size, counts, machine.prepare_workers
        )
        (folder / MANIFEST).unlink(missing_ok=True)  # of a run killed just before its end
        count = sum(path.is_file() for path in folder.rglob("*.*") if path.suffix != PARTIAL)
        write_json(folder / MANIFEST, identity | {"files": count})
        layout.snapshot.check()
    say(f"{layout.raw}: {sum(counts.values())} street scenes")


def fetch_archives(edition: Edition, layout: Layout) -> list[Path]:
    """Download an edition's archives into ``layout.downloads``.

    Raises:
        SgcpError: it lies nowhere on the web, or cannot be fetched.
    """
    if edition.site is not None:
        return fetch_packages(edition.site, edition.packages, layout.downloads)
    if not edition.archives:
        name = layout.dataset
        key, page = ("root", "custom-dataset") if name == "custom" else ("archives", "datasets")
        raise SgcpError(
            f"{name}: this edition is not downloaded. Name your copy: `sgcp download {name} "
            f"--root DIR`, `--archive FILE`, or {name}.download.{key} in params.yaml "
            f"(docs/{page}.md)"
        )
    paths = []
    with requests.Session() as session:
        for archive in edition.archives:
            paths.append(layout.downloads / archive.file)
            fetch(session, archive.url, paths[-1], archive.md5, limit=archive.size or MAX_BYTES)
            refuse_useless(paths[-1], archive)
    return paths


def refuse_useless(path: Path, archive: Archive) -> None:
    """Remove a fetched file that is not what was asked for, lest it be trusted next time.

    Raises:
        SgcpError: another size than published; or, where no checksum is, a damaged zip or no list
            of colours.
    """
    size = path.stat().st_size
    if archive.size not in (None, size):
        problem = f"{size} bytes, expected {archive.size}"
    elif archive.md5 is None and path.suffix == ".zip" and not is_whole_zip(path):
        problem = "damaged or no zip archive"
    elif path.suffix == ".txt" and (wrong := _wrong_colors(path)):
        problem = wrong
    else:
        return
    path.unlink()
    raise SgcpError(f"{archive.url}: {problem}; it was removed: run the command again")


def _wrong_colors(path: Path) -> str:
    """Return what is wrong with CamVid's list of colours, nothing if all is well."""
    try:
        return "" if read_colors(path) else "an empty list of colours"
    except SgcpError as error:
        return str(error)


def unpack(archive: Path, folder: Path, place: OnlyOnce, dataset: str) -> None:
    """Put an archive's wanted files into ``folder``; a plain text file is copied as it is.

    Raises:
        SgcpError: it holds no such file.
    """
    if archive.suffix == ".txt" and archive.is_file():
        target = place(archive.name)
        if target is None:
            raise SgcpError(f"{archive}: not part of this dataset")
        shutil.copyfile(archive, folder / target)
        return
    others, before = len(place.skipped), {*place.taken}
    if extract(archive, folder, place) == 0:
        found = explain_layout(LAYOUTS[dataset], place.skipped[others:])
        raise SgcpError(f"{archive}: holds nothing of this dataset: {found}")
    if dataset == "custom":
        refuse_several(archive, {to: n for to, n in place.taken.items() if to not in before})


def check_content(dataset: str, edition: str, folder: Path, place: OnlyOnce) -> None:
    """Refuse sources that do not hold the edition asked for.

    Raises:
        SgcpError: naming what is missing and what there is, or the edition found instead.
    """
    if dataset == "custom":
        check_source(place)
    if not place.taken:
        found = explain_layout(LAYOUTS[dataset], place.skipped)
        raise SgcpError(f"{dataset}: the source holds no file of this dataset: {found}")
    if dataset == "cityscapes":
        check_cityscapes(place)
    if dataset == "camvid":
        found = check_camvid(folder, place)
        if found != edition:
            raise SgcpError(
                f"camvid.download.edition: '{edition}' in params.yaml, but the source holds the "
                f"'{found}' edition; set it to '{found}'"
            )
