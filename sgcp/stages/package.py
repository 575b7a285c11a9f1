"""Stage ``package``: predictions -> a zip that the server accepts, and a check report."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sgcp.datasets.index import read_dataset
from sgcp.errors import SgcpError
from sgcp.evaluation.submission import Expected, check_predictions
from sgcp.files import building_folder, write_json
from sgcp.progress import say, track
from sgcp.stages.source import read_edition

if TYPE_CHECKING:
    from sgcp.settings import PackageSettings
    from sgcp.stages.layout import Layout

ZIP_NAME = "test_result.zip"
REPORT_NAME = "check.json"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes for the same predictions
SHOWN = 20


def package_submission(layout: Layout, settings: PackageSettings) -> None:
    """Check ``layout.predictions`` against every rule, then zip them into ``layout.submission``.

    Raises:
        SgcpError: listing what is wrong; no zip is written then.
    """
    if not layout.predictions.is_dir():
        raise SgcpError(
            f"{layout.predictions}: not found; run `sgcp predict {layout.dataset}` first"
        )
    dataset = read_dataset(layout.prepared)
    expected = [
        Expected(item.submission_stem, (item.height, item.width))
        for item in dataset.split("test", labelled=False)
    ]
    names = {item.label_id: item.name for item in dataset.classes}
    files, problems = check_predictions(
        layout.predictions, expected, names, published_count(layout, dataset.edition)
    )
    if problems:
        raise SgcpError(explain(problems, layout))
    with building_folder(layout.submission, key="package") as folder:
        write_zip(folder / ZIP_NAME, sorted(files.values()), settings.compression)
        write_json(
            folder / REPORT_NAME,
            {
                **dataset.provenance(),
                "images": len(expected),
                "problems": [],
                "checked": [
                    "one PNG a test image", "no stray file", "8-bit, one channel, no palette",
                    "original size", "evaluated label ids only", "number of images",
                ],
                "allowed_ids": names,
            },
        )  # fmt: skip
    size = (layout.submission / ZIP_NAME).stat().st_size
    say(
        f"{layout.submission / ZIP_NAME}: {len(expected)} images, {size:,} bytes, "
        "every rule checked"
    )


def published_count(layout: Layout, edition: str) -> int | None:
    """Return how many test images the benchmark has, where its source says so."""
    return read_edition(layout.source, edition).images.get("test")


def explain(problems: Sequence[str], layout: Layout) -> str:
    """List what is wrong, the first lines in full."""
    lines = "\n".join(f"  {problem}" for problem in problems[:SHOWN])
    more = f"\n  ... and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return (
        f"{layout.predictions}: {len(problems)} problem(s), no zip was written; "
        f"`sgcp predict {layout.dataset}` makes the predictions anew\n{lines}{more}"
    )


def write_zip(path: Path, files: Sequence[Path], compression: int) -> None:
    """Write files by name, without folders, with a fixed date; the caller renames the whole."""
    method = zipfile.ZIP_DEFLATED if compression else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w") as archive:
        for file in track(files, "packing", len(files)):
            info = zipfile.ZipInfo(file.name, EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, file.read_bytes(), method, compression or None)
