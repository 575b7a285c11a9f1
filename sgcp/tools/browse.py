"""``sgcp browse``: prepared data to look at, its numbers, and what looks wrong in it."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from PIL import Image
from rich.table import Table
from rich.text import Text

from sgcp.core.errors import SgcpError, printable
from sgcp.core.files import write_together
from sgcp.core.findings import Finding, examples
from sgcp.core.terminal import answer, say
from sgcp.datasets.index import SPLITS, Dataset, Item, read_dataset, spread
from sgcp.inspection.checks import find_suspicions, group_suspicions, suspicions_to_json
from sgcp.inspection.page import (
    Shown,
    Suspect,
    Suspicion,
    Thumbnail,
    browse_page,
    contact_sheet,
    percent,
)
from sgcp.inspection.splits import SplitSummary, of_split, summarize_splits
from sgcp.inspection.statistics import DatasetStatistics, dataset_statistics

if TYPE_CHECKING:
    from sgcp.core.layout import Layout

SHEET, PAGE = "contact-sheet.png", "index.html"


def browse(layout: Layout, images: int, split: str | None, blend: float) -> dict[str, Any]:
    """Write contact sheet and page to ``layout.browse``, and print what they say in short.

    Args:
        images: how many of each split are shown; all are counted.
        split: show the images and numbers of this one only; None: of all that there are. What
            looks wrong is looked for in all, since leaks and untrained classes take two.
        blend: share of the class colours over the images, 0 .. 1.

    Returns:
        Every number, for JSON.

    Raises:
        SgcpError: not prepared, no such split, or a value out of range.
    """
    if not 0 <= blend <= 1:
        raise SgcpError(f"--blend: 0 (the image) .. 1 (class colours), got {blend}")
    if split not in (None, *SPLITS):
        raise SgcpError(f"--split: one of {', '.join(SPLITS)}, got '{split}'")
    dataset = read_dataset(layout.prepared)
    items = dataset.items if split is None else dataset.split(split, labelled=False)
    shown = choose(items, images)
    surveys = list(dataset_statistics(dataset.items, layout.raw, layout.prepared, shown))
    splits_summary = summarize_splits(surveys, dataset.classes)
    findings = find_suspicions(surveys, dataset.classes)
    sheet = _draw_sheet(dataset, surveys, blend)
    page = _draw_page(layout, dataset, surveys, splits_summary, findings, blend, split)
    write_together({layout.browse / SHEET: sheet, layout.browse / PAGE: page.encode("utf-8")})
    content = dataset.provenance() | {
        "splits": {name: part.to_json() for name, part in of_split(splits_summary, split).items()},
        "suspicions": suspicions_to_json(findings),
    }
    show(layout, of_split(splits_summary, split), findings, split)
    return content


def choose(items: Sequence[Item], count: int) -> list[Item]:
    """Return up to ``count`` images of each split, evenly spread over it."""
    parts = ([item for item in items if item.split == split] for split in SPLITS)
    return [item for part in parts if part for item in spread(part, count)]


def _draw_sheet(dataset: Dataset, surveys: Sequence[DatasetStatistics], blend: float) -> bytes:
    """Return the contact sheet as PNG."""
    splits: dict[str, list[Thumbnail]] = {}
    for one in surveys:
        if one.thumb is not None:
            cell = Thumbnail(one.item.key, one.thumb.photo, one.thumb.label)
            splits.setdefault(one.item.split, []).append(cell)
    buffer = io.BytesIO()
    sheet = contact_sheet(splits, dataset.classes, blend)
    Image.fromarray(sheet).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _draw_page(
    layout: Layout,
    dataset: Dataset,
    surveys: Sequence[DatasetStatistics],
    splits_summary: Mapping[str, SplitSummary],
    findings: Sequence[Finding],
    blend: float,
    split: str | None,
) -> str:
    """Return the page as HTML."""
    raw = os.path.relpath(layout.raw.absolute(), layout.browse.absolute())
    addresses = {
        one.item.image.as_posix(): quote(Path(raw, one.item.image).as_posix()) for one in surveys
    }
    shown: dict[str, list[Shown]] = {}
    for one in surveys:
        if one.thumb is not None:
            address = addresses[one.item.image.as_posix()]
            picture = Shown(printable(one.item.key), address, one.thumb)
            shown.setdefault(one.item.split, []).append(picture)
    suspicions = [
        Suspicion(
            kind.title,
            kind.advice,
            kind.refused,
            [Suspect(printable(f.name), addresses.get(f.name, ""), f.detail) for f in group],
        )
        for kind, group in group_suspicions(findings)
    ]
    return browse_page(dataset, splits_summary, suspicions, shown, blend, split)


def show(
    layout: Layout,
    splits_summary: Mapping[str, SplitSummary],
    findings: Sequence[Finding],
    split: str | None,
) -> None:
    """Print a row a split, a row a kind of what looks wrong, and where the pages are."""
    table = Table()
    for column in ("split", "images", "labels", "labelled", "least", "sequences"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for name, part in splits_summary.items():
        least = min((share for share, _ in part.coverage), default=None)
        shares = (percent(part.labelled_share) or "-", percent(least) or "-")
        counts = (str(part.images), str(part.labels))
        table.add_row(name, *counts, *shares, str(len(part.sequences)))
    answer(table)
    if findings:
        answer(_suspicion_table(findings))
    counted = f"{len(findings)} things look" if len(findings) != 1 else "1 thing looks"
    where = "" if split is None else ", all splits looked at"
    answer(f"{counted if findings else 'nothing looks'} wrong{where}")
    say(f"{layout.browse / PAGE}: the images, every number, and each threshold")
    say(f"{layout.browse / SHEET}: the images alone")


def _suspicion_table(findings: Sequence[Finding]) -> Table:
    """Return a row for each kind of what looks wrong."""
    table = Table(width=80)
    table.add_column("looks wrong", min_width=19)
    table.add_column("count", justify="right", min_width=5)
    table.add_column("such as", overflow="fold")
    for kind, group in group_suspicions(findings):
        style = "red" if kind.refused else "yellow"
        table.add_row(Text(kind.title, style), str(len(group)), Text("\n".join(examples(group))))
    return table
