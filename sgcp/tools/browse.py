"""``sgcp browse``: prepared images, their statistics, and what looks wrong in them."""

import os
from pathlib import Path
from typing import Any

from rich.table import Table

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.files import write_together
from sgcp.core.findings import finding_table, group_by_kind, groups_to_json
from sgcp.core.layout import Layout
from sgcp.core.terminal import answer, percent, say
from sgcp.datasets.index import SPLITS, read_dataset, spread
from sgcp.inspection.checks import find_problems
from sgcp.inspection.page import browse_page, contact_sheet, shared_sequences
from sgcp.inspection.splits import summarize_splits
from sgcp.inspection.statistics import Thumb, describe_images
from sgcp.media.images import encode_png

SHEET, PAGE = "contact-sheet.png", "index.html"


def browse(layout: Layout, images: int, split: str | None, blend: float) -> dict[str, Any]:
    """Write contact sheet and page to ``layout.browse``, print a summary, return every number.

    Args:
        images: number shown of each split; all are counted.
        split: show the images and numbers of this split only; None: of all. All are checked,
            since leaks and untrained classes take two.
        blend: share of the class colours over the images, 0 .. 1.

    Raises:
        SgcpError: not prepared, an empty split, or a value out of range.
    """
    if not 0 <= blend <= 1:
        raise SgcpError(f"--blend: 0 (the image) .. 1 (class colours), got {blend}")
    dataset = read_dataset(layout.prepared)
    items = dataset.items if split is None else dataset.split(split, labelled=False)
    parts = ([item for item in items if item.split == name] for name in SPLITS)
    chosen = [item for part in parts if part for item in spread(part, images)]
    described = list(describe_images(dataset.items, layout.raw, layout.prepared, chosen))
    summaries = summarize_splits(described, dataset.classes)
    findings = find_problems(described, dataset.classes)
    shown: dict[str, list[Thumb]] = {}
    for one in described:
        if one.thumb is not None:
            shown.setdefault(one.item.split, []).append(one.thumb)
    raw = Path(os.path.relpath(layout.raw.absolute(), layout.browse.absolute())).as_posix()
    page = browse_page(dataset, summaries, findings, shown, raw, blend, split)
    sheet = encode_png(contact_sheet(shown, dataset.classes, blend))
    write_together({layout.browse / SHEET: sheet, layout.browse / PAGE: page.encode("utf-8")})
    listed = {name: part for name, part in summaries.items() if split in (None, name)}
    table = Table()
    for column in ("split", "images", "labels", "labelled %", "least %", "sequences"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for name, part in listed.items():
        shares = (percent(part.labelled_share), percent(part.least_labelled))
        counts = (str(part.images), str(part.labels))
        table.add_row(name, *counts, *shares, str(len(part.sequences)))
    answer(table)
    if shared := shared_sequences(summaries):
        first = shorten((f"{name} ({where})" for name, where in shared), 1)
        answer(f"sequences in several splits: {first}")
    if findings:
        answer(finding_table(group_by_kind(findings)))
    counted = {0: "nothing looks", 1: "1 thing looks"}.get(
        len(findings), f"{len(findings)} things look"
    )
    answer(f"{counted} wrong{'' if split is None else ', all splits looked at'}")
    say(f"{layout.browse / PAGE}: the images, every number, and each threshold")
    say(f"{layout.browse / SHEET}: the images alone")
    return dataset.provenance() | {
        "splits": {name: part.to_json() for name, part in listed.items()},
        "suspicions": groups_to_json(group_by_kind(findings)),
    }
