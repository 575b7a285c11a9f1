"""``sgcp browse``: prepared images, their statistics, and what looks wrong in them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from sgcp.core.errors import SgcpError
from sgcp.core.files import write_together
from sgcp.core.findings import Finding, examples, group_by_kind, groups_to_json
from sgcp.core.terminal import answer, say
from sgcp.datasets.index import SPLITS, Dataset, Item, read_dataset, spread
from sgcp.inspection.checks import find_problems
from sgcp.inspection.page import browse_page, contact_sheet, percent
from sgcp.inspection.splits import SplitSummary, of_split, summarize_splits
from sgcp.inspection.statistics import ImageStatistics, Thumb, describe_images
from sgcp.media.images import encode_png

if TYPE_CHECKING:
    from sgcp.core.layout import Layout

SHEET, PAGE = "contact-sheet.png", "index.html"


def browse(layout: Layout, images: int, split: str | None, blend: float) -> dict[str, Any]:
    """Write contact sheet and page to ``layout.browse``, and print a summary.

    Args:
        images: number shown of each split; all are counted.
        split: show the images and numbers of this split only; None: of all. All are checked,
            since leaks and untrained classes take two.
        blend: share of the class colours over the images, 0 .. 1.

    Returns:
        Every number, for JSON.

    Raises:
        SgcpError: not prepared, an empty split, or a value out of range.
    """
    if not 0 <= blend <= 1:
        raise SgcpError(f"--blend: 0 (the image) .. 1 (class colours), got {blend}")
    dataset = read_dataset(layout.prepared)
    items = dataset.items if split is None else dataset.split(split, labelled=False)
    shown = choose(items, images)
    described = list(describe_images(dataset.items, layout.raw, layout.prepared, shown))
    summaries = summarize_splits(described, dataset.classes)
    findings = find_problems(described, dataset.classes)
    raw = Path(os.path.relpath(layout.raw.absolute(), layout.browse.absolute())).as_posix()
    page = browse_page(dataset, summaries, findings, described, raw, blend, split)
    sheet = _draw_sheet(dataset, described, blend)
    write_together({layout.browse / SHEET: sheet, layout.browse / PAGE: page.encode("utf-8")})
    listed = of_split(summaries, split)
    _print(layout, listed, findings, split)
    return dataset.provenance() | {
        "splits": {name: part.to_json() for name, part in listed.items()},
        "suspicions": groups_to_json(group_by_kind(findings)),
    }


def choose(items: Sequence[Item], count: int) -> list[Item]:
    """Return up to ``count`` images of each split, evenly spread over it."""
    parts = ([item for item in items if item.split == split] for split in SPLITS)
    return [item for part in parts if part for item in spread(part, count)]


def _draw_sheet(dataset: Dataset, images: Sequence[ImageStatistics], blend: float) -> bytes:
    """Return the contact sheet as PNG."""
    splits: dict[str, list[Thumb]] = {}
    for one in images:
        if one.thumb is not None:
            splits.setdefault(one.item.split, []).append(one.thumb)
    return encode_png(contact_sheet(splits, dataset.classes, blend))


def _print(
    layout: Layout,
    summaries: Mapping[str, SplitSummary],
    findings: Sequence[Finding],
    split: str | None,
) -> None:
    """Print a row a split, a row a kind of what looks wrong, and where the pages are."""
    table = Table()
    for column in ("split", "images", "labels", "labelled", "least", "sequences"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for name, part in summaries.items():
        least = min((share for share, _ in part.coverage), default=None)
        shares = (percent(part.labelled_share) or "-", percent(least) or "-")
        counts = (str(part.images), str(part.labels))
        table.add_row(name, *counts, *shares, str(len(part.sequences)))
    answer(table)
    if findings:
        answer(_finding_table(findings))
    counted = f"{len(findings)} things look" if len(findings) != 1 else "1 thing looks"
    where = "" if split is None else ", all splits looked at"
    answer(f"{counted if findings else 'nothing looks'} wrong{where}")
    say(f"{layout.browse / PAGE}: the images, every number, and each threshold")
    say(f"{layout.browse / SHEET}: the images alone")


def _finding_table(findings: Sequence[Finding]) -> Table:
    """Return a row for each kind of what looks wrong."""
    table = Table(width=80)
    table.add_column("looks wrong", min_width=19)
    table.add_column("count", justify="right", min_width=5)
    table.add_column("such as", overflow="fold")
    for kind, group in group_by_kind(findings):
        style = "red" if kind.refused else "yellow"
        table.add_row(Text(kind.title, style), str(len(group)), Text("\n".join(examples(group))))
    return table
