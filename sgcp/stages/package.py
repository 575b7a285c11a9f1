"""Stage ``package``: predictions -> a zip that the server accepts, and a check report."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.files import building_folder, write_json
from sgcp.core.findings import Report, describe
from sgcp.core.terminal import say, track, warn
from sgcp.datasets.index import Dataset, read_dataset
from sgcp.datasets.label_files import ids_of, read_meaning
from sgcp.datasets.source import find_source, read_edition
from sgcp.datasets.stale import refuse_stale
from sgcp.media.images import read_png_text
from sgcp.models.card import model_digest
from sgcp.submission.archive import Entry, Folder
from sgcp.submission.check import check_submission
from sgcp.submission.expected import KnownImages
from sgcp.submission.rules import COUNT, STRAY, SYSTEM

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.settings import PackageSettings

ZIP_NAME = "test_result.zip"
REPORT_NAME = "check.json"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes for the same predictions


def package_submission(layout: Layout, settings: PackageSettings) -> None:
    """Check ``layout.predictions`` against every rule, then zip them into ``layout.submission``.

    Raises:
        SgcpError: listing what is wrong; no zip is written then.
    """
    if not layout.predictions.is_dir():
        raise SgcpError(
            f"{layout.predictions}: not found; run `sgcp predict {layout.dataset}` first"
        )
    dataset, images = known_images(layout)
    report, answers = check_submission(Folder(layout.predictions), images, dataset.classes)
    _refuse_faults(report, layout)
    _refuse_incomplete(images, layout)
    _refuse_outdated(layout, dataset, answers)
    names = sorted(found[0].name for found in answers.values())
    with building_folder(layout.submission, key="package") as folder:
        write_zip(folder / ZIP_NAME, layout.predictions, names, settings.compression)
        content = {
            **dataset.provenance(),
            "images": len(images.sizes),
            **report.to_json(),
            "allowed_ids": {item.label_id: item.name for item in dataset.classes},
        }
        write_json(folder / REPORT_NAME, content)
        layout.snapshot.check()
    if report.findings:
        warn(Text(f"warnings:\n{describe(report.groups(), report.cityscapes)}"))
    size = (layout.submission / ZIP_NAME).stat().st_size
    say(f"{layout.submission / ZIP_NAME}: {len(names)} images, {size:,} bytes, every rule checked")


def known_images(layout: Layout) -> tuple[Dataset, KnownImages]:
    """Return a prepared dataset and its test images, which a submission must answer."""
    dataset = read_dataset(layout.prepared)
    items = dataset.split("test", labelled=False)
    sizes = {item.prediction: (item.height, item.width) for item in items}
    published = read_edition(layout.source, dataset.edition).images.get("test")
    return dataset, KnownImages(sizes, published, find_source(layout.dataset).has_server)


def _refuse_faults(report: Report, layout: Layout) -> None:
    """Refuse predictions with errors, and files that are none of them, with examples.

    In a stranger's zip the latter are warnings; in the project's own folder they are mistakes. An
    incomplete test split is no fault of theirs: ``_refuse_incomplete``.
    """
    groups = [
        (kind, group)
        for kind, group in report.groups()
        if (kind.refused or kind in (STRAY, SYSTEM)) and kind != COUNT
    ]
    if groups:
        count = sum(len(group) for _, group in groups)
        raise SgcpError(
            f"{layout.predictions}: {count} problem(s), no zip was written; "
            f"`sgcp predict {layout.dataset}` makes the predictions anew\n"
            f"{describe(groups, report.cityscapes)}\n"
            f"`sgcp check-submission {layout.predictions} --dataset {layout.dataset} --json -` "
            "names every file"
        )


def _refuse_incomplete(images: KnownImages, layout: Layout) -> None:
    """Refuse to pack predictions of only a part of the benchmark's test images."""
    if images.published in (None, len(images.sizes)):
        return
    name = layout.dataset
    raise SgcpError(
        f"{layout.prepared}: the test split has {len(images.sizes)} of the benchmark's "
        f"{images.published} images, and the server scores all or none. The predictions of these "
        "have no fault; no zip was written. Complete the test images of your source, then run "
        f"`sgcp download {name}`, `sgcp prepare {name}` and `sgcp predict {name}`"
    )


def _refuse_outdated(layout: Layout, dataset: Dataset, answers: Mapping[str, list[Entry]]) -> None:
    """Refuse predictions of another model than ``layout.model`` or of other images than prepared.

    A folder without any file of sgcp's is packed unchanged: other files do not name their model.
    """
    files = {name: answers[name][0].name for name in sorted(answers)}
    said = {name: read_meaning(read_png_text(layout.predictions / files[name])) for name in files}
    if not any(said.values()):
        return
    items = {item.prediction: item for item in dataset.split("test", labelled=False)}
    refuse_stale(layout, dataset, [*items.values()], labels=False)
    model = model_digest(layout.model / "model.safetensors")
    now = ids_of(dataset.classes, dataset.name)
    faults: dict[str, list[str]] = {}
    for name, meaning in said.items():
        if meaning is None:
            fault = "were not written by `sgcp predict`, as the others were"
        elif meaning.model != model:
            fault = f"were made by another model than {layout.model}, or by an older sgcp"
        elif (meaning.encoding, meaning.classes) != (now.encoding, now.classes):
            fault = "have other label ids than the prepared dataset"
        elif meaning.image != items[name].image_digest:
            fault = "were made of other images than those prepared"
        else:
            continue
        faults.setdefault(fault, []).append(files[name])
    if faults:
        found = "; ".join(
            f"{len(names)} of {len(said)} predictions ({shorten(names, 1)}) {fault}"
            for fault, names in faults.items()
        )
        raise SgcpError(
            f"{layout.predictions}: {found}. No zip was written; run "
            f"`sgcp predict {layout.dataset}` again"
        )


def write_zip(path: Path, folder: Path, names: Sequence[str], compression: int) -> None:
    """Pack files by their path below a folder, with a fixed date; the caller renames the whole."""
    method = zipfile.ZIP_DEFLATED if compression else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w") as archive:
        for name in track(names, "packing", len(names)):
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, (folder / name).read_bytes(), method, compression or None)
